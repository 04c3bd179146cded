/* cJSON made strict. By itself it takes duplicate keys, trailing bytes and any case of a name, cuts strings at \u0000
 * and clamps large integers. Here a text is one object with nothing behind it, no name twice (whatever its case), no
 * NUL, nesting up to 32, and exact integers.
 */
#ifndef CERTSYNC_LIB_WIRE_JSON_H
#define CERTSYNC_LIB_WIRE_JSON_H

#include "lib/core/buf.h"
#include "lib/core/error.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

typedef void json_visit(const char *key, const cJSON *value, void *context);

void json_free_cleanup(cJSON **object);
#define auto_json __attribute__((cleanup(json_free_cleanup)))

cJSON *json_parse(const void *data, size_t len, struct error *err); /* owned; an object; NULL on error */
/* Cleans every name and string in the value (lib/core/text.h) for whoever shows what another process has said. Only a
 * member "output" keeps its lines. */
void json_clean(cJSON *value);
int json_print(const cJSON *object, struct buf *out); /* compact; -1 above the cap */

/* Readers return -1 (or NULL) with "KEY: is missing" or "KEY: is not a …" when the member is absent or of another type.
 * The key is matched exactly. Strings are borrowed from the object. */
const char *json_string(const cJSON *object, const char *key, size_t max_len, struct error *err); /* or NULL */
int json_u32(const cJSON *object, const char *key, uint32_t *ret, struct error *err);
int json_i64(
	const cJSON *object, const char *key, int64_t *ret, struct error *err); /* up to 15 digits: exact both ways */
int json_bool(const cJSON *object, const char *key, bool *ret, struct error *err);
const cJSON *json_array(const cJSON *object, const char *key, int max_count, struct error *err);
const cJSON *json_object(const cJSON *object, const char *key, struct error *err);
const cJSON *json_get(const cJSON *object, const char *key); /* NULL when absent */
/* These are for showing: they return "", 0 and false when the member is absent or of another type. */
const char *json_text(const cJSON *object, const char *key);
double json_number(const cJSON *object, const char *key);
bool json_true(const cJSON *object, const char *key);
/* Returns the element's string, or NULL with the reason. */
const char *json_element(const cJSON *element, size_t max_len, struct error *err);

#endif
