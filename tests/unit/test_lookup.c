/* What an authoritative server's answer to the question for a TXT record is worth. */
#include "hub/worker/acme/lookup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NAME "_acme-challenge.domain.pl."
#define VALUE "LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ"
#define OTHER "gfj9Xq0Rg2vmTTT4nN1Lx7F4gYQvq7p0nn9cPzVfC2k"

/* Judges an answer with these records, one a line of a zone file. */
static enum lookup_view judge_of(
	bool resolver, ldns_pkt_rcode rcode, bool authoritative, const char *const *records, char text[LOOKUP_TEXT_MAX])
{
	ldns_rdf *name = ldns_dname_new_frm_str(NAME);
	ldns_pkt *answer = ldns_pkt_new();
	ldns_pkt_set_rcode(answer, rcode);
	ldns_pkt_set_aa(answer, authoritative);
	for (; *records; records++) {
		ldns_rr *rr = NULL;
		assert_int_equal(ldns_rr_new_frm_str(&rr, *records, 60, NULL, NULL), LDNS_STATUS_OK);
		assert_true(ldns_pkt_push_rr(answer, LDNS_SECTION_ANSWER, rr));
	}
	enum lookup_view view = lookup_judge(answer, resolver, name, VALUE, text);
	ldns_pkt_free(answer);
	ldns_rdf_deep_free(name);
	return view;
}

static enum lookup_view judge(
	ldns_pkt_rcode rcode, bool authoritative, const char *const *records, char text[LOOKUP_TEXT_MAX])
{
	return judge_of(false, rcode, authoritative, records, text);
}

static void assert_says(enum lookup_view expected, const char *words, const char *record, const char *second)
{
	const char *const records[] = {record, second, NULL};
	char text[LOOKUP_TEXT_MAX];
	assert_int_equal(judge(LDNS_RCODE_NOERROR, true, records, text), expected);
	assert_string_equal(text, words);
}

static void the_value_is_found_wherever_it_stands(void **state)
{
	(void)state;
	assert_says(LOOKUP_SHOWN, "shows it", NAME " TXT \"" VALUE "\"", NULL);
	assert_says(LOOKUP_SHOWN, "shows it", NAME " TXT " OTHER, NAME " TXT " VALUE);
	assert_says(LOOKUP_SHOWN, "shows it", NAME " TXT \"LPJNul-wow4m6Dsqxb\" \"ninhsWHlwfp0JecwQzYpOLmCQ\"", NULL);
	assert_says(LOOKUP_SHOWN, "shows it", "_ACME-Challenge.Domain.PL. TXT " VALUE, NULL);
}

static void anything_else_is_not_it(void **state)
{
	(void)state;
	assert_says(LOOKUP_ABSENT, "no TXT record", NULL, NULL);
	assert_says(LOOKUP_ABSENT, "no TXT record", "x." NAME " TXT " VALUE, NULL);
	assert_says(LOOKUP_ABSENT, "no TXT record", NAME " CNAME here.auth.pl.", NULL);
	assert_says(LOOKUP_ABSENT, "1 other value: \"" OTHER "\"", NAME " TXT " OTHER, NULL);
	assert_says(LOOKUP_ABSENT, "1 other value: \"" VALUE "\"", NAME " TXT " VALUE " x", NULL);
	assert_says(LOOKUP_ABSENT, "2 other values, the first: \"LPJNul\"", NAME " TXT LPJNul", NAME " TXT \"\"");
	assert_says(LOOKUP_ABSENT, "1 other value: \"lPJNUL-WOW4M6dSQXBNINHSwhLWFP0jECWqZyPolMcq\"",
		NAME " TXT lPJNUL-WOW4M6dSQXBNINHSwhLWFP0jECWqZyPolMcq", NULL);
}

static void an_error_is_not_an_answer(void **state)
{
	(void)state;
	static const char *const shown[] = {NAME " TXT " VALUE, NULL}, *const nothing[] = {NULL};
	char text[LOOKUP_TEXT_MAX];
	assert_int_equal(judge(LDNS_RCODE_SERVFAIL, true, shown, text), LOOKUP_SILENT);
	assert_string_equal(text, "SERVFAIL");
	assert_int_equal(judge(LDNS_RCODE_REFUSED, false, nothing, text), LOOKUP_SILENT);
	assert_string_equal(text, "REFUSED");
	assert_int_equal(judge(LDNS_RCODE_NOERROR, false, shown, text), LOOKUP_SILENT);
	assert_string_equal(text, "not authoritative for it");
	assert_int_equal(judge(LDNS_RCODE_NXDOMAIN, true, nothing, text), LOOKUP_ABSENT);
	assert_string_equal(text, "NXDOMAIN");
	assert_int_equal(judge(LDNS_RCODE_NXDOMAIN, false, nothing, text), LOOKUP_SILENT);
}

static void a_resolver_need_not_be_authoritative(void **state)
{
	(void)state;
	static const char *const shown[] = {NAME " TXT " VALUE, NULL}, *const nothing[] = {NULL};
	char text[LOOKUP_TEXT_MAX];
	assert_int_equal(judge_of(true, LDNS_RCODE_NOERROR, false, shown, text), LOOKUP_SHOWN);
	assert_int_equal(judge_of(true, LDNS_RCODE_NOERROR, false, nothing, text), LOOKUP_ABSENT);
	assert_int_equal(judge_of(true, LDNS_RCODE_NXDOMAIN, false, nothing, text), LOOKUP_ABSENT);
	assert_int_equal(judge_of(true, LDNS_RCODE_SERVFAIL, false, shown, text), LOOKUP_SILENT);
}

static void resolvers_stand_in_the_place_of_servers(void **state)
{
	(void)state;
	static const char *const two[] = {"192.0.2.1", "[2001:db8::1]:5353", NULL}, *const none[] = {NULL};
	struct lookup_zone zone = {.apex = strdup("domain.pl.")};
	lookup_by_resolvers(&(struct lookup){none}, &zone);
	assert_int_equal(zone.server_count, 1);
	assert_true(zone.servers[0].is_resolver && !zone.servers[0].address[0]);
	assert_string_equal(zone.servers[0].name, "a name server of /etc/resolv.conf");
	lookup_by_resolvers(&(struct lookup){two}, &zone);
	assert_int_equal(zone.server_count, 2);
	assert_true(zone.servers[1].is_resolver);
	assert_string_equal(zone.servers[1].address, "[2001:db8::1]:5353");
	assert_string_equal(zone.apex, "domain.pl.");
	lookup_zone_release(&zone);
}

static void a_long_text_is_cut_and_no_control_character_passes(void **state)
{
	(void)state;
	char record[400] = NAME " TXT \"\\027[2J", text[LOOKUP_TEXT_MAX];
	const char *const records[] = {record, NULL};
	memset(record + strlen(record), 'x', 200);
	strcat(record, "\"");
	assert_int_equal(judge(LDNS_RCODE_NOERROR, true, records, text), LOOKUP_ABSENT);
	assert_true(strlen(text) < LOOKUP_TEXT_MAX);
	for (size_t i = 0; text[i]; i++)
		assert_true(text[i] >= ' ' && text[i] <= '~');
}

static void what_is_no_name_is_refused(void **state)
{
	(void)state;
	static const char *const resolvers[] = {"[::1]:1", NULL};
	const struct lookup lookup = {resolvers};
	char target[LOOKUP_NAME_MAX];
	struct error err;
	assert_int_equal(lookup_target(&lookup, "not a\\name..", target, &err), -1);
	assert_int_equal(err.kind, ERROR_PERMANENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_value_is_found_wherever_it_stands),
		cmocka_unit_test(anything_else_is_not_it),
		cmocka_unit_test(an_error_is_not_an_answer),
		cmocka_unit_test(a_resolver_need_not_be_authoritative),
		cmocka_unit_test(resolvers_stand_in_the_place_of_servers),
		cmocka_unit_test(a_long_text_is_cut_and_no_control_character_passes),
		cmocka_unit_test(what_is_no_name_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
