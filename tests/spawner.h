/* Runs the spawner for tests of the daemon's modules, which have no root half to start it. It is the `certsync-worker`
 * that stands beside their own program. */
#ifndef CERTSYNC_TESTS_SPAWNER_H
#define CERTSYNC_TESTS_SPAWNER_H

#include "hub/daemon/worker.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"
#include "lib/core/pass.h"
#include "lib/core/proc.h"

#include <unistd.h>

/* Starts it. Returns its pid, or -1. It ends when workers_free has hung up. */
static inline pid_t spawner_begin(struct workers *workers, struct error *err)
{
	int pair[2];
	auto_free char *program = mem_printf("%s/certsync-worker", fs_program_directory());
	const char *const argv[] = {program, NULL};
	if (pass_pair(pair, err) < 0)
		return -1;
	const struct proc_spec spec = {.argv = argv,
		.in = -1,
		.out = -1,
		.err = PROC_INHERIT,
		.extra = -1,
		.link = &pair[1],
		.die_with_parent = true};
	pid_t pid = proc_spawn(&spec, err);
	close(pair[1]);
	if (pid > 0)
		workers_connect(workers, pair[0]);
	else
		close(pair[0]);
	return pid;
}

#endif
