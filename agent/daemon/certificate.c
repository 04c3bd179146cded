#include "agent/daemon/certificate.h"
#include "agent/common/prober.h"
#include "lib/core/clock.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"
#include "lib/wire/content_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Seconds. After our start, and after a finding, what is served is looked at again soon, after twice as long each time:
 * services start after us when a machine boots, and one that is being restarted is not broken. */
enum { LOOK_SOON = 5, LOOK_SETTLED = 300 };

struct daemon_certificate {
	struct site *site;
	struct transaction transaction;
	struct prober *prober;
	struct event *timer;
	struct event *again;   /* the next look that is not a regular one */
	int64_t pace;          /* seconds until that */
	int64_t failed_at;     /* wall clock, for people */
	int64_t held_until_ms; /* monotonic; a person is at work; 0: nobody */
	bool unserved;         /* the last probes found an endpoint that does not serve it: said once */
};

/* ---- what the transaction wants done ---- */

static void look_again(struct daemon_certificate *w, bool unserved)
{
	if (unserved && !w->unserved)
		w->pace = LOOK_SOON;
	if (w->pace >= w->site->config->probe_interval || (!unserved && w->pace > LOOK_SETTLED))
		return;
	const struct timeval tv = {.tv_sec = w->pace};
	event_add(w->again, &tv);
	w->pace *= 2;
}

static void log_probes(struct daemon_certificate *w)
{
	const struct transaction *t = &w->transaction;
	bool unserved = false;
	for (size_t i = 0; i < t->view.count; i++) {
		const struct message_probe *p = &t->view.probe[i];
		if (p->match || p->stopped)
			continue;
		unserved = true;
		if (!w->unserved)
			log_event(LOG_LEVEL_WARNING, "probe", "certificate=%s endpoint=%s service=%s reason=\"%s\"",
				t->certificate, p->endpoint, p->service, p->text);
	}
	if (w->unserved && !unserved)
		log_event(
			LOG_LEVEL_NOTICE, "probe", "certificate=%s result=\"served everywhere again\"", t->certificate);
	look_again(w, unserved);
	w->unserved = unserved;
}

static void log_message(struct daemon_certificate *w, const struct message *m)
{
	char revision[REVISION_TEXT_MAX];
	revision_text(m->content.revision, revision);
	if (m->type == MESSAGE_PROBED || m->type == MESSAGE_VERIFIED)
		log_probes(w);
	if (m->type == MESSAGE_PROBED)
		return;
	if (m->type == MESSAGE_FAILED)
		log_event(LOG_LEVEL_ERROR, "failed",
			"certificate=%s revision=%s attempt=%u step=%s rolled_back=%s reason=\"%s\" "
			"output=\"%.1000s\"",
			m->certificate, revision, m->attempt, m->step, m->rolled_back ? "yes" : "no", m->text,
			m->output);
	else
		log_event(LOG_LEVEL_NOTICE, message_type_name(m->type),
			"certificate=%s revision=%s attempt=%u stopped=%s ms=%u", m->certificate, revision, m->attempt,
			m->stopped ? "yes" : "no", m->milliseconds);
}

static void on_tell(const struct message *m, void *context)
{
	struct daemon_certificate *w = context;
	log_message(w, m);
	if (m->type == MESSAGE_FAILED)
		w->failed_at = clock_wall();
	/* Attempt 0 was not an order of this connection; the hub has the inventory for that. */
	if (session_is_ready(w->site->session) && (m->attempt || m->type == MESSAGE_PROBED))
		session_tell(w->site->session, m);
	w->site->told(w->site, w, m);
}

static void on_fetch(struct revision revision, uint32_t attempt, void *context)
{
	struct daemon_certificate *w = context;
	session_fetch(w->site->session, w->transaction.certificate, revision, attempt);
}

static void on_reply(const struct reply *reply, void *context)
{
	struct daemon_certificate *w = context;
	transaction_reply(&w->transaction, reply, clock_monotonic_ms());
}

static void on_stage(const uint8_t *bundle, size_t len, void *context)
{
	struct daemon_certificate *w = context;
	root_client_stage(w->site->root, bundle, len, on_reply, w);
}

static void on_ask(enum request_op op, struct revision revision, uint32_t timeout, void *context)
{
	struct daemon_certificate *w = context;
	struct request request = {.op = op, .revision = revision, .timeout = timeout};
	snprintf(request.certificate, sizeof(request.certificate), "%s", w->transaction.certificate);
	root_client_ask(w->site->root, &request, on_reply, w);
}

static void on_probe(const bool *wanted, void *context)
{
	struct daemon_certificate *w = context;
	prober_start(w->prober, wanted);
}

static void on_probed(const struct message_probe *seen, void *context)
{
	struct daemon_certificate *w = context;
	transaction_probed(&w->transaction, seen, clock_monotonic_ms());
}

static void on_wait(int64_t milliseconds, void *context)
{
	struct daemon_certificate *w = context;
	const struct timeval tv = {milliseconds / 1000, milliseconds % 1000 * 1000};
	event_add(w->timer, &tv);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	struct daemon_certificate *w = context;
	transaction_waited(&w->transaction);
}

static void on_again(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	daemon_certificate_inspect(context);
}

static void on_cancel(void *context)
{
	struct daemon_certificate *w = context;
	event_del(w->timer);
	prober_cancel(w->prober);
	session_forget_fetch(w->site->session, w->transaction.certificate);
}

static const struct transaction_io io = {on_tell, on_fetch, on_stage, on_ask, on_probe, on_wait, on_cancel};

/* ---- life ---- */

struct daemon_certificate *daemon_certificate_new(
	struct site *site, const struct agent_certificate *certificate, const struct inventory *have)
{
	struct daemon_certificate *w = mem_alloc(sizeof(*w));
	w->site = site;
	w->held_until_ms = have->held_seconds ? clock_monotonic_ms() + (int64_t)have->held_seconds * 1000 : 0;
	w->timer = event_new(site->base, -1, 0, on_timer, w);
	w->again = event_new(site->base, -1, 0, on_again, w);
	w->pace = LOOK_SOON;
	if (!w->timer || !w->again)
		mem_abort(__func__);
	w->prober = prober_new(site->base, site->config, certificate, on_probed, w);
	transaction_init(&w->transaction, certificate->name, &io, w);
	for (size_t i = 0; i < prober_count(w->prober); i++)
		probed_add(&w->transaction.view, prober_endpoint(w->prober, i), prober_service(w->prober, i));
	if (!revision_is_placeholder(have->pending))
		log_event(LOG_LEVEL_NOTICE, "resume",
			"certificate=%s seconds_left=%u reason=\"an activation was interrupted\"", certificate->name,
			have->pending_seconds);
	transaction_start(&w->transaction, have, clock_monotonic_ms());
	daemon_certificate_inspect(w);
	return w;
}

void daemon_certificate_free(struct daemon_certificate *w)
{
	if (!w)
		return;
	root_client_forget(w->site->root, w);
	prober_free(w->prober);
	event_free(w->timer);
	event_free(w->again);
	free(w);
}

const char *daemon_certificate_name(const struct daemon_certificate *w)
{
	return w->transaction.certificate;
}

const struct transaction *daemon_certificate_transaction(const struct daemon_certificate *w)
{
	return &w->transaction;
}

/* ---- the hub ---- */

static void on_held(const struct reply *reply, void *context)
{
	struct daemon_certificate *w = context;
	if (!reply->ok)
		log_event(LOG_LEVEL_ERROR, "hold", "certificate=%s error=\"%s\"", w->transaction.certificate,
			reply->text);
}

/* The root half is what would repair, and it counts on a clock of its own. */
static void hold(struct daemon_certificate *w, uint32_t seconds, int64_t now)
{
	struct request request = {.op = REQUEST_HOLD, .timeout = seconds};
	w->held_until_ms = seconds ? now + (int64_t)seconds * 1000 : 0;
	snprintf(request.certificate, sizeof(request.certificate), "%s", w->transaction.certificate);
	root_client_ask(w->site->root, &request, on_held, w);
}

static int64_t held_ms(const struct daemon_certificate *w)
{
	int64_t left = w->held_until_ms ? w->held_until_ms - clock_monotonic_ms() : 0;
	return left > 0 ? left : 0;
}

void daemon_certificate_message(struct daemon_certificate *w, const struct message *m)
{
	char revision[REVISION_TEXT_MAX];
	int64_t now = clock_monotonic_ms();
	log_event(LOG_LEVEL_INFO, message_type_name(m->type), "certificate=%s revision=%s attempt=%u", m->certificate,
		revision_text(m->content.revision, revision), m->attempt);
	if (m->type == MESSAGE_HOLD)
		hold(w, m->seconds, now);
	else if (m->type == MESSAGE_PROBE)
		transaction_inspect(&w->transaction, m->attempt, now);
	else if (!transaction_take(&w->transaction, m, now))
		log_event(LOG_LEVEL_INFO, "dropped", "certificate=%s message=%s attempt=%u reason=stale",
			m->certificate, message_type_name(m->type), m->attempt);
}

void daemon_certificate_bundle(struct daemon_certificate *w, const uint8_t *data, size_t len)
{
	transaction_fetched(&w->transaction, data, len);
}

void daemon_certificate_welcome(struct daemon_certificate *w)
{
	/* A hub that has just started does not know what is served here. A look is taken only when none was taken
	 * before. */
	if (w->transaction.view.probed_at && transaction_rests(&w->transaction))
		transaction_tell_probes(&w->transaction, clock_monotonic_ms());
	else
		daemon_certificate_inspect(w);
}

void daemon_certificate_lost(struct daemon_certificate *w)
{
	transaction_lost(&w->transaction);
}

void daemon_certificate_inspect(struct daemon_certificate *w)
{
	if (!revision_is_placeholder(w->transaction.have.served.revision))
		transaction_inspect(&w->transaction, 0, clock_monotonic_ms());
}

void daemon_certificate_pull(struct daemon_certificate *w)
{
	struct message m = {.type = MESSAGE_PULL, .content.revision = w->transaction.have.served.revision};
	snprintf(m.certificate, sizeof(m.certificate), "%s", w->transaction.certificate);
	session_tell(w->site->session, &m);
}

/* ---- what it says of itself ---- */

void daemon_certificate_inventory(const struct daemon_certificate *w, struct message *ret)
{
	const struct inventory *have = &w->transaction.have;
	*ret = (struct message){.type = MESSAGE_INVENTORY,
		.content = have->served,
		.high_water = have->high_water,
		.staged = have->staged.revision,
		.stopped = w->transaction.stopped,
		.held = held_ms(w) > 0};
	snprintf(ret->certificate, sizeof(ret->certificate), "%s", w->transaction.certificate);
	memcpy(ret->content.leaf, have->live, sizeof(have->live));
}

bool daemon_certificate_converged(const struct daemon_certificate *w)
{
	const struct transaction *t = &w->transaction;
	return !revision_is_placeholder(t->have.served.revision) && !t->failure.at &&
		revision_is_placeholder(t->have.staged.revision) && revision_is_placeholder(t->have.pending) &&
		probed_all_match(&t->view);
}

/* An empty text says that the time is not known. */
static void add_time(cJSON *o, const char *key, int64_t wall)
{
	char text[CLOCK_TEXT_MAX];
	cJSON_AddStringToObject(o, key, wall ? clock_text(wall, text) : "");
}

static void add_failure(const struct daemon_certificate *w, cJSON *o)
{
	const struct transaction_failure *f = &w->transaction.failure;
	if (!f->at)
		return;
	cJSON *failure = cJSON_AddObjectToObject(o, "failure");
	add_time(failure, "at", w->failed_at);
	revision_to_json(f->revision, "revision", failure);
	cJSON_AddStringToObject(failure, "step", f->step);
	cJSON_AddStringToObject(failure, "text", f->text);
	cJSON_AddStringToObject(failure, "output", f->output);
	cJSON_AddBoolToObject(failure, "rolled_back", f->rolled_back);
}

/* Says where the certificate is not served, beside the state that says that. */
static void add_unserved(const struct transaction *t, cJSON *o)
{
	char text[MESSAGE_TEXT_MAX];
	if (t->state != TRANSACTION_UNVERIFIED)
		return;
	probed_describe_unserved(&t->view, text, sizeof(text));
	text_clean(text, 0);
	cJSON_AddStringToObject(o, "unverified", text);
}

static void add_probes(const struct transaction *t, cJSON *o)
{
	cJSON *probes = cJSON_AddArrayToObject(o, "probes");
	for (size_t i = 0; i < t->view.count; i++) {
		const struct message_probe *p = &t->view.probe[i];
		cJSON *probe = cJSON_CreateObject();
		cJSON_AddItemToArray(probes, probe);
		cJSON_AddStringToObject(probe, "endpoint", p->endpoint);
		cJSON_AddStringToObject(probe, "service", p->service);
		cJSON_AddBoolToObject(probe, "served", p->served);
		cJSON_AddBoolToObject(probe, "match", p->match);
		cJSON_AddBoolToObject(probe, "stopped", p->stopped);
		cJSON_AddStringToObject(probe, "fingerprint", p->fingerprint);
		cJSON_AddStringToObject(probe, "text", p->text);
		cJSON_AddNumberToObject(probe, "milliseconds", p->milliseconds);
	}
}

cJSON *daemon_certificate_status(const struct daemon_certificate *w)
{
	struct message m;
	const struct transaction *t = &w->transaction;
	cJSON *o = cJSON_CreateObject();
	daemon_certificate_inventory(w, &m);
	cJSON_AddStringToObject(o, "event", "certificate");
	cJSON_AddStringToObject(o, "certificate", t->certificate);
	cJSON_AddStringToObject(o, "state", transaction_state_name(t));
	cJSON_AddBoolToObject(o, "converged", daemon_certificate_converged(w));
	revision_to_json(m.content.revision, "revision", o);
	revision_to_json(m.high_water, "high_water", o);
	revision_to_json(m.staged, "staged", o);
	sha256_to_json(m.content.leaf, "fingerprint", o);
	add_time(o, "not_after", m.content.not_after);
	add_time(o, "held_until", held_ms(w) ? clock_wall() + held_ms(w) / 1000 : 0);
	add_failure(w, o);
	add_unserved(t, o);
	add_probes(t, o);
	return o;
}
