#include "agent/common/prober.h"
#include "lib/core/helo.h"
#include "lib/core/mem.h"
#include "lib/probe/probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct target {
	struct prober *prober;
	struct endpoint endpoint;
	const char *service, *sni;
	struct probe *probe; /* NULL: none under way */
};

struct prober {
	struct event_base *base;
	int timeout_ms;
	prober_done *done;
	void *context;
	struct target target[MESSAGE_PROBES_MAX];
	struct message_probe seen[MESSAGE_PROBES_MAX];
	size_t count;
	size_t under_way;
};

static void on_probe(void *context, const struct probe_result *result)
{
	struct target *t = context;
	struct prober *p = t->prober;
	struct message_probe *seen = &p->seen[t - p->target];
	t->probe = NULL;
	seen->served = result->state == PROBE_SERVED;
	seen->milliseconds = (uint32_t)result->milliseconds;
	seen->fingerprint[0] = seen->text[0] = '\0';
	if (seen->served)
		chain_hex(result->fingerprint, seen->fingerprint);
	else
		snprintf(seen->text, sizeof(seen->text), "%.255s", result->error.message);
	text_clean(seen->text, 0); /* a cut may have gone through a character */
	if (--p->under_way == 0)
		p->done(p->seen, p->context);
}

static void add_target(struct prober *p, const struct agent_certificate *certificate,
	const struct agent_service *service, const char *text)
{
	struct error err;
	struct target *t = &p->target[p->count];
	if (p->count == MESSAGE_PROBES_MAX || endpoint_parse(text, &t->endpoint, &err) < 0)
		return; /* both are faults of the configuration and were told when it was read */
	t->prober = p;
	t->service = service->name;
	t->sni = service->sni ? service->sni : certificate->name;
	p->count++;
}

struct prober *prober_new(struct event_base *base, const struct agent_config *config,
	const struct agent_certificate *certificate, prober_done *done, void *context)
{
	struct prober *p = mem_alloc(sizeof(*p));
	char own[HELO_MAX];
	const char *helo = config->helo ? config->helo : helo_of_host(false, own);
	p->base = base;
	p->timeout_ms = (int)(config->probe_timeout * 1000);
	p->done = done;
	p->context = context;
	for (size_t i = 0; i < certificate->service_count; i++) {
		const struct agent_service *service = &certificate->services[i];
		for (char **text = service->probe; text && *text; text++)
			add_target(p, certificate, service, *text);
	}
	for (size_t i = 0; i < p->count; i++)
		snprintf(p->target[i].endpoint.helo, sizeof(p->target[i].endpoint.helo), "%s", helo);
	return p;
}

void prober_free(struct prober *p)
{
	if (!p)
		return;
	prober_cancel(p);
	free(p);
}

size_t prober_count(const struct prober *p)
{
	return p->count;
}

const char *prober_endpoint(const struct prober *p, size_t i)
{
	return p->target[i].endpoint.text;
}

const char *prober_service(const struct prober *p, size_t i)
{
	return p->target[i].service;
}

void prober_start(struct prober *p, const bool *wanted)
{
	for (size_t i = 0; i < p->count; i++) {
		struct target *t = &p->target[i];
		if (!wanted[i])
			continue;
		t->probe = probe_start(p->base, &t->endpoint, t->sni, p->timeout_ms, on_probe, t);
		p->under_way++;
	}
}

void prober_cancel(struct prober *p)
{
	for (size_t i = 0; i < p->count; i++) {
		if (p->target[i].probe)
			probe_cancel(p->target[i].probe);
		p->target[i].probe = NULL;
	}
	p->under_way = 0;
}
