#include "hub/worker/acme/renewal_info.h"
#include "hub/worker/acme/client.h"
#include "hub/worker/talk.h"
#include "hub/common/ari.h"
#include "hub/worker/confined.h"
#include "lib/core/mem.h"

#include <signal.h>
#include <string.h>

struct info {
	struct talk talk;
	struct acme_client client;
	cJSON *job; /* owned */
};

static cJSON *event_new_answer(const char *event, const char *id, const struct acme_client *c)
{
	cJSON *message = cJSON_CreateObject();
	cJSON_AddStringToObject(message, "event", event);
	if (id)
		cJSON_AddStringToObject(message, "id", id);
	cJSON_AddNumberToObject(message, "retry_after", (double)c->answer.retry_after);
	return message;
}

static int say_trouble(struct info *f, const char *event, const char *id, const struct error *trouble)
{
	struct error ignored;
	auto_json cJSON *message = event_new_answer(event, id, &f->client);
	cJSON_AddStringToObject(message, "text", trouble->message);
	return talk_send(&f->talk, message, &ignored);
}

static int say_window(struct info *f, const char *id, const struct ari_window *w, struct error *err)
{
	auto_json cJSON *message = event_new_answer("answer", id, &f->client);
	cJSON_AddNumberToObject(message, "start", (double)w->start);
	cJSON_AddNumberToObject(message, "end", (double)w->end);
	cJSON_AddStringToObject(message, "explanation", w->explanation);
	return talk_send(&f->talk, message, err);
}

static int get_window(struct info *f, const char *id, struct ari_window *ret, struct error *err)
{
	struct acme_client *c = &f->client;
	size_t len = strlen(c->renewal_info);
	auto_free char *url =
		mem_printf("%s%s%s", c->renewal_info, len && c->renewal_info[len - 1] == '/' ? "" : "/", id);
	const struct http_request request = {.method = HTTP_GET, .url = url, .accept = "application/json"};
	c->answer.retry_after = 0;
	if (http_send(c->http, &request, &c->answer, err) < 0)
		return -1;
	if (c->answer.status != 200)
		return error_set(err, ERROR_RETRY, "%s: answered %ld", url, c->answer.status);
	return ari_parse(c->answer.body.data, c->answer.body.len, ret, err) < 0 ? error_wrap(err, "%s", url) : 0;
}

static int ask_all(struct info *f, struct error *err)
{
	const cJSON *ids = json_array(f->job, "ids", ACME_INFO_IDS_MAX, err), *element;
	if (!ids)
		return -1;
	cJSON_ArrayForEach (element, ids) {
		struct ari_window window;
		struct error trouble;
		const char *id = json_element(element, ARI_ID_MAX - 1, err);
		if (!id)
			return -1;
		int said = get_window(f, id, &window, &trouble) < 0 ? say_trouble(f, "none", id, &trouble)
								    : say_window(f, id, &window, err);
		if (said < 0)
			return error_set(err, ERROR_PERMANENT, "the daemon has gone");
	}
	return 0;
}

static int run(struct info *f, struct error *err)
{
	f->job = talk_receive(&f->talk, "job", err);
	worker_confine(f->job);
	const char *directory = f->job ? json_string(f->job, "directory", URL_MAX, err) : NULL;
	const cJSON *ca_file = json_get(f->job, "ca_file");
	if (!directory ||
		acme_client_open(&f->client, directory, cJSON_IsString(ca_file) ? ca_file->valuestring : NULL, err) < 0)
		return -1;
	if (f->client.renewal_info[0])
		return ask_all(f, err);
	auto_json cJSON *message = event_new_answer("unsupported", NULL, &f->client);
	return talk_send(&f->talk, message, err);
}

int acme_info_worker(void)
{
	struct info f = {.job = NULL};
	struct error err;
	signal(SIGPIPE, SIG_IGN);
	talk_init(&f.talk);
	int result = run(&f, &err);
	if (result < 0)
		say_trouble(&f, "failed", NULL, &err);
	cJSON_Delete(f.job);
	acme_client_release(&f.client);
	talk_release(&f.talk);
	return result < 0 ? 1 : 0;
}
