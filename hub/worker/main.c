/* certsync-worker KIND: one slow or risky job for the daemon. A program of its own, so that libcurl and all that it brings are
 * mapped here and not in the daemon, which lives for months.
 */
#include "hub/worker/acme/acme.h"
#include "hub/worker/acme/account.h"
#include "hub/worker/acme/renewal_info.h"
#include "hub/worker/acme/preflight.h"
#include "hub/worker/alert.h"
#include "hub/worker/check.h"
#include "lib/core/mem.h"
#include "lib/core/proc.h"

#include <stdio.h>
#include <string.h>

static const struct {
	const char *kind;
	int (*run)(void);
} kinds[] = {
	{"acme", acme_worker},
	{"info", acme_info_worker},
	{"preflight", acme_preflight_worker},
	{"account", acme_account_worker},
	{"check", check_worker},
	{"alert", alert_worker},
};

int main(int argc, char **argv)
{
	proc_harden();
	for (size_t i = 0; argc == 2 && i < COUNT(kinds); i++)
		if (strcmp(argv[1], kinds[i].kind) == 0)
			return kinds[i].run();
	fputs("usage: certsync-worker KIND, by certsync hub alone; it knows:", stderr);
	for (size_t i = 0; i < COUNT(kinds); i++)
		fprintf(stderr, " %s", kinds[i].kind);
	fputs("\n", stderr);
	return 2;
}
