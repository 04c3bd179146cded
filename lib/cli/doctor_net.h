/* Addresses of names, and of this node.
 */
#ifndef CERTSYNC_DOCTOR_NET_H
#define CERTSYNC_DOCTOR_NET_H

#include "lib/core/error.h"

#include <stdbool.h>

/* What the system's resolver says, within a deadline: each address once, a blank between (owned); "" when there is
 * none or nobody answers. NULL: over the deadline. */
char *doctor_addresses(const char *name, struct error *err);

bool doctor_is_ours(const char *address);

#endif
