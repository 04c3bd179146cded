/* JSON that strangers send: what cJSON would let through must not get in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/wire/json_file.h"
#include "lib/core/mem.h"
#include "tests/unit/scratch.h"

static void refuse(const char *text, const char *reason)
{
	struct error err = {0};
	auto_json cJSON *o = json_parse(text, strlen(text), &err);
	assert_null(o);
	assert_non_null(strstr(err.message, reason));
}

static void what_cjson_takes_and_we_do_not(void **state)
{
	(void)state;
	refuse("{\"a\":1,\"a\":2}", "stands twice");
	refuse("{\"a\":1,\"A\":2}", "stands twice");
	refuse("{\"x\":{\"b\":1,\"B\":2}}", "stands twice");
	refuse("{\"x\":[{\"b\":1,\"b\":2}]}", "stands twice");
	refuse("{} {}", "behind the object");
	refuse("{}x", "behind the object");
	refuse("[]", "not an object");
	refuse("\"text\"", "not an object");
	refuse("", "not an object");
	refuse("{\"a\":", "not an object");
	refuse("{\"a\":\"x\\u0000y\"}", "u0000");
	refuse("<html>no</html>", "not an object");
}

static void a_nul_byte_is_refused(void **state)
{
	(void)state;
	struct error err;
	static const char text[] = "{\"a\":\"x\0y\"}";
	assert_null(json_parse(text, sizeof(text) - 1, &err));
	assert_non_null(strstr(err.message, "NUL"));
}

static void depth_is_bounded_before_anything_recurses(void **state)
{
	(void)state;
	auto_buf struct buf b = BUF_INIT(1024 * 1024);
	buf_addf(&b, "{\"a\":");
	for (int i = 0; i < 100000; i++)
		buf_add(&b, "[", 1);
	refuse(buf_text(&b), "nested deeper");
	/* Brackets inside a string do not nest. */
	struct error err;
	static const char fine[] = "{\"a\":\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[[\"}";
	auto_json cJSON *o = json_parse(fine, sizeof(fine) - 1, &err);
	assert_non_null(o);
}

static void readers_name_the_member_and_the_fault(void **state)
{
	(void)state;
	struct error err;
	uint32_t u;
	int64_t i;
	static const char text[] =
		"{\"n\":1.5,\"big\":1e300,\"neg\":-1,\"s\":\"abc\",\"over\":2147483648,\"ok\":2147483647}";
	auto_json cJSON *o = json_parse(text, sizeof(text) - 1, &err);
	assert_non_null(o);
	assert_int_equal(json_u32(o, "n", &u, &err), -1);
	assert_string_equal(err.message, "n: is not a whole number");
	assert_int_equal(json_i64(o, "big", &i, &err), -1);
	assert_int_equal(json_u32(o, "neg", &u, &err), -1);
	assert_int_equal(json_u32(o, "over", &u, &err), -1);
	assert_string_equal(err.message, "over: 2147483648 is out of range");
	assert_int_equal(json_u32(o, "ok", &u, &err), 0);
	assert_int_equal(u, 2147483647);
	assert_null(json_string(o, "s", 2, &err));
	assert_string_equal(err.message, "s: is longer than 2 bytes");
	assert_null(json_string(o, "S", 10, &err));
	assert_string_equal(err.message, "S: is missing");
	assert_null(json_string(o, "n", 10, &err));
	assert_string_equal(err.message, "n: is not a string");
}

/* cJSON prints 15 digits, so that 2^53 - 1 would come back as another number, and it reads 2^53 + 1 as 2^53. */
static void an_integer_is_what_it_was_when_it_comes_back(void **state)
{
	static const char largest[] = "{\"n\":999999999999999,\"over\":1000000000000000,\"odd\":9007199254740991}";
	struct error err;
	int64_t n = 0;
	auto_buf struct buf text = BUF_INIT(200);
	(void)state;
	auto_json cJSON *o = json_parse(largest, strlen(largest), &err);
	assert_non_null(o);
	assert_int_equal(json_i64(o, "over", &n, &err), -1);
	assert_int_equal(json_i64(o, "odd", &n, &err), -1);
	assert_int_equal(json_print(o, &text), 0);
	auto_json cJSON *again = json_parse(text.data, text.len, &err);
	assert_non_null(again);
	assert_int_equal(json_i64(again, "n", &n, &err), 0);
	assert_true(n == 999999999999999);
}

static void one_in_a_file_is_whole_or_told_of(void **state)
{
	const struct scratch *s = *state;
	struct error err;
	struct stat st;
	cJSON *found;
	auto_json cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "a", "b");
	assert_int_equal(json_file_read(s->fd, "x.json", 100, &found, &err), 0);
	assert_int_equal(json_file_write(s->fd, "x.json", o, 9, &err), 0);
	assert_int_equal(fstatat(s->fd, "x.json", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(json_file_read(s->fd, "x.json", 100, &found, &err), 1);
	assert_true(cJSON_Compare(o, found, true));
	cJSON_Delete(found);
	assert_int_equal(json_file_write(s->fd, "x.json", o, 8, &err), -1);
	assert_string_equal(err.message, "x.json would be over 8 bytes");
	assert_int_equal(json_file_read(s->fd, "x.json", 8, &found, &err), -1); /* more than it may have */
	scratch_write(s, "x.json", "{\"a\":", 0600);
	assert_int_equal(json_file_read(s->fd, "x.json", 100, &found, &err), -1);
	assert_null(found);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_cjson_takes_and_we_do_not),
		cmocka_unit_test(a_nul_byte_is_refused),
		cmocka_unit_test(depth_is_bounded_before_anything_recurses),
		cmocka_unit_test(readers_name_the_member_and_the_fault),
		cmocka_unit_test(an_integer_is_what_it_was_when_it_comes_back),
		cmocka_unit_test_setup_teardown(one_in_a_file_is_whole_or_told_of, scratch_setup, scratch_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
