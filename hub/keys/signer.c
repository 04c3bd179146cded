#include "hub/keys/signer.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"
#include "lib/crypto/signer_list.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char file[] = "sign.key", next_file[] = "next-sign.key", gone_file[] = "gone-sign.key";

static int take(struct signer *s, const uint8_t key[SEAL_KEY_SIZE], struct error *err)
{
	if (sign_public(key, s->public_key, err) < 0)
		return -1;
	memcpy(s->private_key, key, SEAL_KEY_SIZE);
	s->is_there = true;
	return 0;
}

/* Returns 1 when the key was read, 0 when there is none, or -1. */
static int read_key(int directory, const char *name, uint8_t ret[SEAL_KEY_SIZE], struct error *err)
{
	auto_buf struct buf key = BUF_INIT(SEAL_KEY_SIZE);
	if (faccessat(directory, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
		return 0;
	if (fs_read(directory, name, false, &key, err) < 0)
		return error_wrap(err, "signing key");
	if (key.len != SEAL_KEY_SIZE)
		return error_set(err, ERROR_PERMANENT,
			"%s has %zu bytes, not %d: restore it from a backup (with a new key every agent would have to join again)",
			name, key.len, SEAL_KEY_SIZE);
	memcpy(ret, key.data, SEAL_KEY_SIZE);
	return 1;
}

/* Removes the old key. Where it is still the present one under its other name, only that name goes. */
static int remove_gone(int directory, struct error *err)
{
	struct stat gone, present;
	if (fstatat(directory, gone_file, &gone, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : error_errno(err, "cannot look at %s", gone_file);
	bool same = fstatat(directory, file, &present, AT_SYMLINK_NOFOLLOW) == 0 && gone.st_ino == present.st_ino;
	if (!same)
		return fs_wipe(directory, gone_file, err) < 0 ? -1 : fs_sync_directory(directory, err);
	return unlinkat(directory, gone_file, 0) < 0 ? error_errno(err, "cannot remove %s", gone_file) : 0;
}

int signer_open(struct signer *s, int directory, struct error *err)
{
	uint8_t key[SEAL_KEY_SIZE];
	*s = (struct signer){.is_there = false};
	int found = remove_gone(directory, err) < 0 ? -1 : read_key(directory, file, key, err);
	if (found > 0)
		found = take(s, key, err);
	explicit_bzero(key, sizeof(key));
	return found < 0 ? -1 : 0;
}

void signer_release(struct signer *s)
{
	explicit_bzero(s, sizeof(*s));
}

static int make_key(int directory, const char *name, uint8_t ret[SEAL_KEY_SIZE], struct error *err)
{
	uint8_t ignored[SEAL_KEY_SIZE];
	if (sign_keypair(ret, ignored, err) < 0 || fs_write(directory, name, ret, SEAL_KEY_SIZE, FS_PRIVATE, err) < 0)
		return error_wrap(err, "cannot make the signing key");
	return 0;
}

int signer_make(struct signer *s, int directory, struct error *err)
{
	uint8_t key[SEAL_KEY_SIZE];
	if (s->is_there)
		return 0;
	int result = make_key(directory, file, key, err) < 0 ? -1 : take(s, key, err);
	explicit_bzero(key, sizeof(key));
	return result;
}

int signer_next(int directory, bool make, uint8_t ret_public[SEAL_KEY_SIZE], struct error *err)
{
	uint8_t key[SEAL_KEY_SIZE];
	int found = read_key(directory, next_file, key, err), result = found < 0 ? -1 : 0;
	if (found == 0)
		result = make ? make_key(directory, next_file, key, err)
			      : error_set(err, ERROR_USAGE, "there is no next signing key");
	if (result == 0)
		result = sign_public(key, ret_public, err);
	explicit_bzero(key, sizeof(key));
	return result;
}

/* The old key has another name before it loses its own, so that it is found and wiped whenever we are killed. */
static int exchange(int directory, struct error *err)
{
	if (remove_gone(directory, err) < 0)
		return -1;
	if (linkat(directory, file, directory, gone_file, 0) < 0 || fs_sync_directory(directory, err) < 0 ||
		renameat(directory, next_file, directory, file) < 0)
		return error_errno(err, "the next signing key cannot take the place of the present one");
	return fs_sync_directory(directory, err) < 0 ? -1 : remove_gone(directory, err);
}

int signer_switch(struct signer *s, int directory, const uint8_t next[SEAL_KEY_SIZE], struct error *err)
{
	uint8_t key[SEAL_KEY_SIZE], public_key[SEAL_KEY_SIZE];
	if (s->is_there && memcmp(s->public_key, next, SEAL_KEY_SIZE) == 0)
		return remove_gone(directory, err);
	int found = read_key(directory, next_file, key, err), result = found < 0 ? -1 : 0;
	if (found == 0)
		result = error_set(err, ERROR_USAGE, "there is no next signing key");
	if (result == 0)
		result = sign_public(key, public_key, err);
	if (result == 0 && memcmp(public_key, next, SEAL_KEY_SIZE) != 0)
		result = error_set(err, ERROR_USAGE, "the next signing key is another one");
	if (result == 0)
		result = exchange(directory, err);
	/* What is on the disk counts, though the old key may not be wiped yet. */
	if (found > 0 && faccessat(directory, next_file, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && take(s, key, err) < 0)
		result = -1;
	explicit_bzero(key, sizeof(key));
	return result;
}

int signer_adopt(struct signer *s, int directory, const uint8_t *data, size_t len, struct error *err)
{
	if (len != SEAL_KEY_SIZE)
		return error_set(err, ERROR_PERMANENT,
			"the signing key has %zu bytes, not %d: restore it from a backup (with a new key every agent would have to join again)",
			len, SEAL_KEY_SIZE);
	if (s->is_there && memcmp(data, s->private_key, SEAL_KEY_SIZE) != 0)
		return error_set(err, ERROR_PERMANENT,
			"it is another signing key than the one that is used: remove one of them");
	if (s->is_there)
		return 0;
	return fs_write(directory, file, data, len, FS_PRIVATE, err) < 0 ? -1 : take(s, data, err);
}

/* ---- what is signed ---- */

static int need(const struct signer *s, struct error *err)
{
	return s->is_there ? 0 : error_set(err, ERROR_USAGE, "there is no signing key");
}

/* Packs what will be sealed, and computes the digest of its certificates from the same bytes as chain_digest does. */
static int pack(struct vault *v, const struct keys_request *r, struct buf *plain, uint8_t digest[CHAIN_SHA256_SIZE],
	struct error *err)
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
				buf_add(plain, r->pairs[i].chain, r->pairs[i].chain_len) < 0
			? -1
			: 0;
	}
	if (EVP_DigestFinal_ex(sum, digest, NULL) != 1)
		mem_abort(__func__);
	EVP_MD_CTX_free(sum);
	return result < 0 ? error_set(err, ERROR_PERMANENT, "the pairs do not fit into a bundle") : 0;
}

int signer_seal(
	const struct signer *s, struct vault *v, const struct keys_request *r, struct buf *out, struct error *err)
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

int signer_list(const struct signer *s, int directory, const struct keys_request *r, struct buf *out, struct error *err)
{
	struct signer_list l = {.serial = r->serial, .count = r->both ? 2 : 1};
	if (need(s, err) < 0 || (r->both && signer_next(directory, false, l.keys[1], err) < 0))
		return -1;
	memcpy(l.keys[0], s->public_key, SEAL_KEY_SIZE);
	return signer_list_sign(&l, s->private_key, out, err);
}
