/* What certsync-agent asks of certsync-agent-root: fixed binary records (FRAME_RECORD) over a socketpair, and for
 * `stage` a bundle as it came (FRAME_BUNDLE). Requests are answered in order, with one reply each; the daemon has one
 * outstanding.
 *
 * The root half believes nothing that it is told. What may be installed, where, and which hooks run, comes from its own
 * configuration, the pins and the bundle's signature.
 */
#ifndef CERTSYNC_AGENT_COMMON_ROOT_REQUEST_H
#define CERTSYNC_AGENT_COMMON_ROOT_REQUEST_H

#include "lib/core/buf.h"
#include "lib/crypto/content.h"
#include "lib/core/error.h"
#include "lib/core/name.h"
#include "lib/crypto/statement.h"

#include <stdbool.h>

enum request_op {
	REQUEST_INVENTORY = 1, /* of all certificates of the configuration */
	REQUEST_STAGE,         /* only as the reply's op: the request is the FRAME_BUNDLE itself */
	REQUEST_TEST,          /* each service's `test` hook, now */
	REQUEST_ACTIVATE,      /* journal, switch the symlink, write the services' own files */
	REQUEST_RELOAD,        /* each running service's `reload` hook */
	REQUEST_RUNNING,       /* each service's `running` hook: which are stopped */
	REQUEST_COMMIT,        /* the new leaf was seen served: keep it */
	REQUEST_UNDO,          /* old files back, then `reload` */
	REQUEST_HOLD,          /* put nothing right for `timeout` seconds, since a person is at work; 0 ends it */
	REQUEST_HOST_KEYS,     /* pin these SSH host keys, if the hub signed the list */
	REQUEST_SIGNERS,       /* pin these signing keys of the hub, if one of those that are pinned signed the list */
	REQUEST_ALIVE,         /* nothing is asked for: the daemon lives (lib/core/heartbeat.h) */
	REQUEST_READING,       /* what became of the last reading of agent.conf (lib/wire/reading.h) */
};

struct request {
	enum request_op op;
	char certificate[NAME_CERTIFICATE_MAX];
	struct revision revision; /* which one this is about; refused if it is not the staged or pending one */
	uint32_t timeout;         /* activate: seconds until the root half undoes by itself; capped at 3600.
				   * hold: at most REQUEST_HOLD_MAX, else refused */
	/* host_keys, signers: lib/crypto/host_pins.h or lib/crypto/signer_list.h, as it came */
	uint8_t list[STATEMENT_MAX];
	size_t list_len;
};

enum {
	REQUEST_CERTIFICATES_MAX = 64,
	REQUEST_SERVICES_MAX = 16,
	REQUEST_TEXT_MAX = 1024,
	REQUEST_OUTPUT_MAX = 8192,
	REQUEST_INSTANCE_SIZE = 16,
	REQUEST_HOLD_MAX = 7 * 86400,
};

struct inventory {
	char certificate[NAME_CERTIFICATE_MAX];
	struct content served;      /* committed; revision (0, 0): the placeholder, whose digest is not told */
	struct content staged;      /* durable in the archive, newer than served; not set: none */
	struct revision high_water; /* newest ever staged */
	struct revision pending;    /* activated and not yet committed; (0, 0) none */
	/* The leaf of what live/ points at, pending included. */
	uint8_t live[CHAIN_SHA256_SIZE];
	/* The other leaf of two pairs, which a service may serve as well; it is zeros when there is one pair. */
	uint8_t second[CHAIN_SHA256_SIZE], staged_second[CHAIN_SHA256_SIZE];
	uint32_t pending_seconds; /* until the root half undoes it */
	uint32_t held_seconds;    /* until a hold ends; 0: none */
};

struct reply {
	enum request_op op;
	char certificate[NAME_CERTIFICATE_MAX];
	struct revision revision;
	bool ok;
	bool permanent;                  /* not ok: a rule said no, the same bundle will be refused again */
	bool rolled_back;                /* not ok: the old files are back (or were never gone) */
	char step[32];                   /* not ok: verify, stage, test, activate, reload, commit, undo */
	char text[REQUEST_TEXT_MAX];     /* the reason */
	char output[REQUEST_OUTPUT_MAX]; /* of the hook that failed; reload and undo, ok: of all that said something */
	/* running, reload, undo: services that are stopped */
	char stopped[REQUEST_SERVICES_MAX][NAME_SERVICE_MAX];
	size_t stopped_count;
	int64_t repaired; /* running: when files were last put right, wall clock; 0: not since its start */
	uint32_t reading; /* reading: which one it was */
	/* inventory */
	uint8_t instance[REQUEST_INSTANCE_SIZE];
	struct inventory *inventory; /* owned */
	size_t inventory_count;
};

int request_encode(const struct request *r, struct buf *out);
int request_decode(const uint8_t *data, size_t len, struct request *ret, struct error *err);
int reply_encode(const struct reply *r, struct buf *out);
int reply_decode(const uint8_t *data, size_t len, struct reply *ret, struct error *err);
void reply_release(struct reply *r);

#endif
