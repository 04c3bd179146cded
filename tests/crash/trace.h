/* A system call of a traced process, seen before and after it is made. */
#ifndef CERTSYNC_TESTS_CRASH_TRACE_H
#define CERTSYNC_TESTS_CRASH_TRACE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct call {
	pid_t pid;
	uint64_t number;
	uint64_t args[6];
	int64_t result; /* known after the call; negative: -errno */
};

/* Begins to record (tests/crash/record.c) all that changes below `root`, as lines of the log that tests/crash/disk.c
 * replays. */
void record_start(const char *root, const char *log_path);
long record_lines(void); /* how many lines there are since the start, without marks */
void record_before(const struct call *c);
void record_after(const struct call *c);
void record_forget(pid_t pid);

#endif
