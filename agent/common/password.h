/* The password of a PKCS#12 file, from the file that agent.conf names. The root half reads it each time it looks at
 * the PKCS#12 file, and keeps it no longer than that; the doctor looks whether it could.
 */
#ifndef CERTSYNC_AGENT_COMMON_PASSWORD_H
#define CERTSYNC_AGENT_COMMON_PASSWORD_H

#include "lib/core/buf.h"
#include "lib/core/error.h"

enum { PASSWORD_MIN = 6, PASSWORD_MAX = 128 }; /* keytool reads shorter ones, and makes none */

/* Appends the password, without the end of its line, to `ret`, whose maximum is PASSWORD_MAX. The file has to be a
 * regular one, no link, that belongs to root or whoever runs this, with no right for its group or others, and nobody
 * else may be able to put another one in its place. It has one line of PASSWORD_MIN to PASSWORD_MAX printable ASCII
 * characters. An error says which of these fails and what to do, never what is in the file. */
int password_read(const char *path, struct buf *ret, struct error *err);

#endif
