/* Why a certificate is revoked: the reasons that a subscriber may give to its authority, as RFC 5280 section 5.3.1
 * calls them.
 */
#ifndef CERTSYNC_HUB_COMMON_REVOCATION_H
#define CERTSYNC_HUB_COMMON_REVOCATION_H

enum { REVOKED_REASON_MAX = 32, REVOKED_CODE_NONE = -1 };

/* The code of a reason; REVOKED_CODE_NONE: it is none that may be given. */
int revoked_code(const char *reason);
/* All of them, for help: "unspecified, keyCompromise, …". */
extern const char revoked_reasons[];

#endif
