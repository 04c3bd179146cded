/* The acme and certificate sections of hub.conf: the part of hub/config.c that reads them.
 */
#ifndef CERTSYNC_HUB_CONFIG_SECTIONS_H
#define CERTSYNC_HUB_CONFIG_SECTIONS_H

#include "hub/config.h"
#include "lib/config.h"

/* Each fills `ret` and records what is wrong; a certificate needs the acme sections and `hooks` read before it. */
void config_read_acme(struct config *c, cfg_t *section, struct hub_acme *ret);
void config_read_certificate(
	struct config *c, cfg_t *section, const struct hub_config *h, struct hub_certificate *ret);
void config_release_certificate(struct hub_certificate *c);

#endif
