/* Endpoints as a configuration writes them: the address, and the protocol that is told or follows from the port. */
#include "lib/probe/endpoint.h"
#include "lib/core/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>

static struct endpoint parsed(const char *text)
{
	struct endpoint e;
	struct error err;
	if (endpoint_parse(text, &e, &err) < 0)
		fail_msg("%s", err.message);
	return e;
}

static void the_protocol_follows_from_the_port(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		enum probe_protocol protocol, inner;
		bool proxy;
	} cases[] = {
		{"127.0.0.1:25", PROBE_SMTP, PROBE_SMTP, false},
		{"127.0.0.1:587", PROBE_SMTP, PROBE_SMTP, false},
		{"127.0.0.1:110", PROBE_POP3, PROBE_POP3, false},
		{"127.0.0.1:143", PROBE_IMAP, PROBE_IMAP, false},
		{"127.0.0.1:4190", PROBE_SIEVE, PROBE_SIEVE, false},
		{"127.0.0.1:5432", PROBE_POSTGRES, PROBE_POSTGRES, false},
		{"127.0.0.1:3306", PROBE_MYSQL, PROBE_MYSQL, false},
		{"127.0.0.1:389", PROBE_LDAP, PROBE_LDAP, false},
		{"127.0.0.1:636", PROBE_TLS, PROBE_LDAP, false},
		{"127.0.0.1:5222", PROBE_XMPP, PROBE_XMPP, false},
		{"127.0.0.1:5269", PROBE_XMPP_SERVER, PROBE_XMPP_SERVER, false},
		{"127.0.0.1:5223", PROBE_TLS, PROBE_XMPP, false},
		{"127.0.0.1:21", PROBE_FTP, PROBE_FTP, false},
		{"127.0.0.1:990", PROBE_TLS, PROBE_FTP, false},
		{"127.0.0.1:119", PROBE_NNTP, PROBE_NNTP, false},
		{"127.0.0.1:563", PROBE_TLS, PROBE_NNTP, false},
		{"127.0.0.1:24", PROBE_LMTP, PROBE_LMTP, false},
		{"127.0.0.1:15222+proxy", PROBE_XMPP, PROBE_XMPP, true},
		{"127.0.0.1:1/ldap", PROBE_LDAP, PROBE_LDAP, false},
		{"127.0.0.1:1/ldaps", PROBE_TLS, PROBE_LDAP, false},
		{"127.0.0.1:1/xmpp", PROBE_XMPP, PROBE_XMPP, false},
		{"127.0.0.1:1/xmpps", PROBE_TLS, PROBE_XMPP, false},
		{"127.0.0.1:1/xmpp-server+proxy", PROBE_XMPP_SERVER, PROBE_XMPP_SERVER, true},
		{"127.0.0.1:1/ftp", PROBE_FTP, PROBE_FTP, false},
		{"127.0.0.1:1/ftps", PROBE_TLS, PROBE_FTP, false},
		{"127.0.0.1:1/nntp", PROBE_NNTP, PROBE_NNTP, false},
		{"127.0.0.1:1/nntps", PROBE_TLS, PROBE_NNTP, false},
		{"127.0.0.1:1/lmtp", PROBE_LMTP, PROBE_LMTP, false},
		{"[::1]:993", PROBE_TLS, PROBE_IMAP, false},
		{"127.0.0.1:995", PROBE_TLS, PROBE_POP3, false},
		{"127.0.0.1:465", PROBE_TLS, PROBE_SMTP, false},
		{"127.0.0.1:443", PROBE_TLS, PROBE_TLS, false},
		{"127.0.0.1:8443", PROBE_TLS, PROBE_TLS, false},
		{"127.0.0.1:10000", PROBE_TLS, PROBE_TLS, false},
		{"127.0.0.1:10025+proxy", PROBE_SMTP, PROBE_SMTP, true},
		{"127.0.0.1:10587", PROBE_SMTP, PROBE_SMTP, false},
		{"127.0.0.1:10110+proxy", PROBE_POP3, PROBE_POP3, true},
		{"127.0.0.1:10143+proxy", PROBE_IMAP, PROBE_IMAP, true},
		{"127.0.0.1:10993+proxy", PROBE_TLS, PROBE_IMAP, true},
		{"127.0.0.1:2525/smtp", PROBE_SMTP, PROBE_SMTP, false},
		{"127.0.0.1:25/tls+proxy", PROBE_TLS, PROBE_TLS, true},
		{"127.0.0.1:4650/smtps", PROBE_TLS, PROBE_SMTP, false},
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct endpoint e = parsed(cases[i].text);
		assert_string_equal(e.text, cases[i].text);
		assert_int_equal(e.protocol, cases[i].protocol);
		assert_int_equal(e.inner, cases[i].inner);
		assert_int_equal(e.proxy, cases[i].proxy);
	}
}

static void an_address_is_taken_as_written(void **state)
{
	(void)state;
	struct endpoint e = parsed("[fd00::5]:65535");
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&e.address;
	char text[INET6_ADDRSTRLEN];
	assert_int_equal(e.address.ss_family, AF_INET6);
	assert_int_equal(e.address_len, sizeof(*v6));
	assert_string_equal(inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text)), "fd00::5");
	assert_int_equal(ntohs(v6->sin6_port), 65535);
	e = parsed("10.0.0.4:1");
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&e.address;
	assert_int_equal(e.address.ss_family, AF_INET);
	assert_int_equal(ntohl(v4->sin_addr.s_addr), 0x0a000004);
	assert_int_equal(ntohs(v4->sin_port), 1);
}

static void a_wrong_endpoint_is_named(void **state)
{
	(void)state;
	static const char *const wrong[][2] = {
		{"", "not ADDRESS:PORT"},
		{"127.0.0.1", "not ADDRESS:PORT"},
		{"::1:25", "not ADDRESS:PORT"},
		{"[::1:25", "not ADDRESS:PORT"},
		{"[127.0.0.1]:25", "not ADDRESS:PORT"},
		{"127.0.0.1:0", "from 1 to 65535"},
		{"127.0.0.1:65536", "from 1 to 65535"},
		{"127.0.0.1:", "from 1 to 65535"},
		{"127.0.0.1:-1", "from 1 to 65535"},
		{"127.0.0.1:25x", "from 1 to 65535"},
		{"127.0.0.1:000025", "from 1 to 65535"},
		{"localhost:25", "names are not resolved here"},
		{"127.1:25", "not an IP address"},
		{"[fe80::g]:25", "not an IP address"},
		{"127.0.0.1:25/irc", "\"irc\" is not known"},
		{"127.0.0.1:25/", "\"\" is not known"},
		{"127.0.0.1:25+prox", "only +proxy is"},
		{"127.0.0.1:25+proxy+proxy", "only +proxy is"},
		{"127.0.0.1:25+proxy/smtp", "only +proxy is"},
		{"127.0.0.1:"
		 "255555555555555555555555555555555555555555555555555555555555555555555555555555555555555555"
		 "5555",
			"longer than"},
	};
	for (size_t i = 0; i < COUNT(wrong); i++) {
		struct endpoint e;
		struct error err;
		assert_int_equal(endpoint_parse(wrong[i][0], &e, &err), -1);
		assert_int_equal(err.kind, ERROR_USAGE);
		if (!strstr(err.message, wrong[i][1]))
			fail_msg("\"%s\" does not say \"%s\"", err.message, wrong[i][1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_protocol_follows_from_the_port),
		cmocka_unit_test(an_address_is_taken_as_written),
		cmocka_unit_test(a_wrong_endpoint_is_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
