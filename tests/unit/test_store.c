/* Files that must survive a crash, and the store that is made of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hub/daemon/store.h"
#include "lib/core/fs.h"
#include "lib/wire/json.h"
#include "lib/core/mem.h"
#include "tests/unit/issue.h"
#include "tests/unit/scratch.h"

static size_t entries(const char *path)
{
	auto_free char *command = mem_printf("ls -A '%s' | wc -l", path);
	FILE *pipe = popen(command, "r");
	size_t count = 0;
	assert_int_equal(fscanf(pipe, "%zu", &count), 1);
	pclose(pipe);
	return count;
}

static void a_file_is_replaced_whole_with_its_mode(void **state)
{
	struct error err;
	struct stat st;
	auto_free char *path = scratch_path(*state, "file");
	auto_buf struct buf text = BUF_INIT(100);
	assert_int_equal(fs_write(AT_FDCWD, path, "old", 3, FS_PUBLIC, &err), 0);
	assert_int_equal(fs_write(AT_FDCWD, path, "newer", 5, FS_PRIVATE, &err), 0);
	assert_int_equal(fs_read(AT_FDCWD, path, false, &text, &err), 0);
	assert_string_equal(buf_text(&text), "newer");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(entries(((struct scratch *)*state)->path), 1);
}

static void a_failed_write_leaves_nothing_and_changes_nothing(void **state)
{
	struct error err;
	auto_free char *directory = scratch_path(*state, "directory");
	auto_free char *inside = scratch_path(*state, "directory/inside");
	assert_int_equal(mkdir(directory, 0755), 0);
	assert_int_equal(fs_write(AT_FDCWD, inside, "x", 1, FS_PUBLIC, &err), 0);
	/* The target is a directory that is not empty, so that rename(2) refuses. */
	assert_int_equal(fs_write(AT_FDCWD, directory, "x", 1, FS_PUBLIC, &err), -1);
	assert_int_equal(entries(((struct scratch *)*state)->path), 1);
	assert_int_equal(entries(directory), 1);
}

static void what_is_no_regular_file_is_not_read(void **state)
{
	struct error err;
	auto_buf struct buf text = BUF_INIT(100);
	auto_free char *fifo = scratch_path(*state, "fifo");
	auto_free char *link = scratch_path(*state, "link");
	auto_free char *file = scratch_path(*state, "file");
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(fs_read(AT_FDCWD, fifo, true, &text, &err), -1);
	assert_non_null(strstr(err.message, "not a regular file"));
	assert_int_equal(fs_write(AT_FDCWD, file, "text", 4, FS_PUBLIC, &err), 0);
	assert_int_equal(symlink("file", link), 0);
	assert_int_equal(fs_read(AT_FDCWD, link, false, &text, &err), -1);
	assert_int_equal(fs_read(AT_FDCWD, link, true, &text, &err), 0);
	text.max = 7;
	assert_int_equal(fs_read(AT_FDCWD, file, false, &text, &err), -1);
	assert_non_null(strstr(err.message, "longer than"));
}

static void a_tree_is_removed_without_leaving_it(void **state)
{
	struct error err;
	auto_free char *outside = scratch_path(*state, "outside");
	auto_free char *tree = scratch_path(*state, "tree");
	auto_free char *deep = scratch_path(*state, "tree/a/b");
	auto_free char *link = scratch_path(*state, "tree/a/link");
	assert_int_equal(fs_make_directories(deep, 0755, &err), 0);
	assert_int_equal(fs_make_directories(outside, 0755, &err), 0);
	assert_int_equal(symlink("../../outside", link), 0);
	assert_int_equal(fs_remove_tree(AT_FDCWD, tree, &err), 0);
	assert_int_equal(access(tree, F_OK), -1);
	assert_int_equal(access(outside, F_OK), 0);
	assert_int_equal(fs_remove_tree(AT_FDCWD, tree, &err), 0);
}

/* The tests from here on are about the store. */

static struct chain test_chain(const char *name)
{
	auto_free char *san = mem_printf("DNS:%s", name);
	struct issued leaf = issue((struct wish){.subject = name, .san = san});
	struct chain c = issued_chain(&leaf, NULL, 0);
	issued_release(&leaf);
	return c;
}

static struct store *open_store(const struct scratch *scratch)
{
	struct error err;
	struct store *s = store_open(scratch->path, &err);
	if (!s)
		fail_msg("%s", err.message);
	return s;
}

static struct revision publish(struct store *s, const struct chain *c)
{
	struct error err;
	struct revision r;
	struct manifest meta = {.source = "import", .reason = "test", .flags = 1};
	if (store_publish(s, "mail.domain.pl", c, 1, &meta, &r, &err) < 0)
		fail_msg("%s", err.message);
	return r;
}

static void a_second_hub_is_refused(void **state)
{
	struct error err;
	struct store *first = open_store(*state);
	assert_null(store_open(((struct scratch *)*state)->path, &err));
	assert_int_equal(err.kind, ERROR_USAGE);
	assert_non_null(strstr(err.message, "another hub"));
	store_close(first);
	store_close(open_store(*state));
}

static void what_is_published_is_loaded_and_every_revision_kept(void **state)
{
	struct error err;
	auto_chain struct chain c = test_chain("mail.domain.pl");
	auto_chain struct chain d = test_chain("mail.domain.pl");
	auto_manifest struct manifest m = {0};
	struct chain pairs[STORE_PAIRS_MAX] = {0};
	size_t count;
	struct store *s = open_store(*state);
	assert_int_equal(store_current(s, "mail.domain.pl", &m, &err), 0);
	struct revision first = publish(s, &c);
	struct revision second = publish(s, &d);
	assert_int_equal(first.epoch, 1);
	assert_int_equal(first.number, 1);
	assert_true(revision_compare(second, first) > 0);
	assert_int_equal(store_current(s, "mail.domain.pl", &m, &err), 1);
	assert_int_equal(revision_compare(m.content.revision, second), 0);
	assert_string_equal(m.source, "import");
	assert_string_equal(m.names[0], "mail.domain.pl");
	manifest_release(&m);
	assert_int_equal(store_load(s, "mail.domain.pl", first, pairs, &count, &m, &err), 0);
	assert_int_equal(count, 1);
	assert_int_equal(X509_cmp(pairs[0].leaf, c.leaf), 0);
	assert_int_equal(EVP_PKEY_eq(pairs[0].key, c.key), 1);
	chain_release(&pairs[0]);
	store_close(s);
}

static void a_publish_that_was_cut_short_never_gives_its_number_out_again(void **state)
{
	struct error err;
	auto_chain struct chain c = test_chain("mail.domain.pl");
	auto_manifest struct manifest m = {0};
	auto_free char *unfinished = scratch_path(*state, "certificates/mail.domain.pl/.unfinished-1.2");
	auto_free char *complete = scratch_path(*state, "certificates/mail.domain.pl/1.5");
	struct store *s = open_store(*state);
	publish(s, &c);
	assert_int_equal(mkdir(unfinished, 0700), 0);
	assert_int_equal(mkdir(complete, 0700), 0); /* the hub was killed after the rename and before `current` moved */
	store_close(s);
	s = open_store(*state);
	assert_int_equal(access(unfinished, F_OK), -1);
	assert_int_equal(store_current(s, "mail.domain.pl", &m, &err), 1);
	assert_int_equal(m.content.revision.number, 1);
	assert_int_equal(publish(s, &c).number, 6);
	store_close(s);
}

static void a_changed_file_is_noticed(void **state)
{
	struct error err;
	auto_chain struct chain c = test_chain("mail.domain.pl");
	auto_chain struct chain other = test_chain("mail.domain.pl");
	auto_manifest struct manifest m = {0};
	auto_buf struct buf pem = BUF_INIT(CHAIN_PEM_MAX);
	struct chain pairs[STORE_PAIRS_MAX] = {0};
	size_t count;
	auto_free char *path = scratch_path(*state, "certificates/mail.domain.pl/1.1/fullchain.pem");
	struct store *s = open_store(*state);
	struct revision r = publish(s, &c);
	assert_int_equal(chain_write_pem(&other, CHAIN_LEAF, &pem, &err), 0);
	assert_int_equal(fs_write(AT_FDCWD, path, pem.data, pem.len, FS_PRIVATE, &err), 0);
	assert_int_equal(store_load(s, "mail.domain.pl", r, pairs, &count, &m, &err), -1);
	assert_non_null(strstr(err.message, "digest"));
	store_close(s);
}

/* Each value of the manifest is missing, or of another kind: it is named, and no other revision is touched by it. */
static void a_damaged_manifest_is_told_by_what_is_wrong(void **state)
{
	struct error err;
	auto_chain struct chain c = test_chain("mail.domain.pl");
	auto_chain struct chain d = test_chain("mail.domain.pl");
	struct chain pairs[STORE_PAIRS_MAX] = {0};
	size_t count;
	struct store *s = open_store(*state);
	struct revision first = publish(s, &c), second = publish(s, &d);
	auto_free char *path = scratch_path(*state, "certificates/mail.domain.pl/1.2/manifest.json");
	auto_buf struct buf text = BUF_INIT(64 * 1024);
	assert_int_equal(fs_read(AT_FDCWD, path, false, &text, &err), 0);
	auto_json cJSON *whole = json_parse(text.data, text.len, &err);
	const cJSON *member;
	cJSON_ArrayForEach (member, whole) {
		for (int wrong = 0; wrong < 3; wrong++) {
			auto_manifest struct manifest m = {0};
			auto_json cJSON *damaged = cJSON_Duplicate(whole, true);
			buf_reset(&text);
			if (wrong == 0)
				cJSON_DeleteItemFromObjectCaseSensitive(damaged, member->string);
			else
				cJSON_ReplaceItemInObjectCaseSensitive(damaged, member->string,
					wrong == 1 ? cJSON_CreateTrue() : cJSON_CreateIntArray((const int[]){7}, 1));
			assert_int_equal(json_print(damaged, &text), 0);
			assert_int_equal(fs_write(AT_FDCWD, path, text.data, text.len, FS_PRIVATE, &err), 0);
			assert_int_equal(store_current(s, "mail.domain.pl", &m, &err), -1);
			if (!strstr(err.message, member->string))
				print_error("%s: %s\n", member->string, err.message);
			assert_non_null(strstr(err.message, member->string));
			assert_non_null(strstr(err.message, "mail.domain.pl/1.2/manifest.json"));
			assert_int_equal(store_load(s, "mail.domain.pl", second, pairs, &count, &m, &err), -1);
		}
	}
	static const char *const texts[][2] = {
		{"revision", "latest"}, {"digest", "abc"}, {"fingerprint", "zz"}, {"second", "1"}};
	for (size_t i = 0; i < COUNT(texts); i++) {
		auto_manifest struct manifest m = {0};
		auto_json cJSON *damaged = cJSON_Duplicate(whole, true);
		cJSON_DeleteItemFromObjectCaseSensitive(damaged, texts[i][0]);
		cJSON_AddStringToObject(damaged, texts[i][0], texts[i][1]);
		buf_reset(&text);
		assert_int_equal(json_print(damaged, &text), 0);
		assert_int_equal(fs_write(AT_FDCWD, path, text.data, text.len, FS_PRIVATE, &err), 0);
		assert_int_equal(store_current(s, "mail.domain.pl", &m, &err), -1);
		assert_non_null(strstr(err.message, texts[i][0]));
	}
	auto_manifest struct manifest m = {0};
	assert_int_equal(store_manifest(s, "mail.domain.pl", first, &m, &err), 1);
	/* The link `current` leads to no revision. */
	auto_free char *current = scratch_path(*state, "certificates/mail.domain.pl/current");
	for (const char *const *target = (const char *const[]){"/etc", "latest", NULL}; *target; target++) {
		auto_manifest struct manifest ignored = {0};
		assert_int_equal(unlink(current), 0);
		assert_int_equal(symlink(*target, current), 0);
		assert_int_equal(store_current(s, "mail.domain.pl", &ignored, &err), -1);
		assert_non_null(strstr(err.message, "which is no revision: point it at one"));
	}
	assert_int_equal(unlink(current), 0);
	assert_int_equal(mkdir(current, 0700), 0);
	assert_int_equal(store_current(s, "mail.domain.pl", &m, &err), -1);
	assert_non_null(strstr(err.message, "cannot read the link"));
	store_close(s);
}

static void records_are_put_got_and_dropped(void **state)
{
	struct error err;
	struct stat st;
	auto_buf struct buf text = BUF_INIT(100);
	auto_free char *path = scratch_path(*state, "records/acme/letsencrypt/account.key");
	struct store *s = open_store(*state);
	assert_int_equal(store_get(s, "acme", "letsencrypt", "account.key", &text, &err), 0);
	assert_int_equal(store_drop(s, "acme", "letsencrypt", &err), 0);
	assert_int_equal(store_put(s, "acme", "letsencrypt", "account.key", "secret", 6, &err), 0);
	assert_int_equal(store_get(s, "acme", "letsencrypt", "account.key", &text, &err), 1);
	assert_string_equal(buf_text(&text), "secret");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(store_drop(s, "acme", "letsencrypt", &err), 0);
	assert_int_equal(store_get(s, "acme", "letsencrypt", "account.key", &text, &err), 0);
	store_close(s);
}

static void what_is_noted_as_damaged_is_noted_once_a_day(void **state)
{
	size_t count;
	struct store *s = open_store(*state);
	assert_true(store_note_damage(s, "things", "a", "b.json", "cut short", 1000));
	assert_false(store_note_damage(s, "things", "a", "b.json", "cut short", 1000 + STORE_DAMAGE_TOLD - 1));
	assert_true(store_note_damage(s, "things", "a", "c.json", "cut short", 1000));
	assert_true(store_note_damage(s, "things", "a", "b.json", "a bit has changed", 1000 + STORE_DAMAGE_TOLD));
	const struct store_damage *damages = store_damages(s, &count);
	assert_int_equal(count, 2);
	assert_string_equal(damages[0].record, "things/a/c.json");
	assert_string_equal(damages[1].record, "things/a/b.json");
	assert_string_equal(damages[1].text, "a bit has changed");
	for (int i = 0; i < 100; i++) {
		auto_free char *name = mem_printf("%d", i);
		assert_true(store_note_damage(s, "many", name, "b.json", "cut short", 2000));
	}
	damages = store_damages(s, &count);
	assert_int_equal(count, 64);
	assert_string_equal(damages[63].record, "many/99/b.json"); /* the newest are kept */
	store_close(s);
}

#define IN_PLACE(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_PLACE(a_file_is_replaced_whole_with_its_mode),
		IN_PLACE(a_failed_write_leaves_nothing_and_changes_nothing),
		IN_PLACE(what_is_no_regular_file_is_not_read),
		IN_PLACE(a_tree_is_removed_without_leaving_it),
		IN_PLACE(a_second_hub_is_refused),
		IN_PLACE(what_is_noted_as_damaged_is_noted_once_a_day),
		IN_PLACE(what_is_published_is_loaded_and_every_revision_kept),
		IN_PLACE(a_publish_that_was_cut_short_never_gives_its_number_out_again),
		IN_PLACE(a_changed_file_is_noticed),
		IN_PLACE(a_damaged_manifest_is_told_by_what_is_wrong),
		IN_PLACE(records_are_put_got_and_dropped),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
