#include "hub/daemon/agents/join_line.h"
#include "lib/core/base64.h"
#include "lib/core/clock.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TICKET_RECORD_MAX = 8192, TICKET_VERSION = 2, TICKET_AGAIN = 60 /* seconds */ };

void join_line_release(struct join_line *t)
{
	explicit_bzero(t, sizeof(*t));
}

/* ---- the record, which is binary since a key is in it: encoder and decoder ---- */

static int record_encode(const struct join_line *t, struct buf *out)
{
	buf_put_u8(out, TICKET_VERSION);
	buf_put_u64(out, (uint64_t)t->expires);
	buf_put_u64(out, (uint64_t)t->spent);
	buf_put_u32(out, t->tries);
	buf_put_u8(out, t->rotates);
	buf_put_u32(out, t->by);
	buf_add(out, t->mac, sizeof(t->mac));
	buf_add(out, t->line, sizeof(t->line));
	return buf_put_string(out, t->login);
}

static int record_decode(const struct buf *record, struct join_line *ret, struct error *err)
{
	auto_join_line struct join_line t = {0};
	struct reader in = READER(record->data, record->len);
	unsigned version = read_u8(&in);
	t.expires = (int64_t)read_u64(&in);
	t.spent = (int64_t)read_u64(&in);
	t.tries = read_u32(&in);
	t.rotates = read_u8(&in) == 1;
	t.by = version == 1 ? (uid_t)-1 : read_u32(&in);
	const uint8_t *mac = read_raw(&in, sizeof(t.mac)), *line = read_raw(&in, sizeof(t.line));
	read_string(&in, t.login, sizeof(t.login));
	if (!read_done(&in) || version < 1 || version > TICKET_VERSION || !hub_key_is_valid(t.login) ||
		t.expires <= 0 || t.expires > HUB_KEY_EXPIRES_MAX - JOIN_LINE_LATE || t.spent < 0)
		return error_set(err, ERROR_PERMANENT, "it is not in its form");
	memcpy(t.mac, mac, sizeof(t.mac));
	memcpy(t.line, line, sizeof(t.line));
	*ret = t;
	return 0;
}

static int put(struct hub *hub, const char *agent, const struct join_line *t, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(TICKET_RECORD_MAX);
	if (record_encode(t, &text) < 0)
		return error_set(err, ERROR_PERMANENT, "the record of a join line is too long");
	return store_put(hub->store, "joins", agent, "line", text.data, text.len, err);
}

int join_line_find(struct hub *hub, const char *agent, struct join_line *ret, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(TICKET_RECORD_MAX);
	int found = store_get(hub->store, "joins", agent, "line", &text, err);
	if (found <= 0)
		return found;
	if (record_decode(&text, ret, err) < 0)
		return error_wrap(err, "the record of the join line of %s in the store", agent);
	return 1;
}

int join_line_drop(struct hub *hub, const char *agent, struct error *err)
{
	return store_drop(hub->store, "joins", agent, err);
}

/* ---- making one ---- */

static int render_login(const struct join_keys *keys, char ret[HUB_KEY_TEXT_MAX])
{
	auto_buf struct buf blob = BUF_INIT(128);
	auto_buf struct buf text = BUF_INIT(HUB_KEY_TEXT_MAX - 1);
	if (buf_put_string(&blob, "ssh-ed25519") < 0 ||
		buf_put_bytes(&blob, keys->login_public, sizeof(keys->login_public)) < 0 ||
		buf_addf(&text, "ssh-ed25519 ") < 0 || base64_encode(blob.data, blob.len, &text) < 0)
		return -1;
	memcpy(ret, buf_text(&text), text.len + 1);
	return 0;
}

int join_line_issue(struct hub *hub, const char *agent, enum join_line_keys which, uid_t by,
	const struct join_keys *keys, struct buf *line, struct error *err)
{
	auto_join_line struct join_line t = {
		.expires = clock_wall() + JOIN_LINE_SECONDS, .rotates = which == JOIN_LINE_KEYS_ROTATE, .by = by};
	if (buf_addf(line, " agent=%s expires=%lld%s", agent, (long long)t.expires,
		    which == JOIN_LINE_KEYS_OWN ? "" : " keys=new") < 0)
		return error_set(err, ERROR_PERMANENT, "the join line is too long");
	memcpy(t.mac, keys->mac, sizeof(t.mac));
	if (render_login(keys, t.login) < 0)
		return error_set(err, ERROR_PERMANENT, "the login key cannot be written");
	if (join_line_digest(buf_text(line), t.line, err) < 0)
		return -1;
	return put(hub, agent, &t, err);
}

/* ---- using one ---- */

static int count_try(struct hub *hub, const char *agent, struct join_line *t, int64_t now, struct error *err)
{
	struct error why;
	if (++t->tries >= JOIN_LINE_TRIES) {
		t->spent = now;
		explicit_bzero(t->mac, sizeof(t->mac));
	}
	if (put(hub, agent, t, &why) < 0)
		return error_set(err, ERROR_RETRY, "%s", why.message);
	return error_set(err, ERROR_UNTRUSTED,
		"the HMAC is wrong: the line was changed on its way, or this is not the line that was printed last%s",
		t->spent ? "; it was tried too often and is good for nothing any more" : "");
}

static int judge(struct hub *hub, const char *agent, const uint8_t *request, size_t len, int64_t now,
	struct join_line *t, struct error *err)
{
	char when[CLOCK_TEXT_MAX];
	struct join_request r;
	if (join_request_decode(request, len, &r, err) < 0)
		return -1;
	if (t->spent)
		return error_set(err, ERROR_UNTRUSTED, "this line was used up at %s: each is good once",
			clock_text(t->spent, when));
	if (now >= t->expires)
		return error_set(err, ERROR_UNTRUSTED, "this line expired at %s", clock_text(t->expires, when));
	if (!join_request_is_authentic(request, len, t->mac, t->line) || strcmp(r.agent, agent) != 0)
		return count_try(hub, agent, t, now, err);
	return 0;
}

int join_line_use(struct hub *hub, const char *agent, const uint8_t *request, size_t len, int64_t now,
	struct join_line *ret, struct error *err)
{
	auto_join_line struct join_line t = {0}, used = {0};
	int found = join_line_find(hub, agent, &t, err);
	if (found < 0)
		return -1;
	if (found == 0)
		return error_set(err, ERROR_UNTRUSTED, "no join line is open for agent %s", agent);
	if (judge(hub, agent, request, len, now, &t, err) < 0)
		return -1;
	used = t;
	used.spent = now;
	explicit_bzero(used.mac, sizeof(used.mac));
	if (put(hub, agent, &used, err) < 0)
		return -1;
	*ret = t;
	return 0;
}

/* ---- the end of those whose time is over ---- */

static bool sweep_one(struct hub *hub, const char *agent, int64_t now, int64_t *due)
{
	struct error err;
	auto_join_line struct join_line t = {0};
	int found = join_line_find(hub, agent, &t, &err);
	if (found > 0 && now < t.expires + JOIN_LINE_LATE) {
		*due = t.expires + JOIN_LINE_LATE < *due ? t.expires + JOIN_LINE_LATE : *due;
		return false;
	}
	if (found < 0 && err.kind == ERROR_RETRY) { /* it may be good, or used */
		log_event(LOG_LEVEL_ERROR, "join", "agent=%s error=\"%s\"", agent, err.message);
		*due = now + TICKET_AGAIN < *due ? now + TICKET_AGAIN : *due;
		return false;
	}
	if (found > 0 && !t.spent)
		log_event(LOG_LEVEL_NOTICE, "join",
			"agent=%s result=unused reason=\"the line expired and nobody joined with it\"", agent);
	if (found < 0)
		log_event(LOG_LEVEL_ERROR, "join", "agent=%s error=\"%s\"", agent, err.message);
	if (found != 0 && join_line_drop(hub, agent, &err) < 0)
		log_event(LOG_LEVEL_ERROR, "join", "agent=%s error=\"%s\"", agent, err.message);
	return found != 0;
}

bool join_line_sweep(struct hub *hub, int64_t now, int64_t *ret_due)
{
	bool removed = false;
	*ret_due = INT64_MAX;
	for (size_t i = 0; i < hub->config->agent_count; i++)
		removed |= sweep_one(hub, hub->config->agents[i].name, now, ret_due);
	return removed;
}
