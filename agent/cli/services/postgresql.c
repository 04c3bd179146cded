#include "agent/cli/services/find.h"
#include "lib/core/mem.h"
#include "lib/core/owned.h"
#include "lib/core/tool.h"

#include <glob.h>
#include <libgen.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char etc[] = "/etc/postgresql", usual_user[] = "postgres";

enum { SSL, PORT, ADDRESSES, DATA, CERTIFICATE, KEY, VALUES };
static const char *const settings[VALUES] = {
	"ssl", "port", "listen_addresses", "data_directory", "ssl_cert_file", "ssl_key_file"};

/* One of Debian's, /etc/postgresql/VERSION/NAME. */
struct cluster {
	const char *directory;
	const char *name; /* VERSION/NAME */
	char *program;    /* owned */
	struct proc_user user;
	char *values[VALUES]; /* owned */
};

static void cluster_release(struct cluster *c)
{
	for (size_t i = 0; i < VALUES; i++)
		free(c->values[i]);
	free(c->program);
}

/* Finds the user whose configuration it is, as whom the server runs. Only he and root may be able to change it. */
static int find_user(struct cluster *c, struct error *err)
{
	struct stat st;
	auto_free char *path = mem_printf("%s/postgresql.conf", c->directory);
	if (stat(path, &st) < 0)
		return error_errno(err, "cannot look at %s", path);
	const struct passwd *owner = st.st_uid ? getpwuid(st.st_uid) : NULL;
	if (st.st_uid && !owner)
		return error_set(err, ERROR_PERMANENT, "%s belongs to no user that is known here", path);
	if (proc_user_find(owner ? owner->pw_name : usual_user, &c->user, err) < 0)
		return -1;
	return owned_check(path, &c->user, err);
}

/* Has the server itself read its files, as its own user. */
static int read_values(struct cluster *c, struct error *err)
{
	for (size_t i = 0; i < VALUES; i++) {
		auto_buf struct buf out = BUF_INIT(64 * 1024);
		const char *const argv[] = {c->program, "-C", settings[i], "-D", c->directory, NULL};
		if (find_run_as(&c->user, argv, &out, err) < 0)
			return -1;
		const char *text = buf_text(&out);
		size_t len = strlen(text);
		c->values[i] = mem_strndup(text, len && text[len - 1] == '\n' ? len - 1 : len);
	}
	return 0;
}

static int read_cluster(struct found_service *s, struct cluster *c, struct error *err)
{
	auto_free char *version = mem_strndup(c->name, strcspn(c->name, "/"));
	c->program = mem_printf("/usr/lib/postgresql/%s/bin/postgres", version);
	if (access(c->program, X_OK) < 0)
		return error_set(err, ERROR_PERMANENT, "there is no %s", c->program);
	if (find_user(c, err) < 0)
		return -1;
	if (s->user && s->user != c->user.uid)
		return error_set(err, ERROR_PERMANENT, "it belongs to user %s, and the clusters before it to another",
			c->user.name);
	return read_values(c, err);
}

static void add_cluster(struct found_service *s, struct cluster *c)
{
	struct error err;
	if (read_cluster(s, c, &err) < 0) {
		found_note(s, "%s: %s: left", c->name, err.message);
		return;
	}
	s->user = c->user.uid;
	if (strcmp(c->values[SSL], "on") != 0)
		return;
	find_addresses(s, c->values[ADDRESSES], found_port_number(c->values[PORT]), "postgres");
	auto_free char *certificate = mem_printf("%s: %s", c->name, settings[CERTIFICATE]);
	auto_free char *key = mem_printf("%s: %s", c->name, settings[KEY]);
	find_pair(s,
		&(struct find_pair){
			certificate, c->values[CERTIFICATE], key, c->values[KEY], c->values[DATA], &c->user, etc});
}

/* PostgreSQL reads its files as its own user, so it needs copies. Its configuration is that user's word. */
int find_postgresql(struct found_service *s, struct error *err)
{
	(void)err;
	glob_t found = {0};
	s->program = mem_strdup("postgres");
	auto_free char *pattern = mem_printf("%s/*/*/postgresql.conf", etc);
	if (glob(pattern, 0, NULL, &found) != 0)
		found.gl_pathc = 0;
	for (size_t i = 0; i < found.gl_pathc; i++) {
		const char *directory = dirname(found.gl_pathv[i]);
		struct cluster c = {.directory = directory, .name = directory + strlen(etc) + 1};
		add_cluster(s, &c);
		cluster_release(&c);
	}
	globfree(&found);
	return 0;
}
