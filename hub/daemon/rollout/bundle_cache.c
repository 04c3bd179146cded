#include "hub/daemon/rollout/bundle_cache.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct parcel {
	struct hub *hub;
	struct event *forget;
	struct bundle bundle; /* without pairs; of no certificate: it is empty */
	struct buf plain;
};

static void empty(struct parcel *p)
{
	bundle_release(&p->bundle);
	buf_release(&p->plain);
	p->bundle = (struct bundle){0};
}

static void on_forget(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	empty(context);
}

struct parcel *parcel_new(struct hub *hub)
{
	struct parcel *p = mem_alloc(sizeof(*p));
	p->hub = hub;
	p->plain = BUF_INIT(BUNDLE_PLAIN_MAX);
	p->forget = event_new(hub->base, -1, 0, on_forget, p);
	if (!p->forget)
		mem_abort(__func__);
	return p;
}

void parcel_free(struct parcel *p)
{
	if (!p)
		return;
	empty(p);
	event_free(p->forget);
	free(p);
}

static int fill(struct parcel *p, const char *certificate, struct revision revision, struct error *err)
{
	auto_bundle struct bundle b = {.revision = revision};
	auto_manifest struct manifest manifest = {0};
	empty(p);
	if (store_load(p->hub->store, certificate, revision, b.pairs, &b.pair_count, &manifest, err) < 0 ||
		bundle_pack(&b, &p->plain, err) < 0)
		return -1;
	snprintf(b.certificate, sizeof(b.certificate), "%s", certificate);
	b.flags = manifest.flags;
	p->bundle = b;
	p->bundle.pair_count = 0;
	memset(p->bundle.pairs, 0, sizeof(p->bundle.pairs));
	return 0;
}

int parcel_seal(struct parcel *p, const char *certificate, struct revision revision, uint16_t more,
	const uint8_t recipient[SEAL_KEY_SIZE], struct buf *out, struct error *err)
{
	const struct timeval later = {PARCEL_SECONDS, 0};
	bool here = strcmp(p->bundle.certificate, certificate) == 0 && revision_compare(p->bundle.revision, revision) == 0;
	if (!here && fill(p, certificate, revision, err) < 0) {
		empty(p);
		return -1;
	}
	struct bundle b = p->bundle;
	b.flags |= more;
	event_add(p->forget, &later);
	return bundle_seal_packed(&b, &p->plain, recipient, p->hub->sign_private, out, err);
}
