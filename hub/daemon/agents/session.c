#include "hub/daemon/agents/session.h"
#include "hub/daemon/agents/host_keys.h"
#include "hub/daemon/agents/enroll.h"
#include "hub/daemon/rollout/fleet.h"
#include "hub/daemon/agents/joining.h"
#include "hub/daemon/agents/key_changes.h"
#include "hub/daemon/agents/signing.h"
#include "lib/core/clock.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SESSION_HELLO_SECONDS = 15, SESSION_PER_AGENT = 4, SESSION_TEXT_MAX = HUB_KEY_WORD_MAX - 1 };

struct session {
	struct session *next;
	struct hub *hub;
	int fd;               /* until the name is known; then conn has it */
	struct event *prefix; /* reads the gate's length byte and name */
	struct event *silence;
	struct conn *conn;
	char text[SESSION_TEXT_MAX + 1]; /* of the forced command */
	char name[NAME_AGENT_MAX];
	char key[HUB_KEY_MARK_MAX]; /* which one it came in with; "": none, by the local socket */
	bool rotates;               /* that is the agent's next one, which is not its only one yet */
	size_t name_len, name_got;  /* of `text`; name_len 0: the length byte has not come */
	bool hello;                 /* said, and accepted */
	char instance[33];
	char version[32];
	uint32_t protocol;
	int64_t skew;
	int64_t rival;           /* when another machine was refused in this one's favour; 0 never */
	char rival_instance[33]; /* which one that was: it is logged once */
	uint32_t inventories;    /* still to come */
	int64_t heard;           /* monotonic ms */
	int64_t noise_since;     /* monotonic ms: the minute in which */
	uint32_t noise;          /* so many lines were to be logged about what it did wrong */
};

const char *session_agent(const struct session *s)
{
	return s->name;
}

const char *session_key(const struct session *s)
{
	return s->key[0] ? s->key : NULL;
}

const char *session_version(const struct session *s)
{
	return s->version;
}

uint32_t session_protocol(const struct session *s)
{
	return s->protocol;
}

int64_t session_rival(const struct session *s)
{
	return s->rival;
}

int64_t session_skew(const struct session *s)
{
	return s->skew;
}

struct session *session_find(struct hub *hub, const char *agent)
{
	for (struct session *s = hub->sessions; s; s = s->next)
		if (s->hello && strcmp(s->name, agent) == 0)
			return s;
	return NULL;
}

bool session_may_complain(struct hub *hub, const char *agent)
{
	struct session *s = session_find(hub, agent);
	int64_t now = clock_monotonic_ms();
	if (!s)
		return true;
	if (now - s->noise_since >= 60 * 1000) {
		s->noise_since = now;
		s->noise = 0;
	}
	if (s->noise++ < SESSION_NOISE)
		return true;
	if (s->noise == SESSION_NOISE + 1)
		log_event(LOG_LEVEL_WARNING, "refused",
			"agent=%s what=noise reason=\"over %d lines in a minute about what it does wrong: the rest is "
			"not logged\"",
			agent, SESSION_NOISE);
	return false;
}

void session_send(struct session *s, const struct message *m)
{
	auto_buf struct buf text = BUF_INIT(FRAME_MESSAGE_MAX);
	message_encode(m, &text);
	conn_send(s->conn, FRAME_MESSAGE, text.data, text.len);
}

void session_send_bundle(struct session *s, const void *data, size_t len)
{
	conn_send(s->conn, FRAME_BUNDLE, data, len);
}

/* The end of a session. */

static void session_free(struct session *s)
{
	for (struct session **at = &s->hub->sessions; *at; at = &(*at)->next) {
		if (*at == s) {
			*at = s->next;
			break;
		}
	}
	if (s->prefix)
		event_free(s->prefix);
	if (s->silence)
		event_free(s->silence);
	if (s->conn)
		conn_free(s->conn);
	else if (s->fd >= 0)
		close(s->fd);
	free(s);
}

static void session_end(struct session *s, const char *reason)
{
	struct hub *hub = s->hub;
	char name[NAME_AGENT_MAX];
	bool hello = s->hello;
	snprintf(name, sizeof(name), "%s", s->name);
	log_event(LOG_LEVEL_INFO, "disconnected", "agent=%s reason=\"%s\"", name[0] ? name : "?", reason);
	session_free(s);
	if (hello)
		fleet_lost(hub, name);
}

void session_close_all(struct hub *hub)
{
	while (hub->sessions)
		session_free(hub->sessions);
}

void session_drop(struct hub *hub, const char *agent, const char *reason)
{
	for (struct session *s = hub->sessions, *next; s; s = next) {
		next = s->next;
		if (strcmp(s->name, agent) == 0)
			session_end(s, reason);
	}
}

/* Says why and ends: the agent shows the reason in its own status. */
static void session_refuse(struct session *s, bool log, const char *what, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static void session_refuse(struct session *s, bool log, const char *what, const char *fmt, ...)
{
	struct message m = {.type = MESSAGE_ERROR};
	va_list args;
	snprintf(m.step, sizeof(m.step), "%s", what);
	va_start(args, fmt);
	vsnprintf(m.text, sizeof(m.text), fmt, args);
	va_end(args);
	text_clean(m.text, 0);
	if (log)
		log_event(LOG_LEVEL_WARNING, "refused", "agent=%s what=%s reason=\"%s\"", s->name, what, m.text);
	session_send(s, &m);
	conn_finish(s->conn);
}

/* Hello. */

/* Those of the same agent that came in with another key. */
static void end_others(struct session *s, const char *reason)
{
	for (struct session *other = s->hub->sessions, *next; other; other = next) {
		next = other->next;
		if (strcmp(other->name, s->name) == 0 && strcmp(other->key, s->key) != 0)
			session_end(other, reason);
	}
}

/* The agent is here with its next key: whoever uses the old one is not it, or soon will not be. What outranks it is the key alone, not
 * who came first, nor what either says of itself. */
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

/* The same agent twice: the same root half replaces its old connection, another machine is refused while the first
 * is alive. */
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
		snprintf(welcome.host_keys, sizeof(welcome.host_keys), "%s", announce_text(s->hub));
	session_send(s, &welcome);
	signing_tell(s->hub, s);
	if (s->inventories == 0)
		fleet_hello_done(s->hub, s->name);
}

static void take_inventory(struct session *s, const struct message *m)
{
	if (s->inventories == 0) {
		session_refuse(s, true, "protocol", "more inventories than hello announced");
		return;
	}
	fleet_inventory(s->hub, s->name, m);
	if (--s->inventories == 0)
		fleet_hello_done(s->hub, s->name);
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
		fleet_fetch(s->hub, s, m);
		return;
	case MESSAGE_STAGED:
	case MESSAGE_INSTALLED:
	case MESSAGE_VERIFIED:
	case MESSAGE_FAILED:
	case MESSAGE_PROBED:
	case MESSAGE_PULL:
		fleet_answer(s->hub, s->name, m);
		return;
	case MESSAGE_PINNED:
		signing_pinned(s->hub, s->name, m);
		return;
	case MESSAGE_PING:
		session_send(s, &(struct message){.type = MESSAGE_PONG});
		return;
	case MESSAGE_ERROR:
		/* Its last word: whoever says it closes. */
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

/* The beginning of a session. */

static const struct conn_handler session_handler = {on_frame, on_closed};

/* With the same key: who has the old one cannot keep out who has the next. */
static int count_of(const struct session *like)
{
	int count = 0;
	for (const struct session *s = like->hub->sessions; s; s = s->next)
		count += strcmp(s->name, like->name) == 0 && strcmp(s->key, like->key) == 0;
	return count;
}

/* Its key is one of this agent's. sshd judged that when the connection began, and a connection lasts: each new channel in it runs the
 * forced command of then. */
static bool has_good_key(struct session *s)
{
	struct error err;
	struct enrolled_key key = {0};
	bool local = !s->text[0]; /* told by its uid */
	int found = enroll_find_key(s->hub, s->name, session_key(s), &key, &err);
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

/* The name is known: from here on frames. */
static void session_begin(struct session *s)
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

/* The forced command says who it is, and which key that was. */
static void begin_as_named(struct session *s)
{
	enum hub_key_use use;
	/* A NUL would hide what stands behind it. */
	if (strlen(s->text) != s->name_len || !hub_key_word_parse(s->text, &use, s->name, s->key)) {
		session_end(s, "the gate's name is outside the alphabet of agents' names");
		return;
	}
	if (use == HUB_KEY_AGENT) {
		session_begin(s);
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
		if (got == 1 && (length == 0 || length > SESSION_TEXT_MAX)) {
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

static struct session *session_new(struct hub *hub, int fd)
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

void session_accept_gate(int fd, uid_t uid, void *context)
{
	struct hub *hub = context;
	if (!admitted(uid, hub->gate_uid, fd, "gate"))
		return;
	struct session *s = session_new(hub, fd);
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

void session_accept_local(int fd, uid_t uid, void *context)
{
	struct hub *hub = context;
	/* Root joins for its own node's agent, and does nothing else here. */
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
	struct session *s = session_new(hub, fd);
	snprintf(s->name, sizeof(s->name), "%s", agent->name);
	session_begin(s);
}
