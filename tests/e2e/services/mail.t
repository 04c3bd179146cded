#!/usr/bin/perl
# Mail servers whose hooks an agent of one node runs: a real Exim, Courier's IMAP, POP3 and SMTP servers, qmail's place
# behind a real tcpserver (its smtpd is a double, qmail_smtpd_double.py), and an old host that has no agent, which
# relay-ssh reaches over a real sshd. A renewal is served on every port; `test` finds what is broken, with nothing
# changed anywhere; and a stopped service gets its files.
# Not under valgrind: hooks are scripts.
use strict;
use warnings;
use File::Copy qw(copy);
use File::Path qw(make_path);
use FindBin;
use lib "$FindBin::Bin/../lib";
use Courier;
use Story;
use Test::More;
use Time::HiRes qw(time);

Story->enter("$FindBin::Bin/../lib/with-packages", 'exim4-daemon-light ucspi-tcp / courier-imap courier-pop courier-mta');

my $story = Story->new;
my $top = $story->top;
# The other host's root lies in the memory that with-packages has at /mnt, with what is mounted there, and ends with it.
my ($old, $relay) = ('/mnt/old', "$top/here/etc/relay");
my ($exit, $text);

sub edit {
	my ($path, $change) = @_;
	local $_ = Story::read_file($path);
	$change->();
	Story::write_file($path, $_);
}

# ---- the servers of this node ----

sub exim_conf {
	my ($pem, @more) = @_;
	Story::write_file('/etc/exim4/exim4.conf', join "\n", 'keep_environment =', 'local_interfaces = 127.0.0.1', 'daemon_smtp_ports = 25 : 465',
		'tls_on_connect_ports = 465', 'tls_advertise_hosts = *', "tls_certificate = $pem", 'hosts_require_helo =', @more, 'begin acl', '');
}

sub start_exim {
	$story->start('exim', 'exim4', '-bdf');
	return $story->until('exim', sub { $story->served('127.0.0.1:465') ne '' });
}

my @courier = qw(imapd imapd-ssl pop3d pop3d-ssl esmtpd esmtpd-ssl);

sub courier_up { $story->run(Courier::script($_) . " start") for @courier }
sub courier_down { $story->run(Courier::script($_) . " stop") for @courier }

sub qmail_home {
	my ($root) = @_;
	make_path("$root/var/qmail/control", "$root/var/qmail/bin");
	Story::write_file("$root/var/qmail/control/me", "mail.domain.pl\n");
	copy("$FindBin::Bin/../lib/qmail_smtpd_double.py", "$root/var/qmail/bin/qmail-smtpd") or die;
	chmod 0755, "$root/var/qmail/bin/qmail-smtpd";
}

sub start_qmail {
	my ($what, $address, $port, @in) = @_;
	my ($uid, $gid) = (getpwnam 'qmaild')[2, 3];
	my $pid = $story->start($what, @in, 'tcpserver', '-HRl0', '-u', $uid, '-g', $gid, $address, $port, '/var/qmail/bin/qmail-smtpd');
	$story->until($what, sub { $story->served("$address:$port", starttls => 'smtp') ne '' }) or diag($story->log($what));
	return $pid;
}

sub node_up {
	$story->run('groupadd --system qmail && useradd --system --no-create-home -g qmail qmaild');
	$story->run("useradd --system --no-create-home $_") for qw(Debian-exim courier);
	make_path(qw(/run/exim4 /var/spool/exim4 /var/log/exim4 /etc/exim4 /run/courier/authdaemon));
	$story->run('chown Debian-exim: /run/exim4 /var/spool/exim4 /var/log/exim4 && chown -R courier: /var/lib/courier /etc/courier /run/courier');
	$story->run('ln -s makedat.courier /usr/bin/makedat && ip address add 192.0.2.7/32 dev lo');
	exim_conf('/etc/exim4/exim.pem');
	edit('/etc/courier/esmtpd', sub { s/^PORT=.*/PORT=587/m; s/^ADDRESS=.*/ADDRESS=127.0.0.1/m; s/^ULIMIT=.*/ULIMIT=262144/m });
	edit('/etc/courier/esmtpd-ssl', sub { s/^SSLPORT=.*/SSLPORT=4465/m; s/^SSLADDRESS=.*/SSLADDRESS=127.0.0.1/m });
	qmail_home('');
}

# ---- the old host: a root of its own, with the programs of this one, an sshd, and qmail ----

sub old_up {
	make_path($relay, map { "$old/$_" } qw(usr etc/ssh root/.ssh run/sshd dev tmp var/empty opt));
	$story->run("mount --bind /usr $old/usr && mount -o remount,bind,ro $old/usr && mknod -m 666 $old/dev/null c 1 3");
	symlink "usr/$_", "$old/$_" or die for qw(bin sbin lib lib64);
	$story->run("mknod -m 444 $old/dev/urandom c 1 9 && cp /etc/passwd /etc/group /etc/nsswitch.conf $old/etc/ && chmod 700 $old/root $old/root/.ssh");
	$story->run("cp -r /etc/ld.so.cache /etc/alternatives $old/etc/ && ssh-keygen -q -t ed25519 -N '' -f $old/etc/ssh/host");
	copy("$FindBin::Bin/../../../examples/relay/certsync-relay", "$old/opt/certsync-relay") or die;
	chmod 0755, "$old/opt/certsync-relay";
	old_conf();
	$story->run("ssh-keygen -q -t ed25519 -N '' -f $relay/oldmail.key");
	my $line = 'restrict,command="/opt/certsync-relay /etc/certsync-relay.conf" ';
	Story::write_file("$old/root/.ssh/authorized_keys", $line . Story::read_file("$relay/oldmail.key.pub"), 0600);
	Story::write_file("$old/etc/ssh/sshd_config", "ListenAddress 192.0.2.7:22\nHostKey /etc/ssh/host\nUsePAM no\nPidFile none\nStrictModes yes\n");
	Story::write_file("$old/etc/shadow", "root:*:19000:0:99999:7:::\nsshd:!:19000::::::\n", 0600);
	qmail_home($old);
	pin();
	Story::write_file("$relay/oldmail.conf", "# the old one\nhost = 192.0.2.7\n");
	start_sshd();
}

sub old_conf {
	my (%wish) = @_;
	my %conf = (combined => '/var/qmail/control/servercert.pem', owner => 'root:qmail', mode => 640, fullchain => '/etc/public.pem',
		running_command => 'kill -0 "$(cat /run/smtpd.pid)" 2>/dev/null || exit 3', reload_command => 'date >>/run/reloaded', %wish);
	Story::write_file("$old/etc/certsync-relay.conf", join '', map { "$_='$conf{$_}'\n" } sort keys %conf);
}

sub start_sshd {
	$story->start('sshd', 'chroot', $old, '/usr/sbin/sshd', '-D', '-e', '-f', '/etc/ssh/sshd_config');
	return $story->until('sshd', sub { IO::Socket::INET->new('192.0.2.7:22') });
}

# Pins the host key that is expected: the old host's, or another.
sub pin {
	my ($path) = @_;
	my ($type, $key) = split ' ', Story::read_file($path // "$old/etc/ssh/host.pub");
	Story::write_file("$relay/known_hosts", "192.0.2.7 $type $key\n");
}

# ---- what is seen ----

my %ports = (
	'127.0.0.1:25' => 'smtp', '127.0.0.1:465' => '', '127.0.0.1:143' => 'imap', '127.0.0.1:993' => '', '127.0.0.1:110' => 'pop3',
	'127.0.0.1:995' => '', '127.0.0.1:587' => 'smtp', '127.0.0.1:4465' => '', '127.0.0.1:2525' => 'smtp', '192.0.2.7:25' => 'smtp',
);

sub all_serve {
	my ($fingerprint, $what) = @_;
	my @wrong = grep { $story->served($_, starttls => $ports{$_}) ne $fingerprint } sort keys %ports;
	is("@wrong", '', "$what: on all " . keys(%ports) . ' ports');
}

my @copies = (['/etc/exim4/exim.pem', 'root:Debian-exim 640'], (map { ["/etc/courier/$_.pem", 'courier:courier 600'] } qw(imapd pop3d esmtpd)),
	['/var/qmail/control/servercert.pem', 'root:qmail 640'], ["$old/var/qmail/control/servercert.pem", 'root:qmail 640'],
	["$old/etc/public.pem", 'root:qmail 644']);

sub all_hold {
	my ($fingerprint, $what) = @_;
	my @wrong = grep { $story->fingerprint($_->[0]) ne $fingerprint } @copies;
	is(join(' ', map { $_->[0] } @wrong), '', "$what: every file");
	my @left = map { glob } "$old/var/qmail/control/.*certsync*", "$old/etc/.*certsync*";
	is("@left", '', "$what: nothing is left over on the old host");
}

# Checks that a renewal is halted where every service is tested, told with the service's own words, and that nothing has
# changed.
sub refused {
	my ($what, $fingerprint, $like) = @_;
	($exit, $text) = $story->certsync('push');
	is($exit, 3, "$what: push does not converge") or diag($text);
	like($text, $like, "$what: the reason is told");
	is($story->installed('here'), $fingerprint, "$what: the old certificate is installed");
	all_hold($fingerprint, $what);
}

# Returns whether Courier resumes the session of a client that comes back with it.
sub resumes {
	my ($direction) = @_;
	return `openssl s_client -tls1_2 -connect 127.0.0.1:993 -$direction $top/session </dev/null 2>/dev/null` =~ /^Reused,/m;
}

# ---- the story ----

node_up();
old_up() or BAIL_OUT($story->log('sshd'));
my $first = $story->pair('first');
ok($story->hub, 'a hub starts') or BAIL_OUT($story->log('hub'));
$story->import('first');
my $hooks = "$Story::bin/hooks";
$story->agent_conf('here', services => <<"SERVICES");
	service "exim4" {
		hook = "$hooks/exim4"
		file "/etc/exim4/exim.pem" { content = "combined" group = "Debian-exim" mode = "0640" }
		probe = {"127.0.0.1:25", "127.0.0.1:465"}
	}
	service "courier" {
		hook = "$hooks/courier"
		file "/etc/courier/imapd.pem" { content = "combined" owner = "courier" group = "courier" }
		file "/etc/courier/pop3d.pem" { content = "combined" owner = "courier" group = "courier" }
		file "/etc/courier/esmtpd.pem" { content = "combined" owner = "courier" group = "courier" }
		probe = {"127.0.0.1:143", "127.0.0.1:993", "127.0.0.1:110", "127.0.0.1:995", "127.0.0.1:587", "127.0.0.1:4465/tls"}
	}
	service "qmail" {
		hook = "$hooks/qmail"
		file "/var/qmail/control/servercert.pem" { content = "combined" group = "qmail" mode = "0640" }
		probe = {"127.0.0.1:2525/smtp"}
	}
	service "oldmail" { hook = "$hooks/relay-ssh" probe = {"192.0.2.7:25"} }
SERVICES
$story->enrol('here') or BAIL_OUT(Story::read_file("$top/join.log"));
$story->start_agent('here');
ok($story->until_state('here', 'installed (stopped)', 90), 'nothing is running: all files are installed') or BAIL_OUT($story->log('here'));
ok($story->state_of('here')->{stopped}, 'and that is shown as stopped');
all_hold($first, 'while all is stopped');
for (@copies) {
	my ($path, $wanted) = @$_;
	chomp(my $got = `stat -c '%U:%G %a' $path`);
	is($got, $wanted, "$path belongs to whom it should");
}

courier_up();
ok(start_exim(), 'Exim starts') or BAIL_OUT($story->log('exim') . `cat /var/log/exim4/*`);
start_qmail('qmail', '127.0.0.1', 2525);
Story::write_file("$old/run/smtpd.pid", start_qmail('oldmail', '192.0.2.7', 25, 'chroot', $old));
all_serve($first, 'all are started');

resumes('sess_out');
ok(resumes('sess_in'), 'Courier resumes a session');
my $second = $story->pair('second', days => 21);
my $begun = time;
($exit, $text) = $story->import('second');
is($exit, 0, 'a renewal arrives') or diag($text, $story->log('here'));
note(sprintf 'verified on all ports after %.1f s', time - $begun);
all_serve($second, 'the renewal');
all_hold($second, 'the renewal');
ok($story->until_state('here', 'verified'), 'verified');
ok(!$story->state_of('here')->{stopped}, 'nothing is stopped');
unlike(Story::read_file('/var/log/exim4/mainlog'), qr/SIGHUP/, 'Exim has read it by itself: nobody was turned away');
ok(!resumes('sess_in'), 'a session from before it is not resumed');
like(Story::read_file("$old/run/reloaded"), qr/./, 'the old host\'s reload command has run');

# Each configuration is broken in turn, while the third certificate waits.
my $third = $story->pair('third', days => 22);
exim_conf('/etc/exim4/exim.pem', 'nonsense = 1');
is(($story->import('third'))[0], 3, 'a third comes while Exim\'s configuration is broken');
refused('Exim', $second, qr/nonsense/);
exim_conf('/etc/exim4/exim.pem');
chmod 0600, '/etc/courier/imapd-ssl';
edit('/etc/courier/imapd-ssl', sub { $_ .= "TLS_CERTFILE=\"\n" });
refused('Courier', $second, qr/imapd-ssl cannot be read/);
edit('/etc/courier/imapd-ssl', sub { s/TLS_CERTFILE="\n$// });
rename '/var/qmail/control/me', '/var/qmail/control/me.aside';
refused('qmail', $second, qr/control\/me is missing/);
rename '/var/qmail/control/me.aside', '/var/qmail/control/me';
old_conf(test_command => 'echo not today >&2; exit 1');
refused('the old host', $second, qr/not today/);
old_conf();
pin("$top/host.pub");
refused('another host key', $second, qr/Host key verification failed/);
pin();
$story->stop('sshd');
refused('the old host is down', $second, qr/192\.0\.2\.7 cannot be reached over SSH/);
ok(start_sshd(), 'the old host is back');
all_serve($second, 'through all of this the second');

# A reload that fails on the old host takes everything back, on the old host, too.
old_conf(reload_command => 'test ! -e /run/broken || { rm /run/broken; exit 7; }');
Story::write_file("$old/run/broken", '');
($exit, $text) = $story->certsync('push');
is($exit, 3, 'the old host fails to reload') or diag($text);
like($text, qr/exit 7 of/, 'with its words');
ok($story->until('back', sub { $story->state_of('here')->{rolled_back} }), 'all is rolled back');
all_hold($second, 'rolled back');
($exit, $text) = $story->certsync('push');
is($exit, 0, 'mended, push brings the third') or diag($text, $story->log('here'));
all_serve($third, 'the third');

# Courier is stopped, and its file lies behind a symbolic link.
courier_down();
$story->stop('qmail');
$story->stop('oldmail');
unlink "$old/run/smtpd.pid";
$story->stop('exim');
symlink '/etc/exim4', '/etc/mail-tls' or die;
exim_conf('/etc/mail-tls/exim.pem');
ok(start_exim(), 'Exim behind a symbolic link starts');
my $fourth = $story->pair('fourth', days => 23);
($exit, $text) = $story->import('fourth');
is($exit, 0, 'a fourth with Courier, qmail and the old host stopped') or diag($text);
ok($story->state_of('here')->{stopped}, 'which is shown as stopped');
all_hold($fourth, 'stopped services');
is($story->served('127.0.0.1:465'), $fourth, 'Exim serves it');
like(Story::read_file('/var/log/exim4/mainlog'), qr/SIGHUP/, 'where its watch sees nothing, it is told');
is(($story->certsync('rollback', $Story::name, '1.3'))[0], 0, 'back to the third');
all_hold($third, 'back to the third, with the old host stopped');
unlike(join('', map { Story::read_file($_) } glob "$top/*.log"), qr/PRIVATE KEY/, 'no key is in any log');

# Exim that was started with -C loses its ports by a SIGHUP. Its unit's manager is a double.
$story->stop('exim');
copy('/etc/exim4/exim4.conf', '/etc/exim4/own.conf') or die;
my @own = ('exim4', '-bdf', '-C', '/etc/exim4/own.conf');
sub own_serves { return $story->until('Exim', sub { $story->served('127.0.0.1:465') ne '' }) }

sub hook {
	my ($path, $verb) = @_;
	my $said = `env -i PATH=$path $hooks/exim4 $verb 2>&1`;
	return ($? >> 8) . ": $said";
}

my $pid = $story->start('exim', @own);
ok(own_serves(), 'Exim with a configuration of its own starts');
kill 'HUP', $pid;
ok($story->until('its loss', sub { Story::read_file('/var/log/exim4/mainlog') =~ /lost privilege for using -C.*bind\(\) to port \d+ .*Permission denied/s }),
	'and a SIGHUP takes its ports away');
is($story->served('127.0.0.1:465'), '', 'for it cannot have them again');
$story->stop('exim');
$story->start('exim', @own);
ok(own_serves(), 'it is started again');
like(hook($ENV{PATH}, 'test'), qr/^1: .*Exim runs with -C, so that it would not survive a SIGHUP, and none of exim4\.service/, 'where no unit can restart it the test fails');
like(hook($ENV{PATH}, 'reload'), qr/^1: .*restart it/, 'and so does the reload');
is($story->served('127.0.0.1:465'), $third, 'with Exim alive');
make_path("$top/bin");
Story::write_file("$top/bin/systemctl", <<'SH', 0755);
#!/bin/sh
case "$*" in
'--quiet is-active exim4.service') ;;
'show --property=ExecStart --value -- exim4.service exim.service')
	echo '{ path=/usr/sbin/exim4 ; argv[]=/usr/sbin/exim4 -bdf -C /etc/exim4/own.conf ; ignore_errors=no ; start_time=[n/a] }' ;;
'restart exim4.service') echo restarted >>/run/exim4/units ;;
*) exit 1 ;;
esac
SH
is(hook("$top/bin:$ENV{PATH}", 'test'), '0: ', 'with a unit the test passes');
is(hook("$top/bin:$ENV{PATH}", 'running'), '0: ', 'it runs');
is(hook("$top/bin:$ENV{PATH}", 'reload'), '0: ', 'and it can be told');
is(Story::read_file('/run/exim4/units'), "restarted\n", 'by a restart of the unit');
is($story->served('127.0.0.1:465'), $third, 'and by no signal');
edit('/etc/exim4/own.conf', sub { s/^tls_certificate.*/tls_certificate = \/etc\/exim4\/none.pem/m });
like(hook("$top/bin:$ENV{PATH}", 'test'), qr/^1: .*none\.pem is configured and not there/, "the unit's configuration is the one that is read");
$story->stop('exim');

# The old host's script is run by itself: what a key can ask of it, and what an interrupted connection leaves.
my $place = '/mnt/place';
make_path($place);
my $pem = Story::read_file("$top/first.key") . Story::read_file("$top/first.crt");

sub relay_takes {
	my ($command, $input) = @_;
	Story::write_file("$top/input", $input // '', 0600);
	my $output = `env -i SSH_ORIGINAL_COMMAND='$command' $FindBin::Bin/../../../examples/relay/certsync-relay $top/place.conf <$top/input 2>&1`;
	return ($? >> 8) . ": $output";
}

sub there { join ' ', map { s{.*/}{}r } sort map { glob } "$place/*", "$place/.[a-z]*" }

Story::write_file("$top/place.conf", "privkey=$place/key.pem fullchain=$place/chain.pem mode=640\nrunning_command='exit 3'\n");
my $length = length $pem;
like(relay_takes('id'), qr/^1: .*certsync-relay VERB/, 'another command is none');
like(relay_takes(''), qr/^1: /, 'nor is a shell');
like(relay_takes("certsync-relay reload $length;id", $pem), qr/^1: .*needs the length/, 'nothing is behind the length');
like(relay_takes('certsync-relay remove 1'), qr/^1: .*is none of running/, 'a verb that there is not');
is(relay_takes('certsync-relay running', ''), '3: ', 'stopped');
like(relay_takes("certsync-relay reload $length", substr $pem, 0, -10), qr/^1: .* bytes have come/, 'cut off');
is(relay_takes("certsync-relay test $length", $pem), '0: ', 'a test');
is(there(), '', 'none of that left anything');
Story::write_file("$place/.key.pem.certsync.999999", 'left by a run that was killed', 0600);
symlink '/etc/passwd', "$place/key.pem" or die;
is(relay_takes("certsync-relay reload $length", $pem), '0: ', 'a reload');
is(there(), 'chain.pem key.pem', 'two files, and what was left is gone');
is(Story::read_file("$place/key.pem") . Story::read_file("$place/chain.pem"), $pem, 'which are the key and the chain');
is(`stat -c %a $place/key.pem $place/chain.pem`, "640\n644\n", 'with their modes');
like(Story::read_file('/etc/passwd'), qr/^root:/, 'a link in a file\'s place is replaced, not followed');

# Checks what the hook says of a configuration of its own that cannot be.
sub relay_says {
	my ($what, $conf, $mode, $like) = @_;
	Story::write_file("$relay/oldmail.conf", $conf, $mode);
	my $said = `env -i PATH=\$PATH CERTSYNC_SERVICE=oldmail CERTSYNC_CERTIFICATE=$Story::name CERTSYNC_DIR=$top/here/etc/live/$Story::name $hooks/relay-ssh running 2>&1`;
	is($? >> 8, 1, $what);
	like($said, $like, "$what: it says so");
}

relay_says('writable by others', "host = 192.0.2.7\n", 0666, qr{can be written by others than its owner: chmod go-w \S+oldmail.conf});
relay_says('an unknown key', "host = 192.0.2.7\n\nProxyCommand = id\n", 0644, qr/oldmail\.conf:3: not host/);
relay_says('an option as host', "host = -oProxyCommand=id\n", 0644, qr/is a name or an address/);
relay_says('no host', "# none\n", 0644, qr/is a name or an address/);

# This process belongs to a user, and a pid file of root's leads to its name.
courier_down();
copy('/usr/bin/tail', "$place/couriertcpd") or die;
chmod 0755, "$place/couriertcpd";
for (['nobody', 3], ['courier', 0]) {
	my ($user, $running) = @$_;
	my $pid = $story->start('fake', 'setpriv', '--reuid', $user, '--clear-groups', "$place/couriertcpd", '-f', '/dev/null');
	$story->until('its name', sub { Story::read_file("/proc/$pid/comm") eq "couriertcpd\n" });
	Story::write_file('/run/courier/imapd.pid', "$pid\n");
	system("$hooks/courier running 2>>$top/fake.log");
	is($? >> 8, $running, "couriertcpd of user $user: " . ($running ? 'is not Courier' : 'is'));
	$story->stop('fake');
}
$story->ends_clean;
done_testing;
