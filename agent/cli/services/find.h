/* Looking at one kind of service: where it offers TLS and which files it presents. There is one function for each kind,
 * in a file of its own; those that read configuration files alone can be called by themselves.
 */
#ifndef CERTSYNC_AGENT_CLI_SERVICES_FIND_H
#define CERTSYNC_AGENT_CLI_SERVICES_FIND_H

#include "agent/cli/services/found.h"
#include "lib/core/buf.h"
#include "lib/core/error.h"
#include "lib/core/proc.h"

enum { FIND_FILE_MAX = 4 * 1024 * 1024, FIND_FILES_MAX = 4096 };

/* Each adds to `s`. An error says that the service's tool failed, and that what was found so far is not all. */
int find_postfix(struct found_service *s, struct error *err);
int find_dovecot(struct found_service *s, struct error *err);
int find_haproxy(struct found_service *s, struct error *err);
int find_nginx(struct found_service *s, struct error *err);
int find_apache(struct found_service *s, struct error *err);
int find_exim(struct found_service *s, struct error *err);
int find_courier(struct found_service *s, struct error *err);
int find_mariadb(struct found_service *s, struct error *err);
int find_postgresql(struct found_service *s, struct error *err);
int find_stunnel(struct found_service *s, struct error *err);

/* Returns a value of postconf, expanded, or NULL when there is none. The caller frees it. */
typedef char *postfix_value(const char *parameter, void *context);
/* Reads main.cf and master.cf by their texts; `value` says what "PARAMETER" and "SERVICE/TYPE/PARAMETER" mean. */
int postfix_scan(
	struct found_service *s, const char *directory, postfix_value *value, void *context, struct error *err);
/* Reads the entries of a source that postmap builds: a name, then PEM files. */
int postfix_scan_sni(struct found_service *s, const char *path, struct error *err);

/* Reads Dovecot's files from the main one on, and follows includes. */
int dovecot_scan(struct found_service *s, const char *path, struct error *err);
/* Reads the listeners in what doveconf prints in full. */
void dovecot_ports(struct found_service *s, const char *doveconf);

/* Reads one of HAProxy's files; crt-list files and directories that it names are looked at, too. */
int haproxy_scan(struct found_service *s, const char *path, struct error *err);

/* Reads the main file and what it includes, each where it stands; relative paths begin at `base`. */
int nginx_scan(struct found_service *s, const char *base, const char *path, struct error *err);

/* What Apache says of itself, a line each: the modules that it has ("ssl_module"; "": all), and the variables that
 * stand for something ("NAME=value"). */
struct apache_facts {
	const char *modules, *variables;
};
/* Reads the main file and what it includes, each where it stands, and the macros where they are used. */
int apache_scan(struct found_service *s, const struct apache_facts *facts, const char *base, const char *path,
	struct error *err);

/* Reads the configuration of one stunnel and what it includes. */
int stunnel_scan(struct found_service *s, const char *path, struct error *err);

/* Adds a file whose content is to be replaced, instead of the line that names it. Each path counts once: groups that
 * have one in common become one. */
void find_copy(struct found_service *s, int group, const char *setting, const char *path, const char *content);
/* A certificate and its key, which may be one file. Paths that are not absolute begin at `base`. */
struct find_pair {
	const char *certificate_setting, *certificate, *key_setting, *key, *base;
	const struct proc_user *his; /* whose word names them; NULL: root's own */
	const char *below;           /* the directory of his service's configuration */
};
/* Adds them as copies, in a group of their own. What a user other than root names counts only where nobody but he and
 * root can change it, and where root, by writing it, does nothing that he could not do himself: in a directory of his,
 * or below `below` where the file is his or root's with his group. Anything else is neither read nor written, but
 * named. */
void find_pair(struct found_service *s, const struct find_pair *pair);
/* Returns whether it is the certificate or key of Debian's package ssl-cert, which any package may name. */
bool find_is_shared(const char *path);
/* Adds a port at each address of a list with commas: "*" and "0.0.0.0" stand for all, names are as they are. */
void find_addresses(struct found_service *s, const char *list, uint16_t port, const char *protocol);
/* Runs a tool as tool_run does, with this user's rights where we are root; NULL: as we are. */
int find_run_as(const struct proc_user *user, const char *const *argv, struct buf *out, struct error *err);
/* Reads a configuration file. */
int find_read(const char *path, struct buf *out, struct error *err);

#endif
