/* rows_tool hub|agent prints the rows of a configuration, a line each, for tests that hold something against them
 * (e2e/commands/man.t). A line has section, key, type, default, low, high, words, whether the key is mandatory, and the
 * key that it goes with, with tabs between them. A key outside of all sections has an empty section, and whatever a row
 * does not have is empty. */
#include "agent/common/config_rows.h"
#include "hub/common/config_rows.h"

#include <stdio.h>
#include <string.h>

static void print_row(const struct config_table *t, const struct config_row *row)
{
	printf("%s\t%s\t%s\t%s\t%lld\t%lld\t", t->name ? t->name : "", row->name, row->type->name,
		row->value ? row->value : "", (long long)row->low, (long long)row->high);
	for (size_t i = 0; row->words && row->words[i]; i++)
		printf("%s%s", i ? " " : "", row->words[i]);
	printf("\t%s\t%s\n", row->missing ? "mandatory" : "", row->with ? row->with : "");
}

static void print_table(const struct config_table *t)
{
	for (const struct config_row *row = t->rows; row->name; row++)
		print_row(t, row);
	for (const struct config_table *const *inner = t->sections; inner && *inner; inner++)
		print_table(*inner);
}

int main(int argc, char **argv)
{
	if (argc != 2 || (strcmp(argv[1], "hub") != 0 && strcmp(argv[1], "agent") != 0)) {
		fprintf(stderr, "usage: rows_tool hub|agent\n");
		return 2;
	}
	print_table(strcmp(argv[1], "hub") == 0 ? &hub_config_table : &agent_config_table);
	return 0;
}
