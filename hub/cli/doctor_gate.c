#include "hub/cli/doctor_gate.h"
#include "hub/common/config.h"
#include "hub/cli/doctor_sshd.h"
#include "lib/cli/doctor_place.h"
#include "lib/cli/doctor_system.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"
#include "lib/core/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <pwd.h>
#include <shadow.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* This address and name are nobody's (RFC 5737, RFC 2606), so they stand for an agent from anywhere. */
#define SSHD_ANYBODY "host=agent.invalid,addr=192.0.2.1"
/* The directory that Debian's ssh.service makes when it starts (RuntimeDirectory=sshd). */
#define SSHD_DIRECTORY "/run/sshd"

enum { DUMP_MAX = 256 * 1024, DROP_IN_MAX = 64 * 1024, GROUPS_MAX = 32, SSH_PORT = 22 };

static bool has_remote_agents(const struct hub_config *c)
{
	for (size_t i = 0; i < c->agent_count; i++)
		if (!c->agents[i].local)
			return true;
	return false;
}

/* ---- what sshd says ---- */

static uint16_t port_of(const char *ssh)
{
	const char *host = ssh ? strrchr(ssh, '@') : NULL;
	const char *end = host ? strchr(host, ']') : NULL;
	const char *colon = host ? strrchr(end ? end : host, ':') : NULL;
	return colon ? (uint16_t)strtoul(colon + 1, NULL, 10) : SSH_PORT;
}

/* Runs sshd for what it says of its configuration. Where ssh.socket waits and nobody has come in yet, the directory that
 * sshd wants even for that is not there: it is made as that unit makes it, which then takes it over. */
static int ask_sshd(const char *const *argv, struct buf *out, struct error *err)
{
	if (tool_run(argv, out, err) == 0)
		return 0;
	if (!strstr(err->message, "Missing privilege separation directory: " SSHD_DIRECTORY))
		return -1;
	mode_t before = umask(022);
	bool there = mkdir(SSHD_DIRECTORY, 0755) == 0 || errno == EEXIST;
	umask(before);
	return there ? tool_run(argv, out, err) : -1;
}

/* Appends what `sshd -T` prints for the account. */
static int dump_sshd(const struct hub_config *c, struct buf *out, struct error *err)
{
	/* Without lport= sshd refuses to tell where there is a `Match LocalPort`. */
	auto_free char *who = mem_printf("user=%s,%s,lport=%u", c->gate_user, SSHD_ANYBODY, port_of(c->ssh));
	const char *const argv[] = {"sshd", "-T", "-C", who, NULL};
	return ask_sshd(argv, out, err);
}

struct wish {
	struct sshd_wish sshd;
	char *home;                   /* owned */
	char *groups[GROUPS_MAX + 1]; /* owned */
};

static void wish_release(struct wish *w)
{
	free(w->home);
	for (size_t i = 0; w->groups[i]; i++)
		free(w->groups[i]);
}

static void wish_for(const struct hub_config *c, struct wish *w)
{
	*w = (struct wish){0};
	const struct passwd *user = getpwnam(c->gate_user);
	gid_t ids[GROUPS_MAX];
	int count = user ? GROUPS_MAX : 0;
	auto_free char *keys = mem_strdup(c->authorized_keys);
	w->home = mem_strdup(user ? user->pw_dir : dirname(dirname(keys)));
	if (user && getgrouplist(c->gate_user, user->pw_gid, ids, &count) < 0)
		count = GROUPS_MAX;
	for (int i = 0, at = 0; i < count; i++) {
		const struct group *group = getgrgid(ids[i]);
		if (group)
			w->groups[at++] = mem_strdup(group->gr_name);
	}
	if (!w->groups[0])
		w->groups[0] = mem_strdup(c->gate_user);
	w->sshd = (struct sshd_wish){c->gate_user, (const char *const *)w->groups, w->home, c->authorized_keys,
		port_of(c->ssh), c->agent_count};
}

/* ---- the account ---- */

static void look_at_password(struct doctor_findings *f, const struct hub_config *c)
{
	struct error err;
	auto_buf struct buf dump = BUF_INIT(DUMP_MAX);
	const char *const mend[] = {"usermod", "--password", "*", c->gate_user, NULL};
	errno = 0;
	const struct spwd *shadow = geteuid() == 0 ? getspnam(c->gate_user) : NULL;
	if (!shadow) {
		doctor_add(f, DOCTOR_UNKNOWN, "the password field of %s: %s", c->gate_user,
			geteuid() == 0 ? "there is none in /etc/shadow" : "run doctor as root");
		return;
	}
	if (strcmp(shadow->sp_pwdp, "*") == 0) {
		doctor_add(f, DOCTOR_OK, "%s has no password and is not locked", c->gate_user);
		return;
	}
	bool locked = shadow->sp_pwdp[0] == '!';
	auto_free char *use_pam =
		dump_sshd(c, &dump, &err) == 0 ? sshd_values(buf_text(&dump), "usepam") : mem_strdup("");
	bool pam = strcasecmp(use_pam, "yes") == 0;
	struct doctor_finding *finding =
		doctor_add(f, locked && pam ? DOCTOR_WARNING : DOCTOR_WRONG, "%s %s", c->gate_user,
			!shadow->sp_pwdp[0] ? "has an empty password: anybody may be it"
				: !locked   ? "has a password: it needs none"
				: pam       ? "is locked (\"!\"), which an sshd with UsePAM no would refuse"
					    : "is locked (\"!\"), and sshd with UsePAM no refuses it");
	doctor_command(finding, mend);
}

void doctor_gate_account(struct doctor_findings *f, const void *site)
{
	const struct hub_config *c = site;
	if (!has_remote_agents(c))
		return;
	auto_free char *shell = mem_printf("%s/certsync-gate", fs_program_directory());
	auto_free char *keys = mem_strdup(c->authorized_keys);
	const struct doctor_user user = {c->gate_user, dirname(dirname(keys)), shell};
	if (doctor_user(f, &user))
		look_at_password(f, c);
}

/* ---- its files ---- */

void doctor_gate_files(struct doctor_findings *f, const void *site)
{
	const struct hub_config *c = site;
	if (!has_remote_agents(c))
		return;
	auto_free char *copy = mem_strdup(c->authorized_keys);
	auto_free char *directory = mem_strdup(dirname(copy));
	auto_free char *copy2 = mem_strdup(directory);
	const char *home = dirname(copy2);
	const char *root = geteuid() == 0 ? "root" : NULL;
	const struct doctor_place places[] = {
		{home, "", root, root, 0755, true, false, DOCTOR_MISSING_MADE},
		{directory, "", root, root, 0755, true, false, DOCTOR_MISSING_MADE},
		{c->authorized_keys, "", root, root, 0644, false, false, DOCTOR_MISSING_FINE},
	};
	bool good = true;
	for (size_t i = 0; i < COUNT(places); i++)
		good = doctor_place(f, &places[i]) && good;
	if (good)
		doctor_add(f, DOCTOR_OK, "sshd may take %s", c->authorized_keys);
}

/* ---- sshd ---- */

/* The drop-in as it is to be. */
struct drop_in {
	const struct hub_config *config; /* borrowed */
	struct buf text;
	size_t faults; /* that it is to mend */
};

static void drop_in_free(void *what)
{
	struct drop_in *d = what;
	buf_release(&d->text);
	free(d);
}

static size_t count_mendable(const struct sshd_verdict *v)
{
	size_t count = 0;
	for (size_t i = 0; i < v->count; i++)
		count += v->faults[i].line[0] != '\0';
	return count;
}

/* Says what sshd would do with the new file, before any sshd has it. */
static int try_drop_in(const struct drop_in *d, struct error *err)
{
	static const char *const test[] = {"sshd", "-t", NULL};
	auto_buf struct buf said = BUF_INIT(DUMP_MAX), dump = BUF_INIT(DUMP_MAX);
	struct sshd_verdict verdict;
	struct wish wish;
	if (ask_sshd(test, &said, err) < 0 || dump_sshd(d->config, &dump, err) < 0)
		return -1;
	wish_for(d->config, &wish);
	sshd_judge(buf_text(&dump), &wish.sshd, &verdict);
	wish_release(&wish);
	for (size_t i = 0; i < verdict.count; i++)
		if (verdict.faults[i].line[0])
			return error_set(err, ERROR_PERMANENT,
				"sshd goes on as before (%s): /etc/ssh/sshd_config does not include "
				"/etc/ssh/sshd_config.d/*.conf, or a line that comes first says otherwise. Put these lines "
				"at the beginning of /etc/ssh/sshd_config by hand",
				verdict.faults[i].text);
	return 0;
}

static int write_drop_in(void *what, struct error *err)
{
	struct drop_in *d = what;
	struct error ignored;
	struct stat st;
	auto_buf struct buf old = BUF_INIT(DROP_IN_MAX);
	bool had = stat(DOCTOR_SSHD_DROP_IN, &st) == 0;
	if (had && fs_read(AT_FDCWD, DOCTOR_SSHD_DROP_IN, false, &old, err) < 0)
		return -1;
	const struct fs_owner owner = had ? (struct fs_owner){st.st_uid, st.st_gid, st.st_mode & 07777} : FS_PUBLIC;
	mode_t before = umask(022);
	int made = fs_make_directories("/etc/ssh/sshd_config.d", 0755, err);
	umask(before);
	if (made < 0 || fs_write(AT_FDCWD, DOCTOR_SSHD_DROP_IN, d->text.data, d->text.len, owner, err) < 0)
		return -1;
	if (try_drop_in(d, err) == 0)
		return 0;
	if (!had)
		unlink(DOCTOR_SSHD_DROP_IN);
	else if (fs_write(AT_FDCWD, DOCTOR_SSHD_DROP_IN, old.data, old.len, owner, &ignored) < 0)
		return error_wrap(err, "%s; and " DOCTOR_SSHD_DROP_IN " could not be put back", ignored.message);
	return error_wrap(err, DOCTOR_SSHD_DROP_IN " was taken back");
}

/* Returns the command that makes a running sshd read the file. One that ssh.socket will start reads it then. */
static const char *reload_command(void)
{
	return access("/usr/lib/systemd/system/ssh.service", F_OK) == 0 ? "systemctl try-reload-or-restart ssh"
									: "systemctl try-reload-or-restart sshd";
}

static void propose_drop_in(
	struct doctor_findings *f, const struct hub_config *c, const struct sshd_verdict *v, const struct wish *wish)
{
	struct error err;
	auto_buf struct buf old = BUF_INIT(DROP_IN_MAX);
	if (access(DOCTOR_SSHD_DROP_IN, R_OK) == 0 && fs_read(AT_FDCWD, DOCTOR_SSHD_DROP_IN, false, &old, &err) < 0)
		buf_reset(&old);
	struct drop_in *d = mem_alloc(sizeof(*d));
	*d = (struct drop_in){.config = c, .text = BUF_INIT(2 * DROP_IN_MAX), .faults = count_mendable(v)};
	if (sshd_drop_in(v, &wish->sshd, buf_text(&old), &d->text) < 0)
		mem_abort(__func__); /* the old text is half as long at most */
	struct doctor_finding *finding = doctor_add(f, DOCTOR_WARNING, "%zu of this: one file mends it", d->faults);
	doctor_remedy(finding, DOCTOR_SSHD_DROP_IN ", then sshd -t && %s:\n%s", reload_command(), buf_text(&d->text));
	finding->next = mem_strdup(reload_command());
	doctor_mends(finding, write_drop_in, d, drop_in_free);
}

static void tell_faults(
	struct doctor_findings *f, const struct hub_config *c, const struct sshd_verdict *v, const struct wish *wish)
{
	for (size_t i = 0; i < v->count; i++) {
		const struct sshd_fault *fault = &v->faults[i];
		struct doctor_finding *finding =
			doctor_add(f, fault->wrong ? DOCTOR_WRONG : DOCTOR_WARNING, "%s", fault->text);
		if (fault->line[0] && fault->global)
			doctor_remedy(finding, "the line: %s", fault->line);
		else if (fault->line[0])
			doctor_remedy(finding, "the line, below Match User %s: %s", c->gate_user, fault->line);
	}
	if (count_mendable(v))
		propose_drop_in(f, c, v, wish);
	else
		doctor_add(f, DOCTOR_OK, "%s may come in by its key, and its command is run", c->gate_user);
}

/* Agents pin what hub.conf names; `keys` are the private halves, with blanks between. */
static bool is_host_key(const char *keys, const char *public)
{
	size_t len = strlen(public);
	auto_free char *all = mem_printf(" %s ", keys);
	auto_free char *word = mem_printf(" %.*s ", (int)(len > 4 ? len - 4 : len), public);
	return strstr(all, word) != NULL;
}

static void look_at_host_keys(struct doctor_findings *f, const struct hub_config *c, const char *dump)
{
	bool good = false;
	auto_free char *keys = sshd_values(dump, "hostkey");
	for (size_t i = 0; c->host_keys[i]; i++)
		good = good || is_host_key(keys, c->host_keys[i]);
	if (!good && *keys)
		doctor_remedy(doctor_add(f, DOCTOR_WRONG, "agents pin the host key %s, and sshd has others",
				      c->host_keys[0] ? c->host_keys[0] : "(none)"),
			"in %s: host_keys = {the .pub of what `sshd -T | grep -i ^hostkey` shows}", c->path);
}

void doctor_gate_sshd(struct doctor_findings *f, const void *site)
{
	const struct hub_config *c = site;
	struct error err;
	struct wish wish;
	struct sshd_verdict verdict;
	auto_buf struct buf dump = BUF_INIT(DUMP_MAX);
	if (!has_remote_agents(c))
		return;
	if (geteuid() != 0) {
		doctor_add(f, DOCTOR_UNKNOWN, "what sshd does with %s: run doctor as root", c->gate_user);
		return;
	}
	if (!tool_exists("sshd")) {
		doctor_add(f, DOCTOR_WRONG, "sshd is not installed: agents come in through it");
		return;
	}
	if (dump_sshd(c, &dump, &err) < 0) {
		doctor_remedy(doctor_add(f, DOCTOR_UNKNOWN, "what sshd does with %s: %s", c->gate_user, err.message),
			"sshd -t");
		return;
	}
	wish_for(c, &wish);
	sshd_judge(buf_text(&dump), &wish.sshd, &verdict);
	tell_faults(f, c, &verdict, &wish);
	look_at_host_keys(f, c, buf_text(&dump));
	wish_release(&wish);
}
