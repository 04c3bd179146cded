/* Where a service that runs is reached: each of its listening sockets, at each address of this node on which it
 * answers. A socket that the configuration explains has the protocol that it says; of any other only the port is known.
 */
#ifndef CERTSYNC_AGENT_CLI_DISCOVER_ENDPOINTS_H
#define CERTSYNC_AGENT_CLI_DISCOVER_ENDPOINTS_H

#include "agent/cli/services/found.h"
#include "agent/cli/services/listening.h"
#include "lib/probe/endpoint.h"

/* Returns an endpoint as in agent.conf, with the protocol only where the port does not say it. The caller frees it. */
char *found_endpoint(const char *address, const struct found_port *p);

/* Reads who listens, and believes each service's own user. */
void found_listening(const struct found *f, struct listening *ret);

struct endpoint_found {
	char text[ENDPOINT_TEXT_MAX];
	bool explained; /* by its configuration */
};

struct endpoints_found {
	struct endpoint_found *list; /* owned */
	size_t count;
};

/* Finds the endpoints of one service. ret->list is for the caller to free. */
void endpoints_find(const struct found_service *s, const struct listening *l, struct endpoints_found *ret);

#endif
