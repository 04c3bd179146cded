#include "lib/cli/complete.h"
#include "lib/core/mem.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

/* What is known of the words before the last one. */
struct typed {
	const struct cli_command *commands, *command;
	const char *const *words;
	int count; /* without the last */
	const char *last;
	const char *config;              /* -c FILE, or the program's default */
	const struct cli_option *option; /* it waits for its value */
	int plain;                       /* plain arguments so far */
	bool only_plain;                 /* behind -- */
	complete_ask *ask;
	char **offered; /* owned: nothing is offered twice */
	size_t offered_count;
};

static void offer(struct typed *t, const char *word, size_t len, const char *help)
{
	if (strncmp(word, t->last, strlen(t->last)) != 0 || len < strlen(t->last))
		return;
	auto_free char *text = mem_strndup(word, len);
	for (size_t i = 0; i < t->offered_count; i++)
		if (strcmp(t->offered[i], text) == 0)
			return;
	printf("%s\t%s\n", text, help);
	t->offered = mem_grow(t->offered, t->offered_count + 1, sizeof(char *));
	t->offered[t->offered_count++] = steal(text);
}

/* ---- names ---- */

struct names {
	struct typed *typed;
	const char *key; /* "certificate" or "agent" */
};

static void on_answer(const cJSON *answer, void *context)
{
	const struct names *n = context;
	const char *name = json_text(answer, n->key);
	if (name[0])
		offer(n->typed, name, strlen(name), n->key);
}

static void on_alarm(int signal)
{
	(void)signal;
	_exit(CLI_DONE);
}

static void offer_names(struct typed *t, const char *key)
{
	static const struct itimerval wait = {.it_value = {.tv_usec = COMPLETE_WAIT_MS * 1000}};
	struct names names = {.typed = t, .key = key};
	struct cli_line line = {.config = t->config};
	cJSON *request = cJSON_CreateObject();
	cJSON_AddStringToObject(request, "command", "status");
	fflush(stdout);
	signal(SIGALRM, on_alarm);
	setitimer(ITIMER_REAL, &wait, NULL);
	t->ask(&line, request, on_answer, &names);
}

/* Offers what a placeholder stands for. `whose` is the option or the command that has it. Returns false when nothing
 * can be offered. */
static bool offer_placeholder(struct typed *t, const char *placeholder, size_t len, const char *whose)
{
	auto_free char *what = mem_strndup(placeholder, len);
	bool is_agent = strcmp(what, "AGENT") == 0 ||
		(strcmp(what, "NAME") == 0 && (strncmp(whose, "agent ", 6) == 0 || strcmp(whose, "--agent") == 0));
	if (strcmp(what, "FILE") == 0)
		puts(":files");
	else if (strcmp(what, "DIRECTORY") == 0)
		puts(":directories");
	else if (is_agent)
		offer_names(t, "agent");
	else if (strcmp(what, "CERTIFICATE") == 0 || strcmp(what, "HOST") == 0 || strcmp(what, "WHAT") == 0)
		offer_names(t, "certificate");
	else
		return false;
	return true;
}

/* ---- reading the words ---- */

static void read_word(struct typed *t, const char *word)
{
	/* bash hands over --agent=mail as three words. */
	if (t->option && strcmp(word, "=") == 0)
		return;
	if (t->option) {
		if (strcmp(t->option->name, "-c") == 0)
			t->config = word;
		t->option = NULL;
	} else if (!t->only_plain && strcmp(word, "--") == 0) {
		t->only_plain = true;
	} else if (!t->only_plain && word[0] == '-' && word[1]) {
		const struct cli_option *option = cli_find_option(t->command, word, strlen(word));
		t->option = option && option->value ? option : NULL;
	} else {
		t->plain++;
	}
}

/* ---- offering ---- */

static void offer_options(struct typed *t)
{
	for (const struct cli_option *o = t->command->options; o && o->name; o++)
		offer(t, o->name, strlen(o->name), o->help);
	offer(t, "-c", strlen("-c"), "read this configuration");
	offer(t, "--help", strlen("--help"), "what this command does, and its options");
}

/* Returns the nth of the command's placeholders, or NULL; the last one may repeat ("…"). */
static const char *nth_placeholder(const char *arguments, int nth, size_t *ret_len)
{
	const char *at = arguments + strspn(arguments, "[");
	while (*at) {
		size_t word = strcspn(at, " ");
		*ret_len = strspn(at, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
		bool repeats = memmem(at, word, "…", strlen("…")) != NULL;
		if (nth-- == 0 || (repeats && !at[word]))
			return at;
		at += word;
		at += strspn(at, " [");
	}
	return NULL;
}

static void offer_argument(struct typed *t)
{
	size_t len = 0;
	const char *placeholder = nth_placeholder(t->command->arguments, t->plain, &len);
	bool offered = placeholder && offer_placeholder(t, placeholder, len, t->command->name);
	if (!offered && !t->only_plain)
		offer_options(t);
}

/* Offers the next word of each command that begins with the words so far. */
static void offer_commands(struct typed *t)
{
	for (const struct cli_command *c = t->commands; c->name; c++) {
		const char *rest = c->name;
		int i = 0;
		for (; i < t->count && rest; i++) {
			size_t len = strcspn(rest, " ");
			bool same = strlen(t->words[i]) == len && strncmp(t->words[i], rest, len) == 0;
			rest = same && rest[len] ? rest + len + 1 : NULL;
		}
		if (rest && !c->hidden)
			offer(t, rest, strcspn(rest, " "), strchr(rest, ' ') ? "" : c->help);
	}
	if (t->count == 0 && t->last[0] == '-') {
		offer(t, "--help", strlen("--help"), "all commands");
		offer(t, "--version", strlen("--version"), "which version this is");
	}
}

static void offer_rest(struct typed *t)
{
	if (t->option && strcmp(t->last, "=") == 0)
		t->last = "";
	if (t->option)
		offer_placeholder(t, t->option->value, strlen(t->option->value), t->option->name);
	else if (!t->only_plain && t->last[0] == '-')
		offer_options(t);
	else
		offer_argument(t);
}

int complete(const struct cli_line *line, const struct cli_command *commands, complete_ask *daemon)
{
	struct typed t = {.commands = commands,
		.words = line->plain,
		.count = line->plain_count - 1,
		.last = "",
		.config = line->config,
		.ask = daemon};
	int words;
	if (t.count >= 0)
		t.last = line->plain[t.count];
	else
		t.count = 0;
	t.command = cli_find_command(commands, t.count, t.words, &words);
	offer_commands(&t);
	if (t.command && !t.command->hidden) {
		for (int i = words; i < t.count; i++)
			read_word(&t, t.words[i]);
		offer_rest(&t);
	}
	for (size_t i = 0; i < t.offered_count; i++)
		free(t.offered[i]);
	free(t.offered);
	return CLI_DONE;
}
