/* The process that starts the daemon's workers: `certsync-worker` without an argument, started by the root half as the
 * workers' user. The daemon asks it over CHILD_LINK_FD (hub/common/spawn.h): the daemon cannot change its own user, and
 * this process can do nothing but start `certsync-worker KIND`.
 *
 * It ends with the daemon. Whatever a worker has started dies with the worker, also what has left its process group:
 * orphans come to the worker and then to this process (PR_SET_CHILD_SUBREAPER), which kills every child that it does
 * not know.
 */
#ifndef CERTSYNC_HUB_WORKER_SPAWNER_H
#define CERTSYNC_HUB_WORKER_SPAWNER_H

/* Returns whether the daemon's socket is there; then only the root half can have started us. */
int spawner_is_asked(void);
/* Runs the body and returns the exit code. */
int spawner_main(void);

#endif
