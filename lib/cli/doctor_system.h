/* What both sides look at on their node: accounts, clock, disk, Landlock, SELinux and AppArmor.
 */
#ifndef CERTSYNC_DOCTOR_SYSTEM_H
#define CERTSYNC_DOCTOR_SYSTEM_H

#include "lib/cli/doctor.h"

struct doctor_user {
	const char *name, *home;
	const char *shell; /* NULL: whatever it has; made with nologin */
};

/* Each adds a finding unless all is well, and returns whether it is. */
bool doctor_user(struct doctor_findings *f, const struct doctor_user *user);
bool doctor_group(struct doctor_findings *f, const char *name);

/* Of a configuration that could not be loaded: the users and the group among these that `faults` says are missing. */
void doctor_missing(struct doctor_findings *f, const char *faults, const char *group, const struct doctor_user *users,
	size_t count);
/* Its faults, a line each, and that all else follows from it. */
void doctor_faults(struct doctor_findings *f, const char *faults, const char *path, const char *page);

/* Each adds its findings, or nothing where the thing is absent. */
void doctor_clock(struct doctor_findings *f);
/* Where `path` is or will be. */
void doctor_disk(struct doctor_findings *f, const char *path);

/* Whether this kernel lets processes confine themselves (lib/core/confine.h). */
void doctor_confinement(struct doctor_findings *f);

/* `path` is to have a label of this type for the programs that read it ("cert_t"). Nothing where SELinux is off
 * or the path is missing. */
struct doctor_label {
	const char *path, *type;
};
void doctor_selinux(struct doctor_findings *f, const struct doctor_label *labels, size_t count);
/* Whether a profile whose name ends with this program's is enforced. -1: cannot be told, 0 also where there is no AppArmor. */
int doctor_apparmor(const char *program);

/* Nobody answered at `socket`, a daemon's control socket: why, by `err`, and what to do with its service. */
void doctor_silent(
	struct doctor_findings *f, const char *socket, const char *service, const char *group, const struct error *err);

/* Where systemd runs: the unit is to be enabled, and started before each of these units that is enabled (NULL at the
 * end). */
void doctor_unit(struct doctor_findings *f, const char *unit, const char *const *before);

/* A process of this name, by /proc: as the kernel keeps it, 15 characters. */
bool doctor_runs(const char *program);

#endif
