/* The addresses of names, and of this node. */
#ifndef CERTSYNC_LIB_CLI_DOCTOR_NET_H
#define CERTSYNC_LIB_CLI_DOCTOR_NET_H

#include "lib/core/error.h"

#include <stdbool.h>

/* Returns what the system's resolver says within a deadline: each address once, with a blank between, and "" when there
 * is none or nobody answers; the caller frees it. Returns NULL when the deadline has passed. */
char *doctor_addresses(const char *name, struct error *err);

bool doctor_is_ours(const char *address);

#endif
