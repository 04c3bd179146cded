#include "lib/cli/doctor_haproxy.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int haproxy_read(struct buf *out, bool *ret_hidden)
{
	struct error err;
	*ret_hidden = false;
	if (access(HAPROXY_CONF, F_OK) < 0)
		return -1;
	if (fs_read(AT_FDCWD, HAPROXY_CONF, true, out, &err) == 0)
		return 0;
	*ret_hidden = true;
	return -1;
}

bool haproxy_any_line(struct buf *conf, bool (*is)(const char *line, const void *context), const void *context)
{
	auto_free char *copy = mem_strdup(buf_text(conf));
	char *save = NULL;
	for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		line += strspn(line, " \t");
		if (*line != '#' && is(line, context))
			return true;
	}
	return false;
}

static bool is_stats(const char *line, const void *context)
{
	(void)context;
	return strncmp(line, "stats socket", 12) == 0;
}

static bool is_admin(const char *line, const void *context)
{
	return is_stats(line, context) && strstr(line, "level admin");
}

void doctor_haproxy_socket(struct doctor_findings *f, const void *config)
{
	(void)config;
	auto_buf struct buf conf = BUF_INIT(HAPROXY_CONF_MAX);
	bool hidden;
	if (haproxy_read(&conf, &hidden) < 0)
		return;
	if (haproxy_any_line(&conf, is_admin, NULL))
		doctor_add(f, DOCTOR_OK, "HAProxy takes certificates through its socket, without a reload");
	else
		doctor_remedy(doctor_add(f, DOCTOR_WARNING, "HAProxy %s: each renewal is a reload",
				      haproxy_any_line(&conf, is_stats, NULL) ? "gives its stats socket no level admin"
									      : "has no stats socket"),
			"in the section global of " HAPROXY_CONF
			": stats socket /run/haproxy/admin.sock mode 660 level admin");
}
