/* Does alone what the daemon does for one certificate: opens a store, serves http-01, runs one ACME order with the
 * `certsync-worker acme` that stands in its own directory, prints what happens, and ends.
 *
 *   order_tool STATE HTTP-ADDRESS DIRECTORY-URL CA-FILE KILL-AT [SETTING=VALUE…] NAME…
 *
 * KILL-AT is a step at whose first word the tool kills itself without warning, or "-". SETTINGs are those of hub.conf,
 * and "replaces", "new_key", and "judge": the trust anchors by which the pairs are judged before they are published, as
 * the hub judges them. The first NAME is the certificate. It prints the lines "step WORDS", "warning TEXT", "next
 * SHA-256", "issued NAMES", "failed KIND RETRY-AFTER TEXT". The exit code is 0 when it was issued, else 1.
 */
#include "hub/daemon/acme/order.h"
#include "tests/keys.h"
#include "tests/spawner.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"
#include "lib/core/proc.h"
#include "lib/crypto/verify.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tool {
	struct event_base *base;
	struct workers *workers;
	struct store *store;
	struct keys *keys;
	const char *kill_at;
	struct hub_acme acme;
	struct hub_certificate certificate;
	struct order_options options;
	struct anchors *judge;
	int exit;
};

static void on_progress(const char *certificate, const char *step, void *context)
{
	const struct tool *t = context;
	(void)certificate;
	printf("step %s\n", step);
	fflush(stdout);
	if (strncmp(step, t->kill_at, strlen(t->kill_at)) == 0)
		raise(SIGKILL);
}

static void on_warning(const char *certificate, const char *text, void *context)
{
	(void)certificate, (void)context;
	printf("warning %s\n", text);
}

static int publish(struct tool *t, const char *certificate, const struct chain *pairs, size_t count, struct error *err)
{
	const struct manifest meta = {.source = "acme", .reason = "order_tool"};
	const struct verify_policy policy = {.anchors = t->judge,
		.now = clock_wall(),
		.required = (const char *const *)(void *)t->certificate.names,
		.key_is_vouched = true};
	struct revision revision;
	for (size_t i = 0; t->judge && i < count; i++)
		if (verify_chain(&pairs[i], &policy, err) < 0)
			return -1;
	for (size_t i = 0; i < count; i++) {
		uint8_t id[KEYS_ID_SIZE];
		if (chain_key_id(pairs[i].key, id, err) < 0 || keys_commit(t->keys, id, err) < 0)
			return -1;
	}
	return store_publish(t->store, certificate, pairs, count, &meta, &revision, err);
}

static void print_next(struct tool *t)
{
	uint8_t digests[STORE_PAIRS_MAX][CHAIN_SHA256_SIZE];
	char hex[CHAIN_HEX_MAX];
	struct error err;
	size_t count = 0;
	if (order_next_keys(t->store, t->certificate.name, digests, &count, &err) < 0)
		printf("failed next 0 %s\n", err.message);
	for (size_t i = 0; i < count; i++)
		printf("next %s\n", chain_hex(digests[i], hex));
}

static int on_issued(const char *certificate, const struct chain *pairs, size_t count, void *context)
{
	struct tool *t = context;
	struct chain_facts facts = {0};
	struct error err;
	event_base_loopbreak(t->base);
	if (publish(t, certificate, pairs, count, &err) < 0 || chain_facts(pairs->leaf, &facts, &err) < 0) {
		printf("failed %d 0 not published: %s\n", (int)err.kind, err.message);
		return -1;
	}
	print_next(t);
	printf("issued");
	for (size_t i = 0; i < facts.name_count; i++)
		printf(" %s", facts.names[i]);
	printf("\n");
	chain_facts_release(&facts);
	t->exit = 0;
	if (strcmp(t->kill_at, "published") == 0) {
		fflush(stdout);
		raise(SIGKILL);
	}
	return 0;
}

static void on_failed(const char *certificate, const struct error *err, int64_t retry_after,
	enum authority_trouble trouble, void *context)
{
	struct tool *t = context;
	(void)certificate;
	printf("trouble %s\n", authority_word(trouble));
	printf("failed %d %lld %s\n", (int)err->kind, (long long)retry_after, err->message);
	event_base_loopbreak(t->base);
}

/* Takes a word SETTING=VALUE. Returns false when it is none. */
static bool take_setting(struct tool *t, char *word, struct error *err)
{
	struct hub_certificate *c = &t->certificate;
	const struct {
		const char *name;
		char **text;
		bool *flag;
	} settings[] = {
		{"key", &c->key_type, NULL},
		{"second_key", &c->second_key_type, NULL},
		{"reuse_key", NULL, &c->reuse_key},
		{"next_key", NULL, &c->next_key},
		{"profile", &c->profile, NULL},
		{"preferred_chain", &c->preferred_chain, NULL},
		{"eab_kid", &t->acme.eab_kid, NULL},
		{"eab_hmac", &t->acme.eab_hmac, NULL},
		{"new_key", NULL, &t->options.new_key},
	};
	char *value = strchr(word, '=');
	if (!value)
		return false;
	*value++ = '\0';
	for (size_t i = 0; i < COUNT(settings); i++) {
		if (strcmp(word, settings[i].name) != 0)
			continue;
		if (settings[i].text)
			*settings[i].text = value;
		else
			*settings[i].flag = true;
	}
	if (strcmp(word, "replaces") == 0)
		t->options.replaces[0] = value;
	if (strcmp(word, "anchors") == 0)
		t->options.anchors = value;
	if (strcmp(word, "judge") == 0)
		t->judge = anchors_load(value, err);
	return true;
}

static int run(struct tool *t, char **argv, struct error *err)
{
	static const struct order_handler handler = {
		.progress = on_progress, .issued = on_issued, .failed = on_failed, .warning = on_warning};
	struct challenge *challenge = NULL;
	struct order *order = NULL;
	t->store = store_open(argv[1], err);
	if (t->store)
		challenge = challenge_new(t->base, argv[2], err);
	t->workers = workers_new(t->base);
	t->keys = keys_new(t->base, NULL, NULL);
	auto_free char *keys = mem_printf("%s-keys", argv[1]);
	if (challenge && spawner_begin(t->workers, err) > 0 && keys_begin(t->keys, keys, err) > 0)
		order = order_start(
			t->workers, t->store, t->keys, challenge, &t->certificate, &t->options, &handler, t, err);
	if (order)
		event_base_dispatch(t->base);
	workers_free(t->workers);
	keys_free(t->keys);
	challenge_free(challenge);
	if (t->store)
		store_close(t->store);
	return order ? 0 : -1;
}

int main(int argc, char **argv)
{
	char *contact[] = {NULL};
	struct tool t = {.exit = 1,
		.acme = {.name = "test", .contact = contact, .agree_tos = true},
		.certificate = {.key_type = "ecdsa-p256"}};
	struct error err;
	if (argc < 7) {
		fprintf(stderr,
			"usage: order_tool STATE HTTP-ADDRESS DIRECTORY-URL CA-FILE KILL-AT [SETTING=VALUE…] NAME…\n");
		return 2;
	}
	proc_harden();
	signal(SIGPIPE, SIG_IGN);
	t.acme.directory = argv[3];
	t.acme.ca_file = argv[4];
	t.kill_at = argv[5];
	char **names = argv + 6;
	while (*names && take_setting(&t, *names, &err))
		names++;
	t.certificate.names = names;
	t.certificate.name = names[0];
	t.certificate.acme = &t.acme;
	t.base = event_base_new();
	if (run(&t, argv, &err) < 0)
		printf("failed %d 0 %s\n", (int)err.kind, err.message);
	event_base_free(t.base);
	anchors_free(t.judge);
	return t.exit;
}
