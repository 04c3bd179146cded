/* Errors that gain context on their way up.
 *
 * A function that can fail returns 0 or -1 (or a pointer or NULL) and on failure fills the caller's `struct
 * error`, which is never NULL. Whoever passes it on may wrap it with where and why. Library code never logs
 * an error: the caller who decides what becomes of it does, once. Texts never contain key material.
 */
#ifndef CERTSYNC_LIB_CORE_ERROR_H
#define CERTSYNC_LIB_CORE_ERROR_H

#include "lib/core/text.h"

#include <stdarg.h>

/* A kind exists only where code branches on it. */
enum error_kind {
	ERROR_NONE = 0,
	ERROR_RETRY,     /* may go away by itself: network, resource, timeout */
	ERROR_PERMANENT, /* the same call will fail in the same way again */
	ERROR_UNTRUSTED, /* a check of identity or of a certificate said no */
	ERROR_USAGE,     /* the operator's input or configuration is wrong */
};

enum { ERROR_MESSAGE_MAX = 1024 };

struct error {
	enum error_kind kind;
	char message[ERROR_MESSAGE_MAX]; /* one line, printable, cut at the end if too long */
};

/* Sets kind and message. Bytes outside printable UTF-8 become '?', so texts of peers can be passed in as they are.
 * Always returns -1, so that callers can write `return error_set(…)`. */
int error_set(struct error *err, enum error_kind kind, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Does what error_set does, and appends ": " and the text of errno. The kind follows from errno: ENOENT, ENOTDIR and
 * their like are permanent, everything else is worth a retry. */
int error_errno(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Puts "context: " in front of the message and keeps the kind. Always returns -1. */
int error_wrap(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
