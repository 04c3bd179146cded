#include "lib/core/files.h"

#include <stdio.h>
#include <string.h>

int files_add(struct files *f, const char *name, const void *data, size_t len)
{
	if (f->count == FILES_MAX || len > FILES_FILE_MAX || strlen(name) >= FILES_NAME_MAX)
		return -1;
	snprintf(f->file[f->count].name, FILES_NAME_MAX, "%s", name);
	f->file[f->count].data = data;
	f->file[f->count].len = len;
	f->count++;
	return 0;
}

int files_find(const struct files *f, const char *name)
{
	for (size_t i = 0; i < f->count; i++)
		if (strcmp(f->file[i].name, name) == 0)
			return (int)i;
	return -1;
}

int files_encode(const struct files *f, struct buf *out)
{
	if (buf_put_string(out, f->label) < 0 || buf_put_u8(out, (uint8_t)f->count) < 0)
		return -1;
	for (size_t i = 0; i < f->count; i++)
		if (buf_put_string(out, f->file[i].name) < 0 || buf_put_bytes(out, f->file[i].data, f->file[i].len) < 0)
			return -1;
	return 0;
}

int files_decode(const uint8_t *data, size_t len, struct files *ret, struct error *err)
{
	struct reader r = READER(data, len);
	memset(ret, 0, sizeof(*ret));
	read_string(&r, ret->label, sizeof(ret->label));
	size_t count = read_u8(&r);
	if (count > FILES_MAX)
		r.failed = true;
	for (size_t i = 0; i < count && !r.failed; i++) {
		read_string(&r, ret->file[i].name, FILES_NAME_MAX);
		ret->file[i].data = read_bytes(&r, FILES_FILE_MAX, &ret->file[i].len);
		ret->count++;
	}
	if (!read_done(&r))
		return error_set(err, ERROR_PERMANENT, "files: not in the form of lib/core/files.h");
	return 0;
}
