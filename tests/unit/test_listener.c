/* Who connects to a socket where nobody is let in. */
#include "lib/wire/listener.h"
#include "tests/unit/range.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

/* The daemon of an agent connects to its hub this way, and has other things to do. */
static void a_connection_that_does_not_block_fails_at_once(void **state)
{
	(void)state;
	struct error err = {0};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fds[8], got = 0;
	char directory[] = P_tmpdir "/certsync-test-XXXXXX";
	assert_non_null(mkdtemp(directory));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/sock", directory);
	int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listening, (const struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listening, 0), 0);
	alarm(LISTENER_WAIT_SECONDS / 2); /* one that blocked would be ended here */
	while (got < 8 && (fds[got] = listener_connect(address.sun_path, 1, &err)) >= 0)
		got++;
	alarm(0);
	assert_uint_in_range(got, 1, 7);
	assert_non_null(strstr(err.message, "lets nobody in: it hangs"));
	while (got > 0)
		close(fds[--got]);
	close(listening);
	unlink(address.sun_path);
	assert_int_equal(rmdir(directory), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_connection_that_does_not_block_fails_at_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
