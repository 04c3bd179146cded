#include "hub/common/config_sections.h"
#include "hub/common/lint.h"
#include "hub/common/scan.h"
#include "lib/core/mem.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HOUR = 3600, DAY = 86400 };

static const char *const key_types[] = {"ecdsa-p256", "ecdsa-p384", "rsa-2048", "rsa-3072", "rsa-4096"};
static const char *const rollouts[] = {[ROLLOUT_TOGETHER] = "together", [ROLLOUT_IMMEDIATE] = "immediate"};
static const char *const failures[] = {[ROLLOUT_STOP] = "stop", [ROLLOUT_ROLLBACK_ALL] = "rollback_all"};
static const char *const preflights[] = {
	[HUB_PREFLIGHT_WARN] = "warn", [HUB_PREFLIGHT_REQUIRE] = "require", [HUB_PREFLIGHT_OFF] = "off"};
static const char *const challenges[] = {"http-01", "dns-01"};

/* "https://host[:port][/path]" in printable ASCII. */
static bool is_https_url(const char *text)
{
	static const char scheme[] = "https://";
	if (strncmp(text, scheme, strlen(scheme)) != 0)
		return false;
	const char *host = text + strlen(scheme);
	for (const char *p = text; *p; p++)
		if (*p <= ' ' || *p >= 0x7f || strchr("\"<>\\^`{|}", *p))
			return false;
	return strcspn(host, ":/?#@") > 0 && !memchr(host, '@', strcspn(host, "/?#"));
}

static int word_index(const char *word, const char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(word, words[i]) == 0)
			return (int)i;
	return -1;
}

/* An option that is one of a few words: its index, and a fault with `these` if it is none of them. */
static int read_word(
	struct config *c, cfg_t *section, const char *key, const char *const *words, size_t count, const char *these)
{
	const char *word = cfg_getstr(section, key);
	int index = word_index(word, words, count);
	if (index < 0)
		config_fault(c, section, key, "%s: \"%s\" is not one of %s", key, word, these);
	return index < 0 ? 0 : index;
}

static void read_binding(struct config *c, cfg_t *section, struct hub_acme *ret)
{
	ret->eab_kid = config_string(c, section, "eab_kid");
	ret->eab_hmac = config_path(c, section, "eab_hmac");
	if (!ret->eab_kid != !ret->eab_hmac)
		config_fault(c, section, ret->eab_kid ? "eab_kid" : "eab_hmac",
			"acme \"%s\": eab_kid and eab_hmac belong together: the identifier that the CA gave, and the "
			"path of a file with the key that it gave",
			ret->name);
	if (ret->eab_hmac && access(ret->eab_hmac, R_OK) < 0)
		config_fault(c, section, "eab_hmac", "eab_hmac: %s: %s", ret->eab_hmac, strerror(errno));
}

void config_read_acme(struct config *c, cfg_t *section, struct hub_acme *ret)
{
	ret->name = mem_strdup(cfg_title(section));
	ret->directory = config_string(c, section, "directory");
	ret->contact = config_list(section, "contact");
	ret->agree_tos = cfg_getbool(section, "agree_tos");
	ret->ca_file = config_path(c, section, "ca_file");
	if (ret->ca_file && access(ret->ca_file, R_OK) < 0)
		config_fault(c, section, "ca_file", "ca_file: %s: %s", ret->ca_file, strerror(errno));
	ret->ari = cfg_getbool(section, "ari");
	ret->limits = cfg_getbool(section, "limits");
	read_binding(c, section, ret);
	if (!name_is_agent(ret->name))
		config_fault(c, section, NULL,
			"acme \"%s\": the name may have a-z 0-9 . _ -, up to %d of them, and begins "
			"with a letter or digit",
			ret->name, NAME_AGENT_MAX - 1);
	if (!ret->directory)
		config_fault(c, section, NULL, "acme \"%s\": directory is missing: the CA documents its https URL",
			ret->name);
	else if (!is_https_url(ret->directory))
		config_fault(c, section, "directory", "directory: %s is not an https URL", ret->directory);
	if (!ret->agree_tos)
		config_fault(c, section, "agree_tos",
			"acme \"%s\": the CA issues only to those who agree to its terms of "
			"service: read them and write agree_tos = true",
			ret->name);
	for (size_t i = 0; ret->contact[i]; i++)
		if (strncmp(ret->contact[i], "mailto:", 7) != 0 || !strchr(ret->contact[i], '@'))
			config_fault(c, section, "contact", "contact: %s is not of the form mailto:name@domain",
				ret->contact[i]);
}

static const struct hub_acme *find_acme(const struct hub_config *h, const char *name)
{
	for (size_t i = 0; i < h->acme_count; i++)
		if (strcmp(h->acmes[i].name, name) == 0)
			return &h->acmes[i];
	return NULL;
}

/* Whether it can be read is judged as root alone: the root half reads it, and other users may not even reach
 * it. It may come later: certbot makes it with the first certificate, and would take another name if it were
 * there before. */
static void check_watch(struct config *c, cfg_t *section, char *const *paths)
{
	size_t count = 0;
	for (; paths[count]; count++) {
		struct error err;
		char *path = paths[count];
		const size_t len = strlen(path);
		if (len > 1 && path[len - 1] == '/')
			path[len - 1] = '\0';
		if (!config_is_path(path))
			config_fault(c, section, "watch",
				"watch: %s is not an absolute path without \"//\", \".\" and \"..\"", path);
		else if (scan_check(path, &err) < 0)
			config_fault(c, section, "watch", "watch: %s %s", path, err.message);
		for (size_t i = 0; i < count; i++)
			if (strcmp(path, paths[i]) == 0)
				config_fault(c, section, "watch", "watch: %s is listed twice", path);
	}
	if (count > SCAN_PATHS_MAX)
		config_fault(c, section, "watch", "watch: %zu paths, at most %d are watched for one certificate", count,
			SCAN_PATHS_MAX);
}

static void read_source(struct config *c, cfg_t *section, const struct hub_config *h, struct hub_certificate *ret)
{
	ret->watch = config_list(section, "watch");
	check_watch(c, section, ret->watch);
	const char *acme = cfg_getstr(section, "acme");
	if (acme && ret->watch[0])
		config_fault(c, section, "watch",
			"certificate \"%s\" has both acme and watch: only one may be its source", ret->name);
	if (!acme)
		return;
	ret->acme = find_acme(h, acme);
	if (!ret->acme)
		config_fault(c, section, "acme", "acme: there is no section acme \"%s\"", acme);
}

static void read_names(struct config *c, cfg_t *section, struct hub_certificate *ret)
{
	ret->names = config_list(section, "names");
	if (!ret->names[0]) {
		config_list_free(ret->names);
		ret->names = mem_array(2, sizeof(*ret->names));
		ret->names[0] = mem_strdup(ret->name);
	}
	for (size_t i = 0; ret->names[i]; i++) {
		if (!name_is_dns(ret->names[i], true))
			config_fault(c, section, "names", "names: \"%s\" is not a DNS name", ret->names[i]);
		else if (ret->acme && ret->names[i][0] == '*' && !ret->dns_hook)
			config_fault(c, section, "names",
				"names: %s: a CA does not issue wildcards by http-01: list the names, or write "
				"challenge = \"dns-01\" and a dns_hook",
				ret->names[i]);
		for (size_t k = 0; k < i; k++)
			if (strcasecmp(ret->names[i], ret->names[k]) == 0)
				config_fault(c, section, "names", "names: %s is listed twice", ret->names[i]);
	}
}

static int minute_of_day(const char *text, size_t len)
{
	if (len != 5 || text[2] != ':' || !isdigit((unsigned char)text[0]) || !isdigit((unsigned char)text[1]) ||
		!isdigit((unsigned char)text[3]) || !isdigit((unsigned char)text[4]))
		return -1;
	int hour = (text[0] - '0') * 10 + text[1] - '0', minute = (text[3] - '0') * 10 + text[4] - '0';
	return hour > 24 || minute > 59 || hour * 60 + minute > 24 * 60 ? -1 : hour * 60 + minute;
}

/* "03:00-05:00" */
static void read_windows(struct config *c, cfg_t *section, struct hub_certificate *ret)
{
	unsigned count = cfg_size(section, "window");
	ret->windows = mem_array(count, sizeof(*ret->windows));
	for (unsigned i = 0; i < count; i++) {
		const char *text = cfg_getnstr(section, "window", i);
		int from = minute_of_day(text, strlen(text) == 11 && text[5] == '-' ? 5 : 0);
		int to = from < 0 ? -1 : minute_of_day(text + 6, 5);
		if (to < 0 || from == to || from == 24 * 60)
			config_fault(c, section, "window",
				"window: \"%s\" is not two different times of the day like 03:00-05:00", text);
		else
			ret->windows[ret->window_count++] = (struct hub_window){(uint16_t)from, (uint16_t)to};
	}
}

static void read_rollout(struct config *c, cfg_t *section, struct hub_certificate *ret)
{
	ret->rollout =
		(enum rollout_policy)read_word(c, section, "rollout", rollouts, COUNT(rollouts), "together, immediate");
	ret->on_failure = (enum rollout_on_failure)read_word(
		c, section, "on_failure", failures, COUNT(failures), "stop, rollback_all");
	read_windows(c, section, ret);
	ret->stage_timeout = config_duration(c, section, "stage_timeout", 1, DAY);
	ret->activate_timeout = config_duration(c, section, "activate_timeout", HUB_ACTIVATE_TIMEOUT_MIN, HOUR);
	ret->proceed_after = config_duration(c, section, "proceed_after", 0, 30 * DAY);
	ret->renew_before = config_duration(c, section, "renew_before", 0, 365 * DAY);
	ret->canary = config_list(section, "canary");
	ret->soak = config_duration(c, section, "soak", 0, 30 * DAY);
}

/* One key type, or one of either algorithm for two pairs. */
static void read_keys(struct config *c, cfg_t *section, struct hub_certificate *ret)
{
	char **types = config_list(section, "key");
	size_t count = 0;
	for (; types[count]; count++)
		if (word_index(types[count], key_types, COUNT(key_types)) < 0)
			config_fault(c, section, "key",
				"key: \"%s\" is not one of ecdsa-p256, ecdsa-p384, rsa-2048, rsa-3072, rsa-4096",
				types[count]);
	if (count > 2 || (count == 2 && types[0][0] == types[1][0]))
		config_fault(c, section, "key",
			"key: one type, or two for two pairs, one of them ecdsa-… and the other rsa-…");
	ret->key_type = mem_strdup(count ? types[0] : "ecdsa-p256");
	ret->second_key_type = count == 2 ? mem_strdup(types[1]) : NULL;
	config_list_free(types);
	ret->reuse_key = cfg_getbool(section, "reuse_key");
	ret->next_key = cfg_getbool(section, "next_key");
	if (ret->reuse_key && ret->next_key)
		config_fault(c, section, "next_key", "next_key: with reuse_key there is no next key");
	if (cfg_getbool(section, "must_staple"))
		config_fault(c, section, "must_staple",
			"must_staple: CAs have ended OCSP, and a certificate that demands a stapled answer would be "
			"refused by clients: remove it; short-lived certificates (profile) give what it was for");
}

/* By name from the directory of hooks, or by path. */
static char *hook_path(struct config *c, cfg_t *section, const struct hub_config *h)
{
	const char *hook = cfg_getstr(section, "dns_hook");
	if (!hook)
		return NULL;
	char *path = strchr(hook, '/') ? config_path(c, section, "dns_hook") : mem_printf("%s/%s", h->hooks, hook);
	if (access(path, X_OK) < 0)
		config_fault(c, section, "dns_hook", "dns_hook: %s: %s", path, strerror(errno));
	return path;
}

static void read_challenge(struct config *c, cfg_t *section, const struct hub_config *h, struct hub_certificate *ret)
{
	int dns = read_word(c, section, "challenge", challenges, COUNT(challenges), "http-01, dns-01");
	ret->dns_hook = hook_path(c, section, h);
	ret->dns_config = config_path(c, section, "dns_config");
	ret->dns_timeout = config_duration(c, section, "dns_timeout", 1, DAY);
	ret->preflight = (enum hub_preflight)read_word(
		c, section, "preflight", preflights, COUNT(preflights), "warn, require, off");
	if (dns && !ret->dns_hook)
		config_fault(c, section, "challenge",
			"challenge: dns-01 needs dns_hook, the program that writes the record, such as \"dns-rfc2136\"");
	if (!dns && ret->dns_hook)
		config_fault(c, section, "dns_hook", "dns_hook: it is for challenge = \"dns-01\", and this is http-01");
}

static void read_order(struct config *c, cfg_t *section, const struct hub_config *h, struct hub_certificate *ret)
{
	static const char *const only[] = {"key", "reuse_key", "next_key", "profile", "preferred_chain", "challenge",
		"dns_hook", "dns_config", "dns_timeout", "preflight", "renew_before"};
	read_keys(c, section, ret);
	read_challenge(c, section, h, ret);
	ret->profile = config_string(c, section, "profile");
	ret->preferred_chain = config_string(c, section, "preferred_chain");
	for (size_t i = 0; !config_has(section, "acme") && i < COUNT(only); i++)
		if (config_has(section, only[i]))
			config_fault(c, section, only[i], "%s: it is for a certificate with acme", only[i]);
}

/* What a profile's lifetime cannot afford; of other lifetimes `status` tells once they are known. */
static void check_lifetime(
	struct config *c, cfg_t *section, const struct hub_config *h, const struct hub_certificate *certificate)
{
	struct lint_fault faults[LINT_FAULTS_MAX];
	int64_t lifetime = lint_profile_lifetime(certificate->profile);
	size_t count = lifetime ? lint_lifetime(certificate, h->scan_interval, lifetime, faults) : 0;
	for (size_t i = 0; i < count; i++)
		config_fault(
			c, section, config_has(section, faults[i].key) ? faults[i].key : NULL, "%s", faults[i].text);
}

void config_read_certificate(struct config *c, cfg_t *section, const struct hub_config *h, struct hub_certificate *ret)
{
	ret->name = mem_strdup(cfg_title(section));
	if (!name_is_certificate(ret->name))
		config_fault(c, section, NULL,
			"certificate \"%s\": the name is a host name in lower case: a-z 0-9 - _, with "
			"dots between",
			ret->name);
	read_source(c, section, h, ret);
	read_order(c, section, h, ret);
	read_names(c, section, ret);
	read_rollout(c, section, ret);
	check_lifetime(c, section, h, ret);
}

void config_release_certificate(struct hub_certificate *c)
{
	char *const texts[] = {
		c->name, c->key_type, c->second_key_type, c->profile, c->preferred_chain, c->dns_hook, c->dns_config};
	for (size_t i = 0; i < COUNT(texts); i++)
		free(texts[i]);
	config_list_free(c->names);
	config_list_free(c->watch);
	config_list_free(c->canary);
	free(c->windows);
}
