/* Reading what a certificate watches: the files that may be keys and certificates, as FRAME_FILES takes them.
 *
 * As root, each path, and each link in a directory of root's, is read with the rights of whoever controls it
 * (hub/common/rights.h).
 */
#ifndef CERTSYNC_HUB_COMMON_SCAN_H
#define CERTSYNC_HUB_COMMON_SCAN_H

#include "lib/core/buf.h"
#include "lib/core/error.h"
#include "lib/core/files.h"

enum { SCAN_PATHS_MAX = 8 };

struct scan {
	struct files files; /* named "NUMBER/NAME", NUMBER that of the path, from 0; sorted; borrows from
			       `content` */
	struct buf content[FILES_MAX];
	size_t left_out; /* files that may be keys or certificates and were not read, since there are too many
			  */
};

void scan_release(struct scan *s);
#define auto_scan __attribute__((cleanup(scan_release)))

/* A path is a file, whatever its name, or a directory. Of a directory the regular files (links followed) *.pem, *.key,
 * *.crt and *.cer without a leading dot are taken, up to FILES_FILE_MAX each; longer ones, dangling links, FIFOs and
 * directories are passed over. The paths share FILES_MAX and what a frame holds evenly. Where a directory has more
 * files than that, only those count whose name is one of `names` (with _ for *), a dot and more, if there are such; of
 * them links come first (dehydrated's current files), then what was modified last. Returns -1 when a path does not
 * exist or cannot be read, or a file in it may not be read. */
int scan_paths(
	const char *const *paths, const char *label, const char *const *names, struct scan *ret, struct error *err);

/* Returns -1 with the reason when `path` exists and cannot be read as above, or is neither a file nor a directory. */
int scan_check(const char *path, struct error *err);

#endif
