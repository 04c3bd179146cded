#include "hub/cli/recover.h"
#include "hub/cli/commands.h"
#include "hub/cli/show.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"
#include "lib/core/name.h"
#include "lib/crypto/revision.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RECOVER_ARCHIVE "/etc/certsync/archive"

const struct cli_option recover_options[] = {
	{"--archive", "DIRECTORY", "read the local agent's archive there (" RECOVER_ARCHIVE ")"},
	{"--json", NULL, "print one JSON object instead of progress and a table"},
	{NULL, NULL, NULL},
};

/* The newest revision of one certificate in the archive, and what it holds. */
struct archived {
	struct revision revision; /* (0, 0): there is none */
	struct files files;
	struct buf text[4];
};

static void archived_release(struct archived *a)
{
	for (size_t i = 0; i < COUNT(a->text); i++)
		buf_release(&a->text[i]);
}

static struct revision newest_in(const char *directory)
{
	struct error ignored;
	struct revision best = {0, 0}, r;
	auto_close int fd = fs_open_directory(AT_FDCWD, directory, &ignored);
	DIR *list = fd < 0 ? NULL : fs_list(fd, &ignored);
	const struct dirent *entry;
	while (list && (entry = readdir(list)))
		if (revision_parse(entry->d_name, &r) && revision_compare(r, best) > 0)
			best = r;
	if (list)
		closedir(list);
	return best;
}

static int add(
	struct archived *a, size_t slot, const char *directory, const char *file, const char *name, struct error *err)
{
	auto_free char *path = mem_printf("%s/%s", directory, file);
	struct buf *text = &a->text[slot];
	if (fs_read(AT_FDCWD, path, true, text, err) < 0)
		return -1;
	return files_add(&a->files, name, text->data, text->len);
}

static bool there_is(const char *directory, const char *file)
{
	auto_free char *path = mem_printf("%s/%s", directory, file);
	return access(path, F_OK) == 0;
}

/* Two pairs are in two combined files, each of which is both key and chain; one pair is in two files. */
static int read_archive(const char *top, const char *certificate, struct archived *a, struct error *err)
{
	char text[REVISION_TEXT_MAX];
	for (size_t i = 0; i < COUNT(a->text); i++)
		a->text[i] = BUF_INIT(FILES_FILE_MAX);
	auto_free char *all = mem_printf("%s/%s", top, certificate);
	a->revision = newest_in(all);
	if (revision_is_placeholder(a->revision))
		return 0;
	auto_free char *directory = mem_printf("%s/%s", all, revision_text(a->revision, text));
	int result;
	if (there_is(directory, "haproxy.pem.ecdsa") && there_is(directory, "haproxy.pem.rsa"))
		result = add(a, 0, directory, "haproxy.pem.ecdsa", "key", err) < 0 ||
			add(a, 1, directory, "haproxy.pem.ecdsa", "chain", err) < 0 ||
			add(a, 2, directory, "haproxy.pem.rsa", "key-2", err) < 0 ||
			add(a, 3, directory, "haproxy.pem.rsa", "chain-2", err) < 0;
	else
		result = add(a, 0, directory, "privkey.pem", "key", err) < 0 ||
			add(a, 1, directory, "fullchain.pem", "chain", err) < 0;
	return result ? -1 : 0;
}

static int recover_one(const struct cli_line *line, const char *certificate)
{
	char text[REVISION_TEXT_MAX];
	struct error err;
	struct archived a = {.files = {.label = "recover"}};
	const char *top = cli_value(line, "--archive", 0);
	if (read_archive(top ? top : RECOVER_ARCHIVE, certificate, &a, &err) < 0) {
		fprintf(stderr, "certsync: warning: the archive is left out: %s\n", err.message);
		a.revision = (struct revision){0, 0};
	}
	cJSON *request = cJSON_CreateObject();
	cJSON_AddStringToObject(request, "command", "recover");
	cJSON_AddStringToObject(request, "certificate", certificate);
	bool archive = !revision_is_placeholder(a.revision);
	struct buf left[COUNT(a.text)] = {{0}};
	int exit_code = archive ? command_bring(line, &a.files, left) : CLI_DONE;
	if (archive)
		cJSON_AddStringToObject(request, "archive", revision_text(a.revision, text));
	if (exit_code == CLI_DONE)
		exit_code = command_follow(line, request, archive ? &a.files : NULL);
	else
		cJSON_Delete(request);
	for (size_t i = 0; i < COUNT(left); i++)
		buf_release(&left[i]);
	archived_release(&a);
	return exit_code;
}

/* Collects the certificates of which some agent is ahead. */
static void on_status(const cJSON *answer, void *context)
{
	cJSON *names = context;
	const cJSON *known;
	struct error err;
	struct agent_row row;
	if (strcmp(json_text(answer, "event"), "agent") != 0)
		return;
	bool wanted = true;
	if (agent_row_decode(answer, &row, &err) < 0)
		show_left_out(&err);
	else if (row.state == ROLLOUT_AHEAD) {
		cJSON_ArrayForEach (known, names)
			wanted = wanted && strcmp(known->valuestring, row.certificate) != 0;
		if (wanted)
			cJSON_AddItemToArray(names, cJSON_CreateString(row.certificate));
	}
	agent_row_release(&row);
}

int command_recover(const struct cli_line *line)
{
	if (geteuid() != 0)
		return cli_fail(CLI_USAGE, "recover needs root: it reads the keys in the local agent's archive");
	if (cli_has(line, "--json") && line->plain_count != 1)
		return cli_fail(CLI_USAGE, "--json: name one CERTIFICATE");
	auto_json cJSON *names = cJSON_CreateArray();
	for (int i = 0; i < line->plain_count; i++) {
		if (!name_is_certificate(line->plain[i]))
			return cli_fail(CLI_USAGE, "\"%s\" is not a certificate's name", line->plain[i]);
		cJSON_AddItemToArray(names, cJSON_CreateString(line->plain[i]));
	}
	if (!line->plain_count) {
		cJSON *request = cJSON_CreateObject();
		cJSON_AddStringToObject(request, "command", "status");
		int exit_code = command_ask(line, request, on_status, names);
		if (exit_code != CLI_DONE && exit_code != CLI_UNCONVERGED)
			return exit_code;
		if (!cJSON_GetArraySize(names))
			puts("No agent that was heard is ahead of this hub: nothing was changed.");
	}
	int worst = CLI_DONE;
	const cJSON *name;
	cJSON_ArrayForEach (name, names) {
		int exit_code = recover_one(line, name->valuestring);
		worst = exit_code > worst ? exit_code : worst;
	}
	return worst;
}
