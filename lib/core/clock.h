/* Time: wall clock for certificates, monotonic for time-outs. Pure modules take `now` and never call this. */
#ifndef CERTSYNC_CLOCK_H
#define CERTSYNC_CLOCK_H

#include <stdint.h>
#include <time.h>

int64_t clock_wall(void);         /* seconds since 1970, UTC */
int64_t clock_monotonic_ms(void); /* milliseconds, never goes back */

enum { CLOCK_TEXT_MAX = 32 };
/* "2026-11-22T21:32:48Z" into `text`, which it returns. */
const char *clock_text(int64_t wall, char text[CLOCK_TEXT_MAX]);
/* "3d4h", "12m", "1.250s": short and for people. */
const char *clock_span(int64_t milliseconds, char text[CLOCK_TEXT_MAX]);

#endif
