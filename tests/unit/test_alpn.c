/* The handshake of tls-alpn-01, by both sides of it, over a socketpair. */
#include "hub/worker/acme/alpn.h"
#include "lib/core/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define NAME "mail.domain.pl"

struct shake {
	struct alpn *alpn;
	SSL_CTX *context; /* the client's */
	SSL *client, *server;
	int pair[2];
	int alert; /* that the client got; 0: none */
};

static const uint8_t one[ALPN_DIGEST_SIZE] = {1, 2, 3}, other[ALPN_DIGEST_SIZE] = {3, 2, 1};

static int setup(void **state)
{
	struct error err;
	struct shake *s = mem_alloc(sizeof(*s));
	s->alpn = alpn_new(&err);
	s->context = alpn_client(&err);
	*state = s;
	return s->alpn && s->context ? 0 : -1;
}

static void over(struct shake *s)
{
	SSL_free(steal(s->client));
	SSL_free(steal(s->server));
	close(s->pair[0]);
	close(s->pair[1]);
}

static int teardown(void **state)
{
	struct shake *s = *state;
	alpn_free(s->alpn);
	SSL_CTX_free(s->context);
	free(s);
	return 0;
}

static void hear_alert(const SSL *ssl, int where, int code)
{
	struct shake *s = SSL_get_ex_data(ssl, 0);
	if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT)
		s->alert = code & 0xff;
}

/* Returns whether both sides came to an end of it that is good. */
static bool shake(struct shake *s, const char *name)
{
	struct error err;
	int client = 0, server = 0;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s->pair), 0);
	s->alert = 0;
	s->server = alpn_answer(s->alpn, &err);
	s->client = SSL_new(s->context);
	assert_true(s->server && s->client);
	SSL_set_ex_data(s->client, 0, s);
	SSL_set_info_callback(s->client, hear_alert);
	SSL_set_connect_state(s->client);
	if (name)
		SSL_set_tlsext_host_name(s->client, name);
	SSL_set_fd(s->client, s->pair[0]);
	SSL_set_fd(s->server, s->pair[1]);
	for (int i = 0; i < 10 && (client != 1 || server != 1); i++) {
		client = SSL_do_handshake(s->client);
		server = SSL_do_handshake(s->server);
	}
	return client == 1 && server == 1;
}

static void a_name_is_proven(void **state)
{
	struct shake *s = *state;
	struct error err;
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
	assert_int_equal(alpn_add(s->alpn, "else.domain.pl", other, &err), 0);
	assert_int_equal(alpn_add(s->alpn, NAME, one, &err), 0);
	for (size_t i = 0; i < COUNT(versions); i++) {
		SSL_CTX_set_max_proto_version(s->context, versions[i]);
		assert_true(shake(s, NAME));
		assert_int_equal(alpn_judge(s->client, one, &err), 0);
		assert_int_equal(alpn_judge(s->client, other, &err), -1);
		assert_non_null(strstr(err.message, "something else"));
		over(s);
		assert_true(shake(s, "MAIL.domain.PL")); /* some authorities mix the case */
		over(s);
		assert_true(shake(s, "else.domain.pl"));
		assert_int_equal(alpn_judge(s->client, other, &err), 0);
		over(s);
	}
	/* The same name with another answer, as a second try has it. */
	assert_int_equal(alpn_add(s->alpn, NAME, other, &err), 0);
	assert_true(shake(s, NAME));
	assert_int_equal(alpn_judge(s->client, other, &err), 0);
	over(s);
}

/* RFC 8737 section 3, and what Pebble and Boulder hold against it. */
static void the_certificate_is_as_the_rfc_has_it(void **state)
{
	struct shake *s = *state;
	struct error err;
	assert_int_equal(alpn_add(s->alpn, NAME, one, &err), 0);
	assert_true(shake(s, NAME));
	X509 *shown = SSL_get1_peer_certificate(s->client);
	GENERAL_NAMES *names = X509_get_ext_d2i(shown, NID_subject_alt_name, NULL, NULL);
	assert_int_equal(sk_GENERAL_NAME_num(names), 1);
	int type;
	const ASN1_IA5STRING *text = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, 0), &type);
	assert_int_equal(type, GEN_DNS);
	assert_int_equal(ASN1_STRING_length(text), strlen(NAME));
	assert_memory_equal(ASN1_STRING_get0_data(text), NAME, strlen(NAME));
	ASN1_OBJECT *identifier = OBJ_txt2obj("1.3.6.1.5.5.7.1.31", 1);
	int at = X509_get_ext_by_OBJ(shown, identifier, -1);
	assert_true(at >= 0);
	assert_int_equal(X509_get_ext_by_OBJ(shown, identifier, at), -1);
	X509_EXTENSION *extension = X509_get_ext(shown, at);
	assert_int_equal(X509_EXTENSION_get_critical(extension), 1);
	const ASN1_OCTET_STRING *value = X509_EXTENSION_get_data(extension);
	assert_int_equal(ASN1_STRING_length(value), 34);
	assert_memory_equal(ASN1_STRING_get0_data(value), "\x04\x20\x01\x02\x03", 5);
	assert_int_equal(X509_cmp_current_time(X509_get0_notBefore(shown)), -1);
	assert_int_equal(X509_cmp_current_time(X509_get0_notAfter(shown)), 1);
	assert_int_equal(X509_verify(shown, X509_get0_pubkey(shown)), 1);
	ASN1_OBJECT_free(identifier);
	GENERAL_NAMES_free(names);
	X509_free(shown);
	over(s);
}

static void nobody_else_is_answered(void **state)
{
	struct shake *s = *state;
	struct error err;
	static const struct {
		const char *name, *offered;
		size_t len;
		int alert;
	} others[] = {
		{NULL,
			"\x0a"
			"acme-tls/1",
			11, SSL_AD_UNRECOGNIZED_NAME},
		{"www.domain.pl",
			"\x0a"
			"acme-tls/1",
			11, SSL_AD_UNRECOGNIZED_NAME},
		{"gone.domain.pl",
			"\x0a"
			"acme-tls/1",
			11, SSL_AD_UNRECOGNIZED_NAME},
		{NAME,
			"\x02"
			"h2",
			3, SSL_AD_NO_APPLICATION_PROTOCOL},
		{NAME,
			"\x0a"
			"acme-tls/1"
			"\x02"
			"h2",
			14, SSL_AD_NO_APPLICATION_PROTOCOL},
		{NAME, NULL, 0, SSL_AD_NO_APPLICATION_PROTOCOL},
	};
	assert_int_equal(alpn_add(s->alpn, NAME, one, &err), 0);
	assert_int_equal(alpn_add(s->alpn, "gone.domain.pl", one, &err), 0);
	alpn_remove(s->alpn, "gone.domain.pl");
	for (size_t i = 0; i < COUNT(others); i++) {
		SSL_CTX_set_alpn_protos(s->context, (const unsigned char *)others[i].offered, (unsigned)others[i].len);
		assert_false(shake(s, others[i].name));
		assert_int_equal(s->alert, others[i].alert);
		over(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_name_is_proven, setup, teardown),
		cmocka_unit_test_setup_teardown(the_certificate_is_as_the_rfc_has_it, setup, teardown),
		cmocka_unit_test_setup_teardown(nobody_else_is_answered, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
