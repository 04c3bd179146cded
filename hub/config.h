/* hub.conf, read and judged (man/certsync-hub.conf.5). Immutable once loaded. */
#ifndef CERTSYNC_HUB_CONFIG_H
#define CERTSYNC_HUB_CONFIG_H

#include "lib/buf.h"
#include "lib/error.h"
#include "lib/name.h"

#include <stdbool.h>
#include <stdint.h>

/* Where the control socket is for an operator who may not read hub.conf. */
#define HUB_RUN_DEFAULT "/run/certsync-hub"

/* Less, and the deadlines would no longer nest: an agent gives its root half at least 30 of these seconds. */
enum { HUB_ACTIVATE_TIMEOUT_MIN = 45 };

enum rollout_policy { ROLLOUT_TOGETHER, ROLLOUT_IMMEDIATE };

struct hub_acme {
	char *name;
	char *directory; /* https URL */
	char **contact;
	bool agree_tos;
	char *ca_file; /* trust anchors for the directory's own TLS; NULL: the system's */
};

struct hub_certificate {
	char *name;
	const struct hub_acme *acme; /* at most one of acme and watch */
	char *watch;                 /* a directory */
	char **names;                /* required SANs; the name itself when none are given */
	char *key_type;              /* "ecdsa-p256" … for ACME */
	enum rollout_policy rollout;
	char **canary; /* agents that go first; may be empty */
	int64_t soak;  /* seconds for which they are verified before the others follow */
	int64_t stage_timeout, activate_timeout, proceed_after; /* seconds */
	int64_t renew_before; /* seconds before expiry; 0: by lifetime (a third left, half under ten days) */
};

struct hub_agent {
	char *name;
	const struct hub_certificate **certificates; /* NULL-terminated; owned array */
	bool local; /* comes in by local.sock */
	int64_t away_after;
};

struct hub_config {
	char *path;
	char *ssh;          /* "certsync-gate@haproxy.domain.pl:22" */
	char **host_keys;   /* public key files of sshd whose fingerprints `agent add` prints */
	char *state, *run;  /* directories */
	char *http;         /* "127.0.0.1:8402": the http-01 responder; a loopback address */
	char *anchors;      /* trust anchors for what is published; NULL: the system's */
	char *user, *gate_user, *local_user, *admin_group;
	char *authorized_keys;
	int64_t scan_interval; /* seconds between two readings of each watched directory */
	struct hub_acme *acmes;
	size_t acme_count;
	struct hub_certificate *certificates;
	size_t certificate_count;
	struct hub_agent *agents;
	size_t agent_count;
};

/* NULL on failure: then `faults` has a line "file:line: message" per fault. */
struct hub_config *hub_config_load(const char *path, struct buf *faults);
void hub_config_free(struct hub_config *c);
/* The effective configuration, in its own syntax, defaults included. */
void hub_config_print(const struct hub_config *c, struct buf *out);

const struct hub_certificate *hub_config_certificate(const struct hub_config *c, const char *name);
const struct hub_agent *hub_config_agent(const struct hub_config *c, const char *name);
bool hub_agent_has(const struct hub_agent *a, const char *certificate);

#endif
