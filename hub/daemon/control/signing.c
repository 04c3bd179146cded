#include "hub/daemon/control/signing.h"
#include "hub/daemon/agents/key_changes.h"
#include "hub/daemon/agents/signing.h"
#include "hub/daemon/alert/alert.h"
#include "lib/core/base64.h"
#include "lib/core/clock.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"

#include <stdio.h>

static void say_key(struct client *c, const char *which, const uint8_t *key)
{
	cJSON *o = cJSON_CreateObject();
	auto_buf struct buf text = BUF_INIT(64);
	base64_encode(key, SEAL_KEY_SIZE, &text);
	cJSON_AddStringToObject(o, "event", "key");
	cJSON_AddStringToObject(o, "which", which);
	cJSON_AddStringToObject(o, "key", buf_text(&text));
	client_say(c, o);
}

static void say_missing(struct client *c, const struct signing_missing *m)
{
	char reason[MESSAGE_TEXT_MAX];
	cJSON *o = cJSON_CreateObject();
	signing_reason(c->hub, m, reason, sizeof(reason));
	cJSON_AddStringToObject(o, "event", "missing");
	cJSON_AddStringToObject(o, "agent", m->agent);
	cJSON_AddBoolToObject(o, "must_join", m->cut_off);
	cJSON_AddStringToObject(o, "reason", reason);
	client_say(c, o);
}

static void say_all(struct client *c)
{
	static const char *const phases[] = {"idle", "told", "switched"};
	struct signing_status s;
	char when[CLOCK_TEXT_MAX], who[KEY_CHANGES_WHO_MAX];
	signing_status(c->hub, &s);
	say_key(c, "present", s.present);
	if (s.next)
		say_key(c, "next", s.next);
	for (size_t i = 0; i < s.missing_count; i++)
		say_missing(c, &s.missing[i]);
	cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "event", "result");
	cJSON_AddNumberToObject(o, "exit", CLI_DONE);
	cJSON_AddStringToObject(o, "phase", phases[s.phase]);
	cJSON_AddStringToObject(o, "since", s.since ? clock_text(s.since, when) : "");
	cJSON_AddStringToObject(o, "by", s.since ? key_changes_who(s.by, who) : "");
	cJSON_AddNumberToObject(o, "agents", (double)s.agent_count);
	client_say(c, o);
	conn_finish(c->conn);
}

char *control_keys_warning(struct hub *hub)
{
	struct signing_status s;
	signing_status(hub, &s);
	if (s.phase != SIGNING_IDLE)
		return mem_printf(
			"the signing key is being replaced, and %zu of %zu agents have not said that they know of it: certsync keys shows which",
			s.missing_count, s.agent_count);
	return s.missing_count
		? mem_printf("%zu agents refuse the signing key: certsync keys shows which", s.missing_count)
		: mem_strdup("");
}

void control_keys(struct client *c, const cJSON *request)
{
	(void)request;
	say_all(c);
}

void control_keys_rotate(struct client *c, const cJSON *request)
{
	struct error err;
	if (c->uid != 0 && c->uid != c->hub->owner) {
		log_event(LOG_LEVEL_WARNING, "refused", "command=\"keys rotate\" uid=%u reason=\"only root may\"",
			(unsigned)c->uid);
		client_refuse(c, CLI_USAGE,
			"only root may replace the signing key: it cuts agents off, or keeps them. Run sudo certsync keys rotate");
		return;
	}
	if (signing_rotate(c->hub, json_true(request, "now"), c->uid, &err) < 0) {
		client_refuse(c, err.kind == ERROR_USAGE ? CLI_USAGE : CLI_FAILED, "%s", err.message);
		return;
	}
	alert_soon(c->hub);
	say_all(c);
}
