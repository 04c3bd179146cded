/* The reasons for which a subscriber may have a certificate revoked by its authority, as RFC 5280 section 5.3.1 calls
 * them.
 */
#ifndef CERTSYNC_HUB_COMMON_REVOCATION_H
#define CERTSYNC_HUB_COMMON_REVOCATION_H

enum { REVOKED_REASON_MAX = 32, REVOKED_CODE_NONE = -1 };

/* Returns the code of a reason, or REVOKED_CODE_NONE for one that may not be given. */
int revoked_code(const char *reason);
/* All reasons for the help: "unspecified, keyCompromise, …". */
extern const char revoked_reasons[];

#endif
