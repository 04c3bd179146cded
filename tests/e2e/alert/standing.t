#!/usr/bin/perl
# The hub's standing checks, on a real hub: a server has the right certificate, then an old one, is gone, and is back.
# What was seen outlives the hub and the worker, a rollout that arrives is looked at at once, and a name without an
# address is told.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use IO::Socket::INET;
use JSON::PP;
use Story;
use Test::More;
use Time::HiRes qw(time);

my $story = Story->new;
my $top = $story->top;
my $name = $Story::name;
my $port = Story::free_port();
$story->pair($_) for 'old', 'new', 'newer';

sub serve {
	my ($file) = @_;
	$story->stop('server', 'KILL');
	Story::write_file("$top/server.pem", Story::read_file("$top/$file.key") . Story::read_file("$top/$file.crt"));
	$story->start('server', 'openssl', 's_server', '-quiet', '-accept', "127.0.0.1:$port", '-cert', "$top/server.pem");
}

# Returns what `status --json` says of the endpoint whose address matches.
sub seen {
	my ($pattern) = @_;
	my (undef, $text) = $story->certsync('status', '--json');
	my $all = eval { decode_json($text) } or return {};
	my ($row) = grep { $_->{endpoint} =~ $pattern } @{$all->{endpoints} // []};
	return $row // {};
}
my $here = qr/:$port\b/;

# Returns whether a condition of this kind, subject and text holds.
sub holds {
	my ($pattern) = @_;
	my $all = eval { decode_json(($story->certsync('alert', 'list', '--json'))[1]) } or return 0;
	return scalar grep { "$_->{kind} $_->{subject}: $_->{text}" =~ $pattern } @{$all->{conditions}};
}


# A rollout that arrives makes the hub look within seconds.
sub look { is(($story->certsync('push', '--force', '--json'))[0], 0, 'an agent is verified anew') }

sub becomes {
	my ($verdict, $what) = @_;
	my $good = ok($story->until($verdict, sub { (seen($here)->{verdict} // '') eq $verdict }, 30), $what);
	diag($story->log('hub'), ($story->certsync('status'))[1]) if !$good;
	return seen($here);
}

# Somebody listens there and says nothing, and is waited for as long as hub.conf says.
my $mute = IO::Socket::INET->new(Listen => 100, LocalAddr => '127.0.0.1') or die $!;
# The far endpoint has an interval of its own, so that its row is not touched by what happens here.
ok($story->hub(certificates => <<"CONF"), 'a hub starts') or BAIL_OUT($story->log('hub'));
certificate "$name" {}
endpoint "$name" { ports = {"$port/tls"}  at = {"127.0.0.1"}  certificate = "$name"  interval = "10s" }
endpoint "nowhere.invalid" { ports = {"443"}  interval = "1h" }
endpoint "localhost" { ports = {"@{[$mute->sockport]}/tls"}  at = {"127.0.0.1"}  interval = "1h"  timeout = "1s" }
CONF
serve('new');
$story->import('new');
$story->agent('here');
ok($story->until_state('here', 'unprobed'), 'an agent has the certificate');
my $row = becomes('ok', 'a server with the right certificate is ok');
is($row->{name}, $name, "the row has the endpoint's name");
is($row->{fingerprint}, $story->fingerprint("$top/new.crt"), 'with what it serves');
ok($row->{match}, 'which is what is wanted');

# ---- a name without an address ----

ok($story->until('nowhere', sub { grep { ($_->{name} // '') eq 'nowhere.invalid' } @{decode_json(($story->certsync('status', '--json'))[1])->{endpoints}} }, 30),
	'a name without an address is seen');
my ($nowhere) = grep { $_->{name} eq 'nowhere.invalid' } @{decode_json(($story->certsync('status', '--json'))[1])->{endpoints}};
is($nowhere->{verdict}, 'unreachable', 'a name without an address is unreachable');
isnt($nowhere->{reason}, '', "because $nowhere->{reason}");
my ($waited);
ok($story->until('silent', sub { ($waited) = grep { $_->{name} eq 'localhost' } @{decode_json(($story->certsync('status', '--json'))[1])->{endpoints}} }, 30),
	'what is silent is seen');
like($waited->{reason}, qr/no answer within 1\.000s/, 'after the time that its endpoint has');

# ---- an old certificate ----

serve('old');
look();
$row = becomes('mismatch', 'restarted with an old certificate: a mismatch');
my $since = $row->{since};
cmp_ok(abs(time - $since), '<', 12, 'the row says that the old certificate began now');
my ($exit, $text) = $story->certsync('status');
is($exit, 3, 'not converged, although no agent says so');
like($text, qr/^endpoints: 0 of 3 ok$/m, 'status counts no endpoint as right');
like($text, qr/^  \Q$name\E 127\.0\.0\.1:$port\/tls: mismatch since \d{4}-\S+Z: \S.*\n    what to do: \S/m, 'and says since when, why and what to do') or diag($text);

# ---- it outlives the hub ----

$story->stop($_) for qw(here hub);
$story->start('hub', "$Story::bin/certsync-hub-root", '-c', "$top/hub.conf");
ok($story->until('hub', sub { ($story->certsync('status'))[0] != 4 }), 'the hub is started again');
like(($story->certsync('status'))[1], qr/^  here +\S+ +1\.1 .* away since \d/m, 'and tells what an agent that is away served last');
$story->start_agent('here');
is(seen($here)->{verdict}, 'mismatch', 'it knows at once what it had seen');
is(seen($here)->{since}, $since, 'and since when');
my $checked = seen($here)->{checked};
ok($story->until('anew', sub { (seen($here)->{checked} // 0) > $checked }, 20), 'it looks anew');
is(seen($here)->{since}, $since, 'what stays wrong keeps its beginning');

# ---- gone, and back ----

$story->stop('server', 'KILL');
$row = becomes('unreachable', 'a server that is gone is unreachable');
cmp_ok($row->{since}, '>', $since, 'the row says that the server is gone from now on');
ok($story->until('unreachable', sub { holds(qr/^unreachable .*:$port/) }), 'which is a condition');
ok(holds(qr/^mismatch .*:$port/), 'the mismatch is not over because nobody can see it');
serve('new');
look();
$row = becomes('ok', 'a server that is back is ok');
($exit, $text) = $story->certsync('status');
like($text, qr/^endpoints: 1 of 3 ok$/m, 'status counts it');
my @changes = $story->log('hub') =~ /event=check name=\Q$name\E endpoint=\S+ state=(\w+)/g;
is_deeply(\@changes, ['mismatch', 'unreachable', 'ok'], 'the log has a line for each change, and none for what stays') or diag($story->log('hub'));

# ---- nothing can be checked, and an agent that goes ----

my $dead = Story::free_port();
$story->stop('here');
$story->agent_conf('here', services => qq(service "nothing" { probe = {"127.0.0.1:$dead/tls"} }));
$story->start_agent('here');
ok($story->until('inside', sub { holds(qr/:$dead.*seen from inside by here/) }, 40), 'what an agent sees from inside is a condition')
	or diag(($story->certsync('alert', 'list'))[1]);
$story->stop('here');
ok($story->until('gone', sub { !$story->state_of('here')->{connected} }), 'the agent goes');
rename "$top/ca.pem", "$top/ca.away" or die $!;
Story::write_file("$top/ca.pem", "no certificate\n");
ok($story->until('blind', sub { holds(qr/all endpoints: they cannot be checked: .*ca\.pem/) }, 40), 'checks that fail as a whole are a condition, with the reason')
	or diag(($story->certsync('alert', 'list'))[1], $story->log('hub'));
ok(holds(qr/:$dead.*seen from inside by here/), 'what was seen from inside is not over because the agent has gone');
rename "$top/ca.away", "$top/ca.pem" or die $!;
ok($story->until('seeing', sub { !holds(qr/all endpoints/) }, 80), 'and it is over when they can be checked again');
ok($story->until('over', sub { !holds(qr/^(mismatch|unreachable) .*:$port/) }), 'as is the mismatch, since the server is back') or diag(($story->certsync('alert', 'list'))[1]);
$story->agent_conf('here');
$story->start_agent('here');
ok($story->until_state('here', 'unprobed'), 'the agent is back');
ok($story->until('over', sub { !holds(qr/seen from inside/) }), 'and says that the other is over, too');

# ---- the worker dies ----

# A server that accepts and says nothing keeps the worker waiting, so that it can be met.
$story->stop('server', 'KILL');
my $silent = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 5, ReuseAddr => 1) or die $!;
look();
my $worker;
ok($story->until('worker', sub { $worker = $story->child('hub', qr/certsync-worker\0check/) }, 20), 'a worker is met at work');
kill 'KILL', $worker if $worker;
ok($story->until('told', sub { $story->log('hub') =~ /event=check error="/ }), 'and killed: the log says so');
is(seen($here)->{verdict}, 'ok', 'what was seen before stays');
is($story->child('hub', qr/certsync-worker\0check/), undef, 'it is not started again at once');
close $silent;

$story->ends_clean;
done_testing;
