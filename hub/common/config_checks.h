/* Judging what stands in hub.conf: single values for the rows, and one section whose keys have to agree. */
#ifndef CERTSYNC_HUB_COMMON_CONFIG_CHECKS_H
#define CERTSYNC_HUB_COMMON_CONFIG_CHECKS_H

#include "hub/common/config.h"
#include "lib/config/config.h"

/* These judge values and titles, as `check` of struct config_row and struct config_table. */
void config_check_ssh(struct config *c, const struct config_section *s, const char *key, const char *value);
void config_check_host_key(struct config *c, const struct config_section *s, const char *key, const char *path);
void config_check_run(struct config *c, const struct config_section *s, const char *key, const char *path);
void config_check_loopback(struct config *c, const struct config_section *s, const char *key, const char *value);
void config_check_resolver(struct config *c, const struct config_section *s, const char *key, const char *value);
void config_check_directory(struct config *c, const struct config_section *s, const char *key, const char *url);
void config_check_contact(struct config *c, const struct config_section *s, const char *key, const char *value);
void config_check_watched(struct config *c, const struct config_section *s, const char *key, const char *path);
void config_check_dns_name(struct config *c, const struct config_section *s, const char *key, const char *name);
void config_check_port(struct config *c, const struct config_section *s, const char *key, const char *port);
void config_check_address(struct config *c, const struct config_section *s, const char *key, const char *address);
void config_check_mailbox(struct config *c, const struct config_section *s, const char *key, const char *value);
void config_check_smtp(struct config *c, const struct config_section *s, const char *key, const char *url);
void config_check_webhook(struct config *c, const struct config_section *s, const char *key, const char *url);
void config_check_name(struct config *c, const struct config_section *s, const char *key, const char *title);
void config_check_certificate_name(
	struct config *c, const struct config_section *s, const char *key, const char *title);
void config_check_endpoint_name(struct config *c, const struct config_section *s, const char *key, const char *title);

/* These judge a section once all that it refers to is there. */
void config_judge_acme(struct config *c, const struct config_section *s, const struct hub_acme *acme);
void config_judge_certificate(struct config *c, const struct config_section *s, const struct hub_config *h,
	const struct hub_certificate *certificate);
void config_judge_alert(struct config *c, const struct config_section *s, const struct hub_alert *alert);

#endif
