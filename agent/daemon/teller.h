/* Who runs the executable of agent.conf that tells a person: a process of its own, `certsync-agent tell COMMAND`, started before the
 * daemon confines itself, since what an administrator's program needs to read and write nobody here can know. The daemon can hand
 * it messages, and can name no other program. It ends with the daemon.
 *
 * Over descriptor 3, in frames: the message in as many FRAME_MESSAGE as it takes, then a FRAME_RECORD with a number (u32), which
 * starts the executable; the same number comes back with whether it exited 0 (u8) and how it ended (string). An empty FRAME_RECORD
 * ends what runs.
 */
#ifndef CERTSYNC_AGENT_TELLER_H
#define CERTSYNC_AGENT_TELLER_H

#include "lib/core/error.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>

struct teller;

/* `command` is a path, absolute. `ended` is called, from the loop, when the process has gone and nothing can be told any more. */
struct teller *teller_start(
	struct event_base *base, const char *command, void (*ended)(void *context), void *context, struct error *err);
void teller_free(struct teller *t); /* ends it, and what it runs. NULL is allowed */

typedef void teller_done(bool delivered, const char *how, void *context);

/* Runs the executable with the message (copied) on its standard input; `done` is called, from the loop, unless teller_stop is first.
 * Nothing else runs. */
void teller_run(struct teller *t, const void *message, size_t len, teller_done *done, void *context);
void teller_stop(struct teller *t); /* ends what runs, if something does */

/* The process's body. Returns a cli_exit. */
int teller_main(const char *command);

#endif
