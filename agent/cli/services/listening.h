/* Who listens on this node's TCP ports, by /proc: the sockets of this network namespace, and the processes that hold
 * them. Only root sees which processes of other users hold which. Any user can start a process under any name, so it
 * counts for a service only by the rule of lib/service/process.h, or with a port that root has opened, or that was
 * opened by the user as whom the service runs by root's own knowledge (listening_believe).
 */
#ifndef CERTSYNC_AGENT_CLI_SERVICES_LISTENING_H
#define CERTSYNC_AGENT_CLI_SERVICES_LISTENING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

/* The first user id of a person, UID_MIN in login.defs(5). */
enum { LISTENING_PROGRAM_MAX = 16, LISTENING_ADDRESS_MAX = 46, LISTENING_PERSON = 1000 };

struct listening_socket {
	unsigned long inode;
	char address[LISTENING_ADDRESS_MAX];
	uint16_t port;
	bool v6;
	uid_t uid;     /* who opened it */
	bool believed; /* that is root, whoever runs this, or a service's own user: no stranger's process has such a one */
	char program[LISTENING_PROGRAM_MAX]; /* as the kernel keeps it; "": cannot be told */
	pid_t pid;                           /* of that program; 0: cannot be told */
};

struct listening {
	struct listening_socket *list;
	size_t count;
	/* the names of all processes of this network namespace that are believed, or have a socket that root opened */
	char (*programs)[LISTENING_PROGRAM_MAX];
	size_t program_count;
};

#define auto_listening __attribute__((cleanup(listening_release)))
void listening_read(struct listening *ret); /* what cannot be read is not there */
void listening_release(struct listening *l);

/* From now on the ports count, too, that this user has opened and a process of this name holds. The caller knows by
 * root's own files, or by whom root has given a service's directory to, that the service runs as this user. A stranger
 * cannot open a port as that user, so his process of that name counts as little as before, and so does another program
 * of the user's. Only users of the system count, below LISTENING_PERSON: any other id may be a person's, who logs in
 * and starts what he likes; then it returns false, and nothing has changed. */
bool listening_believe(struct listening *l, const char *program, uid_t user);

bool listening_runs(const struct listening *l, const char *program);
/* Says where a client on this node reaches this program's port: `ret` gets an address, in brackets when it is an IPv6
 * one, and loopback where the program listens on that. `address` is as configured, with "" for any. Returns false when
 * nobody listens. */
bool listening_find(const struct listening *l, const char *program, const char *address, uint16_t port,
	char ret[LISTENING_ADDRESS_MAX + 2]);

#endif
