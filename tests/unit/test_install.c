/* File sets, the live link and the services' own files, among whatever an unprivileged user may have planted beside
 * them. */
#include "agent/root/install.h"
#include "tests/unit/issue.h"
#include "tests/unit/scratch.h"
#include "tests/unit/set_of.h"

#include <openssl/pkcs12.h>

static const char name[] = "mail.domain.pl";

struct node {
	struct scratch *scratch;
	struct agent_config config;
	struct agent_certificate certificate;
	struct agent_service service;
	struct agent_file file;
	struct install install;
};

static int setup(void **state)
{
	void *scratch;
	struct error err;
	if (scratch_setup(&scratch) < 0)
		return -1;
	struct node *n = mem_alloc(sizeof(*n));
	n->scratch = scratch;
	mkdirat(n->scratch->fd, "own", 0755);
	n->file = (struct agent_file){.path = scratch_path(scratch, "own/imapd.pem"), .mode = 0640};
	n->file.content = mem_strdup("combined");
	n->service = (struct agent_service){.name = (char[]){"courier"}, .files = &n->file, .file_count = 1};
	n->certificate = (struct agent_certificate){.services = &n->service, .service_count = 1};
	n->certificate.name = mem_strdup(name);
	n->config.directory = mem_strdup(n->scratch->path);
	*state = n;
	return install_open(&n->config, &n->certificate, &n->install, &err);
}

static int teardown(void **state)
{
	struct node *n = *state;
	void *scratch = n->scratch;
	install_close(&n->install);
	free(n->file.path);
	free(n->file.content);
	free(n->certificate.name);
	free(n->config.directory);
	free(n);
	return scratch_teardown(&scratch);
}

static struct file_set make_set(uint32_t number, const char *second_type)
{
	struct issued first = issue((struct wish){.subject = name, .san = "DNS:mail.domain.pl"});
	struct issued second = {0};
	struct chain pairs[2] = {issued_chain(&first, NULL, 0), {0}};
	struct file_set s = {0};
	struct error err;
	if (second_type) {
		second = issue((struct wish){.subject = name, .san = "DNS:mail.domain.pl", .key_type = second_type});
		pairs[1] = issued_chain(&second, NULL, 0);
		issued_release(&second);
	}
	assert_int_equal(set_of((struct revision){1, number}, pairs, second_type ? 2 : 1, &s, &err), 0);
	issued_release(&first);
	return s;
}

static void write_set(const struct node *n, const struct file_set *s)
{
	struct error err;
	assert_int_equal(file_set_write(n->install.archive, s, &err), 0);
}

static bool same_file(const struct node *n, const char *path, const struct file_set *s, const char *content)
{
	auto_buf struct buf found = BUF_INIT(CHAIN_PEM_MAX);
	const struct buf *wanted = &file_set_content(s, content)->pem;
	scratch_read(n->scratch, path, &found);
	return found.len == wanted->len && memcmp(found.data, wanted->data, found.len) == 0;
}

static void a_set_is_written_and_read_again(void **state)
{
	const struct node *n = *state;
	auto_set struct file_set s = make_set(1, NULL);
	auto_set struct file_set got = {0};
	struct error err;
	write_set(n, &s);
	assert_int_equal(file_set_read(n->install.archive, s.content.revision, &got, &err), 0);
	assert_true(content_same(&got.content, &s.content));
	assert_int_equal(scratch_mode(n->scratch, "archive/mail.domain.pl/1.1"), 0755);
	assert_int_equal(scratch_mode(n->scratch, "archive/mail.domain.pl/1.1/privkey.pem"), 0600);
	assert_int_equal(scratch_mode(n->scratch, "archive/mail.domain.pl/1.1/combined.pem"), 0600);
	assert_int_equal(scratch_mode(n->scratch, "archive/mail.domain.pl/1.1/haproxy.pem"), 0600);
	assert_int_equal(scratch_mode(n->scratch, "archive/mail.domain.pl/1.1/fullchain.pem"), 0644);
}

static void two_pairs_are_laid_out_for_haproxy_and_postfix(void **state)
{
	const struct node *n = *state;
	auto_set struct file_set s = make_set(1, "rsa-2048");
	auto_set struct file_set got = {0};
	struct error err;
	write_set(n, &s);
	assert_int_equal(s.file_count, 8);
	assert_int_equal(file_set_read(n->install.archive, s.content.revision, &got, &err), 0);
	assert_true(content_same(&got.content, &s.content));
	assert_int_equal(scratch_mode(n->scratch, "archive/mail.domain.pl/1.1/haproxy.pem.ecdsa"), 0600);
	assert_int_equal(scratch_mode(n->scratch, "archive/mail.domain.pl/1.1/haproxy.pem.rsa"), 0600);
	assert_true(faccessat(n->install.archive, "1.1/haproxy.pem", F_OK, 0) < 0);
	const struct buf *all = &file_set_content(&s, "combined-all")->pem;
	assert_true(all->len > file_set_content(&s, "combined")->pem.len);
}

static void any_change_in_the_archive_is_noticed(void **state)
{
	const struct node *n = *state;
	auto_set struct file_set s = make_set(1, NULL);
	for (size_t i = 0; i < s.file_count; i++) {
		struct file_set got = {0};
		struct error err;
		auto_free char *path = mem_printf("archive/%s/1.1/%s", name, s.files[i].name);
		write_set(n, &s);
		assert_int_equal(file_set_read(n->install.archive, s.content.revision, &got, &err), 0);
		file_set_release(&got);
		scratch_write(n->scratch, path, "x", 0600);
		assert_int_equal(file_set_read(n->install.archive, s.content.revision, &got, &err), -1);
		assert_int_equal(unlinkat(n->scratch->fd, path, 0), 0);
		assert_int_equal(file_set_read(n->install.archive, s.content.revision, &got, &err), -1);
	}
}

static void check_recovered(const struct node *n, const struct file_set *s)
{
	struct file_set known = {0}, agreed = {0};
	struct error err;
	assert_int_equal(file_set_recover(n->install.archive, &s->content, &known, &err), 0);
	assert_true(content_same(&known.content, &s->content));
	assert_int_equal(file_set_agreed(n->install.archive, s->content.revision, &agreed, &err), 0);
	assert_true(content_same(&agreed.content, &s->content));
	assert_int_equal(agreed.file_count, s->file_count);
	file_set_release(&known);
	file_set_release(&agreed);
}

static void any_one_file_that_is_changed_or_lost_is_known_from_the_others(void **state)
{
	const struct node *n = *state;
	for (int types = 0; types < 2; types++) {
		auto_set struct file_set s = make_set(1, types ? "rsa-2048" : NULL);
		for (size_t i = 0; i < s.file_count; i++) {
			auto_free char *path = mem_printf("archive/%s/1.1/%s", name, s.files[i].name);
			/* The second pair is read from this one file, so that nothing restores it. */
			if (strcmp(s.files[i].name, "haproxy.pem.rsa") == 0)
				continue;
			write_set(n, &s);
			scratch_write(n->scratch, path, "x", 0600);
			check_recovered(n, &s);
			assert_int_equal(unlinkat(n->scratch->fd, path, 0), 0);
			check_recovered(n, &s);
		}
	}
}

static void another_content_is_not_taken_for_what_was_there(void **state)
{
	const struct node *n = *state;
	auto_set struct file_set s = make_set(1, NULL);
	auto_set struct file_set other = make_set(1, NULL);
	auto_set struct file_set got = {0};
	struct error err;
	write_set(n, &other);
	assert_int_equal(file_set_recover(n->install.archive, &s.content, &got, &err), -1);
	assert_non_null(strstr(err.message, "no file of it still holds"));
	assert_int_equal(file_set_recover(n->install.archive, &other.content, &got, &err), 0);
	scratch_write(n->scratch, "archive/mail.domain.pl/1.1/haproxy.pem", "x", 0600);
	scratch_write(n->scratch, "archive/mail.domain.pl/1.1/fullchain.pem", "x", 0600);
	scratch_write(n->scratch, "archive/mail.domain.pl/1.1/privkey.pem", "x", 0600);
	file_set_release(&got);
	assert_int_equal(file_set_agreed(n->install.archive, s.content.revision, &got, &err), -1);
}

static void a_placeholder_is_the_newest_only_when_nothing_else_is_there(void **state)
{
	const struct node *n = *state;
	auto_set struct file_set placeholder = {0};
	auto_set struct file_set old = make_set(1, NULL);
	struct file_set found = {0};
	struct error err;
	int64_t late = ISSUE_NOW + 1000 * ISSUE_DAY; /* by then the old one has expired, and the placeholder has not */
	assert_int_equal(file_set_placeholder(name, ISSUE_NOW, &placeholder, &err), 0);
	write_set(n, &placeholder);
	assert_int_equal(install_newest(&n->install, late, &found), 0);
	assert_int_equal(install_newest(&n->install, 0, &found), 1);
	file_set_release(&found);
	write_set(n, &old);
	assert_int_equal(install_newest(&n->install, late, &found), 0);
	assert_int_equal(install_newest(&n->install, 0, &found), 1);
	assert_int_equal(found.content.revision.number, 1);
	file_set_release(&found);
}

static void a_foreign_key_or_two_of_one_type_make_no_set(void **state)
{
	(void)state;
	struct issued a = issue((struct wish){.subject = name}), b = issue((struct wish){.subject = name});
	struct issued mixed = {.certificate = a.certificate, .key = b.key};
	struct chain one[1] = {issued_chain(&mixed, NULL, 0)};
	struct chain two[2] = {issued_chain(&a, NULL, 0), issued_chain(&b, NULL, 0)};
	struct file_set s = {0};
	struct error err;
	assert_int_equal(set_of((struct revision){1, 1}, one, 1, &s, &err), -1);
	assert_memory_equal(err.message, "key-match:", 10);
	assert_int_equal(set_of((struct revision){1, 1}, two, 2, &s, &err), -1);
	assert_memory_equal(err.message, "key-type:", 9);
	issued_release(&a);
	issued_release(&b);
}

static void the_link_is_switched_and_read(void **state)
{
	const struct node *n = *state;
	struct revision live;
	struct error err;
	assert_int_equal(install_live(&n->install, &live, &err), 0);
	assert_int_equal(install_switch(&n->install, (struct revision){1, 4}, &err), 1);
	assert_int_equal(install_switch(&n->install, (struct revision){1, 4}, &err), 0);
	assert_int_equal(install_live(&n->install, &live, &err), 1);
	assert_int_equal(live.number, 4);
	assert_int_equal(unlinkat(n->install.live, name, 0), 0);
	assert_int_equal(symlinkat("../archive/other.domain.pl/1.4", n->install.live, name), 0);
	assert_int_equal(install_live(&n->install, &live, &err), -1);
	assert_int_equal(install_switch(&n->install, (struct revision){1, 4}, &err), 1);
}

static void an_own_file_gets_its_content_and_mode(void **state)
{
	const struct node *n = *state;
	auto_set struct file_set s = make_set(1, NULL);
	struct error err;
	assert_int_equal(install_files(&n->install, &s, INSTALL_LOOK, &err), 1);
	assert_int_equal(install_files(&n->install, &s, INSTALL_DIFFERING, &err), 1);
	assert_true(same_file(n, "own/imapd.pem", &s, "combined"));
	assert_int_equal(scratch_mode(n->scratch, "own/imapd.pem"), 0640);
	assert_int_equal(install_files(&n->install, &s, INSTALL_DIFFERING, &err), 0);
	assert_int_equal(fchmodat(n->scratch->fd, "own/imapd.pem", 0644, 0), 0);
	assert_int_equal(install_files(&n->install, &s, INSTALL_DIFFERING, &err), 1);
	assert_int_equal(scratch_mode(n->scratch, "own/imapd.pem"), 0640);
}

static void what_is_in_the_place_of_the_link_is_named(void **state)
{
	const struct node *n = *state;
	struct install nowhere = {.certificate = &n->certificate, .live = -1, .archive = -1};
	struct revision live;
	struct error err;
	static const char *const targets[] = {"nowhere", "../archive/mail.domain.pl/none"};
	for (size_t i = 0; i < COUNT(targets); i++) {
		assert_int_equal(symlinkat(targets[i], n->install.live, name), 0);
		assert_int_equal(install_live(&n->install, &live, &err), -1);
		assert_non_null(strstr(err.message, "no revision of its own"));
		assert_int_equal(unlinkat(n->install.live, name, 0), 0);
	}
	assert_int_equal(mkdirat(n->install.live, name, 0755), 0);
	assert_int_equal(install_live(&n->install, &live, &err), -1);
	assert_non_null(strstr(err.message, "is not a symbolic link"));
	assert_int_equal(install_switch(&n->install, (struct revision){1, 4}, &err), -1);
	assert_int_equal(install_live(&nowhere, &live, &err), -1);
	assert_non_null(strstr(err.message, "cannot read live/"));
	assert_int_equal(install_prune(&nowhere, NULL, 0, &err), -1);
}

static void install_as(const struct node *n, const struct file_set *s, const char *owner, const char *group, int result)
{
	struct error err;
	n->service.files->owner = owner ? mem_strdup(owner) : NULL;
	n->service.files->group = group ? mem_strdup(group) : NULL;
	assert_int_equal(install_files(&n->install, s, INSTALL_DIFFERING, &err), result);
	if (result < 0)
		assert_non_null(strstr(err.message, "create it, or configure another"));
	free(n->service.files->owner);
	free(n->service.files->group);
	n->service.files->owner = n->service.files->group = NULL;
}

static void an_own_file_gets_its_owner_and_group(void **state)
{
	const struct node *n = *state;
	auto_set struct file_set s = make_set(1, NULL);
	struct stat st;
	if (geteuid() != 0)
		skip(); /* only root can give a file to somebody else */
	install_as(n, &s, "daemon", NULL, 1);
	install_as(n, &s, "daemon", NULL, 0);
	install_as(n, &s, "daemon", "mail", 1);
	assert_int_equal(fstatat(n->scratch->fd, "own/imapd.pem", &st, 0), 0);
	assert_true(st.st_uid != 0 && st.st_gid != 0 && st.st_gid != st.st_uid);
	install_as(n, &s, NULL, "mail", 1);
	install_as(n, &s, NULL, NULL, 1);
	install_as(n, &s, "no-such-user", NULL, -1);
	install_as(n, &s, NULL, "no-such-group", -1);
	assert_true(same_file(n, "own/imapd.pem", &s, "combined"));
	/* Without root's rights the file stays the writer's, whatever agent.conf says. */
	assert_int_equal(fchownat(n->scratch->fd, "own", 65534, 65534, 0) + fchmod(n->scratch->fd, 0755), 0);
	assert_int_equal(fchmodat(n->scratch->fd, "own/imapd.pem", 0600, 0), 0);
	assert_int_equal(seteuid(65534), 0);
	install_as(n, &s, "daemon", "mail", 1);
	install_as(n, &s, "daemon", "mail", 0);
	assert_int_equal(seteuid(0), 0);
	assert_int_equal(fstatat(n->scratch->fd, "own/imapd.pem", &st, 0), 0);
	assert_int_equal(st.st_uid, 65534);
}

static void a_content_that_a_set_does_not_have_is_named(void **state)
{
	const struct node *n = *state;
	auto_set struct file_set s = make_set(1, NULL);
	struct error err;
	free(n->service.files->content);
	n->service.files->content = mem_strdup("nothing");
	assert_int_equal(install_files(&n->install, &s, INSTALL_DIFFERING, &err), -1);
	assert_non_null(strstr(err.message, "there is no content \"nothing\""));
}

/* Puts the one file's content there, and returns what is written. */
static const char *install_content(const struct node *n, const struct file_set *s, const char *content, struct buf *ret)
{
	struct error err;
	free(n->service.files->content);
	n->service.files->content = mem_strdup(content);
	assert_int_equal(install_files(&n->install, s, INSTALL_DIFFERING, &err), 1);
	assert_int_equal(install_files(&n->install, s, INSTALL_DIFFERING, &err), 0);
	buf_reset(ret);
	return scratch_read(n->scratch, "own/imapd.pem", ret);
}

static void the_first_pair_is_written_in_der(void **state)
{
	const struct node *n = *state;
	auto_set struct file_set s = make_set(1, "rsa-2048");
	auto_buf struct buf der = BUF_INIT(CHAIN_PEM_MAX);
	uint8_t sum[CHAIN_SHA256_SIZE];
	install_content(n, &s, "cert-der", &der);
	assert_int_equal(sha256(der.data, der.len, sum), 0);
	assert_memory_equal(sum, s.content.leaf, sizeof(sum));
	install_content(n, &s, "privkey-der", &der);
	const unsigned char *at = der.data;
	EVP_PKEY *key = d2i_AutoPrivateKey(NULL, &at, (long)der.len);
	assert_ptr_equal(at, der.data + der.len);
	const struct buf *combined = &file_set_content(&s, "combined")->pem;
	struct chain pair;
	struct error err;
	assert_int_equal(chain_parse_pem(combined->data, combined->len, combined->data, combined->len, &pair, &err), 0);
	assert_int_equal(EVP_PKEY_eq(key, pair.key), 1);
	EVP_PKEY_free(key);
	chain_release(&pair);
}

static void pkcs12_is_written_once_and_anew_for_another_password(void **state)
{
	struct node *n = *state;
	auto_set struct file_set s = make_set(1, "rsa-2048"), next = make_set(2, NULL);
	auto_buf struct buf file = BUF_INIT(CHAIN_PEM_MAX);
	struct error err;
	n->file.password_file = scratch_path(n->scratch, "password");
	scratch_write(n->scratch, "password", "correct horse\n", 0600);
	install_content(n, &s, "pkcs12", &file);
	const unsigned char *at = file.data;
	PKCS12 *p12 = d2i_PKCS12(NULL, &at, (long)file.len);
	EVP_PKEY *key = NULL;
	X509 *leaf = NULL;
	assert_int_equal(PKCS12_parse(p12, "correct horse", &key, &leaf, NULL), 1);
	uint8_t sum[CHAIN_SHA256_SIZE];
	chain_fingerprint(leaf, sum);
	assert_memory_equal(sum, s.content.leaf, sizeof(sum));
	EVP_PKEY_free(key);
	X509_free(leaf);
	PKCS12_free(p12);
	/* Damage and another password are seen; a password that cannot be read leaves the file as it is. */
	scratch_write(n->scratch, "own/imapd.pem", "damaged", 0640);
	assert_int_equal(install_files(&n->install, &s, INSTALL_DIFFERING, &err), 1);
	scratch_write(n->scratch, "password", "another horse\n", 0600);
	assert_int_equal(install_files(&n->install, &s, INSTALL_DIFFERING, &err), 1);
	assert_int_equal(install_files(&n->install, &s, INSTALL_DIFFERING, &err), 0);
	scratch_write(n->scratch, "password", "another horse\n", 0640);
	auto_buf struct buf before = BUF_INIT(CHAIN_PEM_MAX), after = BUF_INIT(CHAIN_PEM_MAX);
	scratch_read(n->scratch, "own/imapd.pem", &before);
	assert_int_equal(install_files(&n->install, &next, INSTALL_DIFFERING, &err), -1);
	assert_non_null(strstr(err.message, "own/imapd.pem: password_file "));
	assert_non_null(strstr(err.message, "is open to others than its owner: chmod 600 "));
	scratch_read(n->scratch, "own/imapd.pem", &after);
	assert_true(before.len == after.len && memcmp(before.data, after.data, before.len) == 0);
	/* Nothing of the password is asked for where a placeholder has nothing to do. */
	assert_int_equal(install_files(&n->install, &next, INSTALL_MISSING, &err), 0);
	free(n->file.password_file);
}

static void a_placeholder_never_displaces_a_file(void **state)
{
	const struct node *n = *state;
	auto_set struct file_set s = {0};
	auto_buf struct buf text = BUF_INIT(4096);
	struct error err;
	assert_int_equal(file_set_placeholder(name, ISSUE_NOW, &s, &err), 0);
	assert_true(revision_is_placeholder(s.content.revision));
	scratch_write(n->scratch, "own/imapd.pem", "what the administrator had", 0600);
	assert_int_equal(install_files(&n->install, &s, INSTALL_MISSING, &err), 0);
	assert_string_equal(scratch_read(n->scratch, "own/imapd.pem", &text), "what the administrator had");
	assert_int_equal(unlinkat(n->scratch->fd, "own/imapd.pem", 0), 0);
	assert_int_equal(install_files(&n->install, &s, INSTALL_MISSING, &err), 1);
}

static void links_fifos_and_hard_links_are_replaced_and_not_followed(void **state)
{
	const struct node *n = *state;
	auto_set struct file_set s = make_set(1, NULL);
	auto_buf struct buf text = BUF_INIT(4096);
	struct error err;
	int dir = n->scratch->fd;
	scratch_write(n->scratch, "victim", "untouched", 0600);
	assert_int_equal(symlinkat("../victim", dir, "own/imapd.pem"), 0);
	assert_int_equal(install_files(&n->install, &s, INSTALL_DIFFERING, &err), 1);
	assert_int_equal(unlinkat(dir, "own/imapd.pem", 0), 0);
	assert_int_equal(linkat(dir, "victim", dir, "own/imapd.pem", 0), 0);
	assert_int_equal(install_files(&n->install, &s, INSTALL_DIFFERING, &err), 1);
	assert_int_equal(unlinkat(dir, "own/imapd.pem", 0), 0);
	assert_int_equal(mkfifoat(dir, "own/imapd.pem", 0600), 0);
	assert_int_equal(install_files(&n->install, &s, INSTALL_DIFFERING, &err), 1);
	assert_true(same_file(n, "own/imapd.pem", &s, "combined"));
	assert_string_equal(scratch_read(n->scratch, "victim", &text), "untouched");
}

static void no_directory_on_the_way_may_be_a_link(void **state)
{
	const struct node *n = *state;
	auto_set struct file_set s = make_set(1, NULL);
	struct error err;
	int dir = n->scratch->fd;
	mkdirat(dir, "elsewhere", 0755);
	assert_int_equal(unlinkat(dir, "own", AT_REMOVEDIR), 0);
	assert_int_equal(symlinkat("elsewhere", dir, "own"), 0);
	assert_int_equal(install_files(&n->install, &s, INSTALL_DIFFERING, &err), -1);
	assert_non_null(strstr(err.message, "own on the way is a symbolic link"));
	assert_true(faccessat(dir, "elsewhere/imapd.pem", F_OK, 0) < 0);
	const char *last;
	assert_int_equal(fs_open_parent("/usr/../etc/passwd", &last, &err), -1);
	assert_int_equal(fs_open_parent("relative", &last, &err), -1);
	assert_int_equal(fs_open_parent("/usr/", &last, &err), -1);
}

static void one_file_that_fails_does_not_hold_up_another(void **state)
{
	struct node *n = *state;
	auto_set struct file_set s = make_set(1, NULL);
	struct error err;
	struct agent_file files[2] = {
		{.path = scratch_path(n->scratch, "absent/x.pem"), .content = (char[]){"combined"}, .mode = 0600},
		n->file};
	n->service.files = files;
	n->service.file_count = 2;
	assert_int_equal(install_files(&n->install, &s, INSTALL_DIFFERING, &err), -1);
	assert_non_null(strstr(err.message, "absent/x.pem"));
	assert_true(same_file(n, "own/imapd.pem", &s, "combined"));
	free(files[0].path);
}

static void pruning_leaves_the_newest_three_and_what_is_needed(void **state)
{
	const struct node *n = *state;
	const struct revision keep[] = {{1, 2}};
	struct error err;
	for (uint32_t number = 1; number <= 12; number += number == 2 ? 7 : 1) {
		auto_set struct file_set s = make_set(number, NULL);
		write_set(n, &s);
	}
	assert_int_equal(mkdirat(n->install.archive, "mine", 0700), 0);
	assert_int_equal(install_prune(&n->install, keep, 1, &err), 0);
	static const char *const left[] = {"1.2", "1.10", "1.11", "1.12", "mine"}, *const gone[] = {"1.1", "1.9"};
	for (size_t i = 0; i < COUNT(left); i++)
		assert_int_equal(faccessat(n->install.archive, left[i], F_OK, 0), 0);
	for (size_t i = 0; i < COUNT(gone); i++)
		assert_true(faccessat(n->install.archive, gone[i], F_OK, 0) < 0);
}

static void leftovers_are_swept_and_the_newest_whole_set_is_found(void **state)
{
	const struct node *n = *state;
	auto_set struct file_set first = make_set(1, NULL);
	auto_set struct file_set second = make_set(2, NULL);
	auto_set struct file_set found = {0};
	int dir = n->scratch->fd;
	write_set(n, &first);
	write_set(n, &second);
	scratch_write(n->scratch, "archive/mail.domain.pl/1.2/privkey.pem", "cut", 0600);
	mkdirat(n->install.archive, FS_TEMPORARY "set", 0700);
	scratch_write(n->scratch, "archive/mail.domain.pl/" FS_TEMPORARY "set/privkey.pem", "half", 0600);
	close(openat(dir, "own/" FS_TEMPORARY "imapd.pem.12345678", O_CREAT | O_WRONLY, 0600));
	close(openat(dir, "own/theirs", O_CREAT | O_WRONLY, 0600));
	install_sweep(&n->install);
	assert_true(faccessat(n->install.archive, FS_TEMPORARY "set", F_OK, 0) < 0);
	assert_true(faccessat(dir, "own/" FS_TEMPORARY "imapd.pem.12345678", F_OK, 0) < 0);
	assert_int_equal(faccessat(dir, "own/theirs", F_OK, 0), 0);
	assert_int_equal(install_newest(&n->install, ISSUE_NOW, &found), 1);
	assert_int_equal(found.content.revision.number, 1);
	struct file_set none = {0};
	assert_int_equal(install_newest(&n->install, ISSUE_NOW + 1000 * ISSUE_DAY, &none), 0);
}

#define STORY(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORY(a_set_is_written_and_read_again),
		STORY(two_pairs_are_laid_out_for_haproxy_and_postfix),
		STORY(any_change_in_the_archive_is_noticed),
		STORY(any_one_file_that_is_changed_or_lost_is_known_from_the_others),
		STORY(another_content_is_not_taken_for_what_was_there),
		STORY(a_placeholder_is_the_newest_only_when_nothing_else_is_there),
		STORY(a_foreign_key_or_two_of_one_type_make_no_set),
		STORY(the_link_is_switched_and_read),
		STORY(an_own_file_gets_its_content_and_mode),
		STORY(what_is_in_the_place_of_the_link_is_named),
		STORY(an_own_file_gets_its_owner_and_group),
		STORY(a_content_that_a_set_does_not_have_is_named),
		STORY(the_first_pair_is_written_in_der),
		STORY(pkcs12_is_written_once_and_anew_for_another_password),
		STORY(a_placeholder_never_displaces_a_file),
		STORY(links_fifos_and_hard_links_are_replaced_and_not_followed),
		STORY(no_directory_on_the_way_may_be_a_link),
		STORY(one_file_that_fails_does_not_hold_up_another),
		STORY(pruning_leaves_the_newest_three_and_what_is_needed),
		STORY(leftovers_are_swept_and_the_newest_whole_set_is_found),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
