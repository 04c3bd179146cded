#!/usr/bin/perl
# What each process can reach, asked of the process itself: a library in it tries, confined as the process is, what it
# must be refused and what it must be let do. Users and modes alone would let it do all of that. Then the same programs
# run on kernels that have no Landlock: everything works, and the log says that it is missing.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use IO::Socket::INET;
use POSIX ();
use Separate;
use Test::More;

# On this node the command that tells a person is a process of its own.
package Confined {
	our @ISA = ('Separate');
	sub hub_conf {
		my ($self, @wish) = @_;
		$self->SUPER::hub_conf(@wish);
		# Each scan starts another watcher, so scans are made rare here.
		my $text = Story::read_file("$self->{top}/hub.conf") =~ s/^scan_interval = .*/scan_interval = "1h"/mr;
		Story::write_file("$self->{top}/hub.conf", $text);
	}
	sub agent_conf {
		my ($self, $agent, %wish) = @_;
		my $dir = $self->SUPER::agent_conf($agent, %wish);
		Story::write_file("$dir/agent.conf", Story::read_file("$dir/agent.conf")
			. "alert {\n\tcommand = \"$self->{top}/tell\"\n\thub_away = \"10s\"\n}\n", 0640) if $agent eq 'mail';
		return $dir;
	}
}

my $tests = $ENV{CERTSYNC_TESTS} //= "$Story::bin/../tests";
Separate->enter;
my $story = Confined->new;
my $top = $story->top;
# The library lies beside the programs, where each may load it; what the link has to say goes where its daemon may
# write.
my ($beside, $said) = ($Story::bin, '/mnt/said');
system("cp $tests/reach.so $tests/no_landlock_tool $beside && chmod 755 $beside/reach.so && mkdir -m 1777 $said") == 0 or BAIL_OUT('cp');
Story::write_file("$beside/ask", '', 0644);
Story::write_file("$beside/where", "$said\n$top/mail/run\n", 0644);
Story::write_file('/etc/ld.so.preload', "$beside/reach.so\n", 0644);

# Nobody needs these files, and their modes let everybody have them.
my $outside = '/mnt/outside';
mkdir $outside or die $!;
chmod 0777, $outside;
Story::write_file("$outside/file", "x\n", 0666);
Story::write_file("$outside/run", "#!/bin/sh\n", 0755);
mkdir "$top/watched", 0755;
Story::write_file("$top/tell", "#!/bin/sh\ncat >>$outside/told\n", 0755);
# Nobody accepts what comes there, and a queue that is full lets the next one wait: it has room for all that a slow machine's hub sends in an hour.
my $server = IO::Socket::INET->new(Listen => 500, LocalAddr => '127.0.0.1') or die $!;
my $port = $server->sockport;
my ($free, $page) = (Story::free_port(), Story::free_port());

$story->pair($_) for qw(first second);
my $certificates = "certificate \"$Story::name\" {}\ncertificate \"watched.domain.pl\" { watch = {\"$top/watched\"} }\n";
# Nobody answers at that port either, so that the worker that looks stays for a while.
my $endpoint = "endpoint \"localhost\" { ports = {\"$port/tls\"} at = {\"127.0.0.1\"} interval = \"1m\" }\n";
ok($story->up(hub_conf => {certificates => $certificates . $endpoint}),
	'hub and agents are up') or diag(map { $story->log($_) } qw(hub here mail sshd));
$story->import('first');
ok($story->until_state($_, 'unprobed'), "$_ is verified") for qw(here mail);
my ($version) = `$Story::bin/certsync-agent doctor -c $top/mail/agent.conf 2>&1` =~ /^ok +confinement: Landlock version (\d+) /m;
ok($version, 'doctor says that this kernel has Landlock, without which this story judges nothing') or BAIL_OUT('no Landlock');

# ---- the processes ----

my %process;
my $agent = $story->{started}{mail};
$process{daemon} = $story->child('mail', qr/certsync-agent\0run/);
$process{teller} = $story->child('mail', qr/certsync-agent\0tell/);
$process{link} = $story->child('mail', qr/certsync-link/);
$process{watcher} = $story->child('hub', qr/--watch/);
$process{hub} = $story->child('hub', qr/certsync\0hub/);
$process{spawner} = $story->child('hub', qr/certsync-worker\z|certsync-worker\0\z/);
($process{gate}) = grep { !-e "/proc/$_/exe" || readlink("/proc/$_/exe") =~ /gate/ } split /\s+/, `pgrep -x certsync-gate`;
is(scalar(grep { $_ } values %process), 7, 'all of them run') or BAIL_OUT(join ' ', map { "$_=" . ($process{$_} // '') } sort keys %process);

# The stranger is a process of the same user which the confined one did not start.
for my $user (qw(gate hub worker)) {
	$story->start("stranger-$user", 'setpriv', map({ ($_, "certsync-$user") } '--reuid', '--regid'), '--clear-groups', 'sleep', 1000);
	$story->until('stranger', sub { Story::read_file("/proc/$story->{started}{qq(stranger-$user)}/cmdline") =~ /^sleep/ });
}
my %stranger = (daemon => $process{teller}, link => $process{teller}, watcher => $story->{started}{'stranger-gate'},
	map { ($_ => $story->{started}{"stranger-$_"}) } qw(gate hub worker));

sub status {
	my ($pid, $key) = @_;
	my ($value) = Story::read_file("/proc/$pid/status") =~ /^$key:\s+(\S+)/m;
	return $value;
}
for my $what (sort keys %process) {
	my $pid = $process{$what};
	is(status($pid, 'NoNewPrivs'), 1, "$what: nothing that it runs gains privileges");
	is((stat "/proc/$pid/stat")[4], 0, '  it cannot be dumped or traced by its user');
	# The watcher has root's right to become the owner of a watched directory, and to come to it.
	is(hex status($pid, 'CapEff'), $what eq 'watcher' ? 1 << 2 | 1 << 6 | 1 << 7 : 0, '  it has no capability but those that it needs');
	# the gate has no right to drop them, and no use for them
	is(hex status($pid, 'CapBnd'), 0, '  and can have no other') if $what ne 'gate';
	like(Story::read_file("/proc/$pid/limits"), qr/^Max core file size\s+0\s+0/m, '  it leaves no core');
}

# ---- what it says itself ----

my $asked = 0;
no warnings 'portable'; # a mask of signals has 64 bits
my $question = POSIX::SIGRTMIN() + 7;
# Returns whether the process has come so far that the signal does not end it.
sub catches {
	my ($pid) = @_;
	my ($mask) = Story::read_file("/proc/$pid/status") =~ /^SigCgt:\s+([0-9a-f]{16})$/m;
	return $mask && (hex($mask) >> ($question - 1)) & 1;
}
# These two are begun anew, and listen to the signal before they have confined themselves; what they wait with is made after that.
my %waits_with = (watcher => qr/^anon_inode:inotify/, worker => qr/^anon_inode:\[eventpoll\]/);
sub is_at_work {
	my ($what) = @_;
	return !$waits_with{$what} || grep { (readlink // '') =~ $waits_with{$what} } glob "/proc/$process{$what}/fd/*";
}
sub ask {
	my ($what, @lines) = @_;
	# The file is written in place, because the process has it open. A line of its own keeps an old answer from
	# being taken for the new one.
	Story::write_file("$beside/ask", join('', map { "$_\n" } "signal 0" . ++$asked, @lines), 0644);
	my ($signalled, %answer) = 0;
	$story->until($what, sub {
		# libinotifytools takes a signal for a reason to end, so one that has answered may be gone already.
		my $text = join '', map { Story::read_file("$_/$signalled.said") } $said, "$top/mail/run";
		if ($text =~ /\Asignal 0$asked .*^END\n/ms) {
			%answer = $text =~ /^(.+) (\d+)$/mg;
			return 1;
		}
		$process{$what} = $story->child('hub', qr/--watch/) // return 0 if $what eq 'watcher';
		$process{$what} = $story->child('hub', qr/certsync-worker\0check/) // return 0 if $what eq 'worker';
		return 0 if !catches($process{$what}) || !is_at_work($what);
		kill $question, $signalled = $process{$what} if $signalled != $process{$what};
		return 0;
	}, 90) or diag("$what has not answered");
	return map { $answer{$_} // 'no answer' } @lines;
}
my %name = map { (POSIX->can($_)->() => $_) } qw(EPERM ENOENT EAGAIN EACCES EMFILE);
sub said { my ($number) = @_; return $number eq '0' ? 'let' : $name{$number} // $number }
sub lets {
	my ($what, @lines) = @_;
	my @said = map { said($_) } ask($what, @lines);
	is($said[$_], 'let', "$what: $lines[$_]") for 0 .. $#lines;
}
# Landlock refuses these, or the process may have no further descriptor or child.
sub refuses {
	my ($what, @lines) = @_;
	@lines = grep { $version >= (/^(connect|bind)/ ? 4 : /^signal/ ? 6 : 1) } @lines;
	my @said = map { said($_) } ask($what, @lines);
	like($said[$_], qr/^(EACCES|EPERM|EMFILE|EAGAIN)$/, "$what: not $lines[$_]") for 0 .. $#lines;
}

my @others = ("read $outside/file", "write $outside/file", "make $outside/new", "run $outside/run", 'run /bin/sh', "bind $free");
my @files = ('read /etc/passwd', 'read /dev/null', 'read /usr/lib/os-release', "list $outside", "connect $port");
my $own = "$top/mail/state/id_ed25519";

refuses('gate', @others, @files, 'read /run/certsync-hub/gate.sock', "signal $stranger{gate}");
refuses('link', @others, @files, "read $own", "read $top/mail/etc/pins/host_keys", "signal $stranger{link}");
refuses('watcher', @others, 'read /etc/passwd', 'read /etc/shadow', "read $top/hub.conf", "connect $port", "signal $stranger{watcher}");
lets('watcher', "list $top/watched", "list $outside");
refuses('daemon', @others, "list $outside", 'write /etc/passwd', "write $top/mail/agent.conf", "make $top/mail/etc/new", "signal $stranger{daemon}");
lets('daemon', "read $own", "make $top/mail/state/new", "make $top/mail/run/new", "read $top/mail/agent.conf", "read $top/mail/etc/pins/host_keys",
	'read /etc/passwd', 'write /dev/null', "run $Story::bin/certsync-link", "connect $port", "signal $process{link}");
lets('teller', @others, "list $outside", "connect $port");
refuses('hub', @others, "list $outside", 'write /etc/passwd', "write $top/hub.conf", "make $top/new", "connect $port",
	"run $Story::bin/certsync-worker", "signal $stranger{hub}");
lets('hub', "read $top/hub.conf", "read $top/ca.pem", "make $top/hub/new", 'make /run/certsync-hub/new', 'read /etc/passwd', 'write /dev/null');
refuses('worker', @others, "list $outside", "read $top/hub.conf", 'write /etc/passwd', 'make /mnt/tmp/new', "signal $stranger{worker}");
lets('worker', "read $top/ca.pem", 'read /etc/passwd', "connect $port");

# ---- a configuration that needs more ----

# What worked before must not fail after a reload, so the daemon is started again.
my $before = $process{hub};
Story::write_file("$top/hub.conf", "page = \"127.0.0.1:$page\"\n" . Story::read_file("$top/hub.conf"));
kill 'HUP', $story->{started}{hub};
ok($story->until('page', sub { IO::Socket::INET->new(PeerAddr => "127.0.0.1:$page") }), 'a page at a port that is new is served after a reload')
	or diag($story->log('hub'));
like($story->log('hub'), qr/event=reload result=restart reason="it names files or a port that this process may not reach/, '  and it is said why');
isnt($story->child('hub', qr/certsync\0hub/), $before, '  by another daemon');
ok($story->until_state($_, 'unprobed', 60), "  $_ is back") for qw(here mail);

# ---- and with all that, they work ----

my $renewed = $story->fingerprint("$top/second.crt");
$story->import('second');
ok($story->until('renewal', sub { $story->installed('here') eq $renewed && $story->installed('mail') eq $renewed }), 'a renewal goes through them');
ok($story->until_state($_, 'unprobed'), "$_ is verified") for qw(here mail);
system("cp $top/first.key $top/watched/privkey.pem && cp $top/first.crt $top/watched/fullchain.pem");
ok($story->until('watched', sub { $story->log('hub') =~ /watched\.domain\.pl/ }), 'what comes into the watched directory is seen');
$story->stop('hub');
ok($story->until('told', sub { -s "$outside/told" }, 40), 'the command of alerts writes where the daemon could not') or diag($story->log('mail'));
unlike(join('', map { $story->log($_) } qw(hub here mail)), qr/event=confine /, 'no process says that the kernel lacks what it needs');

# ---- kernels that have no Landlock ----

my %kernel = (
	built => qr/the kernel has no Landlock, .* remedy="boot Linux 5\.19 or later, built with CONFIG_SECURITY_LANDLOCK"/,
	booted => qr/the kernel was booted without its Landlock, .* remedy="put landlock first in lsm= of the kernel's command line/,
	filtered => qr/a filter of system calls forbids Landlock, .* remedy="SystemCallFilter= of the unit is to have landlock_create_ruleset/,
);
for my $kind (sort keys %kernel) {
	my @tool = ("$Story::bin/no_landlock_tool", $kind);
	$story->stop($_) for qw(mail hub);
	unlink map { "$top/$_.log" } qw(mail hub);
	$story->start('hub', @tool, "$Story::bin/certsync-hub-root", '-c', "$top/hub.conf");
	ok($story->until('hub', sub { -S '/run/certsync-hub/control.sock' && ($story->certsync('status'))[0] != 4 }), "$kind: the hub starts");
	$story->{log_before}{mail} = 0;
	$story->start('mail', @tool, "$Story::bin/certsync-agent-root", '-c', "$top/mail/agent.conf");
	ok($story->until_state('mail', 'unprobed', 40), '  and an agent, over SSH');
	for my $of (qw(hub agent)) {
		my @lines = $story->log($of eq 'hub' ? 'hub' : 'mail') =~ /^.* program=certsync-$of event=confine .*$/mg;
		is(scalar @lines, 1, "  the daemon of the $of says once") or diag(@lines);
		like($lines[0] // '', $kernel{$kind}, '  what is missing, and what to do');
	}
	like(scalar(`@tool $Story::bin/certsync-agent doctor -c $top/mail/agent.conf 2>&1`), qr/^warning +confinement: \Q@{[$kind eq 'filtered' ? 'a filter' : 'the kernel']}\E .*\n +to do: /m, '  and so does doctor');
	my $daemon = $story->child('mail', qr/certsync-agent\0run/);
	is(join(' ', map { status($daemon, $_) } qw(NoNewPrivs CapBnd)), '1 0000000000000000', '  what does not need Landlock holds all the same');
}
$story->ends_clean;
done_testing;
