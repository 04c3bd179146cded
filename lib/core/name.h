/* Names that come from outside and become file names, arguments or lines of files: each has an alphabet. */
#ifndef CERTSYNC_NAME_H
#define CERTSYNC_NAME_H

#include <stdbool.h>

enum { NAME_CERTIFICATE_MAX = 254, NAME_AGENT_MAX = 64, NAME_SERVICE_MAX = 64 }; /* with the NUL */

/* A certificate's name: a host name's letters in lower case (RFC 1123 with '_'), up to 253 bytes, labels of
 * 1 to 63; no wildcard. It becomes a directory. */
bool name_is_certificate(const char *text);
/* [a-z0-9] first, then [a-z0-9._-], up to 63. */
bool name_is_agent(const char *text);
/* The same alphabet: a service's name is the file name of its hook. */
bool name_is_service(const char *text);
/* A DNS name as in a SAN, in any case; "*" may be the whole leftmost label when `wildcard`. */
bool name_is_dns(const char *text, bool wildcard);

/* The owner of a record as DNS hooks get it: letters, digits, '-', '_' and dots, one of them at the end. */
bool name_is_record(const char *text);

/* Whether `pattern` covers `name` (RFC 6125 section 6.4.3): equal without regard to case, or "*.rest" with
 * "*" standing for exactly one label. A wildcard name is covered only by the same wildcard pattern. */
bool name_covers(const char *pattern, const char *name);

#endif
