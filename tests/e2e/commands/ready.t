#!/usr/bin/perl
# What the service manager is told: READY comes when a root half has done what other units wait for. This script plays
# the manager.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use IO::Socket::UNIX;
use Socket qw(SOCK_DGRAM);
use Story;
use Test::More;

my $story = Story->new;
my $top = $story->top;
# Each root half has a socket of its own, so that the signs of life of one do not hide what another says.
sub manager {
	$ENV{NOTIFY_SOCKET} = "$top/$_[0].notify";
	return IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $ENV{NOTIFY_SOCKET}) // die "notify: $!";
}

# The time is short, so that the story need not wait long: a root half speaks when half of it has passed.
$ENV{WATCHDOG_USEC} = 1_000_000;

# Returns the next message that matches.
sub told {
	my ($manager, $pattern) = @_;
	my $state = '';
	local $SIG{ALRM} = sub { die "nothing was told\n" };
	alarm 20 * ($ENV{CERTSYNC_PATIENCE} // 1);
	eval {
		do { $manager->recv($state, 256) } until $state =~ $pattern;
	};
	alarm 0;
	return $@ || $state;
}

# Takes and drops all messages that have come until now.
sub drain {
	my ($manager) = @_;
	$manager->blocking(0);
	my $state;
	1 while defined $manager->recv($state, 256);
	$manager->blocking(1);
}

my $anything_else = qr/^(?!WATCHDOG=1$)/;
my $manager = manager('hub');
$story->hub_conf;
$story->start('hub', "$Story::bin/certsync-hub-root", '-c', "$top/hub.conf");
is(told($manager, $anything_else), 'READY=1', 'the hub is ready') or diag($story->log('hub'));
is(($story->certsync('status'))[0], 3, 'and answers at once');
$story->agent_conf('here');
$story->enrol('here') or BAIL_OUT(Story::read_file("$top/join.log"));
my $agents = manager('here');
$story->start_agent('here');
is(told($agents, $anything_else), 'READY=1', 'the agent is ready') or diag($story->log('here'));
ok(-s "$top/here/etc/live/$Story::name/combined.pem", 'and there is a placeholder that a server can start with');

for my $one (['hub', $manager], ['agent', $agents]) {
	drain($one->[1]);
	is(told($one->[1], qr/./), 'WATCHDOG=1', "the $one->[0]'s root half tells that it lives") for 1, 2;
}

# A hook may take its whole `timeout`, two minutes, and the manager must not take the root half for dead. The manager
# listens all the time, since few messages fit into a socket that nobody reads.
$story->pair('first');
drain($agents);
$story->start('import', "$Story::bin/certsync", 'import', $Story::name, '--key', "$top/first.key", '--chain', "$top/first.crt", '-c', "$top/hub.conf");
like(told($agents, $anything_else), qr/^EXTEND_TIMEOUT_USEC=\d{9}\nWATCHDOG=1\nWATCHDOG_USEC=121000000\n$/, 'while a hook runs, more time');
is(told($agents, $anything_else), "WATCHDOG=1\nWATCHDOG_USEC=1000000\n", 'and then the usual');
ok($story->until_state('here', 'unprobed'), 'it is done');

$story->ends_clean;
done_testing;
