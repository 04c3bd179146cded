/* Accounts at authorities: their contact and their keys, and what only an account may do.
 *
 * The records in the store are of kind "acme" in the NAME of the acme section: account.pub (account_key.h),
 * account.json (see order.h), contact.json (what the authority was told last); and of kind "acme-next": account.pub,
 * the key that is to be the next one. That key is there before the authority hears of it and stays until one of the two
 * was seen to be the account's, so that no lost answer, and no kill, loses an account.
 */
#ifndef CERTSYNC_HUB_DAEMON_ACME_ACCOUNT_H
#define CERTSYNC_HUB_DAEMON_ACME_ACCOUNT_H

#include "hub/daemon/hub.h"

struct account; /* something that is being done to one */

/* Kind ERROR_NONE says that it is done. The object is gone after the call. */
typedef void account_done(const struct error *err, void *context);

/* Returns whether something is being done to the account, so that its key may be about to change, or to go. No order
 * begins meanwhile. */
bool account_is_busy(const struct hub *hub, const struct hub_acme *acme);

/* Returns whether a change of keys is unsettled, or the configuration has another contact than the authority was
 * told. */
bool account_needs_upkeep(struct hub *hub, const struct hub_acme *acme);
struct account *account_upkeep(
	struct hub *hub, const struct hub_acme *acme, account_done *done, void *context, struct error *err);

/* Returns NULL with the reason when it cannot begin; ERROR_USAGE where there is no account yet. So do the next two. The
 * caller has seen to it that no order is under way by the account (renewal_check_idle). */
struct account *account_rollover(
	struct hub *hub, const struct hub_acme *acme, account_done *done, void *context, struct error *err);
struct account *account_deactivate(
	struct hub *hub, const struct hub_acme *acme, account_done *done, void *context, struct error *err);
/* Revokes every pair of a revision at its authority. `reason` is one of hub/common/revocation.h's. When it is done it
 * is noted, and a current certificate is replaced at once. */
struct account *account_revoke(struct hub *hub, const struct hub_certificate *certificate, struct revision revision,
	const char *reason, account_done *done, void *context, struct error *err);

void account_cancel(struct account *a); /* kills the worker; no callback; NULL is allowed */
void account_close(struct hub *hub);    /* all of them */

/* What is known here, for `account show`. */
struct account_facts {
	char url[2048];      /* "": there is none yet */
	char thumbprint[64]; /* "": no key yet */
	char contact[1024];  /* what the authority was told, with commas */
	bool unsettled;      /* a change of keys was begun, and its outcome is not known */
};
void account_facts(struct hub *hub, const struct hub_acme *acme, struct account_facts *ret);

#endif
