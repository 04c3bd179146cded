#include "hub/daemon/control/account.h"
#include "hub/daemon/acme/account.h"
#include "hub/daemon/rollout/fleet.h"
#include "hub/daemon/acme/renewal.h"
#include "hub/daemon/revoked.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ACCOUNTS_MAX = 256 };

/* Somebody waits for an authority; the work goes on when he does not. */
struct waiting {
	struct client *client; /* NULL: he has gone */
	struct hub *hub;
	char certificate[NAME_CERTIFICATE_MAX]; /* revoked; "" nothing */
	bool current;
};

static void on_gone(void *context)
{
	struct waiting *w = context;
	w->client = NULL;
}

static struct waiting *waiting_new(struct client *c)
{
	struct waiting *w = mem_alloc(sizeof(*w));
	w->client = c;
	w->hub = client_hub(c);
	client_wait(c, on_gone, w);
	return w;
}

static void on_done(const struct error *err, void *context)
{
	auto_free struct waiting *w = context;
	struct client *c = w->client;
	if (!c)
		return;
	client_done(c);
	if (err->kind != ERROR_NONE)
		client_finish(c, CLI_FAILED, "error", err->message);
	else if (w->current)
		client_follow(c, fleet_find(w->hub, w->certificate), true);
	else
		client_finish(c, CLI_DONE, NULL, NULL);
}

static void give_up(struct waiting *w, const struct error *err)
{
	client_done(w->client);
	client_finish(w->client, err->kind == ERROR_USAGE ? CLI_USAGE : CLI_FAILED, "error", err->message);
	free(w);
}

static const struct hub_acme *find_acme(const struct hub *hub, const char *name, struct error *err)
{
	for (size_t i = 0; i < hub->config->acme_count; i++)
		if (strcmp(hub->config->acmes[i].name, name) == 0)
			return &hub->config->acmes[i];
	error_set(err, ERROR_USAGE, "hub.conf has no acme \"%s\"", name);
	return NULL;
}

/* ---- account ---- */

static void show(struct client *c, const struct hub_acme *acme)
{
	struct account_facts facts;
	account_facts(client_hub(c), acme, &facts);
	cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "event", "account");
	cJSON_AddStringToObject(o, "name", acme->name);
	cJSON_AddStringToObject(o, "directory", acme->directory);
	cJSON_AddStringToObject(o, "url", facts.url);
	cJSON_AddStringToObject(o, "thumbprint", facts.thumbprint);
	cJSON_AddStringToObject(o, "contact", facts.contact);
	cJSON_AddBoolToObject(o, "unsettled", facts.unsettled);
	client_say(c, o);
}

static int show_those(struct client *c, const cJSON *request, struct error *err)
{
	const cJSON *names = json_array(request, "names", ACCOUNTS_MAX, err), *element;
	const struct hub *hub = client_hub(c);
	if (!names)
		return -1;
	cJSON_ArrayForEach (element, names) {
		const char *name = json_element(element, NAME_AGENT_MAX - 1, err);
		const struct hub_acme *acme = name ? find_acme(hub, name, err) : NULL;
		if (!acme)
			return -1;
		show(c, acme);
	}
	for (size_t i = 0; !cJSON_GetArraySize(names) && i < hub->config->acme_count; i++)
		show(c, &hub->config->acmes[i]);
	client_finish(c, CLI_DONE, NULL, NULL);
	return 0;
}

static int act(struct client *c, const char *op, const cJSON *request, struct error *err)
{
	const char *name = json_string(request, "name", NAME_AGENT_MAX - 1, err);
	struct hub *hub = client_hub(c);
	const struct hub_acme *acme = name ? find_acme(hub, name, err) : NULL;
	if (!acme)
		return -1;
	bool rolls = strcmp(op, "rollover") == 0;
	if (!rolls && strcmp(op, "deactivate") != 0)
		return error_set(
			err, ERROR_USAGE, "this hub (%s) cannot do \"%s\" to an account", CERTSYNC_VERSION, op);
	struct waiting *w = waiting_new(c);
	struct account *a = renewal_check_idle(hub, acme, err) < 0 ? NULL
		: rolls                                            ? account_rollover(hub, acme, on_done, w, err)
								   : account_deactivate(hub, acme, on_done, w, err);
	if (!a)
		give_up(w, err);
	return 0;
}

void control_account(struct client *c, const cJSON *request)
{
	struct error err;
	const char *op = json_string(request, "op", 32, &err);
	int result = !op ? -1 : strcmp(op, "show") == 0 ? show_those(c, request, &err) : act(c, op, request, &err);
	if (result < 0)
		client_finish(c, CLI_USAGE, "error", err.message);
}

/* ---- revoke ---- */

/* Finds the revision that is asked for, or the current one. */
static int choose(struct hub *hub, const char *name, const cJSON *request, struct revision *ret, bool *ret_current,
	struct error *err)
{
	auto_manifest struct manifest current = {0}, m = {0};
	int had = store_current(hub->store, name, &current, err);
	if (had <= 0)
		return had < 0 ? -1 : error_set(err, ERROR_USAGE, "%s: nothing has been published yet", name);
	*ret = current.content.revision;
	const cJSON *asked = json_get(request, "revision");
	if (asked && (!cJSON_IsString(asked) || !revision_parse(asked->valuestring, ret)))
		return error_set(err, ERROR_USAGE, "a revision is written like 1.7 (certsync history shows them)");
	int found = store_manifest(hub->store, name, *ret, &m, err);
	if (found <= 0)
		return found < 0 ? -1 : error_set(err, ERROR_USAGE, "%s: there is no such revision", name);
	/* A rollback's content is that of the revision that it went back to. */
	*ret_current = memcmp(m.content.digest, current.content.digest, sizeof(m.content.digest)) == 0;
	if (*ret_current)
		*ret = current.content.revision;
	return 0;
}

static int revoke(struct client *c, const cJSON *request, struct error *err)
{
	struct hub *hub = client_hub(c);
	struct revision revision;
	bool current = false;
	const char *name = json_string(request, "certificate", NAME_CERTIFICATE_MAX - 1, err);
	const char *reason = name ? json_string(request, "reason", REVOKED_REASON_MAX - 1, err) : NULL;
	const struct hub_certificate *certificate = reason ? hub_config_certificate(hub->config, name) : NULL;
	if (!reason)
		return -1;
	if (!certificate || !certificate->acme)
		return error_set(err, ERROR_USAGE,
			certificate ? "%s is not an ACME certificate: revoke it where it was obtained, then "
				      "import another"
				    : "hub.conf has no certificate \"%s\"",
			name);
	if (revoked_code(reason) == REVOKED_CODE_NONE)
		return error_set(err, ERROR_USAGE, "\"%s\" is not one of the reasons %s", reason, revoked_reasons);
	if (choose(hub, name, request, &revision, &current, err) < 0)
		return -1;
	struct waiting *w = waiting_new(c);
	snprintf(w->certificate, sizeof(w->certificate), "%s", name);
	w->current = current;
	if (!account_revoke(hub, certificate, revision, reason, on_done, w, err))
		give_up(w, err);
	return 0;
}

void control_revoke(struct client *c, const cJSON *request)
{
	struct error err;
	if (revoke(c, request, &err) < 0)
		client_finish(c, err.kind == ERROR_USAGE ? CLI_USAGE : CLI_FAILED, "error", err.message);
}
