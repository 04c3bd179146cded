/* The one pass over a configuration's text that comes before libconfuse: it finds the lines that libconfuse
 * does not keep, and refuses what libconfuse would silently take for something else.
 *
 * Measured with 3.3: each comment moves its line count by two or more, a missing brace or quote at the end of
 * the file is taken as if it stood there, after an unterminated string the next file is read as a string, a
 * '*' outside of quotes vanishes, ${NAME} is replaced from the environment.
 */
#ifndef CERTSYNC_CONFIG_SCAN_H
#define CERTSYNC_CONFIG_SCAN_H

#include "lib/core/error.h"

#include <stdbool.h>
#include <stddef.h>

enum { CONFIG_SCAN_ROOT = -1, CONFIG_SCAN_DEPTH = 8, CONFIG_SCAN_KEY_MAX = 32 };

/* `key = …` or `key += …`. */
struct config_assignment {
	char key[CONFIG_SCAN_KEY_MAX];
	int section; /* index of the section around it, or CONFIG_SCAN_ROOT */
	int line;
	int previous; /* index of the one before it in the same section, or -1 */
	bool append;
};

struct config_scan {
	char *text; /* owned: what libconfuse may read, comments blanked, each line where it was */
	struct config_assignment *assignments; /* owned, in the order of the file */
	size_t assignment_count;
	int *section_lines; /* owned: where each section began, in the order in which they begin */
	int *closing;       /* owned: the sections' indices in the order in which they end */
	size_t section_count;
	int root_last;     /* index of the last assignment outside of sections, or -1 */
	int *section_last; /* owned: the last one in each section, or -1 */
};

/* ERROR_USAGE with "path:line: …" at the first fault. */
int config_scan(const char *path, const char *text, size_t len, struct config_scan *ret, struct error *err);
void config_scan_release(struct config_scan *s);

/* The first or last assignment of `key` in a section (or CONFIG_SCAN_ROOT), NULL when there is none. The last
 * is the one that libconfuse goes by. */
const struct config_assignment *config_scan_first(const struct config_scan *s, int section, const char *key);
const struct config_assignment *config_scan_last(const struct config_scan *s, int section, const char *key);

#endif
