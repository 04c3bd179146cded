#include "hub/daemon/alert/channel.h"
#include "hub/common/worker_jobs.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHANNEL_PASSWORD_MAX = 1024 };

/* ---- making ---- */

static void add_text(cJSON *job, const char *key, const char *text)
{
	if (text)
		cJSON_AddStringToObject(job, key, text);
}

static struct channel *add(
	struct channel **list, size_t *count, const struct hub_config *config, const char *type, const char *target)
{
	*list = mem_grow(*list, *count + 1, sizeof(**list));
	struct channel *c = &(*list)[(*count)++];
	*c = (struct channel){.job = cJSON_CreateObject()};
	cJSON_AddStringToObject(c->job, "event", "job");
	cJSON_AddStringToObject(c->job, "type", type);
	cJSON_AddStringToObject(c->job, "target", target);
	add_text(c->job, "ca_file", config->alert.ca_file);
	return c;
}

/* The name is "webhook HOST", with a number behind it from the second one on. What follows the host is a secret. */
static void name_webhook(const struct channel *list, struct channel *c, const char *url)
{
	int same = 1;
	const char *host = strstr(url, "://") + 3;
	auto_free char *name = mem_printf("webhook %.*s", (int)strcspn(host, "/?#"), host);
	for (const struct channel *other = list; other < c; other++)
		same += strncmp(other->name, name, strlen(name)) == 0;
	snprintf(c->name, sizeof(c->name), same > 1 ? "%.300s #%d" : "%.300s", name, same);
}

struct channel *channels_new(const struct hub_config *config, size_t *ret_count)
{
	const struct hub_alert *a = &config->alert;
	struct channel *list = NULL;
	*ret_count = 0;
	for (char **to = a->email; *to; to++) {
		struct channel *c = add(&list, ret_count, config, "email", *to);
		snprintf(c->name, sizeof(c->name), "email %s", *to);
		add_text(c->job, "smtp", a->smtp);
		add_text(c->job, "from", a->from);
		add_text(c->job, "helo", config->helo);
		add_text(c->job, "user", a->smtp_user);
		c->password_file = a->smtp_password;
	}
	for (char **url = a->webhook; *url; url++) {
		struct channel *c = add(&list, ret_count, config, "webhook", *url);
		name_webhook(list, c, *url);
	}
	if (a->command)
		snprintf(add(&list, ret_count, config, "command", a->command)->name, ALERT_NAME_MAX, "command");
	return list;
}

void channels_free(struct channel *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		job_cancel(list[i].delivery);
		cJSON_Delete(list[i].job);
	}
	free(list);
}

/* ---- sending ---- */

static void on_message(const char *event, const cJSON *message, void *context)
{
	struct channel *c = context;
	c->ok = strcmp(event, "done") == 0;
	snprintf(c->answer, sizeof(c->answer), "%s", json_text(message, "text"));
	text_clean(c->answer, 0);
}

static void on_ended(const struct error *err, void *context)
{
	struct channel *c = context;
	c->delivery = NULL;
	/* What the worker said of it counts for more than how it ended. */
	if (!c->answer[0] && err->kind != ERROR_NONE)
		snprintf(c->answer, sizeof(c->answer), "%s", err->message);
	c->handler->ended(c, c->ok, c->answer, c->context);
}

static int add_password(const struct channel *c, struct buf *password, struct files *files, struct error *err)
{
	if (!c->password_file)
		return 0;
	if (fs_read(AT_FDCWD, c->password_file, true, password, err) < 0)
		return error_wrap(err, "smtp_password");
	return files_add(files, "password", password->data, password->len);
}

void channel_send(struct channel *c, struct workers *workers, const struct alert_message *message,
	const struct channel_handler *handler, void *context)
{
	static const struct job_handler delivery_handler = {on_message, on_ended};
	struct error err;
	struct files files = {0};
	auto_buf struct buf text = BUF_INIT(FILES_FILE_MAX), password = BUF_INIT(CHANNEL_PASSWORD_MAX);
	c->handler = handler;
	c->context = context;
	c->ok = false;
	c->answer[0] = '\0';
	auto_json cJSON *o = alert_message_encode(message);
	if (json_print(o, &text) < 0 || files_add(&files, "message", text.data, text.len) < 0)
		error_set(&err, ERROR_PERMANENT, "the message is too long");
	else if (add_password(c, &password, &files, &err) == 0)
		c->delivery =
			job_start(workers, WORKER_ALERT, ALERT_JOB_SECONDS, c->job, &files, &delivery_handler, c, &err);
	if (!c->delivery)
		on_ended(&err, c);
}

void channel_note(struct channel *c, bool ok, const char *text, int64_t wall, int64_t monotonic)
{
	if (ok) {
		c->failures = 0;
		c->since = c->next = 0;
		c->error[0] = '\0';
		return;
	}
	int64_t wait = ALERT_BACKOFF_MIN << (c->failures < 6 ? c->failures : 6);
	c->failures++;
	c->since = c->since ? c->since : wall;
	c->next = monotonic + (wait < ALERT_BACKOFF_MAX ? wait : ALERT_BACKOFF_MAX);
	snprintf(c->error, sizeof(c->error), "%s", text);
}
