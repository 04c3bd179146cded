#include "agent/cli/adopt/plan.h"
#include "agent/cli/adopt/plan_copy.h"
#include "lib/core/mem.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TOLD_MAX = 1024 * 1024 };

static void certificate_release(struct plan_certificate *c)
{
	free(c->directory);
	present_release(&c->present);
}

void plan_release(struct plan *p)
{
	for (size_t i = 0; i < p->certificate_count; i++)
		certificate_release(&p->certificates[i]);
	free(p->certificates);
	free(p->targets);
	for (size_t i = 0; i < p->leaf_count; i++)
		free(p->leaves[i].path);
	free(p->leaves);
	edit_release(&p->edit);
	buf_release(&p->told);
	*p = (struct plan){0};
}

/* ---- what is installed ---- */

static bool is_there(const struct plan_certificate *c, const char *file)
{
	auto_free char *path = mem_printf("%s/%s", c->directory, file);
	return access(path, F_OK) == 0;
}

static bool is_kind(const struct present_leaf *leaf, const char *kind)
{
	return strncmp(leaf->key_type, kind, strlen(kind)) == 0;
}

static int read_leaf(struct plan_certificate *c, const char *file, struct error *err)
{
	auto_present struct present p = {0};
	auto_free char *path = mem_printf("%s/%s", c->directory, file);
	if (present_read(path, &p, err) < 0)
		return -1;
	memcpy(c->leaves[c->leaf_count++], p.leaves[0].fingerprint, CHAIN_SHA256_SIZE);
	c->rsa = c->rsa || is_kind(&p.leaves[0], "rsa");
	c->ecdsa = c->ecdsa || is_kind(&p.leaves[0], "ecdsa");
	return 0;
}

static int read_installed(struct plan_certificate *c, struct error *err)
{
	char target[PATH_MAX];
	auto_free char *path = mem_printf("%s/fullchain.pem", c->directory);
	ssize_t len = readlink(c->directory, target, sizeof(target) - 1);
	target[len > 0 ? len : 0] = '\0';
	const char *slash = strrchr(target, '/');
	if (!slash || !revision_parse(slash + 1, &c->revision) || revision_is_placeholder(c->revision))
		return error_set(err, ERROR_PERMANENT,
			"nothing is installed yet below %s: certsync-agent status says what it waits for",
			c->directory);
	if (present_read(path, &c->present, err) < 0)
		return -1;
	if (!is_there(c, "haproxy.pem.rsa") || !is_there(c, "haproxy.pem.ecdsa"))
		return read_leaf(c, "fullchain.pem", err);
	return read_leaf(c, "haproxy.pem.ecdsa", err) < 0 ? -1 : read_leaf(c, "haproxy.pem.rsa", err);
}

static bool is_named(const char *const *names, const char *name)
{
	for (size_t i = 0; names[i]; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

static int add_certificates(
	struct plan *p, const struct agent_config *config, const char *const *names, struct error *err)
{
	p->certificates = mem_array(config->certificate_count, sizeof(*p->certificates));
	for (size_t i = 0; names[i]; i++)
		if (!agent_config_certificate(config, names[i]))
			return error_set(err, ERROR_USAGE, "%s has no certificate \"%s\"", config->path, names[i]);
	for (size_t i = 0; i < config->certificate_count; i++) {
		struct plan_certificate c = {.certificate = &config->certificates[i], .named = names[0] != NULL};
		if (c.named && !is_named(names, c.certificate->name))
			continue;
		c.directory = mem_printf("%s/live/%s", config->directory, c.certificate->name);
		if (read_installed(&c, err) == 0) {
			p->certificates[p->certificate_count++] = c;
			continue;
		}
		certificate_release(&c);
		if (c.named)
			return error_wrap(err, "%s", config->certificates[i].name);
		buf_addf(&p->told, "%s: %s\n", config->certificates[i].name, err->message);
	}
	return 0;
}

/* ---- a group of settings ---- */

struct group {
	struct plan *plan;
	const struct agent_config *config;
	const struct found *all;
	const struct found_service *found;
	int number;
	const struct plan_certificate *certificate; /* what it gets */
	size_t presents;                            /* how many certificates it names */
	const struct found_use *stuck;              /* the certificate for which it gets none */
};

static const struct agent_service *section_of(const struct agent_certificate *c, const char *service)
{
	for (size_t i = 0; i < c->service_count; i++)
		if (strcmp(c->services[i].name, service) == 0)
			return &c->services[i];
	return NULL;
}

static bool is_of(const struct group *g, const struct found_use *u)
{
	return u->group == g->number;
}

static const struct found_use *first_of(const struct group *g)
{
	for (size_t i = 0; i < g->found->use_count; i++)
		if (is_of(g, &g->found->uses[i]) && found_presents(&g->found->uses[i]))
			return &g->found->uses[i];
	return NULL;
}

static void tell(struct group *g, const struct found_use *u, const char *what, const char *why)
{
	if (u->role == FOUND_COPY)
		buf_addf(&g->plan->told, "%s: %s %s: %s: %s\n", g->found->name, u->setting, u->path, what, why);
	else
		buf_addf(&g->plan->told, "%s: %s:%d: %s %s: %s: %s\n", g->found->name, u->file, u->line, u->setting,
			u->path, what, why);
}

static bool covers_all(const struct plan_certificate *c, const struct present *present)
{
	for (size_t i = 0; i < present->name_count; i++)
		if (!present_covers(&c->present, present->names[i]))
			return false;
	return present->name_count > 0;
}

/* Chooses the certificate that may take the place of what is presented, among those that have a section for the
 * service. Without `present` there is no such file, or it cannot be read: that is no permission to replace it. Returns
 * NULL with the reason. */
static const struct plan_certificate *choose(
	const struct group *g, const struct present *present, const char *why_unread, struct error *err)
{
	const struct plan_certificate *only = NULL;
	size_t count = 0;
	for (size_t i = 0; i < g->plan->certificate_count; i++) {
		const struct plan_certificate *c = &g->plan->certificates[i];
		if (!section_of(c->certificate, g->found->name))
			continue;
		if (present && covers_all(c, present))
			return c;
		only = c;
		count++;
	}
	bool worthless = present ? present->self_signed : !why_unread;
	if (count == 1 && worthless && only->named)
		return only;
	auto_free char *names = present ? present_names(present) : mem_strdup("");
	if (count == 0)
		error_set(err, ERROR_USAGE, "no certificate that is installed has a service \"%s\" in agent.conf",
			g->found->name);
	else if (why_unread)
		error_set(
			err, ERROR_USAGE, "%s: for what it is cannot be told, so nothing takes its place", why_unread);
	else if (!worthless)
		error_set(err, ERROR_USAGE, "is for %s, and %s does not cover that", names,
			count == 1 ? only->certificate->name : "no installed certificate");
	else
		error_set(err, ERROR_USAGE,
			"%s%s: name the certificate that is to take its place: certsync-agent adopt %s "
			"--service %s",
			present ? "self-signed, for " : "there is no such file", names, only->certificate->name,
			g->found->name);
	return NULL;
}

static const struct plan_certificate *choose_for(const struct group *g, const struct found_use *u, struct error *err)
{
	auto_present struct present present = {0};
	struct error unread;
	bool known = present_read(u->path, &present, &unread) == 0;
	bool gone = !known && !strpbrk(u->path, " \t\n,") && access(u->path, F_OK) < 0 && errno == ENOENT;
	return choose(g, known ? &present : NULL, known || gone ? NULL : unread.message, err);
}

/* Chooses what each certificate of the group may be replaced by; it has to be the same one for all. */
static int choose_all(struct group *g, struct error *err)
{
	for (size_t i = 0; i < g->found->use_count; i++) {
		const struct found_use *u = &g->found->uses[i];
		if (!is_of(g, u) || !found_presents(u))
			continue;
		g->stuck = u;
		if (u->role == FOUND_COPY && plan_copy_check_place(g->found->name, u, err) < 0)
			return -1;
		const struct plan_certificate *c = choose_for(g, u, err);
		if (!c)
			return -1;
		if (g->certificate && g->certificate != c)
			return error_set(err, ERROR_USAGE, "it stands in one place with others for %s",
				g->certificate->certificate->name);
		g->certificate = c;
		g->presents++;
	}
	g->stuck = NULL;
	return 0;
}

/* Returns the installed file for a use that is the `nth` of its role in the group. */
static char *installed_file(const struct group *g, const struct found_use *u, size_t nth)
{
	const struct plan_certificate *c = g->certificate;
	bool pair = c->leaf_count == 2;
	const char *ending = "";
	const char *file = u->content;
	if (strcmp(file, "combined-all") == 0 && !pair)
		file = "combined";
	/* There are two settings, one for each kind of key, in the order of the certificates. */
	if (pair && g->presents == 2 && strcmp(file, "combined") == 0) {
		auto_present struct present present = {0};
		struct error ignored;
		size_t seen = 0;
		for (size_t i = 0; i < g->found->use_count; i++) {
			const struct found_use *other = &g->found->uses[i];
			if (is_of(g, other) && found_presents(other) && seen++ == nth &&
				present_read(other->path, &present, &ignored) == 0)
				break;
		}
		file = "haproxy";
		ending = is_kind(&present.leaves[0], "rsa") ? ".rsa" : ".ecdsa";
	}
	return mem_printf("%s/%s.pem%s", c->directory, file, ending);
}

/* Returns `text` with `path` for each '@'; the caller frees it. */
static char *fill_in(const char *text, const char *path)
{
	char *result = mem_strdup("");
	while (*text) {
		size_t len = strcspn(text, "@");
		char *longer = mem_printf("%s%.*s%s", result, (int)len, text, text[len] ? path : "");
		free(result);
		result = longer;
		text += len + (text[len] == '@');
	}
	return result;
}

static int change_use(const struct group *g, const struct found_use *u, size_t nth, struct error *err)
{
	if (u->role == FOUND_COPY)
		return plan_copy(g->plan, g->config, g->certificate, g->found->name, u, err);
	auto_free char *path = installed_file(g, u, nth);
	/* What an Apache directive said is kept as a comment, whatever is in it. */
	auto_free char *text = u->instead[0] == '#' ? mem_strdup(u->instead) : fill_in(u->instead, path);
	return edit_replace(&g->plan->edit, u->file, u->start, u->end, text, err);
}

/* Returns whether the same bytes would have to become different ones. */
static bool is_torn(const struct group *g, const struct found_use *u)
{
	for (size_t i = 0; i < g->found->use_count; i++) {
		const struct found_use *other = &g->found->uses[i];
		if (is_of(g, other) && other->role != FOUND_COPY && other->start == u->start &&
			strcmp(other->file, u->file) == 0 && strcmp(other->instead, u->instead) != 0)
			return true;
	}
	return false;
}

static bool is_same_file(const char *a, const char *b)
{
	char x[PATH_MAX], y[PATH_MAX];
	return strcmp(a, b) == 0 || (realpath(a, x) && realpath(b, y) && strcmp(x, y) == 0);
}

/* Returns whether the group writes this file. */
static bool writes(const struct group *g, const char *path)
{
	for (size_t i = 0; i < g->found->use_count; i++) {
		const struct found_use *u = &g->found->uses[i];
		if (is_of(g, u) && u->role == FOUND_COPY && is_same_file(u->path, path))
			return true;
	}
	return false;
}

/* A service that names a file which is written here, and beside it one that is not, would have a key that is not its
 * certificate's from its next reload on. */
static int check_others(const struct group *g, struct error *err)
{
	for (size_t i = 0; i < g->all->count; i++) {
		const struct found_service *s = &g->all->services[i];
		for (size_t k = 0; k < s->use_count; k++) {
			const struct found_use *u = &s->uses[k];
			if ((s == g->found && is_of(g, u)) || u->role == FOUND_REST || !writes(g, u->path))
				continue;
			for (size_t n = 0; n < s->use_count; n++) {
				const struct found_use *other = &s->uses[n];
				if (other->group == u->group && other->role != FOUND_REST && !writes(g, other->path))
					return error_set(err, ERROR_USAGE,
						"%s has %s, too, together with %s: give each a file of its own",
						s->name, u->path, other->path);
			}
		}
	}
	return 0;
}

/* Finds what only a person can put right; then nothing of the group is changed. */
static int check(const struct group *g, struct error *err)
{
	for (size_t i = 0; i < g->found->keep_count; i++)
		if (g->found->keeps[i].group == g->number)
			return error_set(err, ERROR_USAGE, "%s", g->found->keeps[i].why);
	for (size_t i = 0; i < g->found->use_count; i++) {
		const struct found_use *u = &g->found->uses[i];
		if (is_of(g, u) && u->role != FOUND_COPY && is_torn(g, u))
			return error_set(err, ERROR_USAGE,
				"%s:%d is read in several places, which would need different lines there", u->file,
				u->line);
		if (is_of(g, u) && u->role == FOUND_COPY &&
			plan_copy_check(g->config, g->certificate, g->found->name, u, err) < 0)
			return -1;
	}
	return check_others(g, err);
}

static int change(const struct group *g, struct error *err)
{
	size_t nth[FOUND_COPY + 1] = {0};
	for (size_t i = 0; i < g->found->use_count; i++) {
		const struct found_use *u = &g->found->uses[i];
		if (is_of(g, u) && change_use(g, u, nth[u->role]++, err) < 0)
			return -1;
	}
	return 0;
}

/* Returns whether everything that the group names is already a file that we install. */
static bool is_done(const struct group *g)
{
	auto_free char *live = mem_printf("%s/live/", g->config->directory);
	for (size_t i = 0; i < g->found->use_count; i++) {
		const struct found_use *u = &g->found->uses[i];
		if (!is_of(g, u) || u->role == FOUND_REST)
			continue;
		bool done = u->role == FOUND_COPY ? plan_copy_is_done(g->config, u->path)
						  : strncmp(u->path, live, strlen(live)) == 0;
		if (!done)
			return false;
	}
	return true;
}

static struct plan_target *target_of(struct plan *p, const struct plan_certificate *c, const struct agent_service *s)
{
	for (size_t i = 0; i < p->target_count; i++)
		if (p->targets[i].certificate == c && p->targets[i].service == s)
			return &p->targets[i];
	p->targets = mem_grow(p->targets, p->target_count + 1, sizeof(*p->targets));
	p->targets[p->target_count] = (struct plan_target){c, s, false};
	return &p->targets[p->target_count++];
}

static bool is_copied(const struct group *g)
{
	for (size_t i = 0; i < g->found->use_count; i++)
		if (is_of(g, &g->found->uses[i]) && g->found->uses[i].role == FOUND_COPY)
			return true;
	return false;
}

/* Returns whether the group will have a key of this kind. What is copied is the first of a pair alone. */
static bool gets_kind(const struct group *g, const struct plan_certificate *c, const char *kind)
{
	if (is_copied(g))
		return is_kind(&c->present.leaves[0], kind);
	return strcmp(kind, "rsa") == 0 ? c->rsa : c->ecdsa;
}

static bool is_cut(const struct group *g, const struct plan_certificate *c, const struct present_leaf *leaf)
{
	return (is_kind(leaf, "rsa") && !gets_kind(g, c, "rsa")) ||
		(is_kind(leaf, "ecdsa") && !gets_kind(g, c, "ecdsa"));
}

/* Keeps in mind what the group presents now, and what becomes of it. */
static void remember(struct group *g, const struct plan_certificate *instead, bool ours)
{
	struct plan *p = g->plan;
	for (size_t i = 0; i < g->found->use_count; i++) {
		const struct found_use *u = &g->found->uses[i];
		auto_present struct present present = {0};
		struct error ignored;
		if (!is_of(g, u) || !found_presents(u) || present_read(u->path, &present, &ignored) < 0)
			continue;
		for (size_t k = 0; k < present.leaf_count; k++) {
			p->leaves = mem_grow(p->leaves, p->leaf_count + 1, sizeof(*p->leaves));
			struct plan_leaf *leaf = &p->leaves[p->leaf_count++];
			*leaf = (struct plan_leaf){.service = g->found->name,
				.path = mem_strdup(u->path),
				.certificate = instead,
				.ours = ours};
			leaf->cut = instead && is_cut(g, instead, &present.leaves[k]);
			memcpy(leaf->fingerprint, present.leaves[k].fingerprint, CHAIN_SHA256_SIZE);
		}
	}
}

/* Says for each certificate of a group why it stays: for itself, or for another one that is named by the same lines. */
static void tell_left(struct group *g, const char *why)
{
	for (size_t i = 0; i < g->found->use_count; i++) {
		const struct found_use *u = &g->found->uses[i];
		struct error own;
		if (!is_of(g, u) || !found_presents(u))
			continue;
		if (u == g->stuck || !choose_for(g, u, &own)) {
			tell(g, u, "left", u == g->stuck ? why : own.message);
			continue;
		}
		auto_free char *joint =
			mem_printf("changes only together with %s, which is left: %s", g->stuck->path, why);
		tell(g, u, "left", joint);
	}
}

/* Leaves the group as it is; it goes on presenting what it presents now. */
static void leave(struct group *g, const char *why)
{
	g->plan->left++;
	if (g->stuck)
		tell_left(g, why);
	else
		tell(g, first_of(g), "left", why);
	remember(g, NULL, false);
}

/* Which kinds of keys the group has now. */
static void kinds_of(const struct group *g, bool *ret_rsa, bool *ret_ecdsa)
{
	*ret_rsa = *ret_ecdsa = false;
	for (size_t i = 0; i < g->found->use_count; i++) {
		const struct found_use *u = &g->found->uses[i];
		auto_present struct present present = {0};
		struct error ignored;
		if (!is_of(g, u) || !found_presents(u) || present_read(u->path, &present, &ignored) < 0)
			continue;
		for (size_t k = 0; k < present.leaf_count; k++) {
			*ret_rsa = *ret_rsa || is_kind(&present.leaves[k], "rsa");
			*ret_ecdsa = *ret_ecdsa || is_kind(&present.leaves[k], "ecdsa");
		}
	}
}

/* Clients that take one kind of key alone are served by the certificate that has it. Where both kinds stand side by
 * side, somebody wants both; of a single one of another kind it is told who loses. */
static int check_kinds(struct group *g, struct error *err)
{
	bool rsa, ecdsa;
	const struct plan_certificate *c = g->certificate;
	kinds_of(g, &rsa, &ecdsa);
	const char *lacks = rsa && !gets_kind(g, c, "rsa") ? "RSA"
		: ecdsa && !gets_kind(g, c, "ecdsa")       ? "ECDSA"
							   : NULL;
	if (!lacks)
		return 0;
	if (is_copied(g) && c->leaf_count == PLAN_LEAVES_MAX)
		error_set(err, ERROR_USAGE,
			"clients that take %s keys alone would be cut off, since what is copied has the first key of %s alone",
			lacks, c->certificate->name);
	else
		error_set(err, ERROR_USAGE,
			"clients that take %s keys alone would be cut off, since %s has none: key = {\"ecdsa-p256\", "
			"\"rsa-2048\"} in its section of hub.conf orders both",
			lacks, c->certificate->name);
	if (rsa && ecdsa)
		return error_wrap(err, "RSA and ECDSA stand side by side, and");
	tell(g, first_of(g), "note", err->message);
	return 0;
}

/* Returns 1 when the group is changed, 0 when it stays as it is, or -1. */
static int plan_group(struct group *g, struct error *err)
{
	const struct found_use *first = first_of(g);
	struct error why;
	if (!first)
		return 0;
	if (is_done(g)) {
		g->plan->done++;
		remember(g, NULL, true);
		return 0;
	}
	if (choose_all(g, &why) < 0 || check(g, &why) < 0 || check_kinds(g, &why) < 0) {
		leave(g, why.message);
		return 0;
	}
	if (change(g, err) < 0)
		return error_wrap(err, "%s", g->found->name);
	/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): choose_all looked at `first`, too */
	target_of(g->plan, g->certificate, section_of(g->certificate->certificate, g->found->name));
	g->plan->changed++;
	remember(g, g->certificate, false);
	tell(g, first, "gets", g->certificate->certificate->name);
	return 1;
}

/* What a change of one group would do to another that stays is prevented beside that one. */
static int pin_all(struct plan *p, const struct found_service *s, const bool *changed, struct error *err)
{
	for (size_t i = 0; i < s->pin_count; i++) {
		const struct found_pin *pin = &s->pins[i];
		if (!changed[pin->group] && changed[pin->on] &&
			edit_replace(&p->edit, pin->file, pin->at, pin->at, pin->text, err) < 0)
			return error_wrap(err, "%s", s->name);
	}
	return 0;
}

static void mark_unknown(struct plan *p, const char *service)
{
	for (size_t i = 0; i < p->target_count; i++)
		if (strcmp(p->targets[i].service->name, service) == 0)
			p->targets[i].unknown = true;
}

static int plan_service(struct plan *p, const struct agent_config *config, const struct found *all,
	const struct found_service *s, struct error *err)
{
	for (size_t i = 0; i < s->note_count; i++)
		buf_addf(&p->told, "%s: %s%s\n", s->name, s->notes[i], s->failed ? ": left as it is" : "");
	if (s->failed) {
		p->left++;
		return 0;
	}
	auto_free bool *changed = mem_array((size_t)s->groups + 1, sizeof(bool));
	for (int number = 1; number <= s->groups; number++) {
		struct group g = {.plan = p, .config = config, .all = all, .found = s, .number = number};
		int result = plan_group(&g, err);
		if (result < 0)
			return -1;
		changed[number] = result == 1;
	}
	if (pin_all(p, s, changed, err) < 0)
		return -1;
	/* Of two, one inside of the other, the outer one comes last. */
	for (size_t i = s->whole_count; i > 0; i--)
		edit_spare(&p->edit, s->wholes[i - 1]);
	if (s->note_count)
		mark_unknown(p, s->name);
	return 0;
}

int plan_make(const struct agent_config *config, const char *const *names, const char *service,
	const struct found *found, struct plan *ret, struct error *err)
{
	bool any = false;
	*ret = (struct plan){.told = BUF_INIT(TOLD_MAX)};
	if (add_certificates(ret, config, names, err) < 0)
		return -1;
	for (size_t i = 0; i < found->count; i++) {
		if (service && strcmp(found->services[i].name, service) != 0)
			continue;
		any = true;
		if (plan_service(ret, config, found, &found->services[i], err) < 0)
			return -1;
	}
	if (service && !any)
		return error_set(err, ERROR_USAGE,
			"--service %s: no such service is installed here: haproxy, nginx, apache2, dovecot, "
			"postfix, exim4, "
			"courier, mariadb, postgresql and stunnel are known",
			service);
	return edit_finish(&ret->edit, err);
}
