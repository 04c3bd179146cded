#include "hub/daemon/record.h"
#include "lib/core/clock.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"

int record_put(struct store *s, const struct record *r, const cJSON *o, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(r->max);
	if (json_print(o, &text) < 0)
		return error_set(err, ERROR_PERMANENT, "the record %s/%s/%s is over %zu bytes", r->kind, r->name,
			r->file, r->max);
	return store_put(s, r->kind, r->name, r->file, text.data, text.len, err);
}

bool record_keep(struct store *s, const struct record *r, const cJSON *o)
{
	struct error err;
	if (record_put(s, r, o, &err) == 0)
		return true;
	log_event(LOG_LEVEL_ERROR, "store", "record=%s/%s/%s error=\"%s\"", r->kind, r->name, r->file, err.message);
	return false;
}

int record_get(struct store *s, const struct record *r, cJSON **ret, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(r->max);
	*ret = NULL;
	int found = store_get(s, r->kind, r->name, r->file, &text, err);
	if (found <= 0)
		return found;
	*ret = json_parse(text.data, text.len, err);
	return *ret ? 1 : -1;
}

int record_find(struct store *s, const struct record *r, cJSON **ret, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(r->max);
	struct error damaged;
	*ret = NULL;
	int found = store_get(s, r->kind, r->name, r->file, &text, err);
	if (found <= 0)
		return found;
	*ret = json_parse(text.data, text.len, &damaged);
	if (!*ret)
		record_damaged(s, r, &damaged);
	return *ret != NULL;
}

void record_mended(struct store *s, const struct record *r)
{
	if (store_drop_damage(s, r->kind, r->name, r->file))
		log_event(LOG_LEVEL_NOTICE, "store", "record=%s/%s/%s text=\"it can be read again, or is gone\"",
			r->kind, r->name, r->file);
}

void record_damaged(struct store *s, const struct record *r, const struct error *why)
{
	auto_free char *text = mem_printf("%s: %s", why->message, r->without);
	if (store_note_damage(s, r->kind, r->name, r->file, text, clock_wall()))
		log_event(LOG_LEVEL_ERROR, "store", "record=%s/%s/%s error=\"%s\" text=\"%s\"", r->kind, r->name,
			r->file, why->message, r->without);
}
