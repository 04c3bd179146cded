/* certsync-hub-root: hands the bytes found at watched paths to certsync-keys, and what that leaves of them to the hub's
 * daemon; rewrites the gate account's authorized_keys; and keeps the daemon and its helpers running. It parses nothing
 * but hub.conf and the daemon's records.
 */
#include "hub/root/authorized_keys.h"
#include "hub/common/config.h"
#include "hub/common/port.h"
#include "hub/common/root_request.h"
#include "hub/common/scan.h"
#include "hub/root/children.h"
#include "hub/root/keys.h"
#include "hub/root/watch.h"
#include "hub/root/watchlist.h"
#include "lib/core/clock.h"
#include "lib/core/fs.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"
#include "lib/core/notify.h"
#include "lib/core/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, FAULTS_MAX = 64 * 1024 };

struct root {
	bool ready; /* the service manager has been told */
	const char *config_path;
	struct hub_config *config;
	struct children children;
	struct keys_watch keys_watch;
	struct watchlist watched;
	struct hub_key *keys; /* of requests that said `more` */
	size_t key_count;
	int signals;
	uint32_t reading; /* how often hub.conf has been read; lib/wire/reading.h has the daemon's part */
	char *unread;     /* why the last reading was refused; NULL: it was not */
};

/* Makes a directory that the daemon needs and may not be able to make itself. */

static int own_directory(const char *path, mode_t mode, uid_t uid, gid_t gid, struct error *err)
{
	/* Everybody may read the parents (the umask is 077 otherwise); the directory itself gets its mode below. */
	mode_t before = umask(022);
	int made = fs_make_directories(path, 0755, err);
	umask(before);
	auto_close int fd = made < 0 ? -1 : fs_open_directory(AT_FDCWD, path, err);
	struct stat st;
	if (fd < 0)
		return -1;
	if (fstat(fd, &st) < 0)
		return error_errno(err, "cannot look at %s", path);
	if (uid != (uid_t)-1 && st.st_uid != uid && st.st_uid != 0)
		return error_set(err, ERROR_USAGE,
			"%s belongs to another user already (%u): chown it, or configure another", path,
			(unsigned)st.st_uid);
	if (uid != (uid_t)-1 && (st.st_uid != uid || st.st_gid != gid) && fchown(fd, uid, gid) < 0)
		return error_errno(
			err, "cannot give %s its owner (systemd-tmpfiles --create certsync-hub.conf does)", path);
	if ((st.st_mode & 07777) != mode && fchmod(fd, mode) < 0)
		return error_errno(
			err, "cannot give %s its mode (systemd-tmpfiles --create certsync-hub.conf does)", path);
	return 0;
}

/* RUN passes the operators' group on to the control socket, since the daemon itself is not in that group. */
static int make_directories(const struct root *r, struct error *err)
{
	const struct supervisor *daemon = &r->children.child[HUB_CHILD_DAEMON];
	const struct group *group = daemon->has_user ? getgrnam(r->config->admin_group) : NULL;
	const uid_t uid = daemon->has_user ? daemon->user.uid : (uid_t)-1;
	const gid_t gid = daemon->has_user ? daemon->user.gid : (gid_t)-1;
	const mode_t mode = group ? 02755 : 0755;
	if (own_directory(r->config->run, mode, uid, group ? group->gr_gid : gid, err) < 0)
		return -1;
	return own_directory(r->config->state, 0700, uid, gid, err);
}

/* The directories of certsync-keys lie beside the daemon's, which could put something else into its own. Their places
 * are decided once. */
static int make_keys_directories(struct root *r, struct error *err)
{
	const struct supervisor *keys = children_keys(&r->children);
	const struct group *group = keys->has_user ? getgrnam(r->config->admin_group) : NULL;
	auto_free char *run = mem_printf("%s-keys", r->config->run);
	if (r->children.operators >= 0)
		return 0;
	if (own_directory(r->children.keys_directory, 0700, keys->has_user ? keys->user.uid : (uid_t)-1,
		    keys->has_user ? keys->user.gid : (gid_t)-1, err) < 0 ||
		own_directory(run, group ? 02755 : 0755, keys->has_user ? 0 : (uid_t)-1,
			group ? group->gr_gid : (gid_t)-1, err) < 0)
		return -1;
	r->children.operators = keys_listen(r->config->run, err);
	return r->children.operators < 0 ? -1 : 0;
}

static int take_config(struct root *r, struct hub_config *config, struct error *err)
{
	if (children_configure(&r->children, config, err) < 0) {
		hub_config_free(config);
		return -1;
	}
	/* The list borrows from the old configuration until it has been loaded anew. */
	struct hub_config *old = r->config;
	r->config = config;
	watchlist_load(&r->watched, config, clock_monotonic_ms());
	hub_config_free(old);
	return make_directories(r, err) < 0 ? -1 : make_keys_directories(r, err);
}

/* Returns why the configuration before it stays, which the caller frees, or NULL. */
static char *read_again(struct root *r)
{
	struct error err;
	auto_buf struct buf faults = BUF_INIT(FAULTS_MAX);
	struct hub_config *config = hub_config_load(r->config_path, &faults);
	if (!config) {
		log_lines(LOG_LEVEL_ERROR, "configuration", "fault", buf_text(&faults));
		log_event(LOG_LEVEL_ERROR, "reload", "result=refused reason=\"the running configuration stays\"");
		return mem_strdup(buf_text(&faults));
	}
	if (take_config(r, config, &err) < 0) {
		log_event(LOG_LEVEL_ERROR, "reload", "error=\"%s\"", err.message);
		return mem_strdup(err.message);
	}
	log_event(LOG_LEVEL_NOTICE, "reload", "result=done watched=%zu", r->watched.count);
	return NULL;
}

/* Takes all or nothing. The daemon, when it is signalled, asks for the outcome; a file that is wrong it does not read. */
static void reload(struct root *r)
{
	free(r->unread);
	r->unread = read_again(r);
	r->reading++;
	if (children_daemon(&r->children)->pid)
		kill(children_daemon(&r->children)->pid, SIGHUP);
}

/* ---- requests of the daemon ---- */

static int check_keys(const struct root *r, struct error *err)
{
	for (size_t i = 0; i < r->key_count; i++)
		if (!hub_config_agent(r->config, r->keys[i].agent))
			return error_set(err, ERROR_PERMANENT, "%s has no section agent \"%s\"", r->config_path,
				r->keys[i].agent);
	return 0;
}

static void send_reply(struct root *r, const struct hub_reply *reply)
{
	auto_buf struct buf record = BUF_INIT(FRAME_RECORD_MAX);
	if (hub_reply_encode(reply, &record) == 0)
		supervisor_send(children_daemon(&r->children), FRAME_RECORD, record.data, record.len);
}

static void take_keys(struct root *r, const struct hub_request *request)
{
	struct error err;
	struct hub_reply reply = {.op = HUB_REQUEST_KEYS, .ok = true};
	size_t total = r->key_count + request->key_count;
	if (total <= HUB_KEYS_MAX) {
		r->keys = mem_grow(r->keys, total, sizeof(*r->keys));
		if (request->key_count)
			memcpy(r->keys + r->key_count, request->keys, request->key_count * sizeof(*r->keys));
		r->key_count = total;
		if (request->more)
			return;
		reply.ok = check_keys(r, &err) == 0 &&
			authorized_keys_write(r->config->authorized_keys, r->keys, r->key_count, &err) == 0;
	} else {
		reply.ok = error_set(&err, ERROR_PERMANENT, "more than %d agents", HUB_KEYS_MAX) == 0;
	}
	free(steal(r->keys));
	r->key_count = 0;
	if (!reply.ok)
		snprintf(reply.text, sizeof(reply.text), "%s", err.message);
	send_reply(r, &reply);
}

static void send_reading(struct root *r)
{
	struct error err;
	struct hub_reply reply = {.op = HUB_REQUEST_READING, .ok = !r->unread, .number = r->reading};
	const struct supervisor *daemon = children_daemon(&r->children);
	if (r->unread)
		snprintf(reply.text, sizeof(reply.text), "%s", r->unread);
	else if (r->config->page &&
		port_try(r->config->page, daemon->has_user ? daemon->user.uid : geteuid(), &err) < 0)
		snprintf(reply.text, sizeof(reply.text), "page: %.1000s", err.message);
	send_reply(r, &reply);
}

static void send_scan_reply(struct root *r, const char *certificate, bool ok, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static void send_scan_reply(struct root *r, const char *certificate, bool ok, const char *fmt, ...)
{
	struct hub_reply reply = {.op = HUB_REQUEST_SCAN, .ok = ok};
	va_list args;
	va_start(args, fmt);
	vsnprintf(reply.text, sizeof(reply.text), fmt, args);
	va_end(args);
	snprintf(reply.certificate, sizeof(reply.certificate), "%s", certificate);
	send_reply(r, &reply);
}

static void take_request(struct root *r, const struct hub_request *request)
{
	/* The daemon asks when its sockets are open, so whoever started the unit may use them from now on. */
	if (!r->ready)
		notify_manager("READY=1");
	r->ready = true;
	if (request->op == HUB_REQUEST_ALIVE)
		return;
	if (request->op == HUB_REQUEST_READING) {
		send_reading(r);
		return;
	}
	if (request->op == HUB_REQUEST_KEYS) {
		take_keys(r, request);
		return;
	}
	struct watchlist_item *item = watchlist_find(&r->watched, request->certificate);
	if (item) {
		item->due = clock_monotonic_ms();
		return;
	}
	send_scan_reply(r, request->certificate, false, "%s does not say watch for certificate \"%s\"", r->config_path,
		request->certificate);
}

static int take_frame(const struct frame *frame, void *context, struct error *err)
{
	struct hub_request request;
	if (hub_request_decode(frame->data, frame->len, &request, err) < 0)
		return -1;
	take_request(context, &request);
	hub_request_release(&request);
	return 0;
}

static void send_item(struct root *r, struct watchlist_item *item)
{
	struct error err;
	auto_scan struct scan scan;
	auto_buf struct buf payload = BUF_INIT(FRAME_FILES_MAX);
	const char *name = item->certificate->name;
	item->due = INT64_MAX;
	int result = scan_paths((const char *const *)item->certificate->watch, name,
		(const char *const *)item->certificate->names, &scan, &err);
	if (result == 0 && files_encode(&scan.files, &payload) < 0)
		result = error_set(&err, ERROR_PERMANENT,
			"watched path %s: the files to read have more than %d bytes together: name the "
			"certificate's own files in watch",
			item->certificate->watch[0], FRAME_FILES_MAX);
	if (result < 0) {
		send_scan_reply(r, name, false, "%s", err.message);
		return;
	}
	if (scan.left_out)
		send_scan_reply(r, name, true,
			"%zu more files there were not read: name the certificate's own files in watch", scan.left_out);
	supervisor_send(children_keys(&r->children), FRAME_FILES, payload.data, payload.len);
	keys_watch_asked(&r->keys_watch, clock_monotonic_ms());
}

/* What is left of watched files is for the daemon; we do not look into it. */
static int take_keys_frame(const struct frame *frame, void *context, struct error *err)
{
	struct root *r = context;
	if (!r->keys_watch.asked_at)
		return error_set(err, ERROR_PERMANENT, "it said something that it was not asked");
	keys_watch_answered(&r->keys_watch, clock_monotonic_ms());
	if (frame->type == FRAME_FILES)
		supervisor_send(children_daemon(&r->children), FRAME_FILES, frame->data, frame->len);
	return 0;
}

/* ---- the loop ---- */

/* Ends what a child had started that was killed before it could end it, for example a DNS hook in the background. */
static void end_orphans(const struct root *r)
{
	pid_t known[HUB_CHILDREN + 1] = {r->watched.pid};
	for (size_t i = 0; i < HUB_CHILDREN; i++)
		known[i + 1] = r->children.child[i].pid;
	proc_kill_orphans(known, COUNT(known));
}

static void take_signals(struct root *r)
{
	struct signalfd_siginfo info;
	while (read(r->signals, &info, sizeof(info)) == sizeof(info)) {
		int64_t now = clock_monotonic_ms();
		if (info.ssi_signo == SIGCHLD) {
			children_reap(&r->children, now);
			watchlist_reap(&r->watched, now);
			end_orphans(r);
		} else if (info.ssi_signo == SIGHUP) {
			reload(r);
		} else {
			children_stop(&r->children, now);
		}
	}
}

static int open_signals(struct error *err)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	return fd < 0 ? error_errno(err, "cannot take signals") : fd;
}

/* Does what is due now. Returns how long poll may wait, with -1 for ever. */
static int tick(struct root *r)
{
	int64_t now = clock_monotonic_ms();
	struct supervisor *daemon = children_daemon(&r->children);
	bool new_daemon = children_tick(&r->children, now);
	/* The daemon is a new one, so what the old one had begun to say is void. */
	if (new_daemon)
		r->key_count = 0;
	if (keys_watch_tick(&r->keys_watch, &r->children, r->config->state, now) || new_daemon)
		watchlist_all(&r->watched, now);
	watchlist_tick(&r->watched, now);
	bool idle = supervisor_is_idle(daemon) && keys_watch_is_idle(&r->keys_watch, &r->children);
	struct watchlist_item *first = idle ? watchlist_first(&r->watched) : NULL;
	if (first && first->due <= now) {
		send_item(r, first);
		return 0;
	}
	int64_t due = children_due(&r->children), list_due = watchlist_due(&r->watched);
	int64_t keys_due = keys_watch_due(&r->keys_watch, &r->children);
	due = list_due < due ? list_due : due;
	due = keys_due < due ? keys_due : due;
	due = first && first->due < due ? first->due : due;
	if (due == INT64_MAX)
		return -1;
	now = clock_monotonic_ms();
	return due <= now ? 0 : due - now > 60 * 1000 ? 60 * 1000 : (int)(due - now);
}

static int serve(struct root *r)
{
	struct supervisor *daemon = children_daemon(&r->children), *keys = children_keys(&r->children);
	while (!r->children.stopping || children_run(&r->children)) {
		int timeout = notify_alive(tick(r));
		struct pollfd fds[] = {
			{r->signals, POLLIN, 0},
			{daemon->fd, supervisor_events(daemon), 0},
			{r->watched.fd, POLLIN, 0},
			{keys->fd, supervisor_events(keys), 0},
		};
		if (poll(fds, COUNT(fds), timeout) < 0 && errno != EINTR) {
			log_event(LOG_LEVEL_ERROR, "poll", "error=\"%s\"", strerror(errno));
			return EXIT_FAILED;
		}
		int64_t now = clock_monotonic_ms();
		/* Descriptors come first, since signals may replace them. */
		if (fds[1].revents)
			supervisor_io(daemon, fds[1].revents, now, r);
		if (fds[3].revents)
			supervisor_io(keys, fds[3].revents, now, r);
		if (fds[2].revents)
			watchlist_io(&r->watched, now);
		if (fds[0].revents)
			take_signals(r);
	}
	log_event(LOG_LEVEL_NOTICE, "ended", "version=%s", CERTSYNC_VERSION);
	return EXIT_DONE;
}

static int start(struct root *r, struct error *err)
{
	/* Rights come from the owner of what is read, never from groups that we happen to be in. */
	if (geteuid() == 0 && setgroups(0, NULL) < 0)
		return error_errno(err, "cannot drop supplementary groups");
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		return error_errno(err, "cannot take over the orphans of children");
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return error_errno(err, "cannot ignore SIGPIPE");
	r->signals = open_signals(err);
	if (r->signals < 0)
		return -1;
	struct hub_config *config = r->config;
	r->config = NULL;
	return take_config(r, config, err);
}

static int run(const char *config_path)
{
	struct error err;
	auto_buf struct buf faults = BUF_INIT(FAULTS_MAX);
	auto_free char *self = mem_printf("%s/certsync-hub-root", fs_program_directory());
	struct root r = {.config_path = config_path,
		.signals = -1,
		.config = hub_config_load(config_path, &faults),
		.reading = 1};
	if (!r.config) {
		fputs(buf_text(&faults), stderr);
		return EXIT_USAGE;
	}
	children_init(&r.children, config_path, take_frame, take_keys_frame);
	watchlist_init(&r.watched, self);
	int result;
	if (start(&r, &err) == 0) {
		log_event(LOG_LEVEL_NOTICE, "started", "version=%s watched=%zu", CERTSYNC_VERSION, r.watched.count);
		result = serve(&r);
	} else {
		fprintf(stderr, "certsync-hub-root: %s\n", err.message);
		result = err.kind == ERROR_USAGE ? EXIT_USAGE : EXIT_FAILED;
	}
	watchlist_release(&r.watched);
	children_release(&r.children);
	hub_config_free(r.config);
	free(r.keys);
	free(r.unread);
	close(r.signals);
	return result;
}

int main(int argc, char **argv)
{
	proc_harden();
	log_open("certsync-hub-root");
	if (argc > 1 && strcmp(argv[1], WATCH_ARGUMENT) == 0)
		return watch_main(argv + 2, (size_t)argc - 2);
	if (argc == 1)
		return run("/etc/certsync/hub.conf");
	if (argc == 3 && strcmp(argv[1], "-c") == 0)
		return run(argv[2]);
	bool version = argc == 2 && strcmp(argv[1], "--version") == 0;
	bool help = argc == 2 && strcmp(argv[1], "--help") == 0;
	if (version)
		printf("certsync-hub-root %s\n", CERTSYNC_VERSION);
	else
		fputs("usage: certsync-hub-root [-c FILE]\nRuns certsync hub, reads watched directories for "
		      "it and writes "
		      "authorized_keys.\nFILE is /etc/certsync/hub.conf unless given.\n",
			help ? stdout : stderr);
	return version || help ? EXIT_DONE : EXIT_USAGE;
}
