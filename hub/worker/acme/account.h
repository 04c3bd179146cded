/* The worker of kind "account": what is done to an account, and the revocation of a certificate (RFC 8555 sections
 * 7.3.2, 7.3.5, 7.3.6, 7.6). `>` marks what the daemon says, `<` what the worker says.
 *
 *   > job          op, directory, account_url, account_key, next_key where a change of keys was begun, and where there
 *   is
 *                  one ca_file; for upkeep: contact[] when it is to be set; for revoke: reason (a number), leaf_key.
 *                  Keys are public halves
 *   > FILES "files"  for revoke: fullchain.pem < sign         key ("account", "next", "leaf"), input: a request to the
 *   authority (hub/common/jws.h)
 *     > signed     signature, or error: why there is none
 *   < done         key: "account" or "next", the one that was seen to be the account's < failed       text, retry_after
 *   (seconds; 0: not said)
 *
 * The op is one of these:
 *
 *   upkeep      finds out which key is the account's, and sets the contact rollover    makes next_key the account's; it
 *   succeeds when that has been done already deactivate  ends the account for good revoke      by the account's key or,
 *   where the server says that this account may not, by the certificate's own
 */
#ifndef CERTSYNC_HUB_WORKER_ACME_ACCOUNT_H
#define CERTSYNC_HUB_WORKER_ACME_ACCOUNT_H

int acme_account_worker(void); /* the exit code */

#endif
