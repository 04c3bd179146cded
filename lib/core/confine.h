/* A process drops what it does not need by itself, whoever started it: it gives up gaining privileges, cores, all
 * capabilities but the named ones, and, by Landlock (landlock(7)) where the kernel has it, files and ports. Only libc
 * is used and nothing is allocated, so the gate can use it as well.
 *
 * What is open already stays open. Children inherit all of it, so what a process starts can do no more than the process
 * itself. A confinement can never be widened again, so a path names what will not be replaced: the directory, not the
 * file in it that a rename puts there.
 *
 * What Landlock restricts depends on the kernel, and what a kernel does not know is left out: opening, running, making,
 * renaming and removing files come with version 1 (Linux 5.13), truncating with 3, TCP with 4, ioctl on devices with 5,
 * signals and abstract sockets with 6. No version known here restricts looking (stat, readlink, inotify), UDP, or
 * connecting to a Unix socket in the file system: file modes and the other end, which asks SO_PEERCRED, decide about
 * those.
 */
#ifndef CERTSYNC_LIB_CORE_CONFINE_H
#define CERTSYNC_LIB_CORE_CONFINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Each level includes the ones above it. The level of a directory holds for everything below it. */
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
	bool resolves; /* may read what libc needs to look up names and users and to load libraries, as /etc and /run */
	bool connects; /* to any TCP port */
	bool listens;  /* at any TCP port */
	const uint16_t *ports; /* or at these; 0 at the end; NULL: none */
	bool signals;          /* may signal processes that it has not started, and use their abstract sockets */
	uint64_t capabilities; /* 1 << CAP_…: these stay, of those that it has */
	unsigned descriptors; /* no more descriptors than that are ever open, and no process is started; 0: as before */
};

/* These states say what became of a confinement. */
enum confinement_state {
	CONFINEMENT_WHOLE,
	CONFINEMENT_NOT_BUILT, /* the kernel knows no such call */
	CONFINEMENT_DISABLED,  /* it was left out when the machine was booted */
	CONFINEMENT_FILTERED,  /* a filter of system calls around this process forbids it */
	CONFINEMENT_TOO_OLD,   /* version 1 cannot allow renames between directories, which CONFINE_CHANGE needs */
	CONFINEMENT_REFUSED,   /* for another reason, in code */
};

struct confinement {
	enum confinement_state state;
	int version; /* of Landlock; 0: none */
	int code;    /* errno of what failed; 0: nothing did */
};

/* Confines the calling process for good. What could not be done stays undone and is reported in the result: a node
 * whose kernel has no Landlock works as well. */
struct confinement confine(const struct confine *may);

/* Does the same as if the kernel had Landlock in this version, for tests. A negative version is minus the errno with
 * which a kernel without Landlock answers. */
struct confinement confine_at(const struct confine *may, int version);

/* Returns the kernel's version of Landlock, which is at least 1, or minus the errno. */
int confine_version(void);

/* Returns what confine() would report, and changes nothing. */
struct confinement confine_look(void);

/* The fault says what is missing and what to do; both texts are NULL when nothing is missing. They are in static
 * storage. */
struct confinement_fault {
	const char *text, *remedy;
};
struct confinement_fault confine_fault(const struct confinement *c);

/* A child of a privileged process calls this before it changes its user. Nothing that it runs then gains privileges
 * (no_new_privs), and the bounding and the inheritable set are emptied where that is allowed. Only system calls are
 * made. Returns 0, or -1 with errno. */
int confine_privileges(void);

#endif
