/* Certificates that something else writes at watched paths (certbot, acme.sh, a person). The root half hands over the
 * bytes that it finds; here they are settled, paired (hub/daemon/publish/pairing.h), and published.
 *
 * What is caught half-way (a key without its certificate, a chain cut short) is waited for; what is wrong is refused
 * with the rule and shown; the old revision goes on. For a certificate with two pairs both are waited for, as long as
 * the missing one seems to be under way. What differs from what was last seen there is published, whatever the current
 * revision is: so a rollback is not undone by the file that it rolled back.
 *
 * The record in the store is of kind "sources" in the certificate's NAME: seen has the digest, in hex, of what was last
 * published from there.
 */
#ifndef CERTSYNC_HUB_DAEMON_PUBLISH_WATCHED_H
#define CERTSYNC_HUB_DAEMON_PUBLISH_WATCHED_H

#include "hub/daemon/hub.h"
#include "lib/core/files.h"

struct watched;

void watched_open(struct hub *hub);
void watched_close(struct hub *hub);
struct watched *watched_find(struct hub *hub, const char *certificate); /* NULL: not watched */

/* These take FRAME_FILES of the root half; its word, just before, that there were more files; and that it could not
 * read them. */
void watched_files(struct hub *hub, const struct files *files);
void watched_left_out(struct hub *hub, const char *certificate, const char *text);
void watched_unreadable(struct hub *hub, const char *certificate, const char *reason);

/* Returns what `status` shows: "" when all is well, else what the source waits for or why it was refused. */
const char *watched_trouble(const struct watched *s);
int64_t watched_seen(const struct watched *s); /* when the paths were last read; 0 never */

#endif
