/* A system service as its manager describes it: what root's own unit file starts it with, and which process is its main
 * one. systemctl(1) is asked, since a process says of itself what it likes.
 */
#ifndef CERTSYNC_LIB_SERVICE_UNIT_H
#define CERTSYNC_LIB_SERVICE_UNIT_H

#include "lib/core/buf.h"
#include "lib/core/error.h"

#include <sys/types.h>

enum { UNIT_WORDS_MAX = 64 * 1024 };

struct unit {
	pid_t main_pid;   /* 0: it has none */
	char *program;    /* the file that ExecStart runs; owned, as all strings here; NULL: none */
	char *directory;  /* where it is started; "/" unless the unit says otherwise */
	struct buf words; /* ExecStart, each word with a NUL behind it */
};

#define UNIT_INIT ((struct unit){.words = BUF_INIT(UNIT_WORDS_MAX)})
#define auto_unit __attribute__((cleanup(unit_release)))
void unit_release(struct unit *u);

/* Reads the service whose cgroup this is (process_unit). Its words are empty, with the reason in `err`, where systemctl
 * does not show them as they are: with variables, quotes, or several commands. Returns -1 when there is no such
 * service, or no systemd. */
int unit_read(const char *cgroup, struct unit *ret, struct error *err);

#endif
