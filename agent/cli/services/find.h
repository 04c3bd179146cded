/* Looking at one kind of service: where it offers TLS and which files it presents. There is one function for each kind,
 * in a file of its own; those that read configuration files alone can be called by themselves.
 */
#ifndef CERTSYNC_AGENT_CLI_SERVICES_FIND_H
#define CERTSYNC_AGENT_CLI_SERVICES_FIND_H

#include "agent/cli/services/found.h"
#include "lib/core/buf.h"
#include "lib/core/error.h"

enum { FIND_FILE_MAX = 4 * 1024 * 1024, FIND_FILES_MAX = 4096 };

/* Each adds to `s`. An error says that the service's tool failed, and that what was found so far is not all. */
int find_postfix(struct found_service *s, struct error *err);
int find_dovecot(struct found_service *s, struct error *err);
int find_haproxy(struct found_service *s, struct error *err);
int find_nginx(struct found_service *s, struct error *err);
int find_apache(struct found_service *s, struct error *err);
int find_exim(struct found_service *s, struct error *err);
int find_courier(struct found_service *s, struct error *err);

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

/* Adds a file whose content is to be replaced, instead of the line that names it. Each path counts once: groups that
 * have one in common become one. */
void find_copy(struct found_service *s, int group, const char *setting, const char *path, const char *content);
/* Reads a configuration file. */
int find_read(const char *path, struct buf *out, struct error *err);

#endif
