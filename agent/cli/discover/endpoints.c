#include "agent/cli/discover/endpoints.h"
#include "lib/core/mem.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOCALS_MAX = 16 };

/* Returns whether the part after the slash says more than the port does. */
static bool must_say(const char *plain, const char *said)
{
	struct endpoint a, b;
	struct error err;
	if (endpoint_parse(plain, &a, &err) < 0 || endpoint_parse(said, &b, &err) < 0)
		return true;
	return a.protocol != b.protocol || a.inner != b.inner;
}

char *found_endpoint(const char *address, const struct found_port *p)
{
	const char *proxy = p->proxy ? "+proxy" : "";
	char *plain = mem_printf("%s:%u%s", address, p->port, proxy);
	char *said = p->protocol ? mem_printf("%s:%u/%s%s", address, p->port, p->protocol, proxy) : mem_strdup(plain);
	bool say = must_say(plain, said);
	free(say ? plain : said);
	return say ? said : plain;
}

void found_listening(const struct found *f, struct listening *ret)
{
	listening_read(ret);
	for (size_t i = 0; i < f->count; i++)
		if (f->services[i].user)
			(void)listening_believe(ret, f->services[i].program, f->services[i].user);
}

/* ---- the addresses of this node ---- */

struct locals {
	char list[LOCALS_MAX][LISTENING_ADDRESS_MAX];
	size_t count;
};

static bool address_text(const struct sockaddr *a, int family, char ret[LISTENING_ADDRESS_MAX])
{
	if (!a || a->sa_family != family)
		return false;
	if (family == AF_INET)
		return inet_ntop(
			family, &((const struct sockaddr_in *)(const void *)a)->sin_addr, ret, LISTENING_ADDRESS_MAX);
	const struct in6_addr *six = &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;
	return !IN6_IS_ADDR_LINKLOCAL(six) && inet_ntop(family, six, ret, LISTENING_ADDRESS_MAX);
}

/* Loopback comes first: it is where a socket for every address is looked at most politely. */
static void add_locals(struct locals *l, int family)
{
	struct ifaddrs *all = NULL;
	if (getifaddrs(&all) < 0)
		return;
	for (int loopback = 1; loopback >= 0; loopback--)
		for (const struct ifaddrs *i = all; i && l->count < LOCALS_MAX; i = i->ifa_next)
			if ((i->ifa_flags & IFF_UP) && !!(i->ifa_flags & IFF_LOOPBACK) == loopback &&
				address_text(i->ifa_addr, family, l->list[l->count]))
				l->count++;
	freeifaddrs(all);
}

/* ---- sockets ---- */

static bool is_any(const struct listening_socket *s)
{
	return strcmp(s->address, s->v6 ? "::" : "0.0.0.0") == 0;
}

/* Returns whether a socket of IPv4's own takes what comes to this port by IPv4. */
static bool has_v4(const struct listening *l, uint16_t port)
{
	for (size_t i = 0; i < l->count; i++)
		if (l->list[i].port == port && !l->list[i].v6 && is_any(&l->list[i]))
			return true;
	return false;
}

static void addresses_of(const struct listening *l, const struct listening_socket *s, struct locals *ret)
{
	ret->count = 0;
	if (!is_any(s)) {
		strcpy(ret->list[ret->count++], s->address);
		return;
	}
	add_locals(ret, s->v6 ? AF_INET6 : AF_INET);
	if (s->v6 && !has_v4(l, s->port))
		add_locals(ret, AF_INET);
}

static bool is_same_address(const char *a, const char *b)
{
	unsigned char x[16] = {0}, y[16] = {0};
	int family = strchr(a, ':') ? AF_INET6 : AF_INET;
	return inet_pton(family, a, x) == 1 && inet_pton(family, b, y) == 1 && memcmp(x, y, sizeof(x)) == 0;
}

/* Returns the port of the configuration that this address belongs to: by name, or as one of all. What names a host
 * may be any address. */
static const struct found_port *port_at(const struct found_service *s, const char *address, uint16_t port)
{
	const struct found_port *result = NULL;
	unsigned char bytes[16];
	for (size_t i = 0; i < s->port_count; i++) {
		const struct found_port *p = &s->ports[i];
		if (p->port != port)
			continue;
		if (is_same_address(p->address, address))
			return p;
		bool number = inet_pton(AF_INET, p->address, bytes) == 1 || inet_pton(AF_INET6, p->address, bytes) == 1;
		if (!number && !result)
			result = p;
	}
	return result;
}

static void add(struct endpoints_found *ret, const char *text, bool explained)
{
	for (size_t i = 0; i < ret->count; i++)
		if (strcmp(ret->list[i].text, text) == 0)
			return;
	ret->list = mem_grow(ret->list, ret->count + 1, sizeof(*ret->list));
	struct endpoint_found *e = &ret->list[ret->count++];
	snprintf(e->text, sizeof(e->text), "%s", text);
	e->explained = explained;
}

static void add_socket(const struct found_service *s, const struct listening *l, const struct listening_socket *socket,
	struct endpoints_found *ret)
{
	struct locals at;
	addresses_of(l, socket, &at);
	/* A database has one certificate for all addresses, and MariaDB blocks one, but not loopback, where handshakes
	 * fail: those of clients that take the other kind of key. */
	if (s->user && at.count)
		at.count = 1;
	for (size_t i = 0; i < at.count; i++) {
		const struct found_port *p = port_at(s, at.list[i], socket->port);
		const struct found_port unknown = {.port = socket->port};
		bool six = strchr(at.list[i], ':');
		auto_free char *address = mem_printf(six ? "[%s]" : "%s", at.list[i]);
		auto_free char *text = found_endpoint(address, p ? p : &unknown);
		/* Who is not root sees no program: then only what the configuration explains is the service's. */
		if (p || socket->program[0])
			add(ret, text, p != NULL);
	}
}

void endpoints_find(const struct found_service *s, const struct listening *l, struct endpoints_found *ret)
{
	*ret = (struct endpoints_found){0};
	for (size_t i = 0; i < l->count; i++) {
		const struct listening_socket *socket = &l->list[i];
		if ((socket->believed || s->anybodys) &&
			((!socket->program[0] && !s->anybodys) ||
				(s->program && strcmp(socket->program, s->program) == 0)))
			add_socket(s, l, socket, ret);
	}
}
