#include "hub/daemon/agents/login_keys.h"
#include "hub/common/root_request.h"
#include "hub/daemon/agents/enrolment.h"
#include "hub/daemon/agents/join_line.h"
#include "hub/daemon/agents/key_changes.h"
#include "hub/daemon/record.h"
#include "lib/core/clock.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"

#include <stdio.h>

enum { KEYS_EACH = 3, AGAIN_SECONDS = 5, LOOK_SECONDS = 60, UNREAD_TOLD_MAX = 32 };

/* Records that cannot be read. */
struct unread {
	size_t count;
	time_t again; /* when to look again, in seconds; 0: there are none */
};

static void add_key(
	struct hub_key *keys, size_t *count, const char *agent, const char *key, enum hub_key_use use, int64_t expires)
{
	struct hub_key *k = &keys[(*count)++];
	snprintf(k->agent, sizeof(k->agent), "%s", agent);
	snprintf(k->key, sizeof(k->key), "%s", key);
	k->use = use;
	k->expires = expires;
}

/* A wait in seconds; 0 is none. */
static void shorten(time_t *wait, time_t seconds)
{
	*wait = *wait && *wait < seconds ? *wait : seconds;
}

/* Tells of a record that cannot be read, or that it can be again. */
static void judge_record(
	struct hub *hub, const struct record *record, int found, const struct error *err, struct unread *unread)
{
	if (found >= 0) {
		record_mended(hub->store, record);
		return;
	}
	/* When it is not one but all of them, each of them told again and again would be a flood. */
	if (unread->count++ < UNREAD_TOLD_MAX)
		record_damaged(hub->store, record, err);
	/* What may be over in a moment is looked at soon; what is damaged somebody has to mend. */
	shorten(&unread->again, err->kind == ERROR_RETRY ? AGAIN_SECONDS : LOOK_SECONDS);
}

static int find_enrolment(struct hub *hub, const char *name, struct enrolment *e, struct unread *unread)
{
	struct error err;
	auto_free char *without =
		mem_printf("until it can be read, its key stays in authorized_keys as it is, and the hub "
			   "lets it do nothing: put the record back, or give it new keys (certsync agent "
			   "remove %s, then agent add %s)",
			name, name);
	const struct record record = {"agents", name, "agent.json", ENROLMENT_RECORD_MAX, without};
	int found = enrolment_find(hub, name, e, &err);
	judge_record(hub, &record, found, &err, unread);
	return found;
}

static int find_join_line(struct hub *hub, const char *name, struct join_line *t, struct unread *unread)
{
	struct error err;
	auto_free char *without =
		mem_printf("nobody can join as %s by the line that is open: certsync agent add %s", name, name);
	const struct record record = {"joins", name, "line", ENROLMENT_RECORD_MAX, without};
	int found = join_line_find(hub, name, t, &err);
	judge_record(hub, &record, found, &err, unread);
	return found;
}

/* Adds at most KEYS_EACH. */
static void collect_agent(struct hub *hub, const char *name, struct hub_key *keys, size_t *count, struct unread *unread)
{
	struct enrolment e = {0};
	auto_join_line struct join_line t = {0};
	int found = find_enrolment(hub, name, &e, unread);
	if (found < 0)
		add_key(keys, count, name, "", HUB_KEY_AGENT_KEPT, 0);
	else
		key_rotation_note(hub, name, found > 0 && e.rotation);
	if (found > 0)
		add_key(keys, count, name, e.ssh, HUB_KEY_AGENT, 0);
	if (found > 0 && e.rotates)
		add_key(keys, count, name, e.next_ssh, HUB_KEY_AGENT, 0);
	found = find_join_line(hub, name, &t, unread);
	if (found > 0)
		add_key(keys, count, name, t.login, HUB_KEY_JOIN, t.expires + JOIN_LINE_LATE);
	if (found < 0)
		add_key(keys, count, name, "", HUB_KEY_JOIN_KEPT, 0);
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

/* Removes join lines whose time is over. Returns true when there was one. *ret_wait is when to look again. */
static bool sweep(struct hub *hub, time_t *ret_wait)
{
	int64_t now = clock_wall(), due;
	bool removed = join_line_sweep(hub, now, &due);
	*ret_wait = 0;
	if (due != INT64_MAX) /* a minute at most: the wall clock may be set */
		*ret_wait = due - now < 1 ? 1 : due - now < 60 ? (time_t)(due - now) : 60;
	return removed;
}

static void on_due(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	struct hub *hub = context;
	time_t wait;
	if (sweep(hub, &wait) || hub->keys_unread)
		login_keys_send(hub);
	else if (wait)
		wake(hub, wait);
}

void login_keys_send(struct hub *hub)
{
	if (!hub->root) {
		log_event(LOG_LEVEL_WARNING, "enroll",
			"error=\"started without certsync-hub-root: authorized_keys is not written\"");
		return;
	}
	time_t wait;
	struct unread unread = {0};
	sweep(hub, &wait);
	auto_free struct hub_key *keys = mem_array(hub->config->agent_count, KEYS_EACH * sizeof(*keys));
	size_t count = 0, sent = 0;
	for (size_t i = 0; i < hub->config->agent_count; i++)
		collect_agent(hub, hub->config->agents[i].name, keys, &count, &unread);
	if (unread.count > UNREAD_TOLD_MAX && unread.count != hub->keys_unread)
		log_event(LOG_LEVEL_ERROR, "enroll", "error=\"%zu records of agents cannot be read\"", unread.count);
	hub->keys_unread = unread.count;
	if (unread.again)
		shorten(&wait, unread.again);
	if (wait)
		wake(hub, wait);
	hub->keys_asked++;
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
