/* A growing byte buffer with a hard cap, and a reader over bytes of a peer.
 *
 * A buf states its maximum when it is born and wipes every byte that it gives back to the allocator, so keys
 * may live in one. Integers are big-endian on the wire.
 */
#ifndef CERTSYNC_LIB_CORE_BUF_H
#define CERTSYNC_LIB_CORE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	uint8_t *data; /* owned; NULL while empty */
	size_t len;
	size_t cap;
	size_t max;
};

#define BUF_INIT(maximum) ((struct buf){.max = (maximum)})
#define auto_buf __attribute__((cleanup(buf_release)))

void buf_release(struct buf *b); /* wipes and frees; the buf can be used again, with the same maximum */
void buf_reset(struct buf *b);   /* wipes the contents and keeps the memory */

/* Each returns 0, or -1 when the result would be longer than the maximum; then nothing was added. */
int buf_add(struct buf *b, const void *data, size_t len);
int buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int buf_put_u8(struct buf *b, uint8_t value);
int buf_put_u16(struct buf *b, uint16_t value);
int buf_put_u32(struct buf *b, uint32_t value);
int buf_put_u64(struct buf *b, uint64_t value);
int buf_put_bytes(struct buf *b, const void *data, size_t len); /* u32 length, then the bytes */
int buf_put_string(struct buf *b, const char *text);            /* the same, without the NUL */

/* Makes room for `len` more bytes and returns data + len, or NULL when that exceeds the maximum. buf_added() then
 * counts what was written there. */
uint8_t *buf_reserve(struct buf *b, size_t len);
void buf_added(struct buf *b, size_t len);
/* Drops and wipes `len` bytes at the front; len is at most b->len. */
void buf_consume(struct buf *b, size_t len);
/* Returns the contents as a C string, since a NUL is kept behind them. The string is valid until the next change and
 * never NULL; the maximum does not count the NUL. */
const char *buf_text(struct buf *b);

/* A reader reads what buf_put_… wrote. After the first failure every call fails and `failed` stays true, so a decoder
 * checks once, at its end. Pointers that it returns point into the bytes that are read. */
struct reader {
	const uint8_t *at;
	size_t left;
	bool failed;
};

#define READER(bytes, length) ((struct reader){.at = (bytes), .left = (length)})

uint8_t read_u8(struct reader *r);
uint16_t read_u16(struct reader *r);
uint32_t read_u32(struct reader *r);
uint64_t read_u64(struct reader *r);
const uint8_t *read_raw(struct reader *r, size_t len);
const uint8_t *read_bytes(struct reader *r, size_t max, size_t *ret_len); /* fails above max */
/* Copies a string into `text` with its NUL; it fails when the string needs more than `size` bytes or contains a NUL. */
void read_string(struct reader *r, char *text, size_t size);
/* Returns true when nothing failed and nothing is left. A strict decoder ends with it. */
bool read_done(const struct reader *r);

#endif
