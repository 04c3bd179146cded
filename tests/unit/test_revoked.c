/* What was revoked from here stays revoked, whatever happens to its record. */
#include "hub/daemon/revoked.h"
#include "tests/unit/issue.h"
#include "tests/unit/scratch.h"

static void it_is_found_again_by_its_leaf_alone(void **state)
{
	struct error err;
	struct revoked r = {.reason = "keyCompromise", .at = ISSUE_NOW}, found;
	uint8_t leaf[CHAIN_SHA256_SIZE] = {1}, other[CHAIN_SHA256_SIZE] = {2};
	auto_free char *path = scratch_path(*state, "store");
	struct store *store = store_open(path, &err);
	assert_int_equal(revoked_find(store, "mail.domain.pl", leaf, &found), 0);
	assert_int_equal(revoked_note(store, "mail.domain.pl", leaf, &r, &err), 0);
	store_close(store);
	store = store_open(path, &err);
	assert_int_equal(revoked_find(store, "mail.domain.pl", leaf, &found), 1);
	assert_string_equal(found.reason, "keyCompromise");
	assert_int_equal(found.at, ISSUE_NOW);
	assert_int_equal(revoked_find(store, "mail.domain.pl", other, &found), 0);
	assert_int_equal(revoked_find(store, "other.domain.pl", leaf, &found), 0);
	store_close(store);
}

static void a_damaged_record_counts(void **state)
{
	struct error err;
	struct revoked found;
	char hex[CHAIN_HEX_MAX];
	uint8_t leaf[CHAIN_SHA256_SIZE] = {7};
	auto_free char *path = scratch_path(*state, "store");
	struct store *store = store_open(path, &err);
	auto_free char *file = mem_printf("%s.json", chain_hex(leaf, hex));
	assert_int_equal(store_put(store, "revoked", "mail.domain.pl", file, "{\"rea", 5, &err), 0);
	assert_int_equal(revoked_find(store, "mail.domain.pl", leaf, &found), 1);
	assert_string_equal(found.reason, "unspecified");
	store_close(store);
}

static void only_a_subscribers_reasons_are_taken(void **state)
{
	(void)state;
	assert_int_equal(revoked_code("unspecified"), 0);
	assert_int_equal(revoked_code("keyCompromise"), 1);
	assert_int_equal(revoked_code("superseded"), 4);
	assert_int_equal(revoked_code("cACompromise"), REVOKED_CODE_NONE);
	assert_int_equal(revoked_code("keycompromise"), REVOKED_CODE_NONE);
	assert_int_equal(revoked_code(""), REVOKED_CODE_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(it_is_found_again_by_its_leaf_alone, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(a_damaged_record_counts, scratch_setup, scratch_teardown),
		cmocka_unit_test(only_a_subscribers_reasons_are_taken),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
