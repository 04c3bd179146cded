#include "lib/config/value.h"
#include "lib/core/mem.h"
#include "lib/core/name.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	char letter;
	int64_t seconds;
} units[] = {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};

bool duration_parse(const char *text, int64_t *ret_seconds)
{
	size_t digits = strspn(text, "0123456789");
	if (digits == 0 || digits > 9 || strlen(text) != digits + 1)
		return false;
	for (size_t i = 0; i < COUNT(units); i++) {
		if (text[digits] != units[i].letter)
			continue;
		*ret_seconds = strtoll(text, NULL, 10) * units[i].seconds;
		return true;
	}
	return false;
}

char *duration_text(int64_t seconds)
{
	size_t i = 0;
	while (i + 1 < COUNT(units) && (seconds == 0 || seconds % units[i].seconds != 0))
		i++;
	return mem_printf("%lld%c", (long long)(seconds / units[i].seconds), units[i].letter);
}

bool config_is_path(const char *path)
{
	if (path[0] != '/')
		return false;
	for (const char *p = path; *p;) {
		size_t len = strcspn(++p, "/");
		if ((len == 0 && *p) || (len == 1 && p[0] == '.') || (len == 2 && p[0] == '.' && p[1] == '.'))
			return false;
		p += len;
	}
	return true;
}

static bool is_port(const char *text, size_t len)
{
	char digits[6] = "";
	if (len == 0 || len > 5 || strspn(text, "0123456789") < len || text[0] == '0')
		return false;
	memcpy(digits, text, len);
	return strtol(digits, NULL, 10) <= 65535;
}

/* Whether what stands in front of ":PORT" is an address, IPv4, or IPv6 in brackets. */
static bool is_address(const char *text, size_t len)
{
	char address[INET6_ADDRSTRLEN] = "";
	struct in6_addr ignored;
	bool six = len > 2 && text[0] == '[' && text[len - 1] == ']';
	if (six) {
		text++;
		len -= 2;
	}
	if (len >= sizeof(address))
		return false;
	memcpy(address, text, len);
	return inet_pton(six ? AF_INET6 : AF_INET, address, &ignored) == 1;
}

bool config_is_ssh(const char *text)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_-.";
	const char *at = strchr(text, '@');
	if (!at || at == text || text[0] == '-' || strspn(text, letters) != (size_t)(at - text))
		return false;
	const char *host = at + 1;
	const char *bracket = host[0] == '[' ? strchr(host, ']') : NULL;
	const char *colon = strchr(bracket ? bracket : host, ':');
	size_t len = colon ? (size_t)(colon - host) : strlen(host);
	auto_free char *name = mem_strndup(host, len);
	if (!is_address(host, len) && !name_is_dns(name, false))
		return false;
	return !colon || is_port(colon + 1, strlen(colon + 1));
}
