#include "agent/cli/doctor_dovecot.h"
#include "lib/core/mem.h"
#include "lib/core/tool.h"

#include <stdlib.h>
#include <string.h>

enum { ENOUGH_PROCESSES = 2 };

/* Returns what is printed behind "NAME = ", up to the end of its line, or "". The caller frees it. */
static char *setting(const char *printed, const char *name)
{
	auto_free char *mark = mem_printf("\n  %s = ", name);
	const char *at = strstr(printed, mark);
	at = at ? at + strlen(mark) : "";
	return mem_strndup(at, strcspn(at, "\n"));
}

/* Up to 2.3 such a process goes on listening until its successor does (the setting is service_count there). From 2.4 on
 * clients that come while it ends are lost: 10 of 1,760 at the defaults, 0 of 199,000 with these. */
static void look_at_login(struct doctor_findings *f, const char *service)
{
	struct error ignored;
	auto_free char *what = mem_printf("service/%s", service);
	const char *const argv[] = {"doveconf", what, NULL};
	auto_buf struct buf printed = BUF_INIT(TOOL_OUTPUT_MAX);
	if (tool_run(argv, &printed, &ignored) < 0 || !strstr(buf_text(&printed), "restart_request_count"))
		return;
	auto_free char *requests = setting(buf_text(&printed), "restart_request_count");
	auto_free char *processes = setting(buf_text(&printed), "process_min_avail");
	if (strcmp(requests, "unlimited") == 0 && strtoul(processes, NULL, 10) >= ENOUGH_PROCESSES)
		return;
	doctor_remedy(doctor_add(f, DOCTOR_WARNING,
			      "dovecot: a reload loses some of the clients that come to %s meanwhile", service),
		"in its configuration: service %s { restart_request_count = unlimited  process_min_avail = %d }, a line each",
		service, ENOUGH_PROCESSES);
}

void doctor_dovecot(struct doctor_findings *f, const struct found_service *found)
{
	static const struct {
		const char *protocol, *service;
	} logins[] = {{"imap", "imap-login"}, {"pop3", "pop3-login"}, {"sieve", "managesieve-login"},
		{"smtp", "submission-login"}};
	static const char *const argv[] = {"doveconf", "-h", "shutdown_clients", NULL};
	struct error ignored;
	auto_buf struct buf said = BUF_INIT(TOOL_OUTPUT_MAX);
	if (tool_run(argv, &said, &ignored) == 0 && strcmp(buf_text(&said), "yes\n") == 0)
		doctor_remedy(doctor_add(f, DOCTOR_WARNING,
				      "dovecot: a reload ends everybody's session, and each renewal reloads"),
			"in its configuration: shutdown_clients = no");
	for (size_t i = 0; i < COUNT(logins); i++)
		for (size_t k = 0; k < found->port_count; k++)
			if (found->ports[k].protocol && strncmp(found->ports[k].protocol, logins[i].protocol, 4) == 0) {
				look_at_login(f, logins[i].service);
				break;
			}
}
