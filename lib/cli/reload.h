/* The command `reload` of both programs: it has a running daemon read its configuration again, and waits until that
 * holds. The units' ExecReload= is this command.
 */
#ifndef CERTSYNC_LIB_CLI_RELOAD_H
#define CERTSYNC_LIB_CLI_RELOAD_H

/* Sends SIGHUP to the root half, whose process `pid` names in decimal, and asks its daemon at `socket_path` until it has
 * come to an end with the new configuration, at most RELOAD_SECONDS. Returns a cli_exit: CLI_DONE when it holds, else it
 * has said why it does not. */
enum { RELOAD_SECONDS = 60 };
int reload(const char *socket_path, const char *pid);
/* Does the same with a process that proc_pidfd_signal (lib/core/proc.h) takes. */
int reload_process(const char *socket_path, int process);

#endif
