/* A stream of frames, as an agent or a hub receives it, and the messages in it. */
#include "lib/core/frame.h"
#include "lib/wire/message.h"
#include "tests/fuzz/fuzz.h"

static void take_message(const struct frame *f)
{
	struct error err;
	auto_message struct message first = {0}, second = {0};
	auto_buf struct buf once = BUF_INIT(FRAME_MESSAGE_MAX), twice = BUF_INIT(FRAME_MESSAGE_MAX);
	if (message_decode(f->data, f->len, &first, &err) < 0)
		return;
	message_encode(&first, &once);
	FUZZ_CHECK(message_decode(once.data, once.len, &second, &err) == 0);
	message_encode(&second, &twice);
	FUZZ_CHECK(once.len == twice.len && memcmp(once.data, twice.data, once.len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err;
	struct frame f;
	for (long took; (took = frame_decode(data, size, FRAMES_NETWORK, &f, &err)) > 0;
		data += took, size -= (size_t)took)
		if (f.type == FRAME_MESSAGE)
			take_message(&f);
	return 0;
}
