#include "agent/root/file_set.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char set_temporary[] = FS_TEMPORARY "set";

enum { PLACEHOLDER_SECONDS = 3650 * 24 * 3600 };

void set_release(struct set *s)
{
	for (size_t i = 0; i < s->pair_count; i++)
		chain_release(&s->pairs[i]);
	for (size_t i = 0; i < s->file_count; i++)
		buf_release(&s->files[i].pem);
	s->pair_count = s->file_count = 0;
}

static struct set_file *add_file(struct set *s, const char *name, bool private)
{
	struct set_file *f = &s->files[s->file_count++];
	*f = (struct set_file){.name = name, .private = private, .pem = BUF_INIT(SET_PEM_MAX)};
	return f;
}

static bool is_rsa(const struct chain *pair)
{
	return EVP_PKEY_get_base_id(pair->key) == EVP_PKEY_RSA;
}

static const char *haproxy_name(const struct chain *pair)
{
	return is_rsa(pair) ? "haproxy.pem.rsa" : "haproxy.pem.ecdsa";
}

/* A pair as PEM, each part encoded once: OpenSSL takes its time for a key. */
struct parts {
	struct buf key, leaf, rest;
};

static int parts_make(const struct chain *pair, struct parts *ret, struct error *err)
{
	*ret = (struct parts){BUF_INIT(CHAIN_PEM_MAX), BUF_INIT(CHAIN_PEM_MAX), BUF_INIT(CHAIN_PEM_MAX)};
	if (chain_write_pem(pair, CHAIN_KEY, &ret->key, err) < 0 || chain_write_pem(pair, CHAIN_LEAF, &ret->leaf, err) < 0)
		return -1;
	return chain_write_pem(pair, CHAIN_REST, &ret->rest, err);
}

static void parts_release(struct parts *p)
{
	buf_release(&p->key);
	buf_release(&p->leaf);
	buf_release(&p->rest);
}
#define auto_parts __attribute__((cleanup(parts_release)))

static void put_parts(struct set_file *f, const struct parts *p, unsigned parts)
{
	if (parts & CHAIN_KEY)
		buf_add(&f->pem, p->key.data, p->key.len);
	if (parts & CHAIN_LEAF)
		buf_add(&f->pem, p->leaf.data, p->leaf.len);
	if (parts & CHAIN_REST)
		buf_add(&f->pem, p->rest.data, p->rest.len);
}

static void add_parts(struct set *s, const char *name, const struct parts *p, unsigned parts)
{
	put_parts(add_file(s, name, parts & CHAIN_KEY), p, parts);
}

enum { WHOLE = CHAIN_KEY | CHAIN_LEAF | CHAIN_REST };

static int make_second(struct set *s, const struct parts *first, struct error *err)
{
	auto_parts struct parts second;
	if (parts_make(&s->pairs[1], &second, err) < 0)
		return -1;
	add_parts(s, haproxy_name(&s->pairs[0]), first, WHOLE);
	add_parts(s, haproxy_name(&s->pairs[1]), &second, WHOLE);
	add_parts(s, "combined-all.pem", first, WHOLE);
	put_parts(&s->files[s->file_count - 1], &second, WHOLE);
	return 0;
}

static int make_files(struct set *s, struct error *err)
{
	auto_parts struct parts first;
	if (parts_make(&s->pairs[0], &first, err) < 0)
		return -1;
	add_parts(s, "privkey.pem", &first, CHAIN_KEY);
	add_parts(s, "cert.pem", &first, CHAIN_LEAF);
	add_parts(s, "chain.pem", &first, CHAIN_REST);
	add_parts(s, "fullchain.pem", &first, CHAIN_LEAF | CHAIN_REST);
	add_parts(s, "combined.pem", &first, WHOLE);
	if (s->pair_count > 1 && is_rsa(&s->pairs[0]) == is_rsa(&s->pairs[1]))
		return error_set(err, ERROR_UNTRUSTED,
			"key-type: two pairs of one key type: one ECDSA and one RSA are served together");
	if (s->pair_count > 1)
		return make_second(s, &first, err);
	add_parts(s, "haproxy.pem", &first, WHOLE);
	return 0;
}

static int describe(struct set *s, struct revision revision, struct error *err)
{
	struct chain_facts facts = {0};
	if (chain_facts(s->pairs[0].leaf, &facts, err) < 0)
		return -1;
	s->entry.revision = revision;
	s->entry.not_before = facts.not_before;
	s->entry.not_after = facts.not_after;
	memcpy(s->entry.fingerprint, facts.fingerprint, sizeof(facts.fingerprint));
	chain_facts_release(&facts);
	chain_digest(s->pairs, s->pair_count, s->entry.digest);
	return 0;
}

int set_make(struct revision revision, struct chain *pairs, size_t count, struct set *ret, struct error *err)
{
	auto_set struct set s = {0};
	for (size_t i = 0; i < count && i < BUNDLE_PAIRS_MAX; i++) {
		s.pairs[s.pair_count++] = pairs[i];
		pairs[i] = (struct chain){0};
	}
	for (size_t i = 0; i < s.pair_count; i++)
		if (!s.pairs[i].key || X509_check_private_key(s.pairs[i].leaf, s.pairs[i].key) != 1)
			return openssl_error(
				err, ERROR_UNTRUSTED, "key-match: the private key is not the certificate's");
	if (!s.pair_count)
		return error_set(err, ERROR_UNTRUSTED, "chain: there is no certificate");
	if (make_files(&s, err) < 0 || describe(&s, revision, err) < 0)
		return -1;
	*ret = s;
	s = (struct set){0};
	return 0;
}

static int add_extension(X509 *leaf, int nid, const char *value)
{
	X509V3_CTX context;
	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, leaf, leaf, NULL, NULL, 0);
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	int ok = extension && X509_add_ext(leaf, extension, -1) == 1;
	X509_EXTENSION_free(extension);
	return ok ? 0 : -1;
}

static int sign_placeholder(X509 *leaf, EVP_PKEY *key, const char *certificate, int64_t now)
{
	static const unsigned char subject[] = "certsync placeholder";
	/* The serial is the time, so that one made anew is another certificate for whoever remembers the
	 * first. */
	auto_free char *names = mem_printf("DNS:%s", certificate);
	X509_NAME *name = X509_get_subject_name(leaf);
	bool ok = X509_set_version(leaf, X509_VERSION_3) == 1 &&
		  ASN1_INTEGER_set_int64(X509_get_serialNumber(leaf), now) == 1 &&
		  ASN1_TIME_set(X509_getm_notBefore(leaf), (time_t)(now - 3600)) &&
		  ASN1_TIME_set(X509_getm_notAfter(leaf), (time_t)(now + PLACEHOLDER_SECONDS)) &&
		  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, subject, -1, -1, 0) == 1 &&
		  X509_set_issuer_name(leaf, name) == 1 && X509_set_pubkey(leaf, key) == 1 &&
		  add_extension(leaf, NID_subject_alt_name, names) == 0 &&
		  X509_sign(leaf, key, EVP_sha256()) > 0;
	return ok ? 0 : -1;
}

int set_placeholder(const char *certificate, int64_t now, struct set *ret, struct error *err)
{
	auto_chain struct chain pair = {0};
	pair.key = chain_make_key("ecdsa-p256", err);
	if (!pair.key)
		return error_wrap(err, "cannot make a placeholder");
	pair.leaf = X509_new();
	pair.rest = sk_X509_new_null();
	if (!pair.leaf || !pair.rest || sign_placeholder(pair.leaf, pair.key, certificate, now) < 0)
		return openssl_error(err, ERROR_PERMANENT, "cannot make a placeholder for %s", certificate);
	return set_make((struct revision){0, 0}, &pair, 1, ret, err);
}

/* Made 0700 and opened to others only now: umask is 077, and mkdirat's mode passes through it. */
static int make_directory(int directory, const char *name, struct error *err)
{
	int made = mkdirat(directory, name, 0700);
	if (made < 0 && errno == EEXIST) {
		/* What an interrupted write has left. */
		if (fs_remove_tree(directory, name, err) < 0)
			return -1;
		made = mkdirat(directory, name, 0700);
	}
	if (made < 0)
		return error_errno(err, "cannot make the directory %s", name);
	int fd = fs_open_directory(directory, name, err);
	if (fd >= 0 && fchmod(fd, 0755) < 0) {
		close(fd);
		return error_errno(err, "cannot open the directory %s to readers", name);
	}
	return fd;
}

static int write_files(int directory, const struct set *s, struct error *err)
{
	struct fs_new files[COUNT(s->files)];
	auto_close int fd = make_directory(directory, set_temporary, err);
	if (fd < 0)
		return -1;
	for (size_t i = 0; i < s->file_count; i++) {
		const struct set_file *f = &s->files[i];
		files[i] = (struct fs_new){f->name, f->pem.data, f->pem.len, f->private ? FS_PRIVATE : FS_PUBLIC};
	}
	return fs_fill_directory(fd, files, s->file_count, err);
}

/* A directory that is there already is exchanged, so that no reader finds none. */
static int move_into_place(int directory, const char *name, struct error *err)
{
	if (renameat2(directory, set_temporary, directory, name, RENAME_NOREPLACE) < 0) {
		if (errno != EEXIST ||
			renameat2(directory, set_temporary, directory, name, RENAME_EXCHANGE) < 0)
			return error_errno(err, "cannot move a set to its place");
		/* The name must be the new set's on the disk before the old one is taken apart. */
		if (fs_sync_directory(directory, err) < 0 ||
			fs_remove_tree(directory, set_temporary, err) < 0)
			return -1;
	}
	return fs_sync_directory(directory, err);
}

int set_write(int directory, const struct set *s, struct error *err)
{
	char name[REVISION_TEXT_MAX];
	struct error ignored;
	revision_text(s->entry.revision, name);
	if (write_files(directory, s, err) == 0 && move_into_place(directory, name, err) == 0)
		return 0;
	fs_remove_tree(directory, set_temporary, &ignored);
	return error_wrap(err, "revision %s cannot be written to the archive", name);
}

static int read_pair(int fd, const char *name, struct chain *ret, struct error *err)
{
	auto_buf struct buf pem = BUF_INIT(CHAIN_PEM_MAX);
	if (fs_read(fd, name, false, &pem, err) < 0)
		return -1;
	return chain_parse_pem(pem.data, pem.len, pem.data, pem.len, ret, err);
}

static int read_pairs(int fd, struct chain pairs[BUNDLE_PAIRS_MAX], size_t *ret_count, struct error *err)
{
	if (read_pair(fd, "combined.pem", &pairs[0], err) < 0)
		return -1;
	*ret_count = 1;
	if (faccessat(fd, "combined-all.pem", F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	*ret_count = 2;
	if (!pairs[0].key)
		return error_set(err, ERROR_PERMANENT, "combined.pem holds no key");
	return read_pair(fd, is_rsa(&pairs[0]) ? "haproxy.pem.ecdsa" : "haproxy.pem.rsa", &pairs[1], err);
}

bool set_may_have_second(int directory, struct revision revision)
{
	char name[REVISION_TEXT_MAX];
	auto_free char *path = mem_printf("%s/combined-all.pem", revision_text(revision, name));
	return faccessat(directory, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static int compare_files(int fd, const struct set *s, struct error *err)
{
	for (size_t i = 0; i < s->file_count; i++) {
		const struct set_file *f = &s->files[i];
		auto_buf struct buf found = BUF_INIT(SET_PEM_MAX);
		if (fs_read(fd, f->name, false, &found, err) < 0)
			return -1;
		if (found.len != f->pem.len || (found.len && memcmp(found.data, f->pem.data, found.len) != 0))
			return error_set(err, ERROR_PERMANENT, "%s is not as it was written", f->name);
	}
	return 0;
}

int set_read(int directory, struct revision revision, struct set *ret, struct error *err)
{
	char name[REVISION_TEXT_MAX];
	struct chain pairs[BUNDLE_PAIRS_MAX] = {0};
	size_t count = 0;
	auto_set struct set s = {0};
	revision_text(revision, name);
	auto_close int fd = fs_open_directory(directory, name, err);
	bool ok = fd >= 0 && read_pairs(fd, pairs, &count, err) == 0 &&
		  set_make(revision, pairs, count, &s, err) == 0 && compare_files(fd, &s, err) == 0;
	for (size_t i = 0; i < BUNDLE_PAIRS_MAX; i++)
		chain_release(&pairs[i]);
	if (!ok)
		return error_wrap(err, "revision %s in the archive", name);
	*ret = s;
	s = (struct set){0};
	return 0;
}

/* Made whole again. Each pair stands in a set several times: any whole copy will do. */

struct copy {
	const char *certificates, *key;
};

static const struct copy first_copies[] = {
	{"combined.pem", "combined.pem"},
	{"haproxy.pem", "haproxy.pem"},
	{"haproxy.pem.ecdsa", "haproxy.pem.ecdsa"},
	{"haproxy.pem.rsa", "haproxy.pem.rsa"},
	{"fullchain.pem", "privkey.pem"},
	{"combined.pem", "privkey.pem"},
	{"fullchain.pem", "combined.pem"},
};
static const struct copy second_copies[] = {
	{"haproxy.pem.rsa", "haproxy.pem.rsa"},
	{"haproxy.pem.ecdsa", "haproxy.pem.ecdsa"},
};

static bool read_copy(int fd, const struct copy *copy, struct chain *ret)
{
	auto_buf struct buf certificates = BUF_INIT(CHAIN_PEM_MAX);
	auto_buf struct buf key = BUF_INIT(CHAIN_PEM_MAX);
	struct error ignored;
	const struct buf *first = &certificates, *second = &key;
	if (fs_read(fd, copy->certificates, false, &certificates, &ignored) < 0)
		return false;
	if (strcmp(copy->certificates, copy->key) == 0)
		second = first;
	else if (fs_read(fd, copy->key, false, &key, &ignored) < 0)
		return false;
	return chain_parse_pem(first->data, first->len, second->data, second->len, ret, &ignored) == 0;
}

/* A set of the first copy and, unless it is NULL, the second, if both can be read and belong together. */
static bool make_from(int fd, struct revision revision, const struct copy *first, const struct copy *second,
	struct set *ret)
{
	struct chain pairs[BUNDLE_PAIRS_MAX] = {0};
	struct error ignored;
	bool made = read_copy(fd, first, &pairs[0]) && (!second || read_copy(fd, second, &pairs[1])) &&
		    set_make(revision, pairs, second ? 2 : 1, ret, &ignored) == 0;
	for (size_t i = 0; i < BUNDLE_PAIRS_MAX; i++)
		chain_release(&pairs[i]);
	return made;
}

static bool recover_from(int fd, const struct journal_entry *entry, const struct copy *first,
	const struct copy *second, struct set *ret)
{
	auto_set struct set s = {0};
	if (!make_from(fd, entry->revision, first, second, &s) || !journal_entry_same(entry, &s.entry))
		return false;
	*ret = s;
	s = (struct set){0};
	return true;
}

int set_recover(int directory, const struct journal_entry *entry, struct set *ret, struct error *err)
{
	char name[REVISION_TEXT_MAX];
	auto_close int fd = fs_open_directory(directory, revision_text(entry->revision, name), err);
	if (fd < 0)
		return -1;
	for (size_t i = 0; i < COUNT(first_copies); i++) {
		if (recover_from(fd, entry, &first_copies[i], NULL, ret))
			return 0;
		for (size_t k = 0; k < COUNT(second_copies); k++)
			if (recover_from(fd, entry, &first_copies[i], &second_copies[k], ret))
				return 0;
	}
	return error_set(err, ERROR_PERMANENT,
		"revision %s in the archive was changed, and no file of it still holds what was staged",
		name);
}

/* How many pairs the set had, by what is left of it. */
static const struct copy *guess_second(int fd, const struct set *first)
{
	const char *other = is_rsa(&first->pairs[0]) ? "haproxy.pem.ecdsa" : "haproxy.pem.rsa";
	for (size_t i = 0; i < COUNT(second_copies); i++)
		if (strcmp(second_copies[i].key, other) == 0 && faccessat(fd, other, F_OK, 0) == 0)
			return &second_copies[i];
	return NULL;
}

int set_agreed(int directory, struct revision revision, struct set *ret, struct error *err)
{
	char name[REVISION_TEXT_MAX];
	auto_close int fd = fs_open_directory(directory, revision_text(revision, name), err);
	for (size_t i = 0; fd >= 0 && i < COUNT(first_copies); i++) {
		auto_set struct set a = {0};
		if (!make_from(fd, revision, &first_copies[i], NULL, &a))
			continue;
		for (size_t k = i + 1; k < COUNT(first_copies); k++) {
			auto_set struct set b = {0};
			if (make_from(fd, revision, &first_copies[k], NULL, &b) &&
				journal_entry_same(&a.entry, &b.entry) &&
				make_from(fd, revision, &first_copies[i], guess_second(fd, &a), ret))
				return 0;
		}
	}
	return fd < 0 ? -1
		      : error_set(err, ERROR_PERMANENT, "no two files of revision %s in the archive agree",
				name);
}

static const struct set_file *find_file(const struct set *s, const char *content)
{
	auto_free char *name = mem_printf("%s.pem", content);
	for (size_t i = 0; i < s->file_count; i++)
		if (strcmp(s->files[i].name, name) == 0)
			return &s->files[i];
	return NULL;
}

/* By its files alone: a set may come without its pairs (keeper_read). */
const struct set_file *set_content(const struct set *s, const char *content)
{
	const struct set_file *found = find_file(s, content);
	return !found && strcmp(content, "combined-all") == 0 ? find_file(s, "combined") : found;
}
