/* Names for which HAProxy has loaded more than one certificate. Of two that are served at one address it serves the one
 * that its configuration names first, until one of them is replaced over the runtime API: that one is the last then, and
 * the other is served (seen with 2.6, 3.0 and 3.2). A file that is loaded by its path and by an alias of a crt-store,
 * too, is two certificates, of which the runtime API replaces one. A reload sets both right. A file whose path has `..` in
 * it is never touched by the hook, and not judged here.
 */
#ifndef CERTSYNC_HOOKS_OVERLAP_H
#define CERTSYNC_HOOKS_OVERLAP_H

#include "lib/core/error.h"

#include <stdbool.h>

typedef bool overlap_is_ours(const char *file, const void *context);

/* Looks at the certificates of `listing` (runtime_files) and at the filters of crt-lists. Returns 0 when no name of one
 * of ours is also that of a certificate that is not, 1 when one is, and -1 when something could not be read; `err` says
 * which name, or what. */
int overlap_check(
	const char *socket_path, const char *listing, overlap_is_ours *is_ours, const void *context, struct error *err);

#endif
