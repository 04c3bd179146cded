/* What the commands `check` of both programs have in common: their options, the hosts that they name, and the outcome
 * on standard output. A program adds what it knows by itself: the hosts when none is named, and what must be served
 * there.
 */
#ifndef CERTSYNC_LIB_PROBE_CHECK_JOB_H
#define CERTSYNC_LIB_PROBE_CHECK_JOB_H

#include "lib/probe/check_run.h"
#include "lib/cli/cli.h"

struct check_job {
	const struct cli_line *line;
	const char *at[256]; /* --at; ended by NULL */
	const char *expect;  /* --expect as given; NULL: not */
	bool expects;        /* --expect is a SHA-256, which check_job_name has put into each host */
	uint8_t expected[CHAIN_SHA256_SIZE];
	long timeout, days;
	const char *remedy;       /* as in struct check_policy; may be set by the program */
	struct check_host *hosts; /* owned */
	size_t host_count;
};

/* The options, in this order, for the table of a command. Each program has a text of its own for --at, --anchors and
 * --expect. */
#define CHECK_JOB_OPTIONS \
	{"--days", "N", "call expiring what has fewer days left, instead of a fifth of its life, 21 at most"}, \
		{"--timeout", "SECONDS", "wait so long for each endpoint (10)"}, \
		{"--helo", "NAME", "greet mail servers by this name (this machine's full one)"}, \
		{"--both-keys", NULL, \
			"look at the RSA and the ECDSA certificate each (a server with one logs a failed " \
			"handshake)"}, \
		{"--json", NULL, "print one JSON object instead of a table"}, \
	{ \
		"--nagios", NULL, "print one line, and exit as a plugin of Nagios does" \
	}

/* Reads the options; a fault is ERROR_USAGE. check_job_release() follows in any case. */
int check_job_begin(struct check_job *j, const struct cli_line *line, struct error *err);
void check_job_release(struct check_job *j);

/* Adds one more host and returns it, borrowed until the next one is added. `text` is as in check_host_parse(). */
struct check_host *check_job_name(struct check_job *j, const char *text, struct error *err);
/* Adds a host whose fields the caller fills in. */
struct check_host *check_job_add(struct check_job *j);

/* Checks all hosts and shows the outcome; --anchors takes precedence over `anchors` (NULL: the system's). Returns the
 * exit code; a failure has been told. */
int check_job_run(struct check_job *j, const char *anchors);
/* Tells why there is nothing to show, in Nagios's form where that is asked for. Returns the exit code. */
int check_job_refuse(const struct check_job *j, const struct error *err);

#endif
