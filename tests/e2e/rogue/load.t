#!/usr/bin/perl
# A hub under a crowd of agents, some of them hostile: those who mean well notice nothing, those who do not are named,
# and nothing is left behind. CERTSYNC_LOAD_MINUTES=N holds them so long, which the patience of some kinds needs;
# tests/load/load measures the same with thousands.
# Not under valgrind: it holds three hundred agents, at 60 MB each under valgrind.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib", "$FindBin::Bin/../../bench", "$FindBin::Bin/../../load";
use Test::More;
use Needs;
BEGIN { needs_root('users and namespaces') }
use Fleet;
use Load;
use Time::HiRes qw(time sleep);

Fleet->enter;
my $minutes = $ENV{CERTSYNC_LOAD_MINUTES} // 0;
# The hub waits 15 seconds for a silent agent, and 90 for one that stops in the middle.
my @later = $minutes >= 3 ? () : qw(silent half);
my $load = Load->new(real => 3, renewed => 3, crowd => 90, hostile => 22, spread => 0.3);
ok($load->settle, 'all agents are connected');
is($load->renew->{missing}, 0, 'a renewal reaches the real ones');
my $calm = $load->look;

$load->renew_crowd;
$load->{crowd_process}->ask('hostile');
my $end = time + 60 * $minutes;
my @unnamed;
ok($load->until('named', sub { !(@unnamed = $load->unnamed(@later)) }, 60 * $minutes + 30), 'each hostile one is named')
	or diag("@unnamed: @{[map { $load->{kinds}{$_} } @unnamed]}\n" . substr($load->log('hub'), -3000));
my $missing = $load->renew->{missing};
while (time < $end) { sleep 5; $missing += $load->renew->{missing} }
is($missing, 0, 'renewals reach the real ones all the same');
ok($load->answer < 10, 'status answers within ten seconds');
my ($told, @kept);
ok($load->until('cut off', sub { $told = $load->{crowd_process}->tell; !(@kept = grep { !$told->{cut}{$_} } qw(garbage huge greeter clone)) }),
	'who breaks a rule is cut off') or diag("@kept");
is($told->{cut}{late} // 0, 0, 'one that is late is not');
is($told->{verified}, 90, 'all of the crowd that mean well have what was published');
is($told->{connected}, 90, 'and are connected');
is_deeply([@{$told->{lost}}, $load->real_lost, $load->absent], [], 'and none of them was disconnected');
cmp_ok($load->lines_of('fetcher'), '<', 2 * 70 * (1 + $minutes), 'who asks without end does not fill the log');
my $held = $load->look;
is($held->{$_}{fds}, $calm->{$_}{fds}, "$_: as many descriptors as before") for qw(root gate sshd);
cmp_ok($held->{hub}{fds} - $calm->{hub}{fds}, '<=', 4 * 22, 'hub: no more than hostile connections');

ok($load->all_leave, 'all agents leave');
is(Load::descriptors($load->{hub_pid}), $load->{fds_at_start}, 'hub: its descriptors are those of its start');
is(Load::descriptors($load->{started}{hub}), $load->{root_fds_at_start}, 'root half: its too');
is($load->sessions, 0, 'no gate is left');
$load->ends_clean;
done_testing;
