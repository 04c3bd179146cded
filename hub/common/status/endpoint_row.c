#include "hub/common/status/endpoint_row.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <stdlib.h>

void endpoint_row_release(struct endpoint_row *row)
{
	check_found_release(&row->found);
	if (row->before)
		check_found_release(row->before);
	free(row->before);
	*row = (struct endpoint_row){0};
}

static cJSON *found_encode(const struct check_found *f)
{
	return check_encode(f->host, f->endpoint, &f->check);
}

cJSON *endpoint_row_encode(const struct endpoint_row *row)
{
	cJSON *o = found_encode(&row->found);
	cJSON_AddStringToObject(o, "name", row->name);
	cJSON_AddStringToObject(o, "certificate", row->certificate);
	cJSON_AddNumberToObject(o, "since", (double)row->since);
	cJSON_AddNumberToObject(o, "checked", (double)row->checked);
	if (row->before)
		cJSON_AddItemToObject(o, "before", found_encode(row->before));
	return o;
}

static int before_decode(const cJSON *o, struct endpoint_row *ret, struct error *err)
{
	const cJSON *before = json_get(o, "before");
	if (!before)
		return 0;
	ret->before = mem_alloc(sizeof(*ret->before));
	return check_decode(before, ret->before, err) < 0 ? error_wrap(err, "before") : 0;
}

static int row_decode(const cJSON *o, struct endpoint_row *ret, struct error *err)
{
	const char *name = json_string(o, "name", sizeof(ret->name) - 1, err);
	const char *certificate = name ? json_string(o, "certificate", sizeof(ret->certificate) - 1, err) : NULL;
	if (!certificate || json_i64(o, "since", &ret->since, err) < 0 ||
		json_i64(o, "checked", &ret->checked, err) < 0 || check_decode(o, &ret->found, err) < 0)
		return -1;
	snprintf(ret->name, sizeof(ret->name), "%s", name);
	snprintf(ret->certificate, sizeof(ret->certificate), "%s", certificate);
	return before_decode(o, ret, err);
}

int endpoint_row_decode(const cJSON *o, struct endpoint_row *ret, struct error *err)
{
	*ret = (struct endpoint_row){0};
	if (row_decode(o, ret, err) == 0)
		return 0;
	endpoint_row_release(ret);
	return -1;
}
