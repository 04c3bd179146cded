#include "hub/daemon/rollout/bundle_cache.h"
#include "hub/daemon/keys.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bundle_cache {
	struct hub *hub;
	struct event *forget;
	struct keys_request request;        /* of no certificate: it is empty */
	struct buf chains[STORE_PAIRS_MAX]; /* what it borrows */
};

static void empty(struct bundle_cache *p)
{
	for (size_t i = 0; i < STORE_PAIRS_MAX; i++)
		buf_release(&p->chains[i]);
	p->request.certificate[0] = '\0';
	p->request.pair_count = 0;
}

static void on_forget(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	empty(context);
}

struct bundle_cache *bundle_cache_new(struct hub *hub)
{
	struct bundle_cache *p = mem_alloc(sizeof(*p));
	p->hub = hub;
	for (size_t i = 0; i < STORE_PAIRS_MAX; i++)
		p->chains[i] = BUF_INIT(BUNDLE_PLAIN_MAX);
	p->forget = event_new(hub->base, -1, 0, on_forget, p);
	if (!p->forget)
		mem_abort(__func__);
	return p;
}

void bundle_cache_free(struct bundle_cache *p)
{
	if (!p)
		return;
	empty(p);
	event_free(p->forget);
	free(p);
}

static int add_pair(struct bundle_cache *p, const struct chain *pair, struct error *err)
{
	size_t i = p->request.pair_count;
	if (chain_write_certificates(pair, &p->chains[i], err) < 0 ||
		chain_key_id(pair->key, p->request.pairs[i].id, err) < 0)
		return -1;
	p->request.pairs[i].chain = p->chains[i].data;
	p->request.pairs[i].chain_len = p->chains[i].len;
	p->request.pair_count++;
	return 0;
}

static int fill(struct bundle_cache *p, const char *certificate, struct revision revision, struct error *err)
{
	struct chain pairs[STORE_PAIRS_MAX] = {0};
	struct chain_facts facts = {.names = NULL};
	size_t count = 0;
	auto_manifest struct manifest manifest = {0};
	empty(p);
	int result = store_load(p->hub->store, certificate, revision, pairs, &count, &manifest, err);
	if (result == 0)
		result = chain_facts(pairs[0].leaf, &facts, err);
	for (size_t i = 0; i < count && result == 0; i++)
		result = add_pair(p, &pairs[i], err);
	while (count > 0)
		chain_release(&pairs[--count]);
	chain_facts_release(&facts);
	if (result < 0)
		return -1;
	snprintf(p->request.certificate, sizeof(p->request.certificate), "%s", certificate);
	p->request.revision = revision;
	p->request.flags = manifest.flags;
	p->request.not_after = facts.not_after;
	return 0;
}

int bundle_cache_seal(struct bundle_cache *p, const char *certificate, struct revision revision, uint16_t more,
	const uint8_t recipient[SEAL_KEY_SIZE], struct buf *out, struct error *err)
{
	const struct timeval later = {BUNDLE_CACHE_SECONDS, 0};
	bool here = strcmp(p->request.certificate, certificate) == 0 &&
		revision_compare(p->request.revision, revision) == 0;
	if (!here && fill(p, certificate, revision, err) < 0) {
		empty(p);
		return -1;
	}
	const uint16_t flags = p->request.flags;
	p->request.flags |= more;
	event_add(p->forget, &later);
	int result = keys_seal(p->hub->keys, &p->request, recipient, out, err);
	p->request.flags = flags;
	return result;
}
