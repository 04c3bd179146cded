#include "hooks/overlap.h"
#include "hooks/runtime.h"
#include "lib/core/mem.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { BATCH_MAX = 4000 }; /* bytes of commands at once: the smallest buffer that HAProxy may have takes them */

struct look {
	overlap_is_ours *is_ours;
	const void *context;
	bool collects; /* first the names of ours are collected, then looked for in the others */
	char **names;  /* owned */
	size_t count;
	struct error *err;
};

static void look_release(struct look *l)
{
	for (size_t i = 0; i < l->count; i++)
		free(l->names[i]);
	free(l->names);
}

/* Returns 1 when a file that is not ours has a name of ours. */
static int take_name(struct look *l, const char *file, bool ours, const char *name)
{
	for (size_t i = 0; i < l->count; i++) {
		if (strcasecmp(l->names[i], name) != 0)
			continue;
		if (l->collects || ours)
			return 0;
		error_set(l->err, ERROR_PERMANENT, "%s is loaded for %s, too, and only a reload keeps their order",
			file, name);
		return 1;
	}
	if (l->collects && ours && *name) {
		l->names = mem_grow(l->names, l->count + 1, sizeof(*l->names));
		l->names[l->count++] = mem_strdup(name);
	}
	return 0;
}

/* Takes the names that stand behind each `mark` of a line, up to one of `ends`. */
static int take_marked(
	struct look *l, const char *file, bool ours, const char *line, const char *mark, const char *ends)
{
	for (const char *at = strstr(line, mark); at; at = strstr(at, mark)) {
		at += strlen(mark);
		auto_free char *name = mem_strndup(at, strcspn(at, ends));
		if (take_name(l, file, ours, name))
			return 1;
	}
	return 0;
}

/* Reads answers of `show ssl cert FILE`. HAProxy serves a certificate for its common name, too. */
static int walk_certificates(struct look *l, const char *answers)
{
	static const char file_mark[] = "Filename: ", names_mark[] = "Subject Alternative Name: ",
			  subject[] = "Subject: ";
	auto_free char *copy = mem_strdup(answers);
	const char *file = "", *line;
	bool ours = false, judged = true;
	char *rest = copy;
	while ((line = strsep(&rest, "\n"))) {
		if (strncmp(line, file_mark, strlen(file_mark)) == 0) {
			file = line + strlen(file_mark);
			ours = l->is_ours(file, l->context);
			judged = strstr(file, "/../") == NULL;
		} else if (!judged) {
			continue;
		} else if (strncmp(line, names_mark, strlen(names_mark)) == 0) {
			if (take_marked(l, file, ours, line, "DNS:", ", "))
				return 1;
		} else if (strncmp(line, subject, strlen(subject)) == 0) {
			if (take_marked(l, file, ours, line, "/CN=", "/"))
				return 1;
		}
	}
	return 0;
}

/* Reads answers of `show ssl crt-list LIST`: a file, perhaps options in brackets, perhaps names. */
static int walk_lists(struct look *l, const char *answers)
{
	auto_free char *copy = mem_strdup(answers);
	char *rest = copy, *line;
	while ((line = strsep(&rest, "\n"))) {
		const char *file = strsep(&line, " "), *name;
		bool ours = *file && *file != '#' && l->is_ours(file, l->context);
		if (line && *line == '[')
			line = strchr(line, ']');
		while (line && (name = strsep(&line, " ]")))
			if (*name && *name != '!' && take_name(l, file, ours, name))
				return 1;
	}
	return 0;
}

/* Asks `command NAME` of each line of the listing, some at once. */
static int ask_each(
	const char *socket_path, const char *command, const char *listing, struct buf *answers, struct error *err)
{
	auto_free char *copy = mem_strdup(listing);
	auto_buf struct buf batch = BUF_INIT(BATCH_MAX);
	char *rest = copy;
	const char *name;
	while ((name = strsep(&rest, "\n"))) {
		if (*name == '\0' || *name == '*' || *name == '#')
			continue;
		if (runtime_check_name(name, err) < 0)
			return -1;
		if (batch.len && batch.len + strlen(command) + strlen(name) + 8 > BATCH_MAX) {
			if (runtime_ask(socket_path, buf_text(&batch), answers, err) < 0)
				return -1;
			batch.len = 0;
		}
		buf_addf(&batch, "%s%s %s", batch.len ? ";" : "", command, name);
	}
	return batch.len ? runtime_ask(socket_path, buf_text(&batch), answers, err) : 0;
}

/* 2.6 writes NUL bytes among the options of a crt-list. */
static const char *plain_text(struct buf *b)
{
	for (size_t i = 0; i < b->len; i++)
		if (b->data[i] == '\0')
			b->data[i] = ' ';
	return buf_text(b);
}

int overlap_check(
	const char *socket_path, const char *listing, overlap_is_ours *is_ours, const void *context, struct error *err)
{
	auto_buf struct buf certificates = BUF_INIT(RUNTIME_LISTING_MAX);
	auto_buf struct buf names = BUF_INIT(RUNTIME_LISTING_MAX), lists = BUF_INIT(RUNTIME_LISTING_MAX);
	struct look look = {.is_ours = is_ours, .context = context, .err = err};
	int result = 0;
	if (ask_each(socket_path, "show ssl cert", listing, &certificates, err) < 0 ||
		runtime_lists(socket_path, &names, err) < 0 ||
		ask_each(socket_path, "show ssl crt-list", plain_text(&names), &lists, err) < 0)
		return -1;
	plain_text(&certificates);
	plain_text(&lists);
	for (int round = 0; round < 2 && result == 0; round++) {
		look.collects = round == 0;
		result = walk_certificates(&look, buf_text(&certificates)) || walk_lists(&look, buf_text(&lists));
	}
	look_release(&look);
	return result;
}
