#include "lib/cli/doctor_net.h"
#include "lib/core/buf.h"
#include "lib/core/mem.h"
#include "lib/core/tool.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

enum { ANSWER_MAX = 64 * 1024 };

/* getent is asked, since a process can be ended at a deadline, and getaddrinfo(3) cannot. */
char *doctor_addresses(const char *name, struct error *err)
{
	const char *const argv[] = {"getent", "ahosts", name, NULL};
	auto_buf struct buf said = BUF_INIT(ANSWER_MAX), list = BUF_INIT(ANSWER_MAX);
	int exit_code;
	if (tool_exit(argv, &said, &exit_code, err) < 0)
		return NULL;
	auto_free char *copy = mem_strdup(buf_text(&said));
	char *save = NULL;
	for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (!strstr(line, "STREAM"))
			continue;
		line[strcspn(line, " \t")] = '\0';
		buf_addf(&list, "%s%s", list.len ? " " : "", line);
	}
	return mem_strdup(buf_text(&list));
}

static void write_address(const struct sockaddr *address, char out[INET6_ADDRSTRLEN])
{
	const void *generic = address;
	if (address && address->sa_family == AF_INET)
		inet_ntop(AF_INET, &((const struct sockaddr_in *)generic)->sin_addr, out, INET6_ADDRSTRLEN);
	else if (address && address->sa_family == AF_INET6)
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)generic)->sin6_addr, out, INET6_ADDRSTRLEN);
}

bool doctor_is_ours(const char *address)
{
	struct ifaddrs *all = NULL;
	bool found = false;
	if (getifaddrs(&all) < 0)
		return false;
	for (const struct ifaddrs *i = all; i && !found; i = i->ifa_next) {
		char text[INET6_ADDRSTRLEN] = "";
		write_address(i->ifa_addr, text);
		found = strcmp(text, address) == 0;
	}
	freeifaddrs(all);
	return found;
}
