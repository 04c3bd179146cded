#include "lib/probe/check.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"
#include "lib/core/name.h"

#include <errno.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

enum { DAY = 86400, EXPIRING_DAYS_MAX = 21, HEX_SHORT = 16 };

static const char *const verdicts[] = {
	[CHECK_OK] = "ok",
	[CHECK_EXPIRING] = "expiring",
	[CHECK_MISMATCH] = "mismatch",
	[CHECK_UNTRUSTED] = "untrusted",
	[CHECK_UNREACHABLE] = "unreachable",
};

const char *check_verdict_text(enum check_verdict verdict)
{
	return verdicts[verdict];
}

bool check_verdict_parse(const char *text, enum check_verdict *ret)
{
	for (size_t i = 0; i < COUNT(verdicts); i++) {
		if (strcmp(verdicts[i], text) != 0)
			continue;
		*ret = (enum check_verdict)i;
		return true;
	}
	return false;
}

bool check_is_good(enum check_verdict verdict)
{
	return verdict <= CHECK_EXPIRING;
}

int64_t check_expiring_before(int64_t not_before, int64_t not_after)
{
	int64_t fifth = (not_after - not_before) / 5;
	return fifth < EXPIRING_DAYS_MAX * DAY ? fifth : EXPIRING_DAYS_MAX * DAY;
}

/* The worst fault says what to do; of several that are equally bad it is the first. */
static void add_fault(struct check *c, enum check_verdict verdict, const char *reason, const char *advice)
{
	size_t used = strlen(c->reason);
	snprintf(c->reason + used, sizeof(c->reason) - used, "%s%s", used ? "; " : "", reason);
	if (verdict <= c->verdict)
		return;
	c->verdict = verdict;
	snprintf(c->advice, sizeof(c->advice), "%s", advice);
}

void check_unreachable(struct check *ret, const char *reason, const char *advice)
{
	*ret = (struct check){0};
	add_fault(ret, CHECK_UNREACHABLE, reason, advice);
}

void check_lacks_kind(struct check *ret, const char *kind, const char *reason)
{
	auto_free char *why = mem_printf("the %s certificate of the pair is not served: %s", kind, reason);
	*ret = (struct check){.expects = true};
	add_fault(ret, CHECK_MISMATCH, why,
		"have the service load both certificates: some take only the first of a file");
}

static void judge_unreachable(const struct probe_result *r, struct check *c)
{
	static const char *const advice[] = {
		[PROBE_SERVED] = "",
		[PROBE_REFUSED] = "start the service, or correct the firewall or the address",
		[PROBE_TIMEOUT] = "look whether the service hangs or a firewall drops",
		[PROBE_PROTOCOL] = ("look at the TLS settings of the service; if the port speaks another protocol, "
				    "write it behind a slash, as in :993/imaps"),
	};
	bool no_route = strstr(r->error.message, strerror(ENETUNREACH)) != NULL;
	add_fault(c, CHECK_UNREACHABLE, r->error.message,
		no_route ? "this machine has no route there (perhaps no IPv6): check from another one"
			 : advice[r->state]);
}

/* ---- time ---- */

static void judge_time(struct check *c, const struct check_policy *p)
{
	char reason[128], when[CLOCK_TEXT_MAX];
	int64_t left = c->facts.not_after - p->now;
	int64_t needed = p->expiring_before ? p->expiring_before
					    : check_expiring_before(c->facts.not_before, c->facts.not_after);
	c->days_left = (int)(left >= 0 ? left / DAY : -((-left + DAY - 1) / DAY));
	if (p->now < c->facts.not_before) {
		snprintf(reason, sizeof(reason), "not valid before %s", clock_text(c->facts.not_before, when));
		add_fault(c, CHECK_UNTRUSTED, reason, "compare the clocks of this machine and of the authority");
	} else if (left <= 0) {
		snprintf(reason, sizeof(reason), "expired at %s", clock_text(c->facts.not_after, when));
		add_fault(c, CHECK_UNTRUSTED, reason, "renew it; if that was done, have the service load the new one");
	} else if (left < needed) {
		snprintf(reason, sizeof(reason), "expires at %s", clock_text(c->facts.not_after, when));
		add_fault(c, CHECK_EXPIRING, reason, "renew it, and look why that has not happened by itself");
	}
}

/* ---- names ---- */

static bool covers(const struct chain_facts *f, X509 *leaf, const char *name)
{
	if (X509_check_ip_asc(leaf, name, 0) == 1)
		return true;
	for (size_t i = 0; i < f->name_count; i++)
		if (name_covers(f->names[i], name))
			return true;
	return false;
}

static void judge_names(struct check *c, const struct probe_result *r, const struct check_policy *p)
{
	char reason[400], advice[CHECK_ADVICE_MAX];
	size_t used;
	c->name_match = covers(&c->facts, r->leaf, p->name);
	if (c->name_match)
		return;
	if (!c->facts.name_count) {
		add_fault(c, CHECK_UNTRUSTED, "it has no subject alternative name, and clients look at nothing else",
			"have one issued with its names there");
		return;
	}
	used = (size_t)snprintf(reason, sizeof(reason), "%.200s is not among its names: ", p->name);
	for (size_t i = 0; i < c->facts.name_count && used < sizeof(reason); i++)
		used += (size_t)snprintf(
			reason + used, sizeof(reason) - used, "%s%s", i ? ", " : "", c->facts.names[i]);
	snprintf(advice, sizeof(advice), "have one issued for %.200s, or serve the one that is", p->name);
	add_fault(c, CHECK_UNTRUSTED, reason, advice);
}

/* ---- the chain ---- */

/* Returns the last certificate that can be reached from the leaf by what was sent, in whatever order. */
static X509 *last_issuer(X509 *leaf, STACK_OF(X509) * rest)
{
	X509 *at = leaf;
	for (int steps = sk_X509_num(rest); steps > 0 && X509_self_signed(at, 0) != 1; steps--) {
		X509 *next = NULL;
		for (int i = 0; i < sk_X509_num(rest) && !next; i++)
			if (X509_check_issued(sk_X509_value(rest, i), at) == X509_V_OK)
				next = sk_X509_value(rest, i);
		if (!next)
			break;
		at = next;
	}
	return at;
}

static bool lacks_issuer(const struct error *err)
{
	static const int codes[] = {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
		X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE};
	for (size_t i = 0; i < COUNT(codes); i++)
		/* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): an array, and a text for each code */
		if (strstr(err->message, X509_verify_cert_error_string(codes[i])))
			return true;
	return false;
}

static void name_text(X509_NAME *name, char *text, size_t size)
{
	X509_NAME_oneline(name, text, (int)size);
	text_clean(text, 0);
}

static void judge_refusal(struct check *c, X509 *leaf, X509 *last, const struct error *err)
{
	char reason[400], name[CHECK_SUBJECT_MAX];
	bool root = X509_self_signed(last, 0) == 1;
	if (root && last == leaf) {
		add_fault(c, CHECK_UNTRUSTED, "self-signed: no authority vouches for it",
			"serve a certificate of an authority that clients trust");
	} else if (root) {
		name_text(X509_get_subject_name(last), name, sizeof(name));
		snprintf(reason, sizeof(reason), "its root %s is not trusted here", name);
		add_fault(c, CHECK_UNTRUSTED, reason,
			"serve a certificate of an authority that clients trust; if this one is your own, give --anchors FILE");
	} else if (lacks_issuer(err)) {
		name_text(X509_get_issuer_name(last), name, sizeof(name));
		snprintf(reason, sizeof(reason), "the chain is incomplete: %s was not sent and is no trust anchor",
			name);
		add_fault(c, CHECK_UNTRUSTED, reason,
			"have the service send the intermediates too (fullchain.pem, not cert.pem); a root of your own: --anchors FILE");
	} else {
		add_fault(c, CHECK_UNTRUSTED, err->message, "have another one issued");
	}
}

/* The chain is verified for one of the certificate's own names and at a time within its life, so that the answer is
 * about the chain alone, whatever else is wrong. */
static void judge_chain(struct check *c, const struct probe_result *r, const struct check_policy *p)
{
	struct error err;
	const struct chain_facts *f = &c->facts;
	int64_t when = p->now < f->not_before ? f->not_before : p->now < f->not_after ? p->now : f->not_after - 1;
	X509 *last = last_issuer(r->leaf, r->rest);
	c->chain_complete = X509_self_signed(last, 0) == 1;
	if (!f->name_count) { /* lib/verify looks no further; this much is seen without it */
		if (last == r->leaf && c->chain_complete)
			judge_refusal(c, r->leaf, last, NULL);
		return;
	}
	/* If authorities were not valid at that time either, the chain has still been built, which was all that was
	 * asked. */
	bool past = when != p->now;
	if (verify_served(r->leaf, r->rest, f->names[0], p->anchors, when, &err) == 0 ||
		(past && strncmp(err.message, "validity:", 9) == 0))
		c->chain_complete = true;
	else
		judge_refusal(c, r->leaf, last, &err);
}

/* ---- the whole ---- */

static void judge_match(struct check *c, const struct check_policy *p)
{
	char served[CHAIN_HEX_MAX], wanted[CHAIN_HEX_MAX], reason[200], advice[CHECK_ADVICE_MAX];
	c->expects = p->expected_count > 0;
	for (size_t i = 0; i < p->expected_count && !c->match; i++)
		c->match = memcmp(c->facts.fingerprint, p->expected[i], CHAIN_SHA256_SIZE) == 0;
	if (!c->expects || c->match)
		return;
	int len = snprintf(
		reason, sizeof(reason), "serves %.*s, wanted is", HEX_SHORT, chain_hex(c->facts.fingerprint, served));
	for (size_t i = 0; i < p->expected_count && len < (int)sizeof(reason); i++)
		len += snprintf(reason + len, sizeof(reason) - (size_t)len, "%s %.*s", i ? " or" : "", HEX_SHORT,
			chain_hex(p->expected[i], wanted));
	snprintf(advice, sizeof(advice), "%s%s%s; if it stays, look which file the service reads",
		p->remedy ? p->remedy : "certsync push", !p->remedy && p->certificate ? " " : "",
		!p->remedy && p->certificate ? p->certificate : "");
	add_fault(c, CHECK_MISMATCH, reason, advice);
}

static void add_warning(struct check *c, const char *text)
{
	size_t used = strlen(c->warning);
	snprintf(c->warning + used, sizeof(c->warning) - used, "%s%s", used ? "; " : "", text);
}

/* The handshake was offered every version, so this is the best one that there is. */
static void judge_version(struct check *c, const struct probe_result *r)
{
	char text[CHECK_ADVICE_MAX];
	snprintf(c->tls, sizeof(c->tls), "%s", r->version ? r->version : "");
	if (strcmp(c->tls, "TLSv1") != 0 && strcmp(c->tls, "TLSv1.1") != 0)
		return;
	snprintf(text, sizeof(text),
		"the best it offers is %s, which clients of today refuse: have the service offer TLS 1.2 and 1.3",
		c->tls);
	add_warning(c, text);
}

static void judge_served(struct check *c, const struct probe_result *r, const struct check_policy *p)
{
	struct error err;
	c->sent = sk_X509_num(r->rest) + 1;
	c->milliseconds = r->milliseconds;
	name_text(X509_get_subject_name(r->leaf), c->subject, sizeof(c->subject));
	if (chain_facts(r->leaf, &c->facts, &err) < 0) {
		add_fault(c, CHECK_UNTRUSTED, err.message, "have another one issued");
		return;
	}
	c->served = true;
	judge_version(c, r);
	c->knows_scts = sct_read(r->leaf, &c->scts, &err) == 0;
	if (!c->knows_scts)
		add_warning(c, err.message);
	judge_time(c, p);
	judge_names(c, r, p);
	judge_chain(c, r, p);
	judge_match(c, p);
	c->trusted = verify_served(r->leaf, r->rest, p->name, p->anchors, p->now, &err) == 0;
	if (!c->trusted && c->verdict < CHECK_UNTRUSTED)
		add_fault(c, CHECK_UNTRUSTED, err.message, "have another one issued");
	if (c->trusted && verify_strict(r->leaf, r->rest, p->anchors, p->now, &err) < 0)
		add_warning(c, err.message);
}

void check_judge(const struct probe_result *result, const struct check_policy *policy, struct check *ret)
{
	struct check c = {.expects = policy->expected_count > 0};
	if (result->state == PROBE_SERVED)
		judge_served(&c, result, policy);
	else
		judge_unreachable(result, &c);
	*ret = c;
}

void check_release(struct check *c)
{
	chain_facts_release(&c->facts);
	*c = (struct check){0};
}
