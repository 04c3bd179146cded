/* HAProxy's answers to the replacement of a certificate, separated by NULs: however it answers, the dialogue ends, and
 * only a whole new certificate is taken for success. */
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

static const uint8_t *reply_at;
static size_t reply_left;

static ssize_t next_piece(void *to, size_t size)
{
	const uint8_t *end = memchr(reply_at, '\0', reply_left);
	size_t len = end ? (size_t)(end - reply_at) : reply_left;
	if (len > size)
		len = size;
	memcpy(to, reply_at, len);
	size_t taken = len + (len == 0 && reply_left != 0);
	reply_at += taken;
	reply_left -= taken;
	return (ssize_t)len;
}

/* These stand in for a socket that takes everything and answers what the fuzzer says. The listener's credentials are
 * all zero, so root listens. */
#define connect(fd, address, len) ((void)(fd), (void)(address), (void)(len), 0)
#define getsockopt(fd, level, name, value, len) ((void)(fd), memset((value), 0, *(len)), 0)
#define send(fd, data, len, flags) ((void)(fd), (ssize_t)(len))
#define recv(fd, to, size, flags) ((void)(fd), next_piece((to), (size)))
#include "hooks/runtime.c"
#undef connect
#undef getsockopt
#undef send
#undef recv
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/pair.h"
#include "tests/fuzz/plain_heap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct chain chain;
	struct error err;
	auto_buf struct buf listing = BUF_INIT(RUNTIME_LISTING_MAX);
	if (!chain.leaf)
		FUZZ_CHECK(
			chain_parse_pem(fuzz_pair, strlen(fuzz_pair), fuzz_pair, strlen(fuzz_pair), &chain, &err) == 0);
	reply_at = data, reply_left = size;
	runtime_files("/nowhere", &listing, &err);
	reply_at = data, reply_left = size;
	if (runtime_replace("/nowhere", "/etc/x.pem", &chain, &err) == 0)
		FUZZ_CHECK(memmem(data, size, "Success!", 8) && memmem(data, size, "SHA1 FingerPrint: ", 18));
	return 0;
}
