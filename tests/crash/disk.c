#include "tests/crash/disk.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { INODES = 4096, NAMES_MAX = 256, PENDING_MAX = 512, FILE_MAX = 65536 };

struct entry {
	char *name;
	unsigned long inode; /* 0: none */
};

/* Something that was done to a directory, by which up to two names get another meaning at once. */
struct change {
	size_t count;
	struct entry entries[2];
	bool chosen;
};

struct content {
	uint8_t *bytes;
	size_t len;
	unsigned mode;
};

enum write_kind { WRITE_DATA, WRITE_SIZE, WRITE_MODE };

struct write {
	enum write_kind kind;
	size_t at, len;
	uint8_t *bytes;
	unsigned mode;
	/* What chance has chosen: how much of the write is there, and whether the size grew by all of it. */
	size_t kept;
	bool chosen, grown;
};

struct inode {
	unsigned long number;
	char kind;
	char *target;
	struct content durable; /* a file's content that is durable */
	struct write *writes;
	size_t write_count;
	struct entry *entries; /* a directory's entries that are durable */
	size_t entry_count;
	struct change *changes;
	size_t change_count;
	struct entry *now; /* … and the entries that programs see */
	size_t now_count;
};

struct disk {
	unsigned long root;
	struct inode inodes[INODES];
	size_t count;
};

struct disk *disk_new(void)
{
	return calloc(1, sizeof(struct disk));
}

static void drop_writes(struct inode *i)
{
	for (size_t k = 0; k < i->write_count; k++)
		free(i->writes[k].bytes);
	i->write_count = 0;
}

static void drop_changes(struct inode *i)
{
	for (size_t k = 0; k < i->change_count; k++)
		for (size_t e = 0; e < i->changes[k].count; e++)
			free(i->changes[k].entries[e].name);
	i->change_count = 0;
}

static void drop_entries(struct entry *entries, size_t count)
{
	for (size_t k = 0; k < count; k++)
		free(entries[k].name);
	free(entries);
}

void disk_free(struct disk *d)
{
	for (size_t n = 0; n < d->count; n++) {
		struct inode *i = &d->inodes[n];
		drop_writes(i);
		drop_changes(i);
		drop_entries(i->entries, i->entry_count);
		drop_entries(i->now, i->now_count);
		free(i->writes);
		free(i->changes);
		free(i->durable.bytes);
		free(i->target);
	}
	free(d);
}

static struct inode *find(const struct disk *d, unsigned long number)
{
	for (size_t n = d->count; n-- > 0;)
		if (d->inodes[n].number == number)
			return (struct inode *)&d->inodes[n];
	return NULL;
}

static struct inode *add(struct disk *d, unsigned long number, char kind, unsigned mode, const char *target)
{
	struct inode *i = find(d, number);
	if (!i) {
		if (d->count == INODES)
			abort();
		i = &d->inodes[d->count++];
	}
	*i = (struct inode){.number = number, .kind = kind, .target = strdup(target), .durable = {.mode = mode}};
	return i;
}

static void set_entry(struct entry **entries, size_t *count, const char *name, unsigned long inode)
{
	for (size_t k = 0; k < *count; k++) {
		if (strcmp((*entries)[k].name, name) == 0) {
			(*entries)[k].inode = inode;
			return;
		}
	}
	*entries = realloc(*entries, (*count + 1) * sizeof(**entries));
	if (!*entries)
		abort();
	(*entries)[(*count)++] = (struct entry){strdup(name), inode};
}

static unsigned long get_entry(const struct entry *entries, size_t count, const char *name)
{
	for (size_t k = 0; k < count; k++)
		if (strcmp(entries[k].name, name) == 0)
			return entries[k].inode;
	return 0;
}

/* The functions from here on do what a line of the log says: programs see it at once, and it is pending until it is
 * made durable. */

static void change(struct inode *dir, const struct change *made)
{
	dir->changes = realloc(dir->changes, (dir->change_count + 1) * sizeof(*dir->changes));
	if (!dir->changes)
		abort();
	struct change *c = &dir->changes[dir->change_count++];
	*c = *made;
	for (size_t e = 0; e < c->count; e++) {
		set_entry(&dir->now, &dir->now_count, c->entries[e].name, c->entries[e].inode);
		c->entries[e].name = strdup(c->entries[e].name);
	}
}

static bool do_create(struct disk *d, char *line)
{
	unsigned long directory, number;
	char name[NAMES_MAX], kind, target[PATH_MAX] = "";
	unsigned mode;
	if (sscanf(line, "C %lu %255s %lu %c %o %4095s", &directory, name, &number, &kind, &mode, target) < 5)
		return false;
	add(d, number, kind, mode, target);
	struct inode *dir = find(d, directory);
	if (!dir)
		return false;
	change(dir, &(struct change){.count = 1, .entries = {{name, number}}});
	return true;
}

static bool do_unlink(struct disk *d, char *line)
{
	unsigned long directory;
	char name[NAMES_MAX];
	struct inode *dir = sscanf(line, "U %lu %255s", &directory, name) == 2 ? find(d, directory) : NULL;
	if (dir)
		change(dir, &(struct change){.count = 1, .entries = {{name, 0}}});
	return dir != NULL;
}

static bool do_rename(struct disk *d, char *line)
{
	unsigned long from, to;
	char old[NAMES_MAX], new[NAMES_MAX];
	unsigned flags;
	if (sscanf(line, "R %lu %255s %lu %255s %u", &from, old, &to, new, &flags) != 5 || from != to)
		return false;
	struct inode *dir = find(d, from);
	if (!dir)
		return false;
	unsigned long moved = get_entry(dir->now, dir->now_count, old),
		      there = get_entry(dir->now, dir->now_count, new);
	bool exchange = flags & 2; /* RENAME_EXCHANGE */
	change(dir, &(struct change){.count = 2, .entries = {{old, exchange ? there : 0}, {new, moved}}});
	return true;
}

static struct write *add_write(struct inode *i)
{
	i->writes = realloc(i->writes, (i->write_count + 1) * sizeof(*i->writes));
	if (!i->writes)
		abort();
	i->writes[i->write_count] = (struct write){0};
	return &i->writes[i->write_count++];
}

static bool do_write(struct disk *d, char *line)
{
	unsigned long number;
	size_t at;
	int used = 0;
	if (sscanf(line, "W %lu %zu %n", &number, &at, &used) != 2 || !used)
		return false;
	struct inode *i = find(d, number);
	size_t len = strlen(line + used) / 2;
	if (!i)
		return true; /* removed meanwhile */
	struct write *w = add_write(i);
	*w = (struct write){.kind = WRITE_DATA, .at = at, .len = len, .bytes = malloc(len + 1)};
	for (size_t k = 0; w->bytes && k < len; k++) {
		unsigned byte = 0;
		sscanf(line + used + 2 * k, "%2x", &byte);
		w->bytes[k] = (uint8_t)byte;
	}
	return w->bytes != NULL;
}

static bool do_other(struct disk *d, char *line)
{
	unsigned long number;
	size_t size = 0;
	unsigned mode = 0;
	bool is_size = sscanf(line, "T %lu %zu", &number, &size) == 2;
	if (!is_size && sscanf(line, "M %lu %o", &number, &mode) != 2)
		return false;
	struct inode *i = find(d, number);
	if (!i)
		return false;
	struct write *w = add_write(i);
	*w = (struct write){.kind = is_size ? WRITE_SIZE : WRITE_MODE, .len = size, .mode = mode};
	return true;
}

/* Applies a write, as far as chance has chosen it, to `c`, which has room for FILE_MAX bytes. */
static void apply(struct content *c, const struct write *w)
{
	if (w->kind == WRITE_MODE) {
		c->mode = w->mode;
		return;
	}
	size_t end = w->kind == WRITE_SIZE ? w->len : w->at + (w->grown ? w->len : w->kept);
	if (end > FILE_MAX)
		abort();
	if (end > c->len)
		memset(c->bytes + c->len, 0, end - c->len);
	if (end > c->len || w->kind == WRITE_SIZE)
		c->len = end;
	if (w->kind == WRITE_DATA && w->kept)
		memcpy(c->bytes + w->at, w->bytes, w->kept);
}

static void make_durable(struct inode *i)
{
	for (size_t k = 0; k < i->change_count; k++)
		for (size_t e = 0; e < i->changes[k].count; e++)
			set_entry(&i->entries, &i->entry_count, i->changes[k].entries[e].name,
				i->changes[k].entries[e].inode);
	drop_changes(i);
	if (i->write_count && !i->durable.bytes && !(i->durable.bytes = malloc(FILE_MAX)))
		abort();
	for (size_t k = 0; k < i->write_count; k++) {
		i->writes[k].kept = i->writes[k].len;
		apply(&i->durable, &i->writes[k]);
	}
	drop_writes(i);
}

static bool do_sync(struct disk *d, const char *line)
{
	unsigned long number;
	if (sscanf(line, "S %lu", &number) != 1)
		return false;
	struct inode *i = find(d, number);
	if (i)
		make_durable(i);
	for (size_t n = 0; !number && n < d->count; n++)
		make_durable(&d->inodes[n]);
	return i || !number;
}

bool disk_do(struct disk *d, char *line)
{
	line[strcspn(line, "\n")] = '\0';
	switch (line[0]) {
	case 'D':
		d->root = strtoul(line + 1, NULL, 10);
		add(d, d->root, 'd', 0755, "");
		return true;
	case 'C':
		return do_create(d, line);
	case 'U':
		return do_unlink(d, line);
	case 'R':
		return do_rename(d, line);
	case 'W':
		return do_write(d, line);
	case 'S':
		return do_sync(d, line);
	default:
		return do_other(d, line);
	}
}

size_t disk_pending(const struct disk *d)
{
	size_t count = 0;
	for (size_t n = 0; n < d->count; n++)
		count += d->inodes[n].change_count + d->inodes[n].write_count;
	return count;
}

/* ---- choosing ---- */

uint64_t disk_draw(uint64_t *random)
{
	*random ^= *random << 13;
	*random ^= *random >> 7;
	*random ^= *random << 17;
	return *random >> 20;
}

static void choose_write(struct write *w, enum disk_wish wish, uint64_t *random)
{
	w->chosen = wish == DISK_ALL || (wish == DISK_SOME && disk_draw(random) % 4);
	w->grown = false;
	w->kept = w->chosen ? w->len : 0;
	if (wish != DISK_SOME || !w->chosen || w->kind != WRITE_DATA)
		return;
	uint64_t how = disk_draw(random) % 3;
	if (how > 0 && w->len)
		w->kept = disk_draw(random) % (w->len + 1);
	w->grown = how == 2;
}

static uint64_t mix(uint64_t hash, const void *data, size_t len)
{
	const uint8_t *p = data;
	for (size_t k = 0; k < len; k++)
		hash = (hash ^ p[k]) * 0x100000001b3ULL;
	return hash;
}

uint64_t disk_choose(struct disk *d, enum disk_wish wish, uint64_t *random)
{
	uint64_t hash = 0xcbf29ce484222325ULL;
	for (size_t n = 0; n < d->count; n++) {
		struct inode *i = &d->inodes[n];
		for (size_t k = 0; k < i->change_count; k++) {
			i->changes[k].chosen = wish == DISK_ALL || (wish == DISK_SOME && disk_draw(random) % 2);
			hash = mix(hash, &i->changes[k].chosen, sizeof(bool));
		}
		for (size_t k = 0; k < i->write_count; k++) {
			choose_write(&i->writes[k], wish, random);
			hash = mix(hash, &i->writes[k].kept, sizeof(size_t));
			hash = mix(hash, &i->writes[k].grown, sizeof(bool));
			hash = mix(hash, &i->writes[k].chosen, sizeof(bool));
		}
	}
	return hash;
}

/* ---- making ---- */

static bool make_file(const struct inode *i, int parent, const char *name)
{
	static uint8_t room[FILE_MAX];
	struct content c = {.bytes = room, .len = i->durable.len, .mode = i->durable.mode};
	if (c.len)
		memcpy(room, i->durable.bytes, c.len);
	for (size_t k = 0; k < i->write_count; k++)
		if (i->writes[k].chosen)
			apply(&c, &i->writes[k]);
	int fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	bool ok = fd >= 0 && write(fd, room, c.len) == (ssize_t)c.len && (c.mode == 0600 || fchmod(fd, c.mode) == 0);
	if (fd >= 0)
		close(fd);
	return ok;
}

static bool make_directory(const struct disk *d, const struct inode *i, int fd, int depth);

static bool make_entry(const struct disk *d, unsigned long number, int parent, const char *name, int depth)
{
	const struct inode *i = find(d, number);
	if (!i || depth > 12)
		return false;
	if (i->kind == 'l')
		return symlinkat(i->target, parent, name) == 0;
	if (i->kind == 'f')
		return make_file(i, parent, name);
	unsigned mode = i->durable.mode;
	for (size_t k = 0; k < i->write_count; k++)
		if (i->writes[k].chosen && i->writes[k].kind == WRITE_MODE)
			mode = i->writes[k].mode;
	if (mkdirat(parent, name, 0700) < 0)
		return false;
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool ok = fd >= 0 && make_directory(d, i, fd, depth + 1) && fchmod(fd, mode) == 0;
	if (fd >= 0)
		close(fd);
	return ok;
}

static bool make_directory(const struct disk *d, const struct inode *i, int fd, int depth)
{
	struct entry entries[NAMES_MAX];
	size_t count = i->entry_count;
	if (count > NAMES_MAX)
		abort();
	if (count)
		memcpy(entries, i->entries, count * sizeof(*entries));
	for (size_t k = 0; k < i->change_count; k++) {
		for (size_t e = 0; i->changes[k].chosen && e < i->changes[k].count; e++) {
			const struct entry *made = &i->changes[k].entries[e];
			size_t at = 0;
			while (at < count && strcmp(entries[at].name, made->name) != 0)
				at++;
			if (at == NAMES_MAX)
				abort();
			if (at == count)
				count++;
			entries[at] = *made;
		}
	}
	for (size_t k = 0; k < count; k++)
		if (entries[k].inode && !make_entry(d, entries[k].inode, fd, entries[k].name, depth))
			return false;
	return true;
}

bool disk_make(const struct disk *d, const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const struct inode *root = find(d, d->root);
	bool ok = fd >= 0 && root && make_directory(d, root, fd, 0);
	if (fd >= 0)
		close(fd);
	return ok;
}
