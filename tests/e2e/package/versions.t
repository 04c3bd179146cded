#!/usr/bin/perl
# A fleet is not upgraded at once: a hub of the version before with an agent of this one, and the reverse, through a renewal. The
# version before is the newest tag; without one, what was last committed before the messages changed their protocol.
# Not under valgrind: it builds another version of its own.
# Not for coverage: it builds another version of its own.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Path qw(make_path);
use Story;
use Test::More;

my $source = "$FindBin::Bin/../../..";

sub git {
	my (@words) = @_;
	open my $out, '-|', 'git', '-C', $source, '-c', 'safe.directory=*', @words or BAIL_OUT("git: $!");
	chomp(my @lines = <$out>);
	close $out;
	return @lines;
}

# A tag of this very commit is this version, so it is not the one before.
sub version_before {
	my ($tag) = git('tag', '--merged', 'HEAD', '--no-contains', 'HEAD', '--sort=-creatordate');
	return $tag if defined $tag;
	my ($change) = git('log', '--format=%H', '--reverse', '-SMESSAGE_PROTOCOL = 2', '--', 'lib/message.h', 'lib/wire/message.h');
	my ($parent) = $change ? git('rev-parse', '--verify', '--quiet', "$change^") : ();
	return $parent;
}

my $before = version_before();
if (!defined $before) {
	fail('there is a version before this one');
	diag("the history of $source is not here (a shallow clone?): git fetch --unshallow --tags");
	done_testing;
	exit 1;
}

my $scratch = Story->new; # its directory goes when the story ends
my $old = $scratch->top . '/before';
make_path($old);
# A newer compiler warns of more than was known then.
$ENV{CFLAGS} = '-O1 -w';
system("git -C '$source' -c 'safe.directory=*' archive $before | tar -xf - -C $old") == 0 or BAIL_OUT("$before cannot be unpacked");
delete local @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL SANITIZE)};
system("make -C $old -j2 all >$old.log 2>&1") == 0 or BAIL_OUT("$before cannot be built: " . `tail -n 20 $old.log`);
note("the version before: $before");
my %bin = (old => "$old/build/bin", new => $Story::bin);

# A program finds the others of its own version where it lies itself, so links are enough.
sub mixed {
	my ($hub, $agent) = @_;
	my $mix = $scratch->top . "/$hub-$agent";
	make_path($mix);
	for (glob("$bin{new}/certsync*")) {
		my ($program) = m{([^/]+)$};
		my $from = $program =~ /agent|link/ ? $agent : $hub;
		symlink "$bin{$from}/$program", "$mix/$program" or die "$mix/$program: $!";
	}
	return $mix;
}

for my $pair (['old', 'new'], ['new', 'old']) {
	my ($hub, $agent) = @$pair;
	my $what = "hub $hub, agent $agent";
	# What nobody has looked at was called verified, once.
	my $done = $hub eq 'old' ? 'verified' : 'unprobed';
	$Story::bin = mixed($hub, $agent);
	my $story = Story->new;
	my $first = $story->pair('first', days => 10);
	my $renewed = $story->pair('renewed', days => 25);
	ok($story->hub, "$what: the hub is up") or diag($story->log('hub'));
	$story->agent('here');
	$story->import('first');
	ok($story->until_state('here', $done), "$what: done") or diag($story->log('here'));
	is($story->installed('here'), $first, "$what: with what was imported");
	$story->import('renewed');
	ok($story->until('renewal', sub { $story->installed('here') eq $renewed }), "$what: the renewal arrives");
	ok($story->until_state('here', $done), "$what: and is done");
	$story->stop('here');
	$story->start_agent('here');
	ok($story->until('here again', sub { ($story->state_of('here')->{state} // '') eq $done && $story->log('here') =~ /hub-connected.*hub-connected/s }),
		"$what: so it stays when the agent comes again") or diag($story->log('here'));
	$story->ends_clean;
}

done_testing;
