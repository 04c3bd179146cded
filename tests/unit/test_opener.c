/* The child that opens bundles: what it can still do when it is confined, and what happens when it is taken over,
 * hangs, dies or lies. */
#include "agent/root/certificate.h"
#include "agent/root/opener.h"
#include "agent/root/opener_child.h"
#include "agent/root/operation.h"
#include "agent/root/resume.h"
#include "lib/core/clock.h"
#include "lib/core/confine.h"
#include "tests/unit/issue.h"
#include "tests/unit/range.h"
#include "tests/unit/scratch.h"

#include <errno.h>
#include <linux/capability.h>
#include <openssl/pem.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

static const char name[] = "mail.domain.pl";
static char *scratch_dir; /* the running test's directory, for code that runs in the child */

/* ---- a node with one certificate, and a hub that seals for it ---- */

struct node {
	struct scratch *scratch;
	struct agent_config config;
	struct agent_certificate certificate;
	struct root_certificate root_certificate;
	int root_state;
	struct issued ca;
	struct bundle_keys keys;
	uint8_t sign_private[SEAL_KEY_SIZE];
	char *allow[2];
};

static void write_pem(const struct node *n, const char *file, X509 *certificate)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;
	PEM_write_bio_X509(bio, certificate);
	long len = BIO_get_mem_data(bio, &text);
	auto_free char *copy = mem_strndup(text, (size_t)len);
	scratch_write(n->scratch, file, copy, 0644);
	BIO_free(bio);
}

static int setup(void **state)
{
	void *scratch;
	struct error err;
	int64_t now = clock_wall();
	if (scratch_setup(&scratch) < 0)
		return -1;
	struct node *n = mem_alloc(sizeof(*n));
	n->scratch = scratch;
	scratch_dir = n->scratch->path;
	mkdirat(n->scratch->fd, "root", 0700);
	n->root_state = openat(n->scratch->fd, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	n->ca = issue((struct wish){
		.subject = "ca", .authority = true, .from = now - ISSUE_DAY, .to = now + 1000 * ISSUE_DAY});
	write_pem(n, "ca.pem", n->ca.certificate);
	n->allow[0] = mem_strdup("*.domain.pl");
	n->certificate = (struct agent_certificate){.name = mem_strdup(name), .allow = n->allow};
	n->config = (struct agent_config){
		.directory = mem_strdup(n->scratch->path), .anchors = scratch_path(scratch, "ca.pem")};
	n->keys.signer_count = 1;
	assert_int_equal(seal_keypair(n->keys.seal_private, n->keys.seal_public, &err), 0);
	assert_int_equal(sign_keypair(n->sign_private, n->keys.signers[0], &err), 0);
	opener_replace(NULL, OPENER_DEADLINE_MS);
	assert_int_equal(
		root_certificate_open(&n->root_certificate, &n->config, &n->certificate, n->root_state, -1, &err), 0);
	assert_int_equal(root_certificate_start(&n->root_certificate, &err), 0);
	*state = n;
	return 0;
}

static int teardown(void **state)
{
	struct node *n = *state;
	void *scratch = n->scratch;
	opener_stop();
	root_certificate_close(&n->root_certificate);
	close(n->root_state);
	issued_release(&n->ca);
	free(n->allow[0]);
	free(n->certificate.name);
	free(n->config.directory);
	free(n->config.anchors);
	free(n);
	return scratch_teardown(&scratch);
}

static void seal_next(const struct node *n, uint32_t number, const char *key_type, struct buf *out)
{
	int64_t now = clock_wall();
	struct issued leaf = issue((struct wish){.subject = name,
		.san = "DNS:mail.domain.pl",
		.issuer = &n->ca,
		.key_type = key_type,
		.from = now - ISSUE_DAY,
		.to = now + (20 + number) * ISSUE_DAY});
	auto_bundle struct bundle b = {.revision = {1, number}, .pair_count = 1};
	struct error err;
	memcpy(b.certificate, name, sizeof(name));
	b.pairs[0] = issued_chain(&leaf, NULL, 0);
	assert_int_equal(bundle_seal(&b, n->keys.seal_public, n->sign_private, out, &err), 0);
	issued_release(&leaf);
}

/* Takes a bundle as the root half does. Returns whether it was staged; `ret` gets the reply's text. */
static bool stage(struct node *n, const struct buf *sealed, char ret[ERROR_MESSAGE_MAX], bool *ret_permanent)
{
	struct bundle checked;
	struct error err;
	struct reply *reply = mem_alloc(sizeof(*reply));
	assert_int_equal(bundle_check(sealed->data, sealed->len, &n->keys, &checked, &err), 0);
	operation_stage(&n->root_certificate,
		&(const struct sealed){&checked, sealed->data, sealed->len, n->keys.seal_private}, reply);
	bool ok = reply->ok;
	snprintf(ret, ERROR_MESSAGE_MAX, "%s", reply->text);
	*ret_permanent = reply->permanent;
	reply_release(reply);
	mem_free_cleanup(&reply);
	return ok;
}

static bool stage_next(struct node *n, uint32_t number, char ret[ERROR_MESSAGE_MAX])
{
	auto_buf struct buf sealed = BUF_INIT(BUNDLE_MAX);
	bool ignored;
	seal_next(n, number, NULL, &sealed);
	return stage(n, &sealed, ret, &ignored);
}

static const char *ask(int archive, const char *request, struct buf *answer, struct error *err)
{
	auto_buf struct buf q = BUF_INIT(64);
	buf_addf(&q, "%s", request);
	buf_reset(answer);
	return opener_ask(archive, NULL, &q, answer, err) == 0 ? buf_text(answer) : NULL;
}

/* ---- what it does ---- */

static void a_bundle_is_opened_and_staged(void **state)
{
	struct node *n = *state;
	char text[ERROR_MESSAGE_MAX];
	static const char *const types[] = {"ecdsa-p256", "rsa-2048"};
	for (uint32_t i = 0; i < COUNT(types); i++) {
		auto_buf struct buf sealed = BUF_INIT(BUNDLE_MAX);
		auto_set struct file_set s = {0};
		struct error err;
		bool permanent;
		seal_next(n, i + 1, types[i], &sealed);
		assert_true(stage(n, &sealed, text, &permanent));
		assert_int_equal(n->root_certificate.journal.staged.revision.number, i + 1);
		assert_int_equal(file_set_read(n->root_certificate.install.archive,
					 n->root_certificate.journal.staged.revision, &s, &err),
			0);
		assert_true(content_same(&s.content, &n->root_certificate.journal.staged));
		assert_int_equal(s.content.not_after, n->root_certificate.journal.staged.not_after);
	}
}

static void what_verify_refuses_is_told_by_its_rule(void **state)
{
	struct node *n = *state;
	char text[ERROR_MESSAGE_MAX];
	bool permanent;
	auto_buf struct buf sealed = BUF_INIT(BUNDLE_MAX);
	seal_next(n, 1, NULL, &sealed);
	strcpy(n->allow[0], "*.domain.de");
	assert_false(stage(n, &sealed, text, &permanent));
	assert_memory_equal(text, "allow: the certificate is for mail.domain.pl too", 48);
	assert_true(permanent);
	strcpy(n->allow[0], "*.domain.pl");
	assert_true(stage(n, &sealed, text, &permanent));
}

/* Of a directory of anchors the child is given the files whose name is that of the issuer looked for. */
static void anchors_may_be_a_directory(void **state)
{
	struct node *n = *state;
	char text[ERROR_MESSAGE_MAX];
	struct issued other = issue((struct wish){.subject = "ca", .authority = true});
	unsigned long hash = X509_NAME_hash_ex(X509_get_subject_name(n->ca.certificate), NULL, NULL, NULL);
	auto_free char *first = mem_printf("hashed/%08lx.0", hash), *second = mem_printf("hashed/%08lx.1", hash);
	mkdirat(n->scratch->fd, "hashed", 0755);
	free(n->config.anchors);
	n->config.anchors = scratch_path(n->scratch, "hashed");
	assert_false(stage_next(n, 1, text));
	assert_non_null(strstr(text, "a directory without hashed names: run openssl rehash"));
	write_pem(n, first, other.certificate); /* another authority that has the same name */
	assert_false(stage_next(n, 2, text));
	assert_memory_equal(text, "chain:", 6);
	write_pem(n, second, n->ca.certificate);
	assert_true(stage_next(n, 3, text));
	issued_release(&other);
}

static void anchors_that_never_end_hold_nothing_up(void **state)
{
	struct node *n = *state;
	char text[ERROR_MESSAGE_MAX];
	auto_free char *fifo = scratch_path(n->scratch, "fifo"), *empty = scratch_path(n->scratch, "empty"),
		       *zero = mem_strdup("/dev/zero");
	char *const wrong[] = {fifo, zero, empty, n->scratch->path};
	char *right = n->config.anchors;
	assert_int_equal(mkfifo(fifo, 0600), 0);
	scratch_write(n->scratch, "empty", "", 0600);
	for (size_t i = 0; i < COUNT(wrong); i++) {
		auto_free char *begin = mem_printf("anchors %s: ", wrong[i]);
		n->config.anchors = wrong[i];
		assert_false(stage_next(n, 1, text));
		assert_memory_equal(text, begin, strlen(begin));
	}
	n->config.anchors = right;
	assert_true(stage_next(n, 1, text));
}

/* ---- what it cannot do ---- */

static void try_all(const struct buf *request, struct buf *answer)
{
	int numbers[2];
	char *const words[] = {(char[]){"true"}, NULL}, *const none[] = {NULL};
	char byte;
	auto_free char *file = mem_printf("%s/planted", scratch_dir), *directory = mem_printf("%s/made", scratch_dir);
	auto_free char *there = mem_printf("%s/ca.pem", scratch_dir);
	const struct iovec local = {&byte, 1}, remote = {(void *)(uintptr_t)name, 1};
	const struct rlimit more = {16, 16};
	(void)request;
#define TRY(what, call) \
	do { \
		if ((call) >= 0) \
			buf_addf(answer, "%s ", what); \
	} while (0)
	TRY("open", open("/etc/passwd", O_RDONLY));
	TRY("open-null", open("/dev/null", O_RDONLY));
	TRY("open-proc", open("/proc/self/mem", O_RDWR));
	TRY("create", open(file, O_WRONLY | O_CREAT, 0600));
	TRY("mkdir", mkdir(directory, 0700));
	TRY("symlink", symlink("/etc/passwd", directory));
	TRY("link", link(there, file));
	TRY("rename", rename(there, file));
	TRY("unlink", unlink(there));
	TRY("truncate", truncate(there, 0));
	TRY("mkfifo", mkfifo(file, 0600));
	TRY("tcp", socket(AF_INET, SOCK_STREAM, 0));
	TRY("tcp6", socket(AF_INET6, SOCK_STREAM, 0));
	TRY("udp", socket(AF_INET, SOCK_DGRAM, 0));
	TRY("unix", socket(AF_UNIX, SOCK_STREAM, 0));
	TRY("netlink", socket(AF_NETLINK, SOCK_RAW, 0));
	TRY("socketpair", socketpair(AF_UNIX, SOCK_STREAM, 0, numbers));
	TRY("pipe", pipe(numbers));
	TRY("dup", dup(0));
	TRY("dup2", dup2(0, 5));
	TRY("memfd", memfd_create("x", 0));
	TRY("pidfd", (int)syscall(SYS_pidfd_open, getppid(), 0));
	TRY("write-1", write(1, "x", 1));
	TRY("write-2", write(2, "x", 1));
	TRY("exec", execve("/bin/true", words, none));
	pid_t forked = fork();
	if (forked == 0)
		_exit(0);
	TRY("fork", forked);
	TRY("ptrace", ptrace(PTRACE_ATTACH, getppid(), 0, 0));
	TRY("read-memory", process_vm_readv(getppid(), &local, 1, &remote, 1, 0));
	TRY("descriptors", setrlimit(RLIMIT_NOFILE, &more));
	TRY("processes", setrlimit(RLIMIT_NPROC, &more));
	TRY("chroot", chroot("/"));
	TRY("mount", mount("none", "/", NULL, MS_REMOUNT, NULL));
	TRY("keep-capabilities", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0));
	/* A process that was not root stays who it is; only the kernel's Landlock can then forbid it signals. */
	if (getuid() == OPENER_USER || confine_version() >= 6)
		TRY("signal", kill(getppid(), 0));
	if (getuid() == OPENER_USER) {
		TRY("setuid", setresuid(0, 0, 0));
		TRY("setgid", setresgid(0, 0, 0));
	}
	buf_addf(answer, "tried");
}

static void it_can_open_start_reach_and_signal_nothing(void **state)
{
	const struct node *n = *state;
	auto_buf struct buf answer = BUF_INIT(4096);
	struct error err;
	opener_replace(try_all, OPENER_DEADLINE_MS);
	assert_string_equal(ask(n->root_certificate.install.archive, "", &answer, &err), "tried");
}

static void look_at_itself(const struct buf *request, struct buf *answer)
{
	const struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[2];
	struct rlimit core;
	int bounding = 0;
	char comm[17] = "";
	(void)request;
	syscall(SYS_capget, &header, sets);
	for (int i = 0; i < 64; i++)
		bounding += prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1;
	getrlimit(RLIMIT_CORE, &core);
	prctl(PR_GET_NAME, comm);
	if (getuid() == OPENER_USER)
		buf_addf(answer, "%s uid=%u/%u gid=%u/%u groups=%d caps=%u bounding=%d", comm, getuid(), geteuid(),
			getgid(), getegid(), getgroups(0, NULL),
			sets[0].permitted | sets[1].permitted | sets[0].inheritable | sets[0].effective, bounding);
	buf_addf(answer, " no_new_privs=%d dumpable=%d core=%d", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0),
		prctl(PR_GET_DUMPABLE), (int)core.rlim_max);
}

static void it_is_nobody_and_has_no_right(void **state)
{
	const struct node *n = *state;
	auto_buf struct buf answer = BUF_INIT(4096);
	struct error err;
	opener_replace(look_at_itself, OPENER_DEADLINE_MS);
	auto_free char *wanted = mem_printf("%s no_new_privs=1 dumpable=0 core=0",
		geteuid() == 0 ? "certsync-opener uid=65532/65532 gid=65532/65532 groups=0 caps=0 bounding=0" : "");
	assert_string_equal(ask(n->root_certificate.install.archive, "", &answer, &err), wanted);
}

static char secret[] = "the sealing key";

static void tell_secret(const struct buf *request, struct buf *answer)
{
	(void)request;
	buf_add(answer, secret, sizeof(secret));
}

static void what_it_must_forget_is_overwritten(void **state)
{
	const struct node *n = *state;
	static const char zeros[sizeof(secret)];
	auto_buf struct buf answer = BUF_INIT(4096);
	struct error err;
	opener_forget(secret, sizeof(secret));
	opener_replace(tell_secret, OPENER_DEADLINE_MS);
	assert_non_null(ask(n->root_certificate.install.archive, "", &answer, &err));
	assert_memory_equal(answer.data, zeros, sizeof(zeros));
	assert_string_equal(secret, "the sealing key");
	opener_forget(NULL, 0);
}

/* ---- how long it lives ---- */

static void tell_pid(const struct buf *request, struct buf *answer)
{
	(void)request;
	buf_addf(answer, "%d", (int)getpid());
}

static void it_sees_one_certificate_and_is_kept_for_that(void **state)
{
	const struct node *n = *state;
	struct error err;
	auto_buf struct buf first = BUF_INIT(64);
	auto_buf struct buf again = BUF_INIT(64);
	auto_buf struct buf other = BUF_INIT(64);
	opener_replace(tell_pid, OPENER_DEADLINE_MS);
	assert_int_equal(opener_due(), -1);
	assert_non_null(ask(n->root_certificate.install.archive, "", &first, &err));
	assert_string_equal(ask(n->root_certificate.install.archive, "", &again, &err), buf_text(&first));
	assert_uint_in_range(opener_due(), OPENER_IDLE_MS - 60000, OPENER_IDLE_MS);
	opener_tick(); /* its time is not over yet */
	assert_string_equal(ask(n->root_certificate.install.archive, "", &again, &err), buf_text(&first));
	assert_string_not_equal(ask(n->scratch->fd, "", &other, &err), buf_text(&first));
	assert_int_equal(kill(atoi(buf_text(&first)), 0), -1);
	assert_string_not_equal(ask(n->root_certificate.install.archive, "", &again, &err), buf_text(&other));
	opener_stop();
	assert_int_equal(opener_due(), -1);
	assert_int_equal(kill(atoi(buf_text(&again)), 0), -1);
}

static void one_that_was_ended_while_idle_costs_nothing(void **state)
{
	const struct node *n = *state;
	struct error err;
	auto_buf struct buf first = BUF_INIT(64);
	auto_buf struct buf again = BUF_INIT(64);
	opener_replace(tell_pid, OPENER_DEADLINE_MS);
	assert_non_null(ask(n->root_certificate.install.archive, "", &first, &err));
	assert_int_equal(kill(atoi(buf_text(&first)), SIGKILL), 0);
	assert_string_not_equal(ask(n->root_certificate.install.archive, "", &again, &err), buf_text(&first));
}

/* ---- one that was taken over, hangs or dies: the old one stays, and it has a name ---- */

static void hang(const struct buf *request, struct buf *answer)
{
	(void)request;
	(void)answer;
	for (;;)
		pause();
}

static void spin(const struct buf *request, struct buf *answer)
{
	(void)request;
	for (volatile bool for_ever = true; for_ever;)
		answer->len = 0;
}

static void crash(const struct buf *request, struct buf *answer)
{
	(void)request;
	(void)answer;
	signal(SIGSEGV, SIG_DFL); /* the child would inherit the test's own handler */
	raise(SIGSEGV);
}

static void leave(const struct buf *request, struct buf *answer)
{
	(void)request;
	(void)answer;
	_exit(3);
}

static void say_nothing(const struct buf *request, struct buf *answer)
{
	(void)request;
	(void)answer;
}

static void say_what_is_none(const struct buf *request, struct buf *answer)
{
	(void)request;
	buf_put_u8(answer, OPENER_REFUSED);
	buf_put_u8(answer, ERROR_NONE);
	buf_put_string(answer, "");
}

static void send_raw(const void *data, size_t len)
{
	ssize_t ignored = write(0, data, len);
	(void)ignored;
	hang(NULL, NULL);
}

static void say_without_end(const struct buf *request, struct buf *answer)
{
	(void)request;
	(void)answer;
	send_raw("\xff\xff\xff\xff"
		 "A",
		5);
}

static void say_half(const struct buf *request, struct buf *answer)
{
	(void)request;
	(void)answer;
	send_raw("\0\0\0\x40"
		 "A\0\1",
		7);
}

static void say_another_type(const struct buf *request, struct buf *answer)
{
	(void)request;
	(void)answer;
	send_raw("\0\0\0\1"
		 "Z",
		5);
}

static void ask_for_ever(const struct buf *request, struct buf *answer)
{
	struct error err;
	auto_buf struct buf pem = BUF_INIT(64 * 1024);
	(void)request;
	(void)answer;
	while (opener_want(NULL, 0x12345678, &pem, &err) == 0)
		;
}

static void ask_for_no_name(const struct buf *request, struct buf *answer)
{
	(void)request;
	(void)answer;
	send_raw("\0\0\0\4"
		 "W../",
		8);
}

/* Answers with a set that keeps to the alphabet, and is not the one that the hub signed. */
static void give_another(const struct buf *request, struct buf *answer)
{
	auto_buf struct buf placeholder = BUF_INIT(64);
	(void)request;
	buf_put_u8(&placeholder, OPENER_PLACEHOLDER);
	buf_put_string(&placeholder, name);
	buf_put_u64(&placeholder, (uint64_t)clock_wall());
	opener_work_on(&placeholder, answer);
}

static void a_child_that_lies_hangs_or_dies_is_named_and_the_old_one_stays(void **state)
{
	struct node *n = *state;
	static const struct {
		opener_work work;
		int deadline_ms;
		bool permanent;
		const char *text;
	} cases[] = {
		{hang, 200, false,
			"opener: the process that opens bundles has not answered within 1 s: what is installed stays"},
		{spin, 200, false,
			"opener: the process that opens bundles has not answered within 1 s: what is installed stays"},
		{say_half, 200, false,
			"opener: the process that opens bundles has not answered within 1 s: what is installed stays"},
		{crash, OPENER_DEADLINE_MS, false,
			"opener: the process that opens bundles has ended: it was killed by signal 11"},
		{leave, OPENER_DEADLINE_MS, false,
			"opener: the process that opens bundles has ended: it exited 3: what is installed stays"},
		{say_nothing, OPENER_DEADLINE_MS, true, "opener: the answer is neither yes nor no"},
		{say_what_is_none, OPENER_DEADLINE_MS, true, "opener: the refusal has no reason"},
		{say_without_end, OPENER_DEADLINE_MS, true,
			"opener: the message has 4294967295 bytes, at most 524288 are read"},
		{say_another_type, OPENER_DEADLINE_MS, true, "opener: the message is of type 90"},
		{ask_for_ever, OPENER_DEADLINE_MS, true, "opener: it has asked for more than 64 issuers"},
		{ask_for_no_name, OPENER_DEADLINE_MS, true, "opener: it asks for what has no name"},
		{give_another, OPENER_DEADLINE_MS, true, "opener: the answer is not what the hub has signed"},
	};
	char text[ERROR_MESSAGE_MAX];
	auto_buf struct buf sealed = BUF_INIT(BUNDLE_MAX);
	assert_true(stage_next(n, 1, text));
	const struct journal before = n->root_certificate.journal;
	seal_next(n, 2, NULL, &sealed);
	for (size_t i = 0; i < COUNT(cases); i++) {
		bool permanent;
		opener_replace(cases[i].work, cases[i].deadline_ms);
		assert_false(stage(n, &sealed, text, &permanent));
		assert_memory_equal(text, cases[i].text, strlen(cases[i].text));
		assert_int_equal(permanent, cases[i].permanent);
		assert_int_equal(opener_due(), -1); /* a child that was caught does not get another chance */
		assert_memory_equal(&before, &n->root_certificate.journal, sizeof(before));
		assert_true(faccessat(n->root_certificate.install.archive, "1.2", F_OK, 0) < 0);
	}
	opener_replace(NULL, OPENER_DEADLINE_MS);
	bool ignored;
	assert_true(stage(n, &sealed, text, &ignored));
}

/* ---- length and alphabet ---- */

static void sound_answer(struct buf *out)
{
	struct issued ca = issue((struct wish){.subject = "ca", .authority = true});
	struct issued leaf = issue((struct wish){.subject = name, .san = "DNS:mail.domain.pl", .issuer = &ca});
	const struct issued *const rest[] = {&ca};
	auto_chain struct chain c = issued_chain(&leaf, rest, 1);
	auto_parts struct parts p = PARTS_INIT;
	struct error err;
	assert_int_equal(parts_make(&c, &p, &err), 0);
	buf_put_u8(out, OPENER_TAKEN);
	buf_put_u8(out, 1);
	assert_int_equal(parts_put(&p, out), 0);
	issued_release(&leaf);
	issued_release(&ca);
}

static int read_answer(const struct buf *answer, struct error *err)
{
	struct parts pairs[BUNDLE_PAIRS_MAX];
	size_t count = 0;
	int result = opener_read_answer(answer->data, answer->len, pairs, &count, err);
	for (size_t i = 0; i < count; i++)
		parts_release(&pairs[i]);
	return result;
}

enum part { KEY, LEAF, REST };

/* Gives an answer in one part of which `what` was replaced once by `by`. */
static int with_part(enum part which, const char *what, const char *by, struct error *err)
{
	auto_buf struct buf sound = BUF_INIT(OPENER_ANSWER_MAX);
	auto_buf struct buf changed = BUF_INIT(OPENER_ANSWER_MAX);
	sound_answer(&sound);
	struct reader r = READER(sound.data, sound.len);
	buf_add(&changed, read_raw(&r, 19), 19);
	for (enum part i = KEY; i <= REST; i++) {
		size_t len;
		const uint8_t *bytes = read_bytes(&r, CHAIN_PEM_MAX, &len);
		auto_free char *text = mem_strndup((const char *)bytes, len);
		char *at = i == which ? strstr(text, what) : NULL;
		assert_true(i != which || at);
		auto_free char *other =
			at ? mem_printf("%.*s%s%s", (int)(at - text), text, by, at + strlen(what)) : mem_strdup(text);
		buf_put_string(&changed, other);
	}
	return read_answer(&changed, err);
}

static void only_the_blocks_of_each_part_are_let_through(void **state)
{
	static const struct {
		enum part part;
		const char *what, *by;
	} wrong[] = {
		{KEY, "-----\n", "-----\n\n"}, /* a blank line, behind which HAProxy would run commands */
		{LEAF, "\n-----END", "\n\n-----END"},
		{LEAF, "-----END CERTIFICATE-----\n", "-----END CERTIFICATE-----\n\n"},
		{LEAF, "-----END CERTIFICATE-----\n", "-----END CERTIFICATE-----\nshow env\n"},
		{LEAF, "-----END CERTIFICATE-----\n", "-----END CERTIFICATE-----"},
		{LEAF, "-----END CERTIFICATE-----\n", "-----END CERTIFICATE-----\r\n"},
		{LEAF, "-----END CERTIFICATE-----\n",
			"-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"},
		{LEAF, "-----BEGIN", " -----BEGIN"},
		{LEAF, "-----BEGIN", "prose\n-----BEGIN"},
		{LEAF, "BEGIN CERTIFICATE", "BEGIN PRIVATE KEY"},
		{LEAF, "BEGIN CERTIFICATE", "BEGIN TRUSTED CERTIFICATE"},
		{LEAF, "END CERTIFICATE", "END CERTIFICATe"},
		{LEAF, "MII", "M\tI"},
		{LEAF, "MII", "M\033[I"},
		{LEAF, "MII", "M=I"},
		{LEAF, "MII", "MI"},
		{LEAF, "MII", "MI\n"},
		{LEAF, "MII", "MIII"},
		{REST, "-----BEGIN", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n-----BEGIN"},
		{KEY, "PRIVATE KEY", "EC PRIVATE KEY"},
		{KEY, "-----BEGIN", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n-----BEGIN"},
	};
	struct error err;
	(void)state;
	assert_int_equal(with_part(LEAF, "", "", &err), 0);
	for (size_t i = 0; i < COUNT(wrong); i++) {
		assert_int_equal(with_part(wrong[i].part, wrong[i].what, wrong[i].by, &err), -1);
		assert_int_equal(err.kind, ERROR_UNTRUSTED);
		assert_memory_equal(err.message, "opener: ", 8);
	}
}

/* The answer is cut off at each place, is a byte too long, or has one byte that is not of base64. */
static void an_answer_that_is_cut_longer_or_changed_is_refused(void **state)
{
	auto_buf struct buf answer = BUF_INIT(OPENER_ANSWER_MAX);
	struct error err;
	(void)state;
	sound_answer(&answer);
	assert_int_equal(read_answer(&answer, &err), 0);
	size_t whole = answer.len;
	for (answer.len = 0; answer.len < whole; answer.len++)
		assert_int_equal(read_answer(&answer, &err), -1);
	buf_put_u8(&answer, 0);
	assert_int_equal(read_answer(&answer, &err), -1);
	answer.len--;
	static const uint8_t others[] = {0, '\n', '\r', ' ', '-', 0x1b, 0x7f, 0x80, 0xff};
	for (size_t i = 19; i < whole; i++)
		for (size_t k = 0; k < COUNT(others); k++) {
			uint8_t before = answer.data[i];
			answer.data[i] = others[k];
			if (before != others[k])
				assert_int_equal(read_answer(&answer, &err), -1);
			answer.data[i] = before;
		}
}

static void the_digest_is_that_of_the_decoded_chain(void **state)
{
	struct issued ca = issue((struct wish){.subject = "ca", .authority = true});
	struct issued leaf = issue((struct wish){.subject = name, .issuer = &ca, .key_type = "rsa-2048"});
	const struct issued *const rest[] = {&ca};
	auto_chain struct chain c = issued_chain(&leaf, rest, 1);
	auto_parts struct parts p = PARTS_INIT;
	uint8_t decoded[CHAIN_SHA256_SIZE], by_bytes[CHAIN_SHA256_SIZE];
	struct error err;
	(void)state;
	assert_int_equal(parts_make(&c, &p, &err), 0);
	chain_digest(&c, 1, decoded);
	assert_int_equal(parts_digest(&p, 1, by_bytes, &err), 0);
	assert_memory_equal(decoded, by_bytes, sizeof(decoded));
	chain_fingerprint(c.leaf, decoded);
	assert_int_equal(parts_fingerprint(&p, by_bytes, &err), 0);
	assert_memory_equal(decoded, by_bytes, sizeof(decoded));
	assert_true(p.rsa);
	issued_release(&leaf);
	issued_release(&ca);
}

#define STORY(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORY(a_bundle_is_opened_and_staged),
		STORY(what_verify_refuses_is_told_by_its_rule),
		STORY(anchors_may_be_a_directory),
		STORY(anchors_that_never_end_hold_nothing_up),
		STORY(it_can_open_start_reach_and_signal_nothing),
		STORY(it_is_nobody_and_has_no_right),
		STORY(what_it_must_forget_is_overwritten),
		STORY(it_sees_one_certificate_and_is_kept_for_that),
		STORY(one_that_was_ended_while_idle_costs_nothing),
		STORY(a_child_that_lies_hangs_or_dies_is_named_and_the_old_one_stays),
		cmocka_unit_test(only_the_blocks_of_each_part_are_let_through),
		cmocka_unit_test(an_answer_that_is_cut_longer_or_changed_is_refused),
		cmocka_unit_test(the_digest_is_that_of_the_decoded_chain),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
