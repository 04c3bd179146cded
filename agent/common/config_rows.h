/* The keys of agent.conf: each has a row. */
#ifndef CERTSYNC_AGENT_COMMON_CONFIG_ROWS_H
#define CERTSYNC_AGENT_COMMON_CONFIG_ROWS_H

#include "lib/config/config.h"

/* Fills a struct agent_config but for defaults that follow from what is around them (hooks, a service's hook and sni),
 * which agent/common/config.c puts in. */
extern const struct config_table agent_config_table;

#endif
