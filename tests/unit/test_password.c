/* The file with the password of a PKCS#12 file: what is taken, and what is wrong with every other. */
#include "agent/common/password.h"
#include "tests/unit/scratch.h"

#define READ(s, ret, err) read_from(s, "password", ret, err)

static int read_from(const struct scratch *s, const char *file, struct buf *ret, struct error *err)
{
	auto_free char *path = scratch_path(s, file);
	return password_read(path, ret, err);
}

static void one_line_is_the_password(void **state)
{
	static const char *const texts[] = {"correct horse", "correct horse\n"};
	for (size_t i = 0; i < COUNT(texts); i++) {
		auto_buf struct buf got = BUF_INIT(PASSWORD_MAX);
		struct error err;
		scratch_write(*state, "password", texts[i], i ? 0400 : 0600);
		assert_int_equal(READ(*state, &got, &err), 0);
		assert_string_equal(buf_text(&got), "correct horse");
	}
}

static void refused(void **state, const char *text, mode_t mode, const char *reason)
{
	auto_buf struct buf got = BUF_INIT(PASSWORD_MAX);
	struct error err;
	scratch_write(*state, "password", text, mode);
	assert_int_equal(READ(*state, &got, &err), -1);
	assert_non_null(strstr(err.message, reason));
	assert_non_null(strstr(err.message, "/password"));
	assert_true(!text[0] || !strstr(err.message, text));
	assert_int_equal(got.len, 0);
}

static void a_password_that_readers_would_not_take_is_named(void **state)
{
	char longest[PASSWORD_MAX + 2];
	auto_buf struct buf got = BUF_INIT(PASSWORD_MAX);
	struct error err;
	refused(state, "", 0600, "has 6 to 128 characters");
	refused(state, "\n", 0600, "has 6 to 128 characters");
	refused(state, "fivec", 0600, "has 6 to 128 characters");
	refused(state, "correct horse\n\n", 0600, "more than one line");
	refused(state, "correct\nhorse\n", 0600, "more than one line");
	refused(state, "correct horse\r\n", 0600, "more than one line");
	refused(state, "kon na \305\202\304\205ce", 0600, "printable ASCII");
	memset(longest, 'x', sizeof(longest));
	longest[PASSWORD_MAX + 1] = '\0';
	refused(state, longest, 0600, "has 6 to 128 characters");
	longest[PASSWORD_MAX] = '\0';
	scratch_write(*state, "password", longest, 0600);
	assert_int_equal(READ(*state, &got, &err), 0);
	assert_string_equal(buf_text(&got), longest);
	auto_free char *endless = mem_alloc(5000);
	memset(endless, 'x', 4999);
	refused(state, endless, 0600, "is longer than");
}

static void a_file_that_is_not_root_s_alone_is_refused(void **state)
{
	const struct scratch *s = *state;
	auto_buf struct buf got = BUF_INIT(PASSWORD_MAX);
	struct error err;
	static const mode_t open[] = {0640, 0604, 0610, 0601};
	for (size_t i = 0; i < COUNT(open); i++)
		refused(state, "correct horse", open[i], "is open to others than its owner: chmod 600 ");
	refused(state, "correct horse", 0620, "can be written by");
	assert_int_equal(unlinkat(s->fd, "password", 0), 0);
	assert_int_equal(READ(s, &got, &err), -1);
	assert_non_null(strstr(err.message, "No such file"));
	scratch_write(s, "elsewhere", "correct horse", 0600);
	assert_int_equal(symlinkat("elsewhere", s->fd, "password"), 0);
	assert_int_equal(READ(s, &got, &err), -1);
	assert_non_null(strstr(err.message, "is not a regular file: name the file itself"));
	assert_int_equal(unlinkat(s->fd, "password", 0), 0);
	assert_int_equal(mkfifoat(s->fd, "password", 0600), 0);
	assert_int_equal(READ(s, &got, &err), -1);
	assert_non_null(strstr(err.message, "is not a regular file"));
	assert_int_equal(got.len, 0);
}

static void a_file_or_a_directory_of_another_s_is_refused(void **state)
{
	const struct scratch *s = *state;
	auto_buf struct buf got = BUF_INIT(PASSWORD_MAX);
	struct error err;
	if (geteuid() != 0)
		skip(); /* only root can give a file to somebody else */
	scratch_write(s, "password", "correct horse", 0600);
	assert_int_equal(fchownat(s->fd, "password", 65534, 65534, 0), 0);
	assert_int_equal(READ(s, &got, &err), -1);
	assert_non_null(strstr(err.message, "belongs to user 65534"));
	assert_int_equal(fchownat(s->fd, "password", 0, 0, 0), 0);
	assert_int_equal(mkdirat(s->fd, "his", 0700), 0);
	scratch_write(s, "his/password", "correct horse", 0600);
	assert_int_equal(fchownat(s->fd, "his", 65534, 65534, 0), 0);
	assert_int_equal(read_from(s, "his/password", &got, &err), -1);
	assert_non_null(strstr(err.message, "his belongs to user 65534"));
	assert_int_equal(got.len, 0);
}

#define STORY(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORY(one_line_is_the_password),
		STORY(a_password_that_readers_would_not_take_is_named),
		STORY(a_file_that_is_not_root_s_alone_is_refused),
		STORY(a_file_or_a_directory_of_another_s_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
