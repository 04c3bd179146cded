#include "hub/keys/signer.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char file[] = "sign.key";

static int take(struct signer *s, const uint8_t key[SEAL_KEY_SIZE], struct error *err)
{
	if (sign_public(key, s->public_key, err) < 0)
		return -1;
	memcpy(s->private_key, key, SEAL_KEY_SIZE);
	s->is_there = true;
	return 0;
}

int signer_open(struct signer *s, int directory, struct error *err)
{
	auto_buf struct buf key = BUF_INIT(SEAL_KEY_SIZE);
	*s = (struct signer){.is_there = false};
	if (faccessat(directory, file, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
		return 0;
	if (fs_read(directory, file, false, &key, err) < 0)
		return error_wrap(err, "signing key");
	if (key.len != SEAL_KEY_SIZE)
		return error_set(err, ERROR_PERMANENT,
			"%s has %zu bytes, not %d: restore it from a backup (with a new key every agent would have to join again)", file,
			key.len, SEAL_KEY_SIZE);
	return take(s, key.data, err);
}

void signer_release(struct signer *s)
{
	explicit_bzero(s, sizeof(*s));
}

int signer_make(struct signer *s, int directory, struct error *err)
{
	uint8_t private_key[SEAL_KEY_SIZE], ignored[SEAL_KEY_SIZE];
	if (s->is_there)
		return 0;
	int result = sign_keypair(private_key, ignored, err);
	if (result == 0)
		result = fs_write(directory, file, private_key, sizeof(private_key), FS_PRIVATE, err);
	if (result == 0)
		result = take(s, private_key, err);
	explicit_bzero(private_key, sizeof(private_key));
	return result < 0 ? error_wrap(err, "cannot make the signing key") : 0;
}

int signer_adopt(struct signer *s, int directory, const uint8_t *data, size_t len, struct error *err)
{
	if (len != SEAL_KEY_SIZE)
		return error_set(err, ERROR_PERMANENT,
			"the signing key has %zu bytes, not %d: restore it from a backup (with a new key every agent would have to join again)",
			len, SEAL_KEY_SIZE);
	if (s->is_there && memcmp(data, s->private_key, SEAL_KEY_SIZE) != 0)
		return error_set(err, ERROR_PERMANENT, "it is another signing key than the one that is used: remove one of them");
	if (s->is_there)
		return 0;
	return fs_write(directory, file, data, len, FS_PRIVATE, err) < 0 ? -1 : take(s, data, err);
}

/* ---- what is signed ---- */

static int need(const struct signer *s, struct error *err)
{
	return s->is_there ? 0 : error_set(err, ERROR_USAGE, "there is no signing key");
}

/* What will be sealed, and the digest of its certificates: chain_digest has the same bytes. */
static int pack(struct vault *v, const struct keys_request *r, struct buf *plain, uint8_t digest[CHAIN_SHA256_SIZE], struct error *err)
{
	EVP_MD_CTX *sum = EVP_MD_CTX_new();
	if (!sum || EVP_DigestInit_ex(sum, EVP_sha256(), NULL) != 1)
		mem_abort(__func__);
	int result = buf_put_u8(plain, (uint8_t)r->pair_count);
	for (size_t i = 0; i < r->pair_count && result == 0; i++) {
		const struct vault_key *k = vault_find(v, KEYS_LEAF, r->pairs[i].id, err);
		if (!k) {
			EVP_MD_CTX_free(sum);
			return -1;
		}
		if (EVP_DigestUpdate(sum, r->pairs[i].chain + 1, r->pairs[i].chain_len - 1) != 1)
			mem_abort(__func__);
		result = buf_put_bytes(plain, k->pkcs8.data, k->pkcs8.len) < 0 ||
				buf_add(plain, r->pairs[i].chain, r->pairs[i].chain_len) < 0 ? -1 : 0;
	}
	if (EVP_DigestFinal_ex(sum, digest, NULL) != 1)
		mem_abort(__func__);
	EVP_MD_CTX_free(sum);
	return result < 0 ? error_set(err, ERROR_PERMANENT, "the pairs do not fit into a bundle") : 0;
}

int signer_seal(const struct signer *s, struct vault *v, const struct keys_request *r, struct buf *out, struct error *err)
{
	auto_buf struct buf plain = BUF_INIT(BUNDLE_PLAIN_MAX);
	struct bundle b = {.revision = r->revision, .flags = r->flags, .not_after = r->not_after};
	if (need(s, err) < 0 || pack(v, r, &plain, b.digest, err) < 0)
		return -1;
	snprintf(b.certificate, sizeof(b.certificate), "%s", r->certificate);
	return bundle_seal_packed(&b, &plain, r->recipient, s->private_key, out, err);
}

int signer_pins(const struct signer *s, const struct keys_request *r, struct buf *out, struct error *err)
{
	return need(s, err) < 0 ? -1 : host_pins_sign(&r->pins, s->private_key, out, err);
}
