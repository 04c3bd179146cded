#!/usr/bin/perl
# A daemon that hangs: commands say so within their time, and its root half ends it and starts another, on the hub and on a node. What was
# installed stays, and all is verified again by itself.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Story;
use Test::More;

my $story = Story->new;
my $top = $story->top;

ok($story->hub, 'a hub starts') or BAIL_OUT($story->log('hub'));
$story->agent_conf('here');
$story->enrol('here') or BAIL_OUT(Story::read_file("$top/join.log"));
my $leaf = $story->pair('first');
$story->import('first');
$story->start_agent('here');
ok($story->until_state('here', 'unprobed'), 'an agent has its certificate') or BAIL_OUT($story->log('here'));

my %daemon = (hub => $story->child('hub', qr/certsync\0hub/), here => $story->child('here', qr/certsync-agent\0run/));
ok($daemon{$_}, "the daemon of $_ runs") or BAIL_OUT($story->log($_)) for sort keys %daemon;
kill 'STOP', values %daemon;

# Both are asked at the same time, since each command waits for a while.
my $says = qr/does not answer: it hangs, or this machine has far too much to do; its root half ends it/;
my %command = (
	'certsync status' => ["$Story::bin/certsync", 'status', '-c', "$top/hub.conf"],
	'certsync-agent status' => ["$Story::bin/certsync-agent", 'status', '-c', "$top/here/agent.conf"],
	'certsync-agent doctor' => ["$Story::bin/certsync-agent", 'doctor', '-c', "$top/here/agent.conf"],
);
my %asked = map {
	open my $out, '-|', 'sh', '-c', 'exec "$@" 2>&1', 'sh', @{$command{$_}} or die $!;
	($_ => $out);
} sort keys %command;
for my $command (sort keys %asked) {
	my $out = $asked{$command};
	my $said = do { local $/; <$out> };
	close $out;
	like($said, $says, "$command says that the daemon hangs");
	is($? >> 8, $command =~ /doctor/ ? 3 : 4, '  and exits with what stands for it');
}

for my $what (sort keys %daemon) {
	ok($story->until($what, sub { !-e "/proc/$daemon{$what}" }, 300), "$what: the one that hangs is ended");
	like($story->log($what), qr/it has said nothing for minutes: it hangs/, '  and the log says why');
}
ok($story->until_state('here', 'unprobed', 90), 'all is verified again') or diag($story->log('hub'), $story->log('here'));
is($story->installed('here'), $leaf, 'by what was installed all the time');
my $renewed = $story->pair('second', days => 30);
is(($story->import('second'))[0], 0, 'a renewal is verified');
is($story->installed('here'), $renewed, 'and installed');

done_testing();
