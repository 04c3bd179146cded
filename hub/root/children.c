#include "hub/root/children.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"
#include "lib/core/pass.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* hub.conf names a child's user. A word of the command line that is "" becomes the path of hub.conf. */
static const struct row {
	const char *name, *program, *words[3];
	size_t user; /* where struct hub_config has its name */
	int (*pair)(int ret_pair[2], struct error *err);
} rows[HUB_CHILDREN] = {
	[HUB_CHILD_KEYS] = {"keys", "certsync-keys", {NULL}, offsetof(struct hub_config, keys_user), pass_pair},
	[HUB_CHILD_WORKER] = {"worker", "certsync-worker", {NULL}, offsetof(struct hub_config, worker_user), pass_pair},
	[HUB_CHILD_DAEMON] = {"daemon", "certsync", {"hub", "-c", ""}, offsetof(struct hub_config, user), pass_pair},
};

void children_init(struct children *c, const char *config_path, supervisor_frame *daemon, supervisor_frame *keys)
{
	*c = (struct children){.operators = -1, .hold_daemon = true};
	for (size_t i = 0; i < HUB_CHILDREN; i++) {
		c->argv[i][0] = c->paths[i] = mem_printf("%s/%s", fs_program_directory(), rows[i].program);
		for (size_t w = 0; w < COUNT(rows[i].words) && rows[i].words[w]; w++)
			c->argv[i][w + 1] = *rows[i].words[w] ? rows[i].words[w] : config_path;
		c->child[i].name = rows[i].name;
		c->child[i].argv = c->argv[i];
		c->child[i].pair = rows[i].pair;
		c->child[i].beats = i == HUB_CHILD_DAEMON;
		c->child[i].frame = i == HUB_CHILD_DAEMON ? daemon : i == HUB_CHILD_KEYS ? keys : NULL;
		c->child[i].allowed = 1u << FRAME_RECORD | (i == HUB_CHILD_KEYS ? 1u << FRAME_FILES : 0);
		supervisor_init(&c->child[i]);
	}
}

void children_release(struct children *c)
{
	for (size_t i = 0; i < HUB_CHILDREN; i++) {
		supervisor_release(&c->child[i]);
		free(c->paths[i]);
	}
	free(c->keys_directory);
	if (c->operators >= 0)
		close(c->operators);
}

int children_configure(struct children *c, const struct hub_config *config, struct error *err)
{
	struct proc_user users[HUB_CHILDREN] = {0};
	if (!c->keys_directory) {
		c->keys_directory = mem_printf("%s-keys", config->state);
		c->argv[HUB_CHILD_KEYS][1] = c->keys_directory;
		c->child[HUB_CHILD_KEYS].listen = &c->operators;
	}
	if (geteuid() != 0)
		return 0;
	for (size_t i = 0; i < HUB_CHILDREN; i++) {
		char *const *name = (char *const *)(const void *)((const char *)config + rows[i].user);
		if (proc_user_find(*name, &users[i], err) < 0)
			return -1;
	}
	for (size_t i = 0; i < HUB_CHILDREN; i++) {
		c->child[i].user = users[i];
		c->child[i].has_user = true;
	}
	return 0;
}

/* Gives the daemon the ends of sockets that it has not got yet. */
static void give_ends(struct children *c)
{
	struct error err;
	struct supervisor *daemon = children_daemon(c);
	for (size_t i = 0; i < HUB_CHILDREN && daemon->link >= 0; i++) {
		struct supervisor *child = &c->child[i];
		if (child == daemon || child->link < 0)
			continue;
		if (child_end_send(daemon->link, (enum hub_child)i, child->link, &err) < 0) {
			supervisor_kill(daemon, err.message);
			return;
		}
		close(steal_fd(&child->link));
	}
}

static bool is_held(const struct children *c, size_t child)
{
	return child == HUB_CHILD_DAEMON && c->hold_daemon && !c->child[child].pid;
}

bool children_tick(struct children *c, int64_t now)
{
	bool daemon = false;
	for (size_t i = 0; i < HUB_CHILDREN; i++)
		if ((!c->stopping || c->child[i].pid) && !is_held(c, i) && supervisor_tick(&c->child[i], now))
			daemon |= i == HUB_CHILD_DAEMON;
	give_ends(c);
	return daemon;
}

int64_t children_due(const struct children *c)
{
	int64_t due = INT64_MAX;
	for (size_t i = 0; i < HUB_CHILDREN; i++) {
		int64_t its =
			(c->stopping && !c->child[i].pid) || is_held(c, i) ? INT64_MAX : supervisor_due(&c->child[i]);
		due = its < due ? its : due;
	}
	return due;
}

/* Stops all children but the daemon; without `all`, only those to which the daemon had an end. */
static void stop_others(struct children *c, bool all, int64_t now)
{
	for (size_t i = 0; i < HUB_CHILDREN; i++)
		if (i != HUB_CHILD_DAEMON && (all || c->child[i].link < 0))
			supervisor_stop(&c->child[i], now);
}

void children_reap(struct children *c, int64_t now)
{
	for (size_t i = 0; i < HUB_CHILDREN; i++)
		if (supervisor_reap(&c->child[i], now) && i == HUB_CHILD_DAEMON)
			stop_others(c, c->stopping, now);
}

void children_stop(struct children *c, int64_t now)
{
	c->stopping = true;
	if (children_daemon(c)->pid)
		supervisor_stop(children_daemon(c), now);
	else
		stop_others(c, true, now);
}

bool children_run(const struct children *c)
{
	for (size_t i = 0; i < HUB_CHILDREN; i++)
		if (c->child[i].pid)
			return true;
	return false;
}
