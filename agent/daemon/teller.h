/* The process that runs agent.conf's executable for alerts: `certsync-agent tell COMMAND`. It is started before the
 * daemon confines itself, since nobody here can know what an administrator's program needs to read and write. The
 * daemon can hand it messages and can name no other program. It ends with the daemon.
 *
 * They speak over descriptor 3 in frames: the message in as many FRAME_MESSAGE as it takes, then a FRAME_RECORD with a
 * number (u32), which starts the executable. The same number comes back with whether the executable exited 0 (u8) and
 * how it ended (string). An empty FRAME_RECORD ends what runs.
 */
#ifndef CERTSYNC_AGENT_DAEMON_TELLER_H
#define CERTSYNC_AGENT_DAEMON_TELLER_H

#include "lib/core/error.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>

struct teller;

/* Returns whether this executable asks for more rights than anything gets that an agent starts (no_new_privs): it is
 * set-user-ID or set-group-ID, or a script that hands mail to this machine's own server by a program which is, or which
 * starts one (sendmail, mail, mailx). That is a guess by its words, and good for a warning only. */
bool teller_lacks_rights(const char *command);

/* `command` is an absolute path. `ended` is called from the loop when the process is gone and nothing can be told any
 * more. */
struct teller *teller_start(
	struct event_base *base, const char *command, void (*ended)(void *context), void *context, struct error *err);
void teller_free(struct teller *t); /* ends it, and what it runs. NULL is allowed */

typedef void teller_done(bool delivered, const char *how, void *context);

/* Runs the executable with the message (copied) on its standard input. `done` is called from the loop, unless
 * teller_stop comes first. Nothing else may be running. */
void teller_run(struct teller *t, const void *message, size_t len, teller_done *done, void *context);
void teller_stop(struct teller *t); /* ends what runs, if something does */

/* Runs the process's body and returns a cli_exit. */
int teller_main(const char *command);

#endif
