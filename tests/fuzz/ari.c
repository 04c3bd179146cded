/* Renewal information from an authority: what is accepted is a window that can be judged, and a record that can be read
 * back. */
#include "hub/common/ari.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err;
	struct ari_window w;
	struct ari_record r = {.id = "a.b"}, again;
	auto_json cJSON *o = json_parse(data, size, &err);
	if (o && ari_decode(o, &again, &err) == 0) {
		auto_json cJSON *same = ari_encode(&again);
		FUZZ_CHECK(ari_decode(same, &again, &err) == 0);
	}
	if (ari_parse(data, size, &w, &err) < 0)
		return 0;
	FUZZ_CHECK(w.start >= 0 && w.end >= 0 && w.end < INT64_C(300000000000));
	ari_answer(&r, &w, 1800000000, 1800000000 + 90 * 86400, size);
	FUZZ_CHECK(!r.moment || (r.moment >= w.start && r.moment < w.end && !r.trouble[0]));
	auto_json cJSON *kept = ari_encode(&r);
	FUZZ_CHECK(ari_decode(kept, &again, &err) == 0);
	FUZZ_CHECK(again.moment == r.moment && strcmp(again.window.explanation, w.explanation) == 0);
	return 0;
}
