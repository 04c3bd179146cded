/* What the DNS says, asked of resolvers and of the authoritative servers themselves, one by one. These calls block, so
 * they are for workers.
 *
 * ldns does everything on the wire: it was made for asking one given server and shows the whole answer (response code,
 * authority bit, each section), follows truncation to TCP, and parses all of it. Names are given and returned absolute,
 * with the dot at their end.
 */
#ifndef CERTSYNC_HUB_WORKER_ACME_LOOKUP_H
#define CERTSYNC_HUB_WORKER_ACME_LOOKUP_H

#include "lib/core/error.h"

#include <ldns/ldns.h>
#include <stdbool.h>

enum {
	LOOKUP_NAME_MAX = 1024, /* with every byte escaped, and the NUL */
	LOOKUP_ADDRESS_MAX = 64,
	LOOKUP_RESOLVERS_MAX = 8,
	LOOKUP_SERVERS_MAX = 64,
	LOOKUP_TEXT_MAX = 160,
};

/* An authoritative server: one address of one of the zone's NS names; or a resolver that is asked in its place. */
struct lookup_server {
	char *name;
	char address[LOOKUP_ADDRESS_MAX]; /* empty: the name has none, or the resolver is the system's */
	bool is_resolver;
};

struct lookup_zone {
	char *apex;
	struct lookup_server *servers;
	size_t server_count; /* 1 at least */
};
void lookup_zone_release(struct lookup_zone *z);

/* What a server says of a TXT record with a value. */
enum lookup_view {
	LOOKUP_UNASKED,
	LOOKUP_SHOWN,  /* it is there */
	LOOKUP_ABSENT, /* an answer without it, an authority's or a resolver's: this is what a CA would believe */
	LOOKUP_SILENT, /* nothing that a resolver could use (no answer, SERVFAIL, REFUSED, not authoritative):
			  it asks another */
	LOOKUP_NO_WAY, /* it cannot be asked from here: no route to it */
};

/* `resolvers` are "address", "address:port" or "[address]:port", ended by NULL and borrowed as long as the other
 * functions are called; without any, those of /etc/resolv.conf are asked. */
struct lookup {
	const char *const *resolvers;
};

/* Finds where `name` leads by its CNAMEs, which is itself without one. */
int lookup_target(const struct lookup *l, const char *name, char ret[LOOKUP_NAME_MAX], struct error *err);
/* Finds the zone that holds `name`, with every address of every server. The caller releases it. */
int lookup_zone(const struct lookup *l, const char *name, struct lookup_zone *ret, struct error *err);

/* Puts the resolvers in the place of the zone's servers. */
void lookup_by_resolvers(const struct lookup *l, struct lookup_zone *z);

/* Finds the addresses of a host, IPv4 first and at most `max` of them, by whatever CNAMEs the resolver follows. Returns
 * 0 without any when the DNS has none. */
int lookup_addresses(const struct lookup *l, const char *name, char (*ret)[LOOKUP_ADDRESS_MAX], size_t max,
	size_t *ret_count, struct error *err);

/* Asks this server alone, without recursion unless it is a resolver. ret_text is what it said, for people. */
enum lookup_view lookup_txt(
	const struct lookup_server *server, const char *name, const char *value, char ret_text[LOOKUP_TEXT_MAX]);
/* Judges an answer that is here already in the same way. A resolver's need not be authoritative. */
enum lookup_view lookup_judge(const ldns_pkt *answer, bool of_resolver, const ldns_rdf *name, const char *value,
	char ret_text[LOOKUP_TEXT_MAX]);

#endif
