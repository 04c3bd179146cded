#include "agent/daemon/control.h"
#include "agent/daemon/certificate.h"
#include "lib/cli/cli.h"
#include "lib/core/clock.h"
#include "lib/wire/conn.h"
#include "lib/wire/json.h"
#include "lib/wire/listener.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"

#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CLIENTS_PER_UID = 16, PULL_SECONDS_MAX = 3600 };

struct client {
	struct client *next;
	struct site *site;
	uid_t uid;
	struct conn *conn;
	bool *followed; /* by pull: which certificates; NULL: no pull */
	bool asked;     /* the hub has been asked … */
	bool ponged;    /* … and has said all that it had to say to that */
	struct event *check;
	struct event *deadline;
};

struct control {
	struct listener *listener;
	struct client *clients;
};

static void client_free(struct client *c)
{
	struct control *control = c->site->control;
	for (struct client **at = &control->clients; *at; at = &(*at)->next) {
		if (*at == c) {
			*at = c->next;
			break;
		}
	}
	event_free(c->check);
	event_free(c->deadline);
	conn_free(c->conn);
	free(c->followed);
	free(c);
}

/* ---- answers ---- */

/* Sends the object and takes it over. */
static void answer(struct client *c, cJSON *o)
{
	auto_buf struct buf text = BUF_INIT(FRAME_MESSAGE_MAX);
	if (json_print(o, &text) < 0)
		log_event(LOG_LEVEL_ERROR, "control", "error=\"an answer of over %d bytes was not sent\"",
			FRAME_MESSAGE_MAX);
	else
		conn_send(c->conn, FRAME_MESSAGE, text.data, text.len);
	cJSON_Delete(o);
}

static cJSON *result(enum cli_exit exit_code, const char *error)
{
	cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "event", "result");
	cJSON_AddNumberToObject(o, "exit", exit_code);
	if (error)
		cJSON_AddStringToObject(o, "error", error);
	return o;
}

/* Sends the last answer, and takes it over. */
static void finish_with(struct client *c, cJSON *o)
{
	answer(c, o);
	event_del(c->deadline);
	free(c->followed);
	c->followed = NULL;
	conn_finish(c->conn);
}

static void finish(struct client *c, enum cli_exit exit_code, const char *error)
{
	finish_with(c, result(exit_code, error));
}

/* lib/wire/ask.h and lib/wire/reading.h have who asks that. */
static void do_alive(struct client *c)
{
	cJSON *o = result(CLI_DONE, NULL);
	reading_put(&c->site->reading, o);
	finish_with(c, o);
}

static cJSON *hub_status(const struct site *site)
{
	char when[CLOCK_TEXT_MAX];
	struct session_status s;
	session_status(site->session, &s);
	cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "event", "hub");
	cJSON_AddStringToObject(o, "version", CERTSYNC_VERSION);
	cJSON_AddStringToObject(o, "hub", s.hub);
	cJSON_AddStringToObject(o, "name", s.name);
	cJSON_AddStringToObject(o, "state", s.state);
	cJSON_AddStringToObject(o, "since", clock_text(s.since, when));
	cJSON_AddStringToObject(o, "next_try", s.next_try ? clock_text(s.next_try, when) : "");
	cJSON_AddStringToObject(o, "failure", s.failure);
	cJSON_AddStringToObject(o, "failed_at", s.failure[0] ? clock_text(s.failed_at, when) : "");
	return o;
}

static void do_status(struct client *c)
{
	bool converged = true;
	struct site *site = c->site;
	answer(c, hub_status(site));
	for (size_t i = 0; i < site->certificate_count; i++) {
		answer(c, daemon_certificate_status(site->certificates[i]));
		converged = converged && daemon_certificate_converged(site->certificates[i]);
	}
	finish(c, !converged ? CLI_UNCONVERGED : session_is_ready(site->session) ? CLI_DONE : CLI_UNREACHABLE, NULL);
}

/* ---- pull ---- */

static void progress(struct client *c, const char *certificate, const char *what, const char *text)
{
	cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "event", "progress");
	cJSON_AddStringToObject(o, "certificate", certificate);
	cJSON_AddStringToObject(o, "what", what);
	cJSON_AddStringToObject(o, "text", text);
	answer(c, o);
}

static void ask_hub(struct client *c)
{
	struct site *site = c->site;
	for (size_t i = 0; i < site->certificate_count; i++)
		if (c->followed[i])
			daemon_certificate_pull(site->certificates[i]);
	c->asked = true;
	session_ping(site->session);
}

static void finish_pull(struct client *c, const char *error)
{
	struct site *site = c->site;
	bool failed = false, converged = true;
	for (size_t i = 0; i < site->certificate_count; i++) {
		if (!c->followed[i])
			continue;
		answer(c, daemon_certificate_status(site->certificates[i]));
		failed = failed || daemon_certificate_transaction(site->certificates[i])->state == TRANSACTION_FAILED;
		converged = converged && daemon_certificate_converged(site->certificates[i]);
	}
	finish(c, failed ? CLI_FAILED : converged ? CLI_DONE : CLI_UNCONVERGED, error);
}

static bool pull_is_over(const struct client *c)
{
	const struct site *site = c->site;
	for (size_t i = 0; i < site->certificate_count; i++) {
		const struct transaction *t = daemon_certificate_transaction(site->certificates[i]);
		if (c->followed[i] && (!transaction_rests(t) || t->state == TRANSACTION_STAGED))
			return false;
	}
	return c->ponged;
}

static void on_check(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	struct client *c = context;
	if (c->followed && pull_is_over(c))
		finish_pull(c, NULL);
}

static void on_deadline(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	struct client *c = context;
	if (!c->ponged)
		finish(c, CLI_UNREACHABLE, "the hub has not answered in time: see `certsync-agent status`");
	else
		finish_pull(c,
			"not finished in time: what is staged waits for the other agents (see "
			"`certsync status` on the hub)");
}

static int choose_certificates(struct client *c, const cJSON *request, struct error *err)
{
	const struct site *site = c->site;
	const cJSON *names = json_array(request, "certificates", (int)site->certificate_count + 1, err);
	const cJSON *element;
	if (!names)
		return -1;
	bool all = cJSON_GetArraySize(names) == 0;
	c->followed = mem_array(site->certificate_count, sizeof(bool));
	for (size_t i = 0; all && i < site->certificate_count; i++)
		c->followed[i] = true;
	cJSON_ArrayForEach (element, names) {
		const char *name = json_element(element, NAME_CERTIFICATE_MAX - 1, err);
		size_t i = 0;
		while (name && i < site->certificate_count &&
			strcmp(daemon_certificate_name(site->certificates[i]), name) != 0)
			i++;
		if (!name || i == site->certificate_count)
			return name ? error_set(err, ERROR_USAGE, "%s is not in agent.conf", name) : -1;
		c->followed[i] = true;
	}
	return 0;
}

static void do_pull(struct client *c, const cJSON *request)
{
	struct error err;
	uint32_t seconds;
	char when[CLOCK_TEXT_MAX];
	struct session_status status;
	if (choose_certificates(c, request, &err) < 0 || json_u32(request, "seconds", &seconds, &err) < 0) {
		finish(c, CLI_USAGE, err.message);
		return;
	}
	const struct timeval deadline = {seconds < PULL_SECONDS_MAX ? seconds : PULL_SECONDS_MAX, 0};
	event_add(c->deadline, &deadline);
	if (session_is_ready(c->site->session)) {
		ask_hub(c);
		return;
	}
	if (session_connect_now(c->site->session)) {
		progress(c, "", "connecting", "to the hub");
		return;
	}
	session_status(c->site->session, &status);
	auto_free char *text = mem_printf("three logins have failed in ten minutes, and more could have this address "
					  "banned: the next try is at %s: %s",
		clock_text(status.next_try, when), status.failure);
	finish(c, CLI_UNREACHABLE, text);
}

/* Services were changed, so what was found wrong with them may be over. */
static void do_look(struct client *c)
{
	struct site *site = c->site;
	for (size_t i = 0; i < site->certificate_count; i++) {
		daemon_certificate_inspect(site->certificates[i]);
		if (session_is_ready(site->session))
			daemon_certificate_pull(site->certificates[i]);
	}
	finish(c, CLI_DONE, NULL);
}

/* ---- connections ---- */

static void on_frame(struct conn *conn, const struct frame *frame, void *context)
{
	(void)conn;
	struct client *c = context;
	struct error err;
	auto_json cJSON *request = json_parse(frame->data, frame->len, &err);
	const char *command = request ? json_string(request, "command", 32, &err) : NULL;
	if (!command)
		finish(c, CLI_USAGE, err.message);
	else if (c->followed)
		finish(c, CLI_USAGE, "one request a connection");
	else if (!c->site->session)
		finish(c, CLI_UNREACHABLE, "the agent is starting: try again in a moment");
	else if (strcmp(command, "alive") == 0)
		do_alive(c);
	else if (strcmp(command, "status") == 0)
		do_status(c);
	else if (strcmp(command, "pull") == 0)
		do_pull(c, request);
	else if (strcmp(command, "look") == 0)
		do_look(c);
	else if (strcmp(command, "reconnect") == 0)
		finish(c, session_reconnect(c->site->session) ? CLI_DONE : CLI_FAILED, NULL);
	else
		finish(c, CLI_USAGE,
			"the running agent does not know this command: was it upgraded without a restart?");
}

static void on_closed(struct conn *conn, const struct error *err, void *context)
{
	(void)conn;
	(void)err;
	client_free(context);
}

static const struct conn_handler handler = {on_frame, on_closed};

/* The socket's mode and group have let the client in. Each user has places of his own, so that no member of the group
 * keeps others, or root, out. */
static void on_accept(int fd, uid_t uid, void *context)
{
	struct site *site = context;
	size_t same = 0;
	struct client *c = mem_alloc(sizeof(*c));
	c->site = site;
	c->check = event_new(site->base, -1, 0, on_check, c);
	c->deadline = event_new(site->base, -1, 0, on_deadline, c);
	if (!c->check || !c->deadline)
		mem_abort(__func__);
	c->conn = conn_new(site->base, fd, 1u << FRAME_MESSAGE, &handler, c);
	c->uid = uid;
	for (const struct client *other = site->control->clients; other; other = other->next)
		same += other->uid == uid;
	c->next = site->control->clients;
	site->control->clients = c;
	if (same >= CLIENTS_PER_UID)
		finish(c, CLI_UNREACHABLE, "too many commands of this user ask this agent at once: end one of them");
}

static gid_t admin_gid(const struct site *site)
{
	const struct group *group = getgrnam(site->config->admin_group); /* there when the configuration was read */
	return group ? group->gr_gid : (gid_t)-1;
}

int control_open(struct site *site, struct error *err)
{
	auto_free char *path = mem_printf("%s/control.sock", site->config->run);
	struct control *control = mem_alloc(sizeof(*control));
	control->listener = listener_new(site->base, path, 0660, admin_gid(site), on_accept, site, err);
	if (!control->listener) {
		free(control);
		return -1;
	}
	site->control = control;
	return 0;
}

void control_close(struct site *site)
{
	if (!site->control)
		return;
	while (site->control->clients)
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): client_free takes it off the list */
		client_free(site->control->clients);
	listener_free(site->control->listener);
	free(site->control);
	site->control = NULL;
}

/* ---- what clients wait for ---- */

void control_interrupt(struct site *site)
{
	for (struct client *c = site->control->clients; c; c = c->next)
		if (c->followed)
			finish(c, CLI_FAILED, "the agent reads its configuration again: try once more");
}

void control_welcome(struct site *site)
{
	for (struct client *c = site->control->clients; c; c = c->next)
		if (c->followed && !c->asked)
			ask_hub(c);
}

void control_pong(struct site *site)
{
	for (struct client *c = site->control->clients; c; c = c->next) {
		if (!c->followed || !c->asked)
			continue;
		c->ponged = true;
		event_active(c->check, 0, 0);
	}
}

void control_hub_failed(struct site *site)
{
	struct session_status s;
	session_status(site->session, &s);
	for (struct client *c = site->control->clients; c; c = c->next)
		if (c->followed && !c->ponged)
			finish(c, CLI_UNREACHABLE, s.failure);
}

void control_told(struct site *site, struct daemon_certificate *about, const struct message *m)
{
	char revision[REVISION_TEXT_MAX];
	size_t i = 0;
	while (i < site->certificate_count && site->certificates[i] != about)
		i++;
	for (struct client *c = site->control ? site->control->clients : NULL; c; c = c->next) {
		if (!c->followed || i == site->certificate_count || !c->followed[i])
			continue;
		if (m->type != MESSAGE_PROBED)
			progress(c, m->certificate, message_type_name(m->type),
				m->type == MESSAGE_FAILED ? m->text : revision_text(m->content.revision, revision));
		event_active(c->check, 0, 0);
	}
}
