#include "lib/core/buf.h"
#include "lib/core/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_release(struct buf *b)
{
	if (b->data)
		explicit_bzero(b->data, b->cap);
	free(b->data);
	b->data = NULL;
	b->len = b->cap = 0;
}

void buf_reset(struct buf *b)
{
	if (b->data)
		explicit_bzero(b->data, b->len);
	b->len = 0;
}

uint8_t *buf_reserve(struct buf *b, size_t len)
{
	if (len > b->max || b->len > b->max - len)
		return NULL;
	size_t needed = b->len + len + 1; /* one for buf_text's NUL */
	if (needed > b->cap) {
		/* realloc would leave an unwiped copy behind. */
		size_t cap = b->cap ? b->cap : 64;
		while (cap < needed)
			cap *= 2;
		uint8_t *data = mem_alloc(cap);
		if (b->len)
			memcpy(data, b->data, b->len);
		size_t kept = b->len;
		buf_release(b);
		b->data = data;
		b->len = kept;
		b->cap = cap;
	}
	return b->data + b->len;
}

void buf_added(struct buf *b, size_t len)
{
	b->len += len;
}

int buf_add(struct buf *b, const void *data, size_t len)
{
	uint8_t *room = buf_reserve(b, len);
	if (!room)
		return -1;
	if (len)
		memcpy(room, data, len);
	b->len += len;
	return 0;
}

int buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	int len = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	if (len < 0)
		return -1;
	char *room = (char *)buf_reserve(b, (size_t)len);
	if (!room)
		return -1;
	va_start(args, fmt);
	vsnprintf(room, (size_t)len + 1, fmt, args);
	va_end(args);
	b->len += (size_t)len;
	return 0;
}

static int put_big_endian(struct buf *b, uint64_t value, size_t size)
{
	uint8_t bytes[8] = {0};
	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)(value >> (8 * (size - 1 - i)));
	return buf_add(b, bytes, size);
}

int buf_put_u8(struct buf *b, uint8_t value)
{
	return put_big_endian(b, value, 1);
}

int buf_put_u16(struct buf *b, uint16_t value)
{
	return put_big_endian(b, value, 2);
}

int buf_put_u32(struct buf *b, uint32_t value)
{
	return put_big_endian(b, value, 4);
}

int buf_put_u64(struct buf *b, uint64_t value)
{
	return put_big_endian(b, value, 8);
}

int buf_put_bytes(struct buf *b, const void *data, size_t len)
{
	if (len > UINT32_MAX || !buf_reserve(b, len + 4))
		return -1;
	buf_put_u32(b, (uint32_t)len);
	return buf_add(b, data, len);
}

int buf_put_string(struct buf *b, const char *text)
{
	return buf_put_bytes(b, text, strlen(text));
}

void buf_consume(struct buf *b, size_t len)
{
	memmove(b->data, b->data + len, b->len - len);
	explicit_bzero(b->data + b->len - len, len);
	b->len -= len;
}

const char *buf_text(struct buf *b)
{
	buf_reserve(b, 0);
	b->data[b->len] = '\0';
	return (const char *)b->data;
}

const uint8_t *read_raw(struct reader *r, size_t len)
{
	if (r->failed || len > r->left) {
		r->failed = true;
		return NULL;
	}
	const uint8_t *bytes = r->at;
	r->at += len;
	r->left -= len;
	return bytes;
}

static uint64_t read_big_endian(struct reader *r, size_t size)
{
	const uint8_t *bytes = read_raw(r, size);
	uint64_t value = 0;
	for (size_t i = 0; bytes && i < size; i++)
		value = value << 8 | bytes[i];
	return value;
}

uint8_t read_u8(struct reader *r)
{
	return (uint8_t)read_big_endian(r, 1);
}

uint16_t read_u16(struct reader *r)
{
	return (uint16_t)read_big_endian(r, 2);
}

uint32_t read_u32(struct reader *r)
{
	return (uint32_t)read_big_endian(r, 4);
}

uint64_t read_u64(struct reader *r)
{
	return read_big_endian(r, 8);
}

const uint8_t *read_bytes(struct reader *r, size_t max, size_t *ret_len)
{
	size_t len = read_u32(r);
	if (r->failed || len > max) {
		r->failed = true;
		*ret_len = 0;
		return NULL;
	}
	*ret_len = len;
	return read_raw(r, len);
}

void read_string(struct reader *r, char *text, size_t size)
{
	size_t len;
	const uint8_t *bytes = read_bytes(r, size - 1, &len);
	text[0] = '\0';
	if (!bytes)
		return;
	if (memchr(bytes, '\0', len)) {
		r->failed = true;
		return;
	}
	memcpy(text, bytes, len);
	text[len] = '\0';
}

bool read_done(const struct reader *r)
{
	return !r->failed && r->left == 0;
}
