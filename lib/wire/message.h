/* The messages between hub and agent: JSON in FRAME_MESSAGE. man/certsync-protocol.7 is the specification.
 *
 * The agent begins with `hello` and one `inventory` for each certificate of its configuration; the hub answers
 * `welcome`. Then the hub sends offer, activate, probe, hold and signers, the agent fetch, staged, installed, verified,
 * failed, probed, pinned and pull, and either side error. Only the agent pings. Each message but hello, welcome,
 * signers, pinned, ping, pong and error names certificate, revision and attempt; whoever receives a stale attempt drops
 * it.
 */
#ifndef CERTSYNC_LIB_WIRE_MESSAGE_H
#define CERTSYNC_LIB_WIRE_MESSAGE_H

#include "lib/core/buf.h"
#include "lib/crypto/content.h"
#include "lib/core/error.h"
#include "lib/core/name.h"
#include "lib/wire/json.h"

#include <stdbool.h>

enum {
	MESSAGE_PROTOCOL = 3,
	MESSAGE_PROTOCOL_HOLD = 2,    /* the first that has `hold`: to an older agent it would be an unknown message */
	MESSAGE_PROTOCOL_SIGNERS = 3, /* the first that has `signers` and `pinned` */
	MESSAGE_HOLD_MAX = 7 * 86400, /* seconds */
	MESSAGE_PROBES_MAX = 64,
	MESSAGE_NAMES_MAX = 100, /* of a certificate: an offer has the first of them */
	MESSAGE_TEXT_MAX = 1024,
	MESSAGE_HOST_KEYS_MAX = 3072,
	MESSAGE_SIGNERS_MAX = 512,
	MESSAGE_OUTPUT_MAX = 8192,
};

enum message_type {
	MESSAGE_HELLO = 1,
	MESSAGE_WELCOME,
	MESSAGE_INVENTORY,
	MESSAGE_OFFER,
	MESSAGE_FETCH,
	MESSAGE_STAGED,
	MESSAGE_ACTIVATE,
	MESSAGE_INSTALLED, /* files are switched and services reloaded; probes follow */
	MESSAGE_VERIFIED,
	MESSAGE_FAILED,
	MESSAGE_PROBE,
	MESSAGE_HOLD, /* repair nothing of this certificate for so long: a person is at work */
	MESSAGE_PROBED,
	MESSAGE_SIGNERS, /* which keys of the hub may sign */
	MESSAGE_PINNED,  /* these are pinned, or why not */
	MESSAGE_PULL,    /* the agent asks for what is due; passes no barrier */
	MESSAGE_PING,
	MESSAGE_PONG,
	MESSAGE_ERROR, /* the sender closes after it */
};

struct message_probe {
	char endpoint[96];
	char service[NAME_SERVICE_MAX];
	bool served;                     /* the handshake completed */
	bool match;                      /* the leaf is the one of the message's revision */
	bool stopped;                    /* its service is not running: not a fault */
	char fingerprint[CHAIN_HEX_MAX]; /* empty unless served */
	char text[256];                  /* the reason when not served */
	uint32_t milliseconds;
};

struct message {
	enum message_type type;

	/* hello, welcome */
	uint32_t protocol;
	char version[32];
	char instance[33];         /* hello: 16 random bytes of the root half in hex */
	int64_t clock;             /* hello, welcome: the sender's wall clock */
	uint32_t count;            /* hello: how many inventory messages follow */
	char name[NAME_AGENT_MAX]; /* welcome: who the hub takes this agent for */
	/* welcome: lib/crypto/host_pins.h in base64; empty when the hub says nothing of its host keys */
	char host_keys[MESSAGE_HOST_KEYS_MAX];

	/* signers */
	char signers[MESSAGE_SIGNERS_MAX]; /* lib/crypto/signer_list.h in base64 */
	/* pinned */
	char list_digest[CHAIN_HEX_MAX]; /* SHA-256 of the list, as it came */

	/* every message that names a certificate */
	char certificate[NAME_CERTIFICATE_MAX];
	/* Its revision; inventory, offer: all of it, in an inventory of what is installed and committed ("served"), with
	 * the leaf that live/ points at; verified: with the leaf that is served. */
	struct content content;
	uint32_t attempt;

	/* offer */
	char **names; /* SANs; owned */
	size_t name_count;
	/* inventory */
	struct revision high_water; /* newest ever taken */
	struct revision staged;     /* (0,0): nothing staged beyond `content` */
	bool stopped;               /* inventory, verified: some service is stopped: `installed (stopped)` */
	bool held; /* inventory: nothing is repaired there now (false where the sender knows no hold) */

	/* offer */
	bool may_expire_sooner, rollback;
	bool force; /* activate: run the hooks even if this revision is installed already */
	/* activate */
	uint32_t timeout; /* seconds until the hub gives the attempt up */
	/* hold */
	uint32_t seconds; /* from now; 0 ends it; MESSAGE_HOLD_MAX at most */

	/* staged, installed, verified, failed */
	uint32_t milliseconds; /* what the step took */
	/* failed, error */
	char step[32]; /* fetch, verify, stage, test, activate, reload, probe, commit; error: what is wrong */
	char text[MESSAGE_TEXT_MAX];     /* the reason, one line; pinned: why the list was refused, empty: it was not */
	char output[MESSAGE_OUTPUT_MAX]; /* what the hook printed; may have lines */
	bool rolled_back;                /* failed: the old files are back */
	bool permanent;                  /* failed: the same bundle will be refused again (a rule said no) */

	/* verified, probed */
	struct message_probe *probes; /* owned */
	size_t probe_count;
	int64_t repaired; /* probed: when files were last put right, by the agent's clock; 0: not since its start */
};

/* The JSON of probes, in messages as in what the commands `status` show: an array, which is the caller's; and the object
 * whose member "probes" it is. The list is the caller's too, also of what was read before a fault. */
cJSON *message_probes_encode(const struct message_probe *list, size_t count);
int message_probes_decode(const cJSON *o, struct message_probe **ret, size_t *ret_count, struct error *err);

void message_release(struct message *m);
#define auto_message __attribute__((cleanup(message_release)))

/* Appends the JSON text. It is never too long for the frame's cap, since each field has a cap of its own. */
void message_encode(const struct message *m, struct buf *out);
/* Decodes strictly: an unknown type, a member of a wrong type, a name outside its alphabet and a number out of range
 * are errors (ERROR_PERMANENT) that name the field. Unknown members are passed over, so that later versions can add
 * some. */
int message_decode(const void *data, size_t len, struct message *ret, struct error *err);
const char *message_type_name(enum message_type type);
struct message_probe *message_add_probe(struct message *m); /* NULL at MESSAGE_PROBES_MAX */
void message_add_name(struct message *m, const char *name);

#endif
