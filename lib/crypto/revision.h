/* The revision of a certificate's content: (epoch, number), ordered, the number only grows. (0, 0) is the
 * placeholder that a node makes for itself before its first certificate.
 */
#ifndef CERTSYNC_REVISION_H
#define CERTSYNC_REVISION_H

#include <stdbool.h>
#include <stdint.h>

struct revision {
	uint32_t epoch;  /* < 2^31 */
	uint32_t number; /* < 2^31 */
};

enum { REVISION_TEXT_MAX = 24, REVISION_PART_MAX = 0x7fffffff };

/* <0, 0, >0 as a is older than, the same as, newer than b. */
int revision_compare(struct revision a, struct revision b);
bool revision_is_placeholder(struct revision r);
/* "1.7" into `text`, which it returns: also the name of its directory. */
const char *revision_text(struct revision r, char text[REVISION_TEXT_MAX]);
/* The strict inverse: no sign, no leading zero, nothing behind it. */
bool revision_parse(const char *text, struct revision *ret);

#endif
