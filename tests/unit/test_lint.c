/* Settings that a certificate's lifetime leaves no time for. */
#include "hub/common/keys_request.h"
#include "hub/common/lint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define HOUR INT64_C(3600)
#define DAY (24 * HOUR)

static char *none[] = {NULL};
static char *one[] = {"backup1", NULL};

/* These are the values where hub.conf says nothing. */
static struct hub_certificate defaults(void)
{
	return (struct hub_certificate){.canary = none,
		.soak = 300,
		.stage_timeout = 600,
		.activate_timeout = 300,
		.proceed_after = 24 * HOUR,
		.dns_timeout = 600};
}

static void the_defaults_are_good_for_every_lifetime_of_today(void **state)
{
	(void)state;
	static const int64_t lifetimes[] = {160 * HOUR, 45 * DAY, 47 * DAY, 64 * DAY, 90 * DAY, 398 * DAY};
	struct lint_fault faults[LINT_FAULTS_MAX];
	const struct hub_certificate c = defaults();
	for (size_t i = 0; i < sizeof(lifetimes) / sizeof(lifetimes[0]); i++)
		assert_int_equal(lint_lifetime(&c, 600, lifetimes[i], faults), 0);
}

static void complains(const struct hub_certificate *c, int64_t scan_interval, int64_t lifetime, const char *key)
{
	struct lint_fault faults[LINT_FAULTS_MAX];
	assert_int_equal(lint_lifetime(c, scan_interval, lifetime, faults), 1);
	assert_string_equal(faults[0].key, key);
	assert_int_equal(strncmp(faults[0].text, key, strlen(key)), 0);
}

static void each_setting_that_is_too_long_is_named(void **state)
{
	(void)state;
	struct hub_certificate c = defaults();
	c.renew_before = 30 * DAY;
	complains(&c, 600, 160 * HOUR, "renew_before");
	c.renew_before = DAY;
	c.proceed_after = HOUR;
	complains(&c, 600, 45 * DAY, "renew_before");
	c = defaults();
	c.proceed_after = 48 * HOUR;
	complains(&c, 600, 160 * HOUR, "proceed_after");
	c = defaults();
	c.stage_timeout = 20 * HOUR;
	complains(&c, 600, 160 * HOUR, "stage_timeout");
	c = defaults();
	c.soak = 2 * DAY;
	struct lint_fault faults[LINT_FAULTS_MAX];
	assert_int_equal(lint_lifetime(&c, 600, 160 * HOUR, faults), 0); /* without a canary nobody soaks */
	c.canary = one;
	complains(&c, 600, 160 * HOUR, "soak");
	c = defaults();
	c.dns_timeout = DAY;
	c.dns_hook = (char[]){"/x"};
	complains(&c, 600, 160 * HOUR, "dns_timeout");
	c = defaults();
	c.watch = one;
	complains(&c, 24 * HOUR, 160 * HOUR, "scan_interval");
}

static void windows_of_the_day_are_no_longer_than_a_day_apart(void **state)
{
	(void)state;
	struct hub_window night[] = {{22 * 60, 60}, {3 * 60, 5 * 60}};
	struct hub_certificate c = defaults();
	struct lint_fault faults[LINT_FAULTS_MAX];
	c.windows = night;
	c.window_count = 2;
	assert_int_equal(lint_lifetime(&c, 600, 160 * HOUR, faults), 0);
	c.proceed_after = 0;
	c.stage_timeout = 60;
	complains(&c, 600, 24 * HOUR, "window");
	assert_non_null(strstr(lint_lifetime(&c, 600, 24 * HOUR, faults) ? faults[0].text : "", "17h"));
}

static void only_the_short_profile_tells_its_lifetime(void **state)
{
	(void)state;
	assert_int_equal(lint_profile_lifetime("shortlived"), 160 * HOUR);
	assert_int_equal(lint_profile_lifetime("tlsserver"), 0);
	assert_int_equal(lint_profile_lifetime(NULL), 0);
}

/* Makes that many names, which live as long as the test. */
static char **names(size_t count)
{
	static char texts[KEYS_NAMES_MAX + 1][16];
	static char *list[KEYS_NAMES_MAX + 2];
	memset(list, 0, sizeof(list));
	for (size_t i = 0; i < count; i++) {
		snprintf(texts[i], sizeof(texts[i]), "n%zu.domain.pl", i);
		list[i] = texts[i];
	}
	return list;
}

static void more_names_than_the_authority_takes_are_told(void **state)
{
	static char live[] = "https://acme-v02.api.letsencrypt.org/directory",
		    staging[] = "https://ACME-staging-v02.api.letsencrypt.org:443/directory",
		    other[] = "https://acme-v02.api.letsencrypt.org.example/directory";
	static char classic[] = "classic", tlsserver[] = "tlsserver", shortlived[] = "shortlived", new[] = "tlsclient2";
	static const struct {
		char *directory, *profile;
		bool limits;
		size_t good, bad; /* names */
		const char *words;
	} cases[] = {
		{live, tlsserver, true, 25, 26,
			"26 are listed, and Let's Encrypt takes at most 25 into a certificate of the profile tlsserver: "},
		{live, tlsserver, true, 25, 100, "or take the profile classic, which has up to 100; limits = false"},
		{live, tlsserver, true, 25, 101, "divide them between certificate sections; limits = false"},
		{staging, shortlived, true, 25, 26, "the profile shortlived"},
		{live, classic, true, 100, 101, "at most 100 into a certificate of the profile classic"},
		{live, NULL, true, 100, 101, "at most 100 into a certificate of the profile classic"},
		{live, tlsserver, false, 100, 101, "names: 101 are listed, and one order has at most 100"},
		{live, new, true, 100, 101, "one order has at most 100"},
		{other, tlsserver, true, 100, 101, "one order has at most 100"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct lint_fault fault;
		const struct hub_acme acme = {.directory = cases[i].directory, .limits = cases[i].limits};
		struct hub_certificate c = {.acme = &acme, .profile = cases[i].profile, .names = names(cases[i].good)};
		assert_false(lint_names(&c, &fault));
		c.names = names(cases[i].bad);
		assert_true(lint_names(&c, &fault));
		assert_string_equal(fault.key, "names");
		assert_non_null(strstr(fault.text, cases[i].words));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_defaults_are_good_for_every_lifetime_of_today),
		cmocka_unit_test(each_setting_that_is_too_long_is_named),
		cmocka_unit_test(windows_of_the_day_are_no_longer_than_a_day_apart),
		cmocka_unit_test(only_the_short_profile_tells_its_lifetime),
		cmocka_unit_test(more_names_than_the_authority_takes_are_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
