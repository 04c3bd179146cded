/* Signed requests to an ACME server (RFC 8555 section 6): nonces and their retries, problem documents turned into
 * errors, and a check of the form of everything that the server says.
 */
#ifndef CERTSYNC_HUB_WORKER_ACME_CLIENT_H
#define CERTSYNC_HUB_WORKER_ACME_CLIENT_H

#include "hub/common/jws.h"
#include "hub/worker/http.h"
#include "lib/core/error.h"
#include "lib/wire/json.h"

#include <openssl/evp.h>
#include <stdbool.h>

struct talk;

enum {
	ACME_NONCE_TRIES = 20, /* with half of all nonces refused, one request in a million fails */
	ACME_PROBLEM_MAX = 64,
};

struct acme_client {
	struct http *http;
	struct talk *talk;    /* to who has requests signed; borrowed */
	EVP_PKEY *key;        /* the public half of the one that signs, the account's mostly; borrowed */
	const char *key_name; /* and what it is called there: talk_sign */
	char kid[URL_MAX];    /* the account's URL; empty: not known yet */
	char new_nonce[URL_MAX], new_account[URL_MAX], new_order[URL_MAX];
	char renewal_info[URL_MAX], key_change[URL_MAX], revoke_cert[URL_MAX]; /* empty: not offered */
	char terms[URL_MAX];                                                   /* of service; empty: there are none */
	cJSON *profiles;             /* owned: the directory's, by name; NULL: it has none */
	unsigned requests;           /* sent so far */
	bool wants_external_account; /* the server takes only accounts bound to one of its own */
	char nonce[HTTP_NONCE_MAX];  /* for the next request; empty: ask for one */

	/* of the last answer */
	struct http_response answer;
	char problem[ACME_PROBLEM_MAX]; /* the type behind "urn:ietf:params:acme:error:", else empty */
};

/* Reads the directory. */
int acme_client_open(struct acme_client *c, const char *directory, const char *ca_file, struct error *err);
void acme_client_release(struct acme_client *c);

/* Signs and sends; with `payload` NULL it is a POST-as-GET. Without a kid the public key stands in the request. The
 * body of the answer is c->answer.body. On -1 c->answer.status is 0 when there was no whole answer; `problem` and
 * answer.retry_after are what the server gave with its refusal. */
int acme_post(struct acme_client *c, const char *url, const char *payload, const char *accept, struct error *err);
/* Does the same for an answer that is one JSON object, which the caller owns. Returns NULL on failure. */
cJSON *acme_post_json(struct acme_client *c, const char *url, const char *payload, struct error *err);

/* Appends an object that is signed by another key than that of the requests, to be sent inside of a request. */
int acme_sign(struct acme_client *c, EVP_PKEY *key, const char *key_name, const struct jws_header *header,
	const char *payload, struct buf *out, struct error *err);

/* Returns the member's text if it is an https URL, else NULL with the reason. */
const char *acme_url(const cJSON *object, const char *key, struct error *err);
/* Returns the Location of the last answer likewise. */
const char *acme_location(const struct acme_client *c, struct error *err);

/* Fills `err` from a problem document (RFC 7807, with subproblems of RFC 8555 section 6.7.1), with "where" in front.
 * `problem` may be NULL or anything at all. Its type goes to ret_type (ACME_PROBLEM_MAX) unless that is NULL. Returns
 * -1. */
int acme_problem(const cJSON *problem, const char *where, char *ret_type, struct error *err);

/* Returns what a failure says of the authority, a word of hub/daemon/acme/authority.h: "refuses" for what it would
 * refuse again, "limits", "down" for no answer or a fault of its own, else "failed". `type` is that of its problem, ""
 * without one, and `status` that of its last answer, 0 when there was no whole one. */
const char *acme_trouble(const char *type, long status, const struct error *failure);

#endif
