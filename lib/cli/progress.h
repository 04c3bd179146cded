/* One line on a terminal while a person waits: "WHAT, 3 s". It appears after a second, is drawn anew every second, and
 * disappears when the wait is over. It is on standard error, so what a command prints is the same with and without it.
 */
#ifndef CERTSYNC_LIB_CLI_PROGRESS_H
#define CERTSYNC_LIB_CLI_PROGRESS_H

struct progress;

/* Returns NULL, which the other functions take, where standard error is not a terminal that can be drawn on. */
struct progress *progress_new(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void progress_free(struct progress *p); /* erases it */
/* Takes the line away until the next second, since something is about to be printed. */
void progress_clear(struct progress *p);

void progress_cleanup(struct progress **p);
#define auto_progress __attribute__((cleanup(progress_cleanup), unused))

#endif
