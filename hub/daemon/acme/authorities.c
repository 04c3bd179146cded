#include "hub/daemon/acme/authorities.h"
#include "hub/common/certificate_at.h"

#include "lib/core/mem.h"

#include <stdio.h>
#include <string.h>

void authorities_init(struct authorities *a, const struct hub_certificate *certificate)
{
	*a = (struct authorities){.count = certificate->acme_count};
	for (size_t i = 0; i < a->count; i++)
		a->at[i] = certificate_at(certificate, i);
}

const struct hub_acme *authorities_chosen(const struct authorities *a)
{
	return a->at[a->chosen].acme;
}

size_t authorities_find(const struct authorities *a, const char *name)
{
	size_t i = 0;
	while (i < a->count && strcmp(a->at[i].acme->name, name) != 0)
		i++;
	return i;
}

void authorities_failed(struct authorities *a, enum authority_trouble trouble, int64_t retry_after, int64_t now)
{
	struct authority *chosen = &a->list[a->chosen];
	chosen->trouble = trouble;
	chosen->failures++;
	chosen->last_failure = now;
	chosen->retry_after = retry_after;
}

void authorities_held(struct authorities *a, int64_t until)
{
	a->list[a->chosen].trouble = AUTHORITY_LIMITS;
	a->list[a->chosen].held_until = until;
}

void authorities_issued(struct authorities *a)
{
	if (a->chosen == 0) {
		a->reason[0] = '\0';
		a->left = 0;
	}
	memset(a->list, 0, sizeof(a->list));
	a->chosen = 0;
}

bool authorities_choose(struct authorities *a, size_t begun, bool life_is_short, int64_t now, const char *why)
{
	size_t chosen = authority_choose(a->list, a->count, begun, life_is_short, now);
	if (chosen == a->chosen)
		return false;
	if (chosen > 0) {
		snprintf(a->reason, sizeof(a->reason), "%s is asked in place of %s: %.800s", a->at[chosen].acme->name,
			authorities_chosen(a)->name, why);
		text_clean(a->reason, 0); /* a cut may have gone through a character */
		a->left = now;
	}
	a->chosen = chosen;
	return true;
}

uint32_t authorities_failures(const struct authorities *a)
{
	uint32_t sum = 0;
	for (size_t i = 0; i < a->count; i++)
		sum += a->list[i].failures;
	return sum;
}

void authorities_encode(const struct authorities *a, cJSON *record)
{
	cJSON *list = cJSON_AddArrayToObject(record, "authorities");
	cJSON_AddNumberToObject(record, "left", (double)a->left);
	cJSON_AddStringToObject(record, "left_why", a->reason);
	for (size_t i = 0; i < a->count; i++) {
		const struct authority *one = &a->list[i];
		cJSON *o = cJSON_CreateObject();
		cJSON_AddStringToObject(o, "name", a->at[i].acme->name);
		cJSON_AddStringToObject(o, "trouble", authority_word(one->trouble));
		cJSON_AddNumberToObject(o, "failures", one->failures);
		cJSON_AddNumberToObject(o, "last_failure", (double)one->last_failure);
		cJSON_AddNumberToObject(o, "retry_after", (double)one->retry_after);
		cJSON_AddBoolToObject(o, "chosen", i == a->chosen);
		cJSON_AddItemToArray(list, o);
	}
}

static int decode_one(struct authorities *a, const cJSON *o, struct error *err)
{
	const char *name = json_string(o, "name", 256, err);
	const char *trouble = name ? json_string(o, "trouble", 16, err) : NULL;
	struct authority one = {0};
	bool chosen;
	if (!trouble || json_u32(o, "failures", &one.failures, err) < 0 ||
		json_i64(o, "last_failure", &one.last_failure, err) < 0 ||
		json_i64(o, "retry_after", &one.retry_after, err) < 0 || json_bool(o, "chosen", &chosen, err) < 0)
		return -1;
	size_t at = authorities_find(a, name);
	if (at == a->count)
		return 0;
	one.trouble = authority_trouble(trouble);
	a->list[at] = one;
	if (chosen)
		a->chosen = at;
	return 0;
}

int authorities_decode(struct authorities *a, const cJSON *record, struct error *err)
{
	const cJSON *list = json_array(record, "authorities", 64, err), *o;
	const char *reason = list ? json_string(record, "left_why", sizeof(a->reason) - 1, err) : NULL;
	if (!reason || json_i64(record, "left", &a->left, err) < 0)
		return -1;
	snprintf(a->reason, sizeof(a->reason), "%s", reason);
	cJSON_ArrayForEach (o, list) {
		if (decode_one(a, o, err) < 0)
			return -1;
	}
	return 0;
}
