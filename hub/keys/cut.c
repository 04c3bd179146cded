#include "hub/keys/cut.h"
#include "hub/keys/form.h"
#include "hub/common/key_bring.h"
#include "hub/common/key_cut.h"
#include "lib/core/mem.h"
#include "lib/crypto/der.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool mentions(const void *text, size_t len, const char *word)
{
	return len && memmem(text, len, word, strlen(word)) != NULL;
}

static int take_key(struct vault *v, const void *text, size_t len, struct buf *spki, struct error *err)
{
	auto_pkey EVP_PKEY *key = chain_parse_key(text, len, err);
	if (!key)
		return -1;
	return vault_bring(v, key, spki, err) < 0 ? error_wrap(err, "private key") : 0;
}

void cut_file(struct vault *v, const void *text, size_t len, struct buf *out)
{
	struct error err = {.message = ""};
	auto_buf struct buf spki = BUF_INIT(KEYS_SPKI_MAX), certificates = BUF_INIT(CHAIN_PEM_MAX);
	int result = 0;
	if (mentions(text, len, "PRIVATE KEY-----"))
		result = take_key(v, text, len, &spki, &err);
	if (result == 0 && (mentions(text, len, "CERTIFICATE-----") || der_is_certificate_3(text, len)))
		result = chain_cut_certificates(text, len, &certificates, &err);
	if (result < 0) {
		buf_reset(&spki);
		buf_reset(&certificates);
	}
	/* The record cannot be too long, since what was read is bounded. */
	const char *form = spki.len || certificates.len ? "" : form_of(text, len);
	if (key_cut_encode(result < 0 ? err.message : "", form, &spki, &certificates, out) < 0)
		mem_abort(__func__);
}

void cut_files(struct vault *v, const struct files *files, struct files *ret, struct buf content[FILES_MAX])
{
	*ret = (struct files){.count = 0};
	snprintf(ret->label, sizeof(ret->label), "%s", files->label);
	for (size_t i = 0; i < files->count; i++) {
		content[i] = BUF_INIT(2 * KEY_CUT_MAX);
		cut_file(v, files->file[i].data, files->file[i].len, &content[i]);
		if (files_add(ret, files->file[i].name, content[i].data, content[i].len) < 0)
			mem_abort(__func__);
	}
}

/* Reads from memory that nobody can change any more: a file could be one that never answers, or another one at its end
 * than at its beginning. */
static int read_sealed(int fd, struct buf *text, struct error *err)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || (seals & KEY_BRING_SEALS) != KEY_BRING_SEALS || fstat(fd, &st) < 0)
		return error_set(err, ERROR_USAGE, "what was passed is no sealed memory");
	if (st.st_size > CHAIN_PEM_MAX)
		return error_set(
			err, ERROR_USAGE, "%lld bytes, at most %d are read", (long long)st.st_size, CHAIN_PEM_MAX);
	uint8_t *at = buf_reserve(text, (size_t)st.st_size);
	if (!at || pread(fd, at, (size_t)st.st_size, 0) != st.st_size)
		return error_set(err, ERROR_RETRY, "what was passed cannot be read");
	buf_added(text, (size_t)st.st_size);
	return 0;
}

void cut_descriptor(struct vault *v, int fd, struct buf *out)
{
	struct error err;
	const struct buf none = BUF_INIT(1);
	auto_buf struct buf text = BUF_INIT(CHAIN_PEM_MAX);
	if (read_sealed(fd, &text, &err) == 0)
		cut_file(v, text.data, text.len, out);
	else if (key_cut_encode(err.message, "", &none, &none, out) < 0)
		mem_abort(__func__);
}
