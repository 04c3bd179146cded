#!/usr/bin/perl
# Going back means old content as a new revision, also while a broken service keeps an agent from going forward.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Story;
use Test::More;

my $story = Story->new;
my $top = $story->top;
my ($exit, $text);

ok($story->hub, 'a hub starts') or BAIL_OUT($story->log('hub'));
is(($story->certsync('rollback', $Story::name))[0], 2, 'nothing published: nothing to go back to');
my $first = $story->pair('first', days => 20);
$story->import('first');
my $dir = $story->agent_conf('here', services => 'service "odd" { probe = none }');
Story::write_file("$dir/hooks/odd", "#!/bin/sh\necho \$1 >>$top/called\n", 0755);
$story->enrol('here') or BAIL_OUT(Story::read_file("$top/join.log"));
$story->start_agent('here');
ok($story->until_state('here', 'unprobed'), 'its agent has the first certificate');
($exit, $text) = $story->certsync('rollback', $Story::name);
is($exit, 2, 'one revision: nothing to go back to');
like($text, qr/no earlier revision/, 'and it says so');

my $second = $story->pair('second', days => 25);
is(($story->import('second'))[0], 0, 'a second revision arrives');
is($story->installed('here'), $second, 'it is installed');
($exit, $text) = $story->certsync('rollback', $Story::name);
is($exit, 0, 'rollback exits with 0') or diag($text);
is($story->installed('here'), $first, 'the first content is back, though it expires sooner');
is($story->state_of('here')->{served}, '1.3', 'as a new revision');
is(($story->certsync('rollback', $Story::name, '1.2'))[0], 0, 'and forward again, by number');
is($story->installed('here'), $second, 'the second content is there');
is($story->state_of('here')->{served}, '1.4', 'as a newer revision still');
($exit, $text) = $story->certsync('history', $Story::name);
like($text, qr/^1\.2 .*everywhere since \S+Z, after \d+ s; rolled back \S+Z$/m, 'history says what became of what was gone back from');
like($text, qr/^1\.4 \* .*rollback.*everywhere since/m, 'and of what is desired');
for my $wrong (['1.9', qr/not older/], ['abc', qr/written like/], ['1.4', qr/not older/]) {
	($exit, $text) = $story->certsync('rollback', $Story::name, $wrong->[0]);
	is($exit, 2, "rollback to $wrong->[0] is refused");
	like($text, $wrong->[1], 'with the reason');
}

# The service breaks, so the new revision fails there. Going back runs no hook where the content never left, so that the
# broken service cannot block it.
Story::write_file("$dir/hooks/odd", "#!/bin/sh\necho \$1 >>$top/called\nexit 1\n", 0755);
$story->pair('third', days => 26);
is(($story->import('third'))[0], 3, 'a third revision fails at the broken service');
is($story->installed('here'), $second, 'the second content is still there');
unlink "$top/called";
($exit, $text) = $story->certsync('rollback', $Story::name);
is($exit, 0, 'rollback ends, although the service is still broken') or diag($text);
is($story->state_of('here')->{served}, '1.6', 'the content is renumbered');
unlike(Story::read_file("$top/called"), qr/test|reload/, 'and no hook was asked to test or to reload');

($exit, $text) = $story->certsync('history', $Story::name);
is($exit, 0, 'history exits with 0');
my @lines = split /\n/, $text;
is(@lines, 7, 'history has every revision');
like($lines[1], qr/^1\.1 .* import .* by uid/, 'the first was imported');
like($lines[3], qr/^1\.3 .* rollback .* to 1\.1 by uid/, 'the third went back to it');
like($lines[6], qr/^1\.6 \*/, 'the last is the desired one');
is(($story->certsync('history', 'other.domain.pl'))[0], 2, 'of a certificate that nobody configured there is none');

$story->ends_clean;
done_testing;
