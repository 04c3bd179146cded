/* agent.conf: a file that is accepted prints itself in a form that is accepted again and says the same. */
#include "agent/common/config.h"
#include "tests/fuzz/fuzz.h"

static struct agent_config *load(const void *data, size_t size, struct buf *printed)
{
	char path[FUZZ_PATH_MAX];
	auto_buf struct buf faults = BUF_INIT(64 * 1024);
	auto_close __attribute__((unused)) int fd = fuzz_file(data, size, path);
	struct agent_config *c = agent_config_load(path, &faults);
	FUZZ_CHECK(c || faults.len);
	if (c)
		agent_config_print(c, printed);
	return c;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_buf struct buf first = BUF_INIT(1024 * 1024), second = BUF_INIT(1024 * 1024);
	struct agent_config *c = load(data, size, &first);
	if (!c)
		return 0;
	struct agent_config *again = load(first.data, first.len, &second);
	FUZZ_CHECK(again && strcmp(buf_text(&first), buf_text(&second)) == 0);
	agent_config_free(c);
	agent_config_free(again);
	return 0;
}
