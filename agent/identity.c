#include "agent/identity.h"
#include "lib/fs.h"
#include "lib/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

static const char ssh_type[] = "ssh-ed25519";
static const char ssh_magic[] = "openssh-key-v1"; /* its NUL is part of it */
static const char ssh_begin[] = "-----BEGIN OPENSSH PRIVATE KEY-----\n";
static const char ssh_end[] = "-----END OPENSSH PRIVATE KEY-----\n";

enum { SSH_FILE_MAX = 4096, SSH_LINE = 70, SSH_BLOCK = 8 };

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

/* The SSH key (OpenSSH's PROTOCOL.key). */

static void put_public(struct buf *out, const uint8_t public_key[SEAL_KEY_SIZE])
{
	buf_put_string(out, ssh_type);
	buf_put_bytes(out, public_key, SEAL_KEY_SIZE);
}

static void put_private(
	struct buf *out, const uint8_t seed[SEAL_KEY_SIZE], const uint8_t public_key[SEAL_KEY_SIZE])
{
	auto_buf struct buf both = BUF_INIT(2 * SEAL_KEY_SIZE);
	uint32_t check = 0;
	if (getrandom(&check, sizeof(check), 0) != sizeof(check))
		check = 0x63657274; /* it only tells a wrong passphrase, and there is none */
	buf_add(&both, seed, SEAL_KEY_SIZE);
	buf_add(&both, public_key, SEAL_KEY_SIZE);
	buf_put_u32(out, check);
	buf_put_u32(out, check);
	put_public(out, public_key);
	buf_put_bytes(out, both.data, both.len);
	buf_put_string(out, "certsync-agent");
	for (uint8_t pad = 1; out->len % SSH_BLOCK != 0; pad++)
		buf_put_u8(out, pad);
}

static int put_wrapped(struct buf *out, const struct buf *raw)
{
	auto_buf struct buf text = BUF_INIT(SSH_FILE_MAX);
	if (base64_encode(raw->data, raw->len, &text) < 0)
		return -1;
	for (size_t at = 0; at < text.len; at += SSH_LINE) {
		size_t len = text.len - at < SSH_LINE ? text.len - at : SSH_LINE;
		buf_add(out, text.data + at, len);
		buf_put_u8(out, '\n');
	}
	return 0;
}

static int encode_ssh_key(
	const uint8_t seed[SEAL_KEY_SIZE], const uint8_t public_key[SEAL_KEY_SIZE], struct buf *out)
{
	auto_buf struct buf raw = BUF_INIT(1024);
	auto_buf struct buf public_blob = BUF_INIT(128);
	auto_buf struct buf private_block = BUF_INIT(512);
	put_public(&public_blob, public_key);
	put_private(&private_block, seed, public_key);
	buf_add(&raw, ssh_magic, sizeof(ssh_magic));
	buf_put_string(&raw, "none"); /* cipher */
	buf_put_string(&raw, "none"); /* key derivation */
	buf_put_string(&raw, "");
	buf_put_u32(&raw, 1);
	buf_put_bytes(&raw, public_blob.data, public_blob.len);
	buf_put_bytes(&raw, private_block.data, private_block.len);
	buf_addf(out, "%s", ssh_begin);
	if (put_wrapped(out, &raw) < 0)
		return -1;
	return buf_addf(out, "%s", ssh_end);
}

/* The base64 text between the two lines, without its line ends. */
static int unwrap(struct buf *file, struct buf *out)
{
	const char *text = buf_text(file);
	const char *end = strstr(text, ssh_end);
	if (strncmp(text, ssh_begin, strlen(ssh_begin)) != 0 || !end)
		return -1;
	for (const char *p = text + strlen(ssh_begin); p < end; p++)
		if (*p != '\n' && buf_add(out, p, 1) < 0)
			return -1;
	return 0;
}

/* The public key stands in clear at the front, whatever made the file. */
static int read_public(const struct buf *raw, uint8_t ret[SEAL_KEY_SIZE])
{
	struct reader r = READER(raw->data, raw->len);
	char cipher[32], derivation[32], type[32];
	size_t len = 0;
	const uint8_t *magic = read_raw(&r, sizeof(ssh_magic));
	read_string(&r, cipher, sizeof(cipher));
	read_string(&r, derivation, sizeof(derivation));
	read_bytes(&r, 256, &len);
	uint32_t count = read_u32(&r);
	const uint8_t *blob = read_bytes(&r, 256, &len);
	if (r.failed || memcmp(magic, ssh_magic, sizeof(ssh_magic)) != 0 || strcmp(cipher, "none") != 0 ||
		count != 1)
		return -1;
	struct reader inner = READER(blob, len);
	read_string(&inner, type, sizeof(type));
	const uint8_t *key = read_bytes(&inner, SEAL_KEY_SIZE, &len);
	if (!read_done(&inner) || strcmp(type, ssh_type) != 0 || len != SEAL_KEY_SIZE)
		return -1;
	memcpy(ret, key, SEAL_KEY_SIZE);
	return 0;
}

static int read_ssh_key(int directory, uint8_t ret_public[SEAL_KEY_SIZE], struct error *err)
{
	auto_buf struct buf file = BUF_INIT(SSH_FILE_MAX);
	auto_buf struct buf text = BUF_INIT(SSH_FILE_MAX);
	auto_buf struct buf raw = BUF_INIT(SSH_FILE_MAX);
	struct error ignored;
	if (fs_read(directory, "id_ed25519", false, &file, err) < 0)
		return -1;
	if (unwrap(&file, &text) < 0 || base64_decode(buf_text(&text), &raw, &ignored) < 0 ||
		read_public(&raw, ret_public) < 0)
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
	if (result == 0 && encode_ssh_key(seed, ret_public, &file) < 0)
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
	put_public(&blob, public_key);
	base64_encode(blob.data, blob.len, &text);
	memcpy(i->ssh_public, buf_text(&text), text.len + 1);
	buf_addf(&line, "%s %s certsync-agent\n", ssh_type, i->ssh_public);
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
	buf_addf(out, "certsync-agent:1 %s %s x25519:", ssh_type, i->ssh_public);
	base64_encode(i->seal_public, SEAL_KEY_SIZE, out);
	buf_addf(out, "\n");
}
