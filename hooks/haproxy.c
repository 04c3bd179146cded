/* The hook for HAProxy: `haproxy test|reload|running`. A program and not a script, since a shell has no way
 * to speak to a Unix socket.
 *
 * `reload` needs no reload where it can: files are on disk already, and what the running process holds is
 * replaced over the runtime API. Where that cannot be (no socket at level admin, a file that is not loaded
 * yet, a version before 2.2, a chain that is too long), the master is told to reload.
 */
#include "hooks/instance.h"
#include "hooks/runtime.h"
#include "lib/buf.h"
#include "lib/chain.h"
#include "lib/fs.h"
#include "lib/mem.h"
#include "lib/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXIT_STOPPED = 3 };

static int fail(const struct error *err)
{
	fprintf(stderr, "haproxy: %s\n", err->message);
	return -1;
}

static const char *program(void)
{
	static const char *const places[] = {
		"/usr/local/sbin/haproxy", "/usr/sbin/haproxy", "/usr/bin/haproxy"};
	for (size_t k = 0; k < COUNT(places); k++)
		if (access(places[k], X_OK) == 0)
			return places[k];
	return places[1];
}

/* haproxy -c with the files that the instance was started with. */
static int check(const struct instance *i)
{
	const char *argv[8 + 2 * INSTANCE_CONFIGS_MAX] = {program(), "-c", "-q"};
	size_t count = 3;
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

/* Whether the file that HAProxy loaded under this name is one of the certificate's: it lies in its directory,
 * or it is a copy that the new leaf has just been written to. */
static bool is_ours(const char *name, const char *directory, const char *leaf_pem)
{
	size_t len = strlen(directory);
	if (strncmp(name, directory, len) == 0 && name[len] == '/')
		return true;
	struct error ignored;
	auto_buf struct buf text = BUF_INIT(CHAIN_PEM_MAX);
	return name[0] == '/' && fs_read(AT_FDCWD, name, true, &text, &ignored) == 0 &&
	       strstr(buf_text(&text), leaf_pem);
}

/* Replaces what is loaded from one file by what the file holds now. */
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

/* One writer at a time, or the second would silently replace the first one's transaction. */
static int lock(const char *socket_path, struct error *err)
{
	auto_free char *path = mem_printf("%s.certsync-lock", socket_path);
	auto_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (fd < 0)
		return error_errno(err, "cannot open %s", path);
	while (flock(fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return error_errno(err, "cannot lock %s", path);
	return steal_fd(&fd);
}

struct content {
	const char *directory; /* live/NAME */
	const char *key_file;
	char *leaf_pem; /* owned */
};

/* Over the runtime API alone. -1: a reload is needed, the reason in `err`. */
static int update(const struct instance *i, const struct content *content, struct error *err)
{
	char socket_path[INSTANCE_SOCKET_PATH_MAX];
	auto_buf struct buf listing = BUF_INIT(RUNTIME_LISTING_MAX);
	instance_socket(i, socket_path);
	auto_close int locked = lock(socket_path, err);
	if (locked < 0 || runtime_files(socket_path, &listing, err) < 0)
		return -1;
	size_t replaced = 0;
	buf_text(&listing);
	char *rest = (char *)listing.data, *name;
	while ((name = strsep(&rest, "\n"))) {
		if (name[0] == '\0' || name[0] == '*' ||
			!is_ours(name, content->directory, content->leaf_pem))
			continue;
		if (replace(socket_path, name, content->key_file, err) < 0)
			return -1;
		printf("haproxy: %s replaced in process %d over %s\n", name, (int)i->pid, socket_path);
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
	if (!i->master) {
		fprintf(stderr,
			"haproxy: process %d has no master to reload it: start HAProxy with -W (or -Ws), or "
			"give its "
			"stats socket `level admin`\n",
			(int)i->pid);
		return -1;
	}
	if (kill(i->pid, SIGUSR2) == 0)
		return 0;
	fprintf(stderr, "haproxy: cannot signal the master %d: %s\n", (int)i->pid, strerror(errno));
	return -1;
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

static int verb_test(const struct instance *instances, size_t count)
{
	const struct instance standard = {.configs = {(char[]){INSTANCE_CONFIG}}, .config_count = 1};
	int result = 0;
	for (size_t k = 0; k < count; k++)
		result |= check(&instances[k]);
	if (count == 0 && access(INSTANCE_CONFIG, F_OK) == 0)
		result = check(&standard);
	return result ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int verb_reload(const struct instance *instances, size_t count)
{
	struct content content = {0};
	int result = 0;
	if (count == 0) {
		fprintf(stderr, "haproxy: no HAProxy runs here\n");
		return EXIT_FAILURE;
	}
	if (content_read(&content) < 0)
		return EXIT_FAILURE;
	for (size_t k = 0; k < count; k++) {
		struct error err;
		if (update(&instances[k], &content, &err) < 0)
			result |= reload(&instances[k], &err);
	}
	free(content.leaf_pem);
	return result ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int verb_running(const struct instance *instances, size_t count)
{
	(void)instances;
	return count ? EXIT_SUCCESS : EXIT_STOPPED;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(const struct instance *instances, size_t count);
	} verbs[] = {{"test", verb_test}, {"reload", verb_reload}, {"running", verb_running}};
	struct instance instances[INSTANCE_MAX];
	proc_harden();
	for (size_t v = 0; argc == 2 && v < COUNT(verbs); v++) {
		if (strcmp(argv[1], verbs[v].name) != 0)
			continue;
		size_t count = instance_find(instances);
		int result = verbs[v].run(instances, count);
		for (size_t k = 0; k < count; k++)
			instance_release(&instances[k]);
		return result;
	}
	fprintf(stderr, "usage: haproxy test|reload|running\n");
	return 2;
}
