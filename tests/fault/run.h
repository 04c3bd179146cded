/* One story after another runs, each time with another of its calls failing, once and then from there on for ever.
 * Every run is a process of its own, forked from this one, so that it costs milliseconds and not the start of a program
 * under a sanitizer. */
#ifndef CERTSYNC_TESTS_FAULT_RUN_H
#define CERTSYNC_TESTS_FAULT_RUN_H

#include "tests/fault/step.h"

struct run_story {
	const char *name;
	/* Runs in the child. Returns 0 when done, 1 when refused, and then standard error says what and why. */
	int (*run)(void *context);
	void (*prepare)(void *context); /* in the parent, before each run; may be NULL */
	int (*judge)(void *context);    /* runs like `run` in a second child, whatever came of the first; may be NULL */
	void *context;
	const char *scratch; /* a directory for the output of the runs */
	const char *secret;  /* a text that no output may contain, or NULL */
	bool may_be_mute;    /* a refusal needs no words, because nobody is told here */
	bool may_abort;      /* also without want of memory, because what it demands of a sound run fails */
};

struct run_budget {
	long calls;       /* at most so many runs of calls, */
	long allocations; /* and at most so many of allocations */
	unsigned seed;    /* chooses which ones, where there are more */
};

/* Runs a story and prints a line with what it did, and one for each run with something wrong. Returns the number of
 * such runs, or -1 when the story does not even succeed while nothing fails. */
long run_all(const struct run_story *story, const struct run_budget *budget);

#endif
