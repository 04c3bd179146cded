#include "hub/daemon/publish/watched.h"
#include "hub/daemon/events.h"
#include "hub/daemon/rollout/fleet.h"
#include "hub/daemon/publish/pairing.h"
#include "hub/daemon/publish/publish.h"
#include "hub/common/root_request.h"
#include "lib/core/clock.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STILL_SECONDS = 60 };

struct watched {
	struct watched *next;
	struct hub *hub;
	const struct hub_certificate *certificate;
	struct event *timer;             /* asks for a second reading */
	uint8_t last[CHAIN_SHA256_SIZE]; /* of the bytes handed over last */
	int64_t changed_at;              /* monotonic, ms: when those came */
	bool judged;                     /* those have been settled and dealt with */
	int64_t read_at;
	char left_out[256]; /* of the reading that is under way */
	char trouble[ERROR_MESSAGE_MAX];
};

static void say(struct watched *s, enum log_level level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Sets the trouble and logs it once. */
static void say(struct watched *s, enum log_level level, const char *fmt, ...)
{
	char text[ERROR_MESSAGE_MAX];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (strcmp(text, s->trouble) == 0)
		return;
	memcpy(s->trouble, text, sizeof(s->trouble));
	log_event(level, "watch", "certificate=%s path=\"%s\" reason=\"%s\"", s->certificate->name,
		s->certificate->watch[0], s->trouble);
	s->hub->events->changed(s->hub, fleet_find(s->hub, s->certificate->name));
}

/* ---- the record of what was last seen there ---- */

static bool seen_before(struct watched *s, const char *hex)
{
	struct error err;
	auto_buf struct buf text = BUF_INIT(CHAIN_HEX_MAX);
	return store_get(s->hub->store, "sources", s->certificate->name, "seen", &text, &err) > 0 &&
		strcmp(buf_text(&text), hex) == 0;
}

static void note_seen(struct watched *s, const char *hex)
{
	struct error err;
	if (store_put(s->hub->store, "sources", s->certificate->name, "seen", hex, strlen(hex), &err) < 0)
		log_event(LOG_LEVEL_ERROR, "store", "certificate=%s error=\"%s\"", s->certificate->name, err.message);
}

/* Of two pairs that were published one is missing, and seems to be under way. */
static bool misses_a_pair(struct watched *s, const struct pairing *p)
{
	struct error err;
	struct chain old[STORE_PAIRS_MAX] = {0};
	size_t count = 0;
	bool missing = false;
	auto_manifest struct manifest current = {0};
	auto_manifest struct manifest ignored = {0};
	if (p->count != 1 || store_current(s->hub->store, s->certificate->name, &current, &err) <= 0 ||
		store_load(s->hub->store, s->certificate->name, current.content.revision, old, &count, &ignored, &err) <
			0)
		return false;
	for (size_t i = 0; i < count; i++) {
		enum pairing_kind kind = pairing_kind(old[i].leaf);
		missing = missing || (kind != pairing_kind(p->pairs[0].leaf) && p->half_way[kind]);
		chain_release(&old[i]);
	}
	return missing;
}

/* Files that are being written become whole by themselves; those that have stood still for so long wait for a person. */
static bool stands_still(const struct watched *s)
{
	return clock_monotonic_ms() - s->changed_at >= STILL_SECONDS * 1000;
}

static bool is_waiting(struct watched *s, const struct files *files, const struct pairing *p)
{
	const char *left_out = s->left_out[0] ? "; " : "", *damage = p->damage[0] ? "; " : "",
		   *found = p->found[0] ? "; " : "";
	int64_t left = s->changed_at + STILL_SECONDS * 1000 - clock_monotonic_ms();
	const struct timeval later = {left / 1000 + 1, 0};
	enum log_level level = stands_still(s) ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING;
	const char *state = stands_still(s) ? "nothing to publish for a minute" : "waiting";
	if (misses_a_pair(s, p))
		say(s, level,
			"%s: of two pairs, ECDSA and RSA, one is incomplete%s%s: when it is complete, or gone, this goes on",
			state, damage, p->damage);
	else if (files->count == 0)
		say(s, level, "%s: no file there is called *.pem, *.key, *.crt or *.cer, which are those that are read",
			state);
	else if (p->count == 0)
		say(s, level,
			"%s: none of the %zu files there is a private key that matches a certificate chain among them"
			"%s%.300s%s%.400s%s%s",
			state, files->count, damage, p->damage, found, p->found, left_out, s->left_out);
	else
		return false;
	if (!stands_still(s))
		event_add(s->timer, &later);
	return true;
}

/* Returns the path of a file that the root half named by its path's number. */
static void describe(const struct watched *s, const char *file, char *text, size_t size)
{
	char *end;
	unsigned long number = strtoul(file, &end, 10);
	const char *name = *end == '/' ? end + 1 : end, *path = s->certificate->watch[0];
	for (size_t i = 0; s->certificate->watch[i]; i++)
		path = i == number ? s->certificate->watch[i] : path;
	/* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): a source has a path */
	const char *base = strrchr(path, '/');
	if (base && strcmp(base + 1, name) == 0) /* the path itself is a file */
		snprintf(text, size, "%s", path);
	else
		snprintf(text, size, "%s/%s", path, name);
}

/* The bytes have been the same twice, so it is judged what they are. */
static void judge(struct watched *s, const struct files *files)
{
	auto_pairing struct pairing p = {0};
	uint8_t digest[CHAIN_SHA256_SIZE];
	char hex[CHAIN_HEX_MAX];
	struct manifest meta = {.source = "watch"};
	struct revision revision;
	struct error err;
	bool unchanged;
	pairing_find(files, (const char *const *)s->certificate->names, s->hub->anchors, clock_wall(), &p);
	if (is_waiting(s, files, &p))
		return;
	chain_digest(p.pairs, p.count, digest);
	if (seen_before(s, chain_hex(digest, hex))) {
		s->trouble[0] = '\0';
		return;
	}
	describe(s, p.file, meta.reason, sizeof(meta.reason));
	if (publish(s->hub, s->certificate, p.pairs, p.count, &meta, &revision, &unchanged, &err) < 0) {
		say(s, LOG_LEVEL_ERROR, "refused: %s: %s%s%s", meta.reason, err.message, s->left_out[0] ? "; " : "",
			s->left_out);
		return;
	}
	s->trouble[0] = '\0';
	note_seen(s, hex);
}

static void hash_files(const struct files *files, uint8_t ret[CHAIN_SHA256_SIZE])
{
	auto_buf struct buf all = BUF_INIT(FRAME_FILES_MAX);
	files_encode(files, &all);
	if (sha256(all.data, all.len, ret) < 0)
		mem_abort(__func__);
}

static void take_files(struct watched *s, const struct files *files)
{
	const struct timeval second = {1, 0};
	uint8_t hash[CHAIN_SHA256_SIZE];
	s->read_at = clock_wall();
	hash_files(files, hash);
	if (memcmp(hash, s->last, sizeof(hash)) == 0) {
		/* A refusal may pass with time (not yet valid, an anchor added), so it is judged anew at each periodic
		 * reading. */
		if (!s->judged || s->trouble[0])
			judge(s, files);
		s->judged = true;
		return;
	}
	memcpy(s->last, hash, sizeof(hash));
	s->changed_at = clock_monotonic_ms();
	s->judged = false;
	event_add(s->timer, &second);
}

void watched_files(struct hub *hub, const struct files *files)
{
	struct watched *s = watched_find(hub, files->label);
	if (!s)
		return;
	take_files(s, files);
	s->left_out[0] = '\0';
}

void watched_left_out(struct hub *hub, const char *certificate, const char *text)
{
	struct watched *s = watched_find(hub, certificate);
	if (s)
		snprintf(s->left_out, sizeof(s->left_out), "%s", text);
}

void watched_unreadable(struct hub *hub, const char *certificate, const char *reason)
{
	struct watched *s = watched_find(hub, certificate);
	if (s)
		say(s, LOG_LEVEL_ERROR, "unreadable: %s", reason);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	struct watched *s = context;
	struct hub_request request = {.op = HUB_REQUEST_SCAN};
	auto_buf struct buf record = BUF_INIT(FRAME_RECORD_MAX);
	snprintf(request.certificate, sizeof(request.certificate), "%s", s->certificate->name);
	if (s->hub->root && hub_request_encode(&request, &record) == 0)
		conn_send(s->hub->root, FRAME_RECORD, record.data, record.len);
}

void watched_open(struct hub *hub)
{
	for (size_t i = 0; i < hub->config->certificate_count; i++) {
		if (!hub->config->certificates[i].watch[0])
			continue;
		struct watched *s = mem_alloc(sizeof(*s));
		s->next = hub->sources;
		hub->sources = s;
		s->hub = hub;
		s->certificate = &hub->config->certificates[i];
		s->timer = event_new(hub->base, -1, 0, on_timer, s);
		if (!s->timer)
			mem_abort(__func__);
		/* The root half may have read it before we had this configuration. */
		on_timer(-1, 0, s);
	}
}

void watched_close(struct hub *hub)
{
	while (hub->sources) {
		struct watched *s = hub->sources;
		hub->sources = s->next;
		event_free(s->timer);
		free(s);
	}
}

struct watched *watched_find(struct hub *hub, const char *certificate)
{
	for (struct watched *s = hub->sources; s; s = s->next)
		if (strcmp(s->certificate->name, certificate) == 0)
			return s;
	return NULL;
}

const char *watched_trouble(const struct watched *s)
{
	return s->trouble;
}

int64_t watched_seen(const struct watched *s)
{
	return s->read_at;
}
