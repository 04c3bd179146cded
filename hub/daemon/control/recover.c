#include "hub/daemon/control/recover.h"
#include "hub/daemon/rollout/fleet.h"
#include "hub/daemon/control/import.h"
#include "hub/daemon/publish/publish.h"
#include "hub/daemon/acme/renewal.h"
#include "lib/crypto/bundle.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <string.h>

enum { RECOVER_EPOCHS_MAX = 1000 };

/* What is known of one certificate. */
struct loss {
	struct rollout *rollout;
	const struct hub_certificate *certificate;
	struct revision store;    /* (0, 0): nothing */
	struct revision agents;   /* the newest that an agent has had */
	struct revision archive;  /* (0, 0): nothing was brought */
	const char *newest_agent; /* which has it */
	bool ahead;               /* some agent says so */
};

static struct revision newer(struct revision a, struct revision b)
{
	return revision_compare(a, b) > 0 ? a : b;
}

static int look(struct client *c, struct loss *l, struct error *err)
{
	auto_manifest struct manifest current = {0};
	l->rollout = fleet_find(c->hub, c->certificate);
	l->certificate = hub_config_certificate(c->hub->config, c->certificate);
	l->archive = c->archive;
	int had = store_current(c->hub->store, c->certificate, &current, err);
	if (had < 0)
		log_event(LOG_LEVEL_WARNING, "recover", "certificate=%s error=\"%s\"", c->certificate, err->message);
	l->store = had > 0 ? current.content.revision : (struct revision){0, 0};
	for (size_t i = 0; i < l->rollout->agent_count; i++) {
		const struct rollout_agent *a = &l->rollout->agents[i];
		/* The agent may know another content under a number that it never served; then it refuses this hub's by
		 * its digest. */
		l->ahead = l->ahead || a->state == ROLLOUT_AHEAD ||
			(a->state == ROLLOUT_FAILED && strncmp(a->text, "digest:", strlen("digest:")) == 0);
		if (revision_compare(a->high_water, l->agents) > 0) {
			l->agents = a->high_water;
			l->newest_agent = a->name;
		}
	}
	return 0;
}

static int publish_these(struct client *c, const struct loss *l, const struct chain *pairs, size_t count,
	struct revision from, const char *where, struct error *err)
{
	char text[REVISION_TEXT_MAX];
	struct manifest meta = {.source = "recover", .flags = BUNDLE_MAY_EXPIRE_SOONER};
	struct revision made;
	bool unchanged;
	snprintf(meta.reason, sizeof(meta.reason), "%s of %s, by uid %u", revision_text(from, text), where,
		(unsigned)c->uid);
	return publish(c->hub, l->certificate, pairs, count, &meta, &made, &unchanged, err);
}

static void release(struct chain pairs[STORE_PAIRS_MAX])
{
	for (size_t i = 0; i < STORE_PAIRS_MAX; i++)
		chain_release(&pairs[i]);
}

static int publish_archive(struct client *c, const struct loss *l, const struct files *files, struct error *err)
{
	struct chain pairs[STORE_PAIRS_MAX] = {0};
	int count = import_pairs(files, c->hub->anchors, pairs, err);
	int result = count < 0
		? -1
		: publish_these(c, l, pairs, (size_t)count, l->archive, "the local agent's archive", err);
	release(pairs);
	return result;
}

static int publish_store(struct client *c, const struct loss *l, struct error *err)
{
	struct chain pairs[STORE_PAIRS_MAX] = {0};
	size_t count = 0;
	auto_manifest struct manifest ignored = {0};
	int result = store_load(c->hub->store, c->certificate, l->store, pairs, &count, &ignored, err);
	if (result == 0)
		result = publish_these(c, l, pairs, count, l->store, "the store", err);
	release(pairs);
	return result;
}

/* Returns 1 when it is published, 0 when there is nothing that is new enough, or -1 when what there is was refused. */
static int publish_newest(struct client *c, const struct loss *l, const struct files *files, struct error *err)
{
	bool archive = !revision_is_placeholder(l->archive) && revision_compare(l->archive, l->agents) >= 0 &&
		revision_compare(l->archive, l->store) >= 0;
	bool store = !revision_is_placeholder(l->store) && revision_compare(l->store, l->agents) >= 0;
	/* Of two revisions with one number, the store's is the one that this hub made after it was restored. */
	bool tie = archive && store && revision_compare(l->archive, l->store) == 0;
	*err = (struct error){.kind = ERROR_NONE};
	if (tie && publish_store(c, l, err) == 0)
		return 1;
	if (archive && files && publish_archive(c, l, files, err) == 0)
		return 1;
	if (store && !tie && publish_store(c, l, err) == 0)
		return 1;
	return err->kind == ERROR_NONE ? 0 : -1;
}

static void order(struct client *c, const struct loss *l, const char *why)
{
	char text[REVISION_TEXT_MAX];
	struct error err;
	struct renewal *r = renewal_find(c->hub, c->certificate);
	if (!r)
		client_refuse(c, CLI_FAILED,
			"%s: %s%s has had revision %s, and its content is neither in the store nor in the archive that was brought; "
			"it is not an ACME certificate, so bring it: certsync import %s --key FILE --chain FILE. What is published next begins a "
			"new epoch, which every agent takes",
			c->certificate, why, l->newest_agent ? l->newest_agent : "an agent",
			revision_text(l->agents, text), c->certificate);
	else if (renewal_now(r, true, &err) < 0)
		client_refuse(
			c, CLI_FAILED, "%s: %sanother one cannot be ordered: %s", c->certificate, why, err.message);
	else
		client_follow(c, l->rollout, true);
}

static void recover(struct client *c, const struct files *files)
{
	struct error err;
	struct loss l = {0};
	if (look(c, &l, &err) < 0) {
		client_refuse(c, CLI_FAILED, "%s", err.message);
		return;
	}
	if (!l.ahead) {
		client_finish(
			c, CLI_DONE, "warning", "no agent that was heard is ahead of this hub: nothing was changed");
		return;
	}
	struct revision top = newer(newer(l.agents, l.store), l.archive);
	/* An agent that is damaged, or lies, must not use up the epochs of the others. */
	if (top.epoch > l.store.epoch + RECOVER_EPOCHS_MAX) {
		client_refuse(c, CLI_FAILED,
			"%s: %s claims epoch %u, which this hub (at %u) can hardly have had: nothing was changed. See what "
			"is wrong there; certsync-agent status on that node shows what it has",
			c->certificate, top.epoch == l.agents.epoch && l.newest_agent ? l.newest_agent : "the archive",
			top.epoch, l.store.epoch);
		return;
	}
	if (store_begin_epoch(c->hub->store, c->certificate, top.epoch + 1, &err) < 0) {
		client_refuse(c, CLI_FAILED, "%s", err.message);
		return;
	}
	log_event(LOG_LEVEL_NOTICE, "recover", "certificate=%s epoch=%u", c->certificate, top.epoch + 1);
	int published = publish_newest(c, &l, files, &err);
	if (published > 0) {
		client_follow(c, l.rollout, false);
		return;
	}
	auto_free char *why = published < 0 ? mem_printf("%s; and ", err.message) : mem_strdup("");
	order(c, &l, why);
}

void control_recover(struct client *c, const cJSON *request)
{
	struct error err;
	const cJSON *archive = json_get(request, "archive");
	const char *name = json_string(request, "certificate", NAME_CERTIFICATE_MAX - 1, &err);
	if (!name || !hub_config_certificate(c->hub->config, name)) {
		client_refuse(c, CLI_USAGE, "hub.conf has no certificate \"%s\"", name ? name : "");
		return;
	}
	snprintf(c->certificate, sizeof(c->certificate), "%s", name);
	if (!archive)
		recover(c, NULL);
	else if (!cJSON_IsString(archive) || !revision_parse(archive->valuestring, &c->archive))
		client_refuse(c, CLI_USAGE, "archive: is not a revision");
	else
		c->files = recover;
}
