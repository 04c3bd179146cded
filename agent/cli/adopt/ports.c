#include "agent/cli/adopt/ports.h"
#include "agent/common/prober.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"
#include "lib/cli/progress.h"

#include <event2/event.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SETTLE_MS = 2000, PAUSE_MS = 250 };

/* The probes of one certificate. */
struct round {
	const struct plan_certificate *certificate;
	const struct plan *plan;
	struct prober *prober;
	bool wanted[MESSAGE_PROBES_MAX];
	struct adopt_looks *looks;
};

static const struct plan_target *target_of(const struct round *r, const bool *running, size_t probe)
{
	for (size_t i = 0; i < r->plan->target_count; i++) {
		const struct plan_target *t = &r->plan->targets[i];
		if (t->certificate == r->certificate && (!running || running[i]) &&
			strcmp(t->service->name, prober_service(r->prober, probe)) == 0)
			return t;
	}
	return NULL;
}

static void on_round(const struct message_probe *seen, void *context)
{
	struct round *r = context;
	for (size_t i = 0; i < prober_count(r->prober); i++) {
		if (!r->wanted[i] || r->looks->count == ADOPT_LOOKS_MAX)
			continue;
		struct adopt_look *look = &r->looks->list[r->looks->count++];
		look->target = target_of(r, NULL, i);
		look->served = seen[i].served;
		snprintf(look->endpoint, sizeof(look->endpoint), "%s", prober_endpoint(r->prober, i));
		snprintf(look->fingerprint, sizeof(look->fingerprint), "%s", seen[i].fingerprint);
		snprintf(look->text, sizeof(look->text), "%.255s", seen[i].text);
	}
}

static void start_round(
	struct round *r, struct event_base *base, const struct agent_config *config, const bool *running)
{
	bool any = false;
	r->prober = prober_new(base, r->certificate->certificate, config->probe_timeout, on_round, r);
	for (size_t i = 0; i < prober_count(r->prober); i++) {
		r->wanted[i] = target_of(r, running, i) != NULL;
		any = any || r->wanted[i];
	}
	if (any)
		prober_start(r->prober, r->wanted);
}

int adopt_look(const struct agent_config *config, const struct plan *plan, const bool *running, struct adopt_looks *ret,
	struct error *err)
{
	struct event_base *base = event_base_new();
	if (!base)
		return error_set(err, ERROR_RETRY, "cannot make an event loop");
	ret->count = 0;
	struct round *rounds = mem_array(plan->certificate_count, sizeof(*rounds));
	for (size_t i = 0; i < plan->certificate_count; i++) {
		rounds[i] = (struct round){.certificate = &plan->certificates[i], .plan = plan, .looks = ret};
		start_round(&rounds[i], base, config, running);
	}
	event_base_dispatch(base);
	for (size_t i = 0; i < plan->certificate_count; i++)
		prober_free(rounds[i].prober);
	free(rounds);
	event_base_free(base);
	return 0;
}

static bool is_wanted(const struct adopt_look *look)
{
	const struct plan_certificate *c = look->target->certificate;
	for (size_t i = 0; look->served && i < c->leaf_count; i++) {
		char hex[CHAIN_HEX_MAX];
		if (strcmp(chain_hex(c->leaves[i], hex), look->fingerprint) == 0)
			return true;
	}
	return false;
}

static const struct adopt_look *same(const struct adopt_looks *looks, const struct adopt_look *look)
{
	for (size_t i = 0; i < looks->count; i++)
		if (looks->list[i].target == look->target && strcmp(looks->list[i].endpoint, look->endpoint) == 0)
			return &looks->list[i];
	return NULL;
}

/* Returns whether the port serves a certificate that this service may go on presenting: one of a line that was not
 * changed, or any, where it is not known what the service presents. */
static bool is_left(const struct plan *p, const struct adopt_look *look)
{
	for (size_t i = 0; i < p->left_count; i++) {
		char hex[CHAIN_HEX_MAX];
		if (strcmp(p->lefts[i].service, look->target->service->name) == 0 &&
			strcmp(chain_hex(p->lefts[i].leaf, hex), look->fingerprint) == 0)
			return true;
	}
	return look->target->unknown;
}

/* Returns whether the port is as it was before, and nothing else was promised for it. */
static bool is_excused(const struct plan *p, const struct adopt_look *look, const struct adopt_looks *before)
{
	const struct adopt_look *old = same(before, look);
	if (!old || old->served != look->served)
		return false;
	return !look->served || (strcmp(old->fingerprint, look->fingerprint) == 0 && is_left(p, look));
}

static const struct adopt_look *first_wrong(
	const struct plan *p, const struct adopt_looks *now, const struct adopt_looks *before, bool strict)
{
	for (size_t i = 0; i < now->count; i++)
		if (!is_wanted(&now->list[i]) && (strict || !is_excused(p, &now->list[i], before)))
			return &now->list[i];
	return NULL;
}

static void print_all(const struct adopt_looks *now)
{
	for (size_t i = 0; i < now->count; i++) {
		const struct adopt_look *look = &now->list[i];
		const char *name = look->target->certificate->certificate->name;
		if (is_wanted(look))
			printf("%s serves %s\n", look->endpoint, name);
		else if (look->served)
			printf("%s does not serve %s: it serves %.16s… as before\n", look->endpoint, name,
				look->fingerprint);
		else
			printf("%s served nothing before and serves nothing now: %s\n", look->endpoint, look->text);
	}
}

static int tell_wrong(const struct adopt_look *wrong, struct error *err)
{
	const char *name = wrong->target->certificate->certificate->name;
	if (wrong->served)
		return error_set(err, ERROR_UNTRUSTED,
			"%s does not serve %s: it serves the certificate with SHA-256 %s", wrong->endpoint, name,
			wrong->fingerprint);
	return error_set(err, ERROR_UNTRUSTED, "%s does not serve %s: %s", wrong->endpoint, name, wrong->text);
}

int adopt_look_until(const struct agent_config *config, const struct plan *plan, const bool *running,
	const struct adopt_looks *before, struct error *err)
{
	auto_free struct adopt_looks *now = mem_alloc(sizeof(*now));
	auto_progress struct progress *progress = progress_new("waiting until the ports serve it");
	int64_t began = clock_monotonic_ms();
	for (;;) {
		if (adopt_look(config, plan, running, now, err) < 0)
			return -1;
		int64_t spent = clock_monotonic_ms() - began;
		const struct adopt_look *wrong = first_wrong(plan, now, before, false);
		/* A port that may stay as it is gets a little time too, since a worker on its way out may have
		 * answered. */
		if (!wrong && (spent >= SETTLE_MS || !first_wrong(plan, now, before, true))) {
			progress_clear(progress);
			print_all(now);
			return 0;
		}
		if (wrong && spent >= config->probe_timeout * 1000)
			return tell_wrong(wrong, err);
		poll(NULL, 0, PAUSE_MS);
	}
}
