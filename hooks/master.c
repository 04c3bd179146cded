/* What the hooks that are scripts ask of a service's master process. It is a program of its own, since a shell reads a
 * pid file anew each time that it needs the number, and signals by the number: whoever can write that file, or have the
 * number given to another process in between, would make root signal any process.
 *
 *   master HOOK running FILE NAMES [USER]        looks at the process that the pid file FILE names master HOOK signal
 *   SIGNAL FILE NAMES [USER]  does the same, and sends it HUP or USR1 master HOOK serves NAMES [WORDS]
 *   looks for a process of these names with one of these words as an argument master HOOK owned PATH [USER]
 *   looks whether only root, the caller or USER can change what PATH names
 *
 * NAMES and WORDS are separated by blanks. The exit code is 0 when the answer is yes (and the process was signalled), 3
 * when the service surely does not run, and 1 when that cannot be told or the answer is no; then the reason has been
 * said, in the name of HOOK.
 *
 * The rule is that of lib/service/process.h. Where a service runs as a user of its own, which the script has from root's
 * configuration, a pid file that this USER could have written is read with his rights, and a process of his is
 * signalled with his rights: what he says makes root do nothing. */
#include "lib/core/fs.h"
#include "lib/core/mem.h"
#include "lib/core/owned.h"
#include "lib/core/proc.h"
#include "lib/service/process.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EXIT_STOPPED = 3, PID_FILE_MAX = 4096, NAMES_MAX = 16 };

static const char *hook;

struct master {
	const char *file;
	char *names[NAMES_MAX + 1];   /* ended by NULL */
	const struct proc_user *user; /* the service's own; NULL: it has none, or we are not root */
	bool his_word;                /* he could have written the pid file */
	int proc;                     /* its directory in /proc, which pidfd_send_signal takes */
	struct process process;
};

__attribute__((format(printf, 2, 3))) static int say(int code, const char *fmt, ...)
{
	char text[ERROR_MESSAGE_MAX];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	text_clean(text, 0);
	fprintf(stderr, "%s: %s\n", hook, text);
	return code;
}

/* Cuts `text` in place. */
static void split(char *text, char *list[NAMES_MAX + 1])
{
	size_t count = 0;
	char *word;
	while (count < NAMES_MAX && (word = strsep(&text, " ")))
		if (*word)
			list[count++] = word;
	list[count] = NULL;
}

/* Returns true when the path surely does not exist, as opposed to one where we may not look. */
static bool is_absent(const char *path)
{
	struct stat st;
	return lstat(path, &st) < 0 && (errno == ENOENT || errno == ENOTDIR);
}

/* Neither call says whether it has failed; each returns what was in force before. */
static bool take_file_rights(uid_t uid, gid_t gid)
{
	(void)setfsgid(gid);
	(void)setfsuid(uid);
	return (gid_t)setfsgid((gid_t)-1) == gid && (uid_t)setfsuid((uid_t)-1) == uid;
}

/* Reads with the service's user's rights to files what he could have put there. */
static int read_as(const struct proc_user *user, const char *path, struct buf *out, struct error *err)
{
	if (!user)
		return fs_read(AT_FDCWD, path, true, out, err);
	if (setgroups(0, NULL) < 0 || !take_file_rights(user->uid, user->gid))
		return error_set(
			err, ERROR_PERMANENT, "%s cannot be read with the rights of user %s", path, user->name);
	int result = fs_read(AT_FDCWD, path, true, out, err);
	return take_file_rights(geteuid(), getegid()) ? result
						      : error_set(err, ERROR_PERMANENT, "cannot be root again");
}

/* Returns 0, or an exit code; then the reason has been said where there is one. */
static int read_pid(struct master *m, pid_t *ret)
{
	struct error err, his;
	auto_buf struct buf text = BUF_INIT(PID_FILE_MAX);
	if (is_absent(m->file))
		return EXIT_STOPPED;
	m->his_word = owned_check(m->file, NULL, &err) < 0;
	if (m->his_word && (!m->user || owned_check(m->file, m->user, &his) < 0))
		return is_absent(m->file) ? EXIT_STOPPED : say(EXIT_FAILURE, "%s", m->user ? his.message : err.message);
	if (read_as(m->his_word ? m->user : NULL, m->file, &text, &err) < 0)
		return is_absent(m->file) ? EXIT_STOPPED : say(EXIT_FAILURE, "%s: run this hook as root", err.message);
	const char *at = buf_text(&text);
	at += strspn(at, " \t\n");
	/* `nginx -t` leaves an empty pid file. */
	if (*at == '\0')
		return EXIT_STOPPED;
	char *end;
	long pid = isdigit((unsigned char)*at) ? strtol(at, &end, 10) : 0;
	if (pid <= 0 || pid > INT32_MAX || (*end && !isspace((unsigned char)*end)))
		return say(EXIT_FAILURE, "%s does not begin with a process's number", m->file);
	*ret = (pid_t)pid;
	return 0;
}

static int cannot_look(pid_t pid)
{
	return say(EXIT_FAILURE, "process %d cannot be looked at by user %d: run this hook as root", (int)pid,
		(int)geteuid());
}

static enum process_answer read_process(struct master *m, pid_t pid)
{
	enum process_answer answer = PROCESS_NO;
	for (size_t k = 0; m->names[k] && answer == PROCESS_NO; k++)
		answer = process_read(m->proc, pid, m->names[k], &m->process);
	return answer;
}

static bool is_his(const struct master *m)
{
	return m->user && m->process.one_user && m->process.uid == m->user->uid;
}

static int find(struct master *m)
{
	pid_t pid = 0;
	int code = read_pid(m, &pid);
	if (code)
		return code;
	m->proc = process_open(pid);
	/* Where /proc hides the processes of others, it hides init, too. */
	if (m->proc < 0)
		return access("/proc/1", F_OK) == 0 ? EXIT_STOPPED : cannot_look(pid);
	enum process_answer answer = read_process(m, pid);
	if (answer == PROCESS_YES && !m->process.trusted && !is_his(m))
		return say(EXIT_STOPPED, "process %d is user %d's and not the service's master", (int)pid,
			(int)m->process.uid);
	if (answer == PROCESS_YES)
		answer = is_his(m) ? process_is_ours(m->proc) : process_is_here(m->proc, &m->process);
	if (answer == PROCESS_HIDDEN)
		return cannot_look(pid);
	return answer == PROCESS_YES ? 0 : EXIT_STOPPED;
}

static int become(const struct proc_user *user)
{
	return setgroups(0, NULL) < 0 || setresgid(user->gid, user->gid, user->gid) < 0
		? -1
		: setresuid(user->uid, user->uid, user->uid);
}

static int send_signal(const struct master *m, int number)
{
	/* A process of root's is not signalled on another's word. */
	if (m->his_word && !is_his(m))
		return say(EXIT_FAILURE,
			"%s, which user %s can write, names process %d of user %d: it is not signalled", m->file,
			m->user->name, (int)m->process.pid, (int)m->process.uid);
	if ((!is_his(m) || become(m->user) == 0) && proc_pidfd_signal(m->proc, number) == 0)
		return 0;
	return say(EXIT_FAILURE, "cannot signal process %d: %s", (int)m->process.pid, strerror(errno));
}

/* Finds the service's own user, where it has one and we can act for him. Returns 0, or an exit code, and has said the
 * reason. */
static int find_user(const char *name, struct proc_user *user, const struct proc_user **ret)
{
	struct error err;
	*ret = NULL;
	if (!name || !*name || geteuid() != 0)
		return 0;
	/* Some configurations have a number here. */
	const struct passwd *entry = name[strspn(name, "0123456789")] ? NULL : getpwuid((uid_t)strtoul(name, NULL, 10));
	if (proc_user_find(entry ? entry->pw_name : name, user, &err) < 0)
		return say(EXIT_FAILURE, "%s", err.message);
	*ret = user->uid ? user : NULL;
	return 0;
}

static int verb_master(const char *file, char *names, const char *user_name, int number)
{
	struct master m = {.file = file, .proc = -1};
	struct proc_user user;
	split(names, m.names);
	int code = find_user(user_name, &user, &m.user);
	if (code == 0)
		code = find(&m);
	if (code == 0 && number)
		code = send_signal(&m, number);
	if (m.proc >= 0)
		close(m.proc);
	return code;
}

static bool has_word(int proc, char *const *words)
{
	auto_buf struct buf line = BUF_INIT(64 * 1024);
	if (!words[0])
		return true;
	if (process_words(proc, &line) != PROCESS_YES)
		return false;
	const char *text = buf_text(&line), *end = text + line.len;
	for (const char *at = text; at < end; at += strlen(at) + 1)
		for (size_t k = 0; words[k]; k++)
			if (strstr(at, words[k]))
				return true;
	return false;
}

/* Returns whether root has started the process, or has opened the port at which it serves, since no stranger has such a
 * port. */
static bool is_roots(int proc, const struct process *p)
{
	if (p->trusted)
		return process_is_here(proc, p) == PROCESS_YES;
	return process_serves(proc) && process_is_ours(proc) == PROCESS_YES;
}

static bool serves(const char *name, char *const *words, bool *ret_hidden)
{
	struct process *list;
	size_t count;
	bool found = false;
	*ret_hidden = process_list(name, &list, &count) == PROCESS_HIDDEN || *ret_hidden;
	for (size_t k = 0; k < count && !found; k++) {
		auto_close int proc = process_open(list[k].pid);
		found = proc >= 0 && is_roots(proc, &list[k]) && has_word(proc, words);
	}
	free(list);
	return found;
}

static int verb_serves(char *names, char *words)
{
	char *name[NAMES_MAX + 1], *word[NAMES_MAX + 1];
	bool hidden = false;
	split(names, name);
	split(words, word);
	for (size_t k = 0; name[k]; k++)
		if (serves(name[k], word, &hidden))
			return 0;
	if (hidden)
		return say(EXIT_FAILURE, "the processes of others are hidden from user %d: run this hook as root",
			(int)geteuid());
	return EXIT_STOPPED;
}

static int verb_owned(const char *path, const char *user_name)
{
	struct error err;
	struct proc_user user;
	const struct proc_user *also;
	int code = find_user(user_name, &user, &also);
	if (code)
		return code;
	return owned_check(path, also, &err) < 0 ? say(EXIT_FAILURE, "%s", err.message) : 0;
}

int main(int argc, char **argv)
{
	proc_harden();
	const char *verb = argc > 2 ? argv[2] : "";
	hook = argc > 1 ? argv[1] : "master";
	if (strcmp(verb, "running") == 0 && (argc == 5 || argc == 6))
		return verb_master(argv[3], argv[4], argc == 6 ? argv[5] : NULL, 0);
	if (strcmp(verb, "signal") == 0 && (argc == 6 || argc == 7) &&
		(strcmp(argv[3], "HUP") == 0 || strcmp(argv[3], "USR1") == 0))
		return verb_master(argv[4], argv[5], argc == 7 ? argv[6] : NULL, argv[3][0] == 'H' ? SIGHUP : SIGUSR1);
	if (strcmp(verb, "serves") == 0 && (argc == 4 || argc == 5))
		return verb_serves(argv[3], argc == 5 ? argv[4] : (char[]){""});
	if (strcmp(verb, "owned") == 0 && (argc == 4 || argc == 5))
		return verb_owned(argv[3], argc == 5 ? argv[4] : NULL);
	fprintf(stderr, "usage: master HOOK running|signal|serves|owned …: the hooks that are scripts run it\n");
	return 2;
}
