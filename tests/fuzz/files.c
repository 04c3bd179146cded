/* FRAME_FILES: what is accepted is encoded as it came. */
#include "lib/core/files.h"
#include "lib/core/frame.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err;
	struct files f = {0};
	auto_buf struct buf again = BUF_INIT(FRAME_FILES_MAX);
	if (size > FRAME_FILES_MAX || files_decode(data, size, &f, &err) < 0)
		return 0;
	FUZZ_CHECK(files_encode(&f, &again) == 0);
	FUZZ_CHECK(again.len == size && memcmp(again.data, data, size) == 0);
	return 0;
}
