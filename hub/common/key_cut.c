#include "hub/common/key_cut.h"
#include "hub/common/keys_request.h"
#include "lib/core/mem.h"

#include <openssl/x509.h>
#include <stdio.h>

void key_cut_release(struct key_cut *c)
{
	chain_free_pkey(&c->key);
	chain_release(&c->chain);
}

int key_cut_encode(
	const char *damage, const char *form, const struct buf *spki, const struct buf *certificates, struct buf *out)
{
	if (buf_put_string(out, damage) < 0 || buf_put_string(out, form) < 0 ||
		buf_put_bytes(out, spki->data, spki->len) < 0)
		return -1;
	return certificates->len ? buf_add(out, certificates->data, certificates->len) : buf_put_u8(out, 0);
}

static int read_chain(struct reader *in, struct key_cut *c, struct error *err)
{
	if (in->left == 1 && *in->at == 0)
		return read_u8(in);
	if (chain_read_certificates(in, &c->chain, err) == 0)
		return 0;
	error_wrap(err, "certificates");
	snprintf(c->damage, sizeof(c->damage), "%s", err->message);
	in->left = 0;
	return 0;
}

int key_cut_decode(const uint8_t *data, size_t len, struct key_cut *ret, struct error *err)
{
	struct reader in = READER(data, len);
	size_t spki_len = 0;
	*ret = (struct key_cut){.key = NULL};
	read_string(&in, ret->damage, sizeof(ret->damage));
	read_string(&in, ret->form, sizeof(ret->form));
	const uint8_t *spki = read_bytes(&in, KEYS_SPKI_MAX, &spki_len);
	if (!in.failed && spki_len)
		ret->key = chain_public_key(spki, spki_len, err);
	if (in.failed || (spki_len && !ret->key) || read_chain(&in, ret, err) < 0 || !read_done(&in)) {
		key_cut_release(ret);
		return error_set(
			err, ERROR_PERMANENT, "what is left of a file is not in the form of hub/common/key_cut.h");
	}
	return 0;
}
