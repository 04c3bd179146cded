#include "hub/daemon/revoked.h"
#include "lib/core/clock.h"
#include "hub/daemon/record.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RECORD_MAX = 512 };

/* The record borrows `file`, which the caller frees. */
static struct record record_of(const char *certificate, const uint8_t leaf[CHAIN_SHA256_SIZE], char **ret_file)
{
	char hex[CHAIN_HEX_MAX];
	*ret_file = mem_printf("%s.json", chain_hex(leaf, hex));
	return (struct record){"revoked", certificate, *ret_file, RECORD_MAX,
		"the certificate counts as revoked all the same, and why and when is not known"};
}

int revoked_note(struct store *store, const char *certificate, const uint8_t leaf[CHAIN_SHA256_SIZE],
	const struct revoked *r, struct error *err)
{
	auto_free char *file = NULL;
	const struct record record = record_of(certificate, leaf, &file);
	auto_json cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "reason", r->reason);
	cJSON_AddNumberToObject(o, "at", (double)r->at);
	return record_put(store, &record, o, err);
}

int revoked_find(
	struct store *store, const char *certificate, const uint8_t leaf[CHAIN_SHA256_SIZE], struct revoked *ret)
{
	struct error damaged;
	auto_free char *file = NULL;
	const struct record record = record_of(certificate, leaf, &file);
	auto_json cJSON *o = NULL;
	*ret = (struct revoked){.reason = "unspecified"};
	int found = record_get(store, &record, &o, &damaged);
	if (found == 0)
		return 0;
	const char *reason = o ? json_string(o, "reason", REVOKED_REASON_MAX - 1, &damaged) : NULL;
	if (reason)
		snprintf(ret->reason, sizeof(ret->reason), "%s", reason);
	/* Where the time is not known, the reason counts all the same. */
	if (!reason || json_i64(o, "at", &ret->at, &damaged) < 0)
		record_damaged(store, &record, &damaged);
	return 1;
}

int revoked_find_either(struct store *store, const char *certificate, const struct manifest *m, struct revoked *ret)
{
	return revoked_find(store, certificate, m->content.leaf, ret) ||
		(manifest_has_second(m) && revoked_find(store, certificate, m->second, ret));
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
