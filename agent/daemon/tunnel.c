#include "agent/daemon/tunnel.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"
#include "lib/core/proc.h"

#include <errno.h>
#include <event2/util.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct tunnel {
	pid_t pid; /* 0: reaped */
	int status;
	int text_fd; /* -1: ended */
	struct event *child, *readable;
	char line[1024]; /* being read */
	size_t len;
	char reason[1024]; /* the last whole line */
	tunnel_ended *ended;
	void *context;
};

static void take_line(struct tunnel *t)
{
	t->line[t->len] = '\0';
	text_clean(t->line, 0);
	if (t->len)
		memcpy(t->reason, t->line, t->len + 1);
	t->len = 0;
}

static void take_text(struct tunnel *t, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\n' || t->len == sizeof(t->line) - 1)
			take_line(t);
		if (text[i] != '\n')
			t->line[t->len++] = text[i];
	}
}

/* A tunnel is over when the child is reaped and all that it wrote is read. */
static void end_if_over(struct tunnel *t)
{
	if (t->pid || t->text_fd >= 0)
		return;
	take_line(t);
	if (!t->reason[0])
		snprintf(t->reason, sizeof(t->reason), "certsync-link %s", proc_status_text(t->status));
	t->ended(WIFEXITED(t->status) ? WEXITSTATUS(t->status) : -1, t->reason, t->context);
}

static void on_text(evutil_socket_t fd, short what, void *context)
{
	(void)what;
	struct tunnel *t = context;
	char text[1024];
	ssize_t got = read((int)fd, text, sizeof(text));
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got > 0) {
		take_text(t, text, (size_t)got);
		return;
	}
	event_del(t->readable);
	close(t->text_fd);
	t->text_fd = -1;
	end_if_over(t);
}

static void on_child(evutil_socket_t number, short what, void *context)
{
	(void)number;
	(void)what;
	struct tunnel *t = context;
	if (!t->pid || waitpid(t->pid, &t->status, WNOHANG) != t->pid)
		return;
	t->pid = 0;
	end_if_over(t);
}

static pid_t spawn(
	const struct agent_config *config, const struct agent_hub *hub, int stream, int text, struct error *err)
{
	char port[8];
	auto_free char *program = mem_printf("%s/certsync-link", fs_program_directory());
	auto_free char *key = mem_printf("%s/id_ed25519", config->state);
	auto_free char *pins = mem_printf("%s/pins/host_keys", config->directory);
	snprintf(port, sizeof(port), "%u", hub->port);
	const char *argv[] = {
		program, "--user", hub->user, "--host", hub->host, "--port", port, "--key", key, "--pins", pins, NULL};
	const struct proc_spec spec = {.argv = argv,
		.in = stream,
		.out = -1,
		.err = text,
		.extra = -1,
		.die_with_parent = true,
		.powerless = true};
	return proc_spawn(&spec, err);
}

struct tunnel *tunnel_start(struct event_base *base, const struct agent_config *config, const struct agent_hub *hub,
	tunnel_ended *ended, void *context, int *ret_fd, struct error *err)
{
	int pair[2], text[2];
	if (proc_socketpair(pair, err) < 0)
		return NULL;
	auto_close int ours = pair[0];
	auto_close int theirs = pair[1];
	if (pipe2(text, O_CLOEXEC) < 0) {
		error_errno(err, "cannot make a pipe");
		return NULL;
	}
	auto_close int read_end = text[0];
	auto_close int write_end = text[1];
	struct tunnel *t = mem_alloc(sizeof(*t));
	t->child = evsignal_new(base, SIGCHLD, on_child, t);
	t->readable = event_new(base, read_end, EV_READ | EV_PERSIST, on_text, t);
	if (!t->child || !t->readable || event_add(t->child, NULL) < 0 || event_add(t->readable, NULL) < 0)
		mem_abort(__func__);
	evutil_make_socket_nonblocking(read_end);
	t->text_fd = -1;
	t->pid = spawn(config, hub, theirs, write_end, err);
	if (t->pid < 0) {
		t->pid = 0;
		tunnel_free(t);
		return NULL;
	}
	t->text_fd = steal_fd(&read_end);
	t->ended = ended;
	t->context = context;
	*ret_fd = steal_fd(&ours);
	return t;
}

void tunnel_free(struct tunnel *t)
{
	if (!t)
		return;
	event_free(t->child);
	event_free(t->readable);
	if (t->text_fd >= 0)
		close(t->text_fd);
	if (t->pid) {
		/* The child holds nothing that must be saved, and it cannot refuse this, so the wait is short. */
		kill(t->pid, SIGKILL);
		while (waitpid(t->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	free(t);
}
