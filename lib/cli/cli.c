#include "lib/cli/cli.h"
#include "lib/core/mem.h"
#include "lib/core/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *cli_program = "certsync";

int cli_fail(enum cli_exit exit_code, const char *fmt, ...)
{
	va_list args;
	char *text = NULL;
	fflush(stdout);
	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		mem_abort(__func__);
	va_end(args);
	text_clean(text, 1);
	fprintf(stderr, "%s: %s\n", cli_program, text);
	free(text);
	return exit_code;
}

/* Returns how many columns a text takes on a terminal: as many as it has bytes that begin a character of UTF-8. */
static int width_of(const char *text)
{
	int width = 0;
	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

/* printf pads by bytes, which would shift whatever stands behind an ellipsis. */
static void print_padded(const char *text, int width)
{
	printf("%s%*s", text, width - width_of(text), "");
}

static int print_command_help(const struct cli_command *command, const char *default_config)
{
	static const char config[] = "-c FILE";
	int width = width_of(config);
	printf("usage: %s %s [OPTIONS]%s%s\n\n%s.\n\n", cli_program, command->name, *command->arguments ? " " : "",
		command->arguments, command->help);
	for (const struct cli_option *o = command->options; o && o->name; o++) {
		int needs = width_of(o->name) + (o->value ? 1 + width_of(o->value) : 0);
		width = needs > width ? needs : width;
	}
	for (const struct cli_option *o = command->options; o && o->name; o++) {
		auto_free char *synopsis = mem_printf("%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");
		printf("    ");
		print_padded(synopsis, width);
		printf("  %s\n", o->help);
	}
	printf("    %-*s  read this configuration (%s)\n", width, config, default_config);
	return CLI_DONE;
}

static int print_help(const char *about, const struct cli_command *commands)
{
	int width = 0;
	printf("%s: %s\n\nusage: %s COMMAND [OPTIONS] [ARGUMENTS]\n\n", cli_program, about, cli_program);
	for (const struct cli_command *c = commands; c->name; c++) {
		int needs = width_of(c->name) + 1 + width_of(c->arguments);
		width = !c->hidden && needs > width ? needs : width;
	}
	for (const struct cli_command *c = commands; c->name; c++) {
		if (c->hidden)
			continue;
		auto_free char *synopsis = mem_printf("%s %s", c->name, c->arguments);
		printf("  ");
		print_padded(synopsis, width);
		printf("  %s\n", c->help);
	}
	printf("\n`%s COMMAND --help` shows its options. Exit codes: 0 done, 1 failed, 2 wrong usage or\n"
	       "configuration, 3 some endpoints have not converged, 4 the daemon cannot be reached.\n",
		cli_program);
	return CLI_DONE;
}

/* Returns how many words of argv the command's name takes, or 0 when the words are not this command. */
static int match_words(const char *name, int argc, const char *const *argv)
{
	int words = 0;
	while (*name) {
		size_t len = strcspn(name, " ");
		if (words == argc || strlen(argv[words]) != len || strncmp(argv[words], name, len) != 0)
			return 0;
		words++;
		name += len + (name[len] == ' ');
	}
	return words;
}

const struct cli_command *cli_find_command(
	const struct cli_command *commands, int argc, const char *const *argv, int *ret_words)
{
	const struct cli_command *best = NULL;
	*ret_words = 0;
	for (const struct cli_command *c = commands; c->name; c++) {
		int words = match_words(c->name, argc, argv);
		if (words > *ret_words) {
			best = c;
			*ret_words = words;
		}
	}
	return best;
}

const struct cli_option *cli_find_option(const struct cli_command *command, const char *name, size_t len)
{
	static const struct cli_option config = {"-c", "FILE", NULL};
	if (len == 2 && strncmp(name, "-c", 2) == 0)
		return &config;
	for (const struct cli_option *o = command->options; o && o->name; o++)
		if (strlen(o->name) == len && strncmp(o->name, name, len) == 0)
			return o;
	return NULL;
}

static int add_option(struct cli_line *line, const struct cli_option *option, const char *value)
{
	if (strcmp(option->name, "-c") == 0) {
		line->config = value;
		return 0;
	}
	if (line->option_count == CLI_OPTIONS_MAX)
		return cli_fail(CLI_USAGE, "more than %d options", CLI_OPTIONS_MAX);
	line->option[line->option_count].name = option->name;
	line->option[line->option_count].value = value;
	line->option_count++;
	return 0;
}

/* Parses one option at argv[*at] ("--agent A" or "--agent=A") and moves *at over what it took. */
static int parse_option(const struct cli_command *command, int argc, char **argv, int *at, struct cli_line *line)
{
	const char *text = argv[(*at)++];
	size_t len = strncmp(text, "--", 2) == 0 ? strcspn(text, "=") : strlen(text);
	const struct cli_option *option = cli_find_option(command, text, len);
	if (!option)
		return cli_fail(CLI_USAGE, "unknown option %s: see `%s %s --help`", text, cli_program, command->name);
	const char *value = text[len] == '=' ? text + len + 1 : NULL;
	if (!option->value && value)
		return cli_fail(CLI_USAGE, "option %s takes no value", option->name);
	if (option->value && !value) {
		if (*at == argc)
			return cli_fail(CLI_USAGE, "option %s needs a value: %s", option->name, option->value);
		value = argv[(*at)++];
	}
	return add_option(line, option, value);
}

static int parse(const struct cli_command *command, int argc, char **argv, struct cli_line *line)
{
	bool options = true;
	for (int at = 0; at < argc;) {
		const char *text = argv[at];
		if (options && strcmp(text, "--") == 0) {
			options = false;
			at++;
			continue;
		}
		if (options && text[0] == '-' && text[1]) {
			int failed = parse_option(command, argc, argv, &at, line);
			if (failed)
				return failed;
			continue;
		}
		if (line->plain_count == (int)COUNT(line->plain))
			return cli_fail(CLI_USAGE, "too many arguments");
		line->plain[line->plain_count++] = text;
		at++;
	}
	if (line->plain_count < command->minimum)
		return cli_fail(CLI_USAGE, "%s needs %s: see `%s %s --help`", command->name, command->arguments,
			cli_program, command->name);
	if (command->maximum >= 0 && line->plain_count > command->maximum)
		return cli_fail(
			CLI_USAGE, "%s: one argument too many: %s", command->name, line->plain[command->maximum]);
	return 0;
}

static bool asks_for_help(int argc, char **argv)
{
	for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return true;
	return false;
}

int cli_main(const char *program, const char *about, const char *default_config, const struct cli_command *commands,
	int argc, char **argv)
{
	cli_program = program;
	argc--;
	argv++;
	if (argc > 0 && strcmp(argv[0], "--version") == 0) {
		printf("%s %s\n", program, CERTSYNC_VERSION);
		return CLI_DONE;
	}
	if (argc == 0 || strcmp(argv[0], "help") == 0 || strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0)
		return print_help(about, commands);
	int words;
	const struct cli_command *command = cli_find_command(commands, argc, (const char *const *)argv, &words);
	if (!command)
		return cli_fail(CLI_USAGE, "unknown command %s: see `%s --help`", argv[0], program);
	if (asks_for_help(argc, argv))
		return print_command_help(command, default_config);
	struct cli_line line = {.config = default_config};
	int failed = parse(command, argc - words, argv + words, &line);
	return failed ? failed : command->run(&line);
}

bool cli_has(const struct cli_line *line, const char *option)
{
	for (int i = 0; i < line->option_count; i++)
		if (strcmp(line->option[i].name, option) == 0)
			return true;
	return false;
}

const char *cli_value(const struct cli_line *line, const char *option, int nth)
{
	for (int i = 0; i < line->option_count; i++)
		if (strcmp(line->option[i].name, option) == 0 && nth-- == 0)
			return line->option[i].value;
	return NULL;
}

bool cli_config_is_hidden(const struct cli_line *line)
{
	return access(line->config, R_OK) < 0 && errno == EACCES;
}

struct cli_table {
	int columns;
	char **cells; /* row after row, the header first */
	size_t rows;
};

struct cli_table *cli_table_new(int columns, const char *const *header)
{
	struct cli_table *t = mem_alloc(sizeof(*t));
	t->columns = columns;
	cli_table_row(t, header);
	return t;
}

void cli_table_row(struct cli_table *t, const char *const *cells)
{
	size_t columns = (size_t)t->columns;
	t->cells = mem_grow(t->cells, (t->rows + 1) * columns, sizeof(char *));
	for (size_t i = 0; i < columns; i++)
		t->cells[t->rows * columns + i] = mem_strdup(cells[i] ? cells[i] : "");
	t->rows++;
}

void cli_table_print(struct cli_table *t)
{
	size_t columns = (size_t)t->columns;
	for (size_t row = 0; row < t->rows; row++) {
		for (size_t i = 0; i + 1 < columns; i++) {
			int width = 0;
			for (size_t k = 0; k < t->rows; k++) {
				int needs = width_of(t->cells[k * columns + i]);
				width = needs > width ? needs : width;
			}
			print_padded(t->cells[row * columns + i], width + 2);
		}
		printf("%s\n", t->cells[(row + 1) * columns - 1]);
	}
	for (size_t i = 0; i < t->rows * columns; i++)
		free(t->cells[i]);
	free(t->cells);
	free(t);
}

void cli_print_output(const char *text)
{
	while (*text) {
		const size_t len = strcspn(text, "\n");
		printf("      | %.*s\n", (int)len, text);
		text += len + (text[len] == '\n');
	}
}
