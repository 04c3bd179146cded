/* One ACME order, from the account to the certificate (RFC 8555).
 *
 * The dialogue with the daemon (hub/daemon/acme/order.c) consists of frames (lib/core/frame.h) on descriptors 0 and 1.
 * Messages are JSON objects with an "event"; files are a FILES frame, which is known by its label. `>` marks what the
 * daemon says, `<` what the worker says. Where an answer follows, the worker goes no further without it: the daemon
 * gives it when what it was handed is on disk and its directory synced.
 *
 *   > job            certificate, names[], pairs[], directory, contact[], agree_tos, next_key, tls_alpn, and where there is
 *                    one account_key, ca_file, account_url, eab_kid, profile, preferred_chain, anchors, resolvers[],
 *                    dns (hook, config, timeout, by_resolvers, wait), dns_leftovers[]. Each of the one or two pairs has
 *                    key_type, and where there is one order_url with key, and replaces. Keys are public halves
 *   > FILES "keys"   eab.hmac with eab_kid
 *   < progress       step: a word or two for `status`
 *   < warning        text: what a person should know, though the order goes on
 *   < account-key    the job had none
 *     > key          key: the account's, for good (another order may have been quicker)
 *   < sign           key ("account"), input: a request to the authority (hub/common/jws.h)
 *     > signed       signature
 *   < account        url: the account was made or found
 *     > kept
 *   < gone           pair (0 or 1), reason: the stored order will not come to a certificate any more
 *     > kept         it is dropped
 *   < key            pair: a new order begins
 *     > key          key: the one that the order has to use; it is on disk
 *   < order          pair, url: the order is new, and its key is the one that came last
 *     > kept
 *   < csr            pair
 *     > csr          csr: for the order's key and the job's names
 *   < invalid        name: its authorization has failed
 *   < challenge      name, token, authorization
 *     > kept         it is being served
 *   < dns            records[]: name, value, target, hook, config: these may exist from now on, others are removed
 *     > kept
 *   < next           pair: the key of the order after this one is to be made, unless there is one
 *     > kept
 *   < FILES "issued"  fullchain.pem; for the second pair "issued-2"
 *     > kept         until the end: the order stays, so that a later one finds the certificate again
 *   < done           every pair has been issued, or
 *   < failed         kind (retry, permanent, untrusted, usage), text, retry_after (seconds, 0: not said), trouble: what
 *                    it says of the authority (acme_trouble)
 *
 * A daemon that cannot do its part kills the worker. A worker that is killed loses nothing: what it cannot make again
 * is in the store, and the next one goes on from the order's state at the server.
 */
#include "hub/worker/acme/acme.h"
#include "hub/worker/acme/dns.h"
#include "hub/worker/acme/flow.h"
#include "hub/worker/confined.h"
#include "lib/core/clock.h"

#include <signal.h>

enum {
	PATIENCE_MS = (ACME_JOB_SECONDS - 60) * 1000, /* what has begun by then ends before the daemon's deadline */
};

/* Orders one pair after the other. What was issued stays known to the server: when the second one fails, the first is
 * found again. */
static int order_all(struct acme *a, struct error *err)
{
	for (a->pair_number = 0; a->pair_number < a->job.pair_count; a->pair_number++) {
		a->pair = &a->job.pairs[a->pair_number];
		a->deadline = clock_monotonic_ms() + PATIENCE_MS;
		if (acme_order(a, err) < 0)
			return a->job.pair_count > 1 ? error_wrap(err, "%s", a->pair->key_type) : -1;
	}
	return 0;
}

static int run(struct acme *a, struct error *err)
{
	if (talk_job(&a->talk, &a->job, err) < 0)
		return -1;
	worker_confine(a->job.message);
	if (acme_dns_open(a, err) < 0)
		return -1;
	talk_progress(&a->talk, "directory");
	if (acme_client_open(&a->client, a->job.directory, a->job.ca_file, err) < 0)
		return -1;
	return acme_account(a, err) < 0 ? -1 : order_all(a, err);
}

/* What failed before anything was asked says nothing of the authority. */
static const char *trouble(const struct acme *a, const struct error *err)
{
	if (!a->client.requests)
		return "failed";
	if (a->overdue)
		return "down";
	return acme_trouble(a->problem[0] ? a->problem : a->client.problem, a->client.answer.status, err);
}

static void last_word(struct acme *a, int result, struct error *err)
{
	if (a->client.requests)
		talk_progress(&a->talk, "requests=%u", a->client.requests);
	if (result < 0)
		talk_failed(&a->talk, err, a->client.answer.retry_after, trouble(a, err));
	else
		talk_done(&a->talk, err);
}

int acme_worker(void)
{
	struct acme a = {0};
	struct error err = {.kind = ERROR_NONE};
	/* A server that closes early is an error to report, not a reason to die. */
	signal(SIGPIPE, SIG_IGN);
	talk_init(&a.talk);
	int result = run(&a, &err);
	last_word(&a, result, &err);
	acme_dns_close(&a);
	cJSON_Delete(a.order);
	acme_client_release(&a.client);
	acme_job_release(&a.job);
	talk_release(&a.talk);
	return result < 0 ? 1 : 0;
}
