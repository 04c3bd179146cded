/* `certsync hub`: the daemon. Made by certsync-hub-root, whose socket is descriptor 3; runs without it too (then nothing
 * is watched and authorized_keys is not written).
 */
#ifndef CERTSYNC_HUB_DAEMON_DAEMON_H
#define CERTSYNC_HUB_DAEMON_DAEMON_H

struct hub_events;

/* Who is told of what in the daemon (hub/daemon/events.h). */
extern const struct hub_events daemon_events;

/* Runs until SIGTERM, SIGINT or the end of the root half. Returns a cli_exit. SIGHUP reads the configuration again,
 * all or nothing. */
int daemon_run(const char *config_path);

#endif
