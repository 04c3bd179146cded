#include "hub/daemon/keys.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"
#include "lib/core/pass.h"
#include "lib/core/proc.h"
#include "lib/wire/conn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum {
	START_MS = 4000,   /* for which a start anew is waited for; the root half begins it after a second */
	SILENT_MS = 10000, /* after an answer that did not come nothing is asked for so long */
	MAKE_SECONDS = 120,
};

struct keys {
	struct event_base *base;
	keys_wait *wait;
	void *context;
	int door;               /* takes our connections; -1 */
	struct frame_stream in; /* of the connection on which calls wait; fd -1: none */
	int64_t silent_until;
	char trouble[ERROR_MESSAGE_MAX];
};

struct keys *keys_new(struct event_base *base, keys_wait *wait, void *context)
{
	struct keys *k = mem_alloc(sizeof(*k));
	*k = (struct keys){.base = base, .wait = wait, .context = context, .door = -1, .in = {.fd = -1}};
	return k;
}

static void hang_up(struct keys *k)
{
	if (k->in.fd < 0)
		return;
	close(k->in.fd);
	frame_stream_release(&k->in);
	k->in.fd = -1;
}

void keys_free(struct keys *k)
{
	if (!k)
		return;
	hang_up(k);
	if (k->door >= 0)
		close(k->door);
	free(k);
}

void keys_connect(struct keys *k, int door)
{
	hang_up(k);
	if (k->door >= 0)
		close(k->door);
	k->door = door;
	k->silent_until = 0;
}

int keys_door(const struct keys *k)
{
	return k->door;
}

const char *keys_trouble(const struct keys *k)
{
	return k->trouble;
}

/* ---- connections ---- */

/* One end is passed to certsync-keys, and the other one is ours. */
static int pass_through(const struct keys *k, struct error *err)
{
	static const char record[] = {'c'};
	int ends[2];
	if (proc_socketpair(ends, err) < 0)
		return -1;
	auto_close int ours = ends[0];
	auto_close int theirs = ends[1];
	return pass_send(k->door, record, sizeof(record), theirs, err) < 0 ? -1 : steal_fd(&ours);
}

static int connection_new(struct keys *k, struct error *err)
{
	int fd = k->door < 0 ? -1 : pass_through(k, err);
	if (fd < 0 && k->wait) {
		/* Nobody is behind this door. */
		if (k->door >= 0)
			close(steal_fd(&k->door));
		k->wait(k->context, START_MS);
		fd = k->door < 0 ? -1 : pass_through(k, err);
	}
	if (fd < 0)
		return error_set(err, ERROR_RETRY,
			"certsync-keys does not run: certsync-hub-root starts it again, its log says why it ended");
	return fd;
}

static int dial(struct keys *k, struct error *err)
{
	const struct timeval patience = {.tv_sec = KEYS_SECONDS};
	auto_close int fd = connection_new(k, err);
	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0)
		return error_errno(err, "cannot set up a socket to certsync-keys");
	frame_stream_init(&k->in, steal_fd(&fd), 1u << FRAME_RECORD | 1u << FRAME_BUNDLE);
	return 0;
}

static int send_all(int fd, const struct buf *b, struct error *err)
{
	for (size_t at = 0; at < b->len;) {
		ssize_t put = send(fd, b->data + at, b->len - at, MSG_NOSIGNAL);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return error_errno(err, "certsync-keys does not take a request");
		at += (size_t)put;
	}
	return 0;
}

/* Returns 1 with the frame, 0 when the connection has ended, or -1 when it said nothing in time, or something
 * strange. */
static int receive(struct keys *k, struct frame *ret, struct error *err)
{
	const int64_t deadline = clock_monotonic_ms() + INT64_C(1000) * KEYS_SECONDS;
	for (;;) {
		int found = frame_next(&k->in, ret, err);
		if (found != 0)
			return found;
		if (clock_monotonic_ms() >= deadline)
			return error_set(
				err, ERROR_RETRY, "certsync-keys did not answer within %d seconds", KEYS_SECONDS);
		int filled = frame_fill(&k->in, err);
		if (filled <= 0)
			return filled < 0 && errno == ECONNRESET ? 0 : filled;
	}
}

/* Every request may be made twice without harm. */
static int call_attempt(
	struct keys *k, const struct buf *request, struct frame *ret, bool *ret_again, struct error *err)
{
	*ret_again = k->in.fd >= 0;
	if (k->in.fd < 0 && dial(k, err) < 0)
		return -1;
	int got = send_all(k->in.fd, request, err) < 0 ? 0 : receive(k, ret, err);
	if (got > 0)
		return 0;
	*ret_again = *ret_again && got == 0;
	hang_up(k);
	if (got < 0)
		k->silent_until = clock_monotonic_ms() + SILENT_MS;
	return got < 0 ? -1 : error_set(err, ERROR_RETRY, "certsync-keys has ended in the middle of a request");
}

static int exchange(struct keys *k, const struct keys_request *r, struct keys_reply *ret, struct error *err)
{
	auto_buf struct buf request = BUF_INIT(FRAME_BUNDLE_MAX + FRAME_HEADER_SIZE);
	struct frame frame;
	bool again = false;
	if (keys_request_encode(r, &request) < 0)
		return error_set(err, ERROR_PERMANENT, "what is asked of certsync-keys is too long");
	if (call_attempt(k, &request, &frame, &again, err) < 0 &&
		(!again || call_attempt(k, &request, &frame, &again, err) < 0))
		return -1;
	if (keys_reply_decode(&frame, ret, err) < 0) {
		hang_up(k);
		return -1;
	}
	return 0;
}

/* The answer's bytes are good until the next call. */
static int call(struct keys *k, const struct keys_request *r, struct keys_reply *ret, struct error *err)
{
	if (clock_monotonic_ms() < k->silent_until)
		return error_set(err, ERROR_RETRY, "certsync-keys did not answer a moment ago: it is asked again soon");
	if (exchange(k, r, ret, err) < 0) {
		snprintf(k->trouble, sizeof(k->trouble), "private keys cannot be used: %.*s", ERROR_MESSAGE_MAX - 40,
			err->message);
		return -1;
	}
	k->trouble[0] = '\0';
	return ret->ok ? 0 : error_set(err, ret->kind, "%s", ret->text);
}

static int call_for(struct keys *k, const struct keys_request *r, struct buf *out, struct error *err)
{
	struct keys_reply reply;
	if (call(k, r, &reply, err) < 0)
		return -1;
	if (out && buf_add(out, reply.data, reply.len) < 0)
		return error_set(
			err, ERROR_PERMANENT, "the answer of certsync-keys does not fit into %zu bytes", out->max);
	return 0;
}

static int call_for_exactly(struct keys *k, const struct keys_request *r, uint8_t *ret, size_t len, struct error *err)
{
	struct keys_reply reply;
	if (call(k, r, &reply, err) < 0)
		return -1;
	if (reply.len != len)
		return error_set(
			err, ERROR_PERMANENT, "certsync-keys answered with %zu bytes instead of %zu", reply.len, len);
	memcpy(ret, reply.data, len);
	return 0;
}

/* ---- requests ---- */

/* Requests are large, and the daemon has one thread, so there is one of them. */
static struct keys_request *request_new(enum keys_op op, const uint8_t *id)
{
	static struct keys_request r;
	r = (struct keys_request){.op = op};
	if (id)
		memcpy(r.id, id, sizeof(r.id));
	return &r;
}

int keys_signer(struct keys *k, bool make, uint8_t ret[SEAL_KEY_SIZE], struct error *err)
{
	struct keys_request *r = request_new(KEYS_SIGNER, NULL);
	r->make = make;
	return call_for_exactly(k, r, ret, SEAL_KEY_SIZE, err);
}

int keys_find(struct keys *k, enum keys_class key_class, const uint8_t id[KEYS_ID_SIZE], struct error *err)
{
	struct keys_request *r = request_new(KEYS_FIND, id);
	r->key_class = key_class;
	if (call_for(k, r, NULL, err) == 0)
		return 1;
	return err->kind == ERROR_USAGE ? 0 : -1;
}

int keys_make_account(struct keys *k, struct buf *spki, struct error *err)
{
	struct keys_request *r = request_new(KEYS_MAKE, NULL);
	r->key_class = KEYS_ACCOUNT;
	snprintf(r->type, sizeof(r->type), "ecdsa-p256");
	return call_for(k, r, spki, err);
}

int keys_csr(struct keys *k, const uint8_t id[KEYS_ID_SIZE], char *const *names, struct buf *out, struct error *err)
{
	struct keys_request *r = request_new(KEYS_CSR, id);
	for (; names[r->name_count] && r->name_count < KEYS_NAMES_MAX; r->name_count++)
		snprintf(r->names[r->name_count], sizeof(r->names[0]), "%s", names[r->name_count]);
	return call_for(k, r, out, err);
}

int keys_jws(struct keys *k, enum keys_class key_class, const uint8_t id[KEYS_ID_SIZE], const char *input,
	uint8_t ret[KEYS_SIGNATURE_SIZE], struct error *err)
{
	struct keys_request *r = request_new(KEYS_JWS, id);
	r->key_class = key_class;
	r->input = (const uint8_t *)input;
	r->input_len = strlen(input);
	return call_for_exactly(k, r, ret, KEYS_SIGNATURE_SIZE, err);
}

int keys_commit(struct keys *k, const uint8_t id[KEYS_ID_SIZE], struct error *err)
{
	return call_for(k, request_new(KEYS_COMMIT, id), NULL, err);
}

int keys_drop(struct keys *k, enum keys_class key_class, const uint8_t id[KEYS_ID_SIZE], struct error *err)
{
	struct keys_request *r = request_new(KEYS_DROP, id);
	r->key_class = key_class;
	return call_for(k, r, NULL, err);
}

int keys_seal(struct keys *k, struct keys_request *what, const uint8_t recipient[SEAL_KEY_SIZE], struct buf *out,
	struct error *err)
{
	what->op = KEYS_SEAL;
	memcpy(what->recipient, recipient, sizeof(what->recipient));
	return call_for(k, what, out, err);
}

int keys_pins(struct keys *k, const struct host_pins *pins, struct buf *out, struct error *err)
{
	struct keys_request *r = request_new(KEYS_PINS, NULL);
	r->pins = *pins;
	return call_for(k, r, out, err);
}

int keys_next_signer(struct keys *k, bool make, uint8_t ret[SEAL_KEY_SIZE], struct error *err)
{
	struct keys_request *r = request_new(KEYS_NEXT, NULL);
	r->make = make;
	return call_for_exactly(k, r, ret, SEAL_KEY_SIZE, err);
}

int keys_signers(struct keys *k, int64_t serial, bool both, struct buf *out, struct error *err)
{
	struct keys_request *r = request_new(KEYS_SIGNERS, NULL);
	r->serial = serial;
	r->both = both;
	return call_for(k, r, out, err);
}

int keys_switch_signer(struct keys *k, const uint8_t next[SEAL_KEY_SIZE], struct error *err)
{
	return call_for(k, request_new(KEYS_SWITCH, next), NULL, err);
}

/* ---- a key that is made ---- */

struct keys_making {
	struct conn *conn;
	struct event *deadline;
	keys_made *done;
	void *context;
};

void keys_make_cancel(struct keys_making *m)
{
	if (!m)
		return;
	conn_free(m->conn);
	if (m->deadline)
		event_free(m->deadline);
	free(m);
}

static void finish(struct keys_making *m, const struct buf *spki, const struct error *err)
{
	keys_made *done = m->done;
	void *context = m->context;
	keys_make_cancel(m);
	done(spki, err, context);
}

static void on_reply(struct conn *c, const struct frame *frame, void *context)
{
	(void)c;
	struct keys_reply reply;
	struct error err;
	auto_buf struct buf spki = BUF_INIT(KEYS_SPKI_MAX);
	int result = keys_reply_decode(frame, &reply, &err);
	if (result == 0 && !reply.ok)
		result = error_set(&err, reply.kind, "%s", reply.text);
	if (result == 0 && buf_add(&spki, reply.data, reply.len) < 0)
		result = error_set(&err, ERROR_PERMANENT, "a public key of %zu bytes", reply.len);
	finish(context, result < 0 ? NULL : &spki, &err);
}

static void on_closed(struct conn *c, const struct error *err, void *context)
{
	(void)c;
	(void)err;
	struct error why;
	error_set(&why, ERROR_RETRY, "certsync-keys ended while it made a key");
	finish(context, NULL, &why);
}

static void on_late(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	struct error why;
	error_set(&why, ERROR_RETRY, "certsync-keys made no key within %d seconds", MAKE_SECONDS);
	finish(context, NULL, &why);
}

struct keys_making *keys_make(struct keys *k, const char *type, keys_made *done, void *context, struct error *err)
{
	static const struct conn_handler handler = {.frame = on_reply, .closed = on_closed};
	const struct timeval deadline = {.tv_sec = MAKE_SECONDS};
	struct keys_request *r = request_new(KEYS_MAKE, NULL);
	auto_buf struct buf request = BUF_INIT(FRAME_RECORD_MAX + FRAME_HEADER_SIZE);
	r->key_class = KEYS_LEAF;
	snprintf(r->type, sizeof(r->type), "%s", type);
	auto_close int fd = keys_request_encode(r, &request) < 0 ? -1 : connection_new(k, err);
	if (fd < 0 || send_all(fd, &request, err) < 0)
		return NULL;
	struct keys_making *m = mem_alloc(sizeof(*m));
	m->done = done;
	m->context = context;
	m->conn = conn_new(k->base, steal_fd(&fd), 1u << FRAME_RECORD, &handler, m);
	m->deadline = evtimer_new(k->base, on_late, m);
	if (!m->deadline || evtimer_add(m->deadline, &deadline) < 0)
		mem_abort(__func__);
	return m;
}
