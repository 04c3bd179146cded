/* The clocks: wall time is for certificates, monotonic time for time-outs. Modules that only decide take `now` as a
 * parameter and never call these functions.
 */
#ifndef CERTSYNC_LIB_CORE_CLOCK_H
#define CERTSYNC_LIB_CORE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

int64_t clock_wall(void);         /* seconds since 1970, UTC */
int64_t clock_monotonic_ms(void); /* milliseconds, never goes back */

enum { CLOCK_TEXT_MAX = 32 };
/* Writes a time like "2026-11-22T21:32:48Z" into `text` and returns it. */
const char *clock_text(int64_t wall, char text[CLOCK_TEXT_MAX]);
/* Reads what clock_text has written. Returns false, with 0, for any other text. */
bool clock_parse(const char *text, int64_t *ret);
/* Writes a length of time like "3d4h", "12m" or "1.250s", for people to read, into `text` and returns it. */
const char *clock_span(int64_t milliseconds, char text[CLOCK_TEXT_MAX]);

#endif
