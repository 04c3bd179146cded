/* What single values of a configuration look like, for the rows and for others who take the same. */
#ifndef CERTSYNC_LIB_CONFIG_VALUE_H
#define CERTSYNC_LIB_CONFIG_VALUE_H

#include <stdbool.h>
#include <stdint.h>

/* "90s", "15m", "24h", "7d", "0s" → seconds. */
bool duration_parse(const char *text, int64_t *ret_seconds);
/* The shortest text that duration_parse takes for it; owned by the caller. */
char *duration_text(int64_t seconds);
/* An absolute path without "//", "." and ".."; one slash may stand at its end. */
bool config_is_path(const char *text);
/* user@host[:port], the host being a DNS name, an IPv4 address or an IPv6 one in brackets. */
bool config_is_ssh(const char *text);

#endif
