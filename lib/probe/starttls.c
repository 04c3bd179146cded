#include "lib/probe/starttls.h"
#include "lib/probe/starttls_end.h"
#include "lib/probe/starttls_lines.h"
#include "lib/probe/starttls_packets.h"
#include "lib/probe/starttls_xmpp.h"

#include <stdio.h>

static bool speaks_packets(const struct starttls *s)
{
	return s->protocol == PROBE_POSTGRES || s->protocol == PROBE_MYSQL || s->protocol == PROBE_LDAP;
}

static bool speaks_xml(const struct starttls *s)
{
	return s->protocol == PROBE_XMPP || s->protocol == PROBE_XMPP_SERVER;
}

void starttls_begin(
	struct starttls *s, enum probe_protocol protocol, const char *helo, const char *sni, struct buf *send)
{
	*s = (struct starttls){.protocol = protocol};
	snprintf(s->helo, sizeof(s->helo), "%s", helo);
	snprintf(s->to, sizeof(s->to), "%s", sni ? sni : "");
	if (protocol == PROBE_TLS)
		starttls_finish(s, STARTTLS_READY);
	else if (speaks_packets(s))
		starttls_packets_begin(s, send);
	else if (speaks_xml(s))
		starttls_xmpp_begin(s, send);
}

void starttls_leave(struct starttls *s, enum probe_protocol protocol, const char *sni, bool greeting, struct buf *send)
{
	*s = (struct starttls){.protocol = protocol, .leaving = true};
	snprintf(s->to, sizeof(s->to), "%s", sni ? sni : "");
	if (protocol == PROBE_TLS)
		starttls_finish(s, STARTTLS_OVER);
	else if (speaks_packets(s))
		starttls_packets_leave(s, send);
	else if (speaks_xml(s))
		starttls_xmpp_begin(s, send);
	else
		starttls_lines_leave(s, greeting, send);
}

enum starttls_state starttls_feed(struct starttls *s, const void *data, size_t len, struct buf *send)
{
	const char *bytes = data;
	size_t taken = 0;
	void (*take)(struct starttls *, char, struct buf *) = speaks_packets(s) ? starttls_packets_take
		: speaks_xml(s)                                                 ? starttls_xmpp_take
										: starttls_lines_take;
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
	starttls_finish(s, STARTTLS_REFUSED);
	return s->state;
}

enum starttls_state starttls_closed(struct starttls *s)
{
	if (s->state != STARTTLS_MORE)
		return s->state;
	if (s->reason.kind == ERROR_NONE)
		error_set(&s->reason, ERROR_RETRY, "the connection was closed (%s)", starttls_where(s));
	starttls_over(s);
	return s->state;
}
