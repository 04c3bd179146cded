#include "hub/worker/mail.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { MAIL_COLUMNS = 76, MAIL_LINE_MAX = 900 };

/* Returns a header's value as one line of printable ASCII. */
static char *header_text(const char *text)
{
	char *copy = mem_strdup(text);
	for (char *at = copy; *at; at++)
		if (*at < ' ' || *at > '~')
			*at = '?';
	return copy;
}

static int put_headers(const struct alert_mail *m, bool quoted, struct buf *out)
{
	static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char *const months[] = {
		"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	struct tm tm;
	time_t now = (time_t)m->now;
	auto_free char *subject = header_text(m->subject), *from = header_text(m->from), *to = header_text(m->to);
	gmtime_r(&now, &tm);
	return buf_addf(out,
		"Date: %s, %d %s %d %02d:%02d:%02d +0000\r\nFrom: certsync <%s>\r\nTo: <%s>\r\nSubject: "
		"%s\r\nMessage-ID: <%s@%s>\r\n"
		"Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; "
		"charset=utf-8\r\n"
		"Content-Transfer-Encoding: %s\r\n\r\n",
		days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon], 1900 + tm.tm_year, tm.tm_hour, tm.tm_min, tm.tm_sec,
		from, to, subject, m->id, m->host, quoted ? "quoted-printable" : "7bit");
}

static bool needs_quoting(const char *text)
{
	size_t word = 0;
	for (; *text; text++) {
		word = *text == ' ' || *text == '\n' ? 0 : word + 1;
		if ((unsigned char)*text > '~' || word > MAIL_LINE_MAX)
			return true;
	}
	return false;
}

/* Puts one line of text, `len` bytes long, broken between words; what is broken off is indented as the line was. */
static int put_wrapped(const char *line, size_t len, struct buf *out)
{
	size_t indent = strspn(line, " ");
	indent = indent < len && indent < 8 ? indent : 0;
	while (len > MAIL_COLUMNS) { /* the blank at the cut goes */
		size_t cut = MAIL_COLUMNS;
		while (cut > indent && line[cut] != ' ')
			cut--;
		if (cut <= indent) { /* a word that is longer than a line */
			cut = MAIL_COLUMNS;
			while (cut < len && line[cut] != ' ')
				cut++;
		}
		if (cut == len)
			break;
		if (buf_add(out, line, cut) < 0 || buf_addf(out, "\n%*s", (int)indent, "") < 0)
			return -1;
		line += cut + 1;
		len -= cut + 1;
	}
	return buf_add(out, line, len) < 0 || buf_add(out, "\n", 1) < 0 ? -1 : 0;
}

static int wrap(const char *text, struct buf *out)
{
	while (*text) {
		size_t len = strcspn(text, "\n");
		if (put_wrapped(text, len, out) < 0)
			return -1;
		text += len + (text[len] == '\n');
	}
	return 0;
}

static int put_quoted(const char *text, struct buf *out)
{
	size_t column = 0;
	for (; *text; text++) {
		unsigned char byte = (unsigned char)*text;
		if (byte == '\n') {
			column = 0;
			if (buf_add(out, "\r\n", 2) < 0)
				return -1;
			continue;
		}
		bool plain =
			byte >= ' ' && byte <= '~' && byte != '=' && !(byte == ' ' && (text[1] == '\n' || !text[1]));
		if (column + 3 > MAIL_COLUMNS - 1) {
			column = 0;
			if (buf_add(out, "=\r\n", 3) < 0)
				return -1;
		}
		column += plain ? 1 : 3;
		if (buf_addf(out, plain ? "%c" : "=%02X", byte) < 0)
			return -1;
	}
	return 0;
}

static int put_plain(const char *text, struct buf *out)
{
	for (; *text; text++)
		if (*text == '\n' ? buf_add(out, "\r\n", 2) < 0 : buf_add(out, text, 1) < 0)
			return -1;
	return 0;
}

int alert_mail_print(const struct alert_mail *m, struct buf *out)
{
	auto_buf struct buf text = BUF_INIT(out->max);
	bool quoted = needs_quoting(m->text);
	if (put_headers(m, quoted, out) < 0 || wrap(m->text, &text) < 0)
		return -1;
	return quoted ? put_quoted(buf_text(&text), out) : put_plain(buf_text(&text), out);
}
