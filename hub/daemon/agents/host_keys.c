#include "hub/daemon/agents/host_keys.h"
#include "hub/daemon/agents/enroll.h"
#include "hub/daemon/keys.h"
#include "hub/daemon/agents/enrolment.h"
#include "lib/core/base64.h"
#include "lib/core/clock.h"
#include "lib/core/fs.h"
#include "lib/crypto/host_pins.h"
#include "lib/core/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static int read_hosts(const struct hub *hub, struct host_pins *ret, struct error *err)
{
	struct host_pins p = {0};
	for (char **path = hub->config->host_keys; path && *path; path++) {
		auto_buf struct buf text = BUF_INIT(16 * 1024), fingerprint = BUF_INIT(HOST_PIN_MAX - 1);
		if (p.count == HOST_PINS_COUNT)
			return error_set(err, ERROR_USAGE, "more than %d files", HOST_PINS_COUNT);
		if (fs_read(AT_FDCWD, *path, true, &text, err) < 0)
			return -1;
		if (enrolment_fingerprint(buf_text(&text), &fingerprint, err) < 0)
			return error_wrap(err, "%s", *path);
		snprintf(p.hosts[p.count++], HOST_PIN_MAX, "%s", buf_text(&fingerprint));
	}
	*ret = p;
	return 0;
}

/* Returns 1 with the list that was told last, or 0 when there is none that this hub's key has signed. */
static int load(struct hub *hub, struct buf *record, struct host_pins *ret)
{
	struct error err;
	struct bundle_keys keys = {.signer_count = 1};
	memcpy(keys.signers[0], hub->sign_public, SEAL_KEY_SIZE);
	if (store_get(hub->store, "hub", "announce", "host-keys", record, &err) <= 0)
		return 0;
	if (host_pins_open(record->data, record->len, &keys, ret, &err) == 0)
		return 1;
	log_event(LOG_LEVEL_WARNING, "host-keys", "error=\"%s\" text=\"the list is made anew\"", err.message);
	return 0;
}

static bool says_the_same(const struct host_pins *a, const struct host_pins *b)
{
	bool same = a->count == b->count;
	for (size_t i = 0; i < a->count && same; i++)
		same = strcmp(a->hosts[i], b->hosts[i]) == 0;
	return same;
}

static int renew(struct hub *hub, struct buf *record, struct error *err)
{
	struct host_pins now = {0}, before = {0};
	int known = load(hub, record, &before);
	if (read_hosts(hub, &now, err) < 0)
		return -1;
	if (now.count == 0 || (known && says_the_same(&now, &before)))
		return 0;
	now.serial = clock_wall() > before.serial ? clock_wall() : before.serial + 1;
	buf_reset(record);
	if (keys_pins(hub->keys, &now, record, err) < 0 ||
		store_put(hub->store, "hub", "announce", "host-keys", record->data, record->len, err) < 0)
		return -1;
	log_event(LOG_LEVEL_NOTICE, "host-keys", "count=%zu serial=%lld text=\"told to every agent\"", now.count,
		(long long)now.serial);
	return 0;
}

void host_keys_open(struct hub *hub)
{
	struct error err;
	auto_buf struct buf record = BUF_INIT(HOST_PINS_MAX);
	buf_release(&hub->host_keys);
	hub->host_keys = BUF_INIT(2 * HOST_PINS_MAX);
	if (!hub->config->ssh)
		return;
	if (renew(hub, &record, &err) < 0)
		log_event(LOG_LEVEL_WARNING, "host-keys", "error=\"host_keys: %s\"", err.message);
	base64_encode(record.data, record.len, &hub->host_keys);
}

const char *host_keys_text(struct hub *hub)
{
	return buf_text(&hub->host_keys);
}
