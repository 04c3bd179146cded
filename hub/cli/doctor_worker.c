#include "hub/cli/doctor_worker.h"
#include "hub/common/config.h"
#include "lib/core/tool.h"
#include "lib/core/mem.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a word of the configuration names, and whether it is a secret that others must not have. */
struct named {
	const char *word, *path;
	bool secret;
};

/* Tries it as that user, since access control lists, groups and every directory on the way have a say. Returns 1 or 0,
 * or -1 when it cannot be told. */
static int can_read(const char *user, const char *path, struct error *err)
{
	const struct passwd *entry = getpwnam(user);
	if (!entry)
		return error_set(err, ERROR_PERMANENT, "there is no user %s", user);
	auto_free char *group = mem_printf("%u", (unsigned)entry->pw_gid);
	auto_buf struct buf ignored = BUF_INIT(4096);
	const char *const argv[] = {
		"setpriv", "--reuid", user, "--regid", group, "--init-groups", "test", "-r", path, NULL};
	int exit_code = 0;
	if (tool_exit(argv, &ignored, &exit_code, err) < 0)
		return -1;
	return exit_code == 0;
}

static bool look_at(struct doctor_findings *f, const char *user, const struct named *n)
{
	struct error err;
	struct stat st;
	/* A file that is missing is the hook's own to miss, which may do without. */
	if (!n->path || stat(n->path, &st) < 0)
		return true;
	int can = can_read(user, n->path, &err);
	if (can > 0)
		return true;
	if (can < 0)
		doctor_add(f, DOCTOR_UNKNOWN, "whether %s can read %s (%s): %s", user, n->path, n->word, err.message);
	else if (n->secret)
		doctor_remedy(doctor_add(f, DOCTOR_WRONG, "%s, whom DNS hooks run as, cannot read %s (%s)", user,
				      n->path, n->word),
			"chown %s %s && chmod 600 %s; the same for files that it names, such as a TSIG key", user,
			n->path, n->path);
	else
		doctor_remedy(doctor_add(f, DOCTOR_WRONG, "%s, whom workers run as, cannot read %s (%s)", user, n->path,
				      n->word),
			"chmod 644 %s, and every directory above it 755: it has certificates alone", n->path);
	return false;
}

static bool look_at_hook(
	struct doctor_findings *f, const struct hub_config *c, const struct hub_certificate *certificate)
{
	if (!certificate->dns_hook)
		return true;
	const char *slash = strrchr(certificate->dns_hook, '/');
	auto_free char *usual = mem_printf("/etc/certsync/%s.conf", slash ? slash + 1 : certificate->dns_hook);
	const struct named config = {"dns_config", certificate->dns_config ? certificate->dns_config : usual, true};
	return look_at(f, c->worker_user, &config);
}

void doctor_worker_files(struct doctor_findings *f, const void *site)
{
	const struct hub_config *c = site;
	const struct named shared[] = {{"anchors", c->anchors, false}, {"ca_file of alert", c->alert.ca_file, false}};
	bool good = true;
	if (geteuid() != 0) {
		doctor_add(f, DOCTOR_UNKNOWN, "what %s can read: run doctor as root", c->worker_user);
		return;
	}
	for (size_t i = 0; i < COUNT(shared); i++)
		good = look_at(f, c->worker_user, &shared[i]) && good;
	for (size_t i = 0; i < c->acme_count; i++) {
		const struct named ca_file = {"ca_file", c->acmes[i].ca_file, false};
		good = look_at(f, c->worker_user, &ca_file) && good;
	}
	for (size_t i = 0; i < c->certificate_count; i++)
		good = look_at_hook(f, c, &c->certificates[i]) && good;
	if (good)
		doctor_add(f, DOCTOR_OK, "%s can read what hub.conf names for it", c->worker_user);
}
