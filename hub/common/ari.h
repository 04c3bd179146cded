/* When an authority wants its certificates to be renewed (ARI, RFC 9773). This does no I/O: certificates, answers, a
 * clock and random numbers go in, moments come out.
 *
 * The store keeps what is known of a certificate as a record of kind "renewals", in NAME/ari.json.
 */
#ifndef CERTSYNC_HUB_COMMON_ARI_H
#define CERTSYNC_HUB_COMMON_ARI_H

#include "lib/core/buf.h"
#include "lib/wire/json.h"
#include "lib/core/error.h"

#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	ARI_ID_MAX = 256, /* both halves are bounded: 20 octets of serial, a key identifier of 64 */
	ARI_URL_MAX = 512,
	ARI_ASK_DEFAULT = 6 * 3600, /* seconds between two questions, where the server does not say */
	ARI_ASK_MIN = 60,
	ARI_ASK_MAX = 24 * 3600,
};

/* Makes base64url(key identifier of the issuer) "." base64url(serial number). Returns -1 for a certificate without an
 * authority key identifier, which has no such name. */
int ari_id(const X509 *leaf, char ret[ARI_ID_MAX], struct error *err);

struct ari_window {
	int64_t start, end;
	char explanation[ARI_URL_MAX]; /* URL of a page for people; empty: none, or none that may be shown */
};

/* Parses the body of an answer (RFC 9773 section 4.2). Dates are those of RFC 3339, to the second, between 1970 and
 * 9999. */
int ari_parse(const void *body, size_t len, struct ari_window *ret, struct error *err);

/* Parses a date of RFC 3339. Returns false when it is none. */
bool ari_date(const char *text, int64_t *ret);

/* Returns 0 when a window can be followed: it does not end before it starts, nor in the last tenth of the certificate's
 * life (what came of it could be too late), is not longer than half of that life, and does not begin a whole life
 * before it. A window in the past can be followed, and means now. Otherwise returns -1; the reason is a sentence for
 * `status`, and the rule of thirds applies instead. */
int ari_judge(const struct ari_window *w, int64_t not_before, int64_t not_after, struct error *err);

/* Draws a moment in the window; each is as likely. */
int64_t ari_draw(const struct ari_window *w, uint64_t random);

/* Returns the seconds until the authority is asked again: what the server said (0 when it said nothing), within
 * bounds. */
int64_t ari_ask_after(int64_t retry_after);

/* What is known of one certificate, as it is kept. */
struct ari_record {
	char leaf[65];                   /* the certificate's fingerprint in hex: of another one nothing is known yet */
	char id[ARI_ID_MAX];             /* "": not asked yet, or it has none */
	struct ari_window window;        /* 0, 0: the server has not given one */
	int64_t moment;                  /* drawn from the window; 0: the rule of thirds holds */
	int64_t next;                    /* when it is asked again */
	uint32_t failures;               /* of asking, in a row */
	char trouble[ERROR_MESSAGE_MAX]; /* why there is no moment, or why the last question came to nothing
					  */
};

cJSON *ari_encode(const struct ari_record *r); /* the caller's */
int ari_decode(const cJSON *o, struct ari_record *ret, struct error *err);

/* Takes an answer. A window that has not changed keeps its moment. */
void ari_answer(
	struct ari_record *r, const struct ari_window *w, int64_t not_before, int64_t not_after, uint64_t random);

#endif
