/* Running a hook: the one function that does (DESIGN section 8).
 *
 * A hook gets fixed arguments, an environment of its own and no standard input but what the caller has for it; no shell stands around it. It has a
 * deadline; then its whole process group is killed. What it prints on both outputs is read to the end, but only the
 * last 64 KiB are kept, and may hold secrets: of a configuration's test, say, that quotes the file which it was to read. So what
 * everybody gets is cleaned and blotted out (lib/core/redact.h), the last 8 KiB of it; as it was, it goes to nobody but
 * who asks for it. Once the hook itself has ended, what it left running in the background is neither
 * waited for nor killed: a restarted service may be among it.
 */
#ifndef CERTSYNC_HOOK_H
#define CERTSYNC_HOOK_H

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

/* 0: it exited, with whatever code. -1: anything else, as ret->end and the error say. */
int hook_run(const struct hook_call *call, struct hook_result *ret, struct error *err);

#endif
