/* The checks (lib/cli/doctor.h) of the way by which authorities come in: DNS, ports 80 and 443, HAProxy. `site` is the hub's
 * configuration.
 */
#ifndef CERTSYNC_HUB_CLI_DOCTOR_WEB_H
#define CERTSYNC_HUB_CLI_DOCTOR_WEB_H

#include "lib/cli/doctor.h"

void doctor_web_responder(struct doctor_findings *f, const void *site);
void doctor_web_tls_alpn(struct doctor_findings *f, const void *site);
void doctor_web_haproxy(struct doctor_findings *f, const void *site);
void doctor_web_dns(struct doctor_findings *f, const void *site);

#endif
