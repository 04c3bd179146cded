#include "agent/cli/join.h"
#include "agent/cli/discover/discover.h"
#include "agent/common/link.h"
#include "agent/common/ssh_key.h"
#include "lib/core/base64.h"
#include "lib/core/clock.h"
#include "lib/core/frame.h"
#include "lib/core/fs.h"
#include "lib/wire/listener.h"
#include "lib/core/mem.h"
#include "lib/core/proc.h"
#include "lib/cli/progress.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	JOIN_FAULTS_MAX = 64 * 1024,
	JOIN_IDENTITY_MAX = 1024,
	JOIN_SAID_MAX = 16 * 1024,
	JOIN_WAIT_MS = 60 * 1000, /* for connecting and for the hub's answer */
};

static struct agent_config *load(const char *path, struct error *err)
{
	auto_buf struct buf faults = BUF_INIT(JOIN_FAULTS_MAX);
	struct agent_config *config = agent_config_load(path, &faults);
	if (config)
		return config;
	fputs(buf_text(&faults), stderr);
	error_set(err, ERROR_USAGE, "nothing was sent: mend that first");
	return NULL;
}

/* Makes a configuration in memory that has only the line's hub. */
static int load_line(struct join *j, struct error *err)
{
	char path[40];
	auto_buf struct buf text = BUF_INIT(2 * PIN_URL_MAX);
	buf_addf(&text, "hub = {\"%s\"}\n", j->pin.url);
	j->empty = memfd_create("agent.conf", MFD_CLOEXEC);
	/* A file in memory is made with every right for everybody. */
	if (j->empty < 0 || fchmod(j->empty, 0600) < 0 || write(j->empty, text.data, text.len) != (ssize_t)text.len)
		return error_errno(err, "cannot make a file in memory");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", j->empty);
	j->line = load(path, err);
	return j->line ? 0 : -1;
}

int join_open(struct join *j, const char *config_path, const char *text, bool replace, struct error *err)
{
	*j = (struct join){.config_path = config_path, .empty = -1, .replace = replace};
	if (pin_parse(text, &j->pin, err) < 0 || load_line(j, err) < 0)
		return -1;
	j->has_config = access(config_path, F_OK) == 0 || errno != ENOENT;
	if (!j->has_config) {
		char path[40];
		snprintf(path, sizeof(path), "/proc/self/fd/%d", j->empty);
		j->config = load(path, err);
	} else {
		j->config = load(config_path, err);
	}
	return j->config ? 0 : -1;
}

void join_close(struct join *j)
{
	agent_config_free(j->config);
	agent_config_free(j->line);
	if (j->empty >= 0)
		close(j->empty);
	pin_release(&j->pin);
}

/* ---- the root half: what it alone reads and writes ---- */

static int read_all(int fd, struct buf *out, struct error *err)
{
	for (;;) {
		uint8_t *room = buf_reserve(out, 512);
		ssize_t got = room ? read(fd, room, 512) : -1;
		if (got < 0 && room && errno == EINTR)
			continue;
		if (got < 0)
			return error_set(err, ERROR_PERMANENT, "certsync-agent-root said too much");
		if (got == 0)
			return 0;
		buf_added(out, (size_t)got);
	}
}

static int await(pid_t pid)
{
	int status = 0;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

/* Makes a pipe that ends after `data`, which is small enough for it or read by somebody. */
static int pipe_with(const void *data, size_t len, struct error *err)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_errno(err, "cannot make a pipe");
	bool written = write(ends[1], data, len) == (ssize_t)len;
	close(ends[1]);
	if (written)
		return ends[0];
	close(ends[0]);
	return error_set(err, ERROR_PERMANENT, "cannot write to a pipe");
}

/* Runs certsync-agent-root COMMAND [OPTION]. What it says of faults goes to standard error. */
static int ask_root_half(
	const struct join *j, const char *command, const char *option, int in, struct buf *out, struct error *err)
{
	int ends[2];
	auto_free char *program = mem_printf("%s/certsync-agent-root", fs_program_directory());
	const char *const argv[] = {
		program, command, "-c", j->has_config ? j->config_path : "/proc/self/fd/3", option, NULL};
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_errno(err, "cannot make a pipe");
	const struct proc_spec spec = {.argv = argv,
		.in = in,
		.out = ends[1],
		.err = PROC_INHERIT,
		.extra = j->empty,
		.die_with_parent = true};
	pid_t pid = proc_spawn(&spec, err);
	close(ends[1]);
	int result = pid < 0 ? -1 : read_all(ends[0], out, err);
	close(ends[0]);
	int status = pid < 0 ? 0 : await(pid);
	if (result == 0 && status != 0)
		result =
			error_set(err, ERROR_PERMANENT, "certsync-agent-root %s %s", command, proc_status_text(status));
	return result;
}

static int ask_to_pin(const struct join *j, const char *option, struct error *err)
{
	auto_buf struct buf line = BUF_INIT(PIN_LINE_MAX), said = BUF_INIT(JOIN_SAID_MAX);
	pin_line(&j->pin, &line);
	auto_close int in = pipe_with(line.data, line.len, err);
	return in < 0 ? -1 : ask_root_half(j, "pin", option, in, &said, err);
}

/* Reads both public keys of the line that `identity` prints. */
static int load_identity(const struct join *j, struct join_request *r, struct error *err)
{
	char key[JOIN_SSH_MAX - 16], seal_key[64];
	auto_buf struct buf line = BUF_INIT(JOIN_IDENTITY_MAX), raw = BUF_INIT(SEAL_KEY_SIZE);
	if (ask_root_half(j, "identity", j->pin.new_keys ? "--next" : NULL, -1, &line, err) < 0)
		return -1;
	if (sscanf(buf_text(&line), "certsync-agent:1 " SSH_KEY_TYPE " %783s x25519:%63s", key, seal_key) != 2 ||
		base64_decode(seal_key, &raw, err) < 0 || raw.len != SEAL_KEY_SIZE)
		return error_set(err, ERROR_PERMANENT, "certsync-agent-root identity printed no line of keys");
	snprintf(r->ssh, sizeof(r->ssh), SSH_KEY_TYPE " %s", key);
	memcpy(r->seal, raw.data, SEAL_KEY_SIZE);
	return 0;
}

/* ---- the link: as the agent's user, with the login key on a descriptor ---- */

struct call {
	pid_t pid; /* 0: none, it is the hub's own node */
	int stream, text;
};

static void call_end(struct call *c)
{
	if (c->stream >= 0)
		close(c->stream);
	if (c->text >= 0)
		close(c->text);
	if (c->pid > 0)
		await(c->pid); /* it ends with its stream */
	*c = (struct call){.stream = -1, .text = -1};
}

static int spawn_link(const struct join *j, const int in, int text, int key, struct error *err)
{
	char port[8];
	size_t count = 0;
	struct proc_user user;
	const struct agent_hub *hub = &j->line->hubs[0];
	auto_free char *program = mem_printf("%s/certsync-link", fs_program_directory());
	const char *argv[12 + 2 * PIN_HOSTS_MAX] = {
		program, "--user", hub->user, "--host", hub->host, "--port", port, "--key-fd", "3"};
	snprintf(port, sizeof(port), "%u", hub->port);
	while (argv[count])
		count++;
	for (size_t i = 0; i < j->pin.host_count; i++) {
		argv[count++] = "--pin";
		argv[count++] = j->pin.hosts[i];
	}
	if (geteuid() == 0 && proc_user_find(j->config->user, &user, err) < 0)
		return -1;
	const struct proc_spec spec = {.argv = argv,
		.user = geteuid() == 0 ? &user : NULL,
		.in = in,
		.out = -1,
		.err = text,
		.extra = key,
		.die_with_parent = true,
		.powerless = true};
	return proc_spawn(&spec, err);
}

static int key_descriptor(const struct join_keys *keys, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(2048);
	if (ssh_key_encode(keys->login_private, keys->login_public, &text) < 0)
		return error_set(err, ERROR_PERMANENT, "the login key cannot be written");
	return pipe_with(text.data, text.len, err);
}

static int call_hub(const struct join *j, const struct join_keys *keys, struct call *ret, struct error *err)
{
	int pair[2], text[2];
	const struct agent_hub *hub = &j->line->hubs[0];
	if (hub->path) {
		ret->stream = listener_connect(hub->path, 0, err);
		return ret->stream < 0 ? -1 : 0;
	}
	auto_close int key = key_descriptor(keys, err);
	if (key < 0 || proc_socketpair(pair, err) < 0)
		return -1;
	ret->stream = pair[0];
	auto_close int theirs = pair[1];
	if (pipe2(text, O_CLOEXEC) < 0)
		return error_errno(err, "cannot make a pipe");
	ret->text = text[0];
	auto_close int write_end = text[1];
	ret->pid = spawn_link(j, theirs, write_end, key, err);
	return ret->pid < 0 ? -1 : 0;
}

/* Says why the link ended without an answer; its last line has the reason. */
static int explain_end(const struct join *j, struct call *c, struct error *err)
{
	char when[CLOCK_TEXT_MAX], now[CLOCK_TEXT_MAX];
	auto_buf struct buf said = BUF_INIT(JOIN_SAID_MAX);
	struct error ignored;
	if (!c->pid)
		return error_set(err, ERROR_RETRY, "the hub closed the connection without an answer: its log says why");
	shutdown(c->stream, SHUT_RDWR);
	(void)read_all(c->text, &said, &ignored);
	int status = await(c->pid);
	c->pid = 0;
	while (said.len && said.data[said.len - 1] == '\n')
		said.len--;
	const char *last = strrchr(buf_text(&said), '\n');
	last = last ? last + 1 : buf_text(&said);
	if (WIFEXITED(status) && WEXITSTATUS(status) == LINK_DENIED)
		return error_set(err, ERROR_UNTRUSTED, "%s; the line was good until %s, and here it is %s", last,
			clock_text(j->pin.expires, when), clock_text(clock_wall(), now));
	return error_set(err, ERROR_RETRY, "%s",
		*last ? last : "the hub closed the connection without an answer: its log says why");
}

static int await_answer(struct call *c, struct frame_stream *in, struct frame *ret, struct error *err)
{
	int64_t until = clock_monotonic_ms() + JOIN_WAIT_MS;
	for (;;) {
		int got = frame_next(in, ret, err);
		if (got != 0)
			return got;
		int64_t left = until - clock_monotonic_ms();
		struct pollfd fd = {.fd = c->stream, .events = POLLIN};
		int ready = left > 0 ? poll(&fd, 1, (int)left) : 0;
		if (ready == 0)
			return error_set(err, ERROR_RETRY, "the hub did not answer within %d s", JOIN_WAIT_MS / 1000);
		got = ready > 0 ? frame_fill(in, err) : 1;
		if (got <= 0)
			return got;
	}
}

/* ---- the exchange ---- */

static int take_answer(const struct join *j, const struct join_keys *keys, const struct buf *request,
	const struct frame *frame, struct join_answer *ret, struct error *err)
{
	auto_join_answer struct join_answer a = {0};
	if (join_answer_decode(frame->data, frame->len, &a, err) < 0)
		return -1;
	if (!a.ok)
		return error_set(err, ERROR_UNTRUSTED, "the hub refuses: %s", a.text);
	if (!join_answer_is_authentic(frame->data, frame->len, keys->mac, j->pin.digest, request->data, request->len))
		return error_set(err, ERROR_UNTRUSTED,
			"what answered is not the hub that wrote the line: the HMAC of the answer is wrong. The line is used up; "
			"`certsync agent add %s` prints a new one",
			j->pin.agent);
	*ret = a;
	a = (struct join_answer){0};
	return 0;
}

static int exchange(const struct join *j, const struct join_keys *keys, const struct buf *request,
	struct join_answer *ret, struct error *err)
{
	struct call call = {.stream = -1, .text = -1};
	struct frame_stream in;
	struct frame frame;
	struct error ignored;
	if (call_hub(j, keys, &call, err) < 0) {
		call_end(&call);
		return -1;
	}
	auto_progress struct progress *progress = progress_new("waiting for the hub");
	frame_stream_init(&in, call.stream, 1u << FRAME_JOIN);
	/* A link that has ended says why. */
	int got = frame_send(call.stream, FRAME_JOIN, request->data, request->len, &ignored) < 0
		? 0
		: await_answer(&call, &in, &frame, err);
	int result = got > 0 ? take_answer(j, keys, request, &frame, ret, err)
		: got == 0   ? explain_end(j, &call, err)
			     : -1;
	frame_stream_release(&in);
	call_end(&call);
	return result;
}

static int take_new_keys(const struct join *j, struct error *err)
{
	auto_buf struct buf line = BUF_INIT(JOIN_IDENTITY_MAX);
	return ask_root_half(j, "identity", "--take-next", -1, &line, err);
}

int join_run(struct join *j, struct join_answer *ret, struct error *err)
{
	auto_join_keys struct join_keys keys = {0};
	struct join_request request = {0};
	auto_buf struct buf frame = BUF_INIT(4096);
	auto_join_answer struct join_answer answer = {0};
	snprintf(request.agent, sizeof(request.agent), "%s", j->pin.agent);
	if (getrandom(request.nonce, sizeof(request.nonce), 0) != sizeof(request.nonce))
		return error_errno(err, "no random bytes");
	/* This is asked before anything is sent, since a line is good only once. */
	if (!j->replace && ask_to_pin(j, "--check", err) < 0)
		return -1;
	if (join_derive(j->pin.secret, &keys, err) < 0 || load_identity(j, &request, err) < 0 ||
		join_request_encode(&request, keys.mac, j->pin.digest, &frame, err) < 0)
		return -1;
	if (exchange(j, &keys, &frame, &answer, err) < 0 || ask_to_pin(j, j->replace ? "--replace" : NULL, err) < 0 ||
		(j->pin.new_keys && take_new_keys(j, err) < 0))
		return -1;
	*ret = answer;
	answer = (struct join_answer){0};
	return 0;
}

/* ---- agent.conf ---- */

/* Returns what every certificate may contain: all names that are in them now. The caller frees the list; its texts are
 * borrowed. */
static const char **collect_names(const struct join_answer *a)
{
	size_t count = 0, most = 1;
	for (size_t i = 0; i < a->certificate_count; i++)
		most += a->certificates[i].name_count;
	const char **names = mem_array(most, sizeof(*names));
	for (size_t i = 0; i < a->certificate_count; i++) {
		for (size_t k = 0; k < a->certificates[i].name_count; k++) {
			bool known = false;
			for (size_t n = 0; n < count && !known; n++)
				known = strcmp(names[n], a->certificates[i].names[k]) == 0;
			if (!known)
				names[count++] = a->certificates[i].names[k];
		}
	}
	return names;
}

/* Writes the text for those certificates that agent.conf does not have. */
static int describe(const struct join *j, const struct join_answer *a, struct buf *out, struct error *err)
{
	size_t count = 0;
	const char *const hubs[] = {j->pin.url, NULL};
	auto_free const char **certificates = mem_array(a->certificate_count + 1, sizeof(*certificates));
	auto_free const char **allow = collect_names(a);
	for (size_t i = 0; i < a->certificate_count; i++)
		if (!agent_config_certificate(j->config, a->certificates[i].name))
			certificates[count++] = a->certificates[i].name;
	if (count)
		return discover_config(hubs, certificates, allow, out, err);
	buf_addf(out, "hub = {\"%s\"}\n", j->pin.url);
	return 0;
}

static int write_config(const struct join *j, const struct buf *text, struct error *err)
{
	struct proc_user user;
	struct fs_owner owner = {(uid_t)-1, (gid_t)-1, 0640};
	if (geteuid() == 0) {
		if (proc_user_find(j->config->user, &user, err) < 0)
			return -1;
		owner.uid = 0;
		owner.gid = user.gid;
	}
	if (fs_write(AT_FDCWD, j->config_path, text->data, text->len, owner, err) < 0)
		return -1;
	printf("wrote %s: look at what it says about this node's services\n", j->config_path);
	return 0;
}

static bool names_hub(const struct agent_config *config, const char *url)
{
	for (size_t i = 0; i < config->hub_count; i++)
		if (strcmp(config->hubs[i].text, url) == 0)
			return true;
	return false;
}

int join_configure(const struct join *j, const struct join_answer *answer, struct error *err)
{
	size_t missing = 0;
	auto_buf struct buf text = BUF_INIT(JOIN_CONFIG_MAX);
	for (size_t i = 0; i < answer->certificate_count; i++)
		missing += !agent_config_certificate(j->config, answer->certificates[i].name);
	if (j->has_config && !missing && names_hub(j->config, j->pin.url))
		return 0;
	if (describe(j, answer, &text, err) < 0)
		return -1;
	if (!j->has_config)
		return write_config(j, &text, err);
	printf("%s is there already and stays as it is; what follows is not in it yet%s:\n\n%s\n", j->config_path,
		names_hub(j->config, j->pin.url) ? " (but for the hub)" : "", buf_text(&text));
	return 0;
}
