/* A drop-in of sshd that has lines for one account, edited: what a person wrote into it stays. This does no I/O.
 *
 * The lines for the account stand in its block, which begins with "Match User NAME" and ends where the next Match does;
 * those for all stand in front of the first Match, as sshd_config(5) wants it. In a place where sshd goes by the first
 * line of a keyword, a person's line that is in the way becomes a comment, and is not lost either.
 */
#ifndef CERTSYNC_HUB_CLI_DROP_IN_H
#define CERTSYNC_HUB_CLI_DROP_IN_H

#include "lib/core/buf.h"

#include <stdbool.h>
#include <stddef.h>

enum { DROP_IN_LINES_MAX = 32, DROP_IN_LINE_MAX = 512 };

struct drop_in_line {
	char text[DROP_IN_LINE_MAX]; /* "MaxStartups 16:30:32" */
	bool global;                 /* for all, and not for the account */
	bool replaces; /* whatever else its keyword says there; else it is added where that says nothing */
};

struct drop_in_wish {
	const char *user;
	const char *head; /* comment lines above a new block */
	const char *note; /* comment lines for all where the keyword is not even commented on; NULL: none */
	const char *note_keyword;
	struct drop_in_line lines[DROP_IN_LINES_MAX];
	size_t count;
};

/* Appends the new text. `old` is the one that is there, or "". -1: `out` is too small. */
int drop_in_edit(const struct drop_in_wish *wish, const char *old, struct buf *out);

#endif
