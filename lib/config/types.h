/* The types of keys that both programs use, and checks of single values (struct config_row's `check`). */
#ifndef CERTSYNC_LIB_CONFIG_TYPES_H
#define CERTSYNC_LIB_CONFIG_TYPES_H

#include "lib/config/config.h"

extern const struct config_type config_text;     /* char *, owned; NULL: not given. An empty one is a fault. */
extern const struct config_type config_path;     /* char *: absolute, no "//", "." and "..", no slash at its end */
extern const struct config_type config_list;     /* char **, owned with its texts, NULL-terminated, never NULL */
extern const struct config_type config_paths;    /* the same, of paths */
extern const struct config_type config_bool;     /* bool */
extern const struct config_type config_duration; /* int64_t, seconds */
extern const struct config_type config_word;     /* an enum whose values are the places of its words */

/* What the first two and the lists do, for types that differ a little. */
void config_list_read(struct config *c, const struct config_section *s, const struct config_row *row,
	char *const *values, void *object);
void config_list_release(const struct config_row *row, void *object);
void config_list_free(char **list); /* NULL is passed over */
/* Whether it is one of the row's words, where it has such; else a fault. */
bool config_check_words(
	struct config *c, const struct config_section *s, const struct config_row *row, const char *value);

/* Faults when this machine does not have the user or group, looked up only when running as root: nobody else
 * can become another user anyway. */
void config_check_user(struct config *c, const struct config_section *s, const char *key, const char *user);
void config_check_group(struct config *c, const struct config_section *s, const char *key, const char *group);
/* Whether whoever runs this can read it, or run it. */
void config_check_readable(struct config *c, const struct config_section *s, const char *key, const char *path);
void config_check_executable(struct config *c, const struct config_section *s, const char *key, const char *path);

#endif
