/* Frames over a byte stream (man/certsync-protocol.7): a 4-byte big-endian length, which counts the type, a 1-byte
 * type, and the payload. The length is checked against a cap before anything is allocated.
 */
#ifndef CERTSYNC_LIB_CORE_FRAME_H
#define CERTSYNC_LIB_CORE_FRAME_H

#include "lib/core/buf.h"
#include "lib/core/error.h"

enum frame_type {
	FRAME_MESSAGE = 1, /* JSON text, up to 64 KiB */
	FRAME_BUNDLE = 2,  /* lib/crypto/bundle.h, up to 256 KiB */
	/* The next two never cross a network: */
	FRAME_FILES = 3,  /* lib/core/files.h: bytes of named files, between daemon and root half, worker or operator */
	FRAME_RECORD = 4, /* fixed binary requests and replies of the root halves */
	/* A node that joins (lib/crypto/join.h) sends one such frame and receives one; nobody else uses the type. */
	FRAME_JOIN = 5,
};

enum {
	FRAME_HEADER_SIZE = 5,
	FRAME_MESSAGE_MAX = 64 * 1024,
	FRAME_BUNDLE_MAX = 256 * 1024,
	FRAME_FILES_MAX = 256 * 1024,
	FRAME_RECORD_MAX = 64 * 1024,
	FRAME_JOIN_MAX = 64 * 1024,
};

/* A stream states what it may carry as a set of 1 << FRAME_…. A network peer gets FRAMES_NETWORK. */
#define FRAMES_NETWORK (1u << FRAME_MESSAGE | 1u << FRAME_BUNDLE)
#define FRAMES_LOCAL (1u << FRAME_MESSAGE | 1u << FRAME_FILES)
#define FRAMES_ROOT (1u << FRAME_RECORD | 1u << FRAME_BUNDLE | 1u << FRAME_FILES)

struct frame {
	enum frame_type type;
	const uint8_t *data; /* borrowed from the bytes it was decoded from */
	size_t len;
};

/* Appends one frame. Returns -1 when the payload exceeds its type's cap or the buffer is full. */
int frame_encode(struct buf *out, enum frame_type type, const void *data, size_t len);

/* Looks for one frame at the front of `len` bytes. Returns how many bytes it takes, 0 when more are needed, or -1 with
 * the reason: the type is unknown or not allowed, the length is zero or over the cap. */
long frame_decode(const uint8_t *data, size_t len, unsigned allowed, struct frame *ret, struct error *err);

/* These forms block and are for programs without an event loop. frame_receive reads into `in`, which belongs to the
 * stream and must be kept from call to call. It returns 1 with a frame (borrowed from `in` until the next call), 0 at
 * the end of the stream between two frames, or -1 on an error. */
int frame_send(int fd, enum frame_type type, const void *data, size_t len, struct error *err);

struct frame_stream {
	int fd; /* borrowed */
	unsigned allowed;
	struct buf in;
	size_t taken; /* bytes at the front of `in` that belong to the frame returned last */
};

void frame_stream_init(struct frame_stream *s, int fd, unsigned allowed);
void frame_stream_release(struct frame_stream *s);
int frame_receive(struct frame_stream *s, struct frame *ret, struct error *err);
/* Takes a whole frame that has arrived already, without reading; it is for poll loops. Returns 1 with a frame, 0 when
 * there is none, or -1. */
int frame_next(struct frame_stream *s, struct frame *ret, struct error *err);
/* Reads once what is there; the descriptor may be non-blocking. Returns 1 when it read something or would block, 0 at
 * the end of the stream, -1 on an error. */
int frame_fill(struct frame_stream *s, struct error *err);

#endif
