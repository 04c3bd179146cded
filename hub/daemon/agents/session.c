#include "hub/daemon/agents/session.h"
#include "hub/daemon/events.h"
#include "lib/core/clock.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* ---- the end of a session ---- */

void session_free(struct session *s)
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

void session_end(struct session *s, const char *reason)
{
	struct hub *hub = s->hub;
	char name[NAME_AGENT_MAX];
	bool hello = s->hello;
	snprintf(name, sizeof(name), "%s", s->name);
	log_event(LOG_LEVEL_INFO, "disconnected", "agent=%s reason=\"%s\"", name[0] ? name : "?", reason);
	session_free(s);
	if (hello)
		hub->events->lost(hub, name);
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

void session_refuse(struct session *s, bool log, const char *what, const char *fmt, ...)
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
