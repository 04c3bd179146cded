/* certsync-agent-root: the only part of an agent that has bundles opened (agent/root/opener.h), writes keys and runs
 * hooks. It believes nothing that its children say, and works through the agent's requests in order.
 */
#include "agent/root/daemon.h"
#include "agent/root/guard.h"
#include "agent/root/identity.h"
#include "agent/root/opener.h"
#include "agent/root/certificate.h"
#include "agent/common/pin.h"
#include "agent/root/directories.h"
#include "agent/root/setup.h"
#include "agent/root/operation.h"
#include "agent/root/resume.h"
#include "agent/root/output.h"
#include "lib/cli/cli.h"
#include "lib/core/clock.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"
#include "lib/core/notify.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

enum { IDENTIFY_RETRY_MS = 30000 };

static const char default_config[] = "/etc/certsync/agent.conf";

struct root {
	const char *config_path;
	struct agent_config *config;
	struct directories directories;
	struct identity identity;
	bool identified;
	int64_t identify_at_ms; /* monotonic; when it is tried again */
	uint8_t instance[REQUEST_INSTANCE_SIZE];
	struct root_certificate *certificates;
	size_t certificate_count;
	struct guard guard;
	struct daemon_process child;
	bool waiting; /* there may be a request of the child's that was read already */
	int lock;
	int stop_fd;         /* SIGTERM, SIGINT: readable until the end, so that hooks see it too */
	int reload_fd;       /* SIGHUP */
	uint32_t reading;    /* how often agent.conf has been read; lib/wire/reading.h has the daemon's part */
	struct error unread; /* why the last reading was refused */
};

/* ---- starting ---- */

static int signal_fd(const int *numbers, size_t count)
{
	sigset_t set;
	sigemptyset(&set);
	for (size_t i = 0; i < count; i++)
		sigaddset(&set, numbers[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		mem_abort(__func__);
	return fd;
}

static int lock_state(struct root *r, struct error *err)
{
	r->lock = openat(r->directories.root_state, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (r->lock < 0)
		return error_errno(err, "cannot open the lock in %s", r->config->root_state);
	if (flock(r->lock, LOCK_EX | LOCK_NB) < 0)
		return error_set(err, ERROR_PERMANENT, "another certsync-agent-root works on %s: end it first",
			r->config->root_state);
	return 0;
}

/* A certificate that cannot be started now is tried again by the guard, and does not hold up the others. */
static int open_certificates(
	const struct agent_config *config, const struct root *r, struct root_certificate **ret, struct error *err)
{
	struct root_certificate *certificates = mem_array(config->certificate_count, sizeof(*certificates));
	for (size_t i = 0; i < config->certificate_count; i++) {
		if (root_certificate_open(&certificates[i], config, &config->certificates[i], r->directories.root_state,
			    r->stop_fd, err) == 0)
			continue;
		while (i-- > 0)
			root_certificate_close(&certificates[i]);
		free(certificates);
		return -1;
	}
	*ret = certificates;
	return 0;
}

static void close_certificates(struct root *r)
{
	for (size_t i = 0; i < r->certificate_count; i++)
		root_certificate_close(&r->certificates[i]);
	free(r->certificates);
	r->certificates = NULL;
	r->certificate_count = 0;
}

static void start_certificates(struct root *r)
{
	for (size_t i = 0; i < r->certificate_count; i++) {
		struct error err;
		if (root_certificate_start(&r->certificates[i], &err) < 0)
			log_event(LOG_LEVEL_ERROR, "start", "error=\"%s\"", err.message);
	}
	output_prune(r->config, r->directories.root_state);
	guard_arm(&r->guard, r->certificates, r->certificate_count);
	guard_check_soon(&r->guard);
}

/* Without its sealing key no child is started, since it could do nothing; what is installed does not wait for that. A
 * fault in the child's own directories keeps nobody from starting it. */
static void identify(struct root *r)
{
	struct error err;
	int instance = directories_instance(&r->directories, r->instance, &err);
	if (instance > 0)
		log_event(LOG_LEVEL_WARNING, "identity",
			"error=\"%s\" text=\"the number of this run cannot be kept: after a restart the hub may take this node for another for 90 s\"",
			err.message);
	r->identified = instance >= 0 && identity_serve(&r->directories, &r->identity, &err) == 0;
	if (r->identified && r->identity.ssh_fault.kind != ERROR_NONE)
		log_event(LOG_LEVEL_ERROR, "identity",
			"error=\"%s\" text=\"certsync-agent cannot log in at a hub by SSH until that is mended\"",
			r->identity.ssh_fault.message);
	if (r->identified)
		return;
	r->identify_at_ms = clock_monotonic_ms() + IDENTIFY_RETRY_MS;
	log_event(LOG_LEVEL_ERROR, "identity",
		"error=\"%s\" text=\"certsync-agent is not started without it; tried again in %d s\"", err.message,
		IDENTIFY_RETRY_MS / 1000);
}

static int start(struct root *r, struct error *err)
{
	static const int stop[] = {SIGTERM, SIGINT}, reload[] = {SIGHUP};
	r->stop_fd = signal_fd(stop, COUNT(stop));
	r->reload_fd = signal_fd(reload, COUNT(reload));
	signal(SIGPIPE, SIG_IGN);
	if (directories_open(r->config, &r->directories, err) < 0 || lock_state(r, err) < 0 ||
		open_certificates(r->config, r, &r->certificates, err) < 0)
		return -1;
	r->certificate_count = r->config->certificate_count;
	directories_sweep(&r->directories);
	guard_init(&r->guard);
	opener_forget(&r->identity, sizeof(r->identity));
	daemon_process_init(&r->child, r->config_path, r->directories.has_user ? &r->directories.user : NULL);
	return 0;
}

static struct root_certificate *find_certificate(struct root *r, const char *certificate)
{
	for (size_t i = 0; i < r->certificate_count; i++)
		if (strcmp(r->certificates[i].certificate->name, certificate) == 0)
			return &r->certificates[i];
	return NULL;
}

/* ---- SIGHUP: all or nothing ---- */

static bool same_directories(const struct agent_config *a, const struct agent_config *b)
{
	return strcmp(a->directory, b->directory) == 0 && strcmp(a->state, b->state) == 0 &&
		strcmp(a->root_state, b->root_state) == 0 && strcmp(a->run, b->run) == 0 &&
		strcmp(a->user, b->user) == 0;
}

static bool has_file(const struct agent_certificate *c, const char *path)
{
	for (size_t i = 0; i < c->service_count; i++)
		for (size_t k = 0; k < c->services[i].file_count; k++)
			if (strcmp(c->services[i].files[k].path, path) == 0)
				return true;
	return false;
}

static bool names_a_new_file(const struct agent_certificate *c, const struct agent_certificate *before)
{
	for (size_t i = 0; i < c->service_count; i++)
		for (size_t k = 0; k < c->services[i].file_count; k++)
			if (!has_file(before, c->services[i].files[k].path))
				return true;
	return false;
}

/* An undo that the journal does not know of must not be forgotten. */
static void keep_undoing(struct root *r, struct root_certificate *certificates, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct root_certificate *before = find_certificate(r, certificates[i].certificate->name);
		certificates[i].undoing = before && before->undoing;
		certificates[i].held_until_ms = before ? before->held_until_ms : 0;
		certificates[i].repaired = before ? before->repaired : 0;
		certificates[i].grown = before && names_a_new_file(certificates[i].certificate, before->certificate);
	}
}

/* Returns 0, or -1 with the reason why the configuration before it stays. */
static int read_again(struct root *r, struct error *err)
{
	struct root_certificate *certificates;
	struct agent_config *config = setup_load(r->config_path);
	if (!config)
		return error_set(err, ERROR_USAGE, "the configuration has faults");
	if (!same_directories(config, r->config)) {
		agent_config_free(config);
		return error_set(err, ERROR_USAGE, "directories or user changed: restart certsync-agent-root");
	}
	if (open_certificates(config, r, &certificates, err) < 0) {
		agent_config_free(config);
		return -1;
	}
	keep_undoing(r, certificates, config->certificate_count);
	close_certificates(r);
	agent_config_free(r->config);
	r->config = config;
	r->certificates = certificates;
	r->certificate_count = config->certificate_count;
	start_certificates(r);
	log_event(LOG_LEVEL_NOTICE, "reload", "certificates=%zu", r->certificate_count);
	return 0;
}

/* The daemon, when it is signalled, asks for the outcome; a file that is wrong it does not read. */
static void reload(struct root *r)
{
	struct error err = {0};
	if (read_again(r, &err) < 0)
		log_event(LOG_LEVEL_ERROR, "reload", "error=\"%s\" text=\"the configuration before it stays\"",
			err.message);
	r->unread = err;
	r->reading++;
	daemon_process_signal(&r->child, SIGHUP);
}

/* ---- requests ---- */

/* Returns NULL with the reason: of kind `unknown` when agent.conf has no such certificate, else of a kind that
 * passes. */
static struct root_certificate *ready_certificate(
	struct root *r, const char *certificate, enum error_kind unknown, struct error *err)
{
	struct root_certificate *k = find_certificate(r, certificate);
	if (k && k->ready)
		return k;
	if (k)
		error_set(err, ERROR_RETRY, "it could not be started on this node and is tried again every minute: %s",
			k->fault.message);
	else
		error_set(err, unknown, "%sagent.conf of this node has no certificate \"%s\"",
			unknown == ERROR_UNTRUSTED ? "allow: " : "", certificate);
	return NULL;
}

static void refuse(struct reply *reply, const char *step, const struct error *err)
{
	reply->permanent = err->kind == ERROR_UNTRUSTED;
	reply->rolled_back = true;
	snprintf(reply->step, sizeof(reply->step), "%s", step);
	snprintf(reply->text, sizeof(reply->text), "%s", err->message);
}

/* Keys may have been rotated since the last bundle came. */
static int check_bundle(struct root *r, const struct frame *frame, struct bundle *ret, struct error *err)
{
	struct bundle_keys keys = {0};
	if (identity_refresh(&r->directories, &r->identity, err) < 0)
		return -1;
	memcpy(keys.seal_public, r->identity.seal_public, sizeof(keys.seal_public));
	if (pin_signers(r->config->directory, &keys, err) < 0)
		return -1;
	return bundle_check(frame->data, frame->len, &keys, ret, err);
}

static void stage(struct root *r, const struct frame *frame, struct reply *reply)
{
	struct bundle checked;
	const struct sealed sealed = {&checked, frame->data, frame->len, r->identity.seal_private};
	struct error err;
	reply->op = REQUEST_STAGE;
	if (check_bundle(r, frame, &checked, &err) < 0) {
		refuse(reply, "verify", &err);
		return;
	}
	memcpy(reply->certificate, checked.certificate, sizeof(reply->certificate));
	reply->revision = checked.revision;
	struct root_certificate *k = ready_certificate(r, checked.certificate, ERROR_UNTRUSTED, &err);
	if (k)
		operation_stage(k, &sealed, reply);
	else
		refuse(reply, "verify", &err);
}

static void take_inventory(const struct root *r, struct reply *reply)
{
	memcpy(reply->instance, r->instance, sizeof(reply->instance));
	reply->inventory = mem_array(REQUEST_CERTIFICATES_MAX, sizeof(*reply->inventory));
	for (size_t i = 0; i < r->certificate_count && reply->inventory_count < REQUEST_CERTIFICATES_MAX; i++)
		if (r->certificates[i].ready)
			root_certificate_inventory(&r->certificates[i], &reply->inventory[reply->inventory_count++]);
	reply->ok = true;
}

static void take_host_keys(const struct root *r, const struct request *request, struct reply *reply)
{
	struct error err;
	bool changed = false;
	reply->ok = pin_hosts(r->config->directory, request->list, request->list_len, &changed, &err) == 0;
	if (!reply->ok)
		refuse(reply, "host-keys", &err);
	else if (changed)
		log_event(LOG_LEVEL_NOTICE, "host-keys",
			"text=\"the hub has told which host keys its sshd has: pinned\"");
}

static void take_signers(const struct root *r, const struct request *request, struct reply *reply)
{
	struct error err;
	bool changed = false;
	reply->ok = pin_signer_list(r->config->directory, request->list, request->list_len, &changed, &err) == 0;
	if (!reply->ok)
		refuse(reply, "signing-keys", &err);
	else if (changed)
		log_event(LOG_LEVEL_NOTICE, "signing-keys",
			"text=\"the hub has told which of its keys may sign: pinned\"");
}

static void take_reading(const struct root *r, struct reply *reply)
{
	reply->reading = r->reading;
	reply->ok = r->unread.kind == ERROR_NONE;
	snprintf(reply->text, sizeof(reply->text), "%s", r->unread.message);
}

static int take_request(struct root *r, const struct frame *frame, struct reply *reply, struct error *err)
{
	struct request request;
	if (request_decode(frame->data, frame->len, &request, err) < 0)
		return -1;
	reply->op = request.op;
	memcpy(reply->certificate, request.certificate, sizeof(reply->certificate));
	reply->revision = request.revision;
	if (request.op == REQUEST_INVENTORY) {
		take_inventory(r, reply);
		return 0;
	}
	if (request.op == REQUEST_ALIVE) {
		reply->ok = true;
		return 0;
	}
	if (request.op == REQUEST_READING) {
		take_reading(r, reply);
		return 0;
	}
	if (request.op == REQUEST_HOST_KEYS) {
		take_host_keys(r, &request, reply);
		return 0;
	}
	if (request.op == REQUEST_SIGNERS) {
		take_signers(r, &request, reply);
		return 0;
	}
	struct root_certificate *k = ready_certificate(r, request.certificate, ERROR_PERMANENT, err);
	if (k)
		operation_request(k, &request, reply);
	else
		refuse(reply, "request", err);
	if (request.op == REQUEST_HOLD)
		guard_check_now(&r->guard);
	return 0;
}

static void log_reply(const struct reply *reply)
{
	static const char *const names[] = {"", "inventory", "stage", "test", "activate", "reload", "running", "commit",
		"undo", "hold", "host-keys", "signing-keys", "alive", "reading"};
	char revision[REVISION_TEXT_MAX];
	bool quiet = reply->op == REQUEST_RUNNING || reply->op == REQUEST_ALIVE || reply->op == REQUEST_HOST_KEYS ||
		reply->op == REQUEST_SIGNERS;
	if (reply->op == REQUEST_INVENTORY || reply->op == REQUEST_READING || (quiet && reply->ok))
		return;
	revision_text(reply->revision, revision);
	if (reply->ok)
		log_event(LOG_LEVEL_INFO, names[reply->op], "certificate=%s revision=%s", reply->certificate, revision);
	else
		log_event(LOG_LEVEL_ERROR, names[reply->op],
			"certificate=%s revision=%s step=%s error=\"%s\" output=\"%s\"", reply->certificate, revision,
			reply->step, reply->text, reply->output);
}

/* Other requests may change which files are watched; what a hook changes, the present watches tell. */
static bool may_change_files(enum request_op op)
{
	return op != REQUEST_INVENTORY && op != REQUEST_RUNNING && op != REQUEST_TEST && op != REQUEST_RELOAD &&
		op != REQUEST_ALIVE && op != REQUEST_READING;
}

static int answer(struct root *r, const struct frame *frame, struct error *err)
{
	auto_buf struct buf out = BUF_INIT(FRAME_RECORD_MAX);
	auto_free struct reply *reply = mem_alloc(sizeof(*reply));
	int result = 0;
	if (frame->type == FRAME_BUNDLE)
		stage(r, frame, reply);
	else
		result = take_request(r, frame, reply, err);
	if (result == 0) {
		log_reply(reply);
		if (may_change_files(reply->op))
			guard_arm(&r->guard, r->certificates, r->certificate_count);
		result = reply_encode(reply, &out) < 0
			? error_set(err, ERROR_PERMANENT, "a reply is too long")
			: frame_send(r->child.stream.fd, FRAME_RECORD, out.data, out.len, err);
	}
	/* From now on it can speak again: it was waiting for this, for however long a hook took. */
	daemon_process_heard(&r->child);
	reply_release(reply);
	return result;
}

/* At most one request is served, so that what is due by the clock comes in between. */
static void serve_child(struct root *r, bool readable)
{
	struct error err;
	struct frame frame;
	int got = 1, found = frame_next(&r->child.stream, &frame, &err);
	if (found == 0 && readable) {
		got = frame_fill(&r->child.stream, &err);
		found = got > 0 ? frame_next(&r->child.stream, &frame, &err) : got;
	}
	r->waiting = found > 0 && answer(r, &frame, &err) == 0;
	if (r->waiting || (found == 0 && got > 0))
		return;
	daemon_process_ended(&r->child, got == 0 ? "it closed its socket" : err.message);
}

/* ---- the loop ---- */

static int64_t sooner(int64_t a, int64_t b)
{
	return b < 0 || (a >= 0 && a < b) ? a : b;
}

static int64_t start_due(const struct root *r)
{
	if (r->identified)
		return daemon_process_due(&r->child);
	int64_t left = r->identify_at_ms - clock_monotonic_ms();
	return left > 0 ? left : 0;
}

static int next_due(const struct root *r)
{
	int64_t due = sooner(sooner(guard_due(&r->guard), start_due(r)), opener_due());
	for (size_t i = 0; i < r->certificate_count; i++)
		if (r->certificates[i].ready)
			due = sooner(root_certificate_due(&r->certificates[i]), due);
	return (int)due;
}

static void tick(struct root *r)
{
	opener_tick();
	if (!r->identified && start_due(r) == 0)
		identify(r);
	if (r->identified)
		daemon_process_tick(&r->child);
	for (size_t i = 0; i < r->certificate_count; i++) {
		if (!r->certificates[i].ready || root_certificate_due(&r->certificates[i]) != 0)
			continue;
		root_certificate_tick(&r->certificates[i]);
		guard_arm(&r->guard, r->certificates, r->certificate_count);
	}
	/* The agent then looks at its ports, and tells the hub. */
	if (guard_tick(&r->guard, r->certificates, r->certificate_count) && r->child.heard)
		daemon_process_signal(&r->child, SIGUSR1);
}

static void loop(struct root *r)
{
	for (;;) {
		tick(r);
		struct pollfd fds[] = {
			{.fd = r->stop_fd, .events = POLLIN},
			{.fd = r->reload_fd, .events = POLLIN},
			{.fd = guard_fd(&r->guard), .events = POLLIN},
			{.fd = r->child.stream.fd, .events = POLLIN},
			{.fd = r->child.pidfd, .events = POLLIN},
		};
		if (poll(fds, COUNT(fds), notify_alive(r->waiting ? 0 : next_due(r))) < 0)
			continue;
		if (fds[0].revents)
			return;
		if (fds[2].revents)
			guard_event(&r->guard);
		if (fds[3].revents || r->waiting)
			serve_child(r, fds[3].revents);
		else if (fds[4].revents)
			daemon_process_ended(&r->child, NULL);
		if (fds[1].revents) {
			struct signalfd_siginfo info;
			while (read(r->reload_fd, &info, sizeof(info)) > 0)
				;
			reload(r);
		}
	}
}

static int run(const struct cli_line *line)
{
	struct root r = {.config_path = line->config, .lock = -1, .reading = 1};
	struct error err;
	log_open("certsync-agent-root");
	r.config = setup_load(line->config);
	if (!r.config)
		return CLI_USAGE;
	if (start(&r, &err) < 0) {
		agent_config_free(r.config);
		log_event(LOG_LEVEL_ERROR, "start", "error=\"%s\"", err.message);
		return err.kind == ERROR_USAGE ? CLI_USAGE : CLI_FAILED;
	}
	log_event(LOG_LEVEL_NOTICE, "start", "version=%s certificates=%zu", CERTSYNC_VERSION, r.certificate_count);
	start_certificates(&r);
	notify_manager("READY=1");
	loop(&r);
	daemon_process_stop(&r.child);
	guard_release(&r.guard);
	close_certificates(&r);
	directories_close(&r.directories);
	identity_release(&r.identity);
	opener_stop();
	agent_config_free(r.config);
	close(r.lock);
	close(r.stop_fd);
	close(r.reload_fd);
	log_event(LOG_LEVEL_NOTICE, "stop", "text=\"told to end\"");
	return CLI_DONE;
}

/* ---- the command line ---- */

static const struct cli_option pin_options[] = {
	{"--replace", NULL, "replace other keys that are pinned already"},
	{"--check", NULL, "only look whether other keys are pinned already"},
	{0},
};

static const struct cli_option identity_options[] = {
	{"--next", NULL, "print the keys that are to replace them, and make these when there are none"},
	{"--take-next", NULL, "replace the keys by those"},
	{0},
};

static const struct cli_command commands[] = {
	{"run", "", "supervise certsync-agent and do what needs root (without a command, too)", NULL, 0, 0, false, run},
	{"identity", "", "print this agent's public keys as one line, making them when there are none",
		identity_options, 0, 0, false, setup_identity},
	{"pin", "", "read the hub's line from standard input and pin its keys", pin_options, 0, 0, false, setup_pin},
	{0},
};

/* The unit starts `certsync-agent-root [-c FILE]`, which names no command. */
static bool names_command(int argc, char **argv)
{
	return argc > 1 && (argv[1][0] != '-' || strcmp(argv[1], "-c") != 0);
}

int main(int argc, char **argv)
{
	const char *with_run[8] = {argv[0], "run"};
	proc_harden();
	mem_lock(); /* where that is refused, as without root, it goes on as before */
	if (names_command(argc, argv) || argc > 6)
		return cli_main("certsync-agent-root", "the half of an agent that runs as root", default_config,
			commands, argc, argv);
	for (int i = 1; i < argc; i++)
		with_run[i + 1] = argv[i];
	return cli_main("certsync-agent-root", "the half of an agent that runs as root", default_config, commands,
		argc + 1, (char **)(uintptr_t)with_run);
}
