/* What an administrator writes into hub.conf and agent.conf, and what they are told about it. */
#include "agent/common/config.h"
#include "hub/common/certificate_at.h"
#include "hub/common/config.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* These users exist everywhere, and root is told about those that are missing. */
#define HUB_HEAD \
	"user = root keys_user = root worker_user = root gate_user = root local_user = root admin_group = root host_keys = {}\n"
#define AGENT_HEAD "user = root admin_group = root\nhub = \"ssh://gate@hub.domain.pl\"\n"

static char directory[] = P_tmpdir "/certsync-test-XXXXXX";
static char *path;

static int make_directory(void **state)
{
	(void)state;
	if (!mkdtemp(directory))
		return -1;
	path = mem_printf("%s/file.conf", directory);
	return 0;
}

static int remove_directory(void **state)
{
	(void)state;
	struct error err;
	free(path);
	return fs_remove_tree(AT_FDCWD, directory, &err);
}

static void write_file(const char *text)
{
	struct error err;
	if (fs_write(AT_FDCWD, path, text, strlen(text), FS_PRIVATE, &err) < 0)
		fail_msg("%s", err.message);
}

/* Returns the faults without the file's path, so that a line reads "12: message". */
static char *without_path(struct buf *faults)
{
	char *text = mem_strdup(buf_text(faults)), *to = text;
	size_t len = strlen(path);
	for (const char *from = text; *from;) {
		if (strncmp(from, path, len) == 0 && from[len] == ':')
			from += len + 1;
		while (*from && *from != '\n')
			*to++ = *from++;
		if (*from)
			*to++ = *from++;
	}
	*to = '\0';
	return text;
}

static struct hub_config *load_hub(const char *text, char **ret_faults)
{
	auto_buf struct buf faults = BUF_INIT(65536);
	write_file(text);
	struct hub_config *h = hub_config_load(path, &faults);
	*ret_faults = without_path(&faults);
	return h;
}

static struct agent_config *load_agent(const char *text, char **ret_faults)
{
	auto_buf struct buf faults = BUF_INIT(65536);
	write_file(text);
	struct agent_config *a = agent_config_load(path, &faults);
	*ret_faults = without_path(&faults);
	return a;
}

static void expect_hub_faults(const char *text, const char *expected)
{
	auto_free char *faults = NULL;
	struct hub_config *h = load_hub(text, &faults);
	assert_string_equal(faults, expected);
	assert_null(h);
}

static void expect_agent_faults(const char *text, const char *expected)
{
	auto_free char *faults = NULL;
	struct agent_config *a = load_agent(text, &faults);
	assert_string_equal(faults, expected);
	assert_null(a);
}

/* Checks that this line of hub.conf has a fault which begins like this. */
static void expect_hub_fault(const char *text, const char *beginning)
{
	auto_free char *whole = mem_printf(HUB_HEAD "%s\n", text);
	auto_free char *faults = NULL;
	struct hub_config *h = load_hub(whole, &faults);
	assert_null(h);
	if (strncmp(faults, beginning, strlen(beginning)) != 0 || strchr(faults, '\n')[1])
		fail_msg("expected one fault \"%s…\", got: %s", beginning, faults);
}

static void hub_example_is_read(void **state)
{
	(void)state;
	auto_free char *faults = NULL;
	struct hub_config *h = load_hub(HUB_HEAD
		"ssh = \"certsync-gate@haproxy.domain.pl:22\"      # how agents reach this hub\n"
		"acme \"letsencrypt\" {\n"
		"	directory = \"https://acme-v02.api.letsencrypt.org/directory\"\n"
		"	contact   = {\"mailto:hostmaster@domain.pl\"}\n"
		"	agree_tos = true\n"
		"}\n"
		"certificate \"mail.domain.pl\" {\n"
		"	acme    = \"letsencrypt\"\n"
		"	names   = {\"mail.domain.pl\", \"smtp.domain.pl\"}\n"
		"	rollout = \"immediate\"\n"
		"}\n"
		"certificate \"a.domain.pl\" { stage_timeout = 90s }\n"
		"agent \"haproxy\" { certificates = {\"mail.domain.pl\", \"a.domain.pl\"}  local = true }\n"
		"agent \"backup1\" { certificates = {\"mail.domain.pl\"}  away_after = \"7d\" }\n",
		&faults);
	assert_string_equal(faults, "");
	assert_non_null(h);
	const struct hub_certificate *mail = hub_config_certificate(h, "mail.domain.pl");
	assert_non_null(mail);
	assert_string_equal(mail->acme->directory, "https://acme-v02.api.letsencrypt.org/directory");
	assert_string_equal(mail->names[1], "smtp.domain.pl");
	assert_null(mail->names[2]);
	assert_int_equal(mail->rollout, ROLLOUT_IMMEDIATE);
	assert_int_equal(mail->stage_timeout, 600);
	assert_int_equal(mail->proceed_after, 86400);
	const struct hub_certificate *other = hub_config_certificate(h, "a.domain.pl");
	assert_int_equal(other->stage_timeout, 90);
	assert_string_equal(other->names[0], "a.domain.pl");
	assert_null(other->acme);
	const struct hub_agent *haproxy = hub_config_agent(h, "haproxy");
	assert_true(haproxy->local && hub_agent_has(haproxy, "a.domain.pl"));
	assert_false(hub_agent_has(hub_config_agent(h, "backup1"), "a.domain.pl"));
	assert_int_equal(hub_config_agent(h, "backup1")->away_after, 7 * 86400);
	assert_null(hub_config_agent(h, "nobody"));
	assert_string_equal(h->state, "/var/lib/certsync-hub");
	assert_int_equal(h->scan_interval, 600);
	hub_config_free(h);
}

static void an_order_is_described(void **state)
{
	(void)state;
	auto_free char *faults = NULL;
	struct hub_config *h =
		load_hub(HUB_HEAD "hooks = /usr/bin\n"
				  "resolvers = {\"127.0.0.1\", \"[::1]:5353\"}\n"
				  "helo = \"[IPv6:2001:db8::1]\"\n"
				  "endpoint x.pl { ports = 25 timeout = 30s }\n"
				  "acme le { directory = https://ca.example/dir agree_tos = yes ari = no }\n"
				  "certificate x.pl {\n"
				  "	acme = le\n"
				  "	names = {\"x.pl\", \"*.x.pl\"}\n"
				  "	key = {\"rsa-2048\", \"ecdsa-p384\"}\n"
				  "	challenge = dns-01 dns_hook = env dns_config = /etc/dns.conf\n"
				  "	dns_fallback = 2m\n"
				  "	profile = shortlived preferred_chain = \"ISRG Root X1\"\n"
				  "	window = {\"03:00-05:00\", \"22:30-00:15\"} on_failure = rollback_all\n"
				  "}\n",
			&faults);
	assert_string_equal(faults, "");
	const struct hub_certificate *c = hub_config_certificate(h, "x.pl");
	assert_string_equal(h->helo, "[IPv6:2001:db8::1]");
	assert_int_equal(h->endpoints[0].timeout, 30);
	assert_false(c->acme->ari);
	assert_string_equal(c->key_type, "rsa-2048");
	assert_string_equal(c->second_key_type, "ecdsa-p384");
	assert_string_equal(c->dns_hook, "/usr/bin/env");
	assert_true(c->dns_wait == 120 && !c->dns_by_resolvers);
	assert_int_equal(c->on_failure, ROLLOUT_ROLLBACK_ALL);
	assert_int_equal(c->window_count, 2);
	assert_int_equal(c->windows[1].from, 22 * 60 + 30);
	assert_int_equal(c->windows[1].to, 15);
	assert_int_equal(c->preflight, HUB_PREFLIGHT_WARN);
	auto_buf struct buf first = BUF_INIT(65536), second = BUF_INIT(65536);
	hub_config_print(h, &first);
	hub_config_free(h);
	free(faults);
	h = load_hub(buf_text(&first), &faults);
	assert_string_equal(faults, "");
	hub_config_print(h, &second);
	assert_string_equal(buf_text(&first), buf_text(&second));
	hub_config_free(h);
}

static void checks_and_alerts_are_described(void **state)
{
	(void)state;
	auto_free char *faults = NULL;
	struct hub_config *h =
		load_hub(HUB_HEAD "page = 127.0.0.1:8403\n"
				  "certificate mail.x.pl { names = {\"mail.x.pl\", \"smtp.x.pl\"} }\n"
				  "endpoint smtp.x.pl { ports = {25, 993} interval = 1m }\n"
				  "endpoint smtp.x.pl { ports = {\"10025+proxy\"} at = {10.0.0.4, \"2001:db8::1\"} }\n"
				  "alert {\n"
				  "	email = {hostmaster@x.pl} from = certsync@x.pl\n"
				  "	webhook = {\"https://chat.x.pl/hooks/certsync\"}\n"
				  "	expiring = 21d for = 0s\n"
				  "}\n",
			&faults);
	assert_string_equal(faults, "");
	assert_int_equal(h->endpoint_count, 2);
	assert_string_equal(h->endpoints[1].certificate->name, "mail.x.pl");
	assert_string_equal(h->endpoints[1].at[1], "2001:db8::1");
	assert_int_equal(h->endpoints[0].interval, 60);
	assert_string_equal(h->alert.smtp, "smtp://127.0.0.1:25");
	assert_int_equal(h->alert.expiring, 21 * 86400);
	auto_buf struct buf first = BUF_INIT(65536), second = BUF_INIT(65536);
	hub_config_print(h, &first);
	hub_config_free(h);
	free(faults);
	h = load_hub(buf_text(&first), &faults);
	assert_string_equal(faults, "");
	hub_config_print(h, &second);
	assert_string_equal(buf_text(&first), buf_text(&second));
	hub_config_free(h);
	expect_hub_fault("endpoint x.pl { ports = {notaport} }", "2: ports: \"notaport\"");
	expect_hub_fault("endpoint x.pl { ports = {25} at = {host.x.pl} }", "2: at: \"host.x.pl\" is not an address");
	expect_hub_fault("alert { email = {someone@x.pl} }", "2: email: from is missing");
	expect_hub_fault("alert { webhook = {\"ftp://x.pl/\"} }", "2: webhook: \"ftp://x.pl/\" is not");
	expect_hub_fault("page = 0.0.0.0:80", "2: page: \"0.0.0.0:80\" is not a loopback address");
}

static void what_is_printed_reads_back_the_same(void **state)
{
	(void)state;
	auto_free char *faults = NULL;
	auto_buf struct buf first = BUF_INIT(65536), second = BUF_INIT(65536);
	struct hub_config *h =
		load_hub(HUB_HEAD "ssh = 'gate@hub'\n"
				  "acme le { directory = \"https://ca.example/\\\\\\\"dir\" agree_tos = yes }\n",
			&faults);
	assert_null(h); /* the file is refused, because a URL has no quote, but the value was read up to its end */
	free(faults);
	h = load_hub(HUB_HEAD "acme le { directory = https://ca.example/dir agree_tos = yes }\n"
			      "certificate x.pl { acme = le key = rsa-2048 renew_before = 36h proceed_after = 0s}\n"
			      "agent m { certificates = x.pl away_after = 90m }\n",
		&faults);
	assert_string_equal(faults, "");
	hub_config_print(h, &first);
	hub_config_free(h);
	free(faults);
	assert_non_null(strstr(buf_text(&first), "\trenew_before = \"36h\"\n"));
	assert_non_null(strstr(buf_text(&first), "http = \"127.0.0.1:8402\"\n"));
	h = load_hub(buf_text(&first), &faults);
	assert_string_equal(faults, "");
	hub_config_print(h, &second);
	hub_config_free(h);
	assert_string_equal(buf_text(&first), buf_text(&second));
}

#define NAMED_ACME(name, more) "acme " name " { directory = https://" name ".example/dir agree_tos = yes " more " }\n"

static void several_authorities_are_asked_each_in_its_own_way(void **state)
{
	(void)state;
	auto_free char *faults = NULL, *again = NULL;
	auto_buf struct buf first = BUF_INIT(65536), second = BUF_INIT(65536);
	struct hub_config *h = load_hub(
		HUB_HEAD NAMED_ACME("one", "profile = shortlived") NAMED_ACME("two", "preferred_chain = R2") NAMED_ACME(
			"three",
			"profile = classic") "certificate x.pl { acme = {one, two, three} profile = tlsserver }\n"
					     "certificate y.pl { acme = {one, two} }\n",
		&faults);
	assert_string_equal(faults, "");
	const struct hub_certificate *x = hub_config_certificate(h, "x.pl"), *y = hub_config_certificate(h, "y.pl");
	static const char *const profiles[] = {"tlsserver", NULL, "classic"};
	assert_int_equal(x->acme_count, COUNT(profiles));
	assert_ptr_equal(x->acme, x->acmes[0]);
	for (size_t i = 0; i < COUNT(profiles); i++) {
		const struct hub_certificate there = certificate_at(x, i);
		assert_ptr_equal(there.acme, x->acmes[i]);
		assert_string_equal(there.profile ? there.profile : "none", profiles[i] ? profiles[i] : "none");
		assert_string_equal(there.preferred_chain ? there.preferred_chain : "none", i == 1 ? "R2" : "none");
	}
	assert_string_equal(certificate_at(y, 0).profile, "shortlived");
	hub_config_print(h, &first);
	hub_config_free(h);
	h = load_hub(buf_text(&first), &again);
	assert_string_equal(again, "");
	hub_config_print(h, &second);
	hub_config_free(h);
	assert_string_equal(buf_text(&first), buf_text(&second));
	expect_hub_fault(NAMED_ACME("one", "") "certificate x.pl { acme = {one, two} }",
		"3: acme: there is no section acme \"two\"");
	expect_hub_fault(
		NAMED_ACME("one", "") "certificate x.pl { acme = {one, one} }", "3: acme: one is listed twice");
	expect_hub_fault(NAMED_ACME("a", "") NAMED_ACME("b", "") NAMED_ACME("c", "") NAMED_ACME("d", "")
				 NAMED_ACME("e", "") "certificate x.pl { acme = {a, b, c, d, e} }",
		"7: acme: 5 authorities, and 4 are enough");
}

static void agent_example_is_read_and_printed(void **state)
{
	(void)state;
	auto_free char *faults = NULL, *again = NULL;
	auto_buf struct buf first = BUF_INIT(65536), second = BUF_INIT(65536);
	struct agent_config *a = load_agent(AGENT_HEAD
		"hub += {\"ssh://gate@[2001:db8::1]:2222\", 'unix:///run/certsync-hub/local.sock'}\n"
		"certificate \"mail.domain.pl\" {\n"
		"	allow = {\"*.domain.pl\"}\n"
		"	service \"postfix\" { probe = {\"127.0.0.1:25\", \"[::1]:10025/smtp+proxy\"} sni = "
		"mx.domain.pl instance = {\"-f\", \"/etc/a \\\\ b\"} }\n"
		"	service \"courier\" {\n"
		"		probe = none\n"
		"		hook = /usr/local/bin/reload\n"
		"		file \"/etc/courier/imapd.pem\" { content = \"combined\" group = root mode = "
		"\"0640\" }\n"
		"		file \"/etc/own.p12\" { content = pkcs12 password_file = /etc/own.password }\n"
		"	}\n"
		"}\n",
		&faults);
	assert_string_equal(faults, "");
	assert_int_equal(a->hub_count, 3);
	assert_string_equal(a->hubs[0].user, "gate");
	assert_string_equal(a->hubs[0].host, "hub.domain.pl");
	assert_int_equal(a->hubs[0].port, 22);
	assert_string_equal(a->hubs[1].host, "2001:db8::1");
	assert_int_equal(a->hubs[1].port, 2222);
	assert_string_equal(a->hubs[2].path, "/run/certsync-hub/local.sock");
	const struct agent_certificate *mail = agent_config_certificate(a, "mail.domain.pl");
	assert_int_equal(mail->service_count, 2);
	assert_string_equal(mail->services[0].probe[1], "[::1]:10025/smtp+proxy");
	assert_string_equal(mail->services[0].sni, "mx.domain.pl");
	assert_string_equal(mail->services[0].instance[1], "/etc/a \\ b");
	assert_null(mail->services[0].instance[2]);
	assert_null(mail->services[1].instance[0]);
	assert_non_null(strstr(mail->services[0].hook, "/hooks/postfix"));
	assert_null(mail->services[1].probe[0]);
	assert_string_equal(mail->services[1].sni, "mail.domain.pl");
	assert_int_equal(mail->services[1].files[0].mode, 0640);
	agent_config_print(a, &first);
	agent_config_free(a);
	a = load_agent(buf_text(&first), &again);
	assert_string_equal(again, "");
	agent_config_print(a, &second);
	agent_config_free(a);
	assert_string_equal(buf_text(&first), buf_text(&second));
}

static void every_fault_of_meaning_comes_in_one_run_with_its_line(void **state)
{
	(void)state;
	expect_hub_faults(
		"user = root keys_user = root worker_user = root gate_user = root local_user = root admin_group = root host_keys = {}\n" /* 1 */
		"ssh = \"gate@hub\" # a comment moves no line\n"
		"/* nor does\n"
		"   this one */ http = \"0.0.0.0:80\"\n"
		"// nor this\n"
		"state = relative\n" /* 6 */
		"ssh = \"nobody\"\n"
		"acme \"le\" {\n"
		"	directory = \"http://ca.example/dir\"\n"
		"}\n" /* 10 */
		"certificate\n"
		"  \"Mail.domain.pl\" {\n"
		"	acme = \"le\"\n"
		"	watch = \"certs\"\n"
		"	rollout = \"later\"\n" /* 15 */
		"	stage_timeout = \"10\"\n"
		"	activate_timeout = \"2h\"\n"
		"}\n"
		"certificate \"x.pl\" { key = dsa acme = \"other\" }\n"
		"certificate \"x.pl\" { names = {\"a b\"} }\n" /* 20 */
		"agent \"a\" { certificates = {\"x.pl\", \"y.pl\"} local = true }\n"
		"agent \"-b\" { local = true\n"
		"	away_after = \"soon\" }\n",
		"4: http: \"0.0.0.0:80\" is not a loopback address with a port, like 127.0.0.1:8402 or "
		"[::1]:8402: HAProxy is "
		"the door to the world\n"
		"6: state: relative is not an absolute path without \"//\", \".\" and \"..\"\n"
		"7: ssh is given twice, first in line 2\n"
		"7: ssh: \"nobody\" is not of the form user@host or user@host:port\n"
		"8: acme \"le\": the CA issues only to those who agree to its terms of service: read them "
		"and write "
		"agree_tos = true\n"
		"9: directory: http://ca.example/dir is not an https URL\n"
		"12: certificate \"Mail.domain.pl\": the name is a host name in lower case: a-z 0-9 - _, "
		"with dots between\n"
		"14: watch: certs is not an absolute path without \"//\", \".\" and \"..\"\n"
		"14: certificate \"Mail.domain.pl\" has both acme and watch: only one may be its source\n"
		"15: rollout: \"later\" is not one of together, immediate\n"
		"16: stage_timeout: \"10\" is not a duration: write a number and one of s m h d, like "
		"\"90s\" or \"24h\"\n"
		"17: activate_timeout: \"2h\" is outside of \"45s\" to \"1h\"\n"
		"19: key: \"dsa\" is not one of ecdsa-p256, ecdsa-p384, rsa-2048, rsa-3072, rsa-4096\n"
		"19: acme: there is no section acme \"other\"\n"
		"20: certificate \"x.pl\" is given twice, first in line 19\n"
		"20: names: \"a b\" is not a DNS name\n"
		"21: certificates: there is no section certificate \"y.pl\"\n"
		"22: agent \"-b\": the name may have a-z 0-9 . _ -, up to 63 of them, and begins with a "
		"letter or digit\n"
		"22: agent \"-b\" is local, and so is \"a\": only one agent can run on the hub's own node\n"
		"23: away_after: \"soon\" is not a duration: write a number and one of s m h d, like \"90s\" "
		"or \"24h\"\n");
}

static void single_faults_of_the_hub_are_named(void **state)
{
	(void)state;
	expect_hub_fault("certificate x.pl { watch = /etc/passwd/certs }",
		"2: watch: /etc/passwd/certs cannot be reached: Not a directory");
	expect_hub_fault(
		"certificate x.pl { watch = /dev/null }", "2: watch: /dev/null is neither a directory nor a file");
	expect_hub_fault("acme le { directory = https://ca/dir agree_tos = true }\n"
			 "certificate x.pl { acme = le names = {\"*.x.pl\"} }",
		"3: names: *.x.pl: a CA does not issue wildcards by http-01");
	expect_hub_fault("acme le { directory = https://ca/dir agree_tos = true }\n"
			 "certificate x.pl { acme = le challenge = tls-alpn-01 names = {\"*.x.pl\"} }",
		"3: names: *.x.pl: a CA does not issue wildcards by tls-alpn-01");
	expect_hub_fault("tls_alpn = \"192.0.2.1:443\"", "2: tls_alpn: \"192.0.2.1:443\" is not a loopback address");
	expect_hub_fault("acme le { directory = https://ca.example/dir agree_tos = yes eab_kid = k }",
		"2: acme \"le\": eab_kid and eab_hmac");
	expect_hub_fault("acme le { directory = https://ca.example/dir agree_tos = yes }\n"
			 "certificate x.pl {\nacme = le\nprofile = shortlived\nrenew_before = 30d }",
		"6: renew_before: 30d0h is more than two thirds of a certificate of 6d16h");
	expect_hub_fault("certificate x.pl { must_staple = yes }", "2: must_staple: CAs have ended OCSP");
	expect_hub_fault("certificate x.pl { key = rsa-2048 }", "2: key: it is for a certificate with acme");
	expect_hub_fault("certificate x.pl { window = {\"03:00-25:00\"} }", "2: window: \"03:00-25:00\" is not");
	expect_hub_fault("certificate x.pl { on_failure = never }", "2: on_failure: \"never\" is not one of");
	expect_hub_fault("resolvers = {\"dns.example\"}", "2: resolvers: \"dns.example\" is not an address");
	expect_hub_fault("helo = haproxy", "2: helo: \"haproxy\" is neither a name with a dot");
	expect_hub_fault("helo = \"[192.0.2]\"", "2: helo: \"[192.0.2]\" is neither a name with a dot");
	expect_hub_fault("endpoint x.pl { ports = 25 timeout = 2m }", "2: timeout: ");
	expect_hub_fault("agent a { }\nagent a { }", "3: agent \"a\" is given twice, first in line 2");
	expect_hub_fault("acme le { agree_tos = true }", "2: acme \"le\": directory is missing");
	expect_hub_fault("certificate x.pl {}\nagent a { certificates = {x.pl, x.pl} }",
		"3: certificates: x.pl is listed twice");
	expect_hub_fault("host_keys += /nonexistent.pub", "2: host_keys: /nonexistent.pub: No such file");
	expect_hub_fault("http = \"[::1]:0\"", "2: http: \"[::1]:0\" is not a loopback address");
	expect_hub_fault("ssh = \"\"", "2: ssh is empty");
}

static void root_is_told_of_users_that_do_not_exist(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	expect_hub_faults(
		"host_keys = {} user = root keys_user = root worker_user = root local_user = nobody-like-this gate_user = nobody-like-this\n"
		"admin_group = no-group-like-this\nagent a { local = true }\n",
		"1: local_user: there is no user nobody-like-this on this machine: create it (adduser "
		"--system), or name "
		"another\n"
		"2: admin_group: there is no group no-group-like-this on this machine: create it (addgroup "
		"--system), or "
		"name another\n");
}

/* Returns `each` so many times in a row, each with its number. */
static char *repeated(const char *before, const char *each, int count, const char *after)
{
	auto_buf struct buf text = BUF_INIT(65536);
	buf_addf(&text, "%s", before);
	for (int i = 0; i < count; i++) {
		const char *mark = strchr(each, '#');
		buf_addf(&text, "%.*s%d%s", (int)(mark - each), each, i + 1, mark + 1);
	}
	buf_addf(&text, "%s", after);
	return mem_strdup(buf_text(&text));
}

static void more_than_an_agent_can_tell_is_a_fault(void **state)
{
	(void)state;
	static const struct {
		const char *before, *each, *after, *fault;
		int most;
	} cases[] = {
		{AGENT_HEAD, "certificate c#.pl { allow = \"c.pl\" }\n", "",
			"67: 65 certificates: 64 at most on one node\n", 64},
		{AGENT_HEAD "certificate c.pl {\nallow = \"c.pl\"\n", "service s# { probe = none }\n", "}\n",
			"3: certificate \"c.pl\": 17 services: 16 at most\n", 16},
		{AGENT_HEAD "certificate c.pl {\nallow = \"c.pl\"\nservice s { probe = {\"127.0.0.1:1\"",
			", \"127.0.0.1:10#\"", "} } }\n",
			"3: certificate \"c.pl\": 65 endpoints to probe: 64 at most\n", 63},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		auto_free char *faults = NULL;
		auto_free char *most = repeated(cases[i].before, cases[i].each, cases[i].most, cases[i].after);
		auto_free char *over = repeated(cases[i].before, cases[i].each, cases[i].most + 1, cases[i].after);
		struct agent_config *a = load_agent(most, &faults);
		assert_string_equal(faults, "");
		assert_non_null(a);
		agent_config_free(a);
		expect_agent_faults(over, cases[i].fault);
	}
}

static void faults_of_the_agent_are_named(void **state)
{
	(void)state;
	expect_agent_faults("user = root admin_group = root\n"
			    "certificate \"mail.domain.pl\" {\n"
			    "	service \"Postfix\" { probe = {\"localhost:25\", \"127.0.0.1:99999\", "
			    "\"127.0.0.1:25/irc\"} }\n"
			    "	service \"dovecot\" { timeout = \"0s\" instance = {\"-f\", \"\"} }\n"
			    "	service \"exim4\" { probe = {}\n"
			    "		file \"etc/x.pem\" { content = \"key\" mode = \"640\" }\n"
			    "		file \"/etc/y.pem\" { content = \"combined\" mode = \"0644\" }\n"
			    "	}\n"
			    "	service \"nginx\" { probe = none file \"/etc/y.pem\" { content = cert mode = "
			    "\"rw\" } }\n"
			    "	service \"tomcat\" { probe = none\n"
			    "		file \"/etc/a.p12\" { content = pkcs12 }\n"
			    "		file \"/etc/b.p12\" { content = pkcs12 password_file = \"b\" mode = "
			    "\"0644\" }\n"
			    "		file \"/etc/c.der\" { content = privkey-der mode = \"0604\" }\n"
			    "		file \"/etc/d.der\" { content = cert-der mode = \"0644\" password_file = "
			    "/etc/d }\n"
			    "	}\n"
			    "}\n",
		"1: hub is missing: say where the hub is, as `certsync agent add` prints it: "
		"hub = {\"ssh://certsync-gate@haproxy.domain.pl:22\"}\n"
		"2: certificate \"mail.domain.pl\": allow is missing: list the names that the hub may put "
		"into it, like "
		"{\"*.domain.pl\"}; * is one label\n"
		"3: service \"Postfix\": the name is its hook's file name: a-z 0-9 . _ -, up to 63, "
		"beginning with a letter or "
		"digit\n"
		"3: probe: endpoint \"localhost:25\": \"localhost\" is not an IP address; names are not "
		"resolved here\n"
		"3: probe: endpoint \"127.0.0.1:99999\": the port must be a number from 1 to 65535\n"
		"3: probe: endpoint \"127.0.0.1:25/irc\": protocol \"irc\" is not known; known are smtp lmtp imap pop3 "
		"sieve ftp nntp ldap xmpp xmpp-server postgres mysql (STARTTLS), smtps imaps pop3s ftps nntps ldaps xmpps tls "
		"(TLS at once)\n"
		"4: service \"dovecot\": probe is missing: list the ports where it serves the certificate, "
		"like "
		"{\"127.0.0.1:993\"}, or write probe = none\n"
		"4: instance: a word is empty: list those that the service is started with, like {\"-f\", "
		"\"/etc/haproxy/haproxy.cfg\"}\n"
		"4: timeout: \"0s\" is outside of \"1s\" to \"1h\"\n"
		"5: service \"exim4\": probe is missing: list the ports where it serves the certificate, "
		"like "
		"{\"127.0.0.1:993\"}, or write probe = none\n"
		"6: file \"etc/x.pem\": not the absolute path of a file, without \"//\", \".\" and \"..\"\n"
		"6: content: \"key\" is not one of privkey, cert, chain, fullchain, combined, "
		"pkcs12, cert-der, privkey-der\n"
		"7: mode: \"0644\" would give the private key in /etc/y.pem to every user: take \"0640\" and "
		"a group\n"
		"9: mode: \"rw\" is not an octal mode like \"0640\"\n"
		"9: file \"/etc/y.pem\" is written by another section too, in line 7\n"
		"11: content: \"pkcs12\" needs password_file = \"/path\" beside it: a file of root's, mode 0600, "
		"with the password on one line\n"
		"12: password_file: b is not an absolute path without \"//\", \".\" and \"..\"\n"
		"12: mode: \"0644\" would give the private key in /etc/b.p12 to every user: take \"0640\" and "
		"a group\n"
		"13: mode: \"0604\" would give the private key in /etc/c.der to every user: take \"0640\" and "
		"a group\n"
		"14: password_file: it is for content \"pkcs12\", and this is \"cert-der\"\n");
}

/* Each line stands alone in a file that is otherwise sound. */
static void each_thing_that_cannot_be_is_told_by_itself(void **state)
{
#define MAIL(rest) "certificate m.pl { acme = ca " rest " }\n"
#define TEN(c) \
	c "0.pl, " c "1.pl, " c "2.pl, " c "3.pl, " c "4.pl, " c "5.pl, " c "6.pl, " c "7.pl, " c "8.pl, " c "9.pl, "
#define DNS(rest) MAIL("challenge = dns-01 dns_hook = \"/bin/true\" " rest)
#define ACME(rest) "acme ca { directory = \"https://ca.domain.pl\" agree_tos = true " rest " }\n"
#define ALERT(rest) "alert { email = {\"a@domain.pl\"} from = \"b@domain.pl\" " rest " }\n"
	(void)state;
	static const struct {
		const char *text, *fault;
	} cases[] = {
		{"acme \"Ca\" { directory = \"https://ca.domain.pl\" agree_tos = true }\n",
			"acme \"Ca\": the name may have a-z 0-9 . _ -"},
		{ACME("contact = {\"me@domain.pl\"}"), "contact: me@domain.pl is not of the form mailto:name@domain"},
		{ACME("eab_kid = k"), "acme \"ca\": eab_kid and eab_hmac belong together"},
		{ACME("eab_kid = k eab_hmac = \"/nonexistent/hmac\""), "eab_hmac: /nonexistent/hmac: No such file"},
		{ACME("ca_file = \"/nonexistent/ca\""), "ca_file: /nonexistent/ca: No such file"},
		{ACME("") MAIL("key = {rsa-2048, rsa-3072}"), "key: one type, or two for two pairs"},
		{ACME("") MAIL("reuse_key = true next_key = true"), "next_key: with reuse_key there is no next key"},
		{ACME("") MAIL("must_staple = true"), "must_staple: CAs have ended OCSP"},
		{ACME("") MAIL("names = {a.pl, A.pl}"), "names: A.pl is listed twice"},
		{ACME("") MAIL("names = {a.pl, 192.0.2.1}"), "names: \"192.0.2.1\" is an address and not a DNS name"},
		{ACME("") MAIL("challenge = dns-01 dns_hook = \"/nonexistent/hook\""),
			"dns_hook: /nonexistent/hook: No such file"},
		{ACME("") MAIL("challenge = dns-01"), "challenge: dns-01 needs dns_hook"},
		{ACME("") MAIL("dns_hook = \"/bin/true\""),
			"dns_hook: it is for challenge = \"dns-01\", and this is http-01"},
		{ACME("") MAIL("challenge = tls-alpn-01 dns_hook = \"/bin/true\""),
			"dns_hook: it is for challenge = \"dns-01\", and this is tls-alpn-01"},
		{ACME("") MAIL("dns_fallback = resolvers"),
			"dns_fallback: it is for challenge = \"dns-01\", and this is http-01"},
		{ACME("") DNS("dns_fallback = nothing"), "dns_fallback: \"nothing\" is neither none nor resolvers nor"},
		{ACME("") DNS("dns_fallback = 2x"), "dns_fallback: \"2x\" is not a duration"},
		{ACME("") DNS("dns_fallback = 0s"), "dns_fallback: \"0s\" is outside of \"1s\" to \"1d\""},
		{ACME("") DNS("dns_fallback = 11m"),
			"dns_fallback: a fixed wait of 660 seconds is longer than dns_timeout"},
		{"certificate m.pl { dns_fallback = resolvers }\n", "dns_fallback"},
		{"acme ca { directory = \"https://acme-v02.api.letsencrypt.org/directory\" agree_tos = true }\n" MAIL(
			 "profile = tlsserver names = {" TEN("a") TEN("b") TEN("c") "}"),
			"names: 30 are listed, and Let's Encrypt takes at most 25"},
		{"certificate m.pl { watch = {\"/a/b\", \"/a/b/\"} }\n", "watch: /a/b is listed twice"},
		{"certificate m.pl { watch = {/1, /2, /3, /4, /5, /6, /7, /8, /9, /10, /11, /12, /13, /14, /15, /16, /17} }\n",
			"watch: 17 are listed, and at most 8 can be"},
		{"endpoint m.pl {}\n", "endpoint \"m.pl\": ports is missing"},
		{"endpoint \"m..pl\" { ports = {25} }\n", "endpoint \"m..pl\": it is not a DNS name"},
		{"endpoint m.pl { ports = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17} }\n",
			"ports: 17 are listed, and at most 16 can be"},
		{"endpoint m.pl { ports = {25} certificate = \"other.pl\" }\n",
			"certificate: there is no section certificate \"other.pl\""},
		{"endpoint m.pl { ports = {25} at = {localhost} }\n", "at: \"localhost\" is not an address"},
		{"alert { email = {\"domain.pl\"} from = \"b@domain.pl\" }\n",
			"email: \"domain.pl\" is not of the form name@domain"},
		{"alert { email = {\"a@domain.pl\"} from = \"b\" }\n", "from: \"b\" is not of the form name@domain"},
		{"alert { email = {\"a@domain.pl\"} }\n", "email: from is missing"},
		{ALERT("smtp = \"smtp://user@127.0.0.1\""),
			"smtp: \"smtp://user@127.0.0.1\" is not of the form smtp://host:port"},
		{ALERT("smtp_user = a"), "smtp_user and smtp_password belong together"},
		{ALERT("smtp_user = a smtp_password = \"/nonexistent/p\""),
			"smtp_password: /nonexistent/p: No such file"},
		{"alert { webhook = {\"ftp://a\"} }\n", "webhook: "},
		{"alert { command = \"/nonexistent/c\" }\n", "command: /nonexistent/c: No such file"},
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		auto_free char *faults = NULL;
		auto_free char *text = mem_printf(HUB_HEAD "ssh = \"a@b\"\n%s", cases[i].text);
		struct hub_config *h = load_hub(text, &faults);
		if (h || !strstr(faults, cases[i].fault) || strchr(faults, '\n') != faults + strlen(faults) - 1)
			print_error("%s: not \"%s\" alone but \"%s\"\n", cases[i].text, cases[i].fault, faults);
		assert_null(h);
		assert_non_null(strstr(faults, cases[i].fault));
		assert_ptr_equal(strchr(faults, '\n'), faults + strlen(faults) - 1); /* there is no second line */
	}
}

/* Whatever stands where it cannot is told together with all other faults of that file. */
static void what_has_no_row_is_named(void **state)
{
	(void)state;
	expect_hub_faults(HUB_HEAD "ssh = {a@b}\n"
				   "nonsense = 1\n"
				   "http += 127.0.0.1:80\n" /* 4 */
				   "alert = x\n"
				   "state \"x\" { a = b }\n"
				   "daemon { c = d }\n" /* 7 */
				   "alert \"mail\" { for = 1m }\n"
				   "alert { smtp_port = 25 }\n"
				   "agent { local = perhaps }\n" /* 10 */
				   "agent \"a\" { local = {} names = {a, b}\n"
				   "	endpoint \"x\" { } }\n"
				   "run = {}\n",
		"2: ssh: it has one value, not a list in braces\n"
		"3: there is no key nonsense\n"
		"4: http: it has one value, and += adds to lists\n"
		"5: alert is a section, not a key\n"
		"6: state is a key, not a section\n"
		"7: there is no section daemon\n"
		"8: alert: this section has no title\n"
		"9: alert is given twice, first in line 8\n"
		"10: agent: its title is missing: agent \"…\" { … }\n"
		"10: local: \"perhaps\" is neither true nor false\n"
		"11: there is no key names in section agent\n"
		"11: local: it has one value, not a list in braces\n"
		"12: there is no section endpoint in section agent\n"
		"13: run: it has one value, not a list in braces\n");
}

static void all_faults_of_syntax_come_in_one_run(void **state)
{
	(void)state;
	expect_hub_faults("# one\n"
			  "ssh = \"gate@${HOST}\"\n"
			  "state /var/lib/x\n"
			  "nonsense = 1\n" /* this is told only once the file can be read */
			  "http = \n"
			  "agent \"a\" { certificates = {x y} }\n"
			  "}\n",
		"2: ${…} is not expanded here: write the value itself\n"
		"3: state: neither = nor { follows\n"
		"5: http: no value follows the =\n"
		"6: certificates: a comma is missing in front of y\n"
		"7: this } closes nothing\n");
	/* Nothing of a broken file may be left when the next one is read. */
	auto_free char *faults = NULL;
	struct hub_config *h = load_hub(HUB_HEAD "ssh = a@b\n", &faults);
	assert_string_equal(faults, "");
	assert_string_equal(h->ssh, "a@b");
	hub_config_free(h);
}

/* The first versions read these files with libconfuse; what it accepted is accepted still. */
static void what_was_taken_once_is_taken(void **state)
{
	(void)state;
	auto_free char *faults = NULL;
	struct hub_config *h =
		load_hub(HUB_HEAD "ssh=\n'a@b'/* c */alert{for=1m}\r\n"
				  "resolvers = 192.0.2.1 resolvers += {192.0.2.2,} resolvers += {}\n"
				  "'acme' le{directory=https://ca.pl//d#c\nagree_tos = YES limits = \"Off\"}\n"
				  "certificate\n\"x.pl\"\n{}agent\"m\"{certificates={\n\"x.pl\"}}",
			&faults);
	assert_string_equal(faults, "");
	assert_string_equal(h->ssh, "a@b");
	assert_int_equal(h->alert.hold, 60);
	assert_string_equal(h->resolvers[1], "192.0.2.2");
	assert_null(h->resolvers[2]);
	assert_string_equal(h->acmes[0].directory, "https://ca.pl//d");
	assert_true(h->acmes[0].agree_tos && !h->acmes[0].limits);
	assert_true(hub_agent_has(hub_config_agent(h, "m"), "x.pl"));
	hub_config_free(h);
}

static void a_missing_file_is_named(void **state)
{
	(void)state;
	auto_buf struct buf faults = BUF_INIT(65536);
	assert_null(hub_config_load("/nonexistent/hub.conf", &faults));
	assert_string_equal(buf_text(&faults), "cannot open /nonexistent/hub.conf: No such file or directory\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hub_example_is_read),
		cmocka_unit_test(an_order_is_described),
		cmocka_unit_test(checks_and_alerts_are_described),
		cmocka_unit_test(what_is_printed_reads_back_the_same),
		cmocka_unit_test(several_authorities_are_asked_each_in_its_own_way),
		cmocka_unit_test(agent_example_is_read_and_printed),
		cmocka_unit_test(every_fault_of_meaning_comes_in_one_run_with_its_line),
		cmocka_unit_test(single_faults_of_the_hub_are_named),
		cmocka_unit_test(root_is_told_of_users_that_do_not_exist),
		cmocka_unit_test(more_than_an_agent_can_tell_is_a_fault),
		cmocka_unit_test(faults_of_the_agent_are_named),
		cmocka_unit_test(each_thing_that_cannot_be_is_told_by_itself),
		cmocka_unit_test(what_has_no_row_is_named),
		cmocka_unit_test(all_faults_of_syntax_come_in_one_run),
		cmocka_unit_test(what_was_taken_once_is_taken),
		cmocka_unit_test(a_missing_file_is_named),
	};
	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
