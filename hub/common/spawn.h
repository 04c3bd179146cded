/* What passes between the hub's daemon and the process that starts its workers, over a SOCK_SEQPACKET pair: fixed
 * binary records, in the order in which they were sent. All that they say of what to run is a number out of `enum
 * worker_kind`.
 *
 * The daemon sends SPAWN_START with the job's socket beside it, which becomes the descriptors 0 and 1 of
 * `certsync-worker KIND`, and SPAWN_KILL of an id, which may have ended already. That job is dead, and all that it
 * started, before the next record is looked at. The spawner sends SPAWN_ENDED once for each id that ended by itself or
 * could not be started.
 */
#ifndef CERTSYNC_HUB_COMMON_SPAWN_H
#define CERTSYNC_HUB_COMMON_SPAWN_H

#include "lib/core/error.h"

#include <stddef.h>
#include <stdint.h>

enum worker_kind {
	WORKER_ACME,
	WORKER_INFO,
	WORKER_PREFLIGHT,
	WORKER_ACCOUNT,
	WORKER_CHECK,
	WORKER_ALERT,
	WORKER_RESPONDER,
	WORKER_KINDS,
};

/* Returns the word of the command line, such as "acme". */
const char *worker_kind_name(enum worker_kind kind);

enum spawn_op { SPAWN_START = 1, SPAWN_KILL, SPAWN_ENDED };
enum { SPAWN_RECORD_SIZE = 13 };

struct spawn_record {
	enum spawn_op op;
	uint32_t id;           /* the daemon's choice, never used twice in one connection */
	enum worker_kind kind; /* SPAWN_START */
	int wait_status;       /* SPAWN_ENDED: of wait(2) */
	int start_errno;       /* SPAWN_ENDED: why it could not be started; 0: it was */
};

void spawn_encode(const struct spawn_record *r, uint8_t ret[SPAWN_RECORD_SIZE]);
int spawn_decode(const uint8_t *data, size_t len, struct spawn_record *ret, struct error *err);

#endif
