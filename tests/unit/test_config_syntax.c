/* The form of a configuration: what its words mean, and what is told about those that mean nothing. */
#include "lib/config/lexer.h"
#include "lib/config/syntax.h"
#include "lib/core/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct config_section *parse(const char *text, size_t len, char **ret_faults)
{
	struct config_faults faults = {0};
	auto_buf struct buf told = BUF_INIT(1024 * 1024);
	struct config_section *root = config_syntax(text, len, &faults);
	config_faults_tell(&faults, "f", &told);
	config_faults_release(&faults);
	*ret_faults = mem_strdup(buf_text(&told));
	return root;
}

static void expect(const char *text, size_t len, const char *expected)
{
	auto_free char *faults = NULL;
	config_section_free(parse(text, len, &faults));
	if (strcmp(faults, expected) != 0)
		print_error("of: %s\n", text);
	assert_string_equal(faults, expected);
}

/* Returns the values of the last assignment of `key`, with a bar behind each. */
static char *joined(const struct config_section *s, const char *key)
{
	auto_buf struct buf all = BUF_INIT(65536);
	const struct config_entry *e = config_entry_last(s, key);
	assert_non_null(e);
	for (size_t i = 0; i < e->value_count; i++)
		buf_addf(&all, "%s|", e->values[i]);
	assert_null(e->values[e->value_count]);
	return mem_strdup(buf_text(&all));
}

static void means(const char *text, const char *expected)
{
	auto_free char *faults = NULL, *whole = mem_printf("a = %s", text);
	struct config_section *root = parse(whole, strlen(whole), &faults);
	assert_string_equal(faults, "");
	auto_free char *value = joined(root, "a");
	assert_string_equal(value, expected);
	config_section_free(root);
}

static void words_and_texts_have_their_values(void **state)
{
	(void)state;
	means("word", "word|");
	means("https://a.pl:1/b%20@[::1]~_-# comment", "https://a.pl:1/b%20@[::1]~_-|");
	means("\"a \\\"b\\\" \\\\ 'c' #{} $ // /*\"", "a \"b\" \\ 'c' #{} $ // /*|");
	means("'a \"b\" \\'c\\' \\\\\\\\'", "a \"b\" 'c' \\\\|");
	means("\"\"", "|");
	means("\"\xc5\x82\"", "\xc5\x82|");
	means("{}", "");
	means("{ a,\r\n\t\"b\" , 'c', }", "a|b|c|");
	means("/* x\n * y */ // z\n# }\nb", "b|");
}

static void sections_are_in_each_other(void **state)
{
	(void)state;
	static const char text[] = "a \"t\" { b = 1\n\tc { b += {2} b = 3 } }\n\na\n u\n{\n}\n";
	auto_free char *faults = NULL;
	struct config_section *root = parse(text, strlen(text), &faults);
	assert_string_equal(faults, "");
	const struct config_section *first = config_section_next(root, "a", NULL);
	const struct config_section *second = config_section_next(root, "a", first);
	const struct config_section *inner = config_section_next(first, "c", NULL);
	assert_null(config_section_next(root, "a", second));
	assert_null(config_section_next(root, "c", NULL));
	assert_string_equal(first->title, "t");
	assert_string_equal(second->title, "u");
	assert_null(inner->title);
	assert_int_equal(first->line, 1);
	assert_int_equal(second->line, 5); /* the line of its title */
	assert_ptr_equal(strstr(text, " b = 1"), text + first->body);
	assert_true(inner->entries->append && inner->entries->braces);
	assert_false(inner->last_entry->append || inner->last_entry->braces);
	assert_int_equal(inner->last_entry->line, 2);
	config_section_free(root);
}

#define QUOTES "what contains more than letters, digits and _-./:@[]%~ must stand in quotes"
#define EXPANDED "${…} is not expanded here: write the value itself"

static void each_fault_of_form_is_named(void **state)
{
	(void)state;
	static const struct {
		const char *text, *fault;
	} cases[] = {
		{"# ${HOME}\nb = ${HOME}\n", "f:2: " EXPANDED "\n"},
		{"b = \"${HOME}\"\n", "f:1: " EXPANDED "\n"},
		{"b = x${HOME}y c = 1\n", "f:1: " EXPANDED "\n"},
		{"b = \"open\nc = \"/x\"\n", "f:1: the text that begins with \" is not closed on its line\n"},
		{"b = 'open", "f:1: the text that begins with ' is not closed on its line\n"},
		{"/* a\nb */ /* c\n", "f:2: the comment that begins here is never closed with */\n"},
		{"/*/", "f:1: the comment that begins here is never closed with */\n"},
		{"a b {\n\n", "f:1: the { of this line is never closed\n"},
		{"a b\n{\n", "f:2: the { of this line is never closed\n"},
		{"a b { c = {x, y }\n\n", "f:1: the { of this line is never closed\n"},
		{"a = {x,\ny\n", "f:1: the { of this line is never closed\n"},
		{"\n}\n", "f:2: this } closes nothing\n"},
		{"a = b\tc /x\n", "f:1: c: neither = nor { follows\n"},
		{"a b c {}\n", "f:1: a: neither = nor { follows\n"},
		{"names = {*.x.pl}\n", "f:1: " QUOTES "\n"},
		{"at = {10025+proxy}\n", "f:1: " QUOTES "\n"},
		{"a(b)\n", "f:1: " QUOTES "\n"},
		{"\xef\xbb\xbf"
		 "a = b\n",
			"f:1: " QUOTES "\n"},
		{"certificate|key = x\n", "f:1: " QUOTES "\n"},
		{"a = \"a\\tb\"\n", "f:1: in this text \\ may only stand before \" or another \\\n"},
		{"a = 'a\\\"b'\n", "f:1: in this text \\ may only stand before ' or another \\\n"},
		{"a = \"a\001b\"\n", "f:1: a control character stands in a text\n"},
		{"= x\n", "f:1: there is no key in front of the =\n"},
		{"a = = x\n", "f:1: a: no value follows the =\n"},
		{"a +=\n", "f:1: a: no value follows the +=\n"},
		{"\"a\" = x\n", "f:1: a key stands without quotes\n"},
		{"a = b, c = d\n", "f:1: this comma separates nothing: commas stand in lists alone\n"},
		{"{ a = b }\n", "f:1: this { follows neither a section's name nor a key and =\n"},
		{"a = {b = c}\n", "f:1: a: in a list there are values and commas alone\n"},
		{"a = {,}\n", "f:1: a: no value stands in front of this comma\n"},
		{"a = {b,, c}\n", "f:1: a: no value stands in front of this comma\n"},
		{"a = {b c}\n", "f:1: a: a comma is missing in front of c\n"},
	};
	for (size_t i = 0; i < COUNT(cases); i++)
		expect(cases[i].text, strlen(cases[i].text), cases[i].fault);
}

/* A fault that only follows from one that was told already is not told. */
static void all_faults_come_in_one_run_and_none_twice(void **state)
{
	(void)state;
	static const char text[] = "a = \"x\\y\" b = ${c}\n"
				   "certificate \"a\" {\n"
				   "	names = {a.pl\n"
				   "		b.pl,\n"
				   "		c.pl}\n"
				   "	key = {rsa-2048, ecdsa-p256\n"
				   "	watch /etc/x\n"
				   "	soak =\n"
				   "	rollout = now\n"
				   "}\n" /* 10 */
				   "certificate \"b\"\n"
				   "	names = a.pl\n"
				   "}\n"
				   "agent b c { one = {1,\n"
				   "	2} two { } }\n" /* 15: this is part of what was not understood */
				   "agent \"d\" { local = true } }\n"
				   "endpoint *.pl { ports = {25} }\n"
				   "last = \"\x7f\"\n";
	expect(text, strlen(text),
		"f:1: in this text \\ may only stand before \" or another \\\n"
		"f:1: " EXPANDED "\n"
		"f:4: names: a comma is missing in front of b.pl\n"
		"f:7: key: a comma is missing in front of watch\n"
		"f:8: soak: no value follows the =\n"
		"f:11: certificate: neither = nor { follows\n"
		"f:14: agent: neither = nor { follows\n"
		"f:16: this } closes nothing\n"
		"f:17: " QUOTES "\n"
		"f:18: a control character stands in a text\n");
}

static void a_text_that_swallows_braces_is_told_alone(void **state)
{
	(void)state;
	static const char text[] = "agent \"a\" { certificates = {\"x, y} }\n\nagent \"b\" { local = true }\n";
	expect(text, strlen(text), "f:1: the text that begins with \" is not closed on its line\n");
}

static void a_nul_byte_is_a_fault_with_its_line(void **state)
{
	(void)state;
	static const char text[] = "a = b\nc = \"d\0e\"\n}\n";
	expect(text, sizeof(text) - 1,
		"f:2: a NUL byte stands here, and nothing behind it is read\n"
		"f:2: the text that begins with \" is not closed on its line\n");
	expect("\0", 1, "f:1: a NUL byte stands here, and nothing behind it is read\n");
	expect("", 0, "");
}

static void depth_is_bounded(void **state)
{
	(void)state;
	auto_buf struct buf text = BUF_INIT(1024 * 1024);
	for (int i = 0; i < CONFIG_DEPTH_MAX; i++)
		buf_addf(&text, "a {\n");
	for (int i = 0; i < CONFIG_DEPTH_MAX; i++)
		buf_addf(&text, "}\n");
	expect(buf_text(&text), text.len, "");
	buf_reset(&text);
	for (int i = 0; i < 100000; i++)
		buf_addf(&text, "a {\n");
	expect(buf_text(&text), text.len, "f:9: braces are nested too deeply, and nothing behind this is read\n");
	buf_reset(&text);
	for (int i = 0; i < 100000; i++)
		buf_addf(&text, "{");
	expect(buf_text(&text), text.len, "f:1: this { follows neither a section's name nor a key and =\n");
}

/* Checks what is said of a word or text of this many letters. */
static void long_text(const char *quote, size_t len, const char *fault)
{
	auto_buf struct buf text = BUF_INIT(8 * 1024 * 1024);
	buf_addf(&text, "a = %s", quote);
	for (size_t i = 0; i < len; i++)
		buf_put_u8(&text, 'x');
	buf_addf(&text, "%s b = c\n", quote);
	auto_free char *faults = NULL;
	struct config_section *root = parse(buf_text(&text), text.len, &faults);
	assert_string_equal(faults, fault);
	size_t kept = strlen(config_entry_last(root, "a")->values[0]);
	assert_int_equal(kept, len < CONFIG_TEXT_MAX ? len : CONFIG_TEXT_MAX);
	config_section_free(root);
}

static void length_is_bounded(void **state)
{
	(void)state;
	long_text("", CONFIG_TEXT_MAX, "");
	long_text("'", CONFIG_TEXT_MAX, "");
	long_text("", CONFIG_TEXT_MAX + 1, "f:1: a text of 8193 bytes: 8192 at most\n");
	long_text("\"", 5000000, "f:1: a text of 5000000 bytes: 8192 at most\n");
}

static void so_many_faults_are_told_and_the_rest_counted(void **state)
{
	(void)state;
	auto_buf struct buf text = BUF_INIT(1024 * 1024);
	for (int i = 0; i < CONFIG_FAULTS_MAX + 5; i++)
		buf_addf(&text, "= x\n");
	auto_free char *faults = NULL;
	config_section_free(parse(buf_text(&text), text.len, &faults));
	assert_non_null(strstr(faults,
		"\nf:1000: there is no key in front of the =\n"
		"f: and 5 more faults, which are told when these are mended\n"));
}

/* A fault quotes the file, and what is quoted may be a key. */
static void a_key_in_the_wrong_place_is_not_shown(void **state)
{
	(void)state;
	static const char text[] = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr8 x\n";
	auto_free char *faults = NULL;
	config_section_free(parse(text, strlen(text), &faults));
	assert_non_null(strstr(faults, "f:1: "));
	assert_null(strstr(faults, "MIGHAgEA"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_and_texts_have_their_values),
		cmocka_unit_test(sections_are_in_each_other),
		cmocka_unit_test(each_fault_of_form_is_named),
		cmocka_unit_test(all_faults_come_in_one_run_and_none_twice),
		cmocka_unit_test(a_text_that_swallows_braces_is_told_alone),
		cmocka_unit_test(a_nul_byte_is_a_fault_with_its_line),
		cmocka_unit_test(depth_is_bounded),
		cmocka_unit_test(length_is_bounded),
		cmocka_unit_test(so_many_faults_are_told_and_the_rest_counted),
		cmocka_unit_test(a_key_in_the_wrong_place_is_not_shown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
