#!/usr/bin/perl
# certsync-link against a real sshd on loopback, which has its own configuration, host keys and authorized_keys; the
# forced command is a relay. Nothing outside a temporary directory is read or written.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Fcntl;
use File::Temp qw(tempdir);
use IO::Select;
use IO::Socket::INET;
use Needs;
use POSIX qw(:sys_wait_h);
use Port qw(free_port);
use Socket;
use Test::More;
use Time::HiRes qw(time);

my $bin = $ENV{CERTSYNC_BIN} // 'build/bin';
my $sshd = '/usr/sbin/sshd';
needs($sshd);
my $user = getpwuid($<);
my $dir = tempdir('certsync-link.XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dir;
my @wrapper = split ' ', $ENV{LINK_WRAPPER} // '';
mkdir '/run/sshd', 0755 if $< == 0 && !-d '/run/sshd';

sub write_file {
	my ($path, $text) = @_;
	open my $file, '>', $path or die "$path: $!";
	print $file $text;
	close $file or die "$path: $!";
}

sub read_file {
	my ($path) = @_;
	open my $file, '<', $path or return '';
	local $/;
	return <$file> // '';
}

sub key {
	my ($name, $type) = @_;
	system('ssh-keygen', '-q', '-t', $type, '-N', '', '-C', '', '-f', "$dir/$name") == 0 or die 'ssh-keygen';
	return (split ' ', `ssh-keygen -l -f $dir/$name.pub`)[1];
}

# Starts an sshd and waits for its word that it listens. Returns its pid and port.
my %daemons;
sub start_sshd {
	my ($name, $extra) = @_;
	my $port = free_port();
	write_file("$dir/$name.conf", <<"CONF");
ListenAddress 127.0.0.1:$port
HostKey $dir/host_ed25519
HostKey $dir/host_ecdsa
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
AuthorizedKeysFile $dir/authorized_keys
LogLevel VERBOSE
$extra
CONF
	my $log = "$dir/$name.log";
	pipe(my $reader, my $writer) or die $!;
	my $pid = fork // die $!;
	if ($pid == 0) {
		open STDERR, '>&', $writer;
		exec $sshd, '-D', '-e', '-f', "$dir/$name.conf";
		exit 127;
	}
	close $writer;
	my $heard = '';
	while (my $line = <$reader>) {
		$heard .= $line;
		last if $line =~ /Server listening/;
	}
	$heard =~ /Server listening/ or die "sshd did not start: $heard";
	# From here on a child keeps the log, so that sshd never blocks on it.
	my $keeper = fork // die $!;
	if ($keeper == 0) {
		open my $file, '>', $log or exit 1;
		$file->autoflush;
		print $file $_ while <$reader>;
		POSIX::_exit(0);
	}
	close $reader;
	$daemons{$pid} = $keeper;
	return ($pid, $port, $log);
}

sub stop_sshd {
	my ($pid) = @_;
	my $keeper = delete $daemons{$pid} or return;
	kill 'TERM', $pid;
	waitpid $pid, 0;
	waitpid $keeper, 0;
}

# Which of a session's processes has its connection depends on the version of sshd.
sub descendants {
	my @children = map { split ' ', `ps -o pid= --ppid $_` } @_;
	return @children ? (@children, descendants(@children)) : ();
}

# Starts the link; returns { pid, socket, errors }.
sub start_link {
	my (%o) = @_;
	socketpair(my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die $!;
	pipe(my $reader, my $writer) or die $!;
	my $pid = fork // die $!;
	if ($pid == 0) {
		open STDIN, '+<&', $theirs or die $!;
		open STDERR, '>&', $writer or die $!;
		close $ours;
		close $reader;
		exec @wrapper, "$bin/certsync-link", '--user', $user, '--host', $o{host} // '127.0.0.1', '--port', $o{port},
			'--key', $o{key} // "$dir/agent", '--pins', $o{pins} // "$dir/pins", '--timeout', $o{timeout} // 20;
		exit 127;
	}
	close $theirs;
	close $writer;
	binmode $ours;
	return { pid => $pid, socket => $ours, errors => $reader };
}

# Returns the exit code and what was said.
sub finish_link {
	my ($link) = @_;
	my $errors = $link->{errors};
	my $text = do { local $/; <$errors> } // '';
	waitpid $link->{pid}, 0;
	return ($? & 127 ? "signal " . ($? & 127) : $? >> 8, $text);
}

sub run_link {
	my $link = start_link(@_);
	return finish_link($link);
}

# Sends $data and reads as much back, both at the same time.
sub round_trip {
	my ($socket, $data) = @_;
	my ($sent, $back) = (0, '');
	$socket->blocking(0);
	my $select = IO::Select->new($socket);
	my $until = time + 60;
	while (length $back < length $data && time < $until) {
		$sent < length $data ? IO::Select::select($select, $select, undef, 1) : $select->can_read(1);
		if ($sent < length $data) {
			my $put = syswrite $socket, $data, 65536, $sent;
			$sent += $put if $put;
		}
		my $got = sysread $socket, $back, 65536, length $back;
		last if defined $got && $got == 0;
	}
	$socket->blocking(1);
	return $back;
}

sub cpu_ticks {
	my ($pid) = @_;
	my @fields = split ' ', read_file("/proc/$pid/stat") =~ s/^.*\) //sr;
	return $fields[11] + $fields[12];
}

END {
	my $status = $?;
	stop_sshd($_) for keys %daemons;
	$? = $status;
}

$SIG{PIPE} = 'IGNORE';
my $ed25519 = key('host_ed25519', 'ed25519');
my $ecdsa = key('host_ecdsa', 'ecdsa');
my $other = key('other', 'ed25519');
key('agent', 'ed25519');
my $public = read_file("$dir/agent.pub");
write_file("$dir/authorized_keys", "restrict,command=\"exec cat\" $public");
write_file("$dir/pins", "# the hub\n$ed25519\n");
my ($pid, $port, $log) = start_sshd('sshd', '');

my $random = do { open my $file, '<', '/dev/urandom'; read $file, my $bytes, 10_000_000; $bytes };
{
	my $link = start_link(port => $port);
	is(round_trip($link->{socket}, "hello\n"), "hello\n", 'a small message comes back');
	ok(round_trip($link->{socket}, $random) eq $random, '10 MB go both ways intact');
	my $before = cpu_ticks($link->{pid});
	select undef, undef, undef, 0.5;
	cmp_ok(cpu_ticks($link->{pid}) - $before, '<=', 2, 'an idle link uses no CPU');
	close $link->{socket};
	my ($code, $said) = finish_link($link);
	is("$code|$said", '0|', 'it ends in silence when the agent closes');
}
{
	my $link = start_link(port => $port);
	my $socket = $link->{socket};
	round_trip($socket, 'x');
	# The agent writes and does not read, until everything is full; then the link must be quiet.
	$socket->blocking(0);
	my ($sent, $select) = (0, IO::Select->new($socket));
	while ($sent < length $random && $select->can_write(0.5)) {
		my $put = syswrite $socket, $random, 65536, $sent;
		$sent += $put if $put;
	}
	cmp_ok($sent, '<', 9_000_000, 'an agent that does not read is held back');
	my $before = cpu_ticks($link->{pid});
	select undef, undef, undef, 0.5;
	cmp_ok(cpu_ticks($link->{pid}) - $before, '<=', 2, 'a link that is held back does not spin');
	my $back = '';
	while (length $back < $sent && $select->can_read(10)) {
		sysread $socket, $back, 65536, length $back or last;
	}
	ok($back eq substr($random, 0, $sent), 'and loses nothing');
	close $socket;
	is((finish_link($link))[0], 0, 'the link ends with 0');
}
{
	write_file("$dir/wrong", "$other\n");
	my $before = read_file($log);
	my ($code, $said) = run_link(port => $port, pins => "$dir/wrong");
	is($code, 11, 'a host key that is not pinned');
	like($said, qr/NOT PINNED: it is \Q$ed25519\E .*pinned in .*\Q$other\E/, 'both fingerprints are told');
	unlike(substr(read_file($log), length $before), qr/publickey/, 'and no login was tried');
	write_file("$dir/two", "$other\n$ed25519\n");
	my $link = start_link(port => $port, pins => "$dir/two");
	is(round_trip($link->{socket}, 'x'), 'x', 'two pins: a host key can be rotated');
	close $link->{socket};
	finish_link($link);
	write_file("$dir/empty", "# none\n");
	($code, $said) = run_link(port => $port, pins => "$dir/empty");
	is($code, 2, 'no pin at all is a fault of the configuration');
	($code, $said) = run_link(port => $port, pins => "$dir/absent");
	is($code, 2, 'an absent pins file too');
}
{
	my ($code, $said) = run_link(port => $port, key => "$dir/other");
	is($code, 12, 'a refused key is exit 12');
	like($said, qr/login with the key .* was refused; .*agent add/, 'says what to do');
	my @failed = read_file($log) =~ /Failed publickey/g;
	cmp_ok(scalar @failed, '<=', 1, 'and was tried once');
	is((run_link(port => $port, key => "$dir/absent"))[0], 2, 'a missing key file');
}
{
	my ($code, $said) = run_link(port => free_port());
	is($code, 10, 'a dead port is exit 10');
	like($said, qr/^certsync-link: .*Connection refused.*\n\z/, 'one line says so');
	my $link = start_link(port => $port, host => 'localhost');
	is(round_trip($link->{socket}, 'x'), 'x', 'a refused ::1 falls back to 127.0.0.1');
	close $link->{socket};
	finish_link($link);
	($code, $said) = run_link(port => $port, host => 'name.invalid', timeout => 2);
	is($code, 10, 'a name that has no address');
}
{
	my $silent = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1', LocalPort => 0) or die $!;
	my $start = time;
	my ($code, $said) = run_link(port => $silent->sockport, timeout => 1);
	is($code, 10, 'a server that says nothing');
	like($said, qr/not connected within 1 s \(SSH key exchange\)/, 'a server that says nothing is left with the step named');
	cmp_ok(time - $start, '<', 5, 'a server that says nothing is left in time');
	my $link = start_link(port => $silent->sockport);
	$silent->accept;
	close $link->{socket};
	is((finish_link($link))[0], 0, 'an agent that goes away meanwhile takes the link with it');
}
{
	my $link = start_link(port => $port);
	round_trip($link->{socket}, 'x');
	kill 'KILL', descendants($pid);
	my ($code, $said) = finish_link($link);
	is($code, 10, 'a killed session of sshd ends the link');
	like($said, qr/connection was lost/, 'and is told');
}
{
	write_file("$dir/authorized_keys",
		"restrict,command=\"printf 'no hub\\033[31m\\nsecond\\n' >&2; exit 3\" $public");
	my ($code, $said) = run_link(port => $port);
	is($code, 10, 'a gate that fails');
	like($said, qr/says: no hub\?\[31m\n.*says: second\n.*exit status 3;/s, 'its words are cleaned and its status told');
	write_file("$dir/authorized_keys", "restrict,command=\"echo last words\" $public");
	my $link = start_link(port => $port);
	my $socket = $link->{socket};
	is(scalar <$socket>, "last words\n", 'what the hub said at the end arrives');
	is((finish_link($link))[0], 0, 'an orderly end of the hub');
	write_file("$dir/authorized_keys", "restrict,command=\"yes flood >&2\" $public");
	$link = start_link(port => $port);
	my $errors = $link->{errors};
	my $heard = 0;
	$heard += length while defined($_ = <$errors>) && $heard < 2000;
	close $link->{socket};
	($code, my $rest) = finish_link($link);
	is($code, 0, 'a flood on standard error is dropped');
	cmp_ok($heard + length $rest, '<', 32768, 'after the first lines');
}
stop_sshd($pid);
{
	my ($old, $old_port) = start_sshd('old', 'Ciphers aes128-cbc,aes256-ctr');
	my ($code, $said) = run_link(port => $old_port);
	# The code is 10 when sshd hangs up before libssh has looked at its list.
	like($code, qr/^1[03]$/, 'a server with old ciphers only is refused');
	like($said, qr/no common algorithm/, 'and told so');
	stop_sshd($old);
}
done_testing;
