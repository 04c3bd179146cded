/* One revision of a certificate, as the journal has it (agent/root/journal.h). */
#ifndef CERTSYNC_AGENT_COMMON_JOURNAL_ENTRY_H
#define CERTSYNC_AGENT_COMMON_JOURNAL_ENTRY_H

#include "lib/crypto/chain.h"
#include "lib/crypto/revision.h"

#include <stdint.h>

struct journal_entry {
	struct revision revision;
	uint8_t digest[CHAIN_SHA256_SIZE];      /* chain_digest over its pairs */
	uint8_t fingerprint[CHAIN_SHA256_SIZE]; /* of the first leaf */
	int64_t not_before, not_after;
};

#endif
