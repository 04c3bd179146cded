#include "hub/daemon/agents/admission.h"
#include "hub/daemon/agents/enroll.h"
#include "hub/daemon/agents/host_keys.h"
#include "hub/daemon/agents/joining.h"
#include "hub/daemon/agents/key_changes.h"
#include "hub/daemon/agents/session.h"
#include "hub/daemon/agents/signing.h"
#include "hub/daemon/events.h"
#include "hub/daemon/agents/enrolment.h"
#include "lib/core/clock.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SESSION_HELLO_SECONDS = 15, SESSION_PER_AGENT = 4 };

/* ---- hello ---- */

/* Ends the sessions of the same agent that came in with another key. */
static void end_others(struct session *s, const char *reason)
{
	for (struct session *other = s->hub->sessions, *next; other; other = next) {
		next = other->next;
		if (strcmp(other->name, s->name) == 0 && strcmp(other->key, s->key) != 0)
			session_end(other, reason);
	}
}

/* The agent is here with its next key, so whoever uses the old one is not it, or soon will not be. Only the key
 * decides, not who came first, nor what either says of itself. */
static bool outranks(struct session *s)
{
	if (s->rotates) {
		end_others(s, "a session with the agent's next key outranks it");
		s->rotates = enroll_prove(s->hub, s->name, session_key(s)) < 0;
		return true;
	}
	const struct session *other = session_find(s->hub, s->name);
	if (!other || !other->rotates || strcmp(other->key, s->key) == 0)
		return true;
	session_refuse(s, true, "old-key",
		"agent %s is here with its next key: nobody else is let in with the one before", s->name);
	key_stranger_note(s->hub, s->name, s->key);
	return false;
}

/* When the same agent is here twice, the same root half replaces its old connection, and another machine is refused
 * while the first one is alive. */
static bool take_place(struct session *s)
{
	struct session *other = session_find(s->hub, s->name);
	if (!other || other == s)
		return true;
	bool alive = clock_monotonic_ms() - other->heard < SESSION_SILENCE * 1000;
	if (strcmp(other->instance, s->instance) != 0 && alive) {
		bool known = strcmp(other->rival_instance, s->instance) == 0;
		other->rival = clock_wall();
		snprintf(other->rival_instance, sizeof(other->rival_instance), "%s", s->instance);
		session_refuse(s, !known, "twice",
			"another machine is connected as agent %s: is this a clone? Give one of them a name and keys of its own "
			"(certsync-agent identity there, certsync agent add here)",
			s->name);
		return false;
	}
	session_end(other, "replaced by a new connection");
	return true;
}

static void take_hello(struct session *s, const struct message *m)
{
	if (s->hello) {
		session_refuse(s, true, "protocol", "hello came twice");
		return;
	}
	if (m->protocol < 1) {
		session_refuse(s, true, "version",
			"protocol %u is not spoken here, at least 1 is: upgrade this agent (%s)", m->protocol,
			m->version);
		return;
	}
	snprintf(s->instance, sizeof(s->instance), "%s", m->instance);
	snprintf(s->version, sizeof(s->version), "%s", m->version);
	s->skew = m->clock - clock_wall();
	s->inventories = m->count;
	if (!outranks(s) || !take_place(s))
		return;
	s->hello = true;
	log_event(LOG_LEVEL_INFO, "connected", "agent=%s version=%s certificates=%u skew=%llds", s->name, s->version,
		m->count, (long long)s->skew);
	/* The lower of the two versions is spoken from here on. */
	s->protocol = m->protocol < MESSAGE_PROTOCOL ? m->protocol : MESSAGE_PROTOCOL;
	struct message welcome = {.type = MESSAGE_WELCOME, .protocol = s->protocol, .clock = clock_wall()};
	snprintf(welcome.version, sizeof(welcome.version), "%s", CERTSYNC_VERSION);
	snprintf(welcome.name, sizeof(welcome.name), "%s", s->name);
	const struct hub_agent *agent = hub_config_agent(s->hub->config, s->name);
	if (agent && !agent->local)
		snprintf(welcome.host_keys, sizeof(welcome.host_keys), "%s", host_keys_text(s->hub));
	session_send(s, &welcome);
	signing_tell(s->hub, s);
	if (s->inventories == 0)
		s->hub->events->hello_done(s->hub, s->name);
}

static void take_inventory(struct session *s, const struct message *m)
{
	if (s->inventories == 0) {
		session_refuse(s, true, "protocol", "more inventories than hello announced");
		return;
	}
	s->hub->events->inventory(s->hub, s->name, m);
	if (--s->inventories == 0)
		s->hub->events->hello_done(s->hub, s->name);
}

static void take_message(struct session *s, const struct message *m)
{
	if (!s->hello && m->type != MESSAGE_HELLO) {
		session_refuse(s, true, "protocol", "%s came before hello", message_type_name(m->type));
		return;
	}
	switch (m->type) {
	case MESSAGE_HELLO:
		take_hello(s, m);
		return;
	case MESSAGE_INVENTORY:
		take_inventory(s, m);
		return;
	case MESSAGE_FETCH:
		s->hub->events->fetch(s->hub, s, m);
		return;
	case MESSAGE_STAGED:
	case MESSAGE_INSTALLED:
	case MESSAGE_VERIFIED:
	case MESSAGE_FAILED:
	case MESSAGE_PROBED:
	case MESSAGE_PULL:
		s->hub->events->answer(s->hub, s->name, m);
		return;
	case MESSAGE_PINNED:
		signing_pinned(s->hub, s->name, m);
		return;
	case MESSAGE_PING:
		session_send(s, &(struct message){.type = MESSAGE_PONG});
		return;
	case MESSAGE_ERROR:
		/* This is its last word: whoever says it closes. */
		log_event(LOG_LEVEL_WARNING, "agent-error", "agent=%s what=%s text=\"%s\"", s->name, m->step, m->text);
		conn_finish(s->conn);
		return;
	default:
		session_refuse(s, true, "protocol", "a hub does not take %s", message_type_name(m->type));
	}
}

static void on_frame(struct conn *c, const struct frame *frame, void *context)
{
	(void)c;
	struct session *s = context;
	struct error err;
	auto_message struct message m = {0};
	const struct timeval silence = {s->hello ? SESSION_SILENCE : SESSION_HELLO_SECONDS, 0};
	s->heard = clock_monotonic_ms();
	event_add(s->silence, &silence);
	if (frame->type != FRAME_MESSAGE)
		session_refuse(s, true, "protocol", "an agent sends no bundles");
	else if (message_decode(frame->data, frame->len, &m, &err) < 0)
		session_refuse(s, true, "protocol", "%s", err.message);
	else
		take_message(s, &m);
}

static void on_closed(struct conn *c, const struct error *err, void *context)
{
	(void)c;
	session_end(context, err->kind == ERROR_NONE ? "closed" : err->message);
}

static void on_silence(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	struct session *s = context;
	session_end(s, s->hello ? "not heard for 90 seconds" : "said no hello");
}

/* ---- the beginning of a session ---- */

static const struct conn_handler session_handler = {on_frame, on_closed};

/* Counts the sessions with the same key, since whoever has the old key cannot keep out whoever has the next one. */
static int count_of(const struct session *like)
{
	int count = 0;
	for (const struct session *s = like->hub->sessions; s; s = s->next)
		count += strcmp(s->name, like->name) == 0 && strcmp(s->key, like->key) == 0;
	return count;
}

/* Returns whether the session's key is one of this agent's. sshd judged that when the connection began, and a
 * connection lasts: each new channel in it runs the forced command of that time. */
static bool has_good_key(struct session *s)
{
	struct error err;
	struct enrolled_key key = {0};
	bool local = !s->text[0]; /* told by its uid */
	int found = enrolment_find_key(s->hub, s->name, session_key(s), &key, &err);
	if (found > 0 || local) {
		s->rotates = key.next;
		return true;
	}
	if (found < 0) {
		session_refuse(s, true, "store", "whether this is a key of agent %s cannot be looked up now: %s",
			s->name, err.message);
		return false;
	}
	session_refuse(s, key_stranger_note(s->hub, s->name, s->key), "old-key",
		"this key of agent %s is good for nothing any more: it was replaced, or the agent removed. If this is that agent, "
		"`certsync agent add %s` on the hub prints a line for it",
		s->name, s->name);
	return false;
}

/* The name is known, and frames come from here on. */
static void begin(struct session *s)
{
	const struct hub_agent *agent = hub_config_agent(s->hub->config, s->name);
	if (count_of(s) > SESSION_PER_AGENT) {
		session_end(s, "this agent has too many connections");
		return;
	}
	s->conn = conn_new(s->hub->base, s->fd, FRAMES_NETWORK, &session_handler, s);
	s->heard = clock_monotonic_ms();
	if (!agent)
		session_refuse(s, true, "unknown",
			"hub.conf has no section agent \"%s\": add it there, then send SIGHUP to certsync-hub-root",
			s->name);
	else
		has_good_key(s);
}

/* The forced command says who it is, and which key was used. */
static void begin_as_named(struct session *s)
{
	enum hub_key_use use;
	/* A NUL would hide what stands behind it. */
	if (strlen(s->text) != s->name_len || !hub_key_word_parse(s->text, &use, s->name, s->key)) {
		session_end(s, "the gate's name is outside the alphabet of agents' names");
		return;
	}
	if (use == HUB_KEY_AGENT) {
		begin(s);
		return;
	}
	joining_begin(s->hub, steal_fd(&s->fd), s->name);
	session_free(s);
}

static void on_prefix(evutil_socket_t fd, short what, void *context)
{
	(void)what;
	struct session *s = context;
	uint8_t length;
	ssize_t got;
	if (s->name_len == 0) {
		got = read((int)fd, &length, 1);
		if (got == 1 && (length == 0 || length > SESSION_WORD_MAX)) {
			session_end(s, "the gate sent no agent's name");
			return;
		}
		s->name_len = got == 1 ? length : 0;
	} else {
		got = read((int)fd, s->text + s->name_got, s->name_len - s->name_got);
		s->name_got += got > 0 ? (size_t)got : 0;
	}
	if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
		session_end(s, "closed before the gate's name was complete");
		return;
	}
	if (s->name_len == 0 || s->name_got < s->name_len)
		return;
	event_free(s->prefix);
	s->prefix = NULL;
	begin_as_named(s);
}

static struct session *come(struct hub *hub, int fd)
{
	const struct timeval silence = {SESSION_HELLO_SECONDS, 0};
	struct session *s = mem_alloc(sizeof(*s));
	s->hub = hub;
	s->fd = fd;
	s->next = hub->sessions;
	hub->sessions = s;
	s->silence = event_new(hub->base, -1, 0, on_silence, s);
	if (!s->silence || event_add(s->silence, &silence) < 0)
		mem_abort(__func__);
	return s;
}

static bool admitted(uid_t uid, uid_t wanted, int fd, const char *socket)
{
	if (uid == wanted)
		return true;
	log_event(LOG_LEVEL_WARNING, "refused", "socket=%s uid=%u reason=\"only uid %u may connect\"", socket,
		(unsigned)uid, (unsigned)wanted);
	close(fd);
	return false;
}

void admission_gate(int fd, uid_t uid, void *context)
{
	struct hub *hub = context;
	if (!admitted(uid, hub->gate_uid, fd, "gate"))
		return;
	struct session *s = come(hub, fd);
	s->prefix = event_new(hub->base, fd, EV_READ | EV_PERSIST, on_prefix, s);
	if (!s->prefix || event_add(s->prefix, NULL) < 0)
		mem_abort(__func__);
}

static const struct hub_agent *local_agent(const struct hub_config *config)
{
	for (size_t i = 0; i < config->agent_count; i++)
		if (config->agents[i].local)
			return &config->agents[i];
	return NULL;
}

void admission_local(int fd, uid_t uid, void *context)
{
	struct hub *hub = context;
	/* Root may join for its own node's agent, and does nothing else here. */
	bool joins = uid == 0 && hub->local_uid != 0;
	if (!joins && !admitted(uid, hub->local_uid, fd, "local"))
		return;
	const struct hub_agent *agent = local_agent(hub->config);
	if (!agent) {
		log_event(
			LOG_LEVEL_WARNING, "refused", "socket=local reason=\"no agent in hub.conf has local = true\"");
		close(fd);
		return;
	}
	if (joins) {
		joining_begin(hub, fd, agent->name);
		return;
	}
	struct session *s = come(hub, fd);
	snprintf(s->name, sizeof(s->name), "%s", agent->name);
	begin(s);
}
