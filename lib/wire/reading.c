#include "lib/wire/reading.h"
#include "lib/core/text.h"

#include <stdarg.h>
#include <stdio.h>

void reading_begin(struct reading *r)
{
	r->number = 0;
}

bool reading_answered(struct reading *r, uint32_t number, const char *refused)
{
	const bool at_start = r->told == 0, news = number != r->told;
	r->told = number;
	r->refused[0] = '\0';
	if (!at_start && !(news && refused))
		return true;
	if (refused)
		reading_refuse(r, "%s", refused);
	reading_end(r);
	return false;
}

void reading_refuse(struct reading *r, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	vsnprintf(r->refused, sizeof(r->refused), fmt, args);
	va_end(args);
	text_clean(r->refused, 0);
}

void reading_end(struct reading *r)
{
	r->number = r->told;
}

void reading_put(const struct reading *r, cJSON *answer)
{
	cJSON_AddNumberToObject(answer, "reading", r->number);
	cJSON_AddStringToObject(answer, "refused", r->refused);
}

int reading_get(const cJSON *answer, struct reading *ret, struct error *err)
{
	struct reading r = {0};
	const char *refused = json_string(answer, "refused", sizeof(r.refused) - 1, err);
	if (!refused || json_u32(answer, "reading", &r.number, err) < 0)
		return -1;
	snprintf(r.refused, sizeof(r.refused), "%s", refused);
	*ret = r;
	return 0;
}
