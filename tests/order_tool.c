/* What the daemon does for one certificate, alone: opens a store, serves http-01, runs one ACME order with
 * `certsync-worker acme` from the directory that it stands in, prints what happens and ends.
 *
 *   order_tool STATE HTTP-ADDRESS DIRECTORY-URL CA-FILE KILL-AT NAME…
 *
 * KILL-AT is a step at whose first word the tool kills itself without warning, or "-". The first NAME is the
 * certificate. Lines: "step WORDS", "issued NAMES", "failed KIND RETRY-AFTER TEXT". Exit 0 issued, 1 not.
 */
#include "hub/order.h"
#include "lib/clock.h"
#include "lib/mem.h"
#include "lib/proc.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tool {
	struct event_base *base;
	struct store *store;
	const char *kill_at;
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

static int on_issued(const char *certificate, const struct chain *pairs, size_t count, void *context)
{
	struct tool *t = context;
	const struct manifest meta = {.source = "acme", .reason = "order_tool"};
	struct chain_facts facts = {0};
	struct revision revision;
	struct error err;
	event_base_loopbreak(t->base);
	if (store_publish(t->store, certificate, pairs, count, &meta, &revision, &err) < 0 ||
		chain_facts(pairs->leaf, &facts, &err) < 0) {
		printf("failed publish 0 %s\n", err.message);
		return -1;
	}
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

static void on_failed(const char *certificate, const struct error *err, int64_t retry_after, void *context)
{
	struct tool *t = context;
	(void)certificate;
	printf("failed %d %lld %s\n", (int)err->kind, (long long)retry_after, err->message);
	event_base_loopbreak(t->base);
}

static int run(struct tool *t, char **argv, char **names, struct error *err)
{
	static const struct order_handler handler = {on_progress, on_issued, on_failed, NULL, NULL};
	const struct order_options options = {.anchors = argv[4]};
	char *contact[] = {NULL};
	const struct hub_acme acme = {
		.name = "test", .directory = argv[3], .contact = contact, .agree_tos = true, .ca_file = argv[4]};
	const struct hub_certificate certificate = {
		.name = names[0], .acme = &acme, .names = names, .key_type = "ecdsa-p256"};
	struct challenge *challenge = NULL;
	struct order *order = NULL;
	t->store = store_open(argv[1], err);
	if (t->store)
		challenge = challenge_new(t->base, argv[2], err);
	if (challenge)
		order = order_start(t->base, t->store, challenge, &certificate, &options, &handler, t, err);
	if (order)
		event_base_dispatch(t->base);
	challenge_free(challenge);
	if (t->store)
		store_close(t->store);
	return order ? 0 : -1;
}

int main(int argc, char **argv)
{
	struct tool t = {.exit = 1};
	struct error err;
	if (argc < 7) {
		fprintf(stderr, "usage: order_tool STATE HTTP-ADDRESS DIRECTORY-URL CA-FILE KILL-AT NAME…\n");
		return 2;
	}
	proc_harden();
	signal(SIGPIPE, SIG_IGN);
	t.kill_at = argv[5];
	t.base = event_base_new();
	if (run(&t, argv, argv + 6, &err) < 0)
		printf("failed %d 0 %s\n", (int)err.kind, err.message);
	event_base_free(t.base);
	return t.exit;
}
