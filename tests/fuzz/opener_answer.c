/* The answer of the child that opens bundles, which the root half does not believe: what is let through is PEM of its
 * kinds, and gives the same bytes when it is put together again. */
#include "agent/root/file_set.h"
#include "agent/root/opener.h"
#include "agent/root/opener_child.h"
#include "tests/fuzz/fuzz.h"

static bool only(const struct buf *pem)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=- \n";
	for (size_t i = 0; i < pem->len; i++)
		if (!pem->data[i] || !strchr(alphabet, pem->data[i]))
			return false;
	const char *text = pem->len ? (const char *)pem->data : "-\n";
	return *text == '-' && (!pem->len || pem->data[pem->len - 1] == '\n') &&
		!memmem(pem->data, pem->len, "\n\n", 2);
}

static void check(const struct parts *pairs, size_t count, const uint8_t *data, size_t size)
{
	auto_buf struct buf again = BUF_INIT(OPENER_ANSWER_MAX);
	auto_set struct file_set s = {0};
	struct error err;
	buf_put_u8(&again, OPENER_TAKEN);
	buf_put_u8(&again, (uint8_t)count);
	for (size_t i = 0; i < count; i++) {
		FUZZ_CHECK(pairs[i].key.len && pairs[i].leaf.len);
		FUZZ_CHECK(only(&pairs[i].key) && only(&pairs[i].leaf) && only(&pairs[i].rest));
		FUZZ_CHECK(parts_put(&pairs[i], &again) == 0);
	}
	FUZZ_CHECK(again.len == size && memcmp(again.data, data, size) == 0);
	if (file_set_make((struct revision){1, 1}, pairs, count, &s, &err) == 0)
		FUZZ_CHECK(s.file_count == (count > 1 ? 8 : 6));
	else
		FUZZ_CHECK(count > 1 && pairs[0].rsa == pairs[1].rsa);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct parts pairs[BUNDLE_PAIRS_MAX];
	size_t count = 0;
	struct error err;
	if (size > OPENER_ANSWER_MAX)
		return 0;
	if (opener_read_answer(data, size, pairs, &count, &err) < 0) {
		FUZZ_CHECK(count == 0 && err.kind >= ERROR_RETRY && err.kind <= ERROR_USAGE);
		return 0;
	}
	FUZZ_CHECK(count >= 1 && count <= BUNDLE_PAIRS_MAX);
	check(pairs, count, data, size);
	for (size_t i = 0; i < count; i++)
		parts_release(&pairs[i]);
	return 0;
}
