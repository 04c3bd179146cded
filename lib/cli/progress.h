/* One line on a terminal while a person waits: "WHAT, 3 s". It comes after a second, is drawn anew every second, and is gone when the
 * wait is over; it is on standard error, so what a command prints is the same with and without it.
 */
#ifndef CERTSYNC_PROGRESS_H
#define CERTSYNC_PROGRESS_H

struct progress;

/* NULL, which the others take, where standard error is no terminal that can be drawn on. */
struct progress *progress_new(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void progress_free(struct progress *p); /* erases it */
/* Takes it away until the next second: something is about to be printed. */
void progress_clear(struct progress *p);

void progress_cleanup(struct progress **p);
#define auto_progress __attribute__((cleanup(progress_cleanup), unused))

#endif
