#include "agent/daemon/teller.h"
#include "lib/cli/cli.h"
#include "lib/core/buf.h"
#include "lib/core/fs.h"
#include "lib/service/hook.h"
#include "lib/core/mem.h"
#include "lib/core/proc.h"
#include "lib/core/text.h"
#include "lib/wire/conn.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum {
	TELL_FD = 3,
	TELL_DEADLINE = 60,
	TELL_MESSAGE_MAX = 4 * 1024 * 1024,
	TELL_HOW_MAX = 2048,
	TELL_SAID_MAX = 512,
	TELL_SCRIPT_MAX = 64 * 1024
};

/* ---- what cannot work ---- */

static bool is_mailer(const char *word, size_t len)
{
	static const char *const mailers[] = {"sendmail", "mail", "mailx"};
	for (size_t i = 0; i < COUNT(mailers); i++)
		if (strlen(mailers[i]) == len && memcmp(word, mailers[i], len) == 0)
			return true;
	return false;
}

/* A word is what a shell takes for one, without the directory; `mail` in `mail.domain.pl` is none. */
static bool names_mailer(const char *line)
{
	static const char ends[] = " \t;|&()<>`\"'=";
	while (*line) {
		size_t len = strcspn(line, ends);
		const char *end = line + len, *word = end;
		while (word > line && word[-1] != '/')
			word--;
		if (is_mailer(word, (size_t)(end - word)))
			return true;
		line = end + strspn(end, ends);
	}
	return false;
}

bool teller_lacks_rights(const char *command)
{
	struct stat st;
	struct error ignored;
	auto_buf struct buf script = BUF_INIT(TELL_SCRIPT_MAX);
	if (stat(command, &st) < 0)
		return false;
	if (st.st_mode & (S_ISUID | S_ISGID))
		return true;
	if (fs_read(AT_FDCWD, command, true, &script, &ignored) < 0 || script.len < 2 ||
		memcmp(script.data, "#!", 2) != 0)
		return false;
	auto_free char *text = mem_strdup(buf_text(&script));
	char *next = text;
	for (char *line; (line = strsep(&next, "\n"));)
		if (line[strspn(line, " \t")] != '#' && names_mailer(line))
			return true;
	return false;
}

/* ---- the daemon's side ---- */

struct teller {
	pid_t pid;
	struct conn *conn;
	uint32_t number;   /* of the message that was handed over last */
	teller_done *done; /* NULL: nothing runs */
	void *done_context;
	void (*ended)(void *context);
	void *context;
};

static void on_answer(struct conn *c, const struct frame *frame, void *context)
{
	(void)c;
	struct teller *t = context;
	char how[TELL_HOW_MAX];
	struct reader r = READER(frame->data, frame->len);
	uint32_t number = read_u32(&r);
	bool delivered = read_u8(&r) == 1;
	read_string(&r, how, sizeof(how));
	if (!read_done(&r) || !t->done || number != t->number)
		return;
	teller_done *done = t->done;
	t->done = NULL;
	done(delivered, how, t->done_context);
}

static void on_closed(struct conn *c, const struct error *err, void *context)
{
	(void)c;
	(void)err;
	struct teller *t = context;
	t->ended(t->context);
}

static const struct conn_handler handler = {on_answer, on_closed};

struct teller *teller_start(
	struct event_base *base, const char *command, void (*ended)(void *context), void *context, struct error *err)
{
	int pair[2];
	auto_free char *program = mem_printf("%s/certsync-agent", fs_program_directory());
	const char *const argv[] = {program, "tell", command, NULL};
	if (proc_socketpair(pair, err) < 0)
		return NULL;
	auto_close int ours = pair[0];
	auto_close int theirs = pair[1];
	const struct proc_spec spec = {.argv = argv,
		.in = -1,
		.out = -1,
		.err = PROC_INHERIT,
		.extra = theirs,
		.die_with_parent = true,
		.powerless = true};
	pid_t pid = proc_spawn(&spec, err);
	if (pid < 0)
		return NULL;
	struct teller *t = mem_alloc(sizeof(*t));
	t->pid = pid;
	t->ended = ended;
	t->context = context;
	t->conn = conn_new(base, steal_fd(&ours), 1u << FRAME_RECORD, &handler, t);
	conn_allow_output(t->conn, 2 * TELL_MESSAGE_MAX);
	return t;
}

void teller_free(struct teller *t)
{
	if (!t)
		return;
	/* Since we are confined we may not signal the process. It ends by itself when its descriptor does, and takes
	 * along what it runs. */
	conn_free(t->conn);
	while (waitpid(t->pid, NULL, 0) < 0 && errno == EINTR)
		;
	free(t);
}

void teller_run(struct teller *t, const void *message, size_t len, teller_done *done, void *context)
{
	const uint8_t *at = message;
	auto_buf struct buf number = BUF_INIT(sizeof(t->number));
	for (size_t taken; len; at += taken, len -= taken) {
		taken = len < FRAME_MESSAGE_MAX ? len : FRAME_MESSAGE_MAX;
		conn_send(t->conn, FRAME_MESSAGE, at, taken);
	}
	buf_put_u32(&number, ++t->number);
	t->done = done;
	t->done_context = context;
	conn_send(t->conn, FRAME_RECORD, number.data, number.len);
}

void teller_stop(struct teller *t)
{
	if (!t || !t->done)
		return;
	t->done = NULL;
	conn_send(t->conn, FRAME_RECORD, "", 0);
}

/* ---- the process ---- */

struct telling {
	const char *command;
	struct frame_stream in;
	struct buf message;
	uint32_t number; /* of what is to be run; 0: nothing */
};

/* The end of what an executable has said, for a line of the log. */
static const char *said(struct hook_result *result)
{
	size_t len = strlen(result->output);
	while (len && isspace((unsigned char)result->output[len - 1]))
		result->output[--len] = '\0';
	text_clean(result->output, 0);
	return result->output + (len > TELL_SAID_MAX ? len - TELL_SAID_MAX : 0);
}

static int tell(struct telling *t, struct error *err)
{
	struct hook_result result;
	struct error why;
	char how[TELL_HOW_MAX - 1];
	const char *const argv[] = {t->command, NULL};
	const struct hook_call call = {.argv = argv,
		.timeout = TELL_DEADLINE,
		.stop_fd = TELL_FD,
		.input = t->message.data,
		.input_len = t->message.len};
	auto_buf struct buf answer = BUF_INIT(FRAME_RECORD_MAX);
	bool exited = hook_run(&call, &result, &why) == 0;
	const char *last = said(&result);
	if (exited)
		snprintf(how, sizeof(how), "exited %d%s%s", result.exit_code, *last ? ": " : "", last);
	else
		snprintf(how, sizeof(how), "%s%s%s", why.message, *last ? ": " : "", last);
	if (buf_put_u32(&answer, t->number) < 0 || buf_put_u8(&answer, exited && result.exit_code == 0) < 0 ||
		buf_put_string(&answer, how) < 0)
		return error_set(err, ERROR_PERMANENT, "an answer is too long");
	t->number = 0;
	buf_reset(&t->message);
	return frame_send(TELL_FD, FRAME_RECORD, answer.data, answer.len, err);
}

static int take(struct telling *t, const struct frame *frame, struct error *err)
{
	struct reader r = READER(frame->data, frame->len);
	if (frame->type == FRAME_MESSAGE && buf_add(&t->message, frame->data, frame->len) < 0)
		return error_set(err, ERROR_PERMANENT, "the message is over %d bytes", TELL_MESSAGE_MAX);
	if (frame->type == FRAME_MESSAGE)
		return 0;
	t->number = frame->len ? read_u32(&r) : 0;
	if (!t->number)
		buf_reset(&t->message);
	return frame->len && !read_done(&r) ? error_set(err, ERROR_PERMANENT, "the record is not a number") : 0;
}

/* Runs the executable when nothing more has come that could end it. Returns 1 to go on, 0 when the daemon is gone, or
 * -1 with the reason. */
static int tell_next(struct telling *t, struct error *err)
{
	struct frame frame;
	int got = frame_next(&t->in, &frame, err);
	if (got == 0 && t->number)
		return tell(t, err) < 0 ? -1 : 1;
	if (got == 0)
		got = frame_receive(&t->in, &frame, err);
	if (got > 0 && take(t, &frame, err) < 0)
		return -1;
	return got;
}

int teller_main(const char *command)
{
	struct error err;
	struct telling t = {.command = command, .message = BUF_INIT(TELL_MESSAGE_MAX)};
	frame_stream_init(&t.in, TELL_FD, 1u << FRAME_MESSAGE | 1u << FRAME_RECORD);
	int got;
	do
		got = tell_next(&t, &err);
	while (got > 0);
	frame_stream_release(&t.in);
	buf_release(&t.message);
	return got < 0 ? cli_fail(CLI_FAILED, "%s", err.message) : CLI_DONE;
}
