/* What the child that opens bundles gives up by itself before it gets its first byte. */
#ifndef CERTSYNC_AGENT_ROOT_OPENER_CONFINE_H
#define CERTSYNC_AGENT_ROOT_OPENER_CONFINE_H

#include <sys/types.h>

/* Makes `socket` descriptor 0; there is no other one, nor will there be. Confines the process for good. Returns -1 with
 * errno; then the process must end. */
int opener_confine(int socket, pid_t parent);

#endif
