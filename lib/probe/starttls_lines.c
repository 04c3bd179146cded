#include "lib/probe/starttls_lines.h"
#include "lib/probe/starttls_end.h"

#include <ctype.h>
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
	enum verdict (*judge)(struct starttls *s, const char *line);
	const char *hello, *upgrade, *farewell; /* `hello` only where it asks what is offered */
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

/* Returns whether the line begins with a code of three digits. */
static bool is_reply(const char *line)
{
	return isdigit((unsigned char)line[0]) && isdigit((unsigned char)line[1]) && isdigit((unsigned char)line[2]) &&
		(!line[3] || line[3] == ' ' || line[3] == '-');
}

/* SMTP and LMTP. */
static enum verdict judge_smtp(struct starttls *s, const char *line)
{
	if (!is_reply(line))
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
		starttls_refuse(s);
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
		starttls_refuse(s);
		return LINE_NO;
	}
	return LINE_DONE;
}

/* A reply of several lines begins with its code and a hyphen and ends with its code and a blank; in between anything may
 * stand (RFC 959 section 4.2). */
static enum verdict judge_ftp(struct starttls *s, const char *line)
{
	if (s->code[0] && (!is_reply(line) || line[3] == '-' || !has_prefix(line, s->code)))
		return LINE_MORE;
	if (!is_reply(line))
		return LINE_ALIEN;
	if (line[3] == '-') {
		memcpy(s->code, line, 3);
		return LINE_MORE;
	}
	s->code[0] = '\0';
	if (has_prefix(line, "421"))
		return LINE_BYE;
	if (s->step == STARTTLS_GREETING && has_prefix(line, "120")) /* it will be ready in some minutes */
		return LINE_MORE;
	return has_prefix(line,
		       s->step == STARTTLS_GREETING          ? "220"
			       : s->step == STARTTLS_UPGRADE ? "234"
							     : "221")
		? LINE_DONE
		: LINE_NO;
}

static enum verdict judge_nntp(struct starttls *s, const char *line)
{
	bool greeting = s->step == STARTTLS_GREETING;
	if (!is_reply(line) || line[3] == '-')
		return LINE_ALIEN;
	if (has_prefix(line, "400") || (greeting && has_prefix(line, "502")))
		return LINE_BYE;
	if (greeting) /* whether one may post */
		return has_prefix(line, "200") || has_prefix(line, "201") ? LINE_DONE : LINE_NO;
	return has_prefix(line, s->step == STARTTLS_UPGRADE ? "382" : "205") ? LINE_DONE : LINE_NO;
}

static const struct language languages[] = {
	[PROBE_SMTP] = {judge_smtp, "EHLO", "STARTTLS\r\n", "QUIT\r\n"},
	[PROBE_LMTP] = {judge_smtp, "LHLO", "STARTTLS\r\n", "QUIT\r\n"},
	[PROBE_IMAP] = {judge_imap, NULL, TAG " STARTTLS\r\n", TAG " LOGOUT\r\n"},
	[PROBE_POP3] = {judge_pop3, NULL, "STLS\r\n", "QUIT\r\n"},
	[PROBE_SIEVE] = {judge_sieve, NULL, "STARTTLS\r\n", "LOGOUT\r\n"},
	[PROBE_FTP] = {judge_ftp, NULL, "AUTH TLS\r\n", "QUIT\r\n"},
	[PROBE_NNTP] = {judge_nntp, NULL, "STARTTLS\r\n", "QUIT\r\n"},
};

/* A command never outgrows `send`, since STARTTLS_SEND_MAX holds all that one dialogue says. */
static void enter(struct starttls *s, enum starttls_step step, struct buf *send)
{
	const struct language *language = &languages[s->protocol];
	s->step = step;
	s->step_bytes = 0;
	if (step == STARTTLS_EHLO)
		buf_addf(send, "%s %s\r\n", language->hello, s->helo);
	else if (step == STARTTLS_UPGRADE)
		buf_addf(send, "%s", language->upgrade);
	else if (step == STARTTLS_FAREWELL)
		buf_addf(send, "%s", language->farewell);
}

static void advance(struct starttls *s, struct buf *send)
{
	switch (s->step) {
	case STARTTLS_GREETING:
		if (s->leaving)
			enter(s, STARTTLS_FAREWELL, send);
		else
			enter(s, languages[s->protocol].hello ? STARTTLS_EHLO : STARTTLS_UPGRADE, send);
		break;
	case STARTTLS_EHLO:
		enter(s, STARTTLS_UPGRADE, send);
		break;
	case STARTTLS_UPGRADE:
		starttls_finish(s, STARTTLS_READY);
		break;
	case STARTTLS_FAREWELL:
	case STARTTLS_END:
		starttls_over(s);
		break;
	}
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
		starttls_give_up(s, "says goodbye:", line);
		break;
	case LINE_ALIEN:
		starttls_give_up(s, "is not what answers:", line);
		break;
	}
}

void starttls_lines_leave(struct starttls *s, bool greeting, struct buf *send)
{
	if (!greeting)
		enter(s, STARTTLS_FAREWELL, send);
}

/* A line ends with LF, and a CR before that is dropped. */
void starttls_lines_take(struct starttls *s, char byte, struct buf *send)
{
	if (starttls_talks_on(s))
		return;
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
