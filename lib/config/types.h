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

/* These are for types that are lists but for one thing. */
void config_list_read(struct config *c, const struct config_section *s, const struct config_row *row,
	char *const *values, void *object);
void config_list_release(const struct config_row *row, void *object);
void config_list_free(char **list); /* NULL is passed over */
/* Whether the row has no words or this is one of them; else a fault is recorded. */
bool config_check_words(
	struct config *c, const struct config_section *s, const struct config_row *row, const char *value);

/* A user or group that this machine does not have is a fault. Only root looks it up, since nobody else can become
 * another user anyway. */
void config_check_user(struct config *c, const struct config_section *s, const char *key, const char *user);
void config_check_group(struct config *c, const struct config_section *s, const char *key, const char *group);
/* What is neither a name with a dot nor an address in brackets is a fault (lib/core/helo.h). */
void config_check_helo(struct config *c, const struct config_section *s, const char *key, const char *helo);
/* What whoever runs this cannot read, or cannot run, is a fault. */
void config_check_readable(struct config *c, const struct config_section *s, const char *key, const char *path);
void config_check_executable(struct config *c, const struct config_section *s, const char *key, const char *path);

#endif
