#!/usr/bin/perl
# A hub that was restored from an older backup says so, and nothing goes back; recover begins a new epoch with the
# newest content that there is, and orders another certificate only where there is no other way.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Needs;
use Pebble;
use Story;
use Test::More;

my $story = Story->new;
my $top = $story->top;
my ($exit, $text);

sub backup { system("rm -rf $top/backup && cp -a $top/hub $top/backup") == 0 or die }
sub restore {
	$story->stop('hub');
	system("rm -rf $top/hub && cp -a $top/backup $top/hub") == 0 or die;
	$story->start('hub', "$Story::bin/certsync-hub-root", '-c', "$top/hub.conf");
}
sub reported { $story->state_of('here')->{served} // '' }

# ---- what was imported ----

ok($story->hub, 'a hub starts') or BAIL_OUT($story->log('hub'));
$story->pair("pair$_", days => 10 + $_) for 1 .. 4;
$story->import('pair1');
$story->agent('here');
ok($story->until_state('here', 'unprobed'), 'its agent has the first certificate');
($exit, $text) = $story->certsync('recover');
is($exit, 0, 'a hub that lost nothing: exit 0');
like($text, qr/nothing was changed/, 'and it says so');
like(($story->certsync('recover', $Story::name, '--archive', "$top/none"))[1], qr/no agent .* is ahead/, 'recover of a named certificate says that no agent is ahead');
is(reported(), '1.1', 'nothing was published');
backup();
is(($story->import("pair$_"))[0], 0, "revision 1.$_") for 2, 3;
my $third = $story->installed('here');

restore();
ok($story->until_state('here', 'ahead', 60), 'restored from revision 1.1: the agent is ahead, within a minute');
($exit, $text) = $story->certsync('status');
is($exit, 3, 'a hub that was restored converges with nobody');
like($text, qr/has had revision 1\.3, this hub wants 1\.1: .* `certsync recover`/, 'status says what to do');
is($story->installed('here'), $third, 'the agent keeps what it has');
($exit, $text) = $story->certsync('recover', '--archive', "$top/none");
is($exit, 1, 'without the archive: the content is nowhere');
like($text, qr/revision 1\.3.*certsync import/s, 'it says what to do');
is($story->installed('here'), $third, 'the agent keeps what it has');
($exit, $text) = $story->certsync('recover', '--archive', "$top/here/etc/archive");
is($exit, 0, 'recover with the archive exits with 0') or diag($text, $story->log('hub'));
is(reported(), '2.1', 'recover begins a new epoch');
is($story->installed('here'), $third, 'of the newest content');
like(($story->certsync('history', $Story::name))[1], qr/2\.1.*recover.*1\.3 of the local agent's archive/, 'history says where it came from');
is(($story->import('pair4'))[0], 0, 'it goes on from there');
is(reported(), '2.2', 'the next revision stays within the epoch');

restore();
ok($story->until_state('here', 'ahead', 60), 'restored from the first epoch');
is(($story->certsync('recover', '--archive', "$top/none"))[0], 1, 'the archive is not brought');
is(($story->import('pair4'))[0], 0, 'what is imported then begins the epoch');
is(reported(), '3.1', 'which is above all');
SKIP: {
	needs_root('to become somebody else', 2);
	$text = `setpriv --reuid 65534 --regid 65534 --clear-groups $Story::bin/certsync recover -c $top/hub.conf 2>&1`;
	is($? >> 8, 2, 'not root: exit 2');
	like($text, qr/needs root/, 'recover without root says that it needs root');
}
$story->stop($_) for qw(here hub);

# ---- what an authority issued ----

system("rm -rf $top/hub $top/here $top/gate/authorized_keys");
my $pebble = Pebble->new($story);
my $sections = <<"CONF";
acme "test" {
	directory = "@{[$pebble->directory]}"
	agree_tos = true
	ca_file = "$top/api-ca.pem"
	limits = false
}
certificate "$Story::name" { acme = "test"  preflight = "off" }
CONF
ok($story->hub(certificates => $sections), 'a hub that orders') or BAIL_OUT($story->log('hub'));
$story->agent('here');
ok($story->until_state('here', 'unprobed', 60), 'its agent has the first certificate');
backup();
is(($story->certsync('renew'))[0], 0, 'it is renewed');
is(reported(), '1.2', 'the renewal is revision 1.2');
my $second = $story->installed('here');
restore();
ok($story->until_state('here', 'ahead', 60), 'restored: the agent is ahead');
my $orders = $pebble->orders;
($exit, $text) = $story->certsync('recover', '--archive', "$top/here/etc/archive");
is($exit, 0, 'recover with the archive') or diag($text, $story->log('hub'));
is($story->installed('here'), $second, 'the content of 1.2 as a new epoch');
is($pebble->orders, $orders, 'no order was made');
restore();
ok($story->until_state('here', 'ahead', 60), 'the agent is ahead of the hub that was restored again');
($exit, $text) = $story->certsync('recover', '--archive', "$top/none");
is($exit, 0, 'recover without an archive exits with 0') or diag($text, $story->log('hub'));
is($pebble->orders, $orders + 1, 'one order, exactly');
is(reported(), '3.1', 'recover without an archive begins a new epoch');
isnt($story->installed('here'), $second, 'recover without an archive orders another certificate');

# ---- killed in the middle ----

restore();
ok($story->until_state('here', 'ahead', 60), 'the agent is ahead of the hub that was restored once more');
my $pid = fork // die $!;
if ($pid == 0) {
	open STDOUT, '>', "$top/recover.log" or die $!;
	open STDERR, '>&', \*STDOUT or die $!;
	exec "$Story::bin/certsync", 'recover', '--archive', "$top/none", '-c', "$top/hub.conf" or die $!;
}
ok($story->until('the epoch', sub { -e "$top/hub/records/epochs/$Story::name/epoch" }), 'recover has begun an epoch');
kill 'KILL', $story->child('hub', qr/certsync\0hub/);
waitpid $pid, 0;
is($? >> 8, 4, 'the hub is killed: the command says that it is gone');
ok($story->until('the hub', sub { ($story->certsync('status'))[0] != 4 }), 'it is started again');
ok($story->until('the agent', sub { ($story->state_of('here')->{state} // '') =~ /ahead|unprobed/ }, 30), 'its agent is back');
is(($story->certsync('recover', '--archive', "$top/none"))[0], 0, 'recover again');
ok($story->until_state('here', 'unprobed'), 'all is verified');
like(reported(), qr/^[45]\.1$/, 'in an epoch of its own');

$story->ends_clean;
done_testing;
