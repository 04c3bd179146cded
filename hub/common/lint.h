/* Settings that a certificate's lifetime cannot afford, and what its authority would refuse. This does no I/O.
 *
 * Between the moment when a certificate is renewed and its end lies a third of its life (half for lives under ten days,
 * or renew_before). Whatever may pass between an order and its being served has to fit in there, retries after failures
 * included.
 */
#ifndef CERTSYNC_HUB_COMMON_LINT_H
#define CERTSYNC_HUB_COMMON_LINT_H

#include "hub/common/config.h"

enum { LINT_FAULTS_MAX = 8, LINT_TEXT_MAX = 320 };

struct lint_fault {
	const char *key;          /* of the configuration, in the certificate's section or above it */
	char text[LINT_TEXT_MAX]; /* begins with the key */
};

/* Returns how many faults there are. `lifetime` is in seconds. */
size_t lint_lifetime(const struct hub_certificate *c, int64_t scan_interval, int64_t lifetime,
	struct lint_fault ret[LINT_FAULTS_MAX]);

/* Returns how long before its end a certificate of this lifetime is renewed, where nothing else says when; `configured` is
 * its renew_before. Both are in seconds. */
int64_t lint_renew_before(int64_t lifetime, int64_t configured);

/* Returns the lifetime that a profile is known for, or 0 when it depends on the authority. */
int64_t lint_profile_lifetime(const char *profile);

/* Returns whether the certificate, which has `acme`, has more names than can be ordered in one: than certsync orders,
 * or than its authority is known to take by its profile, where `limits` of the acme section does not leave that to the
 * authority. An authority that is not known here has no such limit. */
bool lint_names(const struct hub_certificate *c, struct lint_fault *ret);

#endif
