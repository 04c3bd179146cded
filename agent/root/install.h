/* Where a set is put: the symlink live/NAME, and the copies that services need elsewhere (`file` in agent.conf). A copy
 * is a file of the set, or what its first pair is in another form: DER, or PKCS#12, which is the same file each time it
 * is made of the same pair, name and password (lib/crypto/pkcs12.h), so that a look tells whether it is right.
 *
 * Every call changes only what differs from what it should be, so each can be repeated after a crash, and is used for
 * repairs as well as for installing.
 */
#ifndef CERTSYNC_AGENT_ROOT_INSTALL_H
#define CERTSYNC_AGENT_ROOT_INSTALL_H

#include "agent/common/config.h"
#include "agent/root/file_set.h"

/* Descriptors of DIRECTORY/live and DIRECTORY/archive/NAME, which are made (0755) when missing. */
struct install {
	const struct agent_certificate *certificate; /* borrowed */
	int live;
	int archive;
};

int install_open(const struct agent_config *config, const struct agent_certificate *certificate, struct install *ret,
	struct error *err);
void install_close(struct install *i);

/* Finds the revision that live/NAME points at. Returns 1 and *ret, 0 when there is no such link, or -1 when it is
 * something else. */
int install_live(const struct install *i, struct revision *ret, struct error *err);
/* Points live/NAME at the revision by one rename. Returns 1 when it was switched, 0 when it pointed there already, or
 * -1. */
int install_switch(const struct install *i, struct revision revision, struct error *err);

enum install_which {
	INSTALL_DIFFERING, /* what differs in content, owner or mode is written */
	INSTALL_MISSING,   /* only where there is no file: the placeholder */
	INSTALL_LOOK,      /* nothing is written, only counted */
};

/* Writes the certificate's own files from this set. No directory on the way to a file may be a symbolic link, and a
 * link, FIFO or device in a file's place is replaced, never followed. A file that fails does not keep the others from
 * being written. Returns how many differed, or -1 with the first failure. */
int install_files(const struct install *i, const struct file_set *s, enum install_which which, struct error *err);

/* Finds the newest whole revision in the archive that is valid at `now` (0: whenever). Returns 1, or 0 when there is
 * none. The placeholder counts only with `now` 0, and then as the oldest of all. */
int install_newest(const struct install *i, int64_t now, struct file_set *ret);

/* Removes all but the newest three revisions and those in `keep`. */
int install_prune(const struct install *i, const struct revision *keep, size_t count, struct error *err);

/* Removes what an interrupted write left in live/, the archive and the files' directories, and makes durable what it
 * had done. */
void install_sweep(const struct install *i);

#endif
