/* What passes between certsync-hub-root and certsync-keys, over CHILD_ROOT_FD (hub/common/child.h).
 *
 * FRAME_FILES from root to keys has the files found at one certificate's watched paths (hub/common/scan.h). It is
 * answered by FRAME_FILES of the same label and names, whose contents are what is left of each file
 * (hub/common/key_cut.h); that is for the daemon. FRAME_RECORD from root to keys is answered by one, each:
 *
 *   adopt  a key file of a store that was made before there was a certsync-keys. What is no key is kept, too. It is
 *   durable
 *          after the next sync. The reply has the SubjectPublicKeyInfo, or nothing where there is none
 *   sync   what was adopted is durable ping   it lives
 */
#ifndef CERTSYNC_HUB_COMMON_KEYS_ROOT_H
#define CERTSYNC_HUB_COMMON_KEYS_ROOT_H

#include "lib/core/buf.h"
#include "lib/core/error.h"

#include <stdbool.h>

enum keys_root_op { KEYS_ROOT_ADOPT = 1, KEYS_ROOT_SYNC, KEYS_ROOT_PING };

enum keys_adopt {
	KEYS_ADOPT_COMMITTED, /* of a revision */
	KEYS_ADOPT_PENDING,   /* of an order, or made ahead */
	KEYS_ADOPT_ACCOUNT,
	KEYS_ADOPT_SIGNER,
	KEYS_ADOPTS,
};

enum { KEYS_ROOT_FILE_MAX = 48 * 1024, KEYS_ROOT_SPKI_MAX = 2048 };

struct keys_root_request {
	enum keys_root_op op;
	enum keys_adopt adopt;
	const uint8_t *data; /* adopt: the file's bytes; borrowed */
	size_t len;
};

struct keys_root_reply {
	bool ok;
	char text[ERROR_MESSAGE_MAX]; /* not ok: why */
	const uint8_t *spki;          /* borrowed */
	size_t spki_len;
};

int keys_root_request_encode(const struct keys_root_request *r, struct buf *out);
int keys_root_request_decode(const uint8_t *data, size_t len, struct keys_root_request *ret, struct error *err);
int keys_root_reply_encode(const struct keys_root_reply *r, struct buf *out);
int keys_root_reply_decode(const uint8_t *data, size_t len, struct keys_root_reply *ret, struct error *err);

#endif
