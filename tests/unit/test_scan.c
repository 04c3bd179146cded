/* Which files are handed over from watched paths, and how much of them. */
#include "hub/common/scan.h"
#include "lib/core/frame.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
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

static const char *const names[] = {"mail.domain.pl", "*.domain.pl", NULL};

static int scan_directory(struct scan *ret, struct error *err)
{
	const char *const paths[] = {directory, NULL};
	return scan_paths(paths, "x.pl", names, ret, err);
}

static void make_scan(struct scan *ret)
{
	struct error err;
	if (scan_directory(ret, &err) < 0)
		fail_msg("%s", err.message);
}

static void expect_names(const struct scan *scan, const char *const *expected, size_t count)
{
	assert_int_equal(scan->files.count, count);
	for (size_t i = 0; i < count; i++)
		assert_string_equal(scan->files.file[i].name, expected[i]);
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
	if (scan_directory(&scan, &err) < 0)
		fail_msg("%s", err.message);
	assert_string_equal(scan.files.label, "x.pl");
	assert_int_equal(scan.files.count, 3);
	assert_string_equal(scan.files.file[0].name, "0/a.crt");
	assert_memory_equal(scan.files.file[0].data, "chain", 5);
	assert_string_equal(scan.files.file[1].name, "0/b.pem");
	assert_memory_equal(scan.files.file[1].data, "key", 3);
	assert_string_equal(scan.files.file[2].name, "0/privkey.pem");
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
	if (scan_directory(&scan, &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(scan.files.count, 1);
	assert_string_equal(scan.files.file[0].name, "0/long.pem");
	assert_int_equal(scan.files.file[0].len, FILES_FILE_MAX);
}

/* Makes a file that was last changed so many days ago. */
static void put_old(const char *name, int age)
{
	auto_free char *path = mem_printf("%s/%s", directory, name);
	const struct timespec times[] = {{1700000000 - age * 86400, 0}, {1700000000 - age * 86400, 0}};
	put(name, "x", 1);
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void of_many_domains_those_with_the_certificates_names_are_read(void **state)
{
	(void)state;
	auto_scan struct scan scan;
	static const char *const expected[] = {
		"0/_.domain.pl.crt", "0/mail.domain.pl.crt", "0/mail.domain.pl.issuer.crt", "0/mail.domain.pl.key"};
	for (int i = 0; i < 100; i++) {
		auto_free char *crt = mem_printf("www%d.domain.pl.crt", i), *key = mem_printf("www%d.domain.pl.key", i);
		put(crt, "x", 1);
		put(key, "x", 1);
	}
	for (size_t i = 0; i < COUNT(expected); i++)
		put_old(expected[i] + 2, 100);
	put("mail.domain.plus.crt", "x", 1);
	make_scan(&scan);
	expect_names(&scan, expected, COUNT(expected));
	assert_int_equal(scan.left_out, 201);
}

static void of_many_old_files_the_links_and_the_newest_are_read(void **state)
{
	(void)state;
	auto_scan struct scan scan;
	auto_free char *link = mem_printf("%s/privkey.pem", directory);
	for (int i = 0; i < 40; i++) {
		auto_free char *name = mem_printf("privkey-%02d.pem", i);
		put_old(name, 40 - i);
	}
	assert_int_equal(symlink("privkey-03.pem", link), 0);
	make_scan(&scan);
	assert_int_equal(scan.files.count, FILES_MAX);
	assert_string_equal(scan.files.file[0].name, "0/privkey-17.pem");
	assert_string_equal(scan.files.file[FILES_MAX - 2].name, "0/privkey-39.pem");
	assert_string_equal(scan.files.file[FILES_MAX - 1].name, "0/privkey.pem");
	assert_int_equal(scan.left_out, 17);
}

static void big_files_do_not_crowd_out_small_ones(void **state)
{
	(void)state;
	auto_scan struct scan scan;
	auto_buf struct buf payload = BUF_INIT(FRAME_FILES_MAX);
	auto_free char *big = mem_alloc(60000);
	for (int i = 0; i < 6; i++) {
		auto_free char *name = mem_printf("%d-bundle.pem", i);
		put(name, big, 60000);
	}
	put_old("z.crt", 10);
	put_old("z.key", 10);
	make_scan(&scan);
	assert_int_equal(scan.files.count, 6);
	assert_string_equal(scan.files.file[5].name, "0/z.key");
	assert_int_equal(scan.left_out, 2);
	assert_int_equal(files_encode(&scan.files, &payload), 0);
}

static void several_paths_are_read_in_their_order(void **state)
{
	(void)state;
	struct error err;
	auto_scan struct scan scan;
	static const char *const expected[] = {"0/cert.pem", "1/the key", "2/cert.pem"};
	auto_free char *inner = mem_printf("%s/inner", directory), *file = mem_printf("%s/the key", directory);
	const char *const paths[] = {inner, file, directory, NULL};
	assert_int_equal(mkdir(inner, 0700), 0);
	put("cert.pem", "outer", 5);
	put("inner/cert.pem", "inner", 5);
	put("the key", "key", 3);
	if (scan_paths(paths, "x.pl", names, &scan, &err) < 0)
		fail_msg("%s", err.message);
	expect_names(&scan, expected, COUNT(expected));
	assert_memory_equal(scan.files.file[0].data, "inner", 5);
}

static void a_missing_path_is_named(void **state)
{
	(void)state;
	struct error err;
	auto_scan struct scan scan;
	const char *const paths[] = {directory, "/nonexistent/live", NULL};
	assert_int_equal(scan_paths(paths, "x.pl", names, &scan, &err), -1);
	assert_non_null(strstr(err.message, "watched path /nonexistent/live"));
	assert_int_equal(scan_check("/nonexistent/live", &err), 0);
}

static void an_empty_directory_has_nothing(void **state)
{
	(void)state;
	auto_scan struct scan scan;
	make_scan(&scan);
	assert_int_equal(scan.files.count, 0);
	assert_int_equal(scan.left_out, 0);
}

static void what_is_neither_file_nor_directory_is_no_path_to_watch(void **state)
{
	(void)state;
	struct error err;
	assert_int_equal(scan_check(directory, &err), 0);
	assert_int_equal(scan_check("/etc/passwd", &err), 0);
	assert_int_equal(scan_check("/dev/null", &err), -1);
	assert_string_equal(err.message, "is neither a directory nor a file");
}

static void a_directory_that_its_owner_may_not_read_is_told(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip(); /* only root has more rights than the owner */
	struct error err;
	auto_free char *inner = mem_printf("%s/inner", directory);
	assert_int_equal(mkdir(inner, 0700), 0);
	assert_int_equal(chown(directory, 65534, 65534), 0);
	assert_int_equal(scan_check(directory, &err), 0);
	assert_int_equal(scan_check(inner, &err), -1);
	assert_string_equal(err.message,
		"cannot be read by user 65534, to whom a part of the path belongs, so not for him: "
		"Permission denied");
	put("own.txt", "x", 1); /* the process has its own rights again */
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
	assert_int_equal(scan_directory(&scan, &err), -1);
	assert_non_null(strstr(err.message, "root.key: Permission denied"));
	/* The process has its own rights again. */
	put("own.txt", "x", 1);
}

static void a_file_is_read_with_the_rights_of_who_made_the_link_to_it(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip(); /* only root has more rights than the owner */
	struct error err;
	auto_scan struct scan scan;
	auto_free char *link = mem_printf("%s/his.key", directory);
	const char *const paths[] = {link, NULL};
	put("root.key", "secret", 6);
	assert_int_equal(chmod(directory, 0755), 0);
	assert_int_equal(symlink("root.key", link), 0);
	assert_int_equal(scan_paths(paths, "x.pl", names, &scan, &err), 0);
	scan_release(&scan);
	assert_int_equal(lchown(link, 65534, 65534), 0);
	assert_int_equal(scan_paths(paths, "x.pl", names, &scan, &err), -1);
	assert_non_null(strstr(err.message, "his.key: Permission denied"));
	assert_int_equal(scan_check(link, &err), -1);
}

static void a_directory_with_an_access_control_list_is_not_roots_alone(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip(); /* only root has more rights than others */
	/* An access list as the kernel keeps it (acl(5)): version 2; then tag, rights and id of the owner, user 65534
	 * (all), the group, the mask and others. */
	static const unsigned char list[] = {2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 7, 0, 254, 255, 0, 0, 4,
		0, 5, 0, 255, 255, 255, 255, 16, 0, 7, 0, 255, 255, 255, 255, 32, 0, 5, 0, 255, 255, 255, 255};
	struct error err;
	auto_scan struct scan scan;
	put("root.key", "secret", 6);
	assert_int_equal(chmod(directory, 0775), 0);
	assert_int_equal(scan_directory(&scan, &err), 0);
	scan_release(&scan);
	if (setxattr(directory, "system.posix_acl_access", list, sizeof(list), 0) < 0 && errno == EOPNOTSUPP)
		skip(); /* this file system has no access lists */
	assert_int_equal(scan_directory(&scan, &err), -1);
	assert_non_null(strstr(err.message, "whom its access control list names, may write in a directory of it"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_directory, remove_directory)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(candidates_come_sorted_and_links_are_followed),
		TEST(a_fifo_and_a_long_file_are_passed_over),
		TEST(of_many_domains_those_with_the_certificates_names_are_read),
		TEST(of_many_old_files_the_links_and_the_newest_are_read),
		TEST(big_files_do_not_crowd_out_small_ones),
		TEST(several_paths_are_read_in_their_order),
		TEST(a_missing_path_is_named),
		TEST(an_empty_directory_has_nothing),
		TEST(what_is_neither_file_nor_directory_is_no_path_to_watch),
		TEST(a_directory_that_its_owner_may_not_read_is_told),
		TEST(what_the_owner_may_not_read_is_not_read_for_him),
		TEST(a_file_is_read_with_the_rights_of_who_made_the_link_to_it),
		TEST(a_directory_with_an_access_control_list_is_not_roots_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
