#include "lib/config/faults.h"
#include "lib/core/error.h"
#include "lib/core/mem.h"
#include "lib/core/redact.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void config_faults_vadd(struct config_faults *f, int line, const char *fmt, va_list args)
{
	char text[ERROR_MESSAGE_MAX];
	vsnprintf(text, sizeof(text), fmt, args);
	size_t n = f->count;
	if (n == CONFIG_FAULTS_MAX) {
		f->more++;
		return;
	}
	auto_buf struct buf shown = BUF_INIT(REDACT_ROOM(sizeof(text)));
	redact(text, strlen(text), &shown);
	if ((n & (n - 1)) == 0)
		f->list = mem_grow(f->list, n ? 2 * n : 1, sizeof(*f->list));
	f->list[n] = (struct config_fault){.line = line, .order = n, .text = mem_strdup(buf_text(&shown))};
	text_clean(f->list[n].text, 0);
	f->count++;
}

void config_faults_add(struct config_faults *f, int line, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	config_faults_vadd(f, line, fmt, args);
	va_end(args);
}

static int fault_compare(const void *left, const void *right)
{
	const struct config_fault *a = left, *b = right;
	if (a->line != b->line)
		return a->line < b->line ? -1 : 1;
	return a->order < b->order ? -1 : a->order > b->order;
}

void config_faults_tell(struct config_faults *f, const char *path, struct buf *out)
{
	if (f->count)
		qsort(f->list, f->count, sizeof(*f->list), fault_compare);
	for (size_t i = 0; i < f->count; i++)
		if (buf_addf(out, "%s:%d: %s\n", path, f->list[i].line, f->list[i].text) < 0)
			return;
	if (f->more)
		buf_addf(out, "%s: and %zu more faults, which are told when these are mended\n", path, f->more);
}

void config_faults_release(struct config_faults *f)
{
	for (size_t i = 0; i < f->count; i++)
		free(f->list[i].text);
	free(f->list);
	*f = (struct config_faults){0};
}
