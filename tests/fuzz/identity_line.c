/* An agent's line, as `certsync agent add` reads it, and the record that the hub keeps of it. */
#include "hub/daemon/agents/enroll.c"
#include "hub/daemon/agents/enrolment.c"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err;
	struct enrolment e = {0}, again = {0};
	auto_buf struct buf text = BUF_INIT(ENROLMENT_RECORD_MAX), record = BUF_INIT(64 * 1024);
	auto_free char *line = mem_strndup((const char *)data, size);
	if (parse_identity(line, &e, &err) == 0) {
		FUZZ_CHECK(hub_key_is_valid(e.ssh) && record_encode(&e, &text) == 0);
		FUZZ_CHECK(enrolment_decode(&text, &again, &err) == 0);
		FUZZ_CHECK(strcmp(e.ssh, again.ssh) == 0 && memcmp(e.seal, again.seal, sizeof(e.seal)) == 0);
	}
	if (buf_add(&record, data, size) == 0 && enrolment_decode(&record, &again, &err) == 0)
		FUZZ_CHECK(hub_key_is_valid(again.ssh));
	return 0;
}
