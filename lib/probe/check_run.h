/* Every address of every name, on every port of it, is resolved, probed and judged, several hundred at once. It is for
 * an operator's command: all names are asked for together, and that blocks.
 */
#ifndef CERTSYNC_LIB_PROBE_CHECK_RUN_H
#define CERTSYNC_LIB_PROBE_CHECK_RUN_H

#include "lib/probe/check.h"
#include "lib/core/name.h"

enum {
	CHECK_PORTS_MAX = 16,
	CHECK_EXPECTED_MAX = 2,   /* the leaves of a pair */
	CHECK_ADDRESSES_MAX = 64, /* of one name; more are not looked at */
	CHECK_HOST_MAX = 256,
	CHECK_AT_ONCE = 400,
};

struct check_port {
	struct endpoint model; /* everything but the address */
	char text[32];         /* "993", "993/imaps+proxy" */
};

struct check_host {
	char name[CHECK_HOST_MAX]; /* asked of DNS, sent as SNI, to be covered */
	struct check_port ports[CHECK_PORTS_MAX];
	size_t port_count;
	bool guessed; /* the ports were not told: those closed on every address are no fault */
	uint8_t expected[CHECK_EXPECTED_MAX][CHAIN_SHA256_SIZE]; /* one of them, where there are any */
	size_t expected_count;
	char certificate[NAME_CERTIFICATE_MAX]; /* at the hub; "": unknown */
	const char *const *at; /* borrowed, as in struct check_run, for this host alone; NULL: the run's */
	int timeout_ms;        /* of one probe; 0: the run's */
};

/* Parses "HOST", "HOST:PORT" or "[::1]:PORT/PROTOCOL+proxy" into the host with its one port, or with the well-known
 * ones. A fault is ERROR_USAGE with the reason. */
int check_host_parse(const char *text, struct check_host *ret, struct error *err);

/* Adds a port like "993" or "8443/tls+proxy". */
int check_host_add_port(struct check_host *h, const char *port, struct error *err);

struct check_row {
	const struct check_host *host; /* borrowed */
	struct endpoint endpoint;      /* text "": the name has no address */
	size_t port;                   /* which of the host's */
	enum probe_key key;            /* the only kind that was asked for; any at first */
	bool connected, probed;
	struct check check; /* owned */
};

struct check_run {
	const struct anchors *anchors;
	int64_t now, expiring_before; /* as in struct check_policy */
	const char *const *at;        /* addresses instead of what DNS says; NULL-terminated; may be empty */
	const char *remedy;           /* as in struct check_policy */
	bool both_keys;   /* a second probe for the kind of key that was not served: a row if there is one */
	int timeout_ms;   /* of one probe, and of the asking for names */
	const char *helo; /* as in struct endpoint; borrowed; NULL: this machine's full name, where it has one */
	const struct check_host *hosts;
	size_t host_count;
	struct check_row *rows; /* owned: the result, in the order of hosts, addresses, ports */
	size_t row_count;
};

/* Fails with ERROR_USAGE when one of `at` is not an address. The rows tell everything else. */
int check_run(struct check_run *run, struct error *err);
void check_run_release(struct check_run *run);

#endif
