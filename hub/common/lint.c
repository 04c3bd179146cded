#include "hub/common/lint.h"
#include "hub/common/keys_request.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { HOUR = 3600, MINUTES_OF_DAY = 24 * 60 };

struct lint {
	struct lint_fault *faults;
	size_t count;
	int64_t slack; /* from the renewal to the end */
	char life[CLOCK_TEXT_MAX], left[CLOCK_TEXT_MAX];
};

static void complain(struct lint *l, const char *key, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void complain(struct lint *l, const char *key, const char *fmt, ...)
{
	va_list args;
	if (l->count == LINT_FAULTS_MAX)
		return;
	struct lint_fault *f = &l->faults[l->count++];
	f->key = key;
	va_start(args, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, args);
	va_end(args);
}

/* Checks one setting that takes `delay` of what is left after the renewal; it may take one `share`th of that. */
static void check_delay(struct lint *l, const char *key, const char *what, int64_t delay, int share)
{
	char span[CLOCK_TEXT_MAX], most[CLOCK_TEXT_MAX];
	if (delay <= l->slack / share)
		return;
	complain(l, key,
		"%s: %s %s is too long for a certificate of %s: it is renewed %s before its end, and at most "
		"%s of that "
		"may go by so",
		key, what, clock_span(delay * 1000, span), l->life, l->left, clock_span(l->slack / share * 1000, most));
}

/* Returns the longest time outside all windows. */
static int64_t longest_wait(const struct hub_certificate *c)
{
	bool open[MINUTES_OF_DAY] = {false};
	int longest = 0, run = 0;
	for (size_t i = 0; i < c->window_count; i++)
		for (int m = c->windows[i].from; m % MINUTES_OF_DAY != c->windows[i].to % MINUTES_OF_DAY; m++)
			open[m % MINUTES_OF_DAY] = true;
	/* It goes around twice, since a wait may cross midnight. */
	for (int m = 0; c->window_count && m < 2 * MINUTES_OF_DAY; m++) {
		run = open[m % MINUTES_OF_DAY] ? 0 : run + 1;
		longest = run > longest ? run : longest;
	}
	return (int64_t)longest * 60;
}

/* What was configured for 90 days must not make a certificate of 160 hours due as soon as it is issued, so a third of
 * each life is always used. */
int64_t lint_renew_before(int64_t lifetime, int64_t configured)
{
	const int64_t short_lifetime = 10 * 86400, most = lifetime - lifetime / 3;
	if (configured > 0)
		return configured < most ? configured : most;
	return lifetime < short_lifetime ? lifetime / 2 : lifetime / 3;
}

static void check_renew_before(struct lint *l, const struct hub_certificate *c, int64_t lifetime)
{
	char span[CLOCK_TEXT_MAX], most[CLOCK_TEXT_MAX];
	if (!c->renew_before)
		return;
	if (c->renew_before > lifetime - lifetime / 3)
		complain(l, "renew_before",
			"renew_before: %s is more than two thirds of a certificate of %s: it is renewed %s "
			"before its end",
			clock_span(c->renew_before * 1000, span), l->life, l->left);
	else if (c->renew_before < lifetime / 20)
		complain(l, "renew_before",
			"renew_before: %s leaves a certificate of %s less than a twentieth of its life for "
			"an authority that is down: at least %s",
			clock_span(c->renew_before * 1000, span), l->life, clock_span(lifetime / 20 * 1000, most));
}

size_t lint_lifetime(const struct hub_certificate *c, int64_t scan_interval, int64_t lifetime,
	struct lint_fault ret[LINT_FAULTS_MAX])
{
	struct lint l = {.faults = ret, .slack = lint_renew_before(lifetime, c->renew_before)};
	clock_span(lifetime * 1000, l.life);
	clock_span(l.slack * 1000, l.left);
	check_renew_before(&l, c, lifetime);
	if (c->watch)
		check_delay(&l, "scan_interval", "what is written there is read anyway only every", scan_interval, 4);
	if (c->dns_hook)
		check_delay(&l, "dns_timeout", "waiting for its records for", c->dns_timeout, 8);
	check_delay(&l, "stage_timeout", "waiting for agents to stage for", c->stage_timeout, 8);
	if (c->canary && c->canary[0])
		check_delay(&l, "soak", "watching the canaries for", c->soak, 4);
	check_delay(&l, "proceed_after", "an agent that fails at staging holds the others for", c->proceed_after, 2);
	check_delay(&l, "window", "activations may wait for", longest_wait(c), 2);
	return l.count;
}

int64_t lint_profile_lifetime(const char *profile)
{
	return profile && strcmp(profile, "shortlived") == 0 ? 160 * HOUR : 0;
}

/* ---- names ---- */

/* A directory tells its profiles by name alone, so what each of them takes has to be known here. Source:
 * https://letsencrypt.org/docs/profiles/, November 2026. The first takes most, and is the default. */
struct profile {
	const char *name;
	size_t names;
};
static const struct profile lets_encrypt[] = {{"classic", 100}, {"tlsserver", 25}, {"shortlived", 25}};

static bool is_lets_encrypt(const char *directory)
{
	static const char *const hosts[] = {"acme-v02.api.letsencrypt.org", "acme-staging-v02.api.letsencrypt.org"};
	const char *scheme = strstr(directory, "://"), *host = scheme ? scheme + strlen("://") : directory;
	const size_t len = strcspn(host, ":/?#");
	for (size_t i = 0; i < COUNT(hosts); i++)
		if (len == strlen(hosts[i]) && strncasecmp(host, hosts[i], len) == 0)
			return true;
	return false;
}

/* Returns NULL where it is not known what the authority takes. */
static const struct profile *profile_of(const struct hub_certificate *c)
{
	for (size_t i = 0; c->acme->limits && is_lets_encrypt(c->acme->directory) && i < COUNT(lets_encrypt); i++)
		if (!c->profile || strcmp(c->profile, lets_encrypt[i].name) == 0)
			return &lets_encrypt[i];
	return NULL;
}

bool lint_names(const struct hub_certificate *c, struct lint_fault *ret)
{
	const struct profile *profile = profile_of(c);
	char other[64] = "";
	size_t count = 0;
	while (c->names[count])
		count++;
	ret->key = "names";
	if (profile && count > profile->names) {
		if (count <= lets_encrypt[0].names)
			snprintf(other, sizeof(other), ", or take the profile %s, which has up to %zu",
				lets_encrypt[0].name, lets_encrypt[0].names);
		snprintf(ret->text, sizeof(ret->text),
			"names: %zu are listed, and Let's Encrypt takes at most %zu into a certificate of the profile %s: "
			"divide them between certificate sections%s; limits = false in the acme section leaves it to the CA",
			count, profile->names, profile->name, other);
		return true;
	}
	snprintf(ret->text, sizeof(ret->text),
		"names: %zu are listed, and one order has at most %d: divide them between certificate sections", count,
		KEYS_NAMES_MAX);
	return count > KEYS_NAMES_MAX;
}
