#include "hub/daemon/view/page_html.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE_DAY = 86400, PAGE_REFRESH = 30 };

/* A mood says how good or bad something is: a class of the style and a sign, so that no colour is needed to tell. */
struct mood {
	const char *class, *sign;
};
static const struct mood good = {"ok", "✓"}, warning = {"warn", "!"}, bad = {"bad", "✕"}, idle = {"idle", "○"},
			 busy = {"warn", "…"};

struct page {
	const struct overview *o;
	struct buf *out;
	bool full;
	size_t places, endpoints; /* shown so far */
};

static void put(struct page *p, const char *html)
{
	p->full = buf_add(p->out, html, strlen(html)) < 0 || p->full;
}

int page_escape(const char *text, struct buf *out)
{
	static const char *const entities[] = {
		['&'] = "&amp;", ['<'] = "&lt;", ['>'] = "&gt;", ['"'] = "&quot;", ['\''] = "&#39;"};
	auto_free char *clean = mem_strdup(text);
	int result = 0;
	text_clean(clean, 0);
	for (const char *at = clean; *at && result == 0;) {
		size_t plain = strcspn(at, "&<>\"'");
		result = buf_add(out, at, plain);
		at += plain;
		if (*at && result == 0) {
			const char *entity = entities[(unsigned char)*at++];
			result = buf_add(out, entity, strlen(entity));
		}
	}
	return result;
}

static void put_text(struct page *p, const char *text)
{
	p->full = page_escape(text, p->out) < 0 || p->full;
}

/* This takes a format for what is ours: each %s must be plain text. */
#define putf(p, ...) ((p)->full = buf_addf((p)->out, __VA_ARGS__) < 0 || (p)->full)

/* A peer has chosen this text. */
static void put_foreign(struct page *p, const char *text)
{
	put(p, "<bdi>");
	put_text(p, text);
	put(p, "</bdi>");
}

static void put_chip(struct page *p, struct mood mood, const char *word)
{
	putf(p, "<span class=\"chip %s\"><span aria-hidden=\"true\">%s</span> ", mood.class, mood.sign);
	put_text(p, word);
	put(p, "</span>");
}

/* One unit is what a glance takes in. */
static void round_span(int64_t seconds, char text[CLOCK_TEXT_MAX])
{
	static const struct {
		int64_t seconds;
		char unit;
	} units[] = {{PAGE_DAY, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
	size_t i = 0;
	while (i + 1 < COUNT(units) && seconds < 2 * units[i].seconds)
		i++;
	snprintf(text, CLOCK_TEXT_MAX, "%lld %c", (long long)(seconds / units[i].seconds), units[i].unit);
}

/* Writes "3 d ago", with the moment itself behind it. */
static void put_ago(struct page *p, int64_t when)
{
	char span[CLOCK_TEXT_MAX], moment[CLOCK_TEXT_MAX];
	if (!when) {
		put(p, "<time>never</time>");
		return;
	}
	int64_t seconds = p->o->is.now - when;
	clock_text(when, moment);
	round_span(seconds < 0 ? -seconds : seconds, span);
	if (seconds >= 0 && seconds < 5)
		putf(p, "<time datetime=\"%s\" title=\"%s\">now</time>", moment, moment);
	else
		putf(p, "<time datetime=\"%s\" title=\"%s\">%s%s%s</time>", moment, moment, seconds < 0 ? "in " : "",
			span, seconds < 0 ? "" : " ago");
}

static void put_date(struct page *p, int64_t when)
{
	char text[CLOCK_TEXT_MAX];
	clock_text(when, text);
	putf(p, "<time datetime=\"%s\">%.10s</time>", text, text);
}

/* ---- moods ---- */

static struct mood mood_of_verdict(enum check_verdict verdict)
{
	static const struct mood moods[] = {
		[CHECK_OK] = {"ok", "✓"},
		[CHECK_EXPIRING] = {"warn", "!"},
		[CHECK_MISMATCH] = {"bad", "≠"},
		[CHECK_UNTRUSTED] = {"bad", "✕"},
		[CHECK_UNREACHABLE] = {"bad", "∅"},
	};
	return moods[verdict];
}

static struct mood mood_of_place(const struct situation_place *place)
{
	if (place->converged)
		return good;
	if (place->row.state == ROLLOUT_FAILED || place->row.state == ROLLOUT_AHEAD)
		return bad;
	if (place->row.state == ROLLOUT_HELD || place->row.state == ROLLOUT_UNVERIFIED)
		return warning;
	return place->busy ? busy : idle;
}

/* Renewal comes at a third of the life; under a sixth it is late. */
static struct mood mood_of_life(const struct situation_certificate *c, int64_t now)
{
	int64_t life = c->not_after - c->not_before, left = c->not_after - now;
	return left <= life / 6 ? bad : left <= life * 3 / 10 ? warning : good;
}

/* ---- certificates ---- */

static void put_bar(struct page *p, const struct situation_certificate *c, struct mood mood)
{
	int64_t life = c->not_after - c->not_before, left = c->not_after - p->o->is.now;
	int64_t share = life > 0 ? left * 1000 / life : 0;
	share = share < 0 ? 0 : share > 1000 ? 1000 : share;
	putf(p,
		"<svg class=\"bar\" viewBox=\"0 0 1000 10\" preserveAspectRatio=\"none\" role=\"img\" "
		"aria-label=\"%lld percent of its life left\">"
		"<rect class=\"%s\" width=\"%lld\" height=\"10\"/><rect class=\"mark\" x=\"332\" width=\"3\" "
		"height=\"10\"/></svg>",
		(long long)(share / 10), mood.class, (long long)share);
}

static void put_life(struct page *p, const struct situation_certificate *c)
{
	int64_t left = c->not_after - p->o->is.now, days = left / PAGE_DAY;
	struct mood mood = mood_of_life(c, p->o->is.now);
	put_bar(p, c, mood);
	put(p, "<p class=\"head\"><span>");
	if (left <= 0)
		put_chip(p, bad, "expired");
	else
		putf(p, "<strong class=\"n\">%lld day%s left</strong> of %lld", (long long)days, days == 1 ? "" : "s",
			(long long)((c->not_after - c->not_before + PAGE_DAY / 2) / PAGE_DAY));
	if (left > 0 && mood.class != good.class)
		put(p, mood.class == bad.class ? " — late" : " — to be renewed now");
	put(p, "</span><span class=\"soft\">expires ");
	put_date(p, c->not_after);
	put(p, "</span></p>");
}

static void put_renewal(struct page *p, const struct situation_certificate *c)
{
	if (c->source == SOURCE_ACME) {
		put(p, "<p class=\"soft\">");
		put(p, c->renewal.running ? "an order is under way" : "next order ");
		if (!c->renewal.running)
			put_ago(p, c->renewal.due);
		put(p, "</p>");
	}
	if (c->renewal.instead[0]) {
		put(p, "<p class=\"soft\">");
		put_foreign(p, c->renewal.instead);
		put(p, "</p>");
	}
	if (c->renewal.failures || c->renewal.error[0] || c->renewal.held[0]) {
		put(p, "<p>");
		put_chip(p, c->renewal.failures ? bad : warning,
			c->renewal.failures ? "renewal fails" : "renewal waits");
		if (c->renewal.failures)
			putf(p, " %u time%s in a row: ", c->renewal.failures, c->renewal.failures == 1 ? "" : "s");
		put(p, " ");
		put_foreign(p, c->renewal.held[0] ? c->renewal.held : c->renewal.error);
		put(p, "</p>");
	}
	if (c->watch_trouble[0]) {
		put(p, "<p>");
		put_chip(p, warning, "watched path");
		put(p, " ");
		put_foreign(p, c->watch_trouble);
		put(p, "</p>");
	}
}

static void put_place(struct page *p, const struct situation_certificate *c, const struct situation_place *place)
{
	char text[REVISION_TEXT_MAX];
	const struct agent_row *row = &place->row;
	put(p, "<tr><th scope=\"row\">");
	put_text(p, row->agent);
	put(p, "</th><td>");
	put_chip(p, mood_of_place(place), rollout_state_name(row->state));
	if (revision_compare(row->served, c->revision) != 0 && !revision_is_placeholder(row->served))
		putf(p, " <span class=\"soft\">serves %s ·</span>", revision_text(row->served, text));
	put(p, " <span class=\"soft\">");
	if (row->since)
		put_ago(p, row->since);
	put(p, "</span>");
	if (row->waits_for[0]) {
		put(p, "<p class=\"soft\">waits for ");
		put_text(p, row->waits_for);
		put(p, "</p>");
	}
	if (row->state == ROLLOUT_FAILED || row->state == ROLLOUT_AHEAD || row->state == ROLLOUT_UNVERIFIED) {
		put(p, "<p>");
		put_text(p, row->step);
		put(p, row->step[0] ? ": " : "");
		put_foreign(p, row->error);
		put(p, "</p>");
	}
	put(p, "</td></tr>\n");
}

static void put_more(struct page *p, size_t count)
{
	if (count)
		putf(p, "<p class=\"soft\">… and %zu more: certsync status shows all.</p>", count);
}

static void put_places(struct page *p, const struct situation_certificate *c)
{
	size_t converged = 0, under_way = 0;
	for (size_t i = 0; i < c->place_count; i++) {
		converged += c->places[i].converged;
		under_way += c->places[i].busy;
	}
	if (!c->place_count)
		return;
	putf(p, "<h4>Agents: %zu of %zu converged%s</h4><table class=\"places\">", converged, c->place_count,
		under_way && !c->converged ? ", rollout running" : "");
	size_t shown = p->places;
	for (size_t i = 0; i < c->place_count && p->places < PAGE_PLACES_MAX; i++, p->places++)
		put_place(p, c, &c->places[i]);
	put(p, "</table>");
	put_more(p, c->place_count - (p->places - shown));
}

/* ---- endpoints ---- */

static size_t host_len(const struct endpoint_row *e)
{
	const char *colon = strrchr(e->found.endpoint, ':');
	return colon ? (size_t)(colon - e->found.endpoint) : strlen(e->found.endpoint);
}

static bool same_host(const struct endpoint_row *a, const struct endpoint_row *b)
{
	return strcmp(a->name, b->name) == 0 && host_len(a) == host_len(b) &&
		strncmp(a->found.endpoint, b->found.endpoint, host_len(a)) == 0;
}

static void put_port(struct page *p, const struct endpoint_row *e)
{
	enum check_verdict verdict = e->found.check.verdict;
	const char *port = e->found.endpoint + host_len(e);
	auto_free char *word = mem_printf("%s %s", *port ? port + 1 : "DNS", check_verdict_text(verdict));
	put_chip(p, mood_of_verdict(verdict), word);
}

static void put_host(struct page *p, const struct endpoint_row *e)
{
	auto_free char *address = mem_strndup(e->found.endpoint, host_len(e));
	put(p, "<tr><th scope=\"row\">");
	put_foreign(p, e->name);
	put(p, "<small class=\"mono\">");
	put_foreign(p, address[0] ? address : "no address");
	put(p, "</small></th><td><div class=\"chips\">");
}

static bool is_of(const struct endpoint_row *e, const char *certificate)
{
	return strcmp(e->certificate, certificate) == 0;
}

/* Each name and address has a row, and in it each port and kind of key a chip. */
static void put_matrix(struct page *p, const char *certificate)
{
	const struct endpoint_row *last = NULL;
	size_t count = 0, fine = 0;
	for (size_t i = 0; i < p->o->is.endpoint_count; i++) {
		const struct endpoint_row *e = p->o->is.endpoints[i];
		count += is_of(e, certificate);
		fine += is_of(e, certificate) && check_is_good(e->found.check.verdict);
	}
	if (!count)
		return;
	putf(p, "<h4>Endpoints: %zu of %zu as they should be</h4><table class=\"matrix wide\">", fine, count);
	for (size_t i = 0; i < p->o->is.endpoint_count && p->endpoints < PAGE_ENDPOINTS_MAX; i++) {
		const struct endpoint_row *e = p->o->is.endpoints[i];
		if (!is_of(e, certificate))
			continue;
		p->endpoints++;
		count--;
		if (last && !same_host(last, e))
			put(p, "</div></td></tr>\n");
		if (!last || !same_host(last, e))
			put_host(p, e);
		put_port(p, e);
		last = e;
	}
	put(p, last ? "</div></td></tr></table>" : "</table>");
	put_more(p, count);
}

static void put_certificate(struct page *p, const struct situation_certificate *c)
{
	char text[REVISION_TEXT_MAX];
	put(p, "<article class=\"card\"><div class=\"head\"><h3>");
	put_text(p, c->name);
	put(p, "</h3><span class=\"soft\">");
	if (revision_is_placeholder(c->revision))
		put_chip(p, idle, "nothing published yet");
	else
		putf(p, "revision <span class=\"n\">%s</span> · %s", revision_text(c->revision, text),
			situation_source_name(c->source));
	put(p, "</span></div>");
	if (c->not_after)
		put_life(p, c);
	put_renewal(p, c);
	put_places(p, c);
	put_matrix(p, c->name);
	put(p, "</article>\n");
}

static bool needs_attention(const struct situation_certificate *c, int64_t now)
{
	return !c->converged || c->renewal.failures || c->watch_trouble[0] || !c->not_after ||
		mood_of_life(c, now).class != good.class;
}

/* Certificates with trouble come first, since not all may have room. */
static void put_certificates(struct page *p)
{
	const struct overview *o = p->o;
	size_t shown = 0;
	bool crowded = o->is.certificate_count > PAGE_CERTIFICATES_MAX;
	put(p, "<h2>Certificates</h2>");
	if (!o->is.certificate_count)
		put(p, "<p class=\"soft\">hub.conf has no certificate.</p>");
	put(p, "<div class=\"cards\">");
	for (int pass = 0; pass < (crowded ? 2 : 1); pass++)
		for (size_t i = 0; i < o->is.certificate_count && shown < PAGE_CERTIFICATES_MAX; i++)
			if (!crowded || needs_attention(&o->is.certificates[i], o->is.now) == (pass == 0)) {
				put_certificate(p, &o->is.certificates[i]);
				shown++;
			}
	put(p, "</div>");
	put_more(p, o->is.certificate_count - shown);
	for (size_t i = 0; i < o->is.endpoint_count; i++)
		if (!o->is.endpoints[i]->certificate[0]) {
			put(p, "<h2>Other endpoints</h2><div class=\"card\">");
			put_matrix(p, "");
			put(p, "</div>");
			break;
		}
}

/* ---- what needs a person ---- */

struct attention {
	struct page *page;
	size_t count;
	bool bad; /* one of them is more than a warning */
};

static bool begin_item(struct attention *a, struct mood mood, const char *word)
{
	a->bad = a->bad || mood.class == bad.class;
	if (a->count++ == 0)
		put(a->page, "<h2>Needs attention</h2><ul class=\"list\">");
	if (a->count > PAGE_ATTENTION_MAX)
		return false;
	put(a->page, "<li>");
	put_chip(a->page, mood, word);
	put(a->page, " <strong>");
	return true;
}

static void end_item(struct attention *a, int64_t since, const char *text, const char *advice)
{
	struct page *p = a->page;
	put(p, "</strong> ");
	if (since) {
		put(p, "<span class=\"soft\">began ");
		put_ago(p, since);
		put(p, "</span>");
	}
	put(p, "<p>");
	put_foreign(p, text);
	put(p, "</p>");
	if (advice[0]) {
		put(p, "<p class=\"soft\">What to do: ");
		put_foreign(p, advice);
		put(p, "</p>");
	}
	put(p, "</li>\n");
}

static void attend_certificate(struct attention *a, const struct situation_certificate *c)
{
	if (c->not_after && mood_of_life(c, a->page->o->is.now).class == bad.class &&
		begin_item(a, bad, c->not_after <= a->page->o->is.now ? "expired" : "expires soon")) {
		put_text(a->page, c->name);
		end_item(a, 0, "Under a sixth of its life is left, and no renewal has come.",
			"certsync status; certsync renew");
	}
	if (c->renewal.failures && begin_item(a, bad, "renewal fails")) {
		put_text(a->page, c->name);
		end_item(a, 0, c->renewal.error, "");
	}
	if (c->watch_trouble[0] && begin_item(a, warning, "watched path")) {
		put_text(a->page, c->name);
		end_item(a, 0, c->watch_trouble, "");
	}
	for (size_t i = 0; i < c->place_count; i++) {
		const struct situation_place *place = &c->places[i];
		if (mood_of_place(place).class != bad.class ||
			!begin_item(a, bad, rollout_state_name(place->row.state)))
			continue;
		put_text(a->page, place->row.agent);
		put(a->page, ", ");
		put_text(a->page, c->name);
		end_item(a, place->row.since, place->row.error, "");
	}
}

static void attend_endpoint(struct attention *a, const struct endpoint_row *e)
{
	const struct check *c = &e->found.check;
	if (c->verdict == CHECK_OK || !begin_item(a, mood_of_verdict(c->verdict), check_verdict_text(c->verdict)))
		return;
	put_foreign(a->page, e->name);
	put(a->page, " ");
	put_foreign(a->page, e->found.endpoint);
	end_item(a, e->since, c->reason, c->advice);
}

static void attend(struct attention *a)
{
	const struct overview *o = a->page->o;
	if (o->trouble[0] && begin_item(a, bad, "hub"))
		end_item(a, 0, o->trouble, "");
	for (size_t i = 0; i < o->is.certificate_count; i++)
		attend_certificate(a, &o->is.certificates[i]);
	for (size_t i = 0; i < o->is.agent_count; i++)
		if (o->is.agents[i].overdue && begin_item(a, bad, "agent away")) {
			put_text(a->page, o->is.agents[i].name);
			end_item(a, o->is.agents[i].last_seen, "It has been away for longer than away_after.",
				"on the node: certsync-agent status");
		}
	for (size_t i = 0; i < o->channel_count; i++)
		if (o->channels[i].failures && begin_item(a, bad, "alerts fail")) {
			put_foreign(a->page, o->channels[i].name);
			end_item(a, o->channels[i].since, o->channels[i].error, "certsync alert test");
		}
	for (size_t i = 0; i < o->is.endpoint_count; i++)
		attend_endpoint(a, o->is.endpoints[i]);
	if (a->count > PAGE_ATTENTION_MAX)
		putf(a->page, "<li class=\"soft\">… and %zu more: certsync status shows all.</li>",
			a->count - PAGE_ATTENTION_MAX);
	if (a->count)
		put(a->page, "</ul>");
}

/* ---- agents, alerts, the whole ---- */

static void put_agent(struct page *p, const struct situation_agent *a)
{
	put(p, "<tr><th scope=\"row\"><strong>");
	put_text(p, a->name);
	put(p, "</strong>");
	put(p, a->local ? " <span class=\"soft\">on this node</span>" : "");
	put(p, "</th><td>");
	put_chip(p,
		a->connected         ? good
			: a->overdue ? bad
				     : idle,
		a->connected         ? "connected"
			: a->overdue ? "away too long"
				     : "away");
	put(p, " <span class=\"soft\">");
	if (!a->connected) {
		put(p, "last seen ");
		put_ago(p, a->last_seen);
	}
	if (a->skew > 30 || a->skew < -30)
		putf(p, " clock off by %lld s", (long long)a->skew);
	putf(p, "</span></td><td class=\"n\">%zu of %zu converged</td><td class=\"soft\">", a->converged,
		a->certificates);
	put_foreign(p, a->version);
	put(p, "</td></tr>\n");
}

static void put_agents(struct page *p)
{
	if (!p->o->is.agent_count)
		return;
	put(p,
		"<h2>Agents</h2><div class=\"card\"><table "
		"class=\"wide\"><thead><tr><th>Agent</th><th>State</th><th>Certificates</th>"
		"<th>Version</th></tr></thead><tbody>");
	for (size_t i = 0; i < p->o->is.agent_count && i < PAGE_AGENTS_MAX; i++)
		put_agent(p, &p->o->is.agents[i]);
	put(p, "</tbody></table></div>");
	put_more(p, p->o->is.agent_count > PAGE_AGENTS_MAX ? p->o->is.agent_count - PAGE_AGENTS_MAX : 0);
}

static void put_alerts(struct page *p)
{
	if (!p->o->alert_count)
		return;
	put(p, "<h2>Last alerts</h2><ul class=\"list\">");
	for (size_t i = 0; i < p->o->alert_count; i++) {
		const struct condition_told *t = &p->o->alerts[i].told;
		put(p, "<li>");
		put_chip(p,
			t->event == CONDITION_RESOLVED ? good
				: t->entry.critical    ? bad
						       : warning,
			condition_event_name(t->event));
		put(p, " <strong>");
		put_text(p, condition_kind_name(t->entry.kind));
		put(p, " ");
		put_foreign(p, t->entry.subject);
		put(p, "</strong> ");
		put_ago(p, p->o->alerts[i].when);
		put(p, "<p>");
		put_foreign(p, t->entry.text);
		put(p, "</p></li>\n");
	}
	put(p, "</ul>");
}

static void put_banner(struct page *p, const struct attention *a)
{
	const struct overview *o = p->o;
	size_t converged = 0, connected = 0, fine = 0;
	for (size_t i = 0; i < o->is.certificate_count; i++)
		converged += o->is.certificates[i].converged;
	for (size_t i = 0; i < o->is.agent_count; i++)
		connected += o->is.agents[i].connected;
	for (size_t i = 0; i < o->is.endpoint_count; i++)
		fine += check_is_good(o->is.endpoints[i]->found.check.verdict);
	bool still = converged == o->is.certificate_count;
	const struct mood mood = a->bad ? bad : a->count ? warning : still ? good : busy;
	putf(p, "<div class=\"banner %s\" role=\"status\"><strong>%s ", mood.class, mood.sign);
	if (a->count)
		putf(p, "%zu thing%s attention", a->count, a->count == 1 ? " needs" : "s need");
	else
		put(p, still ? "All is well" : "Not every agent has converged yet");
	putf(p,
		"</strong><p class=\"n\">%zu of %zu certificates everywhere · %zu of %zu agents connected · "
		"%zu of %zu endpoints right</p></div>\n",
		converged, o->is.certificate_count, connected, o->is.agent_count, fine, o->is.endpoint_count);
}

static void put_head(struct page *p)
{
	char now[CLOCK_TEXT_MAX];
	putf(p,
		"<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>certsync</title>"
		"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
		"<meta name=\"robots\" content=\"noindex\"><meta http-equiv=\"refresh\" "
		"content=\"%d\"><style>",
		PAGE_REFRESH);
	put(p, page_style());
	putf(p,
		"</style></head>\n<body><header><h1>certsync</h1><span class=\"soft\">as of <time>%s</time>, "
		"again every %d s</span></header>\n<main>",
		clock_text(p->o->is.now, now), PAGE_REFRESH);
}

int page_write(const struct overview *o, struct buf *out)
{
	auto_buf struct buf items = BUF_INIT(out->max);
	struct page list = {.o = o, .out = &items}, page = {.o = o, .out = out};
	struct attention attention = {.page = &list};
	attend(&attention);
	put_head(&page);
	put_banner(&page, &attention);
	put(&page, buf_text(&items));
	put_certificates(&page);
	put_agents(&page);
	put_alerts(&page);
	put(&page, "</main>\n<footer>certsync ");
	put_text(&page, o->is.version);
	put(&page, ", started ");
	put_ago(&page, o->is.started);
	put(&page,
		" · <a href=\"metrics\">metrics</a> · <a "
		"href=\"healthz\">healthz</a></footer></body></html>\n");
	return list.full || page.full ? -1 : 0;
}
