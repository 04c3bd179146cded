/* The lines by which nodes join. A line is good once, for JOIN_LINE_SECONDS, and an agent has one (a new one replaces
 * it). The store keeps (kind "joins", NAME: line) what the secret becomes, never the secret itself, and of a used line
 * nothing that opens anything.
 */
#ifndef CERTSYNC_HUB_DAEMON_AGENTS_JOIN_LINE_H
#define CERTSYNC_HUB_DAEMON_AGENTS_JOIN_LINE_H

#include "hub/daemon/hub.h"
#include "hub/common/root_request.h"
#include "lib/crypto/join.h"

enum {
	JOIN_LINE_LATE =
		60 * 60, /* so much longer its key may log in, to be told why it is refused; sshd ends it then */
	JOIN_LINE_TRIES = 3,
};

/* What the node that joins should do about its keys. */
enum join_line_keys {
	JOIN_LINE_KEYS_OWN,    /* come with those that it has, or makes */
	JOIN_LINE_KEYS_FRESH,  /* make new ones: what it has may be somebody else's, too */
	JOIN_LINE_KEYS_ROTATE, /* the same, and its old ones work until the new ones were proven */
};

struct join_line {
	char login[HUB_KEY_TEXT_MAX]; /* "ssh-ed25519 AAAA…" */
	uint8_t mac[JOIN_MAC_SIZE];   /* zeros once it is spent */
	uint8_t line[JOIN_DIGEST_SIZE];
	int64_t expires; /* wall clock */
	uint32_t tries;  /* with a wrong HMAC */
	int64_t spent;   /* when; 0: not yet */
	bool rotates;    /* JOIN_LINE_KEYS_ROTATE */
	uid_t by;        /* who had it printed; (uid_t)-1: not known, of an older version */
};

void join_line_release(struct join_line *t); /* wipes */
#define auto_join_line __attribute__((cleanup(join_line_release)))

/* Makes a line for what a secret became (the login key's public half and the MAC key; the command that asks keeps the
 * rest). `line` has the hub's line (enroll_hub_line) and gets the rest, up to the secret. The caller sends the keys to
 * the root half (login_keys.h) before it shows the line. */
int join_line_issue(struct hub *hub, const char *agent, enum join_line_keys which, uid_t by,
	const struct join_keys *keys, struct buf *line, struct error *err);
/* Returns 1 when it was found, 0 when there is none, or -1 on an error. */
int join_line_find(struct hub *hub, const char *agent, struct join_line *ret, struct error *err);

/* Judges a request (a frame's payload) that came in with this agent's login key. Returns 0 when it is authentic; from
 * then on the line is spent, durably, and *ret is what it was. Returns -1 with a reason that is for the node as
 * well. */
int join_line_use(struct hub *hub, const char *agent, const uint8_t *request, size_t len, int64_t now,
	struct join_line *ret, struct error *err);

/* Nobody joins with the line any more. It succeeds when there is none. */
int join_line_drop(struct hub *hub, const char *agent, struct error *err);

/* Removes the lines whose time is over, and tells of each that was never used. Returns true when one was removed, since
 * the root half then needs the keys anew. *ret_due is when there is something to remove next, by the wall clock, or
 * INT64_MAX. */
bool join_line_sweep(struct hub *hub, int64_t now, int64_t *ret_due);

#endif
