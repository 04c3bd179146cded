/* The ends of a dialogue before TLS, and what is said of them: this is what the files of the protocols have in common.
 */
#ifndef CERTSYNC_LIB_PROBE_STARTTLS_END_H
#define CERTSYNC_LIB_PROBE_STARTTLS_END_H

#include "lib/probe/starttls.h"

/* Returns what a deadline interrupted, like "waiting for the greeting". */
const char *starttls_where(const struct starttls *s);
/* Returns a name like "SMTP". */
const char *starttls_protocol_name(enum probe_protocol protocol);

/* Keeps that STARTTLS is not offered as the reason why TLS is not reached; the dialogue goes on, so that it can end
 * politely. */
void starttls_refuse(struct starttls *s);
void starttls_finish(struct starttls *s, enum starttls_state state);
/* Ends the dialogue without another word. */
void starttls_over(struct starttls *s);
/* Does so for what the server has said; the first reason is the one that is told. */
void starttls_give_up(struct starttls *s, const char *what, const char *line);
/* Does so for a text that the server gives as its reason, which need not end with a NUL. */
void starttls_told(struct starttls *s, const char *text, size_t len);
/* Does so when what has come in this step, this byte too, is more than any server has to say. */
bool starttls_talks_on(struct starttls *s);
/* Does so for what stands in `line`, which is another protocol. */
void starttls_alien(struct starttls *s);

#endif
