/* The agent's root half, as it runs on this node. */
#ifndef CERTSYNC_AGENT_CLI_DISCOVER_RUNNING_H
#define CERTSYNC_AGENT_CLI_DISCOVER_RUNNING_H

/* Finds the root half that was started with this configuration, by root or by whoever runs this. Returns its directory
 * in /proc, which pidfd_send_signal takes and the caller closes, or -1 when none can be seen. */
int running_root_half(const char *config);

#endif
