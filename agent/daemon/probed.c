#include "agent/daemon/probed.h"

#include <stdio.h>
#include <string.h>

bool probed_add(struct probed *v, const char *endpoint, const char *service)
{
	if (v->count == MESSAGE_PROBES_MAX)
		return false;
	struct message_probe *p = &v->probe[v->count++];
	snprintf(p->endpoint, sizeof(p->endpoint), "%s", endpoint);
	snprintf(p->service, sizeof(p->service), "%s", service);
	snprintf(p->text, sizeof(p->text), "not probed yet");
	return true;
}

void probed_set_stopped(struct probed *v, const char *const *stopped, size_t count)
{
	for (size_t i = 0; i < v->count; i++) {
		v->probe[i].stopped = false;
		for (size_t k = 0; k < count; k++)
			if (strcmp(v->probe[i].service, stopped[k]) == 0)
				v->probe[i].stopped = true;
	}
}

bool probed_want_running(struct probed *v)
{
	bool any = false;
	for (size_t i = 0; i < v->count; i++) {
		struct message_probe *p = &v->probe[i];
		v->wanted[i] = !p->stopped;
		any = any || v->wanted[i];
		if (!p->stopped)
			continue;
		p->served = p->match = false;
		p->fingerprint[0] = '\0';
		snprintf(p->text, sizeof(p->text), "its service is stopped");
	}
	return any;
}

bool probed_want_missing(struct probed *v)
{
	bool any = false;
	for (size_t i = 0; i < v->count; i++) {
		v->wanted[i] = v->alive[i] && !v->probe[i].stopped && !v->probe[i].match;
		any = any || v->wanted[i];
	}
	return any;
}

/* The service and the client agree on which of two pairs is served, so either one counts. */
static void judge(struct message_probe *p, const char *expected, const char *second)
{
	p->match = p->served && (strcmp(p->fingerprint, expected) == 0 || strcmp(p->fingerprint, second) == 0);
	if (p->served && !p->match)
		snprintf(p->text, sizeof(p->text), "serves another certificate, %.16s…, not %.16s…", p->fingerprint,
			expected);
}

void probed_record(struct probed *v, const struct message_probe *seen, int64_t now)
{
	for (size_t i = 0; i < v->count; i++) {
		struct message_probe *p = &v->probe[i];
		if (!v->wanted[i])
			continue;
		p->served = seen[i].served;
		p->milliseconds = seen[i].milliseconds;
		memcpy(p->fingerprint, seen[i].fingerprint, sizeof(p->fingerprint));
		memcpy(p->text, seen[i].text, sizeof(p->text));
		judge(p, v->expected, v->second);
	}
	v->probed_at = now;
}

bool probed_note_alive(struct probed *v)
{
	bool any = false;
	for (size_t i = 0; i < v->count; i++) {
		v->alive[i] = v->probe[i].served;
		any = any || v->alive[i];
	}
	return any;
}

void probed_all_alive(struct probed *v)
{
	for (size_t i = 0; i < v->count; i++)
		v->alive[i] = true;
}

bool probed_all_match(const struct probed *v)
{
	for (size_t i = 0; i < v->count; i++)
		if (!v->probe[i].stopped && !v->probe[i].match)
			return false;
	return true;
}

bool probed_any_mismatch(const struct probed *v)
{
	for (size_t i = 0; i < v->count; i++)
		if (!v->probe[i].stopped && v->probe[i].served && !v->probe[i].match)
			return true;
	return false;
}

static void describe(const struct probed *v, const bool *chosen, char *text, size_t size)
{
	size_t used = 0;
	text[0] = '\0';
	for (size_t i = 0; i < v->count && used < size; i++) {
		const struct message_probe *p = &v->probe[i];
		if (chosen[i])
			used += (size_t)snprintf(text + used, size - used, "%s%s (%s): %s", used ? "; " : "",
				p->endpoint, p->service, p->text);
	}
}

void probed_describe_wanted(const struct probed *v, char *text, size_t size)
{
	describe(v, v->wanted, text, size);
}

void probed_describe_unserved(const struct probed *v, char *text, size_t size)
{
	bool unserved[MESSAGE_PROBES_MAX] = {false};
	for (size_t i = 0; i < v->count; i++)
		unserved[i] = !v->probe[i].stopped && !v->probe[i].match;
	describe(v, unserved, text, size);
}

void probed_add_to(const struct probed *v, struct message *m)
{
	for (size_t i = 0; i < v->count; i++)
		*message_add_probe(m) = v->probe[i];
}
