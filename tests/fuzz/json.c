/* JSON of a peer: what is accepted prints itself in a form that is accepted again. */
#include "lib/wire/json.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err;
	int64_t number, same;
	auto_buf struct buf text = BUF_INIT(8 * 1024 * 1024);
	auto_json cJSON *object = json_parse(data, size, &err);
	if (!object)
		return 0;
	json_string(object, "b", 64, &err);
	json_array(object, "c", 4, &err);
	FUZZ_CHECK(json_print(object, &text) == 0);
	auto_json cJSON *again = json_parse(text.data, text.len, &err);
	FUZZ_CHECK(again);
	if (json_i64(object, "a", &number, &err) == 0)
		FUZZ_CHECK(json_i64(again, "a", &same, &err) == 0 && number == same);
	return 0;
}
