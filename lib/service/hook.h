/* Running a hook: this is the one function that does.
 *
 * A hook gets fixed arguments, an environment of its own, and on its standard input only what the caller has for it; no
 * shell stands around it. At its deadline its whole process group is killed.
 *
 * What it prints on both outputs is read to the end, but only the last 64 KiB are kept. They may hold secrets: a
 * configuration's test, for example, may quote the file that it was to read. So everybody gets the last 8 KiB of it,
 * cleaned and blotted out (lib/core/redact.h); only a caller who asks for it gets it as it was.
 *
 * What the hook left running in the background when it ended is neither waited for nor killed, since a restarted
 * service may be among it.
 */
#ifndef CERTSYNC_LIB_SERVICE_HOOK_H
#define CERTSYNC_LIB_SERVICE_HOOK_H

#include "lib/core/buf.h"
#include "lib/core/error.h"
#include "lib/core/proc.h"

#include <stddef.h>
#include <stdint.h>

enum { HOOK_OUTPUT_MAX = 8192, HOOK_RAW_MAX = 64 * 1024 };

struct hook_call {
	const char *const *argv;      /* argv[0] is the absolute path of the hook */
	const char *const *envp;      /* all of it; PROC_PATH should be in it */
	const struct proc_user *user; /* NULL: as the caller */
	int64_t timeout;              /* seconds */
	int stop_fd;                  /* readable: the caller is to end; the hook is killed then. -1: none */
	const void *input;            /* its standard input, borrowed; NULL: nothing */
	size_t input_len;
	struct buf *raw; /* appended to: what it printed, as it was; room for HOOK_RAW_MAX. NULL: not wanted */
};

enum hook_end { HOOK_NOT_STARTED, HOOK_EXITED, HOOK_KILLED, HOOK_LATE, HOOK_STOPPED };

struct hook_result {
	enum hook_end end;            /* HOOK_KILLED: by a signal that was not ours */
	int exit_code;                /* of one that exited; else -1 */
	char output[HOOK_OUTPUT_MAX]; /* cleaned, secrets blotted out; may have lines */
	size_t blotted;               /* how many */
};

/* Returns 0 when the hook exited, with whatever code, and -1 for anything else, as ret->end and the error say. */
int hook_run(const struct hook_call *call, struct hook_result *ret, struct error *err);

#endif
