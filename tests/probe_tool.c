/* Probes each endpoint of its arguments at once and prints a line for each: "ENDPOINT served FINGERPRINT CHAIN-LENGTH
 * MS" or "ENDPOINT refused|timeout|protocol REASON". The end-to-end stories use it.
 *
 *   probe_tool [-t MILLISECONDS] [-s SNI] ENDPOINT…
 */
#include "lib/core/mem.h"
#include "lib/probe/probe.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int failures;

static void done(void *context, const struct probe_result *result)
{
	static const char *const words[] = {
		[PROBE_SERVED] = "served",
		[PROBE_REFUSED] = "refused",
		[PROBE_TIMEOUT] = "timeout",
		[PROBE_PROTOCOL] = "protocol",
	};
	const char *endpoint = context;
	char hex[CHAIN_HEX_MAX];
	if (result->state == PROBE_SERVED)
		printf("%s served %s %d %" PRId64 "\n", endpoint, chain_hex(result->fingerprint, hex),
			sk_X509_num(result->rest) + 1, result->milliseconds);
	else
		printf("%s %s %s\n", endpoint, words[result->state], result->error.message);
	failures += result->state != PROBE_SERVED;
}

int main(int argc, char **argv)
{
	int timeout_ms = 10000, option;
	const char *sni = "mail.domain.pl";
	while ((option = getopt(argc, argv, "t:s:")) != -1) {
		if (option == 't')
			timeout_ms = atoi(optarg);
		else if (option == 's')
			sni = optarg;
		else
			return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	struct event_base *base = event_base_new();
	for (int i = optind; i < argc; i++) {
		struct endpoint endpoint;
		struct error err;
		if (endpoint_parse(argv[i], &endpoint, &err) < 0) {
			fprintf(stderr, "%s\n", err.message);
			return 2;
		}
		probe_start(base, &endpoint, sni, timeout_ms, done, argv[i]);
	}
	event_base_dispatch(base);
	event_base_free(base);
	return failures ? 1 : 0;
}
