/* Renewal information: RFC 9773's own example, windows that an authority may give and windows that it may
 * not. */
#include "hub/common/ari.h"
#include "tests/unit/issue.h"

#define START INT64_C(1800000000)
#define DAY ISSUE_DAY
#define LIFE (90 * DAY)

static void the_identifier_is_that_of_the_rfc(void **state)
{
	(void)state;
	static const uint8_t serial[] = {0x87, 0x65, 0x43, 0x21};
	char id[ARI_ID_MAX];
	struct error err;
	X509 *certificate = X509_new();
	BIGNUM *number = BN_bin2bn(serial, sizeof(serial), NULL);
	BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
	BN_free(number);
	/* SEQUENCE { [0] keyid } */
	static const uint8_t value[] = {0x30, 0x16, 0x80, 0x14, 0x69, 0x88, 0x5b, 0x6b, 0x87, 0x46, 0x40, 0x41, 0xe1,
		0xb3, 0x7b, 0x84, 0x7b, 0xa0, 0xae, 0x2c, 0xde, 0x01, 0xc8, 0xd4};
	ASN1_OCTET_STRING *octets = ASN1_OCTET_STRING_new();
	ASN1_OCTET_STRING_set(octets, value, sizeof(value));
	X509_EXTENSION *extension = X509_EXTENSION_create_by_NID(NULL, NID_authority_key_identifier, 0, octets);
	X509_add_ext(certificate, extension, -1);
	assert_int_equal(ari_id(certificate, id, &err), 0);
	assert_string_equal(id, "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");
	X509_EXTENSION_free(extension);
	ASN1_OCTET_STRING_free(octets);
	X509_free(certificate);
}

static void a_certificate_without_a_key_identifier_has_none(void **state)
{
	(void)state;
	char id[ARI_ID_MAX] = "untouched";
	struct error err;
	X509 *certificate = X509_new();
	assert_int_equal(ari_id(certificate, id, &err), -1);
	assert_string_equal(id, "untouched");
	X509_free(certificate);
}

static int parse(const char *text, struct ari_window *w, struct error *err)
{
	return ari_parse(text, strlen(text), w, err);
}

static void an_answer_is_read(void **state)
{
	(void)state;
	struct ari_window w;
	struct error err;
	assert_int_equal(parse("{\"suggestedWindow\":{\"start\":\"2025-01-02T04:00:00Z\",\"end\":\"2025-01-"
			       "03T04:00:00Z\"},"
			       "\"explanationURL\":\"https://acme.example.com/docs/ari\"}",
				 &w, &err),
		0);
	assert_int_equal(w.start, 1735790400);
	assert_int_equal(w.end, 1735876800);
	assert_string_equal(w.explanation, "https://acme.example.com/docs/ari");
	assert_int_equal(parse("{\"suggestedWindow\":{\"start\":\"2025-01-02T04:00:00.123456789+02:00\","
			       "\"end\":\"2025-01-01T22:30:00-05:30\"},\"explanationURL\":\"javascript:x\"}",
				 &w, &err),
		0);
	assert_int_equal(w.start, 1735790400 - 7200);
	assert_int_equal(w.end, 1735790400);
	assert_string_equal(w.explanation, "");
}

static void malformed_answers_are_refused_with_a_reason(void **state)
{
	(void)state;
	static const char *const answers[] = {
		"",
		"[]",
		"{}",
		"{\"suggestedWindow\":null}",
		"{\"suggestedWindow\":{}}",
		"{\"suggestedWindow\":{\"start\":1735790400,\"end\":1735876800}}",
		"{\"suggestedWindow\":{\"start\":\"2025-01-02T04:00:00Z\"}}",
	};
	static const char *const dates[] = {"", "yesterday", "2025-02-30T00:00:00Z", "2025-13-01T00:00:00Z",
		"2025-01-02T24:00:00Z", "2025-01-02T04:00:00", "2025-01-02T04:00:00Zulu", "1969-01-01T00:00:00Z",
		"2025-01-02T04:61:00Z", "99999-01-02T04:00:00Z", "2025-01-02T04:00:00+2:00", "2025-1-2T04:00:00Z"};
	struct ari_window w = {.start = 7};
	struct error err;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
		assert_int_equal(parse(answers[i], &w, &err), -1);
	for (size_t i = 0; i < sizeof(dates) / sizeof(dates[0]); i++) {
		char text[256];
		snprintf(text, sizeof(text),
			"{\"suggestedWindow\":{\"start\":\"%s\",\"end\":\"2026-01-01T00:00:00Z\"}}", dates[i]);
		assert_int_equal(parse(text, &w, &err), -1);
		assert_non_null(strstr(err.message, "suggestedWindow: start: "));
	}
	assert_int_equal(w.start, 7);
}

static int judge(int64_t start, int64_t end)
{
	struct error err;
	const struct ari_window w = {.start = start, .end = end};
	return ari_judge(&w, START, START + LIFE, &err);
}

static void only_a_window_that_can_be_meant_is_followed(void **state)
{
	(void)state;
	assert_int_equal(judge(START + 60 * DAY, START + 62 * DAY), 0);
	assert_int_equal(judge(START - 3600, START - 1800), 0);                    /* revoked: now */
	assert_int_equal(judge(START + 62 * DAY, START + 60 * DAY), -1);           /* inverted */
	assert_int_equal(judge(START + 60 * DAY, START + 60 * DAY), -1);           /* empty */
	assert_int_equal(judge(START + 60 * DAY, START + 91 * DAY), -1);           /* after the end */
	assert_int_equal(judge(START + 82 * DAY, START + 83 * DAY), -1);           /* too late to be of use */
	assert_int_equal(judge(START + DAY, START + 60 * DAY), -1);                /* half of its life */
	assert_int_equal(judge(0, 1), -1);                                         /* 1970 */
	assert_int_equal(judge(INT64_C(253402300799), INT64_C(253402300799)), -1); /* 9999 */
}

static void the_moment_lies_in_the_window_and_all_of_it_is_used(void **state)
{
	(void)state;
	const struct ari_window w = {.start = START, .end = START + 2 * DAY};
	int64_t lowest = INT64_MAX, highest = 0;
	for (uint64_t i = 0; i < 10000; i++) {
		int64_t moment = ari_draw(&w, i * 0x9e3779b97f4a7c15u);
		assert_true(moment >= w.start && moment < w.end);
		lowest = moment < lowest ? moment : lowest;
		highest = moment > highest ? moment : highest;
	}
	assert_true(lowest < START + 600 && highest > START + 2 * DAY - 600);
}

static void a_moment_is_drawn_once_and_again_for_another_window(void **state)
{
	(void)state;
	struct ari_record r = {.failures = 3, .trouble = "down"};
	struct ari_window w = {.start = START + 60 * DAY, .end = START + 62 * DAY};
	ari_answer(&r, &w, START, START + LIFE, 1000);
	assert_int_equal(r.moment, w.start + 1000);
	assert_int_equal(r.failures, 0);
	assert_string_equal(r.trouble, "");
	ari_answer(&r, &w, START, START + LIFE, 5000);
	assert_int_equal(r.moment, w.start + 1000);
	w.start -= DAY;
	ari_answer(&r, &w, START, START + LIFE, 5000);
	assert_int_equal(r.moment, w.start + 5000);
	w.end = w.start - 1;
	ari_answer(&r, &w, START, START + LIFE, 5000);
	assert_int_equal(r.moment, 0);
	assert_string_equal(r.trouble, "the authority's window ends before it starts");
}

static void the_next_question_is_a_minute_to_a_day_away(void **state)
{
	(void)state;
	assert_int_equal(ari_ask_after(0), 6 * 3600);
	assert_int_equal(ari_ask_after(1), 60);
	assert_int_equal(ari_ask_after(7200), 7200);
	assert_int_equal(ari_ask_after(30 * DAY), DAY);
}

static void the_record_comes_back_as_it_was(void **state)
{
	(void)state;
	struct error err;
	auto_buf struct buf text = BUF_INIT(8192);
	const struct ari_record r = {.id = "a.b",
		.window = {START, START + DAY, "https://ca.example/why"},
		.moment = START + 5,
		.next = START + 99,
		.failures = 2,
		.trouble = "it is down"};
	struct ari_record again = {.id = ""};
	auto_json cJSON *o = ari_encode(&r), *empty = cJSON_CreateObject();
	assert_int_equal(ari_decode(o, &again, &err), 0);
	assert_memory_equal(&r.window, &again.window, sizeof(int64_t) * 2);
	assert_string_equal(again.id, r.id);
	assert_string_equal(again.window.explanation, r.window.explanation);
	assert_string_equal(again.trouble, r.trouble);
	assert_int_equal(again.moment, r.moment);
	assert_int_equal(again.next, r.next);
	assert_int_equal(again.failures, r.failures);
	assert_int_equal(ari_decode(empty, &again, &err), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_identifier_is_that_of_the_rfc),
		cmocka_unit_test(a_certificate_without_a_key_identifier_has_none),
		cmocka_unit_test(an_answer_is_read),
		cmocka_unit_test(malformed_answers_are_refused_with_a_reason),
		cmocka_unit_test(only_a_window_that_can_be_meant_is_followed),
		cmocka_unit_test(the_moment_lies_in_the_window_and_all_of_it_is_used),
		cmocka_unit_test(a_moment_is_drawn_once_and_again_for_another_window),
		cmocka_unit_test(the_next_question_is_a_minute_to_a_day_away),
		cmocka_unit_test(the_record_comes_back_as_it_was),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
