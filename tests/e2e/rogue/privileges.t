#!/usr/bin/perl
# Privileges held against the code: what each process has mapped and opens in a whole renewal; what a session of the
# gate account can do, with a real ssh at an sshd that allows everything; what the agent's user can reach on the hub's
# node; and what systemd is told.
# Not under valgrind: it judges which libraries and files a process has, and those are valgrind's too.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Fcntl;
use File::Find;
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use POSIX ();
use Port qw(free_port);
use Separate;
use Test::More;

my $units = "$FindBin::Bin/../../../examples/systemd";
Separate->enter;
my $story = Separate->new;
my $top = $story->top;

# ---- a renewal, its root halves watched by strace ----

my @strace = ("strace", split(" ", "-f -y -qq --seccomp-bpf -s 300 -e trace=%file,%process,connect -o"));
$story->pair($_) for qw(first second);
ok($story->up(before => {hub => [@strace, "$top/hub.trace"], mail => [@strace, "$top/mail.trace"]}),
	'hub and agents are up, the root halves traced') or diag(map { $story->log($_) } qw(hub here mail sshd));
$story->import('first');
ok($story->until_state($_, 'unprobed'), "$_ has a first certificate") for qw(here mail);
my $renewed = $story->pair('renewed', days => 25);
$story->import('renewed');
ok($story->until('renewal', sub { $story->installed('here') eq $renewed && $story->installed('mail') eq $renewed }), 'and its renewal');
ok($story->until_state($_, 'unprobed'), "$_ serves it") for qw(here mail);

# ---- what is mapped ----

my %mapped;
my %running = $story->processes;
for my $pid (keys %running) {
	$mapped{$running{$pid}}{$_} = 1 for Story::read_file("/proc/$pid/maps") =~ m{/(lib[^/]*?)[-.0-9]*\.so}g;
}
is_deeply([sort grep { /^(hub|certsync)/ } keys %mapped],
	[sort qw(hub certsync-keys certsync-hub-root certsync-worker certsync-gate certsync-agent certsync-agent-root certsync-link)], 'all programs run');
sub mapped {
	my ($what) = @_;
	my @system = qw(c m pthread resolv dl rt nss_.*);
	push @system, 'cap' if $mapped{$what}{libnss_systemd}; # libnss_systemd needs it
	push @system, qw(asan ubsan gcc_s stdc\+\+) if $mapped{$what}{libasan}; # for make SANITIZE=1
	my $system = join '|', @system;
	return join ' ', sort grep { !/^lib($system)$/ } keys %{$mapped{$what}};
}
# From 3.4 on Debian's libcrypto brings libz and libzstd.
my $libcrypto = join ' ', sort 'libcrypto', grep { !/^lib(c|m|dl|pthread)$/ } `ldd \$(ldconfig -p | sed -n '/libcrypto\.so\.3 .*x86-64/s/.*=> //p')` =~ m{^\s*(lib[^/\s]*?)[-.0-9]*\.so}gm;
is(mapped('certsync-gate'), '', 'the gate: libc alone');
is(mapped('certsync-keys'), $libcrypto, 'what holds the keys: libcrypto alone');
is(mapped('certsync-agent-root'), $libcrypto, "the agent's root half: libcrypto alone");
is(mapped('certsync-hub-root'), 'libinotifytools', "the hub's root half: libinotifytools alone");
is_deeply([grep { $mapped{$_}{libssh} } sort keys %mapped], ['certsync-link', 'certsync-worker'], 'libssh is in the link, and where libcurl brings it');
is_deeply([grep { $mapped{$_}{libcurl} } sort keys %mapped], ['certsync-worker'], 'libcurl is in the worker alone');
like(mapped('hub'), qr/libcjson.*libcrypto.*libevent/, 'and the hub has what it should: the pattern sees libraries');

# ---- a session of the gate account ----

my $key = "$top/key";
system("install -m 600 $top/other/state/id_ed25519 $key && sed 's/^/127.0.0.1 /' $top/host.pub >$top/known") == 0 or die;
my @login = ('-F', 'none', '-i', $key, map({ ('-o', $_) } 'IdentitiesOnly=yes', "UserKnownHostsFile=$top/known", 'BatchMode=yes',
	'StrictHostKeyChecking=yes', 'LogLevel=VERBOSE', 'ConnectTimeout=5'));
my $gate = 'certsync-gate@127.0.0.1';

# Runs a command with these bytes as its input, for at most $patience seconds. Returns its exit code, its output and its
# errors.
my $patience = 10;
sub result {
	my ($input, @command) = @_;
	Story::write_file("$top/input", $input);
	my $quoted = join ' ', map { "'$_'" } @command;
	my $exit = system("timeout $patience $quoted <$top/input >$top/output 2>$top/error") >> 8;
	return ($exit, Story::read_file("$top/output"), Story::read_file("$top/error"));
}

my $hello = '{"type":"hello","protocol":1,"version":"x","instance":"' . '0' x 32 . '","clock":1,"count":0}';
$hello = pack('NC', length($hello) + 1, 1) . $hello;
$hello .= $hello; # a second hello is a fault, which ends the connection
my $frame = qr/^\0\0..\x01\{"type":"welcome"/s;
for my $try (['no command: a shell'], ['cat /etc/passwd'], ['-T', '/bin/sh', '-i'], ['-tt', 'id'], ['-s', 'sftp'],
	['here', 'mail'], ['--', '-c', 'mail'], [';id'], ['$(id)'])
{
	my @options = grep { /^-[Tts]+$/ } @$try;
	my @words = $try->[0] =~ /shell/ ? () : grep { !/^-[Tts]+$/ } @$try;
	my (undef, $output, $error) = result($hello, 'ssh', @login, @options, $gate, @words);
	# a terminal would garble it
	like($output, $frame, "@$try: what answers is the hub, in a frame") if !grep { $_ eq '-tt' } @$try;
	unlike("$output$error", qr/root:|uid=/, "@$try: nothing was run");
}
ok($story->until('log', sub { (() = $story->log('hub') =~ /event=connected agent=other/g) >= 7 }), 'to the hub each was the agent of this key');
(undef, undef, my $error) = result($hello, 'ssh', @login, '-tt', $gate);
like($error, qr/PTY allocation request failed/, 'a session gets no terminal');
my ($exit) = result("get /etc/passwd $top/stolen\n", 'sftp', @login, '-b', '-', $gate);
ok($exit != 0 && !-e "$top/stolen", 'a session gets no sftp');
$patience = 2; # the hub waits for the rest of a frame
($exit) = result('', 'scp', '-O', @login, "$gate:/etc/passwd", "$top/stolen");
ok($exit != 0 && !-e "$top/stolen", 'a session gets no scp');
$patience = 10;

# Forwarding is tried to a server behind sshd, which must see nobody.
my $behind = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1', LocalPort => free_port()) or die;
my $secret = $behind->sockport;
sub forward {
	my ($what, $option, $port, @speak) = @_;
	$story->start("ssh-$port", 'ssh', @login, '-N', $option, $gate);
	my $socket;
	$story->until($what, sub { $socket = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port") });
	ok($socket, "$what: ssh listens here") or return;
	$socket->syswrite($_) && IO::Select->new($socket)->can_read(2) && $socket->sysread(my $answer, 100) for @speak;
	ok($story->until('log', sub { $story->log("ssh-$port") =~ /administratively prohibited|open failed/ }), "$what: sshd prohibits it")
		or diag($story->log("ssh-$port"));
	$story->stop("ssh-$port", 'KILL'); # SIGTERM could be lost, when it meets ssh right before its poll(2)
}
my @ports = map { free_port() } 1 .. 4;
forward('-L', "-L$ports[0]:127.0.0.1:$secret", $ports[0], "x\n");
forward('-L to a socket of the hub', "-L$ports[1]:/run/certsync-hub/control.sock", $ports[1], "x\n");
forward('-D', "-D$ports[2]", $ports[2], pack('C3', 5, 1, 0), pack('C4a4n', 5, 1, 0, 1, "\x7f\0\0\1", $secret));
(undef, undef, $error) = result('', 'ssh', @login, '-W', "127.0.0.1:$secret", $gate);
like($error, qr/administratively prohibited/, '-W: prohibited');
for my $where ($ports[3], "$top/remote.sock") {
	($exit, undef, $error) = result('', 'ssh', @login, '-N', '-o', 'ExitOnForwardFailure=yes', '-R', "$where:127.0.0.1:$secret", $gate);
	ok($exit == 255 && $error =~ /remote port forwarding failed/, "-R $where: refused") or diag("$exit $error");
}
$behind->blocking(0);
ok(!$behind->accept, 'nobody has come to the server behind');

# Environment, agent and X11 are looked at in a session that stays.
my %before = $story->processes;
$ENV{SSH_AUTH_SOCK} = "$top/agent.sock";
$ENV{DISPLAY} = ':7';
$story->start('agent', 'ssh-agent', '-D', '-a', "$top/agent.sock");
$story->until('ssh-agent', sub { -S "$top/agent.sock" });
my $ssh = open my $session, '|-', "exec ssh @login -A -X -o SetEnv='LD_PRELOAD=/x.so CERTSYNC_X=1' $gate >$top/output 2>$top/error" or die $!;
my ($new, %environment);
$story->until('gate', sub {
	my %now = $story->processes;
	($new) = grep { $now{$_} eq 'certsync-gate' && !$before{$_} } keys %now;
	%environment = $new ? map { split /=/, $_, 2 } split /\0/, Story::read_file("/proc/$new/environ") : ();
	return %environment;
});
is_deeply([grep { /AUTH_SOCK|DISPLAY|XAUTH/ } sort keys %environment], [], 'neither an agent nor a display is forwarded');
is($environment{SSH_ORIGINAL_COMMAND}, undef, 'a session without a command');
my %served = map { ($_ => 1) } grep { /^\d+$/ } map { /127\.0\.0\.1:(\d+)/ ? $1 : () } split /\n/, `ss -Hltnp | grep sshd`;
is_deeply([keys %served], [22], 'sshd listens at its own port alone');
is(join(' ', glob("/proc/$new/task/$new/children")) && Story::read_file("/proc/$new/task/$new/children"), '', 'the gate has no child');
kill 'TERM', $ssh;
close $session;
delete @ENV{qw(SSH_AUTH_SOCK DISPLAY)};

# ---- the agent's user on the hub's node ----

# Returns the path, if a hub or an agent says anything there to what its peers would send.
sub answers {
	my ($path) = @_;
	local $SIG{PIPE} = 'IGNORE';
	my $socket = IO::Socket::UNIX->new(Peer => $path) or return;
	$socket->syswrite($path =~ /control/ ? "{}\n" : $path =~ /gate/ ? "\x05other$hello" : $hello);
	return IO::Select->new($socket)->can_read(1) && $socket->sysread(my $answer, 100) ? $path : ();
}

my @secret;
find({no_chdir => 1, wanted => sub { push @secret, $_ }}, "$top/hub", "$top/hub-keys", "$top/here/root");
push @secret, "$top/hub.conf", glob("$top/{here,mail}/etc/archive/*/*/{privkey,combined,haproxy}.pem");
cmp_ok(scalar(grep { m{privkey|sign\.key|hub-keys/leaf/.*pem} } @secret), '>', 4, 'there are keys to be had');
for my $user (qw(certsync-worker certsync-agent certsync-gate nobody)) {
	my $read = $story->as($user, sub { [grep { -d $_ ? opendir(my $d, $_) : open(my $f, '<', $_) } @secret] });
	is_deeply($read, [], "$user can read nothing of the store, no configuration of the hub, no key");
	my $served = $story->as($user, sub { [map { answers($_) } glob("/run/certsync-hub/*.sock $top/{here,mail}/run/*.sock")] });
	is_deeply($served, {'certsync-agent' => ['/run/certsync-hub/local.sock'], 'certsync-gate' => ['/run/certsync-hub/gate.sock']}->{$user} // [],
		"$user is served at no socket but its own");
}
my %at = reverse $story->processes;
for my $what (qw(hub certsync-keys certsync-worker certsync-agent certsync-link certsync-gate)) {
	my $status = Story::read_file("/proc/$at{$what}/status");
	ok($status =~ /^Uid:\s+([1-9]\d*)\s+\1\s+\1\s+\1$/m && $status =~ /^Gid:\s+([1-9]\d*)\s+\1\s+\1\s+\1$/m
		&& 4 == (() = $status =~ /^Cap(?:Inh|Prm|Eff|Amb):\s+0+$/mg), "$what has no root, no group of root, no capability") or diag($status);
}
for my $pair (['certsync-hub', 'hub'], ['certsync-keys', 'certsync-keys'], ['certsync-worker', 'certsync-worker'], ['certsync-agent', 'certsync-agent'], ['certsync-agent', 'certsync-link'], ['certsync-gate', 'certsync-gate']) {
	my ($user, $what) = @$pair;
	my $opened = $story->as($user, sub { [grep { open my $f, '<', "/proc/$at{$what}/$_" } qw(mem environ maps)] });
	is_deeply($opened, [], "another process of $user cannot look into $what");
}

# ---- what is opened ----

# Returns the files that a root half itself names in system calls. What its children do after they have become another
# program is theirs.
sub named_by_root {
	my ($trace) = @_;
	my (%other, %files, %begun);
	open my $file, '<', $trace or die "$trace: $!";
	my $root;
	while (my $line = <$file>) {
		# A process that has waited for an execve goes on when that has succeeded, so strace cuts the line in
		# two.
		$begun{$1} = $2 if $line =~ /^(\d+)\s+(execve\(.*) <unfinished/;
		$line = "$1 $begun{$1}$2" if $line =~ /^(\d+)\s+<\.\.\. execve resumed>(.*)/s;
		my ($pid, $call, $rest) = $line =~ /^(\d+)\s+(\w+)\((.*)/ or next;
		$root //= $pid;
		next if $other{$pid};
		$other{$1} = 1 if $call =~ /fork|clone/ && $other{$pid} && $rest =~ /= (\d+)/;
		if ($call eq 'execve' && $rest =~ /= 0$/) {
			$files{(split /"/, $rest)[1]}{execve} = 1;
			$other{$pid} = 1 if $pid != $root; # the first execve is strace's
			next;
		}
		next if $call eq 'connect' && $rest !~ /sun_path/;
		$rest =~ s/^"[^"]*", // if $call eq 'symlinkat'; # a link's target is no file yet
		# The arguments look like: AT_FDCWD</x>, "y" or 5</x>, "y" or "y"
		my ($directory, $name) = $rest =~ /^(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?(?:\d+<[^>]*>, \{[^"]*)?"([^"]*)"/ or next;
		$name = ($directory // '') . "/$name" if $name !~ m{^/};
		$name =~ s{//+}{/}g;
		$name =~ s{(.)/$}{$1};
		$files{$name}{$call} = 1;
	}
	return \%files;
}

# The C library, the dynamic linker and this machine's user data base read these in every program.
my $system = qr{^(/etc/(ld\.so\.(cache|preload)|nsswitch\.conf|passwd|group|localtime|ssl/openssl\.cnf)
	|/(usr/)?lib(64)?/[^.].*|/mnt/programs(/.*)?|/dev/(null|urandom)|/proc/self/(exe|fd.*|status)|/proc/(self|\d+)/task/\d+/children|/proc/sys/kernel/ngroups_max
	|/run/systemd/.*|/(etc|run|usr/lib|usr/local/lib)/userdb|/run/host|(/var)?/run/nscd/socket|/usr/share/zoneinfo/.*)$}x;

# Returns what is neither that, nor one of these or below one, nor passed through on the way there.
sub outside {
	my ($trace, @own) = @_;
	my $files = named_by_root($trace);
	push @own, $ENV{CERTSYNC_COUNTERS} if $ENV{CERTSYNC_COUNTERS}; # for make coverage
	push @own, '/proc/self' if grep { $_->{libasan} } values %mapped; # for make SANITIZE=1
	my %way = map { ($_ => 1) } '/', '/usr', '/usr/lib', '/usr/local', '/usr/local/lib', '/usr/lib/ssl', '/etc', '/lib', '/run';
	for my $path (map { $_ } @own) {
		$way{$path} = 1 while $path =~ s{/[^/]+$}{} && $path;
	}
	my $own = join '|', map { quotemeta } @own;
	cmp_ok(scalar(grep { m{^($own)} } keys %$files), '>', 10, 'the trace shows what it does with its own');
	my @not_ours = grep { !m{^($own)(/|$)} && !m{$system} } sort keys %$files;
	return [map { "$_: " . join ' ', sort keys %{$files->{$_}} } grep { !$way{$_} || grep { !/^(openat|newfstatat|readlinkat|readlink|mkdir)$/ } keys %{$files->{$_}} } @not_ours];
}
# strace ends when what it watches has ended.
my %ending = $story->processes;
kill 'TERM', grep { $ending{$_} =~ /-root$/ } keys %ending;
waitpid delete $story->{started}{$_}, 0 for qw(here mail hub);
# The opener itself asks how large it is, before its memory is locked.
is_deeply(outside("$top/mail.trace", '/proc/self/statm', map { "$top/$_" } 'mail', 'ca.pem'), [], "the agent's root half names no file but its own");
is_deeply(outside("$top/hub.trace", "$top/hub.conf", "$top/hub", "$top/hub-keys", '/run/certsync-hub', '/run/certsync-hub-keys', $Separate::home, map { "$top/$_" } 'ca.pem', 'host.pub'), [],
	"nor the hub's");
# It makes the directories, and looks for what has to be moved.
my $hubs = named_by_root("$top/hub.trace");
is_deeply([grep { m{^\Q$top\E/hub-keys/.*\.(pem|key)$} && $hubs->{$_}{openat} } sort keys %$hubs], [], "  and opens no key of certsync-keys'");

# ---- what systemd is told ----

# SECURITY.md says what each exposure that remains is for.
sub exposure {
	my ($unit) = @_;
	my ($figure) = `systemd-analyze security --offline=true --no-pager $unit 2>&1` =~ /Overall exposure level for \S+: ([\d.]+)/;
	return $figure;
}

# Returns the exposure of the root half's daemon, its child in the same unit, which has another user and no capability,
# as if it were alone in the unit.
sub exposure_of_daemon {
	my ($name, $user) = @_;
	my $unit = Story::read_file("$units/$name.service");
	$unit =~ s/^CapabilityBoundingSet=(?:.*\\\n)*.*$/CapabilityBoundingSet=\nUser=$user/m or die;
	Story::write_file("$top/$name.service", $unit);
	return exposure("$top/$name.service");
}
cmp_ok(exposure("$units/certsync-hub.service"), '<=', 2.3, "the hub's unit, for its root half");
cmp_ok(exposure_of_daemon('certsync-hub', 'certsync-hub'), '<=', 1.4, '  for its daemon and workers');
cmp_ok(exposure("$units/certsync-agent.service"), '<=', 4.5, "the agent's: hooks do the services' business in it, but no worse than that");
cmp_ok(exposure_of_daemon('certsync-agent', 'certsync-agent'), '<=', 2.4, '  for its daemon and link');

done_testing;
