/* The command `certsync config haproxy`: what HAProxy needs for http-01 or tls-alpn-01, as a file that it takes as it is. */
#ifndef CERTSYNC_HUB_CLI_HAPROXY_H
#define CERTSYNC_HUB_CLI_HAPROXY_H

#include "lib/cli/cli.h"

extern const struct cli_option config_haproxy_options[];
int command_config_haproxy(const struct cli_line *line);

#endif
