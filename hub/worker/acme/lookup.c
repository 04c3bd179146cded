#include "hub/worker/acme/lookup.h"
#include "lib/core/buf.h"
#include "lib/core/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	LOOKUP_SECONDS = 2, /* for one answer over one transport */
	LOOKUP_TRIES = 3,
	LOOKUP_CNAMES_MAX = 10,
	LOOKUP_LABELS_MAX = 128,
	LOOKUP_PORT = 53,
	LOOKUP_UDP_MAX = 1232, /* passes everywhere without fragments (DNS flag day 2020) */
};

/* ---- what ldns owns ---- */

static void free_pkt(ldns_pkt **pkt)
{
	ldns_pkt_free(*pkt);
}

static void free_rdf(ldns_rdf **rdf)
{
	ldns_rdf_deep_free(*rdf);
}

static void free_resolver(ldns_resolver **resolver)
{
	ldns_resolver_deep_free(*resolver);
}

#define auto_pkt __attribute__((cleanup(free_pkt)))
#define auto_rdf __attribute__((cleanup(free_rdf)))
#define auto_resolver __attribute__((cleanup(free_resolver)))

/* Prints the text, cut at `size` if it must be; ldns makes printable ASCII of every name and text. */
static void print_rdf(const ldns_rdf *rdf, char *ret, size_t size)
{
	char *text = ldns_rdf2str(rdf);
	snprintf(ret, size, "%s", text ? text : "?");
	free(text);
}

/* ---- one question ---- */

static ldns_rdf *address_rdf(const char *address)
{
	return ldns_rdf_new_frm_str(strchr(address, ':') ? LDNS_RDF_TYPE_AAAA : LDNS_RDF_TYPE_A, address);
}

static void set_patience(ldns_resolver *resolver)
{
	ldns_resolver_set_timeout(resolver, (struct timeval){.tv_sec = LOOKUP_SECONDS});
	ldns_resolver_set_retry(resolver, 1); /* it would sleep between two */
	ldns_resolver_set_edns_udp_size(resolver, LOOKUP_UDP_MAX);
}

static ldns_resolver *resolver_at(const char *address, uint16_t port)
{
	auto_rdf ldns_rdf *where = address_rdf(address);
	ldns_resolver *resolver = where ? ldns_resolver_new() : NULL;
	if (!resolver)
		return NULL;
	if (ldns_resolver_push_nameserver(resolver, where) != LDNS_STATUS_OK)
		mem_abort(__func__);
	ldns_resolver_set_port(resolver, port);
	set_patience(resolver);
	return resolver;
}

/* Makes a resolver of "192.0.2.1", "192.0.2.1:5353", "2001:db8::1" or "[2001:db8::1]:5353". */
static ldns_resolver *resolver_named(const char *text)
{
	char address[LOOKUP_ADDRESS_MAX];
	const char *colon = strrchr(text, ':');
	bool bracket = text[0] == '[', port = colon && (bracket ? colon[-1] == ']' : strchr(text, ':') == colon);
	size_t len = port ? (size_t)(colon - text) : strlen(text);
	if (bracket) {
		text++;
		len -= len >= 2 ? 2 : len;
	}
	if (len >= sizeof(address))
		return NULL;
	memcpy(address, text, len);
	address[len] = '\0';
	return resolver_at(address, port ? (uint16_t)strtoul(colon + 1, NULL, 10) : LOOKUP_PORT);
}

static ldns_resolver *resolver_of_system(void)
{
	ldns_resolver *resolver = NULL;
	if (ldns_resolver_new_frm_file(&resolver, NULL) != LDNS_STATUS_OK)
		return NULL;
	set_patience(resolver);
	ldns_resolver_set_dnsrch(resolver, false);
	ldns_resolver_set_defnames(resolver, false);
	return resolver;
}

static bool is_usable(const ldns_pkt *answer)
{
	return ldns_pkt_get_rcode(answer) == LDNS_RCODE_NOERROR || ldns_pkt_get_rcode(answer) == LDNS_RCODE_NXDOMAIN;
}

/* ldns compares only the answer's number with the question's. Servers that refuse may leave the question out. */
static bool is_answer_to(const ldns_pkt *answer, const ldns_rdf *name, ldns_rr_type type)
{
	const ldns_rr_list *asked = ldns_pkt_question(answer);
	if (!asked || ldns_rr_list_rr_count(asked) == 0)
		return !is_usable(answer);
	const ldns_rr *rr = ldns_rr_list_rr(asked, 0);
	return ldns_rr_get_type(rr) == type && ldns_dname_compare(ldns_rr_owner(rr), name) == 0;
}

/* Returns the answer, or NULL and why there is none. A server's answer may say anything, an error code too. */
static ldns_pkt *send_query(
	ldns_resolver *resolver, const ldns_rdf *name, ldns_rr_type type, uint16_t flags, const char **ret_why)
{
	ldns_pkt *answer = NULL;
	ldns_status status = ldns_resolver_send(&answer, resolver, name, type, LDNS_RR_CLASS_IN, flags);
	if (status == LDNS_STATUS_OK && answer && is_answer_to(answer, name, type))
		return answer;
	ldns_pkt_free(answer);
	/* ldns's words for this are long, and it has one status for every fault of the network. */
	*ret_why = status == LDNS_STATUS_OK || status == LDNS_STATUS_NETWORK_ERR || status == LDNS_STATUS_SOCKET_ERROR
		? "no answer"
		: ldns_get_errorstr_by_id(status);
	return NULL;
}

static void rcode_text(const ldns_pkt *answer, char *ret, size_t size)
{
	char *text = ldns_pkt_rcode2str(ldns_pkt_get_rcode(answer));
	snprintf(ret, size, "%s", text ? text : "an unknown response code");
	free(text);
}

/* Tries one resolver once. Returns its answer, or NULL with its reason behind those of the others. */
static ldns_pkt *try_resolver(
	ldns_resolver *resolver, const char *label, const ldns_rdf *name, ldns_rr_type type, struct buf *reasons)
{
	const char *why = "not an address";
	char code[LOOKUP_ADDRESS_MAX];
	ldns_pkt *answer = resolver ? send_query(resolver, name, type, LDNS_RD, &why) : NULL;
	if (answer && is_usable(answer))
		return answer;
	if (answer) {
		rcode_text(answer, code, sizeof(code));
		why = code;
	}
	buf_addf(reasons, "%s%s: %s", reasons->len ? ", " : "", label, why);
	ldns_pkt_free(answer);
	return NULL;
}

static const char system_resolvers[] = "a name server of /etc/resolv.conf";

/* Returns what the first resolver says that says anything. */
static ldns_pkt *ask(const struct lookup *l, const ldns_rdf *name, ldns_rr_type type, struct error *err)
{
	static const char *const of_system[] = {system_resolvers, NULL};
	const char *const *labels = l->resolvers && l->resolvers[0] ? l->resolvers : of_system;
	auto_buf struct buf reasons = BUF_INIT(512);
	char text[LOOKUP_NAME_MAX];
	for (int i = 0; i < LOOKUP_TRIES; i++) {
		buf_reset(&reasons);
		for (size_t n = 0; n < LOOKUP_RESOLVERS_MAX && labels[n]; n++) {
			auto_resolver ldns_resolver *resolver =
				labels == of_system ? resolver_of_system() : resolver_named(labels[n]);
			ldns_pkt *answer = try_resolver(resolver, labels[n], name, type, &reasons);
			if (answer)
				return answer;
		}
	}
	print_rdf(name, text, sizeof(text));
	error_set(
		err, ERROR_RETRY, "%s cannot be looked up: %s: see `resolvers` in hub.conf", text, buf_text(&reasons));
	return NULL;
}

static ldns_rdf *parse_name(const char *name, struct error *err)
{
	ldns_rdf *parsed = ldns_dname_new_frm_str(name);
	if (!parsed)
		error_set(err, ERROR_PERMANENT, "\"%s\" is not a name", name);
	return parsed;
}

/* ---- where a record stands ---- */

static const ldns_rr *find_rr(const ldns_pkt *answer, const ldns_rdf *owner, ldns_rr_type type)
{
	const ldns_rr_list *list = ldns_pkt_answer(answer);
	for (size_t i = 0; list && i < ldns_rr_list_rr_count(list); i++) {
		const ldns_rr *rr = ldns_rr_list_rr(list, i);
		if (ldns_rr_get_type(rr) == type && ldns_rr_rd_count(rr) > 0 &&
			ldns_dname_compare(ldns_rr_owner(rr), owner) == 0)
			return rr;
	}
	return NULL;
}

int lookup_target(const struct lookup *l, const char *name, char ret[LOOKUP_NAME_MAX], struct error *err)
{
	snprintf(ret, LOOKUP_NAME_MAX, "%s", name);
	for (int i = 0; i < LOOKUP_CNAMES_MAX; i++) {
		auto_rdf ldns_rdf *at = parse_name(ret, err);
		auto_pkt ldns_pkt *answer = at ? ask(l, at, LDNS_RR_TYPE_CNAME, err) : NULL;
		if (!answer)
			return -1;
		const ldns_rr *cname = find_rr(answer, at, LDNS_RR_TYPE_CNAME);
		if (!cname)
			return 0;
		print_rdf(ldns_rr_rdf(cname, 0), ret, LOOKUP_NAME_MAX);
	}
	return error_set(
		err, ERROR_PERMANENT, "%s: more than %d CNAMEs lead on from one another", name, LOOKUP_CNAMES_MAX);
}

/* Goes upwards label by label to the first name that has an SOA, since resolvers differ in what they say of a name that
 * does not exist. */
static ldns_rdf *find_apex(const struct lookup *l, const char *name, struct error *err)
{
	ldns_rdf *at = parse_name(name, err);
	for (int i = 0; at && i < LOOKUP_LABELS_MAX; i++) {
		auto_pkt ldns_pkt *answer = ask(l, at, LDNS_RR_TYPE_SOA, err);
		if (answer && find_rr(answer, at, LDNS_RR_TYPE_SOA))
			return at;
		ldns_rdf *above = answer && ldns_dname_label_count(at) > 1 ? ldns_dname_left_chop(at) : NULL;
		ldns_rdf_deep_free(at);
		if (answer && !above)
			error_set(err, ERROR_RETRY, "no zone is found that holds %s", name);
		at = above;
	}
	return at;
}

static void add_server(struct lookup_zone *z, const char *name, const char *address)
{
	for (size_t i = 0; i < z->server_count && address[0]; i++)
		if (strcmp(z->servers[i].address, address) == 0)
			return;
	if (z->server_count == LOOKUP_SERVERS_MAX)
		return;
	z->servers = mem_grow(z->servers, z->server_count + 1, sizeof(*z->servers));
	struct lookup_server *s = &z->servers[z->server_count++];
	*s = (struct lookup_server){.name = mem_strdup(name)};
	snprintf(s->address, sizeof(s->address), "%s", address);
}

static int add_addresses(const struct lookup *l, const ldns_rdf *server, ldns_rr_type type, struct lookup_zone *z,
	size_t *count, struct error *err)
{
	char name[LOOKUP_NAME_MAX], address[LOOKUP_ADDRESS_MAX];
	auto_pkt ldns_pkt *answer = ask(l, server, type, err);
	const ldns_rr_list *list = answer ? ldns_pkt_answer(answer) : NULL;
	print_rdf(server, name, sizeof(name));
	for (size_t i = 0; list && i < ldns_rr_list_rr_count(list); i++) {
		const ldns_rr *rr = ldns_rr_list_rr(list, i);
		if (ldns_rr_get_type(rr) != type || ldns_rr_rd_count(rr) == 0)
			continue;
		print_rdf(ldns_rr_rdf(rr, 0), address, sizeof(address));
		add_server(z, name, address);
		(*count)++;
	}
	return answer ? 0 : -1;
}

/* A name server whose addresses cannot be had counts as one that does not answer, and is no reason to stop. */
static void add_name_server(const struct lookup *l, const ldns_rdf *server, struct lookup_zone *z)
{
	struct error ignored;
	char name[LOOKUP_NAME_MAX];
	size_t count = 0;
	add_addresses(l, server, LDNS_RR_TYPE_A, z, &count, &ignored);
	add_addresses(l, server, LDNS_RR_TYPE_AAAA, z, &count, &ignored);
	print_rdf(server, name, sizeof(name));
	if (count == 0)
		add_server(z, name, "");
}

int lookup_zone(const struct lookup *l, const char *name, struct lookup_zone *ret, struct error *err)
{
	char apex_text[LOOKUP_NAME_MAX];
	auto_rdf ldns_rdf *apex = find_apex(l, name, err);
	auto_pkt ldns_pkt *answer = apex ? ask(l, apex, LDNS_RR_TYPE_NS, err) : NULL;
	const ldns_rr_list *list = answer ? ldns_pkt_answer(answer) : NULL;
	if (!answer)
		return -1;
	print_rdf(apex, apex_text, sizeof(apex_text));
	*ret = (struct lookup_zone){.apex = mem_strdup(apex_text)};
	for (size_t i = 0; list && i < ldns_rr_list_rr_count(list); i++) {
		const ldns_rr *rr = ldns_rr_list_rr(list, i);
		if (ldns_rr_get_type(rr) == LDNS_RR_TYPE_NS && ldns_rr_rd_count(rr) > 0)
			add_name_server(l, ldns_rr_rdf(rr, 0), ret);
	}
	if (ret->server_count)
		return 0;
	lookup_zone_release(ret);
	return error_set(err, ERROR_RETRY, "the zone %s has no NS record", apex_text);
}

static void release_servers(struct lookup_zone *z)
{
	for (size_t i = 0; i < z->server_count; i++)
		free(z->servers[i].name);
	free(z->servers);
	z->servers = NULL;
	z->server_count = 0;
}

void lookup_by_resolvers(const struct lookup *l, struct lookup_zone *z)
{
	release_servers(z);
	for (size_t i = 0; l->resolvers && i < LOOKUP_RESOLVERS_MAX && l->resolvers[i]; i++)
		add_server(z, "the resolver", l->resolvers[i]);
	if (z->server_count == 0)
		add_server(z, system_resolvers, "");
	for (size_t i = 0; i < z->server_count; i++)
		z->servers[i].is_resolver = true;
}

void lookup_zone_release(struct lookup_zone *z)
{
	release_servers(z);
	free(z->apex);
	*z = (struct lookup_zone){0};
}

/* ---- what one server says ---- */

/* A TXT record's text is the sum of its strings. */
static bool txt_is(const ldns_rr *txt, const char *value)
{
	size_t at = 0, len = strlen(value);
	for (size_t i = 0; i < ldns_rr_rd_count(txt); i++) {
		const ldns_rdf *string = ldns_rr_rdf(txt, i);
		size_t size = ldns_rdf_size(string), part = size ? size - 1 : 0; /* behind its length byte */
		if (!size || part > len - at || memcmp(ldns_rdf_data(string) + 1, value + at, part) != 0)
			return false;
		at += part;
	}
	return at == len;
}

static enum lookup_view judge_records(
	const ldns_rr_list *list, const ldns_rdf *name, const char *value, char ret_text[LOOKUP_TEXT_MAX])
{
	size_t others = 0;
	for (size_t i = 0; list && i < ldns_rr_list_rr_count(list); i++) {
		const ldns_rr *rr = ldns_rr_list_rr(list, i);
		if (ldns_rr_get_type(rr) != LDNS_RR_TYPE_TXT || ldns_dname_compare(ldns_rr_owner(rr), name) != 0)
			continue;
		if (txt_is(rr, value)) {
			snprintf(ret_text, LOOKUP_TEXT_MAX, "shows it");
			return LOOKUP_SHOWN;
		}
		if (others++ == 0 && ldns_rr_rd_count(rr) > 0)
			print_rdf(ldns_rr_rdf(rr, 0), ret_text, LOOKUP_TEXT_MAX / 2);
	}
	if (others == 0) {
		snprintf(ret_text, LOOKUP_TEXT_MAX, "no TXT record");
	} else {
		auto_free char *first = mem_strdup(ret_text);
		snprintf(ret_text, LOOKUP_TEXT_MAX, "%zu other value%s: %s", others, others > 1 ? "s, the first" : "",
			first);
	}
	return LOOKUP_ABSENT;
}

enum lookup_view lookup_judge(const ldns_pkt *answer, bool of_resolver, const ldns_rdf *name, const char *value,
	char ret_text[LOOKUP_TEXT_MAX])
{
	rcode_text(answer, ret_text, LOOKUP_TEXT_MAX);
	if (!is_usable(answer))
		return LOOKUP_SILENT;
	if (!of_resolver && !ldns_pkt_aa(answer)) {
		snprintf(ret_text, LOOKUP_TEXT_MAX, "not authoritative for it");
		return LOOKUP_SILENT;
	}
	if (ldns_pkt_get_rcode(answer) == LDNS_RCODE_NXDOMAIN)
		return LOOKUP_ABSENT;
	return judge_records(ldns_pkt_answer(answer), name, value, ret_text);
}

/* Returns whether the kernel knows a way there, without sending a packet. Many hosts have no IPv6. */
static bool has_route(const char *address)
{
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(LOOKUP_PORT)};
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(LOOKUP_PORT)};
	bool is_six = inet_pton(AF_INET6, address, &six.sin6_addr) == 1;
	if (!is_six && inet_pton(AF_INET, address, &four.sin_addr) != 1)
		return false;
	auto_close int fd = socket(is_six ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return errno != EAFNOSUPPORT;
	return connect(fd, is_six ? (struct sockaddr *)&six : (struct sockaddr *)&four,
		       is_six ? sizeof(six) : sizeof(four)) == 0;
}

static ldns_resolver *asker(const struct lookup_server *server)
{
	if (server->is_resolver)
		return server->address[0] ? resolver_named(server->address) : resolver_of_system();
	return server->address[0] ? resolver_at(server->address, LOOKUP_PORT) : NULL;
}

enum lookup_view lookup_txt(
	const struct lookup_server *server, const char *name, const char *value, char ret_text[LOOKUP_TEXT_MAX])
{
	struct error err;
	const char *why = "no address";
	if (server->address[0] && !server->is_resolver && !has_route(server->address)) {
		snprintf(ret_text, LOOKUP_TEXT_MAX, "no route to it from here");
		return LOOKUP_NO_WAY;
	}
	auto_rdf ldns_rdf *asked = parse_name(name, &err);
	auto_resolver ldns_resolver *resolver = asker(server);
	auto_pkt ldns_pkt *answer = asked && resolver
		? send_query(resolver, asked, LDNS_RR_TYPE_TXT, server->is_resolver ? LDNS_RD : 0, &why)
		: NULL;
	if (answer)
		return lookup_judge(answer, server->is_resolver, asked, value, ret_text);
	snprintf(ret_text, LOOKUP_TEXT_MAX, "%s", why);
	return LOOKUP_SILENT;
}

/* ---- the addresses of a host ---- */

static int take_addresses(const struct lookup *l, const ldns_rdf *name, ldns_rr_type type,
	char (*ret)[LOOKUP_ADDRESS_MAX], size_t max, size_t *count, struct error *err)
{
	auto_pkt ldns_pkt *answer = ask(l, name, type, err);
	const ldns_rr_list *list = answer ? ldns_pkt_answer(answer) : NULL;
	for (size_t i = 0; list && i < ldns_rr_list_rr_count(list) && *count < max; i++) {
		const ldns_rr *rr = ldns_rr_list_rr(list, i);
		if (ldns_rr_get_type(rr) == type && ldns_rr_rd_count(rr) > 0)
			print_rdf(ldns_rr_rdf(rr, 0), ret[(*count)++], LOOKUP_ADDRESS_MAX);
	}
	return answer ? 0 : -1;
}

int lookup_addresses(const struct lookup *l, const char *name, char (*ret)[LOOKUP_ADDRESS_MAX], size_t max,
	size_t *ret_count, struct error *err)
{
	auto_rdf ldns_rdf *parsed = parse_name(name, err);
	*ret_count = 0;
	if (!parsed || take_addresses(l, parsed, LDNS_RR_TYPE_A, ret, max, ret_count, err) < 0)
		return -1;
	return take_addresses(l, parsed, LDNS_RR_TYPE_AAAA, ret, max, ret_count, err);
}
