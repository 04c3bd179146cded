/* A process of another program as /proc shows it, and whether what it says of itself may be acted upon. The same rule
 * holds for every hook, for discovery, adopt and doctor.
 *
 * Anybody can start a process under any name and with any words, and files that belong to root can hold a stranger's
 * text. So a process is believed only when each of its four user ids is root's or that of whoever runs this, and when
 * it runs a program of this system that has not lent its user to a stranger (process_is_here). For any other process
 * neither command line nor name, pid file nor open file counts for anything; what may be known of it is what root's own
 * systemd says of the unit whose main process it is (process_unit), and what the administrator has written down.
 */
#ifndef CERTSYNC_LIB_SERVICE_PROCESS_H
#define CERTSYNC_LIB_SERVICE_PROCESS_H

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

/* process_open returns a descriptor of the process's directory in /proc, or -1 with errno. It stays that process's even
 * when the number has been given to another. process_read says whether `pid` is a live process of this name, as the
 * kernel keeps it. */
int process_open(pid_t pid); /* descriptor, or -1 with errno */
enum process_answer process_read(int fd, pid_t pid, const char *name, struct process *ret);

/* Lists all processes of this name. The caller frees *ret_list. PROCESS_HIDDEN says that there may be more. */
enum process_answer process_list(const char *name, struct process **ret_list, size_t *ret_count);

/* Appends the process's words, each with a NUL behind it. */
enum process_answer process_words(int fd, struct buf *out);

/* Says whether the process is of this system (PID namespace, root directory) and not of a container. */
enum process_answer process_is_ours(int fd);
/* Says whether the process is of this system and runs a program other than ours that does not lend its user to whoever
 * starts it. The program of a process that is not trusted has to be root's, too. */
enum process_answer process_is_here(int fd, const struct process *p);

/* Returns whether the process has a TCP port to serve at that was opened by root, or by whoever runs this. A stranger
 * cannot have such a port, and a service that has given up root's rights does. What may not be looked at does not
 * count. */
bool process_serves(int fd);

/* Appends the system service whose cgroup the process is in, as it stands below the root of the cgroups, like
 * "/system.slice/haproxy.service"; only root can put a process there. PROCESS_NO says that it is in none, as in a login
 * session, a user's own manager or a container. */
enum process_answer process_unit(int fd, struct buf *out);

#endif
