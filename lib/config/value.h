/* What single values of a configuration look like, for the rows and for others who take the same. */
#ifndef CERTSYNC_LIB_CONFIG_VALUE_H
#define CERTSYNC_LIB_CONFIG_VALUE_H

#include <stdbool.h>
#include <stdint.h>

/* Reads a duration such as "90s", "15m", "24h", "7d" or "0s" as seconds; false when it is none. */
bool duration_parse(const char *text, int64_t *ret_seconds);
/* Returns the shortest text that duration_parse takes for it; the caller owns it. */
char *duration_text(int64_t seconds);
/* Whether it is an absolute path without "//", "." and ".."; one slash may stand at its end. */
bool config_is_path(const char *text);
/* Whether it is user@host[:port], the host being a DNS name, an IPv4 address or an IPv6 one in brackets. */
bool config_is_ssh(const char *text);

#endif
