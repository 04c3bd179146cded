/* The gate account's authorized_keys: our lines are rewritten, and the administrator's are left alone. */
#include "hub/root/authorized_keys.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define KEY_A "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g"
#define KEY_B "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICAfHh0cGxoZGBcWFRQTEhEQDw4NDAsKCQgHBgUEAwIB"

#define KEY_C "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMD"

#define MARK_A "CQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g"
#define MARK_B "GBcWFRQTEhEQDw4NDAsKCQgHBgUEAwIB"
#define MARK_C "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMD"

static const struct hub_key two[] = {{"mail", KEY_A, HUB_KEY_AGENT, 0}, {"backup1", KEY_B, HUB_KEY_AGENT, 0}};

static void lines_of_others_stay_in_front_of_ours(void **state)
{
	(void)state;
	struct error err;
	auto_buf struct buf out = BUF_INIT(8192);
	assert_int_equal(authorized_keys_render("# mine\n"
						"# certsync:comment\n"
						"restrict,command=\"gone\" " KEY_A " certsync:gone\n"
						"ssh-ed25519 AAAA admin@desk\n"
						"\n"
						"restrict,command=\"mail\" " KEY_B " certsync:mail  \r\n"
						"ssh-rsa AAAA no newline at the end",
				 two, 2, &out, &err),
		0);
	assert_string_equal(buf_text(&out),
		"# mine\n"
		"# certsync:comment\n"
		"ssh-ed25519 AAAA admin@desk\n"
		"\n"
		"ssh-rsa AAAA no newline at the end\n"
		"restrict,command=\"backup1:" MARK_B "\" " KEY_B " certsync:backup1\n"
		"restrict,command=\"mail:" MARK_A "\" " KEY_A " certsync:mail\n");
}

static void one_key_for_two_agents_is_refused(void **state)
{
	(void)state;
	struct error err;
	auto_buf struct buf out = BUF_INIT(8192);
	const struct hub_key cloned[] = {{"mail", KEY_A, HUB_KEY_AGENT, 0}, {"backup1", KEY_B, HUB_KEY_AGENT, 0},
		{"clone", KEY_A, HUB_KEY_AGENT, 0}};
	assert_int_equal(authorized_keys_render("", cloned, 3, &out, &err), -1);
	assert_non_null(strstr(err.message, "have the same SSH key"));
	const struct hub_key doubled[] = {{"mail", KEY_A, HUB_KEY_AGENT, 0}, {"mail", KEY_A, HUB_KEY_JOIN, 1700000000}};
	assert_int_equal(authorized_keys_render("", doubled, 2, &out, &err), -1);
}

static void a_key_that_joins_ends_by_itself_and_stands_beside_others(void **state)
{
	(void)state;
	struct error err;
	auto_buf struct buf out = BUF_INIT(8192);
	static const struct hub_key keys[] = {{"mail", KEY_A, HUB_KEY_JOIN, 1700000000},
		{"mail", KEY_B, HUB_KEY_AGENT, 0}, {"mail", KEY_C, HUB_KEY_AGENT, 0}};
	/* The expiry is read by this machine's sshd, in the machine's time zone. */
	setenv("TZ", "Europe/Warsaw", 1);
	tzset();
	assert_int_equal(authorized_keys_render("", keys, 3, &out, &err), 0);
	assert_string_equal(buf_text(&out),
		"restrict,command=\"mail:" MARK_C "\" " KEY_C " certsync:mail\n"
		"restrict,command=\"mail:" MARK_B "\" " KEY_B " certsync:mail\n"
		"restrict,expiry-time=\"20231114231320\",command=\"join:mail\" " KEY_A " certsync:mail\n");
	unsetenv("TZ");
	tzset();
}

/* The daemon cannot read what it has of `mail`. */
static void lines_that_are_kept_stay_as_they_are(void **state)
{
	(void)state;
	struct error err;
	auto_buf struct buf out = BUF_INIT(8192), again = BUF_INIT(8192), none = BUF_INIT(8192);
	static const char old[] =
		"# certsync:mail\n"
		"restrict,command=\"backup1:" MARK_B "\" " KEY_B " certsync:backup1\n"
		"restrict,command=\"mail:" MARK_A "\" " KEY_A " certsync:mail\n"
		"restrict,command=\"mail:x\" certsync:mail\n"
		"restrict,expiry-time=\"20231114231320\",command=\"join:mail\" " KEY_C " certsync:mail\n"
		"restrict,command=\"mailing:x\" ssh-rsa AAAA certsync:mailing\n";
	static const char kept[] = "# certsync:mail\n"
				   "restrict,command=\"mail:" MARK_A "\" " KEY_A " certsync:mail\n"
				   "restrict,command=\"mail:x\" certsync:mail\n"
				   "restrict,command=\"backup1:" MARK_C "\" " KEY_C " certsync:backup1\n";
	const struct hub_key keys[] = {{"mail", "", HUB_KEY_AGENT_KEPT, 0}, {"backup1", KEY_C, HUB_KEY_AGENT, 0}};
	assert_int_equal(authorized_keys_render(old, keys, 2, &out, &err), 0);
	assert_string_equal(buf_text(&out), kept);
	assert_int_equal(authorized_keys_render(kept, keys, 2, &again, &err), 0);
	assert_string_equal(buf_text(&again), kept);
	/* Of what is kept, too, nobody else may have the key. */
	const struct hub_key cloned[] = {{"mail", "", HUB_KEY_AGENT_KEPT, 0}, {"backup1", KEY_A, HUB_KEY_AGENT, 0}};
	assert_int_equal(authorized_keys_render(old, cloned, 2, &none, &err), -1);
	assert_non_null(strstr(err.message, "have the same SSH key"));
	buf_reset(&none);
	const struct hub_key joins[] = {{"mail", "", HUB_KEY_JOIN_KEPT, 0}};
	assert_int_equal(authorized_keys_render(old, joins, 1, &none, &err), 0);
	assert_string_equal(buf_text(&none),
		"# certsync:mail\n"
		"restrict,expiry-time=\"20231114231320\",command=\"join:mail\" " KEY_C " certsync:mail\n");
}

static void file_and_directories_are_made_as_sshd_wants_them(void **state)
{
	(void)state;
	char directory[] = P_tmpdir "/certsync-test-XXXXXX";
	assert_non_null(mkdtemp(directory));
	auto_free char *path = mem_printf("%s/gate/.ssh/authorized_keys", directory);
	auto_free char *parent = mem_printf("%s/gate/.ssh", directory);
	struct error err;
	struct stat st;
	assert_int_equal(authorized_keys_write(path, two, 2, &err), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(st.st_uid, geteuid());
	assert_int_equal(stat(parent, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	assert_int_equal(fs_remove_tree(AT_FDCWD, directory, &err), 0);
}

static void an_unchanged_file_is_not_written_again(void **state)
{
	(void)state;
	char directory[] = P_tmpdir "/certsync-test-XXXXXX";
	assert_non_null(mkdtemp(directory));
	auto_free char *path = mem_printf("%s/authorized_keys", directory);
	struct error err;
	struct stat first, second;
	assert_int_equal(authorized_keys_write(path, two, 2, &err), 0);
	assert_int_equal(stat(path, &first), 0);
	assert_int_equal(authorized_keys_write(path, two, 2, &err), 0);
	assert_int_equal(stat(path, &second), 0);
	assert_int_equal(first.st_ino, second.st_ino);
	assert_int_equal(authorized_keys_write(path, two, 1, &err), 0);
	assert_int_equal(stat(path, &second), 0);
	assert_int_not_equal(first.st_ino, second.st_ino);
	assert_int_equal(fs_remove_tree(AT_FDCWD, directory, &err), 0);
}

static void a_file_with_a_nul_byte_is_left(void **state)
{
	(void)state;
	char directory[] = P_tmpdir "/certsync-test-XXXXXX";
	static const char text[] = "ssh-ed25519 AAAA admin@desk\n\0\nssh-ed25519 AAAA other@desk\n";
	assert_non_null(mkdtemp(directory));
	auto_free char *path = mem_printf("%s/authorized_keys", directory);
	auto_buf struct buf now = BUF_INIT(8192);
	struct error err;
	assert_int_equal(fs_write(AT_FDCWD, path, text, sizeof(text) - 1, FS_PUBLIC, &err), 0);
	assert_int_equal(authorized_keys_write(path, two, 2, &err), -1);
	assert_non_null(strstr(err.message, "has a NUL byte"));
	assert_int_equal(fs_read(AT_FDCWD, path, false, &now, &err), 0);
	assert_int_equal(now.len, sizeof(text) - 1);
	assert_int_equal(fs_remove_tree(AT_FDCWD, directory, &err), 0);
}

static void what_a_killed_write_has_left_goes_with_the_next(void **state)
{
	(void)state;
	char directory[] = P_tmpdir "/certsync-test-XXXXXX";
	assert_non_null(mkdtemp(directory));
	auto_free char *path = mem_printf("%s/authorized_keys", directory);
	auto_free char *left = mem_printf("%s/" FS_TEMPORARY "authorized_keys.52ebd28b", directory);
	struct error err;
	assert_int_equal(fs_write(AT_FDCWD, left, "restr", 5, FS_PUBLIC, &err), 0);
	assert_int_equal(authorized_keys_write(path, two, 2, &err), 0);
	assert_int_equal(access(left, F_OK), -1);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(fs_remove_tree(AT_FDCWD, directory, &err), 0);
}

static void a_directory_that_others_may_write_is_refused(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip(); /* sshd demands this of files of root only */
	char directory[] = P_tmpdir "/certsync-test-XXXXXX";
	assert_non_null(mkdtemp(directory));
	auto_free char *path = mem_printf("%s/authorized_keys", directory);
	struct error err;
	assert_int_equal(chmod(directory, 0775), 0);
	assert_int_equal(authorized_keys_write(path, two, 2, &err), -1);
	assert_non_null(strstr(err.message, "is not root's alone to write"));
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(fs_remove_tree(AT_FDCWD, directory, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_of_others_stay_in_front_of_ours),
		cmocka_unit_test(one_key_for_two_agents_is_refused),
		cmocka_unit_test(a_key_that_joins_ends_by_itself_and_stands_beside_others),
		cmocka_unit_test(lines_that_are_kept_stay_as_they_are),
		cmocka_unit_test(file_and_directories_are_made_as_sshd_wants_them),
		cmocka_unit_test(an_unchanged_file_is_not_written_again),
		cmocka_unit_test(a_file_with_a_nul_byte_is_left),
		cmocka_unit_test(what_a_killed_write_has_left_goes_with_the_next),
		cmocka_unit_test(a_directory_that_others_may_write_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
