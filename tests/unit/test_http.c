/* What a server says about how long to wait and where to go, and what is made of it. */
#include "hub/worker/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define NOW 1445412480 /* Wed, 21 Oct 2015 07:28:00 GMT */
#define DAY (24 * 3600)

static void retry_after_is_between_a_second_and_a_day(void **state)
{
	(void)state;
	static const struct {
		const char *value;
		int64_t seconds;
	} cases[] = {
		{"120", 120},
		{"0", 1},
		{"-1", 1},
		{"1000000000000", DAY},
		{"99999999999999999999999999", DAY},
		{"-99999999999999999999999999", 1},
		{"Wed, 21 Oct 2015 07:30:00 GMT", 120},
		{"Wednesday, 21-Oct-15 07:30:00 GMT", 120},
		{"Wed Oct 21 07:30:00 2015", 120},
		{"Wed, 21 Oct 2015 07:28:00 GMT", 1},
		{"Sun, 06 Nov 1994 08:49:37 GMT", 1}, /* this lies in the past */
		{"Wed, 21 Oct 2099 07:28:00 GMT", DAY},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(http_retry_after(cases[i].value, NOW), cases[i].seconds);
}

static void rubbish_is_no_retry_after(void **state)
{
	(void)state;
	static const char *const bad[] = {"", "soon", "1.5.x", "12 minutes please", "\"120\""};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(http_retry_after(bad[i], NOW), 0);
}

static void only_plain_https_is_a_good_url(void **state)
{
	(void)state;
	static const char *const good[] = {
		"https://ca.example/directory",
		"https://127.0.0.1:14000/dir",
		"https://[::1]:14000/dir?x=1",
		"HTTPS://ca.example",
	};
	static const char *const bad[] = {
		"",
		"http://ca.example/",
		"file:///etc/passwd",
		"https:/ca.example",
		"https://",
		"https:///x",
		"//ca.example/",
		"https://user@ca.example/",
		"https://user:password@ca.example/",
		"https://ca.example/a b",
		"https://ca.example/\r\nHost: other",
		"https://ca.example/\"",
		"https://ca.example/\xc3\xa9",
		"gopher://ca.example/",
	};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(url_is_good(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(url_is_good(bad[i]));
	char longest[URL_MAX + 1] = "https://ca.example/";
	memset(longest + strlen(longest), 'a', sizeof(longest) - strlen(longest));
	longest[URL_MAX] = '\0';
	assert_false(url_is_good(longest));
	longest[URL_MAX - 1] = '\0';
	assert_true(url_is_good(longest));
}

static void a_bad_url_is_never_asked(void **state)
{
	(void)state;
	struct error err;
	auto_http_response struct http_response response = {0};
	struct http *h = http_new(NULL, &err);
	const struct http_request request = {.method = HTTP_GET, .url = "http://127.0.0.1:1/"};
	assert_non_null(h);
	assert_int_equal(http_send(h, &request, &response, &err), -1);
	assert_int_equal(err.kind, ERROR_PERMANENT);
	assert_non_null(strstr(err.message, "http://127.0.0.1:1/"));
	http_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(retry_after_is_between_a_second_and_a_day),
		cmocka_unit_test(rubbish_is_no_retry_after),
		cmocka_unit_test(only_plain_https_is_a_good_url),
		cmocka_unit_test(a_bad_url_is_never_asked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
