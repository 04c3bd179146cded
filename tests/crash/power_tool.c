/* Cuts the power at every moment of a recorded story, starts the product's recovery on what is left, and has it judged.
 *
 *   power_tool DIR SEED SAMPLES RESUMED STRIDE LOG…
 *
 * DIR/pem and DIR/hooks are the story's (tests/crash/story.h), and DIR/disk is made anew for each state. LOG is a log
 * of tests/crash/record.c, and LOG.said, if it is there, is what the story had said before. The power is cut after each
 * of the things done since the log's last line B, or after one of STRIDE of them, chosen by chance. For each such
 * moment the state with all that was done is tried, the state with only what was made durable, and SAMPLES others; no
 * state is tried twice at one moment. After one of RESUMED recoveries one more revision goes all the way. A failure is
 * printed with what repeats it. The last line is "STATES states RESUMPTIONS resumptions FAILURES failures".
 */
#include "lib/core/fs.h"
#include "lib/core/log.h"
#include "tests/crash/check.h"
#include "tests/crash/disk.h"
#include "tests/crash/story.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { SAID_MAX = 1 << 16, LINE_MAX_ = 1 << 20, SHOWN_MAX = 20, SAMPLES_MAX = 4096 };

static struct {
	const char *dir, *log;
	char path[4096];
	uint64_t random;
	long samples, resumed, stride, states, resumptions, failures;
	long moment; /* the line of the log at which the power is cut */
	char said[SAID_MAX];
	size_t said_len;
} t;

static void failed(const char *when, const char *why)
{
	if (++t.failures <= SHOWN_MAX)
		printf("%s, moment %ld, %s: %s\n", t.log, t.moment, when, why);
}

static bool judge(const char *when, bool recovered)
{
	char why[1024];
	if (crash_check(t.path, t.said, recovered, why, sizeof(why)) == 0)
		return true;
	failed(when, why);
	return false;
}

static void die(const char *what)
{
	perror(what);
	exit(2);
}

static void make_state(const struct disk *d)
{
	struct error err;
	if (fs_remove_tree(AT_FDCWD, t.path, &err) < 0 || mkdir(t.path, 0755) < 0 || !disk_make(d, t.path))
		die(t.path);
}

static void resume(const char *when)
{
	static const char begun[] = "doing resumption\n";
	size_t len = t.said_len;
	if (story_resume(t.dir) != 0) {
		failed(when, "it was refused: see standard error");
		return;
	}
	/* What the story promised last need not hold after one more revision; what it promised before must hold for
	 * ever. */
	if (len + sizeof(begun) <= sizeof(t.said))
		memcpy(t.said + len, begun, sizeof(begun));
	judge(when, true);
	t.said[len] = '\0';
}

static void try_state(const struct disk *d, const char *what)
{
	char when[64];
	t.states++;
	make_state(d);
	snprintf(when, sizeof(when), "%s, when the power was cut", what);
	if (!judge(when, false))
		return;
	snprintf(when, sizeof(when), "%s, after the recovery", what);
	if (story_recover(t.dir) != 0)
		failed(when, "it was refused: see standard error");
	else if (judge(when, true) && t.states % t.resumed == 0) {
		t.resumptions++;
		snprintf(when, sizeof(when), "%s, after one more revision", what);
		resume(when);
	}
}

static bool is_new(uint64_t *seen, size_t *count, uint64_t hash)
{
	for (size_t i = 0; i < *count; i++)
		if (seen[i] == hash)
			return false;
	if (*count < SAMPLES_MAX)
		seen[(*count)++] = hash;
	return true;
}

static void cut(struct disk *d)
{
	uint64_t seen[SAMPLES_MAX];
	size_t count = 0;
	is_new(seen, &count, disk_choose(d, DISK_ALL, &t.random));
	try_state(d, "all of it");
	if (is_new(seen, &count, disk_choose(d, DISK_NONE, &t.random)))
		try_state(d, "what was durable");
	for (long i = 0; i < t.samples && disk_pending(d); i++) {
		char what[64];
		uint64_t seed = t.random;
		if (!is_new(seen, &count, disk_choose(d, DISK_SOME, &t.random)))
			continue;
		snprintf(what, sizeof(what), "chance %016llx", (unsigned long long)seed);
		try_state(d, what);
	}
}

static void add_said(const char *hex)
{
	unsigned byte;
	while (sscanf(hex, "%2x", &byte) == 1 && t.said_len < SAID_MAX - 1) {
		t.said[t.said_len++] = (char)byte;
		hex += 2;
	}
	t.said[t.said_len] = '\0';
}

static long last_begin(FILE *file, char *line)
{
	long at = 0, last = 0;
	while (fgets(line, LINE_MAX_, file)) {
		at++;
		if (line[0] == 'B')
			last = at;
	}
	rewind(file);
	return last;
}

/* Reads what the story had promised before the recording began. */
static void begin_said(const char *log)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s.said", log);
	FILE *file = fopen(path, "r");
	t.said_len = file ? fread(t.said, 1, SAID_MAX - 1, file) : 0;
	t.said[t.said_len] = '\0';
	if (file)
		fclose(file);
}

static void run(const char *log)
{
	static char line[LINE_MAX_];
	struct disk *d = disk_new();
	FILE *file = fopen(log, "r");
	if (!file || !d)
		die(log);
	long begin = last_begin(file, line);
	t.log = strrchr(log, '/') ? strrchr(log, '/') + 1 : log;
	begin_said(log);
	for (t.moment = 1; fgets(line, sizeof(line), file); t.moment++) {
		if (line[0] == 'K') {
			add_said(line + 2);
		} else if (line[0] != 'B' && !disk_do(d, line)) {
			fprintf(stderr, "%s:%ld: not understood: %.80s\n", log, t.moment, line);
			exit(2);
		}
		if (t.moment >= begin && (t.stride <= 1 || disk_draw(&t.random) % (uint64_t)t.stride == 0))
			cut(d);
	}
	fclose(file);
	disk_free(d);
}

int main(int argc, char **argv)
{
	if (argc < 7) {
		fputs("usage: power_tool DIR SEED SAMPLES RESUMED STRIDE LOG...\n", stderr);
		return 2;
	}
	t.dir = argv[1];
	t.random = strtoull(argv[2], NULL, 0) * 2654435761u + 88172645463325252ULL;
	t.samples = atol(argv[3]);
	t.resumed = atol(argv[4]) > 0 ? atol(argv[4]) : 1;
	t.stride = atol(argv[5]);
	snprintf(t.path, sizeof(t.path), "%s/disk", t.dir);
	setvbuf(stdout, NULL, _IOLBF, 0);
	story_quiet = true;
	log_open("power_tool");
	umask(077);
	for (int i = 6; i < argc; i++)
		run(argv[i]);
	printf("%ld states %ld resumptions %ld failures\n", t.states, t.resumptions, t.failures);
	return t.failures ? 1 : 0;
}
