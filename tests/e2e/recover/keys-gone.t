#!/usr/bin/perl
# certsync-keys dies or hangs under a hub that runs: agents stay connected and go on serving what they have, status
# names what is wrong, certsync-hub-root starts another, which then does what was asked meanwhile.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Story;
use Test::More;

my $story = Story->new;

# Returns the pid of the one certsync-keys of this hub, or 0.
sub holder {
	my @pids = split ' ', `pgrep -x -P $story->{started}{hub} certsync-keys`;
	return @pids == 1 ? $pids[0] : 0;
}

sub connections { return scalar(() = $story->log('here') =~ /event=hub-connected/g) }

ok($story->hub, 'a hub starts') or BAIL_OUT($story->log('hub'));
$story->agent_conf('here');
$story->enrol('here') or BAIL_OUT(Story::read_file($story->top . '/join.log'));
my %leaf = map { ($_ => $story->pair($_, days => $_ eq 'killed' ? 25 : $_ eq 'hung' ? 27 : 20)) } qw(first killed hung);
$story->import('first');
$story->start_agent('here');
ok($story->until_state('here', 'unprobed'), 'an agent has its certificate') or BAIL_OUT($story->log('here'));
my $connections = connections();

my $before = holder();
ok($before, 'certsync-keys runs');
kill 'KILL', $before;
ok($story->until('another', sub { my $now = holder(); $now && $now != $before }, 40), 'killed: another one is started');
like($story->log('hub'), qr/name=keys .*signal 9/, 'and the log says what became of the first');
my ($code, $said) = $story->import('killed');
is($code, 0, 'a renewal is verified then') or diag($said, $story->log('hub'));
is($story->installed('here'), $leaf{killed}, 'and installed');

$before = holder();
kill 'STOP', $before;
($code, $said) = $story->import('hung');
is($code, 4, 'while it hangs an import ends as if the hub could not be reached');
like($said, qr/certsync-keys did not answer/, 'and says who did not answer') or diag($said);
($code, $said) = $story->certsync('rollback', $Story::name);
is($code, 1, 'going back, for which the daemon asks it, fails');
like($said, qr/not rolled back: .*certsync-keys did not answer within \d+ seconds/, 'and says who did not answer');
my $trouble = qr/private keys cannot be used: certsync-keys did not answer within \d+ seconds/;
like(($story->certsync('status'))[1], $trouble, 'status names it');
is($story->installed('here'), $leaf{killed}, 'the agent has what it had');
ok($story->until('another', sub { my $now = holder(); $now && $now != $before }, 120), 'certsync-hub-root ends it and starts another');
like($story->log('hub'), qr/name=keys .*did not answer/, 'and the log says why') or diag($story->log('hub'));
($code, $said) = $story->import('hung');
is($code, 0, 'the same import is verified then') or diag($said, $story->log('hub'));
is($story->installed('here'), $leaf{hung}, 'and installed');
unlike(($story->certsync('status'))[1], $trouble, 'status has nothing more to say of it');
is(connections(), $connections, 'the agent was connected all the time');

done_testing();
