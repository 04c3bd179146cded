#include "lib/cli/doctor.h"
#include "lib/core/buf.h"
#include "lib/wire/json.h"
#include "lib/core/mem.h"
#include "lib/cli/progress.h"
#include "lib/core/tool.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COMMANDS_MAX = 4, WORDS_MAX = 32, TOOL_SAID_MAX = 256 * 1024 };

const struct cli_option doctor_options[] = {
	{"--apply", NULL, "mend what can be mended, and say what was done; needs root"},
	{"--json", NULL, "print one JSON object instead of lines"},
	{NULL, NULL, NULL},
};

static const char *const state_names[] = {"ok", "warning", "wrong", "cannot tell"};

/* ---- findings ---- */

void doctor_findings_release(struct doctor_findings *f)
{
	for (size_t i = 0; i < f->count; i++) {
		struct doctor_finding *finding = &f->list[i];
		if (finding->what && finding->release)
			finding->release(finding->what);
		free(finding->text);
		free(finding->remedy);
		free(finding->next);
	}
	free(f->list);
	*f = (struct doctor_findings){0};
}

__attribute__((format(printf, 1, 0))) static char *format(const char *fmt, va_list args)
{
	char *text = NULL;
	if (vasprintf(&text, fmt, args) < 0)
		mem_abort(__func__);
	text_clean(text, 1);
	return text;
}

struct doctor_finding *doctor_add(struct doctor_findings *f, enum doctor_state state, const char *fmt, ...)
{
	va_list args;
	f->list = mem_grow(f->list, f->count + 1, sizeof(*f->list));
	struct doctor_finding *finding = &f->list[f->count++];
	va_start(args, fmt);
	*finding = (struct doctor_finding){.state = state, .text = format(fmt, args)};
	va_end(args);
	return finding;
}

struct doctor_finding *doctor_remedy(struct doctor_finding *finding, const char *fmt, ...)
{
	va_list args;
	free(finding->remedy);
	va_start(args, fmt);
	finding->remedy = format(fmt, args);
	va_end(args);
	return finding;
}

void doctor_mends(struct doctor_finding *finding, doctor_mend *mend, void *what, void (*release)(void *what))
{
	finding->mend = mend;
	finding->what = what;
	finding->release = release;
}

/* ---- commands ---- */

struct commands {
	char *words[COMMANDS_MAX][WORDS_MAX];
	size_t count;
};

static void commands_release(void *what)
{
	struct commands *c = what;
	for (size_t i = 0; i < c->count; i++)
		for (size_t k = 0; c->words[i][k]; k++)
			free(c->words[i][k]);
	free(c);
}

static int commands_run(void *what, struct error *err)
{
	struct commands *c = what;
	for (size_t i = 0; i < c->count; i++) {
		auto_buf struct buf said = BUF_INIT(TOOL_SAID_MAX);
		if (tool_run((const char *const *)c->words[i], &said, err) < 0)
			return -1;
	}
	return 0;
}

/* Writes a word as a shell takes it. */
static void add_word(struct buf *line, const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=,@+%";
	bool quote = !*word || word[strspn(word, plain)];
	buf_addf(line, quote ? "%s'%s'" : "%s%s", line->len ? " " : "", word);
}

struct doctor_finding *doctor_command(struct doctor_finding *finding, const char *const *argv)
{
	auto_buf struct buf line = BUF_INIT(ERROR_MESSAGE_MAX);
	if (!finding->what)
		doctor_mends(finding, commands_run, mem_alloc(sizeof(struct commands)), commands_release);
	struct commands *c = finding->what;
	if (c->count == COMMANDS_MAX)
		return finding;
	for (size_t i = 0; argv[i] && i + 1 < WORDS_MAX; i++) {
		c->words[c->count][i] = mem_strdup(argv[i]);
		add_word(&line, argv[i]);
	}
	c->count++;
	auto_free char *before = steal(finding->remedy);
	return doctor_remedy(finding, "%s%s%s", before ? before : "", before ? " && " : "", buf_text(&line));
}

/* ---- showing ---- */

struct doctor_report {
	bool apply;
	cJSON *json; /* owned; NULL: lines */
	int wrong, failed;
};

static void print_more(const char *label, const char *text)
{
	printf("             %s", label);
	for (; *text; text++) {
		if (*text == '\n' && !text[1])
			break;
		putchar(*text);
		if (*text == '\n')
			printf("             ");
	}
	putchar('\n');
}

static void print_finding(const char *check, const struct doctor_finding *finding, const char *result)
{
	printf("%-11s  %s: %s\n", state_names[finding->state], check, finding->text);
	if (finding->remedy)
		print_more("to do: ", finding->remedy);
	if (result)
		print_more("", result);
	fflush(stdout);
}

static void add_json(cJSON *list, const char *check, const struct doctor_finding *finding, const char *result)
{
	cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "check", check);
	cJSON_AddStringToObject(o, "state", state_names[finding->state]);
	cJSON_AddStringToObject(o, "text", finding->text);
	if (finding->remedy)
		cJSON_AddStringToObject(o, "remedy", finding->remedy);
	cJSON_AddBoolToObject(o, "can_apply", finding->mend != NULL);
	if (result)
		cJSON_AddStringToObject(o, "result", result);
	cJSON_AddItemToArray(list, o);
}

static void tell(struct doctor_report *r, const char *check, const struct doctor_finding *finding, const char *result)
{
	if (r->json)
		add_json(cJSON_GetObjectItemCaseSensitive(r->json, "findings"), check, finding, result);
	else
		print_finding(check, finding, result);
}

/* ---- running ---- */

/* Mends a finding and returns what became of it, for a person; the caller frees the text. */
static char *mend(struct doctor_report *r, const struct doctor_finding *finding)
{
	struct error err;
	if (finding->mend(finding->what, &err) == 0)
		return mem_printf("done%s%s", finding->next ? "; now: " : "", finding->next ? finding->next : "");
	r->failed++;
	return mem_printf("failed: %s", err.message);
}

/* A service of several certificates is told once. */
static bool is_told(const struct doctor_findings *f, size_t at)
{
	for (size_t i = 0; i < at; i++)
		if (strcmp(f->list[i].text, f->list[at].text) == 0)
			return true;
	return false;
}

/* Returns whether anything was mended, so that the check has to look again. */
static bool tell_all(struct doctor_report *r, const char *check, const struct doctor_findings *f, bool apply)
{
	bool mended = false;
	for (size_t i = 0; i < f->count; i++) {
		const struct doctor_finding *finding = &f->list[i];
		int before = r->failed;
		if (is_told(f, i))
			continue;
		auto_free char *result = apply && finding->mend ? mend(r, finding) : NULL;
		tell(r, check, finding, result);
		mended = mended || (result && r->failed == before);
	}
	return mended;
}

static void count_wrong(struct doctor_report *r, const struct doctor_findings *f)
{
	for (size_t i = 0; i < f->count; i++)
		r->wrong += f->list[i].state == DOCTOR_WRONG;
}

static void look(const struct doctor_check *check, struct doctor_findings *f, struct doctor_site *site)
{
	auto_progress struct progress *progress = progress_new("looking at %s", check->name);
	if (check->prepare)
		check->prepare(f, site);
	else if (site->config)
		check->look(f, site->config);
}

static void run_check(struct doctor_report *r, const struct doctor_check *check, struct doctor_site *site)
{
	auto_findings struct doctor_findings first = {0};
	auto_findings struct doctor_findings second = {0};
	look(check, &first, site);
	if (!tell_all(r, check->name, &first, r->apply)) {
		count_wrong(r, &first);
		return;
	}
	look(check, &second, site);
	tell_all(r, check->name, &second, false);
	count_wrong(r, &second);
}

static void print_json(const struct doctor_report *r)
{
	cJSON_AddNumberToObject(r->json, "wrong", r->wrong);
	cJSON_AddNumberToObject(r->json, "failed", r->failed);
	char *text = cJSON_Print(r->json);
	printf("%s\n", text ? text : "{}");
	cJSON_free(text);
}

int doctor_run(const struct cli_line *line, const struct doctor_check *checks, struct doctor_site *site)
{
	auto_json cJSON *json = cli_has(line, "--json") ? cJSON_CreateObject() : NULL;
	struct doctor_report r = {.apply = cli_has(line, "--apply"), .json = json};
	if (r.apply && geteuid() != 0)
		return cli_fail(CLI_USAGE, "--apply needs root: it changes owners, modes and configuration");
	if (json)
		cJSON_AddArrayToObject(json, "findings");
	for (const struct doctor_check *check = checks; check->name; check++)
		run_check(&r, check, site);
	if (json)
		print_json(&r);
	return r.failed ? CLI_FAILED : r.wrong ? CLI_UNCONVERGED : CLI_DONE;
}
