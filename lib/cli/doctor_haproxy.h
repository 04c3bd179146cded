/* HAProxy's configuration, where it is installed.
 */
#ifndef CERTSYNC_LIB_CLI_DOCTOR_HAPROXY_H
#define CERTSYNC_LIB_CLI_DOCTOR_HAPROXY_H

#include "lib/core/buf.h"
#include "lib/cli/doctor.h"

#define HAPROXY_CONF "/etc/haproxy/haproxy.cfg"

enum { HAPROXY_CONF_MAX = 4 * 1024 * 1024 };

/* Returns 0, or -1 when HAProxy is not installed here or its file cannot be read (*ret_hidden). */
int haproxy_read(struct buf *out, bool *ret_hidden);

/* Calls `is` for each line that is not a comment, without the blanks at its front, until it returns true. */
bool haproxy_any_line(struct buf *conf, bool (*is)(const char *line, const void *context), const void *context);

/* This check looks whether HAProxy's socket takes certificates without a reload. */
void doctor_haproxy_socket(struct doctor_findings *f, const void *config);

#endif
