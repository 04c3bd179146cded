/* What the option files say to MariaDB's server, as my_print_defaults prints it: a line for each option, in the order
 * in which the server takes them.
 */
#ifndef CERTSYNC_AGENT_CLI_SERVICES_MARIADB_H
#define CERTSYNC_AGENT_CLI_SERVICES_MARIADB_H

#include <stdbool.h>

/* Texts are owned; NULL: no option says it. */
struct mariadb {
	char *certificate, *key, *datadir, *addresses, *port, *extra_port, *user;
	char *unknown;   /* an option about TLS that is not known here, such as an abbreviated one */
	bool tls;        /* the last option about TLS does not turn it off */
	bool no_network; /* it has no port */
};

#define auto_mariadb __attribute__((cleanup(mariadb_release)))
void mariadb_release(struct mariadb *m);

/* Reads the lines. Underscores stand for dashes, a name that begins with "loose", "skip", "disable" or "enable" has
 * that prefix's meaning, and the last of two counts; of `user` the first, since the server takes no other after it.
 * `tls` is what this version has without a word about it. */
void mariadb_scan(const char *lines, bool tls, struct mariadb *ret);
/* Returns that, by what the server prints as its version: from 11.4 on it makes a certificate of its own. */
bool mariadb_has_tls(const char *version);

#endif
