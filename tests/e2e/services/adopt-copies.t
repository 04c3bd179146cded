#!/usr/bin/perl
# Services that cannot read what is below live/, all of them real: Exim and Courier with files of their own, HAProxy
# with a directory. adopt has agent.conf write their files from now on, with owner, group and mode as they are, and what
# fails is undone, agent.conf included.
use strict;
use warnings;
use File::Copy qw(copy);
use File::Path qw(make_path);
use FindBin;
use IO::Socket::INET;
use lib "$FindBin::Bin/../lib";
use Courier;
use Story;
use Test::More;

Story->enter("$FindBin::Bin/../lib/with-packages", 'exim4-daemon-light / courier-imap courier-pop');

my $story = Story->new;
my $top = $story->top;
my $conf = "$top/here/agent.conf";
my ($exit, $text);

# ---- the servers, each with an old certificate ----

my %print = map { $_ => $story->pair($_) } qw(old r0 r1 domain address);
my $pem = Story::read_file("$top/old.key") . Story::read_file("$top/old.crt");

sub put {
	my ($path, $content, $owner, $mode) = @_;
	Story::write_file($path, $content, $mode);
	$story->run("chown $owner $path");
}

$story->run("useradd --system --no-create-home $_") for qw(Debian-exim courier);
make_path(qw(/run/exim4 /var/spool/exim4 /var/log/exim4 /etc/exim4 /run/courier/authdaemon /etc/haproxy/certs));
$story->run('chown Debian-exim: /run/exim4 /var/spool/exim4 /var/log/exim4 && chown -R courier: /var/lib/courier /etc/courier /run/courier');
$story->run('ln -s makedat.courier /usr/bin/makedat');
Story::write_file('/etc/exim4/exim4.conf', join "\n", 'keep_environment =', 'local_interfaces = 127.0.0.1', 'daemon_smtp_ports = 25 : 465',
	'tls_on_connect_ports = 465', 'tls_advertise_hosts = *', 'tls_certificate = /etc/exim4/exim.crt', 'tls_privatekey = /etc/exim4/exim.key',
	'hosts_require_helo =', 'begin acl', '');
put('/etc/exim4/exim.crt', Story::read_file("$top/old.crt"), 'root:root', 0644);
put('/etc/exim4/exim.key', Story::read_file("$top/old.key"), 'root:Debian-exim', 0640);
# What Courier prefers for a name, a domain and an address; the last two are none of these.
my @preferred = map { "/etc/courier/imapd.pem.$_" } $Story::name, 'domain.pl', '127.0.0.1';
my @aside = map { "/etc/courier/imapd.pem.$_" } 'bak', 'other.domain.example';
put($_, $pem, 'courier:courier', 0600) for qw(/etc/courier/imapd.pem /etc/courier/pop3d.pem), @preferred, @aside;
put('/etc/haproxy/certs/mail.pem', $pem, 'root:root', 0600);
Story::write_file('/etc/haproxy/haproxy.cfg', join "\n", 'defaults', "\tmode http", "\ttimeout client 5s", "\ttimeout server 5s",
	"\ttimeout connect 5s", 'frontend f', "\tbind 127.0.0.1:8443 ssl crt /etc/haproxy/certs/", '');
my @files = qw(/etc/exim4/exim.crt /etc/exim4/exim.key /etc/courier/imapd.pem /etc/courier/pop3d.pem /etc/haproxy/certs/mail.pem);
push @files, @preferred, @aside;

my %ports = ('25' => 'smtp', '465' => '', '143' => 'imap', '993' => '', '995' => '', '8443' => '');

sub serves {
	my ($what, $certificate) = @_;
	my $left = '';
	$story->until($what, sub { ($left = join ', ', grep { $story->served($_, starttls => $ports{$_}) ne $print{$certificate} } sort keys %ports) eq '' }, 15);
	is($left, '', "$what: on every port") or diag($story->log('here'));
}

# Checks what Courier presents by each of the files that it prefers, and for a name that has none but that of the address.
sub preferred {
	my ($what, %wanted) = @_;
	is(eval { $story->served(993, sni => $_) } // '', $print{$wanted{$_}}, "$what: for $_") for sort keys %wanted;
}

sub state_of_files { return scalar `stat -c '%n %U %G %a' $conf @files && sha256sum $conf @files` }
sub owners { return scalar `stat -c '%n %U %G %a' $conf @files` }

sub adopt {
	my (@words) = @_;
	my $output = `timeout 300 $Story::bin/certsync-agent adopt @words -c $conf 2>&1`;
	return ($? >> 8, $output);
}

# ---- the node ----

ok($story->hub, 'a hub starts') or BAIL_OUT($story->log('hub'));
$story->agent_conf('here', services => <<'CONF');
service "exim4" { probe = {"127.0.0.1:25", "127.0.0.1:465"} }
	service "courier" { # service "exim4" {
		probe = {"127.0.0.1:143", "127.0.0.1:993", "127.0.0.1:995"}
	}
	service "haproxy" { probe = {"127.0.0.1:8443"} }
CONF
copy($_, "$top/here/hooks/") or die for glob "$Story::bin/hooks/*";
chmod 0755, glob "$top/here/hooks/*";
$story->enrol('here') or BAIL_OUT(Story::read_file("$top/join.log"));
$story->start('exim', 'exim4', '-bdf');
$story->run(Courier::script($_) . " start") for qw(imapd imapd-ssl pop3d pop3d-ssl);
# Anybody can take any name: this process is nobody's, with a configuration and a certificate of nobody's.
make_path("$top/nobodys/certs");
copy('/usr/bin/tail', "$top/nobodys/haproxy") or die;
chmod 0755, "$top/nobodys/haproxy";
put("$top/nobodys/certs/wanted.pem", $pem, 'nobody:nogroup', 0600);
put("$top/nobodys/haproxy.cfg", "frontend f\n\tbind 127.0.0.1:9443 ssl crt $top/nobodys/certs/\n", 'nobody:nogroup', 0644);
chmod 0755, $top;
$story->start('nobodys', 'setpriv', '--reuid', 'nobody', '--regid', 'nogroup', '--clear-groups', "$top/nobodys/haproxy", '-f', "$top/nobodys/haproxy.cfg");
ok($story->until('nobody', sub { `cat /proc/[0-9]*/comm` =~ /^haproxy$/m }), "nobody's process has taken HAProxy's name");
$story->start('haproxy', qw(/usr/sbin/haproxy -W -f /etc/haproxy/haproxy.cfg));
serves('at first', 'old');
put($preferred[1], Story::read_file("$top/domain.key") . Story::read_file("$top/domain.crt"), 'courier:courier', 0600);
put($preferred[2], Story::read_file("$top/address.key") . Story::read_file("$top/address.crt"), 'courier:courier', 0600);
my %names = ($Story::name => 'old', 'imap.domain.pl' => 'domain', 'mail.elsewhere.example' => 'address');
preferred('at first', %names);
# The agent does not know of these files yet.
$story->run("chown root: $preferred[1]");
$text = `env -i PATH=\$PATH CERTSYNC_CERTIFICATE=$Story::name $Story::bin/hooks/courier test 2>&1`;
is($? >> 8, 1, 'what Courier prefers and cannot read fails the test');
like($text, qr/user courier cannot read \Q$preferred[1]\E: give it owner, group and mode in agent\.conf/, 'with the reason');
$story->run("chown courier: $preferred[1]");
is(system("env -i PATH=\$PATH CERTSYNC_CERTIFICATE=$Story::name $Story::bin/hooks/courier test"), 0, 'and passes when it can');
Story::import($story, 'r0');
$story->start_agent('here');
ok($story->until('files', sub { $story->installed('here') eq $print{r0} }), 'the first revision is installed') or diag($story->log('here'));

# Nothing is known of this program, and it is found by what it serves; one that listens without TLS is not named.
my ($unknown, $plain) = (Story::free_port(), IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1'));
$story->start('unknown', 'openssl', 's_server', '-quiet', '-accept', "127.0.0.1:$unknown", '-cert', "$top/domain.crt", '-key', "$top/domain.key");
ok($story->until('unknown', sub { IO::Socket::INET->new(PeerAddr => "127.0.0.1:$unknown") }), 'a program of which nothing is known listens');
my $found = `$Story::bin/../tests/discover_tool $Story::name`;
like($found, qr/^# 127\.0\.0\.1:$unknown \(openssl\) serves TLS, for \S*domain\.pl: no hook of certsync's is named after it$/m, 'its port is named') or diag($found);
unlike($found, qr/:@{[$plain->sockport]}\b/, 'and none that has no TLS');
$story->stop('unknown', 'KILL');
my %probes = $found =~ /^\tservice "(\S+)" \{\n(?:\t\t#.*\n)*\t\tprobe = \{(.*)\}/mg;
is($probes{exim4} // '', '"127.0.0.1:25", "127.0.0.1:465"', 'a first agent.conf has where Exim listens') or diag($found);
is($probes{haproxy} // '', '"127.0.0.1:8443"', 'and HAProxy');
is(scalar(() = ($probes{courier} // '') =~ /:(143|993|110|995)"/g), 4, 'all of Courier') or diag($found);

# ---- shown, and undone ----

my $before = state_of_files();
($exit, $text) = adopt();
is($exit, 0, 'adopt shows') or diag($text);
like($text, qr/^\+\t\tfile "\/etc\/exim4\/exim.key" \{ content = "privkey" owner = "root" group = "Debian-exim" mode = "0640" \}$/m, 'the key of Exim');
like($text, qr/^\+\t\tfile "\/etc\/courier\/imapd.pem" \{ content = "combined" owner = "courier" group = "courier" mode = "0600" \}$/m, 'a file of Courier');
like($text, qr/^\+\t\tfile "\Q$_\E" \{ content = "combined" owner = "courier"/m, "$_, which Courier prefers") for @preferred;
unlike($text, qr/\Q$_\E"/, "$_ is nothing that it reads") for @aside;
like($text, qr/^\/etc\/haproxy\/certs\/mail.pem: written, /m, 'that a file is written');
unlike($text, qr/PRIVATE/, 'and no key');
unlike($text, qr/nobodys/, "nothing of nobody's is looked at");
my $given = Story::read_file($conf);
make_path('/etc/other/certs');
put('/etc/other/certs/mail.pem', $pem, 'root:root', 0600);
Story::write_file('/etc/other/haproxy.cfg', Story::read_file('/etc/haproxy/haproxy.cfg') =~ s{/etc/haproxy/}{/etc/other/}r);
Story::write_file($conf, $given =~ s/service "haproxy" \{/$& instance = {"-f", "\/etc\/other\/haproxy.cfg"}/r);
like((adopt())[1], qr/^\/etc\/other\/certs\/mail.pem: written, /m, 'of an instance that agent.conf names its files are looked at');
unlike((adopt())[1], qr/^\/etc\/haproxy\/certs/m, 'and no other');
Story::write_file($conf, $given);
is(state_of_files(), $before, 'and changes nothing');
Story::write_file("$top/here/hooks/courier", "#!/bin/sh\n[ \"\$1\" != reload ] || { echo no; exit 1; }\nexec $Story::bin/hooks/courier \"\$1\"\n", 0755);
($exit, $text) = adopt('--apply');
is($exit, 1, 'a reload that fails');
is(state_of_files(), $before, 'all is as it was, agent.conf too') or diag($text);
serves('undone', 'old');
copy("$Story::bin/hooks/courier", "$top/here/hooks/") or die;

# ---- done ----

my $owners = owners();
($exit, $text) = adopt('--apply');
is($exit, 0, 'adopt --apply') or diag($text);
like($text, qr/certsync-agent-root reads it again/, 'the agent is told');
unlike($text, qr/was not told/, 'and that it is to look');
ok($story->until('verified', sub { ($story->state_of('here')->{state} // '') eq 'verified' }), 'it sees at once that all is right') or diag($text, $story->log('hub'));
is($story->state_of('here')->{drifts}, 0, 'nobody is said to have changed anything');
serves('adopted', 'r0');
preferred('adopted', map { $_ => 'r0' } keys %names);
is(owners(), $owners, 'owner, group and mode are as they were');
is(system("$Story::bin/certsync-agent config -c $conf >/dev/null"), 0, 'agent.conf loads');
$before = state_of_files();
($exit, $text) = adopt('--apply');
is($exit, 0, 'a second time');
like($text, qr/nothing to do/, 'there is nothing to do') or diag($text);
is(state_of_files(), $before, 'and nothing is done');
Story::import($story, 'r1');
ok($story->until('verified', sub { ($story->state_of('here')->{state} // '') eq 'verified' && $story->installed('here') eq $print{r1} }, 40), 'a renewal is verified')
	or diag(($story->certsync('status'))[1] . $story->log('here'));
serves('the renewal', 'r1');
preferred('the renewal', map { $_ => 'r1' } keys %names);
is(owners(), $owners, 'owner, group and mode are as they were');

# ---- one that is forgotten ----

sub doctor { return scalar `$Story::bin/certsync-agent doctor -c $conf 2>&1` }
unlike(doctor(), qr/is presented for/, 'doctor has nothing to say of files that are renewed');
Story::write_file($conf, Story::read_file($conf) =~ s/^\s*file "\Q$preferred[0]\E".*\n//mr);
like(doctor(), qr/courier: \Q$preferred[0]\E is presented for \Q$Story::name\E, too, and no section of agent\.conf writes it/, 'and tells of one that is not');

$story->run(Courier::script($_) . " stop") for qw(imapd imapd-ssl pop3d pop3d-ssl);
$story->ends_clean;
done_testing();
