#include "lib/probe/starttls_packets.h"
#include "lib/probe/starttls_end.h"

#include <string.h>

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
	starttls_give_up(s, "is not what answers:", s->line);
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
		starttls_told(s, at + 1, strlen(at + 1));
	else
		not_this(s);
}

static void take_postgres(struct starttls *s)
{
	if (s->line[0] == 'S') {
		starttls_finish(s, STARTTLS_READY);
	} else if (s->line[0] == 'N') {
		starttls_refuse(s, "PostgreSQL answers, but does not offer TLS (ssl = off)");
		starttls_finish(s, STARTTLS_REFUSED);
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
		starttls_refuse(s, "MySQL answers, but does not offer TLS (have_ssl is not YES)");
		starttls_finish(s, STARTTLS_REFUSED);
		return;
	}
	mysql_head(send, 32, 1);
	mysql_client(send);
	starttls_finish(s, STARTTLS_READY);
}

/* An error packet is 0xff, 16 bits of code, perhaps '#' and five letters of state, and a text. */
static void mysql_error(struct starttls *s, size_t len)
{
	const char *at = s->line + MYSQL_HEAD + 3, *end = s->line + MYSQL_HEAD + len;
	if (end - at > 6 && *at == '#')
		at += 6;
	if (at < end)
		starttls_told(s, at, (size_t)(end - at));
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
		starttls_finish(s, STARTTLS_OVER);
	else if (head[MYSQL_HEAD] == MYSQL_ERROR)
		mysql_error(s, len);
	else
		mysql_greeting(s, len, send);
}

void starttls_packets_begin(struct starttls *s, struct buf *send)
{
	if (s->protocol != PROBE_POSTGRES)
		return;
	buf_put_u32(send, 8);
	buf_put_u32(send, POSTGRES_SSL_REQUEST);
	s->step = STARTTLS_UPGRADE;
}

void starttls_packets_leave(struct starttls *s, struct buf *send)
{
	if (s->protocol == PROBE_MYSQL) {
		mysql_login(send);
		s->step = STARTTLS_FAREWELL;
	} else {
		/* PostgreSQL does not even log a client that hangs up before it has said who it is. */
		starttls_over(s);
	}
}

void starttls_packets_take(struct starttls *s, char byte, struct buf *send)
{
	s->line[s->line_len++] = byte;
	if (s->protocol == PROBE_POSTGRES)
		take_postgres(s);
	else
		take_mysql(s, send);
}
