#include "hub/cli/import.h"
#include "hub/cli/commands.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"

#include <fcntl.h>

const struct cli_option import_options[] = {
	{"--key", "FILE", "read the private key (PEM, not encrypted); give both twice for an ECDSA and an RSA pair"},
	{"--chain", "FILE", "read the certificate, then its issuers (PEM)"},
	{"--may-expire-sooner", NULL, "take it although the present one lasts longer"},
	{"--json", NULL, "print one JSON object instead of progress and a table"},
	{NULL, NULL, NULL},
};

/* Adds the nth --key and --chain as files of these names. Returns 1, 0 when they were not given, or -1. */
static int add_pair(const struct cli_line *line, int nth, struct buf *key, struct buf *chain, struct files *files)
{
	static const char *const names[][2] = {{"key", "chain"}, {"key-2", "chain-2"}};
	struct error err;
	const char *key_path = cli_value(line, "--key", nth), *chain_path = cli_value(line, "--chain", nth);
	if (!key_path && !chain_path)
		return 0;
	if (!key_path || !chain_path || cli_value(line, "--key", COUNT(names)) ||
		cli_value(line, "--chain", COUNT(names))) {
		cli_fail(
			CLI_USAGE, "give --key FILE and --chain FILE once, or both twice for an ECDSA and an RSA pair");
		return -1;
	}
	if (fs_read(AT_FDCWD, key_path, true, key, &err) < 0 || fs_read(AT_FDCWD, chain_path, true, chain, &err) < 0) {
		cli_fail(CLI_USAGE, "%s", err.message);
		return -1;
	}
	if (files_add(files, names[nth][0], key->data, key->len) < 0 ||
		files_add(files, names[nth][1], chain->data, chain->len) < 0)
		mem_abort(__func__); /* read with the same limits */
	return 1;
}

int command_import(const struct cli_line *line)
{
	struct files files = {.label = "import"};
	auto_buf struct buf key = BUF_INIT(FILES_FILE_MAX), chain = BUF_INIT(FILES_FILE_MAX);
	auto_buf struct buf second_key = BUF_INIT(FILES_FILE_MAX), second_chain = BUF_INIT(FILES_FILE_MAX);
	if (!cli_value(line, "--key", 0) || !cli_value(line, "--chain", 0))
		return cli_fail(
			CLI_USAGE, "import needs --key FILE and --chain FILE (the leaf first, then its issuers)");
	if (add_pair(line, 0, &key, &chain, &files) < 0 || add_pair(line, 1, &second_key, &second_chain, &files) < 0)
		return CLI_USAGE;
	struct buf left[FILES_MAX] = {{0}};
	int exit_code = command_bring(line, &files, left);
	if (exit_code == CLI_DONE) {
		cJSON *request = cJSON_CreateObject();
		cJSON_AddStringToObject(request, "command", "import");
		cJSON_AddStringToObject(request, "certificate", line->plain[0]);
		cJSON_AddBoolToObject(request, "may_expire_sooner", cli_has(line, "--may-expire-sooner"));
		exit_code = command_follow(line, request, &files);
	}
	for (size_t i = 0; i < files.count; i++)
		buf_release(&left[i]);
	return exit_code;
}
