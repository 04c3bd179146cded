/* What is asked of certsync-keys, the only process that can read a private key of the hub. A key is named by its id,
 * the SHA-256 of its SubjectPublicKeyInfo (as a TLSA record 3 1 1 has it), so that whoever holds the certificate knows
 * the name of its key.
 *
 * The daemon asks over connections that it makes itself: it passes an end of a socket pair over the socket that the
 * root half made (hub/common/child.h). Each connection has one request at a time, and its reply. Frames are
 * FRAME_RECORD, but FRAME_BUNDLE for a seal request and for the bundle that answers it. There is no request for a
 * private key, and none for a signature of bytes that the asker chose: each signs one kind of thing, which
 * certsync-keys writes itself or whose form it checks.
 *
 *   signer    the public key that agents pin; with `make` it is made where there is none next      the public key of
 *   the signing key that is to come; with `make` it is made where there is none signers   the list of signing keys
 *   (lib/crypto/signer_list.h), signed by the present one: that alone, or with the next one switch    the next signing
 *   key, which `id` says in full, becomes the present one, and the old one is wiped, durably make      a new key of a
 *   class and type, durable before the reply; an RSA key is made in a child, so that others go on find      whether a
 *   key is held: its SubjectPublicKeyInfo csr       a signing request (PKCS#10) for DNS names, by a leaf's key jws
 *   64 bytes, r and s, over BASE64URL "." BASE64URL of ACME (RFC 8555 section 6.2), by an account's key; or by a
 *             leaf's, whose payload must then be a revocation (RFC 8555 section 7.6)
 *   commit    a leaf's key is a revision's from now on: it is durable, and never dropped drop      an account's key, or
 *   a leaf's that was not committed, is not needed any more seal      a bundle (lib/crypto/bundle.h) for one recipient:
 *   the key of each id, with the certificates that are given pins      the list of host keys (lib/crypto/host_pins.h),
 *   signed
 *
 * The root half asks in a form of its own (hub/common/keys_root.h); operators pass descriptors of files
 * (hub/common/key_bring.h).
 */
#ifndef CERTSYNC_HUB_COMMON_KEYS_REQUEST_H
#define CERTSYNC_HUB_COMMON_KEYS_REQUEST_H

#include "lib/core/buf.h"
#include "lib/core/error.h"
#include "lib/core/frame.h"
#include "lib/core/name.h"
#include "lib/crypto/bundle.h"
#include "lib/crypto/chain.h"
#include "lib/crypto/host_pins.h"

#include <stdbool.h>

enum keys_op {
	KEYS_SIGNER = 1,
	KEYS_MAKE,
	KEYS_FIND,
	KEYS_CSR,
	KEYS_JWS,
	KEYS_COMMIT,
	KEYS_DROP,
	KEYS_SEAL,
	KEYS_PINS,
	KEYS_NEXT,
	KEYS_SIGNERS,
	KEYS_SWITCH,
	KEYS_OPS,
};

enum keys_class { KEYS_LEAF, KEYS_ACCOUNT, KEYS_CLASSES };

enum {
	KEYS_ID_SIZE = CHAIN_SHA256_SIZE,
	KEYS_NAMES_MAX = 100, /* of a request to an authority */
	KEYS_SPKI_MAX = CHAIN_SPKI_MAX,
	KEYS_INPUT_MAX = FRAME_RECORD_MAX - 64,
	KEYS_SIGNATURE_SIZE = 64, /* of a jws */
	KEYS_SECONDS = 5,         /* within which a reply comes; a key that is made may take longer */
};

struct keys_request {
	enum keys_op op;
	bool make;                                        /* signer, next */
	bool both;                                        /* signers */
	int64_t serial;                                   /* signers */
	enum keys_class key_class;                        /* make, find, jws, drop */
	char type[CHAIN_KEY_TYPE_MAX];                    /* make: as chain_make_key has it */
	uint8_t id[KEYS_ID_SIZE];                         /* find, csr, jws, commit, drop; switch: the public key */
	char names[KEYS_NAMES_MAX][NAME_CERTIFICATE_MAX]; /* csr */
	size_t name_count;
	const uint8_t *input; /* jws: the text to sign; borrowed */
	size_t input_len;
	/* seal */
	char certificate[NAME_CERTIFICATE_MAX];
	struct revision revision;
	uint16_t flags;
	int64_t not_after;
	uint8_t recipient[SEAL_KEY_SIZE];
	struct {
		uint8_t id[KEYS_ID_SIZE];
		const uint8_t *chain; /* u8 count, bytes certificate…, as in chain_write_der; borrowed */
		size_t chain_len;
	} pairs[BUNDLE_PAIRS_MAX];
	size_t pair_count;
	struct host_pins pins;
};

struct keys_reply {
	bool ok;
	enum error_kind kind; /* not ok */
	char text[ERROR_MESSAGE_MAX];
	const uint8_t *data; /* ok; borrowed */
	size_t len;
};

/* Appends a request as a frame. Returns -1 when it exceeds a cap. */
int keys_request_encode(const struct keys_request *r, struct buf *out);
/* Decodes strictly: lengths, alphabets, nothing behind the end. The result borrows from the frame. */
int keys_request_decode(const struct frame *frame, struct keys_request *ret, struct error *err);

/* `sealed` marks the reply to a seal request, whose bundle goes as it is. */
int keys_reply_encode(const struct keys_reply *r, bool sealed, struct buf *out);
int keys_reply_decode(const struct frame *frame, struct keys_reply *ret, struct error *err);

#endif
