#include "hub/daemon/acme/limits.h"
#include "lib/core/clock.h"
#include "hub/daemon/record.h"
#include "lib/core/mem.h"
#include "lib/crypto/seal.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { RECORD_MAX = 1024, KEY_MAX = 128, KEY_BYTES = 16, NAMES_BYTES_MAX = 64 * 1024 };

/* ---- counting ---- */

static bool counts(int64_t at, int64_t span, int64_t now)
{
	return at <= now && at > now - span;
}

int64_t limits_free_at(const struct limits_count *c, size_t max, int64_t span, int64_t now)
{
	size_t found = 0;
	/* It counts from the newest back: when the entry that fills the limit is forgotten, there is room. */
	for (size_t i = c->count; i-- > 0;)
		if (counts(c->at[i], span, now) && ++found == max)
			return c->at[i] + span;
	return 0;
}

void limits_note(struct limits_count *c, int64_t span, int64_t now)
{
	size_t kept = 0;
	for (size_t i = 0; i < c->count; i++)
		if (counts(c->at[i], span, now))
			c->at[kept++] = c->at[i];
	if (kept == LIMITS_KEPT) {
		memmove(c->at, c->at + 1, (LIMITS_KEPT - 1) * sizeof(c->at[0]));
		kept--;
	}
	c->at[kept] = now;
	c->count = kept + 1;
}

/* ---- records ---- */

static int by_text(const void *a, const void *b)
{
	return strcasecmp(*(char *const *)a, *(char *const *)b);
}

/* Makes a name like "set-0123…json", which is the same for the same names in any order and case. */
static void record_key(const char *prefix, const struct hub_acme *acme, char *const *names, char ret[KEY_MAX])
{
	auto_buf struct buf text = BUF_INIT(NAMES_BYTES_MAX);
	uint8_t digest[32];
	size_t count = 0;
	while (names[count])
		count++;
	auto_free char **sorted = mem_array(count + 1, sizeof(*sorted));
	memcpy(sorted, names, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), by_text);
	buf_addf(&text, "%s", acme->directory);
	for (size_t i = 0; i < count; i++) {
		buf_addf(&text, "\n");
		for (const char *p = sorted[i]; *p; p++)
			buf_addf(&text, "%c", tolower((unsigned char)*p));
	}
	if (sha256(text.data, text.len, digest) < 0)
		mem_abort(__func__);
	int at = snprintf(ret, KEY_MAX, "%s-", prefix);
	for (size_t i = 0; i < KEY_BYTES; i++)
		at += snprintf(ret + at, KEY_MAX - (size_t)at, "%02x", digest[i]);
	snprintf(ret + at, KEY_MAX - (size_t)at, ".json");
}

static struct record record_of(const struct hub_acme *acme, const char *key)
{
	return (struct record){"limits", acme->name, key, RECORD_MAX,
		"earlier orders are not counted here; the authority counts for itself"};
}

static int count_get(
	struct store *store, const struct hub_acme *acme, const char *key, struct limits_count *ret, struct error *err)
{
	const struct record record = record_of(acme, key);
	struct error damaged;
	auto_json cJSON *o = NULL;
	*ret = (struct limits_count){.count = 0};
	int found = record_find(store, &record, &o, err);
	if (found <= 0)
		return found;
	const cJSON *list = json_array(o, "at", LIMITS_KEPT, &damaged), *element;
	if (!list)
		record_damaged(store, &record, &damaged);
	cJSON_ArrayForEach (element, list) {
		if (cJSON_IsNumber(element) && element->valuedouble >= 0 && element->valuedouble < 1e15)
			ret->at[ret->count++] = (int64_t)element->valuedouble;
	}
	return 0;
}

static int count_put(struct store *store, const struct hub_acme *acme, const char *key, const struct limits_count *c,
	struct error *err)
{
	const struct record record = record_of(acme, key);
	auto_json cJSON *o = cJSON_CreateObject();
	cJSON *list = cJSON_AddArrayToObject(o, "at");
	for (size_t i = 0; i < c->count; i++)
		cJSON_AddItemToArray(list, cJSON_CreateNumber((double)c->at[i]));
	return record_put(store, &record, o, err);
}

static int note(
	struct store *store, const struct hub_acme *acme, const char *key, int64_t span, int64_t now, struct error *err)
{
	struct limits_count c;
	if (count_get(store, acme, key, &c, err) < 0)
		return -1;
	limits_note(&c, span, now);
	return count_put(store, acme, key, &c, err);
}

/* ---- the check ---- */

static const char advice[] =
	"certsync renew --force orders all the same, and limits = false in the acme section is for an "
	"authority without such limits";

static int check_set(struct store *store, const struct hub_acme *acme, char *const *names, int64_t now,
	int64_t *ret_free, struct error *err)
{
	char key[KEY_MAX], when[CLOCK_TEXT_MAX];
	struct limits_count c;
	record_key("set", acme, names, key);
	if (count_get(store, acme, key, &c, err) < 0)
		return -1;
	*ret_free = limits_free_at(&c, LIMITS_SET_COUNT, LIMITS_SET_SPAN, now);
	return !*ret_free ? 0
			  : error_set(err, ERROR_RETRY,
				    "no order was made: %d certificates for exactly these names were issued "
				    "by %s within 7 days, and one more "
				    "could be refused for days; free again %s. %s",
				    LIMITS_SET_COUNT, acme->name, clock_text(*ret_free, when), advice);
}

static int check_name(
	struct store *store, const struct hub_acme *acme, char *name, int64_t now, int64_t *ret_free, struct error *err)
{
	char key[KEY_MAX], when[CLOCK_TEXT_MAX];
	char *const alone[] = {name, NULL};
	struct limits_count c;
	record_key("name", acme, alone, key);
	if (count_get(store, acme, key, &c, err) < 0)
		return -1;
	*ret_free = limits_free_at(&c, LIMITS_NAME_COUNT, LIMITS_NAME_SPAN, now);
	return !*ret_free ? 0
			  : error_set(err, ERROR_RETRY,
				    "no order was made: %s could not validate %s %d times within an hour, "
				    "and one more could be refused for "
				    "longer; free again %s. %s",
				    acme->name, name, LIMITS_NAME_COUNT, clock_text(*ret_free, when), advice);
}

int limits_check(struct store *store, const struct hub_acme *acme, char *const *names, int64_t lifetime, int64_t now,
	int64_t *ret_free, struct error *err)
{
	bool many_needed = lifetime > 0 && lifetime / 2 < LIMITS_SET_SPAN / LIMITS_SET_COUNT;
	*ret_free = 0;
	if (!many_needed && check_set(store, acme, names, now, ret_free, err) < 0)
		return -1;
	for (size_t i = 0; names[i]; i++)
		if (check_name(store, acme, names[i], now, ret_free, err) < 0)
			return -1;
	return 0;
}

int limits_issued(struct store *store, const struct hub_acme *acme, char *const *names, int64_t now, struct error *err)
{
	char key[KEY_MAX];
	record_key("set", acme, names, key);
	return note(store, acme, key, LIMITS_SET_SPAN, now, err);
}

int limits_failed(struct store *store, const struct hub_acme *acme, const char *name, int64_t now, struct error *err)
{
	char key[KEY_MAX];
	auto_free char *copy = mem_strdup(name);
	char *const alone[] = {copy, NULL};
	record_key("name", acme, alone, key);
	return note(store, acme, key, LIMITS_NAME_SPAN, now, err);
}
