/* The process that starts the daemon's workers: `certsync-worker` without a word, started by the root half as the workers' user. The
 * daemon asks over CHILD_LINK_FD (hub/common/spawn.h); it cannot change its own user, and this one can do nothing but start
 * `certsync-worker KIND`.
 *
 * It ends with the daemon. Whatever a worker has started dies with it, also what has left its process group: orphans come to the
 * worker and then to this process (PR_SET_CHILD_SUBREAPER), which kills whom it does not know.
 */
#ifndef CERTSYNC_HUB_SPAWNER_H
#define CERTSYNC_HUB_SPAWNER_H

/* Whether the daemon's socket is there: then nobody but the root half has started us. */
int spawner_is_asked(void);
/* The body. Returns the exit code. */
int spawner_main(void);

#endif
