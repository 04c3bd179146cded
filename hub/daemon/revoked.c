#include "hub/daemon/revoked.h"
#include "lib/core/clock.h"
#include "lib/wire/json.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RECORD_MAX = 512 };

static const char kind[] = "revoked";

static char *file_of(const uint8_t leaf[CHAIN_SHA256_SIZE])
{
	char hex[CHAIN_HEX_MAX];
	return mem_printf("%s.json", chain_hex(leaf, hex));
}

int revoked_note(struct store *store, const char *certificate, const uint8_t leaf[CHAIN_SHA256_SIZE],
	const struct revoked *r, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(RECORD_MAX);
	auto_free char *file = file_of(leaf);
	auto_json cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "reason", r->reason);
	cJSON_AddNumberToObject(o, "at", (double)r->at);
	if (json_print(o, &text) < 0)
		mem_abort(__func__); /* a word and a number */
	return store_put(store, kind, certificate, file, text.data, text.len, err);
}

int revoked_find(
	struct store *store, const char *certificate, const uint8_t leaf[CHAIN_SHA256_SIZE], struct revoked *ret)
{
	struct error damaged;
	auto_buf struct buf text = BUF_INIT(RECORD_MAX);
	auto_free char *file = file_of(leaf);
	*ret = (struct revoked){.reason = "unspecified"};
	int found = store_get(store, kind, certificate, file, &text, &damaged);
	if (found == 0)
		return 0;
	auto_json cJSON *o = found > 0 ? json_parse(text.data, text.len, &damaged) : NULL;
	const char *reason = o ? json_string(o, "reason", REVOKED_REASON_MAX - 1, &damaged) : NULL;
	if (o && json_i64(o, "at", &ret->at, &damaged) < 0)
		ret->at = 0; /* not known; the reason counts all the same */
	if (reason)
		snprintf(ret->reason, sizeof(ret->reason), "%s", reason);
	return 1;
}

int revoked_check(
	struct store *store, const char *certificate, const struct chain *pairs, size_t count, struct error *err)
{
	char hex[CHAIN_HEX_MAX], when[CLOCK_TEXT_MAX];
	uint8_t leaf[CHAIN_SHA256_SIZE];
	struct revoked r;
	for (size_t i = 0; i < count; i++) {
		chain_fingerprint(pairs[i].leaf, leaf);
		if (!revoked_find(store, certificate, leaf, &r))
			continue;
		return error_set(err, ERROR_UNTRUSTED,
			"revoked: the certificate %.16s… was revoked from here at %s (%s) and is never "
			"published again: "
			"certsync history shows others, certsync renew orders a new one",
			chain_hex(leaf, hex), clock_text(r.at, when), r.reason);
	}
	return 0;
}
