/* The messages of the protocol: each comes back as it went, and a bad one is refused with the name of its fault. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/core/frame.h"
#include "lib/wire/json.h"
#include "lib/core/mem.h"
#include "lib/wire/message.h"
#include "tests/unit/range.h"

#define HEX "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static struct message full(enum message_type type)
{
	struct message m = {.type = type,
		.protocol = 1,
		.clock = 1800000000,
		.count = 3,
		.content.revision = {2, 7},
		.attempt = 41,
		.content.not_before = 1,
		.content.not_after = 4102444800,
		.high_water = {2, 8},
		.staged = {2, 9},
		.stopped = true,
		.may_expire_sooner = true,
		.rollback = true,
		.force = true,
		.timeout = 300,
		.milliseconds = 12,
		.rolled_back = true,
		.permanent = true,
		.held = true,
		.seconds = MESSAGE_HOLD_MAX,
		.repaired = 1800000001};
	strcpy(m.version, "0.1.0");
	strcpy(m.instance, "00112233445566778899aabbccddeeff");
	strcpy(m.name, "backup1");
	strcpy(m.certificate, "mail.domain.pl");
	assert_int_equal(chain_unhex(HEX, m.content.digest), 0);
	assert_int_equal(chain_unhex(HEX, m.content.leaf), 0);
	strcpy(m.step, "reload");
	strcpy(m.text, "it \"said\" no");
	strcpy(m.signers, "AAAA");
	strcpy(m.output, "line one\nline two");
	message_add_name(&m, "mail.domain.pl");
	message_add_name(&m, "*.domain.pl");
	struct message_probe *p = message_add_probe(&m);
	strcpy(p->endpoint, "127.0.0.1:25");
	strcpy(p->service, "postfix");
	strcpy(p->fingerprint, HEX);
	p->served = p->match = true;
	p->milliseconds = 9;
	return m;
}

static int decode_text(const char *text, struct message *ret, struct error *err)
{
	return message_decode(text, strlen(text), ret, err);
}

static void a_hold_of_over_a_week_is_refused(void **state)
{
	(void)state;
	struct error err;
	auto_message struct message m = {0};
	const char *const fine =
		"{\"type\":\"hold\",\"certificate\":\"a.pl\",\"revision\":\"1.2\",\"attempt\":0,\"seconds\":604800}";
	const char *const longer =
		"{\"type\":\"hold\",\"certificate\":\"a.pl\",\"revision\":\"1.2\",\"attempt\":0,\"seconds\":604801}";
	assert_int_equal(decode_text(fine, &m, &err), 0);
	assert_int_equal(m.seconds, 604800);
	assert_int_equal(decode_text(longer, &m, &err), -1);
	assert_non_null(strstr(err.message, "hold: seconds"));
}

/* Members that protocol 1 did not have may be absent. */
static void messages_of_protocol_1_are_taken(void **state)
{
	(void)state;
	struct error err;
	auto_message struct message inventory = {0};
	auto_message struct message probed = {0};
	assert_int_equal(
		decode_text(
			"{\"type\":\"inventory\",\"certificate\":\"a.pl\",\"revision\":\"1.2\",\"attempt\":0,\"digest\":\"\","
			"\"fingerprint\":\"\",\"not_before\":0,\"not_after\":0,\"high_water\":\"1.2\",\"staged\":\"0.0\",\"stopped\":false}",
			&inventory, &err),
		0);
	assert_false(inventory.held);
	assert_int_equal(
		decode_text(
			"{\"type\":\"probed\",\"certificate\":\"a.pl\",\"revision\":\"1.2\",\"attempt\":0,\"probes\":[]}",
			&probed, &err),
		0);
	assert_int_equal(probed.repaired, 0);
}

/* Every message that was decoded and encoded again gives the same text, so nothing is lost or changed on the way. */
static void each_message_comes_back_as_it_went(void **state)
{
	(void)state;
	for (int type = MESSAGE_HELLO; type <= MESSAGE_ERROR; type++) {
		struct error err;
		auto_message struct message m = full((enum message_type)type);
		auto_message struct message back = {0};
		auto_buf struct buf first = BUF_INIT(FRAME_MESSAGE_MAX);
		auto_buf struct buf second = BUF_INIT(FRAME_MESSAGE_MAX);
		message_encode(&m, &first);
		assert_int_equal(message_decode(first.data, first.len, &back, &err), 0);
		assert_int_equal(back.type, type);
		message_encode(&back, &second);
		assert_string_equal(buf_text(&first), buf_text(&second));
	}
}

static void names_are_domain_names_or_addresses(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		int result;
	} cases[] = {{"192.0.2.1", 0}, {"2001:db8::1", 0}, {"192.0.2.1 ", -1}, {"a b", -1}};
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct error err;
		auto_message struct message m = {.type = MESSAGE_OFFER};
		auto_message struct message back = {0};
		auto_buf struct buf text = BUF_INIT(FRAME_MESSAGE_MAX);
		m.content.revision = (struct revision){2, 7};
		strcpy(m.certificate, "mail.domain.pl");
		assert_int_equal(chain_unhex(HEX, m.content.digest), 0);
		assert_int_equal(chain_unhex(HEX, m.content.leaf), 0);
		message_add_name(&m, cases[i].name);
		message_encode(&m, &text);
		assert_int_equal(message_decode(text.data, text.len, &back, &err), cases[i].result);
	}
}

/* Encodes in a process of its own, since a message that cannot be encoded aborts it. */
static bool ends_by_abort(enum message_type type, size_t room)
{
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		struct message m = full(type);
		struct buf out = BUF_INIT(room);
		const struct rlimit none = {0, 0};
		setrlimit(RLIMIT_CORE, &none);
		fclose(stderr);
		message_encode(&m, &out);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void a_message_that_cannot_be_is_a_defect_of_the_caller(void **state)
{
	(void)state;
	assert_false(ends_by_abort(MESSAGE_PROBED, FRAME_MESSAGE_MAX));
	assert_true(ends_by_abort(MESSAGE_PROBED, 16));
	assert_true(ends_by_abort((enum message_type)9999, FRAME_MESSAGE_MAX));
}

static void some_fields_of_a_failure(void **state)
{
	(void)state;
	struct error err;
	auto_message struct message m = full(MESSAGE_FAILED);
	auto_message struct message back = {0};
	auto_buf struct buf text = BUF_INIT(FRAME_MESSAGE_MAX);
	message_encode(&m, &text);
	assert_int_equal(message_decode(text.data, text.len, &back, &err), 0);
	assert_string_equal(back.step, "reload");
	assert_string_equal(back.output, "line one\nline two");
	assert_true(back.rolled_back);
	assert_int_equal(back.attempt, 41);
}

static void the_largest_messages_fit_a_frame(void **state)
{
	(void)state;
	auto_message struct message m = full(MESSAGE_FAILED);
	auto_message struct message v = full(MESSAGE_VERIFIED);
	auto_buf struct buf text = BUF_INIT(FRAME_MESSAGE_MAX);
	memset(m.output, '"', sizeof(m.output) - 1);
	memset(m.text, '\\', sizeof(m.text) - 1);
	message_encode(&m, &text);
	assert_uint_in_range(text.len, 2 * sizeof(m.output), FRAME_MESSAGE_MAX);
	buf_reset(&text);
	struct message_probe *p;
	while ((p = message_add_probe(&v))) {
		*p = v.probes[0];
		memset(p->text, '"', sizeof(p->text) - 1);
		memset(p->endpoint, 'x', sizeof(p->endpoint) - 1);
	}
	message_encode(&v, &text);
	assert_int_equal(v.probe_count, MESSAGE_PROBES_MAX);
}

static void refuse(const char *text, const char *reason)
{
	struct error err = {0};
	auto_message struct message m = {0};
	assert_int_equal(message_decode(text, strlen(text), &m, &err), -1);
	if (!strstr(err.message, reason))
		fail_msg("\"%s\" does not contain \"%s\"", err.message, reason);
}

#define OFFER(digest, name) \
	"{\"type\":\"offer\",\"certificate\":\"a.b\",\"revision\":\"1.1\",\"attempt\":1,\"digest\":" digest \
	",\"fingerprint\":\"\",\"not_before\":0,\"not_after\":0,\"names\":[" name "],\"may_expire_sooner\":false," \
	"\"rollback\":false,\"force\":false}"
#define NO_HEX "zz112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static void a_bad_message_names_its_fault(void **state)
{
	(void)state;
	refuse("{\"type\":\"surprise\"}", "unknown message \"surprise\"");
	refuse("{\"x\":1}", "type: is missing");
	refuse("[]", "");
	refuse(OFFER("\"" HEX "\"", "1"), "not a name");
	refuse(OFFER("\"" HEX "\"", "\"a b\""), "not a name");
	refuse(OFFER("\"00\"", "\"a.pl\""), "digest: is not a SHA-256");
	refuse(OFFER("\"" NO_HEX "\"", "\"a.pl\""), "digest: is not a SHA-256");
	refuse("{\"type\":\"fetch\"}", "fetch: certificate: is missing");
	refuse("{\"type\":\"fetch\",\"certificate\":\"../etc\",\"revision\":\"1.1\",\"attempt\":1}",
		"outside the alphabet");
	refuse("{\"type\":\"fetch\",\"certificate\":\"a.b\",\"revision\":\"1.01\",\"attempt\":1}", "is not a revision");
	refuse("{\"type\":\"fetch\",\"certificate\":\"a.b\",\"revision\":\"1.1\",\"attempt\":-1}", "out of range");
	refuse("{\"type\":\"hello\",\"protocol\":1,\"version\":\"x\",\"instance\":\"zz\",\"clock\":1,\"count\":1}",
		"instance");
	refuse("{\"type\":\"hello\",\"protocol\":1,\"version\":\"x\",\"instance\":\"zz112233445566778899aabbccddeeff\",\"clock\":1,"
	       "\"count\":1}",
		"not 16 bytes in hex");
	refuse("{\"type\":\"probed\",\"certificate\":\"a.b\",\"revision\":\"1.1\",\"attempt\":1,\"probes\":[1]}",
		"not an object");
}

static void unknown_members_are_passed_over(void **state)
{
	(void)state;
	struct error err;
	auto_message struct message m = {0};
	static const char text[] = "{\"type\":\"ping\",\"new_in_version_9\":[1,{\"a\":2}]}";
	assert_int_equal(message_decode(text, strlen(text), &m, &err), 0);
	assert_int_equal(m.type, MESSAGE_PING);
}

/* Prints and decodes `o`. Returns 0 or -1. */
static int decode_object(const cJSON *o)
{
	struct error err;
	auto_message struct message m = {0};
	auto_buf struct buf text = BUF_INIT(FRAME_MESSAGE_MAX);
	assert_int_equal(json_print(o, &text), 0);
	return message_decode(text.data, text.len, &m, &err);
}

static bool may_be_absent(const char *type, const char *key)
{
	static const char *const optional[] = {"welcome.host_keys", "inventory.held", "probed.repaired"};
	char member[64];
	snprintf(member, sizeof(member), "%s.%s", type, key);
	for (size_t i = 0; i < COUNT(optional); i++)
		if (strcmp(member, optional[i]) == 0)
			return true;
	return false;
}

/* Returns the object of which a member is spoilt: the message itself, or its first probe. */
static cJSON *part_of(cJSON *o, bool probe)
{
	return probe ? cJSON_GetArrayItem(cJSON_GetObjectItem(o, "probes"), 0) : o;
}

/* Spoils each member in turn: it is absent, or of a type that no member has. */
static void spoil_each_member(cJSON *whole, const char *type, bool probe)
{
	const cJSON *member;
	cJSON_ArrayForEach (member, part_of(whole, probe)) {
		auto_json cJSON *o = cJSON_Duplicate(whole, true);
		cJSON_DeleteItemFromObjectCaseSensitive(part_of(o, probe), member->string);
		if (decode_object(o) != (may_be_absent(probe ? "probes" : type, member->string) ? 0 : -1))
			fail_msg("%s without %s", type, member->string);
		cJSON_AddNullToObject(part_of(o, probe), member->string);
		if (decode_object(o) != -1)
			fail_msg("%s with a null for %s", type, member->string);
	}
}

static void every_member_is_looked_at(void **state)
{
	(void)state;
	for (int type = MESSAGE_HELLO; type <= MESSAGE_ERROR; type++) {
		struct error err;
		auto_message struct message m = full((enum message_type)type);
		auto_buf struct buf text = BUF_INIT(FRAME_MESSAGE_MAX);
		strcpy(m.host_keys, "SHA256:abc");
		message_encode(&m, &text);
		auto_json cJSON *o = json_parse(text.data, text.len, &err);
		assert_int_equal(decode_object(o), 0);
		spoil_each_member(o, message_type_name(m.type), false);
		if (part_of(o, true))
			spoil_each_member(o, message_type_name(m.type), true);
	}
}

/* Each text of each message gets something that would forge a row, steer a terminal or hide, and is refused by its
 * name. */
static void a_text_outside_its_alphabet_is_refused_by_name(void **state)
{
	(void)state;
	refuse("{\"type\":\"error\",\"step\":\"x\",\"text\":\"a\\u001b[2J\"}", "error: text: has a control character");
	refuse("{\"type\":\"error\",\"step\":\"x\",\"text\":\"a\\u009bc\"}", "error: text: has a control character");
	refuse("{\"type\":\"error\",\"step\":\"x\",\"text\":\"a\xff\"}", "error: text: has bytes that are not UTF-8");
	refuse("{\"type\":\"error\",\"step\":\"x\",\"text\":\"a\\u202eb\"}",
		"error: text: has a character that cannot be seen");
	refuse("{\"type\":\"error\",\"step\":\"x\\n  mail  verified\",\"text\":\"a\"}",
		"error: step: has a control character");
	refuse("{\"type\":\"error\",\"step\":\"x2345678901234567890123456789012\",\"text\":\"a\"}",
		"error: step: is longer than 31 bytes");
	refuse("{\"type\":\"hello\",\"protocol\":1,\"version\":\"1\\t2\",\"instance\":\"00112233445566778899aabbccddeeff\",\"clock\":1,"
	       "\"count\":1}",
		"hello: version: has a control character");
}

static const char *const text_keys[] = {"version", "host_keys", "endpoint", "step", "text", "output"};

static bool is_text_key(const char *key)
{
	for (size_t i = 0; i < COUNT(text_keys); i++)
		if (strcmp(key, text_keys[i]) == 0)
			return true;
	return false;
}

/* Of all strings in messages only `output` takes a line feed, and none takes an escape. */
static void refuse_lines(cJSON *whole, bool probe, size_t *count)
{
	const cJSON *member;
	cJSON_ArrayForEach (member, part_of(whole, probe)) {
		if (!cJSON_IsString(member))
			continue;
		for (int escape = 0; escape < 2; escape++) {
			auto_json cJSON *o = cJSON_Duplicate(whole, true);
			const char *bad = escape ? "a\x1b[1m" : "a\nb";
			cJSON_ReplaceItemInObjectCaseSensitive(
				part_of(o, probe), member->string, cJSON_CreateString(bad));
			bool fine = !escape && strcmp(member->string, "output") == 0;
			if (decode_object(o) != (fine ? 0 : -1))
				fail_msg("%s: \"%s\" is %s", member->string, bad, fine ? "refused" : "taken");
			*count += is_text_key(member->string);
		}
	}
}

static void output_alone_has_lines(void **state)
{
	(void)state;
	size_t count = 0;
	for (int type = MESSAGE_HELLO; type <= MESSAGE_ERROR; type++) {
		struct error err;
		auto_message struct message m = full((enum message_type)type);
		auto_buf struct buf text = BUF_INIT(FRAME_MESSAGE_MAX);
		strcpy(m.host_keys, "SHA256:abc");
		message_encode(&m, &text);
		auto_json cJSON *o = json_parse(text.data, text.len, &err);
		refuse_lines(o, false, &count);
		if (part_of(o, true))
			refuse_lines(o, true, &count);
	}
	/* there are: hello 1, welcome 2, verified 2, failed 3, probed 2, pinned 1, error 2 */
	assert_int_equal(count, 2 * 13);
}

/* Whatever stands in our own fields, what is sent keeps to the alphabet. */
static void what_is_sent_keeps_to_the_alphabet(void **state)
{
	(void)state;
	struct error err;
	auto_message struct message m = full(MESSAGE_FAILED);
	auto_message struct message back = {0};
	auto_buf struct buf text = BUF_INIT(FRAME_MESSAGE_MAX);
	strcpy(m.text, "a\nb\x1b[2J \xe2\x80\xae \xc5");
	strcpy(m.output, "a\nb\x1b[2J");
	message_encode(&m, &text);
	assert_int_equal(message_decode(text.data, text.len, &back, &err), 0);
	assert_string_equal(back.text,
		"a b?[2J ?"
		"?"
		"? ?");
	assert_string_equal(back.output, "a\nb?[2J");
}

static void a_list_takes_no_more_than_its_room(void **state)
{
	(void)state;
	auto_message struct message m = {0};
	for (int i = 0; i < MESSAGE_NAMES_MAX + 1; i++)
		message_add_name(&m, "mail.domain.pl");
	assert_int_equal(m.name_count, MESSAGE_NAMES_MAX);
}

static void a_type_that_is_none_has_a_name_to_show(void **state)
{
	(void)state;
	assert_string_equal(message_type_name((enum message_type)200), "unknown");
	assert_string_equal(message_type_name(MESSAGE_PULL), "pull");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_message_comes_back_as_it_went),
		cmocka_unit_test(a_hold_of_over_a_week_is_refused),
		cmocka_unit_test(messages_of_protocol_1_are_taken),
		cmocka_unit_test(names_are_domain_names_or_addresses),
		cmocka_unit_test(a_message_that_cannot_be_is_a_defect_of_the_caller),
		cmocka_unit_test(some_fields_of_a_failure),
		cmocka_unit_test(the_largest_messages_fit_a_frame),
		cmocka_unit_test(a_bad_message_names_its_fault),
		cmocka_unit_test(a_text_outside_its_alphabet_is_refused_by_name),
		cmocka_unit_test(output_alone_has_lines),
		cmocka_unit_test(what_is_sent_keeps_to_the_alphabet),
		cmocka_unit_test(unknown_members_are_passed_over),
		cmocka_unit_test(every_member_is_looked_at),
		cmocka_unit_test(a_list_takes_no_more_than_its_room),
		cmocka_unit_test(a_type_that_is_none_has_a_name_to_show),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
