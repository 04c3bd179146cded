#include "lib/core/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Kernels know more than the headers of an older distribution. These values are those of include/uapi/linux/landlock.h
 * in Linux 6.12. */
enum {
	FS_REFER = 13,
	FS_TRUNCATE = 14,
	FS_IOCTL_DEV = 15,
	VERSION_REFER = 2,
	VERSION_TRUNCATE = 3,
	VERSION_IOCTL = 5,
	VERSION_SCOPE = 6,
};

#define BIT(number) (UINT64_C(1) << (number))
#define TCP_BIND BIT(0)
#define TCP_CONNECT BIT(1)
#define SCOPES (BIT(0) | BIT(1)) /* abstract Unix sockets, signals */

static const int RULE_PORT = 2;

struct ruleset {
	uint64_t files, tcp, scoped;
};

struct port_rule {
	uint64_t allowed, port;
};

/* ---- files ---- */

#define OF_A_FILE \
	(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | \
		BIT(FS_TRUNCATE) | BIT(FS_IOCTL_DEV))
#define READS (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define WRITES (READS | LANDLOCK_ACCESS_FS_WRITE_FILE | BIT(FS_TRUNCATE))
/* A confined process makes neither devices nor named pipes. */
#define CHANGES \
	(WRITES | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR | \
		LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_SYM | \
		BIT(FS_REFER))
#define EXECUTES (READS | LANDLOCK_ACCESS_FS_EXECUTE)

static const uint64_t rights[] = {
	[CONFINE_LIST] = LANDLOCK_ACCESS_FS_READ_DIR,
	[CONFINE_READ] = READS,
	[CONFINE_WRITE] = WRITES,
	[CONFINE_CHANGE] = CHANGES,
	[CONFINE_EXECUTE] = EXECUTES,
};

/* The directories are named, not the files: a resolver's files are replaced by renames, and /run/systemd/resolve may
 * appear after we started. */
static const struct confine_path resolver[] = {
	{CONFINE_READ, "/etc"},
	{CONFINE_READ, "/run"},
	{CONFINE_READ, "/usr"},
	{CONFINE_READ, "/lib"},
	{CONFINE_READ, "/lib32"},
	{CONFINE_READ, "/lib64"},
	{CONFINE_READ, "/var/lib/sss"},
	{CONFINE_READ, "/dev/urandom"},
	{CONFINE_WRITE, "/dev/null"},
};

/* A sanitizer or a coverage counter in the program opens files of its own: see tests/analysis/sanitize.h and the
 * Makefile. */
#ifdef CONFINE_ALSO
static const struct confine_path also[] = {{CONFINE_CHANGE, CONFINE_ALSO}};
static const bool counts_descriptors = false;
#else
static const struct confine_path also[] = {{CONFINE_READ, NULL}};
static const bool counts_descriptors = true;
#endif

static uint64_t known_files(int version)
{
	uint64_t known = BIT(FS_REFER) - 1;
	known |= version >= VERSION_REFER ? BIT(FS_REFER) : 0;
	known |= version >= VERSION_TRUNCATE ? BIT(FS_TRUNCATE) : 0;
	known |= version >= VERSION_IOCTL ? BIT(FS_IOCTL_DEV) : 0;
	return known;
}

static int add_path(int ruleset, uint64_t known, const struct confine_path *p)
{
	int fd = p->path ? open(p->path, O_PATH | O_CLOEXEC) : -1;
	struct stat st;
	if (fd < 0)
		return 0;
	uint64_t allowed = rights[p->right] & known;
	int result = fstat(fd, &st);
	if (result == 0 && !S_ISDIR(st.st_mode))
		allowed &= OF_A_FILE;
	const struct landlock_path_beneath_attr rule = {.allowed_access = allowed, .parent_fd = fd};
	if (result == 0 && allowed)
		result = (int)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
	int code = errno;
	close(fd);
	errno = code;
	return result;
}

static int add_paths(int ruleset, uint64_t known, const struct confine_path *paths, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (add_path(ruleset, known, &paths[i]) < 0)
			return -1;
	return 0;
}

static bool has(const struct confine *may, enum confine_right right)
{
	for (size_t i = 0; i < may->path_count; i++)
		if (may->paths[i].path && may->paths[i].right == right)
			return true;
	return false;
}

/* The first object that the loader lists is the program itself. */
static int find_linker(struct dl_phdr_info *info, size_t size, void *ret_path)
{
	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_INTERP)
			*(const char **)ret_path = (const char *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
	return 1;
}

static int add_files(int ruleset, uint64_t known, const struct confine *may)
{
	struct confine_path linker = {CONFINE_EXECUTE, NULL};
	if (has(may, CONFINE_EXECUTE))
		dl_iterate_phdr(find_linker, &linker.path);
	if (add_path(ruleset, known, &linker) < 0 || add_path(ruleset, known, &also[0]) < 0)
		return -1;
	if (may->resolves && add_paths(ruleset, known, resolver, sizeof(resolver) / sizeof(resolver[0])) < 0)
		return -1;
	return add_paths(ruleset, known, may->paths, may->path_count);
}

/* ---- Landlock ---- */

static int add_ports(int ruleset, const uint16_t *ports)
{
	for (; ports && *ports; ports++) {
		const struct port_rule rule = {.allowed = TCP_BIND, .port = *ports};
		if (syscall(SYS_landlock_add_rule, ruleset, RULE_PORT, &rule, 0) < 0)
			return -1;
	}
	return 0;
}

static int landlock(const struct confine *may, int version)
{
	struct ruleset handled = {.files = known_files(version)};
	if (version >= CONFINE_PORTS_VERSION)
		handled.tcp = (may->connects ? 0 : TCP_CONNECT) | (may->listens ? 0 : TCP_BIND);
	if (version >= VERSION_SCOPE && !may->signals)
		handled.scoped = SCOPES;
	/* A kernel with a shorter structure takes a longer one when the rest is zero. */
	int ruleset = (int)syscall(SYS_landlock_create_ruleset, &handled, sizeof(handled), 0);
	if (ruleset < 0)
		return -1;
	int result = add_files(ruleset, handled.files, may);
	if (result == 0 && (handled.tcp & TCP_BIND))
		result = add_ports(ruleset, may->ports);
	if (result == 0)
		result = (int)syscall(SYS_landlock_restrict_self, ruleset, 0);
	int code = errno;
	close(ruleset);
	errno = code;
	return result;
}

int confine_version(void)
{
	int version = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	return version < 0 ? -errno : version;
}

static struct confinement judge(int version)
{
	struct confinement c = {.version = version > 0 ? version : 0, .code = version < 0 ? -version : 0};
	if (version == -ENOSYS)
		c.state = CONFINEMENT_NOT_BUILT;
	else if (version == -EOPNOTSUPP)
		c.state = CONFINEMENT_DISABLED;
	else if (version == -EPERM || version == -EACCES)
		c.state = CONFINEMENT_FILTERED;
	else if (version < 0)
		c.state = CONFINEMENT_REFUSED;
	return c;
}

struct confinement confine_look(void)
{
	return judge(confine_version());
}

#define ELSE "so what our processes may reach is limited by users and modes alone"

struct confinement_fault confine_fault(const struct confinement *c)
{
	static const struct confinement_fault faults[] = {
		[CONFINEMENT_WHOLE] = {NULL, NULL},
		[CONFINEMENT_NOT_BUILT] = {"the kernel has no Landlock, " ELSE,
			"boot Linux 5.19 or later, built with CONFIG_SECURITY_LANDLOCK"},
		[CONFINEMENT_DISABLED] = {"the kernel was booted without its Landlock, " ELSE,
			"put landlock first in lsm= of the kernel's command line; /sys/kernel/security/lsm has what is there now"},
		[CONFINEMENT_FILTERED] = {"a filter of system calls forbids Landlock, " ELSE,
			"SystemCallFilter= of the unit is to have landlock_create_ruleset, landlock_add_rule and landlock_restrict_self"},
		[CONFINEMENT_TOO_OLD] =
			{"the kernel's Landlock lets nobody rename a file into another directory, " ELSE,
				"boot Linux 5.19 or later"},
	};
	if (c->state == CONFINEMENT_REFUSED)
		return (struct confinement_fault){"the kernel refuses Landlock, " ELSE, strerror(c->code)};
	return faults[c->state];
}

/* ---- privileges and limits ---- */

int confine_privileges(void)
{
	const struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[2];
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	/* Dropping needs CAP_SETPCAP; without it the bounding set stays, but nothing can draw from it any more. */
	for (int capability = 0; prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0;)
		capability++;
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capget, &header, sets) < 0)
		return -1;
	sets[0].inheritable = sets[1].inheritable = 0;
	return (int)syscall(SYS_capset, &header, sets);
}

static int keep_capabilities(uint64_t keep)
{
	const struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[2];
	if (syscall(SYS_capget, &header, sets) < 0)
		return -1;
	for (int i = 0; i < 2; i++) {
		sets[i].permitted &= (uint32_t)(keep >> (32 * i));
		sets[i].effective &= sets[i].permitted;
	}
	return (int)syscall(SYS_capset, &header, sets);
}

static void limit(int resource, rlim_t most)
{
	struct rlimit now;
	if (getrlimit(resource, &now) < 0)
		return;
	const struct rlimit less = {
		most < now.rlim_cur ? most : now.rlim_cur, most < now.rlim_max ? most : now.rlim_max};
	setrlimit(resource, &less);
}

struct confinement confine_at(const struct confine *may, int version)
{
	struct confinement c = judge(version);
	limit(RLIMIT_CORE, 0);
	bool dropped = prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 && confine_privileges() == 0 &&
		keep_capabilities(may->capabilities) == 0;
	int result = dropped ? 0 : -1;
	if (result == 0 && version > 0 && version < VERSION_REFER && has(may, CONFINE_CHANGE))
		c.state = CONFINEMENT_TOO_OLD;
	else if (result == 0 && version > 0)
		result = landlock(may, version);
	if (result < 0) {
		c.state = CONFINEMENT_REFUSED;
		c.code = errno;
	}
	/* The ruleset's own descriptor has been closed by now, so it does not count. */
	if (may->descriptors && counts_descriptors) {
		limit(RLIMIT_NOFILE, may->descriptors);
		limit(RLIMIT_NPROC, 0);
	}
	return c;
}

struct confinement confine(const struct confine *may)
{
	return confine_at(may, confine_version());
}
