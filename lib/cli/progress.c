#include "lib/cli/progress.h"
#include "lib/core/mem.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PROGRESS_TICK_MS = 1000 };

/* The line is drawn by a thread of its own, whatever the command is waiting in. */
struct progress {
	char what[128];
	pthread_t thread;
	pthread_mutex_t lock; /* of what is on the terminal */
	int drawn;            /* how many columns of it */
	int end[2];           /* a pipe: closed when the wait is over */
};

static void say(const char *text)
{
	ssize_t ignored = write(STDERR_FILENO, text, strlen(text));
	(void)ignored;
}

static void draw(struct progress *p, unsigned seconds)
{
	char line[192];
	int len = snprintf(line, sizeof(line), "\r%s, %u s", p->what, seconds);
	pthread_mutex_lock(&p->lock);
	say(line);
	p->drawn = len - 1;
	pthread_mutex_unlock(&p->lock);
}

void progress_clear(struct progress *p)
{
	char line[192];
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	if (p->drawn) {
		snprintf(line, sizeof(line), "\r%*s\r", p->drawn, "");
		say(line);
	}
	p->drawn = 0;
	pthread_mutex_unlock(&p->lock);
}

static void *run(void *context)
{
	struct progress *p = context;
	struct pollfd end = {.fd = p->end[0], .events = POLLIN};
	for (unsigned seconds = 1; poll(&end, 1, PROGRESS_TICK_MS) == 0; seconds++)
		draw(p, seconds);
	return NULL;
}

static bool can_draw(void)
{
	const char *term = getenv("TERM");
	return isatty(STDERR_FILENO) && term && *term && strcmp(term, "dumb") != 0;
}

/* The thread takes no signal, since those are meant for what the command waits in. */
static bool start(struct progress *p)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	bool started = pthread_create(&p->thread, NULL, run, p) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return started;
}

struct progress *progress_new(const char *fmt, ...)
{
	if (!can_draw())
		return NULL;
	struct progress *p = mem_alloc(sizeof(*p));
	va_list args;
	va_start(args, fmt);
	vsnprintf(p->what, sizeof(p->what), fmt, args);
	va_end(args);
	pthread_mutex_init(&p->lock, NULL);
	if (pipe2(p->end, O_CLOEXEC) < 0) {
		free(p);
		return NULL;
	}
	if (start(p))
		return p;
	close(p->end[0]);
	close(p->end[1]);
	free(p);
	return NULL;
}

void progress_free(struct progress *p)
{
	if (!p)
		return;
	close(p->end[1]);
	pthread_join(p->thread, NULL);
	progress_clear(p);
	close(p->end[0]);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

void progress_cleanup(struct progress **p)
{
	progress_free(*p);
}
