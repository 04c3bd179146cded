/* Which hub this agent believes: DIRECTORY/pins/hub_keys (Ed25519 keys that may sign bundles) and
 * DIRECTORY/pins/host_keys (fingerprints of the SSH server in front of it), one a line, 0644.
 */
#ifndef CERTSYNC_AGENT_PIN_H
#define CERTSYNC_AGENT_PIN_H

#include "agent/config.h"
#include "lib/bundle.h"

enum { PIN_HOSTS_MAX = 16, PIN_TEXT_MAX = 64, PIN_URL_MAX = 320, PIN_LINE_MAX = 4096 };

/* The hub's line: "certsync-hub:1 ssh://user@host[:port] sign=ed25519:BASE64 host=SHA256:…", any number of
 * sign= and host=. For the hub's own node "unix:///path" stands instead of ssh://, and needs no host=. */
struct pin {
	char url[PIN_URL_MAX];
	char signers[BUNDLE_SIGNERS_MAX][PIN_TEXT_MAX]; /* BASE64 */
	size_t signer_count;
	char hosts[PIN_HOSTS_MAX][PIN_TEXT_MAX]; /* "SHA256:…" */
	size_t host_count;
};

/* `text` holds this one line and nothing else but blanks. */
int pin_parse(const char *text, struct pin *ret, struct error *err);

/* Writes both files. Keys or fingerprints that are pinned already and differ are kept, and that is an error,
 * unless `replace`. */
int pin_write(const struct agent_config *config, const struct pin *pin, bool replace, struct error *err);

/* The pinned signing keys. None pinned yet is an error that says how to join. */
int pin_signers(const char *directory, struct bundle_keys *ret, struct error *err);

#endif
