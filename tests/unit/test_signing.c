/* The hub's signing key is replaced: what is waited for, what ends the exchange, and where a start behind each of its
 * steps goes on. */
#include "tests/unit/hub_scene.h"

#include "hub/daemon/agents/enroll.h"
#include "lib/core/base64.h"
#include "lib/crypto/signer_list.h"

#define SSH "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI"
#define KEY_A SSH "AECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g"
#define KEY_B SSH "CAfHh0cGxoZGBcWFRQTEhEQDw4NDAsKCQgHBgUEAwIB"

static void give(struct hub *hub, const char *agent, const char *ssh)
{
	struct error err;
	uint8_t seal[SEAL_KEY_SIZE] = {(uint8_t)agent[0]}; /* each agent has another one */
	auto_buf struct buf line = BUF_INIT(1024), text = BUF_INIT(64);
	base64_encode(seal, SEAL_KEY_SIZE, &text);
	buf_addf(&line, "certsync-agent:1 %s x25519:%s", ssh, buf_text(&text));
	assert_int_equal(enroll_add(hub, agent, buf_text(&line), false, 0, &err), 0);
}

static int setup(void **state)
{
	struct hub_scene *s = mem_alloc(sizeof(*s));
	*state = s;
	if (!hub_scene_begin(s, ""))
		return -1;
	fleet_open(&s->hub);
	give(&s->hub, "here", KEY_A);
	give(&s->hub, "mail", KEY_B);
	return 0;
}

static int teardown(void **state)
{
	hub_scene_end(*state);
	free(*state);
	return 0;
}

static struct signing_status status(struct hub *hub)
{
	struct signing_status s;
	signing_status(hub, &s);
	return s;
}

/* The agent answers to the list that is told now, or to another one. */
static void say(struct hub *hub, const char *agent, bool of_both, const char *text)
{
	struct error err;
	int64_t serial;
	uint8_t digest[CHAIN_SHA256_SIZE];
	struct message m = {.type = MESSAGE_PINNED};
	auto_buf struct buf record = BUF_INIT(65536), list = BUF_INIT(SIGNER_LIST_MAX);
	assert_int_equal(store_get(hub->store, "hub", "announce", "signing.json", &record, &err), 1);
	auto_json cJSON *o = json_parse(record.data, record.len, &err);
	assert_int_equal(json_i64(o, "serial", &serial, &err), 0);
	assert_int_equal(keys_signers(hub->keys, serial, of_both, &list, &err), 0);
	assert_int_equal(sha256(list.data, list.len, digest), 0);
	chain_hex(digest, m.list_digest);
	snprintf(m.text, sizeof(m.text), "%s", text);
	signing_pinned(hub, agent, &m);
}

/* Closes and opens the module, as a start of the hub does. */
static void start_again(struct hub *hub)
{
	struct error err;
	signing_close(hub);
	assert_int_equal(keys_signer(hub->keys, false, hub->sign_public, &err), 0);
	assert_int_equal(signing_open(hub, &err), 0);
	signing_settle(hub);
}

static void expect_missing(struct hub *hub, enum signing_phase phase, const char *names)
{
	auto_buf struct buf text = BUF_INIT(256);
	const struct signing_status s = status(hub);
	for (size_t i = 0; i < s.missing_count; i++)
		buf_addf(&text, "%s%s ", s.missing[i].agent, s.missing[i].cut_off ? "!" : "");
	assert_string_equal(buf_text(&text), names);
	assert_int_equal(s.phase, phase);
}

static void the_next_key_takes_over_when_all_have_said_that_they_take_both(void **state)
{
	struct hub *hub = &((struct hub_scene *)*state)->hub;
	struct error err;
	uint8_t old[SEAL_KEY_SIZE], next[SEAL_KEY_SIZE], ignored[SEAL_KEY_SIZE];
	memcpy(old, hub->sign_public, sizeof(old));
	expect_missing(hub, SIGNING_IDLE, "");
	assert_int_equal(signing_rotate(hub, false, 0, &err), 0);
	expect_missing(hub, SIGNING_TOLD, "here mail ");
	memcpy(next, status(hub).next, sizeof(next));
	assert_int_equal(signing_rotate(hub, false, 0, &err), -1);
	assert_int_equal(err.kind, ERROR_USAGE);
	assert_non_null(strstr(err.message, "2 of 2 agents have not said that they take both keys"));
	say(hub, "here", true, "");
	expect_missing(hub, SIGNING_TOLD, "mail ");
	start_again(hub);
	expect_missing(hub, SIGNING_TOLD, "mail ");
	assert_memory_equal(status(hub).next, next, sizeof(next));
	say(hub, "mail", false, ""); /* this list was never told */
	say(hub, "mail", true, "signing keys: the disk is full");
	expect_missing(hub, SIGNING_TOLD, "mail ");
	char reason[MESSAGE_TEXT_MAX];
	signing_reason(hub, &status(hub).missing[0], reason, sizeof(reason));
	assert_non_null(strstr(reason, "it refuses the list: signing keys: the disk is full."));
	assert_memory_equal(hub->sign_public, old, sizeof(old));
	say(hub, "mail", true, "");
	assert_memory_equal(hub->sign_public, next, sizeof(next));
	expect_missing(hub, SIGNING_SWITCHED, "here mail ");
	assert_int_equal(keys_next_signer(hub->keys, false, ignored, &err), -1);
	say(hub, "mail", false, "");
	start_again(hub);
	expect_missing(hub, SIGNING_SWITCHED, "here ");
	say(hub, "here", false, "");
	expect_missing(hub, SIGNING_IDLE, "");
	start_again(hub);
	expect_missing(hub, SIGNING_IDLE, "");
	assert_memory_equal(hub->sign_public, next, sizeof(next));
	say(hub, "mail", false, "signing keys: the list is older");
	expect_missing(hub, SIGNING_IDLE, "mail ");
	say(hub, "mail", false, "");
	expect_missing(hub, SIGNING_IDLE, "");
}

static void a_start_behind_each_step_goes_on_from_there(void **state)
{
	struct hub *hub = &((struct hub_scene *)*state)->hub;
	struct error err;
	uint8_t next[SEAL_KEY_SIZE], another[SEAL_KEY_SIZE];
	/* The key was made and the hub killed before it wrote that down: nobody was told of the key, so it is the one
	 * that is taken. */
	assert_int_equal(keys_next_signer(hub->keys, true, next, &err), 0);
	start_again(hub);
	expect_missing(hub, SIGNING_IDLE, "");
	assert_int_equal(signing_rotate(hub, false, 0, &err), 0);
	assert_memory_equal(status(hub).next, next, sizeof(next));
	/* The key was taken over and the hub killed before it wrote that down. */
	assert_int_equal(keys_switch_signer(hub->keys, next, &err), 0);
	start_again(hub);
	expect_missing(hub, SIGNING_SWITCHED, "here! mail! ");
	assert_memory_equal(hub->sign_public, next, sizeof(next));
	/* The next key of the record does not exist, as when the two directories come from different backups. */
	assert_int_equal(signing_rotate(hub, true, 0, &err), 0);
	say(hub, "here", false, "");
	say(hub, "mail", false, "");
	expect_missing(hub, SIGNING_IDLE, "");
	assert_int_equal(signing_rotate(hub, false, 0, &err), 0);
	memcpy(next, status(hub).next, sizeof(next));
	auto_free char *path = scratch_path(((struct hub_scene *)*state)->scratch, "state-keys/next-sign.key");
	assert_int_equal(unlink(path), 0);
	start_again(hub);
	expect_missing(hub, SIGNING_TOLD, "here mail ");
	assert_int_equal(keys_next_signer(hub->keys, false, another, &err), 0);
	assert_memory_equal(status(hub).next, another, sizeof(another));
	assert_memory_not_equal(next, another, sizeof(another));
	/* The record cannot be read. */
	assert_int_equal(store_put(hub->store, "hub", "announce", "signing.json", "{\"phase\":\"x\"}", 13, &err), 0);
	start_again(hub);
	expect_missing(hub, SIGNING_IDLE, "");
}

static void at_once_those_who_had_not_pinned_it_are_cut_off(void **state)
{
	struct hub *hub = &((struct hub_scene *)*state)->hub;
	struct error err;
	uint8_t next[SEAL_KEY_SIZE];
	auto_buf struct buf line = BUF_INIT(8192);
	assert_int_equal(signing_rotate(hub, false, 0, &err), 0);
	memcpy(next, status(hub).next, sizeof(next));
	signing_add_fields(hub, &line);
	assert_non_null(strstr(buf_text(&line), "= sign=ed25519:")); /* a node that joins now pins both */
	say(hub, "here", true, "");
	assert_int_equal(signing_rotate(hub, true, 0, &err), 0);
	assert_memory_equal(hub->sign_public, next, sizeof(next));
	expect_missing(hub, SIGNING_SWITCHED, "here mail! ");
	say(hub, "here", false, "");
	start_again(hub);
	expect_missing(hub, SIGNING_SWITCHED, "mail! ");
	buf_reset(&line);
	signing_add_fields(hub, &line);
	assert_null(strstr(buf_text(&line), " "));
	assert_int_equal(enroll_remove(hub, "mail", 0, &err), 0); /* nobody waits for this agent any more */
	signing_settle(hub);
	expect_missing(hub, SIGNING_IDLE, "");
	assert_int_equal(signing_rotate(hub, true, 0, &err), 0);
	expect_missing(hub, SIGNING_SWITCHED, "here! ");
	assert_memory_not_equal(hub->sign_public, next, sizeof(next));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			the_next_key_takes_over_when_all_have_said_that_they_take_both, setup, teardown),
		cmocka_unit_test_setup_teardown(a_start_behind_each_step_goes_on_from_there, setup, teardown),
		cmocka_unit_test_setup_teardown(at_once_those_who_had_not_pinned_it_are_cut_off, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
