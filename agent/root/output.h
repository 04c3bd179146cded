/* What hooks have printed, as it was, for root alone: ROOT_STATE/output/CERTIFICATE+SERVICE+VERB, 0600 in a directory of 0700.
 *
 * It may quote a key, so everybody else gets it blotted out (lib/core/redact.h). One file for each hook of each service and certificate,
 * replaced by the next output of that hook that is told of: 64 KiB each at most.
 */
#ifndef CERTSYNC_AGENT_OUTPUT_H
#define CERTSYNC_AGENT_OUTPUT_H

#include "agent/common/config.h"
#include "lib/core/buf.h"
#include "lib/core/error.h"

/* *ret_path: where it is now, the caller's. */
int output_keep(const struct agent_config *config, int root_state, const char *certificate, const char *service,
	const char *verb, const struct buf *raw, char **ret_path, struct error *err);
/* Removes those of hooks that the configuration has no more. */
void output_prune(const struct agent_config *config, int root_state);

#endif
