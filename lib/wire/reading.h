/* How far a daemon is with reading its configuration again. Whoever has changed the file sends SIGHUP to the root half,
 * which reads it, numbers its readings from 1 on, and sends SIGHUP to its daemon. The daemon asks the root half for the
 * number and for what became of the reading there, and then reads the file itself. An answer to `alive` (lib/wire/ask.h)
 * has the number with which the daemon has come to an end, so that the command `reload` (lib/cli/reload.h) can wait.
 */
#ifndef CERTSYNC_LIB_WIRE_READING_H
#define CERTSYNC_LIB_WIRE_READING_H

#include "lib/core/error.h"
#include "lib/wire/json.h"

#include <stdbool.h>
#include <stdint.h>

struct reading {
	uint32_t told;                   /* what the root half said last; 0: it has not been asked yet */
	uint32_t number;                 /* the reading that has come to an end; 0: the daemon is in the midst of one */
	char refused[ERROR_MESSAGE_MAX]; /* why the configuration before it stays, or a part of it; empty: it holds */
};

/* A SIGHUP has come, and the root half is being asked. */
void reading_begin(struct reading *r);
/* The root half has answered: its number, and the reason where it refused that reading (NULL: it did not). Returns true
 * when the daemon is to read the file, which reading_end follows. At its start it has read the file already. What the
 * root half has refused is not read; a person who signals the daemon alone has it read all the same. */
bool reading_answered(struct reading *r, uint32_t number, const char *refused);
void reading_refuse(struct reading *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void reading_end(struct reading *r);

/* Encoder and decoder of what an answer to `alive` says; the decoder fails where nothing is said. */
void reading_put(const struct reading *r, cJSON *answer);
int reading_get(const cJSON *answer, struct reading *ret, struct error *err);

#endif
