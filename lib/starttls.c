#include "lib/starttls.h"
#include "lib/mem.h"

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

/* `word`, and then the end of the line or a blank. */
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
	if (!isdigit((unsigned char)line[0]) || !isdigit((unsigned char)line[1]) ||
		!isdigit((unsigned char)line[2]) || (line[3] && line[3] != ' ' && line[3] != '-'))
		return LINE_ALIEN;
	if (s->step == STARTTLS_EHLO && line[3] && has_word(line + 4, "STARTTLS"))
		s->offered = true;
	if (line[3] == '-')
		return LINE_MORE;
	if (has_prefix(line, "421"))
		return LINE_BYE;
	if (!has_prefix(line, s->step == STARTTLS_EHLO       ? "250"
			      : s->step == STARTTLS_FAREWELL ? "221"
							     : "220"))
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
		/* RFC 3501 section 6.2.1: STARTTLS is for the state before authentication. */
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
		return s->protocol == PROBE_POP3 ? "waiting for the answer to STLS"
						 : "waiting for the answer to STARTTLS";
	case STARTTLS_FAREWELL:
		return s->protocol == PROBE_SMTP || s->protocol == PROBE_POP3
			       ? "waiting for the answer to QUIT"
			       : "waiting for the answer to LOGOUT";
	case STARTTLS_END:
		break;
	}
	return "at the end of the dialogue";
}

/* A command never outgrows `send`: STARTTLS_SEND_MAX holds all that one dialogue says. */
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
		error_set(&s->reason, ERROR_PERMANENT, "%s %s \"%.200s\" (%s)",
			starttls_protocol_name(s->protocol), what, line, starttls_where(s));
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

void starttls_begin(struct starttls *s, enum probe_protocol protocol, const char *helo)
{
	*s = (struct starttls){.protocol = protocol};
	snprintf(s->helo, sizeof(s->helo), "%s", helo);
	if (protocol == PROBE_TLS)
		finish(s, STARTTLS_READY);
}

void starttls_leave(struct starttls *s, enum probe_protocol protocol, bool greeting, struct buf *send)
{
	*s = (struct starttls){.protocol = protocol, .leaving = true};
	if (protocol == PROBE_TLS)
		finish(s, STARTTLS_OVER);
	else if (!greeting)
		enter(s, STARTTLS_FAREWELL, send);
}

/* A line ends with LF; a CR before it is dropped. */
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
	while (taken < len && s->state == STARTTLS_MORE)
		take_byte(s, bytes[taken++], send);
	/* What was to be sent and was not tells of answers that came before their questions. */
	if (s->state != STARTTLS_READY || (taken == len && send->len == 0))
		return s->state;
	error_set(&s->reason, ERROR_PERMANENT,
		"text before the handshake: %zu bytes more than the answer to STARTTLS, which something in "
		"between may "
		"have put there",
		send->len ? len : len - taken);
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
