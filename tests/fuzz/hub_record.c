/* The records between the hub's daemon and its root half: requests when the first byte is 'q', else answers. */
#include "hub/common/root_request.h"
#include "hub/root/authorized_keys.h"
#include "lib/core/frame.h"
#include "tests/fuzz/fuzz.h"

static void same(const uint8_t *data, size_t size, int encoded, const struct buf *again)
{
	FUZZ_CHECK(encoded == 0 && again->len == size && memcmp(again->data, data, size) == 0);
}

/* Each key must become one line and no more. */
static void render(const struct hub_request *r)
{
	struct error err;
	size_t lines = 0, wanted = 0;
	auto_buf struct buf out = BUF_INIT(AUTHORIZED_KEYS_MAX);
	if (authorized_keys_render("", r->keys, r->key_count, &out, &err) < 0)
		return;
	for (const char *at = strchr(buf_text(&out), '\n'); at; at = strchr(at + 1, '\n'))
		lines++;
	for (size_t i = 0; i < r->key_count; i++)
		wanted += !hub_key_is_kept(r->keys[i].use); /* nothing is there that could be kept */
	FUZZ_CHECK(lines == wanted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err;
	struct hub_request request = {0};
	struct hub_reply reply = {0};
	auto_buf struct buf again = BUF_INIT(FRAME_RECORD_MAX);
	if (size < 1 || size > FRAME_RECORD_MAX)
		return 0;
	if (data[0] == 'q' && hub_request_decode(data + 1, size - 1, &request, &err) == 0) {
		same(data + 1, size - 1, hub_request_encode(&request, &again), &again);
		render(&request);
		hub_request_release(&request);
	}
	if (data[0] != 'q' && hub_reply_decode(data + 1, size - 1, &reply, &err) == 0)
		same(data + 1, size - 1, hub_reply_encode(&reply, &again), &again);
	return 0;
}
