#!/usr/bin/perl
# Each process is killed at some moment of a renewal, again and again: no set of files is ever mixed, no revision goes
# back, and all converges by itself. On real nodes systemd starts the root halves again; here this script does.
# CERTSYNC_SEED repeats a run, and CERTSYNC_ROUNDS makes it longer.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Story;
use Test::More;
use Time::HiRes qw(time);

my $seed = $ENV{CERTSYNC_SEED} // int(time * 1000) % 1000000;
my $rounds = $ENV{CERTSYNC_ROUNDS} // 24;
srand $seed;
diag("CERTSYNC_SEED=$seed");

my $story = Story->new;
my $top = $story->top;
my $live = "$top/here/etc/live/$Story::name";

$story->pair('first');
ok($story->hub, 'a hub starts') or BAIL_OUT($story->log('hub'));
$story->import('first');
$story->agent('here');
ok($story->until_state('here', 'unprobed'), 'its agent has the first certificate');

# The set that a service would read: the key and the leaf of each of its files are one pair, whatever moment it is.
my %has = (privkey => 'key', cert => 'leaf', fullchain => 'leaf', combined => 'key leaf', haproxy => 'key leaf');
sub set_is_whole {
	my $directory = readlink $live or return 0;
	my $set = "$top/here/etc/live/$directory";
	my %public;
	for my $file (sort keys %has) {
		$public{`openssl pkey -in $set/$file.pem -pubout 2>/dev/null`} = 1 if $has{$file} =~ /key/;
		$public{`openssl x509 -in $set/$file.pem -noout -pubkey 2>/dev/null`} = 1 if $has{$file} =~ /leaf/;
	}
	return keys %public == 1 && !$public{''};
}

sub number { my ($text) = readlink($live) =~ /(\d+)\z/; return $text // -1 }

my %victims = (
	'the hub' => sub { $story->child('hub', qr/certsync\0hub\0/) },
	'the hub\'s root half' => sub { $story->{started}{hub} },
	'the agent' => sub { $story->child('here', qr/certsync-agent\0run\0/) },
	'the agent\'s root half' => sub { $story->{started}{here} },
);

# A process that is killed has not ended at once and would be taken for running, so its end is waited for.
sub kill_one {
	my ($pid) = @_;
	kill 'KILL', $pid;
	my ($ours) = grep { $story->{started}{$_} == $pid } qw(hub here);
	waitpid delete $story->{started}{$ours}, 0 if $ours;
}

my ($mixed, $backwards, $longest) = (0, 0, 0);
my $last = number();
for my $round (1 .. $rounds) {
	my $victim = (sort keys %victims)[$round % keys %victims];
	my $moment = rand 0.12;
	my $wanted = $story->pair('next', days => 20 + $round);
	$story->start('import', "$Story::bin/certsync", 'import', $Story::name, '--key', "$top/next.key", '--chain', "$top/next.crt",
		'-c', "$top/hub.conf");
	select undef, undef, undef, $moment;
	my $pid = $victims{$victim}->();
	kill_one($pid) if $pid;
	$mixed++ if !set_is_whole();
	waitpid delete $story->{started}{import}, 0;
	my $begin = time;
	$story->hub if !$story->{started}{hub};
	$story->start_agent('here') if !$story->{started}{here};
	$story->until('the hub', sub { ($story->certsync('status'))[0] != 4 });
	$story->import('next'); # the kill may have come before the hub had accepted it
	my $arrived = $story->until('arrival', sub {
		$mixed++ if !set_is_whole();
		my $now = number();
		$backwards++ if $now < $last;
		return $story->installed('here') eq $wanted && ($story->state_of('here')->{state} // '') eq 'unprobed';
	}, 60);
	my $took = time - $begin;
	$longest = $took if $took > $longest;
	ok($arrived, sprintf('round %d: %s killed after %.0f ms, converged', $round, $victim, $moment * 1000))
		or diag(($story->certsync('status'))[1] . $story->log('hub') . $story->log('here')), last;
	$last = number();
}
is($mixed, 0, 'no set was ever mixed');
is($backwards, 0, 'no revision went back after it was verified');
diag(sprintf('%d kills; the longest until all had converged again: %.1f s', $rounds, $longest));
my @revisions = map { m{/1\.(\d+)\z} ? $1 : () } glob "$top/hub/certificates/$Story::name/1.*";
ok(@revisions >= $rounds, 'the store has kept every revision');

$story->ends_clean;
done_testing;
