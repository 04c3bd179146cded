#include "agent/daemon/session.h"
#include "agent/daemon/backoff.h"
#include "agent/common/link.h"
#include "agent/daemon/tunnel.h"
#include "lib/crypto/bundle.h"
#include "lib/core/clock.h"
#include "lib/wire/conn.h"
#include "lib/wire/listener.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { LEAVE_SECONDS = 3, FETCHES_MAX = 64, SKEW_MAX = 300 };

enum state { WAITING, CONNECTING, READY };

struct fetch {
	char certificate[NAME_CERTIFICATE_MAX];
	struct revision revision;
	uint32_t attempt;
};

struct session {
	struct event_base *base;
	const struct agent_config *config;
	const struct session_handler *handler;
	void *context;
	struct backoff backoff;
	enum state state;
	int64_t since, next_try; /* wall clock */
	int64_t ready_at;        /* monotonic */
	struct conn *conn;
	struct tunnel *tunnel;
	bool tunnel_over;
	bool denied;
	struct event *timer;    /* the next attempt, or the welcome's deadline, or the next ping */
	struct event *deadline; /* of the pong */
	struct event *bundle_late;
	struct event *leave;             /* of a link that does not end */
	struct fetch fetch[FETCHES_MAX]; /* the first is outstanding */
	size_t fetch_count;
	char name[NAME_AGENT_MAX];
	char reason[ERROR_MESSAGE_MAX]; /* why this connection ends; the first reason counts */
	char failure[ERROR_MESSAGE_MAX];
	int64_t failed_at;
};

static const char *hub_text(const struct session *s)
{
	return s->config->hubs[s->backoff.hub].text;
}

static void set_state(struct session *s, enum state state)
{
	s->state = state;
	s->since = clock_wall();
	s->next_try = 0;
}

static void arm(struct event *event, int64_t milliseconds)
{
	const struct timeval tv = {milliseconds / 1000, milliseconds % 1000 * 1000};
	event_add(event, &tv);
}

static void give_reason(struct session *s, const char *text)
{
	if (!s->reason[0])
		snprintf(s->reason, sizeof(s->reason), "%s", text);
}

/* ---- the end of a connection, and the wait for the next ---- */

static void wait_for_next(struct session *s)
{
	char span[CLOCK_TEXT_MAX];
	uint32_t random = 0;
	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		random = (uint32_t)clock_monotonic_ms();
	int64_t delay = backoff_delay(&s->backoff, clock_monotonic_ms(), random);
	set_state(s, WAITING);
	s->next_try = clock_wall() + (delay + 999) / 1000;
	arm(s->timer, delay);
	log_event(LOG_LEVEL_INFO, "hub-retry", "hub=%s in=%s", hub_text(s), clock_span(delay, span));
}

static void finish(struct session *s)
{
	bool was_ready = s->state == READY;
	conn_free(s->conn);
	tunnel_free(s->tunnel);
	s->conn = NULL;
	s->tunnel = NULL;
	event_del(s->timer);
	event_del(s->deadline);
	event_del(s->bundle_late);
	event_del(s->leave);
	s->fetch_count = 0;
	snprintf(s->failure, sizeof(s->failure), "%s", s->reason[0] ? s->reason : "the hub closed the connection");
	s->failed_at = clock_wall();
	log_event(was_ready ? LOG_LEVEL_NOTICE : LOG_LEVEL_WARNING, was_ready ? "hub-lost" : "hub-failed",
		"hub=%s reason=\"%s\"", hub_text(s), s->failure);
	int64_t now = clock_monotonic_ms();
	if (was_ready && now - s->ready_at >= SESSION_LASTED * 1000)
		backoff_lasted(&s->backoff);
	else
		backoff_failed(&s->backoff, s->denied, now);
	wait_for_next(s);
	s->handler->lost(was_ready, s->context);
}

static void on_leave(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	finish(context);
}

/* Both must have ended: the hub's last word is in the stream, and the link's last line says why it ended. */
static void finish_if_over(struct session *s)
{
	if (!s->conn && (!s->tunnel || s->tunnel_over))
		finish(s);
	else
		arm(s->leave, LEAVE_SECONDS * 1000);
}

static void on_tunnel_ended(int exit_code, const char *reason, void *context)
{
	struct session *s = context;
	s->tunnel_over = true;
	/* fail2ban's aggressive filters count both a refused login and a client that leaves before it. */
	s->denied = exit_code == LINK_DENIED || exit_code == LINK_UNPINNED;
	if (exit_code != LINK_DONE)
		give_reason(s, reason);
	if (exit_code == LINK_UNPINNED)
		log_event(LOG_LEVEL_ERROR, "hub-key-changed", "hub=%s reason=\"%s\"", hub_text(s), reason);
	finish_if_over(s);
}

static void on_closed(struct conn *c, const struct error *err, void *context)
{
	struct session *s = context;
	conn_free(c);
	s->conn = NULL;
	if (err->kind != ERROR_NONE)
		give_reason(s, err->message);
	finish_if_over(s);
}

/* Tells the hub what is wrong, and ends. */
static void refuse(struct session *s, const char *what, const char *text)
{
	char reason[ERROR_MESSAGE_MAX];
	struct message m = {.type = MESSAGE_ERROR};
	snprintf(m.step, sizeof(m.step), "%s", what);
	snprintf(m.text, sizeof(m.text), "%s", text);
	snprintf(reason, sizeof(reason), "%s: %.900s", what, text);
	give_reason(s, reason);
	session_tell(s, &m);
	conn_finish(s->conn);
}

/* ---- messages ---- */

void session_tell(struct session *s, const struct message *m)
{
	if (!s->conn)
		return;
	auto_buf struct buf text = BUF_INIT(FRAME_MESSAGE_MAX);
	message_encode(m, &text);
	conn_send(s->conn, FRAME_MESSAGE, text.data, text.len);
}

void session_ping(struct session *s)
{
	if (s->state != READY)
		return;
	session_tell(s, &(struct message){.type = MESSAGE_PING});
	arm(s->deadline, SESSION_PONG * 1000);
	arm(s->timer, SESSION_PING * 1000);
}

static void take_welcome(struct session *s, const struct message *m)
{
	int64_t skew = m->clock - clock_wall();
	if (s->state == READY) {
		refuse(s, "protocol", "welcome came twice");
		return;
	}
	if (m->protocol < 1 || m->protocol > MESSAGE_PROTOCOL) {
		refuse(s, "version",
			"the hub chose a protocol that this agent does not speak: upgrade the older of the "
			"two");
		return;
	}
	set_state(s, READY);
	s->ready_at = clock_monotonic_ms();
	s->failure[0] = '\0';
	snprintf(s->name, sizeof(s->name), "%s", m->name);
	backoff_welcomed(&s->backoff);
	arm(s->timer, SESSION_PING * 1000);
	log_event(LOG_LEVEL_NOTICE, "hub-connected", "hub=%s name=%s version=%s skew=%" PRId64 "s", hub_text(s),
		m->name, m->version, skew);
	if (skew > SKEW_MAX || skew < -SKEW_MAX)
		log_event(LOG_LEVEL_WARNING, "clock-skew",
			"hub=%s skew=%" PRId64 "s advice=\"set the clock of one of the two\"", hub_text(s), skew);
	s->handler->welcome(m, s->context);
}

static void take_message(struct session *s, const struct message *m)
{
	char text[128];
	if (m->type == MESSAGE_ERROR) {
		char reason[ERROR_MESSAGE_MAX];
		snprintf(reason, sizeof(reason), "the hub says %s: %.900s", m->step, m->text);
		give_reason(s, reason);
	} else if (m->type == MESSAGE_WELCOME) {
		take_welcome(s, m);
	} else if (s->state == READY && m->type == MESSAGE_PONG) {
		s->handler->pong(s->context);
	} else if (s->state == READY &&
		(m->type == MESSAGE_OFFER || m->type == MESSAGE_ACTIVATE || m->type == MESSAGE_PROBE ||
			m->type == MESSAGE_HOLD || m->type == MESSAGE_SIGNERS)) {
		s->handler->message(m, s->context);
	} else {
		snprintf(text, sizeof(text), "an agent does not take %s%s", message_type_name(m->type),
			s->state == READY ? "" : " before welcome");
		refuse(s, "protocol", text);
	}
}

/* ---- fetches ---- */

static void send_fetch(struct session *s)
{
	if (!s->fetch_count) {
		event_del(s->bundle_late);
		return;
	}
	const struct fetch *f = &s->fetch[0];
	struct message m = {.type = MESSAGE_FETCH, .content.revision = f->revision, .attempt = f->attempt};
	memcpy(m.certificate, f->certificate, sizeof(m.certificate));
	session_tell(s, &m);
	arm(s->bundle_late, SESSION_BUNDLE * 1000);
}

static size_t find_fetch(const struct session *s, const char *certificate)
{
	size_t i = 0;
	while (i < s->fetch_count && strcmp(s->fetch[i].certificate, certificate) != 0)
		i++;
	return i;
}

void session_fetch(struct session *s, const char *certificate, struct revision revision, uint32_t attempt)
{
	size_t i = find_fetch(s, certificate);
	if (i == FETCHES_MAX)
		return; /* more certificates than there can be */
	struct fetch *f = &s->fetch[i];
	*f = (struct fetch){.revision = revision, .attempt = attempt};
	snprintf(f->certificate, sizeof(f->certificate), "%s", certificate);
	if (i == s->fetch_count)
		s->fetch_count++;
	if (i == 0)
		send_fetch(s);
}

void session_forget_fetch(struct session *s, const char *certificate)
{
	size_t i = find_fetch(s, certificate);
	if (i == s->fetch_count)
		return;
	s->fetch_count--;
	memmove(&s->fetch[i], &s->fetch[i + 1], (s->fetch_count - i) * sizeof(s->fetch[0]));
	if (i == 0)
		send_fetch(s);
}

static void take_bundle(struct session *s, const struct frame *frame)
{
	struct fetch subject;
	char revision[REVISION_TEXT_MAX];
	if (s->state != READY || bundle_subject(frame->data, frame->len, subject.certificate, &subject.revision) < 0) {
		refuse(s, "protocol", "this is no bundle that was asked for");
		return;
	}
	const struct fetch *f = &s->fetch[0];
	if (!s->fetch_count || strcmp(f->certificate, subject.certificate) != 0 ||
		revision_compare(f->revision, subject.revision) != 0) {
		/* The bundle belongs to an offer that a newer one has replaced meanwhile. */
		log_event(LOG_LEVEL_INFO, "bundle-dropped", "certificate=%s revision=%s reason=\"nobody waits for it\"",
			subject.certificate, revision_text(subject.revision, revision));
		return;
	}
	session_forget_fetch(s, subject.certificate);
	s->handler->bundle(subject.certificate, frame->data, frame->len, s->context);
}

static void on_frame(struct conn *c, const struct frame *frame, void *context)
{
	(void)c;
	struct session *s = context;
	struct error err;
	event_del(s->deadline); /* whatever came, the hub lives */
	if (frame->type == FRAME_BUNDLE) {
		take_bundle(s, frame);
		return;
	}
	auto_message struct message m = {0};
	if (message_decode(frame->data, frame->len, &m, &err) < 0)
		refuse(s, "protocol", err.message);
	else
		take_message(s, &m);
}

/* ---- attempts ---- */

static const struct conn_handler conn_handler = {on_frame, on_closed};

static int open_stream(struct session *s, struct error *err)
{
	int fd;
	const struct agent_hub *hub = &s->config->hubs[s->backoff.hub];
	if (hub->path)
		return listener_connect(hub->path, 1, err);
	s->tunnel = tunnel_start(s->base, s->config, hub, on_tunnel_ended, s, &fd, err);
	return s->tunnel ? fd : -1;
}

static void connect_now(struct session *s)
{
	struct error err;
	set_state(s, CONNECTING);
	s->reason[0] = '\0';
	s->denied = s->tunnel_over = false;
	int fd = open_stream(s, &err);
	if (fd < 0) {
		give_reason(s, err.message);
		finish(s);
		return;
	}
	s->conn = conn_new(s->base, fd, FRAMES_NETWORK, &conn_handler, s);
	arm(s->timer, SESSION_WELCOME * 1000);
	s->handler->greet(s->context);
}

static void give_up(struct session *s, const char *reason)
{
	give_reason(s, reason);
	finish(s);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	struct session *s = context;
	if (s->state == WAITING)
		connect_now(s);
	else if (s->state == READY)
		session_ping(s);
	else
		give_up(s, "the hub has not answered hello: is its daemon running?");
}

static void on_deadline(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	give_up(context, "the hub has not answered a ping within 15 seconds");
}

static void on_bundle_late(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	give_up(context, "the hub has not sent the bundle within 60 seconds of the fetch");
}

struct session *session_new(struct event_base *base, const struct agent_config *config,
	const struct session_handler *handler, void *context)
{
	struct session *s = mem_alloc(sizeof(*s));
	s->base = base;
	s->config = config;
	s->handler = handler;
	s->context = context;
	backoff_init(&s->backoff, config->hub_count);
	s->timer = event_new(base, -1, 0, on_timer, s);
	s->deadline = event_new(base, -1, 0, on_deadline, s);
	s->bundle_late = event_new(base, -1, 0, on_bundle_late, s);
	s->leave = event_new(base, -1, 0, on_leave, s);
	if (!s->timer || !s->deadline || !s->bundle_late || !s->leave)
		mem_abort(__func__);
	set_state(s, WAITING);
	return s;
}

void session_free(struct session *s)
{
	if (!s)
		return;
	conn_free(s->conn);
	tunnel_free(s->tunnel);
	event_free(s->timer);
	event_free(s->deadline);
	event_free(s->bundle_late);
	event_free(s->leave);
	free(s);
}

void session_start(struct session *s)
{
	arm(s->timer, 0);
}

bool session_connect_now(struct session *s)
{
	if (s->state != WAITING)
		return true;
	if (backoff_delay_at_once(&s->backoff, clock_monotonic_ms()) > 0)
		return false;
	arm(s->timer, 0);
	return true;
}

bool session_reconnect(struct session *s)
{
	if (s->state != WAITING)
		give_up(s, "connecting again with the keys that are there now");
	return session_connect_now(s);
}

bool session_is_ready(const struct session *s)
{
	return s->state == READY;
}

void session_status(const struct session *s, struct session_status *ret)
{
	static const char *const states[] = {"waiting", "connecting", "connected"};
	*ret = (struct session_status){.state = states[s->state],
		.hub = hub_text(s),
		.name = s->name,
		.since = s->since,
		.next_try = s->next_try,
		.failure = s->failure,
		.failed_at = s->failed_at};
}
