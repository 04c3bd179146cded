/* The words before and behind TLS in each protocol: conversations without a socket. */
#include "lib/probe/starttls_end.h"
#include "lib/core/mem.h"
#include "tests/unit/range.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The conversation that is tested: a test feeds what the server says, whole or a byte at a time, and checks what was
 * sent in answer. */
static struct starttls talk;
static struct buf sent;

static void begin(enum probe_protocol protocol)
{
	buf_release(&sent);
	sent = BUF_INIT(STARTTLS_SEND_MAX);
	starttls_begin(&talk, protocol, "[127.0.0.1]", "mail.domain.pl", &sent);
}

static void leave(enum probe_protocol protocol, bool greeting)
{
	buf_release(&sent);
	sent = BUF_INIT(STARTTLS_SEND_MAX);
	starttls_leave(&talk, protocol, "mail.domain.pl", greeting, &sent);
}

static void assert_says(enum starttls_state state, const char *answer)
{
	assert_string_equal(buf_text(&sent), answer);
	assert_int_equal(talk.state, state);
	buf_reset(&sent);
}

static void hear(const char *text, enum starttls_state state, const char *answer)
{
	assert_int_equal(starttls_feed(&talk, text, strlen(text), &sent), state);
	assert_says(state, answer);
}

static void drip(const char *text, enum starttls_state state, const char *answer)
{
	for (const char *at = text; *at; at++)
		starttls_feed(&talk, at, 1, &sent);
	assert_says(state, answer);
}

static void assert_reason(const char *part)
{
	if (!strstr(talk.reason.message, part))
		fail_msg("\"%s\" does not say \"%s\"", talk.reason.message, part);
}

static void smtp_reaches_tls(void **state)
{
	(void)state;
	for (int bytewise = 0; bytewise < 2; bytewise++) {
		void (*say)(const char *, enum starttls_state, const char *) = bytewise ? drip : hear;
		begin(PROBE_SMTP);
		say("220-mail.domain.pl ESMTP\r\n220-wait for it\r\n", STARTTLS_MORE, "");
		say("220 ready\r\n", STARTTLS_MORE, "EHLO [127.0.0.1]\r\n");
		say("250-mail.domain.pl\r\n250-SIZE 1\r\n250-starttls\r\n250 HELP\r\n", STARTTLS_MORE, "STARTTLS\r\n");
		say("220 2.0.0 Ready to start TLS\r\n", STARTTLS_READY, "");
	}
}

static void a_keyword_that_only_begins_like_it_is_not_starttls(void **state)
{
	(void)state;
	begin(PROBE_SMTP);
	hear("220 x\r\n", STARTTLS_MORE, "EHLO [127.0.0.1]\r\n");
	hear("250-mail\r\n250-STARTTLSX\r\n250 SIZE STARTTLS\r\n", STARTTLS_MORE, "QUIT\r\n");
	assert_reason("does not offer STARTTLS");
}

static void smtp_without_starttls_is_left_politely(void **state)
{
	(void)state;
	begin(PROBE_SMTP);
	hear("220 x\r\n", STARTTLS_MORE, "EHLO [127.0.0.1]\r\n");
	hear("250-x\r\n250 SIZE\r\n", STARTTLS_MORE, "QUIT\r\n");
	hear("221 bye\r\n", STARTTLS_REFUSED, "");
	assert_reason("does not offer STARTTLS");
	assert_int_equal(talk.reason.kind, ERROR_PERMANENT);
}

static void a_refusal_is_told_in_the_servers_words(void **state)
{
	(void)state;
	begin(PROBE_SMTP);
	hear("554 5.7.1 \033[31mno\r\n", STARTTLS_MORE, "QUIT\r\n");
	assert_int_equal(starttls_closed(&talk), STARTTLS_REFUSED);
	assert_reason("\"554 5.7.1 ?[31mno\" (waiting for the greeting)");
	begin(PROBE_SMTP);
	hear("220 x\r\n", STARTTLS_MORE, "EHLO [127.0.0.1]\r\n");
	hear("250 STARTTLS\r\n", STARTTLS_MORE, "STARTTLS\r\n");
	hear("454 4.7.0 TLS not available\r\n", STARTTLS_MORE, "QUIT\r\n");
	hear("221 bye\r\n", STARTTLS_REFUSED, "");
	assert_reason("454 4.7.0 TLS not available");
}

static void who_says_goodbye_gets_no_quit(void **state)
{
	(void)state;
	begin(PROBE_SMTP);
	hear("421 too busy\r\n", STARTTLS_REFUSED, "");
	assert_reason("says goodbye: \"421 too busy\"");
	begin(PROBE_IMAP);
	hear("* BYE overloaded\r\n", STARTTLS_REFUSED, "");
	begin(PROBE_POP3);
	hear("-ERR go away\r\n", STARTTLS_REFUSED, "");
	begin(PROBE_SIEVE);
	hear("BYE \"go away\"\r\n", STARTTLS_REFUSED, "");
}

static void imap_reaches_tls(void **state)
{
	(void)state;
	begin(PROBE_IMAP);
	drip("* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n", STARTTLS_MORE, "certsync STARTTLS\r\n");
	drip("* CAPABILITY IMAP4rev1\r\ncertsync OK Begin TLS\r\n", STARTTLS_READY, "");
	begin(PROBE_IMAP);
	hear("* OK ready\r\n", STARTTLS_MORE, "certsync STARTTLS\r\n");
	hear("certsync BAD no TLS\r\n", STARTTLS_MORE, "certsync LOGOUT\r\n");
	hear("* BYE\r\n", STARTTLS_MORE, "");
	hear("certsync OK\r\n", STARTTLS_REFUSED, "");
	assert_reason("certsync BAD no TLS");
}

static void imap_that_is_logged_in_already_cannot_start_tls(void **state)
{
	(void)state;
	begin(PROBE_IMAP);
	hear("* PREAUTH hello root\r\n", STARTTLS_MORE, "certsync LOGOUT\r\n");
	assert_reason("PREAUTH");
}

static void pop3_reaches_tls(void **state)
{
	(void)state;
	begin(PROBE_POP3);
	drip("+OK ready\r\n", STARTTLS_MORE, "STLS\r\n");
	drip("+OK Begin TLS\r\n", STARTTLS_READY, "");
	begin(PROBE_POP3);
	hear("+OK ready\r\n", STARTTLS_MORE, "STLS\r\n");
	hear("-ERR no\r\n", STARTTLS_MORE, "QUIT\r\n");
	hear("+OK bye\r\n", STARTTLS_REFUSED, "");
	assert_reason("-ERR no");
}

static void sieve_reaches_tls(void **state)
{
	(void)state;
	begin(PROBE_SIEVE);
	drip("\"IMPLEMENTATION\" \"x\"\r\n\"STARTTLS\"\r\nOK \"ready\"\r\n", STARTTLS_MORE, "STARTTLS\r\n");
	drip("OK \"Begin\"\r\n", STARTTLS_READY, "");
	begin(PROBE_SIEVE);
	hear("\"IMPLEMENTATION\" \"x\"\r\nOK\r\n", STARTTLS_MORE, "LOGOUT\r\n");
	hear("OK\r\n", STARTTLS_REFUSED, "");
	assert_reason("does not offer STARTTLS");
}

static const uint8_t ssl_request[] = {0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f};

/* A protocol of packets has zero bytes, so that what is heard and what is sent are compared by length. */
static void hear_bytes(const void *data, size_t len, enum starttls_state state)
{
	buf_reset(&sent);
	assert_int_equal(starttls_feed(&talk, data, len, &sent), state);
}

static void postgres_reaches_tls(void **state)
{
	(void)state;
	begin(PROBE_POSTGRES);
	assert_int_equal(sent.len, sizeof(ssl_request));
	assert_memory_equal(sent.data, ssl_request, sizeof(ssl_request));
	hear_bytes("S", 1, STARTTLS_READY);
	assert_int_equal(sent.len, 0);
	leave(PROBE_POSTGRES, false);
	assert_says(STARTTLS_OVER, "");
}

static void postgres_that_has_no_tls_says_so(void **state)
{
	(void)state;
	begin(PROBE_POSTGRES);
	hear_bytes("N", 1, STARTTLS_REFUSED);
	assert_reason("does not offer TLS");
	static const char full[] = "E\0\0\0\x1eSFATAL\0M"
				   "too many clients\0";
	begin(PROBE_POSTGRES);
	for (size_t i = 0; i < sizeof(full); i++)
		hear_bytes(full + i, 1, i < sizeof(full) - 1 ? STARTTLS_MORE : STARTTLS_REFUSED);
	assert_reason("refuses: \"too many clients\" (waiting for the answer to SSLRequest)");
	begin(PROBE_POSTGRES);
	hear_bytes("E\xff\xff\xff\xff", 5, STARTTLS_REFUSED);
	assert_reason("is not what answers");
	begin(PROBE_POSTGRES);
	hear_bytes("SS", 2, STARTTLS_REFUSED);
	assert_reason("text before the handshake");
}

#define MYSQL_GREETING(low, high) \
	"\x27\0\0\0" \
	"\x0a" \
	"10.11.6-MariaDB\0" \
	"idid" \
	"saltsalt\0" low high "!\2\0" \
	"xxxx"

static void mysql_reaches_tls(void **state)
{
	(void)state;
	static const char greeting[] = MYSQL_GREETING("\xfe", "\xff");
	for (int bytewise = 0; bytewise < 2; bytewise++) {
		begin(PROBE_MYSQL);
		for (size_t i = 0; bytewise && i < sizeof(greeting) - 2; i++)
			hear_bytes(greeting + i, 1, STARTTLS_MORE);
		if (bytewise)
			hear_bytes(greeting + sizeof(greeting) - 2, 1, STARTTLS_READY);
		else
			hear_bytes(greeting, sizeof(greeting) - 1, STARTTLS_READY);
		assert_int_equal(sent.len, 36);
		assert_memory_equal(sent.data, " \0\0\1", 4);
	}
	leave(PROBE_MYSQL, false);
	assert_int_equal(talk.state, STARTTLS_MORE);
	assert_int_equal(sent.data[3], 2);
	assert_int_equal(sent.data[0], sent.len - 4);
	hear_bytes("\5\0\0\3\xff\x15\4no", 9, STARTTLS_OVER);
}

static void mysql_that_has_no_tls_says_so(void **state)
{
	(void)state;
	static const char greeting[] = MYSQL_GREETING("\xfe", "\xf7");
	begin(PROBE_MYSQL);
	hear_bytes(greeting, sizeof(greeting) - 1, STARTTLS_REFUSED);
	assert_reason("does not offer TLS");
	begin(PROBE_MYSQL);
	hear_bytes("\x12\0\0\0\xff\x69\x04Host is blocked", 22, STARTTLS_REFUSED);
	assert_reason("refuses: \"Host is blocked\" (waiting for the greeting)");
	begin(PROBE_MYSQL);
	hear_bytes("\xd\0\0\0\xff\x10\4#08004full", 17, STARTTLS_REFUSED);
	assert_reason("refuses: \"full\"");
	static const char early[] = MYSQL_GREETING("\xfe", "\xff") "x";
	begin(PROBE_MYSQL);
	hear_bytes(early, sizeof(early) - 1, STARTTLS_REFUSED);
	assert_reason("text before the handshake: 1 bytes");
}

static void what_is_no_greeting_of_mysql_is_refused(void **state)
{
	(void)state;
	static const struct {
		const char *bytes;
		size_t len;
	} wrong[] = {
		{"SSH-2.0-OpenSSH", 15},
		{"\0\0\0\0", 4},
		{"\xff\xff\xff\0", 4},
		{"\1\0\0\1", 4},
		{"\1\0\0\0\x0a", 5},
		{"\1\0\0\0\xff", 5},
		{"\3\0\0\0\xff\1\1", 7},
		{"\5\0\0\0\x0a"
		 "abc\0",
			9},
		{"\5\0\0\0\x09"
		 "abc\0",
			9},
	};
	for (size_t i = 0; i < COUNT(wrong); i++) {
		begin(PROBE_MYSQL);
		hear_bytes(wrong[i].bytes, wrong[i].len, STARTTLS_REFUSED);
		assert_reason("is not what answers");
	}
}

static void lmtp_is_greeted_with_lhlo(void **state)
{
	(void)state;
	begin(PROBE_LMTP);
	drip("220 mail LMTP\r\n", STARTTLS_MORE, "LHLO [127.0.0.1]\r\n");
	assert_string_equal(starttls_where(&talk), "waiting for the answer to LHLO");
	drip("250-mail\r\n250-STARTTLS\r\n250 PIPELINING\r\n", STARTTLS_MORE, "STARTTLS\r\n");
	drip("220 go\r\n", STARTTLS_READY, "");
	begin(PROBE_LMTP);
	hear("220 mail\r\n", STARTTLS_MORE, "LHLO [127.0.0.1]\r\n");
	hear("250 PIPELINING\r\n", STARTTLS_MORE, "QUIT\r\n");
	assert_reason("LMTP answers, but does not offer STARTTLS");
}

static void ftp_reaches_tls(void **state)
{
	(void)state;
	begin(PROBE_FTP);
	drip("120 in a minute\r\n220-hello\r\n200 you\r\n 220 there\r\nfree text\r\n220-still\r\n", STARTTLS_MORE, "");
	drip("220 ready\r\n", STARTTLS_MORE, "AUTH TLS\r\n");
	drip("234 AUTH TLS OK\r\n", STARTTLS_READY, "");
	begin(PROBE_FTP);
	hear("220\r\n", STARTTLS_MORE, "AUTH TLS\r\n");
	hear("500-What?\r\n234 no\r\n500 AUTH is not known\r\n", STARTTLS_MORE, "QUIT\r\n");
	hear("221 bye\r\n", STARTTLS_REFUSED, "");
	assert_reason("FTP refuses: \"500 AUTH is not known\" (waiting for the answer to AUTH TLS)");
	begin(PROBE_FTP);
	hear("220-a\r\n421 b\r\n220 c\r\n", STARTTLS_MORE, "AUTH TLS\r\n");
	hear("421 too many\r\n", STARTTLS_REFUSED, "");
	assert_reason("says goodbye: \"421 too many\"");
	begin(PROBE_FTP);
	hear("220 x\r\n", STARTTLS_MORE, "AUTH TLS\r\n");
	hear("234-go\r\n234 now\r\n331 evil\r\n", STARTTLS_REFUSED, "");
	assert_reason("text before the handshake: 10 bytes");
}

static void nntp_reaches_tls(void **state)
{
	(void)state;
	static const char *const greetings[] = {"200 post\r\n", "201 read\r\n"};
	for (size_t i = 0; i < COUNT(greetings); i++) {
		begin(PROBE_NNTP);
		drip(greetings[i], STARTTLS_MORE, "STARTTLS\r\n");
		drip("382 go\r\n", STARTTLS_READY, "");
	}
	begin(PROBE_NNTP);
	hear("200 x\r\n", STARTTLS_MORE, "STARTTLS\r\n");
	hear("580 no TLS\r\n", STARTTLS_MORE, "QUIT\r\n");
	hear("205 bye\r\n", STARTTLS_REFUSED, "");
	assert_reason("NNTP refuses: \"580 no TLS\"");
	begin(PROBE_NNTP);
	hear("502 not you\r\n", STARTTLS_REFUSED, "");
	assert_reason("says goodbye: \"502 not you\"");
	begin(PROBE_NNTP);
	hear("400 later\r\n", STARTTLS_REFUSED, "");
	begin(PROBE_NNTP);
	hear("200-x\r\n", STARTTLS_REFUSED, "");
	assert_reason("is not what answers");
}

#define LDAP_REQUEST \
	"0\x1d\2\1\1w\x18\x80\x16" \
	"1.3.6.1.4.1.1466.20037"
#define LDAP_UNBIND "0\5\2\1\2B\0"
#define HEAR(bytes, state) hear_bytes(bytes, sizeof(bytes) - 1, state)

static void assert_unbound(void)
{
	assert_int_equal(sent.len, sizeof(LDAP_UNBIND) - 1);
	assert_memory_equal(sent.data, LDAP_UNBIND, sent.len);
}

static void ldap_reaches_tls(void **state)
{
	(void)state;
	/* Lengths as short as they can be, as Active Directory writes them, and with a name, a referral and controls. */
	static const struct {
		const char *bytes;
		size_t len;
	} yes[] = {
		{"0\x0c\2\1\1x\7\n\1\0\4\0\4\0", 14},
		{"0\x84\0\0\0\x13\2\1\1x\x84\0\0\0\n\n\1\0\4\0\4\x82\0\1!", 25},
		{"0\x14\2\1\1x\x0b\n\1\0\4\0\4\0\xa3\0\x8a\0\xa0\2"
		 "0\0",
			22},
	};
	for (size_t i = 0; i < COUNT(yes); i++) {
		begin(PROBE_LDAP);
		assert_int_equal(sent.len, sizeof(LDAP_REQUEST) - 1);
		assert_memory_equal(sent.data, LDAP_REQUEST, sent.len);
		for (size_t k = 0; k < yes[i].len; k++)
			hear_bytes(yes[i].bytes + k, 1, k + 1 < yes[i].len ? STARTTLS_MORE : STARTTLS_READY);
		assert_int_equal(sent.len, 0);
	}
	leave(PROBE_LDAP, true);
	assert_int_equal(talk.state, STARTTLS_MORE);
	assert_unbound();
	assert_int_equal(starttls_closed(&talk), STARTTLS_OVER);
	begin(PROBE_LDAP);
	HEAR("0\x0c\2\1\1x\7\n\1\0\4\0\4\0"
	     "0",
		STARTTLS_REFUSED);
	assert_reason("text before the handshake: 1 bytes");
}

static void ldap_that_refuses_is_told_with_its_code(void **state)
{
	(void)state;
	begin(PROBE_LDAP);
	HEAR("0\x12\2\1\1x\r\n\1\2\4\0\4\6no \x1b"
	     "op",
		STARTTLS_MORE);
	assert_unbound();
	assert_reason("LDAP refuses: resultCode 2 (protocolError), \"no ?op\" (waiting for the answer to StartTLS)");
	assert_int_equal(starttls_closed(&talk), STARTTLS_REFUSED);
	begin(PROBE_LDAP);
	HEAR("0\x0d\2\1\1x\x08\n\2\x10\0\4\0\4\0", STARTTLS_MORE);
	assert_reason("resultCode 4096, \"\"");
	/* It talks on all the same. */
	for (size_t i = 0; i < STARTTLS_STEP_MAX && talk.state == STARTTLS_MORE; i++)
		hear_bytes("x", 1, STARTTLS_MORE);
	HEAR("x", STARTTLS_REFUSED);
	begin(PROBE_LDAP);
	HEAR("0\x0f\2\1\0x\n\n\1\x34\4\0\4\3"
	     "bye",
		STARTTLS_REFUSED);
	assert_reason("LDAP says goodbye: resultCode 52 (unavailable), \"bye\"");
	assert_int_equal(sent.len, 0);
}

static void what_is_no_answer_of_ldap_is_refused(void **state)
{
	(void)state;
	static const struct {
		const char *bytes;
		size_t len;
	} wrong[] = {
		{"S", 1},                                     /* no sequence */
		{"0\x80", 2},                                 /* of no length */
		{"0\x85", 2},                                 /* a length of five bytes */
		{"0\x84\xff\xff\xff\xff", 6},                 /* of 4 GiB */
		{"0\x82\x10\0", 4},                           /* longer than a line may be */
		{"0\0", 2},                                   /* nothing in it */
		{"0\x0c\2\1\2x\7\n\1\0\4\0\4\0", 14},         /* to another question */
		{"0\x0c\2\1\xffx\7\n\1\0\4\0\4\0", 14},       /* below zero */
		{"0\x10\2\5\0\0\0\0\1x\7\n\1\0\4\0\4\0", 18}, /* too long a number */
		{"0\x0c\2\1\1a\7\n\1\0\4\0\4\0", 14},         /* the answer to a bind */
		{"0\x0c\2\1\1x\x7f\n\1\0\4\0\4\0", 14},       /* longer inside than outside */
		{"0\x0c\2\1\1x\7\n\1\0\4\0\4\1", 14},         /* a text that is not there */
		{"0\x0c\2\1\1x\7\n\0\4\0\4\0\0", 14},         /* no code */
		{"0\x0e\2\1\1x\7\n\1\0\4\0\4\0\4\0", 16},     /* something behind it */
	};
	for (size_t i = 0; i < COUNT(wrong); i++) {
		begin(PROBE_LDAP);
		buf_reset(&sent);
		if (starttls_feed(&talk, wrong[i].bytes, wrong[i].len, &sent) != STARTTLS_REFUSED)
			fail_msg("wrong answer %zu is taken", i);
		assert_reason("LDAP is not what answers");
	}
}

#define STREAM(kind) \
	"<?xml version='1.0'?><stream:stream xmlns='jabber:" kind \
	"' xmlns:stream='http://etherx.jabber.org/streams' to='mail.domain.pl' version='1.0'>"
#define STARTTLS "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
#define STREAM_END "</stream:stream>"

static void xmpp_reaches_tls(void **state)
{
	(void)state;
	static const char *const streams[] = {
		"<?xml version='1.0'?><stream:stream id='1' from='mail.domain.pl' version='1.0' xmlns='jabber:client' "
		"xmlns:stream='http://etherx.jabber.org/streams'><stream:features><starttls "
		"xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>",
		/* Other prefixes, quotes, white space, and signs in values and in texts that mean something elsewhere. */
		"\n <s:stream\n\tversion = \"1.0\"\r\n xmlns:s=\"http://etherx.jabber.org/streams\" note='a > \"b\" </s:stream>' >\n"
		" <s:features\t><m:mechanisms xmlns:m='x'><m:starttls/>it's 5 > 4<m:a b=\"'>\"/></m:mechanisms > "
		"<t:starttls\nxmlns:t = 'urn:ietf:params:xml:ns:xmpp-tls' /> </s:features\n>",
		"<stream xmlns='http://etherx.jabber.org/streams'><features><a/><starttls/><z/></features>",
	};
	for (size_t i = 0; i < COUNT(streams); i++)
		for (int bytewise = 0; bytewise < 2; bytewise++) {
			void (*say)(const char *, enum starttls_state, const char *) = bytewise ? drip : hear;
			begin(PROBE_XMPP);
			assert_says(STARTTLS_MORE, STREAM("client"));
			say(streams[i], STARTTLS_MORE, STARTTLS);
			say(i ? "<t:proceed\n></t:proceed >" : "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
				STARTTLS_READY, "");
		}
	begin(PROBE_XMPP_SERVER);
	assert_says(STARTTLS_MORE, STREAM("server"));
	hear(streams[0], STARTTLS_MORE, STARTTLS);
	hear("<proceed/> ", STARTTLS_REFUSED, "");
	assert_reason("text before the handshake: 1 bytes");
	begin(PROBE_XMPP);
	assert_says(STARTTLS_MORE, STREAM("client"));
	hear("<stream><features><starttls/></features><proceed/>", STARTTLS_REFUSED, STARTTLS);
	assert_reason("text before the handshake");
}

static void xmpp_asks_for_the_name_of_the_handshake(void **state)
{
	(void)state;
	static const char *const none[] = {NULL, "a'/><b"};
	for (size_t i = 0; i < COUNT(none); i++) {
		buf_reset(&sent);
		starttls_begin(&talk, PROBE_XMPP, "[127.0.0.1]", none[i], &sent);
		assert_says(STARTTLS_MORE,
			"<?xml version='1.0'?><stream:stream xmlns='jabber:client' "
			"xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>");
	}
}

static void xmpp_that_has_no_tls_says_so(void **state)
{
	(void)state;
	/* An offer that stands elsewhere than among the features is none. */
	begin(PROBE_XMPP);
	assert_says(STARTTLS_MORE, STREAM("client"));
	hear("<stream><starttls/><features><a><starttls/></a></features>", STARTTLS_MORE, STREAM_END);
	hear(STREAM_END, STARTTLS_REFUSED, "");
	assert_reason("XMPP answers, but does not offer STARTTLS");
	begin(PROBE_XMPP);
	assert_says(STARTTLS_MORE, STREAM("client"));
	hear("<stream><features><starttls/></features>", STARTTLS_MORE, STARTTLS);
	hear("<failure/>", STARTTLS_MORE, STREAM_END);
	assert_int_equal(starttls_closed(&talk), STARTTLS_REFUSED);
	assert_reason("XMPP refuses: \"failure\" (waiting for the answer to starttls)");
	begin(PROBE_XMPP);
	assert_says(STARTTLS_MORE, STREAM("client"));
	hear("<stream><stream:error><host-unknown xmlns='x'/><text xml:lang='en'>not \033 here</text><z/></stream:error>",
		STARTTLS_REFUSED, "");
	assert_reason(
		"XMPP refuses a stream to \"mail.domain.pl\": \"host-unknown: not ? here\" (waiting for the features");
	begin(PROBE_XMPP);
	assert_says(STARTTLS_MORE, STREAM("client"));
	hear("<stream></stream>", STARTTLS_REFUSED, "");
	assert_reason("XMPP says goodbye: \"</stream>\"");
}

static void what_is_no_stream_is_refused(void **state)
{
	(void)state;
	static const char *const wrong[] = {"SSH-2.0-OpenSSH\r\n", "HTTP/1.1 400 Bad Request\r\n", "<html>",
		"<stream/>", "</stream>", "<!DOCTYPE a [<!ENTITY b 'c'>", "<stream><!-- x -->", "<stream><?x y?>", "<>",
		"< stream>", "<stream><proceed/>", "\1"};
	for (size_t i = 0; i < COUNT(wrong); i++) {
		begin(PROBE_XMPP);
		if (starttls_feed(&talk, wrong[i], strlen(wrong[i]), &sent) != STARTTLS_REFUSED)
			fail_msg("\"%s\" is taken", wrong[i]);
		assert_reason("XMPP is not what answers");
	}
	begin(PROBE_XMPP);
	hear("", STARTTLS_MORE, STREAM("client"));
	for (int i = 0; i < 2000 && talk.state == STARTTLS_MORE; i++)
		starttls_feed(&talk, i ? "<a>" : "<stream>", i ? 3 : 8, &sent);
	assert_int_equal(talk.state, STARTTLS_MORE); /* as deep as one step may be long */
	while (talk.state == STARTTLS_MORE)
		starttls_feed(&talk, "<a>", 3, &sent);
	assert_reason("does not stop talking");
	begin(PROBE_XMPP);
	starttls_feed(&talk, "<stream a='", 11, &sent);
	size_t fed = 11;
	while (talk.state == STARTTLS_MORE)
		fed++, starttls_feed(&talk, ">", 1, &sent);
	assert_int_equal(fed, STARTTLS_LINE_MAX);
}

static void tls_at_once_needs_no_words(void **state)
{
	(void)state;
	begin(PROBE_TLS);
	assert_says(STARTTLS_READY, "");
}

static void text_behind_the_answer_is_refused(void **state)
{
	(void)state;
	begin(PROBE_SMTP);
	hear("220 x\r\n", STARTTLS_MORE, "EHLO [127.0.0.1]\r\n");
	hear("250 STARTTLS\r\n", STARTTLS_MORE, "STARTTLS\r\n");
	hear("220 go\r\n250 injected\r\n", STARTTLS_REFUSED, "");
	assert_reason("text before the handshake: 14 bytes");
	begin(PROBE_IMAP);
	hear("* OK\r\n", STARTTLS_MORE, "certsync STARTTLS\r\n");
	hear("certsync OK go\r\n*", STARTTLS_REFUSED, "");
	begin(PROBE_POP3);
	hear("+OK\r\n", STARTTLS_MORE, "STLS\r\n");
	hear("+OK\r\n\n", STARTTLS_REFUSED, "");
	/* Nothing follows the answer, but it came before the question. */
	begin(PROBE_POP3);
	hear("+OK\r\n+OK\r\n", STARTTLS_REFUSED, "STLS\r\n");
	assert_reason("text before the handshake");
}

static void another_protocol_is_named_and_gets_no_answer(void **state)
{
	(void)state;
	static const enum probe_protocol protocols[] = {
		PROBE_SMTP, PROBE_IMAP, PROBE_POP3, PROBE_SIEVE, PROBE_FTP, PROBE_NNTP, PROBE_LMTP};
	for (size_t i = 0; i < COUNT(protocols); i++) {
		begin(protocols[i]);
		hear("SSH-2.0-OpenSSH_9.2\r\n", STARTTLS_REFUSED, "");
		assert_reason("is not what answers: \"SSH-2.0-OpenSSH_9.2\"");
		assert_reason(starttls_protocol_name(protocols[i]));
	}
	begin(PROBE_SMTP);
	hear("22\r\n", STARTTLS_REFUSED, "");
	begin(PROBE_SMTP);
	hear("\r\n", STARTTLS_REFUSED, "");
}

static void an_endless_line_or_answer_ends(void **state)
{
	(void)state;
	begin(PROBE_SMTP);
	size_t fed = 0;
	while (talk.state == STARTTLS_MORE && fed < 100000)
		fed++, starttls_feed(&talk, "x", 1, &sent);
	assert_int_equal(fed, STARTTLS_LINE_MAX);
	assert_says(STARTTLS_REFUSED, "");
	assert_reason("does not stop talking");
	begin(PROBE_SMTP);
	for (fed = 0; talk.state == STARTTLS_MORE && fed < 100000; fed += 6)
		starttls_feed(&talk, "220-x\n", 6, &sent);
	assert_uint_in_range(fed, STARTTLS_STEP_MAX, STARTTLS_STEP_MAX + 6);
	assert_says(STARTTLS_REFUSED, "");
}

static void a_long_dialogue_never_outgrows_the_send_buffer(void **state)
{
	(void)state;
	/* All the server's lines come at once, before anything was sent. */
	begin(PROBE_SMTP);
	hear("220 x\r\n250 STARTTLS\r\n454 no\r\n221 x\r\n", STARTTLS_REFUSED,
		"EHLO [127.0.0.1]\r\nSTARTTLS\r\nQUIT\r\n");
}

static void a_server_that_closes_is_told_with_the_step(void **state)
{
	(void)state;
	begin(PROBE_IMAP);
	assert_int_equal(starttls_closed(&talk), STARTTLS_REFUSED);
	assert_reason("closed (waiting for the greeting)");
	assert_int_equal(talk.reason.kind, ERROR_RETRY);
	begin(PROBE_POP3);
	hear("+OK\r\n", STARTTLS_MORE, "STLS\r\n");
	assert_int_equal(starttls_closed(&talk), STARTTLS_REFUSED);
	assert_reason("STLS");
}

static void leaving_inside_tls(void **state)
{
	(void)state;
	leave(PROBE_SMTP, false);
	assert_says(STARTTLS_MORE, "QUIT\r\n");
	hear("221 2.0.0 Bye\r\n", STARTTLS_OVER, "");
	leave(PROBE_SMTP, true);
	assert_says(STARTTLS_MORE, "");
	hear("220-a\r\n220 b\r\n", STARTTLS_MORE, "QUIT\r\n");
	hear("500 what?\r\n", STARTTLS_OVER, "");
	leave(PROBE_IMAP, true);
	hear("* PREAUTH hello\r\n", STARTTLS_MORE, "certsync LOGOUT\r\n");
	hear("* BYE Logging out\r\ncertsync OK done\r\n", STARTTLS_OVER, "");
	leave(PROBE_SIEVE, true);
	hear("\"IMPLEMENTATION\" \"x\"\r\nOK\r\n", STARTTLS_MORE, "LOGOUT\r\n");
	assert_int_equal(starttls_closed(&talk), STARTTLS_OVER);
	leave(PROBE_TLS, true);
	assert_says(STARTTLS_OVER, "");
	leave(PROBE_FTP, true);
	hear("220-a\r\n220 b\r\n", STARTTLS_MORE, "QUIT\r\n");
	hear("221-a\r\nb\r\n221 c\r\n", STARTTLS_OVER, "");
	leave(PROBE_NNTP, false);
	assert_says(STARTTLS_MORE, "QUIT\r\n");
	hear("205 bye\r\n", STARTTLS_OVER, "");
	leave(PROBE_LMTP, false);
	assert_says(STARTTLS_MORE, "QUIT\r\n");
	hear("221 bye\r\n", STARTTLS_OVER, "");
	leave(PROBE_XMPP, true);
	assert_says(STARTTLS_MORE, STREAM("client"));
	hear("<stream><features><mechanisms/></features>", STARTTLS_MORE, STREAM_END);
	hear("<features/> " STREAM_END, STARTTLS_OVER, "");
	leave(PROBE_XMPP_SERVER, false);
	assert_says(STARTTLS_MORE, STREAM("server"));
	hear("<stream><stream:error><a/></stream:error>" STREAM_END, STARTTLS_OVER, "");
	leave(PROBE_POP3, true);
	hear("garbage\r\n", STARTTLS_OVER, "");
}

static int end(void **state)
{
	(void)state;
	buf_release(&sent);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(smtp_reaches_tls),
		cmocka_unit_test(a_keyword_that_only_begins_like_it_is_not_starttls),
		cmocka_unit_test(smtp_without_starttls_is_left_politely),
		cmocka_unit_test(a_refusal_is_told_in_the_servers_words),
		cmocka_unit_test(who_says_goodbye_gets_no_quit),
		cmocka_unit_test(imap_reaches_tls),
		cmocka_unit_test(imap_that_is_logged_in_already_cannot_start_tls),
		cmocka_unit_test(pop3_reaches_tls),
		cmocka_unit_test(sieve_reaches_tls),
		cmocka_unit_test(postgres_reaches_tls),
		cmocka_unit_test(postgres_that_has_no_tls_says_so),
		cmocka_unit_test(mysql_reaches_tls),
		cmocka_unit_test(mysql_that_has_no_tls_says_so),
		cmocka_unit_test(what_is_no_greeting_of_mysql_is_refused),
		cmocka_unit_test(lmtp_is_greeted_with_lhlo),
		cmocka_unit_test(ftp_reaches_tls),
		cmocka_unit_test(nntp_reaches_tls),
		cmocka_unit_test(ldap_reaches_tls),
		cmocka_unit_test(ldap_that_refuses_is_told_with_its_code),
		cmocka_unit_test(what_is_no_answer_of_ldap_is_refused),
		cmocka_unit_test(xmpp_reaches_tls),
		cmocka_unit_test(xmpp_asks_for_the_name_of_the_handshake),
		cmocka_unit_test(xmpp_that_has_no_tls_says_so),
		cmocka_unit_test(what_is_no_stream_is_refused),
		cmocka_unit_test(tls_at_once_needs_no_words),
		cmocka_unit_test(text_behind_the_answer_is_refused),
		cmocka_unit_test(another_protocol_is_named_and_gets_no_answer),
		cmocka_unit_test(an_endless_line_or_answer_ends),
		cmocka_unit_test(a_long_dialogue_never_outgrows_the_send_buffer),
		cmocka_unit_test(a_server_that_closes_is_told_with_the_step),
		cmocka_unit_test(leaving_inside_tls),
	};
	return cmocka_run_group_tests(tests, NULL, end);
}
