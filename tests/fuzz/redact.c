/* The output of a hook on its way to whoever reads it: nothing is read beyond its end, lines stay lines, the result
 * fits into the room that is promised, and a key that stands in its own block is gone, whatever stands around it. */
#include "lib/core/buf.h"
#include "lib/core/redact.h"
#include "tests/fuzz/fuzz.h"

static const char key[] =
	"\n-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQguh0YmLe4wqwwcj9T\n"
	"cpUkDNd1RZpzsXD+c46lMuwqfNmhRANCAAQpVgHH6wVQJK813SQgMXJwxkR7VxsT\nsMS0\n-----END PRIVATE KEY-----\n";

static size_t lines(const uint8_t *data, size_t len)
{
	size_t count = 0;
	for (size_t i = 0; i < len; i++)
		count += data[i] == '\n';
	return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* There is no NUL behind the copy, so that the sanitizer sees a read beyond its end. */
	auto_free char *exact = mem_alloc(size ? size : 1);
	auto_free char *around = mem_alloc(2 * size + sizeof(key));
	memcpy(exact, data, size);
	memcpy(around, data, size);
	memcpy(around + size, key, sizeof(key) - 1);
	memcpy(around + size + sizeof(key) - 1, data, size);
	auto_buf struct buf out = BUF_INIT(REDACT_ROOM(size));
	auto_buf struct buf both = BUF_INIT(REDACT_ROOM(2 * size + sizeof(key)));
	redact(exact, size, &out);
	FUZZ_CHECK(lines(out.data, out.len) == lines(data, size));
	redact(around, 2 * size + sizeof(key) - 1, &both);
	FUZZ_CHECK(!memmem(both.data, both.len, "LMuwqfNmhRAN", 12) || memmem(data, size, "LMuwqfNmhRAN", 12));
	FUZZ_CHECK(!memmem(both.data, both.len, "\nsMS0\n", 6) || memmem(data, size, "\nsMS0\n", 6));
	return 0;
}
