#include "tests/crash/check.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DATA_MAX = 32768, CACHE = 4096, JOURNAL = 744, ENTRY = 88 };

struct data {
	size_t len;
	char bytes[DATA_MAX + 1];
	mode_t mode;
};

/* What is known of a PEM file: the public keys of its first key and its first certificate, and the certificate's
 * SHA-256. */
struct pem {
	bool has_key, has_leaf;
	unsigned char key[32], leaf_key[32];
	char fingerprint[65];
};

struct check {
	char path[PATH_MAX]; /* the disk */
	const char *said;
	bool recovered;
	char *why;
	size_t size;
	bool wrong;
};

__attribute__((format(printf, 2, 3))) static void wrong(struct check *c, const char *fmt, ...)
{
	va_list args;
	if (c->wrong)
		return;
	c->wrong = true;
	va_start(args, fmt);
	vsnprintf(c->why, c->size, fmt, args);
	va_end(args);
}

static void hex_of(const unsigned char *bytes, size_t len, char *hex)
{
	for (size_t i = 0; i < len; i++)
		snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
}

/* Reads a file, following links. Returns false when there is none, or when it is no regular file. */
static bool read_file(struct check *c, const char *below, struct data *ret)
{
	char path[2 * PATH_MAX];
	struct stat st;
	ret->len = 0;
	ret->bytes[0] = '\0';
	snprintf(path, sizeof(path), "%s/%s", c->path, below);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	bool ok = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
	ssize_t got = ok ? read(fd, ret->bytes, DATA_MAX) : -1;
	close(fd);
	if (got < 0)
		return false;
	ret->len = (size_t)got;
	ret->bytes[got] = '\0';
	ret->mode = st.st_mode & 07777;
	return true;
}

static void public_of(EVP_PKEY *key, unsigned char sum[32])
{
	unsigned char *der = NULL;
	int len = i2d_PUBKEY(key, &der);
	if (len > 0)
		SHA256(der, (size_t)len, sum);
	OPENSSL_free(der);
}

static void parse(const struct data *data, struct pem *ret)
{
	*ret = (struct pem){0};
	unsigned char *der = NULL;
	BIO *first = BIO_new_mem_buf(data->bytes, (int)data->len),
	    *second = BIO_new_mem_buf(data->bytes, (int)data->len);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(first, NULL, NULL, NULL);
	X509 *leaf = PEM_read_bio_X509(second, NULL, NULL, NULL);
	ret->has_key = key != NULL;
	ret->has_leaf = leaf != NULL;
	if (key)
		public_of(key, ret->key);
	int len = leaf ? i2d_X509(leaf, &der) : 0;
	if (len > 0) {
		unsigned char sum[32];
		public_of(X509_get0_pubkey(leaf), ret->leaf_key);
		SHA256(der, (size_t)len, sum);
		hex_of(sum, sizeof(sum), ret->fingerprint);
	}
	OPENSSL_free(der);
	X509_free(leaf);
	EVP_PKEY_free(key);
	BIO_free(first);
	BIO_free(second);
}

/* The same few files are met a hundred thousand times, so what was found in each is kept. */
static const struct pem *pem_of(const struct data *data)
{
	static struct {
		unsigned char sum[32];
		bool used;
		struct pem pem;
	} cache[CACHE];
	unsigned char sum[32];
	SHA256((const unsigned char *)data->bytes, data->len, sum);
	size_t at = (size_t)(sum[0] | sum[1] << 8) % CACHE;
	if (!cache[at].used || memcmp(cache[at].sum, sum, sizeof(sum)) != 0) {
		memcpy(cache[at].sum, sum, sizeof(sum));
		cache[at].used = true;
		parse(data, &cache[at].pem);
	}
	return &cache[at].pem;
}

static bool is_whole(const struct pem *p)
{
	return p->has_key && p->has_leaf && memcmp(p->key, p->leaf_key, sizeof(p->key)) == 0;
}

static bool starts(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

static bool parse_revision(const char *text, unsigned ret[2])
{
	int used = 0;
	return sscanf(text, "%u.%u%n", &ret[0], &ret[1], &used) == 2 && text[used] == '\0' && text[0] != '.';
}

static int compare_revisions(const unsigned a[2], const unsigned b[2])
{
	return a[0] != b[0] ? (a[0] < b[0] ? -1 : 1) : a[1] != b[1] ? (a[1] < b[1] ? -1 : 1) : 0;
}

/* ---- what the story has said ---- */

/* Copies the next line, or returns NULL at the end. A line that the end of the story has cut off does not count. */
static const char *next_line(const char **at, char line[1024])
{
	const char *end = strchr(*at, '\n');
	if (!end)
		return NULL;
	snprintf(line, 1024, "%.*s", (int)(end - *at), *at);
	*at = end + 1;
	return line;
}

/* Gives what follows these words in the last line that begins with them. Returns false when there is no such line. */
static bool last_said(const struct check *c, const char *words, char ret[1024])
{
	const char *at = c->said;
	char line[1024];
	bool found = false;
	while (next_line(&at, line))
		if (starts(line, words)) {
			snprintf(ret, 1024, "%s", line + strlen(words));
			found = true;
		}
	return found;
}

static bool highest_said(const struct check *c, const char *word, unsigned ret[2])
{
	const char *at = c->said;
	char line[1024], revision[1024];
	unsigned r[2];
	ret[0] = ret[1] = 0;
	while (next_line(&at, line))
		if (starts(line, word) && sscanf(line + strlen(word), " %1000s", revision) == 1 &&
			parse_revision(revision, r) && compare_revisions(r, ret) > 0)
			memcpy(ret, r, sizeof(r));
	return ret[0] != 0;
}

/* ---- the hub's store ---- */

/* The key must be whole and private to its owner, and the one that its name says. */
static bool key_is_kept(struct check *c, const char *place, const char *hex)
{
	char path[PATH_MAX], found[65];
	static struct data key;
	snprintf(path, sizeof(path), "hub-keys/%s/%.64s.pem", place, hex);
	if (!read_file(c, path, &key) || key.mode != 0600)
		return false;
	const struct pem *p = pem_of(&key);
	hex_of(p->key, sizeof(p->key), found);
	return p->has_key && strcmp(found, hex) == 0;
}

/* A key of which others were told must be kept for good, unless it is just being dropped. */
static void check_keys(struct check *c)
{
	const char *at = c->said;
	char line[1024], hex[65], lost[128];
	while (next_line(&at, line)) {
		if (sscanf(line, "key %64s", hex) != 1)
			continue;
		snprintf(lost, sizeof(lost), "doing lose %s\n", hex);
		if (!strstr(c->said, lost) && !key_is_kept(c, "leaf", hex) && !key_is_kept(c, "pending", hex) &&
			!key_is_kept(c, "account", hex))
			wrong(c, "N2: the key %s is nowhere", hex);
	}
}

static bool check_revision(struct check *c, const char *certificate, const char *revision, char fingerprint[65])
{
	char path[PATH_MAX], wanted[256];
	static struct data chain, manifest;
	snprintf(path, sizeof(path), "%s/%s/fullchain.pem", certificate, revision);
	bool ok = read_file(c, path, &chain);
	snprintf(path, sizeof(path), "%s/%s/manifest.json", certificate, revision);
	ok = ok && read_file(c, path, &manifest);
	const struct pem *l = ok ? pem_of(&chain) : NULL;
	char hex[65] = "";
	if (ok)
		hex_of(l->leaf_key, sizeof(l->leaf_key), hex);
	struct pem of_leaf = l ? *l : (struct pem){0};
	ok = ok && of_leaf.has_leaf && key_is_kept(c, "leaf", hex);
	l = &of_leaf;
	if (ok) {
		snprintf(wanted, sizeof(wanted), "\"%s\"", l->fingerprint);
		ok = strstr(manifest.bytes, wanted) && manifest.bytes[manifest.len - 1] == '}';
		snprintf(wanted, sizeof(wanted), "\"%s\"", revision);
		ok = ok && strstr(manifest.bytes, wanted);
		memcpy(fingerprint, l->fingerprint, 65);
	}
	if (!ok)
		wrong(c, "N5: the hub's revision %s of %s is not whole", revision, certificate);
	return ok;
}

static void check_published(struct check *c, const char *certificate)
{
	const char *at = c->said;
	char line[1024], revision[64], wanted[128], found[65], path[PATH_MAX], target[PATH_MAX];
	while (next_line(&at, line))
		if (sscanf(line, "published %63s %127s", revision, wanted) == 2 &&
			check_revision(c, certificate, revision, found) && strcmp(found, wanted) != 0)
			wrong(c, "N5: the hub's revision %s has another content than was published", revision);
	unsigned said[2], current[2];
	snprintf(path, sizeof(path), "%.3900s/%.100s/current", c->path, certificate);
	ssize_t len = readlink(path, target, sizeof(target) - 1);
	if (len < 0) {
		if (highest_said(c, "published", said))
			wrong(c, "N5: the hub has no `current`, but %u.%u was published", said[0], said[1]);
		return;
	}
	target[len] = '\0';
	if (!parse_revision(target, current))
		wrong(c, "the hub's `current` points at %s", target);
	else if (highest_said(c, "published", said) && compare_revisions(current, said) < 0)
		wrong(c, "N5: the hub's `current` is %s, but %u.%u was published", target, said[0], said[1]);
	check_revision(c, certificate, target, found);
}

static void check_store(struct check *c, const char *certificate)
{
	char path[PATH_MAX * 2], found[65];
	unsigned r[2];
	snprintf(path, sizeof(path), "%s/%s", c->path, certificate);
	DIR *dir = opendir(path);
	const struct dirent *entry;
	while (dir && (entry = readdir(dir))) {
		if (parse_revision(entry->d_name, r))
			check_revision(c, certificate, entry->d_name, found);
		else if (c->recovered && entry->d_name[0] == '.' && entry->d_name[1] &&
			strcmp(entry->d_name, "..") != 0)
			wrong(c, "left over in the hub's store: %s", entry->d_name);
	}
	if (dir)
		closedir(dir);
	check_published(c, certificate);
}

/* Each record must be what was last written for good, or what was being written when the story ended. */
static void check_record(struct check *c, const char *name)
{
	static struct data found;
	char path[PATH_MAX], doing[1200], done[1200], dropping[1200], dropped[1200], line[1024];
	snprintf(doing, sizeof(doing), "doing record %s ", name);
	snprintf(done, sizeof(done), "record %s ", name);
	const char *slash = strrchr(name, '/');
	snprintf(dropping, sizeof(dropping), "doing drop %.*s", (int)(slash - name + 1), name);
	snprintf(dropped, sizeof(dropped), "dropped %.*s", (int)(slash - name + 1), name);
	snprintf(path, sizeof(path), "hub/records/%s", name);
	bool is_there = read_file(c, path, &found);
	found.bytes[strcspn(found.bytes, "\n")] = '\0';
	bool may_be_missing = true, right = !is_there;
	const char *at = c->said;
	while (next_line(&at, line)) {
		if (starts(line, done) || starts(line, dropped)) {
			may_be_missing = starts(line, dropped);
			right = is_there ? !may_be_missing && strcmp(found.bytes, line + strlen(done)) == 0
					 : may_be_missing;
		} else if (starts(line, doing)) {
			right = right || (is_there && strcmp(found.bytes, line + strlen(doing)) == 0);
		} else if (starts(line, dropping)) {
			right = right || !is_there;
		}
	}
	if (!right)
		wrong(c, "N2: the record %s is %s%s", name, is_there ? "not what was written: " : "missing",
			is_there ? found.bytes : "");
}

static void check_records(struct check *c)
{
	const char *at = c->said;
	char line[1024], name[1024];
	while (next_line(&at, line))
		if (sscanf(line, "record %1000s", name) == 1 || sscanf(line, "doing record %1000s", name) == 1)
			check_record(c, name);
}

/* The private key on the disk must belong to the public key that was told. */
static void check_raw_key(struct check *c, const char *path, int type, const char *wanted)
{
	static struct data found;
	unsigned char public_key[32];
	char hex[65] = "";
	size_t len = sizeof(public_key);
	bool ok = read_file(c, path, &found) && found.len == 32 && found.mode == 0600;
	EVP_PKEY *key = ok ? EVP_PKEY_new_raw_private_key(type, NULL, (unsigned char *)found.bytes, 32) : NULL;
	if (key && EVP_PKEY_get_raw_public_key(key, public_key, &len) == 1)
		hex_of(public_key, sizeof(public_key), hex);
	EVP_PKEY_free(key);
	if (strncmp(hex, wanted, 64) != 0)
		wrong(c, "N2: %s is not the key that was made known", path);
}

/* ---- a node that joins ---- */

/* Each line must be whole, and the administrator's must come first. */
static void check_authorized_lines(struct check *c, const char *text)
{
	char line[1024];
	const char *rest = text;
	bool first = true;
	if (text[0] && text[strlen(text) - 1] != '\n')
		wrong(c, "N1: authorized_keys is cut short");
	for (; next_line(&rest, line); first = false) {
		size_t len = strlen(line);
		bool ours = starts(line, "restrict,") && strstr(line, " ssh-ed25519 AAAAC3") && len > 13 &&
			strcmp(line + len - 13, "certsync:mail") == 0;
		bool administrators = starts(line, "ssh-ed25519 ") && strstr(line, " admin@desk");
		if (first ? !administrators : !ours)
			wrong(c, "N1: a line of authorized_keys: %.200s", line);
	}
	if (first)
		wrong(c, "N1: the administrator's line has gone from authorized_keys");
}

/* A line that was used must stay used; the key that was taken must be kept, and sshd must be told of it. */
static void check_joined(struct check *c)
{
	static struct data keys, record, ticket;
	char key[1024], listed[1024], wanted[1200];
	bool has_record = read_file(c, "hub/records/agents/mail/agent.json", &record);
	bool has_ticket = read_file(c, "hub/records/joins/mail/line", &ticket);
	read_file(c, "gate/authorized_keys", &keys);
	check_authorized_lines(c, keys.bytes);
	if (last_said(c, "doing resumption", key) || last_said(c, "resumption", key))
		return; /* another node has taken its place since then */
	if (last_said(c, "spent", key) &&
		(!has_ticket || ticket.len < 17 || memcmp(ticket.bytes + 9, "\0\0\0\0\0\0\0\0", 8) == 0))
		wrong(c, "a join line that was used is good again");
	bool enrolled = last_said(c, "enrolled ", key);
	if (enrolled && (!has_record || !strstr(record.bytes, key)))
		wrong(c, "N2: the key of the agent that joined is not kept");
	if (!last_said(c, "doing enroll ", key))
		return;
	snprintf(wanted, sizeof(wanted), "command=\"mail:%.32s\" ssh-ed25519 %.200s ",
		key + (strlen(key) > 32 ? strlen(key) - 32 : 0), key);
	bool in_list = strstr(keys.bytes, wanted) != NULL;
	if (last_said(c, "listed AAAA", listed) && !in_list)
		wrong(c, "N2: the agent that was let in is not in authorized_keys");
	if (c->recovered && in_list != (has_record && strstr(record.bytes, key)))
		wrong(c, "N2: authorized_keys has not what the store has");
}

static void check_hub(struct check *c)
{
	char told[1024];
	if (last_said(c, "begin hub-join", told))
		check_joined(c);
	check_store(c, "hub/certificates/mail.domain.pl");
	check_records(c);
	check_keys(c);
	if (last_said(c, "signer ", told))
		check_raw_key(c, "hub-keys/sign.key", EVP_PKEY_ED25519, told);
}

/* ---- the agent ---- */

struct entry {
	unsigned revision[2];
	bool is_set;
	char fingerprint[65];
};

struct journal {
	struct entry served, high_water, staged, pending, previous;
};

static unsigned number_at(const unsigned char *p)
{
	return (unsigned)p[0] << 24 | (unsigned)p[1] << 16 | (unsigned)p[2] << 8 | p[3];
}

static struct entry entry_at(const unsigned char *p)
{
	static const unsigned char none[32];
	struct entry e = {.revision = {number_at(p), number_at(p + 4)}, .is_set = memcmp(p + 40, none, 32) != 0};
	hex_of(p + 40, 32, e.fingerprint);
	return e;
}

static bool read_journal(struct check *c, struct journal *ret)
{
	static struct data found;
	unsigned char sum[32];
	if (!read_file(c, "root/mail.domain.pl.journal", &found)) {
		if (c->recovered)
			wrong(c, "the agent has no journal");
		return false;
	}
	const unsigned char *p = (const unsigned char *)found.bytes;
	SHA256(p, JOURNAL - 32, sum);
	if (found.len != JOURNAL || memcmp(p, "CSJ1", 4) != 0 || memcmp(sum, p + JOURNAL - 32, 32) != 0) {
		wrong(c, "the agent's journal is damaged: %zu bytes", found.len);
		return false;
	}
	struct entry *const entries[] = {&ret->served, &ret->high_water, &ret->staged, &ret->pending, &ret->previous};
	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++)
		*entries[i] = entry_at(p + 264 + i * ENTRY);
	return true;
}

/* Whether the file `whole` of a set is its file `first` with its file `second` behind it. */
static bool is_joined(struct check *c, const char *set, const char *whole, const char *first, const char *second)
{
	static struct data w, a, b;
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/%s", set, whole);
	bool ok = read_file(c, path, &w);
	snprintf(path, sizeof(path), "%s/%s", set, first);
	ok = ok && read_file(c, path, &a);
	snprintf(path, sizeof(path), "%s/%s", set, second);
	ok = ok && read_file(c, path, &b);
	return ok && w.len == a.len + b.len && memcmp(w.bytes, a.bytes, a.len) == 0 &&
		memcmp(w.bytes + a.len, b.bytes, b.len) == 0;
}

/* Whether all files of the set are of one pair. Gives the fingerprint of its leaf. */
static bool check_set(struct check *c, const char *set, const char *what, char fingerprint[65])
{
	static struct data combined, haproxy;
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/haproxy.pem", set);
	bool ok = read_file(c, path, &haproxy);
	snprintf(path, sizeof(path), "%s/combined.pem", set);
	ok = ok && read_file(c, path, &combined) && combined.mode == 0600 && haproxy.len == combined.len &&
		memcmp(haproxy.bytes, combined.bytes, combined.len) == 0 &&
		is_joined(c, set, "combined.pem", "privkey.pem", "fullchain.pem") &&
		is_joined(c, set, "fullchain.pem", "cert.pem", "chain.pem");
	const struct pem *p = ok ? pem_of(&combined) : NULL;
	if (!ok || !is_whole(p)) {
		wrong(c, "N1: %s is not one whole set", what);
		return false;
	}
	memcpy(fingerprint, p->fingerprint, 65);
	return true;
}

static bool check_own(struct check *c, char fingerprint[65])
{
	static struct data own;
	fingerprint[0] = '\0';
	if (!read_file(c, "own/one.pem", &own))
		return false;
	if (!is_whole(pem_of(&own)))
		wrong(c, "N1: the service's own file is neither wholly the old nor the new one");
	memcpy(fingerprint, pem_of(&own)->fingerprint, 65);
	return true;
}

/* Gives what live/ points at, as a revision, and the fingerprint of its leaf. */
static bool check_live(struct check *c, unsigned revision[2], char fingerprint[65])
{
	static const char wanted[] = "../archive/mail.domain.pl/";
	char path[PATH_MAX + 64], target[PATH_MAX];
	snprintf(path, sizeof(path), "%s/etc/live/mail.domain.pl", c->path);
	ssize_t len = readlink(path, target, sizeof(target) - 1);
	if (len < 0)
		return false;
	target[len] = '\0';
	if (!starts(target, wanted) || !parse_revision(target + strlen(wanted), revision)) {
		wrong(c, "N1: live/ points at %s", target);
		return false;
	}
	return check_set(c, "etc/live/mail.domain.pl", "what live/ points at", fingerprint);
}

static void check_archive(struct check *c)
{
	char path[PATH_MAX + 64], set[512], found[65], what[300];
	unsigned r[2];
	snprintf(path, sizeof(path), "%s/etc/archive/mail.domain.pl", c->path);
	DIR *dir = opendir(path);
	const struct dirent *entry;
	while (dir && (entry = readdir(dir))) {
		if (!parse_revision(entry->d_name, r))
			continue;
		snprintf(set, sizeof(set), "etc/archive/mail.domain.pl/%s", entry->d_name);
		snprintf(what, sizeof(what), "archive/%s", entry->d_name);
		check_set(c, set, what, found);
	}
	if (dir)
		closedir(dir);
}

static void check_leftovers(struct check *c)
{
	static const char *const places[] = {"etc/live", "etc/archive/mail.domain.pl", "etc/pins", "own", "root",
		"state", "run", "hub", "hub/keys", "gate"};
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		char path[PATH_MAX + 64];
		snprintf(path, sizeof(path), "%s/%s", c->path, places[i]);
		DIR *dir = opendir(path);
		const struct dirent *entry;
		while (dir && (entry = readdir(dir)))
			if (starts(entry->d_name, ".certsync-"))
				wrong(c, "left over in %s: %s", places[i], entry->d_name);
		if (dir)
			closedir(dir);
	}
}

/* Whether the last thing that the story said of a transaction was this word with a revision, so that nothing was begun
 * since. */
static bool ended_with(const struct check *c, const char *word, unsigned revision[2])
{
	static const char *const words[] = {"staged ", "activated ", "committed ", "undone ", "reloaded ", "doing "};
	const char *at = c->said;
	char line[1024], last[1024] = "";
	while (next_line(&at, line))
		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
			if (starts(line, words[i]))
				snprintf(last, sizeof(last), "%s", line);
	return starts(last, word) && parse_revision(last + strlen(word), revision);
}

static void check_promises(struct check *c, const struct journal *j)
{
	unsigned r[2];
	if (highest_said(c, "committed", r) && compare_revisions(j->served.revision, r) < 0)
		wrong(c, "N5: %u.%u was committed, and the journal says %u.%u", r[0], r[1], j->served.revision[0],
			j->served.revision[1]);
	if (highest_said(c, "staged", r) && compare_revisions(j->high_water.revision, r) < 0)
		wrong(c, "N5: %u.%u was staged, and the high-water mark is %u.%u", r[0], r[1],
			j->high_water.revision[0], j->high_water.revision[1]);
	/* A revision that is served already becomes active again without being pending. */
	const struct entry *active = j->pending.is_set ? &j->pending : &j->served;
	if (ended_with(c, "activated ", r) && compare_revisions(active->revision, r) != 0)
		wrong(c, "%u.%u was activated, and is neither pending nor served", r[0], r[1]);
	if (ended_with(c, "undone ", r) && j->pending.is_set)
		wrong(c, "%u.%u was undone, and is pending", r[0], r[1]);
}

static void check_agreement(struct check *c, const struct journal *j, const unsigned live[2], const char *own)
{
	const struct entry *wanted = j->pending.is_set ? &j->pending : &j->served;
	if (compare_revisions(wanted->revision, live) != 0)
		wrong(c, "N1: live/ is %u.%u, the journal wants %u.%u", live[0], live[1], wanted->revision[0],
			wanted->revision[1]);
	if (strcmp(own, wanted->fingerprint) != 0)
		wrong(c, "N1: the service's own file is not of the revision that is wanted, %u.%u", wanted->revision[0],
			wanted->revision[1]);
	unsigned r[2];
	if (highest_said(c, "committed", r) && compare_revisions(live, r) < 0)
		wrong(c, "N5: %u.%u was committed, and live/ is %u.%u", r[0], r[1], live[0], live[1]);
}

static int base64_value(char c)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(alphabet, c) : NULL;
	return at ? (int)(at - alphabet) : -1;
}

static size_t base64_bytes(const char *text, size_t len, unsigned char *out)
{
	size_t made = 0;
	unsigned bits = 0, have = 0;
	for (size_t i = 0; i < len && text[i] != '='; i++) {
		int value = base64_value(text[i]);
		if (value < 0)
			continue;
		bits = bits << 6 | (unsigned)value;
		have += 6;
		if (have >= 8) {
			have -= 8;
			out[made++] = (unsigned char)(bits >> have);
		}
	}
	return made;
}

/* OpenSSH's form of a key has the seed and the public key behind it in one string of 64 bytes; the public key must be
 * the one that was told. */
static void check_ssh_key(struct check *c, const char *told)
{
	static struct data file;
	unsigned char raw[DATA_MAX], public_blob[512], derived[32];
	size_t len = sizeof(derived), at = 0;
	size_t told_len = base64_bytes(told, strlen(told), public_blob);
	const char *start = read_file(c, "state/id_ed25519", &file) ? strchr(file.bytes, '\n') : NULL;
	const char *end = start ? strstr(start, "-----END") : NULL;
	size_t raw_len = end ? base64_bytes(start, (size_t)(end - start), raw) : 0;
	bool ok = false;
	for (; at + 68 <= raw_len && !ok && told_len >= 32; at++) {
		if (memcmp(raw + at, "\0\0\0\100", 4) != 0 ||
			memcmp(raw + at + 36, public_blob + told_len - 32, 32) != 0)
			continue;
		EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, raw + at + 4, 32);
		ok = key && EVP_PKEY_get_raw_public_key(key, derived, &len) == 1 &&
			memcmp(derived, raw + at + 36, 32) == 0;
		EVP_PKEY_free(key);
	}
	if (!ok || file.mode != 0600)
		wrong(c, "N2: state/id_ed25519 is not the key that was made known");
}

static void check_identity(struct check *c)
{
	char told[1024];
	static struct data pin;
	if (last_said(c, "identity ", told)) {
		check_raw_key(c, "root/seal.key", EVP_PKEY_X25519, told);
		check_ssh_key(c, told + 65);
	}
	if (last_said(c, "pinned", told) &&
		(!read_file(c, "etc/pins/hub_keys", &pin) || !strstr(pin.bytes, "AAAA") ||
			!read_file(c, "etc/pins/host_keys", &pin) || !strstr(pin.bytes, "SHA256:AAAA")))
		wrong(c, "N2: the hub that was pinned is not pinned");
}

static void check_agent(struct check *c)
{
	struct journal j;
	unsigned live[2];
	char own[65], of_live[65];
	bool has_journal = read_journal(c, &j);
	bool has_live = check_live(c, live, of_live);
	bool has_own = check_own(c, own);
	unsigned r[2];
	if (highest_said(c, "committed", r) && (!has_journal || !has_live || !has_own))
		wrong(c, "N1: %u.%u was committed, and is not there", r[0], r[1]);
	check_identity(c);
	if (has_journal)
		check_promises(c, &j);
	if (!c->recovered)
		return;
	if (!has_live || !has_own)
		wrong(c, "N1: nothing is installed");
	if (has_journal && has_live && has_own)
		check_agreement(c, &j, live, own);
	check_archive(c);
}

/* ---- keys are their owner's alone ---- */

static void check_modes(struct check *c, const char *path)
{
	DIR *dir = opendir(path);
	const struct dirent *entry;
	while (dir && !c->wrong && (entry = readdir(dir))) {
		char below[PATH_MAX + 256];
		struct stat st;
		static struct data data;
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		snprintf(below, sizeof(below), "%.3800s/%s", path, entry->d_name);
		if (lstat(below, &st) < 0)
			continue;
		if (S_ISDIR(st.st_mode))
			check_modes(c, below);
		/* Mode 0640 is what the agent's configuration asks for one of the files. */
		if (!S_ISREG(st.st_mode) || (st.st_mode & 07) == 0 || !read_file(c, below + strlen(c->path) + 1, &data))
			continue;
		if (strstr(data.bytes, "PRIVATE KEY"))
			wrong(c, "%s holds a key and has mode %o", below, (unsigned)(st.st_mode & 07777));
	}
	if (dir)
		closedir(dir);
}

int crash_check(const char *disk, const char *said, bool recovered, char *why, size_t size)
{
	struct check c = {.said = said, .recovered = recovered, .why = why, .size = size};
	char path[PATH_MAX + 16];
	snprintf(c.path, sizeof(c.path), "%s", disk);
	snprintf(path, sizeof(path), "%s/hub", disk);
	if (access(path, F_OK) == 0)
		check_hub(&c);
	snprintf(path, sizeof(path), "%s/own", disk);
	if (access(path, F_OK) == 0)
		check_agent(&c);
	if (recovered)
		check_leftovers(&c);
	check_modes(&c, disk);
	return c.wrong ? -1 : 0;
}
