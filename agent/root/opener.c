#include "agent/root/opener.h"
#include "agent/root/anchors.h"
#include "agent/root/opener_child.h"
#include "agent/root/opener_confine.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"
#include "lib/core/proc.h"
#include "lib/crypto/verify.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
	pid_t pid; /* 0: there is none */
	int fd;
	bool owned; /* has seen a key of the certificate whose archive this is */
	dev_t device;
	ino_t archive;
	int64_t used_ms;
	void *secret;
	size_t secret_len;
	opener_work work; /* NULL: the real one */
	int deadline_ms;
	bool hung_up; /* it has ended by itself: how, is told */
} opener = {.deadline_ms = OPENER_DEADLINE_MS};

static const char name_of_errors[] = "opener:"; /* which are the child's, and not about what it was given */

void opener_forget(void *data, size_t len)
{
	opener.secret = data;
	opener.secret_len = len;
}

void opener_replace(opener_work work, int deadline_ms)
{
	opener_stop();
	opener.work = work;
	opener.deadline_ms = deadline_ms;
}

/* ---- messages: u32 length of what follows, u8 what it is, the rest ---- */

enum message {
	MESSAGE_REQUEST = 'Q',
	MESSAGE_READY = 'R',
	MESSAGE_WANT = 'W',
	MESSAGE_PEM = 'P',
	MESSAGE_ANSWER = 'A'
};

/* The root half sets until_ms and waits no longer than that. The child waits for ever, and may not poll. */
struct channel {
	int fd;
	int64_t until_ms; /* monotonic; 0: for ever */
};

static int late(struct error *err)
{
	return error_set(err, ERROR_RETRY, "opener: the process that opens bundles has not answered within %d s",
		(opener.deadline_ms + 999) / 1000);
}

static int wait_for(const struct channel *c, short events, struct error *err)
{
	if (!c->until_ms)
		return 0;
	struct pollfd fd = {.fd = c->fd, .events = events};
	int64_t left = c->until_ms - clock_monotonic_ms();
	int got = left > 0 ? poll(&fd, 1, (int)left) : 0;
	if (got < 0 && errno != EINTR)
		return error_errno(err, "opener: cannot wait");
	return got == 0 ? late(err) : 0;
}

static int ended(struct error *err)
{
	opener.hung_up = true;
	return error_set(err, ERROR_RETRY, "opener: the process that opens bundles has ended");
}

/* EAGAIN and EINTR have transferred nothing; the end of the stream is a failure. */
static ssize_t transferred(ssize_t result)
{
	return result < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : result == 0 ? -1 : result;
}

static int send_bytes(const struct channel *c, const uint8_t *data, size_t len, struct error *err)
{
	int flags = MSG_NOSIGNAL | (c->until_ms ? MSG_DONTWAIT : 0);
	while (len) {
		if (wait_for(c, POLLOUT, err) < 0)
			return -1;
		ssize_t sent = transferred(send(c->fd, data, len, flags));
		if (sent < 0)
			return ended(err);
		data += sent;
		len -= (size_t)sent;
	}
	return 0;
}

static int receive_bytes(const struct channel *c, uint8_t *data, size_t len, struct error *err)
{
	while (len) {
		if (wait_for(c, POLLIN, err) < 0)
			return -1;
		ssize_t got = transferred(recv(c->fd, data, len, c->until_ms ? MSG_DONTWAIT : 0));
		if (got < 0)
			return ended(err);
		data += got;
		len -= (size_t)got;
	}
	return 0;
}

static int send_message(const struct channel *c, enum message type, const void *data, size_t len, struct error *err)
{
	auto_buf struct buf head = BUF_INIT(5);
	buf_put_u32(&head, (uint32_t)(len + 1));
	buf_put_u8(&head, (uint8_t)type);
	return send_bytes(c, head.data, head.len, err) < 0 ? -1 : send_bytes(c, data, len, err);
}

/* Receives into `ret`, whose maximum no message may exceed. */
static int receive_message(const struct channel *c, uint8_t *ret_type, struct buf *ret, struct error *err)
{
	uint8_t head[5];
	buf_reset(ret);
	if (receive_bytes(c, head, sizeof(head), err) < 0)
		return -1;
	struct reader r = READER(head, sizeof(head));
	uint32_t len = read_u32(&r);
	*ret_type = read_u8(&r);
	uint8_t *room = len >= 1 ? buf_reserve(ret, len - 1) : NULL;
	if (!room)
		return error_set(
			err, ERROR_UNTRUSTED, "opener: the message has %u bytes, at most %zu are read", len, ret->max);
	if (receive_bytes(c, room, len - 1, err) < 0)
		return -1;
	buf_added(ret, len - 1);
	return 0;
}

/* ---- in the child ---- */

static const struct channel up = {.fd = 0};

int opener_want(void *context, uint32_t hash, struct buf *ret, struct error *err)
{
	(void)context;
	uint8_t type, asked[4] = {(uint8_t)(hash >> 24), (uint8_t)(hash >> 16), (uint8_t)(hash >> 8), (uint8_t)hash};
	if (send_message(&up, MESSAGE_WANT, asked, sizeof(asked), err) < 0)
		return -1;
	return receive_message(&up, &type, ret, err);
}

static _Noreturn void child(int socket, pid_t parent)
{
	struct error err;
	if (opener.secret)
		explicit_bzero(opener.secret, opener.secret_len);
	if (opener_confine(socket, parent) < 0) {
		error_errno(&err, "opener: cannot give up what it does not need");
		send_message(
			&(const struct channel){.fd = socket}, MESSAGE_READY, err.message, strlen(err.message), &err);
		_exit(1);
	}
	if (send_message(&up, MESSAGE_READY, NULL, 0, &err) < 0)
		_exit(1);
	for (;;) {
		uint8_t type;
		auto_buf struct buf request = BUF_INIT(OPENER_REQUEST_MAX);
		auto_buf struct buf answer = BUF_INIT(OPENER_ANSWER_MAX);
		if (receive_message(&up, &type, &request, &err) < 0)
			_exit(0);
		(opener.work ? opener.work : opener_work_on)(&request, &answer);
		if (send_message(&up, MESSAGE_ANSWER, answer.data, answer.len, &err) < 0)
			_exit(0);
	}
}

/* ---- in the root half ---- */

static int end_child(void)
{
	int status = 0;
	kill(opener.pid, SIGKILL);
	while (waitpid(opener.pid, &status, 0) < 0 && errno == EINTR)
		;
	close(opener.fd);
	opener.pid = 0;
	opener.owned = false;
	return status;
}

void opener_stop(void)
{
	if (opener.pid)
		end_child();
}

static int wait_until_ready(const struct channel *down, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(ERROR_MESSAGE_MAX);
	uint8_t type;
	if (receive_message(down, &type, &text, err) < 0)
		return -1;
	if (type != MESSAGE_READY || text.len)
		return error_set(err, ERROR_RETRY, "%s", text.len ? buf_text(&text) : "opener: it was never ready");
	return 0;
}

/* No key goes to a child that has not said that it is confined. The child is forked, since an exec and OpenSSL's first
 * milliseconds cost more than what it does; our programs have one thread. */
static int start_child(const struct channel *down, int pair[2], struct error *err)
{
	pid_t parent = getpid(), pid = fork();
	if (pid == 0)
		child(pair[1], parent);
	close(pair[1]);
	if (pid < 0) {
		error_errno(err, "opener: cannot start");
		close(pair[0]);
		return -1;
	}
	opener.pid = pid;
	opener.fd = pair[0];
	return wait_until_ready(down, err);
}

static int start(struct channel *down, struct error *err)
{
	int pair[2];
	if (proc_socketpair(pair, err) < 0)
		return error_wrap(err, "opener");
	down->fd = pair[0];
	return start_child(down, pair, err);
}

static int give_anchors(const struct channel *down, const char *anchors, const struct buf *want, struct error *err)
{
	auto_buf struct buf pem = BUF_INIT(ANCHORS_PEM_MAX);
	struct reader r = READER(want->data, want->len);
	uint32_t hash = read_u32(&r);
	if (!read_done(&r))
		return error_set(err, ERROR_UNTRUSTED, "opener: it asks for what has no name");
	anchors_read_hashed(anchors, hash, &pem);
	return send_message(down, MESSAGE_PEM, pem.data, pem.len, err);
}

static int converse(const struct channel *down, const char *anchors, const struct buf *request, struct buf *answer,
	struct error *err)
{
	uint8_t type;
	if (send_message(down, MESSAGE_REQUEST, request->data, request->len, err) < 0)
		return -1;
	for (int wants = 0; wants <= OPENER_WANTS_MAX; wants++) {
		if (receive_message(down, &type, answer, err) < 0)
			return -1;
		if (type == MESSAGE_ANSWER)
			return 0;
		if (type != MESSAGE_WANT)
			return error_set(err, ERROR_UNTRUSTED, "opener: the message is of type %u", type);
		if (give_anchors(down, anchors, answer, err) < 0)
			return -1;
	}
	return error_set(err, ERROR_UNTRUSTED, "opener: it has asked for more than %d issuers", OPENER_WANTS_MAX);
}

static int try_once(const char *anchors, const struct buf *request, struct buf *answer, struct error *err)
{
	struct channel down = {.fd = opener.fd, .until_ms = clock_monotonic_ms() + opener.deadline_ms};
	opener.hung_up = false;
	if ((opener.pid || start(&down, err) == 0) && converse(&down, anchors, request, answer, err) == 0) {
		opener.used_ms = clock_monotonic_ms();
		return 0;
	}
	const struct error why = *err;
	int status = opener.pid ? end_child() : 0;
	return error_set(err, why.kind, "%s%s%s: what is installed stays", why.message, opener.hung_up ? ": it " : "",
		opener.hung_up ? proc_status_text(status) : "");
}

/* A child that has seen the keys of one certificate may not see another's. One that has seen none yet may see
 * anybody's. */
static void choose_child(int archive)
{
	struct stat st;
	bool known = archive >= 0 && fstat(archive, &st) == 0;
	if (opener.owned && (!known || st.st_dev != opener.device || st.st_ino != opener.archive))
		opener_stop();
	if (!known)
		return;
	opener.device = st.st_dev;
	opener.archive = st.st_ino;
}

int opener_ask(int archive, const char *anchors, const struct buf *request, struct buf *answer, struct error *err)
{
	choose_child(archive);
	bool old = opener.pid;
	int result = try_once(anchors, request, answer, err);
	/* If somebody ended an idle child, it has refused nothing, so a new one is tried. */
	if (result < 0 && old && opener.hung_up)
		result = try_once(anchors, request, answer, err);
	opener.owned = result == 0 && archive >= 0;
	return result;
}

int64_t opener_due(void)
{
	if (!opener.pid)
		return -1;
	int64_t left = opener.used_ms + OPENER_IDLE_MS - clock_monotonic_ms();
	return left > 0 ? left : 0;
}

void opener_tick(void)
{
	if (opener_due() == 0)
		opener_stop();
}

/* ---- requests and answers ---- */

static int read_refusal(struct reader *r, struct error *err)
{
	struct error said = {.kind = (enum error_kind)read_u8(r)};
	read_string(r, said.message, sizeof(said.message));
	if (!read_done(r) || said.kind < ERROR_RETRY || said.kind > ERROR_USAGE)
		return error_set(err, ERROR_UNTRUSTED, "opener: the refusal has no reason");
	return error_set(err, said.kind, "%s", said.message);
}

static int read_pairs(struct reader *r, struct parts ret[BUNDLE_PAIRS_MAX], size_t *ret_count, struct error *err)
{
	uint8_t count = read_u8(r);
	if (count < 1 || count > BUNDLE_PAIRS_MAX)
		return error_set(err, ERROR_UNTRUSTED, "opener: the answer has %u pairs", count);
	for (*ret_count = 0; *ret_count < count; ++*ret_count)
		if (parts_read(r, &ret[*ret_count], err) < 0)
			return -1;
	return read_done(r) ? 0 : error_set(err, ERROR_UNTRUSTED, "opener: the answer is cut short or goes on");
}

static void release_pairs(struct parts pairs[BUNDLE_PAIRS_MAX], size_t count)
{
	while (count-- > 0)
		parts_release(&pairs[count]);
}

int opener_read_answer(
	const uint8_t *data, size_t len, struct parts ret[BUNDLE_PAIRS_MAX], size_t *ret_count, struct error *err)
{
	struct reader r = READER(data, len);
	size_t count = 0;
	uint8_t verdict = read_u8(&r);
	if (!r.failed && verdict == OPENER_REFUSED)
		return read_refusal(&r, err);
	if (r.failed || verdict != OPENER_TAKEN)
		return error_set(err, ERROR_UNTRUSTED, "opener: the answer is neither yes nor no");
	if (read_pairs(&r, ret, &count, err) < 0) {
		release_pairs(ret, count);
		return -1;
	}
	*ret_count = count;
	return 0;
}

/* A child that has refused, or said what it must not, is not asked again: what it was given may have taken it over. */
static int ask_for_pairs(int archive, const char *anchors, const struct buf *request,
	struct parts ret[BUNDLE_PAIRS_MAX], size_t *ret_count, struct error *err)
{
	auto_buf struct buf answer = BUF_INIT(OPENER_ANSWER_MAX);
	if (opener_ask(archive, anchors, request, &answer, err) < 0)
		return -1;
	if (opener_read_answer(answer.data, answer.len, ret, ret_count, err) == 0)
		return 0;
	opener_stop();
	return -1;
}

static void put_names(struct buf *out, const char *const *names)
{
	uint32_t count = 0;
	while (names && names[count])
		count++;
	buf_put_u32(out, count);
	for (uint32_t i = 0; i < count; i++)
		buf_put_string(out, names[i]);
}

static int put_bundle_request(struct buf *out, const uint8_t *data, size_t len,
	const uint8_t seal_private[SEAL_KEY_SIZE], const struct opener_policy *p, struct error *err)
{
	auto_buf struct buf anchors = BUF_INIT(ANCHORS_PEM_MAX);
	bool by_name;
	if (anchors_read(p->anchors, &anchors, &by_name, err) < 0)
		return -1;
	buf_put_u8(out, OPENER_BUNDLE);
	buf_add(out, seal_private, SEAL_KEY_SIZE);
	buf_put_bytes(out, data, len);
	buf_put_u64(out, (uint64_t)p->now);
	buf_put_u64(out, (uint64_t)p->replaces_not_after);
	buf_put_u8(out, p->may_expire_sooner);
	put_names(out, p->required);
	put_names(out, p->allow);
	buf_put_u8(out, by_name);
	buf_put_string(out, p->anchors ? p->anchors : "");
	/* When anything did not fit, what comes last does not fit either, so one check is enough. */
	return buf_put_bytes(out, anchors.data, anchors.len) < 0
		? error_set(err, ERROR_PERMANENT, "opener: the anchors and the names of agent.conf are too long")
		: 0;
}

/* The hub has signed a digest and an expiry. What the child hands back must have these, byte for byte. */
static int check_signed_for(const struct parts *pairs, size_t count, const struct bundle *checked, struct error *err)
{
	uint8_t digest[CHAIN_SHA256_SIZE];
	if (parts_digest(pairs, count, digest, err) < 0)
		return -1;
	if (memcmp(digest, checked->digest, sizeof(digest)) == 0 && pairs[0].not_after == checked->not_after)
		return 0;
	opener_stop();
	return error_set(err, ERROR_UNTRUSTED, "opener: the answer is not what the hub has signed");
}

int opener_bundle(int archive, const uint8_t *data, size_t len, const struct bundle *checked,
	const uint8_t seal_private[SEAL_KEY_SIZE], const struct opener_policy *policy,
	struct parts ret[BUNDLE_PAIRS_MAX], size_t *ret_count, struct error *err)
{
	auto_buf struct buf request = BUF_INIT(OPENER_REQUEST_MAX);
	if (put_bundle_request(&request, data, len, seal_private, policy, err) < 0 ||
		ask_for_pairs(archive, policy->anchors, &request, ret, ret_count, err) < 0)
		return -1;
	if (check_signed_for(ret, *ret_count, checked, err) == 0)
		return 0;
	release_pairs(ret, *ret_count);
	return -1;
}

static int ask_for_one(int archive, const struct buf *request, struct parts *ret, struct error *err)
{
	struct parts pairs[BUNDLE_PAIRS_MAX];
	size_t count;
	if (ask_for_pairs(archive, NULL, request, pairs, &count, err) < 0)
		return -1;
	if (count == 1) {
		*ret = pairs[0];
		return 0;
	}
	release_pairs(pairs, count);
	opener_stop();
	return error_set(err, ERROR_UNTRUSTED, "opener: the answer has %zu pairs instead of one", count);
}

int opener_pair(
	int archive, const struct buf *certificates, const struct buf *key, struct parts *ret, struct error *err)
{
	auto_buf struct buf request = BUF_INIT(OPENER_REQUEST_MAX);
	buf_put_u8(&request, OPENER_PAIR);
	buf_put_bytes(&request, certificates->data, certificates->len);
	buf_put_bytes(&request, key->data, key->len);
	int result = ask_for_one(archive, &request, ret, err);
	/* What could not be looked at is not known to be damaged. */
	if (result < 0 && strncmp(err->message, name_of_errors, strlen(name_of_errors)) == 0)
		err->kind = ERROR_RETRY;
	return result;
}

int opener_placeholder(const char *certificate, int64_t now, struct parts *ret, struct error *err)
{
	auto_buf struct buf request = BUF_INIT(OPENER_REQUEST_MAX);
	buf_put_u8(&request, OPENER_PLACEHOLDER);
	buf_put_string(&request, certificate);
	buf_put_u64(&request, (uint64_t)now);
	return ask_for_one(-1, &request, ret, err);
}
