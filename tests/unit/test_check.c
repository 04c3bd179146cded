#include "hub/common/status/endpoint_row.h"
#include "lib/probe/check.h"
#include "lib/probe/check_run.h"
#include "lib/core/mem.h"
#include "tests/unit/issue.h"

#include <stdio.h>
#include <unistd.h>

static struct issued root, middle, leaf;
static struct anchors *anchors;

static int make_world(void **state)
{
	(void)state;
	struct error err;
	char path[] = P_tmpdir "/certsync-test-XXXXXX";
	struct wish authority = {.subject = "Root", .authority = true, .from = ISSUE_NOW - 400 * ISSUE_DAY};
	authority.to = ISSUE_NOW + 400 * ISSUE_DAY;
	root = issue(authority);
	authority.subject = "Middle";
	authority.issuer = &root;
	middle = issue(authority);
	leaf = issue((struct wish){.subject = "x", .issuer = &middle, .san = "DNS:mail.domain.pl,IP:10.0.0.1"});
	auto_chain struct chain c = issued_chain(&root, NULL, 0);
	auto_buf struct buf pem = BUF_INIT(CHAIN_PEM_MAX);
	assert_int_equal(chain_write_pem(&c, CHAIN_LEAF, &pem, &err), 0);
	int fd = mkstemp(path);
	assert_int_equal(write(fd, pem.data, pem.len), pem.len);
	assert_int_equal(close(fd), 0);
	anchors = anchors_load(path, &err);
	unlink(path);
	return anchors ? 0 : -1;
}

static int free_world(void **state)
{
	(void)state;
	anchors_free(anchors);
	issued_release(&root);
	issued_release(&middle);
	issued_release(&leaf);
	return 0;
}

static struct check_policy policy(void)
{
	return (struct check_policy){.anchors = anchors, .now = ISSUE_NOW, .name = "mail.domain.pl"};
}

static struct check judge(const struct issued *which, const struct issued *behind, struct check_policy p)
{
	struct check c;
	const struct issued *rest[] = {behind};
	auto_chain struct chain chain = issued_chain(which, rest, behind ? 1 : 0);
	struct probe_result result = {.state = PROBE_SERVED, .leaf = chain.leaf, .rest = chain.rest};
	chain_fingerprint(chain.leaf, result.fingerprint);
	check_judge(&result, &p, &c);
	return c;
}

static void assert_verdict(struct check c, enum check_verdict verdict, const char *reason, const char *advice)
{
	if (c.verdict != verdict || !strstr(c.reason, reason) || !strstr(c.advice, advice))
		fail_msg("%s: %s: %s", check_verdict_text(c.verdict), c.reason, c.advice);
	if (verdict != CHECK_OK && (!c.reason[0] || !c.advice[0]))
		fail_msg("%s without a reason or advice", check_verdict_text(verdict));
	check_release(&c);
}

static struct check judge_wish(struct wish w, struct check_policy p)
{
	w.subject = "x";
	w.issuer = &middle;
	w.san = w.san ? w.san : "DNS:mail.domain.pl";
	struct issued one = issue(w);
	struct check c = judge(&one, &middle, p);
	issued_release(&one);
	return c;
}

static void a_sound_certificate_is_ok(void **state)
{
	(void)state;
	struct check c = judge(&leaf, &middle, policy());
	assert_string_equal(c.reason, "");
	assert_string_equal(c.advice, "");
	assert_true(c.served && c.name_match && c.trusted && c.chain_complete && !c.expects);
	assert_int_equal(c.days_left, 90);
	assert_int_equal(c.sent, 2);
	assert_string_equal(c.facts.issuer, "Middle");
	assert_verdict(c, CHECK_OK, "", "");
	struct check_policy p = policy();
	p.name = "10.0.0.1";
	assert_verdict(judge(&leaf, &middle, p), CHECK_OK, "", "");
}

static void expiring_goes_by_lifetime_or_by_days(void **state)
{
	(void)state;
	struct check_policy p = policy();
	p.now = ISSUE_NOW + 73 * ISSUE_DAY; /* of 91 days a fifth is 18.2 */
	assert_verdict(judge(&leaf, &middle, p), CHECK_EXPIRING, "expires at", "renew");
	p.now = ISSUE_NOW + 71 * ISSUE_DAY;
	assert_verdict(judge(&leaf, &middle, p), CHECK_OK, "", "");
	p.expiring_before = 20 * ISSUE_DAY;
	assert_verdict(judge(&leaf, &middle, p), CHECK_EXPIRING, "expires at", "renew");
	assert_int_equal(check_expiring_before(0, 6 * ISSUE_DAY), 6 * ISSUE_DAY / 5);
	assert_int_equal(check_expiring_before(0, 398 * ISSUE_DAY), 21 * ISSUE_DAY);
}

static void outside_of_its_life_it_is_untrusted(void **state)
{
	(void)state;
	struct wish past = {.from = ISSUE_NOW - 9 * ISSUE_DAY, .to = ISSUE_NOW - 2 * ISSUE_DAY - 1};
	struct check c = judge_wish(past, policy());
	assert_int_equal(c.days_left, -3);
	assert_true(c.chain_complete && c.name_match);
	assert_string_equal(c.reason, "expired at 2027-01-13T07:59:59Z");
	assert_verdict(c, CHECK_UNTRUSTED, "expired at", "renew");
	struct wish ancient = {.from = ISSUE_NOW - 900 * ISSUE_DAY, .to = ISSUE_NOW - 800 * ISSUE_DAY};
	c = judge_wish(ancient, policy()); /* it is older than the authorities that issued it */
	assert_true(c.chain_complete);
	assert_string_equal(c.reason, "expired at 2024-11-06T08:00:00Z");
	check_release(&c);
	struct check_policy p = policy();
	p.now = ISSUE_NOW - 2 * ISSUE_DAY;
	assert_verdict(judge(&leaf, &middle, p), CHECK_UNTRUSTED, "not valid before", "clocks");
	p.now = ISSUE_NOW + 90 * ISSUE_DAY;
	assert_verdict(judge(&leaf, &middle, p), CHECK_UNTRUSTED, "expired at", "renew");
}

static void a_foreign_name_is_untrusted(void **state)
{
	(void)state;
	struct check_policy p = policy();
	p.name = "smtp.domain.pl";
	struct check c = judge(&leaf, &middle, p);
	assert_false(c.name_match || c.trusted);
	assert_true(c.chain_complete);
	assert_verdict(c, CHECK_UNTRUSTED, "smtp.domain.pl is not among its names: mail.domain.pl",
		"issued for smtp.domain.pl");
	p.name = "10.0.0.2";
	assert_verdict(judge(&leaf, &middle, p), CHECK_UNTRUSTED, "10.0.0.2 is not among", "");
	p.name = "a.b.domain.pl";
	assert_verdict(judge_wish((struct wish){.san = "DNS:*.domain.pl"}, p), CHECK_UNTRUSTED, "not among", "");
	p.name = "b.domain.pl";
	assert_verdict(judge_wish((struct wish){.san = "DNS:*.domain.pl"}, p), CHECK_OK, "", "");
}

static void a_missing_intermediate_is_named(void **state)
{
	(void)state;
	struct check c = judge(&leaf, NULL, policy());
	assert_false(c.chain_complete || c.trusted);
	assert_int_equal(c.sent, 1);
	assert_verdict(c, CHECK_UNTRUSTED, "incomplete: /CN=Middle was not sent", "fullchain.pem");
}

static void roots_that_nobody_knows(void **state)
{
	(void)state;
	struct issued own = issue((struct wish){.subject = "x", .san = "DNS:mail.domain.pl"});
	assert_verdict(judge(&own, NULL, policy()), CHECK_UNTRUSTED, "self-signed", "authority");
	struct issued other = issue((struct wish){.subject = "Other Root", .authority = true});
	struct issued its = issue((struct wish){.subject = "x", .issuer = &other, .san = "DNS:mail.domain.pl"});
	struct check c = judge(&its, &other, policy());
	assert_true(c.chain_complete);
	assert_verdict(c, CHECK_UNTRUSTED, "root /CN=Other Root is not trusted", "--anchors");
	issued_release(&own);
	issued_release(&other);
	issued_release(&its);
}

static void a_purpose_that_clients_refuse(void **state)
{
	(void)state;
	assert_verdict(
		judge_wish((struct wish){.usage = "clientAuth"}, policy()), CHECK_UNTRUSTED, "purpose: ", "issued");
}

static void the_expected_one_and_another(void **state)
{
	(void)state;
	uint8_t wanted[CHAIN_SHA256_SIZE];
	struct check_policy p = policy();
	p.expected = (const uint8_t(*)[CHAIN_SHA256_SIZE])wanted;
	p.expected_count = 1;
	p.certificate = "mail.domain.pl";
	chain_fingerprint(leaf.certificate, wanted);
	struct check c = judge(&leaf, &middle, p);
	assert_true(c.expects && c.match);
	assert_verdict(c, CHECK_OK, "", "");
	wanted[0] ^= 1;
	c = judge(&leaf, &middle, p);
	assert_true(c.trusted && !c.match);
	assert_verdict(c, CHECK_MISMATCH, "wanted is", "certsync push mail.domain.pl");
	assert_null(strstr(c.reason, " or "));
}

static void of_a_pair_both_are_named_as_wanted(void **state)
{
	(void)state;
	static const uint8_t wanted[2][CHAIN_SHA256_SIZE] = {{0x12}, {0xab}};
	struct check_policy p = policy();
	p.expected = wanted;
	p.expected_count = 2;
	struct check c = judge(&leaf, &middle, p);
	assert_verdict(c, CHECK_MISMATCH, "wanted is 1200000000000000 or ab00000000000000", "push");
}

static void the_worst_fault_is_the_verdict_and_all_are_named(void **state)
{
	(void)state;
	uint8_t wanted[CHAIN_SHA256_SIZE] = {0};
	struct check_policy p = policy();
	p.expected = (const uint8_t(*)[CHAIN_SHA256_SIZE])wanted;
	p.expected_count = 1;
	p.now = ISSUE_NOW + 80 * ISSUE_DAY;
	assert_verdict(judge(&leaf, &middle, p), CHECK_MISMATCH, "expires at", "push");
	struct check c = judge(&leaf, NULL, p);
	assert_non_null(strstr(c.reason, "expires at"));
	assert_non_null(strstr(c.reason, "wanted is"));
	assert_verdict(c, CHECK_UNTRUSTED, "incomplete", "fullchain.pem");
}

static void what_cannot_be_judged_is_never_ok(void **state)
{
	(void)state;
	static const enum probe_state states[] = {PROBE_REFUSED, PROBE_TIMEOUT, PROBE_PROTOCOL};
	struct check_policy p = policy();
	for (size_t i = 0; i < COUNT(states); i++) {
		struct check c;
		struct probe_result result = {.state = states[i]};
		error_set(&result.error, ERROR_RETRY, "nothing listens there");
		check_judge(&result, &p, &c);
		assert_false(c.served || c.trusted || c.match);
		assert_verdict(c, CHECK_UNREACHABLE, "nothing listens there", "");
	}
}

static void an_old_version_is_a_warning_beside_the_verdict(void **state)
{
	(void)state;
	static const struct {
		const char *version;
		bool warns;
	} cases[] = {{"TLSv1", true}, {"TLSv1.1", true}, {"TLSv1.2", false}, {"TLSv1.3", false}, {NULL, false}};
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct check c;
		struct check_policy p = policy();
		const struct issued *rest[] = {&middle};
		auto_chain struct chain chain = issued_chain(&leaf, rest, 1);
		struct probe_result result = {
			.state = PROBE_SERVED, .leaf = chain.leaf, .rest = chain.rest, .version = cases[i].version};
		check_judge(&result, &p, &c);
		assert_string_equal(c.tls, cases[i].version ? cases[i].version : "");
		assert_int_equal(c.warning[0] != '\0', cases[i].warns);
		assert_verdict(c, CHECK_OK, "", "");
	}
}

static void what_strict_clients_refuse_is_a_warning_too(void **state)
{
	(void)state;
	struct issued bare =
		issue((struct wish){.subject = "x", .issuer = &middle, .san = "DNS:mail.domain.pl", .bare = true});
	const struct issued *rest[] = {&middle};
	auto_chain struct chain chain = issued_chain(&bare, rest, 1);
	struct probe_result result = {.state = PROBE_SERVED, .leaf = chain.leaf, .rest = chain.rest};
	struct check_policy p = policy();
	struct check c;
	check_judge(&result, &p, &c);
	assert_true(c.trusted);
	assert_non_null(strstr(c.warning, "strict: Missing Authority Key Identifier at depth 0"));
	assert_verdict(c, CHECK_OK, "", "");
	result.version = "TLSv1";
	check_judge(&result, &p, &c);
	assert_non_null(strstr(c.warning, "TLSv1, which"));
	assert_non_null(strstr(c.warning, "1.3; strict: "));
	check_release(&c);
	/* Where everybody refuses it, that is what counts. */
	p.name = "imap.domain.pl";
	result.version = NULL;
	check_judge(&result, &p, &c);
	assert_string_equal(c.warning, "");
	assert_verdict(c, CHECK_UNTRUSTED, "imap.domain.pl is not among", "");
	issued_release(&bare);
}

static void one_of_a_pair_that_is_missing_is_a_mismatch(void **state)
{
	(void)state;
	struct check c;
	check_lacks_kind(&c, "RSA", "the TLS handshake failed");
	assert_verdict(
		c, CHECK_MISMATCH, "the RSA certificate of the pair is not served: the TLS", "both certificates");
}

static void what_to_look_at_is_a_host_and_a_port(void **state)
{
	static const struct {
		const char *text, *name, *port;
	} good[] = {{"mail.domain.pl:993", "mail.domain.pl", "993"},
		{"mail.domain.pl.:25/smtp", "mail.domain.pl", "25/smtp"}, {"[::1]:993", "::1", "993"},
		{"127.0.0.1:8443/tls+proxy", "127.0.0.1", "8443/tls+proxy"}};
	static const struct {
		const char *text, *fault;
	} wrong[] = {{"", "write HOST, HOST:PORT"}, {":993", "write HOST, HOST:PORT"},
		{"[::1]993", "write [ADDRESS]:PORT"}, {"[]:993", "write HOST"},
		{"a b", "is neither a host name nor an address"},
		{"https://mail.domain.pl", "the port must be a number"}, {"mail.domain.pl:", "port"},
		{"mail.domain.pl:99999", "port"}, {"mail.domain.pl:25/gopher", "protocol \"gopher\" is not known"},
		{"mail.domain.pl:11111111111111111111111111111111111111111111111111111111111111111111111111111111",
			"is no port"}};
	struct check_host h;
	struct error err;
	(void)state;
	for (size_t i = 0; i < COUNT(good); i++) {
		assert_int_equal(check_host_parse(good[i].text, &h, &err), 0);
		assert_string_equal(h.name, good[i].name);
		assert_int_equal(h.port_count, 1);
		assert_string_equal(h.ports[0].text, good[i].port);
		assert_false(h.guessed);
	}
	for (size_t i = 0; i < COUNT(wrong); i++) {
		assert_int_equal(check_host_parse(wrong[i].text, &h, &err), -1);
		assert_int_equal(err.kind, ERROR_USAGE);
		if (!strstr(err.message, wrong[i].fault))
			print_error("%s: %s\n", wrong[i].text, err.message);
		assert_non_null(strstr(err.message, wrong[i].fault));
	}
	/* Without a port, those are tried at which mail and web are usually found. An IPv6 address has colons of its
	 * own. */
	for (const char *const *text = (const char *const[]){"mail.domain.pl", "::1", "[::1]", NULL}; *text; text++) {
		assert_int_equal(check_host_parse(*text, &h, &err), 0);
		assert_true(h.guessed && h.port_count > 4);
	}
	while (h.port_count < CHECK_PORTS_MAX)
		assert_int_equal(check_host_add_port(&h, "993", &err), 0);
	assert_int_equal(check_host_add_port(&h, "993", &err), -1);
	assert_non_null(strstr(err.message, "more than "));
}

/* A row as the hub keeps it: what is read is what was written, byte for byte, and what it cannot be is named. */
static void a_row_is_read_back_as_it_was_written(void **state)
{
	(void)state;
	static const struct {
		const char *from, *to, *fault;
	} faults[] = {
		{"\"mismatch\"", "\"boredom\"", "verdict: \"boredom\" is not known"},
		{"\"served\":true", "\"served\":1", "served: is not true or false"},
		{"\"fingerprint\":\"", "\"fingerprint\":\"x", "fingerprint: is longer than 64 bytes"},
		{"\"not_after\":\"2", "\"not_after\":\"never", "not_after: \"never"},
		{"\"days_left\":", "\"days_left\":9999999999", "days_left: "},
		{"\"names\":[", "\"names\":[7,", "names: is not a string"},
		{"\"match\":false", "\"match\":[]", "match: is not true or false"},
		{"\"since\":7", "\"since\":\"x\"", "since: is not a whole number"},
		{"\"before\":{\"host\"", "\"before\":{\"guest\"", "before: host: is missing"},
	};
	uint8_t wanted[1][CHAIN_SHA256_SIZE] = {{7}};
	struct error err;
	struct check_policy p = policy();
	p.expected = (const uint8_t(*)[CHAIN_SHA256_SIZE])wanted;
	p.expected_count = 1;
	struct endpoint_row row = {.name = "mail.domain.pl", .certificate = "mail", .since = 7, .checked = 9};
	struct check_found before = {.host = "mail.domain.pl", .endpoint = "127.0.0.1:25"};
	row.found = (struct check_found){
		.host = "mail.domain.pl", .endpoint = "127.0.0.1:993", .check = judge(&leaf, &middle, p)};
	check_lacks_kind(&before.check, "RSA", "nobody has one");
	row.before = mem_alloc(sizeof(before));
	*row.before = before;
	assert_int_equal(row.found.check.verdict, CHECK_MISMATCH);
	auto_buf struct buf first = BUF_INIT(8192), again = BUF_INIT(8192);
	auto_json cJSON *written = endpoint_row_encode(&row);
	assert_int_equal(json_print(written, &first), 0);
	struct endpoint_row got;
	assert_int_equal(endpoint_row_decode(written, &got, &err), 0);
	assert_int_equal(got.found.check.verdict, CHECK_MISMATCH);
	assert_memory_equal(got.found.check.facts.fingerprint, row.found.check.facts.fingerprint, CHAIN_SHA256_SIZE);
	assert_int_equal(got.found.check.facts.not_after, row.found.check.facts.not_after);
	auto_json cJSON *rewritten = endpoint_row_encode(&got);
	assert_int_equal(json_print(rewritten, &again), 0);
	assert_string_equal(buf_text(&first), buf_text(&again));
	endpoint_row_release(&got);
	endpoint_row_release(&row);
	for (size_t i = 0; i < COUNT(faults); i++) {
		const char *text = buf_text(&first), *at = strstr(text, faults[i].from);
		assert_non_null(at);
		auto_free char *bad =
			mem_printf("%.*s%s%s", (int)(at - text), text, faults[i].to, at + strlen(faults[i].from));
		auto_json cJSON *o = json_parse(bad, strlen(bad), &err);
		assert_non_null(o);
		assert_int_equal(endpoint_row_decode(o, &got, &err), -1);
		if (!strstr(err.message, faults[i].fault))
			print_error("%s: %s\n", faults[i].to, err.message);
		assert_non_null(strstr(err.message, faults[i].fault));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sound_certificate_is_ok),
		cmocka_unit_test(expiring_goes_by_lifetime_or_by_days),
		cmocka_unit_test(outside_of_its_life_it_is_untrusted),
		cmocka_unit_test(a_foreign_name_is_untrusted),
		cmocka_unit_test(a_missing_intermediate_is_named),
		cmocka_unit_test(roots_that_nobody_knows),
		cmocka_unit_test(a_purpose_that_clients_refuse),
		cmocka_unit_test(the_expected_one_and_another),
		cmocka_unit_test(of_a_pair_both_are_named_as_wanted),
		cmocka_unit_test(the_worst_fault_is_the_verdict_and_all_are_named),
		cmocka_unit_test(what_cannot_be_judged_is_never_ok),
		cmocka_unit_test(an_old_version_is_a_warning_beside_the_verdict),
		cmocka_unit_test(what_strict_clients_refuse_is_a_warning_too),
		cmocka_unit_test(one_of_a_pair_that_is_missing_is_a_mismatch),
		cmocka_unit_test(what_to_look_at_is_a_host_and_a_port),
		cmocka_unit_test(a_row_is_read_back_as_it_was_written),
	};
	return cmocka_run_group_tests(tests, make_world, free_world);
}
