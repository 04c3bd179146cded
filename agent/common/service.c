#include "agent/common/service.h"
#include "lib/service/hook.h"
#include "lib/core/mem.h"
#include "lib/core/notify.h"
#include "lib/core/owned.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ENVIRONMENT_SIZE = 12 };

static char *hook_path(const struct service_call *call)
{
	const struct agent_service *service = call->service;
	return service->hook ? mem_strdup(service->hook) : mem_printf("%s/%s", call->hooks, service->name);
}

char *service_instance(const struct agent_service *service)
{
	char *text = NULL;
	for (size_t i = 0; service->instance && service->instance[i]; i++) {
		char *longer =
			text ? mem_printf("%s\n%s", text, service->instance[i]) : mem_strdup(service->instance[i]);
		free(text);
		text = longer;
	}
	return text;
}

static void environment(const struct service_call *call, char *env[ENVIRONMENT_SIZE])
{
	char revision[REVISION_TEXT_MAX], sha256[CHAIN_HEX_MAX];
	size_t n = 0;
	env[n++] = mem_strdup(PROC_PATH);
	env[n++] = mem_printf("CERTSYNC_CERTIFICATE=%s", call->certificate);
	env[n++] = mem_printf("CERTSYNC_REVISION=%s", revision_text(call->content->revision, revision));
	env[n++] = mem_printf("CERTSYNC_DIR=%s", call->directory);
	env[n++] = mem_printf("CERTSYNC_FULLCHAIN=%s/fullchain.pem", call->directory);
	env[n++] = mem_printf("CERTSYNC_PRIVKEY=%s/privkey.pem", call->directory);
	env[n++] = mem_printf("CERTSYNC_COMBINED=%s/combined.pem", call->directory);
	env[n++] = mem_printf("CERTSYNC_SHA256=%s", chain_hex(call->content->leaf, sha256));
	env[n++] = mem_printf("CERTSYNC_SERVICE=%s", call->service->name);
	auto_free char *words = service_instance(call->service);
	if (words)
		env[n++] = mem_printf("CERTSYNC_INSTANCE=%s", words);
	if (call->reconfigured)
		env[n++] = mem_strdup("CERTSYNC_RECONFIGURED=1");
	env[n] = NULL;
}

/* Says in the operator's words what hook_run says. */
static int tell(const struct service_call *call, const char *verb, enum hook_end end, struct error *err)
{
	if (end == HOOK_NOT_STARTED)
		return error_wrap(err, "hook of service %s", call->service->name);
	if (end == HOOK_LATE)
		return error_set(err, ERROR_RETRY,
			"hook %s %s: killed after %lld seconds: raise `timeout` if it needs longer",
			call->service->name, verb, (long long)call->service->timeout);
	return error_wrap(err, "hook %s %s", call->service->name, verb);
}

int service_run(const struct service_call *call, const char *verb, struct service_result *ret, struct error *err)
{
	auto_free char *path = hook_path(call);
	auto_free struct hook_result *result = mem_alloc(sizeof(*result));
	char *env[ENVIRONMENT_SIZE];
	struct proc_user user;
	bool other = call->service->user && geteuid() == 0;
	*ret = (struct service_result){.exit_code = -1};
	if (other && proc_user_find(call->service->user, &user, err) < 0)
		return error_wrap(err, "hook %s", path);
	/* A hook that does not exist is reported by whoever starts it. */
	if (access(path, F_OK) == 0 && owned_check(path, other ? &user : NULL, err) < 0)
		return error_wrap(err, "hook of service %s is not run", call->service->name);
	environment(call, env);
	const char *const argv[] = {path, verb, NULL};
	const struct hook_call hook = {
		.argv = argv,
		.envp = (const char *const *)env,
		.user = other ? &user : NULL,
		.timeout = call->service->timeout,
		.stop_fd = call->stop_fd,
		.raw = call->raw,
	};
	notify_busy(call->service->timeout);
	int status = hook_run(&hook, result, err);
	notify_busy(0);
	for (size_t i = 0; env[i]; i++)
		free(env[i]);
	ret->exit_code = result->exit_code;
	ret->interrupted = result->end == HOOK_STOPPED;
	ret->blotted = result->blotted;
	memcpy(ret->output, result->output, sizeof(ret->output));
	return status < 0 ? tell(call, verb, result->end, err) : 0;
}

int service_check(const struct service_call *call, const char *verb, struct service_result *ret, struct error *err)
{
	if (service_run(call, verb, ret, err) < 0)
		return -1;
	if (ret->exit_code != 0)
		return error_set(err, ERROR_RETRY, "hook %s %s: exited %d", call->service->name, verb, ret->exit_code);
	return 0;
}

int service_running(const struct service_call *call, struct service_result *ret, struct error *err)
{
	if (service_run(call, "running", ret, err) < 0)
		return -1;
	if (ret->exit_code == 0)
		return 1;
	if (ret->exit_code == SERVICE_STOPPED)
		return 0;
	return error_set(err, ERROR_RETRY, "hook %s running: exited %d, which is neither 0 (running) nor 3 (stopped)",
		call->service->name, ret->exit_code);
}
