#include "lib/probe/endpoint.h"
#include "lib/core/mem.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct language {
	const char *name;
	enum probe_protocol protocol, inner;
	uint16_t ports[2];
};

static const struct language languages[] = {
	{"smtp", PROBE_SMTP, PROBE_SMTP, {25, 587}},
	{"imap", PROBE_IMAP, PROBE_IMAP, {143}},
	{"pop3", PROBE_POP3, PROBE_POP3, {110}},
	{"sieve", PROBE_SIEVE, PROBE_SIEVE, {4190}},
	{"postgres", PROBE_POSTGRES, PROBE_POSTGRES, {5432}},
	{"mysql", PROBE_MYSQL, PROBE_MYSQL, {3306}},
	{"ldap", PROBE_LDAP, PROBE_LDAP, {389}},
	{"xmpp", PROBE_XMPP, PROBE_XMPP, {5222}},
	{"xmpp-server", PROBE_XMPP_SERVER, PROBE_XMPP_SERVER, {5269}},
	{"ftp", PROBE_FTP, PROBE_FTP, {21}},
	{"nntp", PROBE_NNTP, PROBE_NNTP, {119}},
	{"lmtp", PROBE_LMTP, PROBE_LMTP, {24}},
	{"smtps", PROBE_TLS, PROBE_SMTP, {465}},
	{"imaps", PROBE_TLS, PROBE_IMAP, {993}},
	{"pop3s", PROBE_TLS, PROBE_POP3, {995}},
	{"ldaps", PROBE_TLS, PROBE_LDAP, {636}},
	{"xmpps", PROBE_TLS, PROBE_XMPP, {5223}},
	{"ftps", PROBE_TLS, PROBE_FTP, {990}},
	{"nntps", PROBE_TLS, PROBE_NNTP, {563}},
	{"tls", PROBE_TLS, PROBE_TLS, {443}},
};

/* A node that takes mail through a proxy usually listens once more, on a port that is ten thousand higher. */
enum { TWIN = 10000 };

static const struct language *language_of_port(uint16_t port)
{
	for (size_t i = 0; i < COUNT(languages); i++)
		for (size_t k = 0; k < COUNT(languages[i].ports); k++) {
			uint16_t known = languages[i].ports[k];
			if (known && (port == known || port == known + TWIN))
				return &languages[i];
		}
	return &languages[COUNT(languages) - 1];
}

static const struct language *language_of_name(const char *name)
{
	for (size_t i = 0; i < COUNT(languages); i++)
		if (strcasecmp(languages[i].name, name) == 0)
			return &languages[i];
	return NULL;
}

static int port_parse(const char *text, uint16_t *ret)
{
	size_t len = strspn(text, "0123456789");
	if (len == 0 || len > 5 || text[len] != '\0')
		return -1;
	unsigned long value = strtoul(text, NULL, 10);
	if (value == 0 || value > UINT16_MAX)
		return -1;
	*ret = (uint16_t)value;
	return 0;
}

/* Takes "ADDRESS:PORT" or "[ADDRESS]:PORT" apart in place. */
static int split_port(char *text, char **ret_host, char **ret_port)
{
	char *colon = strrchr(text, ':');
	if (!colon)
		return -1;
	*colon = '\0';
	*ret_port = colon + 1;
	*ret_host = text;
	size_t len = strlen(text);
	if (text[0] != '[')
		return strchr(text, ':') ? -1 : 0;
	if (len < 2 || text[len - 1] != ']')
		return -1;
	text[len - 1] = '\0';
	*ret_host = text + 1;
	return strchr(text + 1, ':') ? 0 : -1;
}

static int address_parse(const char *host, uint16_t port, struct endpoint *ret)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	if (inet_pton(AF_INET, host, &v4.sin_addr) == 1) {
		memcpy(&ret->address, &v4, sizeof(v4));
		ret->address_len = sizeof(v4);
		return 0;
	}
	if (inet_pton(AF_INET6, host, &v6.sin6_addr) == 1) {
		memcpy(&ret->address, &v6, sizeof(v6));
		ret->address_len = sizeof(v6);
		return 0;
	}
	return -1;
}

int endpoint_parse(const char *text, struct endpoint *ret, struct error *err)
{
	struct endpoint e = {0};
	if (strlen(text) >= sizeof(e.text))
		return error_set(
			err, ERROR_USAGE, "endpoint \"%.40s…\" is longer than %zu bytes", text, sizeof(e.text) - 1);
	strcpy(e.text, text);
	char copy[ENDPOINT_TEXT_MAX];
	strcpy(copy, text);

	char *plus = strchr(copy, '+');
	if (plus) {
		*plus = '\0';
		e.proxy = true;
		if (strcmp(plus + 1, "proxy") != 0)
			return error_set(err, ERROR_USAGE, "endpoint \"%s\": \"+%s\" is not known; only +proxy is",
				text, plus + 1);
	}
	char *slash = strchr(copy, '/');
	if (slash)
		*slash = '\0';
	char *host, *port_text;
	uint16_t port;
	if (split_port(copy, &host, &port_text) < 0)
		return error_set(err, ERROR_USAGE,
			"endpoint \"%s\" is not ADDRESS:PORT; write 127.0.0.1:25, or [::1]:25 for IPv6", text);
	if (port_parse(port_text, &port) < 0)
		return error_set(err, ERROR_USAGE, "endpoint \"%s\": the port must be a number from 1 to 65535", text);
	if (address_parse(host, port, &e) < 0)
		return error_set(err, ERROR_USAGE,
			"endpoint \"%s\": \"%s\" is not an IP address; names are not resolved here", text, host);
	const struct language *language = slash ? language_of_name(slash + 1) : language_of_port(port);
	if (!language)
		return error_set(err, ERROR_USAGE,
			"endpoint \"%s\": protocol \"%s\" is not known; known are smtp lmtp imap pop3 sieve ftp nntp ldap xmpp "
			"xmpp-server postgres mysql (STARTTLS), smtps imaps pop3s ftps nntps ldaps xmpps tls (TLS at once)",
			text, slash + 1);
	e.protocol = language->protocol;
	e.inner = language->inner;
	*ret = e;
	return 0;
}

bool endpoint_is_at(const char *text, const char *address)
{
	struct in6_addr a, b;
	size_t bracket = *text == '[', len = bracket ? strcspn(text, "]") - 1 : strcspn(text, ":");
	auto_free char *host = mem_strndup(text + bracket, len);
	int family = bracket ? AF_INET6 : AF_INET;
	return inet_pton(family, host, &a) == 1 && inet_pton(family, address, &b) == 1 &&
		memcmp(&a, &b, bracket ? sizeof(struct in6_addr) : sizeof(struct in_addr)) == 0;
}
