#include "agent/cli/adopt/revive.h"
#include "agent/cli/services/tokens.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"
#include "lib/core/proc.h"
#include "lib/core/tool.h"
#include "lib/service/process.h"
#include "lib/service/unit.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WORDS_MAX = 64 * 1024, CGROUP_MAX = 4096 };

/* These write their words over, or are started by a program of theirs. nginx keeps its words behind this title. */
static const struct starter {
	const char *service, *words[3], *title;
} starters[] = {
	{"apache2", {"apache2ctl", "start"}, NULL},
	{"postfix", {"postfix", "start"}, NULL},
	{"nginx", {"nginx"}, "nginx: master process "},
};

void revival_release(struct revival *r)
{
	for (size_t i = 0; r->words && r->words[i]; i++)
		free(r->words[i]);
	free(r->words);
	free(r->program);
	if (r->seen)
		close(r->process);
	*r = (struct revival){0};
}

static void add_word(struct revival *r, const char *word)
{
	size_t count = 0;
	while (r->words && r->words[count])
		count++;
	r->words = mem_grow(r->words, count + 2, sizeof(*r->words));
	r->words[count] = mem_strdup(word);
	r->words[count + 1] = NULL;
}

/* Returns the name of the unit whose main process is of this program, or NULL. */
static char *unit_of(int process, const char *program)
{
	auto_buf struct buf cgroup = BUF_INIT(CGROUP_MAX);
	auto_unit struct unit unit = UNIT_INIT;
	struct error ignored;
	struct process main;
	if (process_unit(process, &cgroup) != PROCESS_YES || unit_read(buf_text(&cgroup), &unit, &ignored) < 0 ||
		unit.main_pid == 0)
		return NULL;
	auto_close int fd = process_open(unit.main_pid);
	if (fd < 0 || process_read(fd, unit.main_pid, program, &main) != PROCESS_YES)
		return NULL;
	return mem_strdup(strrchr(buf_text(&cgroup), '/') + 1);
}

/* Of what nginx was started with, only where its configuration is counts: quotes are gone from the rest. */
static void take_title(struct revival *r, const char *title, const char *text)
{
	auto_words struct words words = {0};
	if (strncmp(text, title, strlen(title)) != 0)
		return;
	text += strlen(title);
	words_split(text, 0, strlen(text), WORDS_PLAIN, &words);
	for (size_t i = 0; i + 1 < words.count; i++)
		if (strcmp(words.list[i].text, "-c") == 0 || strcmp(words.list[i].text, "-p") == 0) {
			add_word(r, words.list[i].text);
			add_word(r, words.list[i + 1].text);
		}
}

static void take_words(struct revival *r, const struct buf *words)
{
	const char *text = buf_text((struct buf *)(uintptr_t)words), *end = text + words->len;
	for (const char *at = text; at < end; at += strlen(at) + 1)
		add_word(r, at);
}

static const struct starter *starter_of(const char *service)
{
	for (size_t i = 0; i < COUNT(starters); i++)
		if (strcmp(starters[i].service, service) == 0)
			return &starters[i];
	return NULL;
}

static void from_process(struct revival *r, int process, pid_t pid)
{
	const struct starter *starter = starter_of(r->service);
	auto_buf struct buf words = BUF_INIT(WORDS_MAX);
	struct process p;
	for (size_t i = 0; starter && starter->words[i]; i++)
		add_word(r, starter->words[i]);
	if (process < 0 || (starter && !starter->title) || process_read(process, pid, r->program, &p) != PROCESS_YES ||
		!p.trusted || process_is_here(process, &p) != PROCESS_YES ||
		process_words(process, &words) != PROCESS_YES)
		return;
	if (starter)
		take_title(r, starter->title, buf_text(&words));
	else
		take_words(r, &words);
}

void revival_prepare(const struct found_service *s, const struct listening *l, struct revival *ret)
{
	pid_t pid = 0;
	*ret = (struct revival){
		.service = s->name, .program = mem_strdup(s->program ? s->program : ""), .user = s->user};
	for (size_t i = 0; i < l->count && pid == 0; i++)
		if (l->list[i].believed && strcmp(l->list[i].program, ret->program) == 0)
			pid = l->list[i].pid;
	int process = pid ? process_open(pid) : -1;
	ret->seen = process >= 0;
	ret->process = process;
	ret->pid = pid;
	auto_free char *unit = process >= 0 ? unit_of(process, ret->program) : NULL;
	if (unit) {
		add_word(ret, "systemctl");
		add_word(ret, "start");
		add_word(ret, unit);
	} else {
		from_process(ret, process, pid);
	}
}

bool revival_runs(const struct revival *r)
{
	struct process p;
	auto_listening struct listening now;
	/* One that closes its ports for a moment is not started a second time, nor one that opens them as somebody
	 * else since it has given up root's rights. */
	if (!r->seen || process_read(r->process, r->pid, r->program, &p) == PROCESS_YES)
		return true;
	listening_read(&now);
	(void)listening_believe(&now, r->program, r->user);
	for (size_t i = 0; i < now.count; i++)
		if (now.list[i].believed && strcmp(now.list[i].program, r->program) == 0)
			return true;
	return false;
}

int revival_start(const struct revival *r, struct error *err)
{
	if (!r->words)
		return error_set(err, ERROR_PERMANENT, "how it was started is not known");
	auto_free char *program = r->words[0][0] == '/' ? mem_strdup(r->words[0]) : tool_find(r->words[0]);
	if (!program)
		return error_set(err, ERROR_PERMANENT, "%s is not installed", r->words[0]);
	size_t count = 0;
	while (r->words[count])
		count++;
	auto_free const char **argv = mem_array(count + 1, sizeof(*argv));
	for (size_t i = 0; i < count; i++)
		argv[i] = r->words[i];
	argv[0] = program;
	const struct proc_spec spec = {.argv = argv, .in = -1, .out = -1, .err = -1, .extra = -1, .group = true};
	return proc_spawn(&spec, err) < 0 ? -1 : 0;
}

char *revival_text(const struct revival *r)
{
	char *text = r->words ? mem_strdup(r->words[0]) : mem_printf("start %s", r->service);
	for (size_t i = 1; r->words && r->words[i]; i++) {
		char *longer = mem_printf(strchr(r->words[i], ' ') ? "%s '%s'" : "%s %s", text, r->words[i]);
		free(text);
		text = longer;
	}
	return text;
}
