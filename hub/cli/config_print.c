#include "hub/common/config.h"
#include "lib/config/config.h"
#include "lib/core/mem.h"

#include <stdlib.h>

static void print_globals(const struct hub_config *h, struct buf *out)
{
	config_put(out, 0, "ssh", h->ssh);
	config_put_list(out, 0, "host_keys", h->host_keys);
	config_put(out, 0, "state", h->state);
	config_put(out, 0, "run", h->run);
	config_put(out, 0, "http", h->http);
	config_put(out, 0, "anchors", h->anchors);
	config_put(out, 0, "user", h->user);
	config_put(out, 0, "keys_user", h->keys_user);
	config_put(out, 0, "worker_user", h->worker_user);
	config_put(out, 0, "gate_user", h->gate_user);
	config_put(out, 0, "local_user", h->local_user);
	config_put(out, 0, "admin_group", h->admin_group);
	config_put(out, 0, "agent_keys", h->agent_keys == HUB_KEYS_GROUP ? "group" : "root");
	config_put(out, 0, "authorized_keys", h->authorized_keys);
	config_put_list(out, 0, "resolvers", h->resolvers);
	config_put(out, 0, "hooks", h->hooks);
	config_put_duration(out, 0, "scan_interval", h->scan_interval);
	config_put(out, 0, "page", h->page);
}

static void print_acme(const struct hub_acme *a, struct buf *out)
{
	config_put_section(out, 0, "acme", a->name);
	config_put(out, 1, "directory", a->directory);
	config_put_list(out, 1, "contact", a->contact);
	config_put_bool(out, 1, "agree_tos", a->agree_tos);
	config_put(out, 1, "ca_file", a->ca_file);
	config_put(out, 1, "eab_kid", a->eab_kid);
	config_put(out, 1, "eab_hmac", a->eab_hmac);
	config_put_bool(out, 1, "ari", a->ari);
	config_put_bool(out, 1, "limits", a->limits);
	config_put_end(out, 0);
}

/* What only a certificate with acme has. */
static void print_order(const struct hub_certificate *c, struct buf *out)
{
	static const char *const preflights[] = {
		[HUB_PREFLIGHT_WARN] = "warn", [HUB_PREFLIGHT_REQUIRE] = "require", [HUB_PREFLIGHT_OFF] = "off"};
	char *const keys[] = {c->key_type, c->second_key_type, NULL};
	config_put_list(out, 1, "key", keys);
	config_put_bool(out, 1, "reuse_key", c->reuse_key);
	config_put_bool(out, 1, "next_key", c->next_key);
	config_put(out, 1, "profile", c->profile);
	config_put(out, 1, "preferred_chain", c->preferred_chain);
	config_put(out, 1, "challenge", c->dns_hook ? "dns-01" : "http-01");
	config_put(out, 1, "dns_hook", c->dns_hook);
	config_put(out, 1, "dns_config", c->dns_config);
	config_put_duration(out, 1, "dns_timeout", c->dns_timeout);
	config_put(out, 1, "preflight", preflights[c->preflight]);
	config_put_duration(out, 1, "renew_before", c->renew_before);
}

static void print_windows(const struct hub_certificate *c, struct buf *out)
{
	auto_free char **texts = mem_array(c->window_count + 1, sizeof(*texts));
	for (size_t i = 0; i < c->window_count; i++)
		texts[i] = mem_printf("%02u:%02u-%02u:%02u", c->windows[i].from / 60, c->windows[i].from % 60,
			c->windows[i].to / 60, c->windows[i].to % 60);
	config_put_list(out, 1, "window", texts);
	for (size_t i = 0; i < c->window_count; i++)
		free(texts[i]);
}

static void print_certificate(const struct hub_certificate *certificate, struct buf *out)
{
	config_put_section(out, 0, "certificate", certificate->name);
	config_put(out, 1, "acme", certificate->acme ? certificate->acme->name : NULL);
	if (certificate->watch[0])
		config_put_list(out, 1, "watch", certificate->watch);
	config_put_list(out, 1, "names", certificate->names);
	if (certificate->acme)
		print_order(certificate, out);
	config_put(out, 1, "rollout", certificate->rollout == ROLLOUT_TOGETHER ? "together" : "immediate");
	config_put_duration(out, 1, "stage_timeout", certificate->stage_timeout);
	config_put_duration(out, 1, "activate_timeout", certificate->activate_timeout);
	config_put_duration(out, 1, "proceed_after", certificate->proceed_after);
	config_put_list(out, 1, "canary", certificate->canary);
	config_put_duration(out, 1, "soak", certificate->soak);
	config_put(out, 1, "on_failure", certificate->on_failure == ROLLOUT_STOP ? "stop" : "rollback_all");
	print_windows(certificate, out);
	config_put_end(out, 0);
}

static void print_alert(const struct hub_alert *a, struct buf *out)
{
	config_put_section(out, 0, "alert", NULL);
	config_put_list(out, 1, "email", a->email);
	config_put(out, 1, "smtp", a->smtp);
	config_put(out, 1, "from", a->from);
	config_put(out, 1, "smtp_user", a->smtp_user);
	config_put(out, 1, "smtp_password", a->smtp_password);
	config_put(out, 1, "ca_file", a->ca_file);
	config_put_list(out, 1, "webhook", a->webhook);
	config_put(out, 1, "command", a->command);
	config_put_duration(out, 1, "for", a->hold);
	config_put_duration(out, 1, "repeat", a->repeat);
	config_put_duration(out, 1, "expiring", a->expiring);
	config_put_end(out, 0);
}

static void print_endpoint(const struct hub_endpoint *e, struct buf *out)
{
	config_put_section(out, 0, "endpoint", e->name);
	config_put_list(out, 1, "ports", e->ports);
	config_put_list(out, 1, "at", e->at);
	config_put(out, 1, "certificate", e->certificate ? e->certificate->name : NULL);
	config_put_duration(out, 1, "interval", e->interval);
	config_put_end(out, 0);
}

static void print_agent(const struct hub_agent *a, struct buf *out)
{
	size_t count = 0;
	while (a->certificates[count])
		count++;
	auto_free char **names = mem_array(count + 1, sizeof(*names));
	for (size_t i = 0; i < count; i++)
		names[i] = a->certificates[i]->name;
	config_put_section(out, 0, "agent", a->name);
	config_put_list(out, 1, "certificates", names);
	config_put_bool(out, 1, "local", a->local);
	config_put_duration(out, 1, "away_after", a->away_after);
	config_put_end(out, 0);
}

void hub_config_print(const struct hub_config *c, struct buf *out)
{
	print_globals(c, out);
	print_alert(&c->alert, out);
	for (size_t i = 0; i < c->acme_count; i++)
		print_acme(&c->acmes[i], out);
	for (size_t i = 0; i < c->certificate_count; i++)
		print_certificate(&c->certificates[i], out);
	for (size_t i = 0; i < c->agent_count; i++)
		print_agent(&c->agents[i], out);
	for (size_t i = 0; i < c->endpoint_count; i++)
		print_endpoint(&c->endpoints[i], out);
}
