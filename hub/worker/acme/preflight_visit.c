#include "hub/worker/acme/preflight_visit.h"
#include "lib/core/text.h"

#include <stdarg.h>
#include <stdio.h>

void preflight_say(struct preflight_visit *v, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	vsnprintf(v->text, sizeof(v->text), fmt, args);
	va_end(args);
	text_clean(v->text, 0);
}
