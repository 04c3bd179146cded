/* What the parts of the ACME client share: one job under way. See hub/worker/acme/acme.c. */
#ifndef CERTSYNC_HUB_WORKER_ACME_FLOW_H
#define CERTSYNC_HUB_WORKER_ACME_FLOW_H

#include "hub/worker/acme/client.h"
#include "hub/worker/talk.h"

struct acme {
	struct talk talk;
	struct acme_job job;
	struct acme_client client;
	struct acme_pair *pair; /* the one that is being ordered */
	size_t pair_number;
	char order_url[URL_MAX];        /* empty: there is no order */
	cJSON *order;                   /* owned: the order as it was last seen */
	int64_t deadline;               /* monotonic, milliseconds */
	bool resumed;                   /* the order is from an earlier run */
	struct acme_dns *dns;           /* owned; see hub/worker/acme/dns.h */
	char problem[ACME_PROBLEM_MAX]; /* the type of what an order or authorization ended with; empty: none */
	bool overdue;                   /* set with an error: the server is not done in time */
	bool gone;                      /* set with an error: this order will not come to a certificate any more */
};

/* Waits before asking again: as long as the last answer said, or else a moment that grows with `tries`. ERROR_RETRY
 * says that this would pass the deadline; the order stays and is resumed. `what` is what is waited for. */
int acme_wait(struct acme *a, unsigned tries, const char *what, struct error *err);

/* Takes over the order as the server has told it just now. Returns -1 for NULL, when the server has told none. */
int acme_take_order(struct acme *a, cJSON *order);
/* Asks for a->order anew. */
int acme_refresh(struct acme *a, struct error *err);

/* hub/worker/acme/register.c: gets the account that is kept, or a new one. */
int acme_account(struct acme *a, struct error *err);
/* Makes the account, or finds the one that this key has already. */
int acme_register(struct acme *a, struct error *err);

/* hub/worker/acme/order.c: follows the order of a->pair, from its beginning or wherever it is, to talk_issued. */
int acme_order(struct acme *a, struct error *err);

/* hub/worker/acme/certificate.c: gets the certificate of a->order, judges it and hands it over. */
int acme_download(struct acme *a, struct error *err);

/* hub/worker/acme/authorize.c. Brings every authorization of a->order to `valid`, answering http-01 or dns-01
 * challenges; a->order is as it was last seen then. */
int acme_authorize(struct acme *a, struct error *err);

#endif
