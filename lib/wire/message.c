#include "lib/wire/message.h"
#include "lib/core/frame.h"
#include "lib/wire/content_json.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void message_release(struct message *m)
{
	for (size_t i = 0; i < m->name_count; i++)
		free(m->names[i]);
	free(m->names);
	free(m->probes);
	*m = (struct message){0};
}

struct message_probe *message_add_probe(struct message *m)
{
	if (m->probe_count == MESSAGE_PROBES_MAX)
		return NULL;
	m->probes = mem_grow(m->probes, m->probe_count + 1, sizeof(*m->probes));
	struct message_probe *p = &m->probes[m->probe_count++];
	*p = (struct message_probe){0};
	return p;
}

void message_add_name(struct message *m, const char *name)
{
	if (m->name_count == MESSAGE_NAMES_MAX)
		return;
	m->names = mem_grow(m->names, m->name_count + 1, sizeof(*m->names));
	m->names[m->name_count++] = mem_strdup(name);
}

/* ---- writers and readers of single fields ---- */

static void put_text(cJSON *o, const char *key, const char *text)
{
	cJSON_AddStringToObject(o, key, text);
}

/* Texts that a person reads have one alphabet (lib/core/text.h). It is kept here, so that nobody's own care is relied
 * on; besides, a cut may have gone through a character. */
static void put_prose(cJSON *o, const char *key, const char *text, bool lines)
{
	auto_free char *clean = mem_strdup(text);
	text_clean(clean, lines);
	put_text(o, key, clean);
}

static int take_prose(const cJSON *o, const char *key, bool lines, char *text, size_t size, struct error *err)
{
	const char *value = json_string(o, key, size - 1, err);
	if (!value)
		return -1;
	const char *fault = text_fault(value, lines);
	if (fault)
		return error_set(err, ERROR_PERMANENT, "%s: has %s", key, fault);
	/* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): an array holds no more than there is room for */
	memcpy(text, value, strlen(value) + 1);
	return 0;
}

static int take_text(const cJSON *o, const char *key, char *text, size_t size, struct error *err)
{
	return take_prose(o, key, false, text, size, err);
}

static void put_number(cJSON *o, const char *key, int64_t value)
{
	cJSON_AddNumberToObject(o, key, (double)value);
}

/* Takes a SHA-256 in hex, or an empty text. */
static int take_hex(const cJSON *o, const char *key, char text[CHAIN_HEX_MAX], struct error *err)
{
	const char *value = json_string(o, key, CHAIN_HEX_MAX - 1, err);
	if (!value)
		return -1;
	size_t len = strlen(value);
	if ((len != 0 && len != CHAIN_HEX_MAX - 1) || strspn(value, "0123456789abcdef") != len)
		return error_set(err, ERROR_PERMANENT, "%s: is not a SHA-256", key);
	memcpy(text, value, len + 1);
	return 0;
}

static int take_name(
	const cJSON *o, const char *key, bool valid(const char *), char *text, size_t size, struct error *err)
{
	const char *value = json_string(o, key, size - 1, err);
	if (!value)
		return -1;
	if (!valid(value))
		return error_set(err, ERROR_PERMANENT, "%s: \"%s\" is outside the alphabet of such names", key, value);
	/* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): an array holds no more than there is room for */
	memcpy(text, value, strlen(value) + 1);
	return 0;
}

/* Whatever is about a certificate begins with certificate, revision and attempt. */

static int take_certificate(const cJSON *o, struct message *m, struct error *err)
{
	return take_name(o, "certificate", name_is_certificate, m->certificate, sizeof(m->certificate), err);
}

static void put_subject(const struct message *m, cJSON *o)
{
	put_text(o, "certificate", m->certificate);
	revision_to_json(m->content.revision, "revision", o);
	put_number(o, "attempt", m->attempt);
}

static int take_subject(const cJSON *o, struct message *m, struct error *err)
{
	if (take_certificate(o, m, err) < 0 || revision_from_json(o, "revision", &m->content.revision, err) < 0)
		return -1;
	return json_u32(o, "attempt", &m->attempt, err);
}

/* Does the same with all that is known of the revision. */
static void put_content(const struct message *m, cJSON *o)
{
	put_text(o, "certificate", m->certificate);
	content_to_json(&m->content, o);
	put_number(o, "attempt", m->attempt);
}

static int take_content(const cJSON *o, struct message *m, struct error *err)
{
	if (take_certificate(o, m, err) < 0 || content_from_json(o, &m->content, err) < 0)
		return -1;
	return json_u32(o, "attempt", &m->attempt, err);
}

static void put_hello(const struct message *m, cJSON *o)
{
	put_number(o, "protocol", m->protocol);
	put_prose(o, "version", m->version, false);
	put_text(o, "instance", m->instance);
	put_number(o, "clock", m->clock);
	put_number(o, "count", m->count);
}

static int take_hello(const cJSON *o, struct message *m, struct error *err)
{
	const char *instance = json_string(o, "instance", sizeof(m->instance) - 1, err);
	if (!instance)
		return -1;
	if (strlen(instance) != 32 || strspn(instance, "0123456789abcdef") != 32)
		return error_set(err, ERROR_PERMANENT, "instance: is not 16 bytes in hex");
	memcpy(m->instance, instance, sizeof(m->instance));
	if (json_u32(o, "protocol", &m->protocol, err) < 0 || json_i64(o, "clock", &m->clock, err) < 0 ||
		json_u32(o, "count", &m->count, err) < 0)
		return -1;
	return take_text(o, "version", m->version, sizeof(m->version), err);
}

static void put_welcome(const struct message *m, cJSON *o)
{
	put_number(o, "protocol", m->protocol);
	put_prose(o, "version", m->version, false);
	put_text(o, "name", m->name);
	put_number(o, "clock", m->clock);
	if (m->host_keys[0])
		put_text(o, "host_keys", m->host_keys);
}

static int take_welcome(const cJSON *o, struct message *m, struct error *err)
{
	if (json_u32(o, "protocol", &m->protocol, err) < 0 || json_i64(o, "clock", &m->clock, err) < 0 ||
		take_name(o, "name", name_is_agent, m->name, sizeof(m->name), err) < 0)
		return -1;
	if (json_get(o, "host_keys") && take_text(o, "host_keys", m->host_keys, sizeof(m->host_keys), err) < 0)
		return -1;
	return take_text(o, "version", m->version, sizeof(m->version), err);
}

static void put_inventory(const struct message *m, cJSON *o)
{
	put_content(m, o);
	revision_to_json(m->high_water, "high_water", o);
	revision_to_json(m->staged, "staged", o);
	cJSON_AddBoolToObject(o, "stopped", m->stopped);
	cJSON_AddBoolToObject(o, "held", m->held);
}

static int take_inventory(const cJSON *o, struct message *m, struct error *err)
{
	if (take_content(o, m, err) < 0 || revision_from_json(o, "high_water", &m->high_water, err) < 0 ||
		revision_from_json(o, "staged", &m->staged, err) < 0)
		return -1;
	/* An agent of protocol 1 has no holds. */
	if (json_get(o, "held") && json_bool(o, "held", &m->held, err) < 0)
		return -1;
	return json_bool(o, "stopped", &m->stopped, err);
}

static void put_offer(const struct message *m, cJSON *o)
{
	put_content(m, o);
	cJSON *names = cJSON_AddArrayToObject(o, "names");
	for (size_t i = 0; i < m->name_count; i++)
		cJSON_AddItemToArray(names, cJSON_CreateString(m->names[i]));
	cJSON_AddBoolToObject(o, "may_expire_sooner", m->may_expire_sooner);
	cJSON_AddBoolToObject(o, "rollback", m->rollback);
	cJSON_AddBoolToObject(o, "force", m->force);
}

static int take_offer(const cJSON *o, struct message *m, struct error *err)
{
	const cJSON *names;
	const cJSON *element;
	if (take_content(o, m, err) < 0)
		return -1;
	names = json_array(o, "names", MESSAGE_NAMES_MAX, err);
	if (!names)
		return -1;
	cJSON_ArrayForEach (element, names) {
		const char *name = json_element(element, NAME_CERTIFICATE_MAX, err);
		if (!name || (!name_is_dns(name, true) && strspn(name, "0123456789abcdefABCDEF.:") != strlen(name)))
			return error_set(err, ERROR_PERMANENT, "names: an element is not a name");
		message_add_name(m, name);
	}
	if (json_bool(o, "may_expire_sooner", &m->may_expire_sooner, err) < 0 ||
		json_bool(o, "rollback", &m->rollback, err) < 0)
		return -1;
	return json_bool(o, "force", &m->force, err);
}

static void put_activate(const struct message *m, cJSON *o)
{
	put_subject(m, o);
	put_number(o, "timeout", m->timeout);
	cJSON_AddBoolToObject(o, "force", m->force);
}

static int take_activate(const cJSON *o, struct message *m, struct error *err)
{
	if (take_subject(o, m, err) < 0 || json_u32(o, "timeout", &m->timeout, err) < 0)
		return -1;
	return json_bool(o, "force", &m->force, err);
}

static void put_step(const struct message *m, cJSON *o)
{
	put_subject(m, o);
	put_number(o, "milliseconds", m->milliseconds);
}

static int take_step(const cJSON *o, struct message *m, struct error *err)
{
	if (take_subject(o, m, err) < 0)
		return -1;
	return json_u32(o, "milliseconds", &m->milliseconds, err);
}

static void put_probe(const struct message_probe *p, cJSON *o)
{
	put_prose(o, "endpoint", p->endpoint, false);
	put_text(o, "service", p->service);
	cJSON_AddBoolToObject(o, "served", p->served);
	cJSON_AddBoolToObject(o, "match", p->match);
	cJSON_AddBoolToObject(o, "stopped", p->stopped);
	put_text(o, "fingerprint", p->fingerprint);
	put_prose(o, "text", p->text, false);
	put_number(o, "milliseconds", p->milliseconds);
}

static int take_probe(const cJSON *o, struct message_probe *p, struct error *err)
{
	if (take_text(o, "endpoint", p->endpoint, sizeof(p->endpoint), err) < 0 ||
		take_name(o, "service", name_is_service, p->service, sizeof(p->service), err) < 0 ||
		json_bool(o, "served", &p->served, err) < 0 || json_bool(o, "match", &p->match, err) < 0 ||
		json_bool(o, "stopped", &p->stopped, err) < 0 || take_hex(o, "fingerprint", p->fingerprint, err) < 0 ||
		take_text(o, "text", p->text, sizeof(p->text), err) < 0)
		return -1;
	return json_u32(o, "milliseconds", &p->milliseconds, err);
}

cJSON *message_probes_encode(const struct message_probe *list, size_t count)
{
	cJSON *probes = cJSON_CreateArray();
	for (size_t i = 0; i < count; i++) {
		cJSON *item = cJSON_CreateObject();
		put_probe(&list[i], item);
		cJSON_AddItemToArray(probes, item);
	}
	return probes;
}

int message_probes_decode(const cJSON *o, struct message_probe **ret, size_t *ret_count, struct error *err)
{
	const cJSON *item;
	const cJSON *probes = json_array(o, "probes", MESSAGE_PROBES_MAX, err);
	if (!probes)
		return -1;
	*ret = mem_array((size_t)cJSON_GetArraySize(probes), sizeof(**ret));
	cJSON_ArrayForEach (item, probes) {
		if (!cJSON_IsObject(item))
			return error_set(err, ERROR_PERMANENT, "probes: an element is not an object");
		if (take_probe(item, &(*ret)[(*ret_count)++], err) < 0)
			return error_wrap(err, "probes");
	}
	return 0;
}

static void put_probes(const struct message *m, cJSON *o)
{
	cJSON_AddItemToObject(o, "probes", message_probes_encode(m->probes, m->probe_count));
}

static int take_probes(const cJSON *o, struct message *m, struct error *err)
{
	return message_probes_decode(o, &m->probes, &m->probe_count, err);
}

static void put_verified(const struct message *m, cJSON *o)
{
	put_step(m, o);
	sha256_to_json(m->content.leaf, "fingerprint", o);
	cJSON_AddBoolToObject(o, "stopped", m->stopped);
	put_probes(m, o);
}

static int take_verified(const cJSON *o, struct message *m, struct error *err)
{
	if (take_step(o, m, err) < 0 || sha256_from_json(o, "fingerprint", m->content.leaf, err) < 0 ||
		json_bool(o, "stopped", &m->stopped, err) < 0)
		return -1;
	return take_probes(o, m, err);
}

static void put_failed(const struct message *m, cJSON *o)
{
	put_step(m, o);
	put_prose(o, "step", m->step, false);
	put_prose(o, "text", m->text, false);
	put_prose(o, "output", m->output, true);
	cJSON_AddBoolToObject(o, "rolled_back", m->rolled_back);
	cJSON_AddBoolToObject(o, "permanent", m->permanent);
}

static int take_failed(const cJSON *o, struct message *m, struct error *err)
{
	if (take_step(o, m, err) < 0 || take_text(o, "step", m->step, sizeof(m->step), err) < 0 ||
		take_text(o, "text", m->text, sizeof(m->text), err) < 0 ||
		take_prose(o, "output", true, m->output, sizeof(m->output), err) < 0 ||
		json_bool(o, "rolled_back", &m->rolled_back, err) < 0)
		return -1;
	return json_bool(o, "permanent", &m->permanent, err);
}

static void put_probed(const struct message *m, cJSON *o)
{
	put_subject(m, o);
	put_probes(m, o);
	put_number(o, "repaired", m->repaired);
}

static int take_probed(const cJSON *o, struct message *m, struct error *err)
{
	/* An agent of protocol 1 does not tell this. */
	if (json_get(o, "repaired") && json_i64(o, "repaired", &m->repaired, err) < 0)
		return -1;
	return take_subject(o, m, err) < 0 ? -1 : take_probes(o, m, err);
}

static void put_hold(const struct message *m, cJSON *o)
{
	put_subject(m, o);
	put_number(o, "seconds", m->seconds);
}

static int take_hold(const cJSON *o, struct message *m, struct error *err)
{
	if (take_subject(o, m, err) < 0 || json_u32(o, "seconds", &m->seconds, err) < 0)
		return -1;
	if (m->seconds > MESSAGE_HOLD_MAX)
		return error_set(err, ERROR_PERMANENT, "seconds: a hold lasts %d at most", MESSAGE_HOLD_MAX);
	return 0;
}

static void put_signers(const struct message *m, cJSON *o)
{
	put_text(o, "list", m->signers);
}

static int take_signers(const cJSON *o, struct message *m, struct error *err)
{
	return take_text(o, "list", m->signers, sizeof(m->signers), err);
}

static void put_pinned(const struct message *m, cJSON *o)
{
	put_text(o, "digest", m->list_digest);
	put_prose(o, "text", m->text, false);
}

static int take_pinned(const cJSON *o, struct message *m, struct error *err)
{
	if (take_hex(o, "digest", m->list_digest, err) < 0)
		return -1;
	return take_text(o, "text", m->text, sizeof(m->text), err);
}

static void put_nothing(const struct message *m, cJSON *o)
{
	(void)m;
	(void)o;
}

static int take_nothing(const cJSON *o, struct message *m, struct error *err)
{
	(void)o;
	(void)m;
	(void)err;
	return 0;
}

static void put_error(const struct message *m, cJSON *o)
{
	put_prose(o, "step", m->step, false);
	put_prose(o, "text", m->text, false);
}

static int take_error(const cJSON *o, struct message *m, struct error *err)
{
	if (take_text(o, "step", m->step, sizeof(m->step), err) < 0)
		return -1;
	return take_text(o, "text", m->text, sizeof(m->text), err);
}

static const struct {
	enum message_type type;
	const char *name;
	void (*put)(const struct message *m, cJSON *o);
	int (*take)(const cJSON *o, struct message *m, struct error *err);
} forms[] = {
	{MESSAGE_HELLO, "hello", put_hello, take_hello},
	{MESSAGE_WELCOME, "welcome", put_welcome, take_welcome},
	{MESSAGE_INVENTORY, "inventory", put_inventory, take_inventory},
	{MESSAGE_OFFER, "offer", put_offer, take_offer},
	{MESSAGE_FETCH, "fetch", put_subject, take_subject},
	{MESSAGE_STAGED, "staged", put_step, take_step},
	{MESSAGE_ACTIVATE, "activate", put_activate, take_activate},
	{MESSAGE_INSTALLED, "installed", put_step, take_step},
	{MESSAGE_VERIFIED, "verified", put_verified, take_verified},
	{MESSAGE_FAILED, "failed", put_failed, take_failed},
	{MESSAGE_PROBE, "probe", put_subject, take_subject},
	{MESSAGE_HOLD, "hold", put_hold, take_hold},
	{MESSAGE_PROBED, "probed", put_probed, take_probed},
	{MESSAGE_SIGNERS, "signers", put_signers, take_signers},
	{MESSAGE_PINNED, "pinned", put_pinned, take_pinned},
	{MESSAGE_PULL, "pull", put_subject, take_subject},
	{MESSAGE_PING, "ping", put_nothing, take_nothing},
	{MESSAGE_PONG, "pong", put_nothing, take_nothing},
	{MESSAGE_ERROR, "error", put_error, take_error},
};

const char *message_type_name(enum message_type type)
{
	for (size_t i = 0; i < COUNT(forms); i++)
		if (forms[i].type == type)
			return forms[i].name;
	return "unknown";
}

void message_encode(const struct message *m, struct buf *out)
{
	auto_json cJSON *o = cJSON_CreateObject();
	for (size_t i = 0; i < COUNT(forms); i++) {
		if (forms[i].type != m->type)
			continue;
		put_text(o, "type", forms[i].name);
		forms[i].put(m, o);
		if (json_print(o, out) == 0)
			return;
	}
	mem_abort(__func__); /* a message of no type, or a buffer smaller than a frame: a defect of the caller */
}

int message_decode(const void *data, size_t len, struct message *ret, struct error *err)
{
	auto_message struct message m = {0};
	auto_json cJSON *o = json_parse(data, len, err);
	if (!o)
		return -1;
	const char *type = json_string(o, "type", 32, err);
	if (!type)
		return -1;
	for (size_t i = 0; i < COUNT(forms); i++) {
		if (strcmp(forms[i].name, type) != 0)
			continue;
		m.type = forms[i].type;
		if (forms[i].take(o, &m, err) < 0)
			return error_wrap(err, "%s", type);
		*ret = m;
		m = (struct message){0};
		return 0;
	}
	return error_set(err, ERROR_PERMANENT, "unknown message \"%s\"", type);
}
