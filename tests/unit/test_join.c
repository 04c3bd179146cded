/* One secret is known to two sides: which keys they derive from it, and which frames must be refused. */
#include "agent/common/pin.h"
#include "agent/common/ssh_key.h"
#include "lib/core/base64.h"
#include "lib/crypto/host_pins.h"
#include "lib/crypto/signer_list.h"
#include "lib/crypto/join.h"
#include "lib/core/mem.h"
#include "tests/unit/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t mac_key[JOIN_MAC_SIZE] = "a key that both sides have, 32B",
		     line[JOIN_DIGEST_SIZE] = "digest of the line";

static void to_hex(const uint8_t *bytes, size_t len, char *ret)
{
	for (size_t i = 0; i < len; i++)
		snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
}

/* These were computed with OpenSSL's command line as RFC 5869 has it, from the secret 00 01 02 … 1f: openssl kdf
 * -keylen 32 -kdfopt digest:SHA256 -kdfopt hexkey:000102…1f -kdfopt info:LABEL HKDF */
static void a_secret_becomes_the_same_keys_everywhere(void **state)
{
	(void)state;
	struct error err;
	struct join_keys k;
	char hex[65];
	uint8_t secret[JOIN_SECRET_SIZE];
	for (size_t i = 0; i < sizeof(secret); i++)
		secret[i] = (uint8_t)i;
	assert_int_equal(join_derive(secret, &k, &err), 0);
	to_hex(k.login_private, 32, hex);
	assert_string_equal(hex, "119127ce109e21b1073bef60876ca31b286901a4354582936e05e8417b9dee8e");
	to_hex(k.mac, 32, hex);
	assert_string_equal(hex, "7a7c62482c60877a13ae01edc461757abfd7021f4c18f605f42e15bdaeaca4c0");
	uint8_t public_key[SEAL_KEY_SIZE];
	assert_int_equal(sign_public(k.login_private, public_key, &err), 0);
	assert_memory_equal(public_key, k.login_public, sizeof(public_key));
}

static void fill(struct join_request *r)
{
	*r = (struct join_request){.agent = "mail", .ssh = "ssh-ed25519 AAAA"};
	memset(r->seal, 7, sizeof(r->seal));
	memset(r->nonce, 9, sizeof(r->nonce));
}

static void a_request_comes_back_as_it_went(void **state)
{
	(void)state;
	struct error err;
	struct join_request r, back;
	auto_buf struct buf out = BUF_INIT(4096);
	fill(&r);
	assert_int_equal(join_request_encode(&r, mac_key, line, &out, &err), 0);
	assert_int_equal(join_request_decode(out.data, out.len, &back, &err), 0);
	assert_memory_equal(&r, &back, sizeof(r));
	assert_true(join_request_is_authentic(out.data, out.len, mac_key, line));
}

static void no_bit_of_a_request_may_change(void **state)
{
	(void)state;
	struct error err;
	struct join_request r, back;
	auto_buf struct buf out = BUF_INIT(4096);
	fill(&r);
	assert_int_equal(join_request_encode(&r, mac_key, line, &out, &err), 0);
	for (size_t at = 0; at < 8 * out.len; at++) {
		out.data[at / 8] ^= (uint8_t)(1 << at % 8);
		assert_false(join_request_is_authentic(out.data, out.len, mac_key, line));
		out.data[at / 8] ^= (uint8_t)(1 << at % 8);
	}
	for (size_t len = 0; len < out.len; len++) {
		assert_int_equal(join_request_decode(out.data, len, &back, &err), -1);
		assert_false(join_request_is_authentic(out.data, len, mac_key, line));
	}
	assert_false(join_request_is_authentic(out.data, out.len, mac_key, mac_key)); /* checked with another line */
	assert_false(join_request_is_authentic(out.data, out.len, line, line));       /* checked with another secret */
}

static void make_answer(struct join_answer *a)
{
	*a = (struct join_answer){
		.ok = true, .certificate_count = 1, .certificates = mem_array(1, sizeof(*a->certificates))};
	struct join_certificate *c = &a->certificates[0];
	snprintf(c->name, sizeof(c->name), "mail.domain.pl");
	c->names = mem_array(3, sizeof(*c->names));
	c->names[c->name_count++] = mem_strdup("mail.domain.pl");
	c->names[c->name_count++] = mem_strdup("*.mail.domain.pl");
}

static void an_answer_belongs_to_its_request(void **state)
{
	(void)state;
	struct error err;
	auto_join_answer struct join_answer a, back = {0};
	auto_buf struct buf out = BUF_INIT(8192);
	const uint8_t asked[] = "what was asked", other[] = "what was Asked";
	make_answer(&a);
	assert_int_equal(join_answer_encode(&a, mac_key, line, asked, sizeof(asked), &out, &err), 0);
	assert_true(join_answer_is_authentic(out.data, out.len, mac_key, line, asked, sizeof(asked)));
	assert_false(join_answer_is_authentic(out.data, out.len, mac_key, line, other, sizeof(other)));
	/* An answer is not taken for a request, although one key signs both. */
	assert_false(join_request_is_authentic(out.data, out.len, mac_key, line));
	assert_int_equal(join_answer_decode(out.data, out.len, &back, &err), 0);
	assert_int_equal(back.certificate_count, 1);
	assert_string_equal(back.certificates[0].names[1], "*.mail.domain.pl");
	for (size_t len = 0; len < out.len; len++) {
		struct join_answer cut;
		assert_int_equal(join_answer_decode(out.data, len, &cut, &err), -1);
	}
}

static void a_refusal_proves_nothing(void **state)
{
	(void)state;
	struct error err;
	auto_join_answer struct join_answer a = {.text = "this line was used up"}, back = {0};
	auto_buf struct buf out = BUF_INIT(8192);
	assert_int_equal(join_answer_encode(&a, NULL, line, NULL, 0, &out, &err), 0);
	assert_int_equal(join_answer_decode(out.data, out.len, &back, &err), 0);
	assert_false(back.ok);
	assert_string_equal(back.text, "this line was used up");
	assert_false(join_answer_is_authentic(out.data, out.len, mac_key, line, NULL, 0));
}

static void a_version_of_tomorrow_is_named(void **state)
{
	(void)state;
	struct error err;
	struct join_request r;
	const uint8_t bytes[] = {2, 0, 0, 0, 0};
	assert_int_equal(join_request_decode(bytes, sizeof(bytes), &r, &err), -1);
	assert_non_null(strstr(err.message, "version 2 of the request"));
}

/* The line that is pasted into `certsync-agent join`. */

#define SIGNER "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define PUBLIC \
	"certsync-hub:1 ssh://certsync-gate@[2001:db8::1]:2222 sign=ed25519:" SIGNER \
	" host=SHA256:0123456789012345678901234567890123456789012"

static char *with_check(const char *text)
{
	struct error err;
	char check[JOIN_CHECK_SIZE + 1];
	assert_int_equal(join_line_check(text, strlen(text), check, &err), 0);
	return mem_printf("%s check=%s", text, check);
}

static void a_line_is_read_with_its_secret(void **state)
{
	(void)state;
	struct error err;
	auto_pin struct pin pin = {0};
	uint8_t digest[JOIN_DIGEST_SIZE];
	auto_free char *text = with_check(PUBLIC " agent=mail expires=1700000000 secret=" SIGNER);
	auto_free char *padded = mem_printf("\n%s \r\n", text);
	assert_int_equal(pin_parse(padded, &pin, &err), 0);
	assert_true(pin.joins && !pin.new_keys);
	assert_string_equal(pin.agent, "mail");
	assert_int_equal(pin.expires, 1700000000);
	assert_int_equal(pin.secret[31], 31);
	assert_int_equal(join_line_digest(PUBLIC " agent=mail expires=1700000000", digest, &err), 0);
	assert_memory_equal(digest, pin.digest, sizeof(digest));
	auto_buf struct buf out = BUF_INIT(PIN_LINE_MAX);
	pin_line(&pin, &out);
	assert_string_equal(buf_text(&out), PUBLIC "\n");
}

static void expect_refused(char *text, const char *why)
{
	struct error err;
	auto_pin struct pin pin = {0};
	assert_int_equal(pin_parse(text, &pin, &err), -1);
	if (!strstr(err.message, why))
		fail_msg("%s: %s, not %s", text, err.message, why);
	assert_null(strstr(err.message, SIGNER)); /* no error may repeat the secret */
	free(text);
}

static void a_line_that_was_cut_or_changed_says_so(void **state)
{
	(void)state;
	static const char whole[] = PUBLIC " agent=mail expires=1700000000 secret=" SIGNER;
	expect_refused(mem_strdup(whole), "was cut");
	expect_refused(mem_strdup(PUBLIC " agent=mail"), "was cut");
	expect_refused(mem_printf("%s check=00000000", whole), "changed on its way");
	expect_refused(mem_printf("%s check=0000", whole), "was cut");
	expect_refused(with_check(PUBLIC " agent=mail secret=" SIGNER), "was cut");
	expect_refused(with_check(PUBLIC " agent=../mail expires=1 secret=" SIGNER), "unknown field");
	expect_refused(with_check(PUBLIC " agent=mail expires=-1 secret=" SIGNER), "unknown field");
	expect_refused(with_check(PUBLIC " agent=mail expires=1 secret=AAAA"), "secret: is not");
	expect_refused(with_check(PUBLIC " agent=mail expires=1 secret=" SIGNER " secret=" SIGNER), "secret: is not");
}

static void no_bit_of_a_line_may_change(void **state)
{
	(void)state;
	auto_free char *whole = with_check(PUBLIC " agent=mail expires=1700000000 secret=" SIGNER);
	for (size_t at = 0; at < 8 * strlen(whole); at++) {
		struct error err;
		auto_pin struct pin pin = {0};
		auto_free char *text = mem_strdup(whole);
		text[at / 8] = (char)(text[at / 8] ^ 1 << at % 8);
		if (!text[at / 8])
			continue; /* who reads the line takes no NUL in it */
		if (pin_parse(text, &pin, &err) == 0)
			fail_msg("bit %zu of a line is another one, and it is taken: %s", at, text);
	}
}

/* The hub's word on its host keys. */

static void sign_list(const uint8_t private_key[SEAL_KEY_SIZE], int64_t serial, char first, struct buf *out)
{
	struct error err;
	struct host_pins p = {.serial = serial, .count = 1};
	snprintf(p.hosts[0], sizeof(p.hosts[0]), "SHA256:%c123456789012345678901234567890123456789012", first);
	buf_reset(out);
	assert_int_equal(host_pins_sign(&p, private_key, out, &err), 0);
}

static void expect_hosts(const struct scratch *s, const char *present, const char *absent)
{
	auto_buf struct buf text = BUF_INIT(8192);
	scratch_read(s, "pins/host_keys", &text);
	assert_non_null(strstr(buf_text(&text), present));
	if (absent)
		assert_null(strstr(buf_text(&text), absent));
}

static void the_hubs_list_replaces_what_it_said_before_and_nothing_else(void **state)
{
	const struct scratch *s = *state;
	const char *directory = s->path;
	struct error err;
	uint8_t hub[SEAL_KEY_SIZE], hub_public[SEAL_KEY_SIZE], other[SEAL_KEY_SIZE], other_public[SEAL_KEY_SIZE];
	auto_buf struct buf list = BUF_INIT(HOST_PINS_MAX), signer = BUF_INIT(64);
	bool changed = false;
	assert_int_equal(mkdirat(s->fd, "pins", 0755), 0);
	assert_int_equal(sign_keypair(hub, hub_public, &err), 0);
	assert_int_equal(sign_keypair(other, other_public, &err), 0);
	base64_encode(hub_public, sizeof(hub_public), &signer);
	scratch_write(s, "pins/hub_keys", buf_text(&signer), 0644);
	scratch_write(s, "pins/host_keys",
		"# by hand\nSHA256:h123456789012345678901234567890123456789012\n"
		"SHA256:a123456789012345678901234567890123456789012\n",
		0644);
	sign_list(hub, 5, 'a', &list);
	assert_int_equal(pin_hosts(directory, list.data, list.len, &changed, &err), 0);
	assert_true(changed);
	expect_hosts(s, "SHA256:h1", NULL);
	expect_hosts(s, "SHA256:a1", NULL);
	sign_list(hub, 6, 'b', &list);
	assert_int_equal(pin_hosts(directory, list.data, list.len, &changed, &err), 0);
	expect_hosts(s, "SHA256:b1", "SHA256:a1");
	expect_hosts(s, "SHA256:h1", NULL);
	sign_list(hub, 5, 'a', &list); /* an old list that is played back is refused */
	assert_int_equal(pin_hosts(directory, list.data, list.len, &changed, &err), -1);
	assert_int_equal(err.kind, ERROR_UNTRUSTED);
	sign_list(other, 7, 'c', &list);
	assert_int_equal(pin_hosts(directory, list.data, list.len, &changed, &err), -1);
	assert_non_null(strstr(err.message, "not signed by a key that is pinned"));
	expect_hosts(s, "SHA256:b1", "SHA256:c1");
}

static void no_bit_of_the_hubs_list_may_change(void **state)
{
	(void)state;
	struct error err;
	struct host_pins p;
	struct bundle_keys keys = {.signer_count = 1};
	uint8_t hub[SEAL_KEY_SIZE];
	auto_buf struct buf list = BUF_INIT(HOST_PINS_MAX);
	assert_int_equal(sign_keypair(hub, keys.signers[0], &err), 0);
	sign_list(hub, 5, 'a', &list);
	assert_int_equal(host_pins_open(list.data, list.len, &keys, &p, &err), 0);
	for (size_t i = 0; i < list.len; i++) {
		list.data[i] ^= 1;
		assert_int_equal(host_pins_open(list.data, list.len, &keys, &p, &err), -1);
		list.data[i] ^= 1;
		assert_int_equal(host_pins_open(list.data, i, &keys, &p, &err), -1);
	}
}

/* The hub signs the list of its signing keys. */

struct hub_key {
	uint8_t private_key[SEAL_KEY_SIZE], public_key[SEAL_KEY_SIZE];
};

enum { OLD, NEXT, STRANGER, HUB_KEYS };

static const uint8_t no_key[SEAL_KEY_SIZE];

static void make_hub_keys(struct hub_key keys[HUB_KEYS])
{
	struct error err;
	for (size_t i = 0; i < HUB_KEYS; i++)
		assert_int_equal(sign_keypair(keys[i].private_key, keys[i].public_key, &err), 0);
}

/* Makes a list of those keys whose bit is set. */
static struct signer_list list_of(const struct hub_key keys[HUB_KEYS], unsigned which, int64_t serial)
{
	struct signer_list l = {.serial = serial};
	for (size_t i = 0; i < HUB_KEYS; i++)
		if (which & 1u << i)
			memcpy(l.keys[l.count++], keys[i].public_key, SEAL_KEY_SIZE);
	return l;
}

static void sign_keys(const struct hub_key keys[HUB_KEYS], unsigned which, int64_t serial, size_t by, struct buf *out)
{
	struct error err;
	const struct signer_list l = list_of(keys, which, serial);
	buf_reset(out);
	assert_int_equal(signer_list_sign(&l, keys[by].private_key, out, &err), 0);
}

static void pin_by_hand(const struct scratch *s, const struct hub_key *key)
{
	auto_buf struct buf text = BUF_INIT(64);
	mkdirat(s->fd, "pins", 0755);
	base64_encode(key->public_key, SEAL_KEY_SIZE, &text);
	scratch_write(s, "pins/hub_keys", buf_text(&text), 0644);
}

static void expect_pinned(const struct scratch *s, const struct hub_key keys[HUB_KEYS], unsigned which)
{
	struct error err;
	struct bundle_keys pinned = {0};
	const struct signer_list l = list_of(keys, which, 1);
	assert_int_equal(pin_signers(s->path, &pinned, &err), 0);
	assert_int_equal(pinned.signer_count, l.count);
	for (size_t i = 0; i < l.count; i++)
		assert_memory_equal(pinned.signers[i], l.keys[i], SEAL_KEY_SIZE);
}

enum { HAS_OLD = 1 << OLD, HAS_NEXT = 1 << NEXT, HAS_STRANGER = 1 << STRANGER };

static void the_old_signing_key_brings_the_next_which_takes_the_old_one_away(void **state)
{
	const struct scratch *s = *state;
	struct error err;
	struct hub_key keys[HUB_KEYS];
	auto_buf struct buf list = BUF_INIT(SIGNER_LIST_MAX);
	bool changed = false;
	make_hub_keys(keys);
	pin_by_hand(s, &keys[OLD]);
	sign_keys(keys, HAS_OLD | HAS_NEXT, 5, OLD, &list);
	assert_int_equal(pin_signer_list(s->path, list.data, list.len, &changed, &err), 0);
	assert_true(changed);
	expect_pinned(s, keys, HAS_OLD | HAS_NEXT);
	assert_int_equal(scratch_mode(s, "pins/hub_keys"), 0644);
	changed = false;
	assert_int_equal(pin_signer_list(s->path, list.data, list.len, &changed, &err), 0);
	assert_false(changed); /* the hub tells the list again at each welcome */
	sign_keys(keys, HAS_NEXT, 6, NEXT, &list);
	assert_int_equal(pin_signer_list(s->path, list.data, list.len, &changed, &err), 0);
	expect_pinned(s, keys, HAS_NEXT);
}

/* A list that is not the hub's next one is refused with a reason, and what is pinned stays. */
static void a_list_of_signing_keys_that_is_not_the_hubs_next_is_refused(void **state)
{
	const struct scratch *s = *state;
	const struct {
		unsigned which;
		int64_t serial;
		size_t by;
		const char *why;
	} cases[] = {
		{HAS_OLD | HAS_STRANGER, 7, STRANGER,
			"signing keys: the list is not signed by a key that is pinned here"},
		{HAS_OLD, 4, OLD, "signing keys: the hub's list is older (4) than the one taken last (5)"},
		{HAS_OLD, 5, OLD,
			"signing keys: the hub's list has the serial of the one taken last (5), and other keys"},
		{HAS_NEXT, 6, OLD, "signing keys: the key that signed the list is not in it"},
		{HAS_OLD, 0, OLD, "signing keys: the list is malformed"},
		{HAS_OLD, -1, OLD, "signing keys: the list is malformed"},
		{0, 6, OLD, "signing keys: the list is malformed"},
	};
	struct hub_key keys[HUB_KEYS];
	auto_buf struct buf list = BUF_INIT(SIGNER_LIST_MAX);
	make_hub_keys(keys);
	pin_by_hand(s, &keys[OLD]);
	struct error err;
	bool changed = false;
	sign_keys(keys, HAS_OLD | HAS_NEXT, 5, OLD, &list);
	assert_int_equal(pin_signer_list(s->path, list.data, list.len, &changed, &err), 0);
	for (size_t i = 0; i < COUNT(cases); i++) {
		changed = false;
		sign_keys(keys, cases[i].which, cases[i].serial, cases[i].by, &list);
		assert_int_equal(pin_signer_list(s->path, list.data, list.len, &changed, &err), -1);
		assert_memory_equal(err.message, cases[i].why, strlen(cases[i].why));
		assert_false(changed);
		expect_pinned(s, keys, HAS_OLD | HAS_NEXT);
	}
	pin_by_hand(s, &keys[STRANGER]); /* the node has joined another hub since */
	sign_keys(keys, HAS_OLD | HAS_NEXT, 9, OLD, &list);
	assert_int_equal(pin_signer_list(s->path, list.data, list.len, &changed, &err), -1);
	assert_int_equal(err.kind, ERROR_UNTRUSTED);
	expect_pinned(s, keys, HAS_STRANGER);
}

static void signing_keys_stand_once_in_a_list_that_ends_with_them(void **state)
{
	(void)state;
	struct error err;
	struct hub_key keys[HUB_KEYS];
	struct signer_list l, read;
	struct bundle_keys pinned = {.signer_count = 1};
	auto_buf struct buf list = BUF_INIT(STATEMENT_MAX), body = BUF_INIT(STATEMENT_MAX);
	make_hub_keys(keys);
	memcpy(pinned.signers[0], keys[OLD].public_key, SEAL_KEY_SIZE);
	l = list_of(keys, HAS_OLD, 3);
	memcpy(l.keys[l.count++], keys[OLD].public_key, SEAL_KEY_SIZE);
	assert_int_equal(signer_list_sign(&l, keys[OLD].private_key, &list, &err), 0);
	assert_int_equal(signer_list_open(list.data, list.len, &pinned, &read, &err), -1);
	assert_string_equal(err.message, "signing keys: the list is malformed");
	buf_reset(&list);
	buf_put_u64(&body, 3);
	buf_put_u8(&body, BUNDLE_SIGNERS_MAX + 1);
	for (uint8_t i = 0; i <= BUNDLE_SIGNERS_MAX; i++) {
		buf_put_u8(&body, i);
		buf_add(&body, no_key, SEAL_KEY_SIZE - 1);
	}
	assert_int_equal(statement_sign("certsync signing keys 1", &body, keys[OLD].private_key, &list, &err), 0);
	assert_int_equal(signer_list_open(list.data, list.len, &pinned, &read, &err), -1);
	assert_string_equal(err.message, "signing keys: the list is malformed");
	buf_reset(&list);
	sign_keys(keys, HAS_OLD | HAS_NEXT, 5, OLD, &list);
	assert_int_equal(signer_list_open(list.data, list.len, &pinned, &read, &err), 0);
	for (size_t i = 0; i < list.len; i++) {
		list.data[i] ^= 1;
		assert_int_equal(signer_list_open(list.data, list.len, &pinned, &read, &err), -1);
		list.data[i] ^= 1;
		assert_int_equal(signer_list_open(list.data, i, &pinned, &read, &err), -1);
	}
	/* What was signed as a list of signing keys is not taken for a list of host keys. */
	struct host_pins hosts;
	assert_int_equal(host_pins_open(list.data, list.len, &pinned, &hosts, &err), -1);
	assert_int_equal(err.kind, ERROR_UNTRUSTED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_secret_becomes_the_same_keys_everywhere),
		cmocka_unit_test(a_request_comes_back_as_it_went),
		cmocka_unit_test(no_bit_of_a_request_may_change),
		cmocka_unit_test(an_answer_belongs_to_its_request),
		cmocka_unit_test(a_refusal_proves_nothing),
		cmocka_unit_test(a_version_of_tomorrow_is_named),
		cmocka_unit_test(a_line_is_read_with_its_secret),
		cmocka_unit_test(a_line_that_was_cut_or_changed_says_so),
		cmocka_unit_test(no_bit_of_a_line_may_change),
		cmocka_unit_test_setup_teardown(
			the_hubs_list_replaces_what_it_said_before_and_nothing_else, scratch_setup, scratch_teardown),
		cmocka_unit_test(no_bit_of_the_hubs_list_may_change),
		cmocka_unit_test_setup_teardown(the_old_signing_key_brings_the_next_which_takes_the_old_one_away,
			scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(
			a_list_of_signing_keys_that_is_not_the_hubs_next_is_refused, scratch_setup, scratch_teardown),
		cmocka_unit_test(signing_keys_stand_once_in_a_list_that_ends_with_them),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
