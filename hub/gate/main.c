/* certsync-gate: login shell and forced command of the gate account. It parses nothing: it tells the hub the word that
 * sshd gives it as `-c WORD`, which is an agent's name and which of its keys it was, then relays bytes both ways
 * between its stdio and the gate socket.
 *
 * sshd runs one for each agent, so it is small: it has libc alone, two static buffers, and no stdio.
 */
#include "lib/core/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef GATE_SOCKET
#define GATE_SOCKET "/run/certsync-hub/gate.sock"
#endif

enum {
	BUFFER_SIZE = 16 * 1024,
	NAME_MAX_LENGTH = 63,
	MARK_MAX_LENGTH = 32,
	WORD_MAX_LENGTH = NAME_MAX_LENGTH + 1 + MARK_MAX_LENGTH,
	EXIT_USAGE = 2,
	EXIT_UNREACHABLE = 4
};

/* One direction. The next read waits until everything has been written, so a peer that does not read stops the other
 * one, and nothing piles up here. */
struct pipe {
	int from, to;
	char *buffer;
	size_t at, len;
	bool ended; /* `from` has come to its end */
	bool done;  /* and `to` has been told */
};

static char buffers[2][BUFFER_SIZE];

static int fail(int code, const char *what, const char *why)
{
	const char *const parts[] = {"certsync-gate: ", what, why, "\n"};
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		ssize_t ignored = write(STDERR_FILENO, parts[i], strlen(parts[i]));
		(void)ignored;
	}
	return code;
}

/* Behind a colon stands the name of an agent that joins, or else the mark of a key. The hub reads which of them it
 * is. */
static bool is_word(const char *word)
{
	static const char first[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	static const char rest[] = "abcdefghijklmnopqrstuvwxyz0123456789._-";
	static const char behind[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/._-";
	size_t len = strlen(word), name = strspn(word, rest);
	if (len == 0 || len > WORD_MAX_LENGTH || name > NAME_MAX_LENGTH || !strchr(first, word[0]))
		return false;
	return name == len ||
		(word[name] == ':' && name + 1 < len && name + 1 + strspn(word + name + 1, behind) == len);
}

/* Returns -1 with errno on failure. */
static int connect_to(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		int saved = errno;
		close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

static int introduce(int fd, const char *word)
{
	char text[1 + WORD_MAX_LENGTH];
	size_t len = strlen(word);
	text[0] = (char)len;
	/* NOLINTNEXTLINE(bugprone-not-null-terminated-result): its length goes ahead of it */
	memcpy(text + 1, word, len);
	/* A fresh socket takes so few bytes at once. */
	return send(fd, text, len + 1, MSG_NOSIGNAL) == (ssize_t)len + 1 ? 0 : -1;
}

/* Returns whether a result of read or write only means "not now". */
static bool is_later(ssize_t result)
{
	return result < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
}

/* Moves what can be moved at once. Returns -1 when this direction is broken for good. */
static int pump(struct pipe *p, bool readable, bool writable)
{
	if (p->at == p->len && readable && !p->ended) {
		ssize_t got = read(p->from, p->buffer, BUFFER_SIZE);
		if (got < 0 && !is_later(got))
			return -1;
		p->ended = got == 0;
		p->at = 0;
		p->len = got > 0 ? (size_t)got : 0;
		writable = true; /* most probably, and if not, nothing is lost */
	}
	if (p->at < p->len && writable) {
		ssize_t put = write(p->to, p->buffer + p->at, p->len - p->at);
		if (put < 0 && !is_later(put))
			return -1;
		p->at += put > 0 ? (size_t)put : 0;
	}
	return 0;
}

/* Passes the end of a stream on, once everything before it is through. */
static void pass_end(struct pipe *p)
{
	if (!p->ended || p->done || p->at < p->len)
		return;
	p->done = true;
	if (shutdown(p->to, SHUT_WR) < 0 && errno == ENOTSOCK)
		close(p->to);
}

/* The hub takes nothing any more; what it still has to say goes on. */
static void give_up(struct pipe *p)
{
	p->ended = p->done = true;
	p->at = p->len = 0;
}

static int relay(int gate)
{
	struct pipe up = {.from = STDIN_FILENO, .to = gate, .buffer = buffers[0]};
	struct pipe down = {.from = gate, .to = STDOUT_FILENO, .buffer = buffers[1]};
	while (!down.done) {
		bool up_full = up.at < up.len, down_full = down.at < down.len;
		short wanted = (short)((down.ended || down_full ? 0 : POLLIN) | (up_full ? POLLOUT : 0));
		struct pollfd fds[] = {
			{up.ended || up_full ? -1 : STDIN_FILENO, POLLIN, 0},
			{wanted ? gate : -1, wanted, 0},
			/* Without any event asked for, this still tells when the reader is gone. */
			{STDOUT_FILENO, down_full ? POLLOUT : 0, 0},
		};
		if (poll(fds, 3, -1) < 0 && errno != EINTR)
			return 1;
		if (fds[2].revents & (POLLERR | POLLHUP | POLLNVAL))
			return 0;
		const short gone = POLLHUP | POLLERR;
		if (pump(&up, fds[0].revents & (POLLIN | gone), fds[1].revents & (POLLOUT | gone)) < 0)
			give_up(&up);
		if (pump(&down, fds[1].revents & (POLLIN | gone), fds[2].revents & POLLOUT) < 0)
			return 0;
		pass_end(&up);
		pass_end(&down);
	}
	return 0;
}

/* It is called as `certsync-gate WORD`, as a login shell `-certsync-gate -c WORD`, and in tests `certsync-gate --socket
 * PATH WORD`. Nothing that sshd runs for the account can become the last form, since a shell gets its command behind
 * -c. */
int main(int argc, char **argv)
{
	/* It needs one socket beside the three descriptors that it was given, and nothing else. The hub's socket is
	 * found by its path, which Landlock does not restrict. */
	const struct confine may = {.descriptors = STDERR_FILENO + 2};
	const char *path = GATE_SOCKET, *word = NULL;
	signal(SIGPIPE, SIG_IGN);
	confine(&may);
	if (argc == 2)
		word = argv[1];
	else if (argc == 3 && strcmp(argv[1], "-c") == 0)
		word = argv[2];
	else if (argc == 4 && strcmp(argv[1], "--socket") == 0) {
		path = argv[2];
		word = argv[3];
	}
	if (!word || !is_word(word))
		return fail(EXIT_USAGE, "this account is for agents of certsync: ",
			"a key in authorized_keys says restrict,command=\"NAME:KEY\"");
	int gate = connect_to(path);
	if (gate < 0 || introduce(gate, word) < 0)
		return fail(EXIT_UNREACHABLE, "the hub cannot be reached: ", strerror(errno));
	const int both[] = {STDIN_FILENO, STDOUT_FILENO, gate};
	for (size_t i = 0; i < sizeof(both) / sizeof(both[0]); i++)
		if (fcntl(both[i], F_SETFL, fcntl(both[i], F_GETFL) | O_NONBLOCK) < 0)
			return fail(1, "a descriptor is not open: ", strerror(errno));
	return relay(gate);
}
