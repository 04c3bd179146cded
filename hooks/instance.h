/* The HAProxy instances of this node, as /proc and their own configuration files show them.
 *
 * An instance is a process named haproxy in our PID namespace whose parent is none: the master where there is
 * one. What it reads is told by its own command line, so no path has to be configured twice.
 */
#ifndef CERTSYNC_HOOKS_INSTANCE_H
#define CERTSYNC_HOOKS_INSTANCE_H

#include "lib/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define INSTANCE_CONFIG "/etc/haproxy/haproxy.cfg"
#define INSTANCE_SOCKET "/run/haproxy/admin.sock"

enum { INSTANCE_MAX = 16, INSTANCE_CONFIGS_MAX = 16, INSTANCE_SOCKET_PATH_MAX = 108 };

struct instance {
	pid_t pid;
	bool master;                         /* takes SIGUSR2 as a reload */
	char *directory;                     /* -C; NULL without. Owned, as are all strings here */
	char *configs[INSTANCE_CONFIGS_MAX]; /* -f: files or directories, in order */
	size_t config_count;
};

/* Fills `ret`, which has room for INSTANCE_MAX, and returns how many run. */
size_t instance_find(struct instance *ret);
void instance_release(struct instance *i);

/* The Unix stats socket of its configuration into `path`: the first with `level admin`, else the first, else
 * INSTANCE_SOCKET. */
void instance_socket(const struct instance *i, char path[INSTANCE_SOCKET_PATH_MAX]);

#endif
