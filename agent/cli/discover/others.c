#include "agent/cli/discover/others.h"
#include "lib/core/mem.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Programs for which there is a hook, though their configuration is not read here, or not that of this process. */
static const struct hooked {
	const char *program, *hook;
	const char *protocol; /* NULL: TLS at once, or what a guess shows */
} hooked[] = {
	{"mariadbd", "mariadb", "mysql"},
	{"mysqld", "mariadb", "mysql"},
	{"postgres", "postgresql", "postgres"},
	{"stunnel4", "stunnel", NULL},
	{"stunnel", "stunnel", NULL},
};

static const struct hooked *hook_of(const char *program)
{
	for (size_t i = 0; i < COUNT(hooked); i++)
		if (strcmp(hooked[i].program, program) == 0)
			return &hooked[i];
	return NULL;
}

void others_release(struct others *o)
{
	served_release(&o->served);
	buf_release(&o->unasked);
	found_release(&o->programs);
}

static bool is_known(const struct found *found, const char *program)
{
	for (size_t i = 0; i < found->count; i++)
		if (found->services[i].program && strcmp(found->services[i].program, program) == 0)
			return true;
	return false;
}

/* sshd and the agent's own programs speak no TLS. */
static bool is_passed_over(const char *program)
{
	return !program[0] || strncmp(program, "sshd", 4) == 0 || strncmp(program, "certsync", 8) == 0;
}

static void add_program(struct others *o, const struct listening *l, const char *program)
{
	const struct hooked *h = hook_of(program);
	struct found_service *s = &o->programs.services[o->programs.count++];
	/* Root, who may have keys in memory, speaks to nobody but root's own programs. */
	*s = (struct found_service){.name = program, .program = mem_strdup(program), .anybodys = geteuid() != 0};
	for (size_t i = 0; h && h->protocol && i < l->count; i++)
		if (strcmp(l->list[i].program, program) == 0)
			found_port(s, "", l->list[i].port, h->protocol, false);
}

/* Adds a line for a port of somebody else's program for which there is a hook. */
static void tell_unasked(struct buf *out, const struct listening *l, size_t i)
{
	const struct listening_socket *socket = &l->list[i];
	const struct hooked *h = socket->believed ? NULL : hook_of(socket->program);
	for (size_t k = 0; h && k < i; k++)
		if (strcmp(l->list[k].program, socket->program) == 0 && l->list[k].port == socket->port)
			return;
	if (h)
		buf_addf(out,
			"port %u (%s) is not root's, so root does not ask what it serves (certsync-agent check does): if it "
			"is TLS, service \"%s\" in agent.conf has a hook, and writes with `file` what it reads "
			"(certsync-agent.conf(5), HOOKS)\n",
			socket->port, socket->program, h->hook);
}

void others_look(const struct found *known, const struct listening *l, const char *const *names, struct others *ret)
{
	struct error ignored;
	*ret = (struct others){.unasked = BUF_INIT(64 * 1024),
		.programs.services = mem_array(OTHERS_MAX, sizeof(struct found_service))};
	for (size_t i = 0; i < l->count; i++) {
		const char *program = l->list[i].program;
		if (is_passed_over(program) || is_known(known, program) || is_known(&ret->programs, program))
			continue;
		if (ret->programs.count == OTHERS_MAX)
			ret->left_out++;
		else
			add_program(ret, l, program);
	}
	for (size_t i = 0; geteuid() == 0 && i < l->count; i++)
		tell_unasked(&ret->unasked, l, i);
	if (served_find(&ret->programs, l, names, OTHERS_SECONDS, &ret->served, &ignored) == 0)
		served_look_at(&ret->served, OTHERS_SECONDS, &ignored);
}

const struct present *others_present(const struct served_look *look)
{
	for (size_t k = 0; k < SERVED_KINDS; k++)
		if (look->by[k].served)
			return &look->by[k].present;
	return NULL;
}

char *others_line(const struct served_look *look)
{
	const struct hooked *h = hook_of(look->service);
	auto_free char *names = present_names(others_present(look));
	auto_free char *what = h
		? mem_printf(
			  "adopt does not read its configuration: service \"%s\" in agent.conf has a hook, and writes "
			  "with `file` what it reads (certsync-agent.conf(5), HOOKS)",
			  h->hook)
		: mem_strdup("no hook of certsync's is named after it");
	char *line = mem_printf("%s (%s) serves TLS, for %s: %s", look->endpoint, look->service, names, what);
	text_clean(line, 0);
	return line;
}
