#include "hub/daemon/alert/alert.h"
#include "hub/daemon/control/client.h"
#include "hub/daemon/acme/renewal.h"
#include "hub/daemon/alert/situation.h"
#include "lib/crypto/bundle.h"
#include "lib/core/clock.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"
#include "hub/daemon/rollout/progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONTROL_STATE_UNTOLD = -1, CLIENT_WATCH_SECONDS = 10, CLIENT_SOON_US = 100000 };

void client_wait(struct client *c, void (*gone)(void *context), void *context)
{
	if (c->gone)
		c->gone(c->gone_context);
	c->gone = gone;
	c->gone_context = context;
}

void client_done(struct client *c)
{
	c->gone = NULL;
}

struct hub *client_hub(const struct client *c)
{
	return c->hub;
}

void client_free(struct client *c)
{
	for (struct client **at = &c->hub->clients; *at; at = &(*at)->next) {
		if (*at == c) {
			*at = c->next;
			break;
		}
	}
	for (size_t i = 0; i < c->followed_count; i++)
		free(c->followed[i].told);
	free(c->followed);
	free(c->told);
	client_wait(c, NULL, NULL);
	event_free(c->check);
	conn_free(c->conn);
	free(c);
}

void control_close_all(struct hub *hub)
{
	while (hub->clients)
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): client_free takes it off the list */
		client_free(hub->clients);
}

/* ---- answers ---- */

void client_say(struct client *c, cJSON *o)
{
	auto_buf struct buf text = BUF_INIT(FRAME_MESSAGE_MAX);
	if (json_print(o, &text) < 0)
		log_event(LOG_LEVEL_ERROR, "control", "error=\"an answer of over %d bytes was not sent\"",
			FRAME_MESSAGE_MAX);
	else
		conn_send(c->conn, FRAME_MESSAGE, text.data, text.len);
	cJSON_Delete(o);
}

void client_say_agent(struct client *c, const struct rollout *r, const struct rollout_agent *a, const char *event)
{
	struct agent_row row;
	situation_row(c->hub, r, a, &row);
	client_say(c, agent_row_encode(&row, event));
	agent_row_release(&row);
}

void client_finish(struct client *c, enum cli_exit exit_code, const char *key, const char *text)
{
	cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "event", "result");
	cJSON_AddNumberToObject(o, "exit", exit_code);
	if (key)
		cJSON_AddStringToObject(o, key, text);
	client_say(c, o);
	conn_finish(c->conn);
}

void client_refuse(struct client *c, enum cli_exit exit_code, const char *fmt, ...)
{
	char text[ERROR_MESSAGE_MAX];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	text_clean(text, 0);
	client_finish(c, exit_code, "error", text);
}

void control_end_all(struct hub *hub, const char *reason)
{
	for (struct client *c = hub->clients; c; c = c->next) {
		for (size_t i = 0; i < c->followed_count; i++)
			free(c->followed[i].told);
		c->followed_count = 0;
		c->files = NULL;
		c->awaits_keys = 0;
		c->watch = NULL;
		client_wait(c, NULL, NULL);
		event_del(c->check);
		client_refuse(c, CLI_FAILED, "%s", reason);
	}
}

/* ---- following ---- */

bool client_addresses(const struct client *c, const struct rollout_agent *a)
{
	for (size_t i = 0; i < c->agent_count; i++)
		if (strcmp(c->agents[i], a->name) == 0)
			return true;
	return c->agent_count == 0;
}

void client_follow(struct client *c, struct rollout *r, bool renewing)
{
	c->followed = mem_grow(c->followed, c->followed_count + 1, sizeof(*c->followed));
	struct followed *f = &c->followed[c->followed_count++];
	*f = (struct followed){.rollout = r,
		.renewing = renewing,
		.told = mem_array(r->agent_count, sizeof(int)),
		.wanted = renewing ? (struct revision){0, 0} : r->desired.revision};
	for (size_t i = 0; i < r->agent_count; i++)
		f->told[i] = CONTROL_STATE_UNTOLD;
	event_active(c->check, 0, 0);
}

static void tell_agents(struct client *c, struct followed *f, bool final)
{
	for (size_t i = 0; i < f->rollout->agent_count; i++) {
		const struct rollout_agent *a = &f->rollout->agents[i];
		if (!client_addresses(c, a) || (!final && f->told[i] == (int)a->state))
			continue;
		f->told[i] = (int)a->state;
		client_say_agent(c, f->rollout, a, final ? "agent" : "progress");
	}
}

/* Tells of the order that comes before the rollout. Returns true while it runs. */
static bool tell_renewal(struct client *c, struct followed *f, const char **ret_error)
{
	struct renewal_status status;
	if (!f->renewing)
		return false;
	renewal_status(renewal_find(c->hub, f->rollout->certificate), &status);
	if (!status.running) {
		f->renewing = false;
		f->wanted = f->rollout->desired.revision;
		if (status.error[0])
			*ret_error = status.error;
		return false;
	}
	if (strcmp(f->step, status.step) != 0) {
		snprintf(f->step, sizeof(f->step), "%s", status.step);
		cJSON *o = cJSON_CreateObject();
		cJSON_AddStringToObject(o, "event", "order");
		cJSON_AddStringToObject(o, "certificate", f->rollout->certificate);
		cJSON_AddStringToObject(o, "step", f->step);
		client_say(c, o);
	}
	return true;
}

static bool is_busy(const struct client *c, const struct followed *f)
{
	for (size_t i = 0; i < f->rollout->agent_count; i++)
		if (client_addresses(c, &f->rollout->agents[i]) &&
			rollout_busy(f->rollout, &f->rollout->agents[i], clock_wall()))
			return true;
	return false;
}

static bool has_converged(const struct client *c, const struct followed *f)
{
	for (size_t i = 0; i < f->rollout->agent_count; i++)
		if (client_addresses(c, &f->rollout->agents[i]) && !rollout_agent_converged(&f->rollout->agents[i]))
			return false;
	return !revision_is_placeholder(f->rollout->desired.revision);
}

void client_watch(struct client *c, void (*tell)(struct client *c))
{
	c->watch = tell;
	event_active(c->check, 0, 0);
}

/* The policy has gone back from what was asked for: all may have converged, but on the old content. */
static bool tell_rolled_back(struct client *c)
{
	char text[REVISION_TEXT_MAX];
	struct error ignored;
	for (size_t i = 0; i < c->followed_count; i++) {
		const struct followed *f = &c->followed[i];
		auto_manifest struct manifest now = {0};
		if (revision_is_placeholder(f->wanted) ||
			revision_compare(f->rollout->desired.revision, f->wanted) <= 0 ||
			store_current(c->hub->store, f->rollout->certificate, &now, &ignored) <= 0 ||
			!(now.flags & BUNDLE_ROLLBACK))
			continue;
		client_refuse(c, CLI_UNCONVERGED, "%s: revision %s is wanted no more: rolled back %s",
			f->rollout->certificate, revision_text(f->wanted, text), now.reason);
		return true;
	}
	return false;
}

/* The watcher is told again after a while, since not all that is shown tells of its changes. */
static void tell_watcher(struct client *c)
{
	static const struct timeval later = {CLIENT_WATCH_SECONDS, 0};
	c->watch(c);
	event_add(c->check, &later);
}

void client_check(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	struct client *c = context;
	if (c->watch) {
		tell_watcher(c);
		return;
	}
	const char *error = NULL;
	bool busy = false, converged = true;
	for (size_t i = 0; i < c->followed_count; i++) {
		struct followed *f = &c->followed[i];
		bool renewing = tell_renewal(c, f, &error);
		if (!renewing)
			tell_agents(c, f, false);
		busy = busy || renewing || is_busy(c, f);
		converged = converged && has_converged(c, f);
	}
	if (error)
		snprintf(c->error, sizeof(c->error), "%s", error);
	if (busy)
		return;
	if (c->error[0]) {
		client_refuse(c, CLI_FAILED, "%s", c->error);
		return;
	}
	for (size_t i = 0; i < c->followed_count; i++)
		tell_agents(c, &c->followed[i], true);
	if (tell_rolled_back(c))
		return;
	if (converged)
		client_finish(c, CLI_DONE, NULL, NULL);
	else if (revision_is_placeholder(c->followed[0].rollout->desired.revision))
		client_refuse(c, CLI_UNCONVERGED, "%s: nothing has been published yet (certsync status says why)",
			c->followed[0].rollout->certificate);
	else
		client_finish(c, CLI_UNCONVERGED, NULL, NULL);
}

void control_changed(struct hub *hub, const struct rollout *r)
{
	alert_soon(hub);
	static const struct timeval soon = {0, CLIENT_SOON_US};
	for (struct client *c = hub->clients; c; c = c->next) {
		if (c->watch)
			event_add(c->check, &soon);
		for (size_t i = 0; i < c->followed_count; i++)
			if (c->followed[i].rollout == r)
				event_active(c->check, 0, 0);
	}
}
