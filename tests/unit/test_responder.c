/* Which names the daemon has the tls-alpn-01 responder answer for, while its worker has not come up. */
#include "hub/daemon/acme/responder.h"
#include "hub/daemon/worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NAME "mail.domain.pl"

static void never(const struct error *err, void *context)
{
	(void)err;
	(void)context;
	fail();
}

/* A client says nothing but the name, so two answers for one cannot be told apart. */
static void a_name_is_proven_for_one_order_at_a_time(void **state)
{
	(void)state;
	struct error err;
	struct event_base *base = event_base_new();
	struct workers *workers = workers_new(base);
	struct responder *r = responder_new(base, workers, "127.0.0.1:8404");
	assert_int_equal(responder_add(r, NAME, "token.one", never, NULL, &err), 0);
	assert_int_equal(responder_add(r, "other.domain.pl", "token.one", never, NULL, &err), 0);
	assert_int_equal(responder_add(r, NAME, "token.two", never, NULL, &err), -1);
	assert_int_equal(err.kind, ERROR_RETRY);
	assert_non_null(strstr(err.message, NAME " is being proven for another order"));
	responder_remove(r, NAME);
	assert_int_equal(responder_add(r, NAME, "token.two", never, NULL, &err), 0);
	responder_free(r);
	workers_free(workers);
	event_base_free(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(a_name_is_proven_for_one_order_at_a_time)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
