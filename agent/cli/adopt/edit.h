/* Changes of files, kept in memory until all are known: what a file has, what it would have, and the difference. */
#ifndef CERTSYNC_AGENT_CLI_ADOPT_EDIT_H
#define CERTSYNC_AGENT_CLI_ADOPT_EDIT_H

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
	char *backup;             /* the path of its backup, to which the time is added: DIRECTORY/.NAME */
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

/* Replaces text[start…end) of the file by `text`. The same change twice is one. */
int edit_replace(struct edit *e, const char *path, size_t start, size_t end, const char *text, struct error *err);
/* Replaces the whole file, which is secret. With a `key` in it, others lose what rights they had to it. Nothing is
 * taken over. */
int edit_whole(struct edit *e, const char *path, const struct buf *content, bool key, struct error *err);
/* Has no backup lie in this directory, but beside it. */
void edit_spare(struct edit *e, const char *directory);
/* Makes `after` of each file, and drops files that stay as they are. ERROR_PERMANENT says that two changes overlap. */
int edit_finish(struct edit *e, struct error *err);

/* Prints the difference to standard output, as diff -u does; of a secret file only that it is written. */
int edit_show(const struct edit_file *f, struct error *err);

#endif
