/* What passes between the hub's daemon and certsync-hub-root, over a socketpair that is the daemon's descriptor 3. The
 * root half does two things and believes nothing: which paths it reads comes from its own reading of hub.conf, and each
 * field of authorized_keys is checked against its alphabet.
 *
 * The daemon sends each request as FRAME_RECORD; keys and reading are answered by a reply. The root half sends
 * FRAME_FILES with the files found at one certificate's watched paths (hub/common/scan.h), whose label is the
 * certificate's name: at the start, after each event (within 100 ms they are one), at every scan interval and when asked. When there were too many files, a FRAME_RECORD reply HUB_REQUEST_SCAN that is ok and says so comes just
 * before. For an unreadable path there is such a reply alone, which is not ok.
 */
#ifndef CERTSYNC_HUB_COMMON_ROOT_REQUEST_H
#define CERTSYNC_HUB_COMMON_ROOT_REQUEST_H

#include "lib/core/buf.h"
#include "lib/core/error.h"
#include "lib/core/name.h"

#include <stdbool.h>

enum hub_request_op {
	HUB_REQUEST_SCAN = 1, /* read this certificate's watched paths now */
	HUB_REQUEST_KEYS,     /* write authorized_keys: one line an agent; lines of others are kept */
	HUB_REQUEST_ALIVE,    /* nothing is asked for: the daemon lives (lib/core/heartbeat.h) */
	HUB_REQUEST_READING,  /* what became of the last reading of hub.conf (lib/wire/reading.h) */
};

/* HUB_KEYS_PER_RECORD keys always fit into one FRAME_RECORD. */
/* The expiry time has a year of four digits. */
#define HUB_KEY_EXPIRES_MAX INT64_C(253402300799)
enum { HUB_KEYS_MAX = 3 * 4096, HUB_KEY_TEXT_MAX = 800, HUB_KEYS_PER_RECORD = 64 };

/* What a login with a key is good for. */
enum hub_key_use {
	HUB_KEY_AGENT, /* a session of the agent */
	HUB_KEY_JOIN,  /* one frame of a node that has the hub's line; always with an expiry time */
	/* The daemon cannot read now which keys these are, so the agent's lines of that use stay as the file has them. Key
	 * and expiry time are empty. */
	HUB_KEY_AGENT_KEPT,
	HUB_KEY_JOIN_KEPT,
	HUB_KEY_USES,
};
static inline bool hub_key_is_kept(enum hub_key_use use)
{
	return use == HUB_KEY_AGENT_KEPT || use == HUB_KEY_JOIN_KEPT;
}

struct hub_key {
	char agent[NAME_AGENT_MAX];
	char key[HUB_KEY_TEXT_MAX]; /* "ssh-ed25519 AAAA…": type and base64, no comment, no options */
	enum hub_key_use use;
	int64_t expires; /* wall clock; 0: never */
};

struct hub_request {
	enum hub_request_op op;
	char certificate[NAME_CERTIFICATE_MAX]; /* scan */
	struct hub_key *keys;                   /* keys; owned after decode */
	size_t key_count;
	bool more; /* keys: the next request goes on with the list; it is written, and answered, after the last */
};

struct hub_reply {
	enum hub_request_op op;
	char certificate[NAME_CERTIFICATE_MAX];
	bool ok;
	/* The reason when not ok. Of a reading that is ok: why the port of `page` is not to be had, or is in use, by the daemon itself
	 * maybe; empty: it is free. The daemon cannot try another port than those with which it was confined. */
	char text[1024];
	uint32_t number; /* reading: which one it was */
};

int hub_request_encode(const struct hub_request *r, struct buf *out);
int hub_request_decode(const uint8_t *data, size_t len, struct hub_request *ret, struct error *err);
void hub_request_release(struct hub_request *r);
int hub_reply_encode(const struct hub_reply *r, struct buf *out);
int hub_reply_decode(const uint8_t *data, size_t len, struct hub_reply *ret, struct error *err);

/* The text of the forced command is "NAME:MARK", or "join:NAME". The mark says which key was used: sshd has the command
 * from the line by which a connection came in, and goes on running it for each new channel when that line has long been
 * gone. It is the end of the key's base64, without '='. */
enum { HUB_KEY_MARK_MAX = 32 + 1, HUB_KEY_WORD_MAX = NAME_AGENT_MAX + HUB_KEY_MARK_MAX };
void hub_key_mark(const char *key, char ret[HUB_KEY_MARK_MAX]); /* of a valid key */
void hub_key_word(const struct hub_key *key, char ret[HUB_KEY_WORD_MAX]);
/* Returns false unless it is such a text. A name without a mark, as older versions wrote it, has the mark "". */
bool hub_key_word_parse(
	const char *word, enum hub_key_use *ret_use, char ret_agent[NAME_AGENT_MAX], char ret_mark[HUB_KEY_MARK_MAX]);

/* Returns whether `key` is one line "type base64" of a key type that sshd takes, and nothing else. */
bool hub_key_is_valid(const char *key);

#endif
