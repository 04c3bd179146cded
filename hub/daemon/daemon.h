/* `certsync hub`: the daemon. certsync-hub-root starts it, and is at its descriptor 3. It runs without a root half too;
 * then nothing is watched and authorized_keys is not written.
 */
#ifndef CERTSYNC_HUB_DAEMON_DAEMON_H
#define CERTSYNC_HUB_DAEMON_DAEMON_H

struct hub_events;

/* This table says who is told of what in the daemon (hub/daemon/events.h). */
extern const struct hub_events daemon_events;

/* Runs until SIGTERM, SIGINT or the end of the root half, and returns a cli_exit. SIGHUP reads the configuration again,
 * all or nothing. */
int daemon_run(const char *config_path);

#endif
