/* The configuration of one stunnel, as stunnel 5 reads it (options.c; stunnel(8)). */
#ifndef CERTSYNC_AGENT_CLI_SERVICES_STUNNEL_H
#define CERTSYNC_AGENT_CLI_SERVICES_STUNNEL_H

#include "lib/core/error.h"

#include <stdbool.h>
#include <stddef.h>

/* A setting of a section, its own or that of the part before all sections. */
struct stunnel_value {
	char *text;        /* owned; NULL: not set */
	const char *file;  /* borrowed from the configuration's files */
	size_t start, end; /* the bytes file[start…end) */
	int line;          /* from 1 */
	bool inherited;
};

struct stunnel_section {
	char *name;       /* owned; NULL: the part before all sections */
	const char *file; /* where its heading stands; borrowed as above */
	size_t end;       /* of the heading's line, without the newline */
	struct stunnel_value cert, key, sni, protocol;
	char **accepts; /* owned */
	size_t accept_count;
	bool client; /* speaks TLS to a server */
	bool engine; /* cert and key may be names of what a device has */
};

struct stunnel_config {
	struct stunnel_section *sections; /* the first is the part before all sections */
	size_t count;
	char *pid, *chroot, *setuid, *setgid; /* owned; NULL: not set */
	char **files;                         /* that were read, owned, in their order */
	size_t file_count;
	char **directories; /* of which stunnel reads each file, owned */
	size_t directory_count;
};

#define auto_stunnel __attribute__((cleanup(stunnel_release)))
void stunnel_release(struct stunnel_config *c);

/* Reads a file and what it includes, each where it stands. An error says where stunnel would refuse it, or what cannot
 * be read. */
int stunnel_read(const char *path, struct stunnel_config *ret, struct error *err);

#endif
