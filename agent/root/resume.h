/* How the root half takes a certificate up: at its start, from the journal and what a crash left, and when the deadline
 * of what was activated has passed.
 */
#ifndef CERTSYNC_AGENT_ROOT_RESUME_H
#define CERTSYNC_AGENT_ROOT_RESUME_H

#include "agent/root/certificate.h"

/* Reads the journal (a damaged one is logged, and rebuilt from live/ and the archive), makes a placeholder where there
 * is nothing, undoes what is overdue and repairs what a crash left between two steps. It logs. It may be called again
 * after a failure; until it has succeeded only root_certificate_close may be called. */
int root_certificate_start(struct root_certificate *k, struct error *err);

/* Undoes what was not committed by its deadline, and logs. */
void root_certificate_tick(struct root_certificate *k);

#endif
