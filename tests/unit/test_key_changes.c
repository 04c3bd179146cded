/* Who changed which agent's keys: each change is written down before it is done, the record is bounded, kept and told;
 * and a session is known by the key that it used. */
#include "tests/unit/hub_scene.h"

#include "hub/daemon/agents/enroll.h"
#include "hub/daemon/agents/join_line.h"
#include "hub/daemon/alert/collect.h"
#include "hub/daemon/agents/enrolment.h"
#include "lib/core/base64.h"

#define SSH "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI"
#define KEY_A SSH "AECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g"
#define KEY_B SSH "CAfHh0cGxoZGBcWFRQTEhEQDw4NDAsKCQgHBgUEAwIB"
#define KEY_C SSH "AMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMD"

static const uint8_t seal_a[SEAL_KEY_SIZE] = "a", seal_b[SEAL_KEY_SIZE] = "b", seal_c[SEAL_KEY_SIZE] = "c";

static int setup(void **state)
{
	struct hub_scene *s = mem_alloc(sizeof(*s));
	*state = s;
	if (!hub_scene_begin(s, ""))
		return -1;
	fleet_open(&s->hub);
	return 0;
}

static int teardown(void **state)
{
	hub_scene_end(*state);
	free(*state);
	return 0;
}

static int give(struct hub *hub, const char *ssh, const uint8_t seal[SEAL_KEY_SIZE], bool replace)
{
	struct error err;
	auto_buf struct buf line = BUF_INIT(1024), text = BUF_INIT(64);
	base64_encode(seal, SEAL_KEY_SIZE, &text);
	buf_addf(&line, "certsync-agent:1 %s x25519:%s", ssh, buf_text(&text));
	int result = enroll_add(hub, "mail", buf_text(&line), replace, 0, &err);
	assert_true(result == 0 || err.kind == ERROR_USAGE);
	return result;
}

/* Returns 0 when the agent has no such key, 1 when it is the present one and 2 when it is the next one, and then also
 * the sealing key that goes with it. */
static int standing(struct hub *hub, const char *ssh, uint8_t ret_seal[SEAL_KEY_SIZE])
{
	struct error err;
	struct enrolled_key key;
	char mark[HUB_KEY_MARK_MAX];
	if (ssh)
		hub_key_mark(ssh, mark);
	int found = enrolment_find_key(hub, "mail", ssh ? mark : NULL, &key, &err);
	assert_true(found >= 0);
	if (found)
		memcpy(ret_seal, key.seal, SEAL_KEY_SIZE);
	return found ? 1 + key.next : 0;
}

static const struct key_change *last(struct hub *hub, size_t count_wanted)
{
	size_t count;
	const struct key_change *list = key_changes(hub, &count);
	assert_int_equal(count, count_wanted);
	return &list[count - 1];
}

static void keys_are_replaced_only_by_saying_so(void **state)
{
	struct hub *hub = &((struct hub_scene *)*state)->hub;
	uint8_t seal[SEAL_KEY_SIZE];
	assert_int_equal(give(hub, KEY_A, seal_a, false), 0);
	assert_int_equal(give(hub, KEY_A, seal_a, false), 0); /* giving the same keys once more is no change */
	assert_string_equal(last(hub, 1)->before, "none");
	/* With another sealing key beside the same SSH key, somebody else could open what is meant for the agent. */
	assert_int_equal(give(hub, KEY_A, seal_b, false), -1);
	assert_int_equal(give(hub, KEY_B, seal_b, false), -1);
	assert_int_equal(standing(hub, KEY_A, seal), 1);
	assert_memory_equal(seal, seal_a, SEAL_KEY_SIZE);
	assert_int_equal(give(hub, KEY_B, seal_b, true), 0);
	assert_int_equal(standing(hub, KEY_A, seal), 0);
	assert_int_equal(standing(hub, KEY_B, seal), 1);
	assert_memory_equal(seal, seal_b, SEAL_KEY_SIZE);
	assert_string_equal(last(hub, 2)->what, "its keys were given by hand, by root (uid 0)");
	assert_non_null(strstr(last(hub, 2)->before, "SSH key SHA256:"));
	assert_string_not_equal(last(hub, 2)->before, last(hub, 2)->after);
}

static void what_was_taken_away_comes_back_only_by_saying_so(void **state)
{
	struct hub *hub = &((struct hub_scene *)*state)->hub;
	struct error err;
	uint8_t seal[SEAL_KEY_SIZE];
	assert_int_equal(give(hub, KEY_A, seal_a, false), 0);
	assert_int_equal(enroll_remove(hub, "mail", 0, &err), 0);
	assert_string_equal(last(hub, 2)->after, "none");
	assert_int_equal(standing(hub, KEY_A, seal), 0);
	assert_int_equal(give(hub, KEY_A, seal_c, false), -1);
	assert_int_equal(give(hub, KEY_C, seal_a, false), -1);
	assert_int_equal(give(hub, KEY_C, seal_c, false), 0);
	assert_int_equal(enroll_remove(hub, "mail", 0, &err), 0);
	assert_int_equal(give(hub, KEY_C, seal_c, true), 0);
}

static void the_next_key_is_proven_by_itself_alone(void **state)
{
	struct hub *hub = &((struct hub_scene *)*state)->hub;
	struct error err;
	struct enrolment e;
	char mark[HUB_KEY_MARK_MAX];
	uint8_t seal[SEAL_KEY_SIZE];
	assert_int_equal(give(hub, KEY_A, seal_a, false), 0);
	assert_int_equal(enroll_rotate(hub, "mail", 0, &err), 0);
	assert_int_equal(enrolment_find(hub, "mail", &e, &err), 1);
	assert_true(e.rotation > 0 && !e.rotates);
	assert_int_equal(enroll_keys(hub, "mail", KEY_B, seal_b, true, 0, &err), 0);
	/* Until the next key was proven, each of the two opens what is sealed to its own sealing key, and nobody is
	 * locked out. */
	assert_int_equal(standing(hub, KEY_A, seal), 1);
	assert_memory_equal(seal, seal_a, SEAL_KEY_SIZE);
	assert_int_equal(standing(hub, KEY_B, seal), 2);
	assert_memory_equal(seal, seal_b, SEAL_KEY_SIZE);
	hub_key_mark(KEY_A, mark);
	assert_int_equal(enroll_prove(hub, "mail", mark), 0); /* logging in with the old key proves nothing */
	assert_int_equal(standing(hub, KEY_A, seal), 1);
	hub_key_mark(KEY_B, mark);
	assert_int_equal(enroll_prove(hub, "mail", mark), 0);
	assert_int_equal(standing(hub, KEY_A, seal), 0);
	assert_int_equal(standing(hub, KEY_B, seal), 1);
	assert_int_equal(enrolment_find(hub, "mail", &e, &err), 1);
	assert_true(!e.rotation && !e.rotates);
	assert_non_null(strstr(last(hub, 3)->what, "its new keys were seen to work"));
}

static const struct condition *look(struct hub *hub, const struct condition_book *book, int64_t now,
	enum condition_kind kind, struct conditions *found)
{
	int64_t next;
	auto_situation struct situation situation;
	conditions_release(found);
	situation_take(hub, now, false, &situation);
	alert_collect(&situation, book, now, found, &next);
	for (size_t i = 0; i < found->count; i++)
		if (found->list[i].kind == kind)
			return &found->list[i];
	return NULL;
}

static void a_person_is_told_of_each_change(void **state)
{
	struct hub *hub = &((struct hub_scene *)*state)->hub;
	struct condition_book book = {0};
	auto_conditions struct conditions found = {0};
	char subject[] = "mail #1", text[] = "";
	int64_t now = clock_wall();
	assert_int_equal(give(hub, KEY_A, seal_a, false), 0);
	/* The record is kept over a restart. */
	key_changes_close(hub);
	key_changes_open(hub);
	const struct condition *c = look(hub, &book, now, CONDITION_KEYS, &found);
	assert_non_null(c);
	assert_string_equal(c->subject, subject);
	assert_non_null(strstr(c->text, "its keys were given by hand, by root (uid 0), at "));
	assert_non_null(strstr(c->text, "Before: none; now: SSH key SHA256:"));
	assert_null(look(hub, &book, now + 2 * 3600, CONDITION_KEYS, &found));
	/* A change that was not told yet when the hub went down is not forgotten. */
	struct condition_entry entry = {.kind = CONDITION_KEYS, .subject = subject, .text = text};
	book = (struct condition_book){&entry, 1};
	assert_non_null(look(hub, &book, now + 2 * 3600, CONDITION_KEYS, &found));
	entry.told = now;
	assert_null(look(hub, &book, now + 2 * 3600, CONDITION_KEYS, &found));
}

static void a_rotation_and_an_old_key_are_told(void **state)
{
	struct hub *hub = &((struct hub_scene *)*state)->hub;
	struct error err;
	const struct condition_book book = {0};
	auto_conditions struct conditions found = {0};
	int64_t now = clock_wall();
	assert_int_equal(give(hub, KEY_A, seal_a, false), 0);
	assert_null(look(hub, &book, now, CONDITION_ROTATION, &found));
	assert_int_equal(enroll_rotate(hub, "mail", 0, &err), 0);
	/* the list of keys for the root half is noted like this when it is sent */
	key_rotation_note(hub, "mail", true);
	const struct condition *c = look(hub, &book, now, CONDITION_ROTATION, &found);
	assert_non_null(c);
	assert_non_null(strstr(c->text, "as root (uid 0) asked, and no node has taken the line for it yet"));
	assert_int_equal(enroll_keys(hub, "mail", KEY_B, seal_b, true, 0, &err), 0);
	c = look(hub, &book, now + 30 * 86400, CONDITION_ROTATION, &found); /* it stands however long this takes */
	assert_non_null(strstr(c->text, "it has not come in with the new ones yet"));
	assert_int_equal(enroll_prove(hub, "mail", NULL), 0);
	assert_null(look(hub, &book, now, CONDITION_ROTATION, &found));
	assert_null(look(hub, &book, now, CONDITION_OLD_KEY, &found));
	assert_true(key_stranger_note(hub, "mail", "AAAA"));
	assert_false(key_stranger_note(hub, "mail", "BBBB")); /* this is logged once a minute */
	c = look(hub, &book, now, CONDITION_OLD_KEY, &found);
	assert_non_null(c);
	assert_true(c->critical);
	assert_non_null(strstr(c->text, "with a key that it has no more (its end is BBBB), and is refused"));
	assert_null(look(hub, &book, now + 3700, CONDITION_OLD_KEY, &found));
}

static void the_record_is_bounded_and_a_damaged_one_begun_anew(void **state)
{
	struct hub *hub = &((struct hub_scene *)*state)->hub;
	struct error err;
	size_t count;
	const struct condition_book book = {0};
	auto_conditions struct conditions found = {0};
	for (int i = 0; i < KEY_CHANGES_MAX + 3; i++)
		assert_int_equal(key_changes_note(hub, "mail", "test", NULL, NULL, &err), 0);
	key_changes_take_back(hub);
	const struct key_change *list = key_changes(hub, &count);
	assert_int_equal(count, KEY_CHANGES_MAX - 1);
	assert_int_equal(list[0].serial, 4);
	assert_int_equal(key_changes_note(hub, "mail", "test", NULL, NULL, &err), 0);
	assert_non_null(look(hub, &book, clock_wall(), CONDITION_KEYS, &found));
	bool of_all = false;
	for (size_t i = 0; i < found.count; i++)
		of_all = of_all ||
			(found.list[i].kind == CONDITION_KEYS && strcmp(found.list[i].subject, "all agents") == 0);
	assert_true(of_all);
	assert_int_equal(store_put(hub->store, "keys", "agents", "changes.json", "{", 1, &err), 0);
	key_changes_close(hub);
	key_changes_open(hub);
	key_changes(hub, &count);
	assert_int_equal(count, 0);
}

/* A line that an older version printed is still good, but who had it printed is not known. */
static void a_join_line_says_who_had_it_printed(void **state)
{
	struct hub *hub = &((struct hub_scene *)*state)->hub;
	struct error err;
	auto_join_line struct join_line t = {0};
	const struct join_keys keys = {0};
	char who[KEY_CHANGES_WHO_MAX];
	auto_buf struct buf line = BUF_INIT(8192), record = BUF_INIT(8192), old = BUF_INIT(8192);
	struct hub_config *config = hub->config;
	char **host_keys = config->host_keys;
	config->host_keys = NULL;
	assert_int_equal(enroll_hub_line(hub, "mail", &line, &err), 0);
	assert_int_equal(join_line_issue(hub, "mail", JOIN_LINE_KEYS_FRESH, 4321, &keys, &line, &err), 0);
	config->host_keys = host_keys;
	assert_non_null(strstr(buf_text(&line), " keys=new"));
	assert_int_equal(join_line_find(hub, "mail", &t, &err), 1);
	assert_int_equal(t.by, 4321);
	assert_false(t.rotates);
	assert_string_equal(key_changes_who(4321, who), "uid 4321");
	assert_int_equal(store_get(hub->store, "joins", "mail", "line", &record, &err), 1);
	buf_put_u8(&old, 1);
	buf_add(&old, record.data + 1, 21);
	buf_add(&old, record.data + 26, record.len - 26); /* the older form lacks these four bytes */
	assert_int_equal(store_put(hub->store, "joins", "mail", "line", old.data, old.len, &err), 0);
	assert_int_equal(join_line_find(hub, "mail", &t, &err), 1);
	assert_int_equal(t.by, (uid_t)-1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(keys_are_replaced_only_by_saying_so, setup, teardown),
		cmocka_unit_test_setup_teardown(what_was_taken_away_comes_back_only_by_saying_so, setup, teardown),
		cmocka_unit_test_setup_teardown(the_next_key_is_proven_by_itself_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(a_person_is_told_of_each_change, setup, teardown),
		cmocka_unit_test_setup_teardown(a_rotation_and_an_old_key_are_told, setup, teardown),
		cmocka_unit_test_setup_teardown(the_record_is_bounded_and_a_damaged_one_begun_anew, setup, teardown),
		cmocka_unit_test_setup_teardown(a_join_line_says_who_had_it_printed, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
