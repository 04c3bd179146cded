#include "agent/cli/adopt/apply.h"
#include "agent/cli/adopt/revive.h"
#include "agent/cli/adopt/table.h"
#include "agent/cli/discover/running.h"
#include "agent/common/service.h"
#include "lib/cli/cli.h"
#include "lib/cli/reload.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"
#include "lib/wire/ask.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAUSE_MS = 250 };

struct apply {
	const struct agent_config *config;
	const struct plan *plan;
	struct found *found;
	struct adopt_journal *journal;
	bool *running;            /* by target */
	struct revival *revivals; /* by target */
	struct sight before, after;
	bool reloaded; /* some service may have read what we have written */
};

/* ---- hooks ---- */

static void print_output(const char *text)
{
	while (*text) {
		size_t len = strcspn(text, "\n");
		printf("      | %.*s\n", (int)len, text);
		text += len + (text[len] == '\n');
	}
}

static int hook(const struct apply *a, const struct plan_target *t, const char *verb, struct error *err)
{
	auto_free struct service_result *result = mem_alloc(sizeof(*result));
	struct content entry = {.revision = t->certificate->revision};
	memcpy(entry.leaf, t->certificate->leaves[0], sizeof(entry.leaf));
	const struct service_call call = {
		.service = t->service,
		.hooks = a->config->hooks,
		.certificate = t->certificate->certificate->name,
		.content = &entry,
		.directory = t->certificate->directory,
		.reconfigured = true,
		.stop_fd = -1,
	};
	if (strcmp(verb, "running") == 0)
		return service_running(&call, result, err);
	int code = service_check(&call, verb, result, err);
	if (code < 0) {
		printf("%s %s: %s\n", t->service->name, verb, err->message);
		print_output(result->output);
	}
	fflush(stdout);
	return code;
}

static int test_all(const struct apply *a, struct error *err)
{
	for (size_t i = 0; i < a->plan->target_count; i++)
		if (hook(a, &a->plan->targets[i], "test", err) < 0)
			return -1;
	return 0;
}

/* Reloads all services that run. The first failure is reported, and the others are reloaded nevertheless. */
static int reload_all(const struct apply *a, struct error *err)
{
	int result = 0;
	for (size_t i = 0; i < a->plan->target_count; i++) {
		struct error why;
		if (!a->running[i] || hook(a, &a->plan->targets[i], "reload", &why) == 0)
			continue;
		*err = why;
		result = -1;
	}
	return result;
}

/* A service that cannot be told to run or not counts as running, as everywhere. */
static void ask_running(struct apply *a)
{
	for (size_t i = 0; i < a->plan->target_count; i++) {
		const struct plan_target *t = &a->plan->targets[i];
		struct error err;
		int running = hook(a, t, "running", &err);
		if (running < 0)
			printf("%s: %s: taken as running\n", t->service->name, err.message);
		if (running == 0)
			printf("%s is stopped: neither reloaded nor looked at\n", t->service->name);
		a->running[i] = running != 0;
	}
}

/* ---- the steps ---- */

/* Control-C, or a terminal that is gone, is a step that fails: what was begun is undone. */
static volatile sig_atomic_t stopped;

static void on_stop(int number)
{
	stopped = number;
}

static void catch_stops(void)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	const struct sigaction action = {.sa_handler = on_stop, .sa_flags = SA_RESTART};
	for (size_t i = 0; i < COUNT(numbers); i++)
		sigaction(numbers[i], &action, NULL);
}

static int check_stopped(struct error *err)
{
	return stopped ? error_set(err, ERROR_RETRY, "told to end (%s)", strsignal(stopped)) : 0;
}

static int begin(struct apply *a, struct error *err)
{
	const struct plan *p = a->plan;
	if (adopt_journal_begin(a->journal, &p->edit, clock_wall(), err) < 0)
		return -1;
	for (size_t i = 0; i < p->target_count; i++)
		adopt_journal_service(
			a->journal, p->targets[i].certificate->certificate->name, p->targets[i].service->name);
	if (adopt_journal_write(a->journal, err) < 0)
		return -1;
	return adopt_journal_backup(a->journal, &p->edit, err);
}

/* Tests and probes took their time since the file was read, so it is compared once more. */
static int check_unchanged(const struct edit_file *f, int directory, const char *name, struct error *err)
{
	auto_buf struct buf now = BUF_INIT(EDIT_FILE_MAX);
	if (fs_read(directory, name, false, &now, err) < 0)
		return -1;
	if (now.len == f->before.len && (now.len == 0 || memcmp(now.data, f->before.data, now.len) == 0))
		return 0;
	return error_set(err, ERROR_RETRY, "%s was changed meanwhile: run this again", f->path);
}

static int write_files(const struct apply *a, struct error *err)
{
	for (size_t i = 0; i < a->plan->edit.count; i++) {
		const struct edit_file *f = &a->plan->edit.files[i];
		const char *name;
		auto_close int directory = fs_open_parent(f->path, &name, err);
		if (directory < 0 || check_unchanged(f, directory, name, err) < 0 || check_stopped(err) < 0 ||
			fs_write(directory, name, f->after.data, f->after.len, f->owner, err) < 0)
			return -1;
	}
	return 0;
}

static int check_config(const struct apply *a, struct error *err)
{
	auto_buf struct buf faults = BUF_INIT(64 * 1024);
	struct agent_config *again = a->plan->config_changes ? agent_config_load(a->config->path, &faults) : NULL;
	agent_config_free(again);
	if (a->plan->config_changes && !again)
		return error_set(err, ERROR_USAGE, "%s", buf_text(&faults));
	return 0;
}

static int change(struct apply *a, struct error *err)
{
	if (begin(a, err) < 0 || write_files(a, err) < 0 || check_config(a, err) < 0 || test_all(a, err) < 0 ||
		check_stopped(err) < 0)
		return -1;
	a->reloaded = true;
	if (reload_all(a, err) < 0 || check_stopped(err) < 0 ||
		sight_changed(a->config, a->plan, &a->before, &a->after, err) < 0)
		return -1;
	return check_stopped(err);
}

/* ---- undoing ---- */

static void start_ended(const struct apply *a, bool *started)
{
	for (size_t i = 0; i < a->plan->target_count; i++) {
		const struct revival *r = &a->revivals[i];
		auto_free char *command = revival_text(r);
		struct error err;
		if (!a->running[i] || started[i] || revival_runs(r))
			continue;
		started[i] = true;
		if (revival_start(r, &err) < 0)
			printf("%s has ended and cannot be started: %s: %s\n", r->service, command, err.message);
		else
			printf("%s has ended: started again: %s\n", r->service, command);
	}
}

/* A service may end a while after it was told to reload. So this looks until every port serves what it did, and starts
 * each service that has ended once. Returns how many are down in the end. */
static size_t bring_back(const struct apply *a)
{
	struct error err;
	size_t down = 0;
	auto_free bool *started = mem_array(a->plan->target_count + 1, sizeof(bool));
	int64_t deadline = clock_monotonic_ms() + 2 * a->config->probe_timeout * 1000;
	int as_before;
	while ((as_before = sight_unchanged(a->config, &a->before, &err)) < 0 && clock_monotonic_ms() < deadline) {
		start_ended(a, started);
		poll(NULL, 0, PAUSE_MS);
	}
	if (as_before < 0)
		printf("not everything is served as before: %s\n", err.message);
	for (size_t i = 0; i < a->plan->target_count; i++)
		down += a->running[i] && !revival_runs(&a->revivals[i]);
	return down;
}

/* This is the last that is printed, since nothing else matters as much. */
static void tell_down(const struct apply *a)
{
	for (size_t i = 0; i < a->plan->target_count; i++) {
		auto_free char *command = revival_text(&a->revivals[i]);
		if (a->running[i] && !revival_runs(&a->revivals[i]))
			cli_fail(CLI_FAILED, "%s is DOWN: it ran before, and does not now: %s", a->revivals[i].service,
				command);
	}
}

/* Returns how many services that ran before are down. */
static size_t undo(struct apply *a)
{
	struct error err;
	int result = a->journal->state ? adopt_journal_put_back(a->journal, &err) : 0;
	if (result < 0)
		printf("not everything is as it was: %s\n", err.message);
	if (a->reloaded && reload_all(a, &err) < 0)
		printf("with the old files, too: %s\n", err.message);
	size_t down = a->reloaded ? bring_back(a) : 0;
	if (result >= 0 && adopt_journal_end(a->journal, &err) < 0)
		printf("%s\n", err.message);
	printf(result == 0           ? "all files are as they were\n"
			: result > 0 ? "the other files are as they were; compare what was left with its backup\n"
				     : "");
	return down;
}

static void on_answer(const cJSON *answer, void *context)
{
	struct error *err = context;
	if (json_text(answer, "error")[0])
		error_set(err, ERROR_RETRY, "%s", json_text(answer, "error"));
}

static void have_looked(const char *socket_path)
{
	struct error refused = {0}, err;
	auto_json cJSON *request = cJSON_CreateObject();
	cJSON_AddStringToObject(request, "command", "look");
	int result = ask(socket_path, request, NULL, on_answer, &refused, &err);
	if (result != CLI_DONE)
		printf("certsync-agent was not told that its services have changed, and finds it by itself within "
		       "probe_interval: %s\n",
			result < 0 ? err.message : refused.message);
}

/* From now on the agent's root half writes the copies, and what was found wrong with the services may be over. Returns a
 * cli_exit. */
static int tell_agent(const struct agent_config *config, bool config_changes)
{
	int result = CLI_DONE;
	auto_free char *socket_path = mem_printf("%s/control.sock", config->run);
	auto_close int process = running_root_half(config->path);
	if (process < 0 && config_changes)
		printf("%s: certsync-agent-root does not run here: it reads it when it starts\n", config->path);
	if (process < 0)
		return result;
	if (config_changes) {
		printf("%s: certsync-agent-root reads it again\n", config->path);
		fflush(stdout);
		result = reload_process(socket_path, process);
	}
	have_looked(socket_path);
	return result;
}

static void print_backups(const struct adopt_journal *j)
{
	const cJSON *file;
	cJSON_ArrayForEach (file, json_get(j->state, "files"))
		printf("%s: as it was in %s\n", json_text(file, "path"), json_text(file, "backup"));
}

static void prepare_revivals(struct apply *a)
{
	auto_listening struct listening now;
	found_listening(a->found, &now);
	for (size_t i = 0; i < a->plan->target_count; i++)
		for (size_t k = 0; k < a->found->count; k++)
			if (strcmp(a->found->services[k].name, a->plan->targets[i].service->name) == 0)
				revival_prepare(&a->found->services[k], &now, &a->revivals[i]);
}

static int apply(struct apply *a)
{
	struct error err;
	if (test_all(a, &err) < 0)
		return cli_fail(CLI_FAILED, "nothing was changed: the configuration as it is now fails already: %s",
			err.message);
	ask_running(a);
	prepare_revivals(a);
	if (sight_first(a->config, a->plan, a->found, a->running, &a->before, &err) < 0)
		return cli_fail(CLI_FAILED, "nothing was changed: %s", err.message);
	if (change(a, &err) < 0) {
		printf("undone: %s\n", err.message);
		size_t down = undo(a);
		fflush(stdout);
		cli_fail(CLI_FAILED, "%s", err.message);
		if (down)
			tell_down(a);
		return CLI_FAILED;
	}
	print_backups(a->journal);
	if (adopt_journal_end(a->journal, &err) < 0)
		return cli_fail(CLI_FAILED, "%s", err.message);
	/* Until then the agent waits. */
	adopt_journal_close(a->journal);
	int told = tell_agent(a->config, a->plan->config_changes);
	table_print(a->plan, &a->before, &a->after);
	return told;
}

int adopt_apply(
	const struct agent_config *config, const struct plan *plan, struct found *found, struct adopt_journal *j)
{
	struct apply *a = mem_alloc(sizeof(*a));
	a->config = config;
	a->plan = plan;
	a->found = found;
	a->journal = j;
	a->running = mem_array(plan->target_count + 1, sizeof(bool));
	a->revivals = mem_array(plan->target_count + 1, sizeof(struct revival));
	catch_stops();
	int result = apply(a);
	for (size_t i = 0; i < plan->target_count; i++)
		revival_release(&a->revivals[i]);
	sight_release(&a->before);
	sight_release(&a->after);
	free(a->revivals);
	free(a->running);
	free(a);
	return result;
}

/* ---- after an interruption ---- */

static const struct agent_service *service_of(const struct agent_config *config, const cJSON *o)
{
	const struct agent_certificate *c = agent_config_certificate(config, json_text(o, "certificate"));
	for (size_t i = 0; c && i < c->service_count; i++)
		if (strcmp(c->services[i].name, json_text(o, "service")) == 0)
			return &c->services[i];
	return NULL;
}

static void reload_one(const struct agent_config *config, const cJSON *o)
{
	struct error err;
	struct plan_certificate c = {.certificate = agent_config_certificate(config, json_text(o, "certificate"))};
	const struct plan_target target = {.certificate = &c, .service = service_of(config, o)};
	const struct apply a = {.config = config};
	if (!target.service)
		return;
	c.directory = mem_printf("%s/live/%s", config->directory, c.certificate->name);
	if (hook(&a, &target, "running", &err) != 0 && hook(&a, &target, "reload", &err) == 0)
		printf("%s: reloaded\n", target.service->name);
	free(c.directory);
}

int adopt_recover(const struct agent_config *config, struct adopt_journal *j)
{
	struct error err;
	const cJSON *o;
	printf("an adopt that began at %s was interrupted: what it has changed is put back\n",
		json_text(j->state, "at"));
	if (adopt_journal_put_back(j, &err) < 0)
		return cli_fail(CLI_FAILED, "%s", err.message);
	cJSON_ArrayForEach (o, json_get(j->state, "services"))
		reload_one(config, o);
	return adopt_journal_end(j, &err) < 0 ? cli_fail(CLI_FAILED, "%s", err.message) : CLI_DONE;
}
