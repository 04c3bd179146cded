#include "lib/probe/check_run.h"
#include "lib/core/clock.h"
#include "lib/core/helo.h"
#include "lib/core/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* ---- what to look at ---- */

int check_host_add_port(struct check_host *h, const char *port, struct error *err)
{
	char text[ENDPOINT_TEXT_MAX];
	struct check_port *p = &h->ports[h->port_count];
	if (h->port_count == CHECK_PORTS_MAX)
		return error_set(err, ERROR_USAGE, "%s: more than %d ports", h->name, CHECK_PORTS_MAX);
	if (strlen(port) >= sizeof(p->text))
		return error_set(err, ERROR_USAGE, "%s: \"%.40s\" is no port", h->name, port);
	/* Any address will do, since only the port and the way to TLS are read here. */
	snprintf(text, sizeof(text), "0.0.0.0:%s", port);
	if (endpoint_parse(text, &p->model, err) < 0) {
		auto_free char *why = mem_strdup(err->message);
		const char *behind = strstr(why, "\": "); /* that address is nobody's business */
		return error_set(
			err, ERROR_USAGE, "%s:%s: %s", h->name, port, behind ? behind + 3 : "write HOST:PORT/PROTOCOL");
	}
	strcpy(p->text, port);
	h->port_count++;
	return 0;
}

/* Adds the ports at which a mail server or its web front is usually reached. */
static int add_known_ports(struct check_host *h, struct error *err)
{
	static const char *const known[] = {"25", "110", "143", "443", "465", "587", "993", "995"};
	h->guessed = true;
	for (size_t i = 0; i < COUNT(known); i++)
		if (check_host_add_port(h, known[i], err) < 0)
			return -1;
	return 0;
}

static bool is_address(const char *text)
{
	unsigned char bytes[16];
	return inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1;
}

int check_host_parse(const char *text, struct check_host *ret, struct error *err)
{
	struct check_host h = {0};
	const char *name = text, *end = strrchr(text, ':'), *port = NULL;
	size_t len = strlen(text);
	if (text[0] == '[' && strchr(text, ']')) {
		name = text + 1;
		len = strcspn(name, "]");
		port = name[len + 1] == ':' ? name + len + 2 : NULL;
		if (!port && name[len + 1])
			return error_set(err, ERROR_USAGE, "%.100s: write [ADDRESS]:PORT", text);
	} else if (end && !is_address(text)) {
		len = (size_t)(end - text);
		port = end + 1;
	}
	if (len == 0 || len >= sizeof(h.name))
		return error_set(err, ERROR_USAGE, "%.100s: write HOST, HOST:PORT or HOST:PORT/PROTOCOL", text);
	memcpy(h.name, name, len);
	if (h.name[len - 1] == '.') /* a name from the root: certificates and SNI do without the dot */
		h.name[len - 1] = '\0';
	if (!is_address(h.name) && !name_is_dns(h.name, false))
		return error_set(err, ERROR_USAGE,
			"%.100s is neither a host name nor an address: write HOST, HOST:PORT or "
			"HOST:PORT/PROTOCOL",
			h.name);
	if ((port ? check_host_add_port(&h, port, err) : add_known_ports(&h, err)) < 0)
		return -1;
	*ret = h;
	return 0;
}

/* ---- addresses ---- */

static struct check_row *add_row(struct check_run *run, const struct check_host *host)
{
	run->rows = mem_grow(run->rows, run->row_count + 1, sizeof(*run->rows));
	struct check_row *row = &run->rows[run->row_count++];
	*row = (struct check_row){.host = host};
	return row;
}

static void add_endpoint(struct check_run *run, const struct check_host *host, size_t port, const struct addrinfo *at)
{
	char address[INET6_ADDRSTRLEN + 20];
	struct check_row *row = add_row(run, host);
	uint16_t number = ((const struct sockaddr_in *)&host->ports[port].model.address)->sin_port;
	row->port = port;
	row->endpoint = host->ports[port].model;
	snprintf(row->endpoint.helo, sizeof(row->endpoint.helo), "%s", run->helo);
	memcpy(&row->endpoint.address, at->ai_addr, at->ai_addrlen);
	row->endpoint.address_len = at->ai_addrlen;
	if (at->ai_family == AF_INET6)
		((struct sockaddr_in6 *)&row->endpoint.address)->sin6_port = number;
	else
		((struct sockaddr_in *)&row->endpoint.address)->sin_port = number;
	getnameinfo(at->ai_addr, at->ai_addrlen, address, sizeof(address), NULL, 0, NI_NUMERICHOST);
	snprintf(row->endpoint.text, sizeof(row->endpoint.text), at->ai_family == AF_INET6 ? "[%s]:%s" : "%s:%s",
		address, host->ports[port].text);
}

static size_t add_addresses(struct check_run *run, const struct check_host *host, const struct addrinfo *list)
{
	size_t count = 0;
	for (const struct addrinfo *at = list; at && count < CHECK_ADDRESSES_MAX; at = at->ai_next) {
		if (at->ai_family != AF_INET && at->ai_family != AF_INET6)
			continue;
		for (size_t i = 0; i < host->port_count; i++)
			add_endpoint(run, host, i, at);
		count++;
	}
	return count;
}

static void add_nameless(struct check_run *run, const struct check_host *host, const char *why)
{
	auto_free char *reason = mem_printf("%s has no address: %s", host->name, why);
	check_unreachable(
		&add_row(run, host)->check, reason, "correct the name or its DNS records, or give --at ADDRESS");
}

static const struct addrinfo numeric = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM};
static const struct addrinfo by_name = {.ai_socktype = SOCK_STREAM};

static const char *const *given(const struct check_run *run, const struct check_host *host)
{
	return host->at ? host->at : run->at;
}

static int use_given(struct check_run *run, const struct check_host *host, struct error *err)
{
	const char *const *at = given(run, host);
	for (size_t i = 0; at[i]; i++) {
		struct addrinfo *list = NULL;
		if (getaddrinfo(at[i], NULL, &numeric, &list) != 0)
			return error_set(err, ERROR_USAGE, "--at %s is not an IP address", at[i]);
		add_addresses(run, host, list);
		freeaddrinfo(list);
	}
	return 0;
}

/* Requests that are not over by the deadline are left to their threads, since the command ends soon. */
struct questions {
	struct gaicb *all, **list;
	const struct check_host **hosts;
	size_t count;
};

static void on_answered(union sigval all)
{
	uint64_t one = 1;
	if (write(all.sival_int, &one, sizeof(one)) < 0)
		return; /* the deadline ends the wait */
}

/* Waits for a notification by the resolver's own thread and does not use gai_suspend(3): glibc 2.36 leaves a request's
 * thread a pointer into the stack of a gai_suspend that has returned, when another of its requests was answered at the
 * same moment. */
static int ask_all(struct questions *q, int timeout_ms)
{
	int answered = eventfd(0, EFD_CLOEXEC);
	if (answered < 0)
		return EAI_SYSTEM;
	struct sigevent event = {
		.sigev_notify = SIGEV_THREAD, .sigev_value.sival_int = answered, .sigev_notify_function = on_answered};
	int failed = getaddrinfo_a(GAI_NOWAIT, q->list, (int)q->count, &event);
	struct pollfd wait = {.fd = answered, .events = POLLIN};
	int64_t deadline = clock_monotonic_ms() + timeout_ms, left = timeout_ms;
	while (!failed && left > 0 && poll(&wait, 1, (int)left) < 0 && errno == EINTR)
		left = deadline - clock_monotonic_ms();
	if (failed || wait.revents)
		close(answered);
	return failed;
}

static void take_name(struct check_run *run, struct questions *q, size_t i, int failed)
{
	int code = failed ? failed : gai_error(&q->all[i]);
	if (code == EAI_INPROGRESS)
		add_nameless(run, q->hosts[i], "the resolver has not answered in time");
	else if (code)
		add_nameless(run, q->hosts[i], gai_strerror(code));
	else if (add_addresses(run, q->hosts[i], q->all[i].ar_result) == 0)
		add_nameless(run, q->hosts[i], "none of IPv4 or IPv6");
	if (!code)
		freeaddrinfo(q->all[i].ar_result);
}

/* Asks for the addresses of the hosts that were given none. */
static void ask_names(struct check_run *run)
{
	static struct questions q; /* stays for the threads */
	q.all = mem_array(run->host_count, sizeof(*q.all));
	q.list = mem_array(run->host_count, sizeof(struct gaicb *));
	q.hosts = mem_array(run->host_count, sizeof(const struct check_host *));
	q.count = 0;
	for (size_t i = 0; i < run->host_count; i++) {
		if (given(run, &run->hosts[i])[0])
			continue;
		q.hosts[q.count] = &run->hosts[i];
		q.all[q.count] = (struct gaicb){.ar_name = run->hosts[i].name, .ar_request = &by_name};
		q.list[q.count] = &q.all[q.count];
		q.count++;
	}
	if (!q.count)
		return;
	int failed = ask_all(&q, run->timeout_ms);
	for (size_t i = 0; i < q.count; i++)
		take_name(run, &q, i, failed);
}

/* ---- probes ---- */

struct round {
	struct check_run *run;
	struct event_base *base;
	size_t next;
};

struct shot {
	struct round *round;
	struct check_row *row;
};

static void start_next(struct round *round);

static void on_probed(void *context, const struct probe_result *result)
{
	auto_free struct shot *shot = context;
	const struct check_run *run = shot->round->run;
	const struct check_host *host = shot->row->host;
	struct check_policy policy = {
		.anchors = run->anchors,
		.now = run->now,
		.name = host->name,
		.expected = host->expected,
		.expected_count = host->expected_count,
		.certificate = host->certificate[0] ? host->certificate : NULL,
		.remedy = run->remedy,
		.expiring_before = run->expiring_before,
	};
	shot->row->connected = result->connected;
	shot->row->probed = true;
	check_judge(result, &policy, &shot->row->check);
	start_next(shot->round);
}

static void start_next(struct round *round)
{
	struct check_run *run = round->run;
	while (round->next < run->row_count &&
		(run->rows[round->next].probed || !run->rows[round->next].endpoint.text[0]))
		round->next++;
	if (round->next == run->row_count)
		return;
	struct shot *shot = mem_alloc(sizeof(*shot));
	shot->round = round;
	shot->row = &run->rows[round->next++];
	const struct check_host *host = shot->row->host;
	probe_start_key(round->base, &shot->row->endpoint, host->name, shot->row->key,
		host->timeout_ms ? host->timeout_ms : run->timeout_ms, on_probed, shot);
}

static void probe_all(struct check_run *run)
{
	struct round round = {.run = run, .base = event_base_new()};
	if (!round.base)
		mem_abort(__func__);
	for (size_t i = 0; i < CHECK_AT_ONCE; i++)
		start_next(&round);
	event_base_dispatch(round.base);
	event_base_free(round.base);
}

/* ---- ports that nobody asked for ---- */

static bool same_port(const struct check_row *a, const struct check_row *b)
{
	return a->host == b->host && a->port == b->port;
}

/* A port that one address of a name answers and another does not is a fault; a port that none answers is not. */
static bool is_missed(const struct check_run *run, const struct check_row *row)
{
	for (size_t i = 0; i < run->row_count; i++)
		if (run->rows[i].connected && same_port(&run->rows[i], row))
			return true;
	return false;
}

/* Drops the rows of guessed ports that are closed everywhere; a host of which nothing is left keeps one row. */
static void drop_closed(struct check_run *run)
{
	size_t kept = 0;
	bool *keep = mem_array(run->row_count + 1, sizeof(*keep));
	for (size_t i = 0; i < run->row_count; i++)
		keep[i] =
			!run->rows[i].host->guessed || !run->rows[i].endpoint.text[0] || is_missed(run, &run->rows[i]);
	for (size_t i = 0, some = 0; i < run->row_count; i++) {
		const struct check_host *host = run->rows[i].host;
		bool last = i + 1 == run->row_count || run->rows[i + 1].host != host;
		some += keep[i];
		if (last && !some) {
			keep[i] = true;
			check_release(&run->rows[i].check);
			check_unreachable(&run->rows[i].check,
				"no address answers on any of the ports 25, 110, 143, 443, 465, 587, "
				"993, 995",
				"start the service, correct the firewall or the address, or say the port");
			run->rows[i].endpoint.text[0] = '\0';
		}
		some = last ? 0 : some;
	}
	for (size_t i = 0; i < run->row_count; i++) {
		if (keep[i])
			run->rows[kept++] = run->rows[i];
		else
			check_release(&run->rows[i].check);
	}
	run->row_count = kept;
	free(keep);
}

/* ---- the other certificate of a pair ---- */

static enum probe_key other_key(const struct check *c)
{
	if (!c->served)
		return PROBE_ANY_KEY;
	return strncmp(c->facts.key_type, "rsa-", 4) == 0      ? PROBE_ECDSA_KEY
		: strncmp(c->facts.key_type, "ecdsa-", 6) == 0 ? PROBE_RSA_KEY
							       : PROBE_ANY_KEY;
}

/* Returns whether the row says what the first one does not: another certificate, or that one of an expected pair is
 * missing. */
static bool tells_more(struct check_row *row, const struct check_row *first)
{
	if (row->check.served)
		return memcmp(row->check.facts.fingerprint, first->check.facts.fingerprint, CHAIN_SHA256_SIZE) != 0;
	if (row->host->expected_count < 2)
		return false;
	auto_free char *reason = mem_strdup(row->check.reason);
	check_release(&row->check);
	check_lacks_kind(&row->check, row->key == PROBE_RSA_KEY ? "RSA" : "ECDSA", reason);
	return true;
}

/* Adds a second row behind each one that was served, which stays if it tells more. */
static void probe_other_keys(struct check_run *run)
{
	struct check_row *rows = mem_array(2 * run->row_count + 1, sizeof(*rows));
	size_t count = 0, kept = 0;
	for (size_t i = 0; i < run->row_count; i++) {
		const struct check_row *row = &run->rows[i];
		enum probe_key key = other_key(&row->check);
		rows[count++] = *row;
		if (key != PROBE_ANY_KEY)
			rows[count++] = (struct check_row){
				.host = row->host, .endpoint = row->endpoint, .port = row->port, .key = key};
	}
	free(run->rows);
	run->rows = rows;
	run->row_count = count;
	probe_all(run);
	for (size_t i = 0; i < count; i++) {
		if (rows[i].key == PROBE_ANY_KEY || tells_more(&rows[i], &rows[kept - 1]))
			rows[kept++] = rows[i];
		else
			check_release(&rows[i].check);
	}
	run->row_count = kept;
}

/* Elsewhere than before STARTTLS of SMTP and LMTP nobody says a name. */
static bool greets(const struct check_run *run)
{
	for (size_t i = 0; i < run->host_count; i++)
		for (size_t k = 0; k < run->hosts[i].port_count; k++)
			if (run->hosts[i].ports[k].model.protocol == PROBE_SMTP ||
				run->hosts[i].ports[k].model.protocol == PROBE_LMTP)
				return true;
	return false;
}

int check_run(struct check_run *run, struct error *err)
{
	char own[HELO_MAX];
	for (size_t i = 0; i < run->host_count; i++)
		if (use_given(run, &run->hosts[i], err) < 0)
			return -1;
	const char *given = run->helo;
	run->helo = given ? given : helo_of_host(greets(run), own);
	ask_names(run);
	run->helo = given; /* every row has it by now */
	probe_all(run);
	drop_closed(run);
	if (run->both_keys)
		probe_other_keys(run);
	return 0;
}

void check_run_release(struct check_run *run)
{
	for (size_t i = 0; i < run->row_count; i++)
		check_release(&run->rows[i].check);
	free(run->rows);
	run->rows = NULL;
	run->row_count = 0;
}
