#include "hub/cli/doctor_sshd.h"
#include "hub/cli/drop_in.h"
#include "lib/core/mem.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OUT_MAX = 60 }; /* seconds that a good agent may be refused without a word of ours */

/* ---- the dump ---- */

char *sshd_values(const char *dump, const char *keyword)
{
	size_t len = strlen(keyword);
	auto_free char *copy = mem_strdup(dump);
	char *values = mem_strdup(""), *save = NULL;
	for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		line += strspn(line, " \t");
		if (strncasecmp(line, keyword, len) != 0 || (line[len] != ' ' && line[len] != '\t'))
			continue;
		const char *value = line + len + strspn(line + len, " \t");
		char *more = mem_printf("%s%s%s", values, *values ? " " : "", value);
		free(values);
		values = more;
	}
	return values;
}

/* Calls `is` for each word until it returns true. Returns whether it did. */
static bool any_word(const char *values, bool (*is)(const char *word, const void *context), const void *context)
{
	auto_free char *copy = mem_strdup(values);
	char *save = NULL;
	for (const char *word = strtok_r(copy, " \t\r", &save); word; word = strtok_r(NULL, " \t\r", &save))
		if (is(word, context))
			return true;
	return false;
}

static bool is_same(const char *word, const void *context)
{
	return strcasecmp(word, context) == 0;
}

/* ---- lists of patterns ---- */

struct matching {
	const char *name;
	bool negated; /* look for patterns that say no */
};

/* Matches USER and USER@HOST; which host it is does not matter here. */
static bool is_match(const char *word, const void *context)
{
	const struct matching *m = context;
	if ((word[0] == '!') != m->negated)
		return false;
	auto_free char *pattern = mem_strdup(word + m->negated);
	char *at = strrchr(pattern, '@');
	if (at)
		*at = '\0';
	return fnmatch(pattern, m->name, FNM_NOESCAPE) == 0;
}

static bool list_has(const char *values, const char *name)
{
	const struct matching no = {name, true}, yes = {name, false};
	return !any_word(values, is_match, &no) && any_word(values, is_match, &yes);
}

static bool list_has_any(const char *values, const char *const *names)
{
	for (; *names; names++)
		if (list_has(values, *names))
			return true;
	return false;
}

/* A deny list with an address says nothing about other addresses. */
static bool denies_everywhere(const char *word, const void *context)
{
	return !strchr(word, '@') && is_match(word, context);
}

/* ---- settings, one judge each ---- */

struct setting {
	const char *keyword;                                            /* as printed by sshd -T */
	bool (*good)(const char *values, const struct sshd_wish *wish); /* `values`: "" when absent */
	const char *effect;                                             /* of what is not good */
	const char *line; /* %U the account, %G its group, %K authorized_keys */
	enum { WRONG, WARNING } worth;
	bool always; /* in the drop-in, whether it is needed or not */
};

static bool allowed_user(const char *values, const struct sshd_wish *wish)
{
	return !*values || list_has(values, wish->user);
}

static bool allowed_group(const char *values, const struct sshd_wish *wish)
{
	return !*values || list_has_any(values, wish->groups);
}

static bool undenied_user(const char *values, const struct sshd_wish *wish)
{
	const struct matching yes = {wish->user, false};
	return !any_word(values, denies_everywhere, &yes);
}

static bool undenied_group(const char *values, const struct sshd_wish *wish)
{
	return !list_has_any(values, wish->groups);
}

static bool by_key_alone(const char *values, const struct sshd_wish *wish)
{
	(void)wish;
	return !*values || any_word(values, is_same, "any") || any_word(values, is_same, "publickey") ||
		any_word(values, is_same, "publickey:");
}

static bool none(const char *values, const struct sshd_wish *wish)
{
	(void)wish;
	return !*values || strcasecmp(values, "none") == 0;
}

static bool not_no(const char *values, const struct sshd_wish *wish)
{
	(void)wish;
	return strcasecmp(values, "no") != 0;
}

static bool yes(const char *values, const struct sshd_wish *wish)
{
	(void)wish;
	return strcasecmp(values, "yes") == 0;
}

static bool not_zero(const char *values, const struct sshd_wish *wish)
{
	(void)wish;
	return strcmp(values, "0") != 0;
}

static bool takes_ed25519(const char *values, const struct sshd_wish *wish)
{
	(void)wish;
	auto_free char *copy = mem_strdup(values);
	for (char *comma = copy; (comma = strchr(comma, ','));)
		*comma = ' ';
	return !*values || any_word(copy, is_same, "ssh-ed25519");
}

/* Replaces %h, %u and %%; a relative path begins at the home. */
static char *expand(const char *word, const struct sshd_wish *wish)
{
	char *path = mem_strdup(word[0] == '/' || strncmp(word, "%h", 2) == 0 ? "" : wish->home);
	if (*path)
		word = strncmp(word, "./", 2) == 0 ? word + 2 : word;
	const char *slash = *path ? "/" : "";
	for (; *word; word++) {
		bool token = word[0] == '%' && word[1];
		const char what[2] = {token ? *++word : *word, '\0'};
		const char *text = token && *what == 'h' ? wish->home : token && *what == 'u' ? wish->user : what;
		char *longer = mem_printf("%s%s%s", path, slash, text);
		free(path);
		path = longer;
		slash = "";
	}
	return path;
}

static bool is_our_file(const char *word, const void *context)
{
	const struct sshd_wish *wish = context;
	auto_free char *path = expand(word, wish);
	return strcmp(path, wish->authorized_keys) == 0;
}

static bool reads_keys(const char *values, const struct sshd_wish *wish)
{
	auto_free char *all = mem_strdup(*values ? values : ".ssh/authorized_keys .ssh/authorized_keys2");
	return any_word(all, is_our_file, wish);
}

static const struct setting settings[] = {
	{"allowusers", allowed_user, "does not name it: sshd refuses it", "AllowUsers %U", WRONG, false},
	{"denyusers", undenied_user, "names it: sshd refuses it", "DenyUsers root", WRONG, false},
	{"allowgroups", allowed_group, "has none of its groups: sshd refuses it", "AllowGroups %G", WRONG, false},
	{"denygroups", undenied_group, "has one of its groups: sshd refuses it", "DenyGroups root", WRONG, false},
	{"pubkeyauthentication", not_no, "lets no key in", "PubkeyAuthentication yes", WRONG, false},
	{"authenticationmethods", by_key_alone, "asks for more than a key, and an agent has nothing else",
		"AuthenticationMethods publickey", WRONG, true},
	{"forcecommand", none, "is run in the place of the command that each agent's key has", "ForceCommand none",
		WRONG, false},
	{"authorizedkeysfile", reads_keys, "is not the file that the hub writes", "AuthorizedKeysFile %K", WRONG,
		false},
	{"pubkeyacceptedalgorithms", takes_ed25519, "lacks ssh-ed25519, which agents have",
		"PubkeyAcceptedAlgorithms +ssh-ed25519", WRONG, false},
	{"chrootdirectory", none, "hides the gate from it", "ChrootDirectory none", WRONG, false},
	{"maxsessions", not_zero, "lets no session begin", "MaxSessions 4", WRONG, false},
	{"disableforwarding", yes, "leaves it to each key's own restrict that nothing is forwarded",
		"DisableForwarding yes", WARNING, true},
};

/* ---- judging ---- */

static struct sshd_fault *add_fault(struct sshd_verdict *v, bool wrong)
{
	struct sshd_fault *fault = &v->faults[v->count++];
	*fault = (struct sshd_fault){.wrong = wrong};
	return fault;
}

static void write_line(const char *form, const struct sshd_wish *wish, char out[SSHD_TEXT_MAX])
{
	const char *percent = strchr(form, '%');
	const char *word = !percent ? ""
		: percent[1] == 'U' ? wish->user
		: percent[1] == 'G' ? wish->groups[0]
				    : wish->authorized_keys;
	snprintf(out, SSHD_TEXT_MAX, "%.*s%s", percent ? (int)(percent - form) : (int)strlen(form), form, word);
}

/* Returns the length of the keyword in the line, which has it as sshd_config(5) spells it. */
static int keyword_length(const char *line)
{
	return (int)strcspn(line, " ");
}

static void judge_setting(
	const struct setting *s, const char *dump, const struct sshd_wish *wish, struct sshd_verdict *v)
{
	auto_free char *values = sshd_values(dump, s->keyword);
	if (s->good(values, wish))
		return;
	struct sshd_fault *fault = add_fault(v, s->worth == WRONG);
	write_line(s->line, wish, fault->line);
	snprintf(fault->text, sizeof(fault->text), "%.*s %.200s %s", keyword_length(s->line), s->line, values,
		s->effect);
}

/* "10:30:100" refuses some connections once ten have not logged in yet. */
static void judge_startups(const char *dump, const struct sshd_wish *wish, struct sshd_verdict *v)
{
	auto_free char *values = sshd_values(dump, "maxstartups");
	unsigned long begin = *values ? strtoul(values, NULL, 10) : 10;
	if (wish->agents <= begin)
		return;
	size_t start = wish->agents + wish->agents / 2 + 10;
	struct sshd_fault *fault = add_fault(v, false);
	fault->global = true;
	snprintf(fault->line, sizeof(fault->line), "MaxStartups %zu:30:%zu", start, 2 * start);
	snprintf(fault->text, sizeof(fault->text), "MaxStartups %.60s refuses some when the %zu agents come at once",
		values, wish->agents);
}

static void judge_port(const char *dump, const struct sshd_wish *wish, struct sshd_verdict *v)
{
	char number[8];
	auto_free char *ports = sshd_values(dump, "port");
	auto_free char *addresses = sshd_values(dump, "listenaddress");
	snprintf(number, sizeof(number), "%u", wish->port);
	auto_free char *ending = mem_printf(":%s ", number);
	auto_free char *ended = mem_printf("%s ", addresses);
	if (!*ports || any_word(ports, is_same, number) || strstr(ended, ending))
		return;
	struct sshd_fault *fault = add_fault(v, false);
	snprintf(fault->text, sizeof(fault->text),
		"sshd listens at port %.60s, and ssh in hub.conf says %s: right only if "
		"something in front of it turns one into the other",
		ports, number);
}

/* "crash:90 authfail:5 … max:600 min:15": an agent whose key was taken away tries three times in ten minutes, and others
 * at its address are refused for as long as three failures cost. */
static void judge_penalties(const char *dump, const struct sshd_wish *wish, struct sshd_verdict *v)
{
	auto_free char *values = sshd_values(dump, "persourcepenalties");
	auto_free char *exempt = sshd_values(dump, "persourcepenaltyexemptlist");
	const char *failure = strstr(values, "authfail:");
	unsigned long seconds = failure ? strtoul(failure + strlen("authfail:"), NULL, 10) : 0;
	v->penalties = failure && (!*exempt || strcasecmp(exempt, "none") == 0);
	if (!v->penalties || wish->agents < 2 || 3 * seconds <= OUT_MAX)
		return;
	struct sshd_fault *fault = add_fault(v, false);
	snprintf(fault->text, sizeof(fault->text),
		"PerSourcePenalties authfail:%lu: one agent whose key is refused shuts out all that come from its address, "
		"for minutes; PerSourcePenaltyExemptList takes the addresses of agents",
		seconds);
}

void sshd_judge(const char *dump, const struct sshd_wish *wish, struct sshd_verdict *ret)
{
	*ret = (struct sshd_verdict){0};
	for (size_t i = 0; i < COUNT(settings); i++)
		judge_setting(&settings[i], dump, wish, ret);
	judge_startups(dump, wish, ret);
	judge_port(dump, wish, ret);
	judge_penalties(dump, wish, ret);
	auto_free char *pam = sshd_values(dump, "usepam");
	ret->pam = strcasecmp(pam, "yes") == 0;
}

/* ---- the drop-in ---- */

static bool is_needed(const struct sshd_verdict *v, const char *line)
{
	for (size_t i = 0; i < v->count; i++)
		if (strcmp(v->faults[i].line, line) == 0)
			return true;
	return false;
}

static struct drop_in_line *add_wanted(struct drop_in_wish *w, const char *text)
{
	struct drop_in_line *line = &w->lines[w->count++];
	snprintf(line->text, sizeof(line->text), "%s", text);
	return line;
}

int sshd_drop_in(const struct sshd_verdict *v, const struct sshd_wish *wish, const char *old, struct buf *out)
{
	auto_free struct drop_in_wish *wanted = mem_alloc(sizeof(*wanted));
	wanted->user = wish->user;
	wanted->head = "# certsync: agents come in here. Each key carries restrict,command=\"…\" in authorized_keys.\n";
	wanted->note_keyword = "PerSourcePenaltyExemptList";
	if (v->penalties)
		wanted->note =
			"# Where agents share an address, the refused key of one shuts out the others, unless it is named here:\n"
			"#PerSourcePenaltyExemptList 192.0.2.0/24\n";
	for (size_t i = 0; i < v->count; i++)
		if (v->faults[i].global) {
			struct drop_in_line *line = add_wanted(wanted, v->faults[i].line);
			line->global = line->replaces = true;
		}
	for (size_t i = 0; i < COUNT(settings); i++) {
		char text[SSHD_TEXT_MAX];
		write_line(settings[i].line, wish, text);
		bool needed = is_needed(v, text);
		if (settings[i].always || needed)
			add_wanted(wanted, text)->replaces = needed;
	}
	add_wanted(wanted, "PermitTTY no");
	add_wanted(wanted, "X11Forwarding no");
	return drop_in_edit(wanted, old, out);
}
