/* The worker of kind "preflight": it asks every address of some names for the answer to a challenge, as an authority would:
 * for http-01 (RFC 8555 section 8.3) on port 80, following up to ten redirects to http and https on ports 80 and 443,
 * whatever certificate these show; for tls-alpn-01 (RFC 8737) on port 443. `>` marks what the daemon says, `<` what the
 * worker says.
 *
 *   > job        names[], token, authorization, tls_alpn, resolvers[] ("address" or "address:port"; none: the system's)
 *   < finding    name, address ("": it has none), ok, text
 */
#ifndef CERTSYNC_HUB_WORKER_ACME_PREFLIGHT_H
#define CERTSYNC_HUB_WORKER_ACME_PREFLIGHT_H

int acme_preflight_worker(void); /* the exit code */

#endif
