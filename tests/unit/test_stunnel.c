/* stunnel's configuration: what each section presents where, and what a reload could do with it. What the real server
 * makes of it is in tests/slow/adopted.t. */
#include "agent/cli/adopt/edit.h"
#include "agent/cli/services/find.h"
#include "agent/cli/services/stunnel.h"
#include "tests/unit/scratch.h"

static int scan(const struct scratch *s, const char *text, struct found_service *ret, struct error *err)
{
	auto_free char *path = mem_printf("%s/x.conf", s->path);
	*ret = (struct found_service){0};
	scratch_write(s, "x.conf", text, 0644);
	int result = stunnel_scan(ret, path, err);
	found_settle(ret);
	return result;
}

static void reads(const struct scratch *s, const char *text, struct found_service *ret)
{
	struct error err;
	if (scan(s, text, ret, &err) < 0)
		fail_msg("%s", err.message);
}

static const struct found_use *use_of(const struct found_service *s, const char *path)
{
	for (size_t i = 0; i < s->use_count; i++)
		if (strcmp(s->uses[i].path, path) == 0)
			return &s->uses[i];
	fail_msg("%s is not found", path);
	return NULL;
}

/* Returns why the group stays, or "". */
static const char *kept(const struct found_service *s, int group)
{
	for (size_t i = 0; i < s->keep_count; i++)
		if (s->keeps[i].group == group)
			return s->keeps[i].why;
	return "";
}

static bool has_port(const struct found_service *s, const char *address, uint16_t port, const char *protocol)
{
	for (size_t i = 0; i < s->port_count; i++) {
		const struct found_port *p = &s->ports[i];
		if (strcmp(p->address, address) == 0 && p->port == port &&
			strcmp(p->protocol ? p->protocol : "", protocol) == 0)
			return true;
	}
	return false;
}

/* Checks what x.conf is when each line of `on` was changed, with the pins that come with it. */
static void expect_change(const struct scratch *s, const struct found_service *found, int on, const char *expected)
{
	struct error err;
	auto_edit struct edit e = {0};
	for (size_t i = 0; i < found->use_count; i++) {
		const struct found_use *u = &found->uses[i];
		if (u->group == on && edit_replace(&e, u->file, u->start, u->end, "/live", &err) < 0)
			fail_msg("%s", err.message);
	}
	for (size_t i = 0; i < found->pin_count; i++) {
		const struct found_pin *p = &found->pins[i];
		if (p->on == on && edit_replace(&e, p->file, p->at, p->at, p->text, &err) < 0)
			fail_msg("%s", err.message);
	}
	assert_int_equal(edit_finish(&e, &err), 0);
	assert_int_equal(e.count, 1);
	assert_string_equal(buf_text(&e.files[0].after), expected);
	(void)s;
}

static void lines(void **state)
{
	const struct scratch *s = *state;
	struct found_service found;
	reads(s,
		"\xef\xbb\xbf; cert = /never\n#cert=/never\n\nPID=/run/x\n \t[ a ] \r\nCERT  = /old/a b.pem \t\r\n"
		"accept=[::1]:8443\naccept = 10.0.0.1:pop3s\n cert = /old/\"b\"\nkey=/old/k;\n[]\nAccept = 9\n",
		&found);
	assert_int_equal(found.use_count, 2);
	assert_int_equal(use_of(&found, "/old/\"b\"")->line, 9);
	assert_int_equal(use_of(&found, "/old/\"b\"")->role, FOUND_CERTIFICATE);
	assert_int_equal(use_of(&found, "/old/k;")->role, FOUND_KEY);
	assert_int_equal(found.port_count, 2);
	assert_true(has_port(&found, "::1", 8443, "") && has_port(&found, "10.0.0.1", 995, ""));
	expect_change(s, &found, use_of(&found, "/old/k;")->group,
		"\xef\xbb\xbf; cert = /never\n#cert=/never\n\nPID=/run/x\n \t[ a ] \r\nCERT  = /old/a b.pem \t\r\n"
		"accept=[::1]:8443\naccept = 10.0.0.1:pop3s\n cert = /live\nkey=/live\n[]\nAccept = 9\n");
	assert_int_equal(found.keep_count + found.note_count, 0);
	found_service_release(&found);
}

/* What stands before all sections is the default of each, and lines that several have change together. */
static void defaults(void **state)
{
	const struct scratch *s = *state;
	struct found_service found;
	reads(s,
		"pid = /run/x\ncert = /old/a\nkey = /old/k\n[a]\naccept = 1001\n[b]\naccept = 1002\ncert = /old/b\n"
		"[c]\naccept = 1003\ncert = /old/c\nkey = /old/ck\n[d]\nclient = yes\naccept = 1004\n",
		&found);
	int group = use_of(&found, "/old/k")->group;
	assert_int_equal(use_of(&found, "/old/a")->group, group);
	assert_int_equal(use_of(&found, "/old/b")->group, group);
	assert_int_equal(use_of(&found, "/old/c")->group, use_of(&found, "/old/ck")->group);
	assert_int_not_equal(use_of(&found, "/old/c")->group, group);
	assert_int_equal(found.port_count, 3);
	expect_change(s, &found, group,
		"pid = /run/x\ncert = /live\nkey = /live\n[a]\naccept = 1001\n[b]\naccept = 1002\ncert = /live\n"
		"[c]\naccept = 1003\ncert = /old/c\nkey = /old/ck\n[d]\ncert = /old/a\nkey = /old/k\nclient = "
		"yes\naccept = 1004\n");
	expect_change(s, &found, use_of(&found, "/old/c")->group,
		"pid = /run/x\ncert = /old/a\nkey = /old/k\n[a]\naccept = 1001\n[b]\naccept = 1002\ncert = /old/b\n"
		"[c]\naccept = 1003\ncert = /live\nkey = /live\n[d]\nclient = yes\naccept = 1004\n");
	found_service_release(&found);
}

static void ports(void **state)
{
	const struct scratch *s = *state;
	struct found_service found;
	reads(s,
		"pid = /run/x\ncert = /old/a\n[a]\naccept = 587\n[b]\naccept = 2525\nprotocol = SMTP\n[c]\naccept = "
		":::143\nprotocol = imap\n[d]\naccept = 127.0.0.1:5432\nprotocol = pgsql\n[e]\naccept = /run/socket\n"
		"[f]\naccept = 1080\nprotocol = socks\n[g]\naccept = 445\nprotocol = cifs\n[h]\naccept = none-such\n"
		"[i]\nsni = a:*.x.pl\n[j]\nexec = /bin/true\n",
		&found);
	assert_int_equal(found.port_count, 5);
	assert_true(has_port(&found, "", 587, "tls") && has_port(&found, "", 2525, "smtp"));
	assert_true(has_port(&found, "", 143, "imap") && has_port(&found, "127.0.0.1", 5432, "postgres"));
	assert_true(has_port(&found, "", 1080, ""));
	assert_int_equal(found.note_count, 2);
	assert_non_null(strstr(found.notes[0], "[g]: what it serves at 445 is not looked at"));
	assert_non_null(strstr(found.notes[1], "accept = none-such is no port"));
	assert_int_equal(found.name_count, 1);
	assert_string_equal(found.names[0], "any.x.pl");
	assert_int_equal(found.keep_count, 0);
	found_service_release(&found);
}

/* A directory's files are read in the order of their names, each whatever it is called, and what is behind belongs to the
 * last section of them. */
static void includes(void **state)
{
	const struct scratch *s = *state;
	struct error err;
	struct found_service found;
	auto_free char *directory = mem_printf("%s/d", s->path);
	assert_int_equal(fs_make_directories(directory, 0755, &err), 0);
	scratch_write(s, "d/10-b", "cert = /old/b\n[b]\ncert = /old/own", 0644);
	scratch_write(s, "d/.a~", "[a]\nkey = /old/a.key\n", 0644);
	auto_free char *text =
		mem_printf("pid = /run/x\ncert = /old/all\nInclude = %s\nkey = /old/b.key\naccept = 1001\n", directory);
	reads(s, text, &found);
	assert_int_equal(use_of(&found, "/old/own")->group, use_of(&found, "/old/b.key")->group);
	assert_int_equal(use_of(&found, "/old/b")->group, use_of(&found, "/old/a.key")->group);
	assert_int_equal(use_of(&found, "/old/b")->line, 1);
	assert_int_equal(found.use_count, 4);
	assert_int_equal(found.whole_count, 1);
	assert_non_null(strstr(found.wholes[0], "/d"));
	found_service_release(&found);
}

/* A backup in such a directory would be read, too. */
static void backups(void **state)
{
	const struct scratch *s = *state;
	struct error err;
	auto_edit struct edit e = {0};
	auto_free char *outer = mem_printf("%s/d", s->path), *inner = mem_printf("%s/d/e", s->path);
	auto_free char *path = mem_printf("%s/d/e/f.conf", s->path), *beside = mem_printf("%s/.x.conf", s->path);
	auto_free char *expected = mem_printf("%s/.d+e+f.conf", s->path), *other = mem_printf("%s/x.conf", s->path);
	assert_int_equal(fs_make_directories(inner, 0755, &err), 0);
	scratch_write(s, "d/e/f.conf", "abc", 0644);
	scratch_write(s, "x.conf", "abc", 0644);
	assert_int_equal(edit_replace(&e, path, 0, 1, "x", &err), 0);
	assert_int_equal(edit_replace(&e, other, 0, 1, "x", &err), 0);
	edit_spare(&e, inner);
	edit_spare(&e, outer);
	assert_string_equal(e.files[0].backup, expected);
	assert_string_equal(e.files[1].backup, beside);
}

static void refused(void **state)
{
	const struct scratch *s = *state;
	static const struct {
		const char *text, *why;
	} texts[] = {{"a = b\n[a\n", "x.conf:2: neither"}, {"\n[a] ; it\n", "x.conf:2: neither"},
		{"include = here\n", "x.conf:1: include = here: where that is depends"},
		{"include = /none/such\n", "x.conf:1: include = /none/such cannot be read"}};
	struct error err;
	struct found_service found;
	for (size_t i = 0; i < COUNT(texts); i++) {
		assert_int_equal(scan(s, texts[i].text, &found, &err), -1);
		if (!strstr(err.message, texts[i].why))
			fail_msg("%s", err.message);
		assert_int_equal(found.use_count, 0);
		found_service_release(&found);
	}
	auto_free char *text = mem_printf("[a]\ninclude = %s\n", s->path);
	assert_int_equal(scan(s, text, &found, &err), -1);
	assert_non_null(strstr(err.message, "go on for ever"));
	found_service_release(&found);
	auto_free char *longest = mem_alloc(16 * 1024);
	memset(longest, 'x', 16 * 1024 - 1);
	assert_int_equal(scan(s, longest, &found, &err), -1);
	assert_non_null(strstr(err.message, "so long a line"));
	found_service_release(&found);
}

/* Of these nothing is changed, nor of what has lines in common with them. */
static void left(void **state)
{
	const struct scratch *s = *state;
	static const struct {
		const char *text, *why;
	} texts[] = {
		{"pid = /p\ncert = /a\n[a]\naccept = 1\n[b]\nkey = pkcs11:x\n", "which file pkcs11:x is only"},
		{"pid = /p\ncert = /a\n[a]\n[b]\nengineId = x\nkey = /k\n", "which file /a is only"},
		{"pid = /p\ncert = /a\n[a]\nkey = k.pem\n", "which file k.pem is only"},
		{"pid = /p\n[a]\ncert = /a\n[b]\ncert = x.P12\nkey = /k\n[c]\ncert = /a.p12", ""},
		{"cert = /a\n[a]\n", "no line pid"},
		{"pid = /p\npid =\ncert = /a\n[a]\n", "no line pid"},
		{"pid = /p\ncert = /a\n[a]\n[b]\nsni = c:x.pl\n[c]\n", "sni = c:x.pl names no server section"},
		{"pid = /p\ncert = /a\n[c]\nclient = yes\n[a]\nsni = c:x.pl\n", "sni = c:x.pl names no"},
		{"pid = /p\ncert = /a\n[a]\nsni = x.pl\n", "sni = x.pl names no"},
	};
	for (size_t i = 0; i < COUNT(texts); i++) {
		struct found_service found;
		reads(s, texts[i].text, &found);
		const char *why = kept(&found, use_of(&found, "/a")->group);
		if (texts[i].why[0] ? !strstr(why, texts[i].why) : why[0] != '\0')
			fail_msg("%zu: %s", i, why);
		found_service_release(&found);
	}
}

/* Without sections another program starts it for each connection. */
static void inetd(void **state)
{
	const struct scratch *s = *state;
	struct found_service found;
	reads(s, "pid = /run/x\ncert = /a\nconnect = 25\n", &found);
	assert_int_equal(found.use_count + found.port_count, 0);
	assert_int_equal(found.note_count, 1);
	assert_non_null(strstr(found.notes[0], "has no [section]"));
	found_service_release(&found);
	reads(s, "client = yes\ncert = /a\n", &found);
	assert_int_equal(found.note_count + found.use_count, 0);
	found_service_release(&found);
}

/* Inside of a chroot the same files have to be there. */
static void chroots(void **state)
{
	const struct scratch *s = *state;
	struct found_service found;
	struct error err;
	auto_free char *text = mem_printf("chroot = %s/r/\npid = /p\ncert = %s/c\n[a]\naccept = 1\n", s->path, s->path);
	auto_free char *below = mem_printf("%s/r%s", s->path, s->path), *outside = mem_printf("%s/c", s->path);
	auto_free char *inside = mem_printf("%s/c", below), *name = mem_printf("r%s/c", s->path);
	auto_free char *conf = mem_printf("r%s/x.conf", s->path);
	assert_int_equal(fs_make_directories(below, 0755, &err), 0);
	scratch_write(s, "c", "1", 0644);
	scratch_write(s, name, "1", 0644);
	reads(s, text, &found);
	assert_non_null(strstr(kept(&found, use_of(&found, inside)->group), "/x.conf, and these differ"));
	found_service_release(&found);
	scratch_write(s, conf, text, 0644);
	reads(s, text, &found);
	assert_string_equal(kept(&found, use_of(&found, inside)->group), "");
	assert_int_equal(use_of(&found, inside)->role, FOUND_COPY);
	assert_int_equal(use_of(&found, inside)->group, use_of(&found, outside)->group);
	assert_int_equal(found.use_count, 2);
	found_service_release(&found);
	scratch_write(s, name, "2", 0644);
	reads(s, text, &found);
	assert_non_null(strstr(kept(&found, use_of(&found, outside)->group), "/c, and these differ"));
	found_service_release(&found);
}

#define STORY(function) cmocka_unit_test_setup_teardown(function, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORY(lines),
		STORY(defaults),
		STORY(ports),
		STORY(includes),
		STORY(backups),
		STORY(refused),
		STORY(left),
		STORY(inetd),
		STORY(chroots),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
