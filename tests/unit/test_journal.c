/* What the root half remembers: no change to the file goes unnoticed. */
#include "agent/root/journal.h"
#include "tests/unit/scratch.h"

static struct content entry(uint32_t number)
{
	struct content e = {.revision = {1, number}, .not_before = 1000, .not_after = 2000 + number};
	memset(e.digest, (int)number + 1, sizeof(e.digest));
	memset(e.leaf, (int)number + 100, sizeof(e.leaf));
	return e;
}

static struct journal sample(void)
{
	struct journal j = {.certificate = "mail.domain.pl", .deadline = 123456789};
	j.served = entry(1);
	j.high_water = entry(4);
	j.staged = entry(3);
	j.pending = entry(2);
	j.previous = entry(1);
	return j;
}

static void what_was_written_is_read(void **state)
{
	const struct scratch *s = *state;
	struct journal j = sample(), got = {0};
	struct error err;
	assert_int_equal(journal_write(s->fd, &j, &err), 0);
	assert_int_equal(journal_read(s->fd, "mail.domain.pl", &got, &err), 1);
	assert_true(content_same(&got.served, &j.served));
	assert_true(content_same(&got.high_water, &j.high_water));
	assert_true(content_same(&got.staged, &j.staged));
	assert_true(content_same(&got.pending, &j.pending));
	assert_true(content_same(&got.previous, &j.previous));
	assert_int_equal(got.served.not_after, 2001);
	assert_int_equal(got.deadline, 123456789);
	assert_int_equal(scratch_mode(s, "mail.domain.pl.journal"), 0600);
}

static void none_is_not_a_damaged_one(void **state)
{
	const struct scratch *s = *state;
	struct journal got;
	struct error err;
	assert_int_equal(journal_read(s->fd, "mail.domain.pl", &got, &err), 0);
}

static int read_changed(const struct scratch *s, const void *data, size_t len)
{
	struct journal got;
	struct error err = {0};
	assert_int_equal(fs_write(s->fd, "mail.domain.pl.journal", data, len, FS_PRIVATE, &err), 0);
	int result = journal_read(s->fd, "mail.domain.pl", &got, &err);
	if (result < 0)
		assert_non_null(strstr(err.message, "journal of mail.domain.pl is damaged"));
	return result;
}

static void every_flipped_bit_and_every_cut_is_noticed(void **state)
{
	const struct scratch *s = *state;
	struct journal j = sample();
	struct error err;
	auto_buf struct buf whole = BUF_INIT(4096);
	assert_int_equal(journal_write(s->fd, &j, &err), 0);
	assert_int_equal(fs_read(s->fd, "mail.domain.pl.journal", false, &whole, &err), 0);
	assert_int_equal(whole.len, JOURNAL_SIZE);
	for (size_t at = 0; at < whole.len; at += 13) {
		whole.data[at] ^= 1u << at % 8;
		assert_int_equal(read_changed(s, whole.data, whole.len), -1);
		whole.data[at] ^= 1u << at % 8;
		assert_int_equal(read_changed(s, whole.data, at), -1);
	}
	assert_int_equal(read_changed(s, whole.data, whole.len), 1);
	buf_put_u8(&whole, 0);
	assert_int_equal(read_changed(s, whole.data, whole.len), -1);
}

static void another_certificates_record_is_not_taken(void **state)
{
	const struct scratch *s = *state;
	struct journal j = sample(), got;
	struct error err;
	journal_write(s->fd, &j, &err);
	assert_int_equal(renameat(s->fd, "mail.domain.pl.journal", s->fd, "www.domain.pl.journal"), 0);
	assert_int_equal(journal_read(s->fd, "www.domain.pl", &got, &err), -1);
	assert_non_null(strstr(err.message, "another certificate's"));
}

static void a_link_or_a_directory_in_its_place_is_not_followed(void **state)
{
	const struct scratch *s = *state;
	struct journal j = sample(), got;
	struct error err;
	journal_write(s->fd, &j, &err);
	assert_int_equal(renameat(s->fd, "mail.domain.pl.journal", s->fd, "elsewhere"), 0);
	assert_int_equal(symlinkat("elsewhere", s->fd, "mail.domain.pl.journal"), 0);
	assert_int_equal(journal_read(s->fd, "mail.domain.pl", &got, &err), -1);
}

#define STORY(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORY(what_was_written_is_read),
		STORY(none_is_not_a_damaged_one),
		STORY(every_flipped_bit_and_every_cut_is_noticed),
		STORY(another_certificates_record_is_not_taken),
		STORY(a_link_or_a_directory_in_its_place_is_not_followed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
