/* SCTs in certificates, made with OpenSSL: what is read of them, what is wrong with others, and how a check tells it. */
#include "lib/crypto/sct.h"
#include "lib/core/mem.h"
#include "lib/probe/check_json.h"
#include "tests/unit/issue.h"

#include <openssl/ct.h>

enum { LIST_MAX = 8192, STEP_MS = 1000 };
#define FIRST_MS INT64_C(1700000000123)

static const char name[] = "mail.domain.pl";

/* Appends the extension's value: `count` SCTs of this version, the first of this time, and each a second later. */
static void put_list(struct buf *out, int count, sct_version_t version, uint64_t first_ms)
{
	STACK_OF(SCT) *all = sk_SCT_new_null();
	for (int i = 0; i < count; i++) {
		unsigned char log[SCT_LOG_SIZE], signature[] = {0x30, 6, 2, 1, 1, 2, 1, 1};
		SCT *sct = SCT_new();
		memset(log, 'a' + i, sizeof(log));
		assert_int_equal(SCT_set_version(sct, version), 1);
		assert_int_equal(SCT_set1_log_id(sct, log, sizeof(log)), 1);
		SCT_set_timestamp(sct, first_ms + (uint64_t)i * STEP_MS);
		assert_int_equal(SCT_set_signature_nid(sct, NID_ecdsa_with_SHA256), 1);
		assert_int_equal(SCT_set1_signature(sct, signature, sizeof(signature)), 1);
		sk_SCT_push(all, sct);
	}
	unsigned char *der = NULL;
	int len = i2d_SCT_LIST(all, &der);
	assert_true(len > 0);
	assert_int_equal(buf_add(out, der, (size_t)len), 0);
	OPENSSL_free(der);
	SCT_LIST_free(all);
}

/* Makes a certificate with these bytes as the extension's value, `times` times. */
static struct issued certificate_of(const struct buf *value, int times)
{
	struct issued made = issue((struct wish){.subject = "x", .san = "DNS:mail.domain.pl"});
	ASN1_OCTET_STRING *string = ASN1_OCTET_STRING_new();
	assert_int_equal(ASN1_OCTET_STRING_set(string, value->data, (int)value->len), 1);
	for (int i = 0; i < times; i++) {
		X509_EXTENSION *extension = X509_EXTENSION_create_by_NID(NULL, NID_ct_precert_scts, 0, string);
		assert_int_equal(X509_add_ext(made.certificate, extension, -1), 1);
		X509_EXTENSION_free(extension);
	}
	ASN1_OCTET_STRING_free(string);
	assert_true(X509_sign(made.certificate, made.key, EVP_sha256()) > 0);
	return made;
}

static void logs_and_times_are_read(void **state)
{
	(void)state;
	static const int counts[] = {1, 2, SCT_MAX};
	for (size_t k = 0; k < COUNT(counts); k++) {
		auto_buf struct buf value = BUF_INIT(LIST_MAX);
		struct sct_list list;
		struct error err;
		put_list(&value, counts[k], SCT_VERSION_V1, FIRST_MS);
		struct issued one = certificate_of(&value, 1);
		assert_int_equal(sct_read(one.certificate, &list, &err), 0);
		assert_int_equal(list.count, counts[k]);
		for (int i = 0; i < counts[k]; i++) {
			uint8_t log[SCT_LOG_SIZE];
			memset(log, 'a' + i, sizeof(log));
			assert_memory_equal(list.items[i].log, log, sizeof(log));
			assert_int_equal(list.items[i].when, FIRST_MS / 1000 + i);
		}
		issued_release(&one);
	}
}

static void a_certificate_without_has_none(void **state)
{
	(void)state;
	struct sct_list list = {.count = 5};
	struct error err;
	struct issued one = issue((struct wish){.subject = "x", .san = "DNS:mail.domain.pl"});
	assert_int_equal(sct_read(one.certificate, &list, &err), 0);
	assert_int_equal(list.count, 0);
	issued_release(&one);
}

static void refused(const struct buf *value, int times, const char *reason)
{
	struct sct_list list = {.count = 5};
	struct error err = {0};
	struct issued one = certificate_of(value, times);
	assert_int_equal(sct_read(one.certificate, &list, &err), -1);
	assert_int_equal(list.count, 0);
	if (!strstr(err.message, "its list of SCTs ") || !strstr(err.message, reason))
		fail_msg("\"%s\" was expected: %s", reason, err.message);
	issued_release(&one);
}

static void what_is_wrong_with_a_list_is_named(void **state)
{
	(void)state;
	auto_buf struct buf two = BUF_INIT(LIST_MAX), many = BUF_INIT(LIST_MAX), late = BUF_INIT(LIST_MAX);
	put_list(&two, 2, SCT_VERSION_V1, FIRST_MS);
	refused(&two, 2, "stands there twice");
	put_list(&many, SCT_MAX + 1, SCT_VERSION_V1, FIRST_MS);
	refused(&many, 1, "has 17: at most 16 are read");
	put_list(&late, 1, SCT_VERSION_V1, UINT64_MAX);
	refused(&late, 1, "a time that no clock tells");

	static uint8_t empty[] = {4, 2, 0, 0}, nothing[] = {4, 0}, text[] = {0x0c, 2, 0, 0};
	static uint8_t other_version[] = {4, 7, 0, 5, 0, 3, 1, 2, 3};
	const struct {
		struct buf value;
		const char *reason;
	} cases[] = {
		{{.data = empty, .len = sizeof(empty)}, "is empty"},
		{{.data = nothing, .len = sizeof(nothing)}, "cannot be read"},
		{{.data = text, .len = sizeof(text)}, "is not a string of DER"},
		{{.data = text, .len = 1}, "is not a string of DER"},
		{{.data = other_version, .len = sizeof(other_version)}, "not of version 1"},
	};
	for (size_t i = 0; i < COUNT(cases); i++)
		refused(&cases[i].value, 1, cases[i].reason);
}

/* Behind the string, in the string behind the list, and in the list behind an SCT. */
static void trailing_bytes_are_refused_wherever_they_stand(void **state)
{
	(void)state;
	auto_buf struct buf one = BUF_INIT(LIST_MAX);
	put_list(&one, 1, SCT_VERSION_V1, FIRST_MS);
	assert_true(one.data[0] == 4 && one.data[1] < 0x7f && one.len == (size_t)one.data[1] + 2);
	buf_put_u8(&one, 0);
	refused(&one, 1, "has something behind it");
	one.data[1]++;
	refused(&one, 1, "cannot be read");
	one.data[3]++;
	refused(&one, 1, "cannot be read");
	one.data[5]++;
	refused(&one, 1, "has something behind one of them");
}

static void every_list_that_is_cut_is_refused(void **state)
{
	(void)state;
	auto_buf struct buf whole = BUF_INIT(LIST_MAX);
	put_list(&whole, 2, SCT_VERSION_V1, FIRST_MS);
	for (size_t len = 0; len < whole.len; len++) {
		struct buf cut = {.data = whole.data, .len = len};
		refused(&cut, 1, "is not a string of DER");
	}
}

static struct check judged(const struct issued *one, struct anchors *anchors)
{
	struct check c;
	auto_chain struct chain chain = issued_chain(one, NULL, 0);
	const struct probe_result result = {.state = PROBE_SERVED, .leaf = chain.leaf, .rest = chain.rest};
	const struct check_policy policy = {.anchors = anchors, .now = ISSUE_NOW, .name = name};
	check_judge(&result, &policy, &c);
	return c;
}

/* Encodes and decodes it, and returns what is written of the SCTs, or nothing. The caller frees it. */
static char *written(struct check *c)
{
	struct check_found got;
	struct error err;
	auto_json cJSON *o = check_encode(name, "127.0.0.1:443", c);
	assert_int_equal(check_decode(o, &got, &err), 0);
	assert_int_equal(got.check.knows_scts, c->knows_scts);
	assert_memory_equal(&got.check.scts, &c->scts, sizeof(c->scts));
	check_found_release(&got);
	const cJSON *scts = json_get(o, "scts");
	return scts ? cJSON_PrintUnformatted(scts) : NULL;
}

static void a_check_has_them_and_none_is_no_fault(void **state)
{
	(void)state;
	auto_buf struct buf value = BUF_INIT(LIST_MAX);
	put_list(&value, 2, SCT_VERSION_V1, FIRST_MS);
	struct anchors *anchors = anchors_none();
	struct issued plain = issue((struct wish){.subject = "x", .san = "DNS:mail.domain.pl"});
	struct issued with = certificate_of(&value, 1), broken = {0};
	value.len--;
	broken = certificate_of(&value, 1);
	struct check checks[] = {judged(&plain, anchors), judged(&with, anchors), judged(&broken, anchors)};
	static const char *const scts[] = {"[]",
		"[{\"log\":\"YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=\",\"timestamp\":\"2023-11-14T22:13:20Z\"},"
		"{\"log\":\"YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmI=\",\"timestamp\":\"2023-11-14T22:13:21Z\"}]",
		NULL};
	for (size_t i = 0; i < COUNT(checks); i++) {
		auto_free char *text = written(&checks[i]);
		assert_true(scts[i] ? text && strcmp(text, scts[i]) == 0 : !text);
		assert_string_equal(checks[i].warning, scts[i] ? "" : "its list of SCTs is not a string of DER");
		/* The verdict is that of a certificate that nobody vouches for, with or without. */
		assert_string_equal(checks[i].reason, checks[0].reason);
	}
	for (size_t i = 0; i < COUNT(checks); i++)
		check_release(&checks[i]);
	issued_release(&plain);
	issued_release(&with);
	issued_release(&broken);
	anchors_free(anchors);
}

static void what_is_no_sct_in_a_record_is_refused(void **state)
{
	(void)state;
	struct anchors *anchors = anchors_none();
	struct issued plain = issue((struct wish){.subject = "x", .san = "DNS:mail.domain.pl"});
	struct check c = judged(&plain, anchors);
	static const char *const bad[] = {"7", "[7]", "[{}]",
		"[{\"log\":\"AAAA\",\"timestamp\":\"2023-11-14T22:13:20Z\"}]",
		"[{\"log\":\"YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=\",\"timestamp\":\"then\"}]",
		"[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]"};
	for (size_t i = 0; i < COUNT(bad); i++) {
		auto_json cJSON *o = check_encode(name, "127.0.0.1:443", &c);
		struct check_found got;
		struct error err;
		cJSON_ReplaceItemInObject(o, "scts", cJSON_Parse(bad[i]));
		assert_int_equal(check_decode(o, &got, &err), -1);
		assert_non_null(strstr(err.message, "scts"));
	}
	/* A record of an older program has none. */
	auto_json cJSON *o = check_encode(name, "127.0.0.1:443", &c);
	struct check_found got;
	struct error err;
	cJSON_DeleteItemFromObject(o, "scts");
	assert_int_equal(check_decode(o, &got, &err), 0);
	assert_false(got.check.knows_scts);
	check_found_release(&got);
	check_release(&c);
	issued_release(&plain);
	anchors_free(anchors);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(logs_and_times_are_read),
		cmocka_unit_test(a_certificate_without_has_none),
		cmocka_unit_test(what_is_wrong_with_a_list_is_named),
		cmocka_unit_test(trailing_bytes_are_refused_wherever_they_stand),
		cmocka_unit_test(every_list_that_is_cut_is_refused),
		cmocka_unit_test(a_check_has_them_and_none_is_no_fault),
		cmocka_unit_test(what_is_no_sct_in_a_record_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
