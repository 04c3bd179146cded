/* Whose file-system rights a path is used with.
 *
 * The root halves read paths in which others have a say. Such a path is used with the rights of whoever controls it, so
 * that nobody can make root read, follow or watch, by a link, what he could not himself. The path is walked part by
 * part as the kernel would walk it, links included, and the first part that is not root's alone decides:
 *   - one that belongs to another user gives that user's rights, and his group's;
 *   - a directory of root's that its group (another than root's) may write gives that group's rights, and those of no
 *     user;
 *   - one that everybody, or somebody on its access control list, may write gives nobody's rights. A sticky one (/tmp)
 *     counts only at the end, since on the way through it nobody can put something in the place of what belongs to
 *     root.
 * Behind that part nothing is looked at, and before it nobody else can change anything, so what was found stays true.
 */
#ifndef CERTSYNC_HUB_COMMON_RIGHTS_H
#define CERTSYNC_HUB_COMMON_RIGHTS_H

#include "lib/core/error.h"

#include <stdbool.h>
#include <sys/types.h>

enum { RIGHTS_NOBODY = 65534 }; /* user and group */

struct rights {
	uid_t uid; /* 0: root's alone */
	gid_t gid;
	bool shared; /* a directory of root's that others may write: `uid` is nobody's */
};

/* Returns -1 when a part of the path does not exist, or cannot be looked at. */
int rights_find(const char *path, struct rights *ret, struct error *err);

/* Makes these the process's file-system user and group. The capabilities that override permissions are out of force
 * meanwhile, and there are no supplementary groups, then and later. Only root may call this. */
int rights_take(const struct rights *rights, struct error *err);
/* Goes back to root's own rights. */
void rights_return(void);

/* Returns whether this is root with the capabilities for that. A daemon that has given them up cannot look as somebody
 * else, and its root half does. */
bool rights_are_ours_to_take(void);

/* Finds the rights and takes them. Whoever is not root has only his own, which is success. */
int rights_enter(const char *path, struct rights *ret, struct error *err);
void rights_leave(void);

#endif
