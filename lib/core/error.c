#include "lib/core/error.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Length of the valid UTF-8 sequence at p (RFC 3629: no overlong form, no surrogate), or 0. */
static size_t utf8_length(const unsigned char *p)
{
	static const struct {
		unsigned char first_low, first_high, second_low, second_high, length;
	} forms[] = {
		{0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
		{0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
		{0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
	};
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		if (p[0] < forms[i].first_low || p[0] > forms[i].first_high)
			continue;
		if (p[1] < forms[i].second_low || p[1] > forms[i].second_high)
			return 0;
		for (size_t k = 2; k < forms[i].length; k++)
			if ((p[k] & 0xc0) != 0x80)
				return 0;
		return forms[i].length;
	}
	return 0;
}

void text_clean(char *text, int lines)
{
	unsigned char *p = (unsigned char *)text;
	while (*p) {
		if (*p >= 0x20 && *p < 0x7f) {
			p++;
			continue;
		}
		size_t length = *p >= 0x80 ? utf8_length(p) : 0;
		/* U+0080..U+009F are control characters too (terminals obey them). */
		if (length == 2 && p[0] == 0xc2 && p[1] < 0xa0)
			length = 0;
		if (length) {
			p += length;
			continue;
		}
		if (*p == '\n' || *p == '\t' || *p == '\r')
			*p = lines && *p != '\r' ? *p : ' ';
		else
			*p = '?';
		p++;
	}
}

static void error_format(struct error *err, const char *fmt, va_list args)
{
	vsnprintf(err->message, sizeof(err->message), fmt, args);
	text_clean(err->message, 0);
}

int error_set(struct error *err, enum error_kind kind, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	error_format(err, fmt, args);
	va_end(args);
	err->kind = kind;
	return -1;
}

/* Being denied (EACCES, EPERM) is not: a label of SELinux, a firewall's rule or a mode is mended by a person, and what is not to be
 * read now is neither gone nor damaged. */
static bool errno_is_permanent(int code)
{
	switch (code) {
	case ENOENT:
	case ENOTDIR:
	case EISDIR:
	case ELOOP:
	case ENAMETOOLONG:
	case EINVAL:
		return true;
	default:
		return false;
	}
}

int error_errno(struct error *err, const char *fmt, ...)
{
	int code = errno;
	va_list args;
	va_start(args, fmt);
	error_format(err, fmt, args);
	va_end(args);
	size_t used = strlen(err->message);
	snprintf(err->message + used, sizeof(err->message) - used, ": %s", strerror(code));
	err->kind = errno_is_permanent(code) ? ERROR_PERMANENT : ERROR_RETRY;
	return -1;
}

int error_wrap(struct error *err, const char *fmt, ...)
{
	struct error inner = *err;
	va_list args;
	va_start(args, fmt);
	error_format(err, fmt, args);
	va_end(args);
	size_t used = strlen(err->message);
	snprintf(err->message + used, sizeof(err->message) - used, ": %s", inner.message);
	err->kind = inner.kind;
	return -1;
}
