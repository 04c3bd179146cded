#include "hub/worker/acme/preflight_visit.h"
#include "hub/common/url.h"
#include "hub/worker/protocols.h"
#include "lib/core/buf.h"
#include "lib/core/mem.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	CONNECTIONS_MAX = 64, /* at once */
	REDIRECTS_MAX = 10,
	CONNECT_TIMEOUT_S = 5,
	ANSWER_MAX = 2048,
	HEADERS_MAX = 32 * 1024,
	EXCERPT_MAX = 60,
	POLL_MS = 1000,
};

struct visit {
	struct preflight_visit *at;
	CURL *curl;
	struct curl_slist *connect_to;
	struct buf body;
	size_t header_bytes;
	int redirects;
	char reason[CURL_ERROR_SIZE];
};

struct round {
	const char *token, *authorization;
	CURLM *multi;
	struct visit *visits;
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

static void judge(const struct round *r, struct visit *v, long status)
{
	size_t len = v->body.len, wanted = strlen(r->authorization);
	while (len && strchr(" \t\r\n", v->body.data[len - 1]))
		len--;
	v->at->ok = status == 200 && len == wanted && memcmp(v->body.data, r->authorization, len) == 0;
	if (v->at->ok)
		preflight_say(v->at, "answers");
	else if (status == 200)
		preflight_say(v->at, "answered 200 with something else: \"%.*s\"",
			(int)(len < EXCERPT_MAX ? len : EXCERPT_MAX), len ? (const char *)v->body.data : "");
	else
		preflight_say(v->at, "answered %ld", status);
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
static bool follow(struct round *r, struct visit *v)
{
	char *url = NULL;
	curl_easy_getinfo(v->curl, CURLINFO_REDIRECT_URL, &url);
	if (!url)
		return false;
	if (v->redirects++ == REDIRECTS_MAX) {
		preflight_say(v->at, "more than %d redirects", REDIRECTS_MAX);
		return true;
	}
	if (strlen(url) >= URL_MAX || !may_follow(url)) {
		preflight_say(v->at, "redirects to %.200s, where no authority follows", url);
		return true;
	}
	auto_free char *copy = mem_strdup(url);
	buf_reset(&v->body);
	curl_easy_setopt(v->curl, CURLOPT_URL, copy);
	if (curl_multi_add_handle(r->multi, v->curl) != CURLM_OK)
		preflight_say(v->at, "cannot follow its redirect");
	return true;
}

static void on_done(struct round *r, struct visit *v, CURLcode code)
{
	long status = 0;
	curl_multi_remove_handle(r->multi, v->curl);
	curl_easy_getinfo(v->curl, CURLINFO_RESPONSE_CODE, &status);
	if (code == CURLE_WRITE_ERROR)
		preflight_say(v->at, "answered %ld and far more than a challenge's answer", status);
	else if (code != CURLE_OK)
		preflight_say(v->at, "%s", v->reason[0] ? v->reason : curl_easy_strerror(code));
	else if (!follow(r, v))
		judge(r, v, status);
}

/* ---- all of them ---- */

static bool set_up(struct round *r, struct visit *v)
{
	bool six = strchr(v->at->address, ':') != NULL;
	auto_free char *url = mem_printf("http://%s/.well-known/acme-challenge/%s", v->at->name, r->token);
	for (int i = 0; i < 2; i++) {
		int port = i ? 443 : 80;
		auto_free char *line =
			mem_printf(six ? "%s:%d:[%s]:%d" : "%s:%d:%s:%d", v->at->name, port, v->at->address, port);
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
		curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)PREFLIGHT_TOTAL_S) == CURLE_OK &&
		curl_easy_setopt(c, CURLOPT_USERAGENT, "certsync/" CERTSYNC_VERSION) == CURLE_OK &&
		curl_easy_setopt(c, CURLOPT_ERRORBUFFER, v->reason) == CURLE_OK &&
		curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
		curl_easy_setopt(c, CURLOPT_WRITEDATA, v) == CURLE_OK &&
		curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK &&
		curl_easy_setopt(c, CURLOPT_HEADERDATA, v) == CURLE_OK &&
		curl_easy_setopt(c, CURLOPT_PRIVATE, v) == CURLE_OK;
}

static void begin(struct round *r, struct visit *v)
{
	v->curl = curl_easy_init();
	if (!v->curl || !set_up(r, v) || curl_multi_add_handle(r->multi, v->curl) != CURLM_OK)
		preflight_say(v->at, "libcurl (%s) cannot be set up", curl_version());
}

static int visit_all(struct round *r, struct error *err)
{
	int running, left;
	bool ended;
	const CURLMsg *said;
	do {
		ended = false;
		if (curl_multi_perform(r->multi, &running) != CURLM_OK)
			return error_set(err, ERROR_PERMANENT, "libcurl has failed");
		while ((said = curl_multi_info_read(r->multi, &left))) {
			char *private = NULL;
			CURLcode code = said->data.result;
			curl_easy_getinfo(said->easy_handle, CURLINFO_PRIVATE, &private);
			on_done(r, (struct visit *)(void *)private, code);
			ended = true; /* and may have been sent on */
		}
		if (running && !ended && curl_multi_poll(r->multi, NULL, 0, POLL_MS, NULL) != CURLM_OK)
			return error_set(err, ERROR_PERMANENT, "libcurl has failed");
	} while (running || ended);
	return 0;
}

static int ask_all(struct round *r, struct preflight_visit *visits, struct error *err)
{
	if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK)
		r->multi = curl_multi_init();
	if (!r->multi || curl_multi_setopt(r->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)CONNECTIONS_MAX) != CURLM_OK)
		return error_set(err, ERROR_PERMANENT, "libcurl (%s) cannot be set up", curl_version());
	for (size_t i = 0; i < r->count; i++) {
		r->visits[i].at = &visits[i];
		r->visits[i].body = BUF_INIT(ANSWER_MAX);
		if (visits[i].address[0])
			begin(r, &r->visits[i]);
	}
	return visit_all(r, err);
}

int preflight_by_http(
	struct preflight_visit *visits, size_t count, const char *token, const char *authorization, struct error *err)
{
	struct round r = {.token = token, .authorization = authorization, .count = count};
	r.visits = mem_array(count + 1, sizeof(*r.visits));
	int result = ask_all(&r, visits, err);
	for (size_t i = 0; i < count; i++) {
		struct visit *v = &r.visits[i];
		if (v->curl)
			curl_multi_remove_handle(r.multi, v->curl);
		curl_easy_cleanup(v->curl);
		curl_slist_free_all(v->connect_to);
		buf_release(&v->body);
	}
	free(r.visits);
	curl_multi_cleanup(r.multi);
	curl_global_cleanup();
	return result;
}
