/* The records between certsync-agent and its root half: requests when the first byte is 'q', else answers. */
#include "agent/common/root_request.h"
#include "lib/core/frame.h"
#include "tests/fuzz/fuzz.h"

static void same(const uint8_t *data, size_t size, int encoded, const struct buf *again)
{
	FUZZ_CHECK(encoded == 0 && again->len == size && memcmp(again->data, data, size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err;
	struct request request = {0};
	struct reply reply = {0};
	auto_buf struct buf again = BUF_INIT(FRAME_RECORD_MAX);
	if (size < 1 || size > FRAME_RECORD_MAX)
		return 0;
	if (data[0] == 'q' && request_decode(data + 1, size - 1, &request, &err) == 0)
		same(data + 1, size - 1, request_encode(&request, &again), &again);
	if (data[0] != 'q' && reply_decode(data + 1, size - 1, &reply, &err) == 0) {
		same(data + 1, size - 1, reply_encode(&reply, &again), &again);
		reply_release(&reply);
	}
	return 0;
}
