#include "lib/crypto/revision.h"

#include <stdio.h>
#include <string.h>

int revision_compare(struct revision a, struct revision b)
{
	if (a.epoch != b.epoch)
		return a.epoch < b.epoch ? -1 : 1;
	if (a.number != b.number)
		return a.number < b.number ? -1 : 1;
	return 0;
}

bool revision_is_placeholder(struct revision r)
{
	return r.epoch == 0 && r.number == 0;
}

const char *revision_text(struct revision r, char text[REVISION_TEXT_MAX])
{
	snprintf(text, REVISION_TEXT_MAX, "%u.%u", r.epoch, r.number);
	return text;
}

static const char *parse_part(const char *p, uint32_t *ret)
{
	uint64_t value = 0;
	const char *start = p;
	while (*p >= '0' && *p <= '9' && value <= REVISION_PART_MAX)
		value = value * 10 + (uint64_t)(*p++ - '0');
	if (p == start || value > REVISION_PART_MAX || (*start == '0' && p != start + 1))
		return NULL;
	*ret = (uint32_t)value;
	return p;
}

bool revision_parse(const char *text, struct revision *ret)
{
	struct revision r;
	const char *p = parse_part(text, &r.epoch);
	if (!p || *p != '.')
		return false;
	p = parse_part(p + 1, &r.number);
	if (!p || *p)
		return false;
	*ret = r;
	return true;
}
