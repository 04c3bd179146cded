#include "lib/wire/ask.h"
#include "lib/core/clock.h"
#include "lib/core/frame.h"
#include "lib/wire/listener.h"
#include "lib/core/mem.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

/* Returns 1 with the reason when the request could not be sent but there may be an answer all the same. */
static int send_request(int fd, const cJSON *request, const struct files *files, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(FRAME_MESSAGE_MAX);
	if (json_print(request, &text) < 0)
		return error_set(err, ERROR_USAGE, "the request is longer than %d bytes", FRAME_MESSAGE_MAX);
	/* A daemon that refuses us before it was asked, because too many ask at once, has answered already, and that
	 * says more than our EPIPE. */
	if (frame_send(fd, FRAME_MESSAGE, text.data, text.len, err) < 0)
		return 1;
	if (!files)
		return 0;
	auto_buf struct buf payload = BUF_INIT(FRAME_FILES_MAX);
	if (files_encode(files, &payload) < 0)
		return error_set(err, ERROR_USAGE, "the files are longer than %d bytes together", FRAME_FILES_MAX);
	/* A daemon that refuses the request does not wait for the files either. */
	struct error ignored;
	frame_send(fd, FRAME_FILES, payload.data, payload.len, &ignored);
	return 0;
}

/* Returns 1 with the exit code when the answer was the final one, and 0 when more follow. */
static int take_answer(const struct frame *frame, ask_answer *answer, void *context, int *ret_exit, struct error *err)
{
	auto_json cJSON *object = json_parse(frame->data, frame->len, err);
	/* A process with fewer rights than his said what an operator, perhaps root, is shown. */
	if (object)
		json_clean(object);
	const char *event = object ? json_string(object, "event", 64, err) : NULL;
	if (!event)
		return error_wrap(err, "the daemon's answer cannot be read");
	uint32_t exit_code = 0;
	bool final = strcmp(event, "result") == 0;
	if (final && json_u32(object, "exit", &exit_code, err) < 0)
		return error_wrap(err, "the daemon's answer cannot be read");
	answer(object, context);
	*ret_exit = (int)exit_code;
	return final;
}

/* Asks on another connection. Whatever comes back, the end of it too, is a sign of life. */
static int check_alive(const char *socket_path, struct error *err)
{
	auto_json cJSON *request = cJSON_CreateObject();
	cJSON_AddStringToObject(request, "command", "alive");
	auto_close int fd = listener_connect(socket_path, 0, err);
	if (fd < 0 || send_request(fd, request, NULL, err) < 0)
		return -1;
	struct pollfd answer = {.fd = fd, .events = POLLIN};
	if (poll(&answer, 1, ASK_SILENT_MS) != 0)
		return 0;
	return error_set(err, ERROR_RETRY,
		"the daemon at %s does not answer: it hangs, or this machine has far too much to do; its root half ends it "
		"within three minutes and starts another, and says so in the log",
		socket_path);
}

struct asking {
	const char *socket_path;
	struct frame_stream stream;
	ask_tick *tick; /* NULL: none */
	int tick_ms;
	void *context;
	int64_t silent_since;
};

/* Waits for something to read, with what is due meanwhile. Returns 1, -1, or ASK_STOPPED. */
static int wait_readable(struct asking *a, struct error *err)
{
	struct pollfd fd = {.fd = a->stream.fd, .events = POLLIN};
	for (;;) {
		int64_t left = a->silent_since + ASK_SILENT_MS - clock_monotonic_ms();
		if (left <= 0) {
			if (check_alive(a->socket_path, err) < 0)
				return -1;
			a->silent_since = clock_monotonic_ms();
			continue;
		}
		int ready = poll(&fd, 1, a->tick && a->tick_ms < left ? a->tick_ms : (int)left);
		if (ready < 0 && errno != EINTR)
			return error_errno(err, "cannot wait for the daemon");
		if (ready > 0)
			return 1;
		if (a->tick && !a->tick(a->context))
			return ASK_STOPPED;
	}
}

/* Waits for the next answer. Returns 1, 0 at the end of the stream, -1, or ASK_STOPPED. */
static int receive(struct asking *a, struct frame *frame, struct error *err)
{
	for (;;) {
		int got = frame_next(&a->stream, frame, err);
		if (got != 0)
			return got;
		got = wait_readable(a, err);
		if (got < 0)
			return got;
		got = frame_fill(&a->stream, err);
		if (got <= 0)
			return got;
		a->silent_since = clock_monotonic_ms();
	}
}

int ask_live(const char *socket_path, const cJSON *request, const struct files *files, ask_answer *answer,
	ask_tick *tick, int tick_ms, void *context, struct error *err)
{
	auto_close int fd = listener_connect(socket_path, 0, err);
	if (fd < 0)
		return -1;
	struct error reason = {0};
	int unsent = send_request(fd, request, files, &reason);
	if (unsent < 0) {
		*err = reason;
		return -1;
	}
	struct asking asking = {socket_path, .tick = tick, .tick_ms = tick_ms, .context = context};
	struct frame frame;
	int exit_code = -1, final = 0;
	frame_stream_init(&asking.stream, fd, 1u << FRAME_MESSAGE);
	asking.silent_since = clock_monotonic_ms();
	while (!final) {
		int got = receive(&asking, &frame, err);
		if (got == 0)
			error_set(err, ERROR_RETRY,
				"the daemon ended before it had answered: look at its log, then try again");
		if (got <= 0 && unsent)
			*err = reason;
		if (got <= 0) {
			exit_code = got == ASK_STOPPED ? ASK_STOPPED : -1;
			break;
		}
		final = take_answer(&frame, answer, context, &exit_code, err);
	}
	frame_stream_release(&asking.stream);
	return final < 0 ? -1 : exit_code;
}

int ask(const char *socket_path, const cJSON *request, const struct files *files, ask_answer *answer, void *context,
	struct error *err)
{
	return ask_live(socket_path, request, files, answer, NULL, 0, context, err);
}
