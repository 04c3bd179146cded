/* Renewal information from an authority: what is accepted is a window that can be judged, and a record that can be read
 * back. */
#include "hub/common/ari.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err;
	struct ari_window w;
	struct ari_record r = {.id = "a.b"}, again;
	auto_buf struct buf text = BUF_INIT(16 * 1024);
	if (ari_decode(data, size, &again, &err) == 0)
		FUZZ_CHECK(ari_encode(&again, &text) == 0);
	if (ari_parse(data, size, &w, &err) < 0)
		return 0;
	FUZZ_CHECK(w.start >= 0 && w.end >= 0 && w.end < INT64_C(300000000000));
	ari_answer(&r, &w, 1800000000, 1800000000 + 90 * 86400, size);
	FUZZ_CHECK(!r.moment || (r.moment >= w.start && r.moment < w.end && !r.trouble[0]));
	text.len = 0;
	FUZZ_CHECK(ari_encode(&r, &text) == 0 && ari_decode(text.data, text.len, &again, &err) == 0);
	FUZZ_CHECK(again.moment == r.moment && strcmp(again.window.explanation, w.explanation) == 0);
	return 0;
}
