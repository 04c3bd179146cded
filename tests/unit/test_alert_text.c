/* What a person reads: subjects, the JSON of a message within its bounds, the mail as RFC 5322 has it. */
#include "hub/worker/mail.h"
#include "lib/alert/alert_text.h"
#include "lib/core/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW 1800000000LL

static const struct condition_policy policy = {.hold = 0, .repeat = 0};

/* Returns what one round of these conditions has to say. */
static struct condition_notice notice_of(const struct conditions *seen)
{
	struct condition_book b = {0};
	struct condition_notice out = {0};
	condition_round(&b, seen, &policy, NOW, &out);
	condition_book_release(&b);
	return out;
}

static void expect_subject(const struct conditions *seen, const char *wanted)
{
	char subject[ALERT_SUBJECT_MAX];
	auto_notice struct condition_notice n = notice_of(seen);
	alert_subject(&n, subject);
	assert_string_equal(subject, wanted);
}

static void subjects_say_what_and_where(void **state)
{
	(void)state;
	auto_conditions struct conditions seen = {0};
	conditions_add(&seen, CONDITION_MISMATCH, true, "mail.domain.pl 192.0.2.1:993", "x");
	expect_subject(&seen, "certsync: mail.domain.pl: mismatch, 192.0.2.1:993");
	conditions_add(&seen, CONDITION_MISMATCH, true, "mail.domain.pl 192.0.2.2:993", "x");
	expect_subject(&seen, "certsync: mail.domain.pl: mismatch on 2 endpoints");
	conditions_add(&seen, CONDITION_MISMATCH, true, "www.domain.pl 192.0.2.2:443", "x");
	expect_subject(&seen, "certsync: mismatch on 3 endpoints");
	conditions_add(&seen, CONDITION_AWAY, true, "standby", "x");
	expect_subject(&seen, "certsync: 4 problems: away (1), mismatch (3)");
}

static void what_does_not_fit_is_counted(void **state)
{
	(void)state;
	auto_conditions struct conditions seen = {0};
	char subject[CONDITION_SUBJECT_MAX], text[CONDITION_TEXT_MAX];
	memset(text, '"', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	for (int i = 0; i < 5000; i++) {
		snprintf(subject, sizeof(subject), "mail.domain.pl 192.0.2.1:%d", i);
		conditions_add(&seen, CONDITION_UNREACHABLE, true, subject, "%s", text);
	}
	auto_notice struct condition_notice n = notice_of(&seen);
	auto_alert_message struct alert_message message, got;
	alert_message_make(&n, "hub", "id", NOW, &message);
	auto_json cJSON *written = alert_message_encode(&message);
	auto_buf struct buf out = BUF_INIT(64 * 1024 - 1), again = BUF_INIT(64 * 1024 - 1);
	assert_int_equal(json_print(written, &out), 0);
	assert_true(message.count > 5);
	assert_int_equal(message.count + message.more, 5000);
	/* What is read back says the same. */
	struct error err;
	assert_int_equal(alert_message_decode(written, &got, &err), 0);
	auto_json cJSON *rewritten = alert_message_encode(&got);
	assert_int_equal(json_print(rewritten, &again), 0);
	assert_string_equal(buf_text(&out), buf_text(&again));
}

static void what_is_no_message_is_named(void **state)
{
	(void)state;
	static const struct {
		const char *from, *to, *fault;
	} faults[] = {
		{"\"raised\"", "\"sung\"", "conditions: event: \"sung\" is not known"},
		{"\"away\"", "\"bored\"", "conditions: kind: \"bored\" is not known"},
		{"\"since\":\"2", "\"since\":\"x", "conditions: since: \"x"},
		{"\"time\":\"2", "\"time\":\"x", "time: \"x"},
		{"\"id\":\"", "\"id\":\"0123456789abcdef0123456789abcdef", "id: is longer than 32 bytes"},
		{"\"more\":0", "\"more\":-1", "more: -1 is out of range"},
		{"\"critical\":true,\"more\"", "\"critical\":1,\"more\"", "critical: is not true or false"},
	};
	auto_conditions struct conditions seen = {0};
	conditions_add(&seen, CONDITION_AWAY, true, "mail", "it is away");
	auto_notice struct condition_notice n = notice_of(&seen);
	auto_alert_message struct alert_message message;
	alert_message_make(&n, "hub", "id", NOW, &message);
	auto_json cJSON *written = alert_message_encode(&message);
	auto_buf struct buf out = BUF_INIT(8192);
	assert_int_equal(json_print(written, &out), 0);
	for (size_t i = 0; i < COUNT(faults); i++) {
		struct error err;
		struct alert_message got;
		const char *text = buf_text(&out), *at = strstr(text, faults[i].from);
		assert_non_null(at);
		auto_free char *bad =
			mem_printf("%.*s%s%s", (int)(at - text), text, faults[i].to, at + strlen(faults[i].from));
		auto_json cJSON *o = json_parse(bad, strlen(bad), &err);
		assert_non_null(o);
		assert_int_equal(alert_message_decode(o, &got, &err), -1);
		if (!strstr(err.message, faults[i].fault))
			print_error("%s: %s\n", faults[i].to, err.message);
		assert_non_null(strstr(err.message, faults[i].fault));
		assert_null(got.text);
	}
}

static char *mail_of(const char *text)
{
	struct buf out = BUF_INIT(64 * 1024);
	const struct alert_mail mail = {.from = "certsync@domain.pl",
		.to = "admin@domain.pl",
		.subject = "a\r\nBcc: x@domain.pl \xc5\xbc",
		.text = text,
		.id = "1",
		.host = "domain.pl",
		.now = NOW};
	assert_int_equal(alert_mail_print(&mail, &out), 0);
	char *copy = mem_strdup(buf_text(&out));
	buf_release(&out);
	return copy;
}

static void no_line_of_a_mail_is_long(const char *mail)
{
	for (const char *at = mail; *at;) {
		size_t len = strcspn(at, "\r\n");
		assert_true(len <= 90);
		at += len;
		assert_true(strncmp(at, "\r\n", 2) == 0 || !*at);
		at += *at ? 2 : 0;
	}
}

static void a_mail_has_its_headers_and_nobody_elses(void **state)
{
	(void)state;
	auto_free char *mail = mail_of("one\ntwo\n");
	assert_non_null(strstr(mail, "Date: Fri, 15 Jan 2027 08:00:00 +0000\r\n"));
	assert_non_null(strstr(mail, "\r\nSubject: a??Bcc: x@domain.pl ??\r\n"));
	assert_non_null(strstr(mail, "\r\nMessage-ID: <1@domain.pl>\r\n"));
	assert_non_null(strstr(mail, "\r\nAuto-Submitted: auto-generated\r\n"));
	assert_non_null(strstr(mail, ": 7bit\r\n\r\none\r\ntwo\r\n"));
}

static void long_lines_are_wrapped_between_words(void **state)
{
	(void)state;
	auto_buf struct buf text = BUF_INIT(8192);
	for (int i = 0; i < 100; i++)
		buf_addf(&text, "%sword%d", i ? " " : "  ", i);
	auto_free char *mail = mail_of(buf_text(&text));
	no_line_of_a_mail_is_long(mail);
	assert_non_null(strstr(mail, "word99\r\n"));
	assert_null(strstr(mail, "\r\n\r\n\r\n"));
}

static void other_letters_are_quoted(void **state)
{
	(void)state;
	auto_free char *mail = mail_of("za\xc5\xbc\xc3\xb3\xc5\x82\xc4\x87 = \n");
	assert_non_null(strstr(mail, ": quoted-printable\r\n\r\nza=C5=BC=C3=B3=C5=82=C4=87 =3D=20\r\n"));
	auto_free char *longer = mem_alloc(3001);
	memset(longer, 'x', 3000);
	auto_free char *wrapped = mail_of(longer);
	no_line_of_a_mail_is_long(wrapped);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(subjects_say_what_and_where),
		cmocka_unit_test(what_does_not_fit_is_counted),
		cmocka_unit_test(what_is_no_message_is_named),
		cmocka_unit_test(a_mail_has_its_headers_and_nobody_elses),
		cmocka_unit_test(long_lines_are_wrapped_between_words),
		cmocka_unit_test(other_letters_are_quoted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
