#include "hub/daemon/control/import.h"
#include "hub/daemon/rollout/fleet.h"
#include "hub/daemon/publish/pairing.h"
#include "hub/daemon/publish/publish.h"
#include "hub/common/key_cut.h"
#include "lib/core/mem.h"
#include "lib/core/clock.h"
#include "lib/crypto/bundle.h"
#include "lib/crypto/chain_order.h"

#include <stdio.h>
#include <string.h>

/* Reads the pair of the files "key" and "chain", records of hub/common/key_cut.h, or of those whose names end with
 * `ending`. Returns 1, 0 when they are not there, or -1. */
static int import_pair(const struct files *files, const char *ending, const struct anchors *anchors, struct chain *ret,
	struct error *err)
{
	char key_name[16], chain_name[16];
	snprintf(key_name, sizeof(key_name), "key%s", ending);
	snprintf(chain_name, sizeof(chain_name), "chain%s", ending);
	int key = files_find(files, key_name), text = files_find(files, chain_name);
	if (key < 0 || text < 0)
		return 0;
	auto_key_cut struct key_cut of_key = {.key = NULL}, of_chain = {.key = NULL};
	if (key_cut_decode(files->file[key].data, files->file[key].len, &of_key, err) < 0 ||
		key_cut_decode(files->file[text].data, files->file[text].len, &of_chain, err) < 0)
		return -1;
	if (of_chain.damage[0] || of_key.damage[0])
		return error_set(err, ERROR_PERMANENT, "%s", of_chain.damage[0] ? of_chain.damage : of_key.damage);
	/* A file that is both is given twice. */
	bool combined = files->file[key].len == files->file[text].len &&
		memcmp(files->file[key].data, files->file[text].data, files->file[key].len) == 0;
	if (of_chain.key && !combined)
		return error_set(err, ERROR_PERMANENT,
			"certificates: a private key among the certificates: remove it there, it belongs into "
			"its own file");
	if (!of_chain.chain.leaf || !of_key.key) {
		const char *form = of_key.key ? of_chain.form : of_key.form;
		return error_set(err, ERROR_PERMANENT, "%s%s%s",
			of_key.key ? "certificates: there is no certificate in it"
				   : "private key: there is no private key in it",
			form[0] ? ": it is " : "", form);
	}
	*ret = of_chain.chain;
	ret->key = steal(of_key.key);
	of_chain.chain = (struct chain){0};
	return chain_order(ret, anchors, clock_wall(), err) < 0 ? -1 : 1;
}

int import_pairs(const struct files *files, const struct anchors *anchors, struct chain pairs[STORE_PAIRS_MAX],
	struct error *err)
{
	int first = import_pair(files, "", anchors, &pairs[0], err);
	if (first <= 0)
		return first < 0 ? -1 : error_set(err, ERROR_USAGE, "the request came without a key and a chain");
	int second = import_pair(files, "-2", anchors, &pairs[1], err);
	if (second <= 0)
		return second < 0 ? error_wrap(err, "the second pair") : 1;
	if (pairing_kind(pairs[0].leaf) == pairing_kind(pairs[1].leaf))
		return error_set(
			err, ERROR_USAGE, "two pairs of one kind: a certificate has an ECDSA and an RSA pair, or one");
	return 2;
}

static int import_files(struct client *c, const struct files *files, struct error *err)
{
	const struct hub_certificate *certificate = hub_config_certificate(c->hub->config, c->certificate);
	struct manifest meta = {.source = "import", .flags = c->may_expire_sooner ? BUNDLE_MAY_EXPIRE_SOONER : 0};
	struct revision revision;
	struct chain pairs[STORE_PAIRS_MAX] = {0};
	bool unchanged;
	snprintf(meta.reason, sizeof(meta.reason), "by uid %u", (unsigned)c->uid);
	int count = import_pairs(files, c->hub->anchors, pairs, err);
	int result =
		count < 0 ? -1 : publish(c->hub, certificate, pairs, (size_t)count, &meta, &revision, &unchanged, err);
	for (size_t i = 0; i < STORE_PAIRS_MAX; i++)
		chain_release(&pairs[i]);
	return result;
}

static void take_import(struct client *c, const struct files *files)
{
	struct error err;
	if (import_files(c, files, &err) < 0)
		client_refuse(c, CLI_FAILED, "%s: not imported: %s", c->certificate, err.message);
	else
		client_follow(c, fleet_find(c->hub, c->certificate), false);
}

void control_import(struct client *c, const cJSON *request)
{
	struct error err;
	const char *name = json_string(request, "certificate", NAME_CERTIFICATE_MAX - 1, &err);
	if (!name) {
		client_refuse(c, CLI_USAGE, "%s", err.message);
		return;
	}
	if (!hub_config_certificate(c->hub->config, name)) {
		client_refuse(c, CLI_USAGE, "hub.conf has no certificate \"%s\": add it there first", name);
		return;
	}
	c->may_expire_sooner = json_true(request, "may_expire_sooner");
	snprintf(c->certificate, sizeof(c->certificate), "%s", name);
	c->files = take_import;
}
