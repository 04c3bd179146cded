/* What the root half must still know after a crash: one fixed binary record for each certificate, with a SHA-256 over
 * it, in ROOT_STATE/NAME.journal.
 *
 *  offset size
 *       0    4  magic "CSJ1"
 *       4    4  version, 1
 *       8  256  certificate's name, padded with NULs
 *     264  440  served, high_water, staged, pending, previous: 88 bytes each
 *     704    8  deadline of pending, wall clock
 *     712   32  SHA-256 of everything before it
 *
 * An entry is in the form of content_put (lib/crypto/content.h). One whose leaf is all zero is absent; the placeholder
 * is revision (0, 0) with a leaf.
 *
 * The record is written before what it announces is done, so whatever is found at the start is either finished or
 * undone from it.
 */
#ifndef CERTSYNC_AGENT_ROOT_JOURNAL_H
#define CERTSYNC_AGENT_ROOT_JOURNAL_H

#include "lib/crypto/content.h"
#include "lib/core/error.h"
#include "lib/core/name.h"

#include <stdbool.h>
#include <stdint.h>

enum { JOURNAL_SIZE = 744 };

struct journal {
	char certificate[NAME_CERTIFICATE_MAX];
	struct content served;     /* committed, or the placeholder */
	struct content high_water; /* newest ever staged: nothing older is taken */
	struct content staged;     /* durable in the archive, not activated */
	struct content pending;    /* activated, not committed */
	struct content previous;   /* what an undo puts back; absent: nothing may be put back */
	int64_t deadline;          /* of pending: undone when it has passed */
};

/* Returns 1 when it was read, 0 when there is none, or -1 when it is cut short, changed, or another certificate's; *err
 * says which, and *ret is untouched. An error of kind ERROR_RETRY says that it could not be read now and nothing is
 * known of it. `directory` is ROOT_STATE. */
int journal_read(int directory, const char *certificate, struct journal *ret, struct error *err);
/* The record is durable when this returns 0. */
int journal_write(int directory, const struct journal *j, struct error *err);

#endif
