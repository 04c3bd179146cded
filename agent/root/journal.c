#include "agent/root/journal.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"
#include "lib/crypto/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static const char journal_magic[4] = {'C', 'S', 'J', '1'};

enum { JOURNAL_VERSION = 1, JOURNAL_NAME_SIZE = 256, JOURNAL_SUM_AT = JOURNAL_SIZE - 32 };

static char *journal_path(const char *certificate)
{
	return mem_printf("%s.journal", certificate);
}

int journal_write(int directory, const struct journal *j, struct error *err)
{
	auto_buf struct buf out = BUF_INIT(JOURNAL_SIZE);
	char name[JOURNAL_NAME_SIZE] = {0};
	uint8_t sum[32];
	memcpy(name, j->certificate, strlen(j->certificate));
	buf_add(&out, journal_magic, sizeof(journal_magic));
	buf_put_u32(&out, JOURNAL_VERSION);
	buf_add(&out, name, sizeof(name));
	content_put(&out, &j->served);
	content_put(&out, &j->high_water);
	content_put(&out, &j->staged);
	content_put(&out, &j->pending);
	content_put(&out, &j->previous);
	buf_put_u64(&out, (uint64_t)j->deadline);
	if (sha256(out.data, out.len, sum) < 0 || buf_add(&out, sum, sizeof(sum)) < 0)
		return error_set(err, ERROR_PERMANENT, "journal of %s: cannot compute its SHA-256", j->certificate);
	auto_free char *path = journal_path(j->certificate);
	if (fs_write(directory, path, out.data, out.len, FS_PRIVATE, err) < 0)
		return error_wrap(err, "journal of %s", j->certificate);
	return 0;
}

static int check(const struct buf *in, struct error *err)
{
	uint8_t sum[32];
	if (in->len != JOURNAL_SIZE)
		return error_set(err, ERROR_PERMANENT, "it has %zu bytes instead of %d", in->len, JOURNAL_SIZE);
	if (sha256(in->data, JOURNAL_SUM_AT, sum) < 0 || memcmp(sum, in->data + JOURNAL_SUM_AT, 32) != 0)
		return error_set(err, ERROR_PERMANENT, "its SHA-256 does not match");
	return 0;
}

static int decode(const struct buf *in, const char *certificate, struct journal *ret, struct error *err)
{
	struct reader r = READER(in->data, JOURNAL_SUM_AT);
	struct journal j = {0};
	const uint8_t *magic = read_raw(&r, sizeof(journal_magic));
	uint32_t version = read_u32(&r);
	const uint8_t *name = read_raw(&r, JOURNAL_NAME_SIZE);
	content_read(&r, &j.served);
	content_read(&r, &j.high_water);
	content_read(&r, &j.staged);
	content_read(&r, &j.pending);
	content_read(&r, &j.previous);
	j.deadline = (int64_t)read_u64(&r);
	if (!read_done(&r) || memcmp(magic, journal_magic, sizeof(journal_magic)) != 0 || version != JOURNAL_VERSION)
		return error_set(err, ERROR_PERMANENT, "it is of another version");
	if (strncmp((const char *)name, certificate, JOURNAL_NAME_SIZE) != 0)
		return error_set(err, ERROR_PERMANENT, "it is another certificate's");
	memcpy(j.certificate, certificate, strlen(certificate) + 1);
	*ret = j;
	return 0;
}

int journal_read(int directory, const char *certificate, struct journal *ret, struct error *err)
{
	/* The buffer has room for one byte more than a record, so that a longer file is noticed. */
	auto_buf struct buf in = BUF_INIT(JOURNAL_SIZE + 1);
	auto_free char *path = journal_path(certificate);
	struct stat st;
	if (fstatat(directory, path, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
		return 0;
	bool read = fs_read(directory, path, false, &in, err) == 0;
	if (!read && err->kind == ERROR_RETRY)
		return error_wrap(err, "journal of %s", certificate);
	if (!read || check(&in, err) < 0 || decode(&in, certificate, ret, err) < 0)
		return error_wrap(err, "journal of %s is damaged", certificate);
	return 1;
}
