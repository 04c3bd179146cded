/* Writing a configuration, a line each: tabs, key, value in quotes, so that it is read again as it was. A NULL value is
 * passed over. */
#ifndef CERTSYNC_LIB_CONFIG_PUT_H
#define CERTSYNC_LIB_CONFIG_PUT_H

#include "lib/core/buf.h"

#include <stdbool.h>
#include <stdint.h>

void config_put(struct buf *out, int tabs, const char *key, const char *value);
void config_put_list(struct buf *out, int tabs, const char *key, char *const *list);
void config_put_bool(struct buf *out, int tabs, const char *key, bool value);
void config_put_duration(struct buf *out, int tabs, const char *key, int64_t seconds);
/* Writes the word without quotes. */
void config_put_word(struct buf *out, int tabs, const char *key, const char *word);
/* Write a section's first line, `key "title" {`, without the title if it is NULL, and its last. */
void config_put_section(struct buf *out, int tabs, const char *key, const char *title);
void config_put_end(struct buf *out, int tabs);

#endif
