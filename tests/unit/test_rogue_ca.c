/* An authority that lies. One reply of a sound dialogue, from the corpus of tests/fuzz/acme.c, is changed by every
 * change that is known of authorities, in every part of it. Only the certificate of the sound dialogue may be issued,
 * and each failure must be a clean one. The server runs in this process; tests/e2e/issue/acme.t lies over real TLS. */
#include "tests/fuzz/acme.c"

#include "lib/core/fs.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

enum { REPLIES_MAX = 16, LONG = 100000 };
static char *reply[REPLIES_MAX]; /* the replies of the present dialogue; the first one begins with the flags */
static size_t reply_count;
static uint8_t sound_leaf[CHAIN_SHA256_SIZE];
static struct {
	unsigned replies, issued, failed;
} seen;

static void load(const char *name)
{
	auto_buf struct buf all = BUF_INIT(64 * 1024);
	auto_free char *path = mem_printf("tests/fuzz/corpus/acme/%s", name);
	struct error err;
	while (reply_count)
		free(reply[--reply_count]);
	if (fs_read(AT_FDCWD, path, false, &all, &err) < 0)
		fail_msg("%s", err.message);
	stored = all.data[0];
	for (size_t at = 1; at < all.len && reply_count < REPLIES_MAX; at += strlen(reply[reply_count++]) + 1)
		reply[reply_count] =
			mem_strndup((const char *)all.data + at, strnlen((const char *)all.data + at, all.len - at));
}

/* Plays the whole dialogue with `text` in the place of reply `changed`, and checks that it ends in exactly one way. */
static void play(size_t changed, const char *text)
{
	auto_buf struct buf all = BUF_INIT(16 << 20);
	buf_put_u8(&all, (uint8_t)stored);
	for (size_t i = 0; i < reply_count; i++) {
		const char *said = i == changed ? text : reply[i];
		buf_add(&all, said, strlen(said) + (i + 1 < reply_count));
	}
	issued = failed = 0;
	LLVMFuzzerTestOneInput(all.data, all.len);
	if (issued + failed != 1)
		fail_msg("issued %u times, failed %u times: %.300s", issued, failed, text);
	if (issued && seen.replies && memcmp(issued_leaf, sound_leaf, sizeof(sound_leaf)) != 0)
		fail_msg("another leaf is issued: %.300s", text);
	seen.replies++;
	seen.issued += issued;
	seen.failed += failed;
}

/* ---- changes of status and headers ---- */

static const char *body_of(const char *text)
{
	const char *end = strstr(text, "\n\n");
	return end ? end + 2 : text + strlen(text);
}

static void play_with(size_t i, const char *status, const char *header, bool replace)
{
	const char *rest = strchr(reply[i], '\n') + 1, *body = body_of(reply[i]);
	auto_free char *headers =
		replace ? mem_strdup("Replay-Nonce: n1\n\n") : mem_strndup(rest, (size_t)(body - rest));
	auto_free char *text = mem_printf("%s\n%s%s%s%s", status, header, *header ? "\n" : "", headers, body);
	play(i, text);
}

static void change_head(size_t i)
{
	static const char *const statuses[] = {"0", "100", "204", "301", "302", "304", "308", "400", "401", "403",
		"404", "405", "409", "413", "418", "429", "500", "502", "503", "504", "999", "-1",
		"99999999999999999999"};
	static const char *const headers[] = {"Content-Type: text/html",
		"Content-Type:", "Content-Type: application/json; charset=\x01", "Replay-Nonce:", "Replay-Nonce: ../x",
		"Replay-Nonce: a\tb", "Retry-After: -1", "Retry-After: 1000000000000",
		"Retry-After: Sun, 06 Nov 1994 08:49:37 GMT", "Retry-After: Fri, 01 Jan 2100 00:00:00 GMT",
		"Retry-After: soon", "Retry-After:", "Date: Fri, 99 Foo 0000 99:99:99 GMT",
		"Date: Thu, 01 Jan 1970 00:00:00 GMT", "Location: file:///etc/passwd", "Location: http://ca/x",
		"Location: https://127.0.0.1:1/x", "Location: ../x",
		"Location:", "Link: <file:///etc/passwd>;rel=\"alternate\"", "Link: <https://ca/x>;rel=\"alternate\"",
		"Link: <", "X", ":"};
	for (size_t k = 0; k < COUNT(statuses); k++)
		play_with(i, statuses[k], "", false);
	for (size_t k = 0; k < COUNT(headers); k++) {
		play_with(i, "200", headers[k], false);
		play_with(i, "200", headers[k], true);
		play_with(i, "503", headers[k], true);
	}
}

/* ---- changes of JSON ---- */

static char *nested(void)
{
	char *text = mem_alloc(LONG + 1);
	memset(text, '[', LONG);
	return text;
}

static char *long_text(void)
{
	char *text = mem_alloc(LONG + 1);
	memset(text, 'x', LONG);
	return text;
}

static void play_body(size_t i, const char *body)
{
	size_t head = (size_t)(body_of(reply[i]) - reply[i]);
	auto_free char *text = mem_printf("%.*s%s", (int)head, reply[i], body);
	play(i, text);
}

static void play_tree(size_t i, const cJSON *root)
{
	char *text = cJSON_PrintUnformatted(root);
	play_body(i, text);
	cJSON_free(text);
}

static void change_value(size_t i, const cJSON *root, cJSON *node)
{
	static const char *const texts[] = {"", "../x", "$(id)", "file:///etc/passwd", "http://ca/x",
		"https://127.0.0.1:1/x", "https://ca/\r\nX: y", "\x1b[2J\r\n", "\xff\xfe", "processing", "invalid",
		"ready", "valid", "deactivated", "unheard-of", "mail.domain.pl.evil.example",
		"urn:ietf:params:acme:error:rateLimited", "9999-99-99T99:99:99Z"};
	const cJSON kept = *node;
	auto_free char *endless = long_text();
	for (size_t k = 0; k <= COUNT(texts); k++) {
		node->type = cJSON_String, node->child = NULL,
		node->valuestring = (char *)(uintptr_t)(k < COUNT(texts) ? texts[k] : endless);
		play_tree(i, root);
	}
	static const int types[] = {cJSON_NULL, cJSON_True, cJSON_Number, cJSON_Array, cJSON_Object};
	for (size_t k = 0; k < COUNT(types); k++) {
		node->type = types[k], node->child = NULL, node->valuestring = NULL, node->valuedouble = -1e300;
		play_tree(i, root);
	}
	node->type = kept.type, node->child = kept.child, node->valuestring = kept.valuestring,
	node->valuedouble = kept.valuedouble;
}

static void change_key(size_t i, const cJSON *root, cJSON *node)
{
	char *kept = node->string;
	auto_free char *upper = mem_strdup(kept);
	upper[0] = (char)(upper[0] ^ 0x20);
	static const char *const names[] = {"", "__proto__"};
	for (size_t k = 0; k < COUNT(names); k++) {
		node->string = (char *)(uintptr_t)names[k];
		play_tree(i, root);
	}
	node->string = upper;
	play_tree(i, root);
	node->string = kept;
}

static void change_nodes(size_t i, cJSON *root, cJSON *node)
{
	for (cJSON *at = node; at; at = at->next) {
		change_value(i, root, at);
		if (at->string)
			change_key(i, root, at);
		change_nodes(i, root, at->child);
	}
}

static void change_text(size_t i, const char *body)
{
	size_t len = strlen(body);
	static const char *const bodies[] = {"", "{", "[]", "null", "\"", "<html>\x1b[31mWelcome</html>", "{}", "{} {}",
		"\xef\xbb\xbf{}", "{\"a\":1e999}", "{\"status\":\"valid\",\"status\":\"invalid\"}",
		"{\"type\":\"urn:ietf:params:acme:error:badNonce\"}",
		("{\"type\":\"urn:ietf:params:acme:error:rateLimited\",\"detail\":\"too\\u001b[2J\\r\\nmany\","
		 "\"subproblems\":[{\"type\":7},{}]}")};
	for (size_t k = 0; k < COUNT(bodies); k++)
		play_body(i, bodies[k]);
	for (size_t k = 1; k < 8; k++) {
		auto_free char *cut = mem_strndup(body, len * k / 8);
		play_body(i, cut);
	}
	auto_free char *deep = nested();
	play_body(i, deep);
	auto_free char *doubled =
		mem_printf("%.*s,\"finalize\":\"https://192.0.2.1/f\",\"newOrder\":\"https://192.0.2.1/o\",%s",
			(int)len - 1, body, body[0] == '{' ? body + 1 : body);
	play_body(i, doubled);
}

/* ---- changes of a chain ---- */

static void change_chain(size_t i, const char *body)
{
	static const char first_line[] = "-----BEGIN CERTIFICATE-----\n";
	const char *second = strstr(body + 1, first_line);
	auto_free char *leaf = mem_strndup(body, (size_t)(second - body));
	const char *own = strstr(fuzz_pair, first_line);
	auto_free char *key = mem_strndup(fuzz_pair, (size_t)(own - fuzz_pair));
	auto_free char *filler = long_text();
	char *const bodies[] = {mem_strdup(leaf), mem_strdup(second), mem_printf("%s%s", second, leaf),
		mem_printf("%s%s%s", leaf, leaf, second),
		mem_printf("Here it is:\n\n%s\n\nset ssl cert x\n\n%s\nthank you\n", leaf, second),
		mem_printf("%s%s%s", leaf, key, second), mem_printf("%s%s", key, body), mem_printf("%s%s", own, second),
		mem_printf("%s%s", leaf, own), mem_printf("%s%s%s", body, filler, filler),
		mem_printf("%s%s%s%s%s%s%s%s%s%s", body, body, body, body, body, body, body, body, body, body),
		mem_printf("-----BEGIN TRUSTED CERTIFICATE-----\n%s", body + strlen(first_line)),
		mem_printf("-----BEGIN CERTIFICATE-----\n%s", body), mem_printf("%.*s!%s", 100, body, body + 101),
		mem_printf("%.*s", (int)strlen(leaf) - 40, leaf)};
	for (size_t k = 0; k < COUNT(bodies); k++) {
		play_body(i, bodies[k]);
		free(bodies[k]);
	}
	/* One bit of the leaf or of its issuer is changed, so that the leaf is not the key's, or not what the issuer
	 * signed. */
	for (size_t at = strlen(first_line); at < strlen(body); at += 23) {
		auto_free char *flipped = mem_strdup(body);
		flipped[at] = flipped[at] == 'A' ? 'B' : 'A';
		play_body(i, flipped);
	}
}

static void every_lie(const char *dialogue)
{
	load(dialogue);
	for (size_t i = 0; i < reply_count; i++) {
		const char *body = body_of(reply[i]);
		change_head(i);
		change_text(i, body);
		cJSON *root = cJSON_Parse(body);
		if (root)
			change_nodes(i, root, root);
		else if (strstr(body, "BEGIN CERT"))
			change_chain(i, body);
		cJSON_Delete(root);
	}
}

static void a_sound_dialogue_is_issued(void **state)
{
	(void)state;
	load("resume");
	play(REPLIES_MAX, "");
	assert_int_equal(seen.issued, 1);
	memcpy(sound_leaf, issued_leaf, sizeof(sound_leaf));
}

/* Returns the index of the reply in which the server says what it wants proven. */
static size_t authorization_of(const char *dialogue)
{
	load(dialogue);
	size_t i = 0;
	while (i < reply_count && !strstr(reply[i], "\"challenges\""))
		i++;
	assert_true(i < reply_count);
	return i;
}

/* RFC 8555 section 7.1.4: only one of the order's names may be asked to be proven, exactly as the order has it, and
 * once. */
static void only_what_was_asked_for_is_proven(void **state)
{
	static const char own[] = "\"identifier\":{\"type\":\"dns\",\"value\":\"mail.domain.pl\"}";
	static const struct {
		const char *identifier, *why; /* `why`: NULL when it is proven */
	} lies[] = {
		{"\"identifier\":{\"type\":\"dns\",\"value\":\"MAIL.domain.PL\"}", NULL},
		{"\"identifier\":{\"type\":\"dns\",\"value\":\"mail.domain.pl\"},\"wildcard\":false", NULL},
		{"\"identifier\":{\"type\":\"dns\",\"value\":\"bank.example\"}",
			"authorization-foreign: the server wants \"bank.example\""},
		{"\"identifier\":{\"type\":\"dns\",\"value\":\"domain.pl\"}",
			"authorization-foreign: the server wants \"domain.pl\""},
		{"\"identifier\":{\"type\":\"dns\",\"value\":\"mail.domain.pl.\"}", "authorization-foreign"},
		{"\"identifier\":{\"type\":\"dns\",\"value\":\"a\\nb\\u001b[2J\"}",
			"authorization-foreign: the server wants \"a b?[2J\""},
		{"\"identifier\":{\"type\":\"ip\",\"value\":\"mail.domain.pl\"}", "authorization-foreign"},
		{"\"identifier\":{\"type\":\"dns\",\"value\":7}", "authorization-foreign: the server wants \"\""},
		{"\"identifier\":{\"type\":\"dns\",\"value\":\"mail.domain.pl\"},\"wildcard\":true",
			"authorization-foreign: the server wants \"*.mail.domain.pl\""},
		{"\"status2\":1", "authorization-foreign"},
	};
	(void)state;
	size_t i = authorization_of("issue");
	const char *at = strstr(reply[i], own);
	assert_non_null(at);
	for (size_t k = 0; k < COUNT(lies); k++) {
		auto_free char *text =
			mem_printf("%.*s%s%s", (int)(at - reply[i]), reply[i], lies[k].identifier, at + strlen(own));
		proven = 0;
		play(i, text);
		assert_int_equal(proven, lies[k].why ? 0 : 1);
		/* The new order has a new key, for which the corpus has no certificate, so that it must fail at its
		 * end. */
		assert_int_equal(failed, 1);
		if (!strstr(failure_said.message, lies[k].why ? lies[k].why : "certificate"))
			fail_msg("not \"%s\" but \"%s\"", lies[k].why ? lies[k].why : "certificate",
				failure_said.message);
		if (lies[k].why)
			assert_int_equal(failure_said.kind, ERROR_UNTRUSTED);
	}
}

static void no_lie_ends_in_anything_else(void **state)
{
	(void)state;
	every_lie("resume");
	every_lie("resume-ready");
	every_lie("issue");
	printf("%u replies that lie: %u had no bearing on what was issued, %u were clean failures\n", seen.replies,
		seen.issued, seen.failed);
	assert_true(seen.replies >= 500 && seen.failed >= 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sound_dialogue_is_issued),
		cmocka_unit_test(only_what_was_asked_for_is_proven),
		cmocka_unit_test(no_lie_ends_in_anything_else),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
