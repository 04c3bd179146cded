/* A file or directory that is to have an owner, a group and a mode.
 */
#ifndef CERTSYNC_LIB_CLI_DOCTOR_PLACE_H
#define CERTSYNC_LIB_CLI_DOCTOR_PLACE_H

#include "lib/cli/doctor.h"

#include <sys/types.h>

enum doctor_missing {
	DOCTOR_MISSING_WRONG, /* it is to be there */
	DOCTOR_MISSING_MADE,  /* a directory that is made when it is missing, as a program would at its start */
	DOCTOR_MISSING_FINE,  /* it comes by itself, or is not needed */
};

struct doctor_place {
	const char *base;          /* absolute */
	const char *below;         /* relative to `base`; "": base itself. No link in it is followed */
	const char *owner, *group; /* names; NULL: whatever it is */
	mode_t mode;
	bool directory;
	bool secret; /* a mode that gives more is wrong, not only a warning */
	enum doctor_missing missing;
};

/* Adds a finding unless all is well, and returns whether it is. The mending changes owner and mode through a
 * descriptor, but never of what a link points to or of a file that has a second name. */
bool doctor_place(struct doctor_findings *f, const struct doctor_place *place);

#endif
