#include "hub/daemon/publish/rollback.h"
#include "hub/daemon/publish/publish.h"
#include "hub/daemon/revoked.h"
#include "lib/crypto/bundle.h"

#include <stdio.h>

static bool was_revoked(struct hub *hub, const char *name, struct revision r)
{
	struct error ignored;
	struct revoked how;
	auto_manifest struct manifest m = {0};
	return store_manifest(hub->store, name, r, &m, &ignored) > 0 &&
		revoked_find(hub->store, name, m.content.leaf, &how);
}

static int choose(struct hub *hub, const char *name, const struct manifest *current, const struct revision *asked,
	struct revision *ret, struct error *err)
{
	char text[REVISION_TEXT_MAX];
	if (!asked) {
		*ret = current->content.revision;
		int found;
		do
			found = store_previous(hub->store, name, *ret, current->content.digest, ret, err);
		while (found > 0 && was_revoked(hub, name, *ret));
		return found > 0 ? 0
			: found < 0
			? -1
			: error_set(err, ERROR_USAGE, "%s: there is no earlier revision with another content", name);
	}
	if (revision_compare(*asked, current->content.revision) >= 0)
		return error_set(err, ERROR_USAGE, "%s: revision %s is not older than the current one", name,
			revision_text(*asked, text));
	*ret = *asked;
	return 0;
}

static int publish_again(struct hub *hub, const struct hub_certificate *certificate, struct revision old,
	const char *why, struct error *err)
{
	char text[REVISION_TEXT_MAX];
	struct manifest meta = {.source = "rollback", .flags = BUNDLE_ROLLBACK | BUNDLE_MAY_EXPIRE_SOONER};
	struct chain pairs[STORE_PAIRS_MAX] = {0};
	size_t count = 0;
	bool unchanged;
	struct revision made;
	auto_manifest struct manifest ignored = {0};
	if (store_load(hub->store, certificate->name, old, pairs, &count, &ignored, err) < 0)
		return -1;
	snprintf(meta.reason, sizeof(meta.reason), "to %s %s", revision_text(old, text), why);
	text_clean(meta.reason, 0);
	int result = publish(hub, certificate, pairs, count, &meta, &made, &unchanged, err);
	while (count > 0)
		chain_release(&pairs[--count]);
	if (result == 0 && unchanged)
		return error_set(err, ERROR_USAGE, "%s: the content of revision %s is the current one's",
			certificate->name, text);
	return result < 0 ? error_wrap(err, "revision %s", text) : 0;
}

int rollback(struct hub *hub, const struct hub_certificate *certificate, const struct revision *old, const char *why,
	struct error *err)
{
	struct revision chosen;
	auto_manifest struct manifest current = {0};
	int had = store_current(hub->store, certificate->name, &current, err);
	if (had < 0)
		return -1;
	if (had == 0)
		return error_set(err, ERROR_USAGE, "%s: nothing has been published yet", certificate->name);
	if (choose(hub, certificate->name, &current, old, &chosen, err) < 0)
		return -1;
	return publish_again(hub, certificate, chosen, why, err);
}
