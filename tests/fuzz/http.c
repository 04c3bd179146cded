/* The headers of an ACME server's answer, one a line; and Retry-After. */
#include "hub/worker/http.c"
#include "tests/fuzz/fuzz.h"
#include "lib/core/base64.h"

static void judge(const struct http *h)
{
	const struct http_response *r = h->response;
	FUZZ_CHECK(!r->nonce[0] || base64url_is(r->nonce, HTTP_NONCE_MAX));
	if (url_is_good(r->location))
		FUZZ_CHECK(!strpbrk(r->location, " \r\n\t\"<>"));
	for (size_t i = 0; i < r->alternate_count; i++)
		url_is_good(r->alternate[i]);
	int64_t wait = http_retry_after(h->retry_after, r->date);
	FUZZ_CHECK(wait >= 0 && wait <= HTTP_RETRY_AFTER_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_http_response struct http_response response = {.body = BUF_INIT(HTTP_BODY_MAX)};
	struct http h = {.response = &response};
	auto_free char *text = mem_alloc(size + 1);
	if (size)
		memcpy(text, data, size);
	for (size_t at = 0; at < size;) {
		const char *end = memchr(text + at, '\n', size - at);
		size_t len = end ? (size_t)(end - text) + 1 - at : size - at;
		if (!on_header(text + at, 1, len, &h))
			break;
		at += len;
	}
	on_body(text, 1, size, &h);
	judge(&h);
	return 0;
}
