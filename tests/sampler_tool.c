/* A client that asks every endpoint as fast as it can, each as soon as its last answer is in, until SIGTERM (or for -d
 * SECONDS), and then says what it saw. The end-to-end stories and the benches use it.
 *
 *   sampler_tool [-s SNI] [-d SECONDS] [-o FILE] [-a ANCHORS] [-p MS] [-i] ENDPOINT…
 *
 * -p: each client pauses so long between two handshakes. -a: a chain that these anchors do not trust for SNI is a
 * failure. -i: lines "FINGERPRINT…" on standard input say which leaves may be served from now on; each is answered by a
 * line with the handshakes so far, a figure for each ENDPOINT.
 * It ends with these lines (FILE appears as soon as every endpoint has answered once):
 *   leaf FINGERPRINT first MS last MS answers N endpoints N     in the order in which they were first seen
 *   disagreement MS                                             the longest time in which two answers differed
 *   failed ENDPOINT N LAST-REASON                               where a handshake failed
 *   unexpected ENDPOINT N LAST-FINGERPRINT                      a leaf that might not be served when the handshake
 *                                                               began, nor since
 *   handshakes N failures N
 */
#include "lib/core/clock.h"
#include "lib/core/mem.h"
#include "lib/probe/probe.h"
#include "lib/crypto/verify.h"

#include <event2/event.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A mail client waits for minutes (RFC 5321, section 4.5.3.2: five for the greeting). On a busy machine a server that
 * was just reloaded may need more than ten seconds for its greeting, and no client loses its connection by that. */
enum { TIMEOUT_MS = 60000, ENDPOINTS_MAX = 64, LEAVES_MAX = 4096, EXPECTED_MAX = 4 };

struct expected {
	uint8_t fingerprint[EXPECTED_MAX][CHAIN_SHA256_SIZE];
	size_t count;
};

struct sampled {
	struct endpoint endpoint;
	struct event *again;
	struct probe *probe;
	int last; /* index of the leaf that it served last; -1: none yet */
	uint64_t handshakes, failures, unexpected;
	char reason[256], leaf[CHAIN_HEX_MAX]; /* of its last failure, and the last unexpected leaf */
	struct expected then;                  /* what was expected when its probe was started */
};

struct leaf {
	uint8_t fingerprint[CHAIN_SHA256_SIZE];
	int64_t first, last; /* monotonic, milliseconds */
	uint64_t answers, endpoints;
};

static struct {
	struct event_base *base;
	const char *sni, *output;
	int pause_ms;
	struct anchors *anchors;
	struct expected expected;
	bool told; /* it was told what to expect */
	struct sampled endpoint[ENDPOINTS_MAX];
	size_t endpoint_count;
	struct leaf leaf[LEAVES_MAX];
	int leaf_count;
	uint64_t handshakes, failures;
	size_t answered; /* how many endpoints have answered at least once */
	int64_t began, disagreement;
} all;

static int find_leaf(const uint8_t *fingerprint, int64_t now)
{
	for (int i = all.leaf_count - 1; i >= 0; i--)
		if (memcmp(all.leaf[i].fingerprint, fingerprint, CHAIN_SHA256_SIZE) == 0)
			return i;
	if (all.leaf_count == LEAVES_MAX)
		abort();
	memcpy(all.leaf[all.leaf_count].fingerprint, fingerprint, CHAIN_SHA256_SIZE);
	all.leaf[all.leaf_count].first = now;
	return all.leaf_count++;
}

static void report(void)
{
	char hex[CHAIN_HEX_MAX];
	FILE *out = all.output ? fopen(all.output, "we") : stdout;
	if (!out) {
		perror(all.output);
		exit(1);
	}
	for (int i = 0; i < all.leaf_count; i++) {
		const struct leaf *l = &all.leaf[i];
		fprintf(out, "leaf %s first %" PRId64 " last %" PRId64 " answers %" PRIu64 " endpoints %" PRIu64 "\n",
			chain_hex(l->fingerprint, hex), l->first - all.began, l->last - all.began, l->answers,
			l->endpoints);
	}
	fprintf(out, "disagreement %" PRId64 "\n", all.disagreement);
	for (size_t i = 0; i < all.endpoint_count; i++)
		if (all.endpoint[i].failures)
			fprintf(out, "failed %s %" PRIu64 " %s\n", all.endpoint[i].endpoint.text,
				all.endpoint[i].failures, all.endpoint[i].reason);
	for (size_t i = 0; i < all.endpoint_count; i++)
		if (all.endpoint[i].unexpected)
			fprintf(out, "unexpected %s %" PRIu64 " %s\n", all.endpoint[i].endpoint.text,
				all.endpoint[i].unexpected, all.endpoint[i].leaf);
	fprintf(out, "handshakes %" PRIu64 " failures %" PRIu64 "\n", all.handshakes, all.failures);
	if (all.output ? fclose(out) : fflush(out))
		exit(1);
}

/* Takes an answer. When its leaf had been replaced by another one already, it is measured how long ago that was. */
static void take(struct sampled *s, const struct probe_result *result, int64_t now)
{
	int index = find_leaf(result->fingerprint, now);
	struct leaf *leaf = &all.leaf[index];
	leaf->last = now;
	leaf->answers++;
	if (s->last != index)
		leaf->endpoints++;
	if (s->last < 0 && ++all.answered == all.endpoint_count && all.output)
		report();
	s->last = index;
	if (index + 1 < all.leaf_count && now - all.leaf[index + 1].first > all.disagreement)
		all.disagreement = now - all.leaf[index + 1].first;
}

static bool is_expected(const struct expected *e, const uint8_t *fingerprint)
{
	for (size_t i = 0; i < e->count; i++)
		if (memcmp(e->fingerprint[i], fingerprint, CHAIN_SHA256_SIZE) == 0)
			return true;
	return false;
}

static void fail(struct sampled *s, const char *reason)
{
	all.failures++;
	s->failures++;
	snprintf(s->reason, sizeof(s->reason), "%.255s", reason);
}

static void done(void *context, const struct probe_result *result)
{
	const struct timeval pause = {all.pause_ms / 1000, all.pause_ms % 1000 * 1000};
	struct sampled *s = context;
	struct error err;
	s->probe = NULL;
	all.handshakes++;
	s->handshakes++;
	if (result->state != PROBE_SERVED)
		fail(s, result->error.message);
	else if (all.anchors && verify_served(result->leaf, result->rest, all.sni, all.anchors, time(NULL), &err) < 0)
		fail(s, err.message);
	else
		take(s, result, clock_monotonic_ms());
	if (result->state == PROBE_SERVED && all.told && !is_expected(&s->then, result->fingerprint) &&
		!is_expected(&all.expected, result->fingerprint)) {
		s->unexpected++;
		chain_hex(result->fingerprint, s->leaf);
	}
	event_add(s->again, &pause);
}

static void start(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	struct sampled *s = context;
	s->then = all.expected;
	s->probe = probe_start(all.base, &s->endpoint, all.sni, TIMEOUT_MS, done, s);
}

static void on_line(evutil_socket_t fd, short what, void *context)
{
	(void)what;
	struct event **self = context;
	char line[EXPECTED_MAX * CHAIN_HEX_MAX + 1];
	ssize_t got =
		/* lines come whole and one at a time, since the other side waits for each answer */
		read(fd, line, sizeof(line) - 1);
	if (got <= 0) {
		event_del(*self);
		return;
	}
	line[got] = '\0';
	all.told = true;
	all.expected.count = 0;
	for (char *word = strtok(line, " \n"); word && all.expected.count < EXPECTED_MAX; word = strtok(NULL, " \n"))
		if (chain_unhex(word, all.expected.fingerprint[all.expected.count]) == 0)
			all.expected.count++;
	for (size_t i = 0; i < all.endpoint_count; i++)
		printf("%" PRIu64 "%c", all.endpoint[i].handshakes, i + 1 < all.endpoint_count ? ' ' : '\n');
	fflush(stdout);
}

static void on_end(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	(void)context;
	event_base_loopbreak(all.base);
}

static void add(const char *text)
{
	struct error err;
	struct sampled *s = &all.endpoint[all.endpoint_count];
	if (all.endpoint_count == ENDPOINTS_MAX || endpoint_parse(text, &s->endpoint, &err) < 0) {
		fprintf(stderr, "%s: not an endpoint, or one of more than %d\n", text, ENDPOINTS_MAX);
		exit(2);
	}
	s->last = -1;
	s->again = event_new(all.base, -1, 0, start, s);
	all.endpoint_count++;
	start(-1, 0, s);
}

static void run(int seconds, bool listens)
{
	const struct timeval limit = {seconds, 0};
	struct event *end = evsignal_new(all.base, SIGTERM, on_end, NULL), *line;
	line = event_new(all.base, STDIN_FILENO, EV_READ | EV_PERSIST, on_line, &line);
	event_add(end, seconds ? &limit : NULL);
	if (listens)
		event_add(line, NULL);
	event_base_dispatch(all.base);
	event_free(end);
	event_free(line);
	report();
	for (size_t i = 0; i < all.endpoint_count; i++) {
		if (all.endpoint[i].probe)
			probe_cancel(all.endpoint[i].probe);
		event_free(all.endpoint[i].again);
	}
	event_base_free(all.base);
}

int main(int argc, char **argv)
{
	int seconds = 0, option;
	bool listens = false;
	struct error err;
	all.sni = "mail.domain.pl";
	all.pause_ms = 5;
	while ((option = getopt(argc, argv, "s:d:o:a:p:i")) != -1) {
		if (option == 's')
			all.sni = optarg;
		else if (option == 'd')
			seconds = atoi(optarg);
		else if (option == 'o')
			all.output = optarg;
		else if (option == 'p')
			all.pause_ms = atoi(optarg);
		else if (option == 'i')
			listens = true;
		else if (option != 'a' || !(all.anchors = anchors_load(optarg, &err)))
			return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	all.base = event_base_new();
	all.began = clock_monotonic_ms();
	for (int i = optind; i < argc; i++)
		add(argv[i]);
	run(seconds, listens);
	anchors_free(all.anchors);
	return 0;
}
