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
		starttls_refuse(s, "SMTP answers, but does not offer STARTTLS");
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
		starttls_refuse(s, "ManageSieve answers, but does not offer STARTTLS");
		return LINE_NO;
	}
	return LINE_DONE;
}

static const struct language languages[] = {
	[PROBE_SMTP] = {judge_smtp, "STARTTLS\r\n", "QUIT\r\n"},
	[PROBE_IMAP] = {judge_imap, TAG " STARTTLS\r\n", TAG " LOGOUT\r\n"},
	[PROBE_POP3] = {judge_pop3, "STLS\r\n", "QUIT\r\n"},
	[PROBE_SIEVE] = {judge_sieve, "STARTTLS\r\n", "LOGOUT\r\n"},
};

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
	if (++s->step_bytes > STARTTLS_STEP_MAX || (byte != '\n' && s->line_len == sizeof(s->line) - 1)) {
		s->line[s->line_len] = '\0';
		starttls_give_up(s, "was expected, but what answers does not stop talking:", s->line);
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
