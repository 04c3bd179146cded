#include "hub/common/keys_root.h"

int keys_root_request_encode(const struct keys_root_request *r, struct buf *out)
{
	if (buf_put_u8(out, (uint8_t)r->op) < 0)
		return -1;
	if (r->op != KEYS_ROOT_ADOPT)
		return 0;
	return buf_put_u8(out, (uint8_t)r->adopt) < 0 ? -1 : buf_put_bytes(out, r->data, r->len);
}

int keys_root_request_decode(const uint8_t *data, size_t len, struct keys_root_request *ret, struct error *err)
{
	struct reader in = READER(data, len);
	unsigned op = read_u8(&in), adopt = 0;
	*ret = (struct keys_root_request){.op = (enum keys_root_op)op};
	if (op == KEYS_ROOT_ADOPT) {
		adopt = read_u8(&in);
		ret->data = read_bytes(&in, KEYS_ROOT_FILE_MAX, &ret->len);
	}
	ret->adopt = (enum keys_adopt)adopt;
	if (!read_done(&in) || op < KEYS_ROOT_ADOPT || op > KEYS_ROOT_PING || adopt >= KEYS_ADOPTS)
		return error_set(
			err, ERROR_PERMANENT, "a request (%u) is not in the form of hub/common/keys_root.h", op);
	return 0;
}

int keys_root_reply_encode(const struct keys_root_reply *r, struct buf *out)
{
	if (buf_put_u8(out, r->ok) < 0)
		return -1;
	return r->ok ? buf_put_bytes(out, r->spki, r->spki_len) : buf_put_string(out, r->text);
}

int keys_root_reply_decode(const uint8_t *data, size_t len, struct keys_root_reply *ret, struct error *err)
{
	struct reader in = READER(data, len);
	unsigned ok = read_u8(&in);
	*ret = (struct keys_root_reply){.ok = ok == 1};
	if (ret->ok)
		ret->spki = read_bytes(&in, KEYS_ROOT_SPKI_MAX, &ret->spki_len);
	else
		read_string(&in, ret->text, sizeof(ret->text));
	if (!read_done(&in) || ok > 1)
		return error_set(
			err, ERROR_PERMANENT, "a reply of certsync-keys is not in the form of hub/common/keys_root.h");
	return 0;
}
