/* Which settings are given an installed certificate, and which file of it; and which settings are left alone. */
#include "agent/cli/adopt/plan.h"
#include "agent/cli/services/find.h"
#include "agent/root/file_set.h"
#include "tests/unit/issue.h"
#include "tests/unit/scratch.h"
#include "tests/unit/set_of.h"

static struct issued authority;

static int make_authority(void **state)
{
	(void)state;
	authority = issue((struct wish){.subject = "test CA", .authority = true});
	return 0;
}

static int free_authority(void **state)
{
	(void)state;
	issued_release(&authority);
	return 0;
}

static struct chain chain_for(const char *san, const char *key_type, bool self_signed)
{
	struct issued leaf = issue((struct wish){
		.subject = "x", .san = san, .key_type = key_type, .issuer = self_signed ? NULL : &authority});
	struct chain c = issued_chain(&leaf, NULL, 0);
	issued_release(&leaf);
	return c;
}

/* Writes the file `name` with a key and its certificate. */
static void put_pem(const struct scratch *s, const char *name, const char *san, const char *key_type, bool self_signed)
{
	struct error err;
	auto_chain struct chain c = chain_for(san, key_type, self_signed);
	auto_buf struct buf pem = BUF_INIT(CHAIN_PEM_MAX);
	assert_int_equal(chain_write_pem(&c, CHAIN_KEY | CHAIN_LEAF, &pem, &err), 0);
	scratch_write(s, name, buf_text(&pem), 0640);
}

/* Makes live/NAME of revision 1.`number`; number 0 makes the placeholder. */
static void install(const struct scratch *s, const char *name, const char *san, unsigned number, bool pair)
{
	struct error err;
	auto_set struct file_set set = {0};
	char text[REVISION_TEXT_MAX];
	struct revision revision = {number ? 1 : 0, number};
	struct chain chains[2] = {chain_for(san, "ecdsa-p256", false), {0}};
	if (pair)
		chains[1] = chain_for(san, "rsa-2048", false);
	assert_int_equal(set_of(revision, chains, pair ? 2 : 1, &set, &err), 0);
	auto_free char *archive = mem_printf("%s/etc/archive/%s", s->path, name);
	auto_free char *live = mem_printf("%s/etc/live", s->path);
	auto_free char *link = mem_printf("etc/live/%s", name);
	auto_free char *target = mem_printf("../archive/%s/%s", name, revision_text(revision, text));
	assert_int_equal(fs_make_directories(archive, 0755, &err), 0);
	assert_int_equal(fs_make_directories(live, 0755, &err), 0);
	auto_close int fd = fs_open_directory(AT_FDCWD, archive, &err);
	assert_int_equal(file_set_write(fd, &set, &err), 0);
	assert_int_equal(fs_link(s->fd, link, target, &err), 0);
	chain_release(&chains[0]);
	chain_release(&chains[1]);
}

static struct agent_config *configure(const struct scratch *s, const char *certificates)
{
	auto_buf struct buf faults = BUF_INIT(4096);
	auto_free char *text =
		mem_printf("hub = {\"ssh://a@b\"}\ndirectory = \"%s/etc\"\nuser = \"root\"\nadmin_group = \"root\"\n%s",
			s->path, certificates);
	auto_free char *path = mem_printf("%s/agent.conf", s->path);
	scratch_write(s, "agent.conf", text, 0640);
	struct agent_config *config = agent_config_load(path, &faults);
	if (!config)
		fail_msg("%s", buf_text(&faults));
	return config;
}

#define SECTION(name, service) \
	"certificate \"" name "\" {\n\tallow = {\"*.domain.pl\"}\n\tservice \"" service "\" { probe = none }\n}\n"

/* Configures an nginx with NAME.pem for each word of `names`, in one server each, or in one for all. */
static void nginx_of(const struct scratch *s, const char *names, bool together, struct found *ret)
{
	struct error err;
	auto_buf struct buf text = BUF_INIT(4096);
	auto_free char *copy = mem_strdup(names);
	auto_free char *path = mem_printf("%s/nginx.conf", s->path);
	char *rest = copy;
	const char *name;
	while ((name = strsep(&rest, " ")))
		buf_addf(&text, "%sssl_certificate %s/%s.pem; ssl_certificate_key %s/%s.pem;\n%s",
			together ? "" : "server {", s->path, name, s->path, name, together ? "" : "}\n");
	scratch_write(s, "nginx.conf", buf_text(&text), 0644);
	*ret = (struct found){.services = mem_array(1, sizeof(*ret->services)), .count = 1};
	ret->services[0].name = "nginx";
	assert_int_equal(nginx_scan(&ret->services[0], s->path, path, &err), 0);
}

static const char *const nobody[] = {NULL};

static void make(
	const struct agent_config *config, const char *const *names, const struct found *found, struct plan *ret)
{
	struct error err;
	if (plan_make(config, names, NULL, found, ret, &err) < 0)
		fail_msg("%s", err.message);
}

static bool tells(struct plan *p, const char *text)
{
	return strstr(buf_text(&p->told), text) != NULL;
}

/* Returns how many certificates are presented now and are to stay. */
static size_t kept(const struct plan *p)
{
	size_t count = 0;
	for (size_t i = 0; i < p->leaf_count; i++)
		count += !p->leaves[i].certificate;
	return count;
}

static void by_names(void **state)
{
	const struct scratch *s = *state;
	auto_found struct found found = {0};
	auto_plan struct plan plan = {0};
	install(s, "mail.domain.pl", "DNS:mail.domain.pl,DNS:*.imap.domain.pl", 7, false);
	put_pem(s, "same.pem", "DNS:mail.domain.pl,DNS:a.imap.domain.pl", "ecdsa-p256", false);
	put_pem(s, "more.pem", "DNS:mail.domain.pl,DNS:www.domain.pl", "ecdsa-p256", false);
	put_pem(s, "self.pem", "DNS:debian", "ecdsa-p256", true);
	struct agent_config *config = configure(s, SECTION("mail.domain.pl", "nginx"));
	nginx_of(s, "same more self missing", false, &found);
	make(config, nobody, &found, &plan);
	assert_int_equal(plan.changed, 1);
	assert_int_equal(plan.left, 3);
	assert_int_equal(kept(&plan), 2);
	assert_true(tells(&plan, "is for mail.domain.pl, www.domain.pl, and mail.domain.pl does not cover that"));
	assert_true(tells(&plan, "self-signed, for debian: name the certificate"));
	assert_true(tells(&plan, "missing.pem: left: there is no such file"));
	auto_free char *line = mem_printf("server {ssl_certificate %s/etc/live/mail.domain.pl/combined.pem; "
					  "ssl_certificate_key %s/etc/live/mail.domain.pl/combined.pem;\n}\nserver "
					  "{ssl_certificate %s/more.pem;",
		s->path, s->path, s->path);
	assert_int_equal(plan.edit.count, 1);
	assert_non_null(strstr(buf_text(&plan.edit.files[0].after), line));
	agent_config_free(config);
}

/* A group that nobody could reload stays, and what has become one with it. */
static void kept_for_a_reason(void **state)
{
	const struct scratch *s = *state;
	auto_found struct found found = {0};
	auto_plan struct plan plan = {0};
	install(s, "mail.domain.pl", "DNS:mail.domain.pl", 7, false);
	put_pem(s, "a.pem", "DNS:mail.domain.pl", "ecdsa-p256", false);
	put_pem(s, "b.pem", "DNS:mail.domain.pl", "ecdsa-p256", false);
	put_pem(s, "c.pem", "DNS:mail.domain.pl", "ecdsa-p256", false);
	struct agent_config *config = configure(s, SECTION("mail.domain.pl", "nginx"));
	nginx_of(s, "a b c", false, &found);
	found_keep(&found.services[0], 1, "it has\na %s", "reason");
	found_join(&found.services[0], 2, 1);
	found_settle(&found.services[0]);
	make(config, nobody, &found, &plan);
	assert_int_equal(plan.changed, 1);
	assert_int_equal(plan.left, 1);
	assert_int_equal(kept(&plan), 2);
	assert_true(tells(&plan, "a.pem: left: it has a reason"));
	agent_config_free(config);
}

/* A certificate that nobody trusts, or that is not there, is replaced by the one that the administrator names. */
static void by_asking(void **state)
{
	const struct scratch *s = *state;
	static const char *const names[] = {"mail.domain.pl", NULL}, *const other[] = {"www.domain.pl", NULL};
	auto_found struct found found = {0};
	auto_plan struct plan plan = {0}, none = {0};
	struct error err;
	install(s, "mail.domain.pl", "DNS:mail.domain.pl", 1, false);
	put_pem(s, "more.pem", "DNS:mail.domain.pl,DNS:www.domain.pl", "ecdsa-p256", false);
	put_pem(s, "self.pem", "DNS:debian", "ecdsa-p256", true);
	struct agent_config *config = configure(s, SECTION("mail.domain.pl", "nginx"));
	nginx_of(s, "more self missing", false, &found);
	make(config, names, &found, &plan);
	assert_int_equal(plan.changed, 2);
	assert_int_equal(plan.left, 1);
	assert_int_equal(plan_make(config, other, NULL, &found, &none, &err), -1);
	assert_int_equal(err.kind, ERROR_USAGE);
	plan_release(&none);
	assert_int_equal(plan_make(config, nobody, "postfix", &found, &none, &err), -1);
	assert_int_equal(err.kind, ERROR_USAGE);
	agent_config_free(config);
}

static void nothing_installed(void **state)
{
	const struct scratch *s = *state;
	static const char *const names[] = {"mail.domain.pl", NULL};
	auto_found struct found found = {0};
	auto_plan struct plan plan = {0}, none = {0};
	struct error err;
	install(s, "mail.domain.pl", "DNS:mail.domain.pl", 0, false);
	put_pem(s, "old.pem", "DNS:mail.domain.pl", "ecdsa-p256", false);
	struct agent_config *config = configure(s, SECTION("mail.domain.pl", "nginx"));
	nginx_of(s, "old", false, &found);
	make(config, nobody, &found, &plan);
	assert_true(tells(&plan, "nothing is installed yet"));
	assert_int_equal(plan.edit.count, 0);
	assert_int_equal(plan_make(config, names, NULL, &found, &none, &err), -1);
	agent_config_free(config);
}

static void no_section(void **state)
{
	const struct scratch *s = *state;
	auto_found struct found found = {0};
	auto_plan struct plan plan = {0};
	install(s, "mail.domain.pl", "DNS:mail.domain.pl", 1, false);
	put_pem(s, "old.pem", "DNS:mail.domain.pl", "ecdsa-p256", false);
	struct agent_config *config = configure(s, SECTION("mail.domain.pl", "dovecot"));
	nginx_of(s, "old", false, &found);
	make(config, nobody, &found, &plan);
	assert_int_equal(plan.changed, 0);
	assert_true(tells(&plan, "no certificate that is installed has a service \"nginx\" in agent.conf"));
	agent_config_free(config);
}

static void each_its_own(void **state)
{
	const struct scratch *s = *state;
	auto_found struct found found = {0};
	auto_plan struct plan plan = {0};
	install(s, "mail.domain.pl", "DNS:mail.domain.pl", 1, false);
	install(s, "www.domain.pl", "DNS:www.domain.pl", 1, false);
	put_pem(s, "mail.pem", "DNS:mail.domain.pl", "ecdsa-p256", false);
	put_pem(s, "www.pem", "DNS:www.domain.pl", "ecdsa-p256", false);
	struct agent_config *config =
		configure(s, SECTION("mail.domain.pl", "nginx") SECTION("www.domain.pl", "nginx"));
	nginx_of(s, "mail www", false, &found);
	make(config, nobody, &found, &plan);
	assert_int_equal(plan.changed, 2);
	assert_int_equal(plan.target_count, 2);
	assert_non_null(strstr(buf_text(&plan.edit.files[0].after), "live/www.domain.pl/combined.pem;\n}"));
	agent_config_free(config);
}

/* What stands in one place changes together, and each that stays is told for its own reason. */
static void in_one_place(void **state)
{
	const struct scratch *s = *state;
	auto_found struct found found = {0};
	auto_plan struct plan plan = {0};
	install(s, "mail.domain.pl", "DNS:mail.domain.pl", 1, false);
	put_pem(s, "mail.pem", "DNS:mail.domain.pl", "ecdsa-p256", false);
	put_pem(s, "www.pem", "DNS:www.domain.pl", "ecdsa-p256", false);
	put_pem(s, "shop.pem", "DNS:shop.domain.pl", "ecdsa-p256", false);
	struct agent_config *config = configure(s, SECTION("mail.domain.pl", "nginx"));
	nginx_of(s, "mail www shop", true, &found);
	make(config, nobody, &found, &plan);
	assert_int_equal(plan.changed, 0);
	assert_int_equal(plan.edit.count, 0);
	auto_free char *joint =
		mem_printf("mail.pem: left: changes only together with %s/www.pem, which is left: is for "
			   "www.domain.pl, and mail.domain.pl does not cover that",
			s->path);
	assert_true(tells(&plan, joint));
	assert_true(tells(&plan, "www.pem: left: is for www.domain.pl, and"));
	assert_true(tells(&plan, "shop.pem: left: is for shop.domain.pl, and"));
	agent_config_free(config);
}

/* When two kinds of key stand in one place, each gets the file of its kind, in whatever order; one alone gets the
 * first. */
static void pairs(void **state)
{
	const struct scratch *s = *state;
	auto_found struct found found = {0}, one = {0};
	auto_plan struct plan plan = {0}, single = {0};
	install(s, "mail.domain.pl", "DNS:mail.domain.pl", 1, true);
	put_pem(s, "ec.pem", "DNS:mail.domain.pl", "ecdsa-p256", false);
	put_pem(s, "rsa.pem", "DNS:mail.domain.pl", "rsa-2048", false);
	struct agent_config *config = configure(s, SECTION("mail.domain.pl", "nginx"));
	nginx_of(s, "rsa ec", true, &found);
	make(config, nobody, &found, &plan);
	auto_free char *live = mem_printf("%s/etc/live/mail.domain.pl", s->path);
	auto_free char *expected =
		mem_printf("ssl_certificate %s/haproxy.pem.rsa; ssl_certificate_key %s/haproxy.pem.rsa;\n"
			   "ssl_certificate %s/haproxy.pem.ecdsa; ssl_certificate_key %s/haproxy.pem.ecdsa;\n",
			live, live, live, live);
	assert_string_equal(buf_text(&plan.edit.files[0].after), expected);
	assert_int_equal(plan.certificates[0].leaf_count, 2);
	nginx_of(s, "rsa", true, &one);
	make(config, nobody, &one, &single);
	assert_non_null(strstr(buf_text(&single.edit.files[0].after), "/combined.pem"));
	one.services[0].uses[0].content = "combined-all";
	plan_release(&single);
	make(config, nobody, &one, &single);
	assert_non_null(strstr(buf_text(&single.edit.files[0].after), "/combined-all.pem"));
	agent_config_free(config);
}

/* The service wants the certificate and its key in two files of its own. */
static void copies(void **state)
{
	const struct scratch *s = *state;
	auto_found struct found found = {.services = mem_array(1, sizeof(struct found_service)), .count = 1};
	auto_plan struct plan plan = {0}, again = {0};
	auto_free char *certificate = mem_printf("%s/exim.pem", s->path);
	auto_free char *key = mem_printf("%s/exim.key", s->path);
	auto_free char *link = mem_printf("%s/link.pem", s->path);
	install(s, "mail.domain.pl", "DNS:mail.domain.pl", 1, false);
	put_pem(s, "exim.pem", "DNS:mail.domain.pl", "ecdsa-p256", false);
	scratch_write(s, "exim.key", "old", 0644);
	assert_int_equal(symlink("exim.pem", link), 0);
	struct agent_config *config = configure(s,
		"certificate \"mail.domain.pl\" { allow = {\"*.domain.pl\"}\n\t# service \"exim4\" {\n"
		"\tservice \"a\" { probe = none file \"/x\" { content = \"cert\" } }\n\tservice \"exim4\" { "
		"probe = none } }\n");
	struct found_service *service = &found.services[0];
	service->name = "exim4";
	service->groups = 2;
	find_copy(service, 1, "tls_certificate", certificate, "fullchain");
	find_copy(service, 1, "tls_privatekey", key, "privkey");
	find_copy(service, 2, "tls_certificate", link, "combined");
	make(config, nobody, &found, &plan);
	assert_int_equal(plan.changed, 1);
	assert_true(tells(&plan, "link.pem: left: is no regular file"));
	assert_int_equal(plan.edit.count, 3);
	const struct edit_file *conf = NULL;
	for (size_t i = 0; i < plan.edit.count; i++)
		if (strstr(plan.edit.files[i].path, "agent.conf"))
			conf = &plan.edit.files[i];
		else
			assert_true(plan.edit.files[i].secret);
	/* others must not be able to read the key, even where they could before */
	for (size_t i = 0; i < plan.edit.count; i++)
		if (strstr(plan.edit.files[i].path, "exim.key"))
			assert_int_equal(plan.edit.files[i].owner.mode, 0640);
	assert_non_null(conf);
	scratch_write(s, "agent.conf", buf_text((struct buf *)(uintptr_t)&conf->after), 0640);
	auto_buf struct buf faults = BUF_INIT(4096);
	struct agent_config *changed = agent_config_load(config->path, &faults);
	assert_string_equal(buf_text(&faults), "");
	const struct agent_service *exim = &changed->certificates[0].services[1];
	assert_int_equal(exim->file_count, 2);
	assert_string_equal(exim->files[0].path, certificate);
	assert_string_equal(exim->files[1].content, "privkey");
	assert_int_equal(exim->files[1].mode, 0640);
	make(changed, nobody, &found, &again);
	assert_int_equal(again.edit.count, 0);
	assert_int_equal(again.done, 1);
	agent_config_free(changed);
	agent_config_free(config);
}

/* A copy would take the key away from a certificate that another service has, and that stays. */
static void copies_shared(void **state)
{
	const struct scratch *s = *state;
	auto_found struct found found = {.services = mem_array(2, sizeof(struct found_service)), .count = 2};
	auto_plan struct plan plan = {0}, again = {0};
	auto_free char *certificate = mem_printf("%s/exim.pem", s->path);
	auto_free char *key = mem_printf("%s/exim.key", s->path);
	auto_free char *shop = mem_printf("%s/shop.pem", s->path);
	install(s, "mail.domain.pl", "DNS:mail.domain.pl", 1, false);
	put_pem(s, "exim.pem", "DNS:mail.domain.pl", "ecdsa-p256", false);
	put_pem(s, "shop.pem", "DNS:www.shop.pl", "ecdsa-p256", false);
	scratch_write(s, "exim.key", "old", 0640);
	struct agent_config *config = configure(s,
		"certificate \"mail.domain.pl\" { allow = {\"*.domain.pl\"}\n\tservice \"exim4\" { probe = none } }\n");
	struct found_service *exim = &found.services[0], *other = &found.services[1];
	exim->name = "exim4";
	other->name = "courier";
	exim->groups = other->groups = 1;
	find_copy(exim, 1, "tls_certificate", certificate, "fullchain");
	find_copy(exim, 1, "tls_privatekey", key, "privkey");
	find_copy(other, 1, "TLS_CERTFILE", certificate, "fullchain");
	find_copy(other, 1, "TLS_PRIVATE_KEYFILE", key, "privkey");
	make(config, nobody, &found, &plan);
	assert_int_equal(plan.changed, 1);
	find_copy(other, 1, "TLS_CERTFILE", shop, "fullchain");
	make(config, nobody, &found, &again);
	assert_int_equal(again.edit.count, 0);
	assert_true(tells(&again, "exim.pem: left: courier has"));
	assert_true(tells(&again, "shop.pem: give each a file of its own"));
	agent_config_free(config);
}

/* What is copied is one of a pair, so that clients of the other kind are told to lose, or keep what they have. */
static void copies_of_a_pair(void **state)
{
	const struct scratch *s = *state;
	auto_found struct found found = {.services = mem_array(1, sizeof(struct found_service)), .count = 1};
	auto_plan struct plan plan = {0}, again = {0};
	auto_free char *ecdsa = mem_printf("%s/ecdsa.pem", s->path);
	auto_free char *rsa = mem_printf("%s/rsa.pem", s->path);
	install(s, "mail.domain.pl", "DNS:mail.domain.pl", 1, true);
	put_pem(s, "ecdsa.pem", "DNS:mail.domain.pl", "ecdsa-p256", false);
	put_pem(s, "rsa.pem", "DNS:mail.domain.pl", "rsa-2048", false);
	struct agent_config *config = configure(s,
		"certificate \"mail.domain.pl\" { allow = {\"*.domain.pl\"}\n\tservice \"exim4\" { probe = none } }\n");
	struct found_service *exim = &found.services[0];
	exim->name = "exim4";
	exim->groups = 2;
	find_copy(exim, 1, "tls_certificate", ecdsa, "combined");
	find_copy(exim, 2, "tls_certificate", rsa, "combined");
	make(config, nobody, &found, &plan);
	assert_true(tells(
		&plan, "keys alone would be cut off, since what is copied has the first key of mail.domain.pl alone"));
	found_join(exim, 1, 2);
	found_settle(exim);
	make(config, nobody, &found, &again);
	assert_int_equal(again.edit.count, 0);
	assert_true(tells(&again, "left: RSA and ECDSA stand side by side"));
	agent_config_free(config);
}

#define STORY(function) cmocka_unit_test_setup_teardown(function, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORY(by_names),
		STORY(kept_for_a_reason),
		STORY(by_asking),
		STORY(nothing_installed),
		STORY(no_section),
		STORY(each_its_own),
		STORY(in_one_place),
		STORY(pairs),
		STORY(copies),
		STORY(copies_shared),
		STORY(copies_of_a_pair),
	};
	return cmocka_run_group_tests(tests, make_authority, free_authority);
}
