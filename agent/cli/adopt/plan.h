/* What would have to change for services to present the installed certificates.
 *
 * A setting is changed only where the certificate that it names now has no name that the installed one does not cover,
 * and where the service has a section in that certificate's in agent.conf. A certificate that nobody trusts because it
 * is self-signed, or that does not exist, is replaced only when the new one is named on the command line.
 */
#ifndef CERTSYNC_AGENT_CLI_ADOPT_PLAN_H
#define CERTSYNC_AGENT_CLI_ADOPT_PLAN_H

#include "agent/common/config.h"
#include "agent/cli/adopt/edit.h"
#include "agent/cli/services/found.h"
#include "agent/cli/services/present.h"
#include "lib/crypto/revision.h"

enum { PLAN_LEAVES_MAX = 2 };

/* A certificate as it is installed. */
struct plan_certificate {
	const struct agent_certificate *certificate;
	char *directory; /* DIRECTORY/live/NAME; owned */
	struct present present;
	struct revision revision;
	uint8_t leaves[PLAN_LEAVES_MAX][CHAIN_SHA256_SIZE]; /* of a pair both */
	size_t leaf_count;
	bool rsa, ecdsa; /* the kinds of their keys */
	bool named;      /* on the command line */
};

/* A service that gets something of a certificate. */
struct plan_target {
	const struct plan_certificate *certificate;
	const struct agent_service *service;
	bool unknown; /* of something of it nobody can tell what it presents */
};

/* A certificate that a service presents now by a file that its configuration names. */
struct plan_leaf {
	const char *service;
	char *path;                                 /* the file, owned */
	const struct plan_certificate *certificate; /* takes its place; NULL: it stays */
	bool ours;                                  /* it stays since it is what we install */
	bool cut; /* the new one has no such kind of key: clients that take no other are told to lose */
	uint8_t fingerprint[CHAIN_SHA256_SIZE];
};

struct plan {
	struct plan_certificate *certificates;
	size_t certificate_count;
	struct plan_target *targets;
	size_t target_count;
	struct plan_leaf *leaves;
	size_t leaf_count;
	struct edit edit;
	struct buf told;            /* lines: what is left as it is, and why; what is changed, in a word */
	size_t changed, done, left; /* settings */
	bool config_changes;        /* agent.conf is among the files */
};

#define auto_plan __attribute__((cleanup(plan_release)))
void plan_release(struct plan *p);

/* `names` are certificates, ended by NULL; without any, all of agent.conf are meant. `service` is NULL for all. The
 * configuration and `found` are borrowed for as long as the plan lives. ERROR_USAGE says that there is no such
 * certificate or service. */
int plan_make(const struct agent_config *config, const char *const *names, const char *service,
	const struct found *found, struct plan *ret, struct error *err);

#endif
