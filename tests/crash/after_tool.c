/* after_tool DIR SAID does in one process what follows a crash. DIR/disk is judged as the crash left it
 * (tests/crash/check.h), by what the story had written to the file SAID; the product starts again on it
 * (tests/crash/story.h), and it is judged anew; then one more revision goes all the way, and it is judged a last time.
 * The exit code is 0, or 1 with what is wrong on standard output. */
#include "lib/core/log.h"
#include "tests/crash/check.h"
#include "tests/crash/story.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static char said[1 << 16];

static int judge(const char *dir, bool recovered, const char *when)
{
	char disk[4096], why[1024];
	snprintf(disk, sizeof(disk), "%s/disk", dir);
	if (crash_check(disk, said, recovered, why, sizeof(why)) == 0)
		return 0;
	printf("%s: %s\n", when, why);
	return 1;
}

int main(int argc, char **argv)
{
	FILE *file = argc == 3 ? fopen(argv[2], "r") : NULL;
	if (!file) {
		fputs("usage: after_tool DIR SAID\n", stderr);
		return 2;
	}
	said[fread(said, 1, sizeof(said) - 32, file)] = '\0';
	fclose(file);
	log_open("after_tool");
	umask(077);
	story_quiet = true;
	if (judge(argv[1], false, "as it was left"))
		return 1;
	if (story_recover(argv[1]) != 0) {
		puts("the product did not start again: see standard error");
		return 1;
	}
	if (judge(argv[1], true, "after the start"))
		return 1;
	if (story_resume(argv[1]) != 0) {
		puts("no further revision is taken: see standard error");
		return 1;
	}
	strcat(said, "\ndoing resumption\n");
	return judge(argv[1], true, "after one more revision");
}
