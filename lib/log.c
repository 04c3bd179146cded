#include "lib/log.h"
#include "lib/clock.h"
#include "lib/error.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *log_program = "certsync";
static bool log_journal;

void log_open(const char *program)
{
	log_program = program;
	log_journal = getenv("JOURNAL_STREAM") != NULL;
}

void log_event(enum log_level level, const char *event, const char *fmt, ...)
{
	char text[2048];
	char when[CLOCK_TEXT_MAX];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	text_clean(text, 0);
	/* One write, so that the lines of several processes on one descriptor stay whole. */
	char line[2304];
	int len;
	if (log_journal)
		len = snprintf(line, sizeof(line), "<%d>program=%s event=%s %s\n", level, log_program, event, text);
	else
		len = snprintf(line, sizeof(line), "%s program=%s event=%s %s\n", clock_text(clock_wall(), when),
			log_program, event, text);
	if (len > 0) {
		ssize_t ignored = write(STDERR_FILENO, line, (size_t)len < sizeof(line) ? (size_t)len : sizeof(line) - 1);
		(void)ignored;
	}
}
