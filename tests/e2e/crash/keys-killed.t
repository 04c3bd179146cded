#!/usr/bin/perl
# New keys take the place of old ones in four renames. When the program is killed before a call that changes a file, or
# the call fails as on a full disk, the next look must find one whole pair, the old or the new.
# Not under valgrind: it interposes on the same calls with a library of its own.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Story;
use Test::More;

my $s = Story->new;
my $top = $s->top;
my $dir = $s->agent_conf('mail');
my $preload = "$Story::bin/../tests/fault_at.so";

sub identity {
	my ($option, %environment) = @_;
	local %ENV = (%ENV, %environment);
	my $line = `$Story::bin/certsync-agent-root identity $option -c $dir/agent.conf 2>>$top/said`;
	return ($? == 0, $line);
}

sub begin_again {
	system("cd $dir && rm -rf state root && cp -a kept/state kept/root .") == 0 or die 'cp';
}

my (undef, $old) = identity('');
my (undef, $new) = identity('--next');
isnt($new, $old, 'there are old keys and new ones');
is((identity(''))[1], $old, 'the old ones hold until the new ones take their place');
is((identity('--next'))[1], $new, 'and those stay the same until then');
system("mkdir $dir/kept && cp -a $dir/state $dir/root $dir/kept") == 0 or die 'cp';
my ($done, $taken) = identity('--take-next', LD_PRELOAD => $preload, FAULT_COUNT => "$top/count");
is($taken, $new, 'the keys that are taken are the new ones');
my $calls = 0 + Story::read_file("$top/count");
cmp_ok($calls, '>', 4, "in $calls calls that change a file");
for my $fault (qw(KILL_AT FAIL_AT)) {
	my %found;
	for my $at (1 .. $calls) {
		begin_again();
		identity('--take-next', LD_PRELOAD => $preload, $fault => $at);
		my ($whole, $line) = identity('');
		$found{$whole && $line eq $old ? 'old' : $whole && $line eq $new ? 'new' : "mixed at $at: $line"}++;
	}
	is_deeply([sort keys %found], ['new', 'old'], "$fault each of them: the old pair or the new one, nothing between");
}
begin_again();
unlink "$dir/root/seal.key.next";
unlink "$dir/state/id_ed25519.next";
($done, $taken) = identity('--take-next');
is($done, '', 'without new keys nothing is taken');
is((identity(''))[1], $old, 'and the old ones hold');
done_testing;
