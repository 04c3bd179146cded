#include "hub/cli/terminal.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { LIVE_LINES_MAX = 512, LIVE_WIDTH_DEFAULT = 80, LIVE_HEIGHT_DEFAULT = 24 };

/* What one agent does, or an order, whose agent is "". */
struct line {
	char *certificate, *agent; /* owned */
	const char *word;          /* static: its state */
	char *what;                /* owned: the step, the failure, or what it waits for */
	bool under_way;            /* it goes on, so its seconds are counted */
	int64_t since;             /* monotonic, ms: when this came */
};

struct terminal {
	struct line lines[LIVE_LINES_MAX];
	size_t count;
	int drawn; /* lines that stand on the terminal */
};

/* ---- the terminal ---- */

bool terminal_is_one(void)
{
	const char *term = getenv("TERM");
	return isatty(STDOUT_FILENO) && term && *term && strcmp(term, "dumb") != 0;
}

static void window(int *ret_width, int *ret_height)
{
	struct winsize size;
	bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col && size.ws_row;
	*ret_width = known ? size.ws_col : LIVE_WIDTH_DEFAULT;
	*ret_height = known ? size.ws_row : LIVE_HEIGHT_DEFAULT;
}

/* Prints as much of a line as has room; a character of several bytes takes one column here. */
static void put_clipped(const char *text, size_t len, int width)
{
	size_t at = 0;
	for (int column = 0; at < len && column < width; column++)
		do
			at++;
		while (at < len && ((unsigned char)text[at] & 0xc0) == 0x80);
	fwrite(text, 1, at, stdout);
}

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
	(void)signal_number;
	interrupted = 1;
}

void terminal_catch_interrupt(void)
{
	const struct sigaction action = {.sa_handler = on_interrupt};
	sigaction(SIGINT, &action, NULL);
}

bool terminal_interrupted(void)
{
	return interrupted;
}

/* ---- progress ---- */

struct terminal *terminal_new(void)
{
	return mem_alloc(sizeof(struct terminal));
}

void terminal_free(struct terminal *l)
{
	for (size_t i = 0; i < l->count; i++) {
		free(l->lines[i].certificate);
		free(l->lines[i].agent);
		free(l->lines[i].what);
	}
	free(l);
}

static struct line *find_line(struct terminal *l, const char *certificate, const char *agent)
{
	for (size_t i = 0; i < l->count; i++)
		if (strcmp(l->lines[i].certificate, certificate) == 0 && strcmp(l->lines[i].agent, agent) == 0)
			return &l->lines[i];
	if (l->count == LIVE_LINES_MAX)
		return NULL;
	l->lines[l->count] = (struct line){.certificate = mem_strdup(certificate), .agent = mem_strdup(agent)};
	return &l->lines[l->count++];
}

/* Takes `what` over. */
static void put_line(
	struct terminal *l, const char *certificate, const char *agent, const char *word, bool under_way, char *what)
{
	struct line *line = find_line(l, certificate, agent);
	if (!line) {
		free(what);
	} else {
		free(line->what);
		line->what = what;
		line->word = word;
		line->under_way = under_way;
		line->since = clock_monotonic_ms();
	}
	terminal_draw(l);
}

void terminal_order(struct terminal *l, const char *certificate, const char *step)
{
	put_line(l, certificate, "", "order", true, mem_strdup(step));
}

void terminal_take(struct terminal *l, const struct agent_row *row)
{
	bool under_way = row->state == ROLLOUT_OFFERED || row->state == ROLLOUT_STAGED ||
		row->state == ROLLOUT_ACTIVATING || row->state == ROLLOUT_INSTALLED;
	char *what = row->state == ROLLOUT_FAILED ? mem_printf("at %s: %s", row->step, row->error)
		: row->waits_for[0]               ? mem_printf("waits for %s", row->waits_for)
						  : mem_strdup("");
	put_line(l, row->certificate, row->agent, rollout_state_name(row->state), under_way, what);
}

static char *line_text(const struct line *line)
{
	double seconds = (double)(clock_monotonic_ms() - line->since) / 1000;
	auto_free char *time = line->under_way ? mem_printf("%6.1f s", seconds) : mem_strdup("        ");
	return mem_printf("%-24s %-14s %-12s %s  %s", line->certificate, line->agent, line->word, time, line->what);
}

void terminal_erase(struct terminal *l)
{
	if (l->drawn)
		printf("\033[%dA\r\033[J", l->drawn);
	l->drawn = 0;
	fflush(stdout);
}

/* If there is not enough room for all lines, those that are under way get it. */
void terminal_draw(struct terminal *l)
{
	int width, height, left = 0;
	window(&width, &height);
	if (l->drawn)
		printf("\033[%dA\r", l->drawn);
	int drawn = 0;
	for (int pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < l->count; i++) {
			bool all = (int)l->count < height - 1;
			if (all ? pass != 0 : l->lines[i].under_way != (pass == 0))
				continue;
			if (drawn >= height - 2) {
				left++;
				continue;
			}
			auto_free char *text = line_text(&l->lines[i]);
			put_clipped(text, strlen(text), width - 1);
			fputs("\033[K\n", stdout);
			drawn++;
		}
	if (left) {
		printf("… and %d more\033[K\n", left);
		drawn++;
	}
	printf("\033[J");
	l->drawn = drawn;
	fflush(stdout);
}

/* ---- a whole screen ---- */

void terminal_screen(void (*print)(const void *what), const void *what)
{
	char *text = NULL;
	size_t len = 0;
	int width, height, lines = 0;
	FILE *terminal = stdout, *memory = open_memstream(&text, &len);
	if (!memory)
		mem_abort(__func__);
	/* glibc lets standard output be another stream for a while. */
	stdout = memory;
	print(what);
	stdout = terminal;
	fclose(memory);
	window(&width, &height);
	printf("\033[H");
	for (const char *at = text; *at && lines < height - 1; lines++) {
		size_t end = strcspn(at, "\n");
		put_clipped(at, end, width);
		fputs("\033[K\n", stdout);
		at += end + (at[end] == '\n');
		if (lines == height - 3 && strchr(at, '\n') && strchr(at, '\n')[1]) {
			fputs("… the window is too small for the rest\033[K\n", stdout);
			break;
		}
	}
	printf("\033[J");
	fflush(stdout);
	free(text);
}
