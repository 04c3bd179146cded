#include "hub/cli/doctor_web.h"
#include "hub/common/config.h"
#include "lib/core/clock.h"
#include "lib/cli/doctor_haproxy.h"
#include "lib/cli/doctor_net.h"
#include "lib/probe/endpoint.h"
#include "lib/core/mem.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HTTP_PORT_80 "127.0.0.1:80"

enum { HTTP_MS = 3000, HEADER_MAX = 4096, DNS_MS = 10000 };

static bool is_by(const struct hub_certificate *c, enum hub_challenge challenge)
{
	return c->acme && c->challenge == challenge;
}

/* Returns NULL when no certificate is ordered by this challenge. */
static const char *first_name(const struct hub_config *c, enum hub_challenge challenge)
{
	for (size_t i = 0; i < c->certificate_count; i++)
		if (is_by(&c->certificates[i], challenge))
			return c->certificates[i].names[0];
	return NULL;
}

/* ---- asking a port ---- */

static int wait_for(int fd, short events, int64_t deadline)
{
	struct pollfd p = {.fd = fd, .events = events};
	int64_t left = deadline - clock_monotonic_ms();
	return left > 0 && poll(&p, 1, (int)left) == 1 ? 0 : -1;
}

static int connect_to(const char *address, int64_t deadline, struct error *err)
{
	struct endpoint e;
	if (endpoint_parse(address, &e, err) < 0)
		return -1;
	auto_close int fd = socket(e.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int failure = 0;
	socklen_t len = sizeof(failure);
	if (fd < 0)
		return error_errno(err, "%s", address);
	if (connect(fd, (const struct sockaddr *)&e.address, e.address_len) < 0 && errno != EINPROGRESS)
		return error_errno(err, "%s", address);
	if (wait_for(fd, POLLOUT, deadline) < 0)
		return error_set(err, ERROR_RETRY, "%s: no answer", address);
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &len) < 0 || failure) {
		errno = failure;
		return error_errno(err, "%s", address);
	}
	return steal_fd(&fd);
}

/* Reads until there is a whole header, the end, or the deadline. */
static void read_header(int fd, int64_t deadline, char answer[HEADER_MAX])
{
	size_t got = 0;
	answer[0] = '\0';
	while (got < HEADER_MAX - 1 && !strstr(answer, "\r\n\r\n") && wait_for(fd, POLLIN, deadline) == 0) {
		ssize_t n = read(fd, answer + got, HEADER_MAX - 1 - got);
		if (n <= 0)
			break;
		got += (size_t)n;
		answer[got] = '\0';
	}
}

/* Returns the status of the answer to a challenge that does not exist, or -1 when there is none. The hub's own answer
 * is 404 without a page (*ret_ours). */
static int ask_challenge(const char *address, const char *host, bool *ret_ours, struct error *err)
{
	int64_t deadline = clock_monotonic_ms() + HTTP_MS;
	auto_close int fd = connect_to(address, deadline, err);
	auto_free char *request = mem_printf("GET /.well-known/acme-challenge/certsync-doctor HTTP/1.1\r\nHost: %s\r\n"
					     "Connection: close\r\n\r\n",
		host);
	char answer[HEADER_MAX];
	if (fd < 0)
		return -1;
	if (write(fd, request, strlen(request)) != (ssize_t)strlen(request))
		return error_set(err, ERROR_RETRY, "%s: takes no request", address);
	read_header(fd, deadline, answer);
	long status = strncmp(answer, "HTTP/1.", 7) == 0 && strlen(answer) > 9 ? strtol(answer + 9, NULL, 10) : 0;
	if (status < 100 || status > 999)
		return error_set(err, ERROR_RETRY, "%s: no answer in HTTP", address);
	*ret_ours = status == 404 && strcasestr(answer, "\r\ncontent-length: 0\r\n");
	return (int)status;
}

void doctor_web_responder(struct doctor_findings *f, const void *site)
{
	const struct hub_config *c = site;
	struct error err;
	bool ours = false;
	if (!first_name(c, HUB_CHALLENGE_HTTP))
		return;
	int status = ask_challenge(c->http, "localhost", &ours, &err);
	if (ours)
		doctor_add(f, DOCTOR_OK, "the hub answers at %s", c->http);
	else if (status > 0)
		doctor_remedy(doctor_add(f, DOCTOR_WRONG,
				      "%s answers %d, which is not the hub's: another program has this port", c->http,
				      status),
			"another address for http in %s", c->path);
	else
		doctor_remedy(doctor_add(f, DOCTOR_WRONG, "the hub does not answer: %s", err.message),
			"systemctl enable --now certsync-hub");
}

/* ---- HAProxy ---- */

static bool is_responder(const char *line, const void *context)
{
	return strncmp(line, "server", 6) == 0 && strstr(line, context);
}

static bool is_stateless(const char *line, const void *context)
{
	(void)context;
	return strstr(line, "lf-string") && strstr(line, "%[path,field(-1,/)]");
}

static void look_at_port_80(struct doctor_findings *f, const struct hub_config *c)
{
	struct error err;
	const char *name = first_name(c, HUB_CHALLENGE_HTTP);
	bool ours = false;
	int status = ask_challenge(HTTP_PORT_80, name, &ours, &err);
	/* With 200 HAProxy answers by itself, for every token. */
	if (ours || status == 200)
		doctor_add(f, DOCTOR_OK, "a challenge for %s that comes to port 80 is answered", name);
	else if (status > 0)
		doctor_remedy(
			doctor_add(f, DOCTOR_WRONG,
				"port 80 answers a challenge for %s with %d, not with what the hub says", name, status),
			"what `certsync config haproxy` prints, into %s, ahead of redirects; then systemctl reload haproxy",
			HAPROXY_CONF);
	else
		doctor_remedy(doctor_add(f, DOCTOR_UNKNOWN, "whether challenges pass port 80: %s", err.message),
			"from outside: curl -i http://%s/.well-known/acme-challenge/x must say 404", name);
}

void doctor_web_haproxy(struct doctor_findings *f, const void *site)
{
	const struct hub_config *c = site;
	auto_buf struct buf conf = BUF_INIT(HAPROXY_CONF_MAX);
	bool hidden;
	if (!first_name(c, HUB_CHALLENGE_HTTP))
		return;
	if (haproxy_read(&conf, &hidden) < 0) {
		if (hidden)
			doctor_add(f, DOCTOR_UNKNOWN, HAPROXY_CONF " cannot be read by this user: run doctor as root");
	} else if (!haproxy_any_line(&conf, is_responder, c->http) && !haproxy_any_line(&conf, is_stateless, NULL)) {
		doctor_remedy(
			doctor_add(f, DOCTOR_WRONG, HAPROXY_CONF " does not pass challenges to the hub at %s", c->http),
			"certsync config haproxy >>" HAPROXY_CONF
			" (or its lines into your frontend for port 80); then "
			"haproxy -c -f " HAPROXY_CONF " && systemctl reload haproxy");
	} else {
		doctor_add(f, DOCTOR_OK, HAPROXY_CONF " passes challenges to the hub");
	}
	look_at_port_80(f, c);
}

/* ---- tls-alpn-01 ---- */

static void look_at_passing(struct doctor_findings *f, const struct hub_config *c)
{
	auto_buf struct buf conf = BUF_INIT(HAPROXY_CONF_MAX);
	bool hidden;
	if (haproxy_read(&conf, &hidden) < 0) {
		if (hidden)
			doctor_add(f, DOCTOR_UNKNOWN, HAPROXY_CONF " cannot be read by this user: run doctor as root");
	} else if (haproxy_any_line(&conf, is_responder, c->tls_alpn)) {
		doctor_add(f, DOCTOR_OK, HAPROXY_CONF " passes acme-tls/1 to the hub");
	} else {
		doctor_remedy(doctor_add(f, DOCTOR_WRONG, HAPROXY_CONF " does not pass acme-tls/1 to the hub at %s",
				      c->tls_alpn),
			"what `certsync config haproxy --tls-alpn` prints, into " HAPROXY_CONF
			", and the bind of port 443 that is there changed as it says; then "
			"haproxy -c -f " HAPROXY_CONF " && systemctl reload haproxy");
	}
}

void doctor_web_tls_alpn(struct doctor_findings *f, const void *site)
{
	const struct hub_config *c = site;
	struct error err;
	if (!first_name(c, HUB_CHALLENGE_ALPN))
		return;
	auto_close int fd = connect_to(c->tls_alpn, clock_monotonic_ms() + HTTP_MS, &err);
	if (fd >= 0)
		doctor_add(f, DOCTOR_OK, "somebody listens at %s", c->tls_alpn);
	else
		doctor_remedy(doctor_add(f, DOCTOR_WRONG, "the hub does not answer: %s", err.message),
			"systemctl enable --now certsync-hub; if it runs, event=responder in its log says why");
	look_at_passing(f, c);
}

/* ---- DNS ---- */

static bool any_is_ours(const char *addresses)
{
	auto_free char *copy = mem_strdup(addresses);
	char *save = NULL;
	for (const char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
		if (doctor_is_ours(word))
			return true;
	return false;
}

/* Returns whether all is well. */
static bool look_at_name(struct doctor_findings *f, const char *name)
{
	struct error err;
	auto_free char *addresses = doctor_addresses(name, &err);
	bool ours = addresses && any_is_ours(addresses);
	if (!addresses)
		doctor_add(f, DOCTOR_UNKNOWN, "%s: %s", name, err.message);
	else if (!*addresses)
		doctor_remedy(doctor_add(f, DOCTOR_WRONG,
				      "%s has no address in DNS (or DNS does not answer): no authority finds it", name),
			"an A or AAAA record for %s that points to HAProxy", name);
	else if (!ours)
		doctor_remedy(doctor_add(f, DOCTOR_WARNING, "%s points to %s, which is not this node", name, addresses),
			"right if port 80 there comes to this node or answers by itself (certsync config haproxy --stateless): "
			"curl -i http://%s/.well-known/acme-challenge/x",
			name);
	return ours;
}

void doctor_web_dns(struct doctor_findings *f, const void *site)
{
	const struct hub_config *c = site;
	int64_t deadline = clock_monotonic_ms() + DNS_MS;
	size_t good = 0, left = 0;
	for (size_t i = 0; i < c->certificate_count; i++) {
		char *const *names = c->certificates[i].names;
		for (; is_by(&c->certificates[i], HUB_CHALLENGE_HTTP) && *names; names++) {
			if (clock_monotonic_ms() > deadline)
				left++;
			else
				good += look_at_name(f, *names);
		}
	}
	if (good)
		doctor_add(f, DOCTOR_OK, "%zu name%s to be validated by http-01 point%s to this node", good,
			good == 1 ? "" : "s", good == 1 ? "s" : "");
	if (left)
		doctor_add(f, DOCTOR_UNKNOWN, "%zu more names were not asked for, since DNS is slow", left);
}
