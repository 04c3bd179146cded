/* What the hub has answered, shown to people: tables and lines on standard output. */
#ifndef CERTSYNC_HUB_CLI_SHOW_H
#define CERTSYNC_HUB_CLI_SHOW_H

#include "hub/common/status/agent_row.h"
#include "hub/common/status/endpoint_row.h"
#include "lib/wire/json.h"

#include <stdbool.h>

/* What has been answered so far: as it came, for programs, and what is compared and shown of it. */
struct answers {
	cJSON *certificates, *agents, *revisions, *endpoints; /* arrays, owned */
	struct agent_row *rows;                               /* owned: the agents */
	size_t row_count;
	struct endpoint_row *seen; /* owned: the endpoints */
	size_t seen_count;
	cJSON *result; /* owned; NULL: not yet */
};
void answers_init(struct answers *a);
void answers_release(struct answers *a);
/* Keeps an answer by its event. Returns false when it is of another kind ("progress", "order", …). */
bool answers_take(struct answers *a, const cJSON *answer);
void answers_print_json(struct answers *a); /* one object */

void show_certificates(const struct answers *a); /* `status` */
void show_outcome(const struct answers *a);      /* the end of push, renew, import and rollback */
void show_history(const struct answers *a);
void show_progress(const struct agent_row *row); /* one line */
void show_left_out(const struct error *err);     /* a row that cannot be read */

#endif
