/* The command line of certsync and certsync-agent: one table of commands makes dispatch, help and completion. */
#ifndef CERTSYNC_LIB_CLI_CLI_H
#define CERTSYNC_LIB_CLI_CLI_H

#include "lib/core/buf.h"

#include <stdbool.h>

enum cli_exit {
	CLI_DONE = 0,
	CLI_FAILED = 1,
	CLI_USAGE = 2,       /* wrong usage or configuration */
	CLI_UNCONVERGED = 3, /* some endpoints have not converged */
	CLI_UNREACHABLE = 4, /* the hub or daemon cannot be reached */
};

struct cli_line;

struct cli_option {
	const char *name;  /* "--json" */
	const char *value; /* "FILE" when it takes one, else NULL */
	const char *help;
};

struct cli_command {
	const char *name;                        /* "agent add" may be two words */
	const char *arguments;                   /* "[CERTIFICATE…]", for the help */
	const char *help;                        /* one line */
	const struct cli_option *options;        /* ended by a NULL name; NULL: none. -c FILE is always there */
	int minimum, maximum;                    /* number of plain arguments; maximum -1: any */
	bool hidden;                             /* for the program's own use; not in the help */
	int (*run)(const struct cli_line *line); /* returns a cli_exit */
};

enum { CLI_OPTIONS_MAX = 32, CLI_PLAIN_MAX = 2048 };

struct cli_line {
	const char *config; /* -c FILE, or the program's default */
	const char *plain[CLI_PLAIN_MAX];
	int plain_count;
	struct {
		const char *name, *value;
	} option[CLI_OPTIONS_MAX];
	int option_count;
};

/* Parses and runs a command line. It prints help for --help, `help`, or no arguments at all, and the version for
 * --version. Returns the exit code. */
int cli_main(const char *program, const char *about, const char *default_config, const struct cli_command *commands,
	int argc, char **argv);

/* Returns the command that these words begin with, or NULL; *ret_words is how many of them its name takes. */
const struct cli_command *cli_find_command(
	const struct cli_command *commands, int argc, const char *const *argv, int *ret_words);
/* Returns the option with the first `len` characters of `name`, -c included, or NULL when the command has no such
 * option. */
const struct cli_option *cli_find_option(const struct cli_command *command, const char *name, size_t len);

bool cli_has(const struct cli_line *line, const char *option);
const char *cli_value(const struct cli_line *line, const char *option, int nth); /* NULL when absent */

/* Returns true when the configuration exists and the caller may not read it. That is an operator, who finds the
 * daemon's socket at its usual place. */
bool cli_config_is_hidden(const struct cli_line *line);

/* A table on standard output. Its columns are as wide as their widest cell, and the last column is free. */
struct cli_table;
struct cli_table *cli_table_new(int columns, const char *const *header);
void cli_table_row(struct cli_table *t, const char *const *cells); /* copied; NULL is "" */
void cli_table_print(struct cli_table *t);                         /* and frees it */

/* Prints what a program said, each line indented behind a bar, below the row that it belongs to. */
void cli_print_output(const char *text);

/* Prints "certsync: message" on standard error and returns `exit`. */
int cli_fail(enum cli_exit exit, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
