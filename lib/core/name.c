#include "lib/core/name.h"

#include <string.h>
#include <strings.h>

static bool is_lower_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_label_char(char c, bool upper)
{
	return is_lower_or_digit(c) || (upper && c >= 'A' && c <= 'Z') || c == '-' || c == '_';
}

static bool is_host_name(const char *text, bool upper)
{
	size_t label = 0;
	size_t total = strlen(text);
	if (total == 0 || total >= NAME_CERTIFICATE_MAX)
		return false;
	for (const char *p = text; *p; p++) {
		if (*p == '.') {
			if (label == 0 || p[-1] == '-')
				return false;
			label = 0;
			continue;
		}
		if (!is_label_char(*p, upper) || (label == 0 && *p == '-') || label == 63)
			return false;
		label++;
	}
	return label > 0 && text[total - 1] != '-';
}

bool name_is_certificate(const char *text)
{
	return is_host_name(text, false);
}

bool name_is_dns(const char *text, bool wildcard)
{
	if (wildcard && text[0] == '*' && text[1] == '.')
		text += 2;
	return is_host_name(text, true);
}

bool name_is_address(const char *text)
{
	const char *dot = strrchr(text, '.');
	const char *label = dot ? dot + 1 : text;
	bool hex = label[0] == '0' && (label[1] == 'x' || label[1] == 'X');
	label += hex ? 2 : 0;
	return label[strspn(label, hex ? "0123456789abcdefABCDEF" : "0123456789")] == '\0';
}

bool name_is_record(const char *text)
{
	char host[NAME_CERTIFICATE_MAX];
	size_t len = strlen(text);
	if (len == 0 || len > sizeof(host) || text[len - 1] != '.')
		return false;
	memcpy(host, text, len - 1);
	host[len - 1] = '\0';
	return is_host_name(host, true);
}

bool name_is_agent(const char *text)
{
	size_t len = strlen(text);
	if (len == 0 || len >= NAME_AGENT_MAX || !is_lower_or_digit(text[0]))
		return false;
	for (const char *p = text; *p; p++)
		if (!is_lower_or_digit(*p) && *p != '-' && *p != '_' && *p != '.')
			return false;
	return true;
}

bool name_is_service(const char *text)
{
	return name_is_agent(text);
}

bool name_covers(const char *pattern, const char *name)
{
	if (strcasecmp(pattern, name) == 0)
		return true;
	if (pattern[0] != '*' || pattern[1] != '.' || name[0] == '*')
		return false;
	const char *dot = strchr(name, '.');
	return dot && dot != name && strcasecmp(pattern + 1, dot) == 0;
}
