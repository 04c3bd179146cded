/* Runs a fuzz target over files, and over all files of directories, in the place of libFuzzer. */
#include "lib/core/buf.h"
#include "lib/core/error.h"
#include "lib/core/fs.h"
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <fcntl.h>

enum { INPUT_MAX = 1024 * 1024 };

static size_t replay(int directory, const char *name)
{
	auto_buf struct buf input = BUF_INIT(INPUT_MAX);
	struct error err;
	if (fs_read(directory, name, false, &input, &err) < 0) {
		fprintf(stderr, "replay: %s\n", err.message);
		exit(1);
	}
	/* The copy has exactly this size, so that the sanitizer sees a read beyond its end. */
	auto_free uint8_t *exact = mem_alloc(input.len + !input.len);
	if (input.len)
		memcpy(exact, input.data, input.len);
	LLVMFuzzerTestOneInput(exact, input.len);
	return 1;
}

static size_t replay_all(const char *path)
{
	DIR *dir = opendir(path);
	size_t count = 0;
	if (!dir)
		return replay(AT_FDCWD, path);
	const struct dirent *entry;
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			count += replay(dirfd(dir), entry->d_name);
	closedir(dir);
	return count;
}

int main(int argc, char **argv)
{
	size_t count = 0;
	for (int i = 1; i < argc; i++)
		count += replay_all(argv[i]);
	printf("%s: %zu inputs\n", argv[0], count);
	return count ? 0 : 1; /* a corpus without files would prove nothing */
}
