#include "agent/cli/services/find.h"
#include "agent/cli/services/tokens.h"
#include "lib/core/mem.h"
#include "lib/core/owned.h"
#include "lib/core/tool.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ADDRESSES_MAX = 16, NESTED_MAX = 32, ARGUMENTS_MAX = 16, HOST_ALL = 0, SERVER = 0 };

enum engine { ENGINE_UNSET, ENGINE_ON, ENGINE_OFF };

/* A virtual host, or the server itself, which comes first and from which all take. */
struct host {
	int group;
	enum engine engine;
	bool presents; /* names a certificate or a key */
	char *addresses[ADDRESSES_MAX];
	size_t address_count;
};

/* The lines between <Macro NAME $a …> and </Macro>, in a file that stays in memory. */
struct macro {
	char *name;
	char *parameters[ARGUMENTS_MAX];
	size_t parameter_count;
	const char *path, *text; /* borrowed from a source */
	size_t start, end;
};

/* A file that was read. */
struct source {
	char *path, *text;
	size_t len;
};

struct scan {
	struct found_service *service;
	const char *modules;
	char *base; /* ServerRoot, owned */
	struct buf variables;
	struct host *hosts;
	size_t host_count, current;
	struct macro *macros;
	size_t macro_count;
	struct source **sources;
	size_t source_count;
	char **listens; /* of Listen */
	size_t listen_count;
	/* of what is read now */
	const char *path, *text;
	const struct macro *macro; /* the one that is used, with what stands for its parameters; NULL: none */
	char **arguments;
	int nested;
};

static int scan_range(struct scan *s, size_t from, size_t to, struct error *err);

/* ---- variables and parameters ---- */

/* Returns what stands for a name in lines of NAME=value, the last one counting, or NULL. */
static char *variable(struct scan *s, const char *name, size_t len)
{
	char *result = NULL;
	const char *text = buf_text(&s->variables);
	for (const char *at = text; *at; at += strcspn(at, "\n"), at += *at == '\n') {
		if (strncmp(at, name, len) != 0 || at[len] != '=')
			continue;
		free(result);
		result = mem_strndup(at + len + 1, strcspn(at + len + 1, "\n"));
	}
	return result;
}

/* Returns `text` with a replacement of len bytes at `at`, and frees it. */
static char *put_at(char *text, size_t at, size_t len, const char *instead)
{
	char *result = mem_printf("%.*s%s%s", (int)at, text, instead, text + at + len);
	free(text);
	return result;
}

/* Of several parameters that begin alike the longest counts. */
static char *with_arguments(const struct scan *s, char *text)
{
	for (size_t at = 0; s->macro && text[at]; at++) {
		size_t best = 0, len = 0;
		for (size_t i = 0; i < s->macro->parameter_count; i++) {
			size_t n = strlen(s->macro->parameters[i]);
			if (n > len && strncmp(text + at, s->macro->parameters[i], n) == 0) {
				best = i;
				len = n;
			}
		}
		if (!len)
			continue;
		text = put_at(text, at, len, s->arguments[best]);
		at += strlen(s->arguments[best]);
		at -= at > 0;
	}
	return text;
}

/* Returns what a word means: with the parameters of a macro and the variables put in. What is not known stays. */
static char *meaning(struct scan *s, const char *word)
{
	char *text = with_arguments(s, mem_strdup(word));
	for (int rounds = 0; rounds < NESTED_MAX; rounds++) {
		const char *at = strstr(text, "${");
		size_t len = at ? strcspn(at + 2, "}") : 0;
		auto_free char *value = at && at[2 + len] ? variable(s, at + 2, len) : NULL;
		if (!value)
			break;
		text = put_at(text, (size_t)(at - text), len + 3, value);
	}
	return text;
}

/* ---- certificates ---- */

static struct host *host(struct scan *s)
{
	return &s->hosts[s->current];
}

static void add_host(struct scan *s)
{
	s->hosts = mem_grow(s->hosts, s->host_count + 1, sizeof(*s->hosts));
	s->hosts[s->host_count] = (struct host){.group = ++s->service->groups};
	s->current = s->host_count++;
}

static void file_named(struct scan *s, const struct words *words, enum found_role role)
{
	const struct word *name = &words->list[0], *value = &words->list[1];
	bool rest = role == FOUND_REST;
	int line = line_number(s->text, name->start);
	auto_free char *means = meaning(s, value->text);
	host(s)->presents = true;
	if (strchr(means, '$')) {
		found_note(s->service, "%s:%d: %s %s: only Apache knows which file that is", s->path, line, name->text,
			means);
		return;
	}
	auto_free char *path = path_below(s->base, means);
	auto_free char *comment = mem_printf("#%.*s", (int)(value->end - name->start), s->text + name->start);
	const struct found_use use = {.role = role,
		.file = (char *)(uintptr_t)s->path,
		.start = rest ? name->start : value->start,
		.end = value->end,
		.line = line,
		.setting = name->text,
		.path = rest ? (char *)(uintptr_t) "" : path,
		.instead = rest ? comment : (char *)(uintptr_t) "@",
		.content = "combined",
		.group = host(s)->group};
	found_use(s->service, &use, false);
}

/* ---- files ---- */

static struct source *source_of(struct scan *s, const char *path, struct error *err)
{
	for (size_t i = 0; i < s->source_count; i++)
		if (strcmp(s->sources[i]->path, path) == 0)
			return s->sources[i];
	auto_buf struct buf text = BUF_INIT(FIND_FILE_MAX);
	if (find_read(path, &text, err) < 0)
		return NULL;
	if (s->source_count == FIND_FILES_MAX) {
		error_set(err, ERROR_PERMANENT, "%s: more than %d files", path, FIND_FILES_MAX);
		return NULL;
	}
	struct source *source = mem_alloc(sizeof(*source));
	*source = (struct source){mem_strdup(path), mem_strdup(buf_text(&text)), text.len};
	s->sources = mem_grow(s->sources, s->source_count + 1, sizeof(struct source *));
	return s->sources[s->source_count++] = source;
}

static int scan_file(struct scan *s, const char *path, struct error *err)
{
	const struct source *source = source_of(s, path, err);
	if (!source)
		return -1;
	const char *outer_path = s->path, *outer_text = s->text;
	if (++s->nested > NESTED_MAX)
		return error_set(err, ERROR_PERMANENT, "%s: includes that go on for ever", path);
	s->path = source->path;
	s->text = source->text;
	int result = scan_range(s, 0, source->len, err);
	s->path = outer_path;
	s->text = outer_text;
	s->nested--;
	return result;
}

/* Of a directory everything is read, those below it too. */
static int include(struct scan *s, const char *pattern, struct error *err)
{
	auto_free char *absolute = path_below(s->base, pattern);
	glob_t found;
	struct stat st;
	int result = 0;
	if (s->nested > NESTED_MAX)
		return error_set(err, ERROR_PERMANENT, "%s: includes that go on for ever", absolute);
	int code = glob(absolute, 0, NULL, &found);
	for (size_t i = 0; code == 0 && result == 0 && i < found.gl_pathc; i++) {
		const char *path = found.gl_pathv[i];
		bool directory = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
		auto_free char *all = mem_printf("%s/*", path);
		s->nested += directory;
		result = directory ? include(s, all, err) : scan_file(s, path, err);
		s->nested -= directory;
	}
	if (code == 0)
		globfree(&found);
	return result;
}

/* ---- macros ---- */

static void define_macro(struct scan *s, const struct words *words, size_t start, size_t end)
{
	struct macro m = {.path = s->path, .text = s->text, .start = start, .end = end};
	for (size_t i = 1; i < words->count; i++) {
		char *word = mem_strndup(words->list[i].text, strcspn(words->list[i].text, ">"));
		if (i == 1)
			m.name = word;
		else if (*word && m.parameter_count < ARGUMENTS_MAX)
			m.parameters[m.parameter_count++] = word;
		else
			free(word);
	}
	if (!m.name)
		m.name = mem_strdup("");
	s->macros = mem_grow(s->macros, s->macro_count + 1, sizeof(*s->macros));
	s->macros[s->macro_count++] = m;
}

static int use_macro(struct scan *s, const struct words *words, struct error *err)
{
	auto_free char *name = meaning(s, words_at(words, 1));
	char *arguments[ARGUMENTS_MAX] = {NULL};
	size_t count = 0;
	for (size_t i = s->macro_count; i-- > 0;) {
		/* The list may grow and move while this one is read. */
		const struct macro macro = s->macros[i];
		if (strcasecmp(macro.name, name) != 0)
			continue;
		for (; count < macro.parameter_count; count++)
			arguments[count] = meaning(s, words_at(words, count + 2));
		const struct scan outer = *s;
		if (++s->nested > NESTED_MAX)
			return error_set(err, ERROR_PERMANENT, "%s: macros that go on for ever", s->path);
		s->macro = &macro;
		s->arguments = arguments;
		s->path = macro.path;
		s->text = macro.text;
		int result = scan_range(s, macro.start, macro.end, err);
		s->macro = outer.macro;
		s->arguments = outer.arguments;
		s->path = outer.path;
		s->text = outer.text;
		s->nested--;
		for (size_t k = 0; k < count; k++)
			free(arguments[k]);
		return result;
	}
	found_note(s->service, "%s: Use %s: no such macro is found", s->path, name);
	return 0;
}

/* ---- lines ---- */

static bool has_module(const struct scan *s, const char *name)
{
	/* "mod_ssl.c" and "ssl_module" are the same. */
	const char *bare = strncmp(name, "mod_", 4) == 0 ? name + 4 : name;
	size_t len = strcspn(bare, ".");
	auto_free char *wanted =
		strstr(name, "_module") ? mem_printf(" %s", name) : mem_printf(" %.*s_module", (int)len, bare);
	return s->modules[0] == '\0' || strstr(s->modules, wanted);
}

static bool is_there(const struct scan *s, const char *path)
{
	auto_free char *absolute = path_below(s->base, path);
	return access(absolute, F_OK) == 0;
}

/* Returns whether what stands in this section counts. */
static bool counts(struct scan *s, const char *section, const char *condition)
{
	bool not = condition[0] == '!';
	auto_free char *word = mem_strndup(condition + not, strcspn(condition + not, ">"));
	auto_free char *means = meaning(s, word);
	auto_free char *defined = variable(s, means, strlen(means));
	if (strcasecmp(section, "<IfModule") == 0)
		return has_module(s, means) != not ;
	if (strcasecmp(section, "<IfDefine") == 0)
		return (defined != NULL) != not ;
	if (strcasecmp(section, "<IfFile") == 0)
		return is_there(s, means) != not ;
	return true;
}

static void enter_host(struct scan *s, const struct words *words)
{
	add_host(s);
	for (size_t i = 1; i < words->count && host(s)->address_count < ADDRESSES_MAX; i++) {
		auto_free char *word = mem_strndup(words->list[i].text, strcspn(words->list[i].text, ">"));
		if (*word)
			host(s)->addresses[host(s)->address_count++] = meaning(s, word);
	}
}

static void keep_listen(struct scan *s, const char *word)
{
	s->listens = mem_grow(s->listens, s->listen_count + 1, sizeof(char *));
	s->listens[s->listen_count++] = meaning(s, word);
}

static int directive(struct scan *s, const struct words *words, struct error *err)
{
	const char *name = words_at(words, 0);
	if (words->count < 2)
		return 0;
	auto_free char *value = meaning(s, words_at(words, 1));
	if (strcasecmp(name, "Include") == 0 || strcasecmp(name, "IncludeOptional") == 0)
		return include(s, value, err);
	if (strcasecmp(name, "Use") == 0)
		return use_macro(s, words, err);
	if (strcasecmp(name, "ServerRoot") == 0) {
		free(s->base);
		s->base = steal(value);
	} else if (strcasecmp(name, "Define") == 0) {
		auto_free char *means = meaning(s, words_at(words, 2));
		buf_addf(&s->variables, "%s=%s\n", value, means);
	} else if (strcasecmp(name, "Listen") == 0) {
		keep_listen(s, words_at(words, 1));
	} else if (strcasecmp(name, "ServerName") == 0 || strcasecmp(name, "ServerAlias") == 0) {
		for (size_t i = 1; i < words->count; i++) {
			auto_free char *alias = meaning(s, words_at(words, i));
			alias[strcspn(alias, ":")] = '\0';
			found_name(s->service, alias);
		}
	} else if (strcasecmp(name, "SSLEngine") == 0) {
		host(s)->engine = strcasecmp(value, "on") == 0 ? ENGINE_ON : ENGINE_OFF;
	} else if (strcasecmp(name, "SSLCertificateFile") == 0) {
		file_named(s, words, FOUND_CERTIFICATE);
	} else if (strcasecmp(name, "SSLCertificateKeyFile") == 0) {
		file_named(s, words, FOUND_KEY);
	} else if (strcasecmp(name, "SSLCertificateChainFile") == 0) {
		file_named(s, words, FOUND_REST);
	}
	return 0;
}

static void line_words(const struct scan *s, const struct line *line, struct words *ret)
{
	words_split(s->text, line->start, line->end, WORDS_APACHE, ret);
}

/* Goes behind the line that ends a section which begins at *line, and returns where that line begins, or 0. */
static size_t skip_section(const struct scan *s, size_t to, const char *name, struct line *line)
{
	auto_free char *end = mem_printf("</%s>", name + 1);
	for (int depth = 1; line_next(s->text, to, LINE_BACKSLASH, line);) {
		auto_words struct words words = {0};
		line_words(s, line, &words);
		depth += strcasecmp(words_at(&words, 0), name) == 0;
		depth -= strcasecmp(words_at(&words, 0), end) == 0;
		if (depth == 0)
			return line->start;
	}
	return 0;
}

static bool is_conditional(const char *name)
{
	return strncasecmp(name, "<If", 3) == 0 && name[3] && strcasecmp(name, "<If>") != 0;
}

static int scan_range(struct scan *s, size_t from, size_t to, struct error *err)
{
	struct line line = {.start = from, .end = from ? from - 1 : 0, .number = from ? 1 : 0};
	size_t outer = s->current;
	int began = 0;
	while (line_next(s->text, to, LINE_BACKSLASH, &line)) {
		auto_words struct words words = {0};
		const struct line first = line;
		line_words(s, &line, &words);
		const char *name = words_at(&words, 0);
		size_t end = 1;
		if (name[0] == '#' || !name[0])
			continue;
		if (strcasecmp(name, "<Macro") == 0) {
			end = skip_section(s, to, name, &line);
			define_macro(s, &words, first.end + 1, end);
		} else if (is_conditional(name) && !counts(s, name, words_at(&words, 1))) {
			end = skip_section(s, to, name, &line);
		} else if (strcasecmp(name, "<VirtualHost") == 0) {
			began = line_number(s->text, first.start);
			enter_host(s, &words);
		} else if (strcasecmp(name, "</VirtualHost>") == 0) {
			s->current = outer;
			began = 0;
		} else if (directive(s, &words, err) < 0) {
			return -1;
		}
		if (end == 0)
			return error_set(err, ERROR_PERMANENT, "%s:%d: %s does not end", s->path,
				line_number(s->text, first.start), name);
	}
	if (began)
		return error_set(err, ERROR_PERMANENT, "%s:%d: <VirtualHost does not end in this file", s->path, began);
	return 0;
}

/* ---- in the end ---- */

/* A virtual host takes SSLEngine from the server where it does not say it, and its certificates and keys come behind
 * those of the server, pair by pair. */
static void settle(struct scan *s)
{
	const struct host *server = &s->hosts[SERVER];
	for (size_t i = 0; i < s->host_count; i++) {
		struct host *h = &s->hosts[i];
		bool ssl = h->engine == ENGINE_ON || (h->engine == ENGINE_UNSET && server->engine == ENGINE_ON);
		if (i != SERVER && server->presents && (ssl || h->presents))
			found_join(s->service, server->group, h->group);
		for (size_t k = 0; ssl && i != SERVER && k < h->address_count; k++)
			if (!found_listen(s->service, h->addresses[k], NULL, false))
				found_note(s->service, "<VirtualHost %s>: which ports that is cannot be told",
					h->addresses[k]);
		for (size_t k = 0; ssl && i == SERVER && k < s->listen_count; k++)
			found_listen(s->service, s->listens[k], NULL, false);
	}
}

static void scan_release(struct scan *s)
{
	for (size_t i = 0; i < s->host_count; i++)
		for (size_t k = 0; k < s->hosts[i].address_count; k++)
			free(s->hosts[i].addresses[k]);
	for (size_t i = 0; i < s->macro_count; i++) {
		free(s->macros[i].name);
		for (size_t k = 0; k < s->macros[i].parameter_count; k++)
			free(s->macros[i].parameters[k]);
	}
	for (size_t i = 0; i < s->source_count; i++) {
		free(s->sources[i]->path);
		free(s->sources[i]->text);
		free(s->sources[i]);
	}
	for (size_t i = 0; i < s->listen_count; i++)
		free(s->listens[i]);
	free(s->hosts);
	free(s->macros);
	free(s->sources);
	free(s->listens);
	free(s->base);
	buf_release(&s->variables);
}

int apache_scan(struct found_service *service, const struct apache_facts *facts, const char *base, const char *path,
	struct error *err)
{
	struct scan s = {.service = service,
		.modules = facts->modules,
		.base = mem_strdup(base),
		.variables = BUF_INIT(TOOL_OUTPUT_MAX)};
	buf_addf(&s.variables, "%s", facts->variables);
	add_host(&s);
	int result = scan_file(&s, path, err);
	if (result == 0)
		settle(&s);
	scan_release(&s);
	return result;
}

/* ---- by its tools ---- */

/* apache2ctl runs this shell script where it exists, so only root may be able to change it. */
static const char envvars[] = "/etc/apache2/envvars";

static int check_script(struct error *err)
{
	static const char *const paths[] = {"/etc/apache2", envvars};
	for (size_t i = 0; i < COUNT(paths); i++)
		if (access(paths[i], F_OK) == 0 && owned_check(paths[i], NULL, err) < 0)
			return -1;
	return 0;
}

/* A line is like "  (*) /etc/apache2/apache2.conf" for the main file. */
static char *main_file(const char *dump)
{
	static const char mark[] = "(*) /";
	const char *at = strstr(dump, mark);
	at = at ? at + strlen(mark) - 1 : NULL;
	return at ? mem_strndup(at, strcspn(at, "\n")) : NULL;
}

/* Appends what the shell and the command line have defined, as NAME=value. "Define: NAME" has no value. */
static int read_variables(struct buf *out, struct error *err)
{
	static const char script[] = "set -a; . \"$1\"; env";
	static const char *const run[] = {"apache2ctl", "-t", "-D", "DUMP_RUN_CFG", NULL};
	const char *const shell[] = {"sh", "-c", script, "sh", envvars, NULL};
	auto_buf struct buf dump = BUF_INIT(TOOL_OUTPUT_MAX);
	struct line line = {0};
	static const char mark[] = "Define: ";
	if (access(envvars, F_OK) == 0 && tool_run(shell, out, err) < 0)
		return -1;
	if (tool_run(run, &dump, err) < 0)
		return -1;
	const char *text = buf_text(&dump);
	while (line_next(text, dump.len, LINE_SINGLE, &line)) {
		auto_free char *one = mem_strndup(text + line.start, line.end - line.start);
		if (strncmp(one, mark, strlen(mark)) == 0)
			buf_addf(out, strchr(one, '=') ? "%s\n" : "%s=\n", one + strlen(mark));
	}
	return 0;
}

int find_apache(struct found_service *s, struct error *err)
{
	static const char *const includes[] = {"apache2ctl", "-t", "-D", "DUMP_INCLUDES", NULL};
	static const char *const modules[] = {"apache2ctl", "-t", "-D", "DUMP_MODULES", NULL};
	auto_buf struct buf dump = BUF_INIT(TOOL_OUTPUT_MAX), loaded = BUF_INIT(TOOL_OUTPUT_MAX);
	auto_buf struct buf variables = BUF_INIT(TOOL_OUTPUT_MAX);
	s->program = mem_strdup("apache2");
	if (check_script(err) < 0 || tool_run(includes, &dump, err) < 0 || tool_run(modules, &loaded, err) < 0 ||
		read_variables(&variables, err) < 0)
		return -1;
	auto_free char *path = main_file(buf_text(&dump));
	if (!path)
		return error_set(err, ERROR_PERMANENT, "apache2ctl -t -D DUMP_INCLUDES names no file");
	auto_free char *base = path_parent(path);
	const struct apache_facts facts = {buf_text(&loaded), buf_text(&variables)};
	return apache_scan(s, &facts, base, path, err);
}
