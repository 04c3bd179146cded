/* agent.conf, read and judged (man/certsync-agent.conf.5). Immutable once loaded. */
#ifndef CERTSYNC_AGENT_COMMON_CONFIG_H
#define CERTSYNC_AGENT_COMMON_CONFIG_H

#include "lib/core/buf.h"
#include "lib/core/error.h"
#include "lib/core/name.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Where the control socket is for an operator who may not read agent.conf. */
#define AGENT_RUN_DEFAULT "/run/certsync-agent"

/* A copy that a service needs elsewhere. */
struct agent_file {
	char *path;          /* absolute */
	char *content;       /* one of the words in agent/common/config_rows.c */
	char *owner, *group; /* NULL: root's, or as created when not root */
	char *password_file; /* absolute; of content "pkcs12", else NULL (agent/common/password.h) */
	mode_t mode;
};

struct agent_service {
	char *name;      /* its hook is HOOKS/name unless `hook` is given */
	char *hook;      /* absolute path of an executable */
	char *user;      /* run the hook as; NULL: as the root half */
	char **instance; /* the words that the one instance is started with which the hook serves; empty: it tells itself */
	char **probe;    /* endpoints (lib/probe/probe.h), each checked here; empty: `probe = none` */
	char *sni;       /* sent in probes; the certificate's name unless given */
	int64_t timeout; /* seconds for each hook run */
	struct agent_file *files;
	size_t file_count;
};

struct agent_certificate {
	char *name;
	char **allow;                   /* patterns; never empty */
	struct agent_service *services; /* in the order in which they are tested and reloaded */
	size_t service_count;
};

/* Where a hub is: "ssh://user@host[:port]" or "unix:///run/certsync-hub/local.sock". */
struct agent_hub {
	char *text;
	char *path; /* of the socket; NULL for ssh */
	char *user, *host;
	uint16_t port;
};

/* How a person is told without the hub. */
struct agent_alert {
	char *command;    /* absolute path of an executable; NULL: nobody is told */
	int64_t hub_away; /* seconds without any hub until that is told */
	int64_t expiring; /* seconds left under which a certificate is expiring; 0: by its lifetime */
	int64_t repeat;   /* seconds between two tellings of what still holds; 0: once */
};

struct agent_config {
	char *path;
	struct agent_hub *hubs;
	size_t hub_count;
	char *directory;  /* /etc/certsync: live/, archive/, pins/ below it */
	char *state;      /* certsync-agent's: its SSH key id_ed25519 */
	char *root_state; /* the root half's: sealing key, journal */
	char *run;
	char *hooks; /* directory of the hooks */
	char *user, *admin_group;
	char *anchors;          /* NULL: the system's */
	char *helo;             /* by which mail servers are greeted; NULL: this machine's name, where it has a dot */
	int64_t probe_timeout;  /* seconds for one probe */
	int64_t probe_interval; /* seconds between two rounds of probes of what is served */
	struct agent_alert alert;
	struct agent_certificate *certificates;
	size_t certificate_count;
};

/* NULL with a line for each fault in `faults`, the first being that others than root, or who runs this, can change it. */
struct agent_config *agent_config_load(const char *path, struct buf *faults);
void agent_config_free(struct agent_config *c);
void agent_config_print(const struct agent_config *c, struct buf *out);
const struct agent_certificate *agent_config_certificate(const struct agent_config *c, const char *name);

#endif
