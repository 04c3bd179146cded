#include "lib/crypto/seal.h"
#include "lib/crypto/chain.h"
#include "lib/core/mem.h"

#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <string.h>

enum { HASH_SIZE = 32, NONCE_SIZE = 12, LABELED_MAX = 4096 };

/* A secret is 32 bytes that nobody may read afterwards; it is wiped at the end of its scope. */
struct secret {
	uint8_t bytes[HASH_SIZE];
};

static void secret_wipe(struct secret *s)
{
	explicit_bzero(s, sizeof(*s));
}

#define auto_secret __attribute__((cleanup(secret_wipe)))

struct span {
	const void *data;
	size_t len;
};

/* ---- one operation of OpenSSL each ---- */

static int random_private(uint8_t ret[SEAL_KEY_SIZE], struct error *err)
{
	if (RAND_priv_bytes(ret, SEAL_KEY_SIZE) != 1)
		return openssl_error(err, ERROR_RETRY, "no random bytes for a new key");
	return 0;
}

static int raw_public(int type, const uint8_t private_key[SEAL_KEY_SIZE], uint8_t ret[SEAL_KEY_SIZE], struct error *err)
{
	size_t len = SEAL_KEY_SIZE;
	auto_pkey EVP_PKEY *key = EVP_PKEY_new_raw_private_key(type, NULL, private_key, SEAL_KEY_SIZE);
	if (!key || EVP_PKEY_get_raw_public_key(key, ret, &len) != 1 || len != SEAL_KEY_SIZE)
		return openssl_error(err, ERROR_PERMANENT, "the public half of a key cannot be computed");
	return 0;
}

static int derive(EVP_PKEY *mine, EVP_PKEY *theirs, struct secret *ret)
{
	size_t len = sizeof(ret->bytes);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(mine, NULL);
	int ok = ctx && EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_derive_set_peer(ctx, theirs) == 1 &&
		EVP_PKEY_derive(ctx, ret->bytes, &len) == 1 && len == sizeof(ret->bytes);
	EVP_PKEY_CTX_free(ctx);
	return ok ? 0 : -1;
}

/* Computes X25519. A public key of small order would give a secret that everybody knows, all zeros, and is refused (RFC
 * 9180 section 7.1.4). */
static int diffie_hellman(const uint8_t private_key[SEAL_KEY_SIZE], const uint8_t public_key[SEAL_KEY_SIZE],
	struct secret *ret, struct error *err)
{
	static const uint8_t zeros[HASH_SIZE];
	auto_pkey EVP_PKEY *mine = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, private_key, SEAL_KEY_SIZE);
	auto_pkey EVP_PKEY *theirs = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, public_key, SEAL_KEY_SIZE);
	if (!mine || !theirs || derive(mine, theirs, ret) < 0 || CRYPTO_memcmp(ret->bytes, zeros, sizeof(zeros)) == 0)
		return openssl_error(err, ERROR_UNTRUSTED, "seal: no shared secret with this X25519 key");
	return 0;
}

/* Does one half of HKDF-SHA256: `mode` extracts (from salt and key) or expands (from key and info). */
static int hkdf(int mode, struct span salt, struct span key, struct span info, struct secret *ret, size_t len,
	struct error *err)
{
	OSSL_PARAM params[6], *p = params;
	*p++ = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
	*p++ = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)"SHA256", 0);
	*p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)key.data, key.len);
	if (salt.len)
		*p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)salt.data, salt.len);
	if (info.len)
		*p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)info.data, info.len);
	*p = OSSL_PARAM_construct_end();

	EVP_KDF *kdf = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_HKDF, NULL);
	EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	int ok = ctx && EVP_KDF_derive(ctx, ret->bytes, len, params) == 1;
	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
	return ok ? 0 : openssl_error(err, ERROR_PERMANENT, "HKDF-SHA256 failed");
}

/* ---- RFC 9180 section 4: every input is labelled with the suite ---- */

static const struct span suite_kem = {"KEM\x00\x20", 5};
static const struct span suite_hpke = {"HPKE\x00\x20\x00\x01\x00\x03", 10};

static int labeled(struct buf *b, struct span suite, const char *label, struct span value, struct error *err)
{
	if (buf_add(b, "HPKE-v1", 7) < 0 || buf_add(b, suite.data, suite.len) < 0 ||
		buf_add(b, label, strlen(label)) < 0 || buf_add(b, value.data, value.len) < 0)
		return error_set(
			err, ERROR_PERMANENT, "seal: the input labeled %s is longer than %d bytes", label, LABELED_MAX);
	return 0;
}

static int labeled_extract(struct span suite, struct span salt, const char *label, struct span value,
	struct secret *ret, struct error *err)
{
	auto_buf struct buf input = BUF_INIT(LABELED_MAX);
	if (labeled(&input, suite, label, value, err) < 0)
		return -1;
	return hkdf(EVP_KDF_HKDF_MODE_EXTRACT_ONLY, salt, (struct span){input.data, input.len}, (struct span){NULL, 0},
		ret, sizeof(ret->bytes), err);
}

static int labeled_expand(const struct secret *key, struct span suite, const char *label, struct span value,
	struct secret *ret, size_t len, struct error *err)
{
	auto_buf struct buf info = BUF_INIT(LABELED_MAX);
	if (buf_put_u16(&info, (uint16_t)len) < 0 || labeled(&info, suite, label, value, err) < 0)
		return -1;
	return hkdf(EVP_KDF_HKDF_MODE_EXPAND_ONLY, (struct span){NULL, 0},
		(struct span){key->bytes, sizeof(key->bytes)}, (struct span){info.data, info.len}, ret, len, err);
}

/* ---- HPKE: the key encapsulated, the key schedule, the one message ---- */

/* Computes the KEM's shared secret. Both sides can: each has one of the two private keys. */
static int shared_secret(const uint8_t private_key[SEAL_KEY_SIZE], const uint8_t public_key[SEAL_KEY_SIZE],
	const uint8_t enc[SEAL_ENC_SIZE], const uint8_t recipient[SEAL_KEY_SIZE], struct secret *ret, struct error *err)
{
	auto_secret struct secret dh, prk;
	uint8_t context[SEAL_ENC_SIZE + SEAL_KEY_SIZE];
	memcpy(context, enc, SEAL_ENC_SIZE);
	memcpy(context + SEAL_ENC_SIZE, recipient, SEAL_KEY_SIZE);
	if (diffie_hellman(private_key, public_key, &dh, err) < 0)
		return -1;
	if (labeled_extract(suite_kem, (struct span){NULL, 0}, "eae_prk", (struct span){dh.bytes, sizeof(dh.bytes)},
		    &prk, err) < 0)
		return -1;
	return labeled_expand(&prk, suite_kem, "shared_secret", (struct span){context, sizeof(context)}, ret,
		sizeof(ret->bytes), err);
}

struct message_key {
	struct secret key;
	struct secret nonce; /* NONCE_SIZE bytes of it */
};

static void message_key_wipe(struct message_key *k)
{
	explicit_bzero(k, sizeof(*k));
}

#define auto_message_key __attribute__((cleanup(message_key_wipe)))

static int key_schedule(const struct secret *shared, struct span info, struct message_key *ret, struct error *err)
{
	static const struct span none = {NULL, 0};
	struct secret psk_id_hash, info_hash;
	auto_secret struct secret secret;
	if (labeled_extract(suite_hpke, none, "psk_id_hash", none, &psk_id_hash, err) < 0 ||
		labeled_extract(suite_hpke, none, "info_hash", info, &info_hash, err) < 0 ||
		labeled_extract(suite_hpke, (struct span){shared->bytes, sizeof(shared->bytes)}, "secret", none,
			&secret, err) < 0)
		return -1;

	uint8_t context[1 + 2 * HASH_SIZE] = {0}; /* mode 0: base */
	memcpy(context + 1, psk_id_hash.bytes, HASH_SIZE);
	memcpy(context + 1 + HASH_SIZE, info_hash.bytes, HASH_SIZE);
	struct span bound = {context, sizeof(context)};
	if (labeled_expand(&secret, suite_hpke, "key", bound, &ret->key, HASH_SIZE, err) < 0)
		return -1;
	return labeled_expand(&secret, suite_hpke, "base_nonce", bound, &ret->nonce, NONCE_SIZE, err);
}

/* The key is used once, so the sequence number is 0 and the nonce is the base nonce. */
static int aead_encrypt(
	const struct message_key *k, struct span aad, struct span plain, uint8_t *ret, struct error *err)
{
	int len;
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int ok = ctx && EVP_EncryptInit_ex(ctx, EVP_chacha20_poly1305(), NULL, k->key.bytes, k->nonce.bytes) == 1 &&
		EVP_EncryptUpdate(ctx, NULL, &len, aad.data, (int)aad.len) == 1 &&
		EVP_EncryptUpdate(ctx, ret, &len, plain.data, (int)plain.len) == 1 &&
		EVP_EncryptFinal_ex(ctx, ret + plain.len, &len) == 1 &&
		EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, SEAL_TAG_SIZE, ret + plain.len) == 1;
	EVP_CIPHER_CTX_free(ctx);
	return ok ? 0 : openssl_error(err, ERROR_PERMANENT, "ChaCha20-Poly1305 failed");
}

static int aead_decrypt(const struct message_key *k, struct span aad, const uint8_t *cipher, size_t len, uint8_t *ret,
	struct error *err)
{
	int written;
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int ok = ctx && EVP_DecryptInit_ex(ctx, EVP_chacha20_poly1305(), NULL, k->key.bytes, k->nonce.bytes) == 1 &&
		EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, SEAL_TAG_SIZE, (void *)(cipher + len)) == 1 &&
		EVP_DecryptUpdate(ctx, NULL, &written, aad.data, (int)aad.len) == 1 &&
		EVP_DecryptUpdate(ctx, ret, &written, cipher, (int)len) == 1 &&
		EVP_DecryptFinal_ex(ctx, ret + len, &written) == 1;
	EVP_CIPHER_CTX_free(ctx);
	if (ok)
		return 0;
	explicit_bzero(ret, len);
	return openssl_error(err, ERROR_UNTRUSTED,
		"seal: not sealed to this key, or changed on its way: ask the sender for it again");
}

int seal_with_ephemeral(const uint8_t ephemeral[SEAL_KEY_SIZE], const uint8_t recipient[SEAL_KEY_SIZE],
	const void *info, size_t info_len, const void *aad, size_t aad_len, const void *plain, size_t plain_len,
	struct buf *out, struct error *err)
{
	uint8_t enc[SEAL_ENC_SIZE];
	auto_secret struct secret shared;
	auto_message_key struct message_key key;
	if (plain_len > INT_MAX / 2 || aad_len > INT_MAX / 2)
		return error_set(err, ERROR_PERMANENT, "seal: %zu bytes are too many", plain_len);
	if (seal_public(ephemeral, enc, err) < 0 ||
		shared_secret(ephemeral, recipient, enc, recipient, &shared, err) < 0 ||
		key_schedule(&shared, (struct span){info, info_len}, &key, err) < 0)
		return -1;

	uint8_t *room = buf_reserve(out, SEAL_ENC_SIZE + plain_len + SEAL_TAG_SIZE);
	if (!room)
		return error_set(err, ERROR_PERMANENT, "seal: %zu bytes do not fit into %zu", plain_len, out->max);
	memcpy(room, enc, SEAL_ENC_SIZE);
	if (aead_encrypt(
		    &key, (struct span){aad, aad_len}, (struct span){plain, plain_len}, room + SEAL_ENC_SIZE, err) < 0)
		return -1;
	buf_added(out, SEAL_ENC_SIZE + plain_len + SEAL_TAG_SIZE);
	return 0;
}

int seal(const uint8_t recipient[SEAL_KEY_SIZE], const void *info, size_t info_len, const void *aad, size_t aad_len,
	const void *plain, size_t plain_len, struct buf *out, struct error *err)
{
	auto_secret struct secret ephemeral;
	if (random_private(ephemeral.bytes, err) < 0)
		return -1;
	return seal_with_ephemeral(
		ephemeral.bytes, recipient, info, info_len, aad, aad_len, plain, plain_len, out, err);
}

int unseal(const uint8_t private_key[SEAL_KEY_SIZE], const void *info, size_t info_len, const void *aad, size_t aad_len,
	const uint8_t *sealed, size_t sealed_len, struct buf *out, struct error *err)
{
	uint8_t recipient[SEAL_KEY_SIZE];
	auto_secret struct secret shared;
	auto_message_key struct message_key key;
	if (sealed_len < SEAL_ENC_SIZE + SEAL_TAG_SIZE || sealed_len > INT_MAX / 2 || aad_len > INT_MAX / 2)
		return error_set(err, ERROR_UNTRUSTED, "seal: %zu bytes cannot be a sealed message", sealed_len);
	if (seal_public(private_key, recipient, err) < 0 ||
		shared_secret(private_key, sealed, sealed, recipient, &shared, err) < 0 ||
		key_schedule(&shared, (struct span){info, info_len}, &key, err) < 0)
		return -1;

	size_t len = sealed_len - SEAL_ENC_SIZE - SEAL_TAG_SIZE;
	uint8_t *room = buf_reserve(out, len);
	if (!room)
		return error_set(err, ERROR_PERMANENT, "seal: %zu bytes do not fit into %zu", len, out->max);
	if (aead_decrypt(&key, (struct span){aad, aad_len}, sealed + SEAL_ENC_SIZE, len, room, err) < 0)
		return -1;
	buf_added(out, len);
	return 0;
}

/* ---- keys and signatures ---- */

int seal_public(const uint8_t private_key[SEAL_KEY_SIZE], uint8_t ret_public[SEAL_KEY_SIZE], struct error *err)
{
	return raw_public(EVP_PKEY_X25519, private_key, ret_public, err);
}

int seal_keypair(uint8_t ret_private[SEAL_KEY_SIZE], uint8_t ret_public[SEAL_KEY_SIZE], struct error *err)
{
	return random_private(ret_private, err) < 0 ? -1 : seal_public(ret_private, ret_public, err);
}

int sign_public(const uint8_t private_key[SEAL_KEY_SIZE], uint8_t ret_public[SEAL_KEY_SIZE], struct error *err)
{
	return raw_public(EVP_PKEY_ED25519, private_key, ret_public, err);
}

int sign_keypair(uint8_t ret_private[SEAL_KEY_SIZE], uint8_t ret_public[SEAL_KEY_SIZE], struct error *err)
{
	return random_private(ret_private, err) < 0 ? -1 : sign_public(ret_private, ret_public, err);
}

int sign(const uint8_t private_key[SEAL_KEY_SIZE], const void *data, size_t len,
	uint8_t ret_signature[SEAL_SIGNATURE_SIZE], struct error *err)
{
	size_t signature_len = SEAL_SIGNATURE_SIZE;
	auto_pkey EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, private_key, SEAL_KEY_SIZE);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	int ok = key && ctx && EVP_DigestSignInit(ctx, NULL, NULL, NULL, key) == 1 &&
		EVP_DigestSign(ctx, ret_signature, &signature_len, data, len) == 1 &&
		signature_len == SEAL_SIGNATURE_SIZE;
	EVP_MD_CTX_free(ctx);
	return ok ? 0 : openssl_error(err, ERROR_PERMANENT, "an Ed25519 signature cannot be made");
}

int sign_check(const uint8_t public_key[SEAL_KEY_SIZE], const void *data, size_t len,
	const uint8_t signature[SEAL_SIGNATURE_SIZE], struct error *err)
{
	auto_pkey EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public_key, SEAL_KEY_SIZE);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	int ok = key && ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) == 1 &&
		EVP_DigestVerify(ctx, signature, SEAL_SIGNATURE_SIZE, data, len) == 1;
	EVP_MD_CTX_free(ctx);
	return ok ? 0 : openssl_error(err, ERROR_UNTRUSTED, "signature: not made by the key that is pinned");
}

int sha256(const void *data, size_t len, uint8_t ret[32])
{
	return EVP_Digest(data, len, ret, NULL, EVP_sha256(), NULL) == 1 ? 0 : -1;
}
