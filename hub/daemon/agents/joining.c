#include "hub/daemon/agents/joining.h"
#include "hub/daemon/agents/enroll.h"
#include "hub/daemon/agents/join_line.h"
#include "lib/core/clock.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct joining {
	struct joining *next;
	struct hub *hub;
	struct conn *conn;
	struct event *deadline;
	char agent[NAME_AGENT_MAX];
	bool asked;                 /* its one frame has come */
	uint64_t keys;              /* waits for this answer of the root half; 0: for none */
	struct join_line join_line; /* as it was before it was spent */
	struct buf request;
};

static void joining_free(struct joining *j)
{
	for (struct joining **at = &j->hub->joinings; *at; at = &(*at)->next) {
		if (*at == j) {
			*at = j->next;
			break;
		}
	}
	event_free(j->deadline);
	conn_free(j->conn);
	buf_release(&j->request);
	join_line_release(&j->join_line);
	free(j);
}

void joining_close_all(struct hub *hub)
{
	while (hub->joinings) {
		log_event(LOG_LEVEL_NOTICE, "join",
			"agent=%s result=ended reason=\"the hub reads its configuration again, or ends\"",
			hub->joinings->agent);
		joining_free(hub->joinings);
	}
}

/* ---- answers ---- */

static void send_answer(struct joining *j, const struct join_answer *a, const uint8_t *mac)
{
	struct error err;
	auto_buf struct buf out = BUF_INIT(FRAME_JOIN_MAX);
	if (join_answer_encode(a, mac, j->join_line.line, j->request.data, j->request.len, &out, &err) < 0) {
		log_event(LOG_LEVEL_ERROR, "join", "agent=%s error=\"%s\"", j->agent, err.message);
		conn_finish(j->conn);
		return;
	}
	conn_send(j->conn, FRAME_JOIN, out.data, out.len);
	conn_finish(j->conn);
}

static void refuse(struct joining *j, const char *reason)
{
	struct join_answer a = {.ok = false};
	snprintf(a.text, sizeof(a.text), "%s", reason);
	log_event(LOG_LEVEL_WARNING, "join", "agent=%s result=refused reason=\"%s\"", j->agent, reason);
	send_answer(j, &a, NULL);
}

/* Names beyond what the frame takes are left out, since the node's configuration can be written without them. */
static void add_certificate(struct join_answer *a, const struct hub_certificate *certificate)
{
	struct join_certificate *c = &a->certificates[a->certificate_count++];
	size_t count = 0;
	snprintf(c->name, sizeof(c->name), "%s", certificate->name);
	while (count < JOIN_NAMES_MAX && certificate->names[count])
		count++;
	c->names = mem_array(count + 1, sizeof(*c->names));
	for (; c->name_count < count; c->name_count++)
		c->names[c->name_count] = mem_strdup(certificate->names[c->name_count]);
}

static size_t answer_size(const struct join_answer *a)
{
	size_t size = 0;
	for (size_t i = 0; i < a->certificate_count; i++) {
		size += strlen(a->certificates[i].name) + 5;
		for (size_t k = 0; k < a->certificates[i].name_count; k++)
			size += strlen(a->certificates[i].names[k]) + 4;
	}
	return size;
}

static void accept_node(struct joining *j)
{
	auto_join_answer struct join_answer a = {.ok = true};
	const struct hub_agent *agent = hub_config_agent(j->hub->config, j->agent);
	a.certificates = mem_array(JOIN_CERTIFICATES_MAX, sizeof(*a.certificates));
	for (size_t i = 0; agent && agent->certificates[i] && i < JOIN_CERTIFICATES_MAX; i++)
		add_certificate(&a, agent->certificates[i]);
	for (size_t i = a.certificate_count; i-- > 0 && answer_size(&a) > FRAME_JOIN_MAX - 2048;) {
		struct join_certificate *c = &a.certificates[i];
		while (c->name_count)
			free(c->names[--c->name_count]);
	}
	log_event(LOG_LEVEL_NOTICE, "join", "agent=%s result=done certificates=%zu", j->agent, a.certificate_count);
	send_answer(j, &a, j->join_line.mac);
}

/* ---- the one frame ---- */

static int enroll(struct joining *j, struct error *err)
{
	struct join_request r;
	if (join_request_decode(j->request.data, j->request.len, &r, err) < 0)
		return -1;
	if (!hub_key_is_valid(r.ssh))
		return error_set(err, ERROR_PERMANENT, "what was sent is not an SSH public key that is taken here");
	/* Where no key is needed to come in, none has to be proven first. */
	const struct hub_agent *agent = hub_config_agent(j->hub->config, j->agent);
	bool rotates = j->join_line.rotates && !(agent && agent->local);
	return enroll_keys(j->hub, j->agent, r.ssh, r.seal, rotates, j->join_line.by, err);
}

static void take_request(struct joining *j, const struct frame *frame)
{
	struct error err;
	static const char next[] = "`certsync agent add NAME` prints a new line";
	j->asked = true;
	if (buf_add(&j->request, frame->data, frame->len) < 0) {
		refuse(j, "the request is too long");
		return;
	}
	if (join_line_use(j->hub, j->agent, frame->data, frame->len, clock_wall(), &j->join_line, &err) < 0 ||
		enroll(j, &err) < 0) {
		auto_free char *reason = mem_printf("%s; %s", err.message, next);
		refuse(j, reason);
		return;
	}
	if (j->hub->root)
		j->keys = j->hub->keys_asked;
	else
		accept_node(j);
}

void joining_keys_written(struct hub *hub, bool ok, const char *text)
{
	for (struct joining *j = hub->joinings; j; j = j->next) {
		if (!j->keys || j->keys > hub->keys_answered)
			continue;
		j->keys = 0;
		auto_free char *reason = mem_printf("the hub could not write the key for its sshd: %s; mend it, then "
						    "`certsync agent add %s --replace` prints a new line",
			text, j->agent);
		if (ok)
			accept_node(j);
		else
			refuse(j, reason);
	}
}

static void on_frame(struct conn *c, const struct frame *frame, void *context)
{
	(void)c;
	struct joining *j = context;
	/* One frame was said; nothing more is taken, and the answer goes out all the same. */
	if (!j->asked)
		take_request(j, frame);
}

static void on_closed(struct conn *c, const struct error *err, void *context)
{
	(void)c;
	struct joining *j = context;
	if (!j->asked || err->kind != ERROR_NONE)
		log_event(LOG_LEVEL_INFO, "join", "agent=%s result=ended reason=\"%s\"", j->agent,
			err->kind == ERROR_NONE ? "it closed without having asked" : err->message);
	joining_free(j);
}

static void on_deadline(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	struct joining *j = context;
	log_event(LOG_LEVEL_WARNING, "join", "agent=%s result=ended reason=\"not done within %d seconds\"", j->agent,
		JOINING_SECONDS);
	joining_free(j);
}

/* ---- the beginning ---- */

static bool has_room(const struct hub *hub, const char *agent)
{
	int all = 0, same = 0;
	for (const struct joining *j = hub->joinings; j; j = j->next) {
		all++;
		same += strcmp(j->agent, agent) == 0;
	}
	return all < JOINING_MAX && same < JOINING_PER_AGENT;
}

static const struct conn_handler joining_handler = {on_frame, on_closed};

void joining_begin(struct hub *hub, int fd, const char *agent)
{
	const struct timeval wait = {JOINING_SECONDS, 0};
	if (!has_room(hub, agent)) {
		log_event(LOG_LEVEL_WARNING, "join", "agent=%s result=ended reason=\"too many are joining\"", agent);
		close(fd);
		return;
	}
	struct joining *j = mem_alloc(sizeof(*j));
	j->hub = hub;
	j->request = BUF_INIT(4096);
	snprintf(j->agent, sizeof(j->agent), "%s", agent);
	j->next = hub->joinings;
	hub->joinings = j;
	j->conn = conn_new(hub->base, fd, 1u << FRAME_JOIN, &joining_handler, j);
	j->deadline = event_new(hub->base, -1, 0, on_deadline, j);
	if (!j->deadline || event_add(j->deadline, &wait) < 0)
		mem_abort(__func__);
	if (!hub_config_agent(hub->config, agent)) {
		j->asked = true;
		refuse(j,
			"hub.conf has no section for this agent: add it there, then send SIGHUP to certsync-hub-root");
	}
}
