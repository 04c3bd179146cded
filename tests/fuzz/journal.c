/* The root half's record of one certificate. Its SHA-256 is put right first, for else nothing behind it would be
 * reached. */
#include "agent/root/journal.c"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err;
	struct journal j = {0};
	auto_buf struct buf in = BUF_INIT(JOURNAL_SIZE + 1);
	if (size > JOURNAL_SIZE + 1 || buf_add(&in, data, size) < 0)
		return 0;
	check(&in, &err);
	if (size == JOURNAL_SIZE && sha256(in.data, JOURNAL_SUM_AT, in.data + JOURNAL_SUM_AT) == 0) {
		FUZZ_CHECK(check(&in, &err) == 0);
		if (decode(&in, "mail.domain.pl", &j, &err) == 0)
			FUZZ_CHECK(!content_same(&j.pending, &j.served) || content_is_set(&j.served));
	}
	return 0;
}
