#include "hub/common/spawn.h"
#include "lib/core/buf.h"
#include "lib/core/mem.h"

#include <string.h>

const char *worker_kind_name(enum worker_kind kind)
{
	static const char *const names[WORKER_KINDS] = {
		[WORKER_ACME] = "acme",
		[WORKER_INFO] = "info",
		[WORKER_PREFLIGHT] = "preflight",
		[WORKER_ACCOUNT] = "account",
		[WORKER_CHECK] = "check",
		[WORKER_ALERT] = "alert",
		[WORKER_RESPONDER] = "responder",
	};
	return names[kind];
}

void spawn_encode(const struct spawn_record *r, uint8_t ret[SPAWN_RECORD_SIZE])
{
	auto_buf struct buf out = BUF_INIT(SPAWN_RECORD_SIZE);
	int first = r->op == SPAWN_START ? (int)r->kind : r->wait_status;
	buf_put_u8(&out, (uint8_t)r->op);
	buf_put_u32(&out, r->id);
	buf_put_u32(&out, (uint32_t)first);
	buf_put_u32(&out, (uint32_t)r->start_errno);
	memcpy(ret, out.data, SPAWN_RECORD_SIZE);
}

int spawn_decode(const uint8_t *data, size_t len, struct spawn_record *ret, struct error *err)
{
	struct reader in = READER(data, len);
	ret->op = (enum spawn_op)read_u8(&in);
	ret->id = read_u32(&in);
	uint32_t first = read_u32(&in);
	ret->start_errno = (int)read_u32(&in);
	ret->wait_status = ret->op == SPAWN_ENDED ? (int)first : 0;
	ret->kind = ret->op == SPAWN_START ? (enum worker_kind)first : WORKER_KINDS;
	if (!read_done(&in) || ret->op < SPAWN_START || ret->op > SPAWN_ENDED ||
		(ret->op == SPAWN_START && first >= WORKER_KINDS) || ret->start_errno < 0)
		return error_set(err, ERROR_PERMANENT, "a record is not in the form of hub/common/spawn.h");
	return 0;
}
