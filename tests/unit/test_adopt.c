/* How each kind of configuration is read and changed: what one would write by hand, and nothing else. */
#include "agent/cli/adopt/edit.h"
#include "agent/cli/services/find.h"
#include "agent/cli/services/tokens.h"
#include "tests/unit/scratch.h"

/* Checks what the file is after each use was replaced by what stands there; '@' stands for LIVE. */
static void expect_edit(
	const struct scratch *s, const struct found_service *found, const char *name, const char *expected)
{
	struct error err;
	auto_edit struct edit e = {0};
	auto_free char *path = mem_printf("%s/%s", s->path, name);
	for (size_t i = 0; i < found->use_count; i++) {
		const struct found_use *u = &found->uses[i];
		char text[512] = "";
		for (const char *p = u->instead; *p; p++)
			snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s",
				*p == '@' ? "/live/x.pem" : (char[]){*p, '\0'});
		if (u->role != FOUND_COPY && edit_replace(&e, u->file, u->start, u->end, text, &err) < 0)
			fail_msg("%s", err.message);
	}
	assert_int_equal(edit_finish(&e, &err), 0);
	for (size_t i = 0; i < e.count; i++) {
		if (strcmp(e.files[i].path, path) != 0)
			continue;
		assert_string_equal(buf_text(&e.files[i].after), expected);
		return;
	}
	auto_buf struct buf text = BUF_INIT(65536);
	assert_string_equal(scratch_read(s, name, &text), expected);
}

static char *below(const struct scratch *s, const char *name)
{
	return mem_printf("%s/%s", s->path, name);
}

static void expect_ok(int result, const struct error *err)
{
	if (result < 0)
		fail_msg("%s", err->message);
}

static const struct found_use *use_of(const struct found_service *s, const char *path)
{
	for (size_t i = 0; i < s->use_count; i++)
		if (strcmp(s->uses[i].path, path) == 0)
			return &s->uses[i];
	fail_msg("%s is not found", path);
	return NULL;
}

/* ---- nginx ---- */

static void nginx(void **state)
{
	const struct scratch *s = *state;
	struct error err;
	struct found_service found = {0};
	auto_free char *path = below(s, "n.conf");
	scratch_write(s, "n.conf",
		"# ssl_certificate /never;\n"
		"server { listen [::1]:443 ssl proxy_protocol; listen 80;\n"
		"  ssl_certificate \"/old/a b.crt\" ; ssl_certificate_key old.key;# its\n"
		"  location / { set $x \"}\"; return 200 '{${x}#;'; }\n"
		"}\n"
		"server { ssl_certificate $name.pem; listen unix:/run/x ssl; listen 8443 ssl }",
		0644);
	expect_ok(nginx_scan(&found, "/etc/nginx", path, &err), &err);
	expect_edit(s, &found, "n.conf",
		"# ssl_certificate /never;\n"
		"server { listen [::1]:443 ssl proxy_protocol; listen 80;\n"
		"  ssl_certificate /live/x.pem ; ssl_certificate_key /live/x.pem;# its\n"
		"  location / { set $x \"}\"; return 200 '{${x}#;'; }\n"
		"}\n"
		"server { ssl_certificate $name.pem; listen unix:/run/x ssl; listen 8443 ssl }");
	const struct found_use *key = use_of(&found, "/etc/nginx/old.key");
	assert_int_equal(key->role, FOUND_KEY);
	assert_int_equal(key->line, 3);
	assert_int_equal(key->group, use_of(&found, "/old/a b.crt")->group);
	assert_int_equal(found.note_count, 1);
	assert_int_equal(found.port_count, 1);
	assert_string_equal(found.ports[0].address, "::1");
	assert_true(found.ports[0].proxy);
	found_service_release(&found);
}

/* Each block with a certificate of its own and no key has that of the block around. */
static void nginx_keys_from_around(void **state)
{
	const struct scratch *s = *state;
	struct error err;
	struct found_service found = {0};
	auto_free char *path = below(s, "n.conf");
	scratch_write(s, "snippet", "ssl_certificate /old/a;\n", 0644);
	auto_free char *text =
		mem_printf("http {\nssl_certificate_key /old/k;\nserver { server_name a.x ~^b; include %s/snip*; }\n"
			   "server { server_name .b.x; ssl_certificate /old/b; }\n"
			   "server { ssl_certificate /old/c; ssl_certificate_key /old/ck; }\n}\n",
			s->path);
	scratch_write(s, "n.conf", text, 0644);
	expect_ok(nginx_scan(&found, s->path, path, &err), &err);
	found_settle(&found);
	expect_edit(s, &found, "snippet", "ssl_certificate /live/x.pem;\n\t\tssl_certificate_key /live/x.pem;\n");
	assert_int_equal(found.pin_count, 2);
	assert_string_equal(found.pins[1].text, ";\n\t\tssl_certificate_key \"/old/k\"");
	assert_int_equal(found.pins[1].group, use_of(&found, "/old/b")->group);
	assert_int_equal(found.pins[1].on, use_of(&found, "/old/k")->group);
	assert_int_equal(use_of(&found, "/old/c")->group, use_of(&found, "/old/ck")->group);
	assert_int_equal(found.name_count, 2);
	assert_string_equal(found.names[1], "any.b.x");
	found_service_release(&found);
}

static void nginx_lua(void **state)
{
	const struct scratch *s = *state;
	struct error err;
	struct found_service found = {0};
	auto_free char *path = below(s, "n.conf");
	scratch_write(s, "n.conf",
		"init_by_lua_block {\n  -- it's read once }\n  --[[ \" } ]] local a = [==[ ]] }' ]==]\n  b = {'}', \"\\\"}\"}\n}\n"
		"server { set_by_lua_block $x { return \"{\" } ssl_certificate /old/a; ssl_certificate_key /old/k; }\n"
		"content_by_lua_blocks { it 's' ; }\nserver { ssl_certificate /old/b; }\n",
		0644);
	expect_ok(nginx_scan(&found, s->path, path, &err), &err);
	assert_int_equal(found.use_count, 3);
	assert_int_equal(use_of(&found, "/old/b")->line, 8);
	found_service_release(&found);
}

/* What does not end is told with its line, and not taken for the rest of the file. */
static void nginx_without_an_end(void **state)
{
	const struct scratch *s = *state;
	static const char *const texts[] = {
		"\nserver { listen 443 ssl;\n", "\nset $x 'it; }\n", "\na_by_lua_block { 'it }\n"};
	auto_free char *path = below(s, "n.conf");
	for (size_t i = 0; i < COUNT(texts); i++) {
		struct error err;
		struct found_service found = {0};
		scratch_write(s, "n.conf", texts[i], 0644);
		assert_int_equal(nginx_scan(&found, s->path, path, &err), -1);
		assert_non_null(strstr(err.message, "n.conf:2: "));
		found_service_release(&found);
	}
}

/* ---- Apache ---- */

static void apache_reads(const struct scratch *s, const char *text, struct found_service *ret)
{
	struct error err;
	auto_free char *path = below(s, "a.conf");
	static const struct apache_facts facts = {" ssl_module (shared)\n", "E=env\nD=\n"};
	*ret = (struct found_service){0};
	scratch_write(s, "a.conf", text, 0644);
	expect_ok(apache_scan(ret, &facts, s->path, path, &err), &err);
	found_settle(ret);
}

static void apache_includes(void **state)
{
	const struct scratch *s = *state;
	struct found_service found;
	scratch_write(s, "ssl.inc", "SSLEngine on\nSSLCertificateFile ${C}/c\n", 0644);
	apache_reads(s,
		"Define C /old/${E}\n<IfDefine !D>\nSSLCertificateFile /never\n</IfDefine>\n"
		"<IfModule mod_md.c>\n<IfModule x>\n</IfModule>\n"
		"SSLCertificateFile /never\n</IfModule>\n<VirtualHost *:443>\nServerName a.x:443\nServerAlias *.b.x\n"
		"IncludeOptional ssl.*\nInclude none*\nSSLCertificateKeyFile k\n</VirtualHost>\n",
		&found);
	auto_free char *key = below(s, "k");
	assert_int_equal(found.use_count, 2);
	assert_int_equal(use_of(&found, "/old/env/c")->group, use_of(&found, key)->group);
	assert_int_equal(found.port_count, 1);
	assert_string_equal(found.names[0], "a.x");
	assert_string_equal(found.names[1], "any.b.x");
	found_service_release(&found);
}

static void apache_macros(void **state)
{
	const struct scratch *s = *state;
	struct found_service found;
	apache_reads(s,
		"<Macro Site $h $host>\n<VirtualHost *:443>\nServerName $host\nSSLEngine on\nSSLCertificateFile /old/$host/c\n"
		"SSLCertificateKeyFile /$h/k\n</VirtualHost>\n</Macro>\nUse Site one a.x\nUSE site two b.x\n",
		&found);
	assert_int_equal(found.use_count, 4);
	/* The same bytes are for both, so both change or none. */
	assert_int_equal(use_of(&found, "/old/a.x/c")->group, use_of(&found, "/two/k")->group);
	assert_int_equal(use_of(&found, "/old/b.x/c")->start, use_of(&found, "/old/a.x/c")->start);
	assert_int_equal(use_of(&found, "/one/k")->line, 6);
	found_service_release(&found);
	apache_reads(s, "SSLCertificateFile /old/$host/c\n", &found);
	assert_int_equal(found.use_count, 0);
	assert_int_equal(found.note_count, 1);
	found_service_release(&found);
}

/* mod_ssl puts what a virtual host names behind what the server names. */
static void apache_server(void **state)
{
	const struct scratch *s = *state;
	struct found_service found;
	apache_reads(s,
		"Listen 8443 https\n<VirtualHost *:443>\nSSLCertificateFile /old/c\n</VirtualHost>\n"
		"SSLEngine on\nSSLCertificateKeyFile /old/k\n",
		&found);
	assert_int_equal(use_of(&found, "/old/c")->group, use_of(&found, "/old/k")->group);
	assert_int_equal(found.port_count, 2);
	found_service_release(&found);
}

static void apache(void **state)
{
	const struct scratch *s = *state;
	struct error err;
	struct found_service found = {0};
	auto_free char *path = below(s, "a.conf");
	scratch_write(s, "a.conf",
		"<virtualhost *:443 [::1]:8443>\n"
		"  SSLENGINE On\n"
		"  #SSLCertificateFile /never\n"
		"  sslcertificatefile ssl/\\\n"
		"old.crt\n"
		"  SSLCertificateFile ssl/one.crt\r\n"
		"  SSLCertificateKeyFile '/old/k'\n"
		"  SSLCertificateChainFile \"/old/@ c\"\n"
		"</VirtualHost>\n"
		"<VirtualHost *:80>\n"
		"  SSLCertificateFile ${X}/a\n"
		"</VirtualHost>\n",
		0644);
	expect_ok(apache_scan(&found, &(struct apache_facts){"", ""}, "/etc/apache2", path, &err), &err);
	assert_int_equal(found.port_count, 2);
	assert_int_equal(found.note_count, 1);
	assert_string_equal(found.uses[found.use_count - 1].instead, "#SSLCertificateChainFile \"/old/@ c\"");
	assert_int_equal(use_of(&found, "/etc/apache2/ssl/one.crt")->group, use_of(&found, "/old/k")->group);
	found_service_release(&found);
}

/* ---- Dovecot ---- */

static void dovecot(void **state)
{
	const struct scratch *s = *state;
	struct error err;
	struct found_service found = {0};
	auto_free char *path = below(s, "dovecot.conf");
	scratch_write(s, "dovecot.conf",
		"ssl_cert = </old/before.crt\n!include 10-*.conf\n!include_try nothing\nssl_server_cert_file "
		"= \"/old/24.crt\" # 2.4\n"
		"local_name imap.x {\n\tssl_cert=< /old/i.crt\n}\nssl_alt_cert = \"</not/a/file\"",
		0644);
	scratch_write(
		s, "10-ssl.conf", "# ssl_cert = </never\nssl_cert =  </old/a.crt  # mine\nssl_key = </old/a.key", 0644);
	expect_ok(dovecot_scan(&found, path, &err), &err);
	expect_edit(s, &found, "dovecot.conf",
		"ssl_cert = </old/before.crt\n!include 10-*.conf\n!include_try nothing\nssl_server_cert_file "
		"= \"/live/x.pem\" # 2.4\n"
		"local_name imap.x {\n\tssl_cert=< /live/x.pem\n\tssl_key = </live/x.pem\n}\nssl_alt_cert = \"</not/a/file\"");
	/* Where the block is left, it keeps the key that it has from around it. */
	assert_int_equal(found.pin_count, 1);
	assert_string_equal(found.pins[0].text, "\n\tssl_key = </old/a.key");
	assert_int_equal(found.pins[0].on, use_of(&found, "/old/a.key")->group);
	expect_edit(s, &found, "10-ssl.conf",
		"# ssl_cert = </never\nssl_cert =  </live/x.pem  # mine\nssl_key = </live/x.pem");
	assert_int_equal(found.note_count, 1);
	assert_int_not_equal(use_of(&found, "/old/i.crt")->group, use_of(&found, "/old/a.crt")->group);
	found_service_release(&found);
	scratch_write(s, "dovecot.conf", "!include dovecot.conf\n", 0644);
	assert_int_equal(dovecot_scan(&found, path, &err), -1);
	scratch_write(s, "dovecot.conf", "!include missing.conf\n", 0644);
	assert_int_equal(dovecot_scan(&found, path, &err), -1);
	found_service_release(&found);
}

static void dovecot_as_doveconf_prints_it(void **state)
{
	const struct scratch *s = *state;
	struct error err;
	struct found_service found = {0};
	auto_free char *path = below(s, "dovecot.conf");
	/* 2.4.1 serves all of these as they stand here. */
	scratch_write(s, "dovecot.conf",
		"ssl_server {\n  cert_file = /old/n.crt\n  ssl_server_key_file = '/old/n.key' # mine\n}\n"
		"local_name b.x {\n  ssl_server {\n    cert_file = /old/b.pem\n  }\n  ssl_server/key_file = /old/b.key\n}\n"
		"cert_file = /never\nssl_server_alt_cert_file = </old/alt.pem\n",
		0644);
	expect_ok(dovecot_scan(&found, path, &err), &err);
	expect_edit(s, &found, "dovecot.conf",
		"ssl_server {\n  cert_file = /live/x.pem\n  ssl_server_key_file = '/live/x.pem' # mine\n}\n"
		"local_name b.x {\n  ssl_server {\n    cert_file = /live/x.pem\n  }\n  ssl_server/key_file = /live/x.pem\n}\n"
		"cert_file = /never\nssl_server_alt_cert_file = </old/alt.pem\n");
	assert_int_equal(use_of(&found, "/old/b.pem")->group, use_of(&found, "/old/b.key")->group);
	assert_int_equal(use_of(&found, "/old/n.crt")->group, use_of(&found, "/old/n.key")->group);
	assert_int_not_equal(use_of(&found, "/old/n.crt")->group, use_of(&found, "/old/b.pem")->group);
	assert_int_equal(found.note_count, 1);
	assert_non_null(strstr(found.notes[0], "dovecot.conf:12: ssl_server_alt_cert_file: Dovecot takes the content"));
	found_service_release(&found);
}

#define LISTENERS(protocols) \
	"# 2.3\n" protocols "service imap-login {\n  inet_listener imap {\n    address = \n    haproxy = " \
	"no\n    port = 143\n    ssl = no\n  }\n" \
	"  inet_listener imaps {\n    address = 10.0.0.1\n    haproxy = yes\n    port = 10993\n    ssl = " \
	"yes\n  }\n}\n" \
	"service pop3-login {\n  inet_listener pop3 {\n    port = 110\n  }\n}\nssl = yes\n"

static void dovecot_listeners(void **state)
{
	(void)state;
	struct found_service found = {0};
	dovecot_ports(&found, LISTENERS("protocols = imap lmtp\n"));
	assert_int_equal(found.port_count, 2);
	assert_string_equal(found.ports[0].protocol, "imap");
	assert_string_equal(found.ports[1].protocol, "imaps");
	assert_string_equal(found.ports[1].address, "10.0.0.1");
	assert_true(found.ports[1].proxy);
	found_service_release(&found);
	dovecot_ports(&found, LISTENERS("protocols {\n  imap = no\n  pop3 = yes\n}\n"));
	assert_int_equal(found.port_count, 1);
	assert_int_equal(found.ports[0].port, 110);
	found_service_release(&found);
	/* What 2.4.1 prints, with the answer for service/imap-login/inet_listener behind it. */
	dovecot_ports(&found,
		"# 2.4.1\nprotocols {\n  imap = yes\n}\nservice imap-login {\n  inet_listener imap {\n    listen = 127.0.0.2\n  }\n}\n"
		"service imap-login {\n  inet_listener imap {\n    port = 143\n    listen = 127.0.0.2\n  }\n"
		"  inet_listener extra {\n    haproxy = yes\n    port = 10993\n    ssl = yes\n  }\n"
		"  inet_listener imaps {\n    port = 993\n    ssl = yes\n  }\n}\n"
		"service pop3-login {\n  inet_listener pop3 {\n    port = 110\n  }\n}\n");
	assert_int_equal(found.port_count, 3);
	assert_string_equal(found.ports[0].address, "127.0.0.2");
	assert_true(found.ports[1].proxy);
	assert_int_equal(found.ports[2].port, 993);
	assert_string_equal(found.ports[2].protocol, "imaps");
	found_service_release(&found);
}

/* ---- HAProxy ---- */

static void haproxy(void **state)
{
	const struct scratch *s = *state;
	struct error err;
	struct found_service found = {0};
	auto_free char *path = below(s, "h.cfg");
	auto_free char *text =
		mem_printf("global\n  crt-base %s # base\nfrontend a\n  bind :::443,10.0.0.1:8443 v4v6 ssl "
			   "crt one.pem crt \"/old/a\\ b.pem\" accept-proxy # crt /never\n"
			   "  bind 127.0.0.1:80\n  bind *:993 ssl crt %s/certs crt-list %s/list\n  bind "
			   "/run/x ssl crt \"$X/y\"\n  server s 10.0.0.2:443 ssl crt /client.pem",
			s->path, s->path, s->path);
	auto_free char *certs = below(s, "certs");
	assert_int_equal(mkdir(certs, 0755), 0);
	scratch_write(s, "certs/a.pem", "", 0600);
	scratch_write(s, "certs/a.pem.key", "", 0600);
	/* Each of these names would, written into agent.conf, say more than a name. */
	scratch_write(s, "certs/b\" owner = \"x", "", 0600);
	scratch_write(s, "certs/c\nservice \"x\" {", "", 0600);
	scratch_write(s, "certs/d${HOME}", "", 0600);
	scratch_write(s, "certs/.hidden", "", 0600);
	scratch_write(s, "pair.ecdsa", "", 0600);
	scratch_write(s, "pair.rsa", "", 0600);
	scratch_write(s, "list", "#pair\npair [alpn h2] *.x !y.x\n\n  /old/z.pem\n", 0644);
	scratch_write(s, "h.cfg", text, 0644);
	expect_ok(haproxy_scan(&found, path, &err), &err);
	auto_free char *expected =
		mem_printf("global\n  crt-base %s # base\nfrontend a\n  bind :::443,10.0.0.1:8443 v4v6 ssl "
			   "crt /live/x.pem crt /live/x.pem accept-proxy # crt /never\n"
			   "  bind 127.0.0.1:80\n  bind *:993 ssl crt %s/certs crt-list %s/list\n  bind "
			   "/run/x ssl crt \"$X/y\"\n  server s 10.0.0.2:443 ssl crt /client.pem",
			s->path, s->path, s->path);
	expect_edit(s, &found, "h.cfg", expected);
	expect_edit(s, &found, "list", "#pair\n/live/x.pem [alpn h2] *.x !y.x\n\n  /live/x.pem\n");
	auto_free char *pair = mem_printf("%s/pair.ecdsa %s/pair.rsa", s->path, s->path);
	auto_free char *copy = below(s, "certs/a.pem");
	use_of(&found, pair);
	assert_int_equal(use_of(&found, copy)->role, FOUND_COPY);
	assert_int_equal(found.port_count, 3);
	assert_string_equal(found.ports[0].address, "");
	assert_string_equal(found.ports[1].address, "10.0.0.1");
	assert_true(found.ports[1].proxy);
	size_t copies = 0;
	for (size_t i = 0; i < found.use_count; i++)
		copies += found.uses[i].role == FOUND_COPY;
	assert_int_equal(copies, 1);
	assert_int_equal(found.note_count, 2); /* each is noted once */
	found_service_release(&found);
}

/* What no crt-base and no directory says is not known, and nothing below "/" is taken for it. */
static void haproxy_relative(void **state)
{
	const struct scratch *s = *state;
	struct error err;
	struct found_service found = {0};
	auto_free char *path = below(s, "h.cfg");
	scratch_write(s, "h.cfg",
		"frontend a\n bind :443 ssl crt a.pem\n bind :444 ssl crt /old/b.pem\nglobal\n default-path config\nfrontend b\n"
		" bind :445 ssl crt c.pem\n",
		0644);
	expect_ok(haproxy_scan(&found, path, &err), &err);
	auto_free char *known = below(s, "c.pem");
	assert_int_equal(found.use_count, 2);
	use_of(&found, known);
	assert_int_equal(found.note_count, 1);
	assert_non_null(strstr(found.notes[0], "a.pem: a relative path without a known base"));
	found_service_release(&found);
}

static void haproxy_stores(void **state)
{
	const struct scratch *s = *state;
	struct error err;
	struct found_service found = {0};
	auto_free char *path = below(s, "h.cfg");
	scratch_write(s, "list", "@one/x one.x\n", 0644);
#define STORES(a, key, b, c, d) \
	"global\n crt-base /base\ncrt-store one\n crt-base /store\n key-base /keys\n\n load crt " a \
	" alias x key " key "\n load crt named.pem\n load crt o.pem alias o ocsp o.ocsp\ncrt-store two\n load crt " b \
	" alias \"y\"\n" \
	"frontend f\n bind :443 ssl default-crt " c " crt @one/x crt @two/y crt-list %s/list crt " d "\n"
	auto_free char *text = mem_printf(STORES("a.pem", "a.key", "b.pem", "c.pem", "d.pem"), s->path);
	scratch_write(s, "h.cfg", text, 0644);
	expect_ok(haproxy_scan(&found, path, &err), &err);
	auto_free char *expected =
		mem_printf(STORES("/live/x.pem", "/live/x.pem", "/live/x.pem", "/live/x.pem", "/live/x.pem"), s->path);
	expect_edit(s, &found, "h.cfg", expected);
	assert_int_equal(use_of(&found, "/store/a.pem")->group, use_of(&found, "/keys/a.key")->group);
	assert_int_equal(use_of(&found, "/keys/a.key")->role, FOUND_KEY);
	/* A crt-base inside of a store is that store's alone. */
	use_of(&found, "/base/b.pem");
	use_of(&found, "/base/c.pem");
	use_of(&found, "/base/d.pem");
	assert_int_equal(found.use_count, 5);
	assert_int_equal(found.note_count, 2);
	found_service_release(&found);
}

/* ---- Postfix ---- */

/* `context` is pairs of a setting's name and its value, ended by NULL. */
static char *value_of(const char *name, void *context)
{
	for (const char *const *pair = context; *pair; pair += 2)
		if (strcmp(pair[0], name) == 0)
			return mem_strdup(pair[1]);
	return mem_strdup("");
}

static void postfix_files(const struct scratch *s, const char *const *values, const char *main, const char *master,
	const char *new_main, const char *new_master)
{
	struct error err;
	struct found_service found = {0};
	scratch_write(s, "main.cf", main, 0644);
	scratch_write(s, "master.cf", master, 0644);
	expect_ok(postfix_scan(&found, s->path, value_of, (void *)(uintptr_t)values, &err), &err);
	expect_edit(s, &found, "main.cf", new_main);
	expect_edit(s, &found, "master.cf", new_master);
	found_service_release(&found);
}

static void postfix_main(void **state)
{
	static const char *const values[] = {"smtpd_tls_cert_file", "/old/c", "smtpd_tls_key_file", "/old/k",
		"smtpd_tls_eccert_file", "/old/ec", NULL};
	postfix_files(*state, values,
		"# first\nsmtpd_tls_cert_file = /dead\n\nsmtpd_tls_cert_file=$x/c\n# "
		"between\nsmtpd_tls_eccert_file=\n /old/ec\n"
		"smtpd_tls_key_file = /old/k\nsmtp_tls_cert_file = /client\nlast = x",
		"",
		"# first\nsmtpd_tls_cert_file = /dead\n\nsmtpd_tls_chain_files = "
		"/live/x.pem\nsmtpd_tls_cert_file =\n# between\n"
		"smtpd_tls_eccert_file =\nsmtpd_tls_key_file =\nsmtp_tls_cert_file = /client\nlast = x",
		"");
}

/* Postfix's client takes its certificate from the server's setting, so that an emptied one would leave it without
 * any. */
static void postfix_client(void **state)
{
	static const char *const values[] = {"smtpd_tls_cert_file", "/old/c", "smtpd_tls_key_file", "/old/k", NULL};
	postfix_files(*state, values,
		"smtpd_tls_cert_file = /old/c\nsmtpd_tls_key_file = /old/k\nsmtp_tls_cert_file = $smtpd_tls_cert_file\n",
		"",
		"smtpd_tls_cert_file = /live/x.pem\nsmtpd_tls_key_file = /live/x.pem\nsmtp_tls_cert_file = $smtpd_tls_cert_file\n",
		"");
}

/* A setting that is empty further down would win over a new line above it. */
static void postfix_empty_chain(void **state)
{
	static const char *const values[] = {"smtpd_tls_cert_file", "/old/c", NULL};
	postfix_files(*state, values, "smtpd_tls_cert_file = /old/c\nsmtpd_tls_chain_files =\n", "",
		"smtpd_tls_cert_file =\nsmtpd_tls_chain_files = /live/x.pem\n", "");
}

static void postfix_tlsproxy(void **state)
{
	static const char *const values[] = {"smtpd_tls_cert_file", "/old/c", "tlsproxy_tls_cert_file", "/old/p",
		"tlsproxy_tls_key_file", "/old/pk", "tlsproxy_tls_eccert_file", "/old/c",
		"tlsproxy/unix/tlsproxy_tls_chain_files", "/old/x", NULL};
	postfix_files(*state, values,
		"smtpd_tls_cert_file = /old/c\ntlsproxy_tls_cert_file = /old/p\ntlsproxy_tls_key_file = /old/pk\n"
		"tlsproxy_tls_eccert_file = $smtpd_tls_cert_file\n",
		"tlsproxy unix - - y - 0 tlsproxy -o tlsproxy_tls_chain_files=/old/x\n",
		/* The servers' line stays as it is where another refers to it. */
		"smtpd_tls_cert_file = /live/x.pem\ntlsproxy_tls_chain_files = /live/x.pem\ntlsproxy_tls_cert_file =\n"
		"tlsproxy_tls_key_file =\ntlsproxy_tls_eccert_file = $smtpd_tls_cert_file\n",
		"tlsproxy unix - - y - 0 tlsproxy -o tlsproxy_tls_chain_files=/live/x.pem\n");
}

static void postfix_chain(void **state)
{
	static const char *const values[] = {"smtpd_tls_chain_files", "/old/a, /old/b", "smtpd_tls_cert_file", "/old/c",
		"submission/inet/smtpd_tls_cert_file", "/old/s", "submission/inet/smtpd_tls_key_file", "/old/k",
		"smtps/inet/smtpd_tls_chain_files", "/old/s", NULL};
	postfix_files(*state, values, "smtpd_tls_chain_files = /old/a,\n  /old/b\nsmtpd_tls_cert_file = /old/c",
		"submission inet n - n - - smtpd\n  -o smtpd_tls_cert_file=/old/s\n#  -o "
		"smtpd_tls_cert_file=/never\n"
		"  -o smtpd_tls_key_file=/old/k -o x=y\nsmtps inet n - n - - smtpd -o "
		"smtpd_tls_chain_files=/old/s\n",
		"smtpd_tls_chain_files = /live/x.pem\nsmtpd_tls_cert_file = /old/c",
		/* The options have no effect beside main.cf's chain_files. */
		"submission inet n - n - - smtpd\n  -o smtpd_tls_cert_file=/old/s\n"
		"#  -o smtpd_tls_cert_file=/never\n  -o smtpd_tls_key_file=/old/k -o x=y\n"
		"smtps inet n - n - - smtpd -o smtpd_tls_chain_files=/live/x.pem\n");
}

/* An entry that is left goes on with its own, and with what it has from main.cf. */
static void postfix_pins(void **state)
{
	static const char *const values[] = {"smtpd_tls_cert_file", "/old/c", "smtpd_tls_key_file", "/old/k",
		"submission/inet/smtpd_tls_cert_file", "/old/s", NULL};
	const struct scratch *s = *state;
	struct error err;
	struct found_service found = {0};
	scratch_write(s, "main.cf", "smtpd_tls_cert_file = /old/c\nsmtpd_tls_key_file = /old/k\n", 0644);
	scratch_write(s, "master.cf",
		"smtp inet n - n - - smtpd -o a=b\nsubmission inet n - n - - smtpd\n  -o smtpd_tls_cert_file=/old/s\n",
		0644);
	expect_ok(postfix_scan(&found, s->path, value_of, (void *)(uintptr_t)values, &err), &err);
	assert_int_equal(found.pin_count, 1);
	assert_string_equal(found.pins[0].text, "smtpd_tls_chain_files= -o smtpd_tls_key_file=/old/k -o ");
	assert_int_equal(found.pins[0].on, use_of(&found, "/old/c")->group);
	assert_int_equal(found.pins[0].group, use_of(&found, "/old/s")->group);
	assert_int_equal(found.pins[0].at, use_of(&found, "/old/s")->start);
	found_service_release(&found);
}

static void postfix_ports(void **state)
{
	static const char *const values[] = {"smtpd_tls_security_level", "may", "smtpd_tls_wrappermode", "no", NULL};
	const struct scratch *s = *state;
	struct error err;
	struct found_service found = {0};
	scratch_write(s, "main.cf", "", 0644);
	scratch_write(s, "master.cf",
		"smtp inet n - y - - smtpd\n#25 inet n - y - - smtpd\nsubmissions inet n - y - - smtpd\n  -o "
		"smtpd_tls_wrappermode=yes\n"
		"10.0.0.1:10025 inet n - y - - smtpd -o smtpd_upstream_proxy_protocol=haproxy\n"
		"127.0.0.1:2525 inet n - y - - smtpd -o smtpd_tls_security_level=none\nsmtp unix - - n - - "
		"smtp\n",
		0644);
	expect_ok(postfix_scan(&found, s->path, value_of, (void *)(uintptr_t)values, &err), &err);
	assert_int_equal(found.port_count, 3);
	assert_int_equal(found.ports[0].port, 25);
	assert_int_equal(found.ports[1].port, 465);
	assert_string_equal(found.ports[1].protocol, "smtps");
	assert_string_equal(found.ports[2].address, "10.0.0.1");
	assert_true(found.ports[2].proxy);
	found_service_release(&found);
}

static void postfix_sni(void **state)
{
	const struct scratch *s = *state;
	struct error err;
	struct found_service found = {0};
	auto_free char *path = below(s, "sni");
	scratch_write(s, "sni", "# a map\na.x   /old/k, /old/c\n.b.x\n\t/old/b", 0600);
	expect_ok(postfix_scan_sni(&found, path, &err), &err);
	expect_edit(s, &found, "sni", "# a map\na.x   /live/x.pem\n.b.x\n\t/live/x.pem");
	found_service_release(&found);
}

/* ---- lines and words ---- */

static void nothing_at_all(void **state)
{
	(void)state;
	static const char *const texts[] = {
		"", "\n", " ", "#", "# x", "\\", "\"", "'", " \n\t", "{", "}", "${", "a\\\n"};
	for (size_t i = 0; i < COUNT(texts); i++)
		for (int rule = WORDS_PLAIN; rule <= WORDS_NGINX; rule++) {
			auto_words struct words words = {0};
			words_split(texts[i], 0, strlen(texts[i]), (enum words_rule)rule, &words);
			for (int lines = LINE_SINGLE; lines <= LINE_BLANK; lines++) {
				struct line line = {0};
				int count = 0;
				while (line_next(texts[i], strlen(texts[i]), (enum line_rule)lines, &line))
					assert_true(++count < 10 && line.end <= strlen(texts[i]));
			}
		}
}

static void two_at_one_place(void **state)
{
	const struct scratch *s = *state;
	struct error err;
	auto_edit struct edit e = {0};
	auto_free char *path = below(s, "t");
	scratch_write(s, "t", "abc", 0644);
	assert_int_equal(edit_replace(&e, path, 1, 1, "X", &err), 0);
	assert_int_equal(edit_replace(&e, path, 1, 1, "Y", &err), 0);
	assert_int_equal(edit_replace(&e, path, 2, 3, "Z", &err), 0);
	assert_int_equal(edit_replace(&e, path, 2, 3, "Z", &err), 0);
	assert_int_equal(edit_replace(&e, path, 2, 4, "Z", &err), -1);
	assert_int_equal(edit_finish(&e, &err), 0);
	assert_string_equal(buf_text(&e.files[0].after), "aXYbZ");
	assert_int_equal(edit_replace(&e, path, 0, 3, "Q", &err), 0);
	buf_reset(&e.files[0].after);
	assert_int_equal(edit_finish(&e, &err), -1);
}

#define STORY(function) cmocka_unit_test_setup_teardown(function, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORY(nginx),
		STORY(nginx_keys_from_around),
		STORY(nginx_lua),
		STORY(nginx_without_an_end),
		STORY(apache_includes),
		STORY(apache_macros),
		STORY(apache_server),
		STORY(apache),
		STORY(dovecot),
		STORY(dovecot_as_doveconf_prints_it),
		cmocka_unit_test(dovecot_listeners),
		STORY(haproxy),
		STORY(haproxy_relative),
		STORY(haproxy_stores),
		STORY(postfix_main),
		STORY(postfix_client),
		STORY(postfix_empty_chain),
		STORY(postfix_chain),
		STORY(postfix_tlsproxy),
		STORY(postfix_pins),
		STORY(postfix_ports),
		STORY(postfix_sni),
		cmocka_unit_test(nothing_at_all),
		STORY(two_at_one_place),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
