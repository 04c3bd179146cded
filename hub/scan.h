/* Reading a watched directory: the files in it that may be keys and certificates, as FRAME_FILES takes them.
 *
 * As root it is read with the file-system rights of whoever controls the path: the first owner other than
 * root of a component of it (as written, then as resolved), else the directory's. So nobody can make root
 * read, by a link, what he could not read himself.
 */
#ifndef CERTSYNC_HUB_SCAN_H
#define CERTSYNC_HUB_SCAN_H

#include "lib/buf.h"
#include "lib/error.h"
#include "lib/files.h"

struct scan {
	struct files files; /* sorted by name; borrows from `content` */
	struct buf content[FILES_MAX];
};

void scan_release(struct scan *s);
#define auto_scan __attribute__((cleanup(scan_release)))

/* Regular files (links followed) *.pem *.key *.crt *.cer without a leading dot, up to FILES_FILE_MAX each;
 * longer ones, dangling links, FIFOs and directories are passed over. -1: the directory cannot be read, a
 * file in it may not be read, there are more than FILES_MAX. */
int scan_directory(const char *directory, const char *label, struct scan *ret, struct error *err);

#endif
