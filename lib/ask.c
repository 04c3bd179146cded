#include "lib/ask.h"
#include "lib/frame.h"
#include "lib/listener.h"
#include "lib/mem.h"

#include <string.h>

static int send_request(int fd, const cJSON *request, const struct files *files, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(FRAME_MESSAGE_MAX);
	if (json_print(request, &text) < 0)
		return error_set(err, ERROR_USAGE, "the request is longer than %d bytes", FRAME_MESSAGE_MAX);
	if (frame_send(fd, FRAME_MESSAGE, text.data, text.len, err) < 0)
		return -1;
	if (!files)
		return 0;
	auto_buf struct buf payload = BUF_INIT(FRAME_FILES_MAX);
	if (files_encode(files, &payload) < 0)
		return error_set(err, ERROR_USAGE, "the files are longer than %d bytes together", FRAME_FILES_MAX);
	/* A daemon that refuses the request does not wait for the files: its answer says more than our EPIPE. */
	struct error ignored;
	frame_send(fd, FRAME_FILES, payload.data, payload.len, &ignored);
	return 0;
}

/* 1 with the exit code when the answer was the final one, 0 when more follow. */
static int take_answer(const struct frame *frame, ask_answer *answer, void *context, int *ret_exit,
	struct error *err)
{
	auto_json cJSON *object = json_parse(frame->data, frame->len, err);
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

int ask(const char *socket_path, const cJSON *request, const struct files *files, ask_answer *answer,
	void *context, struct error *err)
{
	auto_close int fd = listener_connect(socket_path, 0, err);
	if (fd < 0 || send_request(fd, request, files, err) < 0)
		return -1;
	struct frame_stream stream;
	struct frame frame;
	int exit_code = -1;
	frame_stream_init(&stream, fd, 1u << FRAME_MESSAGE);
	for (;;) {
		int got = frame_receive(&stream, &frame, err);
		if (got == 0)
			error_set(err, ERROR_RETRY, "the daemon ended before it had answered: look at its log, then try again");
		if (got <= 0)
			break;
		int final = take_answer(&frame, answer, context, &exit_code, err);
		if (final) {
			exit_code = final < 0 ? -1 : exit_code;
			break;
		}
		exit_code = -1;
	}
	frame_stream_release(&stream);
	return exit_code;
}
