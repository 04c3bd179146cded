#include "lib/core/frame.h"

#include <errno.h>
#include <unistd.h>

static size_t type_cap(unsigned type)
{
	switch (type) {
	case FRAME_MESSAGE:
		return FRAME_MESSAGE_MAX;
	case FRAME_BUNDLE:
		return FRAME_BUNDLE_MAX;
	case FRAME_FILES:
		return FRAME_FILES_MAX;
	case FRAME_RECORD:
		return FRAME_RECORD_MAX;
	case FRAME_JOIN:
		return FRAME_JOIN_MAX;
	default:
		return 0;
	}
}

int frame_encode(struct buf *out, enum frame_type type, const void *data, size_t len)
{
	if (len > type_cap(type) || !buf_reserve(out, len + FRAME_HEADER_SIZE))
		return -1;
	buf_put_u32(out, (uint32_t)len + 1);
	buf_put_u8(out, (uint8_t)type);
	return buf_add(out, data, len);
}

long frame_decode(const uint8_t *data, size_t len, unsigned allowed, struct frame *ret, struct error *err)
{
	if (len < FRAME_HEADER_SIZE)
		return 0;
	struct reader r = READER(data, len);
	size_t size = read_u32(&r);
	unsigned type = read_u8(&r);
	if (type >= 32 || !(allowed & 1u << type))
		return error_set(err, ERROR_PERMANENT, "frame-type: type %u is not allowed here", type);
	if (size == 0)
		return error_set(err, ERROR_PERMANENT, "frame-length: zero");
	if (size - 1 > type_cap(type))
		return error_set(err, ERROR_PERMANENT, "frame-length: %zu bytes of type %u, at most %zu are taken",
			size - 1, type, type_cap(type));
	if (len - 4 < size)
		return 0;
	ret->type = (enum frame_type)type;
	ret->data = data + FRAME_HEADER_SIZE;
	ret->len = size - 1;
	return (long)(size + 4);
}

int frame_send(int fd, enum frame_type type, const void *data, size_t len, struct error *err)
{
	auto_buf struct buf out = BUF_INIT(FRAME_BUNDLE_MAX + FRAME_HEADER_SIZE);
	if (frame_encode(&out, type, data, len) < 0)
		return error_set(err, ERROR_PERMANENT, "a frame of %zu bytes is too long for its type %d", len, type);
	for (size_t sent = 0; sent < out.len;) {
		ssize_t put = write(fd, out.data + sent, out.len - sent);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return error_errno(err, "cannot send a frame");
		sent += (size_t)put;
	}
	return 0;
}

void frame_stream_init(struct frame_stream *s, int fd, unsigned allowed)
{
	*s = (struct frame_stream){.fd = fd, .allowed = allowed, .in = BUF_INIT(FRAME_BUNDLE_MAX + 4096)};
}

void frame_stream_release(struct frame_stream *s)
{
	buf_release(&s->in);
	s->taken = 0;
}

int frame_next(struct frame_stream *s, struct frame *ret, struct error *err)
{
	if (s->taken) {
		buf_consume(&s->in, s->taken);
		s->taken = 0;
	}
	if (!s->in.len)
		return 0;
	long taken = frame_decode(s->in.data, s->in.len, s->allowed, ret, err);
	if (taken < 0)
		return -1;
	s->taken = (size_t)taken;
	return taken > 0;
}

int frame_fill(struct frame_stream *s, struct error *err)
{
	size_t room = s->in.max - s->in.len;
	if (room > 16384)
		room = 16384;
	uint8_t *at = buf_reserve(&s->in, room);
	ssize_t got = read(s->fd, at, room);
	if (got < 0 && (errno == EINTR || errno == EAGAIN))
		return 1;
	if (got < 0 && errno == ECONNRESET)
		got = 0;
	if (got < 0)
		return error_errno(err, "cannot read a frame");
	if (got == 0 && s->in.len > s->taken)
		return error_set(err, ERROR_RETRY, "the stream ended inside a frame");
	buf_added(&s->in, (size_t)got);
	return got > 0;
}

int frame_receive(struct frame_stream *s, struct frame *ret, struct error *err)
{
	for (;;) {
		int found = frame_next(s, ret, err);
		if (found != 0)
			return found;
		int filled = frame_fill(s, err);
		if (filled <= 0)
			return filled;
	}
}
