#!/usr/bin/perl
# Probes of real servers beside those of mail.t and probe.t: OpenLDAP, Prosody, vsftpd, INN's nnrpd, and Dovecot's LMTP
# and ManageSieve. Of each port the certificate that is served is seen, and after a change and what the server wants for
# it the new one; the server's own log has a polite end of each; and one that has no TLS is named with its own reason.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Dovecot;
use Fcntl qw(F_SETFD);
use IO::Socket::UNIX;
use Story;
use Test::More;

Story->enter("$FindBin::Bin/../lib/with-packages", 'slapd / prosody / vsftpd / inn2 / dovecot-core dovecot-lmtpd dovecot-managesieved');

my $story = Story->new;
my $top = $story->top;
my ($crt, $key) = ("$top/served.crt", "$top/served.key");
my %print = map { $_ => $story->pair($_) } qw(old new);

# The key must be readable for nnrpd and not for everybody.
sub serve {
	my ($pair) = @_;
	Story::write_file("$crt.new", Story::read_file("$top/$pair.crt"));
	Story::write_file("$key.new", Story::read_file("$top/$pair.key"), 0600);
	$story->run("chown news $key.new && mv $crt.new $crt && mv $key.new $key");
}

# ---- where a program's words for syslog go ----

# A directory of its own has what servers need of /dev: some of that may be mounted there one by one.
$story->run('mkdir /mnt/dev && mount -t tmpfs -o mode=755 none /mnt/dev && cd /mnt/dev'
	. ' && for i in null zero full random urandom tty; do : >$i && mount --bind /dev/$i $i || exit; done'
	. ' && mkdir pts shm && mount --bind /dev/pts pts && mount --bind /dev/shm shm && ln -s /proc/self/fd fd && mount --rbind /mnt/dev /dev');
my $syslog = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => '/dev/log') or die "/dev/log: $!";
chmod 0666, '/dev/log';
# It is read all the time, since who writes there waits when nobody reads.
fcntl $syslog, F_SETFD, 0 or die $!;
$story->start('syslog', $^X, '-e', 'open my $in, "<&=", shift or die $!; $| = 1; my $line; print "$line\n" while defined recv $in, $line, 4096, 0', fileno $syslog);
close $syslog;

# ---- the servers: each once with TLS, and once without on ports that are ten thousand higher ----

sub vsftpd {
	my ($name, $port, $more) = @_;
	Story::write_file("$top/$name.conf", <<"CONF" . $more);
listen=YES
listen_address=127.0.0.1
listen_port=$port
background=NO
ftp_username=nobody
nopriv_user=nobody
xferlog_enable=YES
log_ftp_protocol=YES
vsftpd_log_file=$top/ftp.log
secure_chroot_dir=$top/empty
CONF
	$story->start($name, '/usr/sbin/vsftpd', "$top/$name.conf");
}

sub slapd {
	my ($name, $urls, $more) = @_;
	Story::write_file("$top/$name.conf", "include /etc/ldap/schema/core.schema\n$more");
	$story->start($name, '/usr/sbin/slapd', '-f', "$top/$name.conf", '-h', $urls, '-d', 'stats');
}

sub prosody {
	my ($name, $offset, $more) = @_;
	mkdir $_ for "$top/$name", "$top/certs"; # it looks for certificates beside its configuration, too
	Story::write_file("$top/$name.lua", <<"CONF");
pidfile = "$top/$name/pid"
data_path = "$top/$name"
run_as_root = true
interfaces = { "127.0.0.1" }
log = { debug = "$top/$name/log" }
authentication = "internal_hashed"
modules_enabled = { "saslauth", "dialback", "tls" }
c2s_ports = { @{[5222 + $offset]} }
s2s_ports = { @{[5269 + $offset]} }
$more
VirtualHost "$Story::name"
CONF
	$story->start($name, '/usr/bin/prosody', '-F', '--config', "$top/$name.lua");
}

# nnrpd gives up root, and its files are the user's that it then is.
sub nnrpd {
	my ($name, $port, $more, @flags) = @_;
	my $at = "$top/$name";
	Story::write_file("$at.conf", <<"CONF" . $more);
domain: domain.pl
pathhost: news.domain.pl
mta: "/usr/sbin/sendmail %s"
pathnews: /usr/lib/news
@{[map { "path$_: $at\n" } qw(db run log etc spool)]}
pathoverview: $at
hismethod: hisv6
enableoverview: true
ovmethod: tradindexed
CONF
	mkdir $at;
	Story::write_file("$at/$_", '') for qw(newsgroups history group.index inn-secrets.conf);
	Story::write_file("$at/active", "local.test 0000000000 0000000001 y\n");
	Story::write_file("$at/storage.conf", "method tradspool {\n newsgroups: *\n class: 0\n}\n");
	Story::write_file("$at/readers.conf", "auth all {\n hosts: \"*\"\n default: \"reader\"\n}\naccess all {\n users: \"*\"\n newsgroups: \"*\"\n access: R\n}\n");
	$story->run("chown -R news:news $at && su news -s /bin/sh -c 'INNCONF=$at.conf /usr/lib/news/bin/makedbz -i -o -s 1000'");
	$story->start($name, 'env', "INNCONF=$at.conf", '/usr/lib/news/bin/nnrpd', '-D', '-f', '-4', '127.0.0.1', '-p', $port, '-t', @flags);
}

sub dovecot {
	my ($name, $offset, $ssl) = @_;
	Story::write_file("$top/$name.conf", Dovecot::conf(<<"CONF"));
protocols = lmtp sieve
listen = 127.0.0.1
log_path = $top/$name.log
base_dir = $top/$name
state_dir = $top/$name
ssl = $ssl
ssl_cert = <$crt
ssl_key = <$key
passdb {
  driver = static
}
service lmtp {
  inet_listener lmtp {
    port = @{[24 + $offset]}
  }
}
service managesieve-login {
  inet_listener sieve {
    port = @{[4190 + $offset]}
  }
}
CONF
	$story->start($name, '/usr/sbin/dovecot', '-F', '-c', "$top/$name.conf");
}

for my $name (qw(dovecot dovenull)) {
	getpwnam $name or Story->run("useradd --system --user-group --no-create-home --home-dir /nonexistent $name");
}
serve('old');
mkdir "$top/empty", 0555;
my $files = "rsa_cert_file=$crt\nrsa_private_key_file=$key\nssl_enable=YES\n";
my @ftp = (['ftp-tls', 21, $files], ['ftp-implicit', 990, "${files}implicit_ssl=YES\n"]);
vsftpd(@$_) for @ftp;
vsftpd('ftp-plain', 10021, '');
my @tls = ('slapd', 'ldap://127.0.0.1:389 ldaps://127.0.0.1:636', "TLSCertificateFile $crt\nTLSCertificateKeyFile $key\n");
slapd(@tls);
slapd('slapd-plain', 'ldap://127.0.0.1:10389', '');
prosody('prosody', 0, qq(ssl = { certificate = "$crt"; key = "$key" }\nc2s_direct_tls_ports = { 5223 }));
prosody('prosody-plain', 10000, 'modules_disabled = { "tls" }');
nnrpd('nnrpd', 119, "tlscertfile: $crt\ntlskeyfile: $key\n");
nnrpd('nnrpd-tls', 563, "tlscertfile: $crt\ntlskeyfile: $key\n", '-S');
nnrpd('nnrpd-plain', 10119, '');
dovecot('dovecot', 0, 'yes');
dovecot('dovecot-plain', 10000, 'no');

# The word of a port's protocol is not needed where the port is a well-known one.
my @ports = qw(389 636 5222 5223 5269 21 990 119 563 24 4190);
my @plain = qw(10389 15222 15269 10021 10119 10024 14190);

# Returns those at which nobody listens.
sub silent {
	my %wanted = map { sprintf('%04X', $_) => $_ } @_;
	delete $wanted{$_} for Story::read_file('/proc/net/tcp') =~ /^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:0000 0A /mg;
	my @silent = sort { $a <=> $b } values %wanted;
	return @silent;
}
if (!ok($story->until('servers', sub { !silent(@ports, @plain) }), 'all servers listen')) {
	diag("nobody listens at: @{[silent(@ports, @plain)]}", map { "\n$_: " . Story::read_file($_) } glob("$top/*.log"), glob("$top/prosody*/log"));
	BAIL_OUT('servers that do not start');
}

# ---- the stories ----

# Returns for each endpoint what the probe said.
sub probe {
	my %said = map { /^(\S+) (.*)$/ ? ($1 => $2) : () } split /\n/, `$Story::bin/../tests/probe_tool -t 10000 @_ 2>&1`;
	return \%said;
}

sub count { return scalar(() = $_[0] =~ /$_[1]/g) }

# Says of each server that it has seen a polite end at each of its ports, and nothing else.
sub polite {
	my @logs = (
		['OpenLDAP', 2, sub { $story->log('slapd') }, qr/ UNBIND$/m],
		['Prosody', 3, sub { Story::read_file("$top/prosody/log") }, qr/\tReceived <\/stream:stream>$/m],
		['vsftpd', 2, sub { Story::read_file("$top/ftp.log") }, qr/FTP response: .*"221 /],
		['nnrpd', 2, sub { $story->log('syslog') }, qr/ < QUIT$/m],
		['Dovecot LMTP', 1, sub { $story->log('dovecot') }, qr/lmtp\(.*: Logged out/],
		['Dovecot ManageSieve', 1, sub { $story->log('dovecot') }, qr/managesieve-login: .*(?:logging out|Logged out).*TLS/],
	);
	for (@logs) {
		my ($name, $ports, $log, $pattern) = @$_;
		ok($story->until($name, sub { count($log->(), $pattern) >= $ports }), "$name has seen a polite end of each");
		is(count($log->(), $pattern), $ports, "$name: and no more");
	}
	unlike($story->log('slapd'), qr/connection lost|err=[1-9]|TLS negotiation failure/, 'OpenLDAP has nothing to complain of');
	unlike(Story::read_file("$top/prosody/log"), qr/\terror\t|handshake error|<stream:error>/, 'nor has Prosody');
	unlike(Story::read_file("$top/ftp.log"), qr/"5\d\d |error|fail/i, 'nor has vsftpd');
	unlike($story->log('syslog'), qr/SSL|TLS.*(?:fail|error)|reset|abort|bad/i, 'nor has nnrpd');
	unlike($story->log('dovecot'), qr/Error|Warning|Connection closed/, 'nor has Dovecot');
}

my $said = probe(map { "127.0.0.1:$_" } @ports);
like($said->{"127.0.0.1:$_"}, qr/^served $print{old} 1 \d+$/, "$_ is served") for @ports;
polite();

serve('new');
$said = probe(map { "127.0.0.1:$_" } @ports);
diag(map { "$_ $said->{$_}\n" } sort keys %$said) if $ENV{PROBE_SHOW};
# nnrpd reads the files for each of its clients.
my %at_once = map { $_ => 1 } qw(119 563);
like($said->{"127.0.0.1:$_"}, $at_once{$_} ? qr/^served $print{new}/ : qr/^served $print{old}/, "$_: the files are replaced, and nothing was reloaded")
	for @ports;
kill HUP => $story->{started}{$_} for qw(prosody dovecot);
$story->stop($_) for 'slapd', map { $_->[0] } @ftp;
slapd(@tls);
vsftpd(@$_) for @ftp;
ok($story->until('new', sub { $said = probe(map { "127.0.0.1:$_" } @ports); !grep { $said->{"127.0.0.1:$_"} !~ /^served $print{new} / } @ports }),
	'after that the new one is seen at each') or diag(explain($said));

# `certsync check` says the same, and of those that have no TLS what they say themselves.
my $check = "$Story::bin/certsync check --anchors $top/ca.pem -c $top/none.conf --timeout 10";
my $text = `$check --at 127.0.0.1 @{[map { "$Story::name:$_" } @ports]} 2>&1`;
is($?, 0, 'certsync check finds all in order') or diag($text);
my @words = qw(389/ldap 636/ldaps 21/ftp 990/ftps 119/nntp 563/nntps 24/lmtp 4190/sieve);
$text = `$check --json @{[map { "127.0.0.1:$_" } @words]} 2>&1`;
is(count($text, qr/"untrusted"/), scalar @words, 'by its address each is reached, and the name is what is wrong') or diag($text);
my %reason = (
	10389 => qr/LDAP refuses: resultCode 2 \(protocolError\), "unsupported extended operation"/,
	15222 => qr/XMPP refuses a stream to "mail\.domain\.pl": "undefined-condition: No stream features/, # nothing is left that it may offer
	15269 => qr/XMPP answers, but does not offer STARTTLS/,
	10021 => qr/FTP refuses: "530 Please login with USER and PASS\."/,
	10119 => qr/NNTP refuses: "580 /,
	10024 => qr/LMTP answers, but does not offer STARTTLS/,
	14190 => qr/ManageSieve answers, but does not offer STARTTLS/,
);
$said = probe(map { "127.0.0.1:$_" } @plain);
like($said->{"127.0.0.1:$_"}, $reason{$_}, "$_: no TLS, and why") for @plain;
$text = `$check --at 127.0.0.1 @{[map { "$Story::name:$_" } @plain]} 2>&1`;
like($text, $reason{$_}, "$_: certsync check says why") for @plain;

# Without the name whose certificate is wanted XMPP has none.
$text = `$check --at 127.0.0.1 other.domain.pl:5222 other.domain.pl:5269 2>&1`;
is(count($text, qr/refuses a stream to "other\.domain\.pl": "host-unknown/), 2, 'Prosody is asked for the name, and has another') or diag($text);
$story->stop($_) for reverse sort keys %{$story->{started}};
done_testing;
