#include "hub/keys/csr.h"
#include "lib/crypto/chain.h"

#include <openssl/core_names.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <string.h>

static bool add_name(GENERAL_NAMES *list, const char *name)
{
	ASN1_IA5STRING *text = ASN1_IA5STRING_new();
	GENERAL_NAME *entry = GENERAL_NAME_new();
	if (text && entry && ASN1_STRING_set(text, name, -1) == 1) {
		GENERAL_NAME_set0_value(entry, GEN_DNS, text);
		if (sk_GENERAL_NAME_push(list, entry))
			return true;
		text = NULL;
	}
	ASN1_IA5STRING_free(text);
	GENERAL_NAME_free(entry);
	return false;
}

static bool add_names(X509_REQ *request, const char *const *names, size_t name_count)
{
	GENERAL_NAMES *list = GENERAL_NAMES_new();
	STACK_OF(X509_EXTENSION) *extensions = NULL;
	bool added = list != NULL;
	for (size_t i = 0; added && i < name_count; i++)
		added = add_name(list, names[i]);
	/* The extension is critical, since the subject is empty (RFC 5280 section 4.2.1.6). */
	added = added && X509V3_add1_i2d(&extensions, NID_subject_alt_name, list, 1, X509V3_ADD_DEFAULT) == 1 &&
		X509_REQ_add_extensions(request, extensions) == 1;
	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
	GENERAL_NAMES_free(list);
	return added;
}

/* P-384 goes with its own hash, everything else with SHA-256. */
static const EVP_MD *digest_for(const EVP_PKEY *key)
{
	return EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_bits(key) > 256 ? EVP_sha384() : EVP_sha256();
}

int csr_make(EVP_PKEY *key, const char *const *names, size_t name_count, struct buf *out, struct error *err)
{
	unsigned char *der = NULL;
	int len = -1;
	X509_REQ *request = X509_REQ_new();
	if (request && X509_REQ_set_version(request, X509_REQ_VERSION_1) == 1 &&
		X509_REQ_set_pubkey(request, key) == 1 && add_names(request, names, name_count) &&
		X509_REQ_sign(request, key, digest_for(key)) > 0)
		len = i2d_X509_REQ(request, &der);
	X509_REQ_free(request);
	if (len < 0)
		return openssl_error(err, ERROR_PERMANENT, "the signing request cannot be made");
	int result = buf_add(out, der, (size_t)len);
	OPENSSL_free(der);
	if (result < 0)
		return error_set(err, ERROR_PERMANENT, "the signing request is longer than %zu bytes", out->max);
	return 0;
}
