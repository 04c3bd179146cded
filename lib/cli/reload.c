#include "lib/cli/reload.h"
#include "lib/cli/cli.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"
#include "lib/core/proc.h"
#include "lib/wire/ask.h"
#include "lib/wire/reading.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { ASK_AGAIN_MS = 50 };

struct waiting {
	const char *socket_path;
	int64_t deadline;
	struct reading reading;
	struct error err; /* why `reading` is none, at the last try */
};

static void on_answer(const cJSON *answer, void *context)
{
	struct waiting *w = context;
	if (json_text(answer, "error")[0])
		error_set(&w->err, ERROR_RETRY, "%s", json_text(answer, "error"));
	else
		(void)reading_get(answer, &w->reading, &w->err);
}

/* A daemon that takes a configuration, or is started again because of one, may not answer for a moment. */
static void ask_once(struct waiting *w)
{
	auto_json cJSON *request = cJSON_CreateObject();
	cJSON_AddStringToObject(request, "command", "alive");
	w->reading = (struct reading){0};
	w->err = (struct error){0};
	struct error err;
	if (ask(w->socket_path, request, NULL, on_answer, w, &err) < 0)
		w->err = err;
}

/* Asks until the daemon has come to an end with a reading that is another one than `before`. */
static int wait_for_other(struct waiting *w, uint32_t before)
{
	for (;;) {
		ask_once(w);
		if (w->reading.number != 0 && w->reading.number != before)
			return CLI_DONE;
		if (clock_monotonic_ms() >= w->deadline)
			break;
		poll(NULL, 0, ASK_AGAIN_MS);
	}
	if (w->err.kind != ERROR_NONE)
		return cli_fail(CLI_UNREACHABLE,
			"the daemon has not said within %d seconds that the configuration holds: %s. Its log says more",
			RELOAD_SECONDS, w->err.message);
	return cli_fail(CLI_FAILED,
		"the daemon is not done with the configuration after %d seconds, and goes on: an agent finishes first "
		"what it is installing (certsync-agent status shows it)",
		RELOAD_SECONDS);
}

int reload_process(const char *socket_path, int process)
{
	struct waiting w = {.socket_path = socket_path, .deadline = clock_monotonic_ms() + RELOAD_SECONDS * 1000};
	int exit_code = wait_for_other(&w, 0);
	if (exit_code != CLI_DONE)
		return exit_code;
	if (proc_pidfd_signal(process, SIGHUP) < 0)
		return cli_fail(CLI_FAILED, "cannot signal the root half: %s", strerror(errno));
	exit_code = wait_for_other(&w, w.reading.number);
	if (exit_code == CLI_DONE && w.reading.refused[0])
		return cli_fail(CLI_FAILED, "the new configuration does not hold: %s", w.reading.refused);
	return exit_code;
}

int reload(const char *socket_path, const char *pid)
{
	char *end;
	long number = strtol(pid, &end, 10);
	if (*end || number <= 1 || (pid_t)number != number)
		return cli_fail(CLI_USAGE,
			"%s is not the number of a process: that of the root half is meant, which "
			"`systemctl show -p MainPID` prints",
			pid);
	auto_close int process = proc_pidfd_open((pid_t)number);
	if (process < 0)
		return cli_fail(CLI_FAILED, "there is no process %ld: %s", number, strerror(errno));
	return reload_process(socket_path, process);
}
