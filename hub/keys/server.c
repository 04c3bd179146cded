#include "hub/keys/server.h"
#include "hub/common/key_bring.h"
#include "hub/common/key_cut.h"
#include "hub/keys/cut.h"
#include "hub/keys/operation.h"
#include "lib/core/clock.h"
#include "lib/core/files.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"
#include "lib/core/pass.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	ASKERS_MAX = 32, /* connections of the daemon: one that it waits on, and one for each key that is being made */
	OPERATORS_MAX = 16,
	CHILDREN_MAX = 4, /* keys being made at once */
	SEND_SECONDS = 2, /* an asker that does not take its reply is cut off */
	SLOTS = 3 + ASKERS_MAX + OPERATORS_MAX,
};

struct asker {
	int fd; /* -1: free */
	struct frame_stream in;
};

struct server {
	struct server_fds fds;
	struct operations operations;
	struct frame_stream root;
	struct asker askers[ASKERS_MAX];
	int operators[OPERATORS_MAX]; /* -1: free */
	size_t children;
	bool over;
	struct keys_request request; /* large */
};

static volatile sig_atomic_t ended;

static void on_signal(int number)
{
	(void)number;
	ended = 1;
}

/* ---- replies ---- */

static int send_all(int fd, const struct buf *b)
{
	for (size_t at = 0; at < b->len;) {
		ssize_t put = send(fd, b->data + at, b->len - at, MSG_NOSIGNAL);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -1;
		at += (size_t)put;
	}
	return 0;
}

static int answer(struct server *s, int fd)
{
	struct keys_reply reply;
	auto_buf struct buf out = BUF_INIT(FRAME_BUNDLE_MAX), frame = BUF_INIT(FRAME_BUNDLE_MAX + FRAME_HEADER_SIZE);
	operation_run(&s->operations, &s->request, &out, &reply);
	if (keys_reply_encode(&reply, s->request.op == KEYS_SEAL, &frame) < 0)
		return -1;
	return send_all(fd, &frame);
}

static int refuse(int fd, const char *text)
{
	struct error err;
	auto_buf struct buf frame = BUF_INIT(FRAME_RECORD_MAX + FRAME_HEADER_SIZE);
	struct keys_reply reply = {.kind = ERROR_RETRY};
	error_set(&err, ERROR_RETRY, "%s", text);
	memcpy(reply.text, err.message, sizeof(reply.text));
	return keys_reply_encode(&reply, false, &frame) < 0 ? -1 : send_all(fd, &frame);
}

/* The child does this one thing and answers; this connection is for its asker alone. */
static int answer_from_child(struct server *s, int fd)
{
	if (s->children >= CHILDREN_MAX)
		return refuse(fd, "as many keys are being made already as can be at once: try again");
	const pid_t parent = getpid();
	pid_t pid = fork();
	if (pid < 0)
		return refuse(fd, "no process can be started to make the key");
	if (pid > 0) {
		s->children++;
		return -1; /* the connection is the child's now */
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	_exit(getppid() != parent || answer(s, fd) < 0);
}

static void reap(struct server *s)
{
	while (s->children && waitpid(-1, NULL, WNOHANG) > 0)
		s->children--;
}

/* ---- the daemon ---- */

static void asker_close(struct asker *a)
{
	frame_stream_release(&a->in);
	close(a->fd);
	a->fd = -1;
}

static int take_requests(struct server *s, struct asker *a, struct error *err)
{
	struct frame frame;
	int found, filled = frame_fill(&a->in, err);
	while (filled >= 0 && (found = frame_next(&a->in, &frame, err)) != 0) {
		if (found < 0 || keys_request_decode(&frame, &s->request, err) < 0)
			return -1;
		int result = operation_is_slow(&s->request) ? answer_from_child(s, a->fd) : answer(s, a->fd);
		if (result < 0)
			return 0;
	}
	return filled;
}

static void asker_io(struct server *s, struct asker *a)
{
	struct error err;
	int result = take_requests(s, a, &err);
	if (result < 0)
		log_event(LOG_LEVEL_ERROR, "private-keys", "error=\"%s\" result=refused", err.message);
	if (result <= 0)
		asker_close(a);
}

static void set_patience(int fd)
{
	const struct timeval patience = {.tv_sec = SEND_SECONDS};
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
}

/* Takes an end of a socket pair that the daemon made. */
static void take_asker(struct server *s)
{
	struct error err;
	char byte;
	int fd;
	long got = pass_receive(s->fds.daemon, &byte, sizeof(byte), &fd, &err);
	auto_close int end = fd;
	if (got == 0) {
		/* The daemon has ended; the root half gives the next one another socket, by starting us anew. */
		s->over = true;
		return;
	}
	for (size_t i = 0; i < ASKERS_MAX && end >= 0; i++) {
		struct asker *a = &s->askers[i];
		if (a->fd >= 0)
			continue;
		set_patience(end);
		a->fd = steal_fd(&end);
		frame_stream_init(&a->in, a->fd, 1u << FRAME_RECORD | 1u << FRAME_BUNDLE);
	}
}

/* ---- the root half ---- */

static int cut_for_root(struct server *s, const struct frame *frame, struct error *err)
{
	struct files files, cut;
	struct buf content[FILES_MAX] = {{0}};
	auto_buf struct buf bytes = BUF_INIT(FRAME_FILES_MAX), out = BUF_INIT(FRAME_FILES_MAX + FRAME_HEADER_SIZE);
	if (files_decode(frame->data, frame->len, &files, err) < 0)
		return -1;
	cut_files(s->operations.vault, &files, &cut, content);
	int result = files_encode(&cut, &bytes) < 0 || frame_encode(&out, FRAME_FILES, bytes.data, bytes.len) < 0
		? error_set(err, ERROR_PERMANENT, "what is left of the files of %s is too long", files.label)
		: send_all(s->fds.root, &out);
	for (size_t i = 0; i < cut.count; i++)
		buf_release(&content[i]);
	return result;
}

static int answer_root(struct server *s, const struct frame *frame, struct error *err)
{
	struct keys_root_request request;
	struct keys_root_reply reply;
	auto_buf struct buf spki = BUF_INIT(KEYS_ROOT_SPKI_MAX), body = BUF_INIT(FRAME_RECORD_MAX),
			    out = BUF_INIT(2 * FRAME_RECORD_MAX);
	if (keys_root_request_decode(frame->data, frame->len, &request, err) < 0)
		return -1;
	operation_for_root(&s->operations, &request, &spki, &reply);
	if (keys_root_reply_encode(&reply, &body) < 0 || frame_encode(&out, FRAME_RECORD, body.data, body.len) < 0)
		return error_set(err, ERROR_PERMANENT, "a reply is too long");
	return send_all(s->fds.root, &out);
}

static int take_from_root(struct server *s, struct error *err)
{
	struct frame frame;
	int found, filled = frame_fill(&s->root, err);
	while (filled >= 0 && (found = frame_next(&s->root, &frame, err)) != 0) {
		if (found < 0)
			return -1;
		if ((frame.type == FRAME_FILES ? cut_for_root(s, &frame, err) : answer_root(s, &frame, err)) < 0)
			return -1;
	}
	return filled;
}

static void root_io(struct server *s)
{
	struct error err = {.message = "it does not take its answers"};
	int result = take_from_root(s, &err);
	if (result < 0)
		log_event(LOG_LEVEL_ERROR, "root", "error=\"%s\"", err.message);
	s->over = s->over || result <= 0;
}

/* ---- operators ---- */

static void accept_operator(struct server *s)
{
	auto_close int fd = accept4(s->fds.operators, NULL, NULL, SOCK_CLOEXEC);
	for (size_t i = 0; i < OPERATORS_MAX && fd >= 0; i++) {
		if (s->operators[i] >= 0)
			continue;
		set_patience(fd);
		s->operators[i] = steal_fd(&fd);
	}
}

static void operator_io(struct server *s, int *fd)
{
	struct error err;
	char byte;
	int passed;
	auto_buf struct buf record = BUF_INIT(KEY_CUT_MAX);
	long got = pass_receive(*fd, &byte, sizeof(byte), &passed, &err);
	auto_close int memory = passed;
	if (got == PASS_NONE)
		return;
	if (got == 1 && byte == KEY_BRING_RECORD && memory >= 0) {
		cut_descriptor(s->operations.vault, memory, &record);
		if (send(*fd, record.data, record.len, MSG_NOSIGNAL) == (ssize_t)record.len)
			return;
	}
	close(*fd);
	*fd = -1;
}

/* ---- the loop ---- */

static size_t fill_poll(const struct server *s, struct pollfd fds[SLOTS])
{
	size_t count = 0;
	const int fixed[] = {s->fds.root, s->fds.daemon, s->fds.operators};
	for (size_t i = 0; i < COUNT(fixed); i++)
		fds[count++] = (struct pollfd){fixed[i], POLLIN, 0};
	for (size_t i = 0; i < ASKERS_MAX; i++)
		fds[count++] = (struct pollfd){s->askers[i].fd, POLLIN, 0};
	for (size_t i = 0; i < OPERATORS_MAX; i++)
		fds[count++] = (struct pollfd){s->operators[i], POLLIN, 0};
	return count;
}

static void handle(struct server *s, const struct pollfd fds[SLOTS])
{
	for (size_t i = 0; i < ASKERS_MAX; i++)
		if (fds[3 + i].revents && s->askers[i].fd >= 0)
			asker_io(s, &s->askers[i]);
	for (size_t i = 0; i < OPERATORS_MAX; i++)
		if (fds[3 + ASKERS_MAX + i].revents && s->operators[i] >= 0)
			operator_io(s, &s->operators[i]);
	if (fds[0].revents)
		root_io(s);
	if (fds[1].revents)
		take_asker(s);
	if (fds[2].revents)
		accept_operator(s);
}

static int serve(struct server *s, struct error *err)
{
	struct pollfd fds[SLOTS];
	while (!s->over && !ended) {
		int due = vault_tick(s->operations.vault, clock_monotonic_ms());
		size_t count = fill_poll(s, fds);
		int ready = poll(fds, count, s->children && (due < 0 || due > 1000) ? 1000 : due);
		if (ready < 0 && errno != EINTR)
			return error_errno(err, "cannot wait for requests");
		reap(s);
		if (ready > 0)
			handle(s, fds);
	}
	return 0;
}

int server_run(const char *directory, const struct server_fds *fds, struct error *err)
{
	static struct server s;
	s = (struct server){.fds = *fds};
	for (size_t i = 0; i < ASKERS_MAX; i++)
		s.askers[i].fd = -1;
	for (size_t i = 0; i < OPERATORS_MAX; i++)
		s.operators[i] = -1;
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	s.operations.vault = vault_open(directory, err);
	if (!s.operations.vault)
		return -1;
	int result = signer_open(&s.operations.signer, vault_directory(s.operations.vault), err);
	frame_stream_init(&s.root, fds->root, 1u << FRAME_RECORD | 1u << FRAME_FILES);
	if (result == 0)
		result = serve(&s, err);
	for (size_t i = 0; i < ASKERS_MAX; i++)
		if (s.askers[i].fd >= 0)
			asker_close(&s.askers[i]);
	for (size_t i = 0; i < OPERATORS_MAX; i++)
		if (s.operators[i] >= 0)
			close(s.operators[i]);
	frame_stream_release(&s.root);
	signer_release(&s.operations.signer);
	vault_close(s.operations.vault);
	return result;
}
