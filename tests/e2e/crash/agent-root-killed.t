#!/usr/bin/perl
# certsync-agent-root is killed just before each of its calls that change a file, one after the other, on the way
# through stage, activate, undo, activate again, reload and commit. At every moment each installed file must be wholly
# the old or wholly the new one, the next start must make them agree, and the way must be possible to its end. Then each
# of the calls fails once, as on a full disk, and no start comes between.
# Not under valgrind: it copies the program beside a stand-in for the agent, and interposes on the same calls with a library of its own.
use strict;
use warnings;
use FindBin;
use Test::More;
use Time::HiRes qw(time sleep);
require "$FindBin::Bin/../lib/agent_root.pm";
our ($bin, $tool, $top, $name, %op);

my $preload = "$bin/../tests/fault_at.so";
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

# Goes all steps. Returns how many were refused, or nothing when a reply did not come.
sub go_the_way {
	local $SIG{PIPE} = 'IGNORE';
	my $refused = 0;
	for my $what (qw(stage activate undo activate reload commit)) {
		my $reply = $what eq 'stage' ? stage($node, '1.2', $new) : ask($node, $what, '1.2');
		return unless $reply;
		$refused++ unless $reply->{ok};
	}
	return $refused;
}

# Goes to the end from wherever the node stands. Returns what went wrong.
sub complete {
	my @wrong;
	for my $reply (stage($node, '1.2', $new), map { ask($node, $_, '1.2') } qw(activate reload commit)) {
		push @wrong, "$reply->{op} $reply->{text}" unless $reply->{ok};
	}
	push @wrong, 'at the end live/ ' . live_set() . ', own file ' . own_file() if live_set() . own_file() ne '1.21.2';
	return @wrong;
}

sub leftovers { return map { "left behind $_" } glob "$dir/{own,etc/live,etc/archive/$name,root,state,etc/pins}/.certsync-*" }

# Returns the revision that all of live/'s files are of.
sub live_set {
	my %text = map { $_ => read_file("$dir/etc/live/$name/$_") } @files;
	my @same = grep { my $r = $_; !grep { $content{$r}{$_} ne $text{$_} } @files } sort keys %content;
	return $same[0] // 'mixed';
}

sub own_file {
	my $text = read_file("$dir/own/one.pem");
	return (grep { $content{$_}{'combined.pem'} eq $text } sort keys %content)[0] // 'neither';
}

# Starts the root half with a fault at one of its calls. Returns false when it does not even come up.
sub start_with {
	my ($fault, $at) = @_;
	local $ENV{LD_PRELOAD} = $preload;
	local $ENV{ASAN_OPTIONS} = 'verify_asan_link_order=0';
	local $ENV{$fault} = $at;
	local $ENV{FAULT_COUNT} = "$dir/count";
	unlink "$dir/run/tool.sock";
	launch($node);
	wait_for(sub { connect_tool($node) || has_ended($node) });
	return !has_ended($node);
}

reset_node();
ok(start_with(KILL_AT => 0), 'it starts');
is(go_the_way(), 0, 'and goes the whole way');
stop($node, 'TERM');
$content{'1.2'} = {map { $_ => read_file("$dir/etc/live/$name/$_") } @files};
is(live_set() . ' ' . own_file(), '1.2 1.2', 'ends with the new one everywhere');
chomp(my $calls = read_file("$dir/count"));
cmp_ok($calls, '>', 100, "$calls calls");

my (%before, @wrong);
for my $at (1 .. $calls) {
	reset_node();
	my $done = start_with(KILL_AT => $at) && defined go_the_way();
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
	push @wrong, map { "$at: $_" } leftovers(), complete();
	stop($node, 'TERM');
}
is(join("\n", @wrong), '', "killed at each of $calls calls");
diag(join ', ', map { "$_: $before{$_}" } sort keys %before);
cmp_ok(scalar keys %before, '>', 2, 'old, new and between the two were all met');

my $refused = 0;
@wrong = ();
for my $at (1 .. $calls) {
	reset_node();
	start($node) unless start_with(FAIL_AT => $at);
	my $failures = go_the_way();
	push @wrong, "$at: a reply did not come" unless defined $failures;
	$refused++ if $failures;
	my ($live, $own) = (live_set(), own_file());
	push @wrong, "$at: live/ $live, own file $own" unless "$live$own" =~ /^(?:1\.[12]){2}$/;
	my @trouble = complete();
	# The count has what a program does at its end, too, so that the last of these may fail only now, and once.
	@trouble = complete() if @trouble && !$failures;
	push @wrong, map { "$at: $_" } @trouble;
	stop($node, 'TERM');
	start($node);
	push @wrong, map { "$at: $_" } leftovers();
	stop($node, 'TERM');
}
is(join("\n", @wrong), '', "a full disk at each of $calls calls");
cmp_ok($refused, '>', $calls / 2, "$refused of them were refused with a reason");
done_testing;
