#include "hub/daemon/control/agents.h"
#include "hub/daemon/agents/enroll.h"
#include "hub/daemon/alert/alert.h"
#include "hub/daemon/alert/situation.h"
#include "hub/daemon/agents/session.h"
#include "hub/daemon/agents/signing.h"
#include "hub/daemon/agents/join_line.h"
#include "hub/daemon/agents/enrolment.h"
#include "hub/daemon/agents/login_keys.h"
#include "lib/core/base64.h"
#include "lib/core/clock.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *take_name(struct client *c, const cJSON *request, struct error *err)
{
	const char *name = json_string(request, "name", NAME_AGENT_MAX - 1, err);
	if (name && !hub_config_agent(client_hub(c)->config, name)) {
		error_set(err, ERROR_USAGE,
			"%s has no section agent \"%s\": add it, tell the hub (SIGHUP to certsync-hub-root), then try again",
			client_hub(c)->config_path, name);
		return NULL;
	}
	return name;
}

/* ---- who may ---- */

int control_may_change_keys(const struct client *c, const char *verb, const char *agent, struct error *err)
{
	const struct hub *hub = c->hub;
	if (c->uid == 0 || c->uid == hub->owner || hub->config->agent_keys == HUB_KEYS_GROUP)
		return 0;
	log_event(LOG_LEVEL_WARNING, "refused", "command=\"agent %s\" agent=%s uid=%u reason=\"agent_keys = root\"",
		verb, agent, (unsigned)c->uid);
	return error_set(err, ERROR_USAGE,
		"agent %s changes which keys agent %s has, and whoever does that can have the private keys of its certificates sealed to a key of "
		"his own: only root may. Run sudo certsync agent %s %s, or let the group do it: agent_keys = \"group\" in %s",
		verb, agent, verb, agent, hub->config_path);
}

/* ---- joining ---- */

static int take_key(const struct files *files, const char *name, uint8_t ret[32], struct error *err)
{
	int at = files_find(files, name);
	if (at < 0 || files->file[at].len != 32)
		return error_set(err, ERROR_USAGE, "the request came without a %s of 32 bytes", name);
	memcpy(ret, files->file[at].data, 32);
	return 0;
}

/* An agent that is let in again, or in the place of another, makes new keys, though its node may have those that were
 * taken away: whoever else has them would be let in with it. */
static enum join_line_keys which_keys(const struct client *c)
{
	struct enrolment e;
	struct error ignored;
	if (c->rotates)
		return JOIN_LINE_KEYS_ROTATE;
	bool had = enrolment_find(c->hub, c->enrolled, &e, &ignored) != 0 ||
		enrolment_find_removed(c->hub, c->enrolled, &e, &ignored) != 0;
	return had ? JOIN_LINE_KEYS_FRESH : JOIN_LINE_KEYS_OWN;
}

static void finish_enrolment(struct client *c)
{
	struct error err;
	auto_buf struct buf line = BUF_INIT(8192);
	if (c->told)
		client_finish(c, CLI_DONE, "line", c->told);
	else if (enroll_hub_line(c->hub, c->enrolled, &line, &err) < 0)
		client_refuse(
			c, CLI_USAGE, "the agent is added, but the line for it cannot be written: %s", err.message);
	else
		client_finish(c, CLI_DONE, "line", buf_text(&line));
}

static void await_keys(struct client *c)
{
	if (c->hub->root)
		c->awaits_keys = c->hub->keys_asked;
	else
		finish_enrolment(c);
}

static void take_keys(struct client *c, const struct files *files)
{
	struct error err;
	auto_join_keys struct join_keys keys = {0};
	auto_buf struct buf line = BUF_INIT(8192);
	if (take_key(files, "login", keys.login_public, &err) < 0 || take_key(files, "mac", keys.mac, &err) < 0 ||
		enroll_hub_line(client_hub(c), c->enrolled, &line, &err) < 0 ||
		join_line_issue(client_hub(c), c->enrolled, which_keys(c), c->uid, &keys, &line, &err) < 0 ||
		(c->rotates && enroll_rotate(client_hub(c), c->enrolled, c->uid, &err) < 0)) {
		client_refuse(c, err.kind == ERROR_USAGE ? CLI_USAGE : CLI_FAILED, "%s", err.message);
		return;
	}
	free(c->told);
	c->told = mem_strdup(buf_text(&line));
	login_keys_send(client_hub(c));
	alert_soon(client_hub(c));
	await_keys(c);
}

static int check_join(const struct client *c, const char *name, bool rotates, bool replace, struct error *err)
{
	struct enrolment e;
	if (control_may_change_keys(c, rotates ? "rotate" : "add", name, err) < 0)
		return -1;
	if (!rotates)
		return enroll_may_replace(c->hub, name, replace, err);
	int found = enrolment_find(c->hub, name, &e, err);
	if (found == 0)
		return error_set(err, ERROR_USAGE, "agent %s has no keys yet: `certsync agent add %s` prints its line",
			name, name);
	return found < 0 ? -1 : 0;
}

void control_join(struct client *c, const cJSON *request)
{
	struct error err;
	const char *name = take_name(c, request, &err);
	bool rotates = json_true(request, "rotates");
	if (!name || check_join(c, name, rotates, json_true(request, "replace"), &err) < 0) {
		client_refuse(c, err.kind == ERROR_USAGE ? CLI_USAGE : CLI_FAILED, "%s", err.message);
		return;
	}
	snprintf(c->enrolled, sizeof(c->enrolled), "%s", name);
	snprintf(c->certificate, sizeof(c->certificate), "agent %s", name);
	c->rotates = rotates;
	c->files = take_keys;
}

/* ---- the list ---- */

static void add_time(cJSON *o, const char *key, int64_t at)
{
	char text[CLOCK_TEXT_MAX];
	cJSON_AddStringToObject(o, key, at ? clock_text(at, text) : "");
}

static void add_keys(cJSON *o, const struct enrolment *e)
{
	struct error ignored;
	auto_buf struct buf text = BUF_INIT(HUB_KEY_TEXT_MAX), seal_key = BUF_INIT(64);
	if (enrolment_fingerprint(e->ssh, &text, &ignored) == 0)
		cJSON_AddStringToObject(o, "ssh", buf_text(&text));
	base64_encode(e->seal, sizeof(e->seal), &seal_key);
	cJSON_AddStringToObject(o, "seal", buf_text(&seal_key));
	cJSON_AddBoolToObject(o, "rotates", e->rotates);
	add_time(o, "rotation", e->rotation);
}

static void add_state(
	struct hub *hub, cJSON *o, const struct situation_agent *a, const struct error *trouble, bool enrolled)
{
	struct error ignored;
	auto_join_line struct join_line t = {0};
	int found = join_line_find(hub, a->name, &t, &ignored);
	bool open = found > 0 && !t.spent && t.expires > clock_wall();
	cJSON_AddStringToObject(o, "state",
		a->connected                   ? "connected"
			: enrolled || a->local ? "away"
			: open                 ? "may join"
			: trouble->kind        ? "broken"
					       : "not joined");
	if (open)
		add_time(o, "join_until", t.expires);
	if (trouble->kind)
		cJSON_AddStringToObject(o, "error", trouble->message);
}

static cJSON *describe(struct hub *hub, const struct situation_agent *a)
{
	struct enrolment e;
	struct error err = {0};
	cJSON *o = cJSON_CreateObject();
	int found = enrolment_find(hub, a->name, &e, &err);
	cJSON_AddStringToObject(o, "event", "agent");
	cJSON_AddStringToObject(o, "agent", a->name);
	add_state(hub, o, a, &err, found > 0);
	add_time(o, "enrolled", found > 0 ? e.added : 0);
	add_time(o, "last_seen", a->last_seen);
	cJSON_AddBoolToObject(o, "local", a->local);
	cJSON_AddStringToObject(o, "version", a->version);
	if (found > 0)
		add_keys(o, &e);
	cJSON *names = cJSON_AddArrayToObject(o, "certificates");
	const struct hub_agent *configured = hub_config_agent(hub->config, a->name);
	for (size_t i = 0; configured->certificates[i]; i++)
		cJSON_AddItemToArray(names, cJSON_CreateString(configured->certificates[i]->name));
	return o;
}

void control_agent_list(struct client *c, const cJSON *request)
{
	(void)request;
	auto_situation struct situation all;
	situation_take(client_hub(c), clock_wall(), false, &all);
	for (size_t i = 0; i < all.agent_count; i++)
		client_say(c, describe(client_hub(c), &all.agents[i]));
	client_finish(c, CLI_DONE, NULL, NULL);
}

void control_agent_remove(struct client *c, const cJSON *request)
{
	struct error err;
	const char *name = json_string(request, "name", NAME_AGENT_MAX - 1, &err);
	if (!name || control_may_change_keys(c, "remove", name, &err) < 0 ||
		enroll_remove(client_hub(c), name, c->uid, &err) < 0) {
		client_refuse(c, err.kind == ERROR_USAGE ? CLI_USAGE : CLI_FAILED, "%s", err.message);
		return;
	}
	signing_settle(client_hub(c));
	alert_soon(client_hub(c));
	snprintf(c->enrolled, sizeof(c->enrolled), "%s", name);
	c->told = hub_config_agent(client_hub(c)->config, name)
		? mem_printf(
			  "agent %s is removed: its key opens nothing any more. %s still has its section: until that is "
			  "taken out, its certificates wait for it",
			  name, client_hub(c)->config_path)
		: mem_printf("agent %s is removed", name);
	await_keys(c);
}

void control_agent_add(struct client *c, const cJSON *request)
{
	struct error err;
	const char *name = json_string(request, "name", NAME_AGENT_MAX - 1, &err);
	const char *key = name ? json_string(request, "key", 2048, &err) : NULL;
	if (!key || control_may_change_keys(c, "add", name, &err) < 0 ||
		enroll_add(c->hub, name, key, json_true(request, "replace"), c->uid, &err) < 0) {
		client_refuse(c, CLI_USAGE, "%s", err.message);
		return;
	}
	alert_soon(c->hub);
	snprintf(c->enrolled, sizeof(c->enrolled), "%s", name);
	await_keys(c);
}

void control_keys_written(struct hub *hub, bool ok, const char *text)
{
	snprintf(hub->root_error, sizeof(hub->root_error), "%s", ok ? "" : text);
	alert_soon(hub); /* keys have changed */
	for (struct client *c = hub->clients; c; c = c->next) {
		if (!c->awaits_keys || c->awaits_keys > hub->keys_answered)
			continue;
		c->awaits_keys = 0;
		if (ok)
			finish_enrolment(c);
		else
			client_refuse(c, CLI_FAILED, "the keys are changed here, but could not be written for sshd: %s",
				text);
	}
}
