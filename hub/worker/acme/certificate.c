#include "hub/worker/acme/flow.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"
#include "lib/crypto/chain_order.h"
#include "lib/crypto/verify.h"

#include <string.h>

enum { OFFERED_MAX = 4 * CHAIN_HEX_MAX * HTTP_ALTERNATES_MAX };

/* ---- one chain ---- */

/* An order that was left for months leads to a certificate that is due for renewal itself. */
static bool is_stale(const struct acme *a, const struct chain *chain)
{
	struct error ignored;
	struct chain_facts facts;
	if (!a->resumed || chain_facts(chain->leaf, &facts, &ignored) < 0)
		return false;
	int64_t left = facts.not_after - clock_wall(), lifetime = facts.not_after - facts.not_before;
	chain_facts_release(&facts);
	return left < lifetime / 3;
}

static int check_certificate(struct acme *a, struct chain *chain, struct error *err)
{
	if (X509_check_private_key(chain->leaf, a->pair->key) != 1) {
		a->gone = true; /* it will never be for this one */
		return openssl_error(err, ERROR_UNTRUSTED, "key-match: the server's certificate is for another key");
	}
	/* Without anchors it is the hub's gate that says what is wrong with them. */
	struct error ignored;
	struct anchors *anchors = anchors_load(a->job.anchors, &ignored);
	int result = chain_order(chain, anchors, clock_wall(), err);
	anchors_free(anchors);
	if (result < 0)
		return -1;
	if (!is_stale(a, chain))
		return 0;
	a->gone = true;
	return error_set(err, ERROR_RETRY, "the stored order's certificate is old already");
}

static int fetch(struct acme *a, const char *url, struct chain *ret, struct error *err)
{
	static const char type[] = "application/pem-certificate-chain";
	auto_chain struct chain chain = {0};
	const struct http_response *r = &a->client.answer;
	if (acme_post(&a->client, url, NULL, type, err) < 0)
		return -1;
	if (strcmp(r->content_type, type) != 0)
		return error_set(err, ERROR_RETRY, "%s: answered %ld with %s instead of a certificate", url, r->status,
			r->content_type[0] ? r->content_type : "no type");
	if (chain_parse_pem(r->body.data, r->body.len, NULL, 0, &chain, err) < 0 ||
		check_certificate(a, &chain, err) < 0)
		return error_wrap(err, "%s", url);
	chain_release(ret);
	*ret = chain;
	chain = (struct chain){0};
	return 0;
}

/* ---- which of several ---- */

/* Where a chain ends; its root is not in it. */
struct top {
	char issuer[256];
	char root[CHAIN_HEX_MAX]; /* empty: no trust anchor issued it */
};

static void top_of(const struct chain *chain, const struct anchors *anchors, struct top *ret)
{
	int count = sk_X509_num(chain->rest);
	X509 *last = count > 0 ? sk_X509_value(chain->rest, count - 1) : chain->leaf;
	auto_x509 X509 *root = anchors ? anchors_issuer(anchors, last) : NULL;
	uint8_t digest[CHAIN_SHA256_SIZE];
	*ret = (struct top){0};
	X509_NAME_get_text_by_NID(X509_get_issuer_name(last), NID_commonName, ret->issuer, sizeof(ret->issuer));
	text_clean(ret->issuer, 0);
	if (!root)
		return;
	chain_fingerprint(root, digest);
	chain_hex(digest, ret->root);
}

static bool is_preferred(const char *preferred, const struct top *top)
{
	if (strncmp(preferred, "sha256:", 7) == 0)
		return strcasecmp(preferred + 7, top->root) == 0;
	return strcmp(preferred, top->issuer) == 0;
}

/* Notes a chain that was looked at, for the warning. */
static void note(struct buf *offered, const struct top *top)
{
	buf_addf(offered, "%s\"%.200s\"", offered->len ? ", " : "", top->issuer);
	if (top->root[0])
		buf_addf(offered, " (sha256:%s)", top->root);
}

/* Looks among the alternates. Returns 1, with the one that is wanted in `chain`, or 0. An alternate that cannot be had
 * counts as none, since the first chain is good enough to go on with. */
static int search(struct acme *a, const struct anchors *anchors, struct chain *chain, struct buf *offered)
{
	char urls[HTTP_ALTERNATES_MAX][URL_MAX];
	size_t count = a->client.answer.alternate_count;
	struct error why;
	memcpy(urls, a->client.answer.alternate, sizeof(urls));
	for (size_t i = 0; i < count; i++) {
		auto_chain struct chain other = {0};
		struct top top;
		if (fetch(a, urls[i], &other, &why) < 0) {
			buf_addf(offered, ", one that cannot be used (%.200s)", why.message);
			a->gone = false;
			continue;
		}
		top_of(&other, anchors, &top);
		note(offered, &top);
		if (!is_preferred(a->job.preferred_chain, &top))
			continue;
		chain_release(chain);
		*chain = other;
		other = (struct chain){0};
		return 1;
	}
	return 0;
}

static int prefer(struct acme *a, struct chain *chain, struct error *err)
{
	auto_buf struct buf offered = BUF_INIT(OFFERED_MAX);
	const bool by_digest = strncmp(a->job.preferred_chain, "sha256:", 7) == 0;
	struct anchors *anchors = by_digest ? anchors_load(a->job.anchors, err) : NULL;
	struct top top;
	if (by_digest && !anchors)
		return error_wrap(err, "preferred_chain");
	top_of(chain, anchors, &top);
	note(&offered, &top);
	if (!is_preferred(a->job.preferred_chain, &top) && !search(a, anchors, chain, &offered)) {
		auto_free char *text =
			mem_printf("no chain of the server ends at the preferred one, %s: its first is used; it "
				   "offers %s",
				a->job.preferred_chain, buf_text(&offered));
		talk_warning(&a->talk, text);
	}
	anchors_free(anchors);
	return 0;
}

/* ---- the certificate ---- */

int acme_download(struct acme *a, struct error *err)
{
	auto_chain struct chain chain = {0};
	const char *url = acme_url(a->order, "certificate", err);
	if (!url)
		return -1;
	talk_progress(&a->talk, "certificate");
	if (fetch(a, url, &chain, err) < 0 || (a->job.preferred_chain && prefer(a, &chain, err) < 0) ||
		(a->job.next_key && talk_next_key(&a->talk, a->pair_number, err) < 0))
		return -1;
	return talk_issued(&a->talk, a->pair_number, &chain, err);
}
