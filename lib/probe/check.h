/* What an endpoint was seen to present is judged here: one verdict, why, and what to do. There is no I/O, and `now` is
 * a parameter.
 */
#ifndef CERTSYNC_LIB_PROBE_CHECK_H
#define CERTSYNC_LIB_PROBE_CHECK_H

#include "lib/probe/probe.h"
#include "lib/crypto/sct.h"
#include "lib/crypto/verify.h"

/* Verdicts go from good to bad: the worst of several faults is the verdict, and the reason names them all. */
enum check_verdict {
	CHECK_OK,
	CHECK_EXPIRING,    /* clients still take it, but not for long */
	CHECK_MISMATCH,    /* another certificate than the expected one */
	CHECK_UNTRUSTED,   /* a client that looks refuses it */
	CHECK_UNREACHABLE, /* TLS was not reached: whatever is served there cannot be judged */
};

enum { CHECK_REASON_MAX = 600, CHECK_ADVICE_MAX = 300, CHECK_SUBJECT_MAX = 256, CHECK_TLS_MAX = 16 };

struct check_policy {
	const struct anchors *anchors;
	int64_t now;
	const char *name;                             /* must be covered: a DNS name or an address */
	const uint8_t (*expected)[CHAIN_SHA256_SIZE]; /* SHA-256 of the leaves of which one will do */
	size_t expected_count;                        /* 0: any will do */
	const char *certificate;                      /* its name at the hub, for the advice; NULL: unknown */
	const char *remedy;                           /* what brings the expected one; NULL: certsync push */
	int64_t expiring_before;                      /* seconds left under which it is expiring; 0: by lifetime */
};

struct check {
	enum check_verdict verdict;
	char reason[CHECK_REASON_MAX]; /* "" when all is well */
	char advice[CHECK_ADVICE_MAX];
	char warning[CHECK_REASON_MAX]; /* beside the verdict and not part of it: clients take what is served,
					   but not all of them, for what it is or for how it is served */
	bool served;                    /* what follows is known */
	struct chain_facts facts;       /* owned */
	char subject[CHECK_SUBJECT_MAX];
	char tls[CHECK_TLS_MAX];  /* the version that was negotiated: "TLSv1.3" */
	int sent;                 /* certificates, the leaf included */
	int days_left;            /* rounded down; negative once expired */
	bool name_match, trusted; /* trusted: lib/verify has no objection at all */
	bool chain_complete;      /* as sent, up to an anchor or to a root of its own */
	bool expects, match;      /* match: it is the expected one */
	bool knows_scts;          /* its list of SCTs could be read, or there is none; else the warning says so */
	struct sct_list scts;     /* only a certificate of a public authority needs them, so none is no fault */
	int64_t milliseconds;
};

/* Fills `ret`, which check_release() empties. */
void check_judge(const struct probe_result *result, const struct check_policy *policy, struct check *ret);
/* Fills `ret` where there is nothing to probe, for example for a name without an address. */
void check_unreachable(struct check *ret, const char *reason, const char *advice);
/* Fills `ret` where one certificate of an expected pair is served and the other, of this `kind` ("RSA", "ECDSA"), is
 * not. */
void check_lacks_kind(struct check *ret, const char *kind, const char *reason);
void check_release(struct check *c);

const char *check_verdict_text(enum check_verdict verdict);
bool check_verdict_parse(const char *text, enum check_verdict *ret); /* false: there is none of that name */
/* Returns whether clients get what they should, if perhaps not for long. */
bool check_is_good(enum check_verdict verdict);
/* Returns how many seconds must be left of a lifetime: a fifth of it, 21 days at most. Renewal comes well before. */
int64_t check_expiring_before(int64_t not_before, int64_t not_after);

#endif
