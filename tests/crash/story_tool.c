/* story_tool DIR NAME | recover | resume runs what tests/crash/story.h describes. */
#include "tests/crash/story.h"
#include "lib/core/log.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

int main(int argc, char **argv)
{
	if (argc != 3) {
		fputs("usage: story_tool DIR NAME|recover|resume\n", stderr);
		return 2;
	}
	log_open("story_tool");
	umask(077);
	if (strcmp(argv[2], "recover") == 0)
		return story_recover(argv[1]);
	if (strcmp(argv[2], "resume") == 0)
		return story_resume(argv[1]);
	return story_run(argv[1], argv[2]);
}
