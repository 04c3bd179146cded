#include "agent/cli/services/found.h"
#include "lib/core/error.h"
#include "lib/core/mem.h"

#include <limits.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void use_release(struct found_use *u)
{
	free(u->file);
	free(u->setting);
	free(u->path);
	free(u->instead);
}

void found_service_release(struct found_service *s)
{
	for (size_t i = 0; i < s->use_count; i++)
		use_release(&s->uses[i]);
	for (size_t i = 0; i < s->note_count; i++)
		free(s->notes[i]);
	for (size_t i = 0; i < s->name_count; i++)
		free(s->names[i]);
	for (size_t i = 0; i < s->pin_count; i++) {
		free(s->pins[i].file);
		free(s->pins[i].text);
	}
	for (size_t i = 0; i < s->keep_count; i++)
		free(s->keeps[i].why);
	for (size_t i = 0; i < s->whole_count; i++)
		free(s->wholes[i]);
	free(s->keeps);
	free(s->wholes);
	free(s->pins);
	free(s->joins);
	free(s->uses);
	free(s->names);
	free(s->notes);
	free(s->ports);
	free(s->program);
	*s = (struct found_service){0};
}

void found_release(struct found *f)
{
	for (size_t i = 0; i < f->count; i++)
		found_service_release(&f->services[i]);
	free(f->services);
	*f = (struct found){0};
}

bool found_presents(const struct found_use *use)
{
	if (use->role == FOUND_COPY)
		return strcmp(use->content, "privkey") != 0;
	return use->role == FOUND_CERTIFICATE;
}

void found_note(struct found_service *s, const char *fmt, ...)
{
	char text[ERROR_MESSAGE_MAX];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	text_clean(text, 0);
	for (size_t i = 0; i < s->note_count; i++)
		if (strcmp(s->notes[i], text) == 0)
			return;
	if (s->note_count == FOUND_NOTES_MAX)
		return;
	s->notes = mem_grow(s->notes, s->note_count + 1, sizeof(*s->notes));
	s->notes[s->note_count++] = mem_strdup(text);
}

void found_name(struct found_service *s, const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
	const char *below = name[0] == '*' && name[1] == '.' ? name + 1 : name;
	auto_free char *text = mem_printf("%s%s", below[0] == '.' ? "any" : "", below);
	size_t len = strlen(text);
	bool number = len && text[strspn(text, "0123456789.")] == '\0';
	if (len == 0 || len > 253 || number || strspn(text, letters) != len)
		return;
	for (size_t i = 0; i < s->name_count; i++)
		if (strcasecmp(s->names[i], text) == 0)
			return;
	s->names = mem_grow(s->names, s->name_count + 1, sizeof(*s->names));
	s->names[s->name_count++] = steal(text);
}

static bool same_protocol(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

void found_port(struct found_service *s, const char *address, uint16_t port, const char *protocol, bool proxy)
{
	struct found_port p = {.port = port, .protocol = protocol, .proxy = proxy};
	if (snprintf(p.address, sizeof(p.address), "%s", address) >= (int)sizeof(p.address))
		return;
	for (size_t i = 0; i < s->port_count; i++) {
		const struct found_port *q = &s->ports[i];
		if (strcmp(q->address, p.address) == 0 && q->port == port && q->proxy == proxy &&
			same_protocol(q->protocol, protocol))
			return;
	}
	s->ports = mem_grow(s->ports, s->port_count + 1, sizeof(*s->ports));
	s->ports[s->port_count++] = p;
}

uint16_t found_port_number(const char *text)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);
	if (*text >= '0' && *text <= '9' && !*end)
		return value <= UINT16_MAX ? (uint16_t)value : 0;
	if (strcmp(text, "smtps") == 0 || strcmp(text, "submissions") == 0)
		return 465;
	const struct servent *entry = getservbyname(text, "tcp");
	return entry ? (uint16_t)((((unsigned)entry->s_port & 0xff) << 8) | ((unsigned)entry->s_port >> 8 & 0xff)) : 0;
}

bool found_listen(struct found_service *s, const char *text, const char *protocol, bool proxy)
{
	const char *colon = strrchr(text, ':');
	auto_free char *host = colon ? mem_strndup(text, (size_t)(colon - text)) : mem_strdup("");
	uint16_t port = found_port_number(colon ? colon + 1 : text);
	char *address = host;
	size_t len = strlen(host);
	if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
		host[len - 1] = '\0';
		address++;
	}
	if (port == 0)
		return false;
	bool any = strcmp(address, "*") == 0 || strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0 ||
		strcmp(address, "_default_") == 0;
	found_port(s, any ? "" : address, port, protocol, proxy);
	return true;
}

void found_use(struct found_service *s, const struct found_use *use, bool last_wins)
{
	char resolved[PATH_MAX];
	struct found_use u = *use;
	/* For a copy the file itself counts, not what a link in its place points at. */
	bool real = u.role != FOUND_COPY && realpath(use->file, resolved);
	u.file = mem_strdup(real ? resolved : use->file);
	u.setting = mem_strdup(use->setting);
	u.path = mem_strdup(use->path ? use->path : "");
	u.instead = mem_strdup(use->instead ? use->instead : "");
	for (size_t i = 0; i < s->use_count; i++) {
		struct found_use *old = &s->uses[i];
		bool again = strcmp(old->file, u.file) == 0 && old->start == u.start && old->role == u.role &&
			old->role != FOUND_COPY;
		bool later = last_wins && old->group == u.group && strcmp(old->setting, u.setting) == 0;
		if (again)
			found_join(s, old->group, u.group);
		/* The same bytes name another file where they are read a second time with other values. */
		if (!later && !(again && strcmp(old->path, u.path) == 0 && strcmp(old->instead, u.instead) == 0))
			continue;
		use_release(old);
		memmove(old, old + 1, (s->use_count - i - 1) * sizeof(*old));
		s->use_count--;
		break;
	}
	s->uses = mem_grow(s->uses, s->use_count + 1, sizeof(*s->uses));
	s->uses[s->use_count++] = u;
}

void found_pin(struct found_service *s, const struct found_pin *pin)
{
	char resolved[PATH_MAX];
	struct found_pin p = *pin;
	p.file = mem_strdup(realpath(pin->file, resolved) ? resolved : pin->file);
	p.text = mem_strdup(pin->text);
	s->pins = mem_grow(s->pins, s->pin_count + 1, sizeof(*s->pins));
	s->pins[s->pin_count++] = p;
}

void found_keep(struct found_service *s, int group, const char *fmt, ...)
{
	char text[ERROR_MESSAGE_MAX];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	text_clean(text, 0);
	s->keeps = mem_grow(s->keeps, s->keep_count + 1, sizeof(*s->keeps));
	s->keeps[s->keep_count++] = (struct found_keep){group, mem_strdup(text)};
}

void found_whole(struct found_service *s, const char *directory)
{
	char resolved[PATH_MAX];
	s->wholes = mem_grow(s->wholes, s->whole_count + 1, sizeof(*s->wholes));
	s->wholes[s->whole_count++] = mem_strdup(realpath(directory, resolved) ? resolved : directory);
}

void found_join(struct found_service *s, int kept, int gone)
{
	if (kept == gone)
		return;
	s->joins = mem_grow(s->joins, s->join_count + 1, sizeof(*s->joins));
	s->joins[s->join_count++] = (struct found_join){kept, gone};
}

void found_settle(struct found_service *s)
{
	auto_free int *group = mem_array((size_t)s->groups + 1, sizeof(*group));
	for (int g = 0; g <= s->groups; g++)
		group[g] = g;
	for (size_t i = 0; i < s->join_count; i++) {
		int kept = group[s->joins[i].kept], gone = group[s->joins[i].gone];
		for (int g = 0; g <= s->groups; g++)
			if (group[g] == gone)
				group[g] = kept;
	}
	for (size_t i = 0; i < s->use_count; i++)
		s->uses[i].group = group[s->uses[i].group];
	for (size_t i = 0; i < s->keep_count; i++)
		s->keeps[i].group = group[s->keeps[i].group];
	for (size_t i = 0; i < s->pin_count; i++) {
		s->pins[i].group = group[s->pins[i].group];
		s->pins[i].on = group[s->pins[i].on];
	}
}
