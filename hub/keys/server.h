/* The loop of certsync-keys: requests of the daemon on connections that it passes, of the root half, and files that operators bring.
 * It accepts and takes; it connects to nobody.
 */
#ifndef CERTSYNC_HUB_KEYS_SERVER_H
#define CERTSYNC_HUB_KEYS_SERVER_H

#include "lib/core/error.h"

struct server_fds {
	int root;      /* frames of the root half; -1: none */
	int daemon;    /* the daemon's connections come from here (lib/core/pass.h) */
	int operators; /* a listening socket; -1: none */
};

/* Serves until the root half's, or, without one, the daemon's socket has ended, or SIGTERM. -1 when it cannot begin. */
int server_run(const char *directory, const struct server_fds *fds, struct error *err);

#endif
