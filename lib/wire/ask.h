/* An operator's command asks a daemon over its control socket: with one JSON request, perhaps a FILES frame behind it,
 * and then JSON answers until one is final.
 *
 * The request is {"command": "push", …}. The answers are {"event": "progress", …}, any number of times, and at the end
 * {"event": "result", "exit": 0…4, …}; "error" in a result says what went wrong and what to do.
 */
#ifndef CERTSYNC_LIB_WIRE_ASK_H
#define CERTSYNC_LIB_WIRE_ASK_H

#include "lib/core/buf.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/wire/json.h"

#include <stdbool.h>

/* This is called for every answer, the final one included. */
typedef void ask_answer(const cJSON *answer, void *context);

/* Returns the result's exit code, or -1 when the daemon cannot be reached, hangs or ends in the middle (then the caller
 * exits 4). An answer may take as long as what was asked for. When none has come for ASK_SILENT_MS, the daemon is asked
 * whether it lives, {"command": "alive"} on a connection of its own; without an answer in the same time, it hangs. `files`
 * may be NULL. */
enum { ASK_SILENT_MS = 20 * 1000 };
int ask(const char *socket_path, const cJSON *request, const struct files *files, ask_answer *answer, void *context,
	struct error *err);

/* Does the same for a person who watches: `tick` is called at least every `tick_ms`, and after a signal. When it
 * returns false the asking ends with ASK_STOPPED, and what was asked for goes on. */
enum { ASK_STOPPED = -2 };
typedef bool ask_tick(void *context);
int ask_live(const char *socket_path, const cJSON *request, const struct files *files, ask_answer *answer,
	ask_tick *tick, int tick_ms, void *context, struct error *err);

#endif
