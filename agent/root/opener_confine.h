/* What is taken away from the child that opens bundles, by itself, before it gets its first byte. */
#ifndef CERTSYNC_AGENT_OPENER_CONFINE_H
#define CERTSYNC_AGENT_OPENER_CONFINE_H

#include <sys/types.h>

/* `socket` becomes descriptor 0, and there is no other, nor will there be. For good. -1 with errno: then the process must end. */
int opener_confine(int socket, pid_t parent);

#endif
