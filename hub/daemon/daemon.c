#include "hub/daemon/daemon.h"
#include "hub/daemon/alert/alert.h"
#include "hub/daemon/agents/host_keys.h"
#include "hub/daemon/control/agents.h"
#include "hub/daemon/control/client.h"
#include "hub/daemon/control/control.h"
#include "hub/daemon/acme/challenge.h"
#include "hub/daemon/acme/responder.h"
#include "hub/daemon/events.h"
#include "hub/daemon/publish/rollback.h"
#include "hub/daemon/agents/enroll.h"
#include "hub/daemon/rollout/fleet.h"
#include "hub/daemon/rollout/history.h"
#include "hub/daemon/hub.h"
#include "hub/daemon/reach.h"
#include "hub/daemon/agents/joining.h"
#include "hub/daemon/agents/key_changes.h"
#include "hub/daemon/acme/renewal.h"
#include "hub/common/root_request.h"
#include "hub/daemon/agents/session.h"
#include "hub/daemon/agents/signer.h"
#include "hub/daemon/agents/signing.h"
#include "hub/daemon/publish/watched.h"
#include "hub/daemon/alert/endpoints.h"
#include "hub/daemon/view/page_server.h"
#include "hub/daemon/keys.h"
#include "hub/daemon/worker.h"
#include "hub/common/child.h"
#include "hub/daemon/agents/login_keys.h"
#include "hub/daemon/agents/admission.h"
#include "lib/cli/cli.h"
#include "lib/core/clock.h"
#include "lib/core/files.h"
#include "lib/core/fs.h"
#include "lib/core/heartbeat.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"
#include "lib/core/proc.h"

#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DAEMON_FAULTS_MAX = 64 * 1024 };

/* ---- who is told of what ---- */

static void on_revoked(struct hub *hub, const char *certificate, bool new_key)
{
	struct renewal *r = renewal_find(hub, certificate);
	if (r)
		renewal_replace(r, new_key);
}

const struct hub_events daemon_events = {
	.inventory = fleet_inventory,
	.hello_done = fleet_hello_done,
	.answer = fleet_answer,
	.fetch = fleet_fetch,
	.lost = fleet_lost,
	.changed = control_changed,
	.verified = endpoints_soon,
	.roll_back = rollback,
	.published = renewal_published,
	.revoked = on_revoked,
};

/* ---- what follows from the configuration, and is made anew when it is read again ---- */

static int open_configured(struct hub *hub, struct error *err)
{
	hub->anchors = anchors_load(hub->config->anchors, err);
	if (!hub->anchors)
		return error_wrap(err, "anchors");
	host_keys_open(hub);
	signing_settle(hub);
	fleet_open(hub);
	responder_open(hub);
	renewal_open(hub);
	watched_open(hub);
	endpoints_open(hub);
	alert_open(hub);
	if (hub->root)
		login_keys_send(hub);
	return page_server_open(hub, err);
}

static void close_configured(struct hub *hub)
{
	control_end_all(hub, "the hub has read its configuration again or ends: what was begun goes on, ask again");
	session_close_all(hub);
	joining_close_all(hub);
	login_keys_close(hub);
	alert_close(hub);
	endpoints_close(hub);
	watched_close(hub);
	renewal_close(hub);
	responder_close(hub);
	fleet_close(hub);
	history_close(hub);
	anchors_free(hub->anchors);
	hub->anchors = NULL;
}

/* Where files and sockets are is decided once: a configuration that says otherwise gets what holds. Returns false
 * then. */
static bool keep_places(struct hub_config *next, const struct hub_config *now)
{
	char **const said[] = {
		&next->state, &next->run, &next->http, &next->gate_user, &next->local_user, &next->admin_group};
	const char *const holds[] = {
		now->state, now->run, now->http, now->gate_user, now->local_user, now->admin_group};
	bool same = true;
	for (size_t i = 0; i < COUNT(said); i++) {
		if (strcmp(*said[i], holds[i]) == 0)
			continue;
		same = false;
		free(*said[i]);
		*said[i] = mem_strdup(holds[i]);
	}
	return same;
}

enum reachable { REACHABLE, UNREACHABLE, BY_ANOTHER };

/* What this process may reach was settled when it started; a configuration that needs more is for the next process, which must find
 * its port free, since there is no way back then. */
static enum reachable can_reach(struct hub *hub, const struct hub_config *config, const char *port_fault)
{
	struct reach *wanted = reach_of(config);
	const bool ports = reach_covers_ports(hub->reach, wanted), files = reach_covers_files(hub->reach, wanted);
	reach_free(wanted);
	if (ports && files)
		return REACHABLE;
	if (!hub->root || (!ports && *port_fault)) {
		const char *reason =
			hub->root ? port_fault : "it names files or a port that this process may not reach: restart it";
		log_event(LOG_LEVEL_ERROR, "reload", "result=refused reason=\"%s\"", reason);
		reading_refuse(&hub->reading, "%s", reason);
		return UNREACHABLE;
	}
	log_event(LOG_LEVEL_NOTICE, "reload",
		"result=restart reason=\"it names files or a port that this process may not reach: certsync-hub-root starts it again\"");
	event_base_loopbreak(hub->base);
	return BY_ANOTHER;
}

/* `port_fault` says why a port of `page` that is new cannot be had; empty: it can. Returns false when this process ends, and another one
 * takes the configuration. */
static bool reload(struct hub *hub, const char *port_fault)
{
	struct error err;
	auto_buf struct buf faults = BUF_INIT(DAEMON_FAULTS_MAX);
	struct hub_config *config = hub_config_load(hub->config_path, &faults);
	if (!config) {
		log_lines(LOG_LEVEL_ERROR, "configuration", "fault", buf_text(&faults));
		log_event(LOG_LEVEL_ERROR, "reload", "result=refused reason=\"the running configuration stays\"");
		reading_refuse(&hub->reading, "%s", buf_text(&faults));
		return true;
	}
	if (!keep_places(config, hub->config)) {
		log_event(LOG_LEVEL_WARNING, "reload",
			"reason=\"state, run, http, users and group change only at a restart\"");
		reading_refuse(
			&hub->reading, "state, run, http, users and group change only at a restart; the rest holds");
	}
	const enum reachable reachable = can_reach(hub, config, port_fault);
	if (reachable != REACHABLE) {
		hub_config_free(config);
		return reachable == UNREACHABLE;
	}
	struct hub_config *old = hub->config;
	close_configured(hub);
	hub->config = config;
	if (open_configured(hub, &err) < 0) {
		log_event(LOG_LEVEL_ERROR, "reload", "result=refused error=\"%s\"", err.message);
		reading_refuse(&hub->reading, "%s", err.message);
		close_configured(hub);
		hub->config = old;
		hub_config_free(config);
		if (open_configured(hub, &err) < 0) {
			log_event(LOG_LEVEL_ERROR, "reload", "error=\"%s\"", err.message);
			event_base_loopbreak(hub->base); /* the root half starts us again */
			return false;
		}
		return true;
	}
	hub_config_free(old);
	log_event(LOG_LEVEL_NOTICE, "reload", "result=done certificates=%zu agents=%zu", config->certificate_count,
		config->agent_count);
	return true;
}

/* ---- the root half ---- */

static void ask_root(struct hub *hub, enum hub_request_op op)
{
	auto_buf struct buf record = BUF_INIT(FRAME_RECORD_MAX);
	const struct hub_request request = {.op = op};
	if (hub_request_encode(&request, &record) == 0)
		conn_send(hub->root, FRAME_RECORD, record.data, record.len);
}

static void take_reply(struct hub *hub, const struct frame *frame)
{
	struct error err;
	struct hub_reply reply;
	if (hub_reply_decode(frame->data, frame->len, &reply, &err) < 0) {
		log_event(LOG_LEVEL_ERROR, "root", "error=\"%s\"", err.message);
		return;
	}
	if (reply.op == HUB_REQUEST_KEYS) {
		if (!reply.ok)
			log_event(LOG_LEVEL_ERROR, "root", "request=keys error=\"%s\"", reply.text);
		hub->keys_answered++;
		control_keys_written(hub, reply.ok, reply.text);
		joining_keys_written(hub, reply.ok, reply.text);
	} else if (reply.op == HUB_REQUEST_READING) {
		if (reading_answered(&hub->reading, reply.number, reply.ok ? NULL : reply.text) &&
			reload(hub, reply.ok ? reply.text : ""))
			reading_end(&hub->reading);
	} else if (reply.ok) {
		watched_left_out(hub, reply.certificate, reply.text);
	} else {
		watched_unreadable(hub, reply.certificate, reply.text);
	}
}

static void on_root_frame(struct conn *c, const struct frame *frame, void *context)
{
	(void)c;
	struct hub *hub = context;
	struct error err;
	struct files files;
	if (frame->type == FRAME_RECORD)
		take_reply(hub, frame);
	else if (files_decode(frame->data, frame->len, &files, &err) < 0)
		log_event(LOG_LEVEL_ERROR, "root", "error=\"%s\"", err.message);
	else
		watched_files(hub, &files);
}

static void on_root_closed(struct conn *c, const struct error *err, void *context)
{
	(void)c;
	struct hub *hub = context;
	log_event(LOG_LEVEL_ERROR, "root", "reason=\"certsync-hub-root has gone %s\"", err->message);
	event_base_loopbreak(hub->base);
}

static const struct conn_handler root_handler = {on_root_frame, on_root_closed};

static void on_beat(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	ask_root(context, HUB_REQUEST_ALIVE);
}

static void open_root(struct hub *hub)
{
	struct stat st;
	struct ucred made_by; /* of a socket pair: who made it */
	socklen_t len = sizeof(made_by);
	bool known = getsockopt(CHILD_ROOT_FD, SOL_SOCKET, SO_PEERCRED, &made_by, &len) == 0;
	hub->owner = known ? made_by.uid : geteuid();
	if (fstat(CHILD_ROOT_FD, &st) < 0 || !S_ISSOCK(st.st_mode))
		return;
	const struct timeval interval = {.tv_sec = HEARTBEAT_MS / 1000};
	hub->root = conn_new(hub->base, CHILD_ROOT_FD, 1u << FRAME_RECORD | 1u << FRAME_FILES, &root_handler, hub);
	hub->beat = event_new(hub->base, -1, EV_PERSIST, on_beat, hub);
	if (!hub->beat || event_add(hub->beat, &interval) < 0)
		mem_abort(__func__);
}

/* Takes the sockets to the root half's other children, at our start and whenever one of them was started again. */
static void on_end_given(evutil_socket_t fd, short what, void *context)
{
	(void)what;
	struct hub *hub = context;
	struct error err;
	enum hub_child whose;
	int end, got = child_end_receive(fd, &whose, &end, &err);
	if (got == CHILD_NO_END)
		return;
	if (got == 1 && whose == HUB_CHILD_WORKER) {
		workers_connect(hub->workers, end);
		return;
	}
	if (got == 1 && whose == HUB_CHILD_KEYS) {
		keys_connect(hub->keys, end);
		hub->keys_given = true;
		return;
	}
	if (got == 1)
		close(end);
	if (got < 0)
		log_event(LOG_LEVEL_ERROR, "root", "error=\"%s\"", err.message);
	event_free(steal(hub->ends)); /* it has gone, which its other socket tells, too */
}

/* Waits for certsync-keys, which is being started, so that a call to it can be made; the loop does not go round
 * meanwhile. */
static void wait_for_keys(void *context, int milliseconds)
{
	struct hub *hub = context;
	const int64_t deadline = clock_monotonic_ms() + milliseconds;
	hub->keys_given = false;
	for (int64_t left = milliseconds; hub->ends && !hub->keys_given && left > 0;
		left = deadline - clock_monotonic_ms()) {
		struct pollfd ends = {.fd = CHILD_LINK_FD, .events = POLLIN};
		if (poll(&ends, 1, (int)left) > 0)
			on_end_given(CHILD_LINK_FD, EV_READ, hub);
	}
}

static void open_ends(struct hub *hub)
{
	struct stat st;
	if (!hub->root || fstat(CHILD_LINK_FD, &st) < 0 || !S_ISSOCK(st.st_mode))
		return;
	hub->ends = event_new(hub->base, CHILD_LINK_FD, EV_READ | EV_PERSIST, on_end_given, hub);
	if (!hub->ends || event_add(hub->ends, NULL) < 0)
		mem_abort(__func__);
}

/* ---- sockets ---- */

static int find_peer(const char *user, uid_t *ret, struct error *err)
{
	struct proc_user found;
	if (proc_user_find(user, &found, err) < 0)
		return -1;
	*ret = found.uid;
	return 0;
}

static gid_t admin_gid(const struct hub *hub)
{
	const struct group *group = getgrnam(hub->config->admin_group); /* there when the configuration was read */
	return group ? group->gr_gid : (gid_t)-1;
}

static struct listener *open_socket(
	struct hub *hub, const char *name, mode_t mode, gid_t gid, listener_accept *accept, struct error *err)
{
	auto_free char *path = mem_printf("%s/%s", hub->config->run, name);
	return listener_new(hub->base, path, mode, gid, accept, hub, err);
}

static int open_sockets(struct hub *hub, struct error *err)
{
	if (find_peer(hub->config->gate_user, &hub->gate_uid, err) < 0 ||
		find_peer(hub->config->local_user, &hub->local_uid, err) < 0)
		return -1;
	if (fs_make_directories(hub->config->run, 0755, err) < 0)
		return -1;
	/* Anyone may connect to gate and local; SO_PEERCRED decides who is let in. */
	hub->gate = open_socket(hub, "gate.sock", 0666, (gid_t)-1, admission_gate, err);
	if (!hub->gate)
		return -1;
	hub->local = open_socket(hub, "local.sock", 0666, (gid_t)-1, admission_local, err);
	if (!hub->local)
		return -1;
	hub->control = open_socket(hub, "control.sock", 0660, admin_gid(hub), control_accept, err);
	return hub->control ? 0 : -1;
}

/* ---- life ---- */

static int open_all(struct hub *hub, struct error *err)
{
	hub->store = store_open(hub->config->state, err);
	if (!hub->store)
		return -1;
	key_changes_open(hub);
	hub->challenge = challenge_new(hub->base, hub->config->http, err);
	if (!hub->challenge || open_sockets(hub, err) < 0)
		return -1;
	open_root(hub);
	open_ends(hub);
	if (signer_public(hub->keys, hub->config->state, hub->sign_public, err) < 0 || signing_open(hub, err) < 0)
		return -1;
	/* This comes before anything that agents, workers and operators say. The page's port is opened after it, as at
	 * each reload. */
	hub->reach = reach_of(hub->config);
	reach_confine(hub->reach);
	if (open_configured(hub, err) < 0)
		return -1;
	if (hub->root)
		ask_root(hub, HUB_REQUEST_READING);
	return 0;
}

static void close_all(struct hub *hub)
{
	close_configured(hub);
	page_server_close(hub);
	control_close_all(hub);
	listener_free(hub->gate);
	listener_free(hub->local);
	listener_free(hub->control);
	if (hub->beat)
		event_free(hub->beat);
	conn_free(hub->root);
	if (hub->ends)
		event_free(hub->ends);
	workers_free(hub->workers);
	keys_free(hub->keys);
	if (hub->challenge)
		challenge_free(hub->challenge);
	signing_close(hub);
	key_changes_close(hub);
	store_close(hub->store);
	buf_release(&hub->host_keys);
	reach_free(hub->reach);
	hub_config_free(hub->config);
}

static void on_signal(evutil_socket_t number, short what, void *context)
{
	(void)what;
	struct hub *hub = context;
	if (number != SIGHUP) {
		event_base_loopbreak(hub->base);
	} else if (hub->root) {
		reading_begin(&hub->reading);
		ask_root(hub, HUB_REQUEST_READING);
	} else {
		reload(hub, "");
	}
}

static int serve(struct hub *hub)
{
	static const int numbers[] = {SIGHUP, SIGTERM, SIGINT};
	struct event *signals[COUNT(numbers)];
	struct error err;
	int result = CLI_FAILED;
	for (size_t i = 0; i < COUNT(numbers); i++) {
		signals[i] = evsignal_new(hub->base, numbers[i], on_signal, hub);
		event_add(signals[i], NULL);
	}
	if (open_all(hub, &err) < 0) {
		log_event(LOG_LEVEL_ERROR, "start", "error=\"%s\"", err.message);
		result = err.kind == ERROR_USAGE ? CLI_USAGE : CLI_FAILED;
	} else {
		log_event(LOG_LEVEL_NOTICE, "started", "version=%s certificates=%zu agents=%zu", CERTSYNC_VERSION,
			hub->config->certificate_count, hub->config->agent_count);
		event_base_dispatch(hub->base);
		log_event(LOG_LEVEL_NOTICE, "ended", "version=%s", CERTSYNC_VERSION);
		result = CLI_DONE;
	}
	close_all(hub);
	for (size_t i = 0; i < COUNT(numbers); i++)
		event_free(signals[i]);
	return result;
}

int daemon_run(const char *config_path)
{
	auto_buf struct buf faults = BUF_INIT(DAEMON_FAULTS_MAX);
	struct hub hub = {.events = &daemon_events, .config_path = config_path, .started = clock_wall()};
	log_open("certsync-hub");
	signal(SIGPIPE, SIG_IGN);
	hub.config = hub_config_load(config_path, &faults);
	if (!hub.config) {
		fputs(buf_text(&faults), stderr);
		return CLI_USAGE;
	}
	hub.base = event_base_new();
	if (!hub.base)
		return cli_fail(CLI_FAILED, "cannot make an event loop");
	hub.workers = workers_new(hub.base);
	hub.keys = keys_new(hub.base, wait_for_keys, &hub);
	int result = serve(&hub);
	event_base_free(hub.base);
	return result;
}
