#!/usr/bin/perl
# What the service manager is told: READY when a root half has done what others are started after. This script plays the manager.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use IO::Socket::UNIX;
use Socket qw(SOCK_DGRAM);
use Story;
use Test::More;

my $story = Story->new;
my $top = $story->top;
my $manager = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => "$top/notify") or die "notify: $!";
$ENV{NOTIFY_SOCKET} = "$top/notify";

sub told {
	my $state = '';
	local $SIG{ALRM} = sub { die "nothing was told\n" };
	alarm 20;
	eval { $manager->recv($state, 256) };
	alarm 0;
	return $state;
}

$story->hub_conf;
$story->start('hub', "$Story::bin/certsync-hub-root", '-c', "$top/hub.conf");
is(told(), 'READY=1', 'the hub is ready') or diag($story->log('hub'));
is(($story->certsync('status'))[0], 3, 'and answers at once');
$story->agent_conf('here');
$story->enrol('here') or BAIL_OUT(Story::read_file("$top/join.log"));
$story->start_agent('here');
is(told(), 'READY=1', 'the agent is ready') or diag($story->log('here'));
ok(-s "$top/here/etc/live/$Story::name/combined.pem", 'and there is a placeholder that a server can start with');

$story->ends_clean;
done_testing;
