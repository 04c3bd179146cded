#include "agent/root/digests.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"

#include <string.h>

void digests_take(struct digests *m, const struct file_set *s)
{
	*m = (struct digests){.content = s->content, .file_count = s->file_count};
	memcpy(m->second, s->second, sizeof(m->second));
	for (size_t i = 0; i < s->file_count; i++) {
		const struct file_set_file *f = &s->files[i];
		m->files[i].name = f->name;
		m->files[i].private = f->private;
		if (sha256(f->pem.data, f->pem.len, m->files[i].sum) < 0)
			*m = (struct digests){0};
	}
}

static int read_file(int fd, const struct digests_file *known, struct file_set_file *ret)
{
	uint8_t sum[CHAIN_SHA256_SIZE];
	struct error ignored;
	*ret = (struct file_set_file){
		.name = known->name, .private = known->private, .pem = BUF_INIT(FILE_SET_PEM_MAX)};
	if (fs_read(fd, known->name, false, &ret->pem, &ignored) < 0 || sha256(ret->pem.data, ret->pem.len, sum) < 0)
		return -1;
	return memcmp(sum, known->sum, sizeof(sum)) == 0 ? 0 : -1;
}

int digests_read(const struct digests *m, int directory, struct file_set *ret)
{
	char name[REVISION_TEXT_MAX];
	struct error ignored;
	auto_set struct file_set s = {.content = m->content};
	memcpy(s.second, m->second, sizeof(s.second));
	auto_close int fd = fs_open_directory(directory, revision_text(m->content.revision, name), &ignored);
	if (fd < 0)
		return -1;
	while (s.file_count < m->file_count) {
		size_t i = s.file_count++;
		if (read_file(fd, &m->files[i], &s.files[i]) < 0)
			return -1;
	}
	*ret = s;
	/* NOLINTNEXTLINE(clang-analyzer-deadcode.DeadStores): read as its scope ends */
	s = (struct file_set){0};
	return 0;
}
