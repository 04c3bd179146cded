/* Which hub this agent believes: DIRECTORY/pins/hub_keys has the Ed25519 keys that may sign bundles, and
 * DIRECTORY/pins/host_keys the fingerprints of the SSH server in front of the hub, one on each line, with mode 0644.
 */
#ifndef CERTSYNC_AGENT_COMMON_PIN_H
#define CERTSYNC_AGENT_COMMON_PIN_H

#include "agent/common/config.h"
#include "lib/crypto/bundle.h"
#include "lib/crypto/join.h"

enum { PIN_HOSTS_MAX = 16, PIN_TEXT_MAX = 64, PIN_URL_MAX = 320, PIN_LINE_MAX = 4096 };

/* The hub's line is "certsync-hub:1 ssh://user@host[:port] sign=ed25519:BASE64 host=SHA256:…" with any number of sign=
 * and host=. For the hub's own node "unix:///path" stands instead of ssh://, and needs no host=. A line by which a node
 * joins goes on with "agent=NAME expires=SECONDS [keys=new] secret=BASE64 check=HEX". */
struct pin {
	char url[PIN_URL_MAX];
	char signers[BUNDLE_SIGNERS_MAX][PIN_TEXT_MAX]; /* BASE64 */
	size_t signer_count;
	char hosts[PIN_HOSTS_MAX][PIN_TEXT_MAX]; /* "SHA256:…" */
	size_t host_count;
	/* A line that is good once (`certsync agent add NAME`) says who this node becomes, until when, and has the
	 * secret. */
	bool joins;
	bool new_keys; /* the agent exists, and makes new keys beside its present ones */
	char agent[NAME_AGENT_MAX];
	int64_t expires; /* by the hub's wall clock */
	uint8_t secret[JOIN_SECRET_SIZE];
	uint8_t digest[JOIN_DIGEST_SIZE]; /* lib/crypto/join.h */
};

void pin_release(struct pin *pin); /* wipes */
#define auto_pin __attribute__((cleanup(pin_release)))

/* `text` holds this one line and nothing else but blanks. */
int pin_parse(const char *text, struct pin *ret, struct error *err);

/* Appends the part of the line that everybody may know, which pin_parse takes too. */
void pin_line(const struct pin *pin, struct buf *out);

/* Fails where pin_write would refuse because other keys are pinned. */
int pin_check(const struct agent_config *config, const struct pin *pin, struct error *err);

/* Writes both files. Keys or fingerprints that are pinned already and differ are kept, which is an error, unless
 * `replace`. */
int pin_write(const struct agent_config *config, const struct pin *pin, bool replace, struct error *err);

/* Reads the pinned signing keys. When none is pinned yet the error says how to join. */
int pin_signers(const char *directory, struct bundle_keys *ret, struct error *err);

/* Puts the hub's signed list (lib/crypto/host_pins.h) in the place of what the hub had told before. Fingerprints that
 * somebody else pinned and the hub has never told stay. A list that is older than the last one, or that no pinned key
 * has signed, is ERROR_UNTRUSTED. */
int pin_hosts(const char *directory, const uint8_t *data, size_t len, bool *ret_changed, struct error *err);
/* Does the same with the signing keys (lib/crypto/signer_list.h). The list has all of them, so it takes the place of
 * whatever is pinned, also of what a person has pinned. A list with the serial of the last one and other keys is
 * refused, too. */
int pin_signer_list(const char *directory, const uint8_t *data, size_t len, bool *ret_changed, struct error *err);

#endif
