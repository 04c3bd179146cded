#!/usr/bin/perl
# While a person works on a node, certsync leaves it alone, also over restarts; drift is put right and told; a failed
# activation sends everybody back and ends.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use IO::Socket::UNIX;
use Story;
use Test::More;

my $story = Story->new;
my $top = $story->top;
my ($exit, $text);

sub certificate_state {
	my (undef, $json) = $story->certsync('status', '--json');
	return JSON::PP::decode_json($json)->{certificates}[0];
}

my $sections = "certificate \"$Story::name\" { on_failure = \"rollback_all\" }\n";
ok($story->hub(certificates => $sections), 'a hub starts') or BAIL_OUT($story->log('hub'));
my $first = $story->pair('first', days => 20);
$story->import('first');
my $own = "$top/own.pem";
my $dir = $story->agent_conf('here', services => "service \"odd\" { file \"$own\" { content = \"combined\" } probe = none }");
Story::write_file("$dir/hooks/odd", "#!/bin/sh\necho \$1 >>$top/called\n", 0755);
$story->enrol('here') or BAIL_OUT(Story::read_file("$top/join.log"));
$story->start_agent('here');
ok($story->until_state('here', 'unprobed'), 'its agent has the first certificate');
my $combined = Story::read_file($own);

# ---- drift ----

Story::write_file($own, "an old backup\n");
ok($story->until('repair', sub { Story::read_file($own) eq $combined }), 'a changed file is put right');
ok($story->until('drift', sub { ($story->state_of('here')->{drifts} // 0) == 1 }), 'the hub is told within seconds');
like($story->state_of('here')->{drift}, qr/put right/, 'and says what it was');
($exit, $text) = $story->certsync('status');
is($exit, 0, 'this is no reason not to be converged');
like($text, qr/here has drifted 1 time, last \d{4}-.*put right/, 'status shows it');
like($story->log('hub'), qr/event=drift certificate=\S+ agent=here times=1/, 'so does the log');

# ---- hold ----

for my $wrong ([['here'], qr/--for TIME or --end/], [['here', '--for', '8d'], qr/1s to 7d/], [['here', '--for', '1h', '--end'], qr/takes/],
	[['nobody', '--for', '1h'], qr/no agent "nobody"/], [['here', 'other.domain.pl', '--for', '1h'], qr/no certificate/]) {
	($exit, $text) = $story->certsync('hold', @{$wrong->[0]});
	is($exit, 2, "hold @{$wrong->[0]} is refused");
	like($text, $wrong->[1], 'with the reason');
}
($exit, $text) = $story->certsync('hold', 'here', '--for', '1h');
is($exit, 0, 'a hold begins');
like($text, qr/^\Q$Story::name\E  here  held until \d{4}-/, 'and says until when');
is($story->state_of('here')->{state}, 'held', "the agent's state is held");
($exit, $text) = $story->certsync('status');
is($exit, 3, 'held is not converged');
ok($story->until('told', sub { $story->log('here') =~ /event=hold .*seconds=3\d\d\d/ }), 'the root half is told');
Story::write_file($own, "mine for now\n");
my $second = $story->pair('second', days => 25);
($exit, $text) = $story->certsync('import', $Story::name, '--key', "$top/second.key", '--chain', "$top/second.crt");
is($exit, 3, 'a renewal does not wait for it, and does not reach it');
is($story->installed('here'), $first, 'the first certificate is still there');

# Everybody is restarted, and is told again that there is a hold.
for my $who ('here', 'hub') {
	my $before = () = $story->log('here') =~ /event=hold .*seconds=3\d\d\d/g;
	$story->stop($who, 'KILL') if $who eq 'hub';
	$story->stop($who) if $who eq 'here';
	Story::write_file($own, "mine for now\n") if $who eq 'hub';
	if ($who eq 'hub') {
		ok($story->until('gone', sub { ($story->certsync('status'))[0] == 4 }), 'the hub is killed');
		$story->start('hub', "$Story::bin/certsync-hub-root", '-c', "$top/hub.conf");
	} else {
		$story->start_agent('here');
	}
	ok($story->until('told', sub { my $now = () = $story->log('here') =~ /event=hold .*seconds=3\d\d\d/g; $now > $before }, 40),
		"$who ends and begins again: the hold goes on there");
}
Story::write_file($own, "mine for now\n");
is($story->state_of('here')->{state}, 'held', 'the hub still knows');
kill 'HUP', $story->{started}{here};
ok($story->until('reload', sub { $story->log('here') =~ /event=reload result=done/ }), 'the configuration there is read again');
is(Story::read_file($own), "mine for now\n", 'nothing is put right meanwhile');
is($story->installed('here'), $first, 'and nothing activated');

($exit, $text) = $story->certsync('hold', 'here', $Story::name, '--end');
is($exit, 0, 'its end');
like($text, qr/not held/, 'is said');
ok($story->until_state('here', 'unprobed'), 'what waited is done');
is($story->installed('here'), $second, 'the second certificate is there');
ok($story->until('repair', sub { index(Story::read_file($own), 'mine') < 0 }), 'and the file is put right');

# A certificate that expires meanwhile must not be overlooked.
$story->certsync('hold', 'here', '--for', '7d');
is($story->state_of('here')->{danger}, '', 'no danger while the certificate outlives the hold');
$story->certsync('hold', 'here', '--for', '2s');
ok($story->until('end', sub { $story->state_of('here')->{state} eq 'unprobed' }), 'a hold ends by itself');

# ---- going back ----

Story::write_file("$dir/hooks/odd", "#!/bin/sh\necho \$1 >>$top/called\n[ \$1 != reload ]\n", 0755);
my $third = $story->pair('third', days => 28);
($exit, $text) = $story->import('third');
ok($story->until('rollback', sub { (certificate_state()->{source} // '') eq 'rollback' }), 'a failed activation sends everybody back');
ok($story->until_state('here', 'unprobed'), 'that ends, although the service still fails');
is($story->installed('here'), $second, 'with the old content');
my $revision = $story->state_of('here')->{desired};
($exit, $text) = $story->certsync('history', $Story::name);
like($text, qr/rollback .* to 1\.2 because an activation failed/, 'and stands in the history');
is(($story->certsync('push'))[0], 0, 'push has nothing to do');
is($story->state_of('here')->{desired}, $revision, 'no further revision was made');

# ---- an agent of protocol 1 ----

$story->stop('here');
ok($story->until('lost', sub { !$story->state_of('here')->{connected} }), 'the agent ends');
my $socket = IO::Socket::UNIX->new(Peer => "$top/hub.run/local.sock") or die $!;
sub frame { my ($json) = @_; return pack('N C', length($json) + 1, 1) . $json }
sub next_message {
	my $head = '';
	while (length $head < 5) { $socket->sysread($head, 5 - length $head, length $head) or return '' }
	my ($len) = unpack 'N', $head;
	my $body = '';
	while (length $body < $len - 1) { $socket->sysread($body, $len - 1 - length $body, length $body) or return '' }
	return $body;
}
my $zeros = '0' x 32;
local $SIG{ALRM} = sub { die "the hub does not answer\n" };
alarm 20;
$socket->syswrite(frame("{\"type\":\"hello\",\"protocol\":1,\"version\":\"0.1\",\"instance\":\"$zeros\",\"clock\":1,\"count\":1}")
	. frame("{\"type\":\"inventory\",\"certificate\":\"$Story::name\",\"revision\":\"1.1\",\"attempt\":0,\"digest\":\"\",\"fingerprint\":\"\","
		. "\"not_before\":0,\"not_after\":0,\"high_water\":\"1.1\",\"staged\":\"0.0\",\"stopped\":false}"));
like(next_message(), qr/"welcome".*"protocol":1/, 'an agent of protocol 1 is spoken to in protocol 1');
like(next_message(), qr/"offer"/, 'it is offered what is desired') or diag($story->log('hub'));
($exit, $text) = $story->certsync('hold', 'here', '--for', '1h');
is($exit, 0, 'it may be held');
like($text, qr/warning: the agent there is older/, 'a hold at an older agent has a warning');
$socket->syswrite(frame('{"type":"ping"}'));
like(next_message(), qr/"pong"/, 'it is not sent what it would not know');
close $socket;
alarm 0;

# ---- what expires during a hold ----

my $brief = Story->new;
ok($brief->hub, 'another hub starts') or BAIL_OUT($brief->log('hub'));
$brief->pair('brief', days => 3);
$brief->import('brief');
$brief->agent('here');
ok($brief->until_state('here', 'unprobed'), 'its agent serves what ends in three days');
is(($brief->certsync('hold', 'here', '--for', '1h'))[0], 0, 'a short hold');
is($brief->state_of('here')->{danger}, '', 'is no danger');
($exit, $text) = $brief->certsync('hold', 'here', '--for', '7d');
like($text, qr/DANGER/, 'a hold that outlives it is');
isnt($brief->state_of('here')->{danger}, '', 'and stays one in the JSON');
like(($brief->certsync('status'))[1], qr/DANGER: here is held/, 'and in the table');
$brief->ends_clean;

$story->ends_clean;
done_testing;
