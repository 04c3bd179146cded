/* A hub without its sockets, for tests of its modules: a configuration, a store on the disk, an event loop, and an
 * agent that comes in over a socketpair and says what the test wants. */
#ifndef CERTSYNC_TESTS_HUB_SCENE_H
#define CERTSYNC_TESTS_HUB_SCENE_H

#include "tests/unit/issue.h"
#include "tests/unit/scratch.h"
#include "tests/keys.h"

#include "hub/daemon/daemon.h"
#include "hub/daemon/rollout/fleet.h"
#include "hub/daemon/rollout/history.h"
#include "hub/daemon/agents/key_changes.h"
#include "hub/daemon/agents/session.h"
#include "hub/daemon/agents/signing.h"
#include "hub/daemon/worker.h"
#include "hub/daemon/agents/admission.h"
#include "lib/core/clock.h"

#include <grp.h>
#include <pwd.h>
#include <sys/socket.h>

#define NAME "mail.domain.pl"

struct hub_scene {
	struct scratch *scratch;
	struct hub hub;
};

/* Sets up one certificate with these further settings, an authority `ca`, and the agents `here`, which is local, and
 * `mail`. Returns false when the configuration is refused, and prints why. */
static inline bool hub_scene_begin(struct hub_scene *s, const char *settings)
{
	struct error err;
	auto_buf struct buf faults = BUF_INIT(64 * 1024);
	void *scratch;
	if (scratch_setup(&scratch) < 0)
		return false;
	s->scratch = scratch;
	const struct passwd *user = getpwuid(geteuid());
	const struct group *group = getgrgid(getegid());
	auto_free char *name = mem_strdup(user->pw_name), *path = scratch_path(s->scratch, "hub.conf");
	auto_free char *conf = mem_printf(
		"ssh = \"gate@haproxy.domain.pl\"\nhost_keys = {\"%s/hub.conf\"}\nstate = \"%s/state\"\n"
		"run = \"%s/run\"\nuser = \"%s\"\nkeys_user = \"%s\"\nworker_user = \"%s\"\ngate_user = \"%s\"\nlocal_user = \"%s\"\nadmin_group = \"%s\"\n"
		"acme \"ca\" { directory = \"https://ca.domain.pl/dir\" agree_tos = true contact = {\"mailto:a@domain.pl\"} }\n"
		"acme \"other\" { directory = \"https://other.example/dir\" agree_tos = true }\n"
		"certificate \"" NAME "\" { stage_timeout = \"10m\" activate_timeout = \"5m\" %s }\n"
		"agent \"here\" { certificates = {\"" NAME "\"} away_after = \"1h\" local = true }\n"
		"agent \"mail\" { certificates = {\"" NAME "\"} away_after = \"1h\" }\n",
		s->scratch->path, s->scratch->path, s->scratch->path, name, name, name, name, name, group->gr_name,
		settings);
	scratch_write(s->scratch, "hub.conf", conf, 0600);
	s->hub.config = hub_config_load(path, &faults);
	if (!s->hub.config) {
		print_error("%s", buf_text(&faults));
		return false;
	}
	s->hub.events = &daemon_events;
	s->hub.base = event_base_new();
	s->hub.workers = workers_new(s->hub.base);
	s->hub.keys = keys_new(s->hub.base, NULL, NULL);
	s->hub.local_uid = 12345;
	s->hub.store = store_open(s->hub.config->state, &err);
	if (s->hub.store)
		key_changes_open(&s->hub);
	auto_free char *keys = scratch_path(s->scratch, "state-keys");
	return s->hub.store && keys_begin(s->hub.keys, keys, &err) > 0 &&
		keys_signer(s->hub.keys, true, s->hub.sign_public, &err) == 0 && signing_open(&s->hub, &err) == 0;
}

static inline void hub_scene_end(struct hub_scene *s)
{
	void *scratch = s->scratch;
	session_close_all(&s->hub);
	fleet_close(&s->hub);
	history_close(&s->hub);
	signing_close(&s->hub);
	key_changes_close(&s->hub);
	store_close(s->hub.store);
	workers_free(s->hub.workers);
	keys_free(s->hub.keys);
	event_base_free(s->hub.base);
	hub_config_free(s->hub.config);
	assert_int_equal(scratch_teardown(&scratch), 0);
}

/* Puts a certificate that is valid for 90 days from ISSUE_NOW into the store. The rollout is not told. */
static inline struct revision hub_scene_store(struct hub_scene *s)
{
	struct error err;
	struct issued leaf = issue((struct wish){.subject = NAME, .san = "DNS:" NAME});
	struct chain chain = issued_chain(&leaf, NULL, 0);
	const struct manifest meta = {.source = "import", .reason = "test"};
	struct revision revision;
	auto_free char *keys = scratch_path(s->scratch, "state-keys");
	assert_int_equal(keys_put(keys, chain.key, &err), 0);
	assert_int_equal(store_publish(s->hub.store, NAME, &chain, 1, &meta, &revision, &err), 0);
	chain_release(&chain);
	issued_release(&leaf);
	return revision;
}

static inline void hub_scene_say(int agent, const char *json)
{
	auto_buf struct buf frame = BUF_INIT(FRAME_MESSAGE_MAX + FRAME_HEADER_SIZE);
	assert_int_equal(frame_encode(&frame, FRAME_MESSAGE, json, strlen(json)), 0);
	assert_int_equal(write(agent, frame.data, frame.len), (ssize_t)frame.len);
}

/* Lets the agent `here` come in and say hello, with a clock that is `ahead` seconds fast, and with the count of
 * inventories that follow. Returns the agent's end of the stream. */
static inline int hub_scene_come(struct hub_scene *s, int64_t ahead, int inventories)
{
	int ends[2];
	auto_free char *hello = mem_printf("{\"type\":\"hello\",\"protocol\":1,\"version\":\"x\",\"instance\":"
					   "\"00000000000000000000000000000000\",\"clock\":%lld,\"count\":%d}",
		(long long)(clock_wall() + ahead), inventories);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
	hub_scene_say(ends[1], hello);
	admission_local(ends[0], s->hub.local_uid, &s->hub);
	while (!session_find(&s->hub, "here"))
		assert_int_equal(event_base_loop(s->hub.base, EVLOOP_ONCE), 0);
	return ends[1];
}

#endif
