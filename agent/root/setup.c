#include "agent/root/setup.h"
#include "agent/root/identity.h"
#include "agent/common/pin.h"
#include "agent/root/directories.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct agent_config *setup_load(const char *path)
{
	auto_buf struct buf faults = BUF_INIT(256 * 1024);
	struct agent_config *config = agent_config_load(path, &faults);
	if (!config)
		fputs(buf_text(&faults), stderr);
	return config;
}

int setup_identity(const struct cli_line *line)
{
	struct directories directories;
	auto_identity struct identity identity = {0};
	auto_buf struct buf text = BUF_INIT(512);
	struct error err;
	struct agent_config *config = setup_load(line->config);
	if (!config)
		return CLI_USAGE;
	int result = directories_open(config, &directories, &err);
	if (result == 0) {
		if (cli_has(line, "--take-next"))
			result = identity_take_next(&directories, &identity, &err);
		else if (cli_has(line, "--next"))
			result = identity_next(&directories, &identity, &err);
		else
			result = identity_load(&directories, &identity, &err);
		directories_close(&directories);
	}
	agent_config_free(config);
	if (result < 0)
		return cli_fail(err.kind == ERROR_USAGE ? CLI_USAGE : CLI_FAILED, "%s", err.message);
	identity_line(&identity, &text);
	fputs(buf_text(&text), stdout);
	return CLI_DONE;
}

static int read_line(struct buf *out, struct error *err)
{
	for (;;) {
		uint8_t *room = buf_reserve(out, 512);
		if (!room)
			return error_set(err, ERROR_USAGE, "standard input is longer than a hub's line");
		ssize_t got = read(STDIN_FILENO, room, 512);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_errno(err, "cannot read standard input");
		if (got == 0)
			return 0;
		buf_added(out, (size_t)got);
	}
}

static void tell_pinned(const struct agent_config *config, const struct pin *pin)
{
	bool known = false;
	for (size_t i = 0; i < pin->signer_count; i++)
		printf("pinned the hub's signing key ed25519:%s\n", pin->signers[i]);
	for (size_t i = 0; i < pin->host_count; i++)
		printf("pinned the SSH host key %s\n", pin->hosts[i]);
	for (size_t i = 0; i < config->hub_count; i++)
		known = known || strcmp(config->hubs[i].text, pin->url) == 0;
	if (!known)
		printf("%s does not name this hub yet: put hub = {\"%s\"} there\n", config->path, pin->url);
}

int setup_pin(const struct cli_line *line)
{
	auto_buf struct buf text = BUF_INIT(PIN_LINE_MAX);
	auto_pin struct pin pin = {0};
	struct error err;
	struct agent_config *config = setup_load(line->config);
	if (!config)
		return CLI_USAGE;
	int result = read_line(&text, &err);
	if (result == 0 && memchr(text.data ? text.data : (const uint8_t *)"", '\0', text.len))
		result = error_set(&err, ERROR_USAGE, "the hub's line contains a NUL byte");
	if (result == 0)
		result = pin_parse(buf_text(&text), &pin, &err);
	bool replace = cli_has(line, "--replace"), only_check = cli_has(line, "--check");
	if (result == 0 && only_check)
		result = replace ? 0 : pin_check(config, &pin, &err);
	else if (result == 0)
		result = pin_write(config, &pin, replace, &err);
	if (result == 0 && !only_check)
		tell_pinned(config, &pin);
	agent_config_free(config);
	return result == 0 ? CLI_DONE : cli_fail(err.kind == ERROR_USAGE ? CLI_USAGE : CLI_FAILED, "%s", err.message);
}
