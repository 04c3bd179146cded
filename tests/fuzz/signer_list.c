/* The hub's list of signing keys: the input is the text that a pinned key has signed. */
#include "lib/crypto/signer_list.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static uint8_t private_key[SEAL_KEY_SIZE] = {7};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err;
	struct signer_list list;
	struct bundle_keys keys = {.signer_count = 1};
	auto_buf struct buf body = BUF_INIT(STATEMENT_MAX), signed_list = BUF_INIT(STATEMENT_MAX),
			    again = BUF_INIT(STATEMENT_MAX);
	FUZZ_CHECK(sign_public(private_key, keys.signers[0], &err) == 0);
	FUZZ_CHECK(signer_list_open(data, size, &keys, &list, &err) < 0 || size > SEAL_SIGNATURE_SIZE);
	if (size > STATEMENT_MAX - SEAL_SIGNATURE_SIZE)
		return 0;
	buf_add(&body, data, size);
	FUZZ_CHECK(statement_sign("certsync signing keys 1", &body, private_key, &signed_list, &err) == 0);
	if (signer_list_open(signed_list.data, signed_list.len, &keys, &list, &err) < 0)
		return 0;
	FUZZ_CHECK(list.count && list.count <= BUNDLE_SIGNERS_MAX && list.serial > 0 &&
		signer_list_has(&list, keys.signers[0]));
	FUZZ_CHECK(signer_list_sign(&list, private_key, &again, &err) == 0);
	FUZZ_CHECK(again.len == signed_list.len && memcmp(again.data, signed_list.data, again.len) == 0);
	return 0;
}
