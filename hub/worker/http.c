#include "hub/worker/http.h"
#include "hub/worker/protocols.h"
#include "hub/common/jws.h"
#include "lib/core/base64.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"

#include <ctype.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SYSTEM_ANCHORS "/etc/ssl/certs"

enum {
	CONNECT_TIMEOUT_S = 20,
	TOTAL_TIMEOUT_S = 60,
	SLOW_BYTES_PER_S = 16,
	SLOW_TIMEOUT_S = 20,
	VALUE_MAX = 4096, /* of one header that is looked at */
};

struct http {
	CURL *curl;
	char reason[CURL_ERROR_SIZE];
	/* of the request under way */
	struct http_response *response;
	size_t header_bytes;
	char retry_after[64];
	const char *refused; /* why a callback stopped the transfer */
};

void http_response_release(struct http_response *r)
{
	buf_release(&r->body);
	*r = (struct http_response){.body = BUF_INIT(HTTP_BODY_MAX)};
}

static int64_t clamp_retry(int64_t seconds)
{
	if (seconds < 1)
		return 1;
	return seconds > HTTP_RETRY_AFTER_MAX ? HTTP_RETRY_AFTER_MAX : seconds;
}

int64_t http_retry_after(const char *value, int64_t now)
{
	char *end;
	long long seconds = strtoll(value, &end, 10);
	if (end != value && *end == '\0')
		return clamp_retry(seconds);
	time_t date = curl_getdate(value, NULL);
	return date == (time_t)-1 ? 0 : clamp_retry((int64_t)date - now);
}

/* ---- headers ---- */

static void take_text(char *to, size_t size, const char *value)
{
	if (strlen(value) < size)
		snprintf(to, size, "%s", value);
}

static void take_content_type(struct http_response *r, const char *value)
{
	size_t len = strcspn(value, "; \t");
	if (len >= sizeof(r->content_type))
		return;
	for (size_t i = 0; i < len; i++)
		r->content_type[i] = (char)tolower((unsigned char)value[i]);
	r->content_type[len] = '\0';
}

/* Takes one of a header's links: its URL, and its parameters up to `end`. */
static void take_one_link(struct http_response *r, const char *url, size_t len, const char *parameters, const char *end)
{
	auto_free char *text = mem_strndup(parameters, (size_t)(end - parameters));
	if (!strcasestr(text, "rel=\"alternate\"") && !strcasestr(text, "rel=alternate"))
		return;
	if (r->alternate_count < HTTP_ALTERNATES_MAX && len < URL_MAX)
		snprintf(r->alternate[r->alternate_count++], URL_MAX, "%.*s", (int)len, url);
}

/* Takes links like <https://…>;rel="alternate", <https://…>;rel="index". */
static void take_links(struct http_response *r, const char *value)
{
	const char *end;
	while ((value = strchr(value, '<')) && (end = strchr(value, '>'))) {
		const char *next = strchr(end, '<');
		take_one_link(r, value + 1, (size_t)(end - value - 1), end, next ? next : end + strlen(end));
		value = end;
	}
}

static int64_t take_date(const char *value)
{
	time_t date = curl_getdate(value, NULL);
	return date > 0 ? (int64_t)date : 0;
}

static void take_header(struct http *h, const char *name, const char *value)
{
	struct http_response *r = h->response;
	if (strcasecmp(name, "Replay-Nonce") == 0 && base64url_is(value, sizeof(r->nonce) - 1))
		take_text(r->nonce, sizeof(r->nonce), value);
	else if (strcasecmp(name, "Location") == 0)
		take_text(r->location, sizeof(r->location), value);
	else if (strcasecmp(name, "Content-Type") == 0)
		take_content_type(r, value);
	else if (strcasecmp(name, "Link") == 0)
		take_links(r, value);
	else if (strcasecmp(name, "Retry-After") == 0)
		take_text(h->retry_after, sizeof(h->retry_after), value);
	else if (strcasecmp(name, "Date") == 0)
		r->date = take_date(value);
}

/* Takes one line with its end. Lines of an interim answer (1xx) come here too and count alike. */
static size_t on_header(char *data, size_t size, size_t count, void *context)
{
	struct http *h = context;
	size_t len = size * count;
	char line[VALUE_MAX];
	h->header_bytes += len;
	if (h->header_bytes > HTTP_HEADERS_MAX) {
		h->refused = "its headers do not end";
		return 0;
	}
	if (len >= sizeof(line) || memchr(data, '\0', len))
		return len;
	memcpy(line, data, len);
	while (len && isspace((unsigned char)line[len - 1]))
		len--;
	line[len] = '\0';
	char *value = strchr(line, ':');
	if (value) {
		*value++ = '\0';
		take_header(h, line, value + strspn(value, " \t"));
	}
	return size * count;
}

static size_t on_body(char *data, size_t size, size_t count, void *context)
{
	struct http *h = context;
	if (buf_add(&h->response->body, data, size * count) == 0)
		return size * count;
	h->refused = "its answer is longer than 256 KiB";
	return 0;
}

/* ---- the handle ---- */

/* OpenSSL reads a directory of hashed anchors one by one as it needs them; to load Debian's bundle costs 20 ms. */
static bool set_anchors(CURL *curl, const char *ca_file)
{
	return curl_easy_setopt(curl, CURLOPT_CAINFO, ca_file) == CURLE_OK &&
		curl_easy_setopt(curl, CURLOPT_CAPATH, ca_file ? NULL : SYSTEM_ANCHORS) == CURLE_OK;
}

static bool set_limits(CURL *curl)
{
	return protocols_allow(curl, CURLPROTO_HTTPS) == CURLE_OK &&
		curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
		curl_easy_setopt(curl, CURLOPT_PROXY, "") == CURLE_OK &&
		curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
		curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK &&
		curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
		curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S) == CURLE_OK &&
		curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)TOTAL_TIMEOUT_S) == CURLE_OK &&
		curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, (long)SLOW_BYTES_PER_S) == CURLE_OK &&
		curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)SLOW_TIMEOUT_S) == CURLE_OK;
}

static bool set_callbacks(struct http *h)
{
	return curl_easy_setopt(h->curl, CURLOPT_USERAGENT, "certsync/" CERTSYNC_VERSION) == CURLE_OK &&
		curl_easy_setopt(h->curl, CURLOPT_ERRORBUFFER, h->reason) == CURLE_OK &&
		curl_easy_setopt(h->curl, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK &&
		curl_easy_setopt(h->curl, CURLOPT_HEADERDATA, h) == CURLE_OK &&
		curl_easy_setopt(h->curl, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
		curl_easy_setopt(h->curl, CURLOPT_WRITEDATA, h) == CURLE_OK;
}

struct http *http_new(const char *ca_file, struct error *err)
{
	struct http *h = mem_alloc(sizeof(*h));
	if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK)
		h->curl = curl_easy_init();
	if (h->curl && set_anchors(h->curl, ca_file) && set_limits(h->curl) && set_callbacks(h))
		return h;
	error_set(err, ERROR_PERMANENT, "libcurl (%s) cannot be set up", curl_version());
	http_free(h);
	return NULL;
}

void http_free(struct http *h)
{
	if (!h)
		return;
	curl_easy_cleanup(h->curl);
	curl_global_cleanup();
	free(h);
}

/* ---- a request ---- */

static void add_header(struct curl_slist **list, const char *name, const char *value)
{
	if (!value)
		return;
	auto_free char *line = mem_printf("%s: %s", name, value);
	struct curl_slist *longer = curl_slist_append(*list, line);
	if (!longer)
		mem_abort(__func__);
	*list = longer;
}

static CURLcode set_method(CURL *curl, const struct http_request *request)
{
	if (request->method == HTTP_HEAD)
		return curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
	if (request->method == HTTP_GET)
		return curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
	CURLcode code = curl_easy_setopt(curl, CURLOPT_POST, 1L);
	if (code == CURLE_OK)
		code = curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)request->body_len);
	return code == CURLE_OK ? curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body) : code;
}

static CURLcode perform(struct http *h, const struct http_request *request)
{
	struct curl_slist *headers = NULL;
	add_header(&headers, "Accept", request->accept);
	add_header(&headers, "Content-Type", request->content_type);
	/* "Expect: 100-continue" is not sent, since it costs a second with servers that do not know it. */
	add_header(&headers, "Expect", "");
	CURLcode code = curl_easy_setopt(h->curl, CURLOPT_URL, request->url);
	if (code == CURLE_OK)
		code = curl_easy_setopt(h->curl, CURLOPT_HTTPHEADER, headers);
	if (code == CURLE_OK)
		code = set_method(h->curl, request);
	if (code == CURLE_OK)
		code = curl_easy_perform(h->curl);
	curl_easy_setopt(h->curl, CURLOPT_HTTPHEADER, NULL);
	curl_slist_free_all(headers);
	return code;
}

static int fail(const struct http *h, CURLcode code, const char *url, struct error *err)
{
	const char *reason = h->reason[0] ? h->reason : curl_easy_strerror(code);
	if (h->refused)
		return error_set(err, ERROR_RETRY, "%s: %s", url, h->refused);
	if (code == CURLE_PEER_FAILED_VERIFICATION)
		return error_set(err, ERROR_UNTRUSTED,
			"%s: the server's certificate is not trusted (%s): if it is a private authority, set "
			"ca_file",
			url, reason);
	if (code == CURLE_SSL_CACERT_BADFILE)
		return error_set(err, ERROR_PERMANENT, "%s: the trust anchors cannot be read: %s", url, reason);
	return error_set(err, ERROR_RETRY, "%s: %s", url, reason);
}

int http_send(struct http *h, const struct http_request *request, struct http_response *ret, struct error *err)
{
	http_response_release(ret);
	if (!url_is_good(request->url))
		return error_set(err, ERROR_PERMANENT, "%.200s: not a URL of https", request->url);
	h->response = ret;
	h->header_bytes = 0;
	h->retry_after[0] = h->reason[0] = '\0';
	h->refused = NULL;
	CURLcode code = perform(h, request);
	h->response = NULL;
	if (code != CURLE_OK)
		return fail(h, code, request->url, err);
	curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &ret->status);
	if (h->retry_after[0])
		ret->retry_after = http_retry_after(h->retry_after, ret->date ? ret->date : clock_wall());
	return 0;
}
