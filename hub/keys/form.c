#include "hub/keys/form.h"
#include "lib/core/mem.h"
#include "lib/crypto/der.h"

#include <stdbool.h>
#include <string.h>

/* ---- binary ---- */

struct binary {
	int tags[3];
	size_t count;
	bool whole;
	const char *text;
};

/* PFX is RFC 7292 section 4, ContentInfo RFC 5652 section 3, RSAPrivateKey RFC 8017 A.1.2, ECPrivateKey RFC 5915,
 * PrivateKeyInfo and EncryptedPrivateKeyInfo RFC 5208 sections 5 and 6. */
static const struct binary binaries[] = {
	{{DER_INTEGER, DER_SEQUENCE, DER_OCTET_STRING}, 3, false,
		"a private key in DER, which is taken as PEM: umask 077; openssl pkey -inform DER -in FILE -out NEW"},
	{{DER_INTEGER, DER_INTEGER, DER_INTEGER}, 3, false,
		"a private key in DER, which is taken as PEM: umask 077; openssl pkey -inform DER -in FILE -out NEW"},
	{{DER_INTEGER, DER_OCTET_STRING}, 2, false,
		"a private key in DER, which is taken as PEM: umask 077; openssl pkey -inform DER -in FILE -out NEW"},
	{{DER_SEQUENCE, DER_OCTET_STRING}, 2, true,
		"an encrypted private key in DER: umask 077; openssl pkey -inform DER -in FILE -out NEW"},
	{{DER_INTEGER, DER_SEQUENCE}, 2, false,
		"PKCS#12 (.p12, .pfx): umask 077; openssl pkcs12 -nodes -in FILE -out NEW"},
	{{DER_OID, DER_CONTEXT}, 2, true,
		"PKCS#7 in DER (.p7b): openssl pkcs7 -inform DER -print_certs -in FILE -out NEW"},
};

static const char *binary_form(const void *data, size_t len)
{
	for (size_t i = 0; i < COUNT(binaries); i++)
		if (der_is_sequence_of(data, len, binaries[i].tags, binaries[i].count, binaries[i].whole))
			return binaries[i].text;
	return "";
}

/* ---- marks ---- */

struct mark {
	const char *bytes;
	size_t len;
	bool in_front; /* else anywhere */
	const char *text;
};
#define MARK(bytes) bytes, sizeof(bytes) - 1

static const struct mark marks[] = {
	{MARK("\xff\xfe"), true, "text in UTF-16: iconv -f UTF-16 -t UTF-8 FILE >NEW"},
	{MARK("\xfe\xff"), true, "text in UTF-16: iconv -f UTF-16 -t UTF-8 FILE >NEW"},
	{MARK("\xfe\xed\xfe\xed"), true,
		"a Java keystore: keytool -importkeystore -srckeystore FILE -destkeystore NEW -deststoretype pkcs12, then "
		"openssl pkcs12 -nodes -in NEW"},
	{MARK("-----BEGIN PKCS7-----"), false, "PKCS#7: openssl pkcs7 -print_certs -in FILE -out NEW"},
	{MARK("-----BEGIN CERTIFICATE REQUEST-----"), false,
		"a request for a certificate: what is wanted is the certificate that the authority makes of it"},
	{MARK("-----BEGIN NEW CERTIFICATE REQUEST-----"), false,
		"a request for a certificate: what is wanted is the certificate that the authority makes of it"},
	{MARK("-----BEGIN PUBLIC KEY-----"), false, "a public key, which is neither a certificate nor a private key"},
	{MARK("-----\\n"), false,
		"PEM whose lines end with the two characters \\n, as in JSON: sed 's/\\\\n/\\n/g' FILE >NEW"},
	{MARK("-----BEGIN "), false,
		"PEM in which something stands on the line of BEGIN or END: sed 's/-----[BE][^-]*-----/\\n&\\n/g' FILE >NEW"},
};

static bool has(const struct mark *m, const void *data, size_t len)
{
	if (m->in_front)
		return len >= m->len && memcmp(data, m->bytes, m->len) == 0;
	return len && memmem(data, len, m->bytes, m->len) != NULL;
}

const char *form_of(const void *data, size_t len)
{
	for (size_t i = 0; i < COUNT(marks); i++)
		if (has(&marks[i], data, len))
			return marks[i].text;
	return binary_form(data, len);
}
