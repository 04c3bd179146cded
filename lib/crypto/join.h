/* How a new agent proves that it was given the hub's line, and the hub that it wrote that line: what one 32-byte secret
 * becomes on both sides, and the one frame each way (man/certsync-protocol.7, JOINING).
 *
 * The line's digest goes into every MAC, so that a line that was changed on its way proves nothing.
 */
#ifndef CERTSYNC_LIB_CRYPTO_JOIN_H
#define CERTSYNC_LIB_CRYPTO_JOIN_H

#include "lib/core/buf.h"
#include "lib/core/error.h"
#include "lib/core/name.h"
#include "lib/crypto/seal.h"

#include <stdbool.h>

enum {
	JOIN_VERSION = 1,
	JOIN_SECRET_SIZE = 32,
	JOIN_MAC_SIZE = 32,
	JOIN_DIGEST_SIZE = 32,
	JOIN_LINE_SECONDS = 15 * 60, /* so long a line is good */
	JOIN_CHECK_SIZE = 8,         /* hexadecimal digits at the end of the line */
	JOIN_SSH_MAX = 800,
	JOIN_TEXT_MAX = 1024,
	JOIN_CERTIFICATES_MAX = 64,
	JOIN_NAMES_MAX = 128, /* of one certificate */
};

struct join_keys {
	uint8_t login_private[SEAL_KEY_SIZE], login_public[SEAL_KEY_SIZE]; /* Ed25519: opens the SSH session */
	uint8_t mac[JOIN_MAC_SIZE];
};

void join_keys_release(struct join_keys *k); /* wipes */
#define auto_join_keys __attribute__((cleanup(join_keys_release)))

int join_derive(const uint8_t secret[JOIN_SECRET_SIZE], struct join_keys *ret, struct error *err);

/* Computes what is known of a line without its secret: the SHA-256 of everything before " secret=". */
int join_line_digest(const char *line, uint8_t ret[JOIN_DIGEST_SIZE], struct error *err);
/* Computes the first digits of the SHA-256 of the first `len` bytes, which show a line that was cut or pasted badly. */
int join_line_check(const char *line, size_t len, char ret[JOIN_CHECK_SIZE + 1], struct error *err);

struct join_request {
	char agent[NAME_AGENT_MAX];
	char ssh[JOIN_SSH_MAX]; /* "ssh-ed25519 BASE64" */
	uint8_t seal[SEAL_KEY_SIZE];
	uint8_t nonce[JOIN_MAC_SIZE]; /* random: the answer is to this request and to no other */
};

/* Appends the frame's payload with the MAC at its end. */
int join_request_encode(const struct join_request *r, const uint8_t mac[JOIN_MAC_SIZE],
	const uint8_t line[JOIN_DIGEST_SIZE], struct buf *out, struct error *err);
/* Decodes without looking at the MAC. */
int join_request_decode(const uint8_t *data, size_t len, struct join_request *ret, struct error *err);
bool join_request_is_authentic(
	const uint8_t *data, size_t len, const uint8_t mac[JOIN_MAC_SIZE], const uint8_t line[JOIN_DIGEST_SIZE]);

struct join_certificate {
	char name[NAME_CERTIFICATE_MAX];
	char **names; /* owned, NULL at the end */
	size_t name_count;
};

struct join_answer {
	bool ok;
	char text[JOIN_TEXT_MAX];              /* why not */
	struct join_certificate *certificates; /* owned: those assigned to this agent */
	size_t certificate_count;
};

void join_answer_release(struct join_answer *a);
#define auto_join_answer __attribute__((cleanup(join_answer_release)))

/* With `mac` NULL it is the refusal of a hub that has no key, or no longer has one; its MAC is zeros. */
int join_answer_encode(const struct join_answer *a, const uint8_t *mac, const uint8_t line[JOIN_DIGEST_SIZE],
	const uint8_t *request, size_t request_len, struct buf *out, struct error *err);
/* Decodes without looking at the MAC. */
int join_answer_decode(const uint8_t *data, size_t len, struct join_answer *ret, struct error *err);
bool join_answer_is_authentic(const uint8_t *data, size_t len, const uint8_t mac[JOIN_MAC_SIZE],
	const uint8_t line[JOIN_DIGEST_SIZE], const uint8_t *request, size_t request_len);

#endif
