/* check_tool DISK SAID crashed|recovered judges a disk as tests/crash/check.h does. The exit code is 0, or 1 with what
 * is wrong on standard output. */
#include "tests/crash/check.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	static char said[1 << 20];
	char why[1024];
	FILE *file = argc == 4 ? fopen(argv[2], "r") : NULL;
	if (!file) {
		fputs("usage: check_tool DISK SAID crashed|recovered\n", stderr);
		return 2;
	}
	said[fread(said, 1, sizeof(said) - 1, file)] = '\0';
	fclose(file);
	if (crash_check(argv[1], said, strcmp(argv[3], "recovered") == 0, why, sizeof(why)) == 0)
		return 0;
	puts(why);
	return 1;
}
