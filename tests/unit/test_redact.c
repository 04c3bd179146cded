/* What is blotted out of a hook's output, and what stays: these are the examples that lib/core/redact.h speaks of. Keys
 * are made here, so that each run has others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/pem.h>

#include "lib/core/mem.h"
#include "lib/core/redact.h"

enum { PART = 12 }; /* so many characters of a key in a row must not be shown to anybody */

static char *redacted(const char *text)
{
	auto_buf struct buf out = BUF_INIT(REDACT_ROOM(strlen(text)));
	redact(text, strlen(text), &out);
	return mem_strdup(buf_text(&out));
}

static void ordinary_text_stays(void **state)
{
	(void)state;
	static const char *const texts[] = {
		"",
		"\n\n",
		"postfix/postfix-script: fatal: the Postfix mail system is not running",
		"doveconf: Fatal: Error in configuration file /etc/dovecot/conf.d/10-ssl.conf line 12: Unknown setting: ssl_kye",
		"nginx: [emerg] cannot load certificate \"/etc/certsync/live/mail.domain.pl/combined.pem\": BIO_new_file() failed (SSL: "
		"error:80000002:system library::No such file or directory:calling fopen(/etc/certsync/live/mail.domain.pl/combined.pem, "
		"r) error:10000080:BIO routines::no such file)",
		"/usr/share/postgresql/common/programs/somewhere/else/configuration",
		"parsing [/etc/haproxy/haproxy.cfg:17] : 'bind *:443' : unable to load SSL certificate from PEM file '/etc/haproxy/certs/a.pem'.",
		"error:0A0C0103:SSL routines::internal error:ssl/s3_lib.c:4250:",
		"very-long-host-name-of-a-machine-in-a-cluster.eu-central-1.compute.internal.domain.pl:993",
		"SHA-256 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
		"SHA256 Fingerprint=00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF",
		"sha1 Fingerprint=00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33",
		"Serial Number: 04:f3:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff:01",
		"commit 9546939aabbccddeeff00112233445566778899a is old",
		"The server's key is SHA256:LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE",
		"Access denied for user 'certsync'@'localhost' (using password: YES)",
		"2026-11-30 02:57:07.123456+00 UTC [1234] LOG: received SIGHUP, reloading configuration files",
		"password authentication failed for user \"postgres\"",
		"smtp_password_file: '/etc/certsync/smtp' is not there",
		"smtp_password: /etc/certsync/smtp: No such file or directory",
		"00:16:3e:aa:bb:cc is an address, 2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff another, 12:34:56 a time",
		"https://acme.domain.pl:14000/acme/order/123 and https://user@www.domain.pl/",
		"Reloading\nRestarting\nConfiguration\nSynchronisation\nInternationalisation\ndone\n",
		"  certificate   state      since\n  mail          verified   2026-11-30T02:57:07Z\n",
	};
	for (size_t i = 0; i < COUNT(texts); i++) {
		auto_free char *out = redacted(texts[i]);
		assert_string_equal(out, texts[i]);
	}
}

static void a_secret_goes_and_what_stands_around_it_stays(void **state)
{
	(void)state;
	static const struct {
		const char *text, *shown;
	} cases[] = {
		{"secret \"bWFpbC5kb21haW4ucGw=\";", "secret \"" REDACT_MARK "\";"},
		{"key \"certsync\" { algorithm hmac-md5; secret \"b\"; };",
			"key \"certsync\" { algorithm hmac-md5; secret \"" REDACT_MARK "\"; };"},
		{"password=hunter2 next", "password=" REDACT_MARK " next"},
		{"db_password: 'hunter2', user: x", "db_password: '" REDACT_MARK "', user: x"},
		{"{\"api_key\":\"abc\",\"port\":1}", "{\"api_key\":\"" REDACT_MARK "\",\"port\":1}"},
		{"Authorization: Bearer abc.def", "Authorization: " REDACT_MARK},
		{"'Authorization: Basic dXNlcjpwdw', x", "'Authorization: " REDACT_MARK "', x"},
		{"sent TOKEN=abc", "sent TOKEN=" REDACT_MARK},
		{"cannot reach https://certsync:hunter2@dns.domain.pl/x",
			"cannot reach https://certsync:" REDACT_MARK "@dns.domain.pl/x"},
		{"nsupdate -y hmac-sha256:certsync:Q0hFQ0sgVEhJUyBTRUNSRVQgT1VUIE5PVyE= failed",
			"nsupdate -y hmac-sha256:certsync:" REDACT_MARK " failed"},
		{"key hmac-md5:certsync c2VjcmV0IG9mIFRTSUc=", "key hmac-md5:certsync " REDACT_MARK},
		{"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", REDACT_MARK},
		{"priv:\n    00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:\n    ff:00:11\npub:\n",
			"priv:\n    " REDACT_MARK ":\n    " REDACT_MARK "\npub:\n"},
		{"00000010  4d 49 47 48 41 67 45 41  4d 42 4d 47 42 79 71 47  |MIGHAgEAMBMGByqG|",
			"00000010  " REDACT_MARK},
		{"AGE-SECRET-KEY-1QQPQRSTUVWXYZ023456789ACDEFGHJKLMNPQRSTUVWXYZ0234567", "AGE-SECRET-KEY-" REDACT_MARK},
		{"\"d\":\"8-uR_lLw3kV0Qz_aC5nH2bX7yT1sJ9mG4pE6fD0iKoA\"", "\"d\":\"" REDACT_MARK "\""},
		/* haproxy quotes each line of a key behind the same words, and the last line is short. */
		{"[ALERT] (17) : parsing [/x.pem:9]: unknown keyword 'MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg' out of section.\n"
		 "[ALERT] (17) : parsing [/x.pem:10]: unknown keyword 'q7Xa' out of section.\n[ALERT] (17) : Fatal errors found.",
			"[ALERT] (17) : parsing [/x.pem:9]: unknown keyword '" REDACT_MARK "' out of section.\n"
			"[ALERT] (17) : parsing [/x.pem:10]: unknown keyword '" REDACT_MARK
			"' out of section.\n[ALERT] (17) : Fatal errors found."},
		{"-----BEGIN EC PRIVATE KEY-----\nabcd\nefgh\n-----END EC PRIVATE KEY-----\nbad key",
			"-----BEGIN EC PRIVATE KEY-----\n" REDACT_MARK "\n" REDACT_MARK
			"\n-----END EC PRIVATE KEY-----\nbad key"},
		{"at -----BEGIN X-----\\nab\\ncd\\n-----END X-----, says it",
			"at -----BEGIN X-----" REDACT_MARK "-----END X-----, says it"},
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		auto_free char *out = redacted(cases[i].text);
		assert_string_equal(out, cases[i].shown);
	}
}

/* ---- whole keys, quoted in every way ---- */

static char *new_key(int type)
{
	EVP_PKEY *key = type == EVP_PKEY_RSA ? EVP_RSA_gen(2048)
		: type == EVP_PKEY_EC        ? EVP_EC_gen("P-256")
					     : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	BIO *bio = BIO_new(BIO_s_mem());
	char *text = NULL;
	assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
	long len = BIO_get_mem_data(bio, &text);
	char *copy = mem_strndup(text, (size_t)len);
	BIO_free(bio);
	EVP_PKEY_free(key);
	return copy;
}

/* How a line of the key is quoted: what stands before and behind it, with its number for #; `width` is where lines are
 * broken anew, 0: as they are. */
struct quoting {
	const char *before, *after;
	size_t width;
	bool armour;
};

static void add_before(struct buf *out, const char *before, int number)
{
	for (; *before; before++)
		if (*before == '#')
			buf_addf(out, "%d", number);
		else
			buf_add(out, before, 1);
}

static char *quote(const char *pem, const struct quoting *q)
{
	auto_buf struct buf body = BUF_INIT(8192), out = BUF_INIT(65536);
	int number = 1;
	const char *begin = strchr(pem, '\n') + 1, *end = strstr(pem, "-----END");
	buf_addf(&out, "%s", "reading a key\n");
	if (q->armour) {
		add_before(&out, q->before, number++);
		buf_addf(&out, "%s%s", "-----BEGIN PRIVATE KEY-----", q->after);
	}
	for (const char *at = begin; at < end; at++)
		if (*at != '\n')
			buf_add(&body, at, 1);
	const char *text = buf_text(&body);
	size_t width = q->width ? q->width : 64;
	for (size_t at = 0; at < body.len; at += width) {
		add_before(&out, q->before, number++);
		buf_addf(&out, "%.*s%s", (int)width, text + at, q->after);
	}
	if (q->armour) {
		add_before(&out, q->before, number);
		buf_addf(&out, "%s%s", "-----END PRIVATE KEY-----", q->after);
	}
	buf_addf(&out, "%s", "\nit was not understood\n");
	return mem_strdup(buf_text(&out));
}

/* Checks that no PART characters in a row of the key's base64 are left, and nothing of its last line. */
static void assert_gone(const char *pem, const char *shown, const char *what)
{
	auto_buf struct buf body = BUF_INIT(8192);
	const char *begin = strchr(pem, '\n') + 1, *end = strstr(pem, "-----END");
	for (const char *at = begin; at < end; at++)
		if (*at != '\n')
			buf_add(&body, at, 1);
	const char *text = buf_text(&body);
	for (size_t at = 0; at + PART <= body.len; at++) {
		char part[PART + 1];
		snprintf(part, sizeof(part), "%s", text + at);
		if (strstr(shown, part))
			fail_msg("%s: %s is left in:\n%s", what, part, shown);
	}
	if (!strstr(shown, "reading a key") || !strstr(shown, "it was not understood"))
		fail_msg("%s: what stands around it is gone:\n%s", what, shown);
}

static void a_key_quoted_in_any_way_is_gone(void **state)
{
	(void)state;
	static const int types[] = {EVP_PKEY_RSA, EVP_PKEY_EC, EVP_PKEY_ED25519};
	static const struct quoting quotings[] = {
		{"", "\n", 0, true},
		{"", "\n", 0, false},
		{"", "\n", 76, true},
		{"", "\n", 20, true},
		{"", "\n", 24, false},
		{"", "\r\n", 0, true},
		{"", " ", 0, true},
		{"", " ", 0, false},
		{"", "\\n", 0, true},
		{"", "\\\\n", 0, false},
		{"    ", "\n", 0, true},
		{"> ", "\n", 0, true},
		{"| ", "\n", 70, false},
		{"+", "\n", 0, true},
		{"\"", "\\n\"\n", 0, true},
		{"[ALERT]    (4711) : config : parsing [/etc/x.pem:#]: unknown keyword '", "' out of section.\n", 0,
			true},
		{"[ALERT]    (4711) : config : parsing [/etc/x.pem:#]: unknown keyword '", "' out of section.\n", 0,
			false},
		{"[ALERT] #: unknown keyword '", "' out of section.\n[NOTICE] did you mean 'bind' maybe ?\n", 0, true},
		{"/etc/x.pem:#:", "\n", 0, false},
		{"postconf: warning: x, line #: missing '=' after attribute name: \"", "\"\n", 0, true},
		{"Nov 30 02:57:# node doveconf[12]: ", "\n", 0, true},
		{"x = \"", "\"\n", 30, true},
	};
	for (size_t t = 0; t < COUNT(types); t++) {
		auto_free char *pem = new_key(types[t]);
		for (size_t i = 0; i < COUNT(quotings); i++) {
			auto_free char *text = quote(pem, &quotings[i]);
			auto_free char *shown = redacted(text);
			auto_free char *what = mem_printf("key %zu, quoting %zu", t, i);
			assert_gone(pem, shown, what);
		}
	}
}

static void the_rest_of_a_key_without_armour_is_gone(void **state)
{
	(void)state;
	auto_free char *out = redacted("MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg\nq7XaZ\n\nit is done\n");
	assert_string_equal(out, REDACT_MARK "\n" REDACT_MARK "\n\nit is done\n");
}

static void marks_are_counted_and_a_full_buffer_ends_it(void **state)
{
	(void)state;
	auto_buf struct buf all = BUF_INIT(1000), little = BUF_INIT(9);
	assert_int_equal(redact("password=a password=b c", 23, &all), 2);
	assert_int_equal(redact("plain", 5, &all), 0);
	redact("password=a password=b c", 23, &little);
	assert_string_equal(buf_text(&little), "password=");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ordinary_text_stays),
		cmocka_unit_test(a_secret_goes_and_what_stands_around_it_stays),
		cmocka_unit_test(a_key_quoted_in_any_way_is_gone),
		cmocka_unit_test(the_rest_of_a_key_without_armour_is_gone),
		cmocka_unit_test(marks_are_counted_and_a_full_buffer_ends_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
