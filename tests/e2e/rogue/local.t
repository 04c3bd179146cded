#!/usr/bin/perl
# Whoever is on the machine already and means ill: a hook that prints the key of the archive in all ways, a daemon that spoils its own files so
# that it is not started again, a user who holds every place of the http-01 listener or the page's, one of the operators' group who holds every place of
# the control sockets. What counts: the key is told to nobody, and who means well is served meanwhile.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use Needs;
use JSON::PP;
use POSIX ();
use Story;
use Test::More;
use Time::HiRes qw(time);

my $story = Story->new;
my $top = $story->top;
my $name = $Story::name;

sub agent { my (@words) = @_; my $output = `$Story::bin/certsync-agent @words -c $top/here/agent.conf 2>&1`; return ($? >> 8, $output) }

my $page = Story::free_port();
ok($story->hub(agents => ['here', 'ssh'], certificates => "page = \"127.0.0.1:$page\"\ncertificate \"$name\" {}\n"), 'a hub starts') or BAIL_OUT($story->log('hub'));
$story->pair($_) for 'first', 'second', 'third';
$story->import('first');
my $dir = $story->agent_conf('here', services => 'service "odd" { probe = none }');
Story::write_file("$dir/hooks/odd", "#!/bin/sh\nexit 0\n", 0755);
$story->enrol('here') or BAIL_OUT(Story::read_file("$top/join.log"));
$story->start_agent('here');
ok($story->until_state('here', 'unprobed'), 'an agent has its certificate');

# ---- a hook that quotes the key of the archive, as haproxy -c, postconf, a shell and JSON would, and at last as it is ----

Story::write_file("$dir/hooks/odd", <<'HOOK', 0755);
#!/bin/sh
[ "$1" = test ] || exit 0
n=0
while read -r line; do
	n=$((n + 1))
	echo "[ALERT]    ($$) : config : parsing [$CERTSYNC_PRIVKEY:$n]: unknown keyword '${line%% *}' out of section."
done <"$CERTSYNC_PRIVKEY"
sed 's/^/postconf: warning: line 1: missing "=" after attribute name: "/; s/$/"/' "$CERTSYNC_PRIVKEY"
printf '{"key":"'; awk '{printf "%s\\n", $0}' "$CERTSYNC_PRIVKEY"; printf '"}\n'
echo $(cat "$CERTSYNC_PRIVKEY")
grep -v -- ----- "$CERTSYNC_PRIVKEY" | tr -d '\n' | fold -w 30; echo
openssl pkey -in "$CERTSYNC_PRIVKEY" -noout -text
echo 'it is not understood' >&2
cat "$CERTSYNC_PRIVKEY"
exit 1
HOOK
$story->import('second');
ok($story->until('failed', sub { ($story->state_of('here')->{error} // '') =~ /exited 1/ }), "the hook's test fails") or diag($story->log('here'));
my $state = $story->state_of('here');
my $file = "$dir/root/output/$name+odd+test";
like($state->{error}, qr/^hook odd test: exited 1: its output is in \Q$file\E, for root$/, 'the failure says where its output is');
like($state->{output}, qr/it is not understood/, 'what is no key is shown');
like($state->{output}, qr/unknown keyword '\[blotted out\]' out of section/, '  and what stood around it');
is((sprintf '%o %d', (stat $file)[2] & 07777, (stat _)[4]), "600 $>", 'the file is root\'s alone');
is((sprintf '%o', (stat "$dir/root/output")[2] & 07777), '700', '  and so is its directory');

my $pem = Story::read_file("$top/second.key");
(my $body = $pem) =~ s/-----.*?-----|\n//g;
my @pieces = map { substr $body, $_, 10 } 0 .. length($body) - 10;
my ($whole) = Story::read_file($file);
ok(index($whole, substr $body, 0, 60) >= 0, 'it has the whole text');
my %told = (
	'the hub\'s log' => $story->log('hub'), 'the agent\'s log' => $story->log('here'),
	'certsync status' => ($story->certsync('status'))[1], 'certsync status --json' => ($story->certsync('status', '--json'))[1],
	'certsync-agent status' => (agent('status'))[1], 'certsync-agent status --json' => (agent('status', '--json'))[1],
	'certsync history' => ($story->certsync('history', $name))[1], 'certsync alert list' => ($story->certsync('alert', 'list'))[1],
	map { my $kept = $_; (s/\Q$top\E\///r => Story::read_file($kept)) } grep { -f } glob("$top/hub/* $top/hub/agents/* $dir/state/*"),
);
for my $what (sort keys %told) {
	next if $what =~ /\.key$|privkey|id_ed25519/;
	my ($left) = grep { index($told{$what}, $_) >= 0 } @pieces;
	is($left, undef, "no piece of the key is in $what");
}
my @bytes = `openssl pkey -in $top/second.key -noout -text` =~ /priv:\n((?:\s+[0-9a-f:]+\n)+)/;
for my $line (grep { length > 5 } map { s/\s//gr } split /\n/, $bytes[0] // '') {
	is(scalar(grep { index($_, $line) >= 0 } values %told), 0, 'nor is a line of its bytes');
}
Story::write_file("$dir/hooks/odd", "#!/bin/sh\nexit 0\n", 0755);
$story->certsync('push');
ok($story->until_state('here', 'unprobed'), 'a hook that is mended passes');

# ---- a daemon that spoils what is its own ----

sub restarted {
	my ($what, $spoil, $mend) = @_;
	$story->stop('here', 'KILL');
	$spoil->();
	$story->start_agent('here');
	ok($story->until_state('here', 'unprobed'), "$what: the daemon is started again, and connected") or diag($story->log('here'));
	my $said = substr $story->log('here'), $story->{log_before}{here};
	$mend->();
	return $said;
}
my $ssh = "$dir/state/id_ed25519";
my $key = Story::read_file($ssh);
for my $case (['rubbish', sub { Story::write_file($ssh, "rubbish\n") }], ['a link', sub { symlink "$top/ca.key", $ssh }], ['a directory', sub { mkdir $ssh }],
	['a FIFO', sub { POSIX::mkfifo($ssh, 0600) }]) {
	my ($what, $make) = @$case;
	my $said = restarted("$what in the place of its SSH key", sub { unlink $ssh; $make->() }, sub { -d $ssh && !-l $ssh ? rmdir $ssh : unlink $ssh; Story::write_file($ssh, $key, 0600) });
	like($said, qr/event=identity error=".*id_ed25519.*" text="certsync-agent cannot log in/, '  and what is wrong is named');
}
restarted('a half-done rotation that cannot go on', sub { mkdir "$ssh.next"; mkdir "$ssh.pub.next" }, sub { rmdir "$ssh.next"; rmdir "$ssh.pub.next"; rmdir $ssh; unlink $ssh; Story::write_file($ssh, $key, 0600) });
my $said = restarted('a directory in the place of its instance', sub { unlink "$dir/run/instance"; mkdir "$dir/run/instance" }, sub { rmdir "$dir/run/instance" });
like($said, qr/event=identity .*the number of this run cannot be kept/, '  and what is wrong is named');
$story->import('third');
ok($story->until('third', sub { $story->installed('here') eq $story->fingerprint("$top/third.crt") }), 'a renewal arrives after all of that');

# ---- places ----

# Holds connections as another user, where root can become one: as nobody, in the operators' group.
sub hold {
	my ($open) = @_;
	pipe my $ready, my $report or die $!;
	my $pid = fork // die $!;
	if (!$pid) {
		$SIG{PIPE} = 'IGNORE';
		if ($> == 0) { my $gid = getgrnam $story->{group}; $) = "$gid $gid"; $( = $gid; POSIX::setuid(65534) or POSIX::_exit(1) }
		$open->($report);
		POSIX::_exit(0);
	}
	close $report;
	sysread $ready, my $byte, 1 or die 'the flood does not begin';
	return $pid;
}

sub over { my ($pid) = @_; kill 'KILL', $pid; waitpid $pid, 0 }

# Holds 900 connections to a listener, half of them with the beginning of a request, and comes again for each that is ended; meanwhile
# somebody asks for something.
for my $case (['challenges', $story->{http}, '/.well-known/acme-challenge/none', 404], ['the page', $page, '/', 200]) {
	my ($what, $port, $path, $status) = @$case;
	my $flood = hold(sub {
		my ($report) = @_;
		my ($held, $count) = (IO::Select->new, 0);
		for (;;) {
			while ($held->count < 900) {
				my $peer = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Timeout => 5) or last;
				syswrite $peer, 'GET ' if $count++ % 2;
				$held->add($peer);
				syswrite $report, 'x' if $count == 900;
			}
			for my $peer ($held->can_read(0.01)) {
				$held->remove($peer);
				close $peer;
			}
		}
	});
	my $slowest = 0;
	for (1 .. 20) {
		my $began = time;
		my $peer = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Timeout => 10);
		syswrite $peer, "GET $path HTTP/1.1\r\nHost: localhost:$port\r\n\r\n" if $peer;
		local $SIG{ALRM} = sub { };
		alarm 10;
		my $answer = $peer && <$peer> // '';
		alarm 0;
		my $took = $answer =~ /^HTTP\/1\.1 $status / ? time - $began : 10;
		$slowest = $took if $took > $slowest;
	}
	cmp_ok($slowest, '<', 4, sprintf '%s: answered under a flood of the listener, the slowest after %.2f s', $what, $slowest);
	my ($exit) = $story->certsync('status');
	isnt($exit, 4, '  and the hub answers commands');
	over($flood);
}

SKIP: {
	needs_root('a second user', 4);
	for my $socket ("$top/hub.run/control.sock", "$dir/run/control.sock") {
		my @way = split m{/}, $socket;
		chmod 0755, join('/', @way[0 .. $_]) for 2 .. $#way - 1;
	}
	for my $case (['the hub', "$top/hub.run/control.sock", sub { $story->certsync('status') }], ['the agent', "$dir/run/control.sock", sub { agent('status') }]) {
		my ($whose, $socket, $ask) = @$case;
		my $holder = hold(sub {
			my ($report) = @_;
			my @held = map { IO::Socket::UNIX->new(Peer => $socket) // () } 1 .. 200;
			syswrite $report, @held > 60 ? 'x' : '' or POSIX::_exit(1);
			POSIX::pause();
		});
		my ($exit, $text) = $ask->();
		unlike($text, qr/too many|already: end/, "one of the group who holds 200 places of $whose keeps root from none") or diag($text);
		isnt($exit, 4, '  and root is answered');
		over($holder);
	}
}

$story->ends_clean;
done_testing;
