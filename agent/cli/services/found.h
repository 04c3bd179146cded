/* What was found of a service: the ports where it offers TLS, and the places of its configuration that name a
 * certificate or key.
 */
#ifndef CERTSYNC_AGENT_CLI_SERVICES_FOUND_H
#define CERTSYNC_AGENT_CLI_SERVICES_FOUND_H

#include "agent/common/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A port of its configuration. */
struct found_port {
	char address[64]; /* as configured, without brackets; "": every address */
	uint16_t port;
	const char *protocol; /* as after the slash of an endpoint; NULL: what the port says */
	bool proxy;           /* expects the PROXY protocol */
};

enum found_role {
	FOUND_CERTIFICATE, /* names a PEM file with a certificate */
	FOUND_KEY,         /* names the key of a certificate of the same group */
	FOUND_REST,        /* goes when the others of its group change: the issuers in a file of their own */
	FOUND_COPY,        /* the file itself is to be written: its configuration stays as it is */
};

/* Some bytes of a configuration file, and what would stand there instead. */
struct found_use {
	enum found_role role;
	char *file;          /* absolute, without symbolic links; of a FOUND_COPY the file that is written */
	size_t start, end;   /* the bytes file[start…end) */
	int line;            /* from 1 */
	char *setting;       /* "ssl_certificate": for messages */
	char *path;          /* the PEM file named there, absolute; several with spaces between; "" for FOUND_REST */
	char *instead;       /* the new bytes, "@" standing for the path of the installed file */
	const char *content; /* which installed file: "combined", "combined-all", "haproxy"; of a FOUND_COPY
				"combined", "fullchain", "privkey" */
	int group;           /* what changes together or not at all */
};

/* What keeps a group as it is when it is left and another group, whose settings it inherits or which would outrank it,
 * is changed: these bytes, put in at file[at]. */
struct found_pin {
	int group, on; /* the one that is left; the one that changes */
	char *file;    /* absolute, without symbolic links */
	size_t at;
	char *text;
};

/* A group that is not changed, and why, whatever it presents. */
struct found_keep {
	int group;
	char *why;
};

/* Two groups that turned out to be one, since they have some bytes in common. */
struct found_join {
	int kept, gone;
};

struct found_service {
	const char *name;                  /* its hook's */
	const struct agent_config *config; /* borrowed; NULL: there is none yet */
	struct found_port *ports;
	size_t port_count;
	struct found_use *uses;
	size_t use_count;
	struct found_pin *pins;
	size_t pin_count;
	struct found_keep *keeps;
	size_t keep_count;
	struct found_join *joins;
	size_t join_count;
	char **names; /* that it knows clients by: server_name, local_name, a row of a map; for SNI */
	size_t name_count;
	char **wholes; /* directories of which each file is read, whatever its name: no backup may lie there */
	size_t whole_count;
	char **notes; /* what could not be read or is left to a person, a line each */
	size_t note_count;
	int groups;    /* how many have been given out */
	bool failed;   /* its tool failed: the last note says why */
	bool anybodys; /* whoever opened its ports, which are looked at and no more */
	int running;   /* 1, 0, -1 cannot be told */
	char *program; /* of its listening process, as the kernel keeps it: "master" */
	uid_t user;    /* who opens its ports, by what root knows (listening_believe); 0: root */
};

struct found {
	struct found_service *services;
	size_t count;
};

void found_release(struct found *f);
#define auto_found __attribute__((cleanup(found_release)))
void found_service_release(struct found_service *s);

/* Returns whether the use's path is a file with a certificate. */
bool found_presents(const struct found_use *use);

/* At most FOUND_NOTES_MAX notes are kept, each once. */
enum { FOUND_NOTES_MAX = 64 };
void found_note(struct found_service *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Copies a name that clients may ask for, of which "*.x" and ".x" stand for a name below x. What is no name of a host
 * is passed over. */
void found_name(struct found_service *s, const char *name);
/* Copies what it is given; what is there already is not added twice. */
void found_port(struct found_service *s, const char *address, uint16_t port, const char *protocol, bool proxy);
/* Adds "443", "*:443", "10.0.0.1:443", "[::1]:443" or "mail:smtp". Returns false when the text names no address with a
 * port. */
bool found_listen(struct found_service *s, const char *text, const char *protocol, bool proxy);
/* Returns a number or the number of a name of /etc/services, or 0 when it is neither. */
uint16_t found_port_number(const char *text);
/* Copies the use and its texts, and resolves the file. When `last_wins`, a later use in the same group and setting
 * takes the place of the former. Bytes that two groups have in common make one group of them. */
void found_use(struct found_service *s, const struct found_use *use, bool last_wins);
/* Copies it, and resolves the file. */
void found_pin(struct found_service *s, const struct found_pin *pin);
/* Has the group, and what becomes one with it, stay as it is. */
void found_keep(struct found_service *s, int group, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void found_whole(struct found_service *s, const char *directory);
/* Makes one group of two. */
void found_join(struct found_service *s, int kept, int gone);
/* Gives all uses, pins and keeps the groups that they have in the end. It comes after everything was found. */
void found_settle(struct found_service *s);

#endif
