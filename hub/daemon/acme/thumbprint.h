/* The thumbprint of an ACME account's key (RFC 8555 section 8.1), which answers http-01 without any state. */
#ifndef CERTSYNC_HUB_DAEMON_ACME_THUMBPRINT_H
#define CERTSYNC_HUB_DAEMON_ACME_THUMBPRINT_H

#include "hub/common/config.h"
#include "hub/common/jws.h"
#include "hub/daemon/store.h"

struct thumbprint {
	const char *account; /* borrowed from the configuration */
	char text[JWS_THUMBPRINT_MAX];
};

/* `account` is the title of an acme section, or NULL for the only one. ERROR_USAGE with what to do says that there is
 * no such section, more than one, or no account yet. */
int thumbprint_find(const struct hub_config *config, struct store *store, const char *account, struct thumbprint *ret,
	struct error *err);

/* Gets that of the account whose key the store has. Returns 1, 0 when there is none, or -1. */
int thumbprint_get(struct store *store, const char *account, char ret[JWS_THUMBPRINT_MAX], struct error *err);

#endif
