/* Names that come from outside and become file names, arguments or lines of files. Each kind has an alphabet. */
#ifndef CERTSYNC_LIB_CORE_NAME_H
#define CERTSYNC_LIB_CORE_NAME_H

#include <stdbool.h>

enum { NAME_CERTIFICATE_MAX = 254, NAME_AGENT_MAX = 64, NAME_SERVICE_MAX = 64 }; /* with the NUL */

/* A certificate's name has a host name's letters in lower case (RFC 1123, and '_'), up to 253 bytes, in labels of 1 to
 * 63, and no wildcard. It becomes a directory. */
bool name_is_certificate(const char *text);
/* An agent's name begins with [a-z0-9], goes on with [a-z0-9._-], and has up to 63 bytes. */
bool name_is_agent(const char *text);
/* A service's name has the same alphabet, since it is the file name of its hook. */
bool name_is_service(const char *text);
/* A DNS name is one as in a SAN, in any case; "*" may be the whole leftmost label when `wildcard`. */
bool name_is_dns(const char *text, bool wildcard);

/* Returns whether a name of such letters would be taken for an IPv4 address, of whatever form: its last label is a number
 * (URL Standard, "ends in a number"), and no domain is called so. */
bool name_is_address(const char *text);

/* A record's owner, as DNS hooks get it, has letters, digits, '-', '_' and dots, and ends with a dot. */
bool name_is_record(const char *text);

/* Returns whether `pattern` covers `name` (RFC 6125 section 6.4.3): they are equal without regard to case, or the
 * pattern is "*.rest" and "*" stands for exactly one label. A wildcard name is covered only by the same wildcard
 * pattern. */
bool name_covers(const char *pattern, const char *name);

#endif
