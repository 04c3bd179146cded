#include "lib/core/helo.h"
#include "lib/core/name.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool is_qualified(const char *name)
{
	const char *dot = strchr(name, '.');
	return dot && dot[1] && name_is_dns(name, false) && !name_is_address(name);
}

bool helo_is_valid(const char *text)
{
	char address[INET6_ADDRSTRLEN] = "";
	unsigned char bytes[sizeof(struct in6_addr)];
	size_t len = strlen(text);
	if (text[0] != '[')
		return is_qualified(text);
	bool six = strncmp(text, "[IPv6:", 6) == 0;
	size_t front = six ? 6 : 1;
	if (text[len - 1] != ']' || len - front > sizeof(address))
		return false;
	snprintf(address, sizeof(address), "%.*s", (int)(len - front - 1), text + front);
	return inet_pton(six ? AF_INET6 : AF_INET, address, bytes) == 1;
}

const char *helo_of_host(bool ask, char text[HELO_MAX])
{
	const struct addrinfo hints = {.ai_flags = AI_CANONNAME, .ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;
	if (gethostname(text, HELO_MAX) < 0)
		text[0] = '\0';
	text[HELO_MAX - 1] = '\0';
	if (is_qualified(text))
		return text;
	if (ask && text[0] && getaddrinfo(text, NULL, &hints, &found) == 0 && found->ai_canonname)
		snprintf(text, HELO_MAX, "%s", found->ai_canonname);
	if (found)
		freeaddrinfo(found);
	if (!is_qualified(text))
		text[0] = '\0';
	return text;
}
