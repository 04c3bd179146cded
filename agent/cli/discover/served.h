/* What this node serves with TLS, seen from outside: each port at which one of the found services listens, with each
 * name that its configuration knows and with none, asked by a client that takes RSA keys alone and by one that takes
 * ECDSA keys alone; a server that has neither is asked by one that takes any.
 *
 * The configuration says which names to ask for and which protocol a port speaks; what is served is only ever what a
 * handshake has shown.
 */
#ifndef CERTSYNC_AGENT_CLI_DISCOVER_SERVED_H
#define CERTSYNC_AGENT_CLI_DISCOVER_SERVED_H

#include "agent/cli/discover/endpoints.h"
#include "agent/cli/services/present.h"

enum served_kind { SERVED_RSA, SERVED_ECDSA, SERVED_OTHER, SERVED_KINDS };
enum { SERVED_LOOKS_MAX = 20000 };

/* What one kind of client was shown. */
struct served_leaf {
	bool served;
	struct present present; /* of the one leaf; owned */
	char text[256];         /* why nothing is served */
};

struct served_look {
	const char *service; /* borrowed from what was found */
	char endpoint[ENDPOINT_TEXT_MAX];
	char *name;     /* owned; NULL: the client names none */
	bool explained; /* its configuration says that there is TLS */
	struct served_leaf by[SERVED_KINDS];
};

struct served {
	struct served_look *list;
	size_t count;
	size_t left_out; /* more than SERVED_LOOKS_MAX */
};

#define auto_served __attribute__((cleanup(served_release)))
void served_release(struct served *s);

/* Finds what is to be looked at. `names`, ended by NULL, are asked for everywhere. Ports whose protocol no
 * configuration says are asked for TLS at once and for the mail protocols; those that speak none of these are not in
 * the list. `timeout` is in seconds for each handshake. */
int served_find(struct found *found, const struct listening *l, const char *const *names, int64_t timeout,
	struct served *ret, struct error *err);
/* Adds one look, unless it is there, and returns it; NULL when there are too many. `name` is copied. */
struct served_look *served_add(struct served *s, const char *service, const char *endpoint, const char *name);
/* Copies what is to be looked at, and nothing of what was seen. */
void served_copy(const struct served *from, struct served *ret);

/* Looks at everything once, many at a time. */
int served_look_at(struct served *s, int64_t timeout, struct error *err);

bool served_same(const struct served_leaf *a, const struct served_leaf *b);
bool served_is(const struct served_leaf *leaf, const uint8_t fingerprint[CHAIN_SHA256_SIZE]);
/* Returns whether any kind of client is served. */
bool served_any(const struct served_look *look);

#endif
