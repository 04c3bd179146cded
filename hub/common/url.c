#include "hub/common/url.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

bool url_is_good(const char *url)
{
	static const char scheme[] = "https://";
	size_t len = strlen(url);
	if (len >= URL_MAX || strncasecmp(url, scheme, sizeof(scheme) - 1) != 0)
		return false;
	for (size_t i = 0; i < len; i++)
		if (url[i] <= ' ' || url[i] >= 0x7f || strchr("\"<>\\^`{|}", url[i]))
			return false;
	const char *host = url + sizeof(scheme) - 1;
	size_t host_len = strcspn(host, "/?#");
	return host_len > 0 && !memchr(host, '@', host_len);
}
