/* A target of tests/fuzz as a story: each of these inputs with every call on its way failing (tests/fault/run.h). Nothing is judged
 * but that it neither crashes, hangs nor leaks: what a target demands of a sound run it does not get here.
 *
 *   corpus_TARGET [-n RUNS] [-m RUNS] [-s SEED] FILE…     RUNS: for all of them together
 */
#include "lib/core/log.h"
#include "tests/fault/run.h"

#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { INPUT_MAX = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	uint8_t *data;
	size_t len;
};

static int run(void *context)
{
	const struct input *input = context;
	LLVMFuzzerTestOneInput(input->data, input->len);
	return 0;
}

static int read_input(const char *path, struct input *ret)
{
	static uint8_t all[INPUT_MAX];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, all, sizeof(all));
	if (fd >= 0)
		close(fd);
	if (got < 0)
		return -1;
	ret->len = (size_t)got;
	ret->data = malloc(ret->len + 1);
	if (!ret->data)
		return -1;
	memcpy(ret->data, all, ret->len);
	ret->data[ret->len] = '\0';
	return 0;
}

static long run_input(const char *program, char *path, const char *scratch, const struct run_budget *budget)
{
	char name[512];
	struct input input;
	if (read_input(path, &input) < 0) {
		perror(path);
		return 1;
	}
	snprintf(name, sizeof(name), "%.200s %.200s", program, basename(path));
	const struct run_story story = {.name = name,
		.run = run,
		.context = &input,
		.scratch = scratch,
		.may_be_mute = true,
		.may_abort = true};
	long wrong = run_all(&story, budget);
	free(input.data);
	return wrong < 0 ? 1 : wrong;
}

int main(int argc, char **argv)
{
	struct run_budget budget = {.calls = 1000, .allocations = 100};
	char scratch[] = "/dev/shm/certsync-fault.XXXXXX", path[64];
	long wrong = 0;
	int option;
	while ((option = getopt(argc, argv, "n:m:s:")) != -1) {
		if (option == '?')
			return 2;
		if (option == 's')
			budget.seed = (unsigned)strtoul(optarg, NULL, 10);
		else
			*(option == 'n' ? &budget.calls : &budget.allocations) = strtol(optarg, NULL, 10);
	}
	if (optind == argc || !mkdtemp(scratch)) {
		fputs("usage: corpus_TARGET [-n RUNS] [-m RUNS] [-s SEED] FILE...\n", stderr);
		return 2;
	}
	log_open("corpus");
	signal(SIGPIPE, SIG_IGN);
	budget.calls /= argc - optind;
	budget.allocations /= argc - optind;
	for (int i = optind; i < argc; i++)
		wrong += run_input(basename(argv[0]), argv[i], scratch, &budget);
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", scratch, i ? "err" : "said");
		unlink(path);
	}
	rmdir(scratch);
	return wrong ? 1 : 0;
}
