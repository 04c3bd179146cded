/* Files that root would read or run, when others can change them. */
#include "lib/core/owned.h"
#include "tests/unit/scratch.h"

#include <sys/mman.h>

static void expect(const char *path, const struct proc_user *also, const char *beginning, const char *end)
{
	struct error err = {0};
	int result = owned_check(path, also, &err);
	if (!beginning) {
		if (result != 0)
			fail_msg("%s: %s", path, err.message);
		return;
	}
	assert_int_equal(result, -1);
	assert_int_equal(err.kind, ERROR_PERMANENT);
	size_t len = strlen(err.message), tail = strlen(end);
	if (strncmp(err.message, beginning, strlen(beginning)) != 0 || len < tail ||
		strcmp(err.message + len - tail, end) != 0)
		fail_msg("\"%s…%s\" was expected: %s", beginning, end, err.message);
}

static void each_step_of_the_path_is_looked_at(void **state)
{
	const struct scratch *s = *state;
	auto_free char *directory = scratch_path(s, "a"), *file = scratch_path(s, "a/file"),
		       *odd = scratch_path(s, "./a//../a/file");
	auto_free char *directory_mends = mem_printf("chmod go-w %s", directory),
		       *file_mends = mem_printf("chmod go-w %s", file);
	assert_int_equal(mkdir(directory, 0755), 0);
	scratch_write(s, "a/file", "", 0644);
	expect(file, NULL, NULL, NULL);
	expect(odd, NULL, NULL, NULL);
	const mode_t open[] = {0664, 0646, 0622};
	for (size_t i = 0; i < COUNT(open); i++) {
		chmod(file, open[i]);
		expect(file, NULL, file, file_mends);
	}
	chmod(file, 0640);
	expect(file, NULL, NULL, NULL);
	chmod(directory, 0775);
	expect(odd, NULL, directory, directory_mends);
	chmod(directory, 0757);
	expect(file, NULL, directory, directory_mends);
	/* In a directory like /tmp nobody can replace what belongs to somebody else. */
	chmod(directory, 01777);
	expect(file, NULL, NULL, NULL);
	chmod(file, 0666);
	expect(file, NULL, file, file_mends);
}

static void links_are_followed_and_judged(void **state)
{
	const struct scratch *s = *state;
	auto_free char *open = scratch_path(s, "open"), *target = scratch_path(s, "open/file"),
		       *link = scratch_path(s, "link"), *loop = scratch_path(s, "loop");
	auto_free char *relative = scratch_path(s, "relative"), *mends = mem_printf("chmod go-w %s", open);
	assert_int_equal(mkdir(open, 0755), 0);
	scratch_write(s, "open/file", "", 0644);
	assert_int_equal(symlink(target, link), 0);
	assert_int_equal(symlink("open/../open/file", relative), 0);
	assert_int_equal(symlink("loop", loop), 0);
	expect(link, NULL, NULL, NULL);
	expect(relative, NULL, NULL, NULL);
	expect(loop, NULL, loop, "too many symbolic links");
	chmod(open, 0777);
	expect(link, NULL, open, mends);
	expect(relative, NULL, open, mends);
}

static void what_is_not_there_is_said(void **state)
{
	const struct scratch *s = *state;
	auto_free char *missing = scratch_path(s, "missing/file");
	expect(missing, NULL, "cannot look at ", "/missing: No such file or directory");
}

static void a_relative_path_begins_here(void **state)
{
	const struct scratch *s = *state;
	char before[4096];
	auto_free char *file = scratch_path(s, "file"), *mends = mem_printf("chmod go-w %s", file);
	assert_non_null(getcwd(before, sizeof(before)));
	scratch_write(s, "file", "", 0644);
	assert_int_equal(chdir(s->path), 0);
	expect("file", NULL, NULL, NULL);
	chmod("file", 0666);
	expect("./file", NULL, file, mends);
	assert_int_equal(chdir(before), 0);
}

/* The first agent.conf of a node that joins is judged while it has no name yet. */
static void an_open_file_is_judged_itself(void **state)
{
	(void)state;
	auto_close int fd = memfd_create("agent.conf", MFD_CLOEXEC);
	char path[32], real[32];
	assert_true(fd >= 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	snprintf(real, sizeof(real), "/proc/%d/fd/%d", (int)getpid(), fd);
	auto_free char *mends = mem_printf("chmod go-w %s", real);
	assert_int_equal(fchmod(fd, 0602), 0);
	expect(path, NULL, real, mends);
	assert_int_equal(fchmod(fd, 0600), 0);
	expect(path, NULL, NULL, NULL);
}

/* Only root can give files away. */
static void another_users_are_theirs(void **state)
{
	const struct scratch *s = *state;
	const struct proc_user user = {.uid = 65534, .gid = 65534}, other = {.uid = 65533, .gid = 65533};
	auto_free char *directory = scratch_path(s, "his"), *file = scratch_path(s, "his/file"),
		       *link = scratch_path(s, "link");
	auto_free char *mends = mem_printf("chown root %s", directory), *link_mends = mem_printf("chown root %s", link);
	if (geteuid() != 0)
		skip();
	assert_int_equal(mkdir(directory, 0775), 0);
	scratch_write(s, "his/file", "", 0664);
	assert_int_equal(chown(directory, user.uid, user.gid), 0);
	assert_int_equal(chown(file, user.uid, user.gid), 0);
	expect(file, NULL, directory, mends);
	expect(file, &other, directory, mends);
	expect(file, &user, NULL, NULL);
	/* The file has a group that the user is not in. */
	assert_int_equal(chown(file, user.uid, other.gid), 0);
	expect(file, &user, file, file + strlen(s->path));
	assert_int_equal(symlink("/etc/passwd", link), 0);
	expect(link, NULL, NULL, NULL);
	assert_int_equal(lchown(link, user.uid, user.gid), 0);
	expect(link, NULL, link, link_mends);
	expect(link, &user, NULL, NULL);
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORY(each_step_of_the_path_is_looked_at),
		STORY(links_are_followed_and_judged),
		STORY(what_is_not_there_is_said),
		STORY(a_relative_path_begins_here),
		STORY(an_open_file_is_judged_itself),
		STORY(another_users_are_theirs),
	};
	umask(022);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
