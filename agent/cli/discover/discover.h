/* What presents certificates on this node: the services that are installed here, by their own tools and files, and a
 * first agent.conf that names them.
 *
 * Nothing is guessed: a service whose tool fails is in the text as a comment with the tool's complaint, and ports are
 * probed only where its own process really listens, or would listen while it is stopped. Root sees some of it that
 * others do not. It takes as long as the tools do, each at most TOOL_SECONDS.
 */
#ifndef CERTSYNC_AGENT_CLI_DISCOVER_DISCOVER_H
#define CERTSYNC_AGENT_CLI_DISCOVER_DISCOVER_H

#include "agent/cli/services/found.h"
#include "agent/common/config.h"
#include "lib/core/buf.h"
#include "lib/core/error.h"

/* Finds every service of the table in discover.c that is installed here. It never fails as a whole. `config` is what
 * agent.conf says already, for the instances that it names; it is borrowed, or NULL when there is none. With `only`
 * that one is found, and of the others those that run. */
void discover_services(const struct agent_config *config, const char *only, struct found *ret);

/* Appends the text of a first agent.conf, which agent_config_load() takes: these hubs, and a section for each
 * certificate with what it may contain and the services that present it. Each list ends with NULL. A service belongs to
 * the certificates whose name its present files cover, or to all of them while nobody could trust anything that it
 * presents; otherwise a comment tells of it. ERROR_USAGE says that there is no hub or no certificate, or that a name is
 * invalid. */
int discover_config(const char *const *hubs, const char *const *certificates, const char *const *allow, struct buf *out,
	struct error *err);

#endif
