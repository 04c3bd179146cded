/* What a server says before TLS and when the connection ends. The first byte has the protocol, whether we are leaving,
 * and the size of the pieces in which the text arrives. */
#include "lib/probe/starttls_end.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct starttls s;
	auto_buf struct buf send = BUF_INIT(STARTTLS_SEND_MAX);
	if (!size)
		return 0;
	enum probe_protocol protocol = (data[0] & 0x0f) % (PROBE_LMTP + 1);
	size_t piece = data[0] & 0x40 ? 1 : 1 + data[0] / 16u % 4 * 100;
	if (data[0] & 0x80)
		starttls_leave(&s, protocol, "mail.domain.pl", true, &send);
	else
		starttls_begin(&s, protocol, "[127.0.0.1]", "mail.domain.pl", &send);
	data++, size--;
	while (size && s.state == STARTTLS_MORE) {
		size_t len = size < piece ? size : piece;
		buf_reset(&send); /* what is to be said is sent at once */
		starttls_feed(&s, data, len, &send);
		data += len, size -= len;
	}
	FUZZ_CHECK(s.state != STARTTLS_REFUSED || s.reason.message[0]);
	FUZZ_CHECK(starttls_where(&s));
	if (s.state == STARTTLS_MORE)
		FUZZ_CHECK(starttls_closed(&s) != STARTTLS_MORE);
	return 0;
}
