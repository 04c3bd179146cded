/* A revision's manifest in the hub's store: what is accepted is written in a form that is accepted again. */
#include "hub/daemon/store.c"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err;
	auto_manifest struct manifest m = {0}, again = {0};
	auto_buf struct buf text = BUF_INIT(MANIFEST_MAX), written = BUF_INIT(2 * MANIFEST_MAX);
	if (buf_add(&text, data, size) < 0 || manifest_decode(&text, &m, &err) < 0)
		return 0;
	manifest_encode(&m, &written);
	FUZZ_CHECK(manifest_decode(&written, &again, &err) == 0);
	FUZZ_CHECK(content_same(&m.content, &again.content) && m.content.not_after == again.content.not_after);
	FUZZ_CHECK(m.name_count == again.name_count && m.name_count <= CHAIN_NAMES_MAX);
	return 0;
}
