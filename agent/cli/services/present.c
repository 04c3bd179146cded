#include "agent/cli/services/present.h"
#include "lib/core/buf.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"
#include "lib/core/name.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { PRESENT_FILE_MAX = 1024 * 1024, NAMES_SHOWN = 5 };

void present_release(struct present *p)
{
	for (size_t i = 0; i < p->name_count; i++)
		free(p->names[i]);
	free(p->names);
	*p = (struct present){0};
}

bool present_covers(const struct present *p, const char *name)
{
	for (size_t i = 0; i < p->name_count; i++)
		if (name_covers(p->names[i], name))
			return true;
	return false;
}

static void add_name(struct present *p, const char *name)
{
	for (size_t i = 0; i < p->name_count; i++)
		if (strcasecmp(p->names[i], name) == 0)
			return;
	p->names = mem_grow(p->names, p->name_count + 1, sizeof(*p->names));
	p->names[p->name_count++] = mem_strdup(name);
}

/* What Debian's make-ssl-cert and Courier's scripts write may have a name only in its subject. */
static void add_subject(struct present *p, X509 *leaf)
{
	char name[NAME_CERTIFICATE_MAX];
	int len = X509_NAME_get_text_by_NID(X509_get_subject_name(leaf), NID_commonName, name, sizeof(name));
	if (len > 0 && (size_t)len == strlen(name))
		add_name(p, name);
}

static bool is_self_signed(X509 *leaf)
{
	return X509_NAME_cmp(X509_get_subject_name(leaf), X509_get_issuer_name(leaf)) == 0 &&
		X509_verify(leaf, X509_get0_pubkey(leaf)) == 1;
}

static int add_leaf(struct present *p, X509 *leaf, bool first, struct error *err)
{
	struct chain_facts facts = {0};
	if (chain_facts(leaf, &facts, err) < 0)
		return -1;
	for (size_t i = 0; i < facts.name_count; i++)
		add_name(p, facts.names[i]);
	if (facts.name_count == 0)
		add_subject(p, leaf);
	if (p->leaf_count < PRESENT_LEAVES_MAX) {
		struct present_leaf *l = &p->leaves[p->leaf_count++];
		memcpy(l->key_type, facts.key_type, sizeof(l->key_type));
		memcpy(l->fingerprint, facts.fingerprint, sizeof(l->fingerprint));
	}
	p->self_signed = (first || p->self_signed) && is_self_signed(leaf);
	chain_facts_release(&facts);
	return 0;
}

/* The first certificate of a file is a leaf, and so is each later one that is not a CA's. */
static int read_file(struct present *p, const char *path, int *leaves, struct error *err)
{
	auto_buf struct buf pem = BUF_INIT(PRESENT_FILE_MAX);
	int result = 0;
	if (fs_read(AT_FDCWD, path, true, &pem, err) < 0)
		return -1;
	BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.len);
	X509 *certificate;
	bool first = true;
	while (result == 0 && (certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
		if (first || X509_check_ca(certificate) == 0)
			result = add_leaf(p, certificate, (*leaves)++ == 0, err);
		first = false;
		X509_free(certificate);
	}
	BIO_free(bio);
	ERR_clear_error();
	return result;
}

int present_read(const char *paths, struct present *ret, struct error *err)
{
	struct present p = {0};
	auto_free char *copy = mem_strdup(paths);
	char *rest = copy;
	const char *path;
	int leaves = 0, result = 0;
	/* A name with a blank in it is one file. */
	if (access(paths, F_OK) == 0) {
		result = read_file(&p, paths, &leaves, err);
		rest = NULL;
	}
	while (result == 0 && (path = strsep(&rest, " \t\n,")))
		if (*path)
			result = read_file(&p, path, &leaves, err);
	if (result == 0 && leaves == 0)
		result = error_set(err, ERROR_PERMANENT, "%s contains no certificate", paths);
	if (result < 0)
		present_release(&p);
	else
		*ret = p;
	return result;
}

void present_take(X509 *leaf, struct present *ret)
{
	struct error ignored;
	*ret = (struct present){0};
	if (add_leaf(ret, leaf, true, &ignored) == 0)
		return;
	ret->leaf_count = 1;
	chain_fingerprint(leaf, ret->leaves[0].fingerprint);
	chain_key_type(X509_get0_pubkey(leaf), ret->leaves[0].key_type);
}

char *present_names(const struct present *p)
{
	auto_buf struct buf text = BUF_INIT(NAMES_SHOWN * 300);
	for (size_t i = 0; i < p->name_count && i < NAMES_SHOWN; i++)
		buf_addf(&text, "%s%.250s", i ? ", " : "", p->names[i]);
	if (p->name_count > NAMES_SHOWN)
		buf_addf(&text, " and %zu more", p->name_count - NAMES_SHOWN);
	if (p->name_count == 0)
		buf_addf(&text, "no name");
	return mem_strdup(buf_text(&text));
}
