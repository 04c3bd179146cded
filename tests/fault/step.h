/* Calls that can fail do. The product's objects are linked so that every call of another library's function goes
 * through a stub of its own (tests/fault/stubs, by the table tests/fault/returns), and every allocation, whoever makes
 * it, through the malloc(3) here.
 *
 * Before fault_begin and after fault_end nothing fails or is counted.
 */
#ifndef CERTSYNC_TESTS_FAULT_STEP_H
#define CERTSYNC_TESTS_FAULT_STEP_H

#include <stdbool.h>
#include <stddef.h>

enum { FAULT_ALLOCATION, FAULT_CALLS_MAX = 512 };

struct fault_plan {
	size_t call; /* the function, by its place in the table */
	long at;     /* which of its calls fails, from 1; 0: none */
	bool on;     /* all later ones fail, too */
};

/* This lies in memory that is shared with whoever started the run. */
struct fault_seen {
	long counts[FAULT_CALLS_MAX];
	void *site; /* the address behind the first call that failed; NULL: none did */
};

size_t fault_calls(void);
const char *fault_name(size_t call);
void fault_begin(const struct fault_plan *plan, struct fault_seen *seen);
void fault_end(void);

#endif
