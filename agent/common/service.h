/* Running a service's hook, by lib/service/hook.h: with one argument, the verb, the service's `timeout`, and the
 * environment that man/certsync-agent.conf.5, HOOKS, describes. A hook that others than root and the user whom it runs
 * as can change is not run.
 */
#ifndef CERTSYNC_AGENT_COMMON_SERVICE_H
#define CERTSYNC_AGENT_COMMON_SERVICE_H

#include "agent/common/config.h"
#include "lib/crypto/content.h"
#include "agent/common/root_request.h"
#include "lib/service/hook.h"

#include <stdbool.h>

struct service_call {
	const struct agent_service *service;
	const char *hooks; /* the directory of the hooks */
	const char *certificate;
	const struct content *content; /* which revision CERTSYNC_REVISION and _SHA256 tell */
	const char *directory;         /* CERTSYNC_DIR: where its set is to be found */
	bool reconfigured;             /* CERTSYNC_RECONFIGURED=1: the service's own configuration has changed */
	int stop_fd;                   /* readable: the caller is to end; the hook is killed then. -1: none */
	struct buf *raw;               /* as hook_call's: secret-bearing. NULL: not wanted */
};

struct service_result {
	int exit_code;                /* of a hook that ended by itself; else -1 */
	bool interrupted;             /* stop_fd became readable */
	char output[HOOK_OUTPUT_MAX]; /* cleaned, secrets blotted out; may have lines */
	size_t blotted;               /* how many */
};

enum { SERVICE_STOPPED = 3 }; /* exit code of `running` */

/* Returns the words of `instance` as the hook gets them, one on each line, or NULL when none is named. The caller owns
 * the text. */
char *service_instance(const struct agent_service *service);

/* Returns 0 when the hook exited, with whatever code, and -1 when it could not be started, was killed, or ran past its
 * deadline. */
int service_run(const struct service_call *call, const char *verb, struct service_result *ret, struct error *err);
/* Does the same, and makes a code other than 0 an error that says so. */
int service_check(const struct service_call *call, const char *verb, struct service_result *ret, struct error *err);
/* Returns 1 when the service runs, 0 when it is stopped, or -1 when that cannot be told; then the caller treats it as
 * running and says so. */
int service_running(const struct service_call *call, struct service_result *ret, struct error *err);

#endif
