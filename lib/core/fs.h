/* Files that must survive: there is one way to write them and one way to read them.
 *
 * Paths are taken relative to a directory descriptor (AT_FDCWD works), and no call follows a symbolic link in the last
 * component unless it says so.
 */
#ifndef CERTSYNC_LIB_CORE_FS_H
#define CERTSYNC_LIB_CORE_FS_H

#include "lib/core/buf.h"
#include "lib/core/error.h"

#include <dirent.h>
#include <stdbool.h>
#include <sys/types.h>

/* Reads a whole regular file and appends it to `out`; more than out->max is an error. A final symbolic link is refused
 * unless `follow`. A FIFO, device or directory is refused without blocking. */
int fs_read(int dirfd, const char *path, bool follow, struct buf *out, struct error *err);

struct fs_owner {
	uid_t uid; /* (uid_t)-1: as created */
	gid_t gid; /* (gid_t)-1: as created */
	mode_t mode;
};

#define FS_PRIVATE ((struct fs_owner){(uid_t)-1, (gid_t)-1, 0600})
#define FS_PUBLIC ((struct fs_owner){(uid_t)-1, (gid_t)-1, 0644})

/* Replaces the file at `path` for good. A temporary file is made beside it, exclusively, with mode 0600 and a name that
 * begins with FS_TEMPORARY; it is written, given its owner and mode, synced, and renamed, and the directory is synced.
 * On failure the file that was there is untouched and no temporary file stays. */
int fs_write(int dirfd, const char *path, const void *data, size_t len, struct fs_owner owner, struct error *err);

/* Makes these files in a new directory that nobody looks into yet. When it returns, the files and the directory are on
 * the disk; only then may the caller rename the directory to where it is looked for. All files are on their way before
 * the first is waited for, so that the disk is asked once and not once for each file. On failure some of them may be
 * there. */
struct fs_new {
	const char *name;
	const void *data;
	size_t len;
	struct fs_owner owner;
};
enum { FS_NEW_MAX = 16 };
int fs_fill_directory(int dirfd, const struct fs_new *files, size_t count, struct error *err);

#define FS_TEMPORARY ".certsync-"

/* Makes `path` a symbolic link to `target` by one rename, and syncs the directory. */
int fs_link(int dirfd, const char *path, const char *target, struct error *err);

/* Makes a directory and its missing parents, each with `mode`; one that exists is left as it is. All of them are
 * durable when it returns, also those that a killed run had made. */
int fs_make_directories(const char *path, mode_t mode, struct error *err);

int fs_open_directory(int dirfd, const char *path, struct error *err); /* descriptor or -1; O_NOFOLLOW */
int fs_sync_directory(int dirfd, struct error *err);
/* Opens a listing that begins at the start, whatever was read through `dirfd` before. The caller ends it with closedir.
 * Returns NULL on an error. */
DIR *fs_list(int dirfd, struct error *err);

/* Removes a directory with everything in it and never leaves it through a link. It succeeds when the directory is
 * missing. */
int fs_remove_tree(int dirfd, const char *path, struct error *err);
/* Does the same without syncing, for what does no harm when a power cut brings some of it back. */
int fs_discard_tree(int dirfd, const char *path, struct error *err);

/* Removes a small regular file whose bytes must not lie about: they are overwritten, and that is on the disk before the
 * name goes. A copy-on-write file system, or a disk that spreads its writes, keeps the old bytes all the same. The
 * directory is not synced. It succeeds when the file is missing. */
int fs_wipe(int dirfd, const char *path, struct error *err);

/* Removes from this directory what an interrupted fs_write or fs_link left behind, by the prefix FS_TEMPORARY. */
void fs_sweep(int dirfd);
/* Does the same in the directory of this file. */
void fs_sweep_beside(const char *path);

/* Returns the directory of the running program's own file, where its siblings are found. It aborts without /proc. */
const char *fs_program_directory(void);

/* Opens the directory of an absolute path and refuses symbolic links on the way. *ret_name is its last part, borrowed
 * from `path`. Returns a descriptor or -1. */
int fs_open_parent(const char *path, const char **ret_name, struct error *err);

#endif
