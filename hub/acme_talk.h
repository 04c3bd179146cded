/* The worker's end of the dialogue that hub/acme.c specifies: blocking frames with the daemon on descriptors
 * 0 and 1. A daemon that goes away or says something else than it should is ERROR_PERMANENT: the worker ends.
 */
#ifndef CERTSYNC_HUB_ACME_TALK_H
#define CERTSYNC_HUB_ACME_TALK_H

#include "lib/chain.h"
#include "lib/error.h"
#include "lib/files.h"
#include "lib/frame.h"
#include "lib/json.h"

#include <stdbool.h>
#include <stdint.h>

enum { ACME_NAMES_MAX = 100, ACME_CONTACTS_MAX = 20 };

struct acme_job {
	cJSON *message; /* owned; the texts below are in it */
	const char *certificate, *directory, *key_type;
	const char *ca_file, *account_url, *order_url; /* NULL: none */
	const char *names[ACME_NAMES_MAX];
	size_t name_count;
	const char *contact[ACME_CONTACTS_MAX];
	size_t contact_count;
	bool agree_tos;
	EVP_PKEY *account_key; /* owned; NULL: none is kept yet */
	EVP_PKEY *key;         /* owned; of the stored order, NULL without one */
};

struct talk {
	struct frame_stream in;
	int out;
};

void talk_init(struct talk *t);
void talk_release(struct talk *t);
void acme_job_release(struct acme_job *j);

int talk_job(struct talk *t, struct acme_job *ret, struct error *err);
void talk_progress(struct talk *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Each returns 0 only when the daemon has it on disk (or serves it). */
/* Offers a new account key; what comes back in its place is the one that is kept, another if there was one.
 */
int talk_account_key(struct talk *t, EVP_PKEY **key, struct error *err);
int talk_account(struct talk *t, const char *url, struct error *err);
int talk_order(struct talk *t, const char *url, EVP_PKEY *key, struct error *err);
int talk_gone(struct talk *t, const char *reason, struct error *err);
int talk_challenge(struct talk *t, const char *token, const char *authorization, struct error *err);
/* The authorization of this name has failed: authorities count that. No answer is waited for. */
void talk_invalid(struct talk *t, const char *name);
/* The records of dns-01 that stand, or may, from now on; the array is the caller's. */
int talk_dns(struct talk *t, const cJSON *records, struct error *err);

/* For workers of other kinds: the one message that is due, owned, NULL with the reason; the files behind it (they borrow
 * from the stream); one message out, with its "event" in it. */
cJSON *talk_receive(struct talk *t, const char *event, struct error *err);
int talk_receive_files(struct talk *t, struct files *ret, struct error *err);
int talk_key(const struct files *files, const char *name, EVP_PKEY **ret, struct error *err); /* NULL: not among them */
int talk_send(struct talk *t, const cJSON *message, struct error *err);

/* The last word: one of these. */
int talk_issued(struct talk *t, const struct chain *chain, struct error *err);
void talk_failed(struct talk *t, const struct error *failure, int64_t retry_after);

/* Waits, and notices meanwhile when the daemon has gone. */
int talk_pause(struct talk *t, int64_t milliseconds, struct error *err);

#endif
