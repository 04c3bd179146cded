#include "lib/crypto/pkcs12.h"
#include "lib/crypto/der.h"
#include "lib/crypto/key.h"
#include "lib/crypto/seal.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pkcs12.h>
#include <string.h>

enum { HASH_SIZE = 32, KEY_SIZE = 32, SALT_SIZE = 16, IV_SIZE = 16 };

/* Object identifiers in DER. PKCS is 1.2.840.113549.1. */
#define PKCS 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01
static const uint8_t data_oid[] = {DER_OID, 9, PKCS, 7, 1};
static const uint8_t encrypted_data_oid[] = {DER_OID, 9, PKCS, 7, 6};
static const uint8_t pbes2_oid[] = {DER_OID, 9, PKCS, 5, 13};
static const uint8_t pbkdf2_oid[] = {DER_OID, 9, PKCS, 5, 12};
static const uint8_t key_bag_oid[] = {DER_OID, 11, PKCS, 12, 10, 1, 2};
static const uint8_t certificate_bag_oid[] = {DER_OID, 11, PKCS, 12, 10, 1, 3};
static const uint8_t x509_oid[] = {DER_OID, 10, PKCS, 9, 22, 1};
static const uint8_t friendly_name_oid[] = {DER_OID, 9, PKCS, 9, 20};
static const uint8_t local_key_oid[] = {DER_OID, 9, PKCS, 9, 21};
static const uint8_t aes_256_cbc_oid[] = {DER_OID, 9, 0x60, 0x86, 0x48, 0x01, 0x65, 3, 4, 1, 42};
/* Algorithms without parameters, whole. */
static const uint8_t hmac_sha256[] = {
	DER_SEQUENCE, 12, DER_OID, 8, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 9, DER_NULL, 0};
static const uint8_t sha256_algorithm[] = {
	DER_SEQUENCE, 13, DER_OID, 9, 0x60, 0x86, 0x48, 0x01, 0x65, 3, 4, 2, 1, DER_NULL, 0};

/* What one use of the password begins from. */
struct start {
	uint8_t salt[SALT_SIZE], iv[IV_SIZE];
};
_Static_assert(sizeof(struct start) == HASH_SIZE, "one hash fills it");

/* ---- what is computed ---- */

static int hmac(const void *key, size_t key_len, const void *data, size_t len, uint8_t ret[HASH_SIZE])
{
	unsigned ret_len = HASH_SIZE;
	return HMAC(EVP_sha256(), key, (int)key_len, data, len, ret, &ret_len) ? 0 : -1;
}

/* Everything goes in with its length, so that no two contents are one text. */
static int compute_seed(const struct pkcs12 *p, size_t max, uint8_t ret[HASH_SIZE])
{
	auto_buf struct buf all = BUF_INIT(max);
	int full = buf_put_string(&all, "certsync PKCS#12") < 0 || buf_put_string(&all, p->name) < 0 ||
		buf_put_bytes(&all, p->password->data, p->password->len) < 0;
	for (size_t i = 0; i < p->certificate_count; i++)
		full = full || buf_put_bytes(&all, p->certificates[i].data, p->certificates[i].len) < 0;
	return full ? -1 : hmac(p->key->data, p->key->len, all.data, all.len, ret);
}

static int compute_start(const uint8_t seed[HASH_SIZE], const char *use, struct start *ret)
{
	uint8_t sum[HASH_SIZE];
	if (hmac(seed, HASH_SIZE, use, strlen(use), sum) < 0)
		return -1;
	memcpy(ret, sum, sizeof(*ret));
	return 0;
}

static int encrypt_with(const uint8_t key[KEY_SIZE], const struct start *s, const struct buf *plain, struct buf *out)
{
	int len = 0, last = 0;
	uint8_t *room = buf_reserve(out, plain->len + EVP_MAX_BLOCK_LENGTH);
	EVP_CIPHER_CTX *ctx = room ? EVP_CIPHER_CTX_new() : NULL;
	int ok = ctx && EVP_EncryptInit_ex(ctx, EVP_aes_256_cbc(), NULL, key, s->iv) == 1 &&
		EVP_EncryptUpdate(ctx, room, &len, plain->data, (int)plain->len) == 1 &&
		EVP_EncryptFinal_ex(ctx, room + len, &last) == 1;
	EVP_CIPHER_CTX_free(ctx);
	if (!ok)
		return -1;
	buf_added(out, (size_t)len + (size_t)last);
	return 0;
}

static int encrypt(const struct buf *password, const struct start *s, const struct buf *plain, struct buf *out)
{
	uint8_t key[KEY_SIZE];
	int result = PKCS5_PBKDF2_HMAC((const char *)password->data, (int)password->len, s->salt, SALT_SIZE,
			     PKCS12_ROUNDS, EVP_sha256(), sizeof(key), key) == 1
		? encrypt_with(key, s, plain, out)
		: -1;
	explicit_bzero(key, sizeof(key));
	return result;
}

static int compute_mac(
	const struct buf *password, const struct start *s, const struct buf *data, uint8_t ret[HASH_SIZE])
{
	uint8_t key[KEY_SIZE], salt[SALT_SIZE];
	memcpy(salt, s->salt, sizeof(salt));
	int result = PKCS12_key_gen_utf8((const char *)password->data, (int)password->len, salt, SALT_SIZE,
			     PKCS12_MAC_ID, PKCS12_ROUNDS, sizeof(key), key, EVP_sha256()) == 1
		? hmac(key, sizeof(key), data->data, data->len, ret)
		: -1;
	explicit_bzero(key, sizeof(key));
	return result;
}

/* ---- what is written ---- */

static void put_algorithm(struct der_writer *w, const struct start *s)
{
	size_t algorithm = der_begin(w, DER_SEQUENCE);
	der_put_encoded(w, pbes2_oid, sizeof(pbes2_oid));
	size_t both = der_begin(w, DER_SEQUENCE);
	size_t derivation = der_begin(w, DER_SEQUENCE);
	der_put_encoded(w, pbkdf2_oid, sizeof(pbkdf2_oid));
	size_t parameters = der_begin(w, DER_SEQUENCE);
	der_put(w, DER_OCTET_STRING, s->salt, sizeof(s->salt));
	der_put_number(w, PKCS12_ROUNDS);
	der_put_encoded(w, hmac_sha256, sizeof(hmac_sha256));
	der_end(w, parameters);
	der_end(w, derivation);
	size_t cipher = der_begin(w, DER_SEQUENCE);
	der_put_encoded(w, aes_256_cbc_oid, sizeof(aes_256_cbc_oid));
	der_put(w, DER_OCTET_STRING, s->iv, sizeof(s->iv));
	der_end(w, cipher);
	der_end(w, both);
	der_end(w, algorithm);
}

/* An attribute with one value, which the caller puts in between: begin returns three places, for end. */
struct attribute {
	size_t whole, values, value;
};

static struct attribute attribute_begin(struct der_writer *w, const uint8_t *oid, size_t oid_len, int tag)
{
	struct attribute a = {.whole = der_begin(w, DER_SEQUENCE)};
	der_put_encoded(w, oid, oid_len);
	a.values = der_begin(w, DER_SET);
	a.value = der_begin(w, tag);
	return a;
}

static void attribute_end(struct der_writer *w, const struct attribute *a)
{
	der_end(w, a->value);
	der_end(w, a->values);
	der_end(w, a->whole);
}

static void put_name(struct der_writer *w, const char *name)
{
	struct attribute a = attribute_begin(w, friendly_name_oid, sizeof(friendly_name_oid), DER_BMP_STRING);
	for (const char *c = name; *c; c++)
		der_put_encoded(w, (const char[]){0, *c}, 2);
	attribute_end(w, &a);
}

static void put_local_key(struct der_writer *w, const uint8_t leaf[HASH_SIZE])
{
	struct attribute a = attribute_begin(w, local_key_oid, sizeof(local_key_oid), DER_OCTET_STRING);
	der_put_encoded(w, leaf, HASH_SIZE);
	attribute_end(w, &a);
}

/* Both stand on the key and on its leaf, which readers so find together. In a set of DER the shorter one is first, and
 * of two equally long ones the name. */
static void put_attributes(struct der_writer *w, const char *name, const uint8_t leaf[HASH_SIZE])
{
	bool name_first = 2 * strlen(name) <= HASH_SIZE;
	size_t set = der_begin(w, DER_SET);
	if (name_first)
		put_name(w, name);
	put_local_key(w, leaf);
	if (!name_first)
		put_name(w, name);
	der_end(w, set);
}

static void put_certificate_bag(struct der_writer *w, const struct buf *certificate)
{
	size_t bag = der_begin(w, DER_CONTEXT), inner = der_begin(w, DER_SEQUENCE);
	der_put_encoded(w, x509_oid, sizeof(x509_oid));
	size_t context = der_begin(w, DER_CONTEXT);
	der_put(w, DER_OCTET_STRING, certificate->data, certificate->len);
	der_end(w, context);
	der_end(w, inner);
	der_end(w, bag);
}

static int put_certificates(
	struct der_writer *w, const struct pkcs12 *p, const struct start *s, const uint8_t leaf[HASH_SIZE])
{
	auto_buf struct buf plain = BUF_INIT(w->out->max), sealed = BUF_INIT(w->out->max);
	struct der_writer in = {.out = &plain};
	size_t bags = der_begin(&in, DER_SEQUENCE);
	for (size_t i = 0; i < p->certificate_count; i++) {
		size_t bag = der_begin(&in, DER_SEQUENCE);
		der_put_encoded(&in, certificate_bag_oid, sizeof(certificate_bag_oid));
		put_certificate_bag(&in, &p->certificates[i]);
		if (i == 0)
			put_attributes(&in, p->name, leaf);
		der_end(&in, bag);
	}
	der_end(&in, bags);
	if (in.failed || encrypt(p->password, s, &plain, &sealed) < 0)
		return -1;
	size_t info = der_begin(w, DER_SEQUENCE);
	der_put_encoded(w, encrypted_data_oid, sizeof(encrypted_data_oid));
	size_t context = der_begin(w, DER_CONTEXT), data = der_begin(w, DER_SEQUENCE);
	der_put_number(w, 0);
	size_t content = der_begin(w, DER_SEQUENCE);
	der_put_encoded(w, data_oid, sizeof(data_oid));
	put_algorithm(w, s);
	der_put(w, DER_CONTEXT_PLAIN, sealed.data, sealed.len);
	der_end(w, content);
	der_end(w, data);
	der_end(w, context);
	der_end(w, info);
	return 0;
}

/* Begins and ends what is not encrypted as a whole: its bytes are in a string. */
struct plain_info {
	size_t info, context, string;
};

static struct plain_info plain_begin(struct der_writer *w)
{
	struct plain_info i = {.info = der_begin(w, DER_SEQUENCE)};
	der_put_encoded(w, data_oid, sizeof(data_oid));
	i.context = der_begin(w, DER_CONTEXT);
	i.string = der_begin(w, DER_OCTET_STRING);
	return i;
}

static void plain_end(struct der_writer *w, const struct plain_info *i)
{
	der_end(w, i->string);
	der_end(w, i->context);
	der_end(w, i->info);
}

static int put_key(struct der_writer *w, const struct pkcs12 *p, const struct start *s, const uint8_t leaf[HASH_SIZE])
{
	auto_buf struct buf sealed = BUF_INIT(w->out->max);
	if (encrypt(p->password, s, p->key, &sealed) < 0)
		return -1;
	struct plain_info info = plain_begin(w);
	size_t bags = der_begin(w, DER_SEQUENCE), bag = der_begin(w, DER_SEQUENCE);
	der_put_encoded(w, key_bag_oid, sizeof(key_bag_oid));
	size_t context = der_begin(w, DER_CONTEXT), inner = der_begin(w, DER_SEQUENCE);
	put_algorithm(w, s);
	der_put(w, DER_OCTET_STRING, sealed.data, sealed.len);
	der_end(w, inner);
	der_end(w, context);
	put_attributes(w, p->name, leaf);
	der_end(w, bag);
	der_end(w, bags);
	plain_end(w, &info);
	return 0;
}

static void put_mac(struct der_writer *w, const struct start *s, const uint8_t mac[HASH_SIZE])
{
	size_t data = der_begin(w, DER_SEQUENCE), digest = der_begin(w, DER_SEQUENCE);
	der_put_encoded(w, sha256_algorithm, sizeof(sha256_algorithm));
	der_put(w, DER_OCTET_STRING, mac, HASH_SIZE);
	der_end(w, digest);
	der_put(w, DER_OCTET_STRING, s->salt, sizeof(s->salt));
	der_put_number(w, PKCS12_ROUNDS);
	der_end(w, data);
}

/* Writes what the MAC is over. */
static int put_safe(struct der_writer *w, const struct pkcs12 *p, const uint8_t seed[HASH_SIZE])
{
	uint8_t leaf[HASH_SIZE];
	struct start certificates, key;
	if (sha256(p->certificates[0].data, p->certificates[0].len, leaf) < 0 ||
		compute_start(seed, "certificates", &certificates) < 0 || compute_start(seed, "key", &key) < 0)
		return -1;
	size_t safe = der_begin(w, DER_SEQUENCE);
	if (put_certificates(w, p, &certificates, leaf) < 0 || put_key(w, p, &key, leaf) < 0)
		return -1;
	der_end(w, safe);
	return w->failed ? -1 : 0;
}

static int write_whole(struct der_writer *w, const struct pkcs12 *p)
{
	uint8_t seed[HASH_SIZE], mac[HASH_SIZE];
	struct start start;
	auto_buf struct buf safe = BUF_INIT(w->out->max);
	struct der_writer in = {.out = &safe};
	int result = compute_seed(p, w->out->max, seed) < 0 || put_safe(&in, p, seed) < 0 ||
			compute_start(seed, "MAC", &start) < 0 || compute_mac(p->password, &start, &safe, mac) < 0
		? -1
		: 0;
	explicit_bzero(seed, sizeof(seed));
	if (result < 0)
		return -1;
	size_t pfx = der_begin(w, DER_SEQUENCE);
	der_put_number(w, 3);
	struct plain_info info = plain_begin(w);
	der_put_encoded(w, safe.data, safe.len);
	plain_end(w, &info);
	put_mac(w, &start, mac);
	der_end(w, pfx);
	return w->failed ? -1 : 0;
}

int pkcs12_write(const struct pkcs12 *p, struct buf *out, struct error *err)
{
	struct der_writer w = {.out = out};
	return write_whole(&w, p) == 0
		? 0
		: openssl_error(err, ERROR_RETRY, "a PKCS#12 file of %s cannot be made", p->name);
}
