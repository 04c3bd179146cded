#include "agent/cli/services/listening.h"
#include "lib/core/buf.h"
#include "lib/core/error.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"
#include "lib/service/process.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TABLE_MAX = 16 * 1024 * 1024, STATE_LISTEN = 0x0a };

void listening_release(struct listening *l)
{
	free(l->list);
	free(l->programs);
	*l = (struct listening){0};
}

/* Reads an address of the kernel's table: words in the machine's order, in hex. */
static bool read_address(const char *hex, bool v6, char ret[LISTENING_ADDRESS_MAX])
{
	uint32_t words[4] = {0};
	size_t count = v6 ? 4 : 1;
	for (size_t i = 0; i < count; i++) {
		char part[9];
		snprintf(part, sizeof(part), "%.8s", hex + 8 * i);
		words[i] = (uint32_t)strtoul(part, NULL, 16);
	}
	return inet_ntop(v6 ? AF_INET6 : AF_INET, words, ret, LISTENING_ADDRESS_MAX) != NULL;
}

static void add_line(struct listening *l, const char *line, bool v6)
{
	char address[33];
	unsigned port, state;
	struct listening_socket s = {.v6 = v6};
	unsigned uid;
	/* NOLINTNEXTLINE(cert-err34-c): the kernel writes these numbers */
	if (sscanf(line, " %*d: %32[0-9A-Fa-f]:%x %*s %x %*s %*s %*s %u %*s %lu", address, &port, &state, &uid,
		    &s.inode) != 5)
		return;
	s.uid = uid;
	s.believed = uid == 0 || uid == geteuid();
	if (state != STATE_LISTEN || strlen(address) != (v6 ? 32 : 8) || !read_address(address, v6, s.address))
		return;
	s.port = (uint16_t)port;
	l->list = mem_grow(l->list, l->count + 1, sizeof(*l->list));
	l->list[l->count++] = s;
}

static void read_table(struct listening *l, const char *path, bool v6)
{
	struct error ignored;
	auto_buf struct buf text = BUF_INIT(TABLE_MAX);
	if (fs_read(AT_FDCWD, path, false, &text, &ignored) < 0)
		return;
	for (const char *at = buf_text(&text); at && *at; at = strchr(at, '\n'), at = at ? at + 1 : NULL)
		add_line(l, at, v6);
}

/* A service manager that hands a socket over holds it, too, and comes first in /proc. */
static bool is_better_known(const struct listening_socket *s)
{
	return s->program[0] && strcmp(s->program, "systemd") != 0;
}

/* Returns whether root opened one of the sockets. */
static bool name_sockets(struct listening *l, int process, pid_t pid, const char *program)
{
	bool roots = false;
	int fd = openat(process, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	if (!dir)
		return false;
	while ((entry = readdir(dir))) {
		char target[64];
		unsigned long inode;
		ssize_t len = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);
		target[len > 0 ? len : 0] = '\0';
		/* NOLINTNEXTLINE(cert-err34-c): the kernel writes these numbers */
		if (sscanf(target, "socket:[%lu]", &inode) != 1)
			continue;
		for (size_t i = 0; i < l->count; i++) {
			if (l->list[i].inode != inode)
				continue;
			roots = roots || l->list[i].believed;
			if (is_better_known(&l->list[i]))
				continue;
			snprintf(l->list[i].program, sizeof(l->list[i].program), "%s", program);
			l->list[i].pid = pid;
		}
	}
	closedir(dir);
	return roots;
}

/* Without root we cannot see the program of a process of root's; then only its users count. */
static bool is_believed(int process, const char *pid, const char *program)
{
	struct process p;
	return process_read(process, (pid_t)strtol(pid, NULL, 10), program, &p) == PROCESS_YES && p.trusted &&
		process_is_here(process, &p) != PROCESS_NO;
}

/* A process in a container of its own listens on addresses of its own. Where that cannot be seen, it counts as here. */
static bool is_here(int process)
{
	char own[64], other[64];
	ssize_t a = readlink("/proc/self/ns/net", own, sizeof(own));
	ssize_t b = readlinkat(process, "ns/net", other, sizeof(other));
	return a <= 0 || b <= 0 || (a == b && memcmp(own, other, (size_t)a) == 0);
}

static void add_program(struct listening *l, const char *program)
{
	l->programs = mem_grow(l->programs, l->program_count + 1, sizeof(*l->programs));
	snprintf(l->programs[l->program_count++], LISTENING_PROGRAM_MAX, "%s", program);
}

static void read_process(struct listening *l, int proc, const char *pid)
{
	struct error ignored;
	auto_buf struct buf comm = BUF_INIT(64);
	auto_close int process = openat(proc, pid, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (process < 0 || !is_here(process) || fs_read(process, "comm", false, &comm, &ignored) < 0)
		return;
	char program[LISTENING_PROGRAM_MAX];
	snprintf(program, sizeof(program), "%.*s", (int)strcspn(buf_text(&comm), "\n"), buf_text(&comm));
	bool roots = name_sockets(l, process, (pid_t)strtol(pid, NULL, 10), program);
	if (!roots && !is_believed(process, pid, program))
		return;
	add_program(l, program);
}

void listening_read(struct listening *ret)
{
	*ret = (struct listening){0};
	read_table(ret, "/proc/net/tcp", false);
	read_table(ret, "/proc/net/tcp6", true);
	DIR *proc = opendir("/proc");
	const struct dirent *entry;
	while (proc && (entry = readdir(proc)))
		if (isdigit((unsigned char)entry->d_name[0]))
			read_process(ret, dirfd(proc), entry->d_name);
	if (proc)
		closedir(proc);
}

/* One that has no port runs nevertheless. */
static bool has_process(const char *program, uid_t user)
{
	struct process *list;
	size_t count;
	bool found = false;
	process_list(program, &list, &count);
	for (size_t i = 0; i < count && !found; i++) {
		auto_close int process = list[i].one_user && list[i].uid == user ? process_open(list[i].pid) : -1;
		found = process >= 0 && is_here(process) && process_is_ours(process) != PROCESS_NO;
	}
	free(list);
	return found;
}

bool listening_believe(struct listening *l, const char *program, uid_t user)
{
	bool runs = false;
	if (user == 0 || user >= LISTENING_PERSON)
		return false;
	for (size_t i = 0; i < l->count; i++) {
		struct listening_socket *s = &l->list[i];
		/* Who is not root sees no program. */
		if (s->uid == user && (!s->program[0] || strcmp(s->program, program) == 0))
			s->believed = runs = true;
	}
	if (runs || has_process(program, user))
		add_program(l, program);
	return true;
}

bool listening_runs(const struct listening *l, const char *program)
{
	for (size_t i = 0; i < l->program_count; i++)
		if (strcmp(l->programs[i], program) == 0)
			return true;
	return false;
}

/* A lower rank is better: every IPv4 address, loopback, every address, others. */
static int rank(const struct listening_socket *s)
{
	if (strcmp(s->address, "0.0.0.0") == 0)
		return 0;
	if (strncmp(s->address, "127.", 4) == 0)
		return 1;
	if (strcmp(s->address, "::") == 0)
		return 2;
	return strcmp(s->address, "::1") == 0 ? 3 : 4;
}

static const struct listening_socket *best(
	const struct listening *l, const char *program, const char *address, uint16_t port)
{
	const struct listening_socket *result = NULL;
	for (size_t i = 0; i < l->count; i++) {
		const struct listening_socket *s = &l->list[i];
		if (s->port != port || !s->believed || (s->program[0] && strcmp(s->program, program) != 0))
			continue;
		if (address[0] && strcmp(s->address, address) == 0)
			return s;
		if (!result || rank(s) < rank(result))
			result = s;
	}
	return result;
}

bool listening_find(const struct listening *l, const char *program, const char *address, uint16_t port,
	char ret[LISTENING_ADDRESS_MAX + 2])
{
	const struct listening_socket *s = best(l, program, address, port);
	if (!s)
		return false;
	if (rank(s) == 0)
		strcpy(ret, "127.0.0.1");
	else if (rank(s) == 2)
		strcpy(ret, access("/proc/net/if_inet6", F_OK) == 0 ? "[::1]" : "127.0.0.1");
	else
		snprintf(ret, LISTENING_ADDRESS_MAX + 2, s->v6 ? "[%s]" : "%s", s->address);
	return true;
}
