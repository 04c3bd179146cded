#include "agent/common/root_request.h"
#include "lib/core/mem.h"

#include <stdlib.h>
#include <string.h>

static bool put_revision(struct buf *out, struct revision r)
{
	return buf_put_u32(out, r.epoch) == 0 && buf_put_u32(out, r.number) == 0;
}

static struct revision read_revision(struct reader *r)
{
	struct revision revision;
	revision.epoch = read_u32(r);
	revision.number = read_u32(r);
	if (revision.epoch > REVISION_PART_MAX || revision.number > REVISION_PART_MAX)
		r->failed = true;
	return revision;
}

static void read_fixed(struct reader *r, uint8_t *out, size_t len)
{
	const uint8_t *bytes = read_raw(r, len);
	if (bytes)
		memcpy(out, bytes, len);
}

static bool read_flag(struct reader *r)
{
	uint8_t value = read_u8(r);
	if (value > 1)
		r->failed = true;
	return value == 1;
}

static enum request_op read_op(struct reader *r)
{
	uint8_t op = read_u8(r);
	if (op < REQUEST_INVENTORY || op > REQUEST_READING)
		r->failed = true;
	return (enum request_op)op;
}

/* An empty name stands for "all certificates" (inventory) and for "none known" (a bundle that was refused unread). */
static void read_certificate(struct reader *r, char name[NAME_CERTIFICATE_MAX])
{
	read_string(r, name, NAME_CERTIFICATE_MAX);
	if (!r->failed && name[0] && !name_is_certificate(name))
		r->failed = true;
}

/* Returns whether the request is about the hub's keys and not about a certificate. */
static bool has_list(enum request_op op)
{
	return op == REQUEST_HOST_KEYS || op == REQUEST_SIGNERS;
}

static bool has_certificate(enum request_op op)
{
	return op != REQUEST_INVENTORY && op != REQUEST_ALIVE && op != REQUEST_READING && !has_list(op);
}

int request_encode(const struct request *r, struct buf *out)
{
	bool ok = buf_put_u8(out, (uint8_t)r->op) == 0 && buf_put_string(out, r->certificate) == 0 &&
		put_revision(out, r->revision) && buf_put_u32(out, r->timeout) == 0;
	if (has_list(r->op))
		ok = ok && buf_put_bytes(out, r->list, r->list_len) == 0;
	return ok ? 0 : -1;
}

static void read_list(struct reader *r, struct request *request)
{
	const uint8_t *bytes = read_bytes(r, sizeof(request->list), &request->list_len);
	if (bytes)
		memcpy(request->list, bytes, request->list_len);
}

int request_decode(const uint8_t *data, size_t len, struct request *ret, struct error *err)
{
	struct reader r = READER(data, len);
	struct request request = {0};
	request.op = read_op(&r);
	read_certificate(&r, request.certificate);
	request.revision = read_revision(&r);
	request.timeout = read_u32(&r);
	if (has_list(request.op))
		read_list(&r, &request);
	if (!read_done(&r))
		return error_set(err, ERROR_PERMANENT, "request: a record of %zu bytes is malformed", len);
	if (request.op == REQUEST_STAGE)
		return error_set(err, ERROR_PERMANENT, "request: stage is asked for with a bundle frame");
	if (has_certificate(request.op) && !request.certificate[0])
		return error_set(err, ERROR_PERMANENT, "request: op %d names no certificate", (int)request.op);
	*ret = request;
	return 0;
}

static bool put_inventory(struct buf *out, const struct inventory *i)
{
	return buf_put_string(out, i->certificate) == 0 && content_put(out, &i->served) == 0 &&
		content_put(out, &i->staged) == 0 && put_revision(out, i->high_water) &&
		put_revision(out, i->pending) && buf_add(out, i->live, sizeof(i->live)) == 0 &&
		buf_add(out, i->second, sizeof(i->second)) == 0 &&
		buf_add(out, i->staged_second, sizeof(i->staged_second)) == 0 &&
		buf_put_u32(out, i->pending_seconds) == 0 && buf_put_u32(out, i->held_seconds) == 0;
}

static void read_inventory(struct reader *r, struct inventory *i)
{
	read_certificate(r, i->certificate);
	content_read(r, &i->served);
	content_read(r, &i->staged);
	i->high_water = read_revision(r);
	i->pending = read_revision(r);
	read_fixed(r, i->live, sizeof(i->live));
	read_fixed(r, i->second, sizeof(i->second));
	read_fixed(r, i->staged_second, sizeof(i->staged_second));
	i->pending_seconds = read_u32(r);
	i->held_seconds = read_u32(r);
}

int reply_encode(const struct reply *r, struct buf *out)
{
	bool ok = buf_put_u8(out, (uint8_t)r->op) == 0 && buf_put_string(out, r->certificate) == 0 &&
		put_revision(out, r->revision) && buf_put_u8(out, r->ok) == 0 && buf_put_u8(out, r->permanent) == 0 &&
		buf_put_u8(out, r->rolled_back) == 0 && buf_put_string(out, r->step) == 0 &&
		buf_put_string(out, r->text) == 0 && buf_put_string(out, r->output) == 0 &&
		buf_put_u8(out, (uint8_t)r->stopped_count) == 0;
	for (size_t i = 0; ok && i < r->stopped_count; i++)
		ok = buf_put_string(out, r->stopped[i]) == 0;
	ok = ok && buf_put_u64(out, (uint64_t)r->repaired) == 0 &&
		buf_add(out, r->instance, sizeof(r->instance)) == 0 &&
		buf_put_u8(out, (uint8_t)r->inventory_count) == 0;
	for (size_t i = 0; ok && i < r->inventory_count; i++)
		ok = put_inventory(out, &r->inventory[i]);
	if (r->op == REQUEST_READING)
		ok = ok && buf_put_u32(out, r->reading) == 0;
	return ok ? 0 : -1;
}

static void read_stopped(struct reader *r, struct reply *reply)
{
	reply->stopped_count = read_u8(r);
	if (reply->stopped_count > REQUEST_SERVICES_MAX) {
		reply->stopped_count = 0;
		r->failed = true;
	}
	for (size_t i = 0; i < reply->stopped_count; i++)
		read_string(r, reply->stopped[i], sizeof(reply->stopped[i]));
}

static void read_inventories(struct reader *r, struct reply *reply)
{
	size_t count = read_u8(r);
	if (r->failed || count > REQUEST_CERTIFICATES_MAX) {
		r->failed = true;
		return;
	}
	reply->inventory = mem_array(count, sizeof(*reply->inventory));
	reply->inventory_count = count;
	for (size_t i = 0; i < count; i++)
		read_inventory(r, &reply->inventory[i]);
}

int reply_decode(const uint8_t *data, size_t len, struct reply *ret, struct error *err)
{
	struct reader r = READER(data, len);
	struct reply reply = {0};
	reply.op = read_op(&r);
	read_certificate(&r, reply.certificate);
	reply.revision = read_revision(&r);
	reply.ok = read_flag(&r);
	reply.permanent = read_flag(&r);
	reply.rolled_back = read_flag(&r);
	read_string(&r, reply.step, sizeof(reply.step));
	read_string(&r, reply.text, sizeof(reply.text));
	read_string(&r, reply.output, sizeof(reply.output));
	read_stopped(&r, &reply);
	reply.repaired = (int64_t)read_u64(&r);
	read_fixed(&r, reply.instance, sizeof(reply.instance));
	read_inventories(&r, &reply);
	if (reply.op == REQUEST_READING)
		reply.reading = read_u32(&r);
	if (!read_done(&r)) {
		reply_release(&reply);
		return error_set(err, ERROR_PERMANENT, "reply: a record of %zu bytes is malformed", len);
	}
	*ret = reply;
	return 0;
}

void reply_release(struct reply *r)
{
	free(r->inventory);
	r->inventory = NULL;
	r->inventory_count = 0;
}
