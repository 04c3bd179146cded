/* A worker that lies. The daemon's modules start the `certsync-worker` that stands beside their own program, so a test
 * is copied to a directory of its own and linked there under that name, too; what it then says stands in the file
 * `script` beside it. */
#ifndef CERTSYNC_TESTS_WORKER_H
#define CERTSYNC_TESTS_WORKER_H

#include "tests/unit/scratch.h"

#include "hub/worker/spawner.h"
#include "lib/core/files.h"
#include "lib/core/frame.h"
#include "tests/spawner.h"

#include <errno.h>
#include <libgen.h>
#include <signal.h>
#include <sys/socket.h>

enum { WORKER_SCRIPT_MAX = 1024 * 1024 };

static inline int worker_acts(void)
{
	struct buf script = BUF_INIT(WORKER_SCRIPT_MAX);
	struct error err;
	auto_free char *path = mem_printf("%s/script", fs_program_directory());
	if (fs_read(AT_FDCWD, path, false, &script, &err) < 0)
		return 3;
	if (strcmp(buf_text(&script), "dies") == 0)
		raise(SIGKILL);
	for (size_t done = 0; done < script.len;) {
		ssize_t wrote = write(STDOUT_FILENO, script.data + done, script.len - done);
		if (wrote < 0)
			return 4;
		done += (size_t)wrote;
	}
	buf_release(&script);
	shutdown(STDOUT_FILENO, SHUT_WR);
	/* It reads the job and the answers until the daemon has heard enough. */
	char ignored[4096];
	while (read(STDIN_FILENO, ignored, sizeof(ignored)) > 0)
		;
	return 0;
}

static inline void worker_says(struct buf *script, const char *json)
{
	assert_int_equal(frame_encode(script, FRAME_MESSAGE, json, strlen(json)), 0);
}

/* Adds a frame of files to the script. The arguments are pairs of name and content, ended by NULL. */
static inline void worker_sends(struct buf *script, const char *label, ...)
{
	auto_buf struct buf bytes = BUF_INIT(FRAME_FILES_MAX);
	struct files files = {.count = 0};
	va_list rest;
	const char *name;
	snprintf(files.label, sizeof(files.label), "%s", label);
	va_start(rest, label);
	while ((name = va_arg(rest, const char *))) {
		const char *content = va_arg(rest, const char *);
		assert_int_equal(files_add(&files, name, content, strlen(content)), 0);
	}
	va_end(rest);
	assert_int_equal(files_encode(&files, &bytes), 0);
	assert_int_equal(frame_encode(script, FRAME_FILES, bytes.data, bytes.len), 0);
}

/* From now on the worker says what is in the script, which is empty again afterwards. A script of "dies" has it
 * killed. */
static inline void worker_learns(struct buf *script)
{
	struct error err;
	auto_free char *path = mem_printf("%s/script", fs_program_directory());
	assert_int_equal(fs_write(AT_FDCWD, path, script->data, script->len, FS_PRIVATE, &err), 0);
	buf_reset(script);
}

static inline int worker_copy(void)
{
	struct error err;
	auto_buf struct buf self = BUF_INIT(256 * 1024 * 1024);
	char *directory = mem_printf("%s/certsync-unit.XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : P_tmpdir);
	if (!mkdtemp(directory) || fs_read(AT_FDCWD, "/proc/self/exe", true, &self, &err) < 0)
		return 1;
	auto_free char *test = mem_printf("%s/test", directory), *worker = mem_printf("%s/certsync-worker", directory);
	const struct fs_owner owner = {.uid = geteuid(), .gid = getegid(), .mode = 0700};
	if (fs_write(AT_FDCWD, test, self.data, self.len, owner, &err) < 0 || link(test, worker) < 0)
		return 1;
	execv(test, (char *[]){test, directory, NULL});
	return 1;
}

/* Is the main function of such a test. */
static inline int worker_beside(int argc, char **argv, int (*run)(void))
{
	struct error err;
	if (strcmp(basename(argv[0]), "certsync-worker") == 0)
		return argc == 1 ? spawner_main() : worker_acts();
	if (argc < 2)
		return worker_copy();
	signal(SIGPIPE, SIG_IGN); /* the daemon ignores it, too */
	int result = run();
	return fs_remove_tree(AT_FDCWD, argv[1], &err) == 0 ? result : 1;
}

#endif
