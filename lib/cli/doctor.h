/* Looking a node over: what was found, what mends it, and mending it.
 *
 * A check looks at one thing and tells its findings, a line each. With --apply, what can be mended is mended, check by
 * check, and the check looks again: what it finds then is what counts. Nothing that is told has a secret in it.
 */
#ifndef CERTSYNC_LIB_CLI_DOCTOR_H
#define CERTSYNC_LIB_CLI_DOCTOR_H

#include "lib/cli/cli.h"
#include "lib/core/error.h"

#include <stdbool.h>
#include <stddef.h>

enum doctor_state { DOCTOR_OK, DOCTOR_WARNING, DOCTOR_WRONG, DOCTOR_UNKNOWN };

/* Mends; `what` is the finding's. Returns 0, or -1 with everything as it was. */
typedef int doctor_mend(void *what, struct error *err);

struct doctor_finding {
	enum doctor_state state;
	char *text;        /* owned; what was found */
	char *remedy;      /* owned; the command, or the file and its lines; NULL: none is needed */
	char *next;        /* owned; what is left to a person after it was mended; NULL: nothing */
	doctor_mend *mend; /* NULL: left to a person */
	void *what;        /* owned */
	void (*release)(void *what);
};

struct doctor_findings {
	struct doctor_finding *list; /* owned */
	size_t count;
};
void doctor_findings_release(struct doctor_findings *f);
#define auto_findings __attribute__((cleanup(doctor_findings_release)))

/* Each returns the finding, which stays valid until the next one is added. */
struct doctor_finding *doctor_add(struct doctor_findings *f, enum doctor_state state, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
struct doctor_finding *doctor_remedy(struct doctor_finding *finding, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* The remedy is a command (copied; at most 31 words), which root may have run. A second command is run after the
 * first. */
struct doctor_finding *doctor_command(struct doctor_finding *finding, const char *const *argv);
/* `release` frees `what`, which may be NULL. */
void doctor_mends(struct doctor_finding *finding, doctor_mend *mend, void *what, void (*release)(void *what));

/* The site is what is looked over: a configuration, which is NULL until it could be loaded. */
struct doctor_site {
	const char *path;
	void *config;
};

struct doctor_check {
	const char *name;
	void (*look)(struct doctor_findings *f, const void *config);
	/* This runs instead of `look`, for what comes before the configuration, and may load it. */
	void (*prepare)(struct doctor_findings *f, struct doctor_site *site);
};

extern const struct cli_option doctor_options[];
/* Runs the checks up to one without a name, shows their findings, and mends with --apply. Without a configuration only
 * those checks run that have `prepare`. Returns the exit code: 0, 3 when something is wrong, 1 when something could not
 * be mended, or 2 for --apply without root. */
int doctor_run(const struct cli_line *line, const struct doctor_check *checks, struct doctor_site *site);

#endif
