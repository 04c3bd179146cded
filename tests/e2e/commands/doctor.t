#!/usr/bin/perl
# doctor on the hub's node: what is missing is made, what is too open is closed, and a hardened sshd gets the lines with
# which an agent really comes in. The story runs in an overlay of /etc and /var, in namespaces of its own.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Doctor;
use JSON::PP;
use Test::More;

Doctor->enter;
my $story = Doctor->new;
my $top = $story->top;
my $drop_in = '/etc/ssh/sshd_config.d/certsync.conf';
my ($exit, $text);

sub doctor {
	$exit = $story->doctor(@_);
	$text = $story->said;
	return $exit;
}

sub of { return $story->of(@_) }

# ---- accounts and files, before the first start ----

$story->run("userdel $_") for qw(certsync-gate certsync-hub certsync-worker certsync-agent);
$story->run('groupdel certsync-admin');
system('rm -rf /run/certsync-hub /var/lib/certsync-gate /etc/ssh/sshd_config.d');
mkdir '/etc/ssh/sshd_config.d';
Story::write_file('/etc/ssh/sshd_config', "Include /etc/ssh/sshd_config.d/*.conf\nUsePAM no\nHostKey $top/host\n");
Story::write_file('/etc/hosts', "127.0.0.1 localhost\n192.0.2.7 www.domain.pl\n");
Story::write_file('/etc/nsswitch.conf', "passwd: files\ngroup: files\nshadow: files\nhosts: files\n");
$story->Story::hub_conf(agents => ['here', 'mail'],
	certificates => "acme \"none\" { directory = \"https://127.0.0.1:1/none\" agree_tos = true }\n"
		. "certificate \"$Story::name\" {}\ncertificate \"www.domain.pl\" { acme = \"none\" }\n");
my $conf = Story::read_file("$top/hub.conf");
$conf =~ s/^(user|keys_user|worker_user|gate_user|local_user|admin_group|run|authorized_keys) = .*\n//gm;
Story::write_file("$top/hub.conf", $conf, 0644);
is(doctor(), 3, 'a node without users');
like(of('accounts'), qr/no user certsync-$_\b.*\n.*useradd .*certsync-$_\n/, "certsync-$_ is missing") for qw(hub worker gate agent);
like(of('configuration'), qr/all else/, 'all else has to wait');
is(doctor('--apply'), 3, 'applied, but no hub runs yet') or diag($text);
ok(getpwnam("certsync-$_"), "certsync-$_ exists") for qw(hub worker gate agent);
like(of('gate account'), qr/is locked.*UsePAM no refuses.*\n.*usermod --password '\*' certsync-gate\n +done\nok/s, 'the gate account is unlocked');
is((getpwnam 'certsync-gate')[1], '*', 'the gate account has no password');
like(`stat -c '%U %G %a' $top/hub.conf`, qr/^root certsync-hub 640$/, 'hub.conf is for the daemon');
like(of('hub'), qr/^wrong/, 'the hub does not run');

# ---- a hub and an agent ----

$story->start('hub', "$Story::bin/certsync-hub-root", '-c', "$top/hub.conf");
ok($story->until('hub', sub { -S '/run/certsync-hub/control.sock' && ($story->certsync('status'))[0] != 4 }), 'the hub runs') or diag($story->log('hub'));
$story->agent_conf('mail');
$story->enrol('mail') or BAIL_OUT(Story::read_file("$top/join.log"));
ok($story->until('key', sub { Story::read_file('/var/lib/certsync-gate/.ssh/authorized_keys') =~ /certsync:mail/ }), 'its key is let in');
doctor();
like(of('hub'), qr/^ok .*0 of 2 agents/, 'doctor sees the hub') or diag($text);
like(of('http-01'), qr/^ok/, 'and its responder');
like(of('HAProxy'), qr/^wrong .*does not pass challenges.*certsync config haproxy/s, 'a HAProxy that passes no challenge is named');
like(of('DNS'), qr/^warning .*www.domain.pl points to 192.0.2.7, which is not this node/, 'a name points elsewhere');
unlike($text, qr/PRIVATE|BEGIN/, 'what doctor prints has no secret');

# ---- HAProxy ----

$story->run("mkdir -p /etc/haproxy && printf 'defaults\\n mode http\\n timeout client 5s\\nfrontend f\\n bind :80\\n http-request return status 404 content-type text/plain string no\\n' >/etc/haproxy/other.cfg");
$story->start('website', qw(/usr/sbin/haproxy -db -f /etc/haproxy/other.cfg));
ok($story->until('port 80', sub { doctor(); of('HAProxy') =~ /port 80 answers a challenge for www.domain.pl with 404, not with what the hub says/ }),
	'a website has port 80') or diag($text);
$story->stop('website');
$story->run("mkdir -p /etc/haproxy && $Story::bin/certsync config haproxy -c $top/hub.conf >/etc/haproxy/haproxy.cfg");
$story->start('haproxy', qw(/usr/sbin/haproxy -W -f /etc/haproxy/haproxy.cfg));
ok($story->until('port 80', sub { doctor(); of('HAProxy') =~ /port 80 is answered/ }), 'challenges pass port 80') or diag($text);
like(of('HAProxy'), qr/^ok .*passes challenges/, 'HAProxy\'s file says so');
like(of('HAProxy socket'), qr/^warning .*no stats socket.*level admin/s, 'it has no socket');

# ---- owners and modes ----

my @modes = (["$top/hub-keys/sign.key", 0644, 'certsync-keys certsync-keys 600'],
	["$top/hub-keys", 0755, 'certsync-keys certsync-keys 700'],
	['/var/lib/certsync-gate/.ssh/authorized_keys', 0666, 'root root 644'], ["$top/hub", 0755, 'certsync-hub certsync-hub 700']);
chmod $_->[1], $_->[0] or die "$_->[0]: $!" for @modes;
chown((getpwnam 'certsync-hub')[2], 0, '/var/lib/certsync-gate/.ssh');
# The directory of hub.conf does not belong to certsync, so it must stay as it is.
my $mode_of_top = (stat $top)[2] & 07777;
chmod 01777, $top;
is(doctor(), 3, 'wrong modes are faults');
like($text, qr/^wrong .*\Q$_->[0]\E is .*\n.*chmod/m, $_->[0]) for @modes;
doctor('--apply');
doctor();
unlike(of('files') . of('gate files'), qr/wrong|warning/, 'no wrong mode is left');
is((stat $top)[2] & 07777, 01777, 'another directory keeps its mode, whatever it is');
chmod $mode_of_top, $top;
is(`stat -c '%U %G %a' $_->[0]`, "$_->[2]\n", $_->[0]) for @modes;
# Links that a daemon has planted which was broken into are not followed.
Story::write_file('/etc/victim', 'x', 0600);
rename "$top/hub-keys/sign.key", "$top/sign.key" or die;
symlink '/etc/victim', "$top/hub-keys/sign.key" or die;
doctor('--apply');
like(of('files'), qr/sign.key: is no regular file/, 'a link in the place of a key');
is(`stat -c '%U %a' /etc/victim`, "root 600\n", 'is not followed');
unlink "$top/hub-keys/sign.key";
rename "$top/sign.key", "$top/hub-keys/sign.key" or die;

# ---- sshd ----

sub sshd {
	my ($lines) = @_;
	$story->stop('sshd') if $story->{started}{sshd};
	Story::write_file('/etc/ssh/sshd_config', "Include /etc/ssh/sshd_config.d/*.conf\nListenAddress 127.0.0.1:22\nHostKey $top/host\nPidFile none\n"
			. "UsePAM no\nKbdInteractiveAuthentication no\n$lines");
	return reread();
}

sub reread {
	$story->stop('sshd') if $story->{started}{sshd};
	unlink "$top/sshd.log";
	$story->start('sshd', qw(/usr/sbin/sshd -D -e));
	return $story->until('sshd', sub { $story->log('sshd') =~ /Server listening/ });
}

# Logs in with the agent's key. Returns whether the gate ran and reached the hub, which then waits for a hello.
sub comes_in {
	my $key = "$top/mail/state/id_ed25519";
	my $ssh = "ssh -F none -i $key -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null";
	my $before = () = $story->log('hub') =~ /agent=mail/g;
	my $code = system("timeout 10 $ssh certsync-gate\@127.0.0.1 true </dev/null >$top/ssh.out 2>$top/ssh.log") >> 8;
	my $after = () = $story->log('hub') =~ /agent=mail/g;
	return $code == 0 || $after > $before;
}

my %hard = (
	AllowUsers => "AllowUsers admin bob\n",
	AuthenticationMethods => "AuthenticationMethods publickey,password\n",
	ForceCommand => "ForceCommand /bin/false\n",
);
$hard{all} = join '', map { $hard{$_} } sort keys %hard;
my %line = (AllowUsers => 'AllowUsers certsync-gate', AuthenticationMethods => 'AuthenticationMethods publickey', ForceCommand => 'ForceCommand none');

sshd('') or BAIL_OUT($story->log('sshd'));
ok(comes_in(), "an agent's key logs in at an sshd that nobody has hardened") or diag(Story::read_file("$top/ssh.log"), $story->log('sshd'), $story->log('hub'));
# A file that a person has written into, and that only root may read.
my @persons = ('# Ask Ola before you change this.', 'LogLevel VERBOSE # until the move is over', '# SFTP for the customers', 'Match Group sftp',
	'  # it was /bin/false', '  AllowTcpForwarding no', '# The end.');
Story::write_file($drop_in, join("\n", @persons[0 .. 3], 'Match User certsync-gate', $persons[4], '  ForceCommand /usr/bin/logger', @persons[5, 6]) . "\n", 0600);
sshd("PubkeyAuthentication no\n") or BAIL_OUT($story->log('sshd'));
ok(!comes_in(), "a person's file: nobody comes in");
doctor('--apply');
like(of('sshd'), qr/done; now: systemctl try-reload-or-restart ssh/, "a person's file: it is written") or diag($text);
is(system('/usr/sbin/sshd -t'), 0, "a person's file: sshd takes it");
reread() or BAIL_OUT($story->log('sshd'));
ok(comes_in(), "a person's file: an agent comes in") or diag(Story::read_file($drop_in), Story::read_file("$top/ssh.log"), $story->log('sshd'));
my @now = split /\n/, Story::read_file($drop_in);
my %theirs = map { $_ => 1 } @persons;
is_deeply([grep { $theirs{$_} } @now], \@persons, "a person's file: each of the person's lines is there, in its order");
ok((grep { $_ eq '# certsync doctor put another in the place of: ForceCommand /usr/bin/logger' } @now), "a person's file: and the one that was in the way, as a comment");
is(sprintf('%o', (stat $drop_in)[2] & 07777), '600', "a person's file: its mode is as it was");
doctor('--apply');
is_deeply([split /\n/, Story::read_file($drop_in)], \@now, "a person's file: a second time nothing is changed");
for my $how (qw(AllowUsers AuthenticationMethods ForceCommand all)) {
	unlink $drop_in;
	sshd($hard{$how}) or BAIL_OUT($story->log('sshd'));
	ok(!comes_in(), "$how: nobody comes in");
	is(doctor(), 3, "$how: doctor says that it is wrong");
	for my $fault ($how eq 'all' ? sort keys %line : $how) {
		like(of('sshd'), qr/^wrong +sshd: $fault .*\n.*the line, below Match User certsync-gate: $line{$fault}$/m, "$how: and the line for $fault");
	}
	doctor('--apply');
	like(of('sshd'), qr/done; now: systemctl try-reload-or-restart ssh/, "$how: it is written") or diag($text);
	reread() or BAIL_OUT($story->log('sshd'));
	ok(comes_in(), "$how: an agent comes in") or diag(Story::read_file("$top/ssh.log"), $story->log('sshd'));
	my $written = Story::read_file($drop_in);
	doctor('--apply');
	like(of('sshd'), qr/^ok /, "$how: a second time all is well");
	is(Story::read_file($drop_in), $written, "$how: and nothing is changed");
}
$story->start_agent('mail');
ok($story->until('agent', sub { doctor(); of('hub') =~ /1 of 2 agents/ }), 'the agent itself comes in') or diag($story->log('mail'));

# ---- the agent's node ----

sub agent_doctor {
	$exit = $story->agent_doctor(@_);
	$text = $story->said;
	return $exit;
}

Story::write_file("$top/mail/hooks/other", "#!/bin/sh\n", 0644);
my $port = Port::free_port();
$story->agent_conf('mail', services => 'service "nothing" { probe = none } service "other" { probe = {"127.0.0.1:' . $port . '"} }
	service "absent" { probe = none } service "nginx" { probe = none }');
$story->pair('r0');
$story->import('r0');
ok($story->until('files', sub { $story->installed('mail') ne '' && -e "$top/mail/etc/live/$Story::name/privkey.pem" }), 'a certificate is installed');
$story->run('printf "#!/bin/sh\nexit 3\n" >' . "$top/mail/hooks/nginx && chmod 755 $top/mail/hooks/nginx");
agent_doctor();
like(of('files'), qr/^ok/, 'owners and modes are as the programs make them') or diag($text);
doctor();
like(of('files'), qr/^ok/, 'at the hub, too') or diag($text);
chmod 0644, "$top/mail/state/id_ed25519", "$top/mail/etc/live/$Story::name/combined.pem";
is(agent_doctor(), 3, 'the agent\'s node: faults');
like(of('hub'), qr/^ok .*connected .* as agent mail/, 'connected to its hub') or diag($text);
like(of('pins'), qr/^ok/, "the agent's pins are right");
like(of('files'), qr/^wrong .*id_ed25519 is .* 0644/, 'its key is open');
like(of('files'), qr/^wrong .*combined.pem is .* 0644/m, 'and that of a certificate');
like(of('hooks'), qr/^wrong .*"other".* cannot be executed\n.*chmod 755/m, 'a hook that cannot be executed');
like(of('hooks'), qr/^wrong .*"absent".* there is no such hook/m, 'a hook that is not there');
like(of('services'), qr/^warning .*nginx: .*names nothing below .*\n.*adopt \Q$Story::name\E --service nginx/m, 'a service that presents something else');
like(of('ports'), qr/^warning .*nobody listens at 127.0.0.1:$port, where other is probed/m, 'a port where nobody listens');
like(of('ports'), qr/^ok .*nginx is stopped: a standby/m, 'a standby is no fault');
like(of('libssh'), qr/libssh \d/, 'doctor on the agent names its libssh');
agent_doctor('--apply');
agent_doctor();
like(of('files'), qr/^ok/, 'its key is closed') or diag($text);
ok(-x "$top/mail/hooks/other", 'the hook can be executed');
unlike(of('hooks'), qr/"other"/, 'and is no fault any more');
rename "$top/mail/etc/pins/hub_keys", "$top/hub_keys" or die $!;
agent_doctor();
like(of('pins'), qr/^wrong .*not joined.*\n.*certsync agent add NAME/, 'a node that has not joined');
rename "$top/hub_keys", "$top/mail/etc/pins/hub_keys" or die $!;

# ---- fail2ban ----

mkdir '/run/fail2ban';
system('rm -f /etc/fail2ban/jail.d/* /etc/fail2ban/*.local');
Story::write_file('/var/log/mail.log', '');
Story::write_file('/etc/fail2ban/fail2ban.local', "[Definition]\nlogtarget = $top/fail2ban.log\ndbfile = None\n");
Story::write_file('/etc/fail2ban/jail.d/a.conf', "[postfix]\nenabled = true\nbackend = polling\nlogpath = /var/log/mail.log\nignoreip = 10.9.9.9\nignoreself = false\n");
$story->start('fail2ban', qw(fail2ban-server -xf start));
ok($story->until('fail2ban', sub { `fail2ban-client status 2>/dev/null` =~ /postfix/ }), 'fail2ban runs') or diag($story->log('fail2ban'));
agent_doctor();
like(of('fail2ban'), qr/^warning .*1 of its jails .*\n(?:.*\n)*? +ignoreip = 10.9.9.9 127.0.0.1 ::1$/m, 'probes may be banned') or diag($text);
agent_doctor('--apply');
like(of('fail2ban'), qr/done\nok .*lets? the probes/, '--apply has fail2ban let the probes alone') or diag($text);
like(`fail2ban-client get postfix ignoreip`, qr/(?=.*127.0.0.1)(?=.*::1)(?=.*10.9.9.9)/s, 'in the server that runs');

# ---- what cannot be mended is taken back ----

unlink $drop_in;
Story::write_file('/etc/ssh/sshd_config', "HostKey $top/host\nUsePAM no\n$hard{AllowUsers}");
is(doctor('--apply'), 1, 'an sshd_config that includes nothing');
like(of('sshd'), qr/failed: .*taken back: sshd goes on as before .*does not include/, 'what cannot be mended is taken back, with the reason') or diag($text);
ok(!-e $drop_in, 'and leaves nothing there');

# ---- what the workers' user can read ----

Story::write_file("$top/secret.conf", "key = x\n", 0600);
Story::write_file("$top/dns.conf", Story::read_file("$top/hub.conf") . 'certificate "dns.domain.pl" '
	. "{ acme = \"none\" challenge = \"dns-01\" dns_hook = \"/bin/true\" dns_config = \"$top/secret.conf\" }\n", 0640);
my $worker_files = sub { $story->{said} = `$Story::bin/certsync doctor -c $top/dns.conf 2>&1`; of('worker files') };
like($worker_files->(), qr/^wrong .*certsync-worker, whom DNS hooks run as, cannot read \Q$top\E\/secret\.conf \(dns_config\)\n.*chown certsync-worker \S+ && chmod 600/,
	"a DNS hook's credentials that its user cannot read") or diag($story->said);
$story->run("chown certsync-worker $top/secret.conf && chmod 600 $top/ca.pem");
like($worker_files->(), qr/^wrong .*certsync-worker, whom workers run as, cannot read \Q$top\E\/ca\.pem \(anchors\)\n.*chmod 644/, 'trust anchors that it cannot read')
	or diag($story->said);
$story->run("chmod 644 $top/ca.pem");
like($worker_files->(), qr/^ok .*certsync-worker can read/, "what the workers' user can read is no fault") or diag($story->said);

# ---- a full disk; JSON; another user ----

my $small = "/mnt/small";
mkdir $small;
$story->run("mount -t tmpfs -o size=256k none $small && dd if=/dev/zero of=$small/fill bs=1k count=200");
(my $other = Story::read_file("$top/hub.conf")) =~ s/^state = .*/state = "$small\/hub"/m;
$other =~ s/^host_keys = .*/host_keys = {"\/etc\/hosts"}/m;
Story::write_file("$top/small.conf", $other, 0640);
$story->{said} = `$Story::bin/certsync doctor -c $top/small.conf`;
like(of('sshd'), qr/^wrong .*agents pin the host key \/etc\/hosts/m, 'host keys that are not sshd\'s') or diag($story->said);
like(of('disk'), qr/^wrong .*KiB free.*\n.*df -h/, 'a full disk is a fault');
my $all = decode_json(scalar `$Story::bin/certsync doctor --json -c $top/hub.conf`);
my ($sshd) = grep { $_->{check} eq 'sshd' && $_->{state} eq 'wrong' } @{$all->{findings}};
like($sshd->{remedy}, qr/AllowUsers certsync-gate/, 'the same as JSON');
chmod 0644, "$top/hub.conf";
my ($code, $said) = @{$story->as('certsync-agent', sub { my $out = `$Story::bin/certsync doctor --apply -c $top/hub.conf 2>&1`; [$? >> 8, $out] })};
is($code, 2, '--apply without root');
like($said, qr/needs root/, 'says so');
($code, $said) = @{$story->as('certsync-agent', sub { my $out = `$Story::bin/certsync doctor -c $top/hub.conf 2>&1`; [$? >> 8, $out] })};
like($said, qr/cannot tell +sshd: .*run doctor as root/, 'looking needs none, and says what it cannot see');

$story->ends_clean;
done_testing();
