#include "hub/daemon/store.h"
#include "lib/core/clock.h"
#include "lib/core/fs.h"
#include "lib/wire/content_json.h"
#include "lib/core/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* A directory whose name begins like this is a revision that was never finished. */
#define STORE_UNFINISHED ".unfinished-"

enum { MANIFEST_MAX = 64 * 1024, DAMAGES_MAX = 64 };

struct store {
	int directory;
	int certificates;
	int records;
	int lock;
	char trouble[ERROR_MESSAGE_MAX]; /* why the last write of a record failed; empty: it did not */
	struct store_damage damages[DAMAGES_MAX];
	size_t damage_count;
};

void manifest_release(struct manifest *m)
{
	for (size_t i = 0; i < m->name_count; i++)
		free(m->names[i]);
	free(m->names);
	*m = (struct manifest){0};
}

/* ---- opening ---- */

static int open_below(int dirfd, const char *name, struct error *err)
{
	if (mkdirat(dirfd, name, 0700) == 0) {
		if (fs_sync_directory(dirfd, err) < 0) {
			/* What exists is taken to be durable, so this one must not stay. */
			unlinkat(dirfd, name, AT_REMOVEDIR);
			return -1;
		}
	} else if (errno != EEXIST) {
		return error_errno(err, "cannot make the directory %s", name);
	}
	return fs_open_directory(dirfd, name, err);
}

/* Removes what a killed publish left: its directory under an unfinished name, or the temporary link. */
static void sweep_certificate(int certificates, const char *name)
{
	struct error err;
	auto_close int fd = fs_open_directory(certificates, name, &err);
	if (fd < 0)
		return;
	fs_sweep(fd);
	DIR *dir = fs_list(fd, &err);
	if (!dir)
		return;
	const struct dirent *entry;
	while ((entry = readdir(dir)))
		if (strncmp(entry->d_name, STORE_UNFINISHED, strlen(STORE_UNFINISHED)) == 0)
			fs_remove_tree(fd, entry->d_name, &err);
	closedir(dir);
}

/* Calls `visit` for each entry that does not begin with a dot. */
static void for_each(int parent, void (*visit)(int parent, const char *name))
{
	struct error ignored;
	DIR *dir = fs_list(parent, &ignored);
	if (!dir)
		return;
	const struct dirent *entry;
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			visit(parent, entry->d_name);
	closedir(dir);
}

static void sweep_record(int kind, const char *name)
{
	struct error ignored;
	auto_close int fd = fs_open_directory(kind, name, &ignored);
	if (fd >= 0)
		fs_sweep(fd);
}

static void sweep_kind(int records, const char *kind)
{
	struct error ignored;
	auto_close int fd = fs_open_directory(records, kind, &ignored);
	if (fd >= 0)
		for_each(fd, sweep_record);
}

static int take_lock(struct store *s, const char *state, struct error *err)
{
	s->lock = openat(s->directory, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->lock < 0)
		return error_errno(err, "cannot open %s/lock", state);
	if (flock(s->lock, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno == EWOULDBLOCK)
		return error_set(err, ERROR_USAGE,
			"another hub holds %s: two hubs on one store would publish against each "
			"other. Stop the other one first",
			state);
	return error_errno(err, "cannot lock %s/lock", state);
}

struct store *store_open(const char *state, struct error *err)
{
	struct store *s = mem_alloc(sizeof(*s));
	*s = (struct store){.directory = -1, .certificates = -1, .records = -1, .lock = -1};
	if (fs_make_directories(state, 0700, err) < 0)
		goto failed;
	s->directory = fs_open_directory(AT_FDCWD, state, err);
	if (s->directory < 0 || take_lock(s, state, err) < 0)
		goto failed;
	/* What a killed hub made, and is relied on from now on, may not be durable yet. */
	if (syncfs(s->directory) < 0) {
		error_errno(err, "cannot sync the file system");
		goto failed;
	}
	s->certificates = open_below(s->directory, "certificates", err);
	if (s->certificates < 0)
		goto failed;
	s->records = open_below(s->directory, "records", err);
	if (s->records < 0)
		goto failed;
	for_each(s->certificates, sweep_certificate);
	for_each(s->records, sweep_kind);
	return s;
failed:
	error_wrap(err, "store %s", state);
	store_close(s);
	return NULL;
}

static void drop_damage(struct store *s, size_t at)
{
	free(s->damages[at].record);
	free(s->damages[at].text);
	memmove(&s->damages[at], &s->damages[at + 1], (--s->damage_count - at) * sizeof(s->damages[0]));
}

void store_close(struct store *s)
{
	if (!s)
		return;
	const int fds[] = {s->records, s->certificates, s->lock, s->directory};
	for (size_t i = 0; i < COUNT(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	while (s->damage_count)
		drop_damage(s, s->damage_count - 1);
	free(s);
}

bool manifest_has_second(const struct manifest *m)
{
	static const uint8_t none[CHAIN_SHA256_SIZE];
	return memcmp(m->second, none, sizeof(none)) != 0;
}

/* ---- the manifest: encoder and decoder ---- */

static void manifest_encode(const struct manifest *m, struct buf *out)
{
	auto_json cJSON *o = cJSON_CreateObject();
	content_to_json(&m->content, o);
	if (manifest_has_second(m))
		sha256_to_json(m->second, "second", o);
	cJSON_AddNumberToObject(o, "published", (double)m->published);
	cJSON_AddStringToObject(o, "source", m->source);
	cJSON_AddStringToObject(o, "reason", m->reason);
	if (m->warning[0])
		cJSON_AddStringToObject(o, "warning", m->warning);
	cJSON_AddNumberToObject(o, "flags", m->flags);
	cJSON *names = cJSON_AddArrayToObject(o, "names");
	for (size_t i = 0; i < m->name_count; i++)
		cJSON_AddItemToArray(names, cJSON_CreateString(m->names[i]));
	if (json_print(o, out) < 0)
		mem_abort(__func__); /* names are bounded by CHAIN_NAMES_TEXT_MAX */
}

static int take_names(const cJSON *o, struct manifest *m, struct error *err)
{
	const cJSON *names = json_array(o, "names", CHAIN_NAMES_MAX, err);
	if (!names)
		return -1;
	const cJSON *element;
	cJSON_ArrayForEach (element, names) {
		const char *name = json_element(element, NAME_CERTIFICATE_MAX, err);
		if (!name)
			return error_wrap(err, "names");
		m->names = mem_grow(m->names, m->name_count + 1, sizeof(*m->names));
		m->names[m->name_count++] = mem_strdup(name);
	}
	return 0;
}

static int take_manifest(const cJSON *o, struct manifest *m, struct error *err)
{
	uint32_t flags;
	const char *source = json_string(o, "source", sizeof(m->source) - 1, err);
	const char *reason = source ? json_string(o, "reason", sizeof(m->reason) - 1, err) : NULL;
	const char *warning = json_get(o, "warning") ? json_string(o, "warning", sizeof(m->warning) - 1, err) : "";
	if (!reason || !warning)
		return -1;
	snprintf(m->source, sizeof(m->source), "%s", source);
	snprintf(m->reason, sizeof(m->reason), "%s", reason);
	snprintf(m->warning, sizeof(m->warning), "%s", warning);
	if (content_from_json(o, &m->content, err) < 0 ||
		(json_get(o, "second") && sha256_from_json(o, "second", m->second, err) < 0) ||
		json_i64(o, "published", &m->published, err) < 0 || json_u32(o, "flags", &flags, err) < 0)
		return -1;
	if (!content_is_set(&m->content) || !content_same_digest(&m->content, &m->content))
		return error_set(err, ERROR_PERMANENT, "digest, fingerprint: one is empty");
	m->flags = (uint16_t)flags;
	return take_names(o, m, err);
}

static int manifest_decode(const struct buf *text, struct manifest *ret, struct error *err)
{
	auto_manifest struct manifest m = {0};
	auto_json cJSON *o = json_parse(text->data, text->len, err);
	if (!o || take_manifest(o, &m, err) < 0)
		return -1;
	*ret = m;
	m = (struct manifest){0};
	return 0;
}

/* ---- publishing: a revision is complete and durable under an unfinished name before it gets its own, and has its own
 * before `current` points at it ---- */

static const char *chain_file(size_t pair, char *out, size_t size)
{
	if (pair == 0)
		snprintf(out, size, "fullchain.pem");
	else
		snprintf(out, size, "fullchain-%zu.pem", pair + 1);
	return out;
}

static int write_set(int dir, const struct chain *pairs, size_t count, const struct manifest *m, struct error *err)
{
	char file[64];
	for (size_t i = 0; i < count; i++) {
		auto_buf struct buf pem = BUF_INIT(CHAIN_PEM_MAX * 2);
		if (chain_write_pem(&pairs[i], CHAIN_LEAF | CHAIN_REST, &pem, err) < 0 ||
			fs_write(dir, chain_file(i, file, sizeof(file)), pem.data, pem.len, FS_PRIVATE, err) < 0)
			return -1;
	}
	auto_buf struct buf text = BUF_INIT(MANIFEST_MAX);
	manifest_encode(m, &text);
	return fs_write(dir, "manifest.json", text.data, text.len, FS_PRIVATE, err);
}

/* ---- epochs ---- */

int store_begin_epoch(struct store *s, const char *certificate, uint32_t epoch, struct error *err)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u\n", epoch);
	return store_put(s, "epochs", certificate, "epoch", text, (size_t)len, err);
}

/* Returns the epoch that was asked for, or 0 when there is none, or it cannot be read. */
static uint32_t wanted_epoch(struct store *s, const char *certificate)
{
	struct error ignored;
	char *end;
	auto_buf struct buf text = BUF_INIT(16);
	if (store_get(s, "epochs", certificate, "epoch", &text, &ignored) <= 0)
		return 0;
	unsigned long epoch = strtoul(buf_text(&text), &end, 10);
	return *end == '\n' && epoch <= REVISION_PART_MAX ? (uint32_t)epoch : 0;
}

static struct revision next_revision(struct revision r, uint32_t epoch)
{
	if (epoch > r.epoch)
		return (struct revision){epoch, 1};
	return r.epoch == 0 ? (struct revision){1, 1} : (struct revision){r.epoch, r.number + 1};
}

bool store_begins_epoch(struct store *s, const char *certificate)
{
	struct error ignored;
	auto_free struct revision *revisions = NULL;
	size_t count = 0;
	uint32_t epoch = wanted_epoch(s, certificate);
	if (!epoch || store_revisions(s, certificate, &revisions, &count, &ignored) < 0)
		return false;
	return !count || epoch > revisions[count - 1].epoch;
}

static int fill_second(const struct chain *pair, struct manifest *m, struct error *err)
{
	struct chain_facts facts;
	if (chain_facts(pair->leaf, &facts, err) < 0)
		return -1;
	memcpy(m->second, facts.fingerprint, sizeof(m->second));
	if (facts.not_after < m->content.not_after) {
		m->content.not_before = facts.not_before;
		m->content.not_after = facts.not_after;
	}
	chain_facts_release(&facts);
	return 0;
}

static int fill_manifest(const struct chain *pairs, size_t count, const struct manifest *meta, struct revision revision,
	struct manifest *ret, struct error *err)
{
	struct chain_facts facts;
	if (chain_facts(pairs[0].leaf, &facts, err) < 0)
		return -1;
	*ret = (struct manifest){
		.content = {.revision = revision, .not_before = facts.not_before, .not_after = facts.not_after},
		.published = clock_wall(),
		.flags = meta->flags};
	snprintf(ret->source, sizeof(ret->source), "%s", meta->source);
	snprintf(ret->reason, sizeof(ret->reason), "%s", meta->reason);
	snprintf(ret->warning, sizeof(ret->warning), "%s", meta->warning);
	chain_digest(pairs, count, ret->content.digest);
	memcpy(ret->content.leaf, facts.fingerprint, sizeof(ret->content.leaf));
	ret->names = steal(facts.names);
	ret->name_count = facts.name_count;
	facts.name_count = 0;
	chain_facts_release(&facts);
	return count > 1 ? fill_second(&pairs[1], ret, err) : 0;
}

static int publish_in(int dir, const struct chain *pairs, size_t count, const struct manifest *m, struct error *err)
{
	char name[REVISION_TEXT_MAX];
	char unfinished[sizeof(STORE_UNFINISHED) + REVISION_TEXT_MAX];
	revision_text(m->content.revision, name);
	snprintf(unfinished, sizeof(unfinished), STORE_UNFINISHED "%s", name);
	if (fs_remove_tree(dir, unfinished, err) < 0)
		return -1;
	if (mkdirat(dir, unfinished, 0700) < 0)
		return error_errno(err, "cannot make the directory of revision %s", name);
	auto_close int set = fs_open_directory(dir, unfinished, err);
	if (set < 0 || write_set(set, pairs, count, m, err) < 0 || fs_sync_directory(set, err) < 0)
		return -1;
	if (renameat(dir, unfinished, dir, name) < 0)
		return error_errno(err, "cannot name revision %s", name);
	if (fs_sync_directory(dir, err) < 0)
		return -1;
	return fs_link(dir, "current", name, err);
}

int store_publish(struct store *s, const char *certificate, const struct chain *pairs, size_t pair_count,
	const struct manifest *meta, struct revision *ret_revision, struct error *err)
{
	if (pair_count == 0 || pair_count > STORE_PAIRS_MAX)
		return error_set(
			err, ERROR_PERMANENT, "a revision has 1 to %d pairs, not %zu", STORE_PAIRS_MAX, pair_count);
	auto_close int dir = open_below(s->certificates, certificate, err);
	if (dir < 0)
		return error_wrap(err, "store");
	auto_manifest struct manifest m = {0};
	auto_free struct revision *revisions = NULL;
	size_t count;
	/* The newest revision counts, not `current`: the number of a publish that was killed before `current` moved
	 * must not be given out again. */
	if (store_revisions(s, certificate, &revisions, &count, err) < 0 ||
		fill_manifest(pairs, pair_count, meta,
			next_revision(
				count ? revisions[count - 1] : (struct revision){0, 0}, wanted_epoch(s, certificate)),
			&m, err) < 0)
		return error_wrap(err, "store");
	if (publish_in(dir, pairs, pair_count, &m, err) < 0)
		return error_wrap(err, "store: certificate %s", certificate);
	*ret_revision = m.content.revision;
	return 0;
}

/* ---- reading ---- */

static int read_manifest(
	struct store *s, const char *certificate, const char *revision, struct manifest *ret, struct error *err)
{
	auto_free char *path = mem_printf("%s/%s/manifest.json", certificate, revision);
	auto_buf struct buf text = BUF_INIT(MANIFEST_MAX);
	if (fs_read(s->certificates, path, false, &text, err) < 0 || manifest_decode(&text, ret, err) < 0)
		return error_wrap(err, "store: %s", path);
	return 0;
}

int store_manifest(
	struct store *s, const char *certificate, struct revision revision, struct manifest *ret, struct error *err)
{
	char text[REVISION_TEXT_MAX];
	auto_free char *path = mem_printf("%s/%s", certificate, revision_text(revision, text));
	if (faccessat(s->certificates, path, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
		return 0;
	return read_manifest(s, certificate, text, ret, err) < 0 ? -1 : 1;
}

int store_current(struct store *s, const char *certificate, struct manifest *ret, struct error *err)
{
	char target[REVISION_TEXT_MAX];
	struct revision revision;
	auto_free char *path = mem_printf("%s/current", certificate);
	ssize_t len = readlinkat(s->certificates, path, target, sizeof(target) - 1);
	if (len < 0 && errno == ENOENT)
		return 0;
	if (len < 0)
		return error_errno(err, "store: cannot read the link %s", path);
	target[len] = '\0';
	if (!revision_parse(target, &revision))
		return error_set(err, ERROR_PERMANENT, "store: %s points at %s, which is no revision: point it at one",
			path, target);
	return read_manifest(s, certificate, target, ret, err) < 0 ? -1 : 1;
}

static int compare_revisions(const void *a, const void *b)
{
	return revision_compare(*(const struct revision *)a, *(const struct revision *)b);
}

int store_revisions(
	struct store *s, const char *certificate, struct revision **ret, size_t *ret_count, struct error *err)
{
	struct revision *revisions = NULL;
	size_t count = 0;
	*ret = NULL;
	*ret_count = 0;
	if (faccessat(s->certificates, certificate, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
		return 0;
	auto_close int dir = fs_open_directory(s->certificates, certificate, err);
	DIR *list = dir < 0 ? NULL : fs_list(dir, err);
	if (!list)
		return error_wrap(err, "store: %s", certificate);
	const struct dirent *entry;
	while ((entry = readdir(list))) {
		struct revision r;
		if (!revision_parse(entry->d_name, &r))
			continue;
		revisions = mem_grow(revisions, count + 1, sizeof(*revisions));
		revisions[count++] = r;
	}
	closedir(list);
	if (count)
		qsort(revisions, count, sizeof(*revisions), compare_revisions);
	*ret = revisions;
	*ret_count = count;
	return 0;
}

int store_previous(struct store *s, const char *certificate, struct revision before,
	const uint8_t digest[CHAIN_SHA256_SIZE], struct revision *ret, struct error *err)
{
	auto_free struct revision *revisions = NULL;
	size_t count;
	if (store_revisions(s, certificate, &revisions, &count, err) < 0)
		return -1;
	while (count-- > 0) {
		struct error ignored;
		auto_manifest struct manifest m = {0};
		if (revision_compare(revisions[count], before) >= 0 ||
			store_manifest(s, certificate, revisions[count], &m, &ignored) <= 0 ||
			memcmp(m.content.digest, digest, sizeof(m.content.digest)) == 0)
			continue;
		*ret = revisions[count];
		return 1;
	}
	return 0;
}

static int load_pair(struct store *s, const char *set, size_t pair, struct chain *ret, struct error *err)
{
	char file[64];
	auto_buf struct buf certificates = BUF_INIT(CHAIN_PEM_MAX);
	auto_free char *path = mem_printf("%s/%s", set, chain_file(pair, file, sizeof(file)));
	if (pair > 0 && faccessat(s->certificates, path, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
		return 0;
	if (fs_read(s->certificates, path, false, &certificates, err) < 0)
		return -1;
	if (chain_parse_pem(certificates.data, certificates.len, NULL, 0, ret, err) < 0)
		return error_wrap(err, "%s", set);
	return chain_take_public_key(ret, err) < 0 ? -1 : 1;
}

int store_load(struct store *s, const char *certificate, struct revision revision,
	struct chain ret_pairs[STORE_PAIRS_MAX], size_t *ret_count, struct manifest *ret_manifest, struct error *err)
{
	char text[REVISION_TEXT_MAX];
	uint8_t digest[CHAIN_SHA256_SIZE];
	size_t count = 0;
	int got = 1;
	auto_free char *set = mem_printf("%s/%s", certificate, revision_text(revision, text));
	auto_manifest struct manifest m = {0};
	if (read_manifest(s, certificate, text, &m, err) < 0)
		return -1;
	while (count < STORE_PAIRS_MAX && (got = load_pair(s, set, count, &ret_pairs[count], err)) > 0)
		count++;
	if (got >= 0) {
		chain_digest(ret_pairs, count, digest);
		if (memcmp(digest, m.content.digest, sizeof(digest)) != 0)
			got = error_set(err, ERROR_PERMANENT,
				"digest: the files are not those of the manifest; restore the "
				"directory from a backup, or publish again");
	}
	if (got < 0) {
		while (count > 0)
			chain_release(&ret_pairs[--count]);
		return error_wrap(err, "store: %s", set);
	}
	*ret_count = count;
	*ret_manifest = m;
	m = (struct manifest){0};
	return 0;
}

/* ---- records ---- */

static int open_record(struct store *s, const char *kind, const char *name, struct error *err)
{
	auto_close int group = open_below(s->records, kind, err);
	return group < 0 ? -1 : open_below(group, name, err);
}

int store_put(struct store *s, const char *kind, const char *name, const char *file, const void *data, size_t len,
	struct error *err)
{
	auto_close int dir = open_record(s, kind, name, err);
	s->trouble[0] = '\0';
	if (dir >= 0 && fs_write(dir, file, data, len, FS_PRIVATE, err) == 0)
		return 0;
	error_wrap(err, "store: record %s/%s", kind, name);
	snprintf(s->trouble, sizeof(s->trouble), "%s", err->message);
	return -1;
}

bool store_note_damage(
	struct store *s, const char *kind, const char *name, const char *file, const char *text, int64_t at)
{
	auto_free char *record = mem_printf("%s/%s/%s", kind, name, file);
	for (size_t i = s->damage_count; i-- > 0;) {
		if (strcmp(s->damages[i].record, record) != 0)
			continue;
		if (at - s->damages[i].at < STORE_DAMAGE_TOLD)
			return false;
		drop_damage(s, i);
	}
	if (s->damage_count == DAMAGES_MAX)
		drop_damage(s, 0);
	s->damages[s->damage_count++] = (struct store_damage){steal(record), mem_strdup(text), at};
	return true;
}

bool store_drop_damage(struct store *s, const char *kind, const char *name, const char *file)
{
	auto_free char *record = mem_printf("%s/%s/%s", kind, name, file);
	for (size_t i = 0; i < s->damage_count; i++) {
		if (strcmp(s->damages[i].record, record) != 0)
			continue;
		drop_damage(s, i);
		return true;
	}
	return false;
}

const struct store_damage *store_damages(const struct store *s, size_t *ret_count)
{
	*ret_count = s->damage_count;
	return s->damages;
}

const char *store_trouble(const struct store *s)
{
	return s->trouble;
}

int store_get(struct store *s, const char *kind, const char *name, const char *file, struct buf *out, struct error *err)
{
	auto_free char *path = mem_printf("%s/%s/%s", kind, name, file);
	if (faccessat(s->records, path, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
		return 0;
	if (fs_read(s->records, path, false, out, err) < 0)
		return error_wrap(err, "store: record %s/%s", kind, name);
	return 1;
}

int store_drop(struct store *s, const char *kind, const char *name, struct error *err)
{
	auto_free char *path = mem_printf("%s/%s", kind, name);
	if (faccessat(s->records, kind, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
		return 0;
	return fs_remove_tree(s->records, path, err);
}
