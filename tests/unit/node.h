/* The model of a node for test_transaction.c: a root half that keeps its books, two services with three
 * ports, a hub that listens, and a clock. Whatever the transaction does is one word of the trace.
 */
#ifndef CERTSYNC_TESTS_NODE_H
#define CERTSYNC_TESTS_NODE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/daemon/transaction.h"
#include "lib/core/mem.h"
#include "tests/unit/range.h"

#define NAME "mail.domain.pl"
#define OLD ((struct revision){1, 7})
#define NEW ((struct revision){1, 8})

enum { SMTP, IMAP, POP3, PORTS };

struct node {
	struct transaction t;
	int64_t now;
	char trace[1024];
	struct message told; /* the last message to the hub, without its lists */
	size_t told_probes;

	/* what the transaction waits for */
	enum { NOTHING, A_BUNDLE, A_REPLY, PROBES, A_WAIT } waits;
	struct request asked;
	bool wanted[PORTS];
	int64_t wait_ms;

	/* the root half */
	struct inventory have;
	struct revision bundle; /* the revision that the hub's bundle has */
	uint8_t bundle_leaf;
	enum request_op fails; /* the request that is answered with a failure; 0: none */
	bool root_rolls_back;  /* … and that the root half then has put the old files back by itself */
	const char *undo_says; /* what its hooks print, though they succeed */
	bool undo_keeps;       /* an undo finds nothing that could be put back */
	const char *stopped;   /* the service that does not run */

	/* the ports: the first byte of the leaf that is served; 0: dead */
	uint8_t serves[PORTS];
	uint8_t serves_after_reload[PORTS];
	int rounds_until_reload; /* rounds of probes that still see the old leaf */
};

static void word(struct node *n, const char *text)
{
	size_t used = strlen(n->trace);
	snprintf(n->trace + used, sizeof(n->trace) - used, "%s%s", used ? " " : "", text);
}

static void on_tell(const struct message *m, void *context)
{
	struct node *n = context;
	auto_free char *text = mem_printf("!%s", message_type_name(m->type));
	word(n, text);
	n->told = *m;
	n->told_probes = m->probe_count;
	n->told.probes = NULL;
}

static void on_fetch(struct revision revision, uint32_t attempt, void *context)
{
	struct node *n = context;
	(void)attempt;
	assert_int_equal(revision_compare(revision, n->t.order.content.revision), 0);
	word(n, "fetch");
	n->waits = A_BUNDLE;
}

static void on_stage(const uint8_t *bundle, size_t len, void *context)
{
	struct node *n = context;
	(void)bundle;
	(void)len;
	word(n, "stage");
	n->asked = (struct request){.op = REQUEST_STAGE};
	n->waits = A_REPLY;
}

static void on_ask(enum request_op op, struct revision revision, uint32_t timeout, void *context)
{
	static const char *const names[] = {[REQUEST_INVENTORY] = "look",
		[REQUEST_TEST] = "test",
		[REQUEST_ACTIVATE] = "activate",
		[REQUEST_RELOAD] = "reload",
		[REQUEST_RUNNING] = "running",
		[REQUEST_COMMIT] = "commit",
		[REQUEST_UNDO] = "undo"};
	struct node *n = context;
	assert_int_equal(n->waits, NOTHING);
	word(n, names[op]);
	n->asked = (struct request){.op = op, .revision = revision, .timeout = timeout};
	n->waits = A_REPLY;
}

static void on_probe(const bool *wanted, void *context)
{
	struct node *n = context;
	assert_int_equal(n->waits, NOTHING);
	word(n, "probe");
	memcpy(n->wanted, wanted, sizeof(n->wanted));
	n->waits = PROBES;
}

static void on_wait(int64_t milliseconds, void *context)
{
	struct node *n = context;
	assert_uint_in_range(milliseconds, 250, 2000);
	n->wait_ms = milliseconds;
	n->waits = A_WAIT;
}

static void on_cancel(void *context)
{
	struct node *n = context;
	word(n, "cancel");
	n->waits = NOTHING;
}

static const struct transaction_io io = {on_tell, on_fetch, on_stage, on_ask, on_probe, on_wait, on_cancel};

/* The functions from here on are the root half and what it remembers. */

static void fail_reply(struct node *n, struct reply *r)
{
	r->ok = false;
	r->rolled_back = n->root_rolls_back;
	r->permanent = r->op == REQUEST_STAGE;
	snprintf(r->step, sizeof(r->step), "%s", r->op == REQUEST_STAGE ? "verify" : "");
	snprintf(r->text, sizeof(r->text), "it failed");
	snprintf(r->output, sizeof(r->output), "printed by the hook\n");
	if (n->root_rolls_back) {
		n->have.pending = (struct revision){0};
		memset(n->have.live, 'o', CHAIN_SHA256_SIZE);
	}
}

static void keep_pending(struct node *n)
{
	n->have.served.revision = n->have.pending;
	memcpy(n->have.served.digest, n->have.staged.digest, CHAIN_SHA256_SIZE);
	n->have.pending = (struct revision){0};
	n->have.staged = (struct content){0};
}

static void do_request(struct node *n, struct reply *r)
{
	switch (r->op) {
	case REQUEST_STAGE:
		r->revision = n->bundle;
		n->have.staged.revision = n->have.high_water = n->bundle;
		memset(n->have.staged.leaf, n->bundle_leaf, CHAIN_SHA256_SIZE);
		memset(n->have.staged.digest, n->bundle_leaf, CHAIN_SHA256_SIZE);
		break;
	case REQUEST_ACTIVATE:
		assert_int_equal(revision_compare(n->asked.revision, n->have.staged.revision), 0);
		n->have.pending = n->asked.revision;
		memcpy(n->have.live, n->have.staged.leaf, CHAIN_SHA256_SIZE);
		break;
	case REQUEST_RELOAD:
		memcpy(n->serves, n->serves_after_reload, sizeof(n->serves));
		snprintf(r->output, sizeof(r->output), "dovecot: so it says\n");
		break;
	case REQUEST_COMMIT:
		assert_int_equal(revision_compare(n->asked.revision, n->have.pending), 0);
		keep_pending(n);
		break;
	case REQUEST_UNDO:
		if (n->undo_keeps) {
			keep_pending(n);
			fail_reply(n, r);
			break;
		}
		n->have.pending = (struct revision){0};
		snprintf(r->output, sizeof(r->output), "%s", n->undo_says ? n->undo_says : "");
		memset(n->have.live, 'o', CHAIN_SHA256_SIZE);
		for (int i = 0; i < PORTS; i++)
			n->serves[i] = n->serves[i] ? 'o' : 0;
		break;
	default:
		break;
	}
}

static void answer(struct node *n)
{
	struct reply *r = mem_alloc(sizeof(*r));
	r->op = n->asked.op;
	r->ok = true;
	r->revision = n->asked.revision;
	if (r->op == n->fails) {
		fail_reply(n, r);
	} else {
		do_request(n, r);
	}
	if (n->stopped && (r->op == REQUEST_RUNNING || r->op == REQUEST_RELOAD || r->op == REQUEST_UNDO))
		snprintf(r->stopped[r->stopped_count++], NAME_SERVICE_MAX, "%s", n->stopped);
	r->inventory = &n->have;
	r->inventory_count = 1;
	transaction_reply(&n->t, r, n->now);
	mem_free_cleanup(&r);
}

static void show_ports(struct node *n)
{
	struct message_probe seen[PORTS] = {0};
	for (int i = 0; i < PORTS; i++) {
		uint8_t leaf[CHAIN_SHA256_SIZE];
		memset(leaf, n->rounds_until_reload && n->serves[i] ? 'o' : n->serves[i], sizeof(leaf));
		seen[i].served = n->serves[i] != 0;
		if (seen[i].served)
			chain_hex(leaf, seen[i].fingerprint);
		else
			snprintf(seen[i].text, sizeof(seen[i].text), "connection refused");
	}
	if (n->rounds_until_reload)
		n->rounds_until_reload--;
	n->now += 20;
	transaction_probed(&n->t, seen, n->now);
}

/* Gives one answer to whatever the transaction waits for. */
static void pump_once(struct node *n)
{
	int waits = (int)n->waits;
	n->waits = NOTHING;
	n->now += 10;
	switch (waits) {
	case A_BUNDLE:
		transaction_fetched(&n->t, (const uint8_t *)"bundle", 6);
		break;
	case A_REPLY:
		answer(n);
		break;
	case PROBES:
		show_ports(n);
		break;
	default:
		n->now += n->wait_ms;
		transaction_waited(&n->t);
		break;
	}
}

static void pump(struct node *n)
{
	for (int i = 0; n->waits != NOTHING && i < 200; i++)
		pump_once(n);
	assert_true(transaction_rests(&n->t));
}

/* Gives answers until the given word is the newest of the trace and its own answer is outstanding. */
static void pump_to(struct node *n, const char *last)
{
	for (int i = 0; i < 200; i++) {
		size_t used = strlen(n->trace), len = strlen(last);
		if (used >= len && strcmp(n->trace + used - len, last) == 0)
			return;
		assert_int_not_equal(n->waits, NOTHING);
		pump_once(n);
	}
	fail_msg("never came to %s: %s", last, n->trace);
}

/* The functions from here on are the hub's orders. */

static void order(struct node *n, enum message_type type, struct revision revision, uint32_t attempt, uint8_t leaf)
{
	struct message m = {
		.type = type, .certificate = NAME, .content.revision = revision, .attempt = attempt, .timeout = 120};
	if (type == MESSAGE_OFFER)
		memset(m.content.digest, leaf, sizeof(m.content.digest));
	n->trace[0] = '\0';
	n->bundle = revision;
	n->bundle_leaf = leaf;
	assert_true(transaction_take(&n->t, &m, n->now));
}

static bool offer_is_taken(struct node *n, uint32_t attempt)
{
	struct message m = {.type = MESSAGE_OFFER, .certificate = NAME, .content.revision = NEW, .attempt = attempt};
	return transaction_take(&n->t, &m, n->now);
}

static void stage_new(struct node *n)
{
	order(n, MESSAGE_OFFER, NEW, 5, 'n');
	pump(n);
	assert_string_equal(n->trace, "fetch stage look test !staged");
	assert_int_equal(n->t.state, TRANSACTION_STAGED);
}

static void set_up(struct node *n)
{
	memset(n, 0, sizeof(*n));
	n->now = 1000000;
	n->have.served.revision = n->have.high_water = OLD;
	snprintf(n->have.certificate, sizeof(n->have.certificate), NAME);
	memset(n->have.live, 'o', CHAIN_SHA256_SIZE);
	memset(n->have.served.digest, 'o', CHAIN_SHA256_SIZE);
	memset(n->serves, 'o', PORTS);
	memset(n->serves_after_reload, 'n', PORTS);
	transaction_init(&n->t, NAME, &io, n);
	probed_add(&n->t.view, "127.0.0.1:25", "postfix");
	probed_add(&n->t.view, "127.0.0.1:993", "dovecot");
	probed_add(&n->t.view, "127.0.0.1:995", "dovecot");
}

static struct node *ready(void)
{
	static struct node node;
	set_up(&node);
	transaction_start(&node.t, &node.have, node.now);
	assert_true(transaction_rests(&node.t));
	return &node;
}

static struct node *staged(void)
{
	struct node *n = ready();
	stage_new(n);
	return n;
}

#endif
