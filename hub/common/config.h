/* hub.conf, read and judged (man/certsync-hub.conf.5). Immutable once loaded. */
#ifndef CERTSYNC_HUB_COMMON_CONFIG_H
#define CERTSYNC_HUB_COMMON_CONFIG_H

#include "lib/core/buf.h"
#include "lib/core/error.h"
#include "lib/core/name.h"

#include <stdbool.h>
#include <stdint.h>

/* Where the control socket is for an operator who may not read hub.conf. */
#define HUB_RUN_DEFAULT "/run/certsync-hub"

/* Less, and the deadlines would no longer nest: an agent gives its root half at least 30 of these seconds. */
enum { HUB_ACTIVATE_TIMEOUT_MIN = 45 };

enum rollout_policy { ROLLOUT_TOGETHER, ROLLOUT_IMMEDIATE };
enum rollout_on_failure { ROLLOUT_STOP, ROLLOUT_ROLLBACK_ALL };
enum hub_preflight { HUB_PREFLIGHT_WARN, HUB_PREFLIGHT_REQUIRE, HUB_PREFLIGHT_OFF };
enum hub_challenge { HUB_CHALLENGE_HTTP, HUB_CHALLENGE_DNS, HUB_CHALLENGE_ALPN };

struct hub_acme {
	char *name;
	char *directory; /* https URL */
	char **contact;
	bool agree_tos;
	char *ca_file;         /* trust anchors for the directory's own TLS; NULL: the system's */
	char *eab_kid;         /* external account binding (RFC 8555 section 7.3.4): the key's identifier; NULL: none */
	char *eab_hmac;        /* the path of the file with the key itself, base64url; NULL: none */
	bool ari;              /* ask when to renew (RFC 9773) where the server says that it can tell */
	bool limits;           /* stop before the limits that public authorities have (hub/daemon/acme/limits.h) */
	char *profile;         /* for its orders where the certificate does not say; NULL: the CA's default */
	char *preferred_chain; /* likewise; as in struct hub_certificate */
};

/* More are of no use, and a certificate's record has room for these. */
enum { HUB_AUTHORITIES_MAX = 4 };

/* When activations may begin: minutes after midnight, local time; `to` before `from` crosses midnight. */
struct hub_window {
	uint16_t from, to;
};

struct hub_certificate {
	char *name;
	const struct hub_acme *acme; /* the one that is asked; at most one of acme and watch */
	/* All that may be asked, the first before the others (hub/daemon/acme/authority.h). */
	const struct hub_acme *acmes[HUB_AUTHORITIES_MAX];
	size_t acme_count;
	char **watch;          /* directories and files (hub/common/scan.h), NULL-terminated; empty: not watched */
	char **names;          /* required SANs; the name itself when none are given */
	char *key_type;        /* "ecdsa-p256" … for ACME */
	char *second_key_type; /* of the second pair, of the other algorithm; NULL: one pair */
	bool reuse_key;        /* renew with the key that is there */
	bool next_key;         /* make the key of the next renewal ahead, and show its digest */
	char *profile;         /* of the order; NULL: the CA's default */
	char *preferred_chain; /* common name of the topmost issuer, or "sha256:" and the digest of the root; NULL */
	enum hub_challenge challenge;
	char *dns_hook;      /* absolute path: dns-01 by this hook; NULL: http-01 */
	char *dns_config;    /* handed to the hook as CERTSYNC_DNS_CONFIG; NULL: the hook's default */
	int64_t dns_timeout; /* seconds until every authoritative server shows a record */
	/* dns_fallback, for a zone of which no authoritative server can be asked: the resolvers are asked in their place,
	 * or so many seconds after the record was written nobody is waited for. Neither: the order fails. */
	bool dns_by_resolvers;
	int64_t dns_wait; /* 0: no */
	enum hub_preflight preflight;
	enum rollout_policy rollout;
	char **canary; /* agents that go first; may be empty */
	int64_t soak;  /* seconds for which they are verified before the others follow */
	int64_t stage_timeout, activate_timeout, proceed_after; /* seconds */
	enum rollout_on_failure on_failure;
	struct hub_window *windows; /* owned; none: at any time */
	size_t window_count;
	int64_t renew_before; /* seconds before expiry; 0: by lifetime (a third left, half under ten days) */
};

struct hub_agent {
	char *name;
	const struct hub_certificate **certificates; /* NULL-terminated; owned array */
	bool local;                                  /* comes in by local.sock */
	int64_t away_after;
};

/* What the hub checks by itself, from outside. Several may have one name. */
struct hub_endpoint {
	char *name;   /* asked of DNS, sent as SNI, to be covered */
	char **ports; /* as `certsync check` takes them: "993", "8443/tls", "10025+proxy" */
	char **at;    /* addresses instead of what DNS says; may be empty */
	const struct hub_certificate *certificate; /* expected there; NULL: any that is good */
	int64_t interval;                          /* seconds */
	int64_t timeout;                           /* seconds for one probe */
};

/* How a person is told. */
struct hub_alert {
	char **email; /* recipients; empty: no mail */
	char *smtp;   /* "smtp://127.0.0.1:25", "smtps://…"; NULL unless there are recipients */
	char *from;
	char *smtp_user, *smtp_password; /* the password: a file's path; NULL: no authentication */
	char *ca_file;                   /* trust anchors for smtp and webhooks; NULL: the system's */
	char **webhook;                  /* URLs */
	char *command;                   /* absolute path of an executable; NULL */
	int64_t hold;                    /* seconds for which a condition holds before it is told */
	int64_t repeat;                  /* seconds between two tellings of what still holds; 0: once */
	int64_t expiring;                /* seconds left under which a certificate is expiring; 0: by its lifetime */
};

/* Who may change which keys agents have, at the control socket. */
enum hub_keys_by { HUB_KEYS_ROOT, HUB_KEYS_GROUP };

struct hub_config {
	char *path;
	char *ssh;         /* "certsync-gate@haproxy.domain.pl:22" */
	char **host_keys;  /* public key files of sshd whose fingerprints `agent add` prints */
	char *state, *run; /* directories */
	char *http;        /* "127.0.0.1:8402": the http-01 responder; a loopback address */
	char *tls_alpn;    /* "127.0.0.1:8404": the tls-alpn-01 responder; a loopback address */
	char *anchors;     /* trust anchors for what is published; NULL: the system's */
	char *user, *keys_user, *worker_user, *gate_user, *local_user, *admin_group;
	enum hub_keys_by agent_keys;
	char *authorized_keys;
	char *helo;            /* by which mail servers are greeted; NULL: this machine's full name */
	char **resolvers;      /* "address" or "address:port" that workers ask; empty: the system's */
	char *hooks;           /* the directory of the hooks that come with certsync */
	int64_t scan_interval; /* seconds between two readings of each watched path */
	char *page;            /* "127.0.0.1:8403": status page and metrics; a loopback address; NULL: none */
	struct hub_alert alert;
	struct hub_endpoint *endpoints;
	size_t endpoint_count;
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
