/* Certificates that something else writes at watched paths (certbot, acme.sh, a person): the root half hands
 * over the bytes that it finds; here they are settled, paired (hub/daemon/publish/pairing.h), and taken to the gate to
 * publish.
 *
 * What is caught half-way (a key without its certificate, a chain cut short) is waited for; what is wrong is
 * refused with the rule and shown; the old revision goes on. Of a certificate with two pairs both are waited
 * for, as long as the missing one seems to be under way. Published is what differs from what was last seen
 * there, not from the current revision: a rollback is not undone by the file that it rolled back.
 *
 * Record in the store: kind "sources", NAME of the certificate: seen (the digest of what was last published
 * from there, in hex).
 */
#ifndef CERTSYNC_HUB_DAEMON_PUBLISH_WATCHED_H
#define CERTSYNC_HUB_DAEMON_PUBLISH_WATCHED_H

#include "hub/daemon/hub.h"
#include "lib/core/files.h"

struct source;

void source_open(struct hub *hub);
void source_close(struct hub *hub);
struct source *source_find(struct hub *hub, const char *certificate); /* NULL: not watched */

/* FRAME_FILES of the root half; its word, just before, that there were more; and that it could not read them.
 */
void source_files(struct hub *hub, const struct files *files);
void source_left_out(struct hub *hub, const char *certificate, const char *text);
void source_unreadable(struct hub *hub, const char *certificate, const char *reason);

/* What `status` shows: "" when all is well, else what it waits for or why it was refused. */
const char *source_trouble(const struct source *s);
int64_t source_seen(const struct source *s); /* when the paths were last read; 0 never */

#endif
