/* The authorities of one certificate: the certificate as each of them is asked for it, what became of the tries so far,
 * and which one's turn it is (authority.h decides). A part of the renewal's record in the store.
 */
#ifndef CERTSYNC_HUB_DAEMON_ACME_AUTHORITIES_H
#define CERTSYNC_HUB_DAEMON_ACME_AUTHORITIES_H

#include "hub/common/config.h"
#include "hub/daemon/acme/authority.h"
#include "lib/wire/json.h"

struct authorities {
	struct hub_certificate at[HUB_AUTHORITIES_MAX]; /* what they have is the configuration's */
	struct authority list[HUB_AUTHORITIES_MAX];
	size_t count;
	size_t chosen;                  /* its turn it is */
	char reason[ERROR_MESSAGE_MAX]; /* which one was asked last in place of which, and why; "" none was since the
					 * first has issued */
	int64_t left;                   /* when that began; 0 never */
};

void authorities_init(struct authorities *a, const struct hub_certificate *certificate);
const struct hub_acme *authorities_chosen(const struct authorities *a);
/* Returns the number of the one with this name, or `count`. */
size_t authorities_find(const struct authorities *a, const char *name);

/* Note what became of a try at the chosen one, or why there was none. */
void authorities_failed(struct authorities *a, enum authority_trouble trouble, int64_t retry_after, int64_t now);
void authorities_held(struct authorities *a, int64_t until);
/* It has issued: the next renewal begins with the first one. */
void authorities_issued(struct authorities *a);

/* Returns whether it is another one's turn now; then `reason` says which, and why. `begun` is the number of the
 * one that has an order under way, or `count`. */
bool authorities_choose(struct authorities *a, size_t begun, bool life_is_short, int64_t now, const char *why);

uint32_t authorities_failures(const struct authorities *a); /* of all */

/* Adds "authorities", "left" and "left_why" to a record, and reads them. What a record has of an authority that is no
 * longer named is passed over. How long limits hold one is not kept: they are asked after each start, by what hub.conf
 * says of them then. */
void authorities_encode(const struct authorities *a, cJSON *record);
int authorities_decode(struct authorities *a, const cJSON *record, struct error *err);

#endif
