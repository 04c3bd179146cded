/* One revision's content as the files that services read: archive/NAME/REVISION/.
 *
 * With one pair these are privkey, cert, chain, fullchain, combined and haproxy (.pem each; haproxy is combined). With
 * two pairs (ECDSA and RSA) they are the same of the first pair, but instead of haproxy.pem there are haproxy.pem.ecdsa
 * and haproxy.pem.rsa, which HAProxy finds under `crt …/haproxy.pem`, and combined-all.pem with both.
 *
 * A child that has no other power writes every byte from DER (agent/root/opener.h); nothing is parsed here. A directory
 * appears under its revision's name only when it is complete and synced, so what stands there is whole, or somebody
 * else has changed it.
 */
#ifndef CERTSYNC_AGENT_ROOT_FILE_SET_H
#define CERTSYNC_AGENT_ROOT_FILE_SET_H

#include "agent/root/journal.h"
#include "agent/root/parts.h"
#include "lib/crypto/bundle.h"

enum { FILE_SET_FILES_MAX = 8, FILE_SET_PEM_MAX = 2 * CHAIN_PEM_MAX };

struct file_set_file {
	const char *name; /* "combined.pem" */
	bool private;     /* holds a key: 0600, else 0644 */
	struct buf pem;
};

struct file_set {
	struct content content;            /* revision, digest, fingerprint, validity of the first leaf */
	uint8_t second[CHAIN_SHA256_SIZE]; /* fingerprint of the second leaf; zeros: there is one pair */
	struct file_set_file files[FILE_SET_FILES_MAX];
	size_t file_count;
};

#define auto_set __attribute__((cleanup(file_set_release)))
void file_set_release(struct file_set *s);

/* Refuses two pairs of one key type. Whoever made the parts has seen to it that each key is its leaf's. */
int file_set_make(
	struct revision revision, const struct parts *pairs, size_t count, struct file_set *ret, struct error *err);
/* Makes the set of revision (0, 0), by agent/root/opener.h. */
int file_set_placeholder(const char *certificate, int64_t now, struct file_set *ret, struct error *err);

/* Both work below the directory archive/NAME. file_set_write replaces what stands under the revision's name in one step.
 * file_set_read fails unless every file is there, byte for byte as file_set_write makes it. */
int file_set_write(int directory, const struct file_set *s, struct error *err);
int file_set_read(int directory, struct revision revision, struct file_set *ret, struct error *err);

/* Returns false when the set holds one pair, or is damaged. */
bool file_set_may_have_second(int directory, struct revision revision);

/* These read a set that file_set_read refuses because somebody has changed a file of it, from the files that are left:
 * file_set_recover when it is known what was in it, file_set_agreed when nobody knows, from two files that say the same. Nothing
 * is written; file_set_write makes the set whole. */
int file_set_recover(int directory, const struct content *entry, struct file_set *ret, struct error *err);
int file_set_agreed(int directory, struct revision revision, struct file_set *ret, struct error *err);

/* Returns the file for `content` ("privkey", "cert", "chain", "fullchain", "combined", or "combined-all", which is
 * combined when there is one pair), or NULL when there is no such file. */
const struct file_set_file *file_set_content(const struct file_set *s, const char *content);

#endif
