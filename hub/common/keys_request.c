#include "hub/common/keys_request.h"

#include <stdio.h>
#include <string.h>

static int put_names(const struct keys_request *r, struct buf *out)
{
	int result = buf_put_u8(out, (uint8_t)r->name_count);
	for (size_t i = 0; i < r->name_count && result == 0; i++)
		result = buf_put_string(out, r->names[i]);
	return result;
}

static void read_names(struct reader *in, struct keys_request *r)
{
	r->name_count = read_u8(in);
	if (r->name_count < 1 || r->name_count > KEYS_NAMES_MAX)
		in->failed = true;
	for (size_t i = 0; i < r->name_count && !in->failed; i++) {
		read_string(in, r->names[i], sizeof(r->names[i]));
		in->failed = in->failed || !name_is_dns(r->names[i], true);
	}
}

static int put_seal(const struct keys_request *r, struct buf *out)
{
	int result = buf_put_string(out, r->certificate) < 0 || buf_put_u32(out, r->revision.epoch) < 0 ||
		buf_put_u32(out, r->revision.number) < 0 || buf_put_u16(out, r->flags) < 0 ||
		buf_put_u64(out, (uint64_t)r->not_after) < 0 || buf_add(out, r->recipient, sizeof(r->recipient)) < 0 ||
		buf_put_u8(out, (uint8_t)r->pair_count) < 0;
	for (size_t i = 0; i < r->pair_count && result == 0; i++)
		result = buf_add(out, r->pairs[i].id, KEYS_ID_SIZE) < 0 ||
			buf_put_bytes(out, r->pairs[i].chain, r->pairs[i].chain_len) < 0;
	return result ? -1 : 0;
}

static void read_id(struct reader *in, uint8_t ret[KEYS_ID_SIZE])
{
	const uint8_t *id = read_raw(in, KEYS_ID_SIZE);
	if (id)
		memcpy(ret, id, KEYS_ID_SIZE);
}

/* There must be as many as it says, and nothing behind them: what is sealed is what is signed. */
static bool chain_is_whole(const uint8_t *chain, size_t len)
{
	struct reader in = READER(chain, len);
	size_t certificate_len = 1;
	uint8_t count = read_u8(&in);
	for (uint8_t i = 0; i < count && certificate_len; i++)
		(void)read_bytes(&in, CHAIN_PEM_MAX, &certificate_len);
	return count >= 1 && count <= CHAIN_CERTIFICATES_MAX && certificate_len && read_done(&in);
}

static void read_seal(struct reader *in, struct keys_request *r)
{
	read_string(in, r->certificate, sizeof(r->certificate));
	r->revision.epoch = read_u32(in);
	r->revision.number = read_u32(in);
	r->flags = read_u16(in);
	r->not_after = (int64_t)read_u64(in);
	read_id(in, r->recipient);
	r->pair_count = read_u8(in);
	if (r->pair_count < 1 || r->pair_count > BUNDLE_PAIRS_MAX)
		in->failed = true;
	for (size_t i = 0; i < r->pair_count && !in->failed; i++) {
		read_id(in, r->pairs[i].id);
		r->pairs[i].chain = read_bytes(in, BUNDLE_PLAIN_MAX, &r->pairs[i].chain_len);
		in->failed = in->failed || !chain_is_whole(r->pairs[i].chain, r->pairs[i].chain_len);
	}
}

static int put_pins(const struct keys_request *r, struct buf *out)
{
	int result = buf_put_u64(out, (uint64_t)r->pins.serial) < 0 ? -1 : buf_put_u8(out, (uint8_t)r->pins.count);
	for (size_t i = 0; i < r->pins.count && result == 0; i++)
		result = buf_put_string(out, r->pins.hosts[i]);
	return result;
}

static void read_pins(struct reader *in, struct keys_request *r)
{
	r->pins.serial = (int64_t)read_u64(in);
	r->pins.count = read_u8(in);
	if (r->pins.count < 1 || r->pins.count > HOST_PINS_COUNT || r->pins.serial <= 0)
		in->failed = true;
	for (size_t i = 0; i < r->pins.count && !in->failed; i++) {
		read_string(in, r->pins.hosts[i], sizeof(r->pins.hosts[i]));
		in->failed = in->failed || !host_pin_is_valid(r->pins.hosts[i]);
	}
}

static int put_body(const struct keys_request *r, struct buf *out)
{
	switch (r->op) {
	case KEYS_SIGNER:
	case KEYS_NEXT:
		return buf_put_u8(out, r->make);
	case KEYS_SIGNERS:
		return buf_put_u64(out, (uint64_t)r->serial) < 0 ? -1 : buf_put_u8(out, r->both);
	case KEYS_MAKE:
		return buf_put_u8(out, (uint8_t)r->key_class) < 0 ? -1 : buf_put_string(out, r->type);
	case KEYS_FIND:
	case KEYS_DROP:
		return buf_put_u8(out, (uint8_t)r->key_class) < 0 ? -1 : buf_add(out, r->id, sizeof(r->id));
	case KEYS_CSR:
		return buf_add(out, r->id, sizeof(r->id)) < 0 ? -1 : put_names(r, out);
	case KEYS_JWS:
		if (buf_put_u8(out, (uint8_t)r->key_class) < 0 || buf_add(out, r->id, sizeof(r->id)) < 0)
			return -1;
		return buf_put_bytes(out, r->input, r->input_len);
	case KEYS_COMMIT:
	case KEYS_SWITCH:
		return buf_add(out, r->id, sizeof(r->id));
	case KEYS_SEAL:
		return put_seal(r, out);
	case KEYS_PINS:
		return put_pins(r, out);
	default:
		return 0;
	}
}

static void read_class(struct reader *in, struct keys_request *r)
{
	unsigned of = read_u8(in);
	in->failed = in->failed || of >= KEYS_CLASSES;
	r->key_class = (enum keys_class)of;
}

static void read_input(struct reader *in, struct keys_request *r)
{
	r->input = read_bytes(in, KEYS_INPUT_MAX, &r->input_len);
}

static bool read_flag(struct reader *in)
{
	unsigned number = read_u8(in);
	in->failed = in->failed || number > 1;
	return number == 1;
}

static void read_body(struct reader *in, struct keys_request *r)
{
	switch (r->op) {
	case KEYS_SIGNER:
	case KEYS_NEXT:
		r->make = read_flag(in);
		return;
	case KEYS_SIGNERS:
		r->serial = (int64_t)read_u64(in);
		in->failed = in->failed || r->serial <= 0;
		r->both = read_flag(in);
		return;
	case KEYS_MAKE:
		read_class(in, r);
		read_string(in, r->type, sizeof(r->type));
		return;
	case KEYS_FIND:
	case KEYS_DROP:
		read_class(in, r);
		read_id(in, r->id);
		return;
	case KEYS_CSR:
		read_id(in, r->id);
		read_names(in, r);
		return;
	case KEYS_JWS:
		read_class(in, r);
		read_id(in, r->id);
		read_input(in, r);
		return;
	case KEYS_COMMIT:
	case KEYS_SWITCH:
		read_id(in, r->id);
		return;
	case KEYS_SEAL:
		read_seal(in, r);
		return;
	case KEYS_PINS:
		read_pins(in, r);
		return;
	default:
		in->failed = true;
	}
}

static enum frame_type frame_of(enum keys_op op)
{
	return op == KEYS_SEAL ? FRAME_BUNDLE : FRAME_RECORD;
}

int keys_request_encode(const struct keys_request *r, struct buf *out)
{
	auto_buf struct buf body = BUF_INIT(r->op == KEYS_SEAL ? FRAME_BUNDLE_MAX : FRAME_RECORD_MAX);
	if (buf_put_u8(&body, (uint8_t)r->op) < 0 || put_body(r, &body) < 0)
		return -1;
	return frame_encode(out, frame_of(r->op), body.data, body.len);
}

int keys_request_decode(const struct frame *frame, struct keys_request *ret, struct error *err)
{
	struct reader in = READER(frame->data, frame->len);
	ret->op = (enum keys_op)read_u8(&in);
	ret->name_count = ret->pair_count = ret->pins.count = 0;
	in.failed = in.failed || frame->type != frame_of(ret->op);
	if (!in.failed)
		read_body(&in, ret);
	if (!read_done(&in))
		return error_set(err, ERROR_PERMANENT, "a request (%u) is not in the form of hub/common/keys_request.h",
			(unsigned)ret->op);
	return 0;
}

int keys_reply_encode(const struct keys_reply *r, bool sealed, struct buf *out)
{
	auto_buf struct buf body = BUF_INIT(FRAME_RECORD_MAX);
	if (r->ok && sealed)
		return frame_encode(out, FRAME_BUNDLE, r->data, r->len);
	if (buf_put_u8(&body, r->ok) < 0 || buf_put_u8(&body, r->ok ? 0 : (uint8_t)r->kind) < 0 ||
		(r->ok ? buf_put_bytes(&body, r->data, r->len) : buf_put_string(&body, r->text)) < 0)
		return -1;
	return frame_encode(out, FRAME_RECORD, body.data, body.len);
}

int keys_reply_decode(const struct frame *frame, struct keys_reply *ret, struct error *err)
{
	struct reader in = READER(frame->data, frame->len);
	if (frame->type == FRAME_BUNDLE) {
		*ret = (struct keys_reply){.ok = true, .data = frame->data, .len = frame->len};
		return 0;
	}
	unsigned ok = read_u8(&in), kind = read_u8(&in);
	ret->ok = ok == 1;
	ret->kind = (enum error_kind)kind;
	ret->text[0] = '\0';
	ret->data = NULL;
	ret->len = 0;
	if (ret->ok)
		ret->data = read_bytes(&in, FRAME_RECORD_MAX, &ret->len);
	else
		read_string(&in, ret->text, sizeof(ret->text));
	bool sensible = ok == 1 ? kind == ERROR_NONE : ok == 0 && kind > ERROR_NONE && kind <= ERROR_USAGE;
	if (!read_done(&in) || !sensible)
		return error_set(err, ERROR_PERMANENT,
			"a reply of certsync-keys is not in the form of hub/common/keys_request.h");
	return 0;
}
