#include "tests/crash/story_join.h"
#include "tests/crash/story.h"
#include "hub/root/authorized_keys.h"
#include "hub/daemon/agents/enroll.h"
#include "hub/daemon/daemon.h"
#include "hub/daemon/agents/key_changes.h"
#include "hub/daemon/agents/join_line.h"
#include "hub/daemon/agents/login_keys.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char name[] = "mail", address[] = "certsync-gate@haproxy.domain.pl:22";

/* A daemon, with as much of it as joining needs, and the root half's end of the socket between them. */
struct daemon {
	struct hub hub;
	struct hub_config config;
	struct hub_agent agent;
	int root;
	char *authorized_keys;
};

static void on_frame(struct conn *c, const struct frame *frame, void *context)
{
	(void)c, (void)frame, (void)context;
}

static void on_closed(struct conn *c, const struct error *err, void *context)
{
	(void)c, (void)err, (void)context;
}

static const struct conn_handler handler = {on_frame, on_closed};

static void daemon_close(struct daemon *d)
{
	login_keys_close(&d->hub);
	key_changes_close(&d->hub);
	conn_free(d->hub.root);
	close(d->root);
	event_base_free(d->hub.base);
	mem_free_cleanup(&d->authorized_keys);
}

static int daemon_open(struct daemon *d, struct store *s, const char *dir, struct error *err)
{
	int ends[2];
	d->agent.name = name;
	d->config.ssh = address;
	d->config.agents = &d->agent;
	d->config.agent_count = 1;
	d->hub.events = &daemon_events;
	d->hub.config = &d->config;
	d->hub.store = s;
	key_changes_open(&d->hub);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0)
		return error_errno(err, "socketpair");
	d->hub.base = event_base_new();
	if (!d->hub.base)
		return error_set(err, ERROR_RETRY, "no event loop");
	d->hub.root = conn_new(d->hub.base, ends[0], 1u << FRAME_RECORD, &handler, d);
	d->root = ends[1];
	d->authorized_keys = mem_printf("%s/disk/gate/authorized_keys", dir);
	return 0;
}

/* Does what the root half does with the daemon's request. */
static int write_keys(struct daemon *d, struct error *err)
{
	struct frame_stream in;
	struct frame frame;
	struct hub_request request = {0};
	event_base_loop(d->hub.base, EVLOOP_NONBLOCK);
	frame_stream_init(&in, d->root, 1u << FRAME_RECORD);
	int result = frame_fill(&in, err) < 0 ? -1 : frame_next(&in, &frame, err);
	if (result == 0)
		error_set(err, ERROR_RETRY, "the daemon has sent no list of keys");
	result = result == 1 && hub_request_decode(frame.data, frame.len, &request, err) == 0
		? authorized_keys_write(d->authorized_keys, request.keys, request.key_count, err)
		: -1;
	hub_request_release(&request);
	frame_stream_release(&in);
	return result;
}

static int add(struct daemon *d, const struct join_keys *keys, struct buf *line, struct error *err)
{
	story_say("doing list");
	if (enroll_hub_line(&d->hub, name, line, err) < 0 ||
		join_line_issue(&d->hub, name, JOIN_LINE_KEYS_OWN, 0, keys, line, err) < 0)
		return -1;
	login_keys_send(&d->hub);
	if (write_keys(d, err) < 0)
		return -1;
	story_say("listed join");
	return 0;
}

static int join(struct daemon *d, const char *key, const struct join_keys *keys, const char *line, struct error *err)
{
	struct join_request r = {.seal = {1}, .nonce = {2}};
	auto_join_line struct join_line ticket = {0};
	auto_buf struct buf request = BUF_INIT(FRAME_JOIN_MAX);
	uint8_t digest[JOIN_DIGEST_SIZE];
	snprintf(r.agent, sizeof(r.agent), "%s", name);
	snprintf(r.ssh, sizeof(r.ssh), "ssh-ed25519 %s", key);
	r.seal[1] = (uint8_t)key[40];
	if (join_line_digest(line, digest, err) < 0 || join_request_encode(&r, keys->mac, digest, &request, err) < 0)
		return -1;
	if (join_line_use(&d->hub, name, request.data, request.len, clock_wall(), &ticket, err) < 0)
		return -1;
	story_say("spent");
	story_say("doing enroll %s", key);
	if (enroll_keys(&d->hub, name, r.ssh, r.seal, false, 0, err) < 0)
		return -1;
	story_say("enrolled %s", key);
	story_say("doing list");
	if (write_keys(d, err) < 0)
		return -1;
	story_say("listed %s", key);
	return 0;
}

static int add_and_join(struct store *s, const char *dir, const char *key, uint8_t secret_byte, struct error *err)
{
	struct daemon d = {.root = -1};
	auto_join_keys struct join_keys keys;
	auto_buf struct buf line = BUF_INIT(4096);
	const uint8_t secret[JOIN_SECRET_SIZE] = {secret_byte};
	int result = daemon_open(&d, s, dir, err) == 0 && join_derive(secret, &keys, err) == 0 &&
			add(&d, &keys, &line, err) == 0 && join(&d, key, &keys, buf_text(&line), err) == 0
		? 0
		: -1;
	daemon_close(&d);
	return result;
}

int story_join(struct store *s, const char *dir, struct error *err)
{
	return add_and_join(s, dir, "AAAAC3NzaC1lZDI1NTE5AAAAIAICAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g", 7, err);
}

int story_join_again(struct store *s, const char *dir, struct error *err)
{
	return add_and_join(s, dir, "AAAAC3NzaC1lZDI1NTE5AAAAIAMCAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g", 8, err);
}

int story_join_start(struct store *s, const char *dir, struct error *err)
{
	struct daemon d = {.root = -1};
	int result = daemon_open(&d, s, dir, err);
	if (result == 0) {
		login_keys_send(&d.hub);
		result = write_keys(&d, err);
	}
	daemon_close(&d);
	return result;
}
