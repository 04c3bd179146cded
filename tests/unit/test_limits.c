/* The breaker that stops certsync before it meets an authority's limits: what counts, for how long, and what survives a
 * restart. */
#include "hub/daemon/acme/limits.h"
#include "tests/unit/scratch.h"

#define NOW INT64_C(1800000000)
#define DAY INT64_C(86400)

static char *const names[] = {"mail.domain.pl", "smtp.domain.pl", NULL};
static char *const turned[] = {"SMTP.domain.pl", "mail.domain.pl", NULL};
static char *const others[] = {"mail.domain.pl", NULL};
static const struct hub_acme acme = {.name = "ca", .directory = (char[]){"https://ca.example/directory"}};
static const struct hub_acme elsewhere = {.name = "ca", .directory = (char[]){"https://staging.example/directory"}};

static void the_sixth_waits_until_the_first_is_forgotten(void **state)
{
	(void)state;
	struct limits_count c = {.count = 0};
	for (int64_t i = 0; i < 5; i++) {
		assert_int_equal(limits_free_at(&c, 5, 7 * DAY, NOW + i * DAY), 0);
		limits_note(&c, 7 * DAY, NOW + i * DAY);
	}
	assert_int_equal(limits_free_at(&c, 5, 7 * DAY, NOW + 4 * DAY), NOW + 7 * DAY);
	assert_int_equal(limits_free_at(&c, 5, 7 * DAY, NOW + 7 * DAY - 1), NOW + 7 * DAY);
	assert_int_equal(limits_free_at(&c, 5, 7 * DAY, NOW + 7 * DAY), 0);
}

static void more_than_five_by_force_wait_longer(void **state)
{
	(void)state;
	struct limits_count c = {.count = 0};
	for (int64_t i = 0; i < 20; i++)
		limits_note(&c, 7 * DAY, NOW + i);
	assert_int_equal(c.count, LIMITS_KEPT);
	assert_int_equal(limits_free_at(&c, 5, 7 * DAY, NOW + 20), NOW + 15 + 7 * DAY);
}

static void a_clock_that_was_set_back_locks_nobody_out(void **state)
{
	(void)state;
	struct limits_count c = {.count = 0};
	for (int64_t i = 0; i < 5; i++)
		limits_note(&c, 7 * DAY, NOW + 90 * DAY);
	assert_int_equal(limits_free_at(&c, 5, 7 * DAY, NOW), 0);
}

static void identical_sets_are_counted_by_authority_and_survive(void **state)
{
	struct error err;
	int64_t when;
	auto_free char *path = scratch_path(*state, "store");
	struct store *store = store_open(path, &err);
	assert_non_null(store);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(limits_check(store, &acme, names, 90 * DAY, NOW, &when, &err), 0);
		assert_int_equal(limits_issued(store, &acme, i % 2 ? names : turned, NOW + i, &err), 0);
	}
	store_close(store);
	store = store_open(path, &err);
	assert_int_equal(limits_check(store, &acme, turned, 90 * DAY, NOW + 5, &when, &err), -1);
	assert_int_equal(when, NOW + 7 * DAY);
	assert_int_equal(err.kind, ERROR_RETRY);
	assert_non_null(strstr(err.message, "free again 2027-01-22T08:00:00Z"));
	assert_int_equal(limits_check(store, &acme, others, 90 * DAY, NOW + 5, &when, &err), 0);
	assert_int_equal(limits_check(store, &elsewhere, names, 90 * DAY, NOW + 5, &when, &err), 0);
	/* A certificate of 160 hours is renewed twice a week, and is held to the limit; one of 24 hours needs more than
	 * five orders a week, and is not. */
	assert_int_equal(limits_check(store, &acme, names, 160 * 3600, NOW + 5, &when, &err), -1);
	assert_int_equal(limits_check(store, &acme, names, DAY, NOW + 5, &when, &err), 0);
	store_close(store);
}

static void a_name_that_fails_five_times_waits_an_hour(void **state)
{
	struct error err;
	int64_t when;
	auto_free char *path = scratch_path(*state, "store");
	struct store *store = store_open(path, &err);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(limits_check(store, &acme, names, 0, NOW + i, &when, &err), 0);
		assert_int_equal(limits_failed(store, &acme, "smtp.domain.pl", NOW + i, &err), 0);
	}
	assert_int_equal(limits_check(store, &acme, names, 0, NOW + 5, &when, &err), -1);
	assert_int_equal(when, NOW + 3600);
	assert_non_null(strstr(err.message, "smtp.domain.pl 5 times within an hour"));
	assert_int_equal(limits_check(store, &acme, others, 0, NOW + 5, &when, &err), 0);
	assert_int_equal(limits_check(store, &acme, names, 0, NOW + 3600, &when, &err), 0);
	store_close(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_sixth_waits_until_the_first_is_forgotten),
		cmocka_unit_test(more_than_five_by_force_wait_longer),
		cmocka_unit_test(a_clock_that_was_set_back_locks_nobody_out),
		cmocka_unit_test_setup_teardown(
			identical_sets_are_counted_by_authority_and_survive, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(
			a_name_that_fails_five_times_waits_an_hour, scratch_setup, scratch_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
