/* The HAProxy instances of this node, as /proc and their own configuration files show them.
 *
 * An instance is a process named haproxy on this system whose parent is none: the master where there is one.
 * What it reads is told by its own command line, so no path has to be configured twice. That line decides
 * what root parses and whom it sends a key, so it is believed only of a process that is root's (or of the
 * user that runs this), or that has given up root's rights and was started with files that only root can
 * write.
 */
#ifndef CERTSYNC_HOOKS_INSTANCE_H
#define CERTSYNC_HOOKS_INSTANCE_H

#include "lib/core/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define INSTANCE_CONFIG "/etc/haproxy/haproxy.cfg"
#define INSTANCE_SOCKET "/run/haproxy/admin.sock"

enum { INSTANCE_MAX = 16, INSTANCE_CONFIGS_MAX = 16, INSTANCE_SOCKET_PATH_MAX = 108 };

struct instance {
	pid_t pid;
	int proc;        /* its directory in /proc, which pidfd_send_signal takes; owned */
	bool master;     /* takes SIGUSR2 as a reload, and is trusted to be one */
	char *directory; /* -C; NULL without. Absolute and owned, as are all strings here */
	char *configs[INSTANCE_CONFIGS_MAX]; /* -f: files or directories, in order */
	size_t config_count;
};

enum { INSTANCE_SOME = -1 };

struct instances {
	struct instance items[INSTANCE_MAX];
	size_t count;
	pid_t hidden;  /* one that we may not look at; INSTANCE_SOME: /proc does not show all; 0: none */
	pid_t doubted; /* one that was passed over since `doubted_uid` may have chosen its words; 0: none */
	uid_t doubted_uid;
};

/* Fills `ret`, for instances_release. */
void instances_find(struct instances *ret);
void instances_release(struct instances *list);

/* The Unix stats socket of its configuration into `path`: the first with `level admin`, else the first, else
 * INSTANCE_SOCKET. */
void instance_socket(const struct instance *i, char path[INSTANCE_SOCKET_PATH_MAX]);

#endif
