/* The one frame that a joining node sends, the hub's answer to it, the hub's list of host keys, and the hub's record of
 * a line. */
#include "hub/daemon/agents/join_line.c"
#include "lib/crypto/host_pins.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/plain_heap.h"

static void try_request(const uint8_t *data, size_t size)
{
	struct error err;
	struct join_request r;
	uint8_t key[JOIN_MAC_SIZE] = {0}, line[JOIN_DIGEST_SIZE] = {0};
	auto_buf struct buf out = BUF_INIT(64 * 1024);
	FUZZ_CHECK(!join_request_is_authentic(data, size, key, line));
	if (join_request_decode(data, size, &r, &err) < 0)
		return;
	FUZZ_CHECK(name_is_agent(r.agent));
	FUZZ_CHECK(join_request_encode(&r, key, line, &out, &err) == 0 && out.len == size);
	FUZZ_CHECK(memcmp(out.data, data, size - JOIN_MAC_SIZE) == 0);
}

static void try_answer(const uint8_t *data, size_t size)
{
	struct error err;
	auto_join_answer struct join_answer a = {0};
	uint8_t key[JOIN_MAC_SIZE] = {0}, line[JOIN_DIGEST_SIZE] = {0};
	FUZZ_CHECK(!join_answer_is_authentic(data, size, key, line, data, size));
	if (join_answer_decode(data, size, &a, &err) < 0)
		return;
	for (size_t i = 0; i < a.certificate_count; i++)
		FUZZ_CHECK(
			name_is_certificate(a.certificates[i].name) && a.certificates[i].name_count <= JOIN_NAMES_MAX);
}

static void try_record(const uint8_t *data, size_t size)
{
	struct error err;
	auto_join_line struct join_line t = {0}, again = {0};
	auto_buf struct buf record = BUF_INIT(64 * 1024), out = BUF_INIT(TICKET_RECORD_MAX);
	if (buf_add(&record, data, size) < 0 || record_decode(&record, &t, &err) < 0)
		return;
	FUZZ_CHECK(hub_key_is_valid(t.login) && record_encode(&t, &out) == 0 && record_decode(&out, &again, &err) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err;
	struct host_pins pins;
	struct bundle_keys keys = {.signer_count = 1};
	try_request(data, size);
	try_answer(data, size);
	try_record(data, size);
	FUZZ_CHECK(host_pins_open(data, size, &keys, &pins, &err) < 0);
	return 0;
}
