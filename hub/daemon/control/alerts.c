#include "hub/daemon/control/alerts.h"
#include "hub/daemon/alert/alert.h"

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

static void say_all(struct client *c, const char *event, cJSON *list)
{
	for (cJSON *o; (o = cJSON_DetachItemFromArray(list, 0));) {
		cJSON_AddStringToObject(o, "event", event);
		client_say(c, o);
	}
	cJSON_Delete(list);
}

void control_alert_list(struct client *c, const cJSON *request)
{
	(void)request;
	say_all(c, "condition", alert_conditions(c->hub));
	say_all(c, "channel", alert_channels(c->hub));
	client_finish(c, CLI_DONE, NULL, NULL);
}
