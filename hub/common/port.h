/* Whether a port can be had that nobody listens at yet. */
#ifndef CERTSYNC_HUB_COMMON_PORT_H
#define CERTSYNC_HUB_COMMON_PORT_H

#include "lib/core/error.h"

#include <sys/types.h>

/* Listens at the address, "127.0.0.1:8403" or "[::1]:8403", for a moment, with the user's rights where this is root. Returns 0, or -1
 * with the reason. What the process itself or another one has there makes it fail, too. */
int port_try(const char *address, uid_t user, struct error *err);

#endif
