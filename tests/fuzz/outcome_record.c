/* The hub's record of what became of revisions: what is accepted is written in a form that is accepted again. */
#include "hub/daemon/rollout/history.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct history_book book, again;
	struct error err;
	char text[1024];
	auto_json cJSON *o = json_parse(data, size, &err);
	if (!o || history_decode(o, &book, &err) < 0)
		return 0;
	for (size_t i = 0; i < book.count; i++)
		history_text(&book.list[i], text, sizeof(text));
	auto_json cJSON *record = history_encode(&book);
	FUZZ_CHECK(history_decode(record, &again, &err) == 0);
	FUZZ_CHECK(again.count == book.count);
	return 0;
}
