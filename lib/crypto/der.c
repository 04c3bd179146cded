#include "lib/crypto/der.h"
#include "lib/core/mem.h"

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
