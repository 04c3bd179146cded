/* What the hub has answered, shown to people: tables and lines on standard output. */
#ifndef CERTSYNC_HUB_CLI_SHOW_H
#define CERTSYNC_HUB_CLI_SHOW_H

#include "lib/wire/json.h"

#include <stdbool.h>

/* What has been answered so far. */
struct answers {
	cJSON *certificates, *agents, *revisions, *endpoints; /* arrays, owned */
	cJSON *result;                                        /* owned; NULL: not yet */
};
void answers_init(struct answers *a);
void answers_release(struct answers *a);
/* Keeps an answer by its event. Returns false when it is of another kind ("progress", "order", …). */
bool answers_take(struct answers *a, const cJSON *answer);
void answers_print_json(struct answers *a); /* one object */

void show_certificates(const struct answers *a); /* `status` */
void show_outcome(const struct answers *a);      /* the end of push, renew, import and rollback */
void show_history(const struct answers *a);
void show_progress(const cJSON *agent); /* one line */

#endif
