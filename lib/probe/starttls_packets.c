#include "lib/probe/starttls_packets.h"
#include "lib/probe/starttls_end.h"
#include "lib/core/mem.h"

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
		starttls_alien(s);
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
		starttls_alien(s);
}

static void take_postgres(struct starttls *s)
{
	if (s->line[0] == 'S') {
		starttls_finish(s, STARTTLS_READY);
	} else if (s->line[0] == 'N') {
		error_set(&s->reason, ERROR_PERMANENT, "PostgreSQL answers, but does not offer TLS (ssl = off)");
		starttls_finish(s, STARTTLS_REFUSED);
	} else if (s->line[0] == 'E') {
		postgres_error(s);
	} else {
		starttls_alien(s);
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
		starttls_alien(s);
		return;
	}
	const uint8_t *at = nul + 1 + TO_CAPABILITIES;
	if (!((at[0] | at[1] << 8) & MYSQL_CLIENT_SSL)) {
		error_set(&s->reason, ERROR_PERMANENT, "MySQL answers, but does not offer TLS (have_ssl is not YES)");
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
		starttls_alien(s);
}

static void take_mysql(struct starttls *s, struct buf *send)
{
	if (s->line_len < MYSQL_HEAD)
		return;
	const uint8_t *head = (const uint8_t *)s->line;
	size_t len = (size_t)head[2] << 16 | (size_t)head[1] << 8 | head[0];
	if (len == 0 || len >= sizeof(s->line) - 1 - MYSQL_HEAD || head[3] != (s->leaving ? 3 : 0)) {
		starttls_alien(s);
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

/* ---- LDAP: BER, RFC 4511 section 5.1; every length is definite, but need not be the shortest, as with Active
 * Directory ---- */

enum {
	BER_INTEGER = 0x02,
	BER_STRING = 0x04,
	BER_ENUMERATED = 0x0a,
	BER_SEQUENCE = 0x30,
	LDAP_EXTENDED_RESPONSE = 0x78,
	LDAP_CONTROLS = 0xa0,
	LDAP_ID = 1, /* of our request; 0 is what comes unasked */
};

struct ber {
	const uint8_t *at;
	size_t left;
};

/* Reads a tag and a length. Returns the length of both, 0 when they are not all there, or -1. */
static int ber_head(struct ber in, size_t *ret_len)
{
	if (in.left < 2)
		return 0;
	size_t octets = in.at[1] < 0x80 ? 0 : in.at[1] & 0x7f;
	if (in.at[1] == 0x80 || octets > 4)
		return -1;
	if (in.left < 2 + octets)
		return 0;
	size_t len = octets ? 0 : in.at[1];
	for (size_t i = 0; i < octets; i++)
		len = len << 8 | in.at[2 + i];
	*ret_len = len;
	return (int)(2 + octets);
}

static bool ber_take(struct ber *in, uint8_t tag, struct ber *ret)
{
	size_t len;
	int head = ber_head(*in, &len);
	if (head <= 0 || in->at[0] != tag || len > in->left - (size_t)head)
		return false;
	*ret = (struct ber){in->at + head, len};
	in->at += (size_t)head + len;
	in->left -= (size_t)head + len;
	return true;
}

static bool ber_take_number(struct ber *in, uint8_t tag, uint32_t *ret)
{
	struct ber number;
	if (!ber_take(in, tag, &number) || number.left < 1 || number.left > 4 || number.at[0] & 0x80)
		return false;
	*ret = 0;
	for (size_t i = 0; i < number.left; i++)
		*ret = *ret << 8 | number.at[i];
	return true;
}

/* Those that StartTLS may be answered with (RFC 4511 section 4.14.2), or that end a connection. */
static const char *ldap_result_name(uint32_t code)
{
	static const struct {
		uint32_t code;
		const char *name;
	} results[] = {{1, " (operationsError)"}, {2, " (protocolError)"}, {8, " (strongerAuthRequired)"},
		{10, " (referral)"}, {13, " (confidentialityRequired)"}, {50, " (insufficientAccessRights)"},
		{51, " (busy)"}, {52, " (unavailable)"}, {53, " (unwillingToPerform)"}, {80, " (other)"}};
	for (size_t i = 0; i < COUNT(results); i++)
		if (results[i].code == code)
			return results[i].name;
	return "";
}

static void ldap_unbind(struct starttls *s, struct buf *send)
{
	static const uint8_t unbind[] = {BER_SEQUENCE, 5, BER_INTEGER, 1, LDAP_ID + 1, 0x42, 0};
	buf_add(send, unbind, sizeof(unbind));
	s->step = STARTTLS_FAREWELL;
	s->step_bytes = 0;
}

/* An ExtendedResponse is a code, a name that matters to nobody here, the server's reason, and what may follow. */
static bool ldap_read(struct ber in, uint32_t *id, uint32_t *code, struct ber *text)
{
	struct ber message, response, ignored;
	return ber_take(&in, BER_SEQUENCE, &message) && ber_take_number(&message, BER_INTEGER, id) &&
		ber_take(&message, LDAP_EXTENDED_RESPONSE, &response) &&
		(!message.left || (ber_take(&message, LDAP_CONTROLS, &ignored) && !message.left)) &&
		ber_take_number(&response, BER_ENUMERATED, code) && ber_take(&response, BER_STRING, &ignored) &&
		ber_take(&response, BER_STRING, text);
}

static void ldap_answer(struct starttls *s, struct buf *send)
{
	uint32_t id, code;
	struct ber text;
	if (!ldap_read((struct ber){(const uint8_t *)s->line, s->line_len}, &id, &code, &text) || id > LDAP_ID) {
		starttls_alien(s);
		return;
	}
	if (id == LDAP_ID && code == 0) {
		starttls_finish(s, STARTTLS_READY);
		return;
	}
	error_set(&s->reason, ERROR_PERMANENT, "LDAP %s: resultCode %u%s, \"%.*s\" (%s)",
		id == LDAP_ID ? "refuses" : "says goodbye", code, ldap_result_name(code),
		(int)(text.left < 200 ? text.left : 200), (const char *)text.at, starttls_where(s));
	if (id == LDAP_ID)
		ldap_unbind(s, send);
	else
		starttls_over(s);
}

/* After an unbind, which has no answer, the server closes. */
static void take_ldap(struct starttls *s, struct buf *send)
{
	if (s->step == STARTTLS_FAREWELL) {
		s->line_len = 0;
		if (++s->step_bytes > STARTTLS_STEP_MAX)
			starttls_over(s);
		return;
	}
	size_t len;
	int head = ber_head((struct ber){(const uint8_t *)s->line, s->line_len}, &len);
	if ((uint8_t)s->line[0] != BER_SEQUENCE || head < 0 || (head > 0 && len >= sizeof(s->line) - 1 - (size_t)head))
		starttls_alien(s);
	else if (head > 0 && s->line_len == (size_t)head + len)
		ldap_answer(s, send);
}

/* ---- all ---- */

void starttls_packets_begin(struct starttls *s, struct buf *send)
{
	/* An ExtendedRequest whose name is that of StartTLS. */
	static const char start_tls[] = "\x30\x1d\x02\x01\x01\x77\x18\x80\x16"
					"1.3.6.1.4.1.1466.20037";
	if (s->protocol == PROBE_MYSQL)
		return;
	s->step = STARTTLS_UPGRADE;
	if (s->protocol == PROBE_LDAP) {
		buf_add(send, start_tls, sizeof(start_tls) - 1);
		return;
	}
	buf_put_u32(send, 8);
	buf_put_u32(send, POSTGRES_SSL_REQUEST);
}

void starttls_packets_leave(struct starttls *s, struct buf *send)
{
	if (s->protocol == PROBE_MYSQL) {
		mysql_login(send);
		s->step = STARTTLS_FAREWELL;
	} else if (s->protocol == PROBE_LDAP) {
		ldap_unbind(s, send);
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
	else if (s->protocol == PROBE_MYSQL)
		take_mysql(s, send);
	else
		take_ldap(s, send);
}
