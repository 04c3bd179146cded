#include "hub/source.h"
#include "hub/control.h"
#include "hub/fleet.h"
#include "hub/publish.h"
#include "hub/request.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct source {
	struct source *next;
	struct hub *hub;
	const struct hub_certificate *certificate;
	struct event *timer;             /* asks for a second reading */
	uint8_t last[CHAIN_SHA256_SIZE]; /* of the bytes handed over last */
	bool judged;                     /* those have been settled and dealt with */
	int64_t read_at;
	char trouble[ERROR_MESSAGE_MAX];
};

static void say(struct source *s, enum log_level level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Sets the trouble and logs it once. */
static void say(struct source *s, enum log_level level, const char *fmt, ...)
{
	char text[ERROR_MESSAGE_MAX];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (strcmp(text, s->trouble) == 0)
		return;
	memcpy(s->trouble, text, sizeof(s->trouble));
	log_event(level, "watch", "certificate=%s directory=\"%s\" reason=\"%s\"", s->certificate->name,
		s->certificate->watch, s->trouble);
	control_changed(s->hub, fleet_find(s->hub, s->certificate->name));
}

/* Which of the files belong together. */

static bool has_key_for(const struct files *files, size_t chain_file, size_t key_file, struct chain *ret)
{
	struct error err;
	struct chain c = {0};
	if (chain_parse_pem(files->file[chain_file].data, files->file[chain_file].len, files->file[key_file].data,
			files->file[key_file].len, &c, &err) < 0)
		return false;
	if (!c.key || EVP_PKEY_eq(c.key, X509_get0_pubkey(c.leaf)) != 1 || chain_order(&c, &err) < 0) {
		chain_release(&c);
		return false;
	}
	*ret = c;
	return true;
}

/* The newest leaf with the longest chain among all pairs of a certificate file and a key file: finds privkey.pem and
 * fullchain.pem beside cert.pem and chain.pem, and whatever other clients call theirs. */
static bool find_pair(const struct files *files, struct chain *ret)
{
	bool found = false;
	for (size_t i = 0; i < files->count; i++) {
		for (size_t k = 0; k < files->count; k++) {
			struct chain c = {0};
			if (!has_key_for(files, i, k, &c))
				continue;
			int days = 0, seconds = 0;
			if (found)
				ASN1_TIME_diff(&days, &seconds, X509_get0_notAfter(ret->leaf), X509_get0_notAfter(c.leaf));
			bool newer = days > 0 || seconds > 0, same = days == 0 && seconds == 0;
			if (!found || newer || (same && sk_X509_num(c.rest) > sk_X509_num(ret->rest))) {
				chain_release(ret);
				*ret = c;
				found = true;
			} else {
				chain_release(&c);
			}
		}
	}
	return found;
}

/* The record of what was last seen there. */

static bool seen_before(struct source *s, const char *hex)
{
	struct error err;
	auto_buf struct buf text = BUF_INIT(CHAIN_HEX_MAX);
	return store_get(s->hub->store, "sources", s->certificate->name, "seen", &text, &err) > 0 &&
		strcmp(buf_text(&text), hex) == 0;
}

static void note_seen(struct source *s, const char *hex)
{
	struct error err;
	if (store_put(s->hub->store, "sources", s->certificate->name, "seen", hex, strlen(hex), &err) < 0)
		log_event(LOG_LEVEL_ERROR, "store", "certificate=%s error=\"%s\"", s->certificate->name, err.message);
}

/* The bytes have been the same twice: what do they hold? */
static void judge(struct source *s, const struct files *files)
{
	auto_chain struct chain c = {0};
	uint8_t digest[CHAIN_SHA256_SIZE];
	char hex[CHAIN_HEX_MAX];
	struct manifest meta = {.source = "watch"};
	struct revision revision;
	struct error err;
	bool unchanged;
	if (!find_pair(files, &c)) {
		say(s, LOG_LEVEL_WARNING,
			"waiting: none of the %zu files there is a private key that matches a certificate chain among them",
			files->count);
		return;
	}
	chain_digest(&c, 1, digest);
	if (seen_before(s, chain_hex(digest, hex))) {
		s->trouble[0] = '\0';
		return;
	}
	snprintf(meta.reason, sizeof(meta.reason), "%.120s", s->certificate->watch);
	if (publish(s->hub, s->certificate, &c, 1, &meta, &revision, &unchanged, &err) < 0) {
		say(s, LOG_LEVEL_ERROR, "refused: %s", err.message);
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
		abort();
}

void source_files(struct hub *hub, const struct files *files)
{
	const struct timeval second = {1, 0};
	uint8_t hash[CHAIN_SHA256_SIZE];
	struct source *s = source_find(hub, files->label);
	if (!s)
		return;
	s->read_at = clock_wall();
	hash_files(files, hash);
	if (memcmp(hash, s->last, sizeof(hash)) == 0) {
		/* A refusal may pass with time (not yet valid, an anchor added): judged anew at each periodic reading. */
		if (!s->judged || s->trouble[0])
			judge(s, files);
		s->judged = true;
		return;
	}
	memcpy(s->last, hash, sizeof(hash));
	s->judged = false;
	event_add(s->timer, &second);
}

void source_unreadable(struct hub *hub, const char *certificate, const char *reason)
{
	struct source *s = source_find(hub, certificate);
	if (s)
		say(s, LOG_LEVEL_ERROR, "unreadable: %s", reason);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	struct source *s = context;
	struct hub_request request = {.op = HUB_REQUEST_SCAN};
	auto_buf struct buf record = BUF_INIT(FRAME_RECORD_MAX);
	snprintf(request.certificate, sizeof(request.certificate), "%s", s->certificate->name);
	if (s->hub->root && hub_request_encode(&request, &record) == 0)
		conn_send(s->hub->root, FRAME_RECORD, record.data, record.len);
}

void source_open(struct hub *hub)
{
	for (size_t i = 0; i < hub->config->certificate_count; i++) {
		if (!hub->config->certificates[i].watch)
			continue;
		struct source *s = mem_alloc(sizeof(*s));
		s->next = hub->sources;
		hub->sources = s;
		s->hub = hub;
		s->certificate = &hub->config->certificates[i];
		s->timer = event_new(hub->base, -1, 0, on_timer, s);
		if (!s->timer)
			abort();
		/* The root half may have read it before we had this configuration. */
		on_timer(-1, 0, s);
	}
}

void source_close(struct hub *hub)
{
	while (hub->sources) {
		struct source *s = hub->sources;
		hub->sources = s->next;
		event_free(s->timer);
		free(s);
	}
}

struct source *source_find(struct hub *hub, const char *certificate)
{
	for (struct source *s = hub->sources; s; s = s->next)
		if (strcmp(s->certificate->name, certificate) == 0)
			return s;
	return NULL;
}

const char *source_trouble(const struct source *s)
{
	return s->trouble;
}

int64_t source_seen(const struct source *s)
{
	return s->read_at;
}
