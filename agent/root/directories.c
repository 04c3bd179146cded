#include "agent/root/directories.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_place(const char *path, mode_t mode, const struct proc_user *owner, struct error *err)
{
	/* Everybody may read the parents (the umask is 077 otherwise); the place itself gets its mode below. */
	mode_t before = umask(022);
	int made = fs_make_directories(path, 0755, err);
	umask(before);
	int fd = made < 0 ? -1 : fs_open_directory(AT_FDCWD, path, err);
	if (fd < 0)
		return -1;
	/* What a killed run wrote there, and is relied on from now on, may not be durable yet. */
	if (fs_sync_directory(fd, err) < 0) {
		error_wrap(err, "%s", path);
		close(fd);
		return -1;
	}
	struct stat st;
	if (fstat(fd, &st) == 0 && (st.st_mode & 07777) == mode &&
		(!owner || (st.st_uid == owner->uid && st.st_gid == owner->gid)))
		return fd;
	if (fchmod(fd, mode) == 0 && (!owner || fchown(fd, owner->uid, owner->gid) == 0))
		return fd;
	error_errno(err, "cannot give the directory %s its owner and mode", path);
	close(fd);
	return -1;
}

static int open_places(const struct agent_config *config, struct directories *p, struct error *err)
{
	const struct proc_user root = {.uid = 0, .gid = 0};
	const struct proc_user *user = p->has_user ? &p->user : NULL;
	p->root_state = open_place(config->root_state, 0700, p->has_user ? &root : NULL, err);
	if (p->root_state < 0)
		return -1;
	p->state = open_place(config->state, 0700, user, err);
	if (p->state < 0)
		return -1;
	/* The control socket takes its group from the directory, since the daemon is not in that group, which may do
	 * more than the daemon. */
	struct proc_user operators = p->user;
	const struct group *group = p->has_user ? getgrnam(config->admin_group) : NULL;
	if (group)
		operators.gid = group->gr_gid;
	p->run = open_place(config->run, group ? 02755 : 0755, group ? &operators : user, err);
	return p->run < 0 ? -1 : 0;
}

int directories_open(const struct agent_config *config, struct directories *ret, struct error *err)
{
	struct directories p = {.root_state = -1, .state = -1, .run = -1, .pins = -1, .has_user = geteuid() == 0};
	if (p.has_user && proc_user_find(config->user, &p.user, err) < 0)
		return error_wrap(err, "%s: user", config->path);
	if (open_places(config, &p, err) < 0) {
		directories_close(&p);
		return -1;
	}
	auto_free char *pins = mem_printf("%s/pins", config->directory);
	p.pins = open(pins, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	*ret = p;
	return 0;
}

static void close_place(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void directories_close(struct directories *p)
{
	close_place(&p->root_state);
	close_place(&p->state);
	close_place(&p->run);
	close_place(&p->pins);
}

void directories_sweep(const struct directories *p)
{
	fs_sweep(p->root_state);
	fs_sweep(p->state);
	fs_sweep(p->run);
	if (p->pins >= 0) {
		struct error ignored;
		fs_sweep(p->pins);
		fs_sync_directory(p->pins, &ignored);
	}
}

static bool parse_instance(struct buf *text, uint8_t ret[REQUEST_INSTANCE_SIZE])
{
	const char *hex = buf_text(text);
	if (text->len != 2 * REQUEST_INSTANCE_SIZE + 1 || strspn(hex, "0123456789abcdef") != 2 * REQUEST_INSTANCE_SIZE)
		return false;
	for (size_t i = 0; i < REQUEST_INSTANCE_SIZE; i++) {
		const char pair[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
		ret[i] = (uint8_t)strtoul(pair, NULL, 16);
	}
	return true;
}

int directories_instance(const struct directories *p, uint8_t ret[REQUEST_INSTANCE_SIZE], struct error *err)
{
	auto_buf struct buf text = BUF_INIT(64);
	struct error ignored;
	if (fs_read(p->run, "instance", false, &text, &ignored) == 0 && parse_instance(&text, ret))
		return 0;
	if (getrandom(ret, REQUEST_INSTANCE_SIZE, 0) != REQUEST_INSTANCE_SIZE)
		return error_errno(err, "no random bytes");
	buf_reset(&text);
	for (size_t i = 0; i < REQUEST_INSTANCE_SIZE; i++)
		buf_addf(&text, "%02x", ret[i]);
	buf_addf(&text, "\n");
	return fs_write(p->run, "instance", text.data, text.len, FS_PUBLIC, err) < 0 ? 1 : 0;
}
