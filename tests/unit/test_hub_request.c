/* What the hub's daemon and its root half say to each other, and what the root half refuses to believe. */
#include "hub/common/root_request.h"
#include "lib/core/frame.h"
#include "lib/core/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define ED25519 "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g"

static void a_scan_comes_back_as_it_went(void **state)
{
	(void)state;
	struct error err;
	auto_buf struct buf out = BUF_INIT(FRAME_RECORD_MAX);
	const struct hub_request scan = {.op = HUB_REQUEST_SCAN, .certificate = "mail.domain.pl"};
	struct hub_request back;
	assert_int_equal(hub_request_encode(&scan, &out), 0);
	assert_int_equal(hub_request_decode(out.data, out.len, &back, &err), 0);
	assert_int_equal(back.op, HUB_REQUEST_SCAN);
	assert_string_equal(back.certificate, "mail.domain.pl");
	hub_request_release(&back);
}

static void a_full_record_of_keys_fits_a_frame(void **state)
{
	(void)state;
	struct error err;
	auto_buf struct buf out = BUF_INIT(FRAME_RECORD_MAX);
	struct hub_key keys[HUB_KEYS_PER_RECORD] = {0};
	for (size_t i = 0; i < COUNT(keys); i++) {
		/* Names and keys are as long as they can get. */
		snprintf(keys[i].agent, sizeof(keys[i].agent), "%063zu", i);
		memset(keys[i].key, 'k', sizeof(keys[i].key) - 1);
		keys[i].key[sizeof(keys[i].key) - 1] = '\0';
	}
	const struct hub_request longest = {
		.op = HUB_REQUEST_KEYS, .keys = keys, .key_count = HUB_KEYS_PER_RECORD, .more = true};
	assert_int_equal(hub_request_encode(&longest, &out), 0);
	buf_reset(&out);
	for (size_t i = 0; i < COUNT(keys); i++)
		snprintf(keys[i].key, sizeof(keys[i].key), "%s", ED25519);
	assert_int_equal(hub_request_encode(&longest, &out), 0);
	struct hub_request back;
	assert_int_equal(hub_request_decode(out.data, out.len, &back, &err), 0);
	assert_int_equal(back.key_count, HUB_KEYS_PER_RECORD);
	assert_true(back.more);
	assert_string_equal(back.keys[63].agent, keys[63].agent);
	assert_string_equal(back.keys[63].key, ED25519);
	hub_request_release(&back);
}

static void expect_refused(const struct hub_request *request, const char *reason)
{
	struct error err;
	struct hub_request back;
	auto_buf struct buf out = BUF_INIT(FRAME_RECORD_MAX);
	assert_int_equal(hub_request_encode(request, &out), 0);
	assert_int_equal(hub_request_decode(out.data, out.len, &back, &err), -1);
	assert_string_equal(err.message, reason);
	assert_null(back.keys);
}

static void names_and_keys_outside_their_alphabets_are_refused(void **state)
{
	(void)state;
	struct hub_key key = {"a\",command=\"sh", ED25519, HUB_KEY_AGENT, 0};
	struct hub_request keys = {.op = HUB_REQUEST_KEYS, .keys = &key, .key_count = 1};
	expect_refused(&keys, "keys: \"a\",command=\"sh\" is not an agent's name");
	snprintf(key.agent, sizeof(key.agent), "mail");
	snprintf(key.key, sizeof(key.key), "%s\nssh-ed25519 AAAA", ED25519);
	expect_refused(&keys, "keys: what is given for mail is not one SSH public key");
	const struct hub_key senseless[] = {
		{"mail", ED25519, HUB_KEY_JOIN, 0}, /* a key that is for joining must expire */
		{"mail", ED25519, HUB_KEY_AGENT, 1700000000}, {"mail", ED25519, HUB_KEY_USES, 0},
		{"mail", ED25519, HUB_KEY_JOIN, -1}, {"mail", "", HUB_KEY_AGENT_KEPT, 1700000000},
		{"mail", ED25519, HUB_KEY_JOIN, HUB_KEY_EXPIRES_MAX + 1}, /* this year would have five digits */
	};
	for (size_t i = 0; i < COUNT(senseless); i++) {
		key = senseless[i];
		expect_refused(&keys, "keys: what the key of mail is good for, and until when, makes no sense");
	}
	/* Lines that are kept are the file's own: nobody says what is in them. */
	key = (struct hub_key){"mail", ED25519, HUB_KEY_AGENT_KEPT, 0};
	expect_refused(&keys, "keys: what is given for mail is not one SSH public key");
	const struct hub_request scan = {.op = HUB_REQUEST_SCAN, .certificate = "../../etc"};
	expect_refused(&scan, "scan: not a certificate's name");
}

static void the_forced_command_says_who_and_which_key(void **state)
{
	(void)state;
	enum hub_key_use use;
	char agent[NAME_AGENT_MAX], mark[HUB_KEY_MARK_MAX], word[HUB_KEY_WORD_MAX], long_name[NAME_AGENT_MAX];
	struct hub_key key = {"mail", ED25519, HUB_KEY_AGENT, 0};
	hub_key_word(&key, word);
	assert_string_equal(word, "mail:CQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g");
	assert_true(hub_key_word_parse(word, &use, agent, mark));
	assert_int_equal(use, HUB_KEY_AGENT);
	assert_string_equal(agent, "mail");
	assert_string_equal(mark, "CQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g");
	memset(long_name, 'a', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	snprintf(key.agent, sizeof(key.agent), "%s", long_name);
	hub_key_word(&key, word);
	assert_true(hub_key_word_parse(word, &use, agent, mark));
	assert_string_equal(agent, long_name);
	key.use = HUB_KEY_JOIN;
	hub_key_word(&key, word);
	assert_true(hub_key_word_parse(word, &use, agent, mark));
	assert_int_equal(use, HUB_KEY_JOIN);
	assert_string_equal(mark, "");
	/* Padding is no part of the mark, so that one key has one mark. */
	hub_key_mark("ssh-rsa AAAA==", mark);
	assert_string_equal(mark, "AAAA");
	/* Older versions wrote only the name, so that no key is known by it. */
	assert_true(hub_key_word_parse("mail", &use, agent, mark));
	assert_string_equal(mark, "");
	static const char *const wrong[] = {"", ":", "mail:", ":AAAA", "mail:AA=A", "mail:AA A", "mail:AAAA:AAAA",
		"next:mail:AAAA", "join:", "join:mail:AAAA", "join:../mail", "root:mail:AAAA", "../mail:AAAA",
		"MAIL:AAAA", "mail:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:AAAA"};
	for (size_t i = 0; i < COUNT(wrong); i++)
		assert_false(hub_key_word_parse(wrong[i], &use, agent, mark));
}

static void every_cut_and_every_tail_is_refused(void **state)
{
	(void)state;
	struct error err;
	struct hub_request back;
	auto_buf struct buf out = BUF_INIT(FRAME_RECORD_MAX);
	struct hub_key key = {"mail", ED25519, HUB_KEY_AGENT, 0};
	const struct hub_request keys = {.op = HUB_REQUEST_KEYS, .keys = &key, .key_count = 1};
	assert_int_equal(hub_request_encode(&keys, &out), 0);
	for (size_t len = 0; len < out.len; len++)
		assert_int_equal(hub_request_decode(out.data, len, &back, &err), -1);
	buf_put_u8(&out, 0);
	assert_int_equal(hub_request_decode(out.data, out.len, &back, &err), -1);
	const uint8_t unknown[] = {9};
	assert_int_equal(hub_request_decode(unknown, sizeof(unknown), &back, &err), -1);
	assert_string_equal(err.message, "unknown request 9");
}

static void replies_come_back_as_they_went(void **state)
{
	(void)state;
	struct error err;
	auto_buf struct buf out = BUF_INIT(FRAME_RECORD_MAX);
	const struct hub_reply reply = {.op = HUB_REQUEST_SCAN, .certificate = "x.pl", .text = "no such directory"};
	struct hub_reply back;
	assert_int_equal(hub_reply_encode(&reply, &out), 0);
	assert_int_equal(hub_reply_decode(out.data, out.len, &back, &err), 0);
	assert_false(back.ok);
	assert_string_equal(back.certificate, "x.pl");
	assert_string_equal(back.text, "no such directory");
	for (size_t len = 0; len < out.len; len++)
		assert_int_equal(hub_reply_decode(out.data, len, &back, &err), -1);
}

static void a_key_is_one_type_and_its_own_base64(void **state)
{
	(void)state;
	assert_true(hub_key_is_valid(ED25519));
	assert_true(
		hub_key_is_valid("ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEez"
				 "OmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg="));
	static const char *const wrong[] = {
		"",
		"ssh-ed25519",
		"ssh-ed25519 ",
		"AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g",
		(ED25519 " comment"),
		(ED25519 "\n"),
		("command=\"sh\" " ED25519),
		/* These have another type than the key itself says, a key that is too short, bytes behind the key, and
		 * a bit set in the padding. */
		"ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g",
		"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAHwECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
		"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gAAAA",
		"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
		"ssh-dss AAAAB3NzaC1kc3MAAAAA",
		"ssh-ed25519 ====",
	};
	for (size_t i = 0; i < COUNT(wrong); i++)
		if (hub_key_is_valid(wrong[i]))
			fail_msg("taken for a key: %s", wrong[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_scan_comes_back_as_it_went),
		cmocka_unit_test(a_full_record_of_keys_fits_a_frame),
		cmocka_unit_test(names_and_keys_outside_their_alphabets_are_refused),
		cmocka_unit_test(the_forced_command_says_who_and_which_key),
		cmocka_unit_test(every_cut_and_every_tail_is_refused),
		cmocka_unit_test(replies_come_back_as_they_went),
		cmocka_unit_test(a_key_is_one_type_and_its_own_base64),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
