/* What MariaDB's option files say, and which files root may write on the word of a service's own user. */
#include "agent/cli/services/find.h"
#include "agent/cli/services/mariadb.h"
#include "tests/unit/scratch.h"

#include <pwd.h>

static const char *or_none(const char *text)
{
	return text ? text : "-";
}

/* `expected` has TLS, certificate, key, addresses, port and user. */
static void expect(const char *lines, const char *expected)
{
	auto_mariadb struct mariadb m;
	mariadb_scan(lines, false, &m);
	auto_free char *got = mem_printf("%s %s %s %s %s %s", m.tls ? "on" : "off", or_none(m.certificate),
		or_none(m.key), or_none(m.addresses), m.no_network ? "none" : or_none(m.port), or_none(m.user));
	assert_string_equal(got, expected);
}

static void options(void **state)
{
	(void)state;
	expect("", "off - - - - -");
	expect("--ssl-cert=/a b=c\n--ssl-key=/k\n", "on /a b=c /k - - -");
	expect("--ssl_cert=/a\n--loose_ssl-key=/k\n--bind_address=::1,10.0.0.1\n--port=3307",
		"on /a /k ::1,10.0.0.1 3307 -");
	expect("--ssl-cert=/a\n--ssl-cert=/b\n--user=first\n--user=second\n", "on /b - - - first");
	expect("--sslcert=/a\n--xssl-cert=/a\nssl-cert=/a\n--\n--=\n-ssl-key=/k\n", "off - - - - -");
	expect("--ssl-cert\n", "on - - - - -");
	expect("--skip-networking\n--port=1\n", "off - - - none -");
	expect("--skip-networking\n--skip_networking=0\n--port=1\n", "off - - - 1 -");
	expect("--skip-port=1\n--disable-ssl-cert=/a\n", "off - - - - -");
}

/* As MariaDB's server says of itself: --help --verbose prints "ssl TRUE" for each that is on here. */
static void the_last_word_about_tls(void **state)
{
	(void)state;
	const char *const on[] = {"--ssl", "--ssl=1", "--ssl=ON", "--ssl=true", "--skip-ssl=0", "--enable-ssl",
		"--skip-ssl\n--ssl-cert=/a", "--ssl=0\n--ssl-ca=", "--ssl_cipher=x", "--loose-ssl", "--ssl-crlpath=/x"};
	const char *const off[] = {"--skip-ssl", "--ssl=0", "--ssl=OFF", "--ssl=no", "--ssl=2", "--disable-ssl",
		"--loose-disable-ssl", "--skip-ssl=1", "--ssl-cert=/a\n--skip-ssl", "--ssl-ca=/a\n--ssl=0"};
	for (size_t i = 0; i < COUNT(on) + COUNT(off); i++) {
		auto_mariadb struct mariadb m;
		const char *lines = i < COUNT(on) ? on[i] : off[i - COUNT(on)];
		mariadb_scan(lines, false, &m);
		if (m.tls != (i < COUNT(on)) || m.unknown)
			fail_msg("%s: TLS is %s", lines, m.tls ? "on" : "off");
	}
	auto_mariadb struct mariadb short_one;
	mariadb_scan("--ssl-ce=/a\n", false, &short_one);
	assert_string_equal(or_none(short_one.unknown), "ssl-ce");
}

static void without_a_word(void **state)
{
	(void)state;
	assert_false(mariadb_has_tls("mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64"));
	assert_false(mariadb_has_tls("mariadbd  Ver 11.3.2-MariaDB"));
	assert_true(
		mariadb_has_tls("mariadbd from 11.8.3-MariaDB, client 15.2; /usr/sbin/mariadbd  Ver 11.4.5-MariaDB"));
	assert_true(mariadb_has_tls("mariadbd  Ver 12.0.2-MariaDB"));
	assert_false(mariadb_has_tls(""));
	auto_mariadb struct mariadb m, off;
	mariadb_scan("--port=1\n", true, &m);
	assert_true(m.tls);
	mariadb_scan("--skip_ssl\n", true, &off);
	assert_false(off.tls);
}

/* ---- whose word names a file ---- */

struct files {
	const struct scratch *scratch;
	struct proc_user user;
	struct found_service found;
};

static void make(const struct files *f, const char *name, uid_t uid, gid_t gid, mode_t mode)
{
	auto_free char *path = scratch_path(f->scratch, name);
	if (mode & 0100)
		assert_true(mkdir(path, mode) == 0 && chmod(path, mode) == 0);
	else
		scratch_write(f->scratch, name, "x", mode);
	assert_int_equal(chown(path, uid, gid), 0);
}

/* Says whether the file counts as the certificate of a pair. */
static bool counts(struct files *f, const char *name, bool his)
{
	auto_free char *path = scratch_path(f->scratch, name), *below = scratch_path(f->scratch, "etc");
	found_service_release(&f->found);
	find_pair(&f->found, &(struct find_pair){"cert", path, "key", path, "/", his ? &f->user : NULL, below});
	assert_int_equal(f->found.use_count + f->found.note_count, 1);
	return f->found.use_count == 1;
}

static void words_of_others(void **state)
{
	struct files f = {.scratch = *state, .user = {.uid = 33, .gid = 33, .name = "his"}};
	if (geteuid() != 0)
		skip();
	uid_t his = f.user.uid;
	assert_int_equal(chmod(f.scratch->path, 0755), 0);
	make(&f, "etc", 0, 0, 0755);
	make(&f, "etc/own", his, his, 0755);
	make(&f, "home", his, his, 0755);
	make(&f, "other", 0, 0, 0755);
	make(&f, "open", his, 44, 0775);
	const struct {
		const char *name;
		uid_t uid;
		gid_t gid;
		mode_t mode;
		bool counts;
	} files[] = {
		{"etc/a", his, his, 0600, true},
		{"etc/b", 0, his, 0640, true},
		{"etc/c", 0, 0, 0644, false},
		{"etc/d", 44, his, 0640, false},
		{"etc/own/a", 0, 0, 0644, true},
		{"etc/own/b", 44, 44, 0644, false},
		{"etc/own/c", his, his, 0666, false},
		{"home/a", his, his, 0600, true},
		{"other/a", his, his, 0600, false},
		{"other/b", 0, his, 0640, false},
		{"open/a", his, his, 0600, false},
	};
	for (size_t i = 0; i < COUNT(files); i++) {
		make(&f, files[i].name, files[i].uid, files[i].gid, files[i].mode);
		if (counts(&f, files[i].name, true) != files[i].counts)
			fail_msg("%s %s", files[i].name, files[i].counts ? f.found.notes[0] : "counts");
		assert_true(counts(&f, files[i].name, false));
	}
	auto_free char *from = scratch_path(f.scratch, "other/a"), *link = scratch_path(f.scratch, "home/link"),
		       *name = scratch_path(f.scratch, "home/name"), *way = scratch_path(f.scratch, "home/way"),
		       *to = scratch_path(f.scratch, "other");
	assert_int_equal(symlink(from, link), 0);
	assert_false(counts(&f, "home/link", true));
	assert_int_equal(linkat(AT_FDCWD, from, AT_FDCWD, name, 0), 0);
	assert_false(counts(&f, "home/name", true));
	assert_int_equal(symlink(to, way), 0);
	assert_false(counts(&f, "home/way/b", true));
	assert_false(counts(&f, "home/none", true));
	found_service_release(&f.found);
}

static void shared(void **state)
{
	(void)state;
	assert_true(find_is_shared("/etc/ssl/certs/ssl-cert-snakeoil.pem"));
	assert_true(find_is_shared("/etc/ssl/private/ssl-cert-snakeoil.key"));
	assert_false(find_is_shared("/etc/ssl/private/ssl-cert-snakeoil/../db.key"));
	assert_false(find_is_shared("/etc/ssl/private/db.key"));
	assert_false(find_is_shared("/home/joe/ssl-cert-snakeoil.key"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options),
		cmocka_unit_test(the_last_word_about_tls),
		cmocka_unit_test(without_a_word),
		cmocka_unit_test_setup_teardown(words_of_others, scratch_setup, scratch_teardown),
		cmocka_unit_test(shared),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
