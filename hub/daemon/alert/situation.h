/* How everything stands at one moment, gathered from the hub's modules: alerts, status, page and metrics are functions
 * of it, without I/O. It stands below all that shows it, since what alerts are raised from is the same.
 */
#ifndef CERTSYNC_HUB_DAEMON_ALERT_SITUATION_H
#define CERTSYNC_HUB_DAEMON_ALERT_SITUATION_H

#include "hub/common/status/agent_row.h"
#include "hub/common/status/endpoint_row.h"
#include "hub/daemon/acme/renewal.h"
#include "hub/daemon/agents/key_changes.h"
#include "hub/daemon/agents/signing.h"
#include "hub/daemon/rollout/progress.h"
#include "hub/daemon/store.h"

/* All texts are borrowed and never NULL; peers chose many of them. Times are of the wall clock; 0 means never, or not
 * known. */

/* An agent with one of its certificates. */
struct situation_place {
	struct agent_row row;              /* as it is shown */
	const struct rollout_agent *agent; /* borrowed: what the state machine knows besides */
	enum barrier_wait wait;
	bool converged;
	bool busy; /* something is under way there */
};

enum situation_source { SOURCE_ACME, SOURCE_WATCH, SOURCE_IMPORT };
const char *situation_source_name(enum situation_source source);

struct situation_certificate {
	const char *name;
	const struct rollout *rollout; /* borrowed */
	enum situation_source source;
	struct revision revision; /* (0, 0): nothing is published yet */
	int64_t not_before, not_after;
	bool converged;
	struct renewal_status renewal; /* of SOURCE_ACME; else all is "" and 0 */
	bool watched;                  /* it is read from paths, even where `source` is another */
	const char *watch_trouble;     /* "" when nothing is watched, or all is well there */
	int64_t watch_read;            /* when the watched paths were last read */
	/* What the store says, if that was asked for; of one where a mismatch was seen, the manifest at least. */
	bool published;          /* `current` is there */
	struct manifest current; /* owned */
	char *store_error;       /* owned: why it cannot be read; NULL: it can */
	/* Owned: settings that its lifetime cannot afford, a name that it lacks and that nobody here orders, what strict
	 * clients refuse of it. */
	char **warnings;
	size_t warning_count;
	bool has_next_keys; /* hub.conf asks for them, and they can be read */
	uint8_t next_keys[STORE_PAIRS_MAX][CHAIN_SHA256_SIZE];
	size_t next_key_count;
	struct situation_place *places; /* owned */
	size_t place_count;
};

struct situation_agent {
	const char *name, *version;
	const struct hub_agent *configured; /* borrowed */
	const struct session *session;      /* borrowed; NULL: not connected */
	bool connected, overdue, local;
	int64_t last_seen, skew, rival;
	size_t certificates, converged;
	int64_t stranger;          /* when somebody last came in with a key that it has no more */
	const char *stranger_mark; /* with which one; "": not known */
	int64_t rotation;          /* since when its keys are being changed */
	uid_t rotation_by;         /* who asked for that */
	bool rotates;              /* the new ones are here, and have not been seen to work yet */
};

/* How the hub itself is. */
struct situation_hub {
	const char *state;                    /* the store's directory */
	char access_error[ERROR_MESSAGE_MAX]; /* why it cannot be read and written; "": it can */
	char disk_error[ERROR_MESSAGE_MAX];   /* why its disk cannot be asked; "": what follows is known */
	uint64_t disk_free;                   /* bytes that the store may use */
	double disk_share;                    /* per cent that are free; of a disk without blocks 100 */
	const char *store_trouble, *keys_trouble;
	const struct store_damage *damages; /* borrowed; oldest first: records that were found damaged */
	size_t damage_count;
	const char *authorized_keys; /* the file, */
	const char *root_error;      /* and why it could not be written; "": it could */
	bool has_root;               /* certsync-hub-root is there */
	int64_t late;                /* seconds since what is due next was; 0 or less: not yet */
};

struct situation {
	int64_t now, started;
	const char *version;
	int64_t expiring; /* seconds that must be left of a certificate, as configured; 0: by its lifetime */
	struct situation_hub hub;
	struct situation_certificate *certificates; /* owned, as all arrays */
	size_t certificate_count;
	struct situation_agent *agents;
	size_t agent_count;
	const struct endpoint_row **endpoints; /* the rows are borrowed */
	size_t endpoint_count;
	const char *endpoints_trouble;    /* why none can be checked; "": they can */
	const struct key_change *changes; /* borrowed; oldest first */
	size_t change_count;
	struct signing_status signing;
};

/* The situation is valid until the hub's loop goes on. `with_store` reads what the store says of every certificate; else
 * nothing is read from disk but what is rare: the record of an agent whose keys are being changed, the manifest of a
 * certificate where another one was seen. */
void situation_take(struct hub *hub, int64_t now, bool with_store, struct situation *ret);
void situation_release(struct situation *s);
#define auto_situation __attribute__((cleanup(situation_release)))
/* Fills one row, which agent_row_release() empties: for who follows one agent. */
void situation_row(struct hub *hub, const struct rollout *r, const struct rollout_agent *a, struct agent_row *ret);
/* Fills the part of it that /healthz asks for. */
void situation_hub_take(struct hub *hub, struct situation_hub *ret);
/* Returns NULL when there is none of that name. */
const struct situation_certificate *situation_certificate(const struct situation *s, const char *name);

#endif
