/* A request to certsync-keys: what is accepted is encoded as it came, and seals whole certificates only. */
#include "hub/common/keys_request.h"
#include "hub/common/keys_root.h"
#include "tests/fuzz/fuzz.h"

static void root(const uint8_t *data, size_t size)
{
	struct error err;
	struct keys_root_request request;
	auto_buf struct buf again = BUF_INIT(FRAME_RECORD_MAX);
	if (keys_root_request_decode(data, size, &request, &err) == 0)
		FUZZ_CHECK(keys_root_request_encode(&request, &again) == 0 && again.len == size &&
			memcmp(again.data, data, size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct keys_request request;
	struct error err;
	struct frame frame;
	struct keys_reply reply;
	auto_buf struct buf again = BUF_INIT(FRAME_BUNDLE_MAX + FRAME_HEADER_SIZE);
	long taken = frame_decode(data, size, 1u << FRAME_RECORD | 1u << FRAME_BUNDLE, &frame, &err);
	root(data, size);
	if (taken <= 0)
		return 0;
	keys_reply_decode(&frame, &reply, &err);
	if (keys_request_decode(&frame, &request, &err) < 0)
		return 0;
	FUZZ_CHECK(keys_request_encode(&request, &again) == 0);
	FUZZ_CHECK(again.len == (size_t)taken && memcmp(again.data, data, (size_t)taken) == 0);
	return 0;
}
