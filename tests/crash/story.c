#include "tests/crash/story.h"
#include "tests/crash/story_join.h"
#include "agent/root/identity.h"
#include "agent/root/certificate.h"
#include "agent/common/pin.h"
#include "agent/root/operation.h"
#include "agent/root/resume.h"
#include "hub/keys/signer.h"
#include "hub/keys/vault.h"
#include "lib/crypto/seal.h"
#include "hub/daemon/store.h"
#include "lib/core/fs.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char certificate[] = "mail.domain.pl";
enum { RESUME_PEM = 9 };

bool story_quiet;

void story_say(const char *fmt, ...)
{
	char line[1024];
	va_list args;
	if (story_quiet)
		return;
	va_start(args, fmt);
	int len = vsnprintf(line, sizeof(line) - 1, fmt, args);
	va_end(args);
	line[len++] = '\n';
	if (write(STDOUT_FILENO, line, (size_t)len) != len)
		_exit(3);
}

static int refused(const char *what, const char *why)
{
	fprintf(stderr, "%s: %s\n", what, why);
	return 1;
}

static int read_pem(const char *dir, int number, struct chain *ret, char hex[CHAIN_HEX_MAX], struct error *err)
{
	auto_free char *path = mem_printf("%s/pem/%d.pem", dir, number);
	auto_buf struct buf pem = BUF_INIT(CHAIN_PEM_MAX);
	uint8_t fingerprint[CHAIN_SHA256_SIZE];
	if (fs_read(AT_FDCWD, path, false, &pem, err) < 0 ||
		chain_parse_pem(pem.data, pem.len, pem.data, pem.len, ret, err) < 0)
		return -1;
	chain_fingerprint(ret->leaf, fingerprint);
	chain_hex(fingerprint, hex);
	return 0;
}

/* ---- the hub ---- */

static struct store *open_hub(const char *dir, struct error *err)
{
	auto_free char *state = mem_printf("%s/disk/hub", dir);
	return store_open(state, err);
}

static struct vault *open_keys(const char *dir, struct error *err)
{
	auto_free char *keys = mem_printf("%s/disk/hub-keys", dir);
	return vault_open(keys, err);
}

/* The key is committed before the revision is there, in the order in which hub/daemon/publish/publish.c has
 * certsync-keys do it. */
static int commit_key(struct vault *v, EVP_PKEY *key, struct error *err)
{
	uint8_t id[KEYS_ID_SIZE];
	char hex[CHAIN_HEX_MAX];
	auto_buf struct buf spki = BUF_INIT(KEYS_SPKI_MAX);
	if (vault_bring(v, key, &spki, err) < 0 || chain_key_id(key, id, err) < 0 || vault_commit(v, id, err) < 0)
		return -1;
	story_say("key %s", chain_hex(id, hex));
	return 0;
}

static int publish_pem(struct store *s, const char *dir, int number, const char *source, struct error *err)
{
	auto_chain struct chain pair = {0};
	char hex[CHAIN_HEX_MAX], text[REVISION_TEXT_MAX];
	struct manifest meta = {.reason = "a story"};
	struct revision made;
	snprintf(meta.source, sizeof(meta.source), "%s", source);
	if (read_pem(dir, number, &pair, hex, err) < 0)
		return -1;
	story_say("doing publish %s", hex);
	struct vault *v = open_keys(dir, err);
	int kept = v ? commit_key(v, pair.key, err) : -1;
	vault_close(v);
	if (kept < 0 || store_publish(s, certificate, &pair, 1, &meta, &made, err) < 0)
		return -1;
	story_say("published %s %s", revision_text(made, text), hex);
	return 0;
}

/* The content is published first and then noted as seen, in the order of hub/daemon/publish/watched.c. */
static int watch_pem(struct store *s, const char *dir, int number, struct error *err)
{
	auto_free char *seen = mem_printf("what was seen of %d", number);
	if (publish_pem(s, dir, number, "watch", err) < 0)
		return -1;
	story_say("doing record sources/%s/seen %s", certificate, seen);
	if (store_put(s, "sources", certificate, "seen", seen, strlen(seen), err) < 0)
		return -1;
	story_say("record sources/%s/seen %s", certificate, seen);
	return 0;
}

static int put_record(struct store *s, const char *kind, const char *file, const char *text, struct error *err)
{
	story_say("doing record %s/%s/%s %s", kind, certificate, file, text);
	if (store_put(s, kind, certificate, file, text, strlen(text), err) < 0)
		return -1;
	story_say("record %s/%s/%s %s", kind, certificate, file, text);
	return 0;
}

static int drop_record(struct store *s, const char *kind, struct error *err)
{
	story_say("doing drop %s/%s/", kind, certificate);
	if (store_drop(s, kind, certificate, err) < 0)
		return -1;
	story_say("dropped %s/%s/", kind, certificate);
	return 0;
}

static int hub_first(struct store *s, const char *dir, struct error *err)
{
	return publish_pem(s, dir, 1, "import", err) < 0 ? -1 : watch_pem(s, dir, 2, err);
}

static int hub_next(struct store *s, const char *dir, struct error *err)
{
	return watch_pem(s, dir, 3, err) < 0 ? -1 : publish_pem(s, dir, 4, "import", err);
}

/* A rollback publishes the old content as a new revision. */
static int hub_rollback(struct store *s, const char *dir, struct error *err)
{
	return publish_pem(s, dir, 1, "rollback", err);
}

static int hub_epoch(struct store *s, const char *dir, struct error *err)
{
	story_say("doing record epochs/%s/epoch 2", certificate);
	if (store_begin_epoch(s, certificate, 2, err) < 0)
		return -1;
	story_say("record epochs/%s/epoch 2", certificate);
	return publish_pem(s, dir, 3, "import", err);
}

/* An order stores its key and then its URL, both before finalize, and drops both when its certificate is published
 * (hub/daemon/acme/order.c). */
/* The record is the id of the key that certsync-keys has made. */
static int make_key(struct vault *v, struct store *s, enum keys_class key_class, const char *kind, const char *file,
	uint8_t id[KEYS_ID_SIZE], struct error *err)
{
	char hex[CHAIN_HEX_MAX];
	auto_buf struct buf spki = BUF_INIT(KEYS_SPKI_MAX);
	if (vault_make(v, key_class, "ecdsa-p256", &spki, err) < 0 || sha256(spki.data, spki.len, id) < 0)
		return -1;
	story_say("key %s", chain_hex(id, hex));
	return put_record(s, kind, file, hex, err);
}

static int run_order(struct vault *v, struct store *s, const char *dir, struct error *err)
{
	uint8_t account[KEYS_ID_SIZE], order[KEYS_ID_SIZE], next[KEYS_ID_SIZE];
	char hex[CHAIN_HEX_MAX];
	if (make_key(v, s, KEYS_ACCOUNT, "accounts", "account.pub", account, err) < 0 ||
		make_key(v, s, KEYS_LEAF, "orders", "key.pub", order, err) < 0 ||
		put_record(s, "orders", "order.json", "the order's URL", err) < 0)
		return -1;
	if (vault_commit(v, order, err) < 0 || publish_pem(s, dir, 3, "acme", err) < 0 ||
		drop_record(s, "orders", err) < 0 || make_key(v, s, KEYS_LEAF, "orders", "key.pub", next, err) < 0)
		return -1;
	story_say("doing lose %s", chain_hex(account, hex));
	if (vault_drop(v, KEYS_ACCOUNT, account, err) < 0)
		return -1;
	return put_record(s, "orders", "order.json", "the next order's URL", err);
}

static int hub_order(struct store *s, const char *dir, struct error *err)
{
	struct vault *v = open_keys(dir, err);
	int result = v ? run_order(v, s, dir, err) : -1;
	vault_close(v);
	return result;
}

static int open_signer(const char *dir, struct error *err)
{
	char hex[CHAIN_HEX_MAX];
	struct signer signer = {.is_there = false};
	struct vault *v = open_keys(dir, err);
	int result = v ? signer_open(&signer, vault_directory(v), err) : -1;
	if (result == 0)
		result = signer_make(&signer, vault_directory(v), err);
	if (result == 0)
		story_say("signer %s", chain_hex(signer.public_key, hex));
	signer_release(&signer);
	vault_close(v);
	return result;
}

static int on_hub(const char *dir, const char *what, int (*story)(struct store *s, const char *dir, struct error *err))
{
	struct error err;
	struct store *s = open_hub(dir, &err);
	if (!s)
		return refused(what, err.message);
	int result =
		open_signer(dir, &err) == 0 && (!story || story(s, dir, &err) == 0) ? 0 : refused(what, err.message);
	store_close(s);
	return result;
}

/* ---- the agent ---- */

struct node {
	struct agent_config config;
	struct agent_certificate certificate;
	struct agent_service service;
	struct agent_file file;
	struct directories directories;
	struct root_certificate root_certificate;
	char *allow[2], *probe[1];
	char *paths[8];
};

static void configure(struct node *n, const char *dir)
{
	static const char *const below[] = {
		"disk/etc", "disk/root", "disk/state", "disk/run", "disk/own/one.pem", "hooks", "pem/ca.pem"};
	for (size_t i = 0; i < COUNT(below); i++)
		n->paths[i] = mem_printf("%s/%s", dir, below[i]);
	static char service[] = "one", content[] = "combined", any[] = "*.domain.pl", user[] = "nobody",
		    group[] = "nogroup";
	n->allow[0] = any;
	n->file = (struct agent_file){.path = n->paths[4], .content = content, .mode = 0640};
	n->service = (struct agent_service){
		.name = service, .probe = n->probe, .timeout = 5, .files = &n->file, .file_count = 1};
	n->certificate = (struct agent_certificate){
		.name = certificate, .allow = n->allow, .services = &n->service, .service_count = 1};
	n->config = (struct agent_config){.directory = n->paths[0],
		.root_state = n->paths[1],
		.state = n->paths[2],
		.run = n->paths[3],
		.hooks = n->paths[5],
		.anchors = n->paths[6],
		.user = user,
		.admin_group = group,
		.certificates = &n->certificate,
		.certificate_count = 1};
	n->directories = (struct directories){.root_state = -1, .state = -1, .run = -1, .pins = -1};
	n->root_certificate.install.live = n->root_certificate.install.archive = -1;
}

static void close_node(struct node *n)
{
	root_certificate_close(&n->root_certificate);
	directories_close(&n->directories);
	for (size_t i = 0; i < COUNT(n->paths); i++)
		free(n->paths[i]);
}

/* Opens what certsync-agent-root opens at its start. */
static int open_node(struct node *n, const char *dir, struct error *err)
{
	configure(n, dir);
	if (directories_open(&n->config, &n->directories, err) < 0)
		return -1;
	directories_sweep(&n->directories);
	if (root_certificate_open(
		    &n->root_certificate, &n->config, &n->certificate, n->directories.root_state, -1, err) < 0)
		return -1;
	return root_certificate_start(&n->root_certificate, err);
}

static int tell_identity(struct node *n, struct error *err)
{
	auto_identity struct identity i = {0};
	char hex[CHAIN_HEX_MAX];
	if (identity_load(&n->directories, &i, err) < 0)
		return -1;
	story_say("identity %s %s", chain_hex(i.seal_public, hex), i.ssh_public);
	return 0;
}

static int reply_to(const char *done, struct revision revision, struct reply *reply, struct error *err)
{
	char text[REVISION_TEXT_MAX];
	bool ok = reply->ok;
	if (!ok)
		error_set(err, ERROR_PERMANENT, "%s: %s", reply->step, reply->text);
	reply_release(reply);
	mem_free_cleanup(&reply);
	if (!ok)
		return -1;
	story_say("%s %s", done, revision_text(revision, text));
	return 0;
}

static int stage_pem(struct node *n, const char *dir, struct revision revision, int number, struct error *err)
{
	auto_bundle struct bundle b = {.revision = revision, .pair_count = 1, .flags = BUNDLE_MAY_EXPIRE_SOONER};
	char hex[CHAIN_HEX_MAX], text[REVISION_TEXT_MAX];
	memcpy(b.certificate, certificate, sizeof(certificate));
	if (read_pem(dir, number, &b.pairs[0], hex, err) < 0)
		return -1;
	auto_identity struct identity identity = {0};
	auto_buf struct buf sealed = BUF_INIT(BUNDLE_MAX);
	struct bundle_keys keys = {.signer_count = 1};
	uint8_t sign_private[SEAL_KEY_SIZE];
	struct bundle checked;
	if (identity_load(&n->directories, &identity, err) < 0 ||
		sign_keypair(sign_private, keys.signers[0], err) < 0 ||
		bundle_seal(&b, identity.seal_public, sign_private, &sealed, err) < 0)
		return -1;
	memcpy(keys.seal_public, identity.seal_public, sizeof(keys.seal_public));
	if (bundle_check(sealed.data, sealed.len, &keys, &checked, err) < 0)
		return -1;
	struct reply *reply = mem_alloc(sizeof(*reply));
	story_say("doing stage %s %s", revision_text(revision, text), hex);
	operation_stage(&n->root_certificate,
		&(const struct sealed){&checked, sealed.data, sealed.len, identity.seal_private}, reply);
	return reply_to("staged", revision, reply, err);
}

static int ask(struct node *n, enum request_op op, struct revision revision, struct error *err)
{
	static const char *const doing[] = {[REQUEST_ACTIVATE] = "activate",
		[REQUEST_RELOAD] = "reload",
		[REQUEST_COMMIT] = "commit",
		[REQUEST_UNDO] = "undo"};
	static const char *const done[] = {[REQUEST_ACTIVATE] = "activated",
		[REQUEST_RELOAD] = "reloaded",
		[REQUEST_COMMIT] = "committed",
		[REQUEST_UNDO] = "undone"};
	char text[REVISION_TEXT_MAX];
	const struct request request = {.op = op, .revision = revision, .timeout = OPERATION_TIMEOUT_MAX};
	struct reply *reply = mem_alloc(sizeof(*reply));
	reply->op = op;
	reply->revision = revision;
	story_say("doing %s %s", doing[op], revision_text(revision, text));
	operation_request(&n->root_certificate, &request, reply);
	return reply_to(done[op], revision, reply, err);
}

static int install_pem(struct node *n, const char *dir, struct revision revision, int number, struct error *err)
{
	return stage_pem(n, dir, revision, number, err) < 0 || ask(n, REQUEST_ACTIVATE, revision, err) < 0
		? -1
		: ask(n, REQUEST_COMMIT, revision, err);
}

static int agent_first(struct node *n, const char *dir, struct error *err)
{
	return tell_identity(n, err) < 0 ? -1 : install_pem(n, dir, (struct revision){1, 1}, 1, err);
}

/* The story has an undo and hooks on its way, and so many revisions that the archive is pruned. */
static int agent_next(struct node *n, const char *dir, struct error *err)
{
	const struct revision second = {1, 2};
	if (tell_identity(n, err) < 0 || stage_pem(n, dir, second, 2, err) < 0 ||
		ask(n, REQUEST_ACTIVATE, second, err) < 0 || ask(n, REQUEST_UNDO, second, err) < 0 ||
		ask(n, REQUEST_ACTIVATE, second, err) < 0 || ask(n, REQUEST_RELOAD, second, err) < 0)
		return -1;
	return ask(n, REQUEST_COMMIT, second, err);
}

static int agent_many(struct node *n, const char *dir, struct error *err)
{
	for (int i = 2; i <= 5; i++)
		if (install_pem(n, dir, (struct revision){1, (uint32_t)i}, i, err) < 0)
			return -1;
	return install_pem(n, dir, (struct revision){2, 1}, 1, err);
}

/* What a rollback does on a node: the old files come back before the commit, once on request and once because nobody
 * commits in time; then content that is served already gets another number, and old content comes as a new revision. */
static int agent_rollback(struct node *n, const char *dir, struct error *err)
{
	const struct revision third = {1, 3}, fourth = {1, 4}, fifth = {1, 5};
	if (stage_pem(n, dir, third, 1, err) < 0 || ask(n, REQUEST_ACTIVATE, third, err) < 0 ||
		ask(n, REQUEST_RELOAD, third, err) < 0 || ask(n, REQUEST_UNDO, third, err) < 0 ||
		install_pem(n, dir, fourth, 2, err) < 0 || stage_pem(n, dir, fifth, 1, err) < 0 ||
		ask(n, REQUEST_ACTIVATE, fifth, err) < 0)
		return -1;
	story_say("doing undo 1.5");
	n->root_certificate.undo_at_ms = 0;
	root_certificate_tick(&n->root_certificate);
	story_say("undone 1.5");
	return ask(n, REQUEST_ACTIVATE, fifth, err) < 0 || ask(n, REQUEST_RELOAD, fifth, err) < 0
		? -1
		: ask(n, REQUEST_COMMIT, fifth, err);
}

/* Both identities are made and then the hub's pins are written: this is what a join leaves on the node. */
static int agent_join(struct node *n, const char *dir, struct error *err)
{
	static const char line[] = "certsync-hub:1 ssh://certsync-gate@haproxy.domain.pl:22 "
				   "sign=ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= host=SHA256:"
				   "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
	struct pin *pin = mem_alloc(sizeof(*pin));
	(void)dir;
	int result = tell_identity(n, err);
	story_say("doing pin");
	if (result == 0)
		result = pin_parse(line, pin, err) < 0 ? -1 : pin_write(&n->config, pin, false, err);
	mem_free_cleanup(&pin);
	if (result == 0)
		story_say("pinned");
	return result;
}

static int on_agent(const char *dir, const char *what, int (*story)(struct node *n, const char *dir, struct error *err))
{
	struct node *n = mem_alloc(sizeof(*n));
	struct error err;
	int result =
		open_node(n, dir, &err) == 0 && (!story || story(n, dir, &err) == 0) ? 0 : refused(what, err.message);
	close_node(n);
	mem_free_cleanup(&n);
	return result;
}

/* ---- all of them ---- */

static const struct {
	const char *name;
	int (*hub)(struct store *s, const char *dir, struct error *err);
	int (*agent)(struct node *n, const char *dir, struct error *err);
} stories[] = {
	{"hub-first", hub_first, NULL},
	{"hub-next", hub_next, NULL},
	{"hub-rollback", hub_rollback, NULL},
	{"hub-epoch", hub_epoch, NULL},
	{"hub-order", hub_order, NULL},
	{"hub-join", story_join, NULL},
	{"agent-join", NULL, agent_join},
	{"agent-first", NULL, agent_first},
	{"agent-next", NULL, agent_next},
	{"agent-many", NULL, agent_many},
	{"agent-rollback", NULL, agent_rollback},
};

int story_run(const char *dir, const char *name)
{
	story_say("begin %s", name);
	for (size_t i = 0; i < COUNT(stories); i++) {
		if (strcmp(stories[i].name, name) != 0)
			continue;
		return stories[i].hub ? on_hub(dir, name, stories[i].hub) : on_agent(dir, name, stories[i].agent);
	}
	return 2;
}

static bool is_there(const char *dir, const char *what)
{
	auto_free char *path = mem_printf("%s/disk/%s", dir, what);
	return access(path, F_OK) == 0;
}

static int tell_only_identity(struct node *n, const char *dir, struct error *err)
{
	(void)dir;
	return tell_identity(n, err);
}

/* At each start the root half is told anew who may come in. */
static int start_hub(struct store *s, const char *dir, struct error *err)
{
	return is_there(dir, "gate") ? story_join_start(s, dir, err) : 0;
}

int story_recover(const char *dir)
{
	story_say("recovery");
	int result = is_there(dir, "hub") ? on_hub(dir, "recovery of the hub", start_hub) : 0;
	return is_there(dir, "own") && on_agent(dir, "recovery of the agent", tell_only_identity) != 0 ? 1 : result;
}

static int resume_hub(struct store *s, const char *dir, struct error *err)
{
	if (is_there(dir, "gate") && story_join_again(s, dir, err) < 0)
		return -1;
	return publish_pem(s, dir, RESUME_PEM, "import", err);
}

static int resume_agent(struct node *n, const char *dir, struct error *err)
{
	return install_pem(n, dir, (struct revision){9, 1}, RESUME_PEM, err);
}

int story_resume(const char *dir)
{
	story_say("resumption");
	int result = is_there(dir, "hub") ? on_hub(dir, "resumption at the hub", resume_hub) : 0;
	return is_there(dir, "own") && on_agent(dir, "resumption at the agent", resume_agent) != 0 ? 1 : result;
}
