/* The name by which this machine greets mail servers (RFC 5321 section 4.1.1.1): many refuse one without a dot. */
#ifndef CERTSYNC_LIB_CORE_HELO_H
#define CERTSYNC_LIB_CORE_HELO_H

#include <stdbool.h>

enum { HELO_MAX = 256 };

/* Returns the machine's own name where it has a dot, else what the resolver calls it, which may take seconds, where that
 * has one, else "". Without `ask` nobody is asked. */
const char *helo_of_host(bool ask, char text[HELO_MAX]);

/* Returns whether it is a domain with a dot or an address literal, as EHLO takes them. */
bool helo_is_valid(const char *text);

#endif
