/* Names, patterns, revisions and texts: their alphabets keep strangers out of paths and terminals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/core/error.h"
#include "lib/core/mem.h"
#include "lib/core/name.h"
#include "lib/crypto/revision.h"
#include "lib/crypto/verify.h"

static void a_certificate_name_can_be_a_directory(void **state)
{
	(void)state;
	static const char *const good[] = {"mail.domain.pl", "a", "xn--bcher-kva.example", "_dmarc.a.b", "1.2.3"};
	static const char *const bad[] = {"", ".", "..", "../x", "a/b", "a..b", ".a", "a.", "-a", "a-", "a-.b", "A.b",
		"*.a", "a b", "a\nb", "$(id)", "ä.pl"};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(name_is_certificate(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(name_is_certificate(bad[i]));
	char longest[300];
	memset(longest, 'a', sizeof(longest));
	longest[63] = '\0';
	assert_true(name_is_certificate(longest));
	longest[63] = 'a';
	longest[64] = '\0';
	assert_false(name_is_certificate(longest));
}

static void an_address_is_no_name(void **state)
{
	(void)state;
	static const char *const addresses[] = {
		"192.0.2.1", "3221225985", "0x7f.1", "0x7f000001", "1.2.3", "a.0X1f", "a.1"};
	static const char *const names[] = {"mail.domain.pl", "a", "1.2.3.in-addr.arpa", "4.4.4.d4", "a.0xg", "*.a.b2"};
	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++)
		assert_true(name_is_address(addresses[i]));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_false(name_is_address(names[i]));
}

static void an_agent_name_can_stand_in_authorized_keys(void **state)
{
	(void)state;
	assert_true(name_is_agent("backup1"));
	assert_true(name_is_agent("mail-2.dc_1"));
	assert_false(name_is_agent(""));
	assert_false(name_is_agent("-x"));
	assert_false(name_is_agent(".x"));
	assert_false(name_is_agent("a\"b"));
	assert_false(name_is_agent("a b"));
	assert_false(name_is_agent("Mail"));
}

static void a_star_stands_for_exactly_one_label(void **state)
{
	(void)state;
	assert_true(name_covers("*.domain.pl", "mail.domain.pl"));
	assert_true(name_covers("*.Domain.pl", "MAIL.domain.PL"));
	assert_true(name_covers("mail.domain.pl", "mail.domain.pl"));
	assert_false(name_covers("*.domain.pl", "domain.pl"));
	assert_false(name_covers("*.domain.pl", "a.mail.domain.pl"));
	assert_false(name_covers("*.domain.pl", ".domain.pl"));
	assert_false(name_covers("*", "mail"));
	assert_false(name_covers("mail.domain.pl", "*.domain.pl"));
	assert_true(name_covers("*.domain.pl", "*.domain.pl"));
	assert_false(name_covers("*.pl", "*.domain.pl"));
}

static void a_revision_has_one_spelling(void **state)
{
	(void)state;
	struct revision r;
	char text[REVISION_TEXT_MAX];
	assert_true(revision_parse("0.0", &r));
	assert_true(revision_is_placeholder(r));
	assert_true(revision_parse("1.2147483647", &r));
	assert_string_equal(revision_text(r, text), "1.2147483647");
	static const char *const bad[] = {"", "1", "1.", ".1", "1.2.3", "01.2", "1.02", "+1.2", "1.-2", " 1.2", "1.2 ",
		"1.2147483648", "99999999999999999999.1", "current"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(revision_parse(bad[i], &r));
	assert_true(revision_compare((struct revision){2, 1}, (struct revision){1, 9}) > 0);
	assert_true(revision_compare((struct revision){1, 1}, (struct revision){1, 9}) < 0);
}

static void text_is_cleaned_and_utf8_kept(void **state)
{
	(void)state;
	char text[] = "zażółć\x1b[0m\r\nnext\t\xff\xc0\xaf\xed\xa0\x80 end";
	text_clean(text, 0);
	assert_string_equal(text,
		"zażółć?[0m  next ?"
		"?"
		"?"
		"?"
		"?"
		"? end");
	char lines[] = "a\nb\rc";
	text_clean(lines, 1);
	assert_string_equal(lines, "a\nb c");
}

static void what_is_hidden_or_reorders_is_no_text(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int lines;
		const char *fault;
	} cases[] = {
		{"", 0, NULL},
		{"za\xc5\xbc\xc3\xb3\xc5\x82\xc4\x87 \xe2\x82\xac \xf0\x9f\x94\x92", 0, NULL},
		{"a\nb\tc", 1, NULL},
		{"a\nb", 0, "a control character"},
		{"a\tb", 0, "a control character"},
		{"a\rb", 1, "a control character"},
		{"\x1b]0;x\a", 1, "a control character"},
		{"\x7f", 0, "a control character"},
		{"\xc2\x85", 1, "a control character"},
		{"\xc2\x9b"
		 "31m",
			1, "a control character"},
		{"\xe2\x80\xae", 1, "a character that cannot be seen or reorders others"},     /* U+202E */
		{"\xe2\x81\xa6", 1, "a character that cannot be seen or reorders others"},     /* U+2066 */
		{"\xe2\x80\x8b", 0, "a character that cannot be seen or reorders others"},     /* U+200B */
		{"\xe2\x80\xa8", 1, "a character that cannot be seen or reorders others"},     /* U+2028 */
		{"\xef\xbb\xbf", 0, "a character that cannot be seen or reorders others"},     /* U+FEFF */
		{"\xc2\xad", 0, "a character that cannot be seen or reorders others"},         /* U+00AD */
		{"\xf3\xa0\x81\x81", 0, "a character that cannot be seen or reorders others"}, /* U+E0041 */
		{"\xc5", 0, "bytes that are not UTF-8"},
		{"\xed\xa0\x80", 0, "bytes that are not UTF-8"},
		{"\xf5\x80\x80\x80", 0, "bytes that are not UTF-8"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[64];
		const char *fault = text_fault(cases[i].text, cases[i].lines);
		if ((fault == NULL) != (cases[i].fault == NULL) || (fault && strcmp(fault, cases[i].fault) != 0))
			fail_msg("case %zu: %s", i, fault ? fault : "no fault");
		snprintf(text, sizeof(text), "%s", cases[i].text);
		text_clean(text, cases[i].lines);
		assert_null(text_fault(text, cases[i].lines));
		assert_int_equal(strcmp(text, cases[i].text) == 0, fault == NULL);
		assert_int_equal(strlen(text), strlen(cases[i].text));
	}
}

static void an_error_gains_context_and_keeps_its_kind(void **state)
{
	(void)state;
	struct error err;
	assert_int_equal(error_set(&err, ERROR_UNTRUSTED, "inner %d", 7), -1);
	assert_int_equal(error_wrap(&err, "outer"), -1);
	assert_string_equal(err.message, "outer: inner 7");
	assert_int_equal(err.kind, ERROR_UNTRUSTED);
}

static void the_first_name_that_nothing_covers_is_found(void **state)
{
	(void)state;
	char *const names[] = {"*.domain.pl", "domain.pl", "10.0.0.1"};
	assert_null(verify_names(names, COUNT(names), NULL));
	assert_null(verify_names(names, COUNT(names), (const char *const[]){"Mail.Domain.pl", "domain.pl", NULL}));
	assert_null(verify_names(names, COUNT(names), (const char *const[]){"*.domain.pl", "10.0.0.1", NULL}));
	assert_string_equal(
		verify_names(names, COUNT(names), (const char *const[]){"domain.pl", "a.b.domain.pl", "c.pl", NULL}),
		"a.b.domain.pl");
	assert_string_equal(verify_names(names, 0, (const char *const[]){"domain.pl", NULL}), "domain.pl");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_certificate_name_can_be_a_directory),
		cmocka_unit_test(an_address_is_no_name),
		cmocka_unit_test(an_agent_name_can_stand_in_authorized_keys),
		cmocka_unit_test(a_star_stands_for_exactly_one_label),
		cmocka_unit_test(the_first_name_that_nothing_covers_is_found),
		cmocka_unit_test(a_revision_has_one_spelling),
		cmocka_unit_test(text_is_cleaned_and_utf8_kept),
		cmocka_unit_test(what_is_hidden_or_reorders_is_no_text),
		cmocka_unit_test(an_error_gains_context_and_keeps_its_kind),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
