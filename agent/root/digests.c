#include "agent/root/digests.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"

#include <string.h>

void mark_take(struct mark *m, const struct set *s)
{
	*m = (struct mark){.entry = s->entry, .file_count = s->file_count};
	memcpy(m->second, s->second, sizeof(m->second));
	for (size_t i = 0; i < s->file_count; i++) {
		const struct set_file *f = &s->files[i];
		m->files[i].name = f->name;
		m->files[i].private = f->private;
		if (sha256(f->pem.data, f->pem.len, m->files[i].sum) < 0)
			*m = (struct mark){0};
	}
}

static int read_file(int fd, const struct mark_file *known, struct set_file *ret)
{
	uint8_t sum[CHAIN_SHA256_SIZE];
	struct error ignored;
	*ret = (struct set_file){.name = known->name, .private = known->private, .pem = BUF_INIT(SET_PEM_MAX)};
	if (fs_read(fd, known->name, false, &ret->pem, &ignored) < 0 || sha256(ret->pem.data, ret->pem.len, sum) < 0)
		return -1;
	return memcmp(sum, known->sum, sizeof(sum)) == 0 ? 0 : -1;
}

int mark_read(const struct mark *m, int directory, struct set *ret)
{
	char name[REVISION_TEXT_MAX];
	struct error ignored;
	auto_set struct set s = {.entry = m->entry};
	memcpy(s.second, m->second, sizeof(s.second));
	auto_close int fd = fs_open_directory(directory, revision_text(m->entry.revision, name), &ignored);
	if (fd < 0)
		return -1;
	while (s.file_count < m->file_count) {
		size_t i = s.file_count++;
		if (read_file(fd, &m->files[i], &s.files[i]) < 0)
			return -1;
	}
	*ret = s;
	/* NOLINTNEXTLINE(clang-analyzer-deadcode.DeadStores): read as its scope ends */
	s = (struct set){0};
	return 0;
}
