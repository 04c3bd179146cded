/* A terminal on which something goes on: a block of lines that is drawn anew in its place, and a screen that shows what
 * does not end. Without a terminal, or with TERM=dumb, nothing of it is used, and then every change is a line.
 */
#ifndef CERTSYNC_HUB_CLI_TERMINAL_H
#define CERTSYNC_HUB_CLI_TERMINAL_H

#include "hub/common/status/agent_row.h"

#include <stdbool.h>

bool terminal_is_one(void); /* standard output is one that can be drawn on */

/* From now on SIGINT only sets a flag, so that a person can be told of what goes on elsewhere. */
void terminal_catch_interrupt(void);
bool terminal_interrupted(void);

/* The progress of orders and agents, one line each. */
struct terminal;
struct terminal *terminal_new(void);
void terminal_free(struct terminal *l);
/* These take what is new, and draw: an agent's progress, and the step of a certificate's order. */
void terminal_take(struct terminal *l, const struct agent_row *row);
void terminal_order(struct terminal *l, const char *certificate, const char *step);
void terminal_draw(struct terminal *l); /* again: seconds have passed */
void terminal_erase(struct terminal *l);

/* Draws what `print` prints over the whole window, as much of it as there is room for. */
void terminal_screen(void (*print)(const void *what), const void *what);

#endif
