/* Directories that are watched for somebody else's changes, while it changes, too, which of them matter. */
#include "agent/root/watch.h"
#include "lib/core/mem.h"
#include "tests/unit/scratch.h"

static struct watch *start(void)
{
	struct error err;
	struct watch *w = watch_new(&err);
	assert_non_null(w);
	return w;
}

static void add(struct watch *w, const struct scratch *s, const char *directory, const char *name)
{
	struct error err;
	auto_free char *path = mem_printf("%s/%s", s->path, directory);
	assert_int_equal(watch_add(w, path, name, &err), 0);
}

static void a_watch_that_is_added_again_goes_on(void **state)
{
	struct scratch *s = *state;
	struct watch *w = start();
	mkdirat(s->fd, "a", 0700);
	add(w, s, "a", "x");
	add(w, s, "a", "y");
	for (int i = 0; i < 3; i++) {
		watch_begin(w);
		add(w, s, "a", "y");
		watch_end(w);
		assert_false(watch_read(w));
	}
	scratch_write(s, "a/x", "x", 0600);
	assert_false(watch_read(w));
	scratch_write(s, "a/y", "y", 0600);
	assert_true(watch_read(w));
	watch_free(w);
}

static void one_that_is_not_has_ended(void **state)
{
	struct scratch *s = *state;
	struct watch *w = start();
	mkdirat(s->fd, "a", 0700);
	mkdirat(s->fd, "b", 0700);
	add(w, s, "a", NULL);
	add(w, s, "b", NULL);
	watch_begin(w);
	add(w, s, "b", NULL);
	watch_end(w);
	scratch_write(s, "a/x", "x", 0600);
	assert_false(watch_read(w));
	scratch_write(s, "b/x", "x", 0600);
	assert_true(watch_read(w));
	watch_free(w);
}

static void a_directory_in_the_place_of_another_is_watched_instead(void **state)
{
	struct scratch *s = *state;
	struct watch *w = start();
	mkdirat(s->fd, "a", 0700);
	add(w, s, "a", NULL);
	assert_int_equal(renameat(s->fd, "a", s->fd, "old"), 0);
	mkdirat(s->fd, "a", 0700);
	assert_true(watch_read(w));
	watch_begin(w);
	add(w, s, "a", NULL);
	watch_end(w);
	scratch_write(s, "old/x", "x", 0600);
	assert_false(watch_read(w));
	scratch_write(s, "a/x", "x", 0600);
	assert_true(watch_read(w));
	watch_free(w);
}

static void one_that_was_removed_and_made_again_too(void **state)
{
	struct scratch *s = *state;
	struct watch *w = start();
	mkdirat(s->fd, "a", 0700);
	add(w, s, "a", NULL);
	assert_int_equal(unlinkat(s->fd, "a", AT_REMOVEDIR), 0);
	mkdirat(s->fd, "a", 0700);
	assert_true(watch_read(w));
	watch_begin(w);
	add(w, s, "a", NULL);
	watch_end(w);
	assert_false(watch_read(w));
	scratch_write(s, "a/x", "x", 0600);
	assert_true(watch_read(w));
	watch_free(w);
}

#define STORY(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORY(a_watch_that_is_added_again_goes_on),
		STORY(one_that_is_not_has_ended),
		STORY(a_directory_in_the_place_of_another_is_watched_instead),
		STORY(one_that_was_removed_and_made_again_too),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
