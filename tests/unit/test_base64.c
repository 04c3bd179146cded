/* Base64 in both forms: the vectors of RFC 4648 section 10, what is refused, and that a refusal leaves nothing
 * behind. */
#include "lib/core/base64.h"
#include "lib/core/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void the_vectors_of_rfc_4648(void **state)
{
	static const char *const vectors[][3] = {{"", "", ""}, {"f", "Zg==", "Zg"}, {"fo", "Zm8=", "Zm8"},
		{"foo", "Zm9v", "Zm9v"}, {"foob", "Zm9vYg==", "Zm9vYg"}, {"fooba", "Zm9vYmE=", "Zm9vYmE"},
		{"foobar", "Zm9vYmFy", "Zm9vYmFy"}, {"\xfb\xef\xff", "++//", "--__"}};
	struct error err;
	(void)state;
	for (size_t i = 0; i < COUNT(vectors); i++) {
		auto_buf struct buf text = BUF_INIT(64), url = BUF_INIT(64), back = BUF_INIT(64),
				    back_url = BUF_INIT(64);
		const size_t len = strlen(vectors[i][0]);
		assert_int_equal(base64_encode(vectors[i][0], len, &text), 0);
		assert_string_equal(buf_text(&text), vectors[i][1]);
		assert_int_equal(base64url_encode(vectors[i][0], len, &url), 0);
		assert_string_equal(buf_text(&url), vectors[i][2]);
		assert_int_equal(base64_decode(vectors[i][1], &back, &err), 0);
		assert_int_equal(base64url_decode(vectors[i][2], &back_url), 0);
		assert_string_equal(buf_text(&back), vectors[i][0]);
		assert_string_equal(buf_text(&back_url), vectors[i][0]);
	}
}

static void what_is_none_leaves_nothing(void **state)
{
	/* The last two leave bits over that are not zero; these bytes are written as Zg== and Zm8=, and in no other
	 * way. */
	static const char *const wrong[] = {
		"Zg=", "Zg", "Z===", "====", "Zm9v=AAA", "Zm9v\nZm9v", "--__", "Zh==", "Zm9="};
	static const char *const wrong_url[] = {"Z", "Zm9vZ", "++//", "Zg==Zg", "Zm 9v", "Zm9v*AAA"};
	struct error err;
	(void)state;
	auto_buf struct buf out = BUF_INIT(64);
	assert_int_equal(buf_add(&out, "before", 6), 0);
	for (size_t i = 0; i < COUNT(wrong); i++)
		assert_int_equal(base64_decode(wrong[i], &out, &err), -1);
	for (size_t i = 0; i < COUNT(wrong_url); i++)
		assert_int_equal(base64url_decode(wrong_url[i], &out), -1);
	assert_string_equal(buf_text(&out), "before");
}

static void what_does_not_fit_leaves_nothing(void **state)
{
	struct error err;
	(void)state;
	auto_buf struct buf out = BUF_INIT(4);
	assert_int_equal(base64_decode("Zm9vYmFy", &out, &err), -1);
	assert_non_null(strstr(err.message, "more than 4 bytes"));
	assert_int_equal(base64url_decode("Zm9vYmFy", &out), -1);
	assert_int_equal(base64_encode("foobar", 6, &out), -1);
	assert_int_equal(base64url_encode("foobar", 6, &out), -1);
	assert_int_equal(out.len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_vectors_of_rfc_4648),
		cmocka_unit_test(what_is_none_leaves_nothing),
		cmocka_unit_test(what_does_not_fit_leaves_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
