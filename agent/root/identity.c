#include "agent/root/identity.h"
#include "agent/common/ssh_key.h"
#include "lib/core/base64.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SSH_FILE_MAX = 4096 };

/* The names of the files of one pair of keys. */
struct names {
	const char *seal, *seal_public, *ssh, *ssh_public;
};

static const struct names present = {"seal.key", "seal.pub", "id_ed25519", "id_ed25519.pub"};
static const struct names next = {"seal.key.next", "seal.pub.next", "id_ed25519.next", "id_ed25519.pub.next"};

void identity_release(struct identity *i)
{
	explicit_bzero(i, sizeof(*i));
}

static bool is_missing(int directory, const char *name)
{
	struct stat st;
	return fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
}

/* Writes `text` unless the file has it already. */
static int keep_file(int directory, const char *name, struct buf *text, struct fs_owner owner, struct error *err)
{
	auto_buf struct buf found = BUF_INIT(SSH_FILE_MAX);
	struct error ignored;
	if (fs_read(directory, name, false, &found, &ignored) == 0 && found.len == text->len &&
		memcmp(found.data, text->data, text->len) == 0)
		return 0;
	return fs_write(directory, name, text->data, text->len, owner, err);
}

/* ---- the sealing key ---- */

static int read_seal_key(const struct names *n, int directory, struct identity *i, struct error *err)
{
	auto_buf struct buf raw = BUF_INIT(SEAL_KEY_SIZE + 1);
	if (fs_read(directory, n->seal, false, &raw, err) < 0)
		return -1;
	if (raw.len != SEAL_KEY_SIZE)
		return error_set(err, ERROR_PERMANENT,
			"%s has %zu bytes instead of %d: restore it, or remove it and add this agent "
			"to the hub again",
			n->seal, raw.len, SEAL_KEY_SIZE);
	memcpy(i->seal_private, raw.data, SEAL_KEY_SIZE);
	return seal_public(i->seal_private, i->seal_public, err);
}

static int load_seal_key(const struct names *n, int directory, struct identity *i, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(128);
	if (is_missing(directory, n->seal)) {
		if (seal_keypair(i->seal_private, i->seal_public, err) < 0 ||
			fs_write(directory, n->seal, i->seal_private, SEAL_KEY_SIZE, FS_PRIVATE, err) < 0)
			return -1;
	} else if (read_seal_key(n, directory, i, err) < 0) {
		return -1;
	}
	buf_addf(&text, "x25519:");
	base64_encode(i->seal_public, SEAL_KEY_SIZE, &text);
	buf_addf(&text, "\n");
	return keep_file(directory, n->seal_public, &text, FS_PUBLIC, err);
}

/* ---- the SSH key ---- */

static int read_ssh_key(const struct names *n, int directory, uint8_t ret_public[SEAL_KEY_SIZE], struct error *err)
{
	auto_buf struct buf file = BUF_INIT(SSH_FILE_MAX);
	if (fs_read(directory, n->ssh, false, &file, err) < 0)
		return -1;
	if (ssh_key_decode_public(&file, ret_public) < 0)
		return error_set(err, ERROR_PERMANENT,
			"%s is not an Ed25519 key in OpenSSH's form without a passphrase: restore "
			"it, or remove it "
			"and add this agent to the hub again",
			n->ssh);
	return 0;
}

static int make_ssh_key(const struct names *n, int directory, struct fs_owner owner, uint8_t ret_public[SEAL_KEY_SIZE],
	struct error *err)
{
	uint8_t seed[SEAL_KEY_SIZE];
	auto_buf struct buf file = BUF_INIT(SSH_FILE_MAX);
	int result = sign_keypair(seed, ret_public, err);
	if (result == 0 && ssh_key_encode(seed, ret_public, &file) < 0)
		result = error_set(err, ERROR_PERMANENT, "cannot encode an SSH key");
	explicit_bzero(seed, sizeof(seed));
	return result < 0 ? -1 : fs_write(directory, n->ssh, file.data, file.len, owner, err);
}

static int load_ssh_key(
	const struct names *n, const struct directories *directories, struct identity *i, struct error *err)
{
	uint8_t public_key[SEAL_KEY_SIZE];
	auto_buf struct buf blob = BUF_INIT(128);
	auto_buf struct buf text = BUF_INIT(sizeof(i->ssh_public));
	auto_buf struct buf line = BUF_INIT(256);
	struct fs_owner owner = FS_PRIVATE;
	if (directories->has_user) {
		owner.uid = directories->user.uid;
		owner.gid = directories->user.gid;
	}
	int found = is_missing(directories->state, n->ssh) ? make_ssh_key(n, directories->state, owner, public_key, err)
							   : read_ssh_key(n, directories->state, public_key, err);
	if (found < 0)
		return -1;
	ssh_key_put_public(&blob, public_key);
	base64_encode(blob.data, blob.len, &text);
	memcpy(i->ssh_public, buf_text(&text), text.len + 1);
	buf_addf(&line, "%s %s certsync-agent\n", SSH_KEY_TYPE, i->ssh_public);
	owner.mode = 0644;
	return keep_file(directories->state, n->ssh_public, &line, owner, err);
}

/* Puts each name's next file in its place. The sealing key goes first, so that whoever finds the SSH key left over
 * knows that the hub has taken both. */
static int take_next(const struct directories *directories, struct error *err)
{
	const struct {
		int directory;
		const char *from, *to;
	} moves[] = {
		{directories->root_state, next.seal, present.seal},
		{directories->root_state, next.seal_public, present.seal_public},
		{directories->state, next.ssh_public, present.ssh_public},
		{directories->state, next.ssh, present.ssh},
	};
	for (size_t i = 0; i < COUNT(moves); i++)
		if (renameat(moves[i].directory, moves[i].from, moves[i].directory, moves[i].to) < 0 && errno != ENOENT)
			return error_errno(err, "cannot rename %s", moves[i].from);
	if (fs_sync_directory(directories->root_state, err) < 0)
		return -1;
	return fs_sync_directory(directories->state, err);
}

static int load(const struct names *n, const struct directories *directories, struct identity *ret, struct error *err)
{
	if (load_seal_key(n, directories->root_state, ret, err) < 0)
		return -1;
	return load_ssh_key(n, directories, ret, err);
}

/* Goes on with a rotation that was interrupted. */
static int finish_rotation(const struct directories *directories, struct error *err)
{
	bool half_way = is_missing(directories->root_state, next.seal) && !is_missing(directories->state, next.ssh);
	return half_way ? take_next(directories, err) : 0;
}

static int load_present(const struct directories *directories, struct identity *ret, struct error *err)
{
	return finish_rotation(directories, err) < 0 ? -1 : load(&present, directories, ret, err);
}

/* In a rotation that is half done only the SSH key is left to be renamed. That fault is told too, and does not concern
 * the sealing key. */
static int load_serving(const struct directories *directories, struct identity *ret, struct error *err)
{
	struct error fault;
	if (load_seal_key(&present, directories->root_state, ret, err) < 0)
		return -1;
	if (finish_rotation(directories, &fault) == 0 && load_ssh_key(&present, directories, ret, &fault) == 0)
		return 0;
	ret->ssh_public[0] = '\0';
	ret->ssh_fault = fault;
	return 0;
}

static int load_next(const struct directories *directories, struct identity *ret, struct error *err)
{
	return load(&next, directories, ret, err);
}

static int replace_present(const struct directories *directories, struct identity *ret, struct error *err)
{
	if (is_missing(directories->root_state, next.seal) || is_missing(directories->state, next.ssh))
		return error_set(err, ERROR_USAGE, "there are no new keys");
	return take_next(directories, err) < 0 ? -1 : load(&present, directories, ret, err);
}

/* Two processes that start at once must not each make a key. */
static int locked(int (*run)(const struct directories *directories, struct identity *ret, struct error *err),
	const struct directories *directories, struct identity *ret, struct error *err)
{
	auto_identity struct identity i = {0};
	if (flock(directories->root_state, LOCK_EX) < 0)
		return error_errno(err, "cannot lock the root half's state directory");
	int result = run(directories, &i, err);
	flock(directories->root_state, LOCK_UN);
	if (result < 0)
		return error_wrap(err, "identity");
	*ret = i;
	return 0;
}

int identity_load(const struct directories *directories, struct identity *ret, struct error *err)
{
	return locked(load_present, directories, ret, err);
}

int identity_serve(const struct directories *directories, struct identity *ret, struct error *err)
{
	return locked(load_serving, directories, ret, err);
}

int identity_refresh(const struct directories *directories, struct identity *i, struct error *err)
{
	auto_buf struct buf raw = BUF_INIT(SEAL_KEY_SIZE + 1);
	struct error ignored;
	if (fs_read(directories->root_state, present.seal, false, &raw, &ignored) == 0 && raw.len == SEAL_KEY_SIZE &&
		CRYPTO_memcmp(raw.data, i->seal_private, SEAL_KEY_SIZE) == 0)
		return 0;
	return identity_serve(directories, i, err);
}

int identity_next(const struct directories *directories, struct identity *ret, struct error *err)
{
	return locked(load_next, directories, ret, err);
}

int identity_take_next(const struct directories *directories, struct identity *ret, struct error *err)
{
	return locked(replace_present, directories, ret, err);
}

void identity_line(const struct identity *i, struct buf *out)
{
	buf_addf(out, "certsync-agent:1 %s %s x25519:", SSH_KEY_TYPE, i->ssh_public);
	base64_encode(i->seal_public, SEAL_KEY_SIZE, out);
	buf_addf(out, "\n");
}
