/* certsync-worker KIND: one slow or risky job for the daemon. It is a program of its own, so that libcurl and all that
 * it brings are mapped here and not in the daemon, which lives for months. It has a user of its own, since it runs DNS
 * hooks and reads what strangers answer. Without a KIND it is the process that starts the others.
 */
#include "hub/worker/acme/acme.h"
#include "hub/worker/acme/account.h"
#include "hub/worker/acme/renewal_info.h"
#include "hub/worker/acme/preflight.h"
#include "hub/worker/acme/responder.h"
#include "hub/worker/alert.h"
#include "hub/worker/check.h"
#include "hub/worker/spawner.h"
#include "hub/common/spawn.h"
#include "lib/core/confine.h"
#include "lib/core/mem.h"
#include "lib/core/proc.h"

#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

static int (*const bodies[WORKER_KINDS])(void) = {
	[WORKER_ACME] = acme_worker,
	[WORKER_INFO] = acme_info_worker,
	[WORKER_PREFLIGHT] = acme_preflight_worker,
	[WORKER_ACCOUNT] = acme_account_worker,
	[WORKER_CHECK] = check_worker,
	[WORKER_ALERT] = alert_worker,
	[WORKER_RESPONDER] = acme_responder_worker,
};

/* A job may run anybody's hook, so no file is kept from it that its user may have. But it and all that it starts can
 * neither signal nor trace another worker, or the process that starts them, which has the same user. */
static void keep_to_itself(void)
{
	static const struct confine_path everything[] = {{CONFINE_CHANGE, "/"}, {CONFINE_EXECUTE, "/"}};
	const struct confine may = {.paths = everything,
		.path_count = COUNT(everything),
		.resolves = true,
		.connects = true,
		.listens = true};
	confine(&may);
}

int main(int argc, char **argv)
{
	proc_harden();
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	/* What a hook leaves behind stays ours and dies with us: see hub/worker/spawner.h. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (argc == 1 && spawner_is_asked())
		return spawner_main();
	for (size_t i = 0; argc == 2 && i < WORKER_KINDS; i++) {
		if (strcmp(argv[1], worker_kind_name((enum worker_kind)i)) != 0)
			continue;
		keep_to_itself();
		return bodies[i]();
	}
	fputs("usage: certsync-worker KIND, by certsync hub alone; it knows:", stderr);
	for (size_t i = 0; i < WORKER_KINDS; i++)
		fprintf(stderr, " %s", worker_kind_name((enum worker_kind)i));
	fputs("\n", stderr);
	return 2;
}
