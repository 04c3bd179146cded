/* What presents certificates on this node: the services that are installed here, by their own tools and
 * files, and a first agent.conf that names them.
 *
 * Nothing is guessed: a service whose tool fails is in the text as a comment with the tool's complaint, and
 * ports are probed only where its own process really listens (or, while it is stopped, would listen). Some of
 * it can be seen by root alone. Takes as long as the tools do, each at most TOOL_SECONDS.
 */
#ifndef CERTSYNC_AGENT_DISCOVER_H
#define CERTSYNC_AGENT_DISCOVER_H

#include "agent/cli/services/found.h"
#include "agent/common/config.h"
#include "lib/core/buf.h"
#include "lib/core/error.h"

/* Every service of the table in discover.c that is installed here. Never fails as a whole. `config`: what agent.conf says
 * already, for the instances that it names; borrowed, NULL: there is none. */
void discover_services(const struct agent_config *config, struct found *ret);
/* The one of this name, if it is one of those; NULL: all. */
void discover_service(const struct agent_config *config, const char *only, struct found *ret);

/* Appends the text of a first agent.conf, which agent_config_load() takes: these hubs, and a section for each
 * certificate with what it may contain and the services that present it. Each list is ended by NULL. A
 * service belongs to the certificates whose name its present files cover, to all of them while nothing
 * that it presents could be trusted by anybody; else it is told in a comment. ERROR_USAGE: no hub, no
 * certificate, or a name that is none. */
int discover_config(const char *const *hubs, const char *const *certificates, const char *const *allow, struct buf *out,
	struct error *err);

#endif
