/* Probes of a server that runs beside them in a thread: what is seen of it, and how they end when it does not behave. */
#include "lib/probe/probe.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"
#include "tests/unit/issue.h"
#include "tests/unit/range.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

/* ---- a server in a thread: it plays one script for each of its connections, in turn ---- */

struct server {
	int listener;
	uint16_t port;
	int connections;
	void (*script)(struct server *s, int fd);
	SSL_CTX *tls;
	SSL *ssl; /* set while a script has reached TLS */
	pthread_t thread;
	/* These may be read once server_join has returned. */
	char heard[8192];
	size_t heard_len;
	char sni[256];
	size_t written;
};

static struct issued root, middle, leaf, expired, old;

static void say(struct server *s, int fd, const char *text)
{
	int len = (int)strlen(text);
	int put = s->ssl ? SSL_write(s->ssl, text, len) : (int)send(fd, text, (size_t)len, MSG_NOSIGNAL);
	if (put > 0)
		s->written += (size_t)put;
}

static void say_slowly(struct server *s, int fd, const char *text)
{
	for (; *text; text++)
		say(s, fd, (char[]){*text, '\0'});
}

/* Reads one line of the client's. Returns false when the client closes before it ends. */
static bool hear(struct server *s, int fd)
{
	char byte = '\0';
	while (byte != '\n' && s->heard_len < sizeof(s->heard) - 1) {
		int got = s->ssl ? SSL_read(s->ssl, &byte, 1) : (int)recv(fd, &byte, 1, 0);
		if (got <= 0)
			return false;
		s->heard[s->heard_len++] = byte;
	}
	return true;
}

static bool upgrade(struct server *s, int fd)
{
	s->ssl = SSL_new(s->tls);
	SSL_set_fd(s->ssl, fd);
	if (SSL_accept(s->ssl) != 1)
		return false;
	const char *sni = SSL_get_servername(s->ssl, TLSEXT_NAMETYPE_host_name);
	snprintf(s->sni, sizeof(s->sni), "%s", sni ? sni : "");
	return true;
}

static void *serve(void *context)
{
	struct server *s = context;
	for (int i = 0; i < s->connections; i++) {
		int fd = accept(s->listener, NULL, NULL);
		if (fd < 0)
			break;
		s->script(s, fd);
		if (s->ssl)
			SSL_free(s->ssl);
		s->ssl = NULL;
		close(fd);
	}
	return NULL;
}

static void server_start(struct server *s, void (*script)(struct server *s, int fd), const struct issued *identity)
{
	*s = (struct server){.script = script, .connections = s->connections ? s->connections : 1};
	s->tls = SSL_CTX_new(TLS_server_method());
	SSL_CTX_set_security_level(s->tls, 0);
	SSL_CTX_use_certificate(s->tls, identity->certificate);
	SSL_CTX_use_PrivateKey(s->tls, identity->key);
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(s->listener, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(s->listener, 512), 0);
	assert_int_equal(getsockname(s->listener, (struct sockaddr *)&address, &len), 0);
	s->port = ntohs(address.sin_port);
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void server_join(struct server *s)
{
	pthread_join(s->thread, NULL);
	close(s->listener);
	SSL_CTX_free(s->tls);
}

/* ---- a probe and what came of it ---- */

struct history {
	int calls;
	enum probe_state state;
	char text[ERROR_MESSAGE_MAX];
	uint8_t fingerprint[CHAIN_SHA256_SIZE];
	int rest;
	bool has_leaf;
};

static struct event_base *base;

static void done(void *context, const struct probe_result *result)
{
	struct history *o = context;
	o->calls++;
	o->state = result->state;
	o->has_leaf = result->leaf != NULL;
	o->rest = result->leaf ? sk_X509_num(result->rest) : -1;
	memcpy(o->fingerprint, result->fingerprint, sizeof(o->fingerprint));
	if (result->state != PROBE_SERVED)
		snprintf(o->text, sizeof(o->text), "%s", result->error.message);
}

static struct endpoint at(uint16_t port, const char *suffix)
{
	struct endpoint e;
	struct error err;
	char text[ENDPOINT_TEXT_MAX];
	snprintf(text, sizeof(text), "127.0.0.1:%u%s", port, suffix);
	assert_int_equal(endpoint_parse(text, &e, &err), 0);
	return e;
}

static struct history probe_port(uint16_t port, const char *suffix, int timeout_ms)
{
	struct history o = {0};
	struct endpoint e = at(port, suffix);
	assert_non_null(probe_start(base, &e, "mail.domain.pl", timeout_ms, done, &o));
	assert_int_equal(o.calls, 0);
	event_base_dispatch(base);
	assert_int_equal(o.calls, 1);
	return o;
}

/* Plays what most stories consist of: a server with this script is started, probed once, and joined. */
static struct history play(
	struct server *s, void (*script)(struct server *s, int fd), const char *suffix, const struct issued *identity)
{
	*s = (struct server){0};
	server_start(s, script, identity);
	struct history o = probe_port(s->port, suffix, 20000);
	server_join(s);
	return o;
}

static void assert_served(const struct history *o, const struct issued *identity)
{
	uint8_t expected[CHAIN_SHA256_SIZE];
	if (o->state != PROBE_SERVED)
		fail_msg("not served: %s", o->text);
	assert_true(o->has_leaf);
	chain_fingerprint(identity->certificate, expected);
	assert_memory_equal(o->fingerprint, expected, sizeof(expected));
}

static void assert_failed(const struct history *o, enum probe_state state, const char *part)
{
	if (!strstr(o->text, part))
		fail_msg("\"%s\" does not say \"%s\"", o->text, part);
	assert_int_equal(o->state, state);
	assert_false(o->has_leaf);
}

/* ---- scripts and stories ---- */

static void script_tls(struct server *s, int fd)
{
	if (upgrade(s, fd))
		hear(s, fd);
}

static void script_tls_chain(struct server *s, int fd)
{
	SSL_CTX_add1_chain_cert(s->tls, middle.certificate);
	SSL_CTX_add1_chain_cert(s->tls, root.certificate);
	script_tls(s, fd);
}

static void whatever_is_served_is_seen(void **state)
{
	(void)state;
	struct server s;
	struct history o = play(&s, script_tls, "", &leaf);
	assert_served(&o, &leaf);
	assert_int_equal(o.rest, 0);
	assert_string_equal(s.sni, "mail.domain.pl");
	o = play(&s, script_tls, "", &expired);
	assert_served(&o, &expired);
	o = play(&s, script_tls, "", &root);
	assert_served(&o, &root);
	o = play(&s, script_tls_chain, "", &leaf);
	assert_served(&o, &leaf);
	assert_int_equal(o.rest, 2);
}

static void script_old_tls(struct server *s, int fd)
{
	SSL_CTX_set_cipher_list(s->tls, "ALL:@SECLEVEL=0");
	SSL_CTX_set_min_proto_version(s->tls, TLS1_VERSION);
	SSL_CTX_set_max_proto_version(s->tls, TLS1_VERSION);
	script_tls(s, fd);
}

static void an_old_server_is_seen_too(void **state)
{
	(void)state;
	struct server s;
	struct history o = play(&s, script_old_tls, "", &old);
	assert_served(&o, &old);
}

static void script_smtp(struct server *s, int fd)
{
	say(s, fd, "220-mail\r\n220 ESMTP\r\n");
	hear(s, fd);
	say(s, fd, "250-mail\r\n250 STARTTLS\r\n");
	hear(s, fd);
	say(s, fd, "220 go\r\n");
	if (!upgrade(s, fd))
		return;
	hear(s, fd);
	say(s, fd, "221 bye\r\n");
}

static void smtp_is_left_with_quit_inside_tls(void **state)
{
	(void)state;
	struct server s;
	struct history o = play(&s, script_smtp, "/smtp", &leaf);
	assert_served(&o, &leaf);
	assert_string_equal(s.heard, "EHLO [127.0.0.1]\r\nSTARTTLS\r\nQUIT\r\n");
}

static void a_server_is_greeted_by_the_name_that_is_given(void **state)
{
	(void)state;
	struct server s = {0};
	struct history o = {0};
	server_start(&s, script_smtp, &leaf);
	struct endpoint e = at(s.port, "/smtp");
	snprintf(e.helo, sizeof(e.helo), "haproxy.domain.pl");
	assert_non_null(probe_start(base, &e, "mail.domain.pl", 20000, done, &o));
	event_base_dispatch(base);
	server_join(&s);
	assert_served(&o, &leaf);
	assert_string_equal(s.heard, "EHLO haproxy.domain.pl\r\nSTARTTLS\r\nQUIT\r\n");
}

static void script_smtps(struct server *s, int fd)
{
	if (!upgrade(s, fd))
		return;
	say_slowly(s, fd, "220-mail\r\n220 ESMTP\r\n");
	hear(s, fd);
	say(s, fd, "221 bye\r\n");
}

static void script_imaps(struct server *s, int fd)
{
	if (!upgrade(s, fd))
		return;
	say(s, fd, "* OK ready\r\n");
	hear(s, fd);
	say(s, fd, "* BYE\r\ncertsync OK\r\n");
}

static void tls_at_once_is_left_in_the_inner_protocol(void **state)
{
	(void)state;
	struct server s;
	struct history o = play(&s, script_smtps, "/smtps", &leaf);
	assert_served(&o, &leaf);
	assert_string_equal(s.heard, "QUIT\r\n");
	o = play(&s, script_imaps, "/imaps", &leaf);
	assert_served(&o, &leaf);
	assert_string_equal(s.heard, "certsync LOGOUT\r\n");
}

static void script_sieve(struct server *s, int fd)
{
	say(s, fd, "\"STARTTLS\"\r\nOK\r\n");
	hear(s, fd);
	say(s, fd, "OK\r\n");
	if (!upgrade(s, fd))
		return;
	say(s, fd, "\"SIEVE\" \"\"\r\nOK\r\n");
	hear(s, fd);
	say(s, fd, "OK\r\n");
}

static void script_pop3(struct server *s, int fd)
{
	say(s, fd, "+OK\r\n");
	hear(s, fd);
	say(s, fd, "+OK\r\n");
	if (!upgrade(s, fd))
		return;
	hear(s, fd);
	say(s, fd, "+OK\r\n");
}

static void script_imap_bytewise(struct server *s, int fd)
{
	say_slowly(s, fd, "* OK [CAPABILITY IMAP4rev1] ready\r\n");
	hear(s, fd);
	say_slowly(s, fd, "* CAPABILITY IMAP4rev1\r\ncertsync OK go\r\n");
	if (!upgrade(s, fd))
		return;
	hear(s, fd);
	say_slowly(s, fd, "* BYE\r\ncertsync OK\r\n");
}

static void the_other_protocols(void **state)
{
	(void)state;
	struct server s;
	struct history o = play(&s, script_sieve, "/sieve", &leaf);
	assert_served(&o, &leaf);
	assert_string_equal(s.heard, "STARTTLS\r\nLOGOUT\r\n");
	o = play(&s, script_pop3, "/pop3", &leaf);
	assert_served(&o, &leaf);
	assert_string_equal(s.heard, "STLS\r\nQUIT\r\n");
	o = play(&s, script_imap_bytewise, "/imap", &leaf);
	assert_served(&o, &leaf);
	assert_string_equal(s.heard, "certsync STARTTLS\r\ncertsync LOGOUT\r\n");
}

static void script_proxy(struct server *s, int fd)
{
	while (s->heard_len < 16 && recv(fd, s->heard + s->heard_len, 1, 0) == 1)
		s->heard_len++;
	script_tls(s, fd);
}

static void the_proxy_header_comes_first(void **state)
{
	(void)state;
	static const uint8_t local[16] = {"\r\n\r\n\0\r\nQUIT\n\x20\0\0"};
	struct server s;
	struct history o = play(&s, script_proxy, "+proxy", &leaf);
	assert_served(&o, &leaf);
	assert_memory_equal(s.heard, local, sizeof(local));
}

static void script_plain(struct server *s, int fd)
{
	say(s, fd, "220 mail ESMTP\r\n");
	while (hear(s, fd) && s->heard_len < 100)
		;
}

static void plain_text_on_a_tls_port_is_told_as_such(void **state)
{
	(void)state;
	struct server s;
	struct history o = play(&s, script_plain, "", &leaf);
	assert_failed(&o, PROBE_PROTOCOL,
		"plain text where TLS was expected, is it a port for STARTTLS?: \"220 mail ESMTP\"");
}

static void script_no_starttls(struct server *s, int fd)
{
	say(s, fd, "220 mail\r\n");
	hear(s, fd);
	say(s, fd, "250 mail\r\n");
	hear(s, fd);
	say(s, fd, "221 bye\r\n");
}

static void without_starttls_it_leaves_politely(void **state)
{
	(void)state;
	struct server s;
	struct history o = play(&s, script_no_starttls, "/smtp", &leaf);
	assert_failed(&o, PROBE_PROTOCOL, "does not offer STARTTLS");
	assert_string_equal(s.heard, "EHLO [127.0.0.1]\r\nQUIT\r\n");
}

static void script_injected(struct server *s, int fd)
{
	say(s, fd, "+OK\r\n");
	hear(s, fd);
	say(s, fd, "+OK go\r\n+OK injected\r\n");
	upgrade(s, fd);
}

/* The injected text comes in a segment of its own, when the client has begun the handshake already. */
static void script_injected_later(struct server *s, int fd)
{
	say(s, fd, "+OK\r\n");
	hear(s, fd);
	say(s, fd, "+OK go\r\n");
	char first;
	recv(fd, &first, 1, MSG_PEEK);
	say(s, fd, "+OK injected\r\n");
	upgrade(s, fd);
}

static void text_before_the_handshake_is_an_error(void **state)
{
	(void)state;
	struct server s;
	struct history o = play(&s, script_injected, "/pop3", &leaf);
	assert_failed(&o, PROBE_PROTOCOL, "text before the handshake");
	o = play(&s, script_injected_later, "/pop3", &leaf);
	assert_failed(&o, PROBE_PROTOCOL, "text before the handshake");
}

static void script_flood(struct server *s, int fd)
{
	static char line[1002];
	memset(line, 'x', 1000);
	memcpy(line, "220-", 4);
	line[1000] = '\n';
	size_t before;
	do {
		before = s->written;
		say(s, fd, line);
	} while (s->written > before && s->written < 100 * 1000 * 1000);
}

static void a_hundred_megabytes_are_not_listened_to(void **state)
{
	(void)state;
	struct server s;
	struct history o = play(&s, script_flood, "/smtp", &leaf);
	assert_failed(&o, PROBE_PROTOCOL, "does not stop talking");
	assert_true(s.written < 50 * 1000 * 1000);
}

static void script_close_at_once(struct server *s, int fd)
{
	(void)s;
	(void)fd;
}

static void script_close_in_dialogue(struct server *s, int fd)
{
	say(s, fd, "220 mail\r\n");
	hear(s, fd);
	say(s, fd, "250-ma");
}

static void script_close_in_handshake(struct server *s, int fd)
{
	char byte;
	(void)s;
	while (recv(fd, &byte, 1, 0) == 1 && recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1)
		;
}

static void script_reset(struct server *s, int fd)
{
	say(s, fd, "220 mail\r\n");
	hear(s, fd);
	struct linger now = {.l_onoff = 1};
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

static void a_broken_connection_is_told_with_its_step(void **state)
{
	(void)state;
	struct server s;
	struct history o = play(&s, script_close_at_once, "/smtp", &leaf);
	assert_failed(&o, PROBE_PROTOCOL, "waiting for the greeting");
	o = play(&s, script_close_in_dialogue, "/smtp", &leaf);
	assert_failed(&o, PROBE_PROTOCOL, "closed (waiting for the answer to EHLO)");
	o = play(&s, script_close_in_handshake, "", &leaf);
	assert_failed(&o, PROBE_PROTOCOL, "TLS handshake");
	o = play(&s, script_reset, "/smtp", &leaf);
	assert_failed(&o, PROBE_PROTOCOL, "(waiting for the answer to EHLO): Connection reset by peer");
}

/* The server says nothing and reads until the client has hung up. */
static void script_silent(struct server *s, int fd)
{
	while (hear(s, fd) && s->heard_len < sizeof(s->heard) - 1)
		;
}

static void script_silent_at_the_end(struct server *s, int fd)
{
	if (upgrade(s, fd))
		script_silent(s, fd);
}

static struct history wait_out(void (*script)(struct server *s, int fd), const char *suffix)
{
	struct server s = {0};
	server_start(&s, script, &leaf);
	int64_t started = clock_monotonic_ms();
	struct history o = probe_port(s.port, suffix, 300);
	assert_uint_in_range(clock_monotonic_ms() - started, 290, 5000);
	server_join(&s);
	return o;
}

static void script_greeting_without_end(struct server *s, int fd)
{
	say(s, fd, "220-mail.domain.pl wait\r\n");
	script_silent(s, fd);
}

/* Postfix's postscreen greets strangers with one line and keeps the next for postscreen_greet_wait. */
static void a_greeting_that_goes_on_is_told_as_such(void **state)
{
	(void)state;
	struct history o = wait_out(script_greeting_without_end, "/smtp");
	assert_failed(
		&o, PROBE_TIMEOUT, "still in its greeting after 0.300s, which begins with \"220-mail.domain.pl wait\"");
	assert_non_null(strstr(o.text, "allow more time"));
}

/* It ends the handshake when the client has no certificate, in TLS 1.2 before the client is through, in 1.3 after. */
static int refuse_client(X509_STORE_CTX *store, void *context)
{
	(void)store;
	(void)context;
	return 0;
}

static void script_wants_a_certificate(struct server *s, int fd)
{
	SSL_CTX_set_verify(s->tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_cert_verify_callback(s->tls, refuse_client, NULL);
	assert_false(upgrade(s, fd));
}

static void script_wants_a_certificate_12(struct server *s, int fd)
{
	SSL_CTX_set_max_proto_version(s->tls, TLS1_2_VERSION);
	script_wants_a_certificate(s, fd);
}

static void what_a_server_shows_before_it_wants_a_certificate_is_seen(void **state)
{
	(void)state;
	struct server s;
	struct history o = play(&s, script_wants_a_certificate, "", &leaf);
	assert_served(&o, &leaf);
	o = play(&s, script_wants_a_certificate_12, "", &leaf);
	assert_served(&o, &leaf);
}

static void silence_ends_at_the_deadline(void **state)
{
	(void)state;
	struct history o = wait_out(script_silent, "/smtp");
	assert_failed(&o, PROBE_TIMEOUT,
		"no answer within 0.300s (waiting for the greeting); if this port expects the PROXY");
	o = wait_out(script_silent, "");
	assert_failed(&o, PROBE_TIMEOUT, "(in the TLS handshake)");
	o = wait_out(script_silent_at_the_end, "/smtps");
	assert_served(&o, &leaf);
}

static void nothing_listens(void **state)
{
	(void)state;
	struct server s = {0};
	server_start(&s, script_close_at_once, &leaf);
	probe_port(s.port, "", 20000);
	server_join(&s);
	struct history o = probe_port(s.port, "", 20000);
	assert_failed(&o, PROBE_REFUSED, "nothing listens there: Connection refused");
}

enum { MANY = 300 };

static void three_hundred_at_once(void **state)
{
	(void)state;
	static struct history outcomes[MANY];
	struct server s = {.connections = MANY};
	server_start(&s, script_pop3, &leaf);
	struct endpoint e = at(s.port, "/pop3");
	for (int i = 0; i < MANY; i++)
		probe_start(base, &e, "mail.domain.pl", 60000, done, &outcomes[i]);
	event_base_dispatch(base);
	server_join(&s);
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(outcomes[i].calls, 1);
		assert_served(&outcomes[i], &leaf);
	}
}

static void a_cancelled_probe_calls_nobody(void **state)
{
	(void)state;
	struct history o = {0};
	struct server s = {0};
	server_start(&s, script_silent, &leaf);
	struct endpoint e = at(s.port, "/smtp");
	struct probe *p = probe_start(base, &e, "mail.domain.pl", 20000, done, &o);
	event_base_loop(base, EVLOOP_ONCE);
	probe_cancel(p);
	event_base_dispatch(base);
	assert_int_equal(o.calls, 0);
	server_join(&s);
}

static int prepare(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	base = event_base_new();
	root = issue((struct wish){.subject = "Root", .authority = true});
	middle = issue((struct wish){.subject = "Middle", .issuer = &root, .authority = true});
	leaf = issue((struct wish){.subject = "mail.domain.pl", .issuer = &middle, .san = "DNS:mail.domain.pl"});
	expired = issue((struct wish){.subject = "mail.domain.pl", .issuer = &middle, .from = 1000000, .to = 2000000});
	old = issue((struct wish){.subject = "old.domain.pl", .key_type = "rsa-1024"});
	return 0;
}

static int clean_up(void **state)
{
	(void)state;
	struct issued *all[] = {&root, &middle, &leaf, &expired, &old};
	for (size_t i = 0; i < COUNT(all); i++)
		issued_release(all[i]);
	event_base_free(base);
	return 0;
}

static void an_address_is_the_same_however_it_is_written(void **state)
{
	(void)state;
	assert_true(endpoint_is_at("10.0.0.4:25", "10.0.0.4"));
	assert_false(endpoint_is_at("10.0.0.45:25", "10.0.0.4"));
	assert_false(endpoint_is_at("10.0.0.4:25", "10.0.0.45"));
	assert_true(endpoint_is_at("[fd00::4]:25", "fd00:0:0::0:4"));
	assert_false(endpoint_is_at("[fd00::4]:25", "fd00::40"));
	assert_false(endpoint_is_at("[fd00::4]:25", "10.0.0.4"));
	assert_false(endpoint_is_at("", "10.0.0.4"));
	assert_false(endpoint_is_at("[", "fd00::4"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_address_is_the_same_however_it_is_written),
		cmocka_unit_test(whatever_is_served_is_seen),
		cmocka_unit_test(an_old_server_is_seen_too),
		cmocka_unit_test(smtp_is_left_with_quit_inside_tls),
		cmocka_unit_test(a_server_is_greeted_by_the_name_that_is_given),
		cmocka_unit_test(tls_at_once_is_left_in_the_inner_protocol),
		cmocka_unit_test(the_other_protocols),
		cmocka_unit_test(the_proxy_header_comes_first),
		cmocka_unit_test(plain_text_on_a_tls_port_is_told_as_such),
		cmocka_unit_test(without_starttls_it_leaves_politely),
		cmocka_unit_test(text_before_the_handshake_is_an_error),
		cmocka_unit_test(a_hundred_megabytes_are_not_listened_to),
		cmocka_unit_test(a_broken_connection_is_told_with_its_step),
		cmocka_unit_test(a_greeting_that_goes_on_is_told_as_such),
		cmocka_unit_test(what_a_server_shows_before_it_wants_a_certificate_is_seen),
		cmocka_unit_test(silence_ends_at_the_deadline),
		cmocka_unit_test(nothing_listens),
		cmocka_unit_test(three_hundred_at_once),
		cmocka_unit_test(a_cancelled_probe_calls_nobody),
	};
	return cmocka_run_group_tests(tests, prepare, clean_up);
}
