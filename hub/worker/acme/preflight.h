/* The worker of kind "preflight": it asks every address of some names for an http-01 answer, as an authority would (RFC
 * 8555 section 8.3): on port 80, following up to ten redirects to http and https on ports 80 and 443, whatever
 * certificate these show. `>` marks what the daemon says, `<` what the worker says.
 *
 *   > job        names[], token, authorization, resolvers[] ("address" or "address:port"; none: the system's)
 *   < finding    name, address ("": it has none), ok, text
 */
#ifndef CERTSYNC_HUB_WORKER_ACME_PREFLIGHT_H
#define CERTSYNC_HUB_WORKER_ACME_PREFLIGHT_H

int acme_preflight_worker(void); /* the exit code */

#endif
