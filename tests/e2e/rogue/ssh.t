#!/usr/bin/perl
# SSH servers that mean ill (tests/rogue/ssh.py), each in a way of its own, and certsync-link's verdict on each: its
# exit code and its one line, in time. There is no login where the host key is not the pinned one, no control character
# is shown, and where the hub's stream survives it is intact.
# Not under valgrind: it judges how soon each of ninety servers is left.
use strict;
use warnings;
use FindBin;
use POSIX ();
use lib "$FindBin::Bin/../lib";
use Socket;
use Story;
use Test::More;
use Time::HiRes qw(time);

my $story = Story->new;
my $top = $story->top;
for (qw(host other agent)) { system('ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-C', '', '-f', "$top/$_") == 0 or die 'ssh-keygen' }
Story::write_file("$top/pins", (split ' ', `ssh-keygen -l -f $top/host.pub`)[1] . "\n");
$story->start('ssh', '/usr/bin/python3', '-W', 'ignore', "$FindBin::Bin/../../rogue/ssh.py", "$top/host", "$top/other");
ok($story->until('the servers', sub { $story->log('ssh') =~ /^ready$/m }), 'the servers listen') or BAIL_OUT($story->log('ssh'));
my %port = $story->log('ssh') =~ /^port (\S+) (\d+)$/mg;

# For each server there is the link's exit code and what it says; "stream": the hub's stream goes on, and gives back
# what was sent.
my $late = qr/not connected within 6 s \(SSH key exchange\)/;
my $no_kex = qr/ended before the key exchange was complete|no common algorithm/;
my $libssh_ends = system(q(dpkg --compare-versions "$(dpkg-query -W -f '${Version}' libssh-4)" ge 0.11)) == 0;
my %wanted = (
	(map { $_ => [qr/^1[03]$/, $no_kex] } qw(http noise version-and-gone length-4-gib length-0 padding-longer kexinit-cut kexinit-lists-lie kexinit-empty
		reply-empty reply-lies reply-zero-point disconnect-control version-1 version-control line-without-end)),
	(map { $_ => [qr/^1[03]$/, qr/$no_kex|$late/] } qw(kexinit-twice newkeys-first success-first success-instead-of-keys newkeys-instead-of-keys unknown-message
		ignore-flood debug-flood)),
	(map { $_ => [qr/^10$/, $late] } qw(silent byte-by-byte banner-without-end)),
	# The code is 10 where the server hangs up before libssh has looked at its list.
	(map { ("only-$_" => [qr/^1[03]$/, qr/no common algorithm/]) } qw(group1 group14-sha1 dss rsa-sha1 3des cbc ctr arcfour cipher-none zlib)),
	'another-host-key' => [qr/^11$/, qr/THE HOST KEY IS NOT PINNED/],
	'host-key-that-it-has-not' => [qr/^1[03]$/, $no_kex],
	(map { $_ => [qr/^10$/, qr/not connected within 6 s \(logging in\)/] } qw(login-stalls login-banner-flood)),
	(map { $_ => [qr/^10$/, qr/the connection ended during the login/] } qw(login-hangs-up login-disconnect)),
	(map { $_ => [qr/^12$/, qr/was refused/] } qw(login-refused login-password login-keyboard login-nothing-left login-banner login-unknown-message)),
	'login-partial' => [qr/^12$/, qr/wants a second method too/],
	(map { $_ => [qr/^1[02]$/, qr/was refused|during the login|not connected/] } qw(login-prompt login-prompt-flood login-failure-cut)),
	'open-refused' => [qr/^13$/, qr/sshd opens no channel/],
	(map { $_ => [qr/^10$/, qr/not connected within 6 s \(opening the channel\)/] } qw(open-stalls open-cut exec-stalls relay-no-packet)),
	(map { $_ => [qr/^1[03]$/, qr/./] } qw(open-hangs-up open-goodbye exec-goodbye)),
	'exec-refused' => [qr/^13$/, qr/does not start the hub's gate/],
	'exec-hangs-up' => [qr/^1[03]$/, qr/./],
	'ends-255' => [qr/^10$/, qr/exit status 255/],
	'ends-3-with-words' => [qr/^10$/, qr/says: \?\[31mred.*exit status 3/s],
	'ends-2-32' => [qr/^10$/, qr/exit status/],
	'ends-status-cut' => [qr/^(0|10)$/],
	(map { $_ => [qr/^(0|10)$/] } qw(ends-by-signal ends-without-a-word)),
	'ends-0' => [qr/^0$/, qr/^$/],
	(map { $_ => [qr/^10$/, qr/the connection was lost/] } qw(relay-hangs-up relay-disconnect relay-noise relay-keys-anew)),
	(map { $_ => 'held' } qw(relay-no-window)),
	'login-success-twice' => [qr/^13$/, qr/sshd opens no channel/],
	(map { $_ => 'stream' } qw(relay-packet-of-1 relay-another-channel relay-closes-another relay-stderr-flood
		relay-unknown-stream relay-opens-channels relay-asks relay-requests exec-answered-twice relay-ignore-flood)),
	# libssh may go on listening to these or not; when it does not, the link says why.
	(map { $_ => [qr/^(0|10)$/] } qw(relay-over-our-window relay-length-lies)),
	(map { $_ => [qr/^(0|10)$/] } qw(relay-eof-alone relay-closes-twice)),
	# libssh up to 0.10 lets the window overflow; later ones end the channel, be it while it is opened or after.
	'relay-window-overflows' => $libssh_ends ? [qr/^1[03]$/, qr/Window adjust 4294967295 overflows/] : 'stream',
);
is(join(' ', sort keys %port), join(' ', sort keys %wanted), 'each server has a verdict to come');

my %stands = map { $_ => 1 } 'relay-over-our-window', 'relay-length-lies', grep { $wanted{$_} eq 'held' } keys %wanted;
my %late = map { $_ => 1 } grep { ref $wanted{$_} && ($wanted{$_}[1] // "") =~ /within 6 s/ } keys %wanted;

sub start_link {
	my ($name) = @_;
	socketpair(my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die $!;
	my $pid = fork // die $!;
	if (!$pid) {
		open STDIN, '+<&', $theirs or die $!;
		open STDERR, '>', "$top/$name.said" or die $!;
		close $ours;
		exec "$Story::bin/certsync-link", '--user', 'x', '--host', '127.0.0.1', '--port', $port{$name}, '--key', "$top/agent", '--pins', "$top/pins",
			'--timeout', $late{$name} ? 6 : 30;
	}
	close $theirs;
	$ours->blocking(0);
	syswrite $ours, "hello of the agent\n";
	return {pid => $pid, socket => $ours, heard => ''};
}

# All run at once, but those whose time runs out: these come after the others, so that it runs out where it should.
# Those that still stand at the end are told to go by closing their socket.
my (%link, $began);
sub look {
	for my $name (keys %link) {
		my $link = $link{$name};
		sysread $link->{socket}, $link->{heard}, 65536, length $link->{heard} if $link->{socket} && length $link->{heard} < 1e6;
		next if defined $link->{status} || !waitpid $link->{pid}, POSIX::WNOHANG();
		@$link{qw(status took)} = ($?, time - $began);
	}
	return !grep { !defined $link{$_}{status} && ($wanted{$_} ne 'stream' || $link{$_}{heard} !~ /agent\n/) && !$stands{$_} } keys %link;
}
for my $wave (0, 1) {
	$began = time;
	$link{$_} = start_link($_) for grep { ($late{$_} // 0) == $wave } sort keys %port;
	ok($story->until("verdicts", \&look, 25), "verdicts on all") or diag(join " ", grep { !defined $link{$_}{status} } keys %link);
	note(sprintf "%.1f s", time - $began);
}
my %ticks;
sub ticks { my @fields = split ' ', Story::read_file("/proc/$_[0]/stat") =~ s/^.*\) //sr; return $fields[11] + $fields[12] }
my @standing = grep { !defined $link{$_}{status} } keys %link;
$ticks{$_} = ticks($link{$_}{pid}) for @standing;
select undef, undef, undef, 0.3;
$ticks{$_} = ticks($link{$_}{pid}) - $ticks{$_} for @standing;
is(join(' ', grep { $ticks{$_} > 5 } @standing), '', 'those that stand do not spin');
close delete $link{$_}{socket} for @standing;
$story->until('ends', sub { look(); !grep { !defined $link{$_}{status} } keys %link }, 5);

for my $name (sort keys %link) {
	my ($link, $wanted) = ($link{$name}, $wanted{$name});
	my $said = Story::read_file("$top/$name.said");
	my $stood = grep { $_ eq $name } @standing;
	kill 'KILL', $link->{pid} if !defined $link->{status};
	my $status = $link->{status} // 'none';
	ok($status ne 'none' && !($status & 127), "$name: it ends by itself") or diag("status $status: $said");
	my $exit = $status eq 'none' ? 'none' : $status >> 8;
	if (ref $wanted) {
		like($exit, $wanted->[0], "$name: its exit") or diag($said);
		like($said, $wanted->[1] // ($exit eq '0' ? qr/^$/ : qr/^certsync-link: ./), "$name: why");
		ok($stood || $link->{took} < 20, "$name: in time") or diag("$link->{took} s");
	} else {
		ok($stood, "$name: it goes on") or diag("exit $exit: $said");
		like($link->{heard}, qr/hello of the agent\n/, "$name: the stream is intact") if $wanted eq 'stream';
		unlike($link->{heard}, qr/evil/, "$name: with nothing else in it");
	}
	unlike($said, qr/[^\n\x20-\x7e\x80-\xff]/, "$name: no control characters");
	cmp_ok(length $said, '<', 8192, "$name: not many words");
}
my %logins;
$logins{$_}++ for $story->log('ssh') =~ /^login (\S+)$/mg;
ok(!$logins{$_}, "$_: no login was tried") for 'another-host-key', 'host-key-that-it-has-not';
is(join(' ', grep { $logins{$_} > 1 } keys %logins), '', 'no login was tried twice');
note(scalar(keys %link), ' servers');
$story->stop('ssh');
done_testing;
