/* no_landlock_tool built|booted|filtered PROGRAM [ARGUMENT…] runs the program, and all that it starts, as on a kernel
 * that was built without Landlock, as on one that was booted without it, or as under a unit whose filter of system
 * calls forbids it. */
#include "lib/core/mem.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct {
	const char *name;
	unsigned code;
} kinds[] = {{"built", ENOSYS}, {"booted", EOPNOTSUPP}, {"filtered", EPERM}};

static int forbid(unsigned code)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, SYS_landlock_create_ruleset, 0, 2),
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, SYS_landlock_restrict_self, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | code),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {.len = COUNT(filter), .filter = filter};
	/* Root may do without this, and what it starts can then still change its user. */
	if (geteuid() != 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 2 && i < COUNT(kinds); i++) {
		if (strcmp(argv[1], kinds[i].name) != 0)
			continue;
		if (forbid(kinds[i].code) == 0)
			execvp(argv[2], argv + 2);
		perror(argv[2]);
		return 1;
	}
	fputs("usage: no_landlock_tool built|booted|filtered PROGRAM [ARGUMENT...]\n", stderr);
	return 2;
}
