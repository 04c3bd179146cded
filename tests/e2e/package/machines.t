#!/usr/bin/perl
# Two machines with a real systemd and a network between them are set up from the packages by the README's lines: on one HAProxy, sshd, the hub
# and its agent, on the other a mail server and its agent. The mail server's agent comes in through the other's sshd, as ssh.service and as
# ssh.socket; `adopt`, a renewal, a boot while the hub is dead, an upgrade and a purge pass, and every port shows the right certificate;
# `doctor` has no complaint of nodes that are in order.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Dovecot;
use Machine;
use Needs;
use POSIX ();
use Story;
use Test::More;
use Time::HiRes qw(time);

needs_root('machines in namespaces');
my $story = Story->new;
my $top = $story->top;
my $debs = $ENV{CERTSYNC_DEB} or BAIL_OUT('CERTSYNC_DEB names the directory of the packages');
my $readme = "$FindBin::Bin/../lib/readme";
my %m = map { ($_ => Machine->new($story, $_)) } qw(haproxy mail);
my ($haproxy, $mail) = @m{qw(haproxy mail)};
my @both = ($haproxy, $mail);
my @ports = ([$haproxy, 443], [$mail, 993], [$mail, 25, starttls => 'smtp'], [$mail, 143, starttls => 'imap']);

# Types a line of the README's at a machine: what stands in brackets is not the README's.
sub types {
	my ($m, $line, $input) = @_;
	my $text = $line =~ s/ \[[^]]*\]//gr;
	is(system($readme, 'says', $text), 0, "the README says: $text");
	return $m->does('cd /root; { ' . $line =~ tr/[]//dr . '; } <' . ($input // '/dev/null'), $text) || diag($m->said('journalctl -n 40 --no-pager'));
}

sub verified {
	my ($what) = @_;
	return ok($story->until('verified', sub { ($haproxy->shell('certsync status'))[0] == 0 }, 120), "$what: all is verified")
		|| diag($haproxy->said('certsync status'), $mail->said('journalctl -u certsync-agent -n 40 --no-pager'));
}

sub wrong_ports {
	my ($fingerprint) = @_;
	return join ' ', map { $_->[1] } grep { my ($m, @where) = @$_; $m->serves(@where) ne $fingerprint } @ports;
}

sub all_serve {
	my ($fingerprint, $what) = @_;
	is(wrong_ports($fingerprint), '', "$what: on every port");
}

# What doctor says of a node in order: warnings are of what this machine is, which is no fault of the node's.
sub healthy {
	my ($m, $command, $when) = @_;
	my ($exit, $text) = $m->shell("$command doctor");
	is($exit, 0, "$m->{name}, $when: `$command doctor` finds nothing wrong");
	my @complaints = grep { !/^warning +(?:clock|libssh|confinement): / } $text =~ /^((?:warning|wrong|cannot tell) .*)/mg;
	is(join("\n", @complaints), '', "$m->{name}, $when: and has no complaint") or diag($text);
	return $text;
}

# ---- what is there before ----

ok($_->boots, "$_->{name}: systemd has booted it") or BAIL_OUT($story->log($_->{name})) for @both;
ok(Machine::cable($haproxy, '192.0.2.1', $mail, '192.0.2.2'), 'and a cable lies between them');
my %leaf = map { ($_->[0] => $story->pair($_->[0], names => 'DNS:mail.domain.pl,DNS:smtp.domain.pl,DNS:imap.domain.pl', days => $_->[1])) }
	['old', 10], ['first', 20], ['second', 25];
Story::write_file("$top/old.pem", Story::read_file("$top/old.key") . Story::read_file("$top/old.crt"));
for my $m (@both) {
	$m->put('/etc/hosts', "127.0.0.1 localhost\n192.0.2.1 haproxy.domain.pl haproxy mail.domain.pl smtp.domain.pl imap.domain.pl\n192.0.2.2 mail\n");
	$m->brings("$top/ca.pem", '/etc/ssl/certs/test.pem');
	$m->brings("$top/old.pem", '/etc/ssl/private/old.pem');
	# This machine's own rule that no package starts a service, where it has one, is not that of a server.
	$m->does(<<'LINES', 'it trusts the authority, as it would a public one');
rm -f /usr/sbin/policy-rc.d
cd /etc/ssl/certs && chmod 600 ../private/old.pem && cat test.pem >>ca-certificates.crt && ln -s test.pem "$(openssl x509 -noout -hash -in test.pem).0"
LINES
}
# What this machine has installed besides is not there for a HAProxy node.
$haproxy->does(<<'LINES', 'HAProxy and sshd run');
rm /usr/bin/doveconf /usr/sbin/postconf
cat >>/etc/haproxy/haproxy.cfg <<'CFG'
frontend https
	bind :443 ssl crt /etc/ssl/private/old.pem
	http-request return status 200 content-type text/plain string here
CFG
systemctl enable --now haproxy ssh
LINES
$mail->put('/etc/dovecot/conf.d/10-ssl.conf',
	Dovecot::words("ssl = yes\nssl_cert = </etc/ssl/private/old.pem\nssl_key = </etc/ssl/private/old.pem\n") . Dovecot::login_services('imap', 'pop3') . "\nshutdown_clients = no\n");
$mail->does('postconf -e myhostname=mail.domain.pl smtpd_tls_security_level=may smtpd_tls_{cert,key}_file=/etc/ssl/private/old.pem'
	=~ s/(\S*)\{cert,key\}(\S*)/$1cert$2 $1key$2/r . ' && systemctl enable --now postfix dovecot', 'Postfix and Dovecot run')
	or diag($mail->said('journalctl -n 60 --no-pager'));
ok($story->until('old', sub { wrong_ports($leaf{old}) eq '' }, 60), 'all serve a certificate of their own') or diag(wrong_ports($leaf{old}));

# ---- the README ----

for my $deb (grep { !/dbgsym/ } glob "$debs/*.deb") {
	my $name = $deb =~ s{.*/}{}r;
	$_->brings($deb, "/root/$name") for $name =~ /hub/ ? $haproxy : @both;
}
my $began = time;
types($haproxy, 'apt install [-y] ./certsync-hub_*.deb ./certsync-agent_*.deb');
types($mail, 'apt install [-y] ./certsync-agent_*.deb');
my @units = ([$haproxy, 'certsync-hub'], [$haproxy, 'certsync-agent'], [$mail, 'certsync-agent']);
is($_->[0]->active($_->[1]), 'inactive', "$_->[0]{name}: $_->[1]: not configured, it does not run") for @units;

# An authority is another story's: certificates come by `import` here.
my $conf = `$readme block 'ssh = "certsync-gate\@haproxy.domain.pl:22"'`;
ok($conf =~ s/^acme .*?^\}\n//ms && $conf =~ s/^\s+acme *=.*\n//m, 'the README has a hub.conf');
$haproxy->put('/etc/certsync/hub.conf', $conf);
types($haproxy, $_) for 'systemd-tmpfiles --create certsync-hub.conf', 'certsync config', 'systemctl enable --now certsync-hub',
	'certsync agent add haproxy | certsync-agent join', 'systemctl enable --now certsync-agent';

# The mail server joins with the line that the hub prints.
sub joins {
	my ($more) = @_;
	my ($exit, $line) = $haproxy->shell("certsync agent add mail $more 2>/dev/null");
	is($exit, 0, 'the hub prints a line');
	Story::write_file("$top/line", $line, 0600);
	$mail->brings("$top/line", '/root/line');
	types($mail, "certsync-agent join [$more]", '/root/line');
}
joins('');
types($mail, 'systemctl enable --now certsync-agent');
is($_->[0]->said("systemctl show -p Type,ActiveState --value $_->[1] | xargs"), 'notify active', "$_->[0]{name}: $_->[1] is active, as it has said itself") for @units;
for my $name (qw(first second)) {
	$haproxy->brings("$top/$name.$_", "/root/$name.$_") for qw(key crt);
}
# It comes to both, whose agents wait for it to be served.
$haproxy->does('certsync import mail.domain.pl --key /root/first.key --chain /root/first.crt >/root/imported 2>&1 &', 'a certificate is imported');
for my $m (@both) {
	my $has = "openssl x509 -outform der -in /etc/certsync/live/mail.domain.pl/cert.pem | sha256sum | grep $leaf{first}";
	ok($story->until('files', sub { ($m->shell($has))[0] == 0 }, 120), "$m->{name}: its files are there") or diag($haproxy->said('certsync status; cat /root/imported'));
}
types($_, 'certsync-agent adopt --apply') for @both;
types($haproxy, 'certsync push');
verified('by the README');
all_serve($leaf{first}, 'the first certificate');
note(sprintf 'from nothing to verified: %.1f s', time - $began);
# sshd as it comes would forward what a key does not forbid.
types($haproxy, 'certsync doctor [--apply]');
$haproxy->does('sshd -t && systemctl try-reload-or-restart ssh', 'what it asks for');
healthy($haproxy, 'certsync', 'at first');
healthy($_, 'certsync-agent', 'at first') for @both;

# ---- an sshd that is started by who comes in ----

$mail->does('systemctl stop certsync-agent', 'the agent is stopped');
$haproxy->does('systemctl disable --now ssh.service && systemctl enable --now ssh.socket', 'ssh.socket waits instead of ssh.service');
is($haproxy->active('ssh.service'), 'inactive', 'and no sshd runs');
my $said = healthy($haproxy, 'certsync', 'before anybody has come in through ssh.socket');
like($said, qr/^ok +sshd: certsync-gate may come in by its key/m, 'what sshd would do with an agent is found out');
is($haproxy->active('ssh.service'), 'inactive', 'without any sshd having been started');
joins('--replace');
is($haproxy->active('ssh.service'), 'active', 'which has had the socket start sshd');
$mail->does('systemctl start certsync-agent', 'the agent comes in with its new keys');

# ---- a service that only its unit can restart, and a renewal ----

# Exim that was started with -C does not survive a SIGHUP, and its own watch sees nothing behind a symbolic link.
$story->run("$FindBin::Bin/../lib/with-packages exim4-daemon-light tar -C /mnt/tree -c usr >$top/exim.tar");
$haproxy->brings("$top/exim.tar", '/root/exim.tar');
$haproxy->put('/etc/exim4/own.conf', join "\n", 'keep_environment =', 'local_interfaces = 127.0.0.1', 'daemon_smtp_ports = 465', 'tls_on_connect_ports = 465',
	'tls_advertise_hosts = *', 'tls_certificate = /etc/mail-tls/exim.pem', 'hosts_require_helo =', 'begin acl', '');
$haproxy->put('/etc/systemd/system/exim4.service', "[Service]\nExecStart=/usr/sbin/exim4 -bdf -C /etc/exim4/own.conf\n");
$haproxy->does(<<'LINES', 'Exim is there');
tar --keep-directory-symlink -C / -xf /root/exim.tar && useradd --system --no-create-home Debian-exim &&
	install -d -o Debian-exim -g Debian-exim /run/exim4 /var/spool/exim4 /var/log/exim4 && ln -s exim4 /etc/mail-tls && systemctl daemon-reload
LINES
my $service = 'service "exim4" { file "/etc/exim4/exim.pem" { content = "combined" group = "Debian-exim" mode = "0640" } probe = {"127.0.0.1:465"} }';
$haproxy->does("sed -i '/^certificate /a $service' /etc/certsync/agent.conf && systemctl reload certsync-agent", 'and has its section in agent.conf');
ok($story->until('file', sub { ($haproxy->shell('test -e /etc/exim4/exim.pem'))[0] == 0 }, 60), 'its file is brought');
$haproxy->does('systemctl start exim4', 'Exim starts');
push @ports, [$haproxy, 465];
ok($story->until('exim', sub { $haproxy->serves(465) eq $leaf{first} }, 60), 'and serves the first certificate') or diag($haproxy->said('journalctl -u exim4 --no-pager; cat /var/log/exim4/*'));
my $exim = $haproxy->main_pid('exim4');
$haproxy->does('certsync import mail.domain.pl --key /root/second.key --chain /root/second.crt', 'a renewal comes');
verified('a renewal');
all_serve($leaf{second}, 'the renewal');
is($haproxy->active('exim4'), 'active', 'Exim runs');
isnt($haproxy->main_pid('exim4'), $exim, 'restarted by its unit, which its hook has asked for');

# ---- a boot without a hub ----

$haproxy->does('systemctl stop certsync-hub ssh.socket ssh.service', 'the hub is dead');
ok($mail->reboots, 'mail: it boots again') or diag($mail->said('systemctl list-jobs'));
is($mail->active($_), 'active', "mail: $_ is active") for qw(certsync-agent dovecot postfix);
like($mail->said('certsync-agent doctor'), qr{^wrong +hub: no connection to ssh://}m, 'mail: while the hub does not answer');
# In microseconds since the boot.
my ($from, $to) = split ' ', $mail->said('systemctl show -p InactiveExitTimestampMonotonic -p ActiveEnterTimestampMonotonic --value certsync-agent | xargs');
ok($to && abs($to - $from) < 20e6, sprintf 'mail: which has held nobody up: %.2f s until the agent was ready', abs($to - $from) / 1e6);
note($mail->said('systemd-analyze'));
ok($story->until('served', sub { wrong_ports($leaf{second}) eq '' }, 60), 'all that it serves is right');
$haproxy->does('systemctl start certsync-hub ssh.socket', 'the hub is back');
$_->shell('certsync-agent pull') for @both; # so that they come now
verified('after the boot');
healthy($mail, 'certsync-agent', 'after the boot');

# ---- an upgrade ----

# The same programs in packages of a version more.
sub newer {
	my ($name) = @_;
	my ($deb) = grep { !/dbgsym/ } glob "$debs/${name}_*.deb";
	$story->run("dpkg-deb -R $deb $top/$name.tree && sed -i -E '/^Version:/s/\$/+1/; /^Depends:/s/(certsync-agent \\(= [^)]*)/\\1+1/' $top/$name.tree/DEBIAN/control"
		. " && dpkg-deb -Znone -b $top/$name.tree $top/$name.deb");
	return "$top/$name.deb";
}

# Somebody looks at each port again and again. There is a line for each look: the port, and what it served, or nothing.
sub client {
	my $parent = $$;
	my $pid = fork // die $!;
	return $story->{started}{client} = $pid if $pid;
	open my $out, '>>', "$top/served" or die $!;
	$out->autoflush(1);
	while (getppid == $parent) {
		for (@ports) {
			my ($m, @where) = @$_;
			print $out "$where[0] ", $m->serves(@where), "\n";
			select undef, undef, undef, 0.1; # the machine has something else to do, too
		}
	}
	POSIX::_exit(0);
}

sub looks { return split /\n/, Story::read_file("$top/served") }

my %newer = map { ($_ => newer("certsync-$_")) } qw(agent hub);
$haproxy->brings($newer{$_}, "/root/newer-$_.deb") for qw(agent hub);
$mail->brings($newer{agent}, '/root/newer-agent.deb');
my @before = map { $_->[0]->main_pid($_->[1]) } @units;
client();
ok($story->until('client', sub { looks() > @ports }, 60), 'somebody looks at the ports again and again');
$_->does('dpkg -i /root/newer-*.deb', 'newer packages are installed while it runs') for @both;
for my $i (0 .. $#units) {
	my ($m, $unit) = @{$units[$i]};
	is($m->active($unit), 'active', "$m->{name}: $unit is active");
	isnt($m->main_pid($unit), $before[$i], "$m->{name}: as another process");
}
ok($story->until('sessions', sub { (() = $haproxy->said('certsync agent list') =~ /^\S+ +connected /mg) == 2 }, 120), 'both agents have come back')
	or diag($haproxy->said('certsync agent list'));
verified('after the upgrade');
my $looks = looks();
ok($story->until('client', sub { looks() >= $looks + @ports }, 60), 'and each port was looked at since');
$story->stop('client', 'KILL');
my @looks = looks();
pop @looks; # it was cut off
is(join("\n", grep { !/ $leaf{second}$/ } @looks), '', 'each of ' . @looks . ' handshakes from before to after showed the certificate');

# ---- a purge ----

my ($purged, $told) = $mail->shell('dpkg --purge certsync-agent');
is($purged, 0, 'mail: the package is purged') or diag($told);
like($told, qr{certificates and keys in /etc/certsync are kept.*^/etc/$_}ms, "mail: what $_ names is kept") for qw(dovecot postfix);
$mail->does('systemctl restart dovecot postfix', 'they start with it');
ok($story->until('served', sub { wrong_ports($leaf{second}) eq '' }, 60), 'and go on serving it');
ok($_->ends, "$_->{name}: it is switched off") for $mail, $haproxy;

done_testing();
