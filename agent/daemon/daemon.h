/* The agent's daemon: `certsync-agent run`, started by certsync-agent-root with descriptor 3 as the way back
 * to it. Ends when that ends, and at SIGTERM; SIGHUP reads the configuration again, all or nothing.
 */
#ifndef CERTSYNC_AGENT_DAEMON_H
#define CERTSYNC_AGENT_DAEMON_H

/* Returns a cli_exit. */
int agent_run(const char *config_path);

#endif
