#include "agent/daemon/daemon.h"
#include "agent/daemon/alert.h"
#include "agent/daemon/control.h"
#include "agent/daemon/site.h"
#include "agent/daemon/certificate.h"
#include "lib/core/base64.h"
#include "lib/cli/cli.h"
#include "lib/core/clock.h"
#include "lib/core/confine.h"
#include "lib/core/fs.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"

#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum { ROOT_FD = 3, FAULTS_MAX = 64 * 1024, PINNING_MAX = 8 };

struct agent {
	struct site site;          /* the first member: on_told gets from it to the rest */
	struct agent_config *next; /* read after SIGHUP, to be put to work when no files are switched */
	struct alerts *alert;      /* NULL: none is configured */
	struct event *probes;      /* every probe_interval */
	struct event *reload;
	int exit_code;
	size_t pinning;           /* lists of signing keys that the root half has not answered yet */
	char told[CHAIN_HEX_MAX]; /* SHA-256 of the last one */
};

struct daemon_certificate *site_certificate(const struct site *site, const char *certificate)
{
	for (size_t i = 0; i < site->certificate_count; i++)
		if (strcmp(daemon_certificate_name(site->certificates[i]), certificate) == 0)
			return site->certificates[i];
	return NULL;
}

static void stop(struct agent *a, int exit_code)
{
	a->exit_code = exit_code;
	event_base_loopbreak(a->site.base);
}

/* ---- the session's events ---- */

static void on_greet(void *context)
{
	struct agent *a = context;
	struct site *site = &a->site;
	struct message hello = {.type = MESSAGE_HELLO,
		.protocol = MESSAGE_PROTOCOL,
		.clock = clock_wall(),
		.count = (uint32_t)site->certificate_count};
	snprintf(hello.version, sizeof(hello.version), "%s", CERTSYNC_VERSION);
	snprintf(hello.instance, sizeof(hello.instance), "%s", site->instance);
	session_tell(site->session, &hello);
	for (size_t i = 0; i < site->certificate_count; i++) {
		struct message inventory;
		daemon_certificate_inventory(site->certificates[i], &inventory);
		session_tell(site->session, &inventory);
	}
}

static void on_host_keys(const struct reply *reply, void *context)
{
	(void)context;
	if (!reply->ok)
		log_event(LOG_LEVEL_ERROR, "host-keys", "result=refused error=\"%s\"", reply->text);
}

/* Reads a list of the hub's. Whether to believe it is for the root half to decide. */
static int read_list(const char *text, enum request_op op, struct request *ret, struct error *err)
{
	struct request request = {.op = op};
	auto_buf struct buf list = BUF_INIT(sizeof(request.list));
	if (base64_decode(text, &list, err) < 0)
		return -1;
	if (list.len)
		memcpy(request.list, list.data, list.len);
	request.list_len = list.len;
	*ret = request;
	return 0;
}

static void tell_host_keys(struct agent *a, const char *text)
{
	struct error err;
	struct request request;
	if (!text[0])
		return;
	if (read_list(text, REQUEST_HOST_KEYS, &request, &err) < 0)
		log_event(LOG_LEVEL_ERROR, "host-keys", "result=refused error=\"%s\"", err.message);
	else
		root_client_ask(a->site.root, &request, on_host_keys, a);
}

/* The hub is told, so that it knows when nobody needs its old key any more. Replies come in order, so this one is for
 * the last list. */
static void on_signers(const struct reply *reply, void *context)
{
	struct agent *a = context;
	struct message pinned = {.type = MESSAGE_PINNED};
	if (--a->pinning)
		return;
	snprintf(a->site.signers_refused, sizeof(a->site.signers_refused), "%s", reply->ok ? "" : reply->text);
	agent_alert_connection(a->alert);
	memcpy(pinned.list_digest, a->told, sizeof(pinned.list_digest));
	snprintf(pinned.text, sizeof(pinned.text), "%s", a->site.signers_refused);
	session_tell(a->site.session, &pinned);
}

static void tell_signers(struct agent *a, const char *text)
{
	struct error err;
	struct request request;
	uint8_t digest[CHAIN_SHA256_SIZE];
	if (a->pinning == PINNING_MAX)
		return; /* a hub that goes on and on; it tells the last one again with its next welcome */
	if (read_list(text, REQUEST_SIGNERS, &request, &err) < 0) {
		log_event(LOG_LEVEL_ERROR, "signing-keys", "result=refused error=\"%s\"", err.message);
		return;
	}
	if (sha256(request.list, request.list_len, digest) < 0)
		mem_abort(__func__);
	chain_hex(digest, a->told);
	a->pinning++;
	root_client_ask(a->site.root, &request, on_signers, a);
}

static void on_welcome(const struct message *m, void *context)
{
	struct agent *a = context;
	tell_host_keys(a, m->host_keys);
	for (size_t i = 0; i < a->site.certificate_count; i++)
		daemon_certificate_welcome(a->site.certificates[i]);
	control_welcome(&a->site);
	agent_alert_connection(a->alert);
}

static void on_message(const struct message *m, void *context)
{
	struct agent *a = context;
	if (m->type == MESSAGE_SIGNERS) {
		tell_signers(a, m->signers);
		return;
	}
	struct daemon_certificate *known = site_certificate(&a->site, m->certificate);
	if (known) {
		daemon_certificate_message(known, m);
		return;
	}
	struct message failed = {.type = MESSAGE_FAILED,
		.content.revision = m->content.revision,
		.attempt = m->attempt,
		.permanent = true};
	snprintf(failed.certificate, sizeof(failed.certificate), "%s", m->certificate);
	snprintf(failed.step, sizeof(failed.step), "verify");
	snprintf(failed.text, sizeof(failed.text),
		"agent.conf there has no section certificate \"%s\": add it, then systemctl reload certsync-agent",
		m->certificate);
	log_event(LOG_LEVEL_WARNING, "refused", "certificate=%s reason=\"%s\"", m->certificate, failed.text);
	if (m->type != MESSAGE_PROBE && m->type != MESSAGE_HOLD)
		session_tell(a->site.session, &failed);
}

static void on_bundle(const char *certificate, const uint8_t *data, size_t len, void *context)
{
	struct agent *a = context;
	struct daemon_certificate *known = site_certificate(&a->site, certificate);
	if (known)
		daemon_certificate_bundle(known, data, len);
}

static void on_pong(void *context)
{
	struct agent *a = context;
	control_pong(&a->site);
}

static void on_lost(bool was_ready, void *context)
{
	struct agent *a = context;
	for (size_t i = 0; was_ready && i < a->site.certificate_count; i++)
		daemon_certificate_lost(a->site.certificates[i]);
	control_hub_failed(&a->site);
	if (was_ready)
		agent_alert_connection(a->alert);
}

static const struct session_handler session_handler = {on_greet, on_welcome, on_message, on_bundle, on_pong, on_lost};

static void reload_soon(struct agent *a)
{
	if (a->next)
		event_active(a->reload, 0, 0);
}

static void on_told(struct site *site, struct daemon_certificate *about, const struct message *m)
{
	control_told(site, about, m);
	reload_soon((struct agent *)site);
}

/* ---- what follows from the configuration ---- */

static void close_configured(struct agent *a)
{
	struct site *site = &a->site;
	agent_alert_close(a->alert);
	a->alert = NULL;
	for (size_t i = 0; i < site->certificate_count; i++)
		daemon_certificate_free(site->certificates[i]);
	free(site->certificates);
	site->certificates = NULL;
	site->certificate_count = 0;
	session_free(site->session);
	site->session = NULL;
}

static const struct inventory *find_inventory(const struct reply *reply, const char *certificate)
{
	static const struct inventory none;
	for (size_t i = 0; i < reply->inventory_count; i++)
		if (strcmp(reply->inventory[i].certificate, certificate) == 0)
			return &reply->inventory[i];
	return &none;
}

static void arm_probes(struct agent *a)
{
	const struct timeval interval = {a->site.config->probe_interval, 0};
	event_add(a->probes, &interval);
}

/* The first inventory, and the one after each reading of the configuration, start everything. */
static void on_inventory(const struct reply *reply, void *context)
{
	struct agent *a = context;
	struct site *site = &a->site;
	if (!reply->ok) {
		log_event(LOG_LEVEL_ERROR, "root", "request=inventory error=\"%s\"", reply->text);
		stop(a, CLI_FAILED);
		return;
	}
	for (size_t i = 0; i < sizeof(reply->instance); i++)
		snprintf(site->instance + 2 * i, 3, "%02x", reply->instance[i]);
	site->session = session_new(site->base, site->config, &session_handler, a);
	site->certificates = mem_array(site->config->certificate_count, sizeof(*site->certificates));
	for (size_t i = 0; i < site->config->certificate_count; i++) {
		const struct agent_certificate *certificate = &site->config->certificates[i];
		site->certificates[i] =
			daemon_certificate_new(site, certificate, find_inventory(reply, certificate->name));
		site->certificate_count = i + 1;
	}
	arm_probes(a);
	session_start(site->session);
	a->alert = agent_alert_open(site);
	log_event(LOG_LEVEL_NOTICE, "started", "version=%s certificates=%zu hubs=%zu", CERTSYNC_VERSION,
		site->certificate_count, site->config->hub_count);
	if (a->next)
		reload_soon(a);
	else
		reading_end(&site->reading);
}

static void open_configured(struct agent *a)
{
	const struct request request = {.op = REQUEST_INVENTORY};
	root_client_ask(a->site.root, &request, on_inventory, a);
}

static bool any_switched(const struct site *site)
{
	for (size_t i = 0; i < site->certificate_count; i++)
		if (transaction_is_switched(daemon_certificate_transaction(site->certificates[i])))
			return true;
	return false;
}

static bool is_same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static void refuse_reading(struct agent *a, const char *reason)
{
	log_event(LOG_LEVEL_ERROR, "reload", "result=refused reason=\"%s\"", reason);
	reading_refuse(&a->site.reading, "%s", reason);
	reading_end(&a->site.reading);
}

/* Returns true when the new configuration needs a new start: what this process may reach was settled when it
 * started. */
static bool needs_start(struct agent *a)
{
	const struct agent_config *next = a->next, *now = a->site.config;
	if (!is_same(next->directory, now->directory) || !is_same(next->state, now->state) ||
		!is_same(next->run, now->run)) {
		refuse_reading(a, "directory, state and run change only at a restart of certsync-agent-root");
		agent_config_free(a->next);
		a->next = NULL;
		return true;
	}
	if (is_same(next->alert.command, now->alert.command))
		return false;
	log_event(LOG_LEVEL_NOTICE, "reload",
		"result=restart reason=\"the command of alerts is another one: certsync-agent-root starts this daemon again\"");
	stop(a, CLI_DONE);
	return true;
}

/* Puts the configuration that was read last to work as soon as no files are switched without being committed. */
static void on_reload(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	struct agent *a = context;
	if (!a->next || !a->site.session || any_switched(&a->site))
		return; /* reload_soon follows */
	if (needs_start(a))
		return;
	control_interrupt(&a->site);
	close_configured(a);
	agent_config_free(a->site.config);
	a->site.config = a->next;
	a->next = NULL;
	log_event(LOG_LEVEL_NOTICE, "reload", "result=done certificates=%zu", a->site.config->certificate_count);
	open_configured(a);
}

static void read_again(struct agent *a)
{
	auto_buf struct buf faults = BUF_INIT(FAULTS_MAX);
	struct agent_config *config = agent_config_load(a->site.config_path, &faults);
	if (!config) {
		log_lines(LOG_LEVEL_ERROR, "configuration", "fault", buf_text(&faults));
		refuse_reading(a, "the running configuration stays");
		reading_refuse(&a->site.reading, "%s", buf_text(&faults));
		return;
	}
	agent_config_free(a->next);
	a->next = config;
	reload_soon(a);
}

static void on_reading(const struct reply *reply, void *context)
{
	struct agent *a = context;
	if (reading_answered(&a->site.reading, reply->reading, reply->ok ? NULL : reply->text))
		read_again(a);
}

static void ask_reading(struct agent *a)
{
	const struct request request = {.op = REQUEST_READING};
	reading_begin(&a->site.reading);
	root_client_ask(a->site.root, &request, on_reading, a);
}

/* ---- life ---- */

static void inspect_all(struct agent *a)
{
	for (size_t i = 0; i < a->site.certificate_count; i++)
		daemon_certificate_inspect(a->site.certificates[i]);
}

static void on_probes(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	struct agent *a = context;
	inspect_all(a);
	arm_probes(a);
}

static void on_signal(evutil_socket_t number, short what, void *context)
{
	(void)what;
	struct agent *a = context;
	if (number == SIGHUP)
		ask_reading(a);
	else if (number == SIGUSR1)
		inspect_all(a);
	else
		stop(a, CLI_DONE);
}

static void on_root_ended(const struct error *err, void *context)
{
	if (err->kind != ERROR_NONE)
		log_event(LOG_LEVEL_ERROR, "root", "error=\"%s\"", err->message);
	else
		log_event(LOG_LEVEL_NOTICE, "root", "reason=\"certsync-agent-root has ended\"");
	stop(context, err->kind == ERROR_NONE ? CLI_DONE : CLI_FAILED);
}

static void on_teller_ended(void *context)
{
	log_event(LOG_LEVEL_ERROR, "alert", "error=\"the process that runs the command has ended\"");
	stop(context, CLI_FAILED);
}

static int start_teller(struct agent *a, struct error *err)
{
	const char *command = a->site.config->alert.command;
	if (command && teller_lacks_rights(command))
		log_event(LOG_LEVEL_WARNING, "alert",
			"command=%s reason=\"it calls sendmail or mail, or is itself set-user-ID or set-group-ID: such programs "
			"do without those rights here and can queue no mail\" remedy=\"let it speak SMTP, as the example in "
			"certsync-agent.conf(5) does\"",
			command);
	if (command)
		a->site.teller = teller_start(a->site.base, command, on_teller_ended, a, err);
	return command && !a->site.teller ? -1 : 0;
}

/* The daemon keeps its own directories, what a resolver reads, the link, and whatever port is to be probed. */
static void confine_daemon(const struct site *site)
{
	const struct agent_config *config = site->config;
	auto_free char *copy = mem_strdup(site->config_path);
	const struct confine_path paths[] = {
		{CONFINE_READ, dirname(copy)}, /* an editor puts another file there under its name */
		{CONFINE_READ, config->directory},
		{CONFINE_CHANGE, config->state},
		{CONFINE_CHANGE, config->run},
		{CONFINE_EXECUTE, fs_program_directory()},
	};
	const struct confine may = {.paths = paths, .path_count = COUNT(paths), .resolves = true, .connects = true};
	struct confinement got = confine(&may);
	const struct confinement_fault fault = confine_fault(&got);
	if (fault.text)
		log_event(LOG_LEVEL_WARNING, "confine", "reason=\"%s\" remedy=\"%s\"", fault.text, fault.remedy);
}

static void serve(struct agent *a)
{
	struct error err;
	if (start_teller(a, &err) < 0 || control_open(&a->site, &err) < 0) {
		log_event(LOG_LEVEL_ERROR, "start", "error=\"%s\"", err.message);
		a->exit_code = CLI_FAILED;
		return;
	}
	confine_daemon(&a->site);
	a->site.root = root_client_new(a->site.base, ROOT_FD, on_root_ended, a);
	open_configured(a);
	ask_reading(a);
	event_base_dispatch(a->site.base);
	log_event(LOG_LEVEL_NOTICE, "ended", "version=%s", CERTSYNC_VERSION);
	close_configured(a);
	control_close(&a->site);
	root_client_free(a->site.root);
	teller_free(a->site.teller);
}

static int serve_with_events(struct agent *a)
{
	/* The root half sends SIGUSR1 when it has put files right, since another certificate may be served then,
	 * too. */
	static const int numbers[] = {SIGHUP, SIGTERM, SIGINT, SIGUSR1};
	struct event *signals[COUNT(numbers)];
	for (size_t i = 0; i < COUNT(numbers); i++) {
		signals[i] = evsignal_new(a->site.base, numbers[i], on_signal, a);
		if (!signals[i] || event_add(signals[i], NULL) < 0)
			mem_abort(__func__);
	}
	a->probes = event_new(a->site.base, -1, 0, on_probes, a);
	a->reload = event_new(a->site.base, -1, 0, on_reload, a);
	if (!a->probes || !a->reload)
		mem_abort(__func__);
	serve(a);
	event_free(a->probes);
	event_free(a->reload);
	for (size_t i = 0; i < COUNT(numbers); i++)
		event_free(signals[i]);
	return a->exit_code;
}

int agent_run(const char *config_path)
{
	struct stat st;
	auto_buf struct buf faults = BUF_INIT(FAULTS_MAX);
	struct agent a = {.site = {.config_path = config_path, .told = on_told}};
	if (fstat(ROOT_FD, &st) < 0 || !S_ISSOCK(st.st_mode))
		return cli_fail(CLI_USAGE,
			"`run` is started by certsync-agent-root, which it needs on "
			"descriptor 3: start that");
	log_open("certsync-agent");
	signal(SIGPIPE, SIG_IGN);
	a.site.config = agent_config_load(config_path, &faults);
	if (!a.site.config) {
		fputs(buf_text(&faults), stderr);
		return CLI_USAGE;
	}
	a.site.base = event_base_new();
	if (!a.site.base)
		return cli_fail(CLI_FAILED, "cannot make an event loop");
	int result = serve_with_events(&a);
	event_base_free(a.site.base);
	agent_config_free(a.next);
	agent_config_free(a.site.config);
	return result;
}
