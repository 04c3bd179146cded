#!/usr/bin/perl
# The hooks on a node where other users have processes, too. A real HAProxy is served; what somebody else has started
# under its name is neither parsed, nor written to, nor signalled, and none of the files that it names is opened, not
# even where they are root's; and "stopped" is said only of what surely is. Everything runs in namespaces of its own
# (processes, mounts, network), which end with the script.
# Not under valgrind: it copies the hooks, and the one that is a program is not wrapped.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Path qw(make_path);
use File::Copy qw(copy);
use IO::Socket::INET;
use IO::Socket::UNIX;
use Fcntl qw(O_NONBLOCK O_WRONLY);
use Needs;
use POSIX qw(:sys_wait_h :signal_h setuid setgid);
use Story;
use Test::More;
use Time::HiRes qw(time sleep);

needs(qw(/usr/sbin/haproxy /usr/bin/doveconf /usr/sbin/nginx /usr/sbin/postfix));
Story->enter(qw(unshare --pid --fork --kill-child --mount --mount-proc --net --cgroup));

# The directories above this one are root's alone, unlike those above a temporary directory.
my $top = '/mnt';
my ($nobody, $stranger) = (scalar getpwnam 'nobody', scalar getpwnam 'daemon');
system('ip link set lo up && mount -t tmpfs -o mode=755 none /mnt && mount -t tmpfs -o mode=755 none /run') == 0 or die;
mkdir "$top/$_" or die for qw(hooks live archive empty nobody bin run);
chown $nobody, -1, "$top/nobody";
copy($_, "$top/hooks/") or die for glob "$Story::bin/hooks/*";
chmod 0755, glob "$top/hooks/*";
my ($cfg, $socket) = ("$top/haproxy.cfg", "$top/run/admin.sock");
my %children;

sub read_file { Story::read_file(@_) }

# ---- certificates as the agent installs them ----

sub openssl {
	my ($words) = @_;
	my $out = `openssl $words 2>$top/openssl.log`;
	return $? == 0 ? $out : die "openssl $words: " . read_file("$top/openssl.log");
}

my $number = 0;

sub install {
	my $set = "$top/archive/" . ++$number;
	mkdir $set or die;
	openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=mail.domain.pl "
			. "-keyout $set/privkey.pem -out $set/fullchain.pem");
	Story::write_file("$set/haproxy.pem", read_file("$set/fullchain.pem") . read_file("$set/privkey.pem"), 0600);
	unlink "$top/live/new";
	symlink "../archive/$number", "$top/live/new" or die;
	rename "$top/live/new", "$top/live/mail" or die;
	return openssl("x509 -noout -fingerprint -sha256 -in $set/fullchain.pem");
}

sub served {
	my ($port) = @_;
	my $pem = `openssl s_client -connect 127.0.0.1:$port </dev/null 2>/dev/null`;
	Story::write_file("$top/served.pem", $pem);
	return $pem =~ /BEGIN CERT/ ? openssl("x509 -noout -fingerprint -sha256 -in $top/served.pem") : 'nothing';
}

# ---- who opens a file ----

# Watches these files for being opened. inotify(7) is used by its system calls, for IN_OPEN and IN_ACCESS.
sub watch_opens {
	my (@files) = @_;
	my $fd = syscall(294, 04000);
	open my $events, '<&=', $fd or die $!;
	syscall(254, $fd, my $name = $_, 0x21) >= 0 or die "$_: $!" for @files;
	return $events;
}

sub never_opened {
	my ($events, $what) = @_;
	my $got = sysread $events, my $bytes, 4096;
	ok(!defined $got, $what) or diag('events: ' . unpack 'H*', $bytes);
}

# ---- processes ----

sub until_true { my ($what, $condition) = @_; return Story->until($what, $condition) || fail("waited for $what") }

sub as_user {
	my ($uid) = @_;
	return if !$uid;
	$) = "$uid $uid";
	setgid($uid);
	setuid($uid) or die "setuid: $!";
}

# Starts @words as a user, and waits until it has become a process of that name.
sub start {
	my ($uid, @words) = @_;
	defined(my $pid = fork) or die;
	if (!$pid) {
		open STDIN, '<', '/dev/null';
		open STDOUT, '>>', $uid ? '/dev/null' : "$top/log";
		open STDERR, '>&', \*STDOUT;
		as_user($uid);
		exec @words or POSIX::_exit(127);
	}
	$children{$pid} = 1;
	my ($name) = $words[{chroot => 2, unshare => 3}->{$words[0]} // 0] =~ /([^\/]+)$/;
	until_true("$name to be started", sub { read_file("/proc/$pid/comm") eq "$name\n" });
	return $pid;
}

sub stop {
	for my $pid (@_) {
		kill 'KILL', $pid;
		waitpid $pid, 0;
		delete $children{$pid};
	}
}

my %more; # goes into the environment of the next hooks

sub hook_starts {
	my ($service, $verb, $uid) = @_;
	my $pid = open(my $output, '-|') // die;
	if (!$pid) {
		open STDERR, '>&', \*STDOUT;
		as_user($uid);
		%ENV = (PATH => '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', CERTSYNC_DIR => "$top/live/mail",
			CERTSYNC_FULLCHAIN => "$top/live/mail/fullchain.pem", CERTSYNC_PRIVKEY => "$top/live/mail/privkey.pem", %more);
		chdir '/';
		exec "$top/hooks/$service", $verb or POSIX::_exit(127);
	}
	return $output;
}

sub hook {
	my $output = hook_starts(@_);
	my $text = do { local $/; <$output> } // '';
	close $output;
	return ($? >> 8, $text);
}

sub says {
	my ($what, $service, $verb, $uid, $exit, $like) = @_;
	my ($got, $text) = hook($service, $verb, $uid);
	is($got, $exit, $what) or diag($text);
	like($text, $like, "$what: it says so") if $like;
	return $text;
}

# ---- a real HAProxy: a master of root's, its worker nobody's ----

sub configure {
	my ($path, @global) = @_;
	Story::write_file($path, join "\n", 'global', "\tstats socket $socket mode 600 level admin", @global, 'defaults', "\tmode http",
		"\ttimeout client 5s", "\ttimeout server 5s", "\ttimeout connect 5s", 'frontend own',
		"\tbind 127.0.0.1:8443 ssl crt $top/live/mail/haproxy.pem", 'frontend other',
		"\tbind 127.0.0.1:9443 ssl crt $top/live/mail/../../other.pem", 'frontend devious',
		"\tbind 127.0.0.1:7443 ssl crt $top/live/../live/mail/haproxy.pem", '');
}

sub start_haproxy {
	my $pid = start(0, '/usr/sbin/haproxy', @_);
	until_true('HAProxy to serve', sub { IO::Socket::INET->new('127.0.0.1:8443') });
	return $pid;
}

my $first = install();
copy("$top/live/mail/haproxy.pem", "$top/other.pem") or die;
configure($cfg, "\tuser nobody", "\tchroot $top/empty");
says('without any HAProxy it is stopped', 'haproxy', 'running', 0, 3);
my $master = start_haproxy('-W', '-f', $cfg);
my $worker = sub { read_file("/proc/$master/task/$master/children") =~ s/ //gr };
my $its_user = sub { read_file("/proc/$_[0]/status") =~ /^Uid:\s+(\d+)\s+\1\s+\1\s/m ? $1 : 'mixed' };
ok(until_true('a worker', sub { $worker->() && $its_user->($worker->()) eq $nobody }), 'its worker is nobody\'s');
my $first_worker = $worker->();
says('it runs', 'haproxy', 'running', 0, 0);

# ---- what nobody has started under that name ----

Story::write_file("$top/nobody/evil.lua", "local f = io.open('$top/nobody/executed', 'w') f:write('yes') f:close()\n");
Story::write_file("$top/nobody/evil.cfg", "global\n\tlua-load $top/nobody/evil.lua\n\tstats socket $top/nobody/fake.sock level admin\n"
		. "\tstats socket $socket level user\n");
Story::write_file("$top/nobody/fake.pl", <<'PERL');
use IO::Socket::UNIX;
my ($path, $log) = @ARGV;
$SIG{PIPE} = 'IGNORE';
unlink $path;
my $listener = IO::Socket::UNIX->new(Local => $path, Listen => 5) or die;
chmod 0777, $path;
open my $file, '>>', $log or die;
$file->autoflush;
while (my $client = $listener->accept) {
	$client->sysread(my $bytes, 65536);
	print $file $bytes;
	print $client "# filename\n/mnt/live/mail/haproxy.pem\n";
	close $client;
}
PERL
copy($^X, "$top/nobody/haproxy") && copy($^X, "$top/bin/haproxy") or die;
chmod 0755, "$top/nobody/haproxy", "$top/bin/haproxy";
chown $nobody, -1, "$top/nobody/haproxy";
my @fake = ("$top/nobody/fake.pl", "$top/nobody/fake.sock", "$top/nobody/received", '-W', '-f', "$top/nobody/evil.cfg");
my @same = ('-e', '$SIG{USR2} = sub { open my $f, ">", "/mnt/nobody/signalled" }; sleep 1 while 1', '-W', '-f', $cfg);

# This process has root's user and nobody's words: it is a setuid program that waits, as su does while it asks for a
# password.
mkdir "$top/bin/lent" or die;
copy('/usr/bin/tail', "$top/bin/lent/haproxy") or die;
chmod 04755, "$top/bin/lent/haproxy";
my @lent = ("$top/bin/lent/haproxy", '-f', "$top/nobody/evil.cfg");

# This one is root of another system, as in a container whose processes are seen here: its files have the names of ours.
mkdir "$top/jail" or die;
for my $name (grep { -d } qw(/usr /bin /lib /lib64)) {
	mkdir "$top/jail$name" or die;
	system('mount', '--bind', $name, "$top/jail$name") == 0 or die;
}
mkdir "$top/jail/mnt" or die;
copy("$top/nobody/evil.cfg", "$top/jail$cfg") && copy('/usr/bin/tail', "$top/jail/haproxy") or die;
chmod 0755, "$top/jail/haproxy";
my @jailed = ('chroot', "$top/jail", '/haproxy', '-f', $cfg);

sub is_untouched {
	my ($what) = @_;
	ok(!-e "$top/nobody/executed", "$what: no code of theirs is run");
	ok(!-s "$top/nobody/received", "$what: their socket receives nothing");
	is_deeply([glob "$top/nobody/*lock* $top/run/*lock*"], [], "$what: no lock is made beside a socket");
}

# These files are root's alone, and root must not read them on a stranger's word: a key, and a stranger's text.
Story::write_file("$top/secret.key", read_file("$top/live/mail/privkey.pem"), 0600);
Story::write_file("$top/rooted.cfg", read_file("$top/nobody/evil.cfg"));
my $pipe = "$top/pipe";
POSIX::mkfifo($pipe, 0600) or die;
my @idle = ("$top/bin/haproxy", '-e', 'sleep 1 while 1', '-W');
my @named = map { [@idle, @$_] } ['-f', "$top/secret.key"], ['-f', "$top/rooted.cfg"], ['-f', $pipe], ['-C', "$top/archive", '-f', '1/privkey.pem'],
	['--', "$top/archive/1/haproxy.pem"], ['-f', "$top/archive"];
my $opens = watch_opens("$top/secret.key", "$top/rooted.cfg", "$top/archive/1/privkey.pem", "$top/archive/1/haproxy.pem", "$top/archive", $pipe);

my @others = (start($nobody, "$top/nobody/haproxy", @fake), start($nobody, "$top/bin/haproxy", @same),
	start($nobody, @lent), start(0, @lent), start(0, @jailed), map({ start($nobody, @$_) } @named),
	start($nobody, 'unshare', '-U', '-r', @idle, '-f', "$top/rooted.cfg"));
like(read_file("/proc/$others[-1]/status"), qr/^Uid:\s+$nobody\s+$nobody\s+$nobody\s+$nobody$/m, 'root of a user namespace is its user here');
is(scalar(`nsenter -t $others[-1] -U id -u`), "0\n", 'and root in there');
until_true('the fake socket', sub { -S "$top/nobody/fake.sock" });
like(read_file("/proc/$others[2]/status"), qr/^Uid:\s+$nobody\s+0\s+0\s+0$/m, 'a setuid process is root but for its real user');
never_opened($opens, 'nothing of what they name is open to begin with');
my $second = install();
my $text = says('the configuration of root\'s HAProxy is tested', 'haproxy', 'test', 0, 0, qr/process \d+ of user $nobody is left alone/);
is(() = $text =~ /left alone/g, 1, 'told of once');
unlike($text, qr/PRIVATE|parsing|rooted|secret|archive|pipe/, 'nothing of what they name is told');
$text = says('root\'s HAProxy is updated', 'haproxy', 'reload', 0, 0, qr/haproxy\.pem replaced in process $master over \Q$socket\E/);
is(served(8443), $second, 'it serves the new certificate');
is_untouched('beside a fake');
never_opened($opens, 'root has opened nothing of what they name');
close $opens;
unlike($text, qr/\Q\/..\E/, 'a name with .. in it is none of the certificate\'s');
is(served($_), $first, "what it leads to is served as before on $_") for 9443, 7443;
is($worker->(), $first_worker, 'there was no reload');

# ---- the socket is another's ----

chown $nobody, -1, "$top/run";
rename $socket, "$socket.aside" or die;
my $usurper = start($nobody, "$top/nobody/haproxy", "$top/nobody/fake.pl", $socket, "$top/nobody/received");
until_true('the other\'s socket', sub { IO::Socket::UNIX->new($socket) });
Story::write_file("$top/nobody/received", '');
my $third = install();
says('an other\'s listener at the socket: a reload instead', 'haproxy', 'reload', 0, 0, qr/user $nobody listens at \Q$socket\E/);
is_untouched('a socket of nobody\'s');
ok(!-e "$top/nobody/signalled", 'nobody\'s process is not told to reload');
until_true('the reload', sub { served(8443) eq $third });
is(served(8443), $third, 'the master has reloaded');
stop($usurper);

# ---- looked at by who may not ----

says('a user who may not look says unknown', 'haproxy', 'running', $stranger, 1, qr/cannot be looked at by user $stranger/);
says('a user who may not look reloads nothing', 'haproxy', 'reload', $stranger, 1);

# ---- nothing but fakes ----

stop($master);
stop($others[1]);
until_true('the end of HAProxy', sub { !IO::Socket::INET->new('127.0.0.1:8443') });
unlink $socket;
says('fakes alone are no service', 'haproxy', 'running', 0, 3, qr/is left alone/);
says('and nothing to reload', 'haproxy', 'reload', 0, 1);
is_untouched('fakes alone');

# ---- without a master: by its unit, or where agent.conf names it ----

chown 0, -1, "$top/run";
my $single = start_haproxy('-f', $cfg);
ok(until_true('its user', sub { $its_user->($single) eq $nobody }), 'one without a master is nobody\'s');
my $fourth = install();
my $cannot = qr/process $single of user $nobody serves at ports that root has opened, and nobody but itself says .*instance = /;
says('what it was started with is not taken from itself', 'haproxy', 'running', 0, 1, $cannot);
says('so that the test fails', 'haproxy', 'test', 0, 1, $cannot);
says('and nothing is reloaded', 'haproxy', 'reload', 0, 1, $cannot);
is(served(8443), $third, 'the old certificate stays');

%more = (CERTSYNC_INSTANCE => "-f\n$cfg");
says('named in agent.conf it runs', 'haproxy', 'running', 0, 0, qr/^$/);
says('and is tested', 'haproxy', 'test', 0, 0, qr/^(Configuration file is valid\n)?$/);
says('and is updated', 'haproxy', 'reload', 0, 0, qr/replaced over \Q$socket\E$/m);
is(served(8443), $fourth, 'it serves what is new');
for my $writable ([$cfg, 0666, 0644], [$cfg, 0664, 0644], [$top, 0777, 0755]) {
	my ($path, $open, $closed) = @$writable;
	chmod $open, $path;
	says("named, with $path writable by others", 'haproxy', 'test', 0, 1, qr/instance: \Q$path\E can be written by .*: chmod go-w \Q$path\E$/m);
	chmod $closed, $path;
}
symlink $cfg, "$top/nobody/link.cfg";
$more{CERTSYNC_INSTANCE} = "-f\n$top/nobody/link.cfg";
says('named by a link of another\'s', 'haproxy', 'test', 0, 1, qr{instance: \Q$top\E/nobody belongs to user $nobody, .*: chown root \Q$top\E/nobody$}m);
for my $words (['-W'], ['-f'], ['-c', '-f', $cfg]) {
	$more{CERTSYNC_INSTANCE} = join "\n", @$words;
	says("named as @$words", 'haproxy', 'test', 0, 1, qr/instance: no file of HAProxy's is named: give the words/);
}
$more{CERTSYNC_INSTANCE} = "-C\nmnt\n-f\nhaproxy.cfg";
says('named by a relative path', 'haproxy', 'test', 0, 1, qr/instance: mnt is not an absolute path/);
$more{CERTSYNC_INSTANCE} = "-C\n$top\n-f\nhaproxy.cfg";
says('named by its directory', 'haproxy', 'running', 0, 0);
Story::write_file("$top/silent.cfg", read_file($cfg) =~ s/^\tstats socket.*\n//mr);
$more{CERTSYNC_INSTANCE} = "-f\n$top/silent.cfg";
says('named, with neither a socket nor a master', 'haproxy', 'test', 0, 1, qr/silent.cfg has no `stats socket` .* neither could be told of a certificate/);
chmod 0700, "$top/run";
$more{CERTSYNC_INSTANCE} = "-f\n$cfg";
says('named, by a user who cannot reach its socket', 'haproxy', 'running', $stranger, 1, qr/cannot connect to .*: Permission denied/);
chmod 0755, "$top/run";
%more = ();

# A double says what systemd would say of a unit, since none runs here. The cgroup is a real one, into which only root
# can put a process.
my ($unit, $cgroups) = ("certsync-$$-haproxy.service", "$top/cgroups");
Story::write_file("$top/systemctl", <<"SH", 0755);
#!/bin/sh
[ "\$1 \$3" = 'show --' ] || { echo "no \$*" >&2; exit 1; }
cat $top/units/\$4
SH
mkdir "$top/units" and mkdir $cgroups or die;
system("mount --bind $top/systemctl /usr/bin/systemctl") == 0 or die;
my $group;
for my $type (['cgroup2'], ['cgroup', '-o', 'none,name=systemd']) {
	system('mount', '-t', @$type, 'none', $cgroups) == 0 or next;
	$group = "$cgroups/system.slice/$unit";
	system('mkdir', '-p', $group);
	Story::write_file("$group/cgroup.procs", $single);
	last if read_file("/proc/$single/cgroup") =~ m{:/system.slice/\Q$unit\E$}m;
	rmdir $group;
	system('umount', $cgroups);
	$group = undef;
}
ok($group, 'it is in the cgroup of a unit') or BAIL_OUT('no cgroups here');

sub unit_says {
	my ($pid, $exec, $control) = @_;
	Story::write_file("$top/units/$unit", join "\n", 'MainPID=' . $pid,
		"ExecStart={ path=/usr/sbin/haproxy ; argv[]=/usr/sbin/haproxy $exec ; ignore_errors=no ; start_time=[n/a] ; pid=0 ; status=0/0 }",
		'ControlGroup=' . ($control // "/system.slice/$unit"), 'WorkingDirectory=!/mnt', '');
}

unit_says($single, "-f $cfg -p /run/haproxy.pid");
unlike(says('by its unit it runs', 'haproxy', 'running', 0, 0), qr/process $single/, 'and nothing is said of it');
my $before = install();
says('and is updated', 'haproxy', 'reload', 0, 0, qr/replaced in process $single over/);
is(served(8443), $before, 'it serves what is new');
unit_says($single, "-C $top -f haproxy.cfg");
says('with a directory', 'haproxy', 'running', 0, 0);
chown $nobody, -1, $cfg;
says('whose configuration is another user\'s', 'haproxy', 'running', 0, 1, $cannot);
chown 0, -1, $cfg;
unit_says($single, '-f $CONFIG $EXTRAOPTS');
says('whose words only systemd knows', 'haproxy', 'test', 0, 1,
	qr/process $single of user $nobody serves .*and ExecStart of \Q$unit\E has words that only systemd knows: .*EXTRAOPTS: start it/);
my $within = start($nobody, @idle, '-f', $cfg);
Story::write_file("$group/cgroup.procs", $within);
for (['the main process is another one', $within + 1], ['its cgroup is another one', $single, "-f $cfg", '/system.slice/other.service'], ['it is the main process of none', 0]) {
	my ($what, @told) = @$_;
	unit_says($told[0], $told[1] // "-f $cfg", $told[2]);
	says($what, 'haproxy', 'running', 0, 1, $cannot);
}
Story::write_file("$top/units/$unit", read_file("$top/units/$unit") =~ s/MainPID=0/MainPID=$within/r =~ s{/usr/sbin/haproxy}{$top/nobody/haproxy}gr);
says('a unit of another program', 'haproxy', 'running', 0, 1, $cannot);
unlink "$top/units/$unit";
says('no unit that systemd knows', 'haproxy', 'running', 0, 1, $cannot);
stop($within, $single);
until_true('its cgroup is empty', sub { rmdir $group });
rmdir "$cgroups/system.slice";
system("umount $cgroups /usr/bin/systemctl") == 0 or die;
$fourth = $before;

# The named instance does not run.
%more = (CERTSYNC_INSTANCE => "-f\n$cfg");
says('named and stopped', 'haproxy', 'running', 0, 3);
says('is tested all the same', 'haproxy', 'test', 0, 0);
says('and not reloaded', 'haproxy', 'reload', 0, 1, qr/no HAProxy runs here/);
$more{CERTSYNC_INSTANCE} = "-W\n-f\n$top/../mnt/haproxy.cfg";
unlink $socket;
my $named = start_haproxy('-W', '-f', $cfg);
my $other = install();
says('a master that is named is known by itself', 'haproxy', 'reload', 0, 0, qr/replaced in process $named over/);
is(served(8443), $other, 'and serves what is new');
$more{CERTSYNC_INSTANCE} = "-W\n-f\n$top/silent.cfg";
says('one of other files is not it', 'haproxy', 'running', 0, 3);
%more = ();
stop($named, @others[0, 2 .. $#others]);
until_true('the end of HAProxy', sub { !IO::Socket::INET->new('127.0.0.1:8443') });
$fourth = $other;

# ---- a master that is being started has no handler yet, and a SIGUSR2 would be its end ----

unlink $socket;
my $list = "$top/slow.list";
# Its certificate has a name of its own: of two for one name only a reload keeps the order.
openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=slow.domain.pl -keyout $top/slow.key -out $top/slow.crt");
Story::write_file("$top/slow.pem", read_file("$top/slow.crt") . read_file("$top/slow.key"), 0600);
my $slow = openssl("x509 -noout -fingerprint -sha256 -in $top/slow.crt");
configure($cfg, "\tuser nobody");
Story::write_file($cfg, read_file($cfg) . "frontend slow\n\tbind 127.0.0.1:6443 ssl crt-list $list\n");
POSIX::mkfifo($list, 0600) or die;
$master = start(0, '/usr/sbin/haproxy', '-W', '-f', $cfg);
my $reading;
until_true('it reads its list', sub { sysopen($reading, $list, O_WRONLY | O_NONBLOCK) });
my $output = hook_starts('haproxy', 'reload', 0);
like(scalar(<$output>), qr/process $master is reading its files just now: waiting until it has/, 'a reload meets a start');
Story::write_file("$list.new", "$top/slow.pem\n");
rename "$list.new", $list or die;
syswrite $reading, "$top/slow.pem\n";
close $reading;
$text = do { local $/; <$output> } // '';
ok(close($output), 'it waits') or diag($text);
unlike($text, qr/reloading/, 'and reloads nothing that has just been read');
until_true('the start', sub { served(8443) eq $fourth });
is(served(6443), $slow, 'the master lives');
my $fifth = install();
says('and is updated as ever', 'haproxy', 'reload', 0, 0, qr/replaced in process $master/);
is(served(8443), $fifth, 'with what is new');
stop($master);

# ---- the hooks that are scripts ----

# Each service is a stand-in of the right name, since what is tested is whom the hook believes.
sub scripted {
	my ($service, $process, $file) = @_;
	my $dir = $file =~ s/\/[^\/]+$//r;
	copy('/usr/bin/tail', "$top/bin/$process") or die;
	chmod 0755, "$top/bin/$process";
	says("$service without a pid file is stopped", $service, 'running', 0, 3);
	my $roots = start(0, "$top/bin/$process", '-f', '/dev/null');
	Story::write_file($file, "$roots\n", 0600);
	says("$service runs", $service, 'running', 0, 0);
	says("$service whose pid file a user cannot read is unknown", $service, 'running', $nobody, 1, qr/./);
	chmod 0700, $dir if $dir ne '/run';
	says("$service whose pid file a user cannot find is unknown", $service, 'running', $nobody, 1, qr/./);
	chmod 0755, $dir;
	chown $nobody, -1, $file;
	says("$service with a pid file of nobody's is unknown", $service, 'running', 0, 1, qr/\Q$file\E belongs to user $nobody, /);
	chown 0, -1, $file;
	stop($roots);
	says("$service has ended", $service, 'running', 0, 3);
	my $nobodys = start($nobody, "$top/bin/$process", '-f', '/dev/null');
	Story::write_file($file, "$nobodys\n");
	says("$service of nobody's is not the master", $service, 'running', 0, 3, qr/process $nobodys is user ${nobody}'s/);
	stop($nobodys);
	unlink $file;
}

mkdir '/run/dovecot';
scripted('dovecot', 'dovecot', '/run/dovecot/master.pid');
scripted('nginx', 'nginx', '/run/nginx.pid');
my $queue = `postconf -xh queue_directory 2>/dev/null`;
chomp $queue;
make_path("$queue/pid"); # Postfix makes it when it is first started
system('mount', '-t', 'tmpfs', '-o', 'mode=755', 'none', "$queue/pid") == 0 or die;
scripted('postfix', 'master', "$queue/pid/master.pid");

# ---- a service with a user of its own, who can write its pid file ----

sub perl_named {
	my ($name, $uid, $script, @words) = @_;
	-e "$top/bin/$name" or copy($^X, "$top/bin/$name") or die $!;
	chmod 0755, "$top/bin/$name";
	return start($uid, "$top/bin/$name", '-e', $script, @words);
}

mkdir "$top/$_" or die for qw(etc etc.work);
system("mount -t overlay -o lowerdir=/etc,upperdir=$top/etc,workdir=$top/etc.work none /etc") == 0 or die;
system('rm -rf /etc/stunnel && mkdir /etc/stunnel /run/own && chown nobody /run/own') == 0 or die;
my $file = '/run/own/stunnel.pid';
Story::write_file('/etc/stunnel/own.conf', "pid = $file\nsetuid = nobody\ncert = $top/live/mail/fullchain.pem\n");
# The process writes down who has signalled it: the kernel vouches for the sender's user.
my $says = <<'PERL';
use POSIX;
sigaction(SIGHUP, POSIX::SigAction->new(sub { open my $f, '>>', "/mnt/$ARGV[0]"; print $f "$_[1]{uid}\n" }, POSIX::SigSet->new, SA_SIGINFO));
select undef, undef, undef, 0.05 while 1
PERL
Story::write_file("$top/told-nobody", '', 0666);
my $own = perl_named('stunnel4', $nobody, $says, 'told-nobody');
my $roots = perl_named('stunnel4', 0, $says, 'told-root');
my $handles = sub { my ($pid) = @_; until_true("$pid to have a handler", sub { hex((read_file("/proc/$pid/status") =~ /^SigCgt:\s*(\w+)/m)[0]) & 1 }) };
$handles->($_) for $own, $roots;

sub named_in_file {
	my ($pid) = @_;
	unlink $file;
	Story::write_file("$file.new", "$pid\n");
	chown $nobody, -1, "$file.new";
	rename "$file.new", $file or die;
}

says('without its pid file it is stopped', 'stunnel', 'running', 0, 3);
named_in_file($own);
says('its own process runs', 'stunnel', 'running', 0, 0);
says('and is told', 'stunnel', 'reload', 0, 0);
ok(until_true('the signal', sub { -s "$top/told-nobody" }), 'it has been signalled');
is(read_file("$top/told-nobody"), "$nobody\n", 'with its own user\'s rights');
named_in_file($roots);
says('a process of root\'s that its user names', 'stunnel', 'reload', 0, 1,
	qr/\Q$file\E, which user nobody can write, names process $roots of user 0: it is not signalled/);
named_in_file('4' x 30);
says('a number that is none', 'stunnel', 'running', 0, 1, qr/does not begin with a process's number/);
unlink $file;
POSIX::mkfifo($file, 0666) or die;
chown $nobody, -1, $file;
says('a pid file that never ends', 'stunnel', 'running', 0, 1, qr/\Q$file\E/);
unlink $file;
my $secret = watch_opens("$top/secret.key");
symlink "$top/secret.key", $file or die;
unlike(says('a link to what its user may not read', 'stunnel', 'running', 0, 1, qr/\Q$file\E: Permission denied/), qr/PRIVATE/, 'and nothing of it is told');
never_opened($secret, 'nor is it opened');
unlink $file;
chown 0, -1, '/run/own';
chmod 0777, '/run/own';
Story::write_file($file, "$roots\n");
says('where anybody can put a pid file', 'stunnel', 'reload', 0, 1, qr{/run/own can be written by others than its owner: chmod go-w /run/own$}m);
chmod 0755, '/run/own';
chown $nobody, -1, '/run/own';

# The service's user changes the file all the time, and whichever process is judged must be the one that is signalled.
my $victim = perl_named('victim', 0, $says, 'told-root');
$handles->($victim);
my $swapper = perl_named('swapper', $nobody, 'my $i; while (1) { open my $f, ">", "$ARGV[0].x"; print $f "$ARGV[1 + $i++ % 2]\n"; close $f; rename "$ARGV[0].x", $ARGV[0] }',
	$file, $own, $victim);
my %codes;
$codes{(hook('stunnel', 'reload', 0))[0]}++ for 1 .. 40;
stop($swapper);
ok(!-e "$top/told-root", 'no process of root\'s is ever signalled');
cmp_ok($codes{0} // 0, '>', 0, 'and its own is, when it is the one that is named') or diag(join ' ', %codes);
stop($own, $roots, $victim);

# ---- qmail: the listener that root has started, or whose port root has opened ----

mkdir "$top/qmail" or die;
my $stranger_serves = perl_named('tcpserver', $nobody, 'sleep 1 while 1', '/var/qmail/bin/qmail-smtpd');
says('a stranger with the listener\'s name and words', 'qmail', 'running', 0, 3);
my $dropped = perl_named('tcpserver', 0, <<'PERL', '/var/qmail/bin/qmail-smtpd');
use IO::Socket::INET; use POSIX;
my $l = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 2525, Listen => 1) or die; POSIX::setuid(65534); sleep 1 while 1
PERL
ok(until_true('its user', sub { $its_user->($dropped) eq $nobody }), 'the listener has given up root\'s rights');
says('it runs', 'qmail', 'running', 0, 0);
stop($dropped, $stranger_serves);
says('without it, stopped', 'qmail', 'running', 0, 3);

# ---- a hook that is told of an instance which it cannot know ----

%more = (CERTSYNC_INSTANCE => '-f');
says('an instance where there is none to choose', 'stunnel', 'test', 0, 1, qr/instance in agent.conf is not for this hook/);
%more = ();

stop(keys %children);
done_testing();
