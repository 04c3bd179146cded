#!/usr/bin/perl
# Probes of a real Postfix and a real Dovecot, with and without the PROXY protocol, and what those two write into their
# logs about it: fail2ban must count nothing but what cannot be helped. The servers run in namespaces of their own, with
# files of their own, and end with the script.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Temp qw(tempdir);
use FindBin;
use lib "$FindBin::Bin/../lib";
use Dovecot;
use Needs;
use Story;
use Test::More;

my $tool = $ENV{CERTSYNC_PROBE_TOOL} //= abs_path("$Story::bin/../tests/probe_tool");
needs(qw(/usr/sbin/postfix /usr/sbin/dovecot));
Story->enter;

sub listening {
	my %wanted = map { sprintf('%04X', $_) => 1 } @_;
	for (map { split /\n/, Story::read_file("/proc/net/$_") } qw(tcp tcp6)) {
		delete $wanted{$1} if /^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:0000 0A /;
	}
	return !%wanted;
}

# ---- files and accounts of our own ----

Story->cover('etc');
my $dir = tempdir('certsync-probe.XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dir;
Story->run("mount -t tmpfs -o mode=755 tmpfs $_")
	for grep { -d } qw(/var/log /var/spool/postfix /var/lib/postfix /var/lib/dovecot);
for my $name (qw(postfix postdrop dovecot dovenull)) {
	getgrnam $name or Story->run("groupadd --system $name");
	next if $name eq 'postdrop' || getpwnam $name;
	Story->run("useradd --system --gid $name --no-create-home --home-dir /nonexistent $name");
}
Story->run('chown postfix:postfix /var/lib/postfix');

my $pem = "$dir/combined.pem";
Story->run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=mail.domain.pl " .
	"-addext subjectAltName=DNS:mail.domain.pl -keyout $dir/key -out $dir/cert && cat $dir/key $dir/cert >$pem");
my $fingerprint = lc((split /=/, `openssl x509 -in $pem -noout -fingerprint -sha256`)[1] =~ s/[:\s]//gr);

unlink glob '/etc/postfix/*.cf';
Story::write_file('/etc/postfix/main.cf', <<"CONF");
compatibility_level = 3.6
maillog_file = /var/log/mail.log
myhostname = mail.domain.pl
mydestination =
alias_maps =
alias_database =
inet_interfaces = 127.0.0.1, ::1
smtpd_tls_chain_files = $pem
smtpd_tls_security_level = may
CONF
Story::write_file('/etc/postfix/master.cf', <<'CONF');
smtp       inet  n  -  n  -     -  smtpd
smtps      inet  n  -  n  -     -  smtpd -o smtpd_tls_wrappermode=yes
submission inet  n  -  n  -     -  smtpd -o smtpd_tls_security_level=encrypt
10025      inet  n  -  n  -     -  smtpd -o smtpd_upstream_proxy_protocol=haproxy
cleanup    unix  n  -  n  -     0  cleanup
qmgr       unix  n  -  n  300   1  qmgr
tlsmgr     unix  -  -  n  1000? 1  tlsmgr
rewrite    unix  -  -  n  -     -  trivial-rewrite
proxymap   unix  -  -  n  -     -  proxymap
anvil      unix  -  -  n  -     1  anvil
postlog    unix-dgram n - n -   1  postlogd
CONF
Story::write_file("$dir/dovecot.conf", Dovecot::conf(<<"CONF"));
protocols = imap pop3
listen = 127.0.0.1, ::1
log_path = /var/log/dovecot.log
base_dir = /run/dovecot
state_dir = /var/lib/dovecot
ssl = yes
ssl_cert = <$pem
ssl_key = <$pem
haproxy_trusted_networks = 127.0.0.0/8
passdb {
  driver = static
}
service imap-login {
  inet_listener imap_haproxy {
    port = 10143
    haproxy = yes
  }
}
service pop3-login {
  inet_listener pop3_haproxy {
    port = 10110
    haproxy = yes
  }
}
CONF
Story->run('postfix start');
Story->run("dovecot -c $dir/dovecot.conf");
Story->until('servers', sub { listening(25, 465, 587, 10025, 110, 143, 993, 995, 10110, 10143) })
	or BAIL_OUT('the servers do not listen: ' . Story::read_file('/var/log/mail.log') . Story::read_file('/var/log/dovecot.log'));

# ---- the stories ----

# Returns for each endpoint what the probe said.
sub probe {
	my ($timeout, @endpoints) = @_;
	my %said = map { /^(\S+) (.*)$/ ? ($1 => $2) : () } split /\n/, `$tool -t $timeout @endpoints 2>&1`;
	return \%said;
}

my @smtp = qw(127.0.0.1:25 [::1]:25 127.0.0.1:465 127.0.0.1:587 127.0.0.1:10025+proxy);
my @mailbox = qw(127.0.0.1:110 127.0.0.1:143 [::1]:143 127.0.0.1:993 127.0.0.1:995 127.0.0.1:10110+proxy
	127.0.0.1:10143+proxy);
my $said = probe(10000, @smtp, @mailbox);
like($said->{$_}, qr/^served $fingerprint 1 \d+$/, "$_ is served") for @smtp, @mailbox;

my $log = '/var/log/mail.log';
ok(Story->until('their end', sub { (() = Story::read_file($log) =~ /disconnect from/g) == @smtp }), 'Postfix has seen each of them go');
my @gone = Story::read_file($log) =~ /(disconnect from .*)/g;
is(scalar(grep { /ehlo=1 starttls=1 quit=1 commands=3$/ } @gone), 4, 'with EHLO, STARTTLS and QUIT');
is(scalar(grep { / quit=1 commands=1$/ } @gone), 1, 'on 465 with QUIT alone');
unlike(Story::read_file($log), qr/lost connection|SSL_accept|timeout|pipelining|warning|error|fatal/, 'and has nothing to complain of');

$log = '/var/log/dovecot.log';
ok(Story->until('their end', sub { (() = Story::read_file($log) =~ /-login: .*user=/g) == @mailbox }), 'Dovecot has seen each of them go');
# Dovecot writes "no auth attempts" even about a client that logs out; about one that hangs up it would write
# "Connection closed" besides.
my @logins = Story::read_file($log) =~ /(-login: .*)/g;
is(scalar(grep { /(?:Aborted login by logging out|Login aborted: Logged out) .*, TLS,/ } @logins), scalar @mailbox, 'logging out inside TLS');
unlike(Story::read_file($log), qr/Connection closed|TLS handshaking|Error|Warning/, 'and has nothing to complain of');

# This is what an administrator sees who has forgotten +proxy, or written it where it does not belong.
$said = probe(1500, qw(127.0.0.1:10025 127.0.0.1:10143 127.0.0.1:25+proxy 127.0.0.1:993+proxy 127.0.0.1:143/tls
	127.0.0.1:993/imap));
like($said->{'127.0.0.1:10025'}, qr/^timeout .*\(waiting for the greeting\); .*write \+proxy/, 'Postfix stalls without the header');
like($said->{'127.0.0.1:10143'}, qr/^(timeout|protocol) .*write \+proxy/, 'Dovecot too');
unlike($said->{$_}, qr/^served/, "$_ is not served") for '127.0.0.1:25+proxy', '127.0.0.1:993+proxy', '127.0.0.1:993/imap';
like($said->{'127.0.0.1:143/tls'}, qr/^protocol plain text where TLS was expected.*"\* OK/, 'a port for STARTTLS');
diag(map { "$_ $said->{$_}\n" } sort keys %$said) if $ENV{PROBE_SHOW};

# ---- fail2ban ----

# Returns what fail2ban's own filters find in the logs of a hundred probes, by the program that ships with it. No ban
# runs here.
sub matches {
	my ($file, $filter) = @_;
	my $text = `fail2ban-regex --no-check-all $file '$filter' 2>&1`;
	$text =~ /Lines: (\d+) lines, \d+ ignored, (\d+) matched/ or diag($text);
	return ($1 // 0, $2 // -1);
}

sub probe_a_hundred_times {
	my ($log, $pattern, @endpoints) = @_;
	Story::write_file($log, '');
	my $before = () = Story::read_file($log) =~ /$pattern/g;
	my @hundred = map { $endpoints[$_ % @endpoints] } 0 .. 99;
	my @lines = map { split /\n/, `$tool -t 20000 @hundred[$_ * 20 .. $_ * 20 + 19] 2>&1` } 0 .. 4;
	is(scalar(grep { /^\S+ served / } @lines), 100, "$log: a hundred probes are served");
	ok(Story->until('their end', sub { (() = Story::read_file($log) =~ /$pattern/g) >= 100 }), 'and were seen to go');
}
if (!-x '/usr/bin/fail2ban-regex') {
	fail('fail2ban is not installed: make deps');
} else {
	probe_a_hundred_times('/var/log/mail.log', qr/disconnect from/, @smtp);
	probe_a_hundred_times('/var/log/dovecot.log', qr/-login: .*user=/, @mailbox);
	my %counted;
	for (['/var/log/mail.log', 'postfix'], ['/var/log/dovecot.log', 'dovecot']) {
		my ($file, $filter) = @$_;
		for my $mode ('normal', 'aggressive') {
			(my $lines, $counted{"$filter $mode"}) = matches($file, "$filter\[mode=$mode]");
			diag(sprintf 'fail2ban %s[mode=%s]: %d of %d lines of a hundred probes match', $filter, $mode, $counted{"$filter $mode"}, $lines);
			cmp_ok($lines, '>=', 100, "$filter, $mode: has read the log");
		}
	}
	is($counted{$_}, 0, "fail2ban: $_ matches nothing") for 'postfix normal', 'postfix aggressive', 'dovecot normal';
	# "no auth attempts" is written even about a client that logs out, and certsync(1) says what belongs into
	# ignoreip. The filter of Debian 13 does not know how Dovecot 2.4 begins such a line.
	my $known = !Dovecot::since('2.4') || Story::read_file('/etc/fail2ban/filter.d/dovecot.conf') =~ /^mdre-aggressive.*Login aborted/m;
	is($counted{'dovecot aggressive'}, $known ? 100 : 0, 'fail2ban: dovecot aggressive counts each, polite as it is');
	# The same filters do find what is not polite.
	Story::write_file("$dir/rude.log", "Nov 23 02:00:00 mail postfix/smtpd[1]: lost connection after STARTTLS from unknown[192.0.2.1]\n");
	is((matches("$dir/rude.log", 'postfix[mode=aggressive]'))[1], 1, 'and who hangs up is counted by Postfix\'s');
}

Story->run("postfix stop && doveadm -c $dir/dovecot.conf stop");
$said = probe(5000, qw(127.0.0.1:25 127.0.0.1:993));
like($said->{$_}, qr/^refused nothing listens there/, "$_ is dead when its server is stopped") for qw(127.0.0.1:25 127.0.0.1:993);
done_testing;
