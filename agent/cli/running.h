/* The agent's root half, as it runs on this node.
 */
#ifndef CERTSYNC_AGENT_RUNNING_H
#define CERTSYNC_AGENT_RUNNING_H

/* The one that was started with this configuration, by root or by whoever runs this: its directory in /proc, which
 * pidfd_send_signal takes; owned by the caller. -1: there is none that can be seen. */
int running_root_half(const char *config);

#endif
