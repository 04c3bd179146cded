#include "lib/cli/doctor_fail2ban.h"
#include "lib/cli/doctor_net.h"
#include "lib/cli/doctor_system.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"
#include "lib/core/tool.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define JAIL_FILE "/etc/fail2ban/jail.d/certsync.local"

enum { SAID_MAX = 256 * 1024, CONF_MAX = 64 * 1024, JAILS_MAX = 32, ADDRESS_BYTES = 16 };

/* ---- addresses ---- */

/* Parses an address; an IPv4 address is mapped into IPv6. Returns its number of bits (32 or 128), or 0 when it is
 * none. */
static int parse_address(const char *text, uint8_t ret[ADDRESS_BYTES])
{
	memset(ret, 0, ADDRESS_BYTES);
	ret[10] = ret[11] = 0xff;
	if (inet_pton(AF_INET, text, ret + 12) == 1)
		return 32;
	return inet_pton(AF_INET6, text, ret) == 1 ? 128 : 0;
}

static bool network_has(const char *network, const uint8_t address[ADDRESS_BYTES])
{
	uint8_t base[ADDRESS_BYTES];
	auto_free char *copy = mem_strdup(network);
	char *slash = strchr(copy, '/');
	if (slash)
		*slash++ = '\0';
	int width = parse_address(copy, base);
	int bits = slash ? (int)strtol(slash, NULL, 10) : width;
	if (!width || bits < 0 || bits > width)
		return false;
	bits += 128 - width;
	size_t whole = (size_t)bits / 8;
	uint8_t mask = (uint8_t)(0xff00 >> (bits % 8));
	return memcmp(base, address, whole) == 0 && (bits % 8 == 0 || ((base[whole] ^ address[whole]) & mask) == 0);
}

bool doctor_ignores(const char *list, const char *address)
{
	uint8_t bytes[ADDRESS_BYTES];
	auto_free char *copy = mem_strdup(list);
	char *save = NULL;
	bool parsed = parse_address(address, bytes) != 0;
	for (char *word = strtok_r(copy, " \t\n,|`", &save); word; word = strtok_r(NULL, " \t\n,|`", &save)) {
		word += strspn(word, "-");
		if (strcmp(word, address) == 0 || (parsed && network_has(word, bytes)))
			return true;
	}
	return false;
}

/* ---- jails ---- */

struct jail {
	char name[64];
	char *ignores; /* owned; words with a blank between */
};

struct jails {
	struct jail list[JAILS_MAX];
	size_t count;
};

static void jails_free(void *what)
{
	struct jails *j = what;
	for (size_t i = 0; i < j->count; i++)
		free(j->list[i].ignores);
	free(j);
}

/* Returns the list without the lines that are drawn in front of it. */
static char *list_of(const char *said)
{
	auto_free char *copy = mem_strdup(said);
	char *list = mem_strdup(""), *save = NULL;
	for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (strncmp(line, "|- ", 3) != 0 && strncmp(line, "`- ", 3) != 0)
			continue;
		char *longer = mem_printf("%s%s%s", list, *list ? " " : "", line + 3);
		free(list);
		list = longer;
	}
	return list;
}

static bool is_wanted(const char *jail, const char *const *prefixes)
{
	for (; *prefixes; prefixes++)
		if (strncmp(jail, *prefixes, strlen(*prefixes)) == 0)
			return true;
	return false;
}

/* Returns whether ignoreself is true, which is the default: then the jail lets this node's own addresses alone. */
static bool ignores_self(const char *jail)
{
	const char *const get[] = {"fail2ban-client", "get", jail, "ignoreself", NULL};
	struct error ignored;
	auto_buf struct buf said = BUF_INIT(SAID_MAX);
	return tool_run(get, &said, &ignored) == 0 && strstr(buf_text(&said), "True");
}

static char *missing_of(const char *ignores, const char *const *addresses, bool self)
{
	char *missing = mem_strdup("");
	for (; *addresses; addresses++) {
		if (doctor_ignores(ignores, *addresses) || doctor_ignores(missing, *addresses) ||
			(self && doctor_is_ours(*addresses)))
			continue;
		char *longer = mem_printf("%s%s%s", missing, *missing ? " " : "", *addresses);
		free(missing);
		missing = longer;
	}
	return missing;
}

/* Finds the jails that would ban one of the addresses, with what they are to ignore. */
static int find_jails(char *status, const char *const *prefixes, const char *const *addresses, struct jails *ret,
	int *ret_seen, struct error *err)
{
	char *list = strstr(status, "Jail list:"), *save = NULL;
	if (!list)
		return error_set(err, ERROR_PERMANENT, "fail2ban-client status: its answer is not understood");
	for (char *name = strtok_r(list + strlen("Jail list:"), " \t\n,", &save); name;
		name = strtok_r(NULL, " \t\n,", &save)) {
		auto_buf struct buf said = BUF_INIT(SAID_MAX);
		const char *const get[] = {"fail2ban-client", "get", name, "ignoreip", NULL};
		if (!is_wanted(name, prefixes) || ret->count == JAILS_MAX)
			continue;
		if (tool_run(get, &said, err) < 0)
			return -1;
		(*ret_seen)++;
		auto_free char *ignores = list_of(buf_text(&said));
		auto_free char *missing = missing_of(ignores, addresses, ignores_self(name));
		if (!*missing)
			continue;
		struct jail *jail = &ret->list[ret->count++];
		snprintf(jail->name, sizeof(jail->name), "%s", name);
		jail->ignores = mem_printf("%s%s%s", ignores, *ignores ? " " : "", missing);
	}
	return 0;
}

static void print_jails(const struct jails *j, struct buf *out)
{
	for (size_t i = 0; i < j->count; i++)
		buf_addf(out, "[%s]\nignoreip = %s\n", j->list[i].name, j->list[i].ignores);
}

/* ---- mending ---- */

static int write_jails(void *what, struct error *err)
{
	static const char *const test[] = {"fail2ban-client", "-t", NULL};
	static const char *const reload[] = {"fail2ban-client", "reload", NULL};
	auto_buf struct buf text = BUF_INIT(CONF_MAX), said = BUF_INIT(SAID_MAX);
	buf_addf(&text,
		"# certsync: those who come here without logging in, or with a key that may not be known yet.\n");
	print_jails(what, &text);
	if (fs_write(AT_FDCWD, JAIL_FILE, text.data, text.len, FS_PUBLIC, err) < 0)
		return -1;
	if (tool_run(test, &said, err) < 0 || tool_run(reload, &said, err) < 0) {
		unlink(JAIL_FILE);
		return error_wrap(err, JAIL_FILE " was taken back");
	}
	return 0;
}

static void tell(struct doctor_findings *f, struct jails *j, int seen, const char *why)
{
	if (!j->count) {
		if (seen)
			doctor_add(f, DOCTOR_OK, "its %d jail%s %s alone", seen, seen == 1 ? " lets" : "s let", why);
		jails_free(j);
		return;
	}
	auto_buf struct buf text = BUF_INIT(CONF_MAX);
	print_jails(j, &text);
	struct doctor_finding *finding = doctor_add(f, DOCTOR_WARNING, "%zu of its jails may ban %s", j->count, why);
	doctor_remedy(finding, JAIL_FILE ", then fail2ban-client reload:\n%s", buf_text(&text));
	if (access(JAIL_FILE, F_OK) == 0) /* a person has written there */
		jails_free(j);
	else
		doctor_mends(finding, write_jails, j, jails_free);
}

void doctor_fail2ban(struct doctor_findings *f, const char *const *jails, const char *const *addresses, const char *why)
{
	static const char *const status[] = {"fail2ban-client", "status", NULL};
	struct error err;
	int seen = 0;
	auto_buf struct buf said = BUF_INIT(SAID_MAX);
	if (!tool_exists("fail2ban-client") || !doctor_runs("fail2ban-server"))
		return;
	if (geteuid() != 0) {
		doctor_add(f, DOCTOR_UNKNOWN, "whom its jails ban: run doctor as root");
		return;
	}
	struct jails *found = mem_alloc(sizeof(*found));
	auto_free char *text = NULL;
	int result = tool_run(status, &said, &err);
	if (result == 0) {
		text = mem_strdup(buf_text(&said));
		result = find_jails(text, jails, addresses, found, &seen, &err);
	}
	if (result < 0) {
		doctor_add(f, DOCTOR_UNKNOWN, "whom its jails ban: %s", err.message);
		jails_free(found);
		return;
	}
	tell(f, found, seen, why);
}
