#include "hub/daemon/publish/publish.h"
#include "hub/daemon/rollout/fleet.h"
#include "hub/daemon/keys.h"
#include "hub/daemon/publish/pairing.h"
#include "hub/daemon/events.h"
#include "hub/daemon/revoked.h"
#include "lib/crypto/bundle.h"
#include "lib/core/clock.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <string.h>

/* Returns 0 when that cannot be read. */
static int64_t end_of_leaf(const X509 *leaf)
{
	struct error ignored;
	struct chain_facts facts;
	if (chain_facts(leaf, &facts, &ignored) < 0)
		return 0;
	chain_facts_release(&facts);
	return facts.not_after;
}

/* Returns when the pair of this kind ends in the revision that is to be replaced, or 0 when that has none. */
static int64_t end_of(struct hub *hub, const char *certificate, const struct manifest *old, enum pairing_kind kind)
{
	struct error err;
	struct chain pairs[STORE_PAIRS_MAX] = {0};
	size_t count = 0;
	int64_t end = 0;
	auto_manifest struct manifest ignored = {0};
	if (!old || store_load(hub->store, certificate, old->content.revision, pairs, &count, &ignored, &err) < 0)
		return 0;
	for (size_t i = 0; i < count; i++) {
		if (pairing_kind(pairs[i].leaf) == kind)
			end = end_of_leaf(pairs[i].leaf);
		chain_release(&pairs[i]);
	}
	return end;
}

static int judge(struct hub *hub, const struct hub_certificate *certificate, const struct chain *pairs, size_t count,
	const struct manifest *meta, const struct manifest *old, struct error *err)
{
	struct verify_policy policy = {
		.anchors = hub->anchors,
		.now = clock_wall(),
		.required = (const char *const *)(void *)certificate->names,
		.replaces_not_after =
			old ? old->content.not_after : 0, /* of its first pair, and agents know no other */
		.may_expire_sooner = meta->flags & BUNDLE_MAY_EXPIRE_SOONER,
		.key_is_vouched = true, /* by certsync-keys, where it came from; and `keep_keys` asks for it */
	};
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			policy.replaces_not_after = end_of(hub, certificate->name, old, pairing_kind(pairs[i].leaf));
		if (verify_chain(&pairs[i], &policy, err) < 0)
			return -1;
	}
	return 0;
}

/* Returns whether the files of the current revision are what its manifest says, and its keys exist. */
static bool is_sound(struct hub *hub, const char *certificate, const struct manifest *current)
{
	struct error err;
	struct chain pairs[STORE_PAIRS_MAX] = {0};
	size_t count = 0;
	auto_manifest struct manifest m = {0};
	if (store_load(hub->store, certificate, current->content.revision, pairs, &count, &m, &err) < 0) {
		log_event(LOG_LEVEL_ERROR, "store", "certificate=%s error=\"%s\"", certificate, err.message);
		return false;
	}
	bool held = true;
	while (count > 0) {
		uint8_t id[KEYS_ID_SIZE];
		struct chain *pair = &pairs[--count];
		held = held && chain_key_id(pair->key, id, &err) == 0 && keys_find(hub->keys, KEYS_LEAF, id, &err) > 0;
		chain_release(pair);
	}
	if (!held)
		log_event(LOG_LEVEL_ERROR, "store", "certificate=%s error=\"its private key: %s\"", certificate,
			err.message);
	return held;
}

/* From now on the keys are a revision's, and on the disk before the revision is. */
static int keep_keys(struct hub *hub, const struct chain *pairs, size_t count, struct error *err)
{
	for (size_t i = 0; i < count; i++) {
		uint8_t id[KEYS_ID_SIZE];
		if (chain_key_id(pairs[i].key, id, err) < 0 || keys_commit(hub->keys, id, err) < 0)
			return error_wrap(err, "private key");
	}
	return 0;
}

/* What is revoked is worth nothing, however long its life would have been; and an authority that wants it replaced now
 * gives whatever life it gives today. */
static bool is_past_use(
	struct hub *hub, const char *certificate, const struct manifest *old, const struct manifest *meta)
{
	struct revoked how;
	return meta->urgent || revoked_find_either(hub->store, certificate, old, &how);
}

/* An agent that was away may still have what others have replaced by something that ends sooner, and must not refuse
 * what comes after that. A revision without the flag ends no sooner than any before it, so nobody looks further back. */
static bool skips_to_a_sooner_end(struct hub *hub, const char *certificate, const struct chain *pairs, size_t count)
{
	struct error ignored;
	auto_free struct revision *revisions = NULL;
	size_t left = 0;
	int64_t end = INT64_MAX;
	for (size_t i = 0; i < count; i++)
		end = end_of_leaf(pairs[i].leaf) < end ? end_of_leaf(pairs[i].leaf) : end;
	if (store_revisions(hub->store, certificate, &revisions, &left, &ignored) < 0)
		return false;
	while (left-- > 0) {
		auto_manifest struct manifest m = {0};
		if (store_manifest(hub->store, certificate, revisions[left], &m, &ignored) <= 0)
			continue;
		if (m.content.not_after > end)
			return true;
		if (!(m.flags & BUNDLE_MAY_EXPIRE_SOONER))
			return false;
	}
	return false;
}

/* Not all clients are strict, so this is no reason to refuse, and a person is told. */
static void look_strictly(
	struct hub *hub, const char *certificate, const struct chain *pairs, size_t count, struct manifest *ret)
{
	struct error err;
	ret->warning[0] = '\0';
	for (size_t i = 0; i < count && !ret->warning[0]; i++)
		if (verify_strict(pairs[i].leaf, pairs[i].rest, hub->anchors, clock_wall(), &err) < 0)
			snprintf(ret->warning, sizeof(ret->warning), "%.*s", STORE_WARNING_MAX - 1, err.message);
	if (ret->warning[0])
		log_event(LOG_LEVEL_WARNING, "published", "certificate=%s warning=\"%s\"", certificate, ret->warning);
}

int publish(struct hub *hub, const struct hub_certificate *certificate, const struct chain *pairs, size_t count,
	const struct manifest *given, struct revision *ret, bool *ret_unchanged, struct error *err)
{
	struct manifest meta = *given; /* it owns nothing: no names are given */
	uint8_t digest[CHAIN_SHA256_SIZE];
	char text[REVISION_TEXT_MAX];
	auto_manifest struct manifest old = {0};
	auto_manifest struct manifest now = {0};
	int had = store_current(hub->store, certificate->name, &old, err);
	if (had < 0)
		log_event(LOG_LEVEL_ERROR, "store", "certificate=%s error=\"%s\"", certificate->name, err->message);
	had = had > 0;
	chain_digest(pairs, count, digest);
	*ret_unchanged = had && !store_begins_epoch(hub->store, certificate->name) &&
		memcmp(digest, old.content.digest, sizeof(digest)) == 0 && is_sound(hub, certificate->name, &old);
	if (*ret_unchanged) {
		*ret = old.content.revision;
		/* The revision may have been stored, and only the end of that have failed. */
		if (revision_compare(fleet_find(hub, certificate->name)->desired.revision, old.content.revision) != 0)
			fleet_publish(hub, certificate->name, &old, NULL);
		return 0;
	}
	if (had && is_past_use(hub, certificate->name, &old, given))
		meta.flags |= BUNDLE_MAY_EXPIRE_SOONER;
	if (revoked_check(hub->store, certificate->name, pairs, count, err) < 0 ||
		judge(hub, certificate, pairs, count, &meta, had ? &old : NULL, err) < 0)
		return -1;
	look_strictly(hub, certificate->name, pairs, count, &meta);
	if (skips_to_a_sooner_end(hub, certificate->name, pairs, count))
		meta.flags |= BUNDLE_MAY_EXPIRE_SOONER;
	if (keep_keys(hub, pairs, count, err) < 0 ||
		store_publish(hub->store, certificate->name, pairs, count, &meta, ret, err) < 0)
		return -1;
	log_event(LOG_LEVEL_NOTICE, "published", "certificate=%s revision=%s source=%s", certificate->name,
		revision_text(*ret, text), meta.source);
	if (store_current(hub->store, certificate->name, &now, err) < 0)
		return -1;
	now.urgent = meta.urgent;
	fleet_publish(hub, certificate->name, &now, had ? &old : NULL);
	hub->events->published(hub, certificate->name);
	return 0;
}
