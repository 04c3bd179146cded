#include "agent/common/ssh_key.h"
#include "lib/core/base64.h"
#include "lib/core/error.h"

#include <string.h>
#include <sys/random.h>

static const char ssh_magic[] = "openssh-key-v1"; /* its NUL is part of it */
static const char ssh_begin[] = "-----BEGIN OPENSSH PRIVATE KEY-----\n";
static const char ssh_end[] = "-----END OPENSSH PRIVATE KEY-----\n";

enum { SSH_FILE_MAX = 4096, SSH_LINE = 70, SSH_BLOCK = 8 };

void ssh_key_put_public(struct buf *out, const uint8_t public_key[SEAL_KEY_SIZE])
{
	buf_put_string(out, SSH_KEY_TYPE);
	buf_put_bytes(out, public_key, SEAL_KEY_SIZE);
}

static void put_private(struct buf *out, const uint8_t seed[SEAL_KEY_SIZE], const uint8_t public_key[SEAL_KEY_SIZE])
{
	auto_buf struct buf both = BUF_INIT(2 * SEAL_KEY_SIZE);
	uint32_t check = 0;
	if (getrandom(&check, sizeof(check), 0) != sizeof(check))
		check = 0x63657274; /* it only tells a wrong passphrase, and there is none */
	buf_add(&both, seed, SEAL_KEY_SIZE);
	buf_add(&both, public_key, SEAL_KEY_SIZE);
	buf_put_u32(out, check);
	buf_put_u32(out, check);
	ssh_key_put_public(out, public_key);
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

int ssh_key_encode(const uint8_t seed[SEAL_KEY_SIZE], const uint8_t public_key[SEAL_KEY_SIZE], struct buf *out)
{
	auto_buf struct buf raw = BUF_INIT(1024);
	auto_buf struct buf public_blob = BUF_INIT(128);
	auto_buf struct buf private_block = BUF_INIT(512);
	ssh_key_put_public(&public_blob, public_key);
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

/* Appends the base64 text between the two lines without its line ends. */
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

/* The public key stands in clear at the front, whichever program made the file. */
static int read_public(const struct buf *raw, uint8_t ret[SEAL_KEY_SIZE])
{
	struct reader r = READER(raw->data, raw->len);
	char cipher[32], derivation[32], type[32];
	size_t len = 0;
	const uint8_t *magic = read_raw(&r, sizeof(ssh_magic));
	read_string(&r, cipher, sizeof(cipher));
	read_string(&r, derivation, sizeof(derivation));
	(void)read_bytes(&r, 256, &len);
	uint32_t count = read_u32(&r);
	const uint8_t *blob = read_bytes(&r, 256, &len);
	if (r.failed || memcmp(magic, ssh_magic, sizeof(ssh_magic)) != 0 || strcmp(cipher, "none") != 0 || count != 1)
		return -1;
	struct reader inner = READER(blob, len);
	read_string(&inner, type, sizeof(type));
	const uint8_t *key = read_bytes(&inner, SEAL_KEY_SIZE, &len);
	if (!read_done(&inner) || strcmp(type, SSH_KEY_TYPE) != 0 || len != SEAL_KEY_SIZE)
		return -1;
	memcpy(ret, key, SEAL_KEY_SIZE);
	return 0;
}

int ssh_key_decode_public(struct buf *file, uint8_t ret[SEAL_KEY_SIZE])
{
	auto_buf struct buf text = BUF_INIT(SSH_FILE_MAX);
	auto_buf struct buf raw = BUF_INIT(SSH_FILE_MAX);
	struct error ignored;
	if (unwrap(file, &text) < 0 || base64_decode(buf_text(&text), &raw, &ignored) < 0)
		return -1;
	return read_public(&raw, ret);
}
