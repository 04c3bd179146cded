/* The revision of a certificate's content: (epoch, number). Revisions are ordered, and the number only grows. (0, 0) is
 * the placeholder that a node makes for itself before its first certificate.
 */
#ifndef CERTSYNC_LIB_CRYPTO_REVISION_H
#define CERTSYNC_LIB_CRYPTO_REVISION_H

#include <stdbool.h>
#include <stdint.h>

struct revision {
	uint32_t epoch;  /* < 2^31 */
	uint32_t number; /* < 2^31 */
};

enum { REVISION_TEXT_MAX = 24, REVISION_PART_MAX = 0x7fffffff };

/* Returns <0, 0 or >0 when a is older than, the same as, or newer than b. */
int revision_compare(struct revision a, struct revision b);
bool revision_is_placeholder(struct revision r);
/* Writes a revision like "1.7", which is also the name of its directory, into `text` and returns it. */
const char *revision_text(struct revision r, char text[REVISION_TEXT_MAX]);
/* Does the strict inverse: there is no sign, no leading zero, and nothing behind the number. */
bool revision_parse(const char *text, struct revision *ret);

#endif
