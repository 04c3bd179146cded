#include "hub/daemon/control/control.h"
#include "hub/daemon/keys.h"
#include "hub/daemon/alert/alert.h"
#include "hub/daemon/control/client.h"
#include "hub/daemon/control/alerts.h"
#include "hub/daemon/control/account.h"
#include "hub/daemon/control/agents.h"
#include "hub/daemon/agents/enroll.h"
#include "hub/daemon/rollout/fleet.h"
#include "hub/daemon/rollout/hold.h"
#include "hub/daemon/control/import.h"
#include "hub/daemon/control/recover.h"
#include "hub/daemon/control/signing.h"
#include "hub/daemon/publish/publish.h"
#include "hub/daemon/acme/renewal.h"
#include "hub/daemon/publish/rollback.h"
#include "hub/daemon/alert/endpoints.h"
#include "hub/daemon/alert/situation.h"
#include "hub/daemon/view/status.h"
#include "hub/daemon/acme/thumbprint.h"
#include "lib/cli/cli.h"
#include "lib/core/clock.h"
#include "lib/core/files.h"
#include "lib/wire/json.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"
#include "hub/daemon/rollout/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONTROL_OUTPUT_MAX = 64 * 1024 * 1024, CONTROL_PER_UID = 64 };

/* ---- requests ---- */

static bool flag(const cJSON *request, const char *key)
{
	return cJSON_IsTrue(json_get(request, key));
}

static void say_endpoint(struct client *c, const struct endpoint_row *row)
{
	cJSON *o = endpoint_row_encode(row);
	cJSON_AddStringToObject(o, "event", "endpoint");
	client_say(c, o);
}

/* Returns true when everything has converged, and every endpoint serves what it should, even if not for long. */
static bool say_status(struct client *c)
{
	bool good = true;
	auto_situation struct situation s;
	situation_take(c->hub, clock_wall(), true, &s);
	for (size_t i = 0; i < s.certificate_count; i++) {
		const struct situation_certificate *of = &s.certificates[i];
		client_say(c, status_certificate(of));
		for (size_t k = 0; k < of->place_count; k++)
			client_say(c, agent_row_encode(&of->places[k].row, "agent"));
		good = good && of->converged;
	}
	for (size_t i = 0; i < s.endpoint_count; i++) {
		say_endpoint(c, s.endpoints[i]);
		good = good && check_is_good(s.endpoints[i]->found.check.verdict);
	}
	return good;
}

static void say_round(struct client *c)
{
	cJSON *o = cJSON_CreateObject();
	say_status(c);
	cJSON_AddStringToObject(o, "event", "round");
	client_say(c, o);
}

static void do_status(struct client *c, const cJSON *request)
{
	if (flag(request, "watch")) {
		client_watch(c, say_round);
		return;
	}
	bool converged = say_status(c);
	auto_free char *alerts = alert_warning(c->hub), *signing = control_keys_warning(c->hub);
	const char *const texts[] = {keys_trouble(c->hub->keys), c->hub->root_error, alerts, signing};
	auto_buf struct buf warning = BUF_INIT(FRAME_MESSAGE_MAX / 2);
	for (size_t i = 0; i < COUNT(texts); i++)
		if (texts[i][0])
			buf_addf(&warning, "%s%s", warning.len ? "; " : "", texts[i]);
	client_finish(c, converged ? CLI_DONE : CLI_UNCONVERGED, warning.len ? "warning" : NULL, buf_text(&warning));
}

/* Takes "agents" into the client's filter. */
static int take_agents(struct client *c, const cJSON *request, struct error *err)
{
	const cJSON *element;
	const cJSON *agents = json_get(request, "agents");
	if (!agents)
		return 0;
	agents = json_array(request, "agents", CONTROL_NAMES_MAX, err);
	if (!agents)
		return -1;
	cJSON_ArrayForEach (element, agents) {
		const char *name = json_element(element, NAME_AGENT_MAX - 1, err);
		if (!name)
			return -1;
		if (!hub_config_agent(c->hub->config, name))
			return error_set(err, ERROR_USAGE, "hub.conf has no agent \"%s\"", name);
		snprintf(c->agents[c->agent_count++], NAME_AGENT_MAX, "%s", name);
	}
	return 0;
}

/* Takes "certificates" (none means all) into a list of rollouts. */
static int take_certificates(
	struct client *c, const cJSON *request, struct rollout ***ret, size_t *ret_count, struct error *err)
{
	auto_free struct rollout **list = mem_array(fleet_count(c->hub) + CONTROL_NAMES_MAX, sizeof(struct rollout *));
	size_t count = 0;
	const cJSON *element;
	const cJSON *names = json_array(request, "certificates", CONTROL_NAMES_MAX, err);
	if (!names)
		return -1;
	cJSON_ArrayForEach (element, names) {
		const char *name = json_element(element, NAME_CERTIFICATE_MAX - 1, err);
		if (!name)
			return -1;
		list[count] = fleet_find(c->hub, name);
		if (!list[count++])
			return error_set(err, ERROR_USAGE, "hub.conf has no certificate \"%s\"", name);
	}
	for (size_t i = 0; count == 0 && i < fleet_count(c->hub); i++)
		list[i] = fleet_at(c->hub, i);
	*ret_count = count ? count : fleet_count(c->hub);
	*ret = steal(list);
	return 0;
}

static void push_one(struct client *c, struct rollout *r, const cJSON *request)
{
	bool force = flag(request, "force");
	if (flag(request, "proceed"))
		fleet_proceed(c->hub, r);
	if (c->agent_count == 0)
		fleet_retry(c->hub, r, NULL, force);
	for (size_t i = 0; i < c->agent_count; i++)
		fleet_retry(c->hub, r, c->agents[i], force);
	endpoints_soon(c->hub, r->certificate);
	client_follow(c, r, false);
}

static void do_push(struct client *c, const cJSON *request)
{
	struct error err;
	auto_free struct rollout **list = NULL;
	size_t count;
	if (take_agents(c, request, &err) < 0 || take_certificates(c, request, &list, &count, &err) < 0) {
		client_refuse(c, CLI_USAGE, "%s", err.message);
		return;
	}
	for (size_t i = 0; i < count; i++)
		push_one(c, list[i], request);
	if (count == 0)
		client_refuse(c, CLI_USAGE, "hub.conf has no certificate");
}

static void do_renew(struct client *c, const cJSON *request)
{
	struct error err;
	auto_free struct rollout **list = NULL;
	size_t count, kept = 0;
	if (take_certificates(c, request, &list, &count, &err) < 0) {
		client_refuse(c, CLI_USAGE, "%s", err.message);
		return;
	}
	bool all = cJSON_GetArraySize(json_get(request, "certificates")) == 0;
	for (size_t i = 0; i < count; i++)
		if (!all || renewal_find(c->hub, list[i]->certificate))
			list[kept++] = list[i];
	count = kept;
	if (count == 0)
		client_refuse(c, CLI_USAGE, "hub.conf has no ACME certificate");
	for (size_t i = 0; i < count; i++) {
		if (!renewal_find(c->hub, list[i]->certificate)) {
			client_refuse(c, CLI_USAGE,
				"%s is not an ACME certificate: whoever writes it renews it (for a watched one, "
				"certsync follows by itself)",
				list[i]->certificate);
			return;
		}
	}
	for (size_t i = 0; i < count; i++) {
		/* Those that may be ordered go on, and the answer says which one may not. */
		bool begun = renewal_now(renewal_find(c->hub, list[i]->certificate), flag(request, "force"), &err) == 0;
		if (!begun) {
			error_wrap(&err, "%s", list[i]->certificate);
			snprintf(c->error, sizeof(c->error), "%s", err.message);
		}
		client_follow(c, list[i], begun);
	}
}

static int roll_back(struct client *c, const cJSON *request, struct error *err)
{
	char why[64];
	struct revision old;
	const char *name = json_string(request, "certificate", NAME_CERTIFICATE_MAX - 1, err);
	const struct hub_certificate *certificate = name ? hub_config_certificate(c->hub->config, name) : NULL;
	const cJSON *asked = json_get(request, "revision");
	if (!certificate)
		return error_set(err, ERROR_USAGE, "hub.conf has no certificate \"%s\"", name ? name : "");
	if (asked && (!cJSON_IsString(asked) || !revision_parse(asked->valuestring, &old)))
		return error_set(
			err, ERROR_USAGE, "a revision is written like 1.7 (certsync status shows the current one)");
	snprintf(why, sizeof(why), "by uid %u", (unsigned)c->uid);
	return rollback(c->hub, certificate, asked ? &old : NULL, why, err);
}

static void do_rollback(struct client *c, const cJSON *request)
{
	struct error err;
	if (roll_back(c, request, &err) < 0)
		client_refuse(c, err.kind == ERROR_USAGE ? CLI_USAGE : CLI_FAILED, "not rolled back: %s", err.message);
	else
		client_follow(c, fleet_find(c->hub, json_get(request, "certificate")->valuestring), false);
}

static void do_history(struct client *c, const cJSON *request)
{
	struct error err;
	auto_free struct revision *revisions = NULL;
	size_t count;
	const char *name = json_string(request, "certificate", NAME_CERTIFICATE_MAX - 1, &err);
	if (!name || !hub_config_certificate(c->hub->config, name)) {
		client_refuse(c, CLI_USAGE, "hub.conf has no certificate \"%s\"", name ? name : "");
		return;
	}
	if (store_revisions(c->hub->store, name, &revisions, &count, &err) < 0) {
		client_refuse(c, CLI_FAILED, "%s", err.message);
		return;
	}
	for (size_t i = 0; i < count; i++)
		client_say(c, status_revision(c->hub, name, revisions[i]));
	client_finish(c, CLI_DONE, NULL, NULL);
}

static void do_hold(struct client *c, const cJSON *request)
{
	struct error err;
	uint32_t seconds;
	const cJSON *name = json_get(request, "certificate");
	const char *agent = json_string(request, "agent", NAME_AGENT_MAX - 1, &err);
	const char *certificate =
		agent && name ? json_string(request, "certificate", NAME_CERTIFICATE_MAX - 1, &err) : NULL;
	if (!agent || (name && !certificate) || json_u32(request, "seconds", &seconds, &err) < 0 ||
		hold_set(c->hub, agent, certificate, seconds, &err) < 0) {
		client_refuse(c, err.kind == ERROR_RETRY ? CLI_FAILED : CLI_USAGE, "%s", err.message);
		return;
	}
	for (size_t i = 0; i < fleet_count(c->hub); i++) {
		struct rollout *r = fleet_at(c->hub, i);
		struct rollout_agent *a = rollout_find(r, agent);
		if (a && (!certificate || strcmp(r->certificate, certificate) == 0))
			client_say_agent(c, r, a, "agent");
	}
	client_finish(c, CLI_DONE, hold_is_unknown_to(c->hub, agent) ? "warning" : NULL,
		"the agent there is older than holds: files are still put right there until it is upgraded");
}

static void do_thumbprint(struct client *c, const cJSON *request)
{
	struct error err;
	struct thumbprint found;
	const cJSON *account = json_get(request, "account");
	if (thumbprint_find(c->hub->config, c->hub->store, cJSON_IsString(account) ? account->valuestring : NULL,
		    &found, &err) < 0) {
		client_refuse(c, err.kind == ERROR_USAGE ? CLI_USAGE : CLI_FAILED, "%s", err.message);
		return;
	}
	cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "event", "result");
	cJSON_AddNumberToObject(o, "exit", CLI_DONE);
	cJSON_AddStringToObject(o, "account", found.account);
	cJSON_AddStringToObject(o, "thumbprint", found.text);
	client_say(c, o);
	conn_finish(c->conn);
}

/* A command that has waited for long asks that (lib/wire/ask.h), and whoever reloads (lib/wire/reading.h). */
static void do_alive(struct client *c, const cJSON *request)
{
	(void)request;
	cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "event", "result");
	cJSON_AddNumberToObject(o, "exit", CLI_DONE);
	reading_put(&c->hub->reading, o);
	client_say(c, o);
	conn_finish(c->conn);
}

static const struct {
	const char *command;
	void (*run)(struct client *c, const cJSON *request);
} commands[] = {
	{"status", do_status},
	{"push", do_push},
	{"renew", do_renew},
	{"import", control_import},
	{"rollback", do_rollback},
	{"history", do_history},
	{"agent-add", control_agent_add},
	{"agent-join", control_join},
	{"agent-list", control_agent_list},
	{"agent-remove", control_agent_remove},
	{"thumbprint", do_thumbprint},
	{"account", control_account},
	{"revoke", control_revoke},
	{"hold", do_hold},
	{"recover", control_recover},
	{"keys", control_keys},
	{"keys-rotate", control_keys_rotate},
	{"alert-test", control_alert_test},
	{"alert-list", control_alert_list},
	{"alive", do_alive},
};

static void take_request(struct client *c, const struct frame *frame)
{
	struct error err;
	auto_json cJSON *request = json_parse(frame->data, frame->len, &err);
	const char *command = request ? json_string(request, "command", 32, &err) : NULL;
	if (!command) {
		client_refuse(c, CLI_USAGE, "%s", err.message);
		return;
	}
	for (size_t i = 0; i < COUNT(commands); i++) {
		if (strcmp(commands[i].command, command) != 0)
			continue;
		if (commands[i].run != do_alive)
			log_event(LOG_LEVEL_INFO, "command", "command=%s uid=%u", command, (unsigned)c->uid);
		commands[i].run(c, request);
		return;
	}
	client_refuse(c, CLI_USAGE, "this hub (%s) knows no command \"%s\"", CERTSYNC_VERSION, command);
}

static void take_files(struct client *c, const struct frame *frame)
{
	struct error err;
	struct files files;
	void (*take)(struct client * c, const struct files *files) = c->files;
	c->files = NULL;
	if (files_decode(frame->data, frame->len, &files, &err) < 0)
		client_refuse(c, CLI_FAILED, "%s: %s", c->certificate, err.message);
	else
		take(c, &files);
}

static void on_frame(struct conn *conn, const struct frame *frame, void *context)
{
	(void)conn;
	struct client *c = context;
	if (frame->type == FRAME_FILES && c->files)
		take_files(c, frame);
	else if (frame->type == FRAME_MESSAGE && !c->followed_count && !c->files && !c->awaits_keys && !c->gone &&
		!c->watch)
		take_request(c, frame);
	else
		client_refuse(c, CLI_USAGE, "one request at a time");
}

static void on_closed(struct conn *conn, const struct error *err, void *context)
{
	(void)conn;
	if (err->kind != ERROR_NONE)
		log_event(LOG_LEVEL_WARNING, "control", "error=\"%s\"", err->message);
	client_free(context);
}

static const struct conn_handler client_handler = {on_frame, on_closed};

/* Each user has places of his own, so that no member of the group keeps others, or root, out. */
void control_accept(int fd, uid_t uid, void *context)
{
	struct hub *hub = context;
	size_t same = 0;
	for (const struct client *other = hub->clients; other; other = other->next)
		same += other->uid == uid;
	struct client *c = mem_alloc(sizeof(*c));
	c->hub = hub;
	c->uid = uid;
	c->next = hub->clients;
	hub->clients = c;
	c->conn = conn_new(hub->base, fd, FRAMES_LOCAL, &client_handler, c);
	/* Ten thousand certificates have a long answer, and an operator's terminal may be slow. */
	conn_allow_output(c->conn, CONTROL_OUTPUT_MAX);
	c->check = event_new(hub->base, -1, 0, client_check, c);
	if (!c->check)
		mem_abort(__func__);
	if (same >= CONTROL_PER_UID)
		client_refuse(c, CLI_UNREACHABLE, "user %u has %zu commands at this hub already: end one of them",
			(unsigned)uid, same);
}
