/* The keys of hub.conf: each has a row. */
#ifndef CERTSYNC_HUB_COMMON_CONFIG_ROWS_H
#define CERTSYNC_HUB_COMMON_CONFIG_ROWS_H

#include "lib/config/config.h"

/* Fills a struct hub_config but for what names another section (acme, certificate, certificates) and for defaults that
 * have to be found: hub/common/config.c does that. */
extern const struct config_table hub_config_table;

#endif
