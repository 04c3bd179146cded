#include "hub/common/config_checks.h"
#include "hub/common/certificate_at.h"
#include "hub/common/lint.h"
#include "hub/common/scan.h"
#include "lib/config/value.h"
#include "lib/core/mem.h"
#include "lib/probe/endpoint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* The file itself. */

void config_check_ssh(struct config *c, const struct config_section *s, const char *key, const char *value)
{
	if (!config_is_ssh(value))
		config_fault(c, s, key, "%s: \"%s\" is not of the form user@host or user@host:port", key, value);
}

void config_check_host_key(struct config *c, const struct config_section *s, const char *key, const char *path)
{
	if (path[0] != '/')
		config_fault(c, s, key, "%s: %s is not an absolute path", key, path);
	else if (access(path, R_OK) < 0)
		config_fault(c, s, key, "%s: %s: %s: name the public key files of the sshd that agents reach", key,
			path, strerror(errno));
}

void config_check_run(struct config *c, const struct config_section *s, const char *key, const char *path)
{
	/* sun_path has 108 bytes. */
	if (strlen(path) > 90)
		config_fault(c, s, key, "%s: %s is too long for the sockets in it: 90 bytes at most", key, path);
}

void config_check_loopback(struct config *c, const struct config_section *s, const char *key, const char *value)
{
	struct endpoint ignored;
	struct error err;
	bool loopback = strncmp(value, "127.", 4) == 0 || strncmp(value, "[::1]", 5) == 0;
	if (!loopback || strpbrk(value, "/+") || endpoint_parse(value, &ignored, &err) < 0)
		config_fault(c, s, key,
			"%s: \"%s\" is not a loopback address with a port, like 127.0.0.1:8402 or [::1]:8402: "
			"HAProxy is the door to the world",
			key, value);
}

void config_check_resolver(struct config *c, const struct config_section *s, const char *key, const char *value)
{
	struct endpoint ignored;
	struct error err;
	auto_free char *with_port = mem_printf(strchr(value, ':') ? "%s" : "%s:53", value);
	if (strspn(value, "0123456789abcdefABCDEF.:[]") != strlen(value) ||
		endpoint_parse(with_port, &ignored, &err) < 0)
		config_fault(c, s, key,
			"%s: \"%s\" is not an address, like 192.0.2.1, 192.0.2.1:53 or [2001:db8::1]:53", key, value);
}

/* Titles. */

void config_check_name(struct config *c, const struct config_section *s, const char *key, const char *title)
{
	if (!name_is_agent(title))
		config_fault(c, s, key,
			"%s \"%s\": the name may have a-z 0-9 . _ -, up to %d of them, and begins with a letter or digit",
			s->name, title, NAME_AGENT_MAX - 1);
}

void config_check_certificate_name(struct config *c, const struct config_section *s, const char *key, const char *title)
{
	if (name_is_address(title))
		config_fault(c, s, key, "certificate \"%s\": that is an address: the name is a host name", title);
	else if (!name_is_certificate(title))
		config_fault(c, s, key,
			"certificate \"%s\": the name is a host name in lower case: a-z 0-9 - _, with dots between",
			title);
}

void config_check_endpoint_name(struct config *c, const struct config_section *s, const char *key, const char *title)
{
	if (!name_is_dns(title, false))
		config_fault(c, s, key, "endpoint \"%s\": it is not a DNS name", title);
}

/* Authorities. */

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

void config_check_directory(struct config *c, const struct config_section *s, const char *key, const char *url)
{
	if (!is_https_url(url))
		config_fault(c, s, key, "%s: %s is not an https URL", key, url);
}

void config_check_contact(struct config *c, const struct config_section *s, const char *key, const char *value)
{
	if (strncmp(value, "mailto:", 7) != 0 || !strchr(value, '@'))
		config_fault(c, s, key, "%s: %s is not of the form mailto:name@domain", key, value);
}

void config_judge_acme(struct config *c, const struct config_section *s, const struct hub_acme *acme)
{
	if (!acme->eab_kid != !acme->eab_hmac)
		config_fault(c, s, acme->eab_kid ? "eab_kid" : "eab_hmac",
			"acme \"%s\": eab_kid and eab_hmac belong together: the identifier that the CA gave, and the "
			"path of a file with the key that it gave",
			acme->name);
	if (!acme->agree_tos)
		config_fault(c, s, "agree_tos",
			"acme \"%s\": the CA issues only to those who agree to its terms of service: read them and write "
			"agree_tos = true",
			acme->name);
}

/* Certificates. */

/* Whether it can be read is judged as root alone: the root half reads it, and other users may not even reach
 * it. It may come later: certbot makes it with the first certificate, and would take another name if it were
 * there before. */
void config_check_watched(struct config *c, const struct config_section *s, const char *key, const char *path)
{
	struct error err;
	if (scan_check(path, &err) < 0)
		config_fault(c, s, key, "%s: %s %s", key, path, err.message);
}

void config_check_dns_name(struct config *c, const struct config_section *s, const char *key, const char *name)
{
	if (!name_is_dns(name, true))
		config_fault(c, s, key, "%s: \"%s\" is not a DNS name", key, name);
	else if (name_is_address(name))
		config_fault(c, s, key, "%s: \"%s\" is an address and not a DNS name", key, name);
}

static const char *challenge_word(const struct hub_certificate *certificate)
{
	return certificate->challenge == HUB_CHALLENGE_ALPN ? "tls-alpn-01" : "http-01";
}

static void judge_challenge(struct config *c, const struct config_section *s, const struct hub_certificate *certificate)
{
	const bool dns = certificate->challenge == HUB_CHALLENGE_DNS;
	if (certificate->dns_hook && access(certificate->dns_hook, X_OK) < 0)
		config_fault(c, s, "dns_hook", "dns_hook: %s: %s", certificate->dns_hook, strerror(errno));
	if (dns && !certificate->dns_hook)
		config_fault(c, s, "challenge",
			"challenge: dns-01 needs dns_hook, the program that writes the record, such as \"dns-rfc2136\"");
	if (!dns && certificate->dns_hook)
		config_fault(c, s, "dns_hook", "dns_hook: it is for challenge = \"dns-01\", and this is %s",
			challenge_word(certificate));
	if (certificate->acme && !dns && (certificate->dns_by_resolvers || certificate->dns_wait))
		config_fault(c, s, "dns_fallback", "dns_fallback: it is for challenge = \"dns-01\", and this is %s",
			challenge_word(certificate));
	if (certificate->dns_wait > certificate->dns_timeout)
		config_fault(c, s, "dns_fallback",
			"dns_fallback: a fixed wait of %lld seconds is longer than dns_timeout, %lld seconds, after which "
			"the order fails: write a longer dns_timeout",
			(long long)certificate->dns_wait, (long long)certificate->dns_timeout);
	for (char **name = certificate->names; certificate->acme && !dns && *name; name++)
		if (**name == '*')
			config_fault(c, s, "names",
				"names: %s: a CA does not issue wildcards by %s: list the names, or write "
				"challenge = \"dns-01\" and a dns_hook",
				*name, challenge_word(certificate));
}

/* What a profile's lifetime cannot afford; of other lifetimes `status` tells once they are known. */
static void judge_lifetime(struct config *c, const struct config_section *s, const struct hub_config *h,
	const struct hub_certificate *certificate)
{
	struct lint_fault faults[LINT_FAULTS_MAX];
	int64_t lifetime = 0;
	for (size_t i = 0; i < certificate->acme_count && !lifetime; i++)
		lifetime = lint_profile_lifetime(certificate_at(certificate, i).profile);
	size_t count = lifetime ? lint_lifetime(certificate, h->scan_interval, lifetime, faults) : 0;
	for (size_t i = 0; i < count; i++)
		config_fault(c, s, faults[i].key, "%s", faults[i].text);
}

static void judge_names(struct config *c, const struct config_section *s, const struct hub_certificate *certificate)
{
	struct lint_fault fault;
	config_check_twice(c, s, "names", certificate->names, strcasecmp);
	for (size_t i = 0; i < certificate->acme_count; i++) {
		const struct hub_certificate there = certificate_at(certificate, i);
		if (lint_names(&there, &fault)) {
			config_fault(c, s, fault.key, "%s", fault.text);
			return;
		}
	}
}

void config_judge_certificate(struct config *c, const struct config_section *s, const struct hub_config *h,
	const struct hub_certificate *certificate)
{
	if (config_has(s, "acme") && certificate->watch[0])
		config_fault(c, s, "watch", "certificate \"%s\" has both acme and watch: only one may be its source",
			certificate->name);
	if (certificate->reuse_key && certificate->next_key)
		config_fault(c, s, "next_key", "next_key: with reuse_key there is no next key");
	judge_names(c, s, certificate);
	judge_challenge(c, s, certificate);
	judge_lifetime(c, s, h, certificate);
}

/* Endpoints. */

void config_check_port(struct config *c, const struct config_section *s, const char *key, const char *port)
{
	struct endpoint ignored;
	struct error err;
	auto_free char *whole = mem_printf("127.0.0.1:%s", port);
	if (endpoint_parse(whole, &ignored, &err) < 0)
		config_fault(c, s, key, "%s: \"%s\": %s", key, port, err.message);
}

void config_check_address(struct config *c, const struct config_section *s, const char *key, const char *address)
{
	struct in6_addr ignored;
	if (inet_pton(AF_INET, address, &ignored) != 1 && inet_pton(AF_INET6, address, &ignored) != 1)
		config_fault(c, s, key, "%s: \"%s\" is not an address", key, address);
}

/* Alerts. */

static bool has_scheme(const char *text, const char *one, const char *other)
{
	size_t len = strcspn(text, ":");
	bool known = (len == strlen(one) && strncmp(text, one, len) == 0) ||
		(len == strlen(other) && strncmp(text, other, len) == 0);
	return known && strncmp(text + len, "://", 3) == 0 && text[len + 3] && text[len + 3] != '/' &&
		!strpbrk(text, " \t\r\n\"<>@");
}

void config_check_smtp(struct config *c, const struct config_section *s, const char *key, const char *url)
{
	if (!has_scheme(url, "smtp", "smtps"))
		config_fault(c, s, key,
			"%s: \"%s\" is not of the form smtp://host:port or smtps://host:port; a user goes into smtp_user",
			key, url);
}

void config_check_webhook(struct config *c, const struct config_section *s, const char *key, const char *url)
{
	if (!has_scheme(url, "https", "http"))
		config_fault(c, s, key, "%s: \"%s\" is not an http or https URL", key, url);
}

void config_check_mailbox(struct config *c, const struct config_section *s, const char *key, const char *value)
{
	const char *at = strchr(value, '@');
	if (!at || at == value || !name_is_dns(at + 1, false) || strpbrk(value, " \t\r\n\"<>,;:\\"))
		config_fault(c, s, key, "%s: \"%s\" is not of the form name@domain", key, value);
}

void config_judge_alert(struct config *c, const struct config_section *s, const struct hub_alert *alert)
{
	if (alert->email[0] && !alert->from)
		config_fault(c, s, "email", "email: from is missing: the address that the mail comes from");
	if (!alert->smtp_user != !alert->smtp_password)
		config_fault(c, s, alert->smtp_user ? "smtp_user" : "smtp_password",
			"smtp_user and smtp_password belong together: the password is the path of a file that has it");
}
