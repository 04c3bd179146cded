/* Starting a process: this is the one function that forks, for children, workers and hooks alike. */
#ifndef CERTSYNC_LIB_CORE_PROC_H
#define CERTSYNC_LIB_CORE_PROC_H

#include "lib/core/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct proc_user {
	uid_t uid;
	gid_t gid;
	char name[64]; /* for initgroups; empty: no supplementary groups */
};

/* Looks a user up with its primary group. */
int proc_user_find(const char *name, struct proc_user *ret, struct error *err);

struct proc_spec {
	const char *const *argv;      /* argv[0] is the absolute path of the executable; NULL at the end */
	const char *const *envp;      /* the whole environment; NULL: only the fixed PATH */
	const struct proc_user *user; /* NULL, or when the caller is not root: as the caller */
	int in, out, err;             /* descriptors for 0, 1, 2, borrowed; -1: /dev/null (err: inherited when -2) */
	int extra;                    /* becomes descriptor 3 of the child; -1: none */
	const int *link;              /* becomes its descriptor 4; NULL: none */
	const int *listen;            /* becomes its descriptor 5; NULL: none */
	bool group;                   /* a process group of its own, so that kill(-pid) reaches its children */
	bool die_with_parent;         /* PR_SET_PDEATHSIG SIGKILL */
	bool powerless; /* it and all that it runs gain no privileges: confine_privileges() of lib/core/confine.h */
};

#define PROC_INHERIT (-2)
#define PROC_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* Starts the program by execve with no shell, with all other descriptors closed, signals at their defaults, and umask
 * 077. A failure to execute is reported here, by the parent, and not as an exit code. Returns the pid or -1. */
pid_t proc_spawn(const struct proc_spec *spec, struct error *err);

/* Kills and waits for every child of ours that is not among `known`: orphans that came to us (PR_SET_CHILD_SUBREAPER).
 * The children of one that dies become ours before its death is told, so none is left when this returns. */
void proc_kill_orphans(const pid_t *known, size_t count);

/* A process by descriptor, close-on-exec, which is readable when it has ended. pidfd_open(2) and pidfd_send_signal(2) are called
 * by their numbers, since glibc has functions for them only from 2.36 on. Both return -1 with errno. proc_pidfd_signal takes
 * the process's directory in /proc, too. */
int proc_pidfd_open(pid_t pid);
int proc_pidfd_signal(int process, int number);

/* Returns a text for messages, like "exited 3" or "was killed by signal 9 (Killed)", in static storage. */
const char *proc_status_text(int wait_status);

/* Hardens the whole program at its start: no core dump, no ptrace, umask 077, no SIGPIPE. What the program may reach is
 * decided by confine() (lib/core/confine.h), once it has read what says so. */
void proc_harden(void);

/* Makes a pair of connected Unix stream sockets, blocking and close-on-exec. */
int proc_socketpair(int ret_pair[2], struct error *err);

#endif
