/* What a hardened sshd does with the gate account, and the drop-in that mends it; and which addresses fail2ban leaves
 * alone. */
#include "hub/cli/doctor_sshd.h"
#include "lib/cli/doctor_fail2ban.h"
#include "lib/core/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *const groups[] = {"certsync-gate", "agents", NULL};
static const struct sshd_wish wish = {
	"certsync-gate", groups, "/var/lib/certsync-gate", "/var/lib/certsync-gate/.ssh/authorized_keys", 22, 4};

/* This is what sshd -T prints for the account where nothing is hardened and the drop-in is in place. */
#define DEFAULTS \
	"port 22\nusepam yes\nmaxsessions 10\npubkeyauthentication yes\ndisableforwarding yes\nforcecommand none\n" \
	"chrootdirectory none\nauthenticationmethods any\nauthorizedkeysfile .ssh/authorized_keys .ssh/authorized_keys2\n" \
	"pubkeyacceptedalgorithms ssh-ed25519,rsa-sha2-512\nmaxstartups 10:30:100\nlistenaddress 0.0.0.0:22\n"

static const struct {
	const char *what, *dump, *line; /* line NULL: no fault */
} cases[] = {
	{"Debian's defaults", DEFAULTS, NULL},
	{"an empty dump", "disableforwarding yes\n", NULL},
	{"AllowUsers", DEFAULTS "allowusers admin\nallowusers bob\n", "AllowUsers certsync-gate"},
	{"AllowUsers on one line", DEFAULTS "AllowUsers admin bob\n", "AllowUsers certsync-gate"},
	{"AllowUsers that names it", DEFAULTS "allowusers admin\nallowusers certsync-gate\n", NULL},
	{"AllowUsers by pattern", DEFAULTS "allowusers cert*-gat?\n", NULL},
	{"AllowUsers from a network", DEFAULTS "allowusers certsync-gate@10.0.0.0/8\n", NULL},
	{"AllowUsers that excepts it", DEFAULTS "allowusers * !certsync-*\n", "AllowUsers certsync-gate"},
	{"DenyUsers", DEFAULTS "denyusers bob\ndenyusers certsync-gate\n", "DenyUsers root"},
	{"DenyUsers from a network", DEFAULTS "denyusers certsync-gate@10.0.0.0/8\n", NULL},
	{"AllowGroups", DEFAULTS "allowgroups wheel\n", "AllowGroups certsync-gate"},
	{"AllowGroups with a second group", DEFAULTS "allowgroups wheel\nallowgroups agents\n", NULL},
	{"DenyGroups", DEFAULTS "denygroups agents\n", "DenyGroups root"},
	{"AuthenticationMethods", "authenticationmethods publickey,password\ndisableforwarding yes\n",
		"AuthenticationMethods publickey"},
	{"one method of several", "authenticationmethods publickey,password publickey\ndisableforwarding yes\n", NULL},
	{"ForceCommand", "forcecommand internal-sftp\ndisableforwarding yes\n", "ForceCommand none"},
	{"no keys", "pubkeyauthentication no\ndisableforwarding yes\n", "PubkeyAuthentication yes"},
	{"another file", "authorizedkeysfile /etc/ssh/keys/%u\ndisableforwarding yes\n",
		"AuthorizedKeysFile /var/lib/certsync-gate/.ssh/authorized_keys"},
	{"the same file by its home", "authorizedkeysfile none %h/.ssh/authorized_keys\ndisableforwarding yes\n", NULL},
	{"the same file by its user", "authorizedkeysfile /var/lib/%u/.ssh/authorized_keys\ndisableforwarding yes\n",
		NULL},
	{"RSA alone", "pubkeyacceptedalgorithms rsa-sha2-512,ssh-ed25519-cert-v01@openssh.com\ndisableforwarding yes\n",
		"PubkeyAcceptedAlgorithms +ssh-ed25519"},
	{"a jail", "chrootdirectory /srv/jail\ndisableforwarding yes\n", "ChrootDirectory none"},
	{"no sessions", "maxsessions 0\ndisableforwarding yes\n", "MaxSessions 4"},
	{"forwarding", "disableforwarding no\n", "DisableForwarding yes"},
	{"few at once", "maxstartups 3:30:100\ndisableforwarding yes\n", "MaxStartups 16:30:32"},
	{"penalties as by default", DEFAULTS "PerSourcePenalties crash:90 authfail:5 noauth:1 max:600 min:15\n", NULL},
	{"penalties that last", DEFAULTS "persourcepenalties crash:90 authfail:60 max:600\n", ""},
	{"penalties for others", DEFAULTS "persourcepenalties authfail:60\npersourcepenaltyexemptlist 10.0.0.0/8\n",
		NULL},
	{"no penalties", DEFAULTS "persourcepenalties no\n", NULL},
	{"another port", "port 2222\ndisableforwarding yes\n", ""},
	{"a second port", "port 2222\nport 22\ndisableforwarding yes\n", NULL},
	{"a port of one address", "port 2222\nlistenaddress 10.0.0.1:22\ndisableforwarding yes\n", NULL},
};

static void each_way_to_harden_is_named(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct sshd_verdict v;
		sshd_judge(cases[i].dump, &wish, &v);
		if (v.count != (cases[i].line ? 1 : 0))
			fail_msg("%s: %zu faults: %s", cases[i].what, v.count, v.count ? v.faults[0].text : "");
		if (cases[i].line)
			assert_string_equal(v.faults[0].line, cases[i].line);
	}
}

static void all_together_make_one_file(void **state)
{
	(void)state;
	struct sshd_verdict v;
	auto_buf struct buf out = BUF_INIT(65536), again = BUF_INIT(65536);
	sshd_judge(
		"allowusers admin\nallowgroups wheel\nauthenticationmethods publickey,password\nforcecommand /bin/false\n"
		"maxstartups 2:30:60\nusepam no\ndisableforwarding no\n",
		&wish, &v);
	assert_int_equal(v.count, 6);
	assert_false(v.pam);
	assert_int_equal(sshd_drop_in(&v, &wish, "", &out), 0);
	assert_string_equal(strchr(buf_text(&out), '\n') + 1,
		"MaxStartups 16:30:32\nMatch User certsync-gate\n\tAllowUsers certsync-gate\n\tAllowGroups certsync-gate\n"
		"\tAuthenticationMethods publickey\n\tForceCommand none\n\tDisableForwarding yes\n\tPermitTTY no\n"
		"\tX11Forwarding no\nMatch all\n");
	/* When something new has to be mended, the lines that mended the rest stay. */
	sshd_judge(DEFAULTS "chrootdirectory /srv\n", &wish, &v);
	assert_int_equal(sshd_drop_in(&v, &wish, buf_text(&out), &again), 0);
	assert_non_null(strstr(buf_text(&again), "\tAllowUsers certsync-gate\n"));
	assert_non_null(strstr(buf_text(&again), "MaxStartups 16:30:32\nMatch User"));
	auto_buf struct buf offered = BUF_INIT(65536), kept = BUF_INIT(65536);
	sshd_judge("PerSourcePenalties authfail:5 min:15\n", &wish, &v);
	assert_int_equal(sshd_drop_in(&v, &wish, "", &offered), 0);
	assert_non_null(strstr(buf_text(&offered), "\n#PerSourcePenaltyExemptList 192.0.2.0/24\nMatch User"));
	assert_int_equal(sshd_drop_in(&v, &wish, "PerSourcePenaltyExemptList 10.0.0.0/8\n", &kept), 0);
	assert_ptr_equal(
		strstr(buf_text(&kept), "PerSourcePenaltyExemptList 10.0.0.0/8\n# certsync: "), buf_text(&kept));
	assert_null(strstr(buf_text(&kept), "#PerSourcePenaltyExemptList"));
}

/* What a person wrote stands where it stood. */
static void a_persons_lines_stay(void **state)
{
	(void)state;
	struct sshd_verdict v;
	auto_buf struct buf out = BUF_INIT(65536), again = BUF_INIT(65536), alone = BUF_INIT(65536);
	static const char old[] = "# Ours since 2019, ask Ola.\n"
				  "Banner /etc/banner\n"
				  "maxstartups=5:30:60 # for the backup\n"
				  "\n"
				  "# SFTP\n"
				  "Match Group sftp\n"
				  "\tForceCommand internal-sftp\n"
				  "match user \"certsync-gate\"\n"
				  "  # it was /bin/false\n"
				  "  ForceCommand /usr/bin/logger\n"
				  "  LogLevel VERBOSE # for a week\n"
				  "Match all\n"
				  "# The end";
	sshd_judge(
		"forcecommand /usr/bin/logger\nmaxstartups 3:30:60\nallowusers admin\npersourcepenalties authfail:5\n",
		&wish, &v);
	assert_int_equal(sshd_drop_in(&v, &wish, old, &out), 0);
	assert_string_equal(buf_text(&out),
		"# Ours since 2019, ask Ola.\n"
		"Banner /etc/banner\n"
		"# certsync doctor put another in the place of: maxstartups=5:30:60 # for the backup\n"
		"MaxStartups 16:30:32\n"
		"\n"
		"# Where agents share an address, the refused key of one shuts out the others, unless it is named here:\n"
		"#PerSourcePenaltyExemptList 192.0.2.0/24\n"
		"# SFTP\n"
		"Match Group sftp\n"
		"\tForceCommand internal-sftp\n"
		"match user \"certsync-gate\"\n"
		"\tAllowUsers certsync-gate\n"
		"\tAuthenticationMethods publickey\n"
		"\tDisableForwarding yes\n"
		"\tPermitTTY no\n"
		"\tX11Forwarding no\n"
		"  # it was /bin/false\n"
		"# certsync doctor put another in the place of: ForceCommand /usr/bin/logger\n"
		"\tForceCommand none\n"
		"  LogLevel VERBOSE # for a week\n"
		"Match all\n"
		"# The end\n");
	assert_int_equal(sshd_drop_in(&v, &wish, buf_text(&out), &again), 0);
	assert_string_equal(buf_text(&again), buf_text(&out));
	/* Where there is no block for the account yet, it goes in front of others, whose lines would be in its way. */
	sshd_judge("forcecommand /bin/false\n", &wish, &v);
	assert_int_equal(sshd_drop_in(&v, &wish,
				 "Banner none\n# All others.\nMatch User *\n\tForceCommand /bin/false\n", &alone),
		0);
	const char *head = strstr(buf_text(&alone), "Banner none\n# certsync: ");
	const char *block = strstr(
		buf_text(&alone), "Match User certsync-gate\n\tAuthenticationMethods publickey\n\tForceCommand none\n");
	assert_ptr_equal(head, buf_text(&alone));
	assert_true(block && strstr(block, "Match all\n# All others.\nMatch User *\n\tForceCommand /bin/false\n"));
}

/* 10.6 prints keywords as sshd_config(5) spells them. */
static void a_dump_is_read_in_any_case(void **state)
{
	(void)state;
	auto_free char *keys = sshd_values("Port 22\nHostKey /etc/a\nHostKeyAgent none\nhostkey /etc/b\n", "hostkey");
	assert_string_equal(keys, "/etc/a /etc/b");
}

static void a_warning_shuts_nobody_out(void **state)
{
	(void)state;
	struct sshd_verdict v;
	sshd_judge("disableforwarding no\nport 2222\nmaxstartups 1\n", &wish, &v);
	assert_int_equal(v.count, 3);
	for (size_t i = 0; i < v.count; i++)
		assert_false(v.faults[i].wrong);
	sshd_judge("allowusers admin\ndisableforwarding yes\n", &wish, &v);
	assert_true(v.faults[0].wrong);
}

static void fail2ban_ignores_networks(void **state)
{
	(void)state;
	const char *list =
		"These IP addresses/networks are ignored:\n|- 127.0.0.0/8\n|- 10.77.0.20\n|- 2001:db8::/33\n`- host.domain.pl\n";
	assert_true(doctor_ignores(list, "127.0.0.1"));
	assert_true(doctor_ignores(list, "10.77.0.20"));
	assert_true(doctor_ignores(list, "2001:db8:7fff::1"));
	assert_true(doctor_ignores(list, "host.domain.pl"));
	assert_false(doctor_ignores(list, "2001:db8:8000::1"));
	assert_false(doctor_ignores(list, "10.77.0.2"));
	assert_false(doctor_ignores(list, "128.0.0.1"));
	assert_false(doctor_ignores("No IP address/network is ignored\n", "::1"));
	assert_true(doctor_ignores("`- 0.0.0.0/0\n", "192.0.2.1"));
	assert_false(doctor_ignores("`- 0.0.0.0/99\n", "192.0.2.1"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_way_to_harden_is_named),
		cmocka_unit_test(all_together_make_one_file),
		cmocka_unit_test(a_persons_lines_stay),
		cmocka_unit_test(a_dump_is_read_in_any_case),
		cmocka_unit_test(a_warning_shuts_nobody_out),
		cmocka_unit_test(fail2ban_ignores_networks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
