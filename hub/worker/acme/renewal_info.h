/* The worker of kind "info": it asks an authority, without authentication, when it wants its certificates to be renewed
 * (RFC 9773). `>` marks what the daemon says, `<` what the worker says.
 *
 *   > job          directory, ids[] (hub/common/ari.h), and where there is one ca_file
 *   < answer       id, start, end, explanation, retry_after (seconds; 0: not said)
 *   < none         id, text, retry_after: nothing that can be used
 *   < unsupported  the authority does not tell such things
 *   < failed       text, retry_after: it could not be asked at all
 */
#ifndef CERTSYNC_HUB_WORKER_ACME_RENEWAL_INFO_H
#define CERTSYNC_HUB_WORKER_ACME_RENEWAL_INFO_H

int acme_info_worker(void); /* the exit code */

#endif
