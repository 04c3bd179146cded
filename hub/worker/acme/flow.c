#include "hub/worker/acme/flow.h"
#include "hub/common/worker_jobs.h"
#include "lib/core/clock.h"

#include <inttypes.h>
#include <string.h>

enum { POLL_FIRST_MS = 50, POLL_LAST_MS = 5000 };

static int give_up(struct acme *a, int64_t asked, const char *what, struct error *err)
{
	static const char kept[] = "the order is kept and will be looked at again";
	a->overdue = true;
	if (asked)
		return error_set(err, ERROR_RETRY,
			"%s: the server is not done and asks to be left alone for %" PRId64 " s (Retry-After): %s",
			what, asked, kept);
	return error_set(
		err, ERROR_RETRY, "%s: the server is not done after %d minutes: %s", what, ACME_JOB_SECONDS / 60, kept);
}

int acme_wait(struct acme *a, unsigned tries, const char *what, struct error *err)
{
	int64_t asked = a->client.answer.retry_after, ms = POLL_LAST_MS;
	if (asked)
		ms = asked * 1000;
	else if (tries < 7)
		ms = (int64_t)POLL_FIRST_MS << tries;
	if (clock_monotonic_ms() + ms > a->deadline)
		return give_up(a, asked, what, err);
	return talk_pause(&a->talk, ms, err);
}

int acme_take_order(struct acme *a, cJSON *order)
{
	if (!order)
		return -1;
	cJSON_Delete(a->order);
	a->order = order;
	return 0;
}

int acme_refresh(struct acme *a, struct error *err)
{
	if (acme_take_order(a, acme_post_json(&a->client, a->order_url, NULL, err)) == 0)
		return 0;
	long status = a->client.answer.status;
	/* Only the ACME server's own word counts: a proxy's 404 must not cost a finalised order. Neither must new terms
	 * or other trouble with the account. For an account that was made only now, an order of the former one is
	 * lost. */
	bool foreign = status == 403 && !a->job.account_url && strcmp(a->client.problem, "unauthorized") == 0;
	a->gone = a->client.problem[0] && (status == 404 || status == 410 || foreign);
	return -1;
}
