#include "lib/crypto/der.h"
#include "lib/core/mem.h"

#include <string.h>

int der_next(const uint8_t **at, size_t *left, const uint8_t **content, size_t *len)
{
	if (*left < 2)
		return -1;
	const uint8_t *in = *at;
	size_t head = 2, octets = in[1] & 0x80 ? in[1] & 0x7f : 0;
	*len = in[1];
	if (in[1] & 0x80) {
		if (octets < 1 || octets > 3 || *left < 2 + octets)
			return -1;
		*len = 0;
		for (size_t i = 0; i < octets; i++)
			*len = *len << 8 | in[2 + i];
		head += octets;
	}
	if (*len > *left - head)
		return -1;
	*content = in + head;
	*at = *content + *len;
	*left -= head + *len;
	return in[0];
}

bool der_is_sequence_of(const void *der, size_t len, const int *tags, size_t count, bool whole)
{
	const uint8_t *at = der, *inside, *ignored;
	size_t left, ignored_len;
	if (der_next(&at, &len, &inside, &left) != DER_SEQUENCE || len)
		return false;
	for (size_t i = 0; i < count; i++)
		if (der_next(&inside, &left, &ignored, &ignored_len) != tags[i])
			return false;
	return !whole || left == 0;
}

bool der_is_certificate(const void *der, size_t len)
{
	static const int tags[] = {DER_SEQUENCE, DER_SEQUENCE, DER_BIT_STRING};
	return der_is_sequence_of(der, len, tags, COUNT(tags), true);
}

bool der_is_certificate_3(const void *der, size_t len)
{
	const uint8_t *at = der, *inside, *to_be_signed, *ignored;
	size_t left = len, inside_len, signed_len, ignored_len;
	return der_is_certificate(der, len) && der_next(&at, &left, &inside, &inside_len) == DER_SEQUENCE &&
		der_next(&inside, &inside_len, &to_be_signed, &signed_len) == DER_SEQUENCE &&
		der_next(&to_be_signed, &signed_len, &ignored, &ignored_len) == DER_CONTEXT;
}

void der_put_encoded(struct der_writer *w, const void *elements, size_t len)
{
	w->failed = w->failed || buf_add(w->out, elements, len) < 0;
}

size_t der_begin(struct der_writer *w, int tag)
{
	const uint8_t first = (uint8_t)tag;
	der_put_encoded(w, &first, 1);
	return w->out->len;
}

/* The length is known now, and what was put behind its place moves on by as many bytes as it takes. */
void der_end(struct der_writer *w, size_t begun)
{
	uint8_t head[5];
	size_t octets = 0, len = w->out->len - begun;
	while (len >> 8 * octets)
		octets++;
	size_t head_len = len < 0x80 ? 1 : 1 + octets;
	head[0] = (uint8_t)(len < 0x80 ? len : 0x80 | octets);
	for (size_t i = 1; i < head_len; i++)
		head[i] = (uint8_t)(len >> 8 * (octets - i));
	if (w->failed || !buf_reserve(w->out, head_len)) {
		w->failed = true;
		return;
	}
	uint8_t *at = w->out->data + begun;
	memmove(at + head_len, at, len);
	memcpy(at, head, head_len);
	buf_added(w->out, head_len);
}

void der_put(struct der_writer *w, int tag, const void *content, size_t len)
{
	size_t begun = der_begin(w, tag);
	der_put_encoded(w, content, len);
	der_end(w, begun);
}

/* An integer is signed, so one whose highest bit is set begins with a byte of zeros. */
void der_put_number(struct der_writer *w, uint32_t value)
{
	const uint8_t bytes[5] = {
		0, (uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};
	size_t skip = 0;
	while (skip < 4 && bytes[skip] == 0 && !(bytes[skip + 1] & 0x80))
		skip++;
	der_put(w, DER_INTEGER, bytes + skip, sizeof(bytes) - skip);
}
