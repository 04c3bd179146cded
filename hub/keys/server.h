/* The loop of certsync-keys. It serves the daemon's requests, on connections that the daemon passes, the root half's
 * requests, and files that operators bring. It accepts and receives, and connects to nobody.
 */
#ifndef CERTSYNC_HUB_KEYS_SERVER_H
#define CERTSYNC_HUB_KEYS_SERVER_H

#include "lib/core/error.h"

struct server_fds {
	int root;      /* frames of the root half; -1: none */
	int daemon;    /* the daemon's connections come from here (lib/core/pass.h) */
	int operators; /* a listening socket; -1: none */
};

/* Serves until the socket of the root half (or of the daemon, without a root half) has ended, or SIGTERM comes. Returns
 * -1 when it cannot begin. */
int server_run(const char *directory, const struct server_fds *fds, struct error *err);

#endif
