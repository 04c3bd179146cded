/* A revision's certificates while agents fetch it, in the form in which certsync-keys is asked to seal them to each
 * agent. They are read and decoded once, not once for each agent, and kept until nobody has asked for them for
 * BUNDLE_CACHE_SECONDS.
 */
#ifndef CERTSYNC_HUB_DAEMON_ROLLOUT_BUNDLE_CACHE_H
#define CERTSYNC_HUB_DAEMON_ROLLOUT_BUNDLE_CACHE_H

#include "hub/daemon/hub.h"
#include "lib/crypto/bundle.h"

enum { BUNDLE_CACHE_SECONDS = 10 };

struct bundle_cache;

struct bundle_cache *bundle_cache_new(struct hub *hub); /* empty; owned */
void bundle_cache_free(struct bundle_cache *p);         /* NULL is allowed */

/* Appends the bundle of this revision for one recipient, with the flags that it was published with and `more`. */
int bundle_cache_seal(struct bundle_cache *p, const char *certificate, struct revision revision, uint16_t more,
	const uint8_t recipient[SEAL_KEY_SIZE], struct buf *out, struct error *err);

#endif
