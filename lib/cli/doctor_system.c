#include "lib/cli/doctor_system.h"
#include "lib/core/buf.h"
#include "lib/core/confine.h"
#include "lib/core/mem.h"
#include "lib/service/process.h"
#include "lib/core/tool.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <sys/xattr.h>
#include <unistd.h>

enum {
	DISK_WRONG_KIB = 1024,
	DISK_WARNING_KIB = 64 * 1024,
	LABEL_MAX = 256,
	UNIT_TEXT_MAX = 64 * 1024,
};

/* ---- accounts ---- */

bool doctor_group(struct doctor_findings *f, const char *name)
{
	if (getgrnam(name))
		return true;
	const char *const add[] = {"groupadd", "--system", name, NULL};
	doctor_command(doctor_add(f, DOCTOR_WRONG, "there is no group %s", name), add);
	return false;
}

bool doctor_user(struct doctor_findings *f, const struct doctor_user *user)
{
	const struct passwd *entry = getpwnam(user->name);
	if (!entry) {
		bool grouped = getgrnam(user->name) != NULL;
		const char *shell = user->shell ? user->shell : "/usr/sbin/nologin";
		const char *add[] = {"useradd", "--system", "--no-create-home", "--home-dir", user->home, "--shell",
			shell, grouped ? "--no-user-group" : "--user-group", "--gid", user->name, user->name, NULL};
		if (!grouped) { /* its group is made with it */
			add[8] = user->name;
			add[9] = NULL;
		}
		doctor_command(doctor_add(f, DOCTOR_WRONG, "there is no user %s", user->name), add);
		return false;
	}
	if (entry->pw_uid == 0 && geteuid() == 0) {
		doctor_add(f, DOCTOR_WRONG, "the user %s is root: give it an account of its own", user->name);
		return false;
	}
	if (!user->shell || strcmp(entry->pw_shell, user->shell) == 0)
		return true;
	auto_free char *has = realpath(entry->pw_shell, NULL);
	auto_free char *wants = realpath(user->shell, NULL);
	if (has && wants && strcmp(has, wants) == 0)
		return true;
	const char *const change[] = {"usermod", "--shell", user->shell, user->name, NULL};
	doctor_command(doctor_add(f, DOCTOR_WRONG, "the login shell of %s is %s: agents can come in only through %s",
			       user->name, entry->pw_shell, user->shell),
		change);
	return false;
}

void doctor_missing(
	struct doctor_findings *f, const char *faults, const char *group, const struct doctor_user *users, size_t count)
{
	auto_free char *no_group = mem_printf(": there is no group %s on", group);
	if (strstr(faults, no_group))
		doctor_group(f, group);
	for (size_t i = 0; i < count; i++) {
		auto_free char *no_user = mem_printf(": there is no user %s on", users[i].name);
		if (strstr(faults, no_user))
			doctor_user(f, &users[i]);
	}
}

void doctor_faults(struct doctor_findings *f, const char *faults, const char *path, const char *page)
{
	auto_free char *copy = mem_strdup(faults);
	char *save = NULL;
	for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		doctor_add(f, DOCTOR_WRONG, "%s", line);
	doctor_remedy(doctor_add(f, DOCTOR_UNKNOWN, "all else depends on the configuration"),
		"mend %s (%s), then run doctor again", path, page);
}

/* ---- clock and disk ---- */

void doctor_clock(struct doctor_findings *f)
{
	struct timex t = {0};
	int state = adjtimex(&t);
	if (state < 0)
		doctor_add(f, DOCTOR_UNKNOWN, "whether the clock is kept in step: %s", strerror(errno));
	else if (state == TIME_ERROR || (t.status & STA_UNSYNC))
		doctor_remedy(doctor_add(f, DOCTOR_WARNING,
				      "no time service says that the clock is right; certificates are "
				      "judged by it"),
			"apt-get install chrony (or: timedatectl set-ntp true)");
	else
		doctor_add(f, DOCTOR_OK, "kept in step, to %ld ms", t.maxerror / 1000);
}

/* Finds the nearest directory above the path that exists. */
static int nearest(const char *path, struct statvfs *ret)
{
	auto_free char *copy = mem_strdup(path);
	char *at = copy;
	while (statvfs(at, ret) < 0) {
		if (errno != ENOENT || strlen(at) <= 1)
			return -1;
		at = dirname(at);
	}
	return 0;
}

void doctor_disk(struct doctor_findings *f, const char *path)
{
	struct statvfs st;
	if (nearest(path, &st) < 0) {
		doctor_add(f, DOCTOR_UNKNOWN, "%s: %s", path, strerror(errno));
		return;
	}
	unsigned long long kib = (unsigned long long)st.f_bavail * (st.f_frsize ? st.f_frsize : 1) / 1024;
	bool files = st.f_files == 0 || st.f_favail > 64;
	auto_free char *left = kib < 4096 ? mem_printf("%llu KiB", kib) : mem_printf("%llu MiB", kib / 1024);
	enum doctor_state state = kib < DISK_WRONG_KIB || !files ? DOCTOR_WRONG
		: kib < DISK_WARNING_KIB                         ? DOCTOR_WARNING
								 : DOCTOR_OK;
	struct doctor_finding *finding =
		doctor_add(f, state, "%s: %s free%s%s", path, left, files ? "" : ", and no file more can be made",
			st.f_flag & ST_RDONLY ? "; it is mounted read-only" : "");
	if (st.f_flag & ST_RDONLY)
		finding->state = DOCTOR_WRONG;
	if (finding->state != DOCTOR_OK)
		doctor_remedy(
			finding, "see what fills it: df -h %s; du -xh --max-depth=2 %s | sort -h | tail", path, path);
}

/* ---- Landlock, SELinux and AppArmor ---- */

void doctor_confinement(struct doctor_findings *f)
{
	const struct confinement c = confine_look();
	const struct confinement_fault fault = confine_fault(&c);
	if (fault.text)
		doctor_remedy(doctor_add(f, DOCTOR_WARNING, "%s", fault.text), "%s", fault.remedy);
	else
		doctor_add(f, DOCTOR_OK, "Landlock version %d holds each process to the files%s that it needs",
			c.version, c.version < CONFINE_PORTS_VERSION ? "" : " and ports");
}

static bool selinux_enforces(void)
{
	char byte = '0';
	auto_close int fd = open("/sys/fs/selinux/enforce", O_RDONLY | O_CLOEXEC);
	return fd >= 0 && read(fd, &byte, 1) == 1 && byte == '1';
}

static bool has_label(struct doctor_findings *f, const struct doctor_label *wanted)
{
	char label[LABEL_MAX];
	ssize_t len = getxattr(wanted->path, "security.selinux", label, sizeof(label) - 1);
	if (len < 0)
		return true;
	label[len] = '\0';
	auto_free char *type = mem_printf(":%s:", wanted->type);
	if (strstr(label, type))
		return true;
	auto_free char *pattern = mem_printf("%s(/.*)?", wanted->path);
	const char *const rule[] = {"semanage", "fcontext", "-a", "-t", wanted->type, pattern, NULL};
	const char *const restore[] = {"restorecon", "-R", wanted->path, NULL};
	struct doctor_finding *finding = doctor_add(f, DOCTOR_WRONG,
		"%s has the label %s, and SELinux lets it be read as %s", wanted->path, label, wanted->type);
	doctor_command(doctor_command(finding, rule), restore);
	return false;
}

void doctor_selinux(struct doctor_findings *f, const struct doctor_label *labels, size_t count)
{
	bool good = true;
	if (!selinux_enforces())
		return;
	for (size_t i = 0; i < count; i++)
		good = has_label(f, &labels[i]) && good;
	if (good)
		doctor_add(f, DOCTOR_OK, "SELinux enforces, and the labels are right");
}

int doctor_apparmor(const char *program)
{
	if (access("/sys/kernel/security/apparmor/profiles", F_OK) < 0)
		return 0;
	FILE *file = fopen("/sys/kernel/security/apparmor/profiles", "re");
	if (!file)
		return -1;
	char line[512];
	int found = 0;
	while (fgets(line, sizeof(line), file)) {
		char *mode = strstr(line, " (enforce)");
		if (!mode)
			continue;
		*mode = '\0';
		const char *slash = strrchr(line, '/');
		found = found || strcmp(slash ? slash + 1 : line, program) == 0;
	}
	fclose(file);
	return found;
}

/* ---- processes ---- */

bool doctor_runs(const char *program)
{
	struct process *list;
	size_t count;
	bool found = false;
	process_list(program, &list, &count);
	for (size_t k = 0; k < count; k++)
		found = found || list[k].trusted;
	free(list);
	return found;
}

/* ---- units ---- */

void doctor_silent(
	struct doctor_findings *f, const char *socket, const char *service, const char *group, const struct error *err)
{
	if (access(socket, F_OK) == 0 && access(socket, W_OK) < 0) {
		doctor_remedy(doctor_add(f, DOCTOR_UNKNOWN, "%s cannot be asked by this user", service),
			"usermod -aG %s YOU, and log in again", group);
		return;
	}
	/* The daemon is not started by itself: it may have been switched off on purpose, as on a node that is not the
	 * hub any more. */
	doctor_remedy(doctor_add(f, DOCTOR_WRONG, "%s does not answer: %s", service, err->message),
		"systemctl start %s; journalctl -u %s says why it ended", service, service);
}

/* Returns 1, 0, or -1 when it could not be found out. */
static int is_enabled(const char *unit, struct error *err)
{
	const char *const argv[] = {"systemctl", "is-enabled", "--quiet", unit, NULL};
	auto_buf struct buf said = BUF_INIT(UNIT_TEXT_MAX);
	int exit_code;
	if (tool_exit(argv, &said, &exit_code, err) < 0)
		return -1;
	return exit_code == 0;
}

/* Returns whether "Before=a.service b.service" has this unit, and not only one whose name ends with it. */
static bool is_listed(const char *shown, const char *unit)
{
	size_t len = strlen(unit);
	for (const char *at = strstr(shown, unit); at; at = strstr(at + 1, unit))
		if (at > shown && strchr("= ", at[-1]) && (at[len] == '\0' || isspace((unsigned char)at[len])))
			return true;
	return false;
}

static void look_at_order(struct doctor_findings *f, const char *unit, const char *const *before, const char *shown)
{
	size_t wrong = 0;
	struct error err;
	bool any = *before != NULL;
	for (; *before; before++) {
		int enabled = is_listed(shown, *before) ? 0 : is_enabled(*before, &err);
		wrong += enabled != 0;
		if (enabled < 0)
			doctor_add(f, DOCTOR_UNKNOWN, "whether %s starts at boot: %s", *before, err.message);
		else if (enabled)
			doctor_remedy(
				doctor_add(f, DOCTOR_WARNING,
					"%s may start before %s has mended what a crash interrupted", *before, unit),
				"systemctl edit %s:\n[Unit]\nBefore=%s", unit, *before);
	}
	if (!wrong)
		doctor_add(
			f, DOCTOR_OK, "%s starts at boot%s", unit, any ? ", before the services that it serves" : "");
}

void doctor_unit(struct doctor_findings *f, const char *unit, const char *const *before)
{
	const char *const show[] = {"systemctl", "show", "--property=Before", unit, NULL};
	struct error err;
	auto_buf struct buf said = BUF_INIT(UNIT_TEXT_MAX);
	if (access("/run/systemd/system", F_OK) < 0)
		return;
	int enabled = is_enabled(unit, &err);
	if (enabled < 0) {
		doctor_add(f, DOCTOR_UNKNOWN, "whether %s starts at boot: %s", unit, err.message);
		return;
	}
	if (!enabled) {
		doctor_remedy(doctor_add(f, DOCTOR_WRONG, "%s does not start at boot", unit),
			"systemctl enable %s, unless it was switched off on purpose", unit);
		return;
	}
	if (tool_run(show, &said, &err) < 0)
		doctor_add(f, DOCTOR_UNKNOWN, "the order at boot: %s", err.message);
	else
		look_at_order(f, unit, before, buf_text(&said));
}
