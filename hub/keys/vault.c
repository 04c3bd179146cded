#include "hub/keys/vault.h"
#include "lib/core/clock.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"
#include "lib/crypto/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum place { PLACE_LEAF, PLACE_PENDING, PLACE_ACCOUNT, PLACE_UNREAD, PLACES };
static const char *const places[PLACES] = {"leaf", "pending", "account", "unread"};

enum { NAME_SIZE = CHAIN_HEX_MAX + 4 }; /* "….pem" */

struct vault {
	int directory, place[PLACES];
	struct vault_key *keys; /* in memory, in no order */
	size_t count;
};

/* ---- memory ---- */

static void key_release(struct vault_key *k)
{
	chain_free_pkey(&k->pkey);
	buf_release(&k->pkcs8);
	buf_release(&k->spki);
}

static void forget(struct vault *v, size_t at)
{
	key_release(&v->keys[at]);
	v->keys[at] = v->keys[--v->count];
}

static struct vault_key *in_memory(struct vault *v, enum keys_class key_class, const uint8_t id[KEYS_ID_SIZE])
{
	for (size_t i = 0; i < v->count; i++)
		if (v->keys[i].key_class == key_class && memcmp(v->keys[i].id, id, KEYS_ID_SIZE) == 0)
			return &v->keys[i];
	return NULL;
}

/* Forgets the oldest key: among those that were brought, or among the others. */
static void forget_oldest(struct vault *v, bool brought, size_t max)
{
	size_t count = 0, oldest = 0;
	for (size_t i = 0; i < v->count; i++) {
		if (v->keys[i].brought != brought)
			continue;
		oldest = count++ && v->keys[oldest].used <= v->keys[i].used ? oldest : i;
	}
	if (count >= max)
		forget(v, oldest);
}

/* Takes over what `k` owns. */
static struct vault_key *remember(struct vault *v, struct vault_key *k)
{
	struct vault_key *old = in_memory(v, k->key_class, k->id);
	k->used = clock_monotonic_ms();
	if (!old) {
		forget_oldest(v, k->brought, k->brought ? VAULT_BROUGHT_MAX : VAULT_CACHE_MAX);
		old = &v->keys[v->count++];
	} else {
		k->brought = k->brought && old->brought;
		key_release(old);
	}
	*old = *k;
	*k = (struct vault_key){.pkey = NULL};
	return old;
}

int vault_tick(struct vault *v, int64_t now)
{
	const int64_t life = INT64_C(1000) * VAULT_BROUGHT_SECONDS;
	int64_t due = INT64_MAX;
	for (size_t i = v->count; i-- > 0;) {
		if (now - v->keys[i].used >= life)
			forget(v, i);
		else if (v->keys[i].used + life < due)
			due = v->keys[i].used + life;
	}
	return due == INT64_MAX ? -1 : (int)(due - now);
}

/* ---- opening ---- */

static int open_place(struct vault *v, enum place p, struct error *err)
{
	if (mkdirat(v->directory, places[p], 0700) < 0 && errno != EEXIST)
		return error_errno(err, "cannot make the directory %s", places[p]);
	v->place[p] = fs_open_directory(v->directory, places[p], err);
	if (v->place[p] < 0)
		return -1;
	fs_sweep(v->place[p]);
	return 0;
}

struct vault *vault_open(const char *directory, struct error *err)
{
	struct vault *v = mem_alloc(sizeof(*v));
	v->keys = mem_array(VAULT_CACHE_MAX + VAULT_BROUGHT_MAX, sizeof(*v->keys));
	for (size_t i = 0; i < PLACES; i++)
		v->place[i] = -1;
	v->directory = fs_make_directories(directory, 0700, err) < 0 ? -1 : fs_open_directory(AT_FDCWD, directory, err);
	int result = v->directory < 0 ? -1 : 0;
	for (size_t i = 0; i < PLACES && result == 0; i++)
		result = open_place(v, (enum place)i, err);
	if (result == 0) {
		fs_sweep(v->directory);
		/* What a killed process wrote, and is relied on from now on, may not be durable yet. */
		result = vault_sync(v, err);
	}
	if (result == 0)
		return v;
	error_wrap(err, "keys %s", directory);
	vault_close(v);
	return NULL;
}

void vault_close(struct vault *v)
{
	if (!v)
		return;
	while (v->count)
		forget(v, v->count - 1);
	for (size_t i = 0; i < PLACES; i++)
		if (v->place[i] >= 0)
			close(v->place[i]);
	if (v->directory >= 0)
		close(v->directory);
	free(v->keys);
	free(v);
}

int vault_directory(const struct vault *v)
{
	return v->directory;
}

int vault_sync(struct vault *v, struct error *err)
{
	return syncfs(v->directory) < 0 ? error_errno(err, "cannot sync the file system of the keys") : 0;
}

/* ---- files ---- */

static const char *file_name(const uint8_t id[KEYS_ID_SIZE], char name[NAME_SIZE])
{
	char hex[CHAIN_HEX_MAX];
	snprintf(name, NAME_SIZE, "%s.pem", chain_hex(id, hex));
	return name;
}

static bool is_there(const struct vault *v, enum place p, const uint8_t id[KEYS_ID_SIZE])
{
	char name[NAME_SIZE];
	return faccessat(v->place[p], file_name(id, name), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Fills `k` from the key, which it takes over in any case. */
static int fill(struct vault_key *k, enum keys_class key_class, EVP_PKEY *key, struct error *err)
{
	*k = (struct vault_key){
		.key_class = key_class, .pkey = key, .pkcs8 = BUF_INIT(CHAIN_PEM_MAX), .spki = BUF_INIT(KEYS_SPKI_MAX)};
	if (chain_write_key(key, &k->pkcs8, err) == 0 && chain_write_spki(key, &k->spki, err) == 0 &&
		sha256(k->spki.data, k->spki.len, k->id) == 0)
		return 0;
	key_release(k);
	return -1;
}

static int read_key(struct vault *v, enum place p, enum keys_class key_class, const uint8_t id[KEYS_ID_SIZE],
	struct vault_key *ret, struct error *err)
{
	char name[NAME_SIZE];
	auto_buf struct buf pem = BUF_INIT(CHAIN_PEM_MAX);
	if (fs_read(v->place[p], file_name(id, name), false, &pem, err) < 0)
		return -1;
	EVP_PKEY *key = chain_parse_key(pem.data, pem.len, err);
	if (!key || fill(ret, key_class, key, err) < 0)
		return error_wrap(err, "%s/%s", places[p], name);
	if (memcmp(ret->id, id, KEYS_ID_SIZE) == 0)
		return 0;
	key_release(ret);
	return error_set(err, ERROR_PERMANENT, "%s/%s holds another key than its name says: restore it from a backup",
		places[p], name);
}

static int write_key(struct vault *v, enum place p, const struct vault_key *k, struct error *err)
{
	char name[NAME_SIZE];
	const struct chain only_key = {.key = k->pkey};
	auto_buf struct buf pem = BUF_INIT(CHAIN_PEM_MAX);
	if (chain_write_pem(&only_key, CHAIN_KEY, &pem, err) < 0)
		return -1;
	return fs_write(v->place[p], file_name(k->id, name), pem.data, pem.len, FS_PRIVATE, err);
}

const struct vault_key *vault_find(
	struct vault *v, enum keys_class key_class, const uint8_t id[KEYS_ID_SIZE], struct error *err)
{
	char hex[CHAIN_HEX_MAX];
	struct vault_key read, *k = in_memory(v, key_class, id);
	if (k) {
		k->used = clock_monotonic_ms();
		return k;
	}
	const enum place first = key_class == KEYS_ACCOUNT ? PLACE_ACCOUNT : PLACE_LEAF;
	const enum place p = first == PLACE_LEAF && !is_there(v, first, id) ? PLACE_PENDING : first;
	if (!is_there(v, p, id)) {
		error_set(err, ERROR_USAGE,
			"the private key %.16s is not here: restore the directory of the keys from the backup",
			chain_hex(id, hex));
		return NULL;
	}
	return read_key(v, p, key_class, id, &read, err) < 0 ? NULL : remember(v, &read);
}

/* ---- making, bringing ---- */

static int check_room(struct vault *v, enum place p, struct error *err)
{
	struct stat st;
	/* A directory's size says roughly how much it had to hold, which is enough here. */
	if (fstat(v->place[p], &st) == 0 && st.st_size > (off_t)VAULT_PENDING_MAX * (NAME_SIZE + 16))
		return error_set(
			err, ERROR_RETRY, "%s holds more than %d keys that nobody uses", places[p], VAULT_PENDING_MAX);
	return 0;
}

int vault_make(struct vault *v, enum keys_class key_class, const char *type, struct buf *spki, struct error *err)
{
	struct vault_key k;
	const enum place p = key_class == KEYS_ACCOUNT ? PLACE_ACCOUNT : PLACE_PENDING;
	if (check_room(v, p, err) < 0)
		return -1;
	EVP_PKEY *key = chain_make_key(type, err);
	if (!key || fill(&k, key_class, key, err) < 0)
		return -1;
	int result = write_key(v, p, &k, err);
	if (result == 0 && buf_add(spki, k.spki.data, k.spki.len) < 0)
		result = error_set(err, ERROR_PERMANENT, "the public half is too long");
	if (result == 0)
		remember(v, &k);
	else
		key_release(&k);
	return result;
}

int vault_bring(struct vault *v, EVP_PKEY *key, struct buf *spki, struct error *err)
{
	struct vault_key k;
	if (!EVP_PKEY_up_ref(key))
		mem_abort(__func__);
	if (fill(&k, KEYS_LEAF, key, err) < 0)
		return -1;
	int result = 0;
	const struct vault_key *known = in_memory(v, KEYS_LEAF, k.id);
	/* The same bytes have been seen to sign before. */
	bool same =
		known && known->pkcs8.len == k.pkcs8.len && memcmp(known->pkcs8.data, k.pkcs8.data, k.pkcs8.len) == 0;
	if (!same && !chain_key_is_sound(key, key))
		result = error_set(err, ERROR_PERMANENT,
			"its signatures are not those of the public key that it names: the key file is damaged, give the right one");
	else if (buf_add(spki, k.spki.data, k.spki.len) < 0)
		result = error_set(err, ERROR_PERMANENT, "the public half is too long");
	k.brought = !is_there(v, PLACE_LEAF, k.id) && !is_there(v, PLACE_PENDING, k.id);
	if (result == 0)
		remember(v, &k);
	else
		key_release(&k);
	return result;
}

/* ---- committing, dropping ---- */

/* The key is written where it stays for good before it is removed from where it was: killed in between, it is in both
 * places. */
int vault_commit(struct vault *v, const uint8_t id[KEYS_ID_SIZE], struct error *err)
{
	char name[NAME_SIZE], hex[CHAIN_HEX_MAX];
	file_name(id, name);
	if (!is_there(v, PLACE_LEAF, id)) {
		struct vault_key *k = in_memory(v, KEYS_LEAF, id);
		struct vault_key read;
		if (!k && is_there(v, PLACE_PENDING, id))
			k = read_key(v, PLACE_PENDING, KEYS_LEAF, id, &read, err) < 0 ? NULL : remember(v, &read);
		else if (!k)
			error_set(err, ERROR_RETRY, "the private key %.16s is not here any more: bring it once more",
				chain_hex(id, hex));
		if (!k || write_key(v, PLACE_LEAF, k, err) < 0)
			return -1;
		k->brought = false;
	}
	if (!is_there(v, PLACE_PENDING, id))
		return 0;
	return fs_wipe(v->place[PLACE_PENDING], name, err) < 0 ? -1 : fs_sync_directory(v->place[PLACE_PENDING], err);
}

int vault_drop(struct vault *v, enum keys_class key_class, const uint8_t id[KEYS_ID_SIZE], struct error *err)
{
	char name[NAME_SIZE];
	const enum place p = key_class == KEYS_ACCOUNT ? PLACE_ACCOUNT : PLACE_PENDING;
	const struct vault_key *k = in_memory(v, key_class, id);
	if (k)
		forget(v, (size_t)(k - v->keys));
	if (!is_there(v, p, id))
		return 0;
	if (fs_wipe(v->place[p], file_name(id, name), err) < 0)
		return -1;
	return fs_sync_directory(v->place[p], err);
}

/* ---- an older store ---- */

/* The file is written under another name first, and synced only by vault_sync, since there may be tens of thousands. */
static int place_file(
	struct vault *v, enum place p, const uint8_t id[KEYS_ID_SIZE], const void *data, size_t len, struct error *err)
{
	char name[NAME_SIZE], unfinished[NAME_SIZE + sizeof(FS_TEMPORARY)];
	file_name(id, name);
	snprintf(unfinished, sizeof(unfinished), FS_TEMPORARY "%s", name);
	auto_close int fd =
		openat(v->place[p], unfinished, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, data, len) != (ssize_t)len)
		return error_errno(err, "cannot write %s/%s", places[p], name);
	return renameat(v->place[p], unfinished, v->place[p], name) < 0
		? error_errno(err, "cannot name %s/%s", places[p], name)
		: 0;
}

int vault_adopt(
	struct vault *v, enum keys_adopt as, const uint8_t *pem, size_t len, struct buf *spki, struct error *err)
{
	static const enum place of[KEYS_ADOPTS] = {[KEYS_ADOPT_COMMITTED] = PLACE_LEAF,
		[KEYS_ADOPT_PENDING] = PLACE_PENDING,
		[KEYS_ADOPT_ACCOUNT] = PLACE_ACCOUNT,
		[KEYS_ADOPT_SIGNER] = PLACE_UNREAD};
	struct error damaged;
	struct vault_key k;
	EVP_PKEY *key = as == KEYS_ADOPT_SIGNER ? NULL : chain_parse_key(pem, len, &damaged);
	if (!key || fill(&k, KEYS_LEAF, key, &damaged) < 0) {
		uint8_t sum[KEYS_ID_SIZE];
		return sha256(pem, len, sum) < 0 ? -1 : place_file(v, PLACE_UNREAD, sum, pem, len, err);
	}
	const struct chain only_key = {.key = k.pkey};
	auto_buf struct buf text = BUF_INIT(CHAIN_PEM_MAX);
	bool has_it = is_there(v, of[as], k.id) || (as == KEYS_ADOPT_PENDING && is_there(v, PLACE_LEAF, k.id));
	int result = has_it ? 0 : chain_write_pem(&only_key, CHAIN_KEY, &text, err);
	if (result == 0 && !has_it)
		result = place_file(v, of[as], k.id, text.data, text.len, err);
	if (result == 0)
		result = buf_add(spki, k.spki.data, k.spki.len);
	key_release(&k);
	return result;
}
