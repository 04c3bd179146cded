/* The sections of hub.conf, each read by a part of hub/common/config.c: acme and certificate in hub/common/config_sections.c; endpoint, alert and
 * page in hub/common/config_checks.c.
 */
#ifndef CERTSYNC_HUB_CONFIG_SECTIONS_H
#define CERTSYNC_HUB_CONFIG_SECTIONS_H

#include "hub/common/config.h"
#include "lib/config/config.h"

/* Each fills `ret` and records what is wrong; a certificate needs the acme sections and `hooks` read before it. */
void config_read_acme(struct config *c, cfg_t *section, struct hub_acme *ret);
void config_read_certificate(struct config *c, cfg_t *section, const struct hub_config *h, struct hub_certificate *ret);
void config_release_certificate(struct hub_certificate *c);

/* After the certificates. */
void config_read_checks(struct config *c, cfg_t *root, struct hub_config *h);
void config_release_checks(struct hub_config *h);

/* Whether it is a loopback address with a port. */
bool config_is_loopback(const char *text);

#endif
