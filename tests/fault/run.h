/* One story after another, each time with another of its calls failing, once and then from there on for ever; every run is a process
 * of its own, forked from this one, so that it costs milliseconds and not the start of a program under a sanitizer.
 */
#ifndef CERTSYNC_TESTS_FAULT_RUN_H
#define CERTSYNC_TESTS_FAULT_RUN_H

#include "tests/fault/step.h"

struct run_story {
	const char *name;
	/* In the child: 0 done, 1 refused, and standard error says what and why. */
	int (*run)(void *context);
	void (*prepare)(void *context); /* in the parent, before each run; may be NULL */
	int (*judge)(void *context);    /* in a second child, whatever came of the first; may be NULL. As `run` */
	void *context;
	const char *scratch; /* a directory for what the runs say */
	const char *secret;  /* what no text may contain; NULL */
	bool may_be_mute;    /* a refusal needs no words: nobody is told here */
	bool may_abort;      /* not only for want of memory: what it demands of a sound run it does not get */
};

struct run_budget {
	long calls;       /* at most so many runs of calls, */
	long allocations; /* and of allocations */
	unsigned seed;    /* which ones, where they are more */
};

/* Prints a line with what it did, and one for each run with something wrong, of which it returns the number; -1: the story does not
 * even succeed when nothing fails. */
long run_all(const struct run_story *story, const struct run_budget *budget);

#endif
