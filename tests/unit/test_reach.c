/* Whether a configuration that is read again needs something which the confined daemon cannot reach. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hub/daemon/reach.h"
#include "lib/core/mem.h"

static char *no_keys[] = {NULL};
static char *keys[] = {(char[]){"/etc/ssh/host.pub"}, (char[]){"/srv/keys/host.pub"}, NULL};

static char path[] = "/etc/certsync/hub.conf", store[] = "/var/lib/certsync-hub", sockets[] = "/run/certsync-hub",
	    http[] = "127.0.0.1:8402", anchors[] = "/srv/anchors/ca.pem";

static struct hub_config base(void)
{
	return (struct hub_config){
		.path = path, .state = store, .run = sockets, .http = http, .anchors = anchors, .host_keys = no_keys};
}

static bool is_covered(const struct hub_config *now, const struct hub_config *next)
{
	struct reach *a = reach_of(now), *b = reach_of(next);
	bool covered = reach_covers_files(a, b) && reach_covers_ports(a, b);
	reach_free(a);
	reach_free(b);
	return covered;
}

static void the_same_is_within_reach(void **state)
{
	(void)state;
	struct hub_config now = base();
	assert_true(is_covered(&now, &now));
}

static void a_file_beside_or_below_one_is_too(void **state)
{
	(void)state;
	struct hub_config now = base(), next = base();
	next.anchors = (char[]){"/srv/anchors/other.pem"};
	assert_true(is_covered(&now, &next));
	next.anchors = (char[]){"/srv/anchors/below/other.pem"};
	assert_true(is_covered(&now, &next));
	next.anchors = NULL;
	assert_true(is_covered(&now, &next));
	next.alert.smtp_password = (char[]){"/etc/certsync/password"};
	assert_true(is_covered(&now, &next));
}

static void a_file_elsewhere_is_not(void **state)
{
	(void)state;
	struct hub_config now = base(), next = base();
	next.anchors = (char[]){"/srv/anchors2/ca.pem"}; /* this path only begins like the allowed one */
	assert_false(is_covered(&now, &next));
	next = base();
	next.alert.smtp_password = (char[]){"/srv/password"};
	assert_false(is_covered(&now, &next));
	next = base();
	next.host_keys = keys;
	assert_false(is_covered(&now, &next));
	struct hub_acme acme = {.eab_hmac = (char[]){"/srv/eab/key"}};
	next = base();
	next.acmes = &acme;
	next.acme_count = 1;
	assert_false(is_covered(&now, &next));
	assert_true(is_covered(&next, &now));
}

static void a_page_at_another_port_is_not(void **state)
{
	(void)state;
	struct hub_config now = base(), next = base();
	next.page = (char[]){"127.0.0.1:8403"};
	assert_false(is_covered(&now, &next));
	assert_true(is_covered(&next, &now));
	assert_true(is_covered(&next, &next));
	now.page = (char[]){"[::1]:8403"};
	assert_true(is_covered(&now, &next));
}

static void what_changes_at_a_restart_alone_is_not_asked(void **state)
{
	(void)state;
	struct hub_config now = base(), next = base();
	next.state = (char[]){"/srv/state"};
	next.run = (char[]){"/srv/run"};
	next.http = (char[]){"127.0.0.1:9999"};
	assert_true(is_covered(&now, &next));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_is_within_reach),
		cmocka_unit_test(a_file_beside_or_below_one_is_too),
		cmocka_unit_test(a_file_elsewhere_is_not),
		cmocka_unit_test(a_page_at_another_port_is_not),
		cmocka_unit_test(what_changes_at_a_restart_alone_is_not_asked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
