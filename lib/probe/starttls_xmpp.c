#include "lib/probe/starttls_xmpp.h"
#include "lib/probe/starttls_end.h"

#include <stdio.h>
#include <string.h>

void starttls_xmpp_begin(struct starttls *s, struct buf *send)
{
	buf_addf(send,
		"<?xml version='1.0'?><stream:stream xmlns='jabber:%s' xmlns:stream='http://etherx.jabber.org/streams'",
		s->protocol == PROBE_XMPP ? "client" : "server");
	/* A name that would have to be escaped is no name of a host. */
	if (s->to[0] && !strpbrk(s->to, "<>&'\""))
		buf_addf(send, " to='%s'", s->to);
	buf_addf(send, " version='1.0'>");
}

static void enter(struct starttls *s, enum starttls_step step, const char *words, struct buf *send)
{
	s->step = step;
	s->step_bytes = 0;
	buf_addf(send, "%s", words);
}

static void leave(struct starttls *s, struct buf *send)
{
	enter(s, STARTTLS_FAREWELL, "</stream:stream>", send);
}

/* An element has ended that stood in the stream itself. */
static void end_child(struct starttls *s, struct buf *send)
{
	switch (s->xml.child) {
	case XML_FEATURES:
		if (s->step != STARTTLS_GREETING)
			break;
		if (!s->offered && !s->leaving)
			starttls_refuse(s);
		if (s->offered && !s->leaving)
			enter(s, STARTTLS_UPGRADE, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", send);
		else
			leave(s, send);
		break;
	case XML_PROCEED:
		if (s->step == STARTTLS_UPGRADE)
			starttls_finish(s, STARTTLS_READY);
		else
			starttls_alien(s);
		break;
	case XML_FAILURE:
		if (s->step != STARTTLS_UPGRADE)
			break;
		error_set(&s->reason, ERROR_PERMANENT, "XMPP refuses: \"failure\" (%s)", starttls_where(s));
		leave(s, send);
		break;
	case XML_ERROR: /* the server closes behind it */
		if (s->reason.kind == ERROR_NONE)
			error_set(&s->reason, ERROR_PERMANENT, "XMPP refuses a stream to \"%s\": \"%s\" (%s)", s->to,
				s->xml.error, starttls_where(s));
		starttls_over(s);
		break;
	case XML_OTHER:
		break;
	}
}

static void begin_child(struct starttls *s, const char *name)
{
	static const char *const names[] = {[XML_FEATURES] = "features",
		[XML_PROCEED] = "proceed",
		[XML_FAILURE] = "failure",
		[XML_ERROR] = "error"};
	s->xml.child = XML_OTHER;
	for (int i = XML_FEATURES; i <= XML_ERROR; i++)
		if (strcmp(name, names[i]) == 0)
			s->xml.child = i;
}

static void add_error(struct starttls *s, const char *text)
{
	size_t len = strlen(s->xml.error);
	snprintf(s->xml.error + len, sizeof(s->xml.error) - len, "%s", text);
}

/* An element has begun in one that stands in the stream. A stream error has its condition there,
 * and perhaps a text and what only one application knows. */
static void begin_grandchild(struct starttls *s, const char *name)
{
	if (s->xml.child == XML_FEATURES && strcmp(name, "starttls") == 0)
		s->offered = true;
	if (s->xml.child != XML_ERROR)
		return;
	s->xml.in_text = strcmp(name, "text") == 0;
	if (s->xml.in_text || !s->xml.error[0])
		add_error(s, s->xml.in_text ? ": " : name);
}

static void close_tag(struct starttls *s, struct buf *send)
{
	s->xml.in_text = false;
	if (--s->xml.depth == 1)
		end_child(s, send);
	else if (s->xml.depth == 0 && s->step == STARTTLS_FAREWELL)
		starttls_over(s);
	else if (s->xml.depth == 0)
		starttls_give_up(s, "says goodbye:", s->line);
}

static void open_tag(struct starttls *s, const char *name, bool empty, struct buf *send)
{
	if (s->xml.depth == 1)
		begin_child(s, name);
	else if (s->xml.depth == 2)
		begin_grandchild(s, name);
	s->xml.depth++;
	if (empty)
		close_tag(s, send);
}

/* Takes what stands between "<" and ">". Comments and the like are forbidden (RFC 6120 section 11.1), but for the
 * declaration at the beginning. */
static void take_tag(struct starttls *s, struct buf *send)
{
	char name[64];
	size_t len = s->line_len;
	s->line[len] = '\0';
	bool closes = s->line[1] == '/', empty = s->line[len - 2] == '/';
	const char *from = s->line + 1 + closes, *end = from + strcspn(from, " \t\r\n/>");
	const char *colon = memchr(from, ':', (size_t)(end - from));
	from = colon ? colon + 1 : from;
	snprintf(name, sizeof(name), "%.*s", (int)(end - from), from);
	if (s->line[1] == '?' && s->xml.depth == 0)
		;
	else if (strchr("?!", s->line[1]) || !name[0] ||
		(s->xml.depth == 0 && (closes || empty || strcmp(name, "stream") != 0)))
		starttls_alien(s);
	else if (closes)
		close_tag(s, send);
	else
		open_tag(s, name, empty, send);
	s->line_len = 0;
}

/* Takes a byte outside of tags. Before the stream there is only white space in XMPP: what another protocol says there
 * is kept up to its first control character. */
static void take_text(struct starttls *s, char byte)
{
	if (s->xml.in_text)
		add_error(s, (char[]){byte, '\0'});
	if (s->xml.depth > 0 || (!s->line_len && byte && strchr(" \t\r\n", byte)))
		return;
	if ((unsigned char)byte < ' ')
		starttls_alien(s);
	else
		s->line[s->line_len++] = byte;
}

void starttls_xmpp_take(struct starttls *s, char byte, struct buf *send)
{
	if (starttls_talks_on(s))
		return;
	bool in_tag = s->line_len && s->line[0] == '<';
	if (!in_tag && (byte != '<' || s->line_len)) {
		take_text(s, byte);
		return;
	}
	s->line[s->line_len++] = byte;
	if (s->xml.quote) {
		if (byte == s->xml.quote)
			s->xml.quote = '\0';
	} else if (byte == '\'' || byte == '"') {
		s->xml.quote = byte;
	} else if (byte == '>') {
		take_tag(s, send);
	}
}
