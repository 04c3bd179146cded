#include "hub/worker/acme/preflight.h"
#include "hub/worker/acme/lookup.h"
#include "hub/worker/talk.h"
#include "hub/common/url.h"
#include "hub/worker/confined.h"
#include "hub/worker/protocols.h"
#include "lib/core/mem.h"

#include <curl/curl.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
	VISITS_MAX = 256,
	CONNECTIONS_MAX = 64, /* at once */
	REDIRECTS_MAX = 10,
	CONNECT_TIMEOUT_S = 5,
	TOTAL_TIMEOUT_S = 10,
	ANSWER_MAX = 2048,
	HEADERS_MAX = 32 * 1024,
	ADDRESSES_MAX = 16, /* of one name */
	EXCERPT_MAX = 60,
	POLL_MS = 1000,
};

/* One address of one name. */
struct visit {
	char name[256], address[LOOKUP_ADDRESS_MAX];
	CURL *curl;
	struct curl_slist *connect_to;
	struct buf body;
	size_t header_bytes;
	int redirects;
	bool ok;
	char text[512];
	char reason[CURL_ERROR_SIZE];
};

struct preflight {
	struct talk talk;
	cJSON *job; /* owned */
	const char *token, *authorization;
	CURLM *multi;
	struct visit *visits[VISITS_MAX];
	size_t count;
};

/* ---- one answer ---- */

static size_t on_body(char *data, size_t size, size_t count, void *context)
{
	struct visit *v = context;
	return buf_add(&v->body, data, size * count) == 0 ? size * count : 0;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): libcurl says how it is called */
static size_t on_header(char *data, size_t size, size_t count, void *context)
{
	struct visit *v = context;
	(void)data;
	v->header_bytes += size * count;
	return v->header_bytes > HEADERS_MAX ? 0 : size * count;
}

static void say(struct visit *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void say(struct visit *v, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	vsnprintf(v->text, sizeof(v->text), fmt, args);
	va_end(args);
	text_clean(v->text, 0);
}

static void judge(const struct preflight *p, struct visit *v, long status)
{
	size_t len = v->body.len, wanted = strlen(p->authorization);
	while (len && strchr(" \t\r\n", v->body.data[len - 1]))
		len--;
	v->ok = status == 200 && len == wanted && memcmp(v->body.data, p->authorization, len) == 0;
	if (v->ok)
		say(v, "answers");
	else if (status == 200)
		say(v, "answered 200 with something else: \"%.*s\"", (int)(len < EXCERPT_MAX ? len : EXCERPT_MAX),
			len ? (const char *)v->body.data : "");
	else
		say(v, "answered %ld", status);
}

/* An authority goes to ports 80 and 443 alone. */
static bool may_follow(const char *url)
{
	char *scheme = NULL, *port = NULL;
	CURLU *parsed = curl_url();
	bool ok = parsed && curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK &&
		curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
		curl_url_get(parsed, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
		(strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0) &&
		(strcmp(port, "80") == 0 || strcmp(port, "443") == 0);
	curl_free(scheme);
	curl_free(port);
	curl_url_cleanup(parsed);
	return ok;
}

/* Returns true when the visit goes on elsewhere. */
static bool follow(struct preflight *p, struct visit *v)
{
	char *url = NULL;
	curl_easy_getinfo(v->curl, CURLINFO_REDIRECT_URL, &url);
	if (!url)
		return false;
	if (v->redirects++ == REDIRECTS_MAX) {
		say(v, "more than %d redirects", REDIRECTS_MAX);
		return true;
	}
	if (strlen(url) >= URL_MAX || !may_follow(url)) {
		say(v, "redirects to %.200s, where no authority follows", url);
		return true;
	}
	auto_free char *copy = mem_strdup(url);
	buf_reset(&v->body);
	curl_easy_setopt(v->curl, CURLOPT_URL, copy);
	if (curl_multi_add_handle(p->multi, v->curl) != CURLM_OK)
		say(v, "cannot follow its redirect");
	return true;
}

static void on_done(struct preflight *p, struct visit *v, CURLcode code)
{
	long status = 0;
	curl_multi_remove_handle(p->multi, v->curl);
	curl_easy_getinfo(v->curl, CURLINFO_RESPONSE_CODE, &status);
	if (code == CURLE_WRITE_ERROR)
		say(v, "answered %ld and far more than a challenge's answer", status);
	else if (code != CURLE_OK)
		say(v, "%s", v->reason[0] ? v->reason : curl_easy_strerror(code));
	else if (!follow(p, v))
		judge(p, v, status);
}

/* ---- all of them ---- */

static bool set_up(struct preflight *p, struct visit *v)
{
	bool six = strchr(v->address, ':') != NULL;
	auto_free char *url = mem_printf("http://%s/.well-known/acme-challenge/%s", v->name, p->token);
	for (int i = 0; i < 2; i++) {
		int port = i ? 443 : 80;
		auto_free char *line =
			mem_printf(six ? "%s:%d:[%s]:%d" : "%s:%d:%s:%d", v->name, port, v->address, port);
		struct curl_slist *longer = curl_slist_append(v->connect_to, line);
		if (!longer)
			mem_abort(__func__);
		v->connect_to = longer;
	}
	CURL *c = v->curl;
	return curl_easy_setopt(c, CURLOPT_URL, url) == CURLE_OK &&
		curl_easy_setopt(c, CURLOPT_CONNECT_TO, v->connect_to) == CURLE_OK &&
		protocols_allow(c, CURLPROTO_HTTP | CURLPROTO_HTTPS) == CURLE_OK &&
		curl_easy_setopt(c, CURLOPT_PROXY, "") == CURLE_OK &&
		curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
		curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L) == CURLE_OK &&
		curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L) == CURLE_OK &&
		curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S) == CURLE_OK &&
		curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)TOTAL_TIMEOUT_S) == CURLE_OK &&
		curl_easy_setopt(c, CURLOPT_USERAGENT, "certsync/" CERTSYNC_VERSION) == CURLE_OK &&
		curl_easy_setopt(c, CURLOPT_ERRORBUFFER, v->reason) == CURLE_OK &&
		curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
		curl_easy_setopt(c, CURLOPT_WRITEDATA, v) == CURLE_OK &&
		curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK &&
		curl_easy_setopt(c, CURLOPT_HEADERDATA, v) == CURLE_OK &&
		curl_easy_setopt(c, CURLOPT_PRIVATE, v) == CURLE_OK;
}

static struct visit *add_visit(struct preflight *p, const char *name, const char *address)
{
	if (p->count == VISITS_MAX)
		return NULL;
	struct visit *v = mem_alloc(sizeof(*v));
	p->visits[p->count++] = v;
	v->body = BUF_INIT(ANSWER_MAX);
	snprintf(v->name, sizeof(v->name), "%s", name);
	snprintf(v->address, sizeof(v->address), "%s", address);
	return v;
}

static void begin(struct preflight *p, struct visit *v)
{
	v->curl = curl_easy_init();
	if (!v->curl || !set_up(p, v) || curl_multi_add_handle(p->multi, v->curl) != CURLM_OK)
		say(v, "libcurl (%s) cannot be set up", curl_version());
}

static void add_by_system(struct preflight *p, const char *name)
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct addrinfo *list = NULL;
	char address[LOOKUP_ADDRESS_MAX];
	int failed = getaddrinfo(name, NULL, &hints, &list), found = 0;
	for (const struct addrinfo *a = list; a && found < ADDRESSES_MAX; a = a->ai_next) {
		if (getnameinfo(a->ai_addr, a->ai_addrlen, address, sizeof(address), NULL, 0, NI_NUMERICHOST) != 0)
			continue;
		struct visit *v = add_visit(p, name, address);
		if (v)
			begin(p, v);
		found++;
	}
	if (list)
		freeaddrinfo(list);
	struct visit *v = found ? NULL : add_visit(p, name, "");
	if (v)
		say(v, "the DNS gives no address: %s", failed ? gai_strerror(failed) : "none");
}

static void add_by_resolvers(struct preflight *p, const char *name, const struct lookup *l)
{
	struct error err;
	char found[ADDRESSES_MAX][LOOKUP_ADDRESS_MAX];
	size_t count = 0;
	int result = lookup_addresses(l, name, found, ADDRESSES_MAX, &count, &err);
	for (size_t i = 0; i < count; i++) {
		struct visit *v = add_visit(p, name, found[i]);
		if (v)
			begin(p, v);
	}
	struct visit *v = count ? NULL : add_visit(p, name, "");
	if (v)
		say(v, "the DNS gives no address: %s", result < 0 ? err.message : "none");
}

static int visit_all(struct preflight *p, struct error *err)
{
	int running, left;
	bool ended;
	const CURLMsg *said;
	do {
		ended = false;
		if (curl_multi_perform(p->multi, &running) != CURLM_OK)
			return error_set(err, ERROR_PERMANENT, "libcurl has failed");
		while ((said = curl_multi_info_read(p->multi, &left))) {
			char *private = NULL;
			CURLcode code = said->data.result;
			curl_easy_getinfo(said->easy_handle, CURLINFO_PRIVATE, &private);
			on_done(p, (struct visit *)(void *)private, code);
			ended = true; /* and may have been sent on */
		}
		if (running && !ended && curl_multi_poll(p->multi, NULL, 0, POLL_MS, NULL) != CURLM_OK)
			return error_set(err, ERROR_PERMANENT, "libcurl has failed");
	} while (running || ended);
	return 0;
}

/* ---- the job ---- */

static int add_names(struct preflight *p, struct error *err)
{
	const char *resolvers[LOOKUP_RESOLVERS_MAX + 1] = {NULL};
	size_t count = 0;
	const cJSON *element, *list = json_array(p->job, "resolvers", LOOKUP_RESOLVERS_MAX, err);
	const cJSON *names = list ? json_array(p->job, "names", ACME_NAMES_MAX, err) : NULL;
	if (!names)
		return -1;
	cJSON_ArrayForEach (element, list) {
		resolvers[count] = json_element(element, LOOKUP_ADDRESS_MAX, err);
		if (!resolvers[count++])
			return error_wrap(err, "resolvers");
	}
	const struct lookup l = {.resolvers = resolvers};
	cJSON_ArrayForEach (element, names) {
		const char *name = json_element(element, 253, err);
		if (!name)
			return error_wrap(err, "names");
		if (count)
			add_by_resolvers(p, name, &l);
		else
			add_by_system(p, name);
	}
	return 0;
}

static int tell(struct preflight *p, struct error *err)
{
	for (size_t i = 0; i < p->count; i++) {
		const struct visit *v = p->visits[i];
		auto_json cJSON *message = cJSON_CreateObject();
		cJSON_AddStringToObject(message, "event", "finding");
		cJSON_AddStringToObject(message, "name", v->name);
		cJSON_AddStringToObject(message, "address", v->address);
		cJSON_AddBoolToObject(message, "ok", v->ok);
		cJSON_AddStringToObject(message, "text", v->text);
		if (talk_send(&p->talk, message, err) < 0)
			return -1;
	}
	return 0;
}

static int run(struct preflight *p, struct error *err)
{
	p->job = talk_receive(&p->talk, "job", err);
	worker_confine(p->job);
	p->token = p->job ? json_string(p->job, "token", 256, err) : NULL;
	p->authorization = p->token ? json_string(p->job, "authorization", 1024, err) : NULL;
	if (!p->authorization)
		return -1;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK)
		p->multi = curl_multi_init();
	if (!p->multi || curl_multi_setopt(p->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)CONNECTIONS_MAX) != CURLM_OK)
		return error_set(err, ERROR_PERMANENT, "libcurl (%s) cannot be set up", curl_version());
	return add_names(p, err) < 0 || visit_all(p, err) < 0 ? -1 : tell(p, err);
}

static void release(struct preflight *p)
{
	for (size_t i = 0; i < p->count; i++) {
		struct visit *v = p->visits[i];
		if (v->curl)
			curl_multi_remove_handle(p->multi, v->curl);
		curl_easy_cleanup(v->curl);
		curl_slist_free_all(v->connect_to);
		buf_release(&v->body);
		free(v);
	}
	curl_multi_cleanup(p->multi);
	curl_global_cleanup();
	cJSON_Delete(p->job);
	talk_release(&p->talk);
}

int acme_preflight_worker(void)
{
	struct preflight p = {.count = 0};
	struct error err;
	signal(SIGPIPE, SIG_IGN);
	talk_init(&p.talk);
	int result = run(&p, &err);
	if (result < 0)
		fprintf(stderr, "certsync-worker preflight: %s\n", err.message);
	release(&p);
	return result < 0 ? 1 : 0;
}
