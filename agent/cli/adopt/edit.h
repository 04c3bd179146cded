/* Changes of files, kept in memory until all are known: what a file holds, what it would hold, the difference.
 */
#ifndef CERTSYNC_AGENT_EDIT_H
#define CERTSYNC_AGENT_EDIT_H

#include "lib/core/buf.h"
#include "lib/core/error.h"
#include "lib/core/fs.h"

#include <stdbool.h>

enum { EDIT_FILE_MAX = 4 * 1024 * 1024 };

struct edit_change {
	size_t start, end;
	char *text;
};

struct edit_file {
	char *path;
	struct buf before, after; /* after: filled in by edit_finish */
	struct fs_owner owner;    /* as it is now */
	bool secret;              /* holds a key: never shown */
	struct edit_change *changes;
	size_t change_count;
};

struct edit {
	struct edit_file *files;
	size_t count;
};

#define auto_edit __attribute__((cleanup(edit_release)))
void edit_release(struct edit *e);

/* text[start…end) of the file gets `text` instead. The same change twice is one. */
int edit_replace(struct edit *e, const char *path, size_t start, size_t end, const char *text, struct error *err);
/* The whole file; secret. With a `key` in it others lose what rights they had to it. Takes nothing over. */
int edit_whole(struct edit *e, const char *path, const struct buf *content, bool key, struct error *err);
/* Makes `after` of each. Files that stay as they are are dropped. ERROR_PERMANENT: two changes overlap. */
int edit_finish(struct edit *e, struct error *err);

/* Prints the difference, as diff -u does, to standard output; of a secret one only that it is written. */
int edit_show(const struct edit_file *f, struct error *err);

#endif
