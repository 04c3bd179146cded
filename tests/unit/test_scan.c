/* What is handed over from a watched directory. */
#include "hub/scan.h"
#include "lib/fs.h"
#include "lib/mem.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[64];

static int make_directory(void **state)
{
	(void)state;
	snprintf(directory, sizeof(directory), P_tmpdir "/certsync-test-XXXXXX");
	return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
	(void)state;
	struct error err;
	return fs_remove_tree(AT_FDCWD, directory, &err);
}

static void put(const char *name, const void *data, size_t len)
{
	struct error err;
	auto_free char *path = mem_printf("%s/%s", directory, name);
	if (fs_write(AT_FDCWD, path, data, len, FS_PRIVATE, &err) < 0)
		fail_msg("%s", err.message);
}

static void candidates_come_sorted_and_links_are_followed(void **state)
{
	(void)state;
	struct error err;
	auto_scan struct scan scan;
	put("privkey.pem", "key", 3);
	put("a.crt", "chain", 5);
	put("README", "text", 4);
	put(".hidden.pem", "no", 2);
	put("pem", "no", 2);
	auto_free char *link = mem_printf("%s/b.pem", directory);
	auto_free char *dangling = mem_printf("%s/c.pem", directory);
	auto_free char *inner = mem_printf("%s/d.pem", directory);
	assert_int_equal(symlink("privkey.pem", link), 0);
	assert_int_equal(symlink("nothing", dangling), 0);
	assert_int_equal(mkdir(inner, 0700), 0);
	if (scan_directory(directory, "x.pl", &scan, &err) < 0)
		fail_msg("%s", err.message);
	assert_string_equal(scan.files.label, "x.pl");
	assert_int_equal(scan.files.count, 3);
	assert_string_equal(scan.files.file[0].name, "a.crt");
	assert_memory_equal(scan.files.file[0].data, "chain", 5);
	assert_string_equal(scan.files.file[1].name, "b.pem");
	assert_memory_equal(scan.files.file[1].data, "key", 3);
	assert_string_equal(scan.files.file[2].name, "privkey.pem");
}

static void a_fifo_and_a_long_file_are_passed_over(void **state)
{
	(void)state;
	struct error err;
	auto_scan struct scan scan;
	auto_free char *fifo = mem_printf("%s/fifo.key", directory);
	auto_free char *longest = mem_alloc(FILES_FILE_MAX + 1);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	put("longer.pem", longest, FILES_FILE_MAX + 1);
	put("long.pem", longest, FILES_FILE_MAX);
	if (scan_directory(directory, "x.pl", &scan, &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(scan.files.count, 1);
	assert_string_equal(scan.files.file[0].name, "long.pem");
	assert_int_equal(scan.files.file[0].len, FILES_FILE_MAX);
}

static void too_many_files_are_an_error(void **state)
{
	(void)state;
	struct error err;
	auto_scan struct scan scan;
	for (int i = 0; i <= FILES_MAX; i++) {
		char name[16];
		snprintf(name, sizeof(name), "%02d.pem", i);
		put(name, "x", 1);
	}
	assert_int_equal(scan_directory(directory, "x.pl", &scan, &err), -1);
	assert_non_null(strstr(err.message, "more than 24 files"));
	assert_non_null(strstr(err.message, directory));
}

static void a_missing_directory_is_named(void **state)
{
	(void)state;
	struct error err;
	auto_scan struct scan scan;
	assert_int_equal(scan_directory("/nonexistent/live", "x.pl", &scan, &err), -1);
	assert_non_null(strstr(err.message, "watched directory /nonexistent/live"));
}

static void what_the_owner_may_not_read_is_not_read_for_him(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip(); /* only root has more rights than the owner */
	struct error err;
	auto_scan struct scan scan;
	put("root.key", "secret", 6);
	assert_int_equal(chown(directory, 65534, 65534), 0);
	assert_int_equal(scan_directory(directory, "x.pl", &scan, &err), -1);
	assert_non_null(strstr(err.message, "root.key: Permission denied"));
	/* And we are ourselves again. */
	put("own.txt", "x", 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_directory, remove_directory)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(candidates_come_sorted_and_links_are_followed),
		TEST(a_fifo_and_a_long_file_are_passed_over),
		TEST(too_many_files_are_an_error),
		TEST(a_missing_directory_is_named),
		TEST(what_the_owner_may_not_read_is_not_read_for_him),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
