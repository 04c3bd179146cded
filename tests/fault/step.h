/* Fallible calls that fail. The product's objects are linked with every call of another library's function going through a stub of
 * its own (tests/fault/stubs, by the table tests/fault/returns), and every allocation of whoever makes it through malloc(3) here.
 *
 * Before fault_begin and after fault_end nothing fails or is counted.
 */
#ifndef CERTSYNC_TESTS_FAULT_STEP_H
#define CERTSYNC_TESTS_FAULT_STEP_H

#include <stdbool.h>
#include <stddef.h>

enum { FAULT_ALLOCATION, FAULT_CALLS_MAX = 512 };

struct fault_plan {
	size_t call; /* which function, by its place in the table */
	long at;     /* which of its calls, from 1; 0: none */
	bool on;     /* and all of them from there on */
};

/* In memory shared with whoever started it. */
struct fault_seen {
	long counts[FAULT_CALLS_MAX];
	void *site; /* behind the first call that failed; NULL: none did */
};

size_t fault_calls(void);
const char *fault_name(size_t call);
void fault_begin(const struct fault_plan *plan, struct fault_seen *seen);
void fault_end(void);

#endif
