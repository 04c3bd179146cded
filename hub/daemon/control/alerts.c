#include "hub/daemon/control/alerts.h"
#include "hub/daemon/alert/alert.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"

static void on_answered(const char *channel, bool ok, const char *text, void *context)
{
	cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "event", "channel");
	cJSON_AddStringToObject(o, "channel", channel);
	cJSON_AddBoolToObject(o, "ok", ok);
	cJSON_AddStringToObject(o, "text", text);
	client_say(context, o);
}

static void on_test_ended(bool ok, void *context)
{
	struct client *c = context;
	client_done(c);
	client_finish(c, ok ? CLI_DONE : CLI_FAILED, NULL, NULL);
}

static void on_gone(void *context)
{
	alert_test_forget(context);
}

void control_alert_test(struct client *c, const cJSON *request)
{
	(void)request;
	static const struct alert_test_handler handler = {on_answered, on_test_ended};
	struct error err;
	if (alert_test(c->hub, &handler, c, &err) < 0)
		client_refuse(c, CLI_USAGE, "%s", err.message);
	else
		client_wait(c, on_gone, c->hub);
}

static void add_time(cJSON *o, const char *key, int64_t when)
{
	char text[CLOCK_TEXT_MAX];
	cJSON_AddStringToObject(o, key, when ? clock_text(when, text) : "");
}

static cJSON *condition_encode(const struct condition_entry *e)
{
	cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "kind", condition_kind_name(e->kind));
	cJSON_AddStringToObject(o, "subject", e->subject);
	cJSON_AddStringToObject(o, "text", e->text);
	cJSON_AddBoolToObject(o, "critical", e->critical);
	add_time(o, "since", e->since);
	add_time(o, "told", e->told);
	cJSON_AddStringToObject(o, "event", "condition");
	return o;
}

static cJSON *channel_encode(const struct alert_channel *c)
{
	cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "channel", c->name);
	cJSON_AddNumberToObject(o, "waiting", (double)c->waiting);
	cJSON_AddNumberToObject(o, "failures", c->failures);
	cJSON_AddStringToObject(o, "error", c->error);
	add_time(o, "since", c->since);
	add_time(o, "next_try", c->next_try);
	cJSON_AddStringToObject(o, "event", "channel");
	return o;
}

void control_alert_list(struct client *c, const cJSON *request)
{
	(void)request;
	size_t count;
	const struct condition_book *book = alert_book(c->hub);
	auto_free struct alert_channel *channels = alert_channels(c->hub, &count);
	for (size_t i = 0; i < book->count; i++)
		client_say(c, condition_encode(&book->entries[i]));
	for (size_t i = 0; i < count; i++)
		client_say(c, channel_encode(&channels[i]));
	client_finish(c, CLI_DONE, NULL, NULL);
}
