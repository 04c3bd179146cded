#include "hub/keys/operation.h"
#include "hub/keys/csr.h"
#include "hub/keys/jws_key.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <string.h>

static int add(struct buf *out, const void *data, size_t len, struct error *err)
{
	return buf_add(out, data, len) < 0 ? error_set(err, ERROR_PERMANENT, "the reply is too long") : 0;
}

static int do_signer(struct operations *o, const struct keys_request *r, struct buf *out, struct error *err)
{
	if (r->make && signer_make(&o->signer, vault_directory(o->vault), err) < 0)
		return -1;
	if (!o->signer.is_there)
		return error_set(err, ERROR_USAGE, "there is no signing key");
	return add(out, o->signer.public_key, SEAL_KEY_SIZE, err);
}

static int do_make(struct operations *o, const struct keys_request *r, struct buf *out, struct error *err)
{
	return vault_make(o->vault, r->key_class, r->type, out, err);
}

static int do_find(struct operations *o, const struct keys_request *r, struct buf *out, struct error *err)
{
	const struct vault_key *k = vault_find(o->vault, r->key_class, r->id, err);
	return k ? add(out, k->spki.data, k->spki.len, err) : -1;
}

static int do_csr(struct operations *o, const struct keys_request *r, struct buf *out, struct error *err)
{
	const char *names[KEYS_NAMES_MAX] = {NULL};
	const struct vault_key *k = vault_find(o->vault, KEYS_LEAF, r->id, err);
	for (size_t i = 0; i < r->name_count; i++)
		names[i] = r->names[i];
	return k ? csr_make(k->pkey, names, r->name_count, out, err) : -1;
}

static int do_jws(struct operations *o, const struct keys_request *r, struct buf *out, struct error *err)
{
	uint8_t signature[KEYS_SIGNATURE_SIZE];
	const struct vault_key *k = vault_find(o->vault, r->key_class, r->id, err);
	if (!k || jws_key_sign(k->pkey, r->key_class, r->input, r->input_len, signature, err) < 0)
		return -1;
	return add(out, signature, sizeof(signature), err);
}

static int do_commit(struct operations *o, const struct keys_request *r, struct buf *out, struct error *err)
{
	(void)out;
	return vault_commit(o->vault, r->id, err);
}

static int do_drop(struct operations *o, const struct keys_request *r, struct buf *out, struct error *err)
{
	(void)out;
	return vault_drop(o->vault, r->key_class, r->id, err);
}

static int do_seal(struct operations *o, const struct keys_request *r, struct buf *out, struct error *err)
{
	return signer_seal(&o->signer, o->vault, r, out, err);
}

static int do_pins(struct operations *o, const struct keys_request *r, struct buf *out, struct error *err)
{
	return signer_pins(&o->signer, r, out, err);
}

static int do_next(struct operations *o, const struct keys_request *r, struct buf *out, struct error *err)
{
	uint8_t key[SEAL_KEY_SIZE];
	return signer_next(vault_directory(o->vault), r->make, key, err) < 0 ? -1 : add(out, key, sizeof(key), err);
}

static int do_signers(struct operations *o, const struct keys_request *r, struct buf *out, struct error *err)
{
	return signer_list(&o->signer, vault_directory(o->vault), r, out, err);
}

static int do_switch(struct operations *o, const struct keys_request *r, struct buf *out, struct error *err)
{
	(void)out;
	return signer_switch(&o->signer, vault_directory(o->vault), r->id, err);
}

static int (*const operations[KEYS_OPS])(
	struct operations *o, const struct keys_request *r, struct buf *out, struct error *err) = {
	[KEYS_SIGNER] = do_signer,
	[KEYS_MAKE] = do_make,
	[KEYS_FIND] = do_find,
	[KEYS_CSR] = do_csr,
	[KEYS_JWS] = do_jws,
	[KEYS_COMMIT] = do_commit,
	[KEYS_DROP] = do_drop,
	[KEYS_SEAL] = do_seal,
	[KEYS_PINS] = do_pins,
	[KEYS_NEXT] = do_next,
	[KEYS_SIGNERS] = do_signers,
	[KEYS_SWITCH] = do_switch,
};

bool operation_is_slow(const struct keys_request *r)
{
	return r->op == KEYS_MAKE && strncmp(r->type, "rsa-", 4) == 0;
}

void operation_run(struct operations *o, const struct keys_request *r, struct buf *out, struct keys_reply *ret)
{
	struct error err = {.kind = ERROR_NONE};
	*ret = (struct keys_reply){.ok = operations[r->op](o, r, out, &err) == 0};
	if (ret->ok) {
		ret->data = out->data;
		ret->len = out->len;
		return;
	}
	ret->kind = err.kind;
	snprintf(ret->text, sizeof(ret->text), "%s", err.message);
}

static int adopt(struct operations *o, const struct keys_root_request *r, struct buf *out, struct error *err)
{
	if (r->adopt == KEYS_ADOPT_SIGNER)
		return signer_adopt(&o->signer, vault_directory(o->vault), r->data, r->len, err);
	return vault_adopt(o->vault, r->adopt, r->data, r->len, out, err);
}

void operation_for_root(
	struct operations *o, const struct keys_root_request *r, struct buf *out, struct keys_root_reply *ret)
{
	struct error err;
	int result = r->op == KEYS_ROOT_ADOPT ? adopt(o, r, out, &err)
		: r->op == KEYS_ROOT_SYNC     ? vault_sync(o->vault, &err)
					      : 0;
	*ret = (struct keys_root_reply){.ok = result == 0, .spki = out->data, .spki_len = out->len};
	if (result < 0)
		snprintf(ret->text, sizeof(ret->text), "%s", err.message);
}
