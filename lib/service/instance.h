/* The HAProxy instances of this node.
 *
 * An instance is a process of this system named haproxy whose parent is not one itself: the master, where there is one.
 * The words that it was started with tell what it reads, so no path has to be configured twice. Those words decide what
 * root parses and to whom it sends a key. So they are taken from the process only where it is believed
 * (lib/service/process.h); for a process that has given up root's rights they are taken from its systemd unit, and else
 * from agent.conf.
 */
#ifndef CERTSYNC_LIB_SERVICE_INSTANCE_H
#define CERTSYNC_LIB_SERVICE_INSTANCE_H

#include "lib/core/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define INSTANCE_CONFIG "/etc/haproxy/haproxy.cfg"
#define INSTANCE_SOCKET "/run/haproxy/admin.sock"

enum { INSTANCE_MAX = 16, INSTANCE_CONFIGS_MAX = 16, INSTANCE_SOCKET_PATH_MAX = 108 };

struct instance {
	pid_t pid;       /* 0: agent.conf names it, and no process that is believed has these files */
	int proc;        /* its directory in /proc, which pidfd_send_signal takes; owned; -1 without a process */
	bool master;     /* takes SIGUSR2 as a reload, and is trusted to be one */
	char *directory; /* -C; NULL without. Absolute and owned, as are all strings here */
	char *configs[INSTANCE_CONFIGS_MAX]; /* -f: files or directories, in order */
	size_t config_count;
};

enum { INSTANCE_SOME = -1 };

/* A process that is not believed. */
struct instance_other {
	pid_t pid; /* 0: there is none */
	uid_t uid;
};

struct instances {
	struct instance items[INSTANCE_MAX];
	size_t count;
	pid_t hidden;                 /* one that we may not look at; INSTANCE_SOME: /proc does not show all; 0: none */
	struct instance_other passed; /* the first one that anybody may have started: it counts for nothing */
	struct instance_other unsure; /* one whose ports root has opened: an instance, as may be */
	struct error unsure_why;      /* what its unit does not tell; ERROR_NONE: it is no unit's */
};

/* Fills `ret`, which is for instances_release. `named` are the words of the one instance that agent.conf names, with a
 * newline between them, like "-f
 * /etc/haproxy/haproxy.cfg"; with NULL all instances are looked for. Returns -1, with nothing to release, when such
 * words name no instance, or files that others than root can change. */
int instances_find(const char *named, struct instances *ret, struct error *err);
void instances_release(struct instances *list);

/* Writes the Unix stats socket of the instance's configuration to `path`: the first with `level admin`, else the first,
 * else INSTANCE_SOCKET. Returns whether its configuration has one. */
bool instance_socket(const struct instance *i, char path[INSTANCE_SOCKET_PATH_MAX]);

#endif
