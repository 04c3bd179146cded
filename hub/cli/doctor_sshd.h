/* What sshd does with the gate account, judged by what `sshd -T -C user=…` prints, and the drop-in that mends it. This
 * does no I/O.
 */
#ifndef CERTSYNC_HUB_CLI_DOCTOR_SSHD_H
#define CERTSYNC_HUB_CLI_DOCTOR_SSHD_H

#include "lib/core/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sshd_wish {
	const char *user;
	const char *const *groups; /* that it is in, NULL at the end; the first is its own */
	const char *home;
	const char *authorized_keys; /* absolute */
	uint16_t port;               /* at which agents come in, as hub.conf says */
	size_t agents;
};

enum { SSHD_FAULTS_MAX = 16, SSHD_TEXT_MAX = 512 };

struct sshd_fault {
	bool wrong;               /* agents cannot come in; else a warning */
	char text[SSHD_TEXT_MAX]; /* what sshd does */
	char line[SSHD_TEXT_MAX]; /* which line mends it; "": none in a drop-in */
	bool global;              /* the line is for all, and stands before the Match block */
};

struct sshd_verdict {
	struct sshd_fault faults[SSHD_FAULTS_MAX];
	size_t count;
	bool pam;       /* UsePAM yes: a locked password is no obstacle */
	bool penalties; /* it refuses a whole address for a while after some refused keys (OpenSSH 9.8 and later) */
};

/* Returns the values of a keyword in a dump, whatever its case (from 10.6 on `sshd -T` prints HostKey and not hostkey),
 * with a blank between those of several lines, or "". The caller frees it. */
char *sshd_values(const char *dump, const char *keyword);

/* `dump` has lines "keyword value", with keywords in any case. What is not in it is as OpenSSH's default. */
void sshd_judge(const char *dump, const struct sshd_wish *wish, struct sshd_verdict *ret);

/* Appends the drop-in: the lines of all faults, what an account without a shell is better without, and whatever else
 * stands in `old`, the drop-in that exists, or "" (hub/cli/drop_in.h). */
int sshd_drop_in(const struct sshd_verdict *verdict, const struct sshd_wish *wish, const char *old, struct buf *out);

#endif
