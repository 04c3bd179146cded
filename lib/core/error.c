#include "lib/core/error.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

__attribute__((format(printf, 2, 0))) static void error_format(struct error *err, const char *fmt, va_list args)
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

/* Being denied (EACCES, EPERM) is not permanent: a person mends a label of SELinux, a firewall's rule or a mode, and a
 * file that cannot be read now is neither gone nor damaged. */
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
