/* The line that `certsync-agent join` reads, and a file of pins. */
#include "agent/common/pin.c"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err;
	struct pin pin = {0};
	struct bundle_keys keys = {0};
	auto_buf struct buf file = BUF_INIT(64 * 1024);
	auto_free char *text = mem_strndup((const char *)data, size);
	if (pin_parse(text, &pin, &err) == 0)
		FUZZ_CHECK(pin.signer_count && strlen(pin.url) < PIN_URL_MAX && !strpbrk(pin.url, " \t\r\n"));
	FUZZ_CHECK(!pin.joins || (name_is_agent(pin.agent) && pin.expires > 0));
	if (buf_add(&file, data, size) < 0)
		return 0;
	if (each_line(&file, add_signer, &keys, &err) == 0)
		FUZZ_CHECK(keys.signer_count <= BUNDLE_SIGNERS_MAX);
	return 0;
}
