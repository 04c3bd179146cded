#!/usr/bin/perl
# certsync-agent-root killed just before each of its calls that change a file, one after the other, on the way
# through stage, activate, undo, activate again, reload and commit. Whatever the moment: every installed file is
# wholly the old or wholly the new one, the next start makes them agree, and the way can be gone to its end.
use strict;
use warnings;
use FindBin;
use Test::More;
use Time::HiRes qw(time sleep);
require "$FindBin::Bin/agent_root.pm";
our ($bin, $tool, $top, $name, %op);

my $preload = "$bin/../tests/kill_at.so";
my ($old, $new) = map { pair($_) } qw(old new);
my $node = node();
my $dir = $node->{dir};
is(install($node, '1.1', $old), undef, 'the old one is installed');
my @files = map { "$_.pem" } qw(privkey cert chain fullchain combined haproxy);
my %content;
$content{'1.1'} = {map { $_ => read_file("$dir/etc/live/$name/$_") } @files};
stop($node, 'TERM');
system("mkdir $dir/kept && cp -a $dir/etc $dir/own $dir/root $dir/state $dir/kept") == 0 or die 'cp';

sub reset_node {
	system("cd $dir && rm -rf etc own root state && cp -a kept/* . && : >log && : >hooks.log") == 0 or die 'cp';
}

# True when it went to its end. A reply that does not come ends it, as the daemon's connection would.
sub go_the_way {
	for my $step ([stage => 60], [activate => 60], [undo => 60], [activate => 60], [reload => 60], [commit => 60]) {
		my ($what, $timeout) = @$step;
		my $reply = eval { local $SIG{PIPE} = 'IGNORE'; $what eq 'stage' ? stage($node, '1.2', $new) : ask($node, $what, '1.2', $timeout) };
		return unless $reply;
		fail("$what: $reply->{text}") unless $reply->{ok};
	}
	return 1;
}

# The revision that all of live/'s files are of, and the own file's.
sub live_set {
	my %text = map { $_ => read_file("$dir/etc/live/$name/$_") } @files;
	my @same = grep { my $r = $_; !grep { $content{$r}{$_} ne $text{$_} } @files } sort keys %content;
	return $same[0] // 'mixed';
}

sub own_file {
	my $text = read_file("$dir/own/one.pem");
	return (grep { $content{$_}{'combined.pem'} eq $text } sort keys %content)[0] // 'neither';
}

# Starts it with the call number at which it dies. The daemon may not even come up.
sub start_killed {
	my ($at) = @_;
	local $ENV{LD_PRELOAD} = $preload;
	local $ENV{ASAN_OPTIONS} = 'verify_asan_link_order=0';
	local $ENV{KILL_AT} = $at;
	local $ENV{KILL_COUNT} = "$dir/count";
	unlink "$dir/run/tool.sock";
	launch($node);
	wait_for(sub { connect_tool($node) || has_ended($node) });
	return !has_ended($node);
}

reset_node();
ok(start_killed(0) && go_the_way(), 'the whole way');
stop($node, 'TERM');
$content{'1.2'} = {map { $_ => read_file("$dir/etc/live/$name/$_") } @files};
is(live_set() . ' ' . own_file(), '1.2 1.2', 'ends with the new one everywhere');
chomp(my $calls = read_file("$dir/count"));
cmp_ok($calls, '>', 100, "$calls calls");

my (%before, @wrong);
for my $at (1 .. $calls) {
	reset_node();
	my $done = start_killed($at) && go_the_way();
	stop($node, 'KILL');
	my ($live, $own) = (live_set(), own_file());
	$before{"$live/$own"}++;
	push @wrong, "$at: live/ $live, own file $own" unless "$live$own" =~ /^(?:1\.[12]){2}$/;
	start($node);
	my $i = inventory($node);
	my $wanted = $i->{pending} eq '0.0' ? $i->{served} : $i->{pending};
	($live, $own) = (live_set(), own_file());
	push @wrong, "$at: after the start live/ $live, own file $own, wanted $wanted" unless $live eq $wanted && $own eq $wanted;
	push @wrong, "$at: committed and forgotten" if $done && $i->{served} ne '1.2';
	push @wrong, "$at: high-water mark $i->{high_water}" unless $i->{high_water} eq '1.2' || $i->{staged} eq '0.0';
	my @left = glob "$dir/{own,etc/live,etc/archive/$name,root,state,etc/pins}/.certsync-*";
	push @wrong, "$at: left behind @left" if @left;
	for my $reply (stage($node, '1.2', $new), map { ask($node, $_, '1.2') } qw(activate reload commit)) {
		push @wrong, "$at: $reply->{op} $reply->{text}" unless $reply->{ok};
	}
	push @wrong, "$at: at the end live/ " . live_set() . ', own file ' . own_file() if live_set() . own_file() ne '1.21.2';
	stop($node, 'TERM');
}
is(join("\n", @wrong), '', "killed at each of $calls calls");
diag(join ', ', map { "$_: $before{$_}" } sort keys %before);
cmp_ok(scalar keys %before, '>', 2, 'old, new and between the two were all met');
done_testing;
