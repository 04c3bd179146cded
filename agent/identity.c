#include "agent/identity.h"
#include "agent/ssh_key.h"
#include "lib/fs.h"
#include "lib/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SSH_FILE_MAX = 4096 };

void identity_release(struct identity *i)
{
	explicit_bzero(i, sizeof(*i));
}

static bool is_missing(int directory, const char *name)
{
	struct stat st;
	return fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
}

/* Writes `text` unless it stands there already. */
static int keep_file(
	int directory, const char *name, struct buf *text, struct fs_owner owner, struct error *err)
{
	auto_buf struct buf found = BUF_INIT(SSH_FILE_MAX);
	struct error ignored;
	if (fs_read(directory, name, false, &found, &ignored) == 0 && found.len == text->len &&
		memcmp(found.data, text->data, text->len) == 0)
		return 0;
	return fs_write(directory, name, text->data, text->len, owner, err);
}

/* The sealing key. */

static int read_seal_key(int directory, struct identity *i, struct error *err)
{
	auto_buf struct buf raw = BUF_INIT(SEAL_KEY_SIZE + 1);
	if (fs_read(directory, "seal.key", false, &raw, err) < 0)
		return -1;
	if (raw.len != SEAL_KEY_SIZE)
		return error_set(err, ERROR_PERMANENT,
			"seal.key has %zu bytes instead of %d: restore it, or remove it and add this agent "
			"to the hub again",
			raw.len, SEAL_KEY_SIZE);
	memcpy(i->seal_private, raw.data, SEAL_KEY_SIZE);
	return seal_public(i->seal_private, i->seal_public, err);
}

static int load_seal_key(int directory, struct identity *i, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(128);
	if (is_missing(directory, "seal.key")) {
		if (seal_keypair(i->seal_private, i->seal_public, err) < 0 ||
			fs_write(directory, "seal.key", i->seal_private, SEAL_KEY_SIZE, FS_PRIVATE, err) < 0)
			return -1;
	} else if (read_seal_key(directory, i, err) < 0) {
		return -1;
	}
	buf_addf(&text, "x25519:");
	base64_encode(i->seal_public, SEAL_KEY_SIZE, &text);
	buf_addf(&text, "\n");
	return keep_file(directory, "seal.pub", &text, FS_PUBLIC, err);
}

/* The SSH key. */

static int read_ssh_key(int directory, uint8_t ret_public[SEAL_KEY_SIZE], struct error *err)
{
	auto_buf struct buf file = BUF_INIT(SSH_FILE_MAX);
	if (fs_read(directory, "id_ed25519", false, &file, err) < 0)
		return -1;
	if (ssh_key_decode_public(&file, ret_public) < 0)
		return error_set(err, ERROR_PERMANENT,
			"id_ed25519 is not an Ed25519 key in OpenSSH's form without a passphrase: restore "
			"it, or remove it "
			"and add this agent to the hub again");
	return 0;
}

static int make_ssh_key(
	int directory, struct fs_owner owner, uint8_t ret_public[SEAL_KEY_SIZE], struct error *err)
{
	uint8_t seed[SEAL_KEY_SIZE];
	auto_buf struct buf file = BUF_INIT(SSH_FILE_MAX);
	int result = sign_keypair(seed, ret_public, err);
	if (result == 0 && ssh_key_encode(seed, ret_public, &file) < 0)
		result = error_set(err, ERROR_PERMANENT, "cannot encode an SSH key");
	explicit_bzero(seed, sizeof(seed));
	return result < 0 ? -1 : fs_write(directory, "id_ed25519", file.data, file.len, owner, err);
}

static int load_ssh_key(const struct places *places, struct identity *i, struct error *err)
{
	uint8_t public_key[SEAL_KEY_SIZE];
	auto_buf struct buf blob = BUF_INIT(128);
	auto_buf struct buf text = BUF_INIT(sizeof(i->ssh_public));
	auto_buf struct buf line = BUF_INIT(256);
	struct fs_owner owner = FS_PRIVATE;
	if (places->has_user) {
		owner.uid = places->user.uid;
		owner.gid = places->user.gid;
	}
	int found = is_missing(places->state, "id_ed25519")
			    ? make_ssh_key(places->state, owner, public_key, err)
			    : read_ssh_key(places->state, public_key, err);
	if (found < 0)
		return -1;
	ssh_key_put_public(&blob, public_key);
	base64_encode(blob.data, blob.len, &text);
	memcpy(i->ssh_public, buf_text(&text), text.len + 1);
	buf_addf(&line, "%s %s certsync-agent\n", SSH_KEY_TYPE, i->ssh_public);
	owner.mode = 0644;
	return keep_file(places->state, "id_ed25519.pub", &line, owner, err);
}

int identity_load(const struct places *places, struct identity *ret, struct error *err)
{
	auto_identity struct identity i = {0};
	/* Two that start at once must not each make a key. */
	if (flock(places->root_state, LOCK_EX) < 0)
		return error_errno(err, "cannot lock the root half's state directory");
	int result = load_seal_key(places->root_state, &i, err);
	if (result == 0)
		result = load_ssh_key(places, &i, err);
	flock(places->root_state, LOCK_UN);
	if (result < 0)
		return error_wrap(err, "identity");
	*ret = i;
	return 0;
}

void identity_line(const struct identity *i, struct buf *out)
{
	buf_addf(out, "certsync-agent:1 %s %s x25519:", SSH_KEY_TYPE, i->ssh_public);
	base64_encode(i->seal_public, SEAL_KEY_SIZE, out);
	buf_addf(out, "\n");
}
