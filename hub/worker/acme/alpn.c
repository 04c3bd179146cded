#include "hub/worker/acme/alpn.h"
#include "lib/crypto/key.h"
#include "lib/core/mem.h"

#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* As ALPN has it on the wire: a byte of length before each protocol. */
static const unsigned char protocol[] = "\x0a"
					"acme-tls/1";
enum { PROTOCOL_LEN = sizeof(protocol) - 1, CERTIFICATE_SECONDS = 24 * 60 * 60, SLACK_SECONDS = 60 * 60 };

struct proven {
	char *name;
	X509 *certificate;
};

struct alpn {
	SSL_CTX *context;
	EVP_PKEY *key;
	struct proven *names;
	size_t count;
};

static struct proven *find(const struct alpn *a, const char *name)
{
	for (size_t i = 0; i < a->count; i++)
		if (strcasecmp(a->names[i].name, name) == 0)
			return &a->names[i];
	return NULL;
}

/* ---- the certificate ---- */

#define ACME_IDENTIFIER "1.3.6.1.5.5.7.1.31"

/* The value of the extension is an OCTET STRING inside that of every extension (RFC 8737 section 3). */
enum { VALUE_SIZE = 2 + ALPN_DIGEST_SIZE };
static void encode(const uint8_t digest[ALPN_DIGEST_SIZE], uint8_t ret[VALUE_SIZE])
{
	ret[0] = V_ASN1_OCTET_STRING;
	ret[1] = ALPN_DIGEST_SIZE;
	memcpy(ret + 2, digest, ALPN_DIGEST_SIZE);
}

static bool add_identifier(X509 *x, const uint8_t digest[ALPN_DIGEST_SIZE])
{
	uint8_t value[VALUE_SIZE];
	encode(digest, value);
	ASN1_OBJECT *type = OBJ_txt2obj(ACME_IDENTIFIER, 1);
	ASN1_OCTET_STRING *data = ASN1_OCTET_STRING_new();
	X509_EXTENSION *extension = type && data && ASN1_OCTET_STRING_set(data, value, sizeof(value)) == 1
		? X509_EXTENSION_create_by_OBJ(NULL, type, 1, data)
		: NULL;
	bool ok = extension && X509_add_ext(x, extension, -1) == 1;
	X509_EXTENSION_free(extension);
	ASN1_OCTET_STRING_free(data);
	ASN1_OBJECT_free(type);
	return ok;
}

static bool add_name(X509 *x, const char *name)
{
	GENERAL_NAMES *names = GENERAL_NAMES_new();
	GENERAL_NAME *one = GENERAL_NAME_new();
	ASN1_IA5STRING *text = ASN1_IA5STRING_new();
	bool ok = names && one && text && ASN1_STRING_set(text, name, (int)strlen(name)) == 1;
	if (ok)
		GENERAL_NAME_set0_value(one, GEN_DNS, steal(text));
	ok = ok && sk_GENERAL_NAME_push(names, one) > 0;
	if (ok)
		one = NULL;
	ok = ok && X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1;
	ASN1_IA5STRING_free(text);
	GENERAL_NAME_free(one);
	GENERAL_NAMES_free(names);
	return ok;
}

static bool fill(X509 *x, EVP_PKEY *key, const char *name, const uint8_t digest[ALPN_DIGEST_SIZE])
{
	X509_NAME *self = X509_get_subject_name(x);
	static const unsigned char us[] = "certsync tls-alpn-01";
	return X509_set_version(x, X509_VERSION_3) == 1 && ASN1_INTEGER_set(X509_get_serialNumber(x), 1) == 1 &&
		X509_gmtime_adj(X509_getm_notBefore(x), -(long)SLACK_SECONDS) &&
		X509_gmtime_adj(X509_getm_notAfter(x), CERTIFICATE_SECONDS) && X509_set_pubkey(x, key) == 1 &&
		X509_NAME_add_entry_by_NID(self, NID_commonName, MBSTRING_ASC, us, sizeof(us) - 1, -1, 0) == 1 &&
		X509_set_issuer_name(x, self) == 1 && add_name(x, name) && add_identifier(x, digest) &&
		X509_sign(x, key, EVP_sha256()) > 0;
}

int alpn_add(struct alpn *a, const char *name, const uint8_t digest[ALPN_DIGEST_SIZE], struct error *err)
{
	struct proven *p = find(a, name);
	if (!p && a->count == ALPN_NAMES_MAX)
		return error_set(err, ERROR_RETRY, "%d names are being proven already", ALPN_NAMES_MAX);
	X509 *x = X509_new();
	if (!x || !fill(x, a->key, name, digest)) {
		X509_free(x);
		return openssl_error(err, ERROR_PERMANENT, "%s: no certificate for tls-alpn-01", name);
	}
	if (!p) {
		a->names = mem_grow(a->names, a->count + 1, sizeof(*a->names));
		p = &a->names[a->count++];
		*p = (struct proven){.name = mem_strdup(name)};
	}
	X509_free(p->certificate);
	p->certificate = x;
	return 0;
}

static void release(struct proven *p)
{
	free(p->name);
	X509_free(p->certificate);
}

void alpn_remove(struct alpn *a, const char *name)
{
	struct proven *p = find(a, name);
	if (!p)
		return;
	release(p);
	*p = a->names[--a->count];
}

/* ---- the handshake ---- */

static int choose_name(SSL *ssl, int *alert, void *context)
{
	const struct alpn *a = context;
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	const struct proven *p = name ? find(a, name) : NULL;
	if (p && SSL_use_certificate(ssl, p->certificate) == 1 && SSL_use_PrivateKey(ssl, a->key) == 1)
		return SSL_TLSEXT_ERR_OK;
	*alert = SSL_AD_UNRECOGNIZED_NAME;
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int choose_protocol(SSL *ssl, const unsigned char **ret, unsigned char *ret_len, const unsigned char *offered,
	unsigned len, void *context)
{
	(void)ssl;
	(void)context;
	if (len != PROTOCOL_LEN || memcmp(offered, protocol, PROTOCOL_LEN) != 0)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*ret = protocol + 1;
	*ret_len = PROTOCOL_LEN - 1;
	return SSL_TLSEXT_ERR_OK;
}

/* Who offers no protocol at all is not asked by OpenSSL which one it is. */
static int refuse_others(SSL *ssl, int *alert, void *context)
{
	const unsigned char *offered;
	size_t len;
	(void)context;
	if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &offered, &len) == 1)
		return SSL_CLIENT_HELLO_SUCCESS;
	*alert = SSL_AD_NO_APPLICATION_PROTOCOL;
	return SSL_CLIENT_HELLO_ERROR;
}

struct alpn *alpn_new(struct error *err)
{
	struct alpn *a = mem_alloc(sizeof(*a));
	a->key = EVP_EC_gen("P-256");
	a->context = a->key ? SSL_CTX_new(TLS_server_method()) : NULL;
	if (!a->context || SSL_CTX_set_min_proto_version(a->context, TLS1_2_VERSION) != 1 ||
		SSL_CTX_set_num_tickets(a->context, 0) != 1) {
		openssl_error(err, ERROR_PERMANENT, "no server for tls-alpn-01");
		alpn_free(a);
		return NULL;
	}
	SSL_CTX_set_options(a->context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_session_cache_mode(a->context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(a->context, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_client_hello_cb(a->context, refuse_others, NULL);
	SSL_CTX_set_tlsext_servername_callback(a->context, choose_name);
	SSL_CTX_set_tlsext_servername_arg(a->context, a);
	SSL_CTX_set_alpn_select_cb(a->context, choose_protocol, NULL);
	return a;
}

void alpn_free(struct alpn *a)
{
	if (!a)
		return;
	for (size_t i = 0; i < a->count; i++)
		release(&a->names[i]);
	free(a->names);
	SSL_CTX_free(a->context);
	EVP_PKEY_free(a->key);
	free(a);
}

SSL *alpn_answer(struct alpn *a, struct error *err)
{
	SSL *ssl = SSL_new(a->context);
	if (ssl)
		SSL_set_accept_state(ssl);
	else
		openssl_error(err, ERROR_RETRY, "a handshake");
	return ssl;
}

/* ---- the other side ---- */

SSL_CTX *alpn_client(struct error *err)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	if (context && SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
		SSL_CTX_set_alpn_protos(context, protocol, PROTOCOL_LEN) == 0) {
		SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
		return context;
	}
	openssl_error(err, ERROR_PERMANENT, "no client for tls-alpn-01");
	SSL_CTX_free(context);
	return NULL;
}

int alpn_judge(SSL *ssl, const uint8_t digest[ALPN_DIGEST_SIZE], struct error *err)
{
	uint8_t wanted[VALUE_SIZE];
	const unsigned char *chosen;
	unsigned len;
	encode(digest, wanted);
	SSL_get0_alpn_selected(ssl, &chosen, &len);
	if (len != PROTOCOL_LEN - 1 || memcmp(chosen, protocol + 1, len) != 0)
		return error_set(
			err, ERROR_PERMANENT, "a server that does not know acme-tls/1 answers, and not the hub");
	X509 *shown = SSL_get1_peer_certificate(ssl);
	ASN1_OBJECT *type = OBJ_txt2obj(ACME_IDENTIFIER, 1);
	int at = shown && type ? X509_get_ext_by_OBJ(shown, type, -1) : -1;
	X509_EXTENSION *extension = at >= 0 ? X509_get_ext(shown, at) : NULL;
	const ASN1_OCTET_STRING *data = extension ? X509_EXTENSION_get_data(extension) : NULL;
	bool same = data && ASN1_STRING_length(data) == VALUE_SIZE &&
		memcmp(ASN1_STRING_get0_data(data), wanted, VALUE_SIZE) == 0;
	ASN1_OBJECT_free(type);
	X509_free(shown);
	return same ? 0 : error_set(err, ERROR_PERMANENT, "it answers acme-tls/1 with something else");
}
