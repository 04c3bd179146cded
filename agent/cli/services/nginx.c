#include "agent/cli/services/find.h"
#include "agent/cli/services/tokens.h"
#include "lib/core/mem.h"
#include "lib/core/tool.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 32, INCLUDES_MAX = 32 };

/* A block, with the certificates and keys that stand in it, included files among them. */
struct scope {
	int group;
	size_t certificates, keys;
};

/* A block whose certificates have their keys from a block around. */
struct heir {
	int block, around; /* groups */
	size_t certificates;
};

struct scan {
	struct found_service *service;
	struct heir *heirs; /* owned */
	size_t heir_count;
	const char *base; /* where relative paths begin */
	const char *path, *text;
	const struct words *words;
	struct scope scopes[DEPTH_MAX];
	int depth;
	int includes;
	size_t files;
};

static int scan_file(struct scan *s, const char *path, struct error *err);

static struct scope *here(struct scan *s)
{
	struct scope *scope = &s->scopes[s->depth];
	if (scope->group == 0)
		scope->group = ++s->service->groups;
	return scope;
}

static void certificate(struct scan *s, size_t i, enum found_role role)
{
	const struct word *word = &s->words->list[i + 1];
	int line = line_number(s->text, word->start);
	struct scope *scope = here(s);
	if (role == FOUND_KEY)
		scope->keys++;
	else
		scope->certificates++;
	if (strchr(word->text, '$') || strncmp(word->text, "data:", 5) == 0 || strncmp(word->text, "engine:", 7) == 0) {
		found_note(s->service, "%s:%d: %s %s: only nginx knows which file that is", s->path, line,
			words_at(s->words, i), word->text);
		return;
	}
	auto_free char *path = path_below(s->base, word->text);
	const struct found_use use = {.role = role,
		.file = (char *)(uintptr_t)s->path,
		.start = word->start,
		.end = word->end,
		.line = line,
		.setting = s->words->list[i].text,
		.path = path,
		.instead = (char *)(uintptr_t) "@",
		.content = "combined",
		.group = scope->group};
	found_use(s->service, &use, false);
}

static bool has_word(const struct scan *s, size_t from, size_t to, const char *word)
{
	for (size_t i = from; i < to; i++)
		if (strcmp(s->words->list[i].text, word) == 0)
			return true;
	return false;
}

static int include(struct scan *s, const char *pattern, struct error *err)
{
	auto_free char *absolute = path_below(s->base, pattern);
	glob_t found;
	int result = 0;
	if (++s->includes > INCLUDES_MAX)
		return error_set(err, ERROR_PERMANENT, "%s: includes that go on for ever", s->path);
	int code = glob(absolute, 0, NULL, &found);
	for (size_t i = 0; code == 0 && result == 0 && i < found.gl_pathc; i++)
		result = scan_file(s, found.gl_pathv[i], err);
	if (code == 0)
		globfree(&found);
	s->includes--;
	return result;
}

/* Takes one directive, whose words are [i…end). */
static int directive(struct scan *s, size_t i, size_t end, struct error *err)
{
	const char *name = words_at(s->words, i);
	if (end - i < 2)
		return 0;
	if (strcmp(name, "include") == 0)
		return include(s, words_at(s->words, i + 1), err);
	if (strcmp(name, "ssl_certificate") == 0)
		certificate(s, i, FOUND_CERTIFICATE);
	else if (strcmp(name, "ssl_certificate_key") == 0)
		certificate(s, i, FOUND_KEY);
	else if (strcmp(name, "listen") == 0 && has_word(s, i + 2, end, "ssl"))
		found_listen(s->service, words_at(s->words, i + 1), NULL, has_word(s, i + 2, end, "proxy_protocol"));
	else if (strcmp(name, "server_name") == 0)
		for (size_t k = i + 1; k < end; k++)
			found_name(s->service, words_at(s->words, k));
	return 0;
}

/* ---- what a block takes from around it ---- */

/* Returns the nth use of this role in a group, or NULL. */
static struct found_use *nth_use(const struct scan *s, int group, enum found_role role, size_t nth)
{
	for (size_t i = 0; i < s->service->use_count; i++) {
		struct found_use *u = &s->service->uses[i];
		if (u->group == group && u->role == role && nth-- == 0)
			return u;
	}
	return NULL;
}

/* Certificates whose keys are those of a block around get keys of their own beside them: ours when they are changed,
 * those when only the block around is. */
static void give_keys(struct scan *s, const struct heir *heir)
{
	for (size_t n = 0; n < heir->certificates; n++) {
		struct found_use *c = nth_use(s, heir->block, FOUND_CERTIFICATE, n);
		const struct found_use *key = nth_use(s, heir->around, FOUND_KEY, n);
		if (!c || !key)
			continue;
		auto_free char *pin = mem_printf(";\n\t\tssl_certificate_key \"%s\"", key->path);
		found_pin(s->service,
			&(struct found_pin){
				.group = heir->block, .on = heir->around, .file = c->file, .at = c->end, .text = pin});
		free(c->instead);
		c->instead = mem_strdup("@;\n\t\tssl_certificate_key @");
	}
}

/* Each of the two lists is inherited as a whole by a block that has none. */
static void end_block(struct scan *s)
{
	const struct scope *block = &s->scopes[s->depth], *around = NULL;
	for (int depth = s->depth - 1; depth >= 0 && !around; depth--)
		if (s->scopes[depth].keys || s->scopes[depth].certificates)
			around = &s->scopes[depth];
	if (around && block->certificates && !block->keys && around->keys) {
		s->heirs = mem_grow(s->heirs, s->heir_count + 1, sizeof(*s->heirs));
		s->heirs[s->heir_count++] = (struct heir){block->group, around->group, block->certificates};
	} else if (around && block->keys && !block->certificates && around->certificates) {
		found_join(s->service, around->group, block->group);
	}
	s->depth--;
}

/* ---- files ---- */

static int scan_words(struct scan *s, struct error *err)
{
	size_t begin = 0;
	int depth = s->depth;
	size_t begun[DEPTH_MAX] = {0};
	for (size_t i = 0; i < s->words->count; i++) {
		const struct word *w = &s->words->list[i];
		char c = w->end - w->start == 1 ? w->text[0] : '\0';
		if (c != ';' && c != '{' && c != '}')
			continue;
		if (c == ';' && directive(s, begin, i, err) < 0)
			return -1;
		if (c == '{') {
			if (s->depth + 1 == DEPTH_MAX)
				return error_set(
					err, ERROR_PERMANENT, "%s: more than %d blocks around", s->path, DEPTH_MAX);
			s->scopes[++s->depth] = (struct scope){0};
			begun[s->depth] = w->start;
		} else if (c == '}' && s->depth > depth) {
			end_block(s);
		}
		begin = i + 1;
	}
	if (s->depth > depth)
		return error_set(err, ERROR_PERMANENT, "%s:%d: a block that begins here does not end", s->path,
			line_number(s->text, begun[s->depth]));
	return 0;
}

static int scan_file(struct scan *s, const char *path, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(FIND_FILE_MAX);
	auto_words struct words words = {0};
	const struct scan outer = *s;
	if (++s->files > FIND_FILES_MAX)
		return error_set(err, ERROR_PERMANENT, "%s: more than %d files", path, FIND_FILES_MAX);
	if (find_read(path, &text, err) < 0)
		return -1;
	words_split(buf_text(&text), 0, text.len, WORDS_NGINX, &words);
	if (words.open)
		return error_set(err, ERROR_PERMANENT, "%s:%d: a quote or a block that begins here does not end", path,
			line_number(buf_text(&text), words.open_at));
	s->path = path;
	s->text = buf_text(&text);
	s->words = &words;
	int result = scan_words(s, err);
	s->path = outer.path;
	s->text = outer.text;
	s->words = outer.words;
	return result;
}

int nginx_scan(struct found_service *service, const char *base, const char *path, struct error *err)
{
	struct scan s = {.service = service, .base = base, .path = path};
	int result = scan_file(&s, path, err);
	for (size_t i = 0; result == 0 && i < s.heir_count; i++)
		give_keys(&s, &s.heirs[i]);
	free(s.heirs);
	return result;
}

/* The first file that `nginx -T` prints is the main one, and its directory is where relative paths begin. */
static int scan_main(struct found_service *s, const char *dump, struct error *err)
{
	static const char heading[] = "# configuration file ";
	const char *at = strstr(dump, heading);
	size_t len = at ? strcspn(at + strlen(heading), "\n") : 0;
	if (len < 2 || at[strlen(heading) + len - 1] != ':')
		return error_set(err, ERROR_PERMANENT, "nginx -T names no file");
	auto_free char *path = mem_strndup(at + strlen(heading), len - 1);
	auto_free char *base = path_parent(path);
	return nginx_scan(s, base, path, err);
}

int find_nginx(struct found_service *s, struct error *err)
{
	static const char *const argv[] = {"nginx", "-T", "-q", NULL};
	auto_buf struct buf dump = BUF_INIT(TOOL_OUTPUT_MAX);
	s->program = mem_strdup("nginx");
	if (tool_run(argv, &dump, err) < 0)
		return -1;
	return scan_main(s, buf_text(&dump), err);
}
