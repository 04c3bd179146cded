#!/usr/bin/perl
# What a person sees of a push and of status --watch: on a terminal the lines change in their place, elsewhere each
# change is a line. Ctrl-C leaves the rollout going and says so.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Story;
use JSON::PP;
use POSIX qw(mkfifo);
use Test::More;

# A command that does not end fails the story, too.
$SIG{ALRM} = sub { die "this story takes too long\n" };
alarm 120 * ($ENV{CERTSYNC_PATIENCE} // 1);
my $story = Story->new;
my $top = $story->top;
my ($exit, $text);

# The hook's reload ends when the story says so: it reads a word from a FIFO, and "fail" makes it fail.
mkfifo("$top/gate.fifo", 0600) or die $!;
my $hook = <<"HOOK";
#!/bin/sh
[ "\$1" = reload ] || exit 0
[ -e "$top/slow" ] || exit 0
echo begun >"$top/begun"
read word <"$top/gate.fifo"
[ "\$word" != fail ] || { echo "the hook's own words"; exit 1; }
HOOK

ok($story->hub, 'a hub starts') or BAIL_OUT($story->log('hub'));
$story->pair('first');
my $dir = $story->agent_conf('here', services => 'service "odd" { probe = none  timeout = "40s" }');
Story::write_file("$dir/hooks/odd", $hook, 0755);
$story->import('first');
$story->enrol('here') or BAIL_OUT(Story::read_file("$top/join.log"));
$story->start_agent('here');
ok($story->until_state('here', 'unprobed'), 'its agent has the certificate');

sub release {
	my ($word) = @_;
	unlink "$top/begun";
	open my $fifo, '>', "$top/gate.fifo" or die $!;
	print $fifo "$word\n";
	close $fifo;
}

sub begun { $story->until('the reload', sub { -e "$top/begun" }) }

# Starts a command with its output in a file, on a terminal with script(1) around it. Returns its pid.
sub background {
	my ($file, $term, @words) = @_;
	unlink "$top/$file";
	my $command = "$Story::bin/certsync @words -c $top/hub.conf";
	local $ENV{TERM} = $term // 'dumb';
	my $pid = fork // die $!;
	return $pid if $pid;
	open STDIN, '<', '/dev/null' or die $!;
	if ($term) {
		open STDOUT, '>', '/dev/null' or die $!;
		# exec makes the command itself script's child, whatever shell runs it
		exec 'script', '-qefc', "exec $command", "$top/$file";
	}
	open STDOUT, '>', "$top/$file" or die $!;
	open STDERR, '>&', \*STDOUT or die $!;
	exec split ' ', $command;
	die $!;
}

sub ended {
	my ($pid) = @_;
	waitpid $pid, 0;
	return $? >> 8;
}

sub seen { Story::read_file("$top/$_[0]") }
sub shows { my ($file, $pattern) = @_; $story->until('it', sub { seen($file) =~ $pattern }) }

# ---- a push ----

Story::write_file("$top/slow", '');
my $pid = background('plain', undef, 'push', '--force');
ok(begun(), 'a forced push reloads');
ok(shows('plain', qr/^mail\.domain\.pl  here +activating$/m), 'without a terminal each change is a line, as it comes');
release('go');
is(ended($pid), 0, 'verified: exit 0');
unlike(seen('plain'), qr/\033/, 'nothing is drawn');
like(seen('plain'), qr/here +unprobed +1\.1 .* staged in \d+ ms, activated in \d+ ms/, 'the table at the end has the times of the steps');

$pid = background('terminal', 'xterm', 'push', '--force');
ok(begun(), 'again, on a terminal');
ok(shows('terminal', qr/activating +\d+\.\d s.*\033\[1A.*activating +[1-9]\d*\.\d s/s), 'the line is drawn anew, its seconds count');
release('go');
is(ended($pid), 0, 'exit 0');
like(seen('terminal'), qr/\033\[1A\r\033\[J.*here +unprobed/s, 'it makes room for the table');
$pid = background('dumb', 'dumb', 'push', '--force');
begun();
release('go');
ended($pid);
unlike(seen('dumb'), qr/\033/, 'a dumb terminal gets lines');

# ---- a failure ----

$pid = background('failing', undef, 'push', '--force');
ok(begun(), 'a push whose hook fails');
unlink "$top/slow"; # the reload that puts the old one back must go through
release('fail');
is(ended($pid), 3, 'a push that fails is exit 3');
like(seen('failing'), qr/failed at reload/, 'the step is named as it happens');
like(seen('failing'), qr/\| the hook's own words/, 'the hook is heard');
is(($story->certsync('push'))[0], 0, 'a push tries it again at once');

# ---- Ctrl-C ----

Story::write_file("$top/slow", '');
$pid = background('interrupted', undef, 'push', '--force');
ok(begun(), 'a push is under way');
kill 'INT', $pid;
is(ended($pid), 3, 'Ctrl-C: exit 3');
like(seen('interrupted'), qr/interrupted; at the hub it goes on: certsync status --watch/, 'it says that the rollout goes on');
is($story->state_of('here')->{state}, 'activating', 'after Ctrl-C the rollout is still under way');
release('go');
ok($story->until_state('here', 'unprobed'), 'to its end');
unlink "$top/slow";

# ---- status --watch ----

my $watch = background('watched', undef, 'status', '--watch');
my $screen = background('screen', 'xterm', 'status', '--watch');
ok(shows('watched', qr/here +unprobed/), 'status --watch begins with what is');
ok(shows('screen', qr/\033\[2J.*here +unprobed/s), 'on a terminal with a table');
my $before = () = seen('screen') =~ /\033\[H/g;
$story->pair('second', days => 25);
is(($story->import('second'))[0], 0, 'another revision arrives');
ok(shows('watched', qr/here +unprobed.*here +unprobed/s), 'it is a line');
ok(shows('screen', qr/revision 1\.2 .*here +unprobed +1\.2/s), 'the table is drawn anew with it');
cmp_ok(scalar(() = seen('screen') =~ /\033\[H/g), '>', $before, 'upon the change');
kill 'INT', $watch;
is(ended($watch), 0, 'Ctrl-C ends it: exit 0');
my $child;
open my $children, '<', "/proc/$screen/task/$screen/children" or die $!;
($child) = split ' ', <$children>;
kill 'INT', $child;
is(ended($screen), 0, 'on the terminal too');
is(($story->certsync('status', '--watch', '--json'))[0], 2, 'watching as JSON is wrong usage');

$story->ends_clean;
done_testing;
