#include "agent/cli/services/find.h"
#include "agent/cli/services/tokens.h"
#include "lib/core/mem.h"
#include "lib/core/tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Those of the servers, and those of tlsproxy(8), which speaks TLS for postscreen(8); by default they are the same. */
enum family { SMTPD, TLSPROXY, FAMILIES };
static const char *const chain_files[FAMILIES] = {"smtpd_tls_chain_files", "tlsproxy_tls_chain_files"};

/* These parameters name the server's certificates, in the order in which Postfix looks at them. */
static const struct parameter {
	const char *name;
	enum found_role role;
	enum family family;
} parameters[] = {
	{"smtpd_tls_chain_files", FOUND_CERTIFICATE, SMTPD},
	{"smtpd_tls_cert_file", FOUND_CERTIFICATE, SMTPD},
	{"smtpd_tls_eccert_file", FOUND_CERTIFICATE, SMTPD},
	{"smtpd_tls_dcert_file", FOUND_CERTIFICATE, SMTPD},
	{"smtpd_tls_key_file", FOUND_KEY, SMTPD},
	{"smtpd_tls_eckey_file", FOUND_KEY, SMTPD},
	{"smtpd_tls_dkey_file", FOUND_KEY, SMTPD},
	{"tlsproxy_tls_chain_files", FOUND_CERTIFICATE, TLSPROXY},
	{"tlsproxy_tls_cert_file", FOUND_CERTIFICATE, TLSPROXY},
	{"tlsproxy_tls_eccert_file", FOUND_CERTIFICATE, TLSPROXY},
	{"tlsproxy_tls_dcert_file", FOUND_CERTIFICATE, TLSPROXY},
	{"tlsproxy_tls_key_file", FOUND_KEY, TLSPROXY},
	{"tlsproxy_tls_eckey_file", FOUND_KEY, TLSPROXY},
	{"tlsproxy_tls_dkey_file", FOUND_KEY, TLSPROXY},
};

struct scan {
	struct found_service *service;
	postfix_value *value;
	void *context;
	const char *path; /* of the file that is read */
	const char *text;
	int group[FAMILIES];
	int main_group[FAMILIES]; /* that of main.cf */
	bool chained[FAMILIES];   /* its chain_files takes the place of the others */
	bool begun[FAMILIES];     /* some line of this group gets it */
};

static const struct parameter *parameter_of(const char *name, size_t len)
{
	for (size_t i = 0; i < COUNT(parameters); i++)
		if (strlen(parameters[i].name) == len && strncmp(parameters[i].name, name, len) == 0)
			return &parameters[i];
	return NULL;
}

static bool is_chain(const struct parameter *p)
{
	return strcmp(p->name, chain_files[p->family]) == 0;
}

static bool is_set(const char *value)
{
	return value && value[strspn(value, " \t\n,")] != '\0' && strcmp(value, "none") != 0;
}

static char *ask(const struct scan *s, const char *name)
{
	char *value = s->value(name, s->context);
	return value ? value : mem_strdup("");
}

static bool is_yes(const struct scan *s, const char *name, const char *yes)
{
	auto_free char *value = ask(s, name);
	return strcmp(value, yes) == 0;
}

static void add(
	struct scan *s, const struct parameter *p, size_t start, size_t end, const char *value, const char *instead)
{
	const struct found_use use = {.role = p->role,
		.file = (char *)(uintptr_t)s->path,
		.start = start,
		.end = end,
		.line = line_number(s->text, start),
		.setting = (char *)(uintptr_t)p->name,
		.path = (char *)(uintptr_t)value,
		.instead = (char *)(uintptr_t)instead,
		.content = "combined-all",
		.group = s->group[p->family]};
	found_use(s->service, &use, true);
}

/* ---- main.cf ---- */

/* A chain_files that is empty gets the new value, since a line before it would not count. */
static void add_empty_chain(struct scan *s, const struct parameter *p, const struct line *line)
{
	const struct parameter rest = {p->name, FOUND_REST, p->family};
	auto_free char *instead = mem_printf("%s = @", p->name);
	add(s, &rest, line->start, line->end, "", instead);
	s->begun[p->family] = true;
}

/* Returns whether a text refers to such a parameter, as in smtp_tls_cert_file = $smtpd_tls_cert_file. */
static bool is_referred_to(const char *text)
{
	static const char *const forms[] = {"$smtpd_tls_", "${smtpd_tls_", "$(smtpd_tls_"};
	for (size_t i = 0; i < COUNT(forms); i++)
		for (const char *at = strstr(text, forms[i]); at; at = strstr(at + 1, forms[i]))
			if (strncmp(at + strlen(forms[i]), "cert", 4) == 0 ||
				strncmp(at + strlen(forms[i]), "key", 3) == 0)
				return true;
	return false;
}

static void main_line(struct scan *s, const struct parameter *p, const struct line *line, size_t value_at)
{
	auto_free char *value = ask(s, p->name);
	bool chained = s->chained[p->family];
	/* What follows the servers' needs no change of its own. */
	if (p->family == TLSPROXY && s->text[value_at] == '$')
		return;
	if (is_chain(p) && !chained) {
		add_empty_chain(s, p, line);
	} else if (is_chain(p) || (!chained && is_set(value) && p->family == SMTPD && is_referred_to(s->text))) {
		add(s, p, value_at, line->end, value,
			"@"); /* what Postfix's client takes from here must not become empty */
	} else if (!chained && is_set(value)) {
		bool first = p->role == FOUND_CERTIFICATE && !s->begun[p->family];
		auto_free char *instead = first ? mem_printf("%s = @\n%s =", chain_files[p->family], p->name)
						: mem_printf("%s =", p->name);
		add(s, p, line->start, line->end, value, instead);
		s->begun[p->family] = s->begun[p->family] || first;
	}
}

/* Returns where the value of "name = value" begins, or 0. */
static size_t assignment(const char *text, const struct line *line, size_t *ret_name_len)
{
	size_t len = strcspn(text + line->start, " \t=\n");
	size_t at = line->start + len;
	at += strspn(text + at, " \t");
	*ret_name_len = len;
	if (at >= line->end || text[at] != '=')
		return 0;
	at++;
	return at + strspn(text + at, " \t");
}

/* Of several lines for one parameter the last one counts. */
static bool is_last(const struct scan *s, size_t len, const struct parameter *p, struct line line)
{
	while (line_next(s->text, len, LINE_BLANK, &line)) {
		size_t name_len;
		if (assignment(s->text, &line, &name_len) && parameter_of(s->text + line.start, name_len) == p)
			return false;
	}
	return true;
}

/* There are two rounds, since the place of an empty chain_files decides about the others. */
static void main_scan(struct scan *s, size_t len)
{
	for (int round = 0; round < 2; round++) {
		struct line line = {0};
		while (line_next(s->text, len, LINE_BLANK, &line)) {
			size_t name_len;
			size_t value_at = assignment(s->text, &line, &name_len);
			const struct parameter *p = parameter_of(s->text + line.start, name_len);
			if (value_at && p && is_chain(p) == (round == 0) && is_last(s, len, p, line))
				main_line(s, p, &line, value_at);
		}
	}
}

/* ---- master.cf ---- */

static bool option_is(const struct words *w, const char *option)
{
	size_t len = strlen(option);
	bool found = false;
	for (size_t i = 8; i < w->count; i++) {
		const char *text = w->list[i].text;
		text += strncmp(text, "-o", 2) == 0 ? 2 : 0;
		size_t name = strcspn(option, "=") + 1;
		if (strncmp(text, option, name) == 0)
			found = strcmp(text, option) == 0 && len > 0;
	}
	return found;
}

static bool has_option(const struct words *w, const char *name)
{
	size_t len = strlen(name);
	for (size_t i = 8; i < w->count; i++) {
		const char *text = w->list[i].text;
		text += strncmp(text, "-o", 2) == 0 ? 2 : 0;
		if (strncmp(text, name, len) == 0 && text[len] == '=')
			return true;
	}
	return false;
}

/* An option of the entry takes precedence over the parameter of main.cf. */
static bool either_is(const struct scan *s, const struct words *w, const char *name, const char *value)
{
	auto_free char *option = mem_printf("%s=%s", name, value);
	return has_option(w, name) ? option_is(w, option) : is_yes(s, name, value);
}

static void entry_port(const struct scan *s, const struct words *w)
{
	bool screen = strcmp(words_at(w, 7), "postscreen") == 0;
	bool wrapped = !screen && either_is(s, w, "smtpd_tls_wrappermode", "yes");
	const char *level = screen ? "postscreen_tls_security_level" : "smtpd_tls_security_level";
	bool none = either_is(s, w, level, "none") || either_is(s, w, level, "");
	if (none && (has_option(w, level) || is_yes(s, "smtpd_use_tls", "no")) && !wrapped)
		return;
	const char *proxy = screen ? "postscreen_upstream_proxy_protocol" : "smtpd_upstream_proxy_protocol";
	if (!found_listen(s->service, words_at(w, 0), wrapped ? "smtps" : "smtp", either_is(s, w, proxy, "haproxy")))
		found_note(s->service, "%s: %s is no port that is known here", s->path, words_at(w, 0));
}

static const char *option_name(const struct word *word)
{
	return word->text + (strncmp(word->text, "-o", 2) == 0 ? 2 : 0);
}

/* An entry with a certificate or key of its own goes on with them, and with what it takes from main.cf besides, when
 * main.cf gets a chain_files, which would outrank both. */
static void pin_entry(struct scan *s, const struct words *w, enum family family)
{
	size_t at = 0; /* of the first such option; never at the beginning of the file */
	if (has_option(w, chain_files[family]) || s->chained[family])
		return;
	for (size_t i = 8; i < w->count && !at; i++) {
		const struct word *word = &w->list[i];
		const char *name = option_name(word);
		const struct parameter *p = parameter_of(name, strcspn(name, "="));
		if (!p || p->family != family)
			continue;
		/* One in braces, which may have blanks in it, begins with them (master(5)). */
		at = strcmp(words_at(w, i - 1), "{") == 0 ? w->list[i - 1].start
							  : word->start + (size_t)(name - word->text);
	}
	if (!at)
		return;
	char *text = mem_printf("%s= -o ", chain_files[family]);
	for (size_t i = 0; i < COUNT(parameters); i++) {
		const struct parameter *p = &parameters[i];
		auto_free char *value = ask(s, p->name);
		if (p->family != family || is_chain(p) || has_option(w, p->name) || !is_set(value) ||
			strpbrk(value, " \t"))
			continue;
		char *longer = mem_printf("%s%s=%s -o ", text, p->name, value);
		free(text);
		text = longer;
	}
	found_pin(s->service,
		&(struct found_pin){.group = s->group[family],
			.on = s->main_group[family],
			.file = (char *)(uintptr_t)s->path,
			.at = at,
			.text = text});
	free(text);
}

static void entry_options(struct scan *s, const struct words *w)
{
	for (int family = 0; family < FAMILIES; family++) {
		s->group[family] = ++s->service->groups;
		s->begun[family] = has_option(w, chain_files[family]);
		pin_entry(s, w, (enum family)family);
	}
	for (size_t i = 8; i < w->count; i++) {
		const struct word *word = &w->list[i];
		const char *name = option_name(word);
		const struct parameter *p = parameter_of(name, strcspn(name, "="));
		if (word->text[0] == '{' || !p || !strchr(name, '=')) {
			if (strncmp(word->text, "{", 1) == 0 && i + 1 < w->count &&
				(strstr(words_at(w, i + 1), "smtpd_tls_") ||
					strstr(words_at(w, i + 1), "tlsproxy_tls_")))
				found_note(
					s->service, "%s: %s: an option in braces is not read", s->path, words_at(w, 0));
			continue;
		}
		auto_free char *key = mem_printf("%s/%s/%s", words_at(w, 0), words_at(w, 1), p->name);
		auto_free char *value = ask(s, key);
		if (!is_set(value))
			continue;
		/* What main.cf's chain_files outranks has no effect. */
		if (!is_chain(p) && s->chained[p->family] && !has_option(w, chain_files[p->family]))
			continue;
		bool first = p->role == FOUND_CERTIFICATE && !is_chain(p) && !s->begun[p->family];
		auto_free char *instead = is_chain(p) ? mem_printf("%s=@", p->name)
			: first                       ? mem_printf("%s=@ -o %s=", chain_files[p->family], p->name)
						      : mem_printf("%s=", p->name);
		add(s, p, word->start + (size_t)(name - word->text), word->end, value, instead);
		s->begun[p->family] = s->begun[p->family] || first;
	}
}

/* Splits an entry into words, without the comments in it. */
static void entry_words(const char *text, const struct line *entry, struct words *ret)
{
	struct line line = {0};
	size_t len = entry->end - entry->start;
	while (line_next(text + entry->start, len, LINE_SINGLE, &line)) {
		size_t from = entry->start + line.start, to = entry->start + line.end;
		from += strspn(text + from, " \t");
		if (text[from] != '#')
			words_split(text, from, to, WORDS_PLAIN, ret);
	}
}

static void master_scan(struct scan *s, size_t len)
{
	struct line line = {0};
	while (line_next(s->text, len, LINE_BLANK, &line)) {
		auto_words struct words words = {0};
		entry_words(s->text, &line, &words);
		const char *program = words_at(&words, 7);
		if (strcmp(words_at(&words, 1), "inet") == 0 &&
			(strcmp(program, "smtpd") == 0 || strcmp(program, "postscreen") == 0))
			entry_port(s, &words);
		entry_options(s, &words);
	}
}

static int scan_file(
	struct scan *s, const char *directory, const char *name, void scan(struct scan *, size_t), struct error *err)
{
	auto_buf struct buf text = BUF_INIT(FIND_FILE_MAX);
	auto_free char *path = mem_printf("%s/%s", directory, name);
	if (find_read(path, &text, err) < 0)
		return -1;
	s->path = path;
	s->text = buf_text(&text);
	scan(s, text.len);
	return 0;
}

int postfix_scan(
	struct found_service *service, const char *directory, postfix_value *value, void *context, struct error *err)
{
	struct scan s = {.service = service, .value = value, .context = context};
	for (int family = 0; family < FAMILIES; family++) {
		auto_free char *chain = ask(&s, chain_files[family]);
		s.group[family] = s.main_group[family] = ++service->groups;
		s.chained[family] = is_set(chain);
	}
	if (scan_file(&s, directory, "main.cf", main_scan, err) < 0)
		return -1;
	return scan_file(&s, directory, "master.cf", master_scan, err);
}

/* ---- tls_server_sni_maps ---- */

int postfix_scan_sni(struct found_service *service, const char *path, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(FIND_FILE_MAX);
	if (find_read(path, &text, err) < 0)
		return -1;
	struct scan s = {.service = service, .path = path, .text = buf_text(&text)};
	static const struct parameter map = {"tls_server_sni_maps", FOUND_CERTIFICATE, SMTPD};
	struct line line = {0};
	while (line_next(s.text, text.len, LINE_BLANK, &line)) {
		auto_words struct words words = {0};
		entry_words(s.text, &line, &words);
		if (words.count < 2)
			continue;
		size_t start = words.list[1].start, end = words.list[words.count - 1].end;
		auto_free char *files = mem_strndup(s.text + start, end - start);
		s.group[SMTPD] = ++service->groups;
		found_name(service, words_at(&words, 0));
		add(&s, &map, start, end, files, "@");
	}
	return 0;
}

static bool is_built(const char *type, size_t len)
{
	static const char *const types[] = {"hash", "btree", "lmdb", "cdb", "dbm", "sdbm"};
	for (size_t i = 0; i < COUNT(types); i++)
		if (strlen(types[i]) == len && strncmp(types[i], type, len) == 0)
			return true;
	return false;
}

static int scan_maps(struct found_service *s, const char *maps, struct error *err)
{
	auto_free char *copy = mem_strdup(maps);
	char *rest = copy;
	const char *map;
	while ((map = strsep(&rest, " \t\n,"))) {
		size_t type = strcspn(map, ":");
		if (is_built(map, type) && map[type + 1] == '/') {
			if (postfix_scan_sni(s, map + type + 1, err) < 0)
				return -1;
		} else if (*map) {
			found_note(s, "tls_server_sni_maps = %s: what it holds is not read", map);
		}
	}
	return 0;
}

/* ---- by its tools ---- */

/* What it says of one instance, a line each: "NAME = VALUE", and "SERVICE/TYPE/NAME = VALUE" for master.cf. */
struct instance {
	struct buf values;
};

static char *value_of(const char *name, void *context)
{
	struct instance *i = context;
	size_t len = strlen(name);
	for (const char *at = buf_text(&i->values); *at; at += strcspn(at, "\n"), at += *at == '\n')
		if (strncmp(at, name, len) == 0 && strncmp(at + len, " =", 2) == 0) {
			const char *value = at + len + 2;
			value += *value == ' ';
			return mem_strndup(value, strcspn(value, "\n"));
		}
	return NULL;
}

static int ask_all(const char *directory, struct instance *i, struct error *err)
{
	const char *const main[] = {"postconf", "-c", directory, "-x", NULL};
	const char *const entries[] = {"postconf", "-c", directory, "-xP", NULL};
	return tool_run(main, &i->values, err) < 0 ? -1 : tool_run(entries, &i->values, err);
}

/* An entry of master.cf may have maps of its own. */
static int scan_all_maps(struct found_service *s, struct instance *i, struct error *err)
{
	static const char name[] = "tls_server_sni_maps = ";
	const char *text = buf_text(&i->values);
	struct line line = {0};
	while (line_next(text, i->values.len, LINE_SINGLE, &line)) {
		auto_free char *one = mem_strndup(text + line.start, line.end - line.start);
		const char *at = strstr(one, name);
		if (at && (at == one || at[-1] == '/') && scan_maps(s, at + strlen(name), err) < 0)
			return -1;
	}
	return 0;
}

static int scan_instance(struct found_service *s, const char *directory, struct error *err)
{
	struct instance i = {.values = BUF_INIT(TOOL_OUTPUT_MAX)};
	int result = ask_all(directory, &i, err);
	if (result == 0)
		result = postfix_scan(s, directory, value_of, &i, err);
	if (result == 0)
		result = scan_all_maps(s, &i, err);
	buf_release(&i.values);
	return result;
}

int find_postfix(struct found_service *s, struct error *err)
{
	static const char *const argv[] = {"postmulti", "-l", NULL};
	auto_buf struct buf list = BUF_INIT(64 * 1024);
	s->program = mem_strdup("master");
	if (tool_run(argv, &list, err) < 0)
		return -1;
	const char *text = buf_text(&list);
	struct line line = {0};
	while (line_next(text, list.len, LINE_SINGLE, &line)) {
		auto_words struct words words = {0};
		words_split(text, line.start, line.end, WORDS_PLAIN, &words);
		if (words.count >= 4 && scan_instance(s, words_at(&words, 3), err) < 0)
			return -1;
	}
	return 0;
}
