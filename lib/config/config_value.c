/* The second half of lib/config/config.h: single values, read and written. */
#include "lib/config/config.h"
#include "lib/core/mem.h"
#include "lib/core/name.h"

#include <arpa/inet.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
	char letter;
	int64_t seconds;
} units[] = {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};

bool config_has(cfg_t *section, const char *key)
{
	const cfg_opt_t *opt = cfg_getopt(section, key);
	if (!opt)
		return false;
	return opt->type == CFGT_SEC ? opt->nvalues > 0 : (opt->flags & CFGF_MODIFIED) != 0;
}

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

/* The shortest text that duration_parse takes for it. */
static char *duration_text(int64_t seconds)
{
	size_t i = 0;
	while (i + 1 < COUNT(units) && (seconds == 0 || seconds % units[i].seconds != 0))
		i++;
	return mem_printf("%lld%c", (long long)(seconds / units[i].seconds), units[i].letter);
}

int64_t config_duration(struct config *c, cfg_t *section, const char *key, int64_t low, int64_t high)
{
	const char *text = cfg_getstr(section, key);
	int64_t seconds;
	if (!text || !duration_parse(text, &seconds)) {
		config_fault(c, section, key,
			"%s: \"%s\" is not a duration: write a number and one of s m h d, "
			"like \"90s\" or \"24h\"",
			key, text ? text : "");
		return low;
	}
	if (seconds >= low && seconds <= high)
		return seconds;
	auto_free char *from = duration_text(low);
	auto_free char *to = duration_text(high);
	config_fault(c, section, key, "%s: \"%s\" is outside of \"%s\" to \"%s\"", key, text, from, to);
	return low;
}

char **config_list(cfg_t *section, const char *key)
{
	unsigned count = cfg_size(section, key);
	char **list = mem_array(count + 1, sizeof(*list));
	for (unsigned i = 0; i < count; i++)
		list[i] = mem_strdup(cfg_getnstr(section, key, i));
	return list;
}

void config_list_free(char **list)
{
	for (size_t i = 0; list && list[i]; i++)
		free(list[i]);
	free(list);
}

char *config_string(struct config *c, cfg_t *section, const char *key)
{
	const char *text = cfg_getstr(section, key);
	if (!text)
		return NULL;
	if (!*text)
		config_fault(c, section, key, "%s is empty", key);
	return mem_strdup(text);
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

char *config_path(struct config *c, cfg_t *section, const char *key)
{
	char *path = config_string(c, section, key);
	if (!path || !*path)
		return path;
	size_t len = strlen(path);
	if (!config_is_path(path))
		config_fault(
			c, section, key, "%s: %s is not an absolute path without \"//\", \".\" and \"..\"", key, path);
	else if (len > 1 && path[len - 1] == '/')
		path[len - 1] = '\0';
	return path;
}

void config_check_user(struct config *c, cfg_t *section, const char *key, const char *user)
{
	if (user && *user && geteuid() == 0 && !getpwnam(user))
		config_fault(c, section, key,
			"%s: there is no user %s on this machine: create it (adduser --system), "
			"or name another",
			key, user);
}

void config_check_group(struct config *c, cfg_t *section, const char *key, const char *group)
{
	if (group && *group && geteuid() == 0 && !getgrnam(group))
		config_fault(c, section, key,
			"%s: there is no group %s on this machine: create it (addgroup --system), "
			"or name another",
			key, group);
}

static bool is_port(const char *text, size_t len)
{
	char digits[6] = "";
	if (len == 0 || len > 5 || strspn(text, "0123456789") < len || text[0] == '0')
		return false;
	memcpy(digits, text, len);
	return strtol(digits, NULL, 10) <= 65535;
}

/* The address in front of ":PORT": IPv4, or IPv6 in brackets. */
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

static void put_key(struct buf *out, int tabs, const char *key)
{
	while (tabs-- > 0)
		buf_put_u8(out, '\t');
	buf_addf(out, "%s = ", key);
}

static void put_quoted(struct buf *out, const char *text)
{
	buf_put_u8(out, '"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			buf_put_u8(out, '\\');
		buf_put_u8(out, (uint8_t)*text);
	}
	buf_put_u8(out, '"');
}

void config_put(struct buf *out, int tabs, const char *key, const char *value)
{
	if (!value)
		return;
	put_key(out, tabs, key);
	put_quoted(out, value);
	buf_put_u8(out, '\n');
}

void config_put_list(struct buf *out, int tabs, const char *key, char *const *list)
{
	put_key(out, tabs, key);
	buf_put_u8(out, '{');
	for (size_t i = 0; list[i]; i++) {
		if (i)
			buf_add(out, ", ", 2);
		put_quoted(out, list[i]);
	}
	buf_add(out, "}\n", 2);
}

void config_put_bool(struct buf *out, int tabs, const char *key, bool value)
{
	put_key(out, tabs, key);
	buf_addf(out, "%s\n", value ? "true" : "false");
}

void config_put_duration(struct buf *out, int tabs, const char *key, int64_t seconds)
{
	auto_free char *text = duration_text(seconds);
	config_put(out, tabs, key, text);
}

void config_put_section(struct buf *out, int tabs, const char *key, const char *title)
{
	while (tabs-- > 0)
		buf_put_u8(out, '\t');
	buf_addf(out, "%s ", key);
	if (title) {
		put_quoted(out, title);
		buf_put_u8(out, ' ');
	}
	buf_add(out, "{\n", 2);
}

void config_put_end(struct buf *out, int tabs)
{
	while (tabs-- > 0)
		buf_put_u8(out, '\t');
	buf_add(out, "}\n", 2);
}
