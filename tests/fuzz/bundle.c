/* A bundle that anybody may have sent; and, behind a first byte 's', one that a pinned hub has sealed and signed. */
#include "lib/crypto/bundle.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/plain_heap.h"

static struct bundle_keys keys = {.signer_count = 1, .seal_private = {1}};
static uint8_t sign_private[SEAL_KEY_SIZE] = {2};

/* The keys are made once, since that takes longer than a bundle that is refused. */
static void make_keys(void)
{
	static bool made;
	struct error err;
	FUZZ_CHECK(made ||
		(seal_public(keys.seal_private, keys.seal_public, &err) == 0 &&
			sign_public(sign_private, keys.signers[0], &err) == 0));
	made = true;
}

/* Header and plaintext are the fuzzer's; recipient, seal and signature are right. */
static void sealed(const uint8_t *data, size_t size, struct buf *out)
{
	struct error err;
	uint8_t signature[SEAL_SIGNATURE_SIZE];
	if (size < BUNDLE_HEADER_SIZE || buf_add(out, data, BUNDLE_HEADER_SIZE) < 0)
		return;
	size_t plain_len = size - BUNDLE_HEADER_SIZE;
	uint32_t sealed_len = (uint32_t)(SEAL_ENC_SIZE + plain_len + SEAL_TAG_SIZE);
	memcpy(out->data, "CSB1\0\1", 6);
	FUZZ_CHECK(sha256(keys.seal_public, SEAL_KEY_SIZE, out->data + 8) == 0);
	for (int i = 0; i < 4; i++)
		out->data[344 + i] = (uint8_t)(sealed_len >> (24 - 8 * i));
	auto_buf struct buf aad = BUF_INIT(BUNDLE_HEADER_SIZE);
	buf_add(&aad, out->data, BUNDLE_HEADER_SIZE);
	FUZZ_CHECK(seal(keys.seal_public, "certsync bundle 1", 17, aad.data, aad.len, data + BUNDLE_HEADER_SIZE,
			   plain_len, out, &err) == 0);
	FUZZ_CHECK(sign(sign_private, out->data, out->len, signature, &err) == 0);
	buf_add(out, signature, sizeof(signature));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err;
	auto_bundle struct bundle b = {0};
	auto_buf struct buf whole = BUF_INIT(BUNDLE_MAX + 4096);
	make_keys();
	if (size > 64 * 1024)
		return 0;
	if (size && data[0] == 's')
		sealed(data + 1, size - 1, &whole);
	else
		buf_add(&whole, data, size);
	if (bundle_open(whole.data, whole.len, &keys, &b, &err) < 0)
		return 0;
	FUZZ_CHECK(b.pair_count >= 1 && b.pair_count <= BUNDLE_PAIRS_MAX && name_is_certificate(b.certificate));
	return 0;
}
