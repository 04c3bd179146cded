#include "lib/probe/starttls.h"
#include "lib/core/mem.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* What one line of the server's means in the present step. */
enum verdict {
	LINE_MORE, /* the answer goes on */
	LINE_DONE, /* the answer is complete and says yes */
	LINE_NO,   /* complete, and says no: leave politely */
	LINE_BYE,  /* the server is leaving by itself */
	LINE_ALIEN /* this is not the protocol */
};

struct language {
	const char *name;
	enum verdict (*judge)(struct starttls *s, const char *line);
	const char *upgrade, *farewell;
};

#define TAG "certsync"

static bool has_prefix(const char *line, const char *prefix)
{
	return strncasecmp(line, prefix, strlen(prefix)) == 0;
}

/* Returns whether the line is `word` and then its end or a blank. */
static bool has_word(const char *line, const char *word)
{
	size_t len = strlen(word);
	return has_prefix(line, word) && (line[len] == '\0' || line[len] == ' ');
}

static int refuse(struct starttls *s, const char *what)
{
	return error_set(&s->reason, ERROR_PERMANENT, "%s", what);
}

static enum verdict judge_smtp(struct starttls *s, const char *line)
{
	if (!isdigit((unsigned char)line[0]) || !isdigit((unsigned char)line[1]) || !isdigit((unsigned char)line[2]) ||
		(line[3] && line[3] != ' ' && line[3] != '-'))
		return LINE_ALIEN;
	if (s->step == STARTTLS_EHLO && line[3] && has_word(line + 4, "STARTTLS"))
		s->offered = true;
	if (line[3] == '-')
		return LINE_MORE;
	if (has_prefix(line, "421"))
		return LINE_BYE;
	if (!has_prefix(line, s->step == STARTTLS_EHLO ? "250" : s->step == STARTTLS_FAREWELL ? "221" : "220"))
		return LINE_NO;
	if (s->step == STARTTLS_EHLO && !s->offered) {
		refuse(s, "SMTP answers, but does not offer STARTTLS");
		return LINE_NO;
	}
	return LINE_DONE;
}

static enum verdict judge_imap(struct starttls *s, const char *line)
{
	if (has_word(line, "* BYE"))
		return s->step == STARTTLS_FAREWELL ? LINE_MORE : LINE_BYE;
	if (s->step == STARTTLS_GREETING) {
		if (has_word(line, "* OK"))
			return LINE_DONE;
		if (!has_word(line, "* PREAUTH"))
			return LINE_ALIEN;
		/* STARTTLS is for the state before authentication (RFC 3501 section 6.2.1). */
		return s->leaving ? LINE_DONE : LINE_NO;
	}
	if (has_prefix(line, "* "))
		return LINE_MORE;
	if (has_word(line, TAG " OK"))
		return LINE_DONE;
	if (has_word(line, TAG " NO") || has_word(line, TAG " BAD"))
		return LINE_NO;
	return LINE_ALIEN;
}

static enum verdict judge_pop3(struct starttls *s, const char *line)
{
	if (has_word(line, "+OK"))
		return LINE_DONE;
	if (has_word(line, "-ERR"))
		return s->step == STARTTLS_GREETING ? LINE_BYE : LINE_NO;
	return LINE_ALIEN;
}

static enum verdict judge_sieve(struct starttls *s, const char *line)
{
	if (line[0] == '"') {
		if (has_word(line, "\"STARTTLS\""))
			s->offered = true;
		return LINE_MORE;
	}
	if (has_word(line, "BYE"))
		return LINE_BYE;
	if (has_word(line, "NO"))
		return LINE_NO;
	if (!has_word(line, "OK"))
		return LINE_ALIEN;
	if (s->step == STARTTLS_GREETING && !s->leaving && !s->offered) {
		refuse(s, "ManageSieve answers, but does not offer STARTTLS");
		return LINE_NO;
	}
	return LINE_DONE;
}

static const struct language languages[] = {
	[PROBE_TLS] = {"TLS", NULL, "", ""},
	[PROBE_SMTP] = {"SMTP", judge_smtp, "STARTTLS\r\n", "QUIT\r\n"},
	[PROBE_IMAP] = {"IMAP", judge_imap, TAG " STARTTLS\r\n", TAG " LOGOUT\r\n"},
	[PROBE_POP3] = {"POP3", judge_pop3, "STLS\r\n", "QUIT\r\n"},
	[PROBE_SIEVE] = {"ManageSieve", judge_sieve, "STARTTLS\r\n", "LOGOUT\r\n"},
	[PROBE_POSTGRES] = {"PostgreSQL", NULL, "", ""},
	[PROBE_MYSQL] = {"MySQL", NULL, "", ""},
};

const char *starttls_protocol_name(enum probe_protocol protocol)
{
	return languages[protocol].name;
}

const char *starttls_where(const struct starttls *s)
{
	switch (s->step) {
	case STARTTLS_GREETING:
		return "waiting for the greeting";
	case STARTTLS_EHLO:
		return "waiting for the answer to EHLO";
	case STARTTLS_UPGRADE:
		return s->protocol == PROBE_POP3        ? "waiting for the answer to STLS"
			: s->protocol == PROBE_POSTGRES ? "waiting for the answer to SSLRequest"
							: "waiting for the answer to STARTTLS";
	case STARTTLS_FAREWELL:
		if (s->protocol == PROBE_MYSQL)
			return "waiting for the answer to the login";
		return s->protocol == PROBE_SMTP || s->protocol == PROBE_POP3 ? "waiting for the answer to QUIT"
									      : "waiting for the answer to LOGOUT";
	case STARTTLS_END:
		break;
	}
	return "at the end of the dialogue";
}

/* A command never outgrows `send`, since STARTTLS_SEND_MAX holds all that one dialogue says. */
static void enter(struct starttls *s, enum starttls_step step, struct buf *send)
{
	const struct language *language = &languages[s->protocol];
	s->step = step;
	s->step_bytes = 0;
	if (step == STARTTLS_EHLO)
		buf_addf(send, "EHLO %s\r\n", s->helo);
	else if (step == STARTTLS_UPGRADE)
		buf_addf(send, "%s", language->upgrade);
	else if (step == STARTTLS_FAREWELL)
		buf_addf(send, "%s", language->farewell);
}

static void finish(struct starttls *s, enum starttls_state state)
{
	s->step = STARTTLS_END;
	s->state = state;
}

static void advance(struct starttls *s, struct buf *send)
{
	switch (s->step) {
	case STARTTLS_GREETING:
		if (s->leaving)
			enter(s, STARTTLS_FAREWELL, send);
		else
			enter(s, s->protocol == PROBE_SMTP ? STARTTLS_EHLO : STARTTLS_UPGRADE, send);
		break;
	case STARTTLS_EHLO:
		enter(s, STARTTLS_UPGRADE, send);
		break;
	case STARTTLS_UPGRADE:
		finish(s, STARTTLS_READY);
		break;
	case STARTTLS_FAREWELL:
	case STARTTLS_END:
		finish(s, s->leaving ? STARTTLS_OVER : STARTTLS_REFUSED);
		break;
	}
}

/* Ends the dialogue for good; the first reason is the one that is told. */
static void give_up(struct starttls *s, const char *what, const char *line)
{
	if (s->reason.kind == ERROR_NONE)
		error_set(&s->reason, ERROR_PERMANENT, "%s %s \"%.200s\" (%s)", starttls_protocol_name(s->protocol),
			what, line, starttls_where(s));
	finish(s, s->leaving ? STARTTLS_OVER : STARTTLS_REFUSED);
}

static void take_line(struct starttls *s, const char *line, struct buf *send)
{
	switch (languages[s->protocol].judge(s, line)) {
	case LINE_MORE:
		break;
	case LINE_DONE:
		advance(s, send);
		break;
	case LINE_NO:
		if (s->reason.kind == ERROR_NONE)
			error_set(&s->reason, ERROR_PERMANENT, "%s refuses: \"%.200s\" (%s)",
				starttls_protocol_name(s->protocol), line, starttls_where(s));
		if (s->step == STARTTLS_FAREWELL)
			advance(s, send);
		else
			enter(s, STARTTLS_FAREWELL, send);
		break;
	case LINE_BYE:
		give_up(s, "says goodbye:", line);
		break;
	case LINE_ALIEN:
		give_up(s, "is not what answers:", line);
		break;
	}
}

/* ---- the databases: packets, not lines; what has come of one is kept in `line` ---- */

enum {
	POSTGRES_SSL_REQUEST = 80877103,
	MYSQL_HEAD = 4, /* 24 bits of length, little-endian, and a number that counts up */
	MYSQL_VERSION = 10,
	MYSQL_ERROR = 0xff,
	MYSQL_CLIENT_SSL = 0x800,
	/* These stand for protocol 4.1, TLS, and authentication by a named plugin. */
	MYSQL_CAPABILITIES = 0x200 | MYSQL_CLIENT_SSL | 0x8000 | 0x80000,
	MYSQL_UTF8 = 33,
};

static void not_this(struct starttls *s)
{
	s->line[s->line_len] = '\0';
	give_up(s, "is not what answers:", s->line);
}

/* Tells the text of an error packet, which need not end with a NUL. */
static void told(struct starttls *s, const char *text, size_t len)
{
	error_set(&s->reason, ERROR_PERMANENT, "%s refuses: \"%.*s\" (%s)", starttls_protocol_name(s->protocol),
		(int)(len < 200 ? len : 200), text, starttls_where(s));
	finish(s, s->leaving ? STARTTLS_OVER : STARTTLS_REFUSED);
}

/* An ErrorResponse is 'E', 32 bits of length, and fields that are a letter and a string with its NUL. Servers older
 * than version 3 of the protocol send 'E' and a string. */
static void postgres_error(struct starttls *s)
{
	static const size_t head = 5;
	if (s->line_len < head)
		return;
	const uint8_t *bytes = (const uint8_t *)s->line;
	size_t len = (size_t)bytes[1] << 24 | (size_t)bytes[2] << 16 | (size_t)bytes[3] << 8 | bytes[4];
	if (len < 4 || len >= sizeof(s->line) - 1) {
		not_this(s);
		return;
	}
	if (s->line_len < 1 + len)
		return;
	s->line[s->line_len] = '\0';
	const char *at = s->line + head, *end = s->line + s->line_len;
	while (at < end && *at && *at != 'M')
		at += strlen(at) + 1;
	if (at < end && *at == 'M')
		told(s, at + 1, strlen(at + 1));
	else
		not_this(s);
}

static void take_postgres(struct starttls *s)
{
	if (s->line[0] == 'S') {
		finish(s, STARTTLS_READY);
	} else if (s->line[0] == 'N') {
		refuse(s, "PostgreSQL answers, but does not offer TLS (ssl = off)");
		finish(s, STARTTLS_REFUSED);
	} else if (s->line[0] == 'E') {
		postgres_error(s);
	} else {
		not_this(s);
	}
}

static void mysql_head(struct buf *send, uint32_t len, uint8_t number)
{
	const uint8_t head[MYSQL_HEAD] = {len & 0xff, len >> 8 & 0xff, len >> 16 & 0xff, number};
	buf_add(send, head, sizeof(head));
}

/* Both the request for TLS and the login begin with this. */
static void mysql_client(struct buf *send)
{
	const uint8_t client[32] = {MYSQL_CAPABILITIES & 0xff, MYSQL_CAPABILITIES >> 8 & 0xff,
		MYSQL_CAPABILITIES >> 16 & 0xff, 0, 0, 0, 0, 1, MYSQL_UTF8};
	buf_add(send, client, sizeof(client));
}

/* A client that hangs up before the login is counted: after max_connect_errors (100) MySQL and MariaDB block its host.
 * A login that is refused is not counted, so the probe leaves that way: as a user whom nobody has, without a
 * password. */
static void mysql_login(struct buf *send)
{
	static const char login[] = "certsync-probe\0\0mysql_native_password";
	mysql_head(send, 32 + sizeof(login), 2);
	mysql_client(send);
	buf_add(send, login, sizeof(login));
}

/* Behind its head the greeting has: version, the server's version and a NUL, 4 bytes of number, 8 of salt, a NUL,
 * capabilities. */
static void mysql_greeting(struct starttls *s, size_t len, struct buf *send)
{
	enum { TO_CAPABILITIES = 4 + 8 + 1 };
	const uint8_t *bytes = (const uint8_t *)s->line + MYSQL_HEAD;
	const uint8_t *nul = len ? memchr(bytes, '\0', len) : NULL;
	if (!nul || bytes[0] != MYSQL_VERSION || (size_t)(nul + 1 - bytes) + TO_CAPABILITIES + 2 > len) {
		not_this(s);
		return;
	}
	const uint8_t *at = nul + 1 + TO_CAPABILITIES;
	if (!((at[0] | at[1] << 8) & MYSQL_CLIENT_SSL)) {
		refuse(s, "MySQL answers, but does not offer TLS (have_ssl is not YES)");
		finish(s, STARTTLS_REFUSED);
		return;
	}
	mysql_head(send, 32, 1);
	mysql_client(send);
	finish(s, STARTTLS_READY);
}

/* An error packet is 0xff, 16 bits of code, perhaps '#' and five letters of state, and a text. */
static void mysql_error(struct starttls *s, size_t len)
{
	const char *at = s->line + MYSQL_HEAD + 3, *end = s->line + MYSQL_HEAD + len;
	if (end - at > 6 && *at == '#')
		at += 6;
	if (at < end)
		told(s, at, (size_t)(end - at));
	else
		not_this(s);
}

static void take_mysql(struct starttls *s, struct buf *send)
{
	if (s->line_len < MYSQL_HEAD)
		return;
	const uint8_t *head = (const uint8_t *)s->line;
	size_t len = (size_t)head[2] << 16 | (size_t)head[1] << 8 | head[0];
	if (len == 0 || len >= sizeof(s->line) - 1 - MYSQL_HEAD || head[3] != (s->leaving ? 3 : 0)) {
		not_this(s);
		return;
	}
	if (s->line_len < MYSQL_HEAD + len)
		return;
	if (s->leaving)
		finish(s, STARTTLS_OVER);
	else if (head[MYSQL_HEAD] == MYSQL_ERROR)
		mysql_error(s, len);
	else
		mysql_greeting(s, len, send);
}

static bool speaks_packets(const struct starttls *s)
{
	return s->protocol == PROBE_POSTGRES || s->protocol == PROBE_MYSQL;
}

static void take_packet_byte(struct starttls *s, char byte, struct buf *send)
{
	s->line[s->line_len++] = byte;
	if (s->protocol == PROBE_POSTGRES)
		take_postgres(s);
	else
		take_mysql(s, send);
}

/* ---- both ---- */

void starttls_begin(struct starttls *s, enum probe_protocol protocol, const char *helo, struct buf *send)
{
	*s = (struct starttls){.protocol = protocol};
	snprintf(s->helo, sizeof(s->helo), "%s", helo);
	if (protocol == PROBE_TLS)
		finish(s, STARTTLS_READY);
	if (protocol != PROBE_POSTGRES)
		return;
	buf_put_u32(send, 8);
	buf_put_u32(send, POSTGRES_SSL_REQUEST);
	s->step = STARTTLS_UPGRADE;
}

void starttls_leave(struct starttls *s, enum probe_protocol protocol, bool greeting, struct buf *send)
{
	*s = (struct starttls){.protocol = protocol, .leaving = true};
	if (protocol == PROBE_MYSQL) {
		mysql_login(send);
		s->step = STARTTLS_FAREWELL;
	} else if (protocol == PROBE_TLS || protocol == PROBE_POSTGRES)
		/* PostgreSQL does not even log a client that hangs up before it has said who it is. */
		finish(s, STARTTLS_OVER);
	else if (!greeting)
		enter(s, STARTTLS_FAREWELL, send);
}

/* A line ends with LF, and a CR before that is dropped. */
static void take_byte(struct starttls *s, char byte, struct buf *send)
{
	if (++s->step_bytes > STARTTLS_STEP_MAX || (byte != '\n' && s->line_len == sizeof(s->line) - 1)) {
		s->line[s->line_len] = '\0';
		give_up(s, "was expected, but what answers does not stop talking:", s->line);
		return;
	}
	if (byte != '\n') {
		s->line[s->line_len++] = byte;
		return;
	}
	if (s->line_len && s->line[s->line_len - 1] == '\r')
		s->line_len--;
	s->line[s->line_len] = '\0';
	s->line_len = 0;
	take_line(s, s->line, send);
}

enum starttls_state starttls_feed(struct starttls *s, const void *data, size_t len, struct buf *send)
{
	const char *bytes = data;
	size_t taken = 0;
	void (*take)(struct starttls *, char, struct buf *) = speaks_packets(s) ? take_packet_byte : take_byte;
	while (taken < len && s->state == STARTTLS_MORE)
		take(s, bytes[taken++], send);
	/* Bytes that were still to be sent show that answers came before their questions. */
	bool early = send->len && s->protocol != PROBE_MYSQL;
	if (s->state != STARTTLS_READY || (taken == len && !early))
		return s->state;
	error_set(&s->reason, ERROR_PERMANENT,
		"text before the handshake: %zu bytes more than the answer to STARTTLS, which something in "
		"between may "
		"have put there",
		early ? len : len - taken);
	finish(s, STARTTLS_REFUSED);
	return s->state;
}

enum starttls_state starttls_closed(struct starttls *s)
{
	if (s->state != STARTTLS_MORE)
		return s->state;
	if (s->reason.kind == ERROR_NONE)
		error_set(&s->reason, ERROR_RETRY, "the connection was closed (%s)", starttls_where(s));
	finish(s, s->leaving ? STARTTLS_OVER : STARTTLS_REFUSED);
	return s->state;
}
