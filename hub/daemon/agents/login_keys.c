#include "hub/daemon/agents/login_keys.h"
#include "hub/common/root_request.h"
#include "hub/daemon/agents/enrolment.h"
#include "hub/daemon/agents/join_line.h"
#include "hub/daemon/agents/key_changes.h"
#include "lib/core/clock.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"

#include <stdio.h>

enum { KEYS_EACH = 3, AGAIN_SECONDS = 5 };

static void add_key(
	struct hub_key *keys, size_t *count, const char *agent, const char *key, enum hub_key_use use, int64_t expires)
{
	struct hub_key *k = &keys[(*count)++];
	snprintf(k->agent, sizeof(k->agent), "%s", agent);
	snprintf(k->key, sizeof(k->key), "%s", key);
	k->use = use;
	k->expires = expires;
}

/* An agent whose record is damaged is not in the list, since the hub does not know it. Returns -1 when nobody can say
 * now whether the record is good. */
static int judge_record(const char *name, int found, const struct error *err)
{
	if (found < 0)
		log_event(LOG_LEVEL_ERROR, "store", "agent=%s error=\"%s\"", name, err->message);
	return found < 0 && err->kind == ERROR_RETRY ? -1 : 0;
}

/* Adds at most KEYS_EACH. */
static int collect_agent(struct hub *hub, const char *name, struct hub_key *keys, size_t *count)
{
	struct error err;
	struct enrolment e = {0};
	auto_join_line struct join_line t = {0};
	int found = enrolment_find(hub, name, &e, &err);
	if (judge_record(name, found, &err) < 0)
		return -1;
	key_rotation_note(hub, name, found > 0 && e.rotation);
	if (found > 0)
		add_key(keys, count, name, e.ssh, HUB_KEY_AGENT, 0);
	if (found > 0 && e.rotates)
		add_key(keys, count, name, e.next_ssh, HUB_KEY_AGENT, 0);
	found = join_line_find(hub, name, &t, &err);
	if (found > 0)
		add_key(keys, count, name, t.login, HUB_KEY_JOIN, t.expires + JOIN_LINE_LATE);
	return judge_record(name, found, &err);
}

static int collect_keys(struct hub *hub, struct hub_key *keys, size_t *ret_count)
{
	for (size_t i = 0; i < hub->config->agent_count; i++)
		if (collect_agent(hub, hub->config->agents[i].name, keys, ret_count) < 0)
			return -1;
	return 0;
}

static void on_due(evutil_socket_t fd, short what, void *context);

static void wake(struct hub *hub, time_t seconds)
{
	const struct timeval wait = {seconds, 0};
	if (!hub->join_expiry)
		hub->join_expiry = event_new(hub->base, -1, 0, on_due, hub);
	if (!hub->join_expiry || event_add(hub->join_expiry, &wait) < 0)
		mem_abort(__func__);
}

/* Removes join lines whose time is over. Returns true when there was one. */
static bool sweep(struct hub *hub)
{
	int64_t now = clock_wall(), due;
	bool removed = join_line_sweep(hub, now, &due);
	if (due != INT64_MAX) /* a minute at most: the wall clock may be set */
		wake(hub, due - now < 60 ? (time_t)(due - now) : 60);
	return removed;
}

static void on_due(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	struct hub *hub = context;
	if (sweep(hub) || hub->keys_owed)
		login_keys_send(hub);
}

void login_keys_send(struct hub *hub)
{
	if (!hub->root) {
		log_event(LOG_LEVEL_WARNING, "enroll",
			"error=\"started without certsync-hub-root: authorized_keys is not written\"");
		return;
	}
	sweep(hub);
	auto_free struct hub_key *keys = mem_array(hub->config->agent_count, KEYS_EACH * sizeof(*keys));
	size_t count = 0, sent = 0;
	hub->keys_asked += !hub->keys_owed;
	hub->keys_owed = collect_keys(hub, keys, &count) < 0;
	if (hub->keys_owed) {
		log_event(LOG_LEVEL_ERROR, "enroll",
			"error=\"authorized_keys stays as it is until that can be read\" again_s=%d", AGAIN_SECONDS);
		wake(hub, AGAIN_SECONDS);
		return;
	}
	do {
		struct hub_request request = {.op = HUB_REQUEST_KEYS, .keys = keys + sent, .key_count = count - sent};
		auto_buf struct buf record = BUF_INIT(FRAME_RECORD_MAX);
		if (request.key_count > HUB_KEYS_PER_RECORD)
			request.key_count = HUB_KEYS_PER_RECORD;
		sent += request.key_count;
		request.more = sent < count;
		if (hub_request_encode(&request, &record) < 0)
			mem_abort(__func__); /* each field is bounded */
		conn_send(hub->root, FRAME_RECORD, record.data, record.len);
	} while (sent < count);
}

void login_keys_close(struct hub *hub)
{
	if (hub->join_expiry)
		event_free(hub->join_expiry);
	hub->join_expiry = NULL;
}
