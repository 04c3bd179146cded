/* The worker's end of the dialogue that hub/worker/acme/acme.c specifies: blocking frames with the daemon on
 * descriptors 0 and 1. A daemon that goes away, or says something else than it should, is ERROR_PERMANENT, and the
 * worker ends.
 */
#ifndef CERTSYNC_HUB_WORKER_TALK_H
#define CERTSYNC_HUB_WORKER_TALK_H

#include "hub/common/jws.h"
#include "hub/common/worker_jobs.h"
#include "lib/crypto/chain.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/frame.h"
#include "lib/wire/json.h"

#include <stdbool.h>
#include <stdint.h>

enum { ACME_NAMES_MAX = 100, ACME_CONTACTS_MAX = 20 };

struct acme_pair {
	const char *key_type;
	const char *order_url, *replaces; /* NULL: none */
	EVP_PKEY *key;                    /* the public half; owned; of the order, NULL without one */
};

struct acme_job {
	cJSON *message; /* owned; the texts below are in it */
	const char *certificate, *directory;
	const char *ca_file, *account_url;               /* NULL: none */
	const char *profile, *preferred_chain, *anchors; /* likewise */
	const char *eab_kid;                             /* likewise */
	struct acme_pair pairs[ACME_PAIRS_MAX];
	size_t pair_count;   /* 1 at least */
	struct buf eab_hmac; /* with eab_kid: the key, as the file has it */
	bool next_key;       /* make the keys of the next orders ahead */
	const char *names[ACME_NAMES_MAX];
	size_t name_count;
	const char *contact[ACME_CONTACTS_MAX];
	size_t contact_count;
	bool agree_tos;
	bool tls_alpn;         /* names are proven by tls-alpn-01 */
	EVP_PKEY *account_key; /* the public half; owned; NULL: there is none yet */
};

struct talk {
	struct frame_stream in;
	int out;
};

void talk_init(struct talk *t);
void talk_release(struct talk *t);
void acme_job_release(struct acme_job *j);

int talk_job(struct talk *t, struct acme_job *ret, struct error *err);
/* Tells something that a person should know, though the order goes on. */
void talk_warning(struct talk *t, const char *text);
void talk_progress(struct talk *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Each of these returns 0 only when the daemon has it on disk, or serves it. */
/* Gets the public half of the account's key, which is made now unless another order has been quicker. */
int talk_account_key(struct talk *t, EVP_PKEY **key, struct error *err);
int talk_account(struct talk *t, const char *url, struct error *err);
/* Gets the public half of the key that a new order is to have from now on. The caller owns it, in place of what was
 * there. */
int talk_new_key(struct talk *t, size_t pair, EVP_PKEY **key, struct error *err);
int talk_order(struct talk *t, size_t pair, const char *url, struct error *err);
int talk_gone(struct talk *t, size_t pair, const char *reason, struct error *err);
int talk_next_key(struct talk *t, size_t pair, struct error *err);
int talk_issued(struct talk *t, size_t pair, const struct chain *chain, struct error *err);
int talk_challenge(struct talk *t, const char *name, const char *token, const char *authorization, struct error *err);
/* Tells that the authorization of this name has failed, since authorities count that. No answer is waited for. */
void talk_invalid(struct talk *t, const char *name);
/* Tells which records of dns-01 exist, or may, from now on; the array stays the caller's. */
int talk_dns(struct talk *t, const cJSON *records, struct error *err);

/* Appends the signing request, in DER, for a pair's key and the job's names. */
int talk_csr(struct talk *t, size_t pair, struct buf *out, struct error *err);
/* Gets the signature of jws_input's text by one of the job's keys, which `key` names: "account", "next" or "leaf". */
int talk_sign(struct talk *t, const char *key, struct buf *input, uint8_t ret[JWS_SIGNATURE_SIZE], struct error *err);

/* These are for workers of other kinds. They receive the one message that is due (owned; NULL with the reason), receive
 * the files behind it, which borrow from the stream, and send one message that has its "event" in it. */
cJSON *talk_receive(struct talk *t, const char *event, struct error *err);
int talk_receive_files(struct talk *t, struct files *ret, struct error *err);
/* Takes a public key (base64url of its SubjectPublicKeyInfo) that a message has as `member`. The caller owns it; *ret
 * is NULL when the message has none. */
int talk_key(const cJSON *message, const char *member, EVP_PKEY **ret, struct error *err);
int talk_send(struct talk *t, const cJSON *message, struct error *err);

/* The last word is one of these. */
int talk_done(struct talk *t, struct error *err);
void talk_failed(struct talk *t, const struct error *failure, int64_t retry_after, const char *trouble);

/* Waits, and notices meanwhile when the daemon is gone. */
int talk_pause(struct talk *t, int64_t milliseconds, struct error *err);

#endif
