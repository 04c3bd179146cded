#include "lib/core/redact.h"
#include "lib/core/mem.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
	RUN_MIN = 40,       /* base64 that is no word any more */
	PADDED_MIN = 16,    /* the same, ending in a full group with = */
	NARROW_MIN = 12,    /* of one line of several */
	DIGEST_DIGITS = 64, /* SHA-256 in hex, and a private key of 32 bytes */
	DIGEST_BYTES = 32,
	BYTES_MIN = 15,  /* what `openssl -text` prints in a line */
	NAME_REACH = 40, /* how far before a digest its name may stand */
	MISSES_MAX = 8,  /* lines of another kind between two quoted ones */
};

static const char base64_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

struct page {
	const char *text;
	size_t len;
	bool *hide; /* one for each byte */
};

/* What a run of characters consists of. */
struct run {
	size_t bytes; /* in the text, escapes and padding included */
	size_t count; /* characters that carry something */
	size_t upper, lower, digits, hex, slashes, padding;
};

/* A line in which something was hidden, and what stood before that. */
struct anchor {
	size_t start, prefix;
	bool set, armour;
	int misses;
};

static bool is_one_of(char c, const char *alphabet)
{
	return c && strchr(alphabet, c);
}

static void hide(struct page *p, size_t from, size_t to)
{
	memset(p->hide + from, 1, (to - from) * sizeof(*p->hide));
}

static size_t line_end(const struct page *p, size_t at)
{
	const char *end = memchr(p->text + at, '\n', p->len - at);
	return end ? (size_t)(end - p->text) : p->len;
}

/* Returns the position of `word` in a stretch, whatever its case, or `to`. */
static size_t find(const struct page *p, size_t from, size_t to, const char *word)
{
	size_t len = strlen(word);
	for (size_t i = from; i + len <= to; i++)
		if (strncasecmp(p->text + i, word, len) == 0)
			return i;
	return to;
}

/* ---- runs of one alphabet ---- */

static void count(struct run *r, char c)
{
	r->count++;
	r->upper += isupper((unsigned char)c) != 0;
	r->lower += islower((unsigned char)c) != 0;
	r->digits += isdigit((unsigned char)c) != 0;
	r->hex += isxdigit((unsigned char)c) != 0;
	r->slashes += c == '/';
}

/* Returns the length of what JSON and C write for a line's end or a slash here (\n, \r, \\n, \/). */
static size_t escape_at(const struct page *p, size_t at)
{
	size_t i = at;
	while (i < p->len && p->text[i] == '\\')
		i++;
	return i > at && i < p->len && is_one_of(p->text[i], "nr/") ? i + 1 - at : 0;
}

static struct run base64_at(const struct page *p, size_t at)
{
	struct run r = {0};
	size_t i = at;
	while (i < p->len) {
		size_t escape = escape_at(p, i);
		if (!escape && !is_one_of(p->text[i], base64_alphabet))
			break;
		if (!escape)
			count(&r, p->text[i]);
		i += escape ? escape : 1;
	}
	while (r.padding < 2 && i < p->len && p->text[i] == '=') {
		r.padding++;
		i++;
	}
	r.bytes = i - at;
	return r;
}

/* Returns a run in the alphabet of URLs. Names are written in that, too, so it must look random to count. */
static struct run token_at(const struct page *p, size_t at)
{
	struct run r = {0};
	for (size_t i = at; i < p->len && (isalnum((unsigned char)p->text[i]) || is_one_of(p->text[i], "-_")); i++)
		count(&r, p->text[i]);
	r.bytes = r.count;
	return r;
}

static bool names_digest(const struct page *p, size_t at)
{
	static const char *const names[] = {"sha", "fingerprint", "digest", "serial"};
	size_t from = at > NAME_REACH ? at - NAME_REACH : 0;
	for (size_t i = at; i > from; i--)
		if (p->text[i - 1] == '\n')
			from = i;
	for (size_t i = 0; i < COUNT(names); i++)
		if (find(p, from, at, names[i]) < at)
			return true;
	return false;
}

/* OpenSSH prints public digests in this form. */
static bool is_ssh_digest(const struct page *p, size_t at, const struct run *r)
{
	return r->count == 43 && at >= 7 && strncasecmp(p->text + at - 7, "SHA256:", 7) == 0;
}

static bool is_secret_base64(const struct page *p, size_t at, const struct run *r)
{
	if (r->hex == r->count && !r->padding)
		return r->count >= DIGEST_DIGITS && !(r->count == DIGEST_DIGITS && names_digest(p, at));
	if (r->count >= PADDED_MIN && r->padding && (r->count + r->padding) % 4 == 0 && r->upper &&
		r->lower + r->digits)
		return true;
	if (r->count < RUN_MIN || is_ssh_digest(p, at, r))
		return false;
	return !r->slashes || (r->upper >= 3 && r->lower >= 3);
}

/* ---- bytes in hex ---- */

static size_t hex_digits(const struct page *p, size_t at)
{
	size_t i = at;
	while (i < p->len && isxdigit((unsigned char)p->text[i]))
		i++;
	return i - at;
}

/* Measures groups of two or four hex digits with a colon or blanks between. Returns their length in the text. */
static size_t bytes_at(const struct page *p, size_t at, size_t *ret_bytes, char *ret_between)
{
	size_t digits = hex_digits(p, at), end = at + digits;
	*ret_bytes = digits / 2;
	*ret_between = end < p->len ? p->text[end] : '\0';
	if ((digits != 2 && digits != 4) || !is_one_of(*ret_between, ": "))
		return digits;
	for (;;) {
		size_t next = end;
		while (next < p->len && p->text[next] == *ret_between && next < end + 2)
			next++;
		if (next == end || hex_digits(p, next) != digits)
			return end - at;
		end = next + digits;
		*ret_bytes += digits / 2;
	}
}

/* Returns the length of what has been judged, or 0 when these are not bytes in hex. */
static size_t hide_bytes(struct page *p, size_t at)
{
	size_t bytes;
	char between;
	size_t len = bytes_at(p, at, &bytes, &between);
	if (bytes < BYTES_MIN || len == 2 * bytes)
		return 0;
	if (between == ' ') /* a dump, which has the characters behind */
		len = line_end(p, at) - at;
	else if (bytes <= DIGEST_BYTES && names_digest(p, at))
		return len;
	hide(p, at, at + len);
	return len;
}

/* ---- secrets by name ---- */

static void hide_value(struct page *p, size_t at, size_t end)
{
	static const char *const harmless[] = {"yes", "no", "true", "false", "none"};
	size_t to = at;
	while (to < end && !p->hide[to] && !is_one_of(p->text[to], " \t\"',;&)"))
		to++;
	/* A value that is a path only says where a secret is. */
	if (p->text[at] == '/' && find(p, at + 1, to, "/") < to)
		return;
	for (size_t i = 0; i < COUNT(harmless); i++)
		if (to - at == strlen(harmless[i]) && strncasecmp(p->text + at, harmless[i], to - at) == 0)
			return;
	hide(p, at, to);
}

static void hide_named(struct page *p, size_t at, size_t end)
{
	static const char *const names[] = {"password", "passwd", "passphrase", "secret", "token", "apikey", "api_key",
		"api-key", "private_key", "privatekey", "bearer"};
	for (size_t i = 0; i < COUNT(names); i++) {
		size_t to = at + strlen(names[i]);
		if (to > end || strncasecmp(p->text + at, names[i], strlen(names[i])) != 0)
			continue;
		for (size_t most = to + 16; to < end && to < most; to++)
			if (!isalnum((unsigned char)p->text[to]) && !is_one_of(p->text[to], "_-"))
				break;
		size_t value = to;
		if (to >= 4 && strncasecmp(p->text + to - 4, "file", 4) == 0)
			continue; /* password_file: where it is, not what */
		bool told = false;
		for (; value < end && is_one_of(p->text[value], " \t\"':=\\"); value++)
			told = told || p->text[value] != ' ';
		bool scheme = strncasecmp(p->text + at, "bearer", 6) == 0;
		if (value > to && (told || scheme))
			hide_value(p, value, end);
	}
}

/* Hides the value of HTTP's header Authorization, whatever scheme it names. */
static void hide_authorization(struct page *p, size_t at, size_t end)
{
	static const char name[] = "authorization:";
	size_t value = at + strlen(name);
	if (value > end || strncasecmp(p->text + at, name, strlen(name)) != 0)
		return;
	while (value < end && p->text[value] == ' ')
		value++;
	size_t to = value;
	while (to < end && !p->hide[to] && !is_one_of(p->text[to], "\"'"))
		to++;
	hide(p, value, to);
}

static void hide_login(struct page *p, size_t at, size_t end)
{
	size_t host = at + 3, colon = 0;
	if (at + 3 > end || strncmp(p->text + at, "://", 3) != 0)
		return;
	for (; host < end && !is_one_of(p->text[host], "/ \t\"'@"); host++)
		if (p->text[host] == ':' && !colon)
			colon = host + 1;
	if (host < end && p->text[host] == '@' && colon)
		hide(p, colon, host);
}

/* ---- line by line ---- */

static void hide_token(struct page *p, size_t at)
{
	struct run r = token_at(p, at);
	if (r.count >= RUN_MIN && r.upper >= 2 && r.lower >= 2 && r.digits >= 2 && !is_ssh_digest(p, at, &r))
		hide(p, at, at + r.bytes);
}

/* Returns whether the run is the last line of a key whose lines stand on one line, with blanks between. */
static bool ends_key(const struct page *p, size_t at, size_t end, const struct run *r)
{
	return at && p->text[at - 1] == ' ' && (at + r->bytes == end || p->text[at + r->bytes] == ' ') &&
		(r->upper + r->digits >= 2 || r->padding);
}

/* Judges each run on its own. */
static void hide_runs(struct page *p, size_t start, size_t end)
{
	size_t judged = start; /* up to where base64 and bytes have been */
	size_t key = end;      /* where the last key on this line ends */
	for (size_t at = start; at < end; at++) {
		bool begins =
			at == start || !(isalnum((unsigned char)p->text[at - 1]) || is_one_of(p->text[at - 1], "-_"));
		hide_named(p, at, end);
		hide_authorization(p, at, end);
		hide_login(p, at, end);
		if (begins)
			hide_token(p, at);
		if (at < judged)
			continue;
		size_t bytes = begins && isxdigit((unsigned char)p->text[at]) ? hide_bytes(p, at) : 0;
		struct run r = {.bytes = bytes};
		if (!bytes)
			r = base64_at(p, at);
		if (r.count && (is_secret_base64(p, at, &r) || (at == key + 1 && ends_key(p, at, end, &r)))) {
			hide(p, at, at + r.bytes);
			key = at + r.bytes;
		}
		judged = at + r.bytes;
	}
}

/* Looks for the prefix of `a` at the front of line `b`, without regard to numbers and blanks. Returns where it ends
 * there, or SIZE_MAX. */
static size_t same_prefix(const struct page *p, const struct anchor *a, size_t b, size_t end)
{
	size_t i = a->start, to = a->start + a->prefix, k = b;
	while (i < to) {
		int (*kind)(int) = isdigit((unsigned char)p->text[i]) ? isdigit
			: isspace((unsigned char)p->text[i])          ? isblank
								      : NULL;
		if (kind) {
			if (k == end || !kind((unsigned char)p->text[k]))
				return SIZE_MAX;
			while (i < to && kind((unsigned char)p->text[i]))
				i++;
			while (k < end && kind((unsigned char)p->text[k]))
				k++;
		} else if (k < end && p->text[i] == p->text[k]) {
			i++;
			k++;
		} else {
			return SIZE_MAX;
		}
	}
	return k;
}

static bool has_words(const struct page *p, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		if (isalnum((unsigned char)p->text[i]))
			return true;
	return false;
}

/* Hides the rest of a key in the line under it, however short. Returns false when the line is of another kind. */
static bool hide_rest(struct page *p, const struct anchor *a, size_t start, size_t end)
{
	size_t at = same_prefix(p, a, start, end);
	if (at == SIZE_MAX)
		return false;
	struct run r = base64_at(p, at);
	size_t to = at + r.bytes;
	while (to < end && (isxdigit((unsigned char)p->text[to]) || p->text[to] == ':'))
		to++;
	/* Where nothing stands before the key, the rest must be all that the line has. */
	bool bare = !has_words(p, a->start, a->start + a->prefix);
	if (!r.count || to > end || (bare && has_words(p, to, end)))
		return false;
	hide(p, at, to);
	return true;
}

static size_t first_hidden(const struct page *p, size_t start, size_t end)
{
	while (start < end && !p->hide[start])
		start++;
	return start;
}

/* Hides from -----BEGIN to -----END, or to the end of the line. Returns true when a block begins here; `a` says whether
 * it goes on in the next line. */
static bool hide_armour(struct page *p, size_t start, size_t end, struct anchor *a)
{
	size_t begin = find(p, start, end, "-----BEGIN");
	size_t body = begin < end ? find(p, begin + 5, end, "-----") + 5 : end;
	size_t stop = body < end ? find(p, body, end, "-----END") : end;
	if (body < stop && has_words(p, body, stop))
		hide(p, body, stop);
	if (begin < end && stop == end)
		*a = (struct anchor){.start = start, .prefix = begin - start, .set = true, .armour = true};
	return begin < end;
}

static void hide_lines(struct page *p)
{
	struct anchor a = {0};
	for (size_t start = 0, end; start < p->len; start = end + 1) {
		end = line_end(p, start);
		size_t hidden = first_hidden(p, start, end);
		bool narrow = a.set && hidden == end && hide_rest(p, &a, start, end);
		if (hide_armour(p, start, end, &a))
			continue;
		bool ended = a.armour && find(p, start, end, "-----END") < end;
		int most = a.armour || has_words(p, a.start, a.start + a.prefix) ? MISSES_MAX : 0;
		if (hidden < end && !ended)
			a = (struct anchor){
				.start = start, .prefix = hidden - start, .set = true, .armour = a.set && a.armour};
		else if (narrow && !ended)
			a.misses = 0;
		else if (ended || ++a.misses > most)
			a = (struct anchor){0};
	}
}

/* ---- several lines that are a key together ---- */

/* Returns the longest base64 run of a line. */
static struct run longest(const struct page *p, size_t start, size_t end, size_t *ret_at)
{
	struct run best = {0};
	for (size_t at = start; at < end; at++) {
		struct run r = base64_at(p, at);
		if (!r.count)
			continue;
		if (r.count > best.count && at + r.bytes <= end) {
			best = r;
			*ret_at = at;
		}
		at += r.bytes - 1;
	}
	return best;
}

static bool looks_random(const struct run *r)
{
	return r->count >= RUN_MIN && r->upper * 5 >= r->count && r->lower * 5 >= r->count &&
		r->digits * 20 >= r->count;
}

static void add(struct run *sum, const struct run *r)
{
	sum->count += r->count;
	sum->upper += r->upper;
	sum->lower += r->lower;
	sum->digits += r->digits;
}

/* Hides the lines if they are a key together. Returns where the next line begins that does not belong to them. */
static size_t hide_narrow(struct page *p, size_t first)
{
	size_t at = 0, end = line_end(p, first);
	struct run r = longest(p, first, end, &at), sum = r;
	if (r.count < NARROW_MIN || r.count >= RUN_MIN) /* those were judged for themselves */
		return end + 1;
	const struct anchor a = {.start = first, .prefix = at - first};
	size_t next = end + 1;
	for (size_t body; next < p->len; next = end + 1) {
		end = line_end(p, next);
		body = same_prefix(p, &a, next, end);
		r.count = 0;
		if (body != SIZE_MAX)
			r = base64_at(p, body);
		if (r.count < NARROW_MIN || r.count >= RUN_MIN)
			break;
		add(&sum, &r);
	}
	for (size_t start = first; looks_random(&sum) && start < next; start = end + 1) {
		end = line_end(p, start);
		at = same_prefix(p, &a, start, end);
		hide(p, at, at + base64_at(p, at).bytes);
	}
	return next;
}

size_t redact(const char *text, size_t len, struct buf *out)
{
	struct page p = {text, len, mem_array(len + 1, sizeof(bool))};
	size_t marks = 0;
	for (size_t at = 0; at < len; at = line_end(&p, at) + 1)
		hide_runs(&p, at, line_end(&p, at));
	for (size_t at = 0; at < len;)
		at = hide_narrow(&p, at);
	hide_lines(&p);
	for (size_t at = 0; at < len;) {
		size_t from = at;
		bool hidden = p.hide[at] && text[at] != '\n';
		while (at < len && (p.hide[at] && text[at] != '\n') == hidden)
			at++;
		if (hidden)
			marks++;
		if (buf_add(out, hidden ? REDACT_MARK : text + from, hidden ? strlen(REDACT_MARK) : at - from) < 0)
			break;
	}
	free(p.hide);
	return marks;
}
