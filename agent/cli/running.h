/* The agent's root half, as it runs on this node.
 */
#ifndef CERTSYNC_AGENT_RUNNING_H
#define CERTSYNC_AGENT_RUNNING_H

#include <sys/types.h>

/* The one that was started with this configuration; 0: there is none that can be seen. */
pid_t running_root_half(const char *config);

#endif
