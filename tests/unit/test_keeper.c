/* A certificate on a node whose files somebody changes, and whose disk fails at the wrong moment. */
#include "agent/root/guard.h"
#include "agent/root/certificate.h"
#include "agent/root/operation.h"
#include "agent/root/resume.h"
#include "lib/core/clock.h"
#include "tests/unit/issue.h"
#include "tests/unit/range.h"
#include "tests/unit/scratch.h"
#include "tests/unit/set_of.h"

#include <sys/resource.h>

static const char name[] = "mail.domain.pl";

struct node {
	struct scratch *scratch;
	struct agent_config config;
	struct agent_certificate certificate;
	struct root_certificate root_certificate;
	int root_state;
};

static void open_root_certificate(struct node *n)
{
	struct error err;
	assert_int_equal(
		root_certificate_open(&n->root_certificate, &n->config, &n->certificate, n->root_state, -1, &err), 0);
	assert_int_equal(root_certificate_start(&n->root_certificate, &err), 0);
}

static int setup(void **state)
{
	void *scratch;
	if (scratch_setup(&scratch) < 0)
		return -1;
	struct node *n = mem_alloc(sizeof(*n));
	n->scratch = scratch;
	mkdirat(n->scratch->fd, "root", 0700);
	n->root_state = openat(n->scratch->fd, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	n->certificate.name = mem_strdup(name);
	n->config.directory = mem_strdup(n->scratch->path);
	*state = n;
	open_root_certificate(n);
	return 0;
}

static int teardown(void **state)
{
	struct node *n = *state;
	void *scratch = n->scratch;
	root_certificate_close(&n->root_certificate);
	close(n->root_state);
	free(n->certificate.name);
	free(n->config.directory);
	free(n);
	return scratch_teardown(&scratch);
}

static void restart(struct node *n)
{
	root_certificate_close(&n->root_certificate);
	open_root_certificate(n);
}

static bool ask(struct node *n, enum request_op op, uint32_t number)
{
	const struct request request = {.op = op, .revision = {1, number}, .timeout = 60};
	struct reply *reply = mem_alloc(sizeof(*reply));
	reply->op = op;
	reply->revision = request.revision;
	operation_request(&n->root_certificate, &request, reply);
	bool ok = reply->ok;
	mem_free_cleanup(&reply);
	return ok;
}

/* Stages a set, valid for so many days from now, as operation_stage would leave it, but without a bundle. */
static void stage(struct node *n, uint32_t number, int days)
{
	int64_t now = clock_wall();
	struct issued leaf = issue((struct wish){.subject = name,
		.san = "DNS:mail.domain.pl",
		.from = now - 30 * ISSUE_DAY,
		.to = now + days * ISSUE_DAY});
	struct chain pair = issued_chain(&leaf, NULL, 0);
	auto_set struct file_set s = {0};
	struct error err;
	assert_int_equal(set_of((struct revision){1, number}, &pair, 1, &s, &err), 0);
	assert_int_equal(file_set_write(n->root_certificate.install.archive, &s, &err), 0);
	n->root_certificate.journal.staged = n->root_certificate.journal.high_water = s.content;
	assert_int_equal(root_certificate_save(&n->root_certificate, &err), 0);
	issued_release(&leaf);
}

static void install(struct node *n, uint32_t number, int days)
{
	stage(n, number, days);
	assert_true(ask(n, REQUEST_ACTIVATE, number));
	assert_true(ask(n, REQUEST_COMMIT, number));
}

static void damage(const struct node *n, const char *file)
{
	auto_free char *path = mem_printf("archive/%s/1.2/%s", name, file);
	scratch_write(n->scratch, path, "x", 0600);
}

static uint32_t live(const struct node *n)
{
	struct revision revision;
	struct error err;
	assert_int_equal(install_live(&n->root_certificate.install, &revision, &err), 1);
	return revision.number;
}

static void check_whole(const struct node *n, uint32_t number)
{
	auto_set struct file_set s = {0};
	struct error err;
	const struct content *served = &n->root_certificate.journal.served;
	assert_int_equal(served->revision.number, number);
	assert_int_equal(live(n), number);
	assert_int_equal(file_set_read(n->root_certificate.install.archive, served->revision, &s, &err), 0);
	assert_true(content_same(&s.content, served));
}

static const char *const files[] = {
	"privkey.pem", "cert.pem", "chain.pem", "fullchain.pem", "combined.pem", "haproxy.pem"};

static void one_changed_file_never_takes_a_revision_back(void **state)
{
	struct node *n = *state;
	install(n, 1, 20);
	install(n, 2, 20);
	for (size_t i = 0; i < COUNT(files); i++) {
		damage(n, files[i]);
		restart(n);
		check_whole(n, 2);
	}
}

static void it_is_written_anew_while_running_too(void **state)
{
	struct node *n = *state;
	install(n, 1, 20);
	install(n, 2, 20);
	for (size_t i = 0; i < COUNT(files); i++) {
		damage(n, files[i]);
		assert_int_equal(root_certificate_repair(&n->root_certificate), 1);
		check_whole(n, 2);
		assert_int_equal(root_certificate_repair(&n->root_certificate), 0);
	}
}

/* One byte is changed and no length, because what is remembered of a set must never take the place of looking at it. */
static void a_set_seen_before_is_known_again_by_each_of_its_bytes(void **state)
{
	struct node *n = *state;
	struct error err;
	install(n, 1, 20);
	install(n, 2, 20);
	for (size_t i = 0; i < COUNT(files); i++) {
		auto_set struct file_set known = {0};
		auto_set struct file_set decoded = {0};
		assert_int_equal(
			root_certificate_read(&n->root_certificate, &n->root_certificate.journal.served, &known, &err),
			ROOT_CERTIFICATE_WHOLE);
		assert_int_equal(
			file_set_read(n->root_certificate.install.archive, known.content.revision, &decoded, &err), 0);
		assert_memory_equal(&known.content, &decoded.content, sizeof(known.content));
		assert_int_equal(known.file_count, decoded.file_count);
		struct buf *pem = &known.files[i].pem;
		assert_int_equal(pem->len, decoded.files[i].pem.len);
		if (pem->len)
			assert_memory_equal(pem->data, decoded.files[i].pem.data, pem->len);
		else
			buf_addf(pem, "x");
		pem->data[pem->len / 2] ^= 1;
		auto_free char *path = mem_printf("archive/%s/1.2/%s", name, known.files[i].name);
		auto_free char *changed = mem_strndup((const char *)pem->data, pem->len);
		scratch_write(n->scratch, path, changed, 0600);
		assert_int_equal(root_certificate_repair(&n->root_certificate), 1);
		check_whole(n, 2);
	}
}

/* With one pair, combined-all is the same as combined, also when the set was not decoded again. */
static void a_set_seen_before_has_every_content(void **state)
{
	struct node *n = *state;
	static const char *const contents[] = {"privkey", "cert", "chain", "fullchain", "combined", "combined-all"};
	struct agent_file file = {.mode = 0640};
	struct agent_service service = {.name = (char[]){"imap"}, .files = &file, .file_count = 1};
	install(n, 1, 20);
	for (size_t i = 0; i < COUNT(contents); i++) {
		auto_free char *content = mem_strdup(contents[i]);
		auto_free char *own = scratch_path(n->scratch, contents[i]);
		auto_buf struct buf installed = BUF_INIT(FILE_SET_PEM_MAX);
		auto_buf struct buf archived = BUF_INIT(FILE_SET_PEM_MAX);
		auto_free char *path = mem_printf("archive/%s/1.1/%s.pem", name, i < 5 ? contents[i] : "combined");
		struct error err;
		file.content = content;
		file.path = own;
		n->certificate.services = &service;
		n->certificate.service_count = 1;
		assert_int_equal(root_certificate_repair(&n->root_certificate), 1);
		n->certificate.service_count = 0;
		assert_int_equal(fs_read(n->scratch->fd, path, false, &archived, &err), 0);
		assert_int_equal(fs_read(AT_FDCWD, own, false, &installed, &err), 0);
		assert_int_equal(installed.len, archived.len);
		if (archived.len)
			assert_memory_equal(installed.data, archived.data, archived.len);
	}
}

/* Files that cannot be read because no descriptor is free are neither damaged nor gone. */
static void nothing_is_forgotten_without_descriptors(void **state)
{
	struct node *n = *state;
	struct rlimit before, none;
	struct error err;
	install(n, 1, 20);
	install(n, 2, 20);
	root_certificate_close(&n->root_certificate);
	assert_int_equal(
		root_certificate_open(&n->root_certificate, &n->config, &n->certificate, n->root_state, -1, &err), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	int next = dup(n->root_state);
	close(next);
	none.rlim_cur = (rlim_t)next;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	int started = root_certificate_start(&n->root_certificate, &err);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(started, -1);
	assert_non_null(strstr(err.message, "Too many open files"));
	assert_int_equal(root_certificate_start(&n->root_certificate, &err), 0);
	check_whole(n, 2);
	assert_int_equal(n->root_certificate.journal.high_water.revision.number, 2);
}

static void a_lost_journal_beside_a_changed_file_takes_nothing_back(void **state)
{
	struct node *n = *state;
	install(n, 1, 20);
	install(n, 2, 20);
	damage(n, "combined.pem");
	assert_int_equal(unlinkat(n->root_state, "mail.domain.pl.journal", 0), 0);
	restart(n);
	check_whole(n, 2);
	assert_int_equal(n->root_certificate.journal.high_water.revision.number, 2);
}

static void an_expired_certificate_is_not_displaced_by_the_placeholder(void **state)
{
	struct node *n = *state;
	install(n, 1, -1);
	install(n, 2, -1);
	for (size_t i = 0; i < COUNT(files); i++)
		damage(n, files[i]);
	restart(n);
	/* Nothing of the newest revision is left, so the one before it is restored, although it has expired. */
	check_whole(n, 1);
	assert_int_equal(n->root_certificate.journal.high_water.revision.number, 2);
}

/* Returns a directory that was removed, so that nothing can be written in it. */
static int unwritable(const struct node *n)
{
	mkdirat(n->scratch->fd, "gone", 0700);
	int fd = openat(n->scratch->fd, "gone", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(unlinkat(n->scratch->fd, "gone", AT_REMOVEDIR), 0);
	return fd;
}

static void an_undo_that_cannot_be_recorded_is_not_reversed(void **state)
{
	struct node *n = *state;
	install(n, 1, 20);
	stage(n, 2, 20);
	assert_true(ask(n, REQUEST_ACTIVATE, 2));
	n->root_certificate.root_state = unwritable(n);
	assert_false(ask(n, REQUEST_UNDO, 2));
	assert_int_equal(live(n), 1);
	assert_int_equal(root_certificate_repair(&n->root_certificate), 0);
	assert_int_equal(live(n), 1);
	assert_uint_in_range(root_certificate_due(&n->root_certificate), 1, OPERATION_RETRY_MS);
	assert_int_equal(root_certificate_wanted(&n->root_certificate)->revision.number, 1);
	assert_false(ask(n, REQUEST_COMMIT, 2));
	assert_false(ask(n, REQUEST_RELOAD, 2));
	close(n->root_certificate.root_state);
	n->root_certificate.root_state = n->root_state;
	/* The disk works again, and the next try completes the undo. */
	n->root_certificate.undo_at_ms = clock_monotonic_ms();
	root_certificate_tick(&n->root_certificate);
	assert_false(n->root_certificate.undoing || root_certificate_is_pending(&n->root_certificate));
	check_whole(n, 1);
	assert_true(ask(n, REQUEST_ACTIVATE, 2));
	assert_true(ask(n, REQUEST_COMMIT, 2));
	check_whole(n, 2);
}

static void a_new_activation_ends_an_undo_that_could_not_be_recorded(void **state)
{
	struct node *n = *state;
	install(n, 1, 20);
	stage(n, 2, 20);
	assert_true(ask(n, REQUEST_ACTIVATE, 2));
	n->root_certificate.root_state = unwritable(n);
	assert_false(ask(n, REQUEST_UNDO, 2));
	close(n->root_certificate.root_state);
	n->root_certificate.root_state = n->root_state;
	assert_true(ask(n, REQUEST_ACTIVATE, 2));
	assert_int_equal(live(n), 2);
	assert_int_equal(root_certificate_repair(&n->root_certificate), 0);
	assert_true(ask(n, REQUEST_COMMIT, 2));
	check_whole(n, 2);
}

static void why_it_is_not_ready_is_kept(void **state)
{
	struct node *n = *state;
	struct error err;
	n->root_certificate.ready = false;
	n->root_certificate.root_state = unwritable(n);
	assert_int_equal(root_certificate_start(&n->root_certificate, &err), -1);
	assert_false(n->root_certificate.ready);
	assert_string_equal(n->root_certificate.fault.message, err.message);
	close(n->root_certificate.root_state);
	n->root_certificate.root_state = n->root_state;
	assert_int_equal(root_certificate_start(&n->root_certificate, &err), 0);
	assert_true(n->root_certificate.ready);
}

static void hooks_that_are_asked_for_in_a_loop_are_refused_for_a_while(void **state)
{
	struct node *n = *state;
	struct error err;
	int64_t now = 5000000;
	int runs = 0;
	while (root_certificate_may_run(&n->root_certificate, ROOT_CERTIFICATE_RELOAD, now, &err) == 0 && runs < 1000)
		runs++;
	assert_uint_in_range(runs, 100, 200); /* a hundred renewals in a row must not be refused */
	assert_int_equal(err.kind, ERROR_RETRY);
	assert_memory_equal(err.message, "too often: reload of mail.domain.pl", 35);
	assert_non_null(strstr(err.message, "try again in 5 s"));
	/* Each kind of hook has a count of its own. */
	assert_int_equal(root_certificate_may_run(&n->root_certificate, ROOT_CERTIFICATE_TEST, now, &err), 0);
	assert_int_equal(root_certificate_may_run(&n->root_certificate, ROOT_CERTIFICATE_RELOAD, now + 4999, &err), -1);
	assert_int_equal(root_certificate_may_run(&n->root_certificate, ROOT_CERTIFICATE_RELOAD, now + 5000, &err), 0);
	assert_int_equal(root_certificate_may_run(&n->root_certificate, ROOT_CERTIFICATE_RELOAD, now + 5000, &err), -1);
	int later = 0;
	while (root_certificate_may_run(&n->root_certificate, ROOT_CERTIFICATE_RELOAD, now + 3600000, &err) == 0 &&
		later < 1000)
		later++;
	assert_int_equal(later, runs);
}

static void a_request_in_a_loop_is_told_to_wait(void **state)
{
	struct node *n = *state;
	const struct request request = {.op = REQUEST_RELOAD, .revision = {1, 1}};
	struct reply *reply = mem_alloc(sizeof(*reply));
	install(n, 1, 20);
	do {
		memset(reply, 0, sizeof(*reply));
		reply->revision = request.revision;
		operation_request(&n->root_certificate, &request, reply);
	} while (reply->ok);
	assert_false(reply->permanent);
	assert_string_equal(reply->step, "reload");
	assert_memory_equal(reply->text, "too often:", 10);
	mem_free_cleanup(&reply);
	/* An undo is never refused for running hooks too often. */
	stage(n, 2, 20);
	assert_true(ask(n, REQUEST_ACTIVATE, 2));
	assert_true(ask(n, REQUEST_UNDO, 2));
}

static void what_happened_before_the_watches_are_made_anew_counts(void **state)
{
	struct node *n = *state;
	struct guard guard;
	install(n, 1, 20);
	guard_init(&guard);
	guard_arm(&guard, &n->root_certificate, 1);
	guard_arm(&guard, &n->root_certificate, 1);
	assert_true(guard_due(&guard) > 60000);
	assert_int_equal(unlinkat(n->root_certificate.install.live, name, 0), 0);
	guard_arm(&guard, &n->root_certificate, 1);
	assert_uint_in_range(guard_due(&guard), 0, 1000);
	guard.check_at_ms = 0;
	guard_tick(&guard, &n->root_certificate, 1);
	assert_int_equal(live(n), 1);
	guard_release(&guard);
}

#define STORY(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORY(one_changed_file_never_takes_a_revision_back),
		STORY(it_is_written_anew_while_running_too),
		STORY(a_set_seen_before_is_known_again_by_each_of_its_bytes),
		STORY(a_set_seen_before_has_every_content),
		STORY(nothing_is_forgotten_without_descriptors),
		STORY(a_lost_journal_beside_a_changed_file_takes_nothing_back),
		STORY(an_expired_certificate_is_not_displaced_by_the_placeholder),
		STORY(an_undo_that_cannot_be_recorded_is_not_reversed),
		STORY(a_new_activation_ends_an_undo_that_could_not_be_recorded),
		STORY(hooks_that_are_asked_for_in_a_loop_are_refused_for_a_while),
		STORY(a_request_in_a_loop_is_told_to_wait),
		STORY(what_happened_before_the_watches_are_made_anew_counts),
		STORY(why_it_is_not_ready_is_kept),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
