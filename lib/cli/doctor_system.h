/* What both the hub's and the agent's doctor look at on their node: accounts, clock, disk, Landlock, SELinux and
 * AppArmor.
 */
#ifndef CERTSYNC_LIB_CLI_DOCTOR_SYSTEM_H
#define CERTSYNC_LIB_CLI_DOCTOR_SYSTEM_H

#include "lib/cli/doctor.h"

struct doctor_user {
	const char *name, *home;
	const char *shell; /* NULL: whatever it has; made with nologin */
};

/* Each adds a finding unless all is well, and returns whether it is. */
bool doctor_user(struct doctor_findings *f, const struct doctor_user *user);
bool doctor_group(struct doctor_findings *f, const char *name);

/* Where a configuration could not be loaded: adds those of these users and this group that `faults` says are
 * missing. */
void doctor_missing(struct doctor_findings *f, const char *faults, const char *group, const struct doctor_user *users,
	size_t count);
/* Adds the configuration's faults, a line each, and says that everything else follows from them. */
void doctor_faults(struct doctor_findings *f, const char *faults, const char *path, const char *page);

/* Each adds its findings, or nothing where its subject is absent. */
void doctor_clock(struct doctor_findings *f);
/* Looks at the file system where `path` is or will be. */
void doctor_disk(struct doctor_findings *f, const char *path);

/* Says whether this kernel lets processes confine themselves (lib/core/confine.h). */
void doctor_confinement(struct doctor_findings *f);

/* `path` has to have a label of this type ("cert_t") for the programs that read it. Nothing is found where SELinux is
 * off or the path is missing. */
struct doctor_label {
	const char *path, *type;
};
void doctor_selinux(struct doctor_findings *f, const struct doctor_label *labels, size_t count);
/* Returns whether a profile whose name ends with this program's is enforced: 1, 0 (also without AppArmor), or -1 when
 * it cannot be told. */
int doctor_apparmor(const char *program);

/* Nobody answered at `socket`, a daemon's control socket: says why, by `err`, and what to do with its service. */
void doctor_silent(
	struct doctor_findings *f, const char *socket, const char *service, const char *group, const struct error *err);

/* Where systemd runs, the unit has to be enabled, and started before each of these units that is enabled (the list ends
 * with NULL). */
void doctor_unit(struct doctor_findings *f, const char *unit, const char *const *before);

/* Returns whether a process of this name runs, by /proc; the kernel keeps 15 characters of a name. */
bool doctor_runs(const char *program);

#endif
