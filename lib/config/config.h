/* libconfuse, completed: every fault of meaning in one run with its line, options given twice, and no
 * expansion of the environment.
 *
 * libconfuse itself stops at the first fault of syntax (an unknown key among them), keeps no line for an
 * option and silently takes the last of two scalars. A loader describes its options with cfg_opt_t as usual,
 * parses with config_parse and then reads, calling config_fault for whatever it finds wrong; faults are kept
 * in the order of their lines.
 *
 * config_parse itself records a fault for a key that is given twice in one section, for a second section
 * without a title, and for a second section with the same title where the option has CFGF_NO_TITLE_DUPES
 * (without that flag both sections are kept). Lists can be appended to with +=. An option without a default
 * is declared CFGF_NODEFAULT.
 */
#ifndef CERTSYNC_CONFIG_H
#define CERTSYNC_CONFIG_H

#include "lib/core/buf.h"
#include "lib/core/error.h"

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

/* "90s", "15m", "24h", "7d", "0s" → seconds; ranges in seconds. Faults are recorded; then `low`. */
int64_t config_duration(struct config *c, cfg_t *section, const char *key, int64_t low, int64_t high);
/* The same syntax for others to use. */
bool duration_parse(const char *text, int64_t *ret_seconds);

/* Copies a string list into a NULL-terminated array (owned: strings and array). */
char **config_list(cfg_t *section, const char *key);
void config_list_free(char **list);

/* A copy of a string option (owned); NULL when it was not given and has no default. An empty one is a fault. */
char *config_string(struct config *c, cfg_t *section, const char *key);
/* The same, and a fault unless it is an absolute path without "//", "." and "..". */
char *config_path(struct config *c, cfg_t *section, const char *key);
bool config_is_path(const char *text);
/* Faults when this machine does not have the user or group, looked up only when running as root: nobody else
 * can become another user anyway. NULL is passed over. */
void config_check_user(struct config *c, cfg_t *section, const char *key, const char *user);
void config_check_group(struct config *c, cfg_t *section, const char *key, const char *group);
/* Whether it is user@host[:port], the host being a DNS name, an IPv4 address or an IPv6 one in brackets. */
bool config_is_ssh(const char *text);

/* Writing a configuration, a line each: tabs, key, value in quotes. A NULL value is passed over. */
void config_put(struct buf *out, int tabs, const char *key, const char *value);
void config_put_list(struct buf *out, int tabs, const char *key, char *const *list);
void config_put_bool(struct buf *out, int tabs, const char *key, bool value);
void config_put_duration(struct buf *out, int tabs, const char *key, int64_t seconds);
/* key "title" { (NULL: no title), and its end. */
void config_put_section(struct buf *out, int tabs, const char *key, const char *title);
void config_put_end(struct buf *out, int tabs);

#endif
