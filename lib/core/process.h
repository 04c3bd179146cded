/* A process of another program, as /proc shows it, and whether what it says of itself may be acted upon: the one rule
 * for every hook, for discovery, adopt and doctor.
 *
 * Anybody can start a process under any name and with any words, and files that belong to root can hold a stranger's
 * text. So a process is believed only when each of its four user ids is root's or that of whoever runs this, and when it
 * is a program of this system which has not lent its user to a stranger (process_is_here). Of any other neither command
 * line nor name, pid file nor open file counts for anything; what may be known of it is what root's own systemd says of
 * the unit that it is the main process of (process_unit), and what the administrator has written down.
 */
#ifndef CERTSYNC_PROCESS_H
#define CERTSYNC_PROCESS_H

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
	uid_t uid; /* the real one: who has started it. Inside of a user namespace, too, it is the one outside */
	unsigned long long started;
	bool trusted;  /* each of its four user ids is root's or ours */
	bool one_user; /* they are all the same */
};

/* Whether `pid` is a live process of this name, as the kernel keeps it. `fd` is its directory in /proc, which
 * stays that process's even when the number has been given to another. */
int process_open(pid_t pid); /* descriptor, or -1 with errno */
enum process_answer process_read(int fd, pid_t pid, const char *name, struct process *ret);

/* All of this name. *ret_list is owned by the caller (free). PROCESS_HIDDEN: there may be more. */
enum process_answer process_list(const char *name, struct process **ret_list, size_t *ret_count);

/* Its words, each with a NUL behind it, appended. */
enum process_answer process_words(int fd, struct buf *out);

/* Whether it is of this system (PID namespace, root directory) and not of a container's. */
enum process_answer process_is_ours(int fd);
/* Whether it is, and runs a program other than ours which does not lend its user to whoever starts it. Of a process that
 * is not trusted the program has to be root's, too. */
enum process_answer process_is_here(int fd, const struct process *p);

/* Whether it has a TCP port to serve at that was opened by root, or by whoever runs this: what a stranger cannot have, and a
 * service that has given up root's rights does have. For as much as may be looked at. */
bool process_serves(int fd);

/* The system service whose cgroup it is in, appended as it stands below the root of the cgroups, like
 * "/system.slice/haproxy.service": only root can put a process there. PROCESS_NO: in none, as in a session, a user's own
 * manager or a container. */
enum process_answer process_unit(int fd, struct buf *out);

#endif
