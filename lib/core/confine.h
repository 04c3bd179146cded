/* A process drops what it does not need, by itself, whoever started it: no new privileges, no core, no capability but the
 * ones named, and Landlock (landlock(7)) where the kernel has it. libc alone, nothing allocated: the gate uses it as well.
 *
 * What is open already stays open, and children inherit all of it: what a process starts can do no more than itself. It can never
 * be widened again, so a path is named by what will not be replaced: the directory, not the file in it that a rename puts there.
 *
 * What Landlock restricts depends on the kernel, and what it does not know is left out: opening, running, making, renaming and
 * removing files from version 1 on (Linux 5.13), truncating from 3, TCP from 4, ioctl on devices from 5, signals and
 * abstract sockets from 6. No version that this knows restricts looking (stat, readlink, inotify), UDP, or connecting to a Unix
 * socket in the file system: those are a matter of file modes and of the other end, which asks SO_PEERCRED.
 */
#ifndef CERTSYNC_CONFINE_H
#define CERTSYNC_CONFINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Each includes the ones above it; for a directory, they hold below it. */
enum { CONFINE_PORTS_VERSION = 4 };

enum confine_right {
	CONFINE_LIST,    /* list directories, open none of their files */
	CONFINE_READ,    /* and open files for reading */
	CONFINE_WRITE,   /* and write what is there, truncated or not: /dev/null, a log */
	CONFINE_CHANGE,  /* and make, rename and remove files, directories, symbolic links and sockets */
	CONFINE_EXECUTE, /* CONFINE_READ, and run; the dynamic linker, too, which runs every program */
};

struct confine_path {
	enum confine_right right;
	const char *path; /* absolute; NULL, or one that cannot be opened now: passed over */
};

struct confine {
	const struct confine_path *paths;
	size_t path_count;
	bool resolves; /* looks up names and users, and loads libraries: reads what libc and NSS do for that, /etc and /run with it */
	bool connects;         /* to any TCP port */
	bool listens;          /* at any TCP port */
	const uint16_t *ports; /* or at these; 0 at the end; NULL: none */
	bool signals; /* signals processes that were not started by itself afterwards, and uses abstract sockets of theirs */
	uint64_t capabilities; /* 1 << CAP_…: these stay, of those that it has */
	unsigned descriptors; /* no more descriptors than that are ever open, and no process is started; 0: as before */
};

/* What became of it. */
enum confinement_state {
	CONFINEMENT_WHOLE,
	CONFINEMENT_NOT_BUILT, /* the kernel knows no such call */
	CONFINEMENT_DISABLED,  /* it was left out when the machine was booted */
	CONFINEMENT_FILTERED,  /* a filter of system calls around this process forbids it */
	CONFINEMENT_TOO_OLD, /* version 1 cannot allow a rename from one directory to another, which CONFINE_CHANGE needs */
	CONFINEMENT_REFUSED, /* for another reason, in code */
};

struct confinement {
	enum confinement_state state;
	int version; /* of Landlock; 0: none */
	int code;    /* errno of what failed; 0: nothing did */
};

/* For good. What could not be done stays undone and is told: a node whose kernel has no Landlock works as well. */
struct confinement confine(const struct confine *may);

/* The same by what version `version` of Landlock has, as if the kernel's were that one: for tests. Negative: minus the errno that
 * the kernel answers when it has none. */
struct confinement confine_at(const struct confine *may, int version);

/* The kernel's version, from 1 on, or minus the errno. */
int confine_version(void);

/* What confine() would say: without changing anything. */
struct confinement confine_look(void);

/* What is missing, and what to do; both NULL when nothing is. Static storage. */
struct confinement_fault {
	const char *text, *remedy;
};
struct confinement_fault confine_fault(const struct confinement *c);

/* As the child of a process with privileges, before it changes its user: nothing that it runs gains any (no_new_privs), and the
 * bounding and the inheritable set are emptied where that is allowed. System calls only. 0, or -1 with errno. */
int confine_privileges(void);

#endif
