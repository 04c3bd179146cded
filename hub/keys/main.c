/* certsync-keys: holds the private keys of the hub, and does with them what it is asked for over its descriptors. */
#include "hub/common/child.h"
#include "hub/keys/server.h"
#include "lib/core/confine.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"
#include "lib/core/proc.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* The process keeps the directory of the keys and nothing else. OpenSSL has read its own files by then. */
static void keep_to(const char *directory)
{
	const struct confine_path paths[] = {{CONFINE_CHANGE, directory}};
	const struct confine may = {.paths = paths, .path_count = COUNT(paths)};
	OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, NULL);
	struct confinement got = confine(&may);
	const struct confinement_fault fault = confine_fault(&got);
	if (fault.text)
		log_event(LOG_LEVEL_WARNING, "confine", "reason=\"%s\" remedy=\"%s\"", fault.text, fault.remedy);
}

static int socket_or_none(int fd)
{
	struct stat st;
	return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode) ? fd : -1;
}

int main(int argc, char **argv)
{
	struct error err;
	proc_harden();
	log_open("certsync-keys");
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		printf("certsync-keys %s\n", CERTSYNC_VERSION);
		return EXIT_DONE;
	}
	const struct server_fds fds = {
		socket_or_none(CHILD_ROOT_FD), socket_or_none(CHILD_LINK_FD), socket_or_none(CHILD_LISTEN_FD)};
	if (argc != 2 || argv[1][0] != '/' || fds.root < 0 || fds.daemon < 0) {
		fputs("usage: certsync-keys DIRECTORY, by certsync-hub-root alone\n", stderr);
		return EXIT_USAGE;
	}
	keep_to(argv[1]);
	if (server_run(argv[1], &fds, &err) == 0)
		return EXIT_DONE;
	log_event(LOG_LEVEL_ERROR, "private-keys", "error=\"%s\"", err.message);
	return EXIT_FAILED;
}
