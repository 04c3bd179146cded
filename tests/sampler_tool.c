/* A client that asks every endpoint as fast as it can, each as soon as its last answer is in, until SIGTERM (or -d SECONDS),
 * and then says what it saw. For the end-to-end stories. sampler_tool [-s SNI] [-d SECONDS] [-o FILE] ENDPOINT…
 * Lines at the end (FILE appears as soon as every endpoint has answered once):
 *   leaf FINGERPRINT first MS last MS answers N endpoints N     in the order in which they were first seen
 *   disagreement MS                                             the longest time in which two answers differed
 *   failed ENDPOINT N LAST-REASON                               where a handshake failed
 *   handshakes N failures N
 */
#include "lib/clock.h"
#include "lib/mem.h"
#include "lib/probe.h"

#include <event2/event.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TIMEOUT_MS = 10000, ENDPOINTS_MAX = 64, LEAVES_MAX = 4096, PAUSE_MS = 5 };

struct sampled {
	struct endpoint endpoint;
	struct event *again;
	struct probe *probe;
	int last; /* index of the leaf that it served last; -1: none yet */
	uint64_t failures;
	char reason[256];
};

struct leaf {
	uint8_t fingerprint[CHAIN_SHA256_SIZE];
	int64_t first, last; /* monotonic, milliseconds */
	uint64_t answers, endpoints;
};

static struct {
	struct event_base *base;
	const char *sni, *output;
	struct sampled endpoint[ENDPOINTS_MAX];
	size_t endpoint_count;
	struct leaf leaf[LEAVES_MAX];
	int leaf_count;
	uint64_t handshakes, failures;
	size_t answered; /* endpoints, at least once */
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
			chain_hex(l->fingerprint, hex), l->first - all.began, l->last - all.began, l->answers, l->endpoints);
	}
	fprintf(out, "disagreement %" PRId64 "\n", all.disagreement);
	for (size_t i = 0; i < all.endpoint_count; i++)
		if (all.endpoint[i].failures)
			fprintf(out, "failed %s %" PRIu64 " %s\n", all.endpoint[i].endpoint.text, all.endpoint[i].failures,
				all.endpoint[i].reason);
	fprintf(out, "handshakes %" PRIu64 " failures %" PRIu64 "\n", all.handshakes, all.failures);
	if (all.output ? fclose(out) : fflush(out))
		exit(1);
}

/* An answer with a leaf that another one had replaced already: how long ago was that? */
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

static void done(void *context, const struct probe_result *result)
{
	static const struct timeval pause = {0, PAUSE_MS * 1000};
	struct sampled *s = context;
	s->probe = NULL;
	all.handshakes++;
	if (result->state == PROBE_SERVED) {
		take(s, result, clock_monotonic_ms());
	} else {
		all.failures++;
		s->failures++;
		snprintf(s->reason, sizeof(s->reason), "%.255s", result->error.message);
	}
	event_add(s->again, &pause);
}

static void start(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	struct sampled *s = context;
	s->probe = probe_start(all.base, &s->endpoint, all.sni, TIMEOUT_MS, done, s);
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

static void run(int seconds)
{
	const struct timeval limit = {seconds, 0};
	struct event *end = evsignal_new(all.base, SIGTERM, on_end, NULL);
	event_add(end, seconds ? &limit : NULL);
	event_base_dispatch(all.base);
	event_free(end);
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
	all.sni = "mail.domain.pl";
	while ((option = getopt(argc, argv, "s:d:o:")) != -1) {
		if (option == 's')
			all.sni = optarg;
		else if (option == 'd')
			seconds = atoi(optarg);
		else if (option == 'o')
			all.output = optarg;
		else
			return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	all.base = event_base_new();
	all.began = clock_monotonic_ms();
	for (int i = optind; i < argc; i++)
		add(argv[i]);
	run(seconds);
	return 0;
}
