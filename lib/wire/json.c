#include "lib/wire/json.h"
#include "lib/core/mem.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { JSON_DEPTH_MAX = 32 };

/* cJSON leaves a member out when it has no memory for it, and the record or message would look sound without it. So
 * here too, want of memory ends the program. */
__attribute__((constructor)) static void end_without_memory(void)
{
	cJSON_Hooks hooks = {.malloc_fn = mem_alloc, .free_fn = free};
	cJSON_InitHooks(&hooks);
}

void json_free_cleanup(cJSON **object)
{
	cJSON_Delete(*object);
	*object = NULL;
}

/* Looks at the text before cJSON does, because of cJSON's recursion and of a \u0000 that would cut a string short.
 * Brackets inside strings are passed over. */
static int scan(const char *text, size_t len, struct error *err)
{
	int depth = 0;
	bool in_string = false;
	for (size_t i = 0; i < len; i++) {
		char c = text[i];
		if (c == '\0')
			return error_set(err, ERROR_PERMANENT, "JSON: contains a NUL");
		if (in_string) {
			if (c == '\\' && len - i >= 6 && strncmp(text + i + 1, "u0000", 5) == 0)
				return error_set(err, ERROR_PERMANENT, "JSON: a string contains \\u0000");
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
			continue;
		}
		if (c == '"')
			in_string = true;
		else if ((c == '{' || c == '[') && ++depth > JSON_DEPTH_MAX)
			return error_set(err, ERROR_PERMANENT, "JSON: nested deeper than %d", JSON_DEPTH_MAX);
		else if (c == '}' || c == ']')
			depth--;
	}
	return 0;
}

/* Names are duplicates whatever their case: who reads the first and who reads the last would disagree. */
static int compare_names(const void *a, const void *b)
{
	return strcasecmp(*(const char *const *)a, *(const char *const *)b);
}

/* The names are sorted, since a peer chooses how many there are. */
static int check_object(const cJSON *object, struct error *err)
{
	size_t count = (size_t)cJSON_GetArraySize(object), n = 0;
	auto_free const char **names = mem_array(count, sizeof(*names));
	for (const cJSON *member = object->child; member; member = member->next)
		names[n++] = member->string;
	qsort(names, n, sizeof(*names), compare_names);
	for (size_t i = 1; i < n; i++)
		if (strcasecmp(names[i - 1], names[i]) == 0)
			return error_set(err, ERROR_PERMANENT, "JSON: \"%s\" stands twice", names[i]);
	return 0;
}

static int check_names(const cJSON *value, struct error *err)
{
	if (cJSON_IsObject(value) && check_object(value, err) < 0)
		return -1;
	for (const cJSON *member = value->child; member; member = member->next)
		if (check_names(member, err) < 0)
			return -1;
	return 0;
}

static bool only_blanks(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n'))
		p++;
	return p == end;
}

cJSON *json_parse(const void *data, size_t len, struct error *err)
{
	if (scan(data, len, err) < 0)
		return NULL;
	const char *end = NULL;
	auto_json cJSON *object = cJSON_ParseWithLengthOpts(data, len, &end, false);
	if (!object || !cJSON_IsObject(object)) {
		error_set(err, ERROR_PERMANENT, "JSON: not an object");
		return NULL;
	}
	if (!only_blanks(end, (const char *)data + len)) {
		error_set(err, ERROR_PERMANENT, "JSON: something stands behind the object");
		return NULL;
	}
	if (check_names(object, err) < 0)
		return NULL;
	cJSON *result = object;
	object = NULL;
	return result;
}

void json_clean(cJSON *value)
{
	bool lines = value->string && strcmp(value->string, "output") == 0;
	if (value->string)
		text_clean(value->string, 0);
	if (cJSON_IsString(value))
		text_clean(value->valuestring, lines);
	for (cJSON *member = value->child; member; member = member->next)
		json_clean(member);
}

int json_print(const cJSON *object, struct buf *out)
{
	char *text = cJSON_PrintUnformatted(object);
	if (!text)
		return -1;
	int result = buf_add(out, text, strlen(text));
	cJSON_free(text);
	return result;
}

const cJSON *json_get(const cJSON *object, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(object, key);
}

static const cJSON *need(const cJSON *object, const char *key, struct error *err)
{
	const cJSON *value = json_get(object, key);
	if (!value)
		error_set(err, ERROR_PERMANENT, "%s: is missing", key);
	return value;
}

const char *json_string(const cJSON *object, const char *key, size_t max_len, struct error *err)
{
	const cJSON *value = need(object, key, err);
	if (!value)
		return NULL;
	const char *text = json_element(value, max_len, err);
	if (!text)
		error_wrap(err, "%s", key);
	return text;
}

const char *json_element(const cJSON *element, size_t max_len, struct error *err)
{
	if (!cJSON_IsString(element)) {
		error_set(err, ERROR_PERMANENT, "is not a string");
		return NULL;
	}
	if (strlen(element->valuestring) > max_len) {
		error_set(err, ERROR_PERMANENT, "is longer than %zu bytes", max_len);
		return NULL;
	}
	return element->valuestring;
}

int json_i64(const cJSON *object, const char *key, int64_t *ret, struct error *err)
{
	const double exact = 999999999999999.0; /* cJSON prints 15 digits; a double would hold 2^53 */
	const cJSON *value = need(object, key, err);
	if (!value)
		return -1;
	/* NaN is in no range. Within this range the conversion is defined, and cuts off what is not whole. */
	if (!cJSON_IsNumber(value) || !(value->valuedouble >= -exact && value->valuedouble <= exact) ||
		(double)(int64_t)value->valuedouble != value->valuedouble)
		return error_set(err, ERROR_PERMANENT, "%s: is not a whole number", key);
	*ret = (int64_t)value->valuedouble;
	return 0;
}

int json_u32(const cJSON *object, const char *key, uint32_t *ret, struct error *err)
{
	int64_t value;
	if (json_i64(object, key, &value, err) < 0)
		return -1;
	if (value < 0 || value > INT32_MAX)
		return error_set(err, ERROR_PERMANENT, "%s: %lld is out of range", key, (long long)value);
	*ret = (uint32_t)value;
	return 0;
}

int json_bool(const cJSON *object, const char *key, bool *ret, struct error *err)
{
	const cJSON *value = need(object, key, err);
	if (!value)
		return -1;
	if (!cJSON_IsBool(value))
		return error_set(err, ERROR_PERMANENT, "%s: is not true or false", key);
	*ret = cJSON_IsTrue(value);
	return 0;
}

const cJSON *json_array(const cJSON *object, const char *key, int max_count, struct error *err)
{
	const cJSON *value = need(object, key, err);
	if (!value)
		return NULL;
	if (!cJSON_IsArray(value)) {
		error_set(err, ERROR_PERMANENT, "%s: is not a list", key);
		return NULL;
	}
	if (cJSON_GetArraySize(value) > max_count) {
		error_set(err, ERROR_PERMANENT, "%s: has more than %d elements", key, max_count);
		return NULL;
	}
	return value;
}

const cJSON *json_object(const cJSON *object, const char *key, struct error *err)
{
	const cJSON *value = need(object, key, err);
	if (value && !cJSON_IsObject(value)) {
		error_set(err, ERROR_PERMANENT, "%s: is not an object", key);
		return NULL;
	}
	return value;
}

const char *json_text(const cJSON *object, const char *key)
{
	const cJSON *value = json_get(object, key);
	return cJSON_IsString(value) ? value->valuestring : "";
}

double json_number(const cJSON *object, const char *key)
{
	const cJSON *value = json_get(object, key);
	return cJSON_IsNumber(value) ? value->valuedouble : 0;
}

bool json_true(const cJSON *object, const char *key)
{
	return cJSON_IsTrue(json_get(object, key));
}
