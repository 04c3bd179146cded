/* Revisions only go forward. */
#include "lib/core/mem.h"
#include "lib/crypto/verify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct error err;

static void assert_says(const char *rule, const char *first, const char *second)
{
	assert_int_equal(err.kind, ERROR_UNTRUSTED);
	size_t len = strlen(rule);
	if (strncmp(err.message, rule, len) != 0 || strncmp(err.message + len, ": ", 2) != 0)
		fail_msg("\"%s\" does not begin with \"%s: \"", err.message, rule);
	if (!strstr(err.message, first) || !strstr(err.message, second))
		fail_msg("\"%s\" does not name both \"%s\" and \"%s\"", err.message, first, second);
}

static void revisions_only_go_forward(void **state)
{
	(void)state;
	static const uint8_t old[CHAIN_SHA256_SIZE] = {1}, new[CHAIN_SHA256_SIZE] = {2};
	struct revision high = {2, 7};
	assert_int_equal(verify_revision((struct revision){2, 8}, new, high, old, &err), 0);
	assert_int_equal(verify_revision((struct revision){3, 1}, new, high, old, &err), 0);
	assert_int_equal(verify_revision((struct revision){2, 8}, old, high, old, &err), 0);
	assert_int_equal(verify_revision((struct revision){2, 7}, old, high, old, &err), 0);
	assert_int_equal(verify_revision((struct revision){2, 7}, new, high, old, &err), -1);
	assert_says("digest", "0200000000000000", "0100000000000000");
	assert_int_equal(verify_revision((struct revision){2, 6}, old, high, old, &err), -1);
	assert_says("revision", "2.6", "2.7");
	assert_int_equal(verify_revision((struct revision){1, 100}, new, high, old, &err), -1);
	assert_says("revision", "1.100", "2.7");
	assert_int_equal(verify_revision((struct revision){1, 1}, new, (struct revision){0, 0}, old, &err), 0);
	assert_int_equal(verify_revision((struct revision){0, 0}, old, (struct revision){0, 0}, old, &err), -1);
	assert_says("revision", "placeholder", "0.0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(revisions_only_go_forward)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
