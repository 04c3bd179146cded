#!/usr/bin/perl
# The workers' user: who runs in an order by dns-01, and what a hostile DNS hook can reach. It tries everything that is
# the hub's, as the user that it has, beside the real hub; then what starts the workers is killed under a running order.
use strict;
use warnings;
use File::Find;
use FindBin;
use lib "$FindBin::Bin/../lib";
use IO::Socket::INET;
use JSON::PP;
use POSIX ();
use Separate;
use Keys;
use Test::More;

Separate->enter;
my $story = Separate->new;
my $top = $story->top;
my %call = (x86_64 => 101, aarch64 => 117);
my $ptrace = $call{(POSIX::uname())[4]} or BAIL_OUT('the number of ptrace(2) is not known here: add it');

# ---- an authority, and a name server that knows no name ----

my $dns = IO::Socket::INET->new(Proto => 'udp', LocalAddr => '127.0.0.1', LocalPort => 5353) or die $!;
$story->{started}{dns} = fork // die $!;
if (!$story->{started}{dns}) {
	while ($dns->recv(my $query, 4096)) {
		my ($question) = substr($query, 12) =~ /^(.*?\0....)/s;
		$dns->send(substr($query, 0, 2) . pack('n5', 0x8183, 1, 0, 0, 0) . $question);
	}
	POSIX::_exit(0);
}
close $dns;
$story->openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=acme",
	"-addext subjectAltName=IP:127.0.0.1 -keyout $top/api.key -out $top/api.pem");
mkdir "$top/scratch";
$story->start('ca', '/usr/bin/python3', "$FindBin::Bin/../lib/ca_double.py", 'both-challenges', (map { "$top/$_" } qw(api.pem api.key ca.pem ca.key scratch)));
my $port;
ok($story->until('ca', sub { ($port) = $story->log('ca') =~ /^ready (\d+)$/m }), 'the authority is up') or BAIL_OUT($story->log('ca'));

# ---- a hook that tries everything, says so, and waits ----

# Any user may write there, since the hook is one; the test reads nothing else of it.
mkdir("$top/said") && chmod(0777, "$top/said") or die $!;
Story::write_file("$top/hook", <<"PERL", 0755);
#!$^X
use strict;
use IO::Select;
use IO::Socket::UNIX;
use JSON::PP;
use POSIX ();
exit 0 if \$ARGV[0] ne 'present';
my \$try = decode_json(do { local (\@ARGV, \$/) = "$top/try"; <> });
sub slurp { local (\@ARGV, \$/) = \$_[0]; scalar <> }
sub seize { syscall($ptrace, 0x4206, \$_[0] + 0, 0, 0) == 0 }
local \$SIG{PIPE} = 'IGNORE';
my \%said = (argv => [\@ARGV], id => [\$<, \$>, "\$(", "\$)"], status => slurp('/proc/self/status'), environment => {\%ENV});
\$said{read} = [grep { -d \$_ ? opendir(my \$d, \$_) : open(my \$f, '<', \$_) } \@{\$try->{files}}];
\$said{written} = [grep { open my \$f, '>>', \$_ } (grep { !-d \$_ } \@{\$try->{files}}), map { "\$_/planted" } \@{\$try->{directories}}];
for my \$path (\@{\$try->{sockets}}) {
	my \$socket = IO::Socket::UNIX->new(Peer => \$path) or next;
	\$socket->syswrite(\$path =~ /control/ ? "{}\\n" : \$path =~ /gate/ ? "\\x05other" . "\\0\\0\\0\\3\\1{}" : "\\0\\0\\0\\3\\1{}");
	push \@{\$said{served}}, \$path if IO::Select->new(\$socket)->can_read(2) && \$socket->sysread(my \$answer, 100);
}
for my \$what (sort keys \%{\$try->{processes}}) {
	my \$pid = \$try->{processes}{\$what} || getppid;
	push \@{\$said{seized}}, \$what if seize(\$pid);
	push \@{\$said{looked}}, map { "\$what \$_" } grep { open my \$f, '<', "/proc/\$pid/\$_" } qw(mem environ maps auxv io);
	push \@{\$said{looked}}, "\$what fd" if opendir my \$d, "/proc/\$pid/fd";
	push \@{\$said{signalled}}, \$what if kill 0, \$pid;
}
# A process of its own shows that these calls are the right ones.
my \$own = fork // die;
if (!\$own) { sleep 1 while 1 }
\$said{control} = [seize(\$own) ? 'seized' : (), open(my \$f, '<', "/proc/\$own/environ") ? 'looked' : (), kill(0, \$own) ? 'signalled' : ()];
kill 'KILL', \$own;
# This child leaves its group, its session and its parent.
if (!fork) {
	POSIX::setsid();
	POSIX::_exit(0) if fork;
	\$0 = 'certsync-stray';
	open my \$file, '>', "$top/said/stray.\$\$";
	sleep 1 while 1;
}
wait;
open my \$out, '>', "$top/said/new" or die;
print \$out encode_json(\\\%said);
close \$out;
rename "$top/said/new", "$top/said/\$\$";
sleep 1 while 1;
PERL

# The command that alerts are told by, which any of the workers' user's may be.
Story::write_file("$top/tell", <<"PERL", 0755);
#!$^X
use strict;
use JSON::PP;
my \$try = decode_json(do { local (\@ARGV, \$/) = "$top/try"; <> });
my \%said = (status => do { local (\@ARGV, \$/) = '/proc/self/status'; <> }, words => scalar \@ARGV, told => do { local \$/; <STDIN> });
\$said{read} = [grep { -d \$_ ? opendir(my \$d, \$_) : open(my \$f, '<', \$_) } \@{\$try->{files}}];
\$said{written} = [grep { open my \$f, '>>', \$_ } (grep { !-d \$_ } \@{\$try->{files}}), map { "\$_/planted" } \@{\$try->{directories}}];
open my \$out, '>', "$top/said/telling" or die;
print \$out encode_json(\\\%said);
close \$out;
rename "$top/said/telling", "$top/said/told";
PERL

# ---- the hub ----

$story->hub_conf(agents => [], certificates => "resolvers = {\"127.0.0.1:5353\"}\nalert { command = \"$top/tell\" }\n"
	. qq(acme "double" { directory = "https://127.0.0.1:$port/directory" agree_tos = true ca_file = "$top/api.pem" }\n)
	. "certificate \"$Story::name\" { acme = \"double\" challenge = \"dns-01\" dns_hook = \"$top/hook\" dns_timeout = \"60s\" preflight = \"off\" }\n");
$story->pair('imported');
Story::write_file("$top/try", '{}');

my %is; # maps names to processes
sub until_said {
	my ($what) = @_;
	my @said;
	ok($story->until($what, sub { @said = grep { m{/\d+$} } glob("$top/said/*") }, 60), $what) or diag($story->log('hub'));
	my $said = @said ? decode_json(Story::read_file($said[0])) : {};
	unlink @said;
	return ($said, @said ? $said[0] =~ /(\d+)$/ : ());
}
sub strays { return grep { -e "/proc/$_" } map { /stray\.(\d+)$/ ? $1 : () } glob("$top/said/stray.*") }
sub uids { my ($pid) = @_; return (Story::read_file("/proc/$pid/status") =~ /^Uid:\s+(.*)$/m)[0] // 'gone' }
sub pid_of { my ($pattern) = @_; return $story->child('hub', $pattern) }
my ($daemon_is, $spawner_is, $worker_is) = (qr/certsync\0hub\0/, qr/certsync-worker\0$/, qr/certsync-worker\0acme\0/);

$story->start('hub', "$Story::bin/certsync-hub-root", '-c', "$top/hub.conf");
ok($story->until('hub', sub { -S '/run/certsync-hub/control.sock' && ($story->certsync('status'))[0] != 4 }), 'the hub runs') or BAIL_OUT($story->log('hub'));
$story->import('imported'); # with this there is a key to be had

my (undef, $first_hook) = until_said('a DNS hook runs');
my ($daemon, $spawner) = map { pid_of($_) } $daemon_is, $spawner_is;
kill 'KILL', pid_of($worker_is) or die 'there is no worker';
ok($story->until('strays', sub { !strays() }), 'what a hook has left behind, in a session of its own, dies with its worker');
ok(!-e "/proc/$first_hook", 'as does the hook');
is(pid_of($spawner_is), $spawner, 'what started it lives on');

# The hook runs again, and now there is something to try.
my @files;
find({no_chdir => 1, wanted => sub { push @files, $_ }}, "$top/hub", "$top/hub-keys");
push @files, "$top/hub.conf", '/etc/shadow';
cmp_ok(scalar(grep { m{hub-keys/.*(\.pem|sign\.key)$} } @files), '>=', 3, 'there are keys to be had');
my $order_key = "orders/$Story::name/key.pub";
ok((grep { $_ eq key_path_of_record("$top/hub", $order_key) } @files), 'that of the order among them');
Story::write_file("$top/try", encode_json({files => \@files, sockets => [glob('/run/certsync-hub/*.sock')],
	directories => ["$top/hub", '/run/certsync-hub', '/etc', $Separate::home, '/mnt/programs'],
	processes => {root => $story->{started}{hub}, daemon => $daemon, spawner => $spawner, worker => 0}}));
my $renew = sub { $story->start('renew', "$Story::bin/certsync", 'renew', $Story::name, '-c', "$top/hub.conf") };
$renew->();
my ($said, $hook) = until_said('the hook runs again');
my $worker = pid_of($worker_is);

# ---- who is who ----

my %id = map { ($_ => (getpwnam "certsync-$_")[2]) } qw(hub worker);
isnt($id{worker}, $id{hub}, 'the users are two');
is(uids($story->{started}{hub}), join("\t", (0) x 4), 'the root half is root');
is(uids($daemon), join("\t", ($id{hub}) x 4), "the daemon is certsync-hub");
is(uids($_->[1]), join("\t", ($id{worker}) x 4), "$_->[0] is certsync-worker") for ['what starts workers', $spawner], ['the worker', $worker], ['the DNS hook', $hook];
for (['what starts workers', Story::read_file("/proc/$spawner/status")], ['the worker', Story::read_file("/proc/$worker/status")], ['the DNS hook', $said->{status}]) {
	my ($what, $status) = @$_;
	is(4, scalar(() = $status =~ /^Cap(?:Inh|Prm|Eff|Amb):\s+0+$/mg), "$what has no capability");
	like($status, qr/^NoNewPrivs:\s+1$/m, '  and gets none');
	my ($gid) = (getpwnam 'certsync-worker')[3];
	like($status, qr/^Gid:\s+$gid\s+$gid\s+$gid\s+$gid\n(?s:.*)^Groups:\s*(?:$gid)?\s*$/m, '  nor a group of anybody else');
}
is_deeply($said->{argv}[1], "_acme-challenge.$Story::name.", 'the hook is told the name that was asked for');
is_deeply([sort keys %{$said->{environment}}], [qw(CERTSYNC_CERTIFICATE CERTSYNC_DNS_NAME CERTSYNC_DNS_TARGET CERTSYNC_DNS_VALUE PATH)],
	'and has an environment of its own');

# ---- what it got ----

is_deeply($said->{control}, [qw(seized looked signalled)], 'the calls that it made work on a process of its own');
is_deeply($said->{read}, [], 'it reads no file of the store, nor hub.conf');
is_deeply($said->{written}, [], 'it writes none, and plants none beside them');
is_deeply($said->{served} // [], [], 'it is served at no socket of the hub');
is_deeply($said->{seized} // [], [], 'it can trace neither the hub, nor what starts workers, nor its worker');
is_deeply($said->{looked} // [], [], 'nor look into them by /proc');
# landlock_create_ruleset(2) is asked for its version, which restricts signals from 6 on. The worker is the hook's own.
is_deeply($said->{signalled} // [], [syscall(444, 0, 0, 1) >= 6 ? () : 'spawner', 'worker'], 'it can signal its own worker, and no other where the kernel has Landlock for that');
my $other = $story->as('certsync-worker', sub { [grep { open my $f, '<', "/proc/$worker/$_" } qw(mem environ maps)] });
is_deeply($other, [], 'nor can another process of the same user look into a worker');
my $ours = $story->as('certsync-hub', sub { [grep { !-d $_ && open(my $f, '<', $_) } @files] });
cmp_ok(scalar @$ours, '>=', 3, "the daemon's user opens what was refused");

# ---- the command of alerts ----

my ($exit, $text) = $story->certsync('alert', 'test');
is($exit, 0, 'a test is told by the command of alerts') or diag($text);
my $told = eval { decode_json(Story::read_file("$top/said/told")) } // {status => ''};
like($told->{told} // '', qr/"subject":"certsync: test"/, '  which has it on its standard input');
is(($told->{status} =~ /^Uid:\s+(.*)$/m)[0], join("\t", ($id{worker}) x 4), '  as certsync-worker, too');
is(4, scalar(() = $told->{status} =~ /^Cap(?:Inh|Prm|Eff|Amb):\s+0+$/mg), '  without a capability');
is_deeply([@$told{qw(read written)}], [[], []], '  it reads nothing of the hub, and plants nothing');

# ---- what starts the workers is killed under the order ----

sub order { return Story::read_file("$top/hub/records/orders/$Story::name/order.json") . key_of_record("$top/hub", $order_key) }
my $order = order();
like($order, qr{order/0.*PRIVATE KEY}s, 'an order stands, with its key');
kill 'KILL', $spawner;
ok($story->until('told', sub { $story->log('hub') =~ /program=certsync-hub event=worker error="the process that starts the workers has ended/ }),
	'the daemon says that it has gone') or diag($story->log('hub'));
ok($story->until('gone', sub { !-e "/proc/$worker" && !-e "/proc/$hook" && !strays() }), 'worker, hook and what that left behind went with it');
ok($story->until('again', sub { my $now = pid_of($spawner_is); $now && $now != $spawner }), 'the root half starts it again') or diag($story->log('hub'));
like($story->log('hub'), qr/event=child name=worker pid=$spawner result="was killed by signal 9/, 'and says why');
is(pid_of($daemon_is), $daemon, 'the daemon has lived on');
ok($story->until('failure', sub { ($story->certsync('status'))[1] =~ /this job was lost with it/ }), 'the order has failed for now, with that reason')
	or diag(($story->certsync('status'))[1]);
is(order(), $order, 'order and key are as they were');
Story::write_file("$top/scratch/valid", '');
Story::write_file("$top/hook", "#!/bin/sh\nexit 0\n", 0755); # another file: the one that ran is not written to
($exit, $text) = $story->certsync('renew', $Story::name);
is($exit, 0, 'it is asked for again, and issued') or diag($text, $story->log('hub'));
is(scalar(() = $story->log('ca') =~ /^ordered/mg), 1, 'by the order that stood: there never was a second one');
my ($kept) = $order =~ /(-----BEGIN.*)/s;
is(key_of_chain("$top/hub", "$top/hub/certificates/$Story::name/current/fullchain.pem"), $kept, 'the certificate has the key that was kept');

# ---- the daemon is killed: the others go with it, and all is begun anew ----

my $before = pid_of($spawner_is);
kill 'KILL', $daemon;
ok($story->until('both', sub { my ($d, $s) = map { pid_of($_) } $daemon_is, $spawner_is; $d && $s && $d != $daemon && $s != $before }),
	'when the daemon is killed, both are started again') or diag($story->log('hub'));
ok($story->until('hub', sub { ($story->certsync('status'))[0] != 4 }), 'and the hub answers');

$story->ends_clean;
done_testing;
