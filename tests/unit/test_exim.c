/* How Exim's lists and texts are read: what a list has, what a text depends on, and what it is for a client's name. */
#include "agent/cli/services/exim.h"
#include "lib/core/mem.h"
#include "lib/core/owned.h"
#include "tests/unit/scratch.h"

#include <sys/stat.h>

static void expect_list(const char *list, const char *expected)
{
	auto_words struct words w = {0};
	auto_buf struct buf text = BUF_INIT(4096);
	exim_list(list, &w);
	for (size_t i = 0; i < w.count; i++)
		buf_addf(&text, "[%s]", w.list[i].text);
	assert_string_equal(buf_text(&text), expected);
}

static void lists(void **state)
{
	(void)state;
	expect_list("", "");
	expect_list("25 : 465", "[25][465]");
	expect_list("<; ::1 ; 127.0.0.1.25;", "[::1][127.0.0.1.25]");
	expect_list("a::b:c", "[a:b][c]");
	expect_list(" /a.pem : /b c.pem ", "[/a.pem][/b c.pem]");
	expect_list("<", "[<]");
	expect_list(": :", "");
}

static void by_name(void **state)
{
	(void)state;
	assert_true(exim_is_by_name("/etc/${tls_in_sni}.pem"));
	assert_true(exim_is_by_name("/etc/$primary_hostname.pem"));
	assert_true(exim_is_by_name("${if exists{/etc/$tls_sni.pem}{/etc/$tls_sni.pem}{/etc/old.pem}}"));
	assert_true(exim_is_by_name("${if and{{def:tls_in_sni}{eqi{${lc:$tls_in_sni}}{a.b}}}{/a}{/b}}"));
	assert_false(exim_is_by_name("/etc/$received_ip_address.pem"));
	assert_false(exim_is_by_name("${run{/bin/echo /etc/a.pem}}"));
	assert_false(exim_is_by_name("${perl{f}{$tls_in_sni}}"));
	assert_false(exim_is_by_name("${if acl{{a}{$tls_in_sni}}{/a}{/b}}"));
	assert_false(exim_is_by_name("${readsocket{/run/x}{$tls_in_sni}}"));
	assert_false(exim_is_by_name("${lookup{$tls_in_sni}mysql{SELECT}}"));
	assert_false(exim_is_by_name("${lookup mysql{SELECT}}"));
	assert_false(exim_is_by_name("${lookup{$tls_in_sni}lsearch{/var/$tls_in_sni}}"));
	assert_false(exim_is_by_name("${lookup{$tls_in_sni}lsearch{relative}}"));
	assert_false(exim_is_by_name("\\N$tls_in_sni\\N"));
	assert_false(exim_is_by_name("$1"));
	assert_false(exim_is_by_name("$"));
}

/* A map that others than root could change has no say in what is written. */
static void maps(void **state)
{
	const struct scratch *s = *state;
	auto_free char *text = mem_printf("${lookup{$tls_in_sni} lsearch*@ {%s/map}{$value}{/a}}", s->path);
	scratch_write(s, "map", "a.b: /x\n", 0644);
	auto_free char *path = mem_printf("%s/map", s->path);
	struct error ignored;
	assert_int_equal(exim_is_by_name(text), owned_check(path, NULL, &ignored) == 0);
	scratch_write(s, "map", "a.b: /x\n", 0666);
	assert_int_equal(chmod(path, 0666), 0);
	assert_false(exim_is_by_name(text));
}

static void expect_named(const char *text, const char *name, const char *expected)
{
	auto_free char *named = exim_with_name(text, name);
	assert_string_equal(named, expected);
}

static void named(void **state)
{
	(void)state;
	expect_named("/etc/${tls_in_sni}.pem", "a.b", "/etc/a.b.pem");
	expect_named("$tls_sni:$tls_snip:${tls_snip}", "a.b", "a.b:$tls_snip:${tls_snip}");
	expect_named("${if !def:tls_in_sni{/a}{/b}}", "", "${if !!eq{}{}{/a}{/b}}");
	expect_named("", "a.b", "");
}

static void names(void **state)
{
	const struct scratch *s = *state;
	struct found_service found = {0};
	scratch_write(s, "map", "# ours\nwww.map.pl: /x\n  going on\n\"quoted\n", 0644);
	scratch_write(s, "www.file.pl.pem", "", 0644);
	scratch_write(s, "plain.pem", "", 0644);
	auto_free char *text = mem_printf("${if eq{$tls_in_sni}{www.eq.pl}{/a.b}{${if exists{%s/${tls_in_sni}.pem}"
					  "{%s/x}{${lookup{$tls_in_sni}lsearch{%s/map}}}}}}",
		s->path, s->path, s->path);
	exim_names(&found, text);
	assert_int_equal(found.name_count, 3);
	assert_string_equal(found.names[0], "www.eq.pl");
	assert_string_equal(found.names[1], "www.file.pl");
	assert_string_equal(found.names[2], "www.map.pl");
	found_service_release(&found);
}

#define STORY(function) cmocka_unit_test_setup_teardown(function, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists),
		cmocka_unit_test(by_name),
		STORY(maps),
		cmocka_unit_test(named),
		STORY(names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
