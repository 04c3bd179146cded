/* A process of another program, as /proc shows it, and whether what it says of itself may be acted upon.
 *
 * Anybody can start a process under any name and with any words, so root believes only what root has started,
 * or what was started with files that only root can write. Whoever runs this is believed like root.
 */
#ifndef CERTSYNC_HOOKS_PROCESS_H
#define CERTSYNC_HOOKS_PROCESS_H

#include "lib/core/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum process_answer {
	PROCESS_NO, /* it has gone, or it is no such process */
	PROCESS_YES,
	PROCESS_HIDDEN, /* it is there, and may not be looked at */
};

struct process {
	pid_t pid, parent;
	uid_t uid; /* the real one: who has started it */
	unsigned long long started;
	bool trusted; /* each of its four user ids is root's or ours */
};

/* Whether `pid` is a live process of this name, as the kernel keeps it. `fd` is its directory in /proc, which
 * stays that process's even when the number has been given to another. */
int process_open(pid_t pid); /* descriptor, or -1 with errno */
enum process_answer process_read(int fd, pid_t pid, const char *name, struct process *ret);

/* All of this name. *ret_list is owned by the caller (free). PROCESS_HIDDEN: there may be more. */
enum process_answer process_list(const char *name, struct process **ret_list, size_t *ret_count);

/* Its words, each with a NUL behind it, appended. */
enum process_answer process_words(int fd, struct buf *out);

/* Whether it runs on this system (PID namespace, root directory) a program other than ours which does not
 * lend its user to whoever starts it. Of a process that is not trusted the program has to be root's, too. */
enum process_answer process_is_here(int fd, const struct process *p);

/* Whether nobody but root can change what the absolute `path` names: no link in it, and it and all of its
 * parents are root's and not writable by a group or by others. */
bool process_path_is_roots(const char *path);

#endif
