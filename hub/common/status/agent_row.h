/* An agent with one of its certificates, as `status` and the commands that wait for an agent show it. The hub fills it
 * in, the command reads it; its JSON is made and read here alone.
 */
#ifndef CERTSYNC_HUB_COMMON_STATUS_AGENT_ROW_H
#define CERTSYNC_HUB_COMMON_STATUS_AGENT_ROW_H

#include "hub/common/status/rollout_state.h"
#include "lib/wire/json.h"
#include "lib/wire/message.h"

/* Texts and probes are borrowed and, but for `danger`, never NULL; texts of a row that was decoded are the object's. Times are of the wall clock; 0
 * means never, or not known. */
struct agent_row {
	const char *certificate, *agent;
	bool connected;
	const char *version; /* "" unless connected; so are the two below 0 */
	int64_t skew;        /* seconds by which its clock is ahead of the hub's */
	int64_t rival;       /* when another machine last came with its key */
	bool overdue;        /* away for longer than its away_after */
	int64_t last_seen;
	enum rollout_state state;
	const char *waits_for; /* "": for nothing */
	int64_t held_until;
	char *danger; /* owned: what nobody must overlook of a hold; NULL: nothing */
	bool stopped; /* some service is not running there */
	int64_t since;
	struct revision desired, served, high_water;
	uint8_t leaf[CHAIN_SHA256_SIZE]; /* fingerprint of what live/ points at there; zeros: not known */
	uint32_t stage_ms, activate_ms;
	/* The last failure, until the next success. */
	uint32_t failures;
	const char *step, *error, *output;
	bool rolled_back;
	int64_t next_try;
	/* What had changed there behind our back, and what the agent said that cannot be. */
	uint32_t drifts;
	int64_t drifted;
	const char *drift;
	uint32_t contradictions;
	int64_t contradicted;
	const char *contradiction;
	/* What its probes saw. */
	const struct message_probe *probes;
	size_t probe_count;
	struct message_probe *decoded; /* owned: what `probes` points to in a row that was decoded */
	int64_t probed;
};

/* `event` says as what it is told. The caller owns the object. */
cJSON *agent_row_encode(const struct agent_row *row, const char *event);
/* Fills `ret`, which borrows from `o`. What an older hub does not tell is empty; a state that is not known is an error.
 * agent_row_release() frees what the decoder made, in any case. */
int agent_row_decode(const cJSON *o, struct agent_row *ret, struct error *err);
void agent_row_release(struct agent_row *row);

#endif
