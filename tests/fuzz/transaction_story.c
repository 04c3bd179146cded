/* The agent's state machine under whatever a hub, its root half, probes and the clock may say; the hub is not believed.
 * Each event has two bytes. The root half is asked one thing at a time, and what was switched is committed or
 * undone. */
#include "agent/daemon/transaction.h"
#include "lib/core/mem.h"
#include "tests/fuzz/fuzz.h"

enum { PORTS = 3 };

struct story {
	struct transaction t;
	int64_t now;
	enum { NOTHING, A_BUNDLE, A_REPLY, PROBES, A_WAIT } waits;
	enum request_op asked;
	struct revision about;
	struct inventory have;
};

static void on_tell(const struct message *m, void *context)
{
	(void)context;
	auto_buf struct buf text = BUF_INIT(64 * 1024);
	message_encode(m, &text);
	FUZZ_CHECK(text.len > 0);
}

static void on_fetch(struct revision revision, uint32_t attempt, void *context)
{
	struct story *s = context;
	(void)attempt;
	FUZZ_CHECK(s->waits == NOTHING && revision_compare(revision, s->t.order.content.revision) == 0);
	s->waits = A_BUNDLE;
}

static void on_stage(const uint8_t *bundle, size_t len, void *context)
{
	struct story *s = context;
	(void)bundle, (void)len;
	FUZZ_CHECK(s->waits == NOTHING);
	s->asked = REQUEST_STAGE;
	s->about = s->t.order.content.revision;
	s->waits = A_REPLY;
}

static void on_ask(enum request_op op, struct revision revision, uint32_t timeout, void *context)
{
	struct story *s = context;
	(void)timeout;
	FUZZ_CHECK(s->waits == NOTHING);
	if (op == REQUEST_COMMIT || op == REQUEST_UNDO)
		FUZZ_CHECK(transaction_is_switched(&s->t) || !revision_is_placeholder(s->have.pending));
	s->asked = op;
	s->about = revision;
	s->waits = A_REPLY;
}

static void on_probe(const bool *wanted, void *context)
{
	struct story *s = context;
	(void)wanted;
	FUZZ_CHECK(s->waits == NOTHING);
	s->waits = PROBES;
}

static void on_wait(int64_t milliseconds, void *context)
{
	struct story *s = context;
	FUZZ_CHECK(s->waits == NOTHING && milliseconds > 0);
	s->waits = A_WAIT;
}

/* The root half always answers, so an answer of its own is still waited for. */
static void on_cancel(void *context)
{
	struct story *s = context;
	if (s->waits != A_REPLY)
		s->waits = NOTHING;
}

static const struct transaction_io io = {on_tell, on_fetch, on_stage, on_ask, on_probe, on_wait, on_cancel};

static void keep_books(struct story *s)
{
	struct inventory *h = &s->have;
	if (s->asked == REQUEST_STAGE && revision_compare(s->about, h->high_water) >= 0) {
		h->staged.revision = h->high_water = s->about;
		memset(h->staged.leaf, (int)s->about.number, CHAIN_SHA256_SIZE);
	} else if (s->asked == REQUEST_ACTIVATE) {
		h->pending = s->about;
		memcpy(h->live, h->staged.leaf, CHAIN_SHA256_SIZE);
	} else if (s->asked == REQUEST_COMMIT) {
		h->served.revision = h->pending;
		h->pending = h->staged.revision = (struct revision){0, 0};
	} else if (s->asked == REQUEST_UNDO) {
		h->pending = (struct revision){0};
	}
}

static void answer(struct story *s, uint8_t how)
{
	static struct reply r;
	r = (struct reply){.op = s->asked,
		.ok = !(how & 1),
		.permanent = how & 2,
		.rolled_back = how & 4,
		.revision = s->about,
		.inventory = &s->have,
		.inventory_count = 1};
	snprintf(r.text, sizeof(r.text), "%s", r.ok ? "" : "it failed");
	if (r.ok)
		keep_books(s);
	else if (r.rolled_back)
		s->have.pending = (struct revision){0};
	if (how & 8)
		snprintf(r.stopped[r.stopped_count++], NAME_SERVICE_MAX, "postfix");
	transaction_reply(&s->t, &r, s->now);
}

static void show(struct story *s, uint8_t how)
{
	struct message_probe seen[PORTS] = {0};
	for (int i = 0; i < PORTS; i++) {
		uint8_t leaf[CHAIN_SHA256_SIZE];
		memcpy(leaf, s->have.live, sizeof(leaf));
		leaf[0] ^= (how >> i) & 1;
		seen[i].served = (how >> (i + 3)) & 1;
		if (seen[i].served)
			chain_hex(leaf, seen[i].fingerprint);
	}
	transaction_probed(&s->t, seen, s->now);
}

/* Gives the answer that is waited for. */
static void go_on(struct story *s, uint8_t how)
{
	int waits = (int)s->waits;
	s->waits = NOTHING;
	if (waits == A_BUNDLE)
		transaction_fetched(&s->t, (const uint8_t *)"bundle", 6);
	else if (waits == A_REPLY)
		answer(s, how);
	else if (waits == PROBES)
		show(s, how);
	else if (waits == A_WAIT)
		transaction_waited(&s->t);
}

static void order(struct story *s, uint8_t how)
{
	struct message m = {.type = how & 1 ? MESSAGE_ACTIVATE : MESSAGE_OFFER,
		.certificate = "a.pl",
		.content.revision = {1, (how >> 1) & 7},
		.attempt = how >> 4,
		.timeout = how,
		.force = how & 8};
	memset(m.content.digest, '0' + ((how >> 1) & 7), sizeof(m.content.digest));
	transaction_take(&s->t, &m, s->now);
}

/* The connection is lost, and what was being fetched does not come any more. */
static void lose(struct story *s)
{
	transaction_lost(&s->t);
	if (s->waits == A_BUNDLE)
		s->waits = NOTHING;
}

static void event(struct story *s, uint8_t what, uint8_t how)
{
	switch (what % 8) {
	case 0:
		order(s, how);
		break;
	case 1:
		transaction_inspect(&s->t, how & 1 ? how : 0, s->now);
		break;
	case 2:
		lose(s);
		break;
	case 3:
		s->now += how * 1000;
		break;
	case 4:
		transaction_tell_probes(&s->t, s->now);
		break;
	default:
		go_on(s, how);
		break;
	}
	FUZZ_CHECK(transaction_rests(&s->t) || s->waits != NOTHING);
	FUZZ_CHECK(transaction_state_name(&s->t));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct story s;
	if (!size)
		return 0;
	s = (struct story){.now = 1000000,
		.have = {.certificate = "a.pl", .served.revision = {1, data[0] & 3}, .high_water = {1, data[0] & 3}}};
	if (data[0] & 4)
		s.have.pending = s.have.high_water = (struct revision){1, 4};
	transaction_init(&s.t, "a.pl", &io, &s);
	probed_add(&s.t.view, "127.0.0.1:25", "postfix");
	probed_add(&s.t.view, "127.0.0.1:465", "postfix");
	probed_add(&s.t.view, "127.0.0.1:993", "dovecot");
	transaction_start(&s.t, &s.have, s.now);
	for (size_t i = 1; i + 1 < size && i < 4000; i += 2)
		event(&s, data[i], data[i + 1]);
	/* When the hub falls silent and all goes well, the agent comes to rest, and nothing is left between old and
	 * new. */
	lose(&s);
	for (int i = 0; i < 1000 && s.waits != NOTHING; i++) {
		s.now += 1000;
		go_on(&s, 0x38);
	}
	FUZZ_CHECK(transaction_rests(&s.t) && !transaction_is_switched(&s.t));
	return 0;
}
