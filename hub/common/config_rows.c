#include "hub/common/config_rows.h"
#include "hub/common/config.h"
#include "hub/common/config_checks.h"
#include "hub/common/scan.h"
#include "lib/config/put.h"
#include "lib/config/types.h"
#include "lib/core/mem.h"

#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MINUTE = 60, HOUR = 60 * MINUTE, DAY = 24 * HOUR };

/* An enum is read as the place of a word, so its values stand in the order of the words. */
#define IS_WORD(type) _Static_assert(sizeof(type) == sizeof(unsigned), "config_word fills an unsigned")
IS_WORD(enum rollout_policy);
IS_WORD(enum rollout_on_failure);
IS_WORD(enum hub_preflight);
IS_WORD(enum hub_challenge);
IS_WORD(enum hub_keys_by);
_Static_assert(offsetof(struct hub_acme, name) == 0 && offsetof(struct hub_certificate, name) == 0 &&
		offsetof(struct hub_agent, name) == 0 && offsetof(struct hub_endpoint, name) == 0,
	"a struct begins with its title");

static const char *const key_types[] = {"ecdsa-p256", "ecdsa-p384", "rsa-2048", "rsa-3072", "rsa-4096", NULL};
static const char *const rollouts[] = {[ROLLOUT_TOGETHER] = "together", [ROLLOUT_IMMEDIATE] = "immediate", NULL};
static const char *const failures[] = {[ROLLOUT_STOP] = "stop", [ROLLOUT_ROLLBACK_ALL] = "rollback_all", NULL};
static const char *const preflights[] = {
	[HUB_PREFLIGHT_WARN] = "warn", [HUB_PREFLIGHT_REQUIRE] = "require", [HUB_PREFLIGHT_OFF] = "off", NULL};
static const char *const challenges[] = {
	[HUB_CHALLENGE_HTTP] = "http-01", [HUB_CHALLENGE_DNS] = "dns-01", [HUB_CHALLENGE_ALPN] = "tls-alpn-01", NULL};
static const char *const keys_by[] = {[HUB_KEYS_ROOT] = "root", [HUB_KEYS_GROUP] = "group", NULL};

/* A reference is the title of another section, which hub/common/config.c finds; its struct begins with the title. */

static void reference_print(const struct config_row *row, const void *object, int tabs, struct buf *out)
{
	const char *const *section;
	memcpy(&section, (const char *)object + row->field, sizeof(section));
	config_put(out, tabs, row->name, section ? *section : NULL);
}

static const struct config_type reference = {"reference", false, NULL, reference_print, NULL};

static void authorities_print(const struct config_row *row, const void *object, int tabs, struct buf *out)
{
	const struct hub_certificate *c = object;
	char *names[HUB_AUTHORITIES_MAX + 1] = {NULL};
	for (size_t i = 0; i < c->acme_count; i++)
		names[i] = c->acmes[i]->name;
	if (c->acme_count)
		config_put_list(out, tabs, row->name, names);
	else
		config_put(out, tabs, row->name, NULL);
}

static const struct config_type authorities = {"references", true, NULL, authorities_print, NULL};

static void granted_print(const struct config_row *row, const void *object, int tabs, struct buf *out)
{
	const struct hub_agent *a = object;
	size_t count = 0;
	while (a->certificates[count])
		count++;
	auto_free char **names = mem_array(count + 1, sizeof(*names));
	for (size_t i = 0; i < count; i++)
		names[i] = a->certificates[i]->name;
	config_put_list(out, tabs, row->name, names);
}

static void granted_release(const struct config_row *row, void *object)
{
	(void)row;
	free(((struct hub_agent *)object)->certificates);
}

static const struct config_type granted = {"references", true, NULL, granted_print, granted_release};

/* `key` has one type of key, or one of either algorithm for two pairs. */

static void keys_read(struct config *c, const struct config_section *s, const struct config_row *row,
	char *const *values, void *object)
{
	struct hub_certificate *ret = object;
	size_t count = 0;
	for (; values[count]; count++)
		config_check_words(c, s, row, values[count]);
	if (count > 2 || (count == 2 && values[0][0] == values[1][0]))
		config_fault(c, s, row->name,
			"key: one type, or two for two pairs, one of them ecdsa-… and the other rsa-…");
	ret->key_type = mem_strdup(count ? values[0] : row->value);
	ret->second_key_type = count == 2 ? mem_strdup(values[1]) : NULL;
}

static void keys_print(const struct config_row *row, const void *object, int tabs, struct buf *out)
{
	const struct hub_certificate *certificate = object;
	char *const types[] = {certificate->key_type, certificate->second_key_type, NULL};
	config_put_list(out, tabs, row->name, types);
}

static void keys_release(const struct config_row *row, void *object)
{
	struct hub_certificate *certificate = object;
	(void)row;
	free(certificate->key_type);
	free(certificate->second_key_type);
}

static const struct config_type keys = {"list", true, keys_read, keys_print, keys_release};

/* `window` has times of the day, such as "03:00-05:00". */

static int minute_of_day(const char *text, size_t len)
{
	if (len != 5 || text[2] != ':' || !isdigit((unsigned char)text[0]) || !isdigit((unsigned char)text[1]) ||
		!isdigit((unsigned char)text[3]) || !isdigit((unsigned char)text[4]))
		return -1;
	int hour = (text[0] - '0') * 10 + text[1] - '0', minute = (text[3] - '0') * 10 + text[4] - '0';
	return hour > 24 || minute > 59 || hour * 60 + minute > 24 * 60 ? -1 : hour * 60 + minute;
}

static void windows_read(struct config *c, const struct config_section *s, const struct config_row *row,
	char *const *values, void *object)
{
	struct hub_certificate *ret = object;
	size_t count = 0;
	while (values[count])
		count++;
	ret->windows = mem_array(count, sizeof(*ret->windows));
	for (; *values; values++) {
		int from = minute_of_day(*values, strlen(*values) == 11 && (*values)[5] == '-' ? 5 : 0);
		int to = from < 0 ? -1 : minute_of_day(*values + 6, 5);
		if (to < 0 || from == to || from == 24 * 60)
			config_fault(c, s, row->name,
				"window: \"%s\" is not two different times of the day like 03:00-05:00", *values);
		else
			ret->windows[ret->window_count++] = (struct hub_window){(uint16_t)from, (uint16_t)to};
	}
}

static void windows_print(const struct config_row *row, const void *object, int tabs, struct buf *out)
{
	const struct hub_certificate *c = object;
	char **texts = mem_array(c->window_count + 1, sizeof(*texts));
	for (size_t i = 0; i < c->window_count; i++)
		texts[i] = mem_printf("%02u:%02u-%02u:%02u", c->windows[i].from / 60, c->windows[i].from % 60,
			c->windows[i].to / 60, c->windows[i].to % 60);
	config_put_list(out, tabs, row->name, texts);
	config_list_free(texts);
}

static void windows_release(const struct config_row *row, void *object)
{
	(void)row;
	free(((struct hub_certificate *)object)->windows);
}

static const struct config_type windows = {"list", true, windows_read, windows_print, windows_release};

/* `dns_fallback` is a word or a span. */

static const char by_nothing[] = "none", by_resolvers[] = "resolvers";
static const char *const fallbacks[] = {by_nothing, by_resolvers, NULL};

static void fallback_read(struct config *c, const struct config_section *s, const struct config_row *row,
	char *const *values, void *object)
{
	const struct config_row as_duration = {.name = row->name,
		.field = offsetof(struct hub_certificate, dns_wait),
		.low = row->low,
		.high = row->high};
	struct hub_certificate *ret = object;
	ret->dns_by_resolvers = strcmp(values[0], by_resolvers) == 0;
	if (isdigit((unsigned char)values[0][0]))
		config_duration.read(c, s, &as_duration, values, ret);
	else if (!ret->dns_by_resolvers && strcmp(values[0], by_nothing) != 0)
		config_fault(c, s, row->name, "%s: \"%s\" is neither %s nor %s nor a fixed wait like \"2m\"", row->name,
			values[0], by_nothing, by_resolvers);
}

static void fallback_print(const struct config_row *row, const void *object, int tabs, struct buf *out)
{
	const struct hub_certificate *certificate = object;
	if (certificate->dns_wait)
		config_put_duration(out, tabs, row->name, certificate->dns_wait);
	else
		config_put(out, tabs, row->name, certificate->dns_by_resolvers ? by_resolvers : by_nothing);
}

static const struct config_type fallback = {"duration", false, fallback_read, fallback_print, NULL};

/* `must_staple` is not taken any more, and whoever asks for it is told why. */

static void must_staple_read(struct config *c, const struct config_section *s, const struct config_row *row,
	char *const *values, void *object)
{
	const struct config_row as_bool = {.name = row->name};
	bool wanted = false;
	(void)object;
	config_bool.read(c, s, &as_bool, values, &wanted);
	if (wanted)
		config_fault(c, s, row->name,
			"must_staple: CAs have ended OCSP, and a certificate that demands a stapled answer would be "
			"refused by clients: remove it; short-lived certificates (profile) give what it was for");
}

static void nothing_print(const struct config_row *row, const void *object, int tabs, struct buf *out)
{
	(void)row, (void)object, (void)tabs, (void)out;
}

static const struct config_type must_staple = {"bool", false, must_staple_read, nothing_print, NULL};

/* The rows. */

#define RANGE(from, to) .low = (from), .high = (to)

#define ROW(key, kind, member, ...) CONFIG_ROW(struct hub_acme, key, kind, member, __VA_ARGS__)
static const struct config_row acme_rows[] = {
	ROW("directory", config_text, directory, .missing = "the CA documents its https URL",
		.check = config_check_directory),
	ROW("contact", config_list, contact, .check = config_check_contact),
	ROW("agree_tos", config_bool, agree_tos, .value = "false"),
	ROW("ca_file", config_path, ca_file, .check = config_check_readable),
	ROW("eab_kid", config_text, eab_kid),
	ROW("eab_hmac", config_path, eab_hmac, .check = config_check_readable),
	ROW("ari", config_bool, ari, .value = "true"),
	ROW("limits", config_bool, limits, .value = "true"),
	ROW("profile", config_text, profile),
	ROW("preferred_chain", config_text, preferred_chain),
	{0},
};
#undef ROW

#define ROW(key, kind, member, ...) CONFIG_ROW(struct hub_certificate, key, kind, member, __VA_ARGS__)
static const struct config_row certificate_rows[] = {
	ROW("acme", authorities, acmes),
	ROW("watch", config_paths, watch, .high = SCAN_PATHS_MAX, .check = config_check_watched),
	ROW("names", config_list, names, .check = config_check_dns_name),
	ROW("key", keys, key_type, .value = "ecdsa-p256", .words = key_types, .with = "acme"),
	ROW("reuse_key", config_bool, reuse_key, .value = "false", .with = "acme"),
	ROW("next_key", config_bool, next_key, .value = "false", .with = "acme"),
	ROW("must_staple", must_staple, name, .value = "false"),
	ROW("profile", config_text, profile, .with = "acme"),
	ROW("preferred_chain", config_text, preferred_chain, .with = "acme"),
	ROW("challenge", config_word, challenge, .value = "http-01", .words = challenges, .with = "acme"),
	ROW("dns_hook", config_text, dns_hook, .with = "acme"),
	ROW("dns_config", config_path, dns_config, .with = "acme"),
	ROW("dns_timeout", config_duration, dns_timeout, .value = "10m", RANGE(1, DAY), .with = "acme"),
	ROW("dns_fallback", fallback, dns_wait, .value = "none", .words = fallbacks, RANGE(1, DAY), .with = "acme"),
	ROW("preflight", config_word, preflight, .value = "warn", .words = preflights, .with = "acme"),
	ROW("renew_before", config_duration, renew_before, .value = "0s", RANGE(0, 365 * DAY), .with = "acme"),
	ROW("rollout", config_word, rollout, .value = "together", .words = rollouts),
	ROW("stage_timeout", config_duration, stage_timeout, .value = "10m", RANGE(1, DAY)),
	ROW("activate_timeout", config_duration, activate_timeout, .value = "5m",
		RANGE(HUB_ACTIVATE_TIMEOUT_MIN, HOUR)),
	ROW("proceed_after", config_duration, proceed_after, .value = "24h", RANGE(0, 30 * DAY)),
	ROW("canary", config_list, canary),
	ROW("soak", config_duration, soak, .value = "5m", RANGE(0, 30 * DAY)),
	ROW("on_failure", config_word, on_failure, .value = "stop", .words = failures),
	ROW("window", windows, windows),
	{0},
};
#undef ROW

#define ROW(key, kind, member, ...) CONFIG_ROW(struct hub_agent, key, kind, member, __VA_ARGS__)
static const struct config_row agent_rows[] = {
	ROW("certificates", granted, certificates),
	ROW("local", config_bool, local, .value = "false"),
	ROW("away_after", config_duration, away_after, .value = "24h", RANGE(10, 366 * DAY)),
	{0},
};
#undef ROW

#define ROW(key, kind, member, ...) CONFIG_ROW(struct hub_endpoint, key, kind, member, __VA_ARGS__)
static const struct config_row endpoint_rows[] = {
	ROW("ports", config_list, ports, .high = 16, .missing = "such as {\"25\", \"993\"}",
		.check = config_check_port),
	ROW("at", config_list, at, .high = 64, .check = config_check_address),
	ROW("certificate", reference, certificate),
	ROW("interval", config_duration, interval, .value = "15m", RANGE(10, DAY)),
	ROW("timeout", config_duration, timeout, .value = "10s", RANGE(1, 60)),
	{0},
};
#undef ROW

#define ROW(key, kind, member, ...) CONFIG_ROW(struct hub_alert, key, kind, member, __VA_ARGS__)
static const struct config_row alert_rows[] = {
	ROW("email", config_list, email, .check = config_check_mailbox),
	ROW("smtp", config_text, smtp, .value = "smtp://127.0.0.1:25", .check = config_check_smtp),
	ROW("from", config_text, from, .check = config_check_mailbox),
	ROW("smtp_user", config_text, smtp_user),
	ROW("smtp_password", config_path, smtp_password, .check = config_check_readable),
	ROW("ca_file", config_path, ca_file, .check = config_check_readable),
	ROW("webhook", config_list, webhook, .check = config_check_webhook),
	ROW("command", config_path, command, .check = config_check_executable),
	ROW("for", config_duration, hold, .value = "5m", RANGE(0, DAY)),
	ROW("repeat", config_duration, repeat, .value = "24h", RANGE(0, 30 * DAY)),
	ROW("expiring", config_duration, expiring, .value = "0s", RANGE(0, 365 * DAY)),
	{0},
};
#undef ROW

#define ROW(key, kind, member, ...) CONFIG_ROW(struct hub_config, key, kind, member, __VA_ARGS__)
static const struct config_row hub_rows[] = {
	ROW("ssh", config_text, ssh, .check = config_check_ssh),
	ROW("host_keys", config_list, host_keys, .check = config_check_host_key),
	ROW("state", config_path, state, .value = "/var/lib/certsync-hub"),
	ROW("run", config_path, run, .value = HUB_RUN_DEFAULT, .check = config_check_run),
	ROW("http", config_text, http, .value = "127.0.0.1:8402", .check = config_check_loopback),
	ROW("tls_alpn", config_text, tls_alpn, .value = "127.0.0.1:8404", .check = config_check_loopback),
	ROW("anchors", config_path, anchors, .check = config_check_readable),
	ROW("user", config_text, user, .value = "certsync-hub", .check = config_check_user),
	ROW("keys_user", config_text, keys_user, .value = "certsync-keys", .check = config_check_user),
	ROW("worker_user", config_text, worker_user, .value = "certsync-worker", .check = config_check_user),
	ROW("gate_user", config_text, gate_user, .value = "certsync-gate"),
	ROW("local_user", config_text, local_user, .value = "certsync-agent"),
	ROW("admin_group", config_text, admin_group, .value = "certsync-admin", .check = config_check_group),
	ROW("agent_keys", config_word, agent_keys, .value = "root", .words = keys_by),
	ROW("authorized_keys", config_path, authorized_keys, .value = "/var/lib/certsync-gate/.ssh/authorized_keys"),
	ROW("helo", config_text, helo, .check = config_check_helo),
	ROW("resolvers", config_list, resolvers, .check = config_check_resolver),
	ROW("hooks", config_path, hooks),
	ROW("scan_interval", config_duration, scan_interval, .value = "10m", RANGE(1, DAY)),
	ROW("page", config_text, page, .check = config_check_loopback),
	{0},
};

static const struct config_table alert_table = {.name = "alert",
	.kind = CONFIG_ONE,
	.size = sizeof(struct hub_alert),
	.field = offsetof(struct hub_config, alert),
	.rows = alert_rows};
static const struct config_table acme_table = {.name = "acme",
	.kind = CONFIG_TITLED,
	.rows = acme_rows,
	.check = config_check_name,
	CONFIG_ARRAY(struct hub_config, acmes, acme_count)};
static const struct config_table certificate_table = {.name = "certificate",
	.kind = CONFIG_TITLED,
	.sorted = true,
	.rows = certificate_rows,
	.check = config_check_certificate_name,
	CONFIG_ARRAY(struct hub_config, certificates, certificate_count)};
static const struct config_table agent_table = {.name = "agent",
	.kind = CONFIG_TITLED,
	.sorted = true,
	.rows = agent_rows,
	.check = config_check_name,
	CONFIG_ARRAY(struct hub_config, agents, agent_count)};
static const struct config_table endpoint_table = {.name = "endpoint",
	.kind = CONFIG_REPEATED,
	.rows = endpoint_rows,
	.check = config_check_endpoint_name,
	CONFIG_ARRAY(struct hub_config, endpoints, endpoint_count)};
static const struct config_table *const hub_tables[] = {
	&alert_table, &acme_table, &certificate_table, &agent_table, &endpoint_table, NULL};

const struct config_table hub_config_table = {
	.size = sizeof(struct hub_config), .rows = hub_rows, .sections = hub_tables};
