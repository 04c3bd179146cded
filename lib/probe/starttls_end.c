#include "lib/probe/starttls_end.h"

static const struct {
	const char *name, *upgrade, *farewell;
} words[] = {
	[PROBE_TLS] = {"TLS", "", ""},
	[PROBE_SMTP] = {"SMTP", "waiting for the answer to STARTTLS", "waiting for the answer to QUIT"},
	[PROBE_IMAP] = {"IMAP", "waiting for the answer to STARTTLS", "waiting for the answer to LOGOUT"},
	[PROBE_POP3] = {"POP3", "waiting for the answer to STLS", "waiting for the answer to QUIT"},
	[PROBE_SIEVE] = {"ManageSieve", "waiting for the answer to STARTTLS", "waiting for the answer to LOGOUT"},
	[PROBE_POSTGRES] = {"PostgreSQL", "waiting for the answer to SSLRequest", ""},
	[PROBE_MYSQL] = {"MySQL", "", "waiting for the answer to the login"},
	[PROBE_LDAP] = {"LDAP", "waiting for the answer to StartTLS", "waiting for the end after the unbind"},
	[PROBE_XMPP] = {"XMPP", "waiting for the answer to starttls", "waiting for the end of the stream"},
	[PROBE_XMPP_SERVER] = {"XMPP", "waiting for the answer to starttls", "waiting for the end of the stream"},
	[PROBE_FTP] = {"FTP", "waiting for the answer to AUTH TLS", "waiting for the answer to QUIT"},
	[PROBE_NNTP] = {"NNTP", "waiting for the answer to STARTTLS", "waiting for the answer to QUIT"},
	[PROBE_LMTP] = {"LMTP", "waiting for the answer to STARTTLS", "waiting for the answer to QUIT"},
};

const char *starttls_protocol_name(enum probe_protocol protocol)
{
	return words[protocol].name;
}

const char *starttls_where(const struct starttls *s)
{
	switch (s->step) {
	case STARTTLS_GREETING:
		return s->protocol == PROBE_XMPP || s->protocol == PROBE_XMPP_SERVER
			? "waiting for the features of the stream"
			: "waiting for the greeting";
	case STARTTLS_EHLO:
		return s->protocol == PROBE_LMTP ? "waiting for the answer to LHLO" : "waiting for the answer to EHLO";
	case STARTTLS_UPGRADE:
		return words[s->protocol].upgrade;
	case STARTTLS_FAREWELL:
		return words[s->protocol].farewell;
	case STARTTLS_END:
		break;
	}
	return "at the end of the dialogue";
}

void starttls_refuse(struct starttls *s)
{
	error_set(&s->reason, ERROR_PERMANENT, "%s answers, but does not offer STARTTLS",
		starttls_protocol_name(s->protocol));
}

void starttls_finish(struct starttls *s, enum starttls_state state)
{
	s->step = STARTTLS_END;
	s->state = state;
}

void starttls_over(struct starttls *s)
{
	starttls_finish(s, s->leaving ? STARTTLS_OVER : STARTTLS_REFUSED);
}

void starttls_give_up(struct starttls *s, const char *what, const char *line)
{
	if (s->reason.kind == ERROR_NONE)
		error_set(&s->reason, ERROR_PERMANENT, "%s %s \"%.200s\" (%s)", starttls_protocol_name(s->protocol),
			what, line, starttls_where(s));
	starttls_over(s);
}

void starttls_told(struct starttls *s, const char *text, size_t len)
{
	error_set(&s->reason, ERROR_PERMANENT, "%s refuses: \"%.*s\" (%s)", starttls_protocol_name(s->protocol),
		(int)(len < 200 ? len : 200), text, starttls_where(s));
	starttls_over(s);
}

bool starttls_talks_on(struct starttls *s)
{
	if (++s->step_bytes <= STARTTLS_STEP_MAX && s->line_len < sizeof(s->line) - 1)
		return false;
	s->line[s->line_len] = '\0';
	starttls_give_up(s, "was expected, but what answers does not stop talking:", s->line);
	return true;
}

void starttls_alien(struct starttls *s)
{
	s->line[s->line_len] = '\0';
	starttls_give_up(s, "is not what answers:", s->line);
}
