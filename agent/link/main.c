#include "agent/common/link.h"
#include "lib/core/buf.h"
#include "lib/core/clock.h"
#include "lib/core/confine.h"
#include "lib/core/error.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"
#include "lib/core/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <libssh/libssh.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* What a quantum computer could not undo comes first; a libssh that has not learned it passes over it. */
#define KEX \
	"mlkem768x25519-sha256,sntrup761x25519-sha512,sntrup761x25519-sha512@openssh.com,curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256"
/* GCM comes first because it does not depend on strict key exchange, which libssh cannot be told to insist on. */
#define CIPHERS "aes256-gcm@openssh.com,aes128-gcm@openssh.com,chacha20-poly1305@openssh.com"
#define MACS "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com"
#define HOST_KEYS "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,rsa-sha2-512,rsa-sha2-256"

enum {
	AGENT = STDIN_FILENO,
	CHUNK = 64 * 1024,
	PINS_FILE_MAX = 64 * 1024,
	SAYS_MAX = 2048, /* of the far side's standard error */
	SAYS_LINE_MAX = 400,
	LEAVE_MS = 2000,       /* for what is still on its way when one side has ended */
	ADDRESS_MIN_MS = 1000, /* each address gets at least that */
};

struct stream {
	char data[CHUNK];
	size_t at, len; /* what is left begins at `at` */
};

struct link {
	const char *user, *host, *port;
	const char *key_file, *pins_file; /* NULL of a node that joins, which is given both */
	int key_fd;
	struct buf pins; /* fingerprints with ", " between them: for the comparison and the message alike */
	int timeout;     /* seconds */
	int64_t deadline;
	int tcp;
	ssh_session session;
	ssh_channel channel;
	struct ssh_counter_struct traffic; /* counted by libssh */
	uint64_t packets_seen;
	struct stream up, down; /* agent to hub, hub to agent */
	bool agent_ended, hub_ended;
	int64_t leave_by; /* 0: nobody has ended */
	size_t said;      /* bytes of the far side's standard error so far */
	char says[SAYS_LINE_MAX + 1];
	size_t says_len;
};

/* This text for the line that the alarm writes says where the connection stands. It is prepared, because a handler may
 * only write. */
static char alarm_text[512];
static size_t alarm_len;

static void on_alarm(int number)
{
	(void)number;
	ssize_t ignored = write(STDERR_FILENO, alarm_text, alarm_len);
	(void)ignored;
	_exit(LINK_UNREACHABLE);
}

static void stage(const struct link *l, const char *what)
{
	/* A handler that ran in between would write half a line. */
	alarm_len = 0;
	int len = snprintf(alarm_text, sizeof(alarm_text),
		"certsync-link: %s@%s:%s: not connected within %d s (%s); the next try follows by itself\n", l->user,
		l->host, l->port, l->timeout, what);
	alarm_len = len < 0 ? 0 : (size_t)len < sizeof(alarm_text) ? (size_t)len : sizeof(alarm_text) - 1;
}

/* Writes the one line of reason and returns `code`. */
static int fail(const struct link *l, enum link_exit code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int fail(const struct link *l, enum link_exit code, const char *fmt, ...)
{
	char text[ERROR_MESSAGE_MAX];
	struct error err;
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	error_set(&err, ERROR_RETRY, "%s@%s:%s: %s", l->user, l->host, l->port, text);
	fprintf(stderr, "certsync-link: %s\n", err.message);
	return code;
}

/* ---- getting there: every function returns LINK_DONE to go on ---- */

/* An agent that is gone needs no connection and reads no reason. */
static void exit_without_agent(short revents)
{
	if (revents & (POLLHUP | POLLERR | POLLNVAL))
		exit(LINK_DONE);
}

/* Waits for the connection that was begun on `fd`. Returns 0, or -1 with errno. */
static int await_connected(int fd, int64_t until)
{
	struct pollfd fds[2] = {{.fd = fd, .events = POLLOUT}, {.fd = AGENT}};
	do {
		int64_t left = until - clock_monotonic_ms();
		if (poll(fds, 2, left > 0 ? (int)left : 0) < 0 && errno != EINTR)
			return -1;
		exit_without_agent(fds[1].revents);
	} while (!fds[0].revents && clock_monotonic_ms() < until);
	int code = ETIMEDOUT;
	socklen_t len = sizeof(code);
	if (fds[0].revents && getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len) < 0)
		return -1;
	errno = code;
	return code ? -1 : 0;
}

static int connect_address(const struct addrinfo *address, int64_t until)
{
	auto_close int fd =
		socket(address->ai_family, address->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, address->ai_protocol);
	if (fd < 0)
		return -1;
	if (connect(fd, address->ai_addr, address->ai_addrlen) < 0 && errno != EINPROGRESS)
		return -1;
	if (await_connected(fd, until) < 0)
		return -1;
	int on = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return steal_fd(&fd);
}

/* Tries each address in turn; the time that is left is shared among the addresses that are left. */
static int connect_any(struct link *l, const struct addrinfo *addresses)
{
	struct buf tried = BUF_INIT(512);
	int left = 0;
	for (const struct addrinfo *a = addresses; a; a = a->ai_next)
		left++;
	for (const struct addrinfo *a = addresses; a && l->tcp < 0; a = a->ai_next, left--) {
		int64_t share = (l->deadline - clock_monotonic_ms()) / left;
		int64_t now = clock_monotonic_ms();
		l->tcp = connect_address(a, now + (share > ADDRESS_MIN_MS ? share : ADDRESS_MIN_MS));
		int code = errno;
		char name[NI_MAXHOST] = "?";
		getnameinfo(a->ai_addr, a->ai_addrlen, name, sizeof(name), NULL, 0, NI_NUMERICHOST);
		if (l->tcp < 0)
			buf_addf(&tried, "%s%s: %s", tried.len ? ", " : "", name, strerror(code));
	}
	int code = LINK_DONE;
	if (l->tcp < 0)
		code = fail(l, LINK_UNREACHABLE,
			"cannot connect (%s); is the hub's sshd running, and does a firewall let this node "
			"in?",
			buf_text(&tried));
	buf_release(&tried);
	return code;
}

static int link_connect(struct link *l)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
	struct addrinfo *addresses = NULL;
	stage(l, "looking up the name");
	int rc = getaddrinfo(l->host, l->port, &hints, &addresses);
	if (rc)
		return fail(l, LINK_UNREACHABLE, "cannot find the address of \"%s\": %s", l->host,
			rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
	stage(l, "connecting");
	int code = connect_any(l, addresses);
	freeaddrinfo(addresses);
	return code;
}

/* Any call into libssh may take in packets that are for another call, and poll knows nothing of those. So whoever wants
 * to sleep asks first, and makes another round if this returns true. */
static bool packets_came(struct link *l)
{
	bool came = l->traffic.in_packets != l->packets_seen;
	l->packets_seen = l->traffic.in_packets;
	return came;
}

/* Waits until libssh can go on. */
static void await_session(struct link *l)
{
	if (packets_came(l))
		return;
	int flags = ssh_get_poll_flags(l->session);
	struct pollfd fds[2] = {{.fd = l->tcp, .events = POLLIN}, {.fd = AGENT}};
	if (flags & SSH_WRITE_PENDING)
		fds[0].events |= POLLOUT;
	poll(fds, 2, -1);
	exit_without_agent(fds[1].revents);
}

static bool is_lost(const struct link *l)
{
	return !ssh_is_connected(l->session) || ssh_get_status(l->session) & SSH_CLOSED_ERROR;
}

/* Returns whether a call that said SSH_AGAIN is to be made again, after a wait. libssh says SSH_AGAIN for ever once the
 * server has said goodbye, and has closed the descriptor that would be waited for. */
static bool await_again(struct link *l)
{
	if (is_lost(l))
		return false;
	await_session(l);
	return true;
}

/* libssh reports a server that hangs up as the error "Success". */
static const char *why_broken(const struct link *l)
{
	const char *why = ssh_get_error(l->session);
	return why[0] == '\0' || strstr(why, "Success") ? "the server hung up" : why;
}

static int set_options(struct link *l)
{
	const bool no = false;
	const struct {
		enum ssh_options_e option;
		const void *value;
	} options[] = {
		{SSH_OPTIONS_PROCESS_CONFIG, &no},
		{SSH_OPTIONS_SSH_DIR, "/nonexistent"},
		{SSH_OPTIONS_KNOWNHOSTS, "/dev/null"},
		{SSH_OPTIONS_GLOBAL_KNOWNHOSTS, "/dev/null"},
		{SSH_OPTIONS_HOST, l->host},
		{SSH_OPTIONS_PORT_STR, l->port},
		{SSH_OPTIONS_USER, l->user},
		{SSH_OPTIONS_FD, &l->tcp},
		{SSH_OPTIONS_NODELAY, &(int){1}},
		{SSH_OPTIONS_KEY_EXCHANGE, KEX},
		{SSH_OPTIONS_HOSTKEYS, HOST_KEYS},
		{SSH_OPTIONS_CIPHERS_C_S, CIPHERS},
		{SSH_OPTIONS_CIPHERS_S_C, CIPHERS},
		{SSH_OPTIONS_HMAC_C_S, MACS},
		{SSH_OPTIONS_HMAC_S_C, MACS},
		{SSH_OPTIONS_COMPRESSION, "no"},
	};
	for (size_t i = 0; i < COUNT(options); i++)
		if (ssh_options_set(l->session, options[i].option, options[i].value) < 0)
			return fail(l, LINK_PROTOCOL, "libssh refuses option %d: %s", (int)options[i].option,
				ssh_get_error(l->session));
	return LINK_DONE;
}

static int link_handshake(struct link *l)
{
	l->session = ssh_new();
	if (!l->session)
		return fail(l, LINK_PROTOCOL, "libssh cannot begin a session");
	if (set_options(l) != LINK_DONE)
		return LINK_PROTOCOL;
	ssh_set_blocking(l->session, 0);
	ssh_set_counters(l->session, NULL, &l->traffic);
	stage(l, "SSH key exchange");
	int rc;
	while ((rc = ssh_connect(l->session)) == SSH_AGAIN)
		await_session(l);
	if (rc == SSH_OK)
		return LINK_DONE;
	const char *why = ssh_get_error(l->session);
	if (strstr(why, "kex error"))
		return fail(l, LINK_PROTOCOL,
			"no common algorithm: %s; the hub's sshd must allow curve25519-sha256 and an AEAD "
			"cipher",
			why);
	/* sshd may hang up over the algorithms before libssh has seen that there is no common one. */
	return fail(l, LINK_UNREACHABLE,
		"the SSH connection ended before the key exchange was complete (%s); the log of the hub's "
		"sshd says "
		"why: too many logins at once (MaxStartups), an address that it refuses for a while after refused keys "
		"(PerSourcePenalties), or no common algorithm",
		why_broken(l));
}

/* ---- the host key ---- */

static int read_pins(struct link *l)
{
	auto_buf struct buf text = BUF_INIT(PINS_FILE_MAX);
	struct error err;
	if (fs_read(AT_FDCWD, l->pins_file, true, &text, &err) < 0)
		return fail(l, LINK_USAGE, "cannot read the pinned host keys: %s", err.message);
	auto_free char *copy = mem_strdup(buf_text(&text));
	char *next = NULL;
	for (char *line = strtok_r(copy, "\n", &next); line; line = strtok_r(NULL, "\n", &next)) {
		line += strspn(line, " \t\r");
		line[strcspn(line, " \t\r")] = '\0';
		if (line[0] == '\0' || line[0] == '#')
			continue;
		if (strncmp(line, "SHA256:", 7) != 0)
			return fail(l, LINK_USAGE, "%s: \"%s\" is not a fingerprint SHA256:…", l->pins_file, line);
		buf_addf(&l->pins, "%s%s", l->pins.len ? ", " : "", line);
	}
	if (l->pins.len == 0)
		return fail(l, LINK_USAGE, "%s has no fingerprint; `certsync-agent join` writes it", l->pins_file);
	return LINK_DONE;
}

/* Once it is connected and these files are open, the process has all that it will ever need; then it gives up
 * everything else. libssh reads what comes from the other side only after this. */
static int link_confine(struct link *l)
{
	int code = l->pins_file ? read_pins(l) : LINK_DONE;
	if (code != LINK_DONE)
		return code;
	if (l->key_file)
		l->key_fd = open(l->key_file, O_RDONLY | O_CLOEXEC);
	if (l->key_fd < 0)
		return fail(l, LINK_USAGE, "cannot read a private key from %s: %s", l->key_file, strerror(errno));
	/* OpenSSL reads its own configuration, and a system's policy in it, when it is first asked for something, so it
	 * is asked now. */
	unsigned char byte;
	if (!ssh_get_random(&byte, sizeof(byte), 0))
		return fail(l, LINK_PROTOCOL, "libssh gives no random numbers");
	const int last = l->tcp > l->key_fd ? l->tcp : l->key_fd;
	const struct confine may = {.descriptors = (unsigned)last + 1};
	confine(&may);
	return LINK_DONE;
}

static bool is_pinned(const char *pins, const char *fingerprint)
{
	size_t len = strlen(fingerprint);
	for (const char *at = pins; at; at = strchr(at, ','), at = at ? at + 2 : NULL)
		if (strncmp(at, fingerprint, len) == 0 && (at[len] == '\0' || at[len] == ','))
			return true;
	return false;
}

/* Returns "SHA256:…" of the key that the server has proven to hold, and its type, or NULL when there is none. */
static char *host_fingerprint(ssh_session session, const char **ret_type)
{
	ssh_key key = NULL;
	unsigned char *hash = NULL;
	size_t hash_len = 0;
	char *text = NULL;
	if (ssh_get_server_publickey(session, &key) < 0)
		return NULL;
	if (ssh_get_publickey_hash(key, SSH_PUBLICKEY_HASH_SHA256, &hash, &hash_len) == 0)
		text = ssh_get_fingerprint_hash(SSH_PUBLICKEY_HASH_SHA256, hash, hash_len);
	*ret_type = ssh_key_type_to_char(ssh_key_type(key));
	ssh_clean_pubkey_hash(&hash);
	ssh_key_free(key);
	return text;
}

static int link_check_host(struct link *l)
{
	int code = LINK_DONE;
	const char *type = "";
	char *shown = host_fingerprint(l->session, &type);
	if (!shown)
		return fail(l, LINK_PROTOCOL, "the server's host key cannot be read");
	if (!is_pinned(buf_text(&l->pins), shown) && !l->pins_file)
		code = fail(l, LINK_UNPINNED,
			"THE HOST KEY IS NOT THE LINE'S: it is %s (%s), the line says %.400s. Nothing was sent. Somebody stands in "
			"between, or the line is of another hub, or host_keys in hub.conf does not name the keys that the hub's sshd uses",
			shown, type, buf_text(&l->pins));
	else if (!is_pinned(buf_text(&l->pins), shown))
		code = fail(l, LINK_UNPINNED,
			"THE HOST KEY IS NOT PINNED: it is %s (%s), pinned in %s: %.400s. Nothing was sent. "
			"If the hub's "
			"sshd has a new key that host_keys in hub.conf did not name beforehand, compare it there (ssh-keygen -l -f "
			"/etc/ssh/ssh_host_*_key.pub) and add it to "
			"the pins; otherwise somebody stands in between",
			shown, type, l->pins_file, buf_text(&l->pins));
	ssh_string_free_char(shown);
	return code;
}

/* ---- login and channel ---- */

static int import_key(int fd, ssh_key *ret)
{
	auto_buf struct buf text = BUF_INIT(4096);
	for (;;) {
		uint8_t *room = buf_reserve(&text, 512);
		ssize_t got = room ? read(fd, room, 512) : -1;
		if (got < 0)
			return SSH_ERROR;
		if (got == 0)
			return ssh_pki_import_privkey_base64(buf_text(&text), NULL, NULL, NULL, ret);
		buf_added(&text, (size_t)got);
	}
}

static int link_login(struct link *l)
{
	ssh_key key = NULL;
	if (import_key(l->key_fd, &key) != SSH_OK)
		return fail(l, LINK_USAGE, "cannot read a private key without a passphrase from %s",
			l->key_file ? l->key_file : "its descriptor");
	stage(l, "logging in");
	int rc;
	do
		rc = ssh_userauth_publickey(l->session, NULL, key);
	while (rc == SSH_AUTH_AGAIN && await_again(l));
	ssh_key_free(key);
	if (rc == SSH_AUTH_SUCCESS)
		return LINK_DONE;
	/* A server that hangs up in the middle of it is told as a refusal by libssh 0.11. */
	if (rc == SSH_AUTH_ERROR || rc == SSH_AUTH_AGAIN || is_lost(l))
		return fail(l, LINK_UNREACHABLE, "the connection ended during the login: %s", why_broken(l));
	if (!l->key_file)
		return fail(l, LINK_DENIED,
			"the hub's sshd refuses the line's key: it is used up or expired, or `certsync agent add` has printed a newer line "
			"for this agent (or this sshd lets nobody into the account: `certsync doctor` there says so)%s",
			rc == SSH_AUTH_PARTIAL ? " (or sshd wants a second method too)" : "");
	return fail(l, LINK_DENIED,
		"the login with the key %s was refused%s; is this agent's key known to the hub (`certsync "
		"agent add`)?",
		l->key_file, rc == SSH_AUTH_PARTIAL ? " (sshd wants a second method too)" : "");
}

static int link_open(struct link *l)
{
	l->channel = ssh_channel_new(l->session);
	if (!l->channel)
		return fail(l, LINK_PROTOCOL, "libssh cannot make a channel");
	stage(l, "opening the channel");
	int rc;
	do
		rc = ssh_channel_open_session(l->channel);
	while (rc == SSH_AGAIN && await_again(l));
	if (rc != SSH_OK)
		return fail(l, LINK_PROTOCOL, "sshd opens no channel: %s", ssh_get_error(l->session));
	/* The forced command takes precedence; where there is none this name does no harm. */
	do
		rc = ssh_channel_request_exec(l->channel, "certsync");
	while (rc == SSH_AGAIN && await_again(l));
	if (rc != SSH_OK)
		return fail(l, LINK_PROTOCOL, "sshd does not start the hub's gate: %s", ssh_get_error(l->session));
	return LINK_DONE;
}

/* ---- the relay ---- */

static void leave(struct link *l)
{
	if (!l->leave_by)
		l->leave_by = clock_monotonic_ms() + LEAVE_MS;
}

static void say(struct link *l)
{
	l->says[l->says_len] = '\0';
	text_clean(l->says, 0);
	if (l->says_len)
		fprintf(stderr, "certsync-link: %s@%s:%s says: %s\n", l->user, l->host, l->port, l->says);
	l->says_len = 0;
}

/* Relays the far side's standard error line by line; above SAYS_MAX it is read and dropped. */
static bool move_says(struct link *l)
{
	char chunk[1024];
	int got = ssh_channel_read_nonblocking(l->channel, chunk, sizeof(chunk), 1);
	for (int i = 0; i < got && l->said < SAYS_MAX; i++, l->said++) {
		if (chunk[i] == '\n' || l->says_len == SAYS_LINE_MAX)
			say(l);
		if (chunk[i] != '\n')
			l->says[l->says_len++] = chunk[i];
	}
	return got > 0;
}

/* The movers return true when a byte went on, so that the loop tries again before it sleeps. Failures of the connection
 * show in ssh_get_status. */
static bool move_up(struct link *l)
{
	struct stream *s = &l->up;
	if (s->len == 0 && !l->agent_ended) {
		ssize_t got = read(AGENT, s->data, sizeof(s->data));
		if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
			l->agent_ended = true;
			leave(l);
		}
		s->at = 0;
		s->len = got > 0 ? (size_t)got : 0;
	}
	if (s->len == 0 || l->hub_ended)
		return false;
	int put = ssh_channel_write(l->channel, s->data + s->at, (uint32_t)s->len);
	if (put <= 0)
		return false;
	s->at += (size_t)put;
	s->len -= (size_t)put;
	return true;
}

static bool move_down(struct link *l)
{
	struct stream *s = &l->down;
	if (s->len == 0 && !l->hub_ended) {
		int got = ssh_channel_read_nonblocking(l->channel, s->data, sizeof(s->data), 0);
		if (got == SSH_EOF || (got <= 0 && ssh_channel_is_closed(l->channel))) {
			l->hub_ended = true;
			leave(l);
		}
		s->at = 0;
		s->len = got > 0 ? (size_t)got : 0;
	}
	if (s->len == 0)
		return false;
	ssize_t put = write(AGENT, s->data + s->at, s->len);
	if (put < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (put < 0) { /* it has gone: there is nobody to tell */
		s->len = 0;
		l->agent_ended = true;
		leave(l);
		return false;
	}
	s->at += (size_t)put;
	s->len -= (size_t)put;
	return true;
}

/* libssh is always read from: what the agent does not take yet waits in the channel, whose window ends at 2 MiB, so
 * poll does not spin. */
static void sleep_until_ready(struct link *l)
{
	int flags = ssh_get_poll_flags(l->session);
	struct pollfd fds[2] = {
		{.fd = l->tcp, .events = flags & SSH_WRITE_PENDING ? POLLIN | POLLOUT : POLLIN},
		{.fd = AGENT, .events = l->up.len == 0 ? POLLIN : 0},
	};
	if (l->down.len)
		fds[1].events |= POLLOUT;
	if (l->leave_by && !l->down.len)
		fds[1].fd = -1; /* its hang-up is known */
	int64_t left = l->leave_by ? l->leave_by - clock_monotonic_ms() : -1;
	poll(fds, 2, !l->leave_by ? -1 : left > 0 ? (int)left : 0);
	if (fds[1].revents & (POLLHUP | POLLERR))
		leave(l);
}

/* Returns whether there is nothing left to move, or no time left for it. */
static bool relay_is_over(const struct link *l)
{
	if (!l->leave_by)
		return false;
	if (clock_monotonic_ms() >= l->leave_by)
		return true;
	if (l->agent_ended)
		return l->up.len == 0 && !(ssh_get_poll_flags(l->session) & SSH_WRITE_PENDING);
	return l->hub_ended && l->down.len == 0 && ssh_channel_is_closed(l->channel);
}

/* What the gate ended with, or -1 where the hub has not told, or told of a signal. */
static int gate_status(struct link *l)
{
#if LIBSSH_VERSION_INT >= SSH_VERSION_INT(0, 11, 0)
	uint32_t code;
	return ssh_channel_get_exit_state(l->channel, &code, NULL, NULL) == SSH_OK ? (int)code : -1;
#else
	return ssh_channel_get_exit_status(l->channel);
#endif
}

static int link_relay(struct link *l)
{
	while (!relay_is_over(l)) {
		/* This takes in what TCP has, whichever stream it is for. */
		ssh_channel_poll(l->channel, 0);
		bool moved = move_up(l);
		moved |= move_down(l);
		moved |= move_says(l);
		moved |= packets_came(l);
		if (is_lost(l) && !moved)
			break;
		if (!moved && !relay_is_over(l))
			sleep_until_ready(l);
	}
	say(l);
	if (l->agent_ended)
		return LINK_DONE;
	if (!l->hub_ended || is_lost(l))
		return fail(l, LINK_UNREACHABLE, "the connection was lost: %s", why_broken(l));
	int status = gate_status(l);
	if (status == 0)
		return LINK_DONE;
	if (status < 0)
		return fail(
			l, LINK_UNREACHABLE, "the hub's gate ended without an exit status: it was killed, or sshd was");
	return fail(
		l, LINK_UNREACHABLE, "the hub's gate ended with exit status %d; does the hub run? See its log", status);
}

/* ---- the program ---- */

static int link_run(struct link *l)
{
	int code = link_connect(l);
	if (code == LINK_DONE)
		code = link_confine(l);
	if (code == LINK_DONE)
		code = link_handshake(l);
	if (code == LINK_DONE)
		code = link_check_host(l);
	if (code == LINK_DONE)
		code = link_login(l);
	if (code == LINK_DONE)
		code = link_open(l);
	if (code != LINK_DONE)
		return code;
	alarm(0);
	return link_relay(l);
}

static void link_close(struct link *l)
{
	if (l->channel)
		ssh_channel_free(l->channel); /* says close */
	if (l->session) {
		ssh_disconnect(l->session); /* says goodbye, closes the descriptor */
		ssh_free(l->session);
	} else if (l->tcp >= 0) {
		close(l->tcp);
	}
	buf_release(&l->pins);
	free(l);
}

static int usage(void)
{
	fprintf(stderr,
		"certsync-link: usage: certsync-link --user USER --host HOST --port PORT --key FILE "
		"--pins FILE "
		"[--timeout SECONDS]\n"
		"  or, to join: --key-fd N --pin SHA256:… [--pin …] in the place of --key and --pins\n");
	return LINK_USAGE;
}

static int parse(struct link *l, int argc, char **argv)
{
	static const struct option options[] = {
		{"user", required_argument, NULL, 'u'},
		{"host", required_argument, NULL, 'h'},
		{"port", required_argument, NULL, 'p'},
		{"key", required_argument, NULL, 'k'},
		{"pins", required_argument, NULL, 'i'},
		{"timeout", required_argument, NULL, 't'},
		{"key-fd", required_argument, NULL, 'f'},
		{"pin", required_argument, NULL, 's'},
		{NULL, 0, NULL, 0},
	};
	int option;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		const char **text = option == 'u' ? &l->user
			: option == 'h'           ? &l->host
			: option == 'p'           ? &l->port
			: option == 'k'           ? &l->key_file
			: option == 'i'           ? &l->pins_file
						  : NULL;
		if (text)
			*text = optarg;
		else if (option == 't')
			l->timeout = (int)strtol(optarg, NULL, 10);
		else if (option == 'f')
			l->key_fd = (int)strtol(optarg, NULL, 10);
		else if (option == 's')
			buf_addf(&l->pins, "%s%s", l->pins.len ? ", " : "", optarg);
		else
			return -1;
	}
	bool kept = l->key_file && l->pins_file && l->key_fd < 0 && !l->pins.len;
	bool given = !l->key_file && !l->pins_file && l->key_fd > STDERR_FILENO && l->pins.len;
	bool complete = l->user && l->host && l->port && (kept || given) && optind == argc;
	return complete && l->timeout > 0 ? 0 : -1;
}

int main(int argc, char **argv)
{
	proc_harden();
	signal(SIGPIPE, SIG_IGN);
	struct link *l = mem_alloc(sizeof(*l));
	l->tcp = l->key_fd = -1;
	l->pins = BUF_INIT(PINS_FILE_MAX);
	l->timeout = LINK_TIMEOUT_DEFAULT;
	if (parse(l, argc, argv) < 0) {
		free(l);
		return usage();
	}
	fcntl(AGENT, F_SETFL, fcntl(AGENT, F_GETFL) | O_NONBLOCK);
	l->deadline = clock_monotonic_ms() + (int64_t)l->timeout * 1000;
	signal(SIGALRM, on_alarm);
	alarm((unsigned)l->timeout);
	int code = link_run(l);
	link_close(l);
	return code;
}
