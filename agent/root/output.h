/* What hooks have printed, as it was, for root alone: ROOT_STATE/output/CERTIFICATE+SERVICE+VERB, 0600 in a directory
 * of 0700.
 *
 * It may quote a key, so everybody else gets it blotted out (lib/core/redact.h). There is one file for each hook of
 * each service and certificate, of at most 64 KiB; the next output of that hook that is told replaces it.
 */
#ifndef CERTSYNC_AGENT_ROOT_OUTPUT_H
#define CERTSYNC_AGENT_ROOT_OUTPUT_H

#include "agent/common/config.h"
#include "lib/core/buf.h"
#include "lib/core/error.h"

/* *ret_path is where the output is now; the caller frees it. */
int output_keep(const struct agent_config *config, int root_state, const char *certificate, const char *service,
	const char *verb, const struct buf *raw, char **ret_path, struct error *err);
/* Removes the files of hooks that the configuration no longer has. */
void output_prune(const struct agent_config *config, int root_state);

#endif
