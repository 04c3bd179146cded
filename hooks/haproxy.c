/* The hook for HAProxy: `haproxy test|reload|running`. It is a program and not a script, since a shell has no way to
 * speak to a Unix socket.
 *
 * Where it can, `reload` does without a reload: the files are on disk already, and what the running process holds is
 * replaced over the runtime API. Where that is impossible (no socket at level admin, a file that is not loaded yet, a
 * version before 2.2, a chain that is too long) or would not be all (another certificate or an alias for the same name),
 * the master is told to reload.
 */
#include "hooks/overlap.h"
#include "hooks/runtime.h"
#include "lib/core/buf.h"
#include "lib/crypto/chain.h"
#include "lib/core/fs.h"
#include "lib/service/instance.h"
#include "lib/core/mem.h"
#include "lib/core/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOCK_NAME ".haproxy.lock"

enum { EXIT_STOPPED = 3, READING_MAX_MS = 20000, READING_STEP_MS = 20 };

static int fail(const struct error *err)
{
	fprintf(stderr, "haproxy: %s\n", err->message);
	return -1;
}

static const char *program(void)
{
	static const char *const places[] = {"/usr/local/sbin/haproxy", "/usr/sbin/haproxy", "/usr/bin/haproxy"};
	for (size_t k = 0; k < COUNT(places); k++)
		if (access(places[k], X_OK) == 0)
			return places[k];
	return places[1];
}

/* Runs haproxy -c with the files that the instance was started with. */
static int check(const struct instance *i)
{
	const char *argv[8 + 2 * INSTANCE_CONFIGS_MAX] = {program(), "-c"};
	size_t count = 2;
	struct error err;
	if (i->directory) {
		argv[count++] = "-C";
		argv[count++] = i->directory;
	}
	for (size_t k = 0; k < i->config_count; k++) {
		argv[count++] = "-f";
		argv[count++] = i->configs[k];
	}
	const struct proc_spec spec = {.argv = argv, .in = -1, .out = 1, .err = 2, .extra = -1};
	pid_t pid = proc_spawn(&spec, &err);
	if (pid < 0)
		return fail(&err);
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	fprintf(stderr, "haproxy: haproxy -c %s\n", proc_status_text(status));
	return -1;
}

/* Returns whether the name is absolute, with no "//", "/./" or "/../" in it, and none of them at its end. */
static bool is_plain(const char *name)
{
	if (*name != '/')
		return false;
	while (*name) {
		size_t len = strcspn(++name, "/");
		if (len == 0 || (len <= 2 && strncmp(name, "..", len) == 0))
			return false;
		name += len;
	}
	return true;
}

static bool same_directory(const char *a, const char *b)
{
	struct stat left, right;
	return stat(a, &left) == 0 && stat(b, &right) == 0 && left.st_ino == right.st_ino &&
		left.st_dev == right.st_dev;
}

/* Returns whether the file that HAProxy loaded under this name is one of the certificate's: it lies in its directory,
 * or it is a copy that the new leaf has just been written to. */
static bool is_ours(const char *name, const char *directory, const char *leaf_pem)
{
	if (!is_plain(name))
		return false;
	auto_free char *parent = mem_strndup(name, (size_t)(strrchr(name, '/') - name));
	if (same_directory(parent, directory))
		return true;
	struct error ignored;
	auto_buf struct buf text = BUF_INIT(CHAIN_PEM_MAX);
	return fs_read(AT_FDCWD, name, true, &text, &ignored) == 0 && strstr(buf_text(&text), leaf_pem);
}

/* Replaces what is loaded from one file by what the file contains now. */
static int replace(const char *socket_path, const char *name, const char *key_file, struct error *err)
{
	auto_buf struct buf certificates = BUF_INIT(CHAIN_PEM_MAX);
	auto_buf struct buf key = BUF_INIT(CHAIN_PEM_MAX);
	auto_chain struct chain chain = {0};
	if (fs_read(AT_FDCWD, name, true, &certificates, err) < 0)
		return -1;
	bool combined = strstr(buf_text(&certificates), "PRIVATE KEY-----") != NULL;
	if (!combined && fs_read(AT_FDCWD, key_file, true, &key, err) < 0)
		return -1;
	const struct buf *from = combined ? &certificates : &key;
	if (chain_parse_pem(certificates.data, certificates.len, from->data, from->len, &chain, err) < 0)
		return error_wrap(err, "%s", name);
	return runtime_replace(socket_path, name, &chain, err);
}

/* There is one writer at a time, or the second one would silently replace the first one's transaction. The lock is
 * beside the certificates, where nobody can put another file in its place or hold it. */
static int lock(const char *certificate, struct error *err)
{
	struct stat st;
	auto_free char *name = mem_strdup(certificate);
	/* The directory is found by name, since live/NAME is a link into the archive. */
	const char *parent = dirname(name);
	auto_close int directory = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0 || fstat(directory, &st) < 0)
		return error_errno(err, "cannot open %s", parent);
	if ((st.st_uid != 0 && st.st_uid != geteuid()) || (st.st_mode & (S_IWGRP | S_IWOTH)))
		return error_set(err, ERROR_PERMANENT, "others can write to %s", parent);
	auto_close int fd = openat(directory, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return error_errno(err, "cannot open %s/%s", parent, LOCK_NAME);
	while (flock(fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return error_errno(err, "cannot lock %s/%s", parent, LOCK_NAME);
	return steal_fd(&fd);
}

struct content {
	const char *directory; /* live/NAME */
	const char *key_file;
	char *leaf_pem; /* owned */
};

static bool is_content(const char *name, const void *context)
{
	const struct content *content = context;
	return is_ours(name, content->directory, content->leaf_pem);
}

static bool has_signal(const char *status, const char *field, int number)
{
	const char *mask = strstr(status, field);
	return mask && (strtoull(mask + strlen(field), NULL, 16) >> (number - 1) & 1);
}

/* A master that starts has no handler for SIGUSR2 yet, so the signal would end it; one that reloads keeps it blocked
 * until it has read its files. Its next worker, which has perhaps read the old files already, would not know what this
 * one is told. */
static bool is_reading(const struct instance *i)
{
	char text[4096];
	auto_close int fd = openat(i->proc, "status", O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	text[len < 0 ? 0 : len] = '\0';
	return i->master && len > 0 &&
		(has_signal(text, "\nSigBlk:", SIGUSR2) || !has_signal(text, "\nSigCgt:", SIGUSR2));
}

/* Only its signal masks show when a master has read its files. Returns -1 when it does not come to an end, and has said
 * the reason. */
static int wait_until_read(const struct instance *i)
{
	for (int waited = 0; is_reading(i); waited += READING_STEP_MS) {
		if (waited == 0) {
			printf("haproxy: process %d is reading its files just now: waiting until it has\n",
				(int)i->pid);
			fflush(stdout);
		}
		if (waited >= READING_MAX_MS) {
			fprintf(stderr,
				"haproxy: process %d has read its files for %d s and takes no reload: look at its log\n",
				(int)i->pid, READING_MAX_MS / 1000);
			return -1;
		}
		poll(NULL, 0, READING_STEP_MS);
	}
	return 0;
}

/* Replaces certificates over the runtime API alone. Returns -1 when a reload is needed, with the reason in `err`. */
static int update(const struct instance *i, const struct content *content, struct error *err)
{
	char socket_path[INSTANCE_SOCKET_PATH_MAX];
	auto_buf struct buf listing = BUF_INIT(RUNTIME_LISTING_MAX);
	instance_socket(i, socket_path);
	auto_close int locked = lock(content->directory, err);
	if (locked < 0 || runtime_files(socket_path, &listing, err) < 0)
		return -1;
	size_t replaced = 0;
	int overlaps = overlap_check(socket_path, buf_text(&listing), is_content, content, err);
	if (overlaps < 0 || (overlaps && i->master && i->pid))
		return -1;
	if (overlaps)
		printf("haproxy: %s, for which there is no master: it is replaced all the same\n", err->message);
	char *rest = (char *)listing.data, *name;
	while ((name = strsep(&rest, "\n"))) {
		if (name[0] == '\0' || name[0] == '*' || !is_content(name, content))
			continue;
		if (replace(socket_path, name, content->key_file, err) < 0)
			return -1;
		if (i->pid)
			printf("haproxy: %s replaced in process %d over %s\n", name, (int)i->pid, socket_path);
		else
			printf("haproxy: %s replaced over %s\n", name, socket_path);
		replaced++;
	}
	if (replaced)
		return 0;
	return error_set(err, ERROR_PERMANENT, "HAProxy has loaded no file of %s yet", content->directory);
}

static int reload(const struct instance *i, const struct error *reason)
{
	printf("haproxy: %s: reloading instead\n", reason->message);
	fflush(stdout);
	/* Another certificate's hook may have told it to reload meanwhile. It forgets a signal that comes while it
	 * reads, or dies of it. */
	if (wait_until_read(i) < 0)
		return -1;
	if (!i->master || !i->pid) {
		auto_free char *who =
			i->pid ? mem_printf("process %d", (int)i->pid) : mem_printf("HAProxy of %s", i->configs[0]);
		fprintf(stderr,
			"haproxy: %s has no master to reload it: start HAProxy as root with -W (or "
			"-Ws), or give its stats socket `level admin`\n",
			who);
		return -1;
	}
	if (proc_pidfd_signal(i->proc, SIGUSR2) == 0)
		return 0;
	fprintf(stderr, "haproxy: cannot signal the master %d: %s\n", (int)i->pid, strerror(errno));
	return -1;
}

/* What HAProxy is told while it reads would reach the worker that is about to go, so the hook waits for it. A reload
 * for each certificate that comes while another's reload is under way would make as many reloads as there are
 * certificates. */
static int serve(const struct instance *i, const struct content *content)
{
	struct error err;
	if (wait_until_read(i) < 0)
		return -1;
	/* What is not loaded under its new configuration cannot be replaced. */
	if (getenv("CERTSYNC_RECONFIGURED"))
		error_set(&err, ERROR_PERMANENT, "its configuration has changed");
	else if (update(i, content, &err) == 0)
		return 0;
	return reload(i, &err);
}

static const char *variable(const char *name)
{
	const char *value = getenv(name);
	if (value && *value)
		return value;
	fprintf(stderr, "haproxy: %s is not set: this hook is run by certsync-agent-root\n", name);
	return NULL;
}

static int content_read(struct content *ret)
{
	struct error err;
	const char *fullchain = variable("CERTSYNC_FULLCHAIN");
	auto_buf struct buf text = BUF_INIT(CHAIN_PEM_MAX), leaf = BUF_INIT(CHAIN_PEM_MAX);
	auto_chain struct chain chain = {0};
	ret->directory = variable("CERTSYNC_DIR");
	ret->key_file = variable("CERTSYNC_PRIVKEY");
	if (!fullchain || !ret->directory || !ret->key_file)
		return -1;
	if (fs_read(AT_FDCWD, fullchain, true, &text, &err) < 0 ||
		chain_parse_pem(text.data, text.len, NULL, 0, &chain, &err) < 0 ||
		chain_write_pem(&chain, CHAIN_LEAF, &leaf, &err) < 0)
		return fail(&err);
	ret->leaf_pem = mem_strdup(buf_text(&leaf));
	return 0;
}

/* Returns 1 when the instance runs, 0 when it is stopped, or -1 when that cannot be told, and has said why. An instance
 * that agent.conf names and that has no master is known by its socket. */
static int is_running(const struct instance *i)
{
	char socket_path[INSTANCE_SOCKET_PATH_MAX];
	struct error err;
	if (i->pid)
		return 1;
	if (i->master || !instance_socket(i, socket_path))
		return 0;
	int there = runtime_is_there(socket_path, &err);
	return there < 0 ? fail(&err) : there;
}

/* An instance that can be neither reloaded nor told would keep the old certificate, and nobody would know. */
static int check_reach(const struct instance *i)
{
	char socket_path[INSTANCE_SOCKET_PATH_MAX];
	if (i->pid || i->master || instance_socket(i, socket_path))
		return 0;
	fprintf(stderr,
		"haproxy: %s has no `stats socket` with an absolute path, and agent.conf names no -W: neither could be told "
		"of a certificate\n",
		i->configs[0]);
	return -1;
}

static int verb_test(const struct instances *all)
{
	const struct instance standard = {.configs = {(char[]){INSTANCE_CONFIG}}, .config_count = 1, .proc = -1};
	int result = 0;
	for (size_t k = 0; k < all->count; k++)
		result |= check(&all->items[k]) | check_reach(&all->items[k]);
	if (all->count == 0 && (all->hidden || all->unsure.pid))
		return EXIT_FAILURE;
	if (all->count == 0 && access(INSTANCE_CONFIG, F_OK) == 0)
		result = check(&standard);
	return result ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int verb_running(const struct instances *all)
{
	bool unknown = all->hidden || (all->count == 0 && all->unsure.pid);
	for (size_t k = 0; k < all->count; k++) {
		int running = is_running(&all->items[k]);
		if (running > 0)
			return EXIT_SUCCESS;
		unknown = unknown || running < 0;
	}
	return unknown ? EXIT_FAILURE : EXIT_STOPPED;
}

static int verb_reload(const struct instances *all)
{
	struct content content = {0};
	int result = 0;
	int running = verb_running(all);
	if (running != EXIT_SUCCESS) {
		if (running == EXIT_STOPPED || !all->count)
			fprintf(stderr, "haproxy: no HAProxy runs here that could be reloaded\n");
		return EXIT_FAILURE;
	}
	if (content_read(&content) < 0)
		return EXIT_FAILURE;
	for (size_t k = 0; k < all->count; k++)
		result |= serve(&all->items[k], &content);
	free(content.leaf_pem);
	return result ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* What was passed over may be what the administrator has in mind, so it is named. */
static void tell(const struct instances *all)
{
	static const char remedy[] = "name it in agent.conf: instance = {\"-f\", \"/path/of/its.cfg\"}";
	if (all->hidden == INSTANCE_SOME)
		fprintf(stderr, "haproxy: /proc does not show all processes to user %d: run this hook as root\n",
			(int)geteuid());
	else if (all->hidden)
		fprintf(stderr,
			"haproxy: process %d cannot be looked at by user %d: run this hook as root or as that "
			"process's user\n",
			(int)all->hidden, (int)geteuid());
	if (all->unsure.pid)
		fprintf(stderr,
			"haproxy: process %d of user %d serves at ports that root has opened, and %s: start it with -W or -Ws, or %s\n",
			(int)all->unsure.pid, (int)all->unsure.uid,
			all->unsure_why.kind == ERROR_NONE ? "nobody but itself says what it was started with"
							   : all->unsure_why.message,
			remedy);
	if (all->passed.pid)
		fprintf(stderr,
			"haproxy: process %d of user %d is left alone, since any user can take this name: if it is meant, %s\n",
			(int)all->passed.pid, (int)all->passed.uid, remedy);
}

static int run(int (*verb)(const struct instances *all))
{
	struct instances all;
	struct error err;
	const char *named = getenv("CERTSYNC_INSTANCE");
	if (instances_find(named, &all, &err) < 0) {
		fail(&err);
		return EXIT_FAILURE;
	}
	if (!named)
		tell(&all);
	int result = verb(&all);
	instances_release(&all);
	return result;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(const struct instances *all);
	} verbs[] = {{"test", verb_test}, {"reload", verb_reload}, {"running", verb_running}};
	proc_harden();
	for (size_t v = 0; argc == 2 && v < COUNT(verbs); v++)
		if (strcmp(argv[1], verbs[v].name) == 0)
			return run(verbs[v].run);
	fprintf(stderr, "usage: haproxy test|reload|running\n");
	return 2;
}
