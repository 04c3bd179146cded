#include "agent/cli/services/find.h"
#include "agent/cli/services/tokens.h"
#include "lib/core/mem.h"
#include "lib/core/tool.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 32, INCLUDES_MAX = 16, SETTING_MAX = 64, BLOCKS_MAX = 4096 };

/* These are the names of Dovecot 2.3 and of 2.4. */
static const struct setting {
	const char *name;
	enum found_role role;
	bool marked; /* a file only after a '<'; else the text itself */
} settings[] = {
	{"ssl_cert", FOUND_CERTIFICATE, true},
	{"ssl_key", FOUND_KEY, true},
	{"ssl_alt_cert", FOUND_CERTIFICATE, true},
	{"ssl_alt_key", FOUND_KEY, true},
	{"ssl_server_cert_file", FOUND_CERTIFICATE, false},
	{"ssl_server_key_file", FOUND_KEY, false},
	{"ssl_server_alt_cert_file", FOUND_CERTIFICATE, false},
	{"ssl_server_alt_key_file", FOUND_KEY, false},
};

struct scan {
	struct found_service *service;
	int groups[DEPTH_MAX];     /* of each block around */
	bool in_server[DEPTH_MAX]; /* whether it is a block ssl_server */
	int begun[DEPTH_MAX];      /* in which line it begins */
	int depth;
	int around[BLOCKS_MAX]; /* of each group the one around it; 0: none */
	int includes;
	int files;
};

static int scan_file(struct scan *s, const char *path, struct error *err);

/* 2.4 takes ssl_server_cert_file, ssl_server/cert_file and, in a block ssl_server, which is how doveconf -n writes it,
 * cert_file, too. */
static const struct setting *setting_of(const struct scan *s, const char *name, size_t len)
{
	static const char server[] = "ssl_server_";
	char full[SETTING_MAX];
	if (len + strlen(server) >= sizeof(full))
		return NULL;
	bool within = s->in_server[s->depth] && strncmp(name, server, strlen(server)) != 0;
	snprintf(full, sizeof(full), "%s%.*s", within ? server : "", (int)len, name);
	for (char *slash = strchr(full, '/'); slash; slash = strchr(slash, '/'))
		*slash = '_';
	for (size_t i = 0; i < COUNT(settings); i++)
		if (strcmp(settings[i].name, full) == 0)
			return &settings[i];
	return NULL;
}

/* Returns the end of a value: without what follows a '#' that stands after a blank, and without blanks at the end. */
static size_t value_end(const char *text, size_t at, size_t end)
{
	char quote = '\0';
	size_t i = at;
	for (; i < end; i++) {
		if (strchr("\"'", text[i]) && (!quote || quote == text[i]) && (i == at || text[i - 1] != '\\'))
			quote = quote ? '\0' : text[i];
		else if (text[i] == '#' && !quote && i > at && (text[i - 1] == ' ' || text[i - 1] == '\t'))
			break;
	}
	while (i > at && strchr(" \t\r", text[i - 1]))
		i--;
	return i;
}

/* Adds text[at…end), the value of a setting. */
static void add_value(
	struct scan *s, const struct setting *setting, const char *path, const char *text, size_t at, size_t end)
{
	bool quoted = end - at >= 2 && strchr("\"'", text[at]) && text[end - 1] == text[at];
	int line = line_number(text, at);
	at += quoted;
	end -= quoted;
	bool marked = at < end && text[at] == '<';
	if (marked)
		at++;
	at += strspn(text + at, " \t");
	if (at >= end)
		return;
	if (marked && !setting->marked) {
		found_note(s->service,
			"%s:%d: %s: Dovecot takes the content of a file behind '<' for its name: without '<'", path,
			line, setting->name);
		return;
	}
	/* In quotes a '<' is part of a text. */
	if (text[at] != '/' || setting->marked != marked || (marked && quoted)) {
		found_note(s->service, "%s:%d: %s: no absolute path of a file", path, line, setting->name);
		return;
	}
	auto_free char *file = mem_strndup(text + at, end - at);
	const struct found_use use = {.role = setting->role,
		.file = (char *)(uintptr_t)path,
		.start = at,
		.end = end,
		.line = line,
		.setting = (char *)(uintptr_t)setting->name,
		.path = file,
		.instead = (char *)(uintptr_t) "@",
		.content = "combined",
		.group = s->groups[s->depth]};
	found_use(s->service, &use, true);
}

static int include(struct scan *s, const char *path, const char *pattern, bool must, struct error *err)
{
	auto_free char *base = path_parent(path);
	auto_free char *absolute = path_below(base, pattern);
	glob_t found;
	int result = 0;
	if (++s->includes > INCLUDES_MAX)
		return error_set(err, ERROR_PERMANENT, "%s: includes that go on for ever", path);
	int code = glob(absolute, 0, NULL, &found);
	if (code == GLOB_NOMATCH && must && !strpbrk(pattern, "*?["))
		result = error_set(err, ERROR_PERMANENT, "%s: !include %s: there is no such file", path, pattern);
	for (size_t i = 0; code == 0 && result == 0 && i < found.gl_pathc; i++)
		result = scan_file(s, found.gl_pathv[i], err);
	if (code == 0)
		globfree(&found);
	s->includes--;
	return result;
}

/* A block ssl_server has settings of what is around it. */
static void begin_block(struct scan *s, bool server)
{
	int around = s->groups[s->depth++];
	s->in_server[s->depth] = server;
	s->groups[s->depth] = server ? around : ++s->service->groups;
	if (!server && s->groups[s->depth] < BLOCKS_MAX)
		s->around[s->groups[s->depth]] = around;
}

/* ---- what a block takes from around it ---- */

static struct found_use *use_in(const struct scan *s, int group, const struct setting *setting)
{
	for (size_t i = 0; i < s->service->use_count; i++)
		if (s->service->uses[i].group == group && strcmp(s->service->uses[i].setting, setting->name) == 0)
			return &s->service->uses[i];
	return NULL;
}

/* Returns the next use of the same setting around a group. */
static struct found_use *use_around(const struct scan *s, int group, const struct setting *setting)
{
	while (group < BLOCKS_MAX && s->around[group]) {
		group = s->around[group];
		struct found_use *u = use_in(s, group, setting);
		if (u)
			return u;
	}
	return NULL;
}

/* A certificate whose key is that of a block around gets a key of its own beside it: ours when it is changed, that one
 * when only the block around is. Text put in is closed by the quote behind the value. */
static void give_key(
	struct scan *s, struct found_use *certificate, const struct setting *key, const struct found_use *inherited)
{
	auto_buf struct buf text = BUF_INIT(FIND_FILE_MAX);
	struct error ignored;
	if (find_read(certificate->file, &text, &ignored) < 0 || certificate->end > text.len)
		return;
	const char *all = buf_text(&text);
	size_t start = certificate->start;
	while (start > 0 && all[start - 1] != '\n')
		start--;
	int indent = (int)strspn(all + start, " \t");
	const char *quote = strchr("\"'", all[certificate->end]) && all[certificate->end] ? all + certificate->end : "";
	auto_free char *between = mem_printf("%.*s\n%.*s%s = %s%.*s", quote[0] ? 1 : 0, quote, indent, all + start,
		key->name, key->marked ? "<" : "", quote[0] ? 1 : 0, quote);
	auto_free char *pin = mem_printf("%s%s", between, inherited->path);
	found_pin(s->service,
		&(struct found_pin){.group = certificate->group,
			.on = inherited->group,
			.file = certificate->file,
			.at = certificate->end,
			.text = pin});
	free(certificate->instead);
	certificate->instead = mem_printf("@%s@", between);
}

/* The keys stand behind the certificates in the table. A key whose certificate is around changes with it. */
static void settle_blocks(struct scan *s)
{
	for (size_t i = 0; i + 1 < COUNT(settings); i += 2)
		for (int group = 1; group <= s->service->groups; group++) {
			struct found_use *certificate = use_in(s, group, &settings[i]);
			const struct found_use *key = use_in(s, group, &settings[i + 1]);
			if (certificate && !key) {
				const struct found_use *inherited = use_around(s, group, &settings[i + 1]);
				if (inherited)
					give_key(s, certificate, &settings[i + 1], inherited);
			} else if (key && !certificate) {
				const struct found_use *outer = use_around(s, group, &settings[i]);
				if (outer)
					found_join(s->service, outer->group, group);
			}
		}
}

static void add_names(struct scan *s, const char *text, size_t at, size_t end)
{
	auto_words struct words names = {0};
	words_split(text, at, end, WORDS_APACHE, &names);
	for (size_t i = 0; i < names.count; i++)
		found_name(s->service, names.list[i].text);
}

static int read_line(struct scan *s, const char *path, const char *text, size_t at, size_t end, struct error *err)
{
	at += strspn(text + at, " \t");
	end = value_end(text, at, end);
	size_t word = strcspn(text + at, " \t={\n");
	const struct setting *setting = setting_of(s, text + at, word);
	if (at >= end || text[at] == '#')
		return 0;
	if (text[at] == '!') {
		size_t from = at + word + strspn(text + at + word, " \t");
		auto_free char *pattern = mem_strndup(text + from, from < end ? end - from : 0);
		return include(s, path, pattern, word != strlen("!include_try"), err);
	}
	if (word == strlen("local_name") && strncmp(text + at, "local_name", word) == 0)
		add_names(s, text, at + word, end);
	if (text[end - 1] == '{' && s->depth + 1 >= DEPTH_MAX)
		return error_set(err, ERROR_PERMANENT, "%s:%d: too many blocks around", path, line_number(text, at));
	if (text[end - 1] == '{') {
		begin_block(s, word == strlen("ssl_server") && strncmp(text + at, "ssl_server", word) == 0);
		s->begun[s->depth] = line_number(text, at);
	} else if (text[at] == '}' && s->depth > 0)
		s->depth--;
	size_t equals = at + word + strspn(text + at + word, " \t");
	if (setting && equals < end && text[equals] == '=') {
		at = equals + 1 + strspn(text + equals + 1, " \t");
		add_value(s, setting, path, text, at, end > at ? end : at);
	}
	return 0;
}

static int scan_file(struct scan *s, const char *path, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(FIND_FILE_MAX);
	struct line line = {0};
	int depth = s->depth;
	if (++s->files > FIND_FILES_MAX)
		return error_set(err, ERROR_PERMANENT, "%s: more than %d files", path, FIND_FILES_MAX);
	if (find_read(path, &text, err) < 0)
		return -1;
	while (line_next(buf_text(&text), text.len, LINE_SINGLE, &line))
		if (read_line(s, path, buf_text(&text), line.start, line.end, err) < 0)
			return -1;
	if (s->depth > depth)
		return error_set(
			err, ERROR_PERMANENT, "%s:%d: a block that begins here does not end", path, s->begun[s->depth]);
	return 0;
}

int dovecot_scan(struct found_service *service, const char *path, struct error *err)
{
	struct scan s = {.service = service};
	s.groups[0] = ++service->groups;
	if (scan_file(&s, path, err) < 0)
		return -1;
	settle_blocks(&s);
	return 0;
}

/* ---- its listeners ---- */

static const struct login {
	const char *service, *name, *plain, *tls;
} logins[] = {
	{"imap-login", "imap", "imap", "imaps"},
	{"pop3-login", "pop3", "pop3", "pop3s"},
	{"managesieve-login", "sieve", "sieve", "tls"},
	{"submission-login", "submission", "smtp", "smtps"},
};

/* An inet_listener, while it is being read. */
struct inet {
	const struct login *login;
	bool inside, tls, proxy;
	uint16_t port;
	char address[64];
};

static void end_listener(struct found_service *s, struct inet *l)
{
	if (l->inside && l->login && l->port)
		found_port(s, l->address, l->port, l->tls ? l->login->tls : l->login->plain, l->proxy);
	*l = (struct inet){.login = l->login};
}

/* Dovecot 2.3 has "protocols = imap lmtp", 2.4 a block with "imap = yes" for each. */
static bool serves(const char *doveconf, const char *name)
{
	const char *at = strstr(doveconf, "\nprotocols ");
	if (!at)
		return false;
	at += strlen("\nprotocols ");
	size_t len = strcspn(at, *at == '{' ? "}" : "\n");
	auto_free char *list = mem_strndup(at, len);
	auto_words struct words words = {0};
	words_split(list, 0, len, WORDS_PLAIN, &words);
	for (size_t i = 1; i < words.count; i++)
		if (strcmp(words.list[i].text, name) == 0)
			return strcmp(words_at(&words, i + 1), "=") != 0 || strcmp(words_at(&words, i + 2), "yes") == 0;
	return false;
}

static const struct login *login_of(const char *doveconf, const char *service)
{
	for (size_t i = 0; i < COUNT(logins); i++)
		if (strcmp(logins[i].service, service) == 0)
			return serves(doveconf, logins[i].name) ? &logins[i] : NULL;
	return NULL;
}

static void listener_value(struct inet *l, const char *name, const char *value)
{
	if (strcmp(name, "port") == 0)
		l->port = (uint16_t)strtoul(value, NULL, 10);
	else if (strcmp(name, "ssl") == 0)
		l->tls = strcmp(value, "yes") == 0;
	else if (strcmp(name, "haproxy") == 0)
		l->proxy = strcmp(value, "yes") == 0;
	else if ((strcmp(name, "address") == 0 || strcmp(name, "listen") == 0) && strlen(value) < sizeof(l->address))
		strcpy(l->address, strcmp(value, "*") == 0 || strcmp(value, "::") == 0 ? "" : value);
}

void dovecot_ports(struct found_service *s, const char *doveconf)
{
	struct inet listener = {0};
	struct line line = {0};
	if (strstr(doveconf, "\nssl = no\n"))
		return;
	while (line_next(doveconf, strlen(doveconf), LINE_SINGLE, &line)) {
		auto_words struct words w = {0};
		words_split(doveconf, line.start, line.end, WORDS_PLAIN, &w);
		const char *first = words_at(&w, 0);
		if (strcmp(first, "service") == 0 && w.count >= 3)
			listener.login = login_of(doveconf, words_at(&w, 1));
		else if (strcmp(first, "inet_listener") == 0)
			listener.inside = true;
		else if (strcmp(first, "}") == 0)
			end_listener(s, &listener);
		else if (listener.inside)
			listener_value(&listener, first, words_at(&w, 2));
	}
}

/* ---- by its tool ---- */

/* From 2.4 on `doveconf -a` has neither a default port nor a service that no file mentions. */
static int add_listeners(const char *first, struct buf *text, struct error *err)
{
	unsigned major = 0, minor = 0;
	/* NOLINTNEXTLINE(cert-err34-c): a version that is none stays 0 */
	sscanf(first, "# %u.%u", &major, &minor);
	for (size_t i = 0; i < COUNT(logins) && (major > 2 || minor > 3); i++) {
		auto_free char *what = mem_printf("service/%s/inet_listener", logins[i].service);
		const char *const argv[] = {"doveconf", what, NULL};
		if (tool_run(argv, text, err) < 0)
			return -1;
	}
	return 0;
}

int find_dovecot(struct found_service *s, struct error *err)
{
	static const char *const argv[] = {"doveconf", "-a", NULL};
	auto_buf struct buf text = BUF_INIT(TOOL_OUTPUT_MAX);
	s->program = mem_strdup("dovecot");
	if (tool_run(argv, &text, err) < 0)
		return -1;
	/* The first line is like "# 2.3.19.1 (9b53102964): /etc/dovecot/dovecot.conf". */
	const char *first = buf_text(&text);
	size_t len = strcspn(first, "\n");
	const char *slash = memchr(first, '/', len);
	if (first[0] != '#' || !slash)
		return error_set(err, ERROR_PERMANENT, "doveconf -a does not say which file it has read");
	auto_free char *path = mem_strndup(slash, len - (size_t)(slash - first));
	if (add_listeners(first, &text, err) < 0)
		return -1;
	dovecot_ports(s, buf_text(&text));
	return dovecot_scan(s, path, err);
}
