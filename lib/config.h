/* libconfuse, completed: every fault of meaning in one run with its line, options given twice, and no
 * expansion of the environment.
 *
 * libconfuse itself stops at the first fault of syntax (an unknown key among them), keeps no line for an
 * option and silently takes the last of two scalars. A loader describes its options with cfg_opt_t as usual,
 * parses with config_parse and then reads, calling config_fault for whatever it finds wrong; faults are kept
 * in the order of their lines.
 */
#ifndef CERTSYNC_CONFIG_H
#define CERTSYNC_CONFIG_H

#include "lib/buf.h"
#include "lib/error.h"

#include <confuse.h>
#include <stdbool.h>
#include <stdint.h>

struct config; /* a parsed file, its lines and its faults */

/* Parses `path` (not followed if `text` is given: then it is only the name in messages). NULL: *err has the
 * one message, "file:line: …" for a fault of syntax. */
struct config *config_parse(const char *path, const char *text, cfg_opt_t *options, struct error *err);
void config_free(struct config *c);
cfg_t *config_root(struct config *c);

/* Records a fault at the line of option `key` in `section` (NULL key: the line where the section began). */
void config_fault(struct config *c, cfg_t *section, const char *key, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* The number of faults; config_faults writes them, a line each: "file:line: message\n". */
size_t config_fault_count(const struct config *c);
void config_faults(struct config *c, struct buf *out);
bool config_has(cfg_t *section, const char *key); /* given in the file */

/* "90s", "15m", "24h", "7d", "0s" → seconds; ranges in seconds. Faults are recorded; then `fallback`. */
int64_t config_duration(struct config *c, cfg_t *section, const char *key, int64_t low, int64_t high);
/* The same syntax for others to use. */
bool duration_parse(const char *text, int64_t *ret_seconds);

/* Copies a string list into a NULL-terminated array (owned: strings and array). */
char **config_list(cfg_t *section, const char *key);
void config_list_free(char **list);

#endif
