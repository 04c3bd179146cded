/* The agent's daemon: `certsync-agent run`, started by certsync-agent-root, to which descriptor 3 leads back. It ends
 * when that ends, and at SIGTERM; SIGHUP reads the configuration again, all or nothing.
 */
#ifndef CERTSYNC_AGENT_DAEMON_DAEMON_H
#define CERTSYNC_AGENT_DAEMON_DAEMON_H

/* Runs the daemon and returns a cli_exit. */
int agent_run(const char *config_path);

#endif
