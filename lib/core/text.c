#include "lib/core/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Returns the length of the valid UTF-8 sequence at p (no overlong form, no surrogate), or 0. */
static size_t utf8_length(const unsigned char *p)
{
	static const struct {
		unsigned char first_low, first_high, second_low, second_high, length;
	} forms[] = {
		{0x01, 0x7f, 0, 0, 1},
		{0xc2, 0xdf, 0x80, 0xbf, 2},
		{0xe0, 0xe0, 0xa0, 0xbf, 3},
		{0xe1, 0xec, 0x80, 0xbf, 3},
		{0xed, 0xed, 0x80, 0x9f, 3},
		{0xee, 0xef, 0x80, 0xbf, 3},
		{0xf0, 0xf0, 0x90, 0xbf, 4},
		{0xf1, 0xf3, 0x80, 0xbf, 4},
		{0xf4, 0xf4, 0x80, 0x8f, 4},
	};
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		if (p[0] < forms[i].first_low || p[0] > forms[i].first_high)
			continue;
		if (forms[i].length > 1 && (p[1] < forms[i].second_low || p[1] > forms[i].second_high))
			return 0;
		for (size_t k = 2; k < forms[i].length; k++)
			if ((p[k] & 0xc0) != 0x80)
				return 0;
		return forms[i].length;
	}
	return 0;
}

static uint32_t code_point(const unsigned char *p, size_t length)
{
	static const unsigned char first_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
	uint32_t code = p[0] & first_bits[length];
	for (size_t i = 1; i < length; i++)
		code = code << 6 | (p[i] & 0x3f);
	return code;
}

/* Returns whether a character cannot be seen, or changes how others are seen. */
static bool is_hidden(uint32_t code)
{
	static const struct {
		uint32_t first, last;
	} ranges[] = {
		{0xad, 0xad},
		{0x34f, 0x34f},
		{0x600, 0x605},
		{0x61c, 0x61c},
		{0x6dd, 0x6dd},
		{0x70f, 0x70f},
		{0x890, 0x891},
		{0x8e2, 0x8e2},
		{0x115f, 0x1160},
		{0x17b4, 0x17b5},
		{0x180b, 0x180f},
		{0x200b, 0x200f},
		{0x2028, 0x202e},
		{0x2060, 0x206f},
		{0x3164, 0x3164},
		{0xfe00, 0xfe0f},
		{0xfeff, 0xfeff},
		{0xffa0, 0xffa0},
		{0xfff0, 0xfffb},
		{0x110bd, 0x110bd},
		{0x110cd, 0x110cd},
		{0x13430, 0x1345f},
		{0x1bca0, 0x1bca3},
		{0x1d173, 0x1d17a},
		{0xe0000, 0xe0fff},
	};
	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]) && code >= ranges[i].first; i++)
		if (code <= ranges[i].last)
			return true;
	return false;
}

/* Returns the length of the character at p, and in *ret_fault what is wrong with it, if anything. */
static size_t look(const unsigned char *p, int lines, const char **ret_fault)
{
	size_t length = utf8_length(p);
	uint32_t code = length ? code_point(p, length) : 0;
	*ret_fault = NULL;
	if (!length)
		*ret_fault = "bytes that are not UTF-8";
	else if ((code < 0x20 && !(lines && (code == '\n' || code == '\t'))) || (code >= 0x7f && code < 0xa0))
		*ret_fault = "a control character";
	else if (is_hidden(code))
		*ret_fault = "a character that cannot be seen or reorders others";
	return length ? length : 1;
}

const char *text_fault(const char *text, int lines)
{
	const char *fault;
	for (const unsigned char *p = (const unsigned char *)text; *p;) {
		p += look(p, lines, &fault);
		if (fault)
			return fault;
	}
	return NULL;
}

void text_clean(char *text, int lines)
{
	const char *fault;
	for (unsigned char *p = (unsigned char *)text; *p;) {
		size_t length = look(p, lines, &fault);
		for (size_t i = 0; fault && i < length; i++)
			p[i] = *p == '\n' || *p == '\t' || *p == '\r' ? ' ' : '?';
		p += length;
	}
}
