# Runs stories (tests/crash/story.h) that are killed, fail, or lose their power at every point that can be counted.
package Crash;
use strict;
use warnings;
use Cwd qw(abs_path);
use Exporter qw(import);
use File::Copy qw(copy);
use File::Path qw(make_path remove_tree);
use File::Temp qw(tempdir);

our @EXPORT = qw(@stories $top $tools prepare calls first_of_kinds kill_at fail_at record chain power slurp);
our $tools = abs_path(($ENV{CERTSYNC_BIN} // 'build/bin') . '/../tests/crash');

# The disks are in memory, since thousands of them are made, and since the recorder needs a file system that gives no
# inode number out twice.
my $kind = `stat -f -c %T /dev/shm`;
die "/dev/shm must be a tmpfs, and is: $kind" unless $kind eq "tmpfs\n";
our $top = tempdir('certsync-crash.XXXXXX', DIR => '/dev/shm', CLEANUP => 1);

# Each story is named with those that must have gone before it.
our %before = ('hub-first' => [], 'hub-next' => ['hub-first'], 'hub-rollback' => ['hub-first'], 'hub-order' => ['hub-first'],
	'hub-epoch' => ['hub-first'], 'agent-join' => [], 'agent-first' => [], 'agent-next' => ['agent-first'],
	'agent-many' => ['agent-first'], 'agent-rollback' => ['agent-first', 'agent-next'], 'hub-join' => []);
our @stories = qw(hub-first hub-next hub-rollback hub-order hub-epoch hub-join agent-join agent-first agent-next agent-many
	agent-rollback);
our $administrator = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g admin@desk';

sub slurp {
	my ($path) = @_;
	open my $file, '<:raw', $path or return '';
	local $/;
	return <$file> // '';
}

sub spurt { my ($path, $text) = @_; open my $file, '>', $path or die "$path: $!"; print $file $text; close $file or die $! }

sub openssl {
	my (@words) = @_;
	system("openssl @words 2>>$top/openssl.log") == 0 or die "openssl @words: " . slurp("$top/openssl.log");
}

sub make_pairs {
	make_path("$top/pem", "$top/hooks");
	copy('/bin/true', "$top/hooks/one") or die $!;
	chmod 0755, "$top/hooks/one";
	my $new = '-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes';
	openssl("req -x509 $new -days 30 -subj '/CN=test CA' -keyout $top/pem/ca.key -out $top/pem/ca.pem");
	spurt("$top/ext", "subjectAltName=DNS:mail.domain.pl\nextendedKeyUsage=serverAuth\n");
	for my $i (1 .. 5, 9) {
		openssl("req $new -subj /CN=x -keyout $top/key -out $top/csr");
		openssl("x509 -req -in $top/csr -CA $top/pem/ca.pem -CAkey $top/pem/ca.key -CAcreateserial -days 20",
			"-extfile $top/ext -out $top/crt");
		spurt("$top/pem/$i.pem", slurp("$top/key") . slurp("$top/crt"));
	}
}
make_pairs();

our $limit = 120;

# Runs the command, with its standard output appended to the file `out` and its standard error in $top/err. Returns its
# exit status, 128 and more for a signal.
sub run {
	my ($out, @command) = @_;
	my $pid = fork // die $!;
	if ($pid == 0) {
		open STDOUT, '>>', $out or die $!;
		open STDERR, '>', "$top/err" or die $!;
		alarm $limit; # a command that hangs counts as failed, and a traced one dies with its tracer
		exec @command or die "$command[0]: $!";
	}
	waitpid $pid, 0;
	return $? & 127 ? 128 + ($? & 127) : $? >> 8;
}

sub reset_disk {
	my ($story) = @_;
	remove_tree("$top/disk");
	system('cp', '-a', "$top/base/$story", "$top/disk") == 0 or die 'cp';
	copy("$top/base/$story.said", "$top/said") or die $!;
}

# Makes the disk as the story finds it, and keeps it in base/.
sub prepare {
	my ($story) = @_;
	return if -d "$top/base/$story";
	make_path("$top/base");
	remove_tree("$top/disk");
	make_path($story =~ /^agent/ ? "$top/disk/own" : "$top/disk");
	spurt("$top/said", '');
	if ($story eq 'hub-join') {
		mkdir "$top/disk/gate";
		spurt("$top/disk/gate/authorized_keys", "$administrator\n");
	}
	for my $earlier (@{$before{$story}}) {
		run("$top/said", "$tools/story_tool", $top, $earlier) == 0 or die "$earlier: " . slurp("$top/err");
	}
	system('cp', '-a', "$top/disk", "$top/base/$story") == 0 or die 'cp';
	copy("$top/said", "$top/base/$story.said") or die $!;
}

# Returns how many system calls the story makes; with -m they are counted from the story's beginning, else from the
# program's.
sub calls {
	my ($story, @options) = @_;
	reset_disk($story);
	run("$top/said", "$tools/trace_tool", @options, '-c', "$top/count", 'count', '--', "$tools/story_tool", $top, $story) == 0
		or die "$story: " . slurp("$top/err");
	my ($count) = split ' ', slurp("$top/count");
	return $count;
}

# Returns, of the story whose calls were counted last, where each kind of call was met first.
sub first_of_kinds { my (undef, @lines) = split /\n/, slurp("$top/count"); return map { (split)[1] } @lines }

# Judges the disk after the story. Returns what is wrong with it, or the empty string.
sub afterwards {
	my $status = run("$top/wrong", "$tools/after_tool", $top, "$top/said");
	my $wrong = $status == 0 ? '' : slurp("$top/wrong") . slurp("$top/err") . "exit $status";
	unlink "$top/wrong";
	return $wrong;
}

sub kill_at {
	my ($story, $at) = @_;
	reset_disk($story);
	my $status = run("$top/said", "$tools/trace_tool", 'kill', $at, '--', "$tools/story_tool", $top, $story);
	# When the call was a hook's, only the hook is killed, so the story may have ended otherwise.
	return "exit $status: " . slurp("$top/err") unless $status == 137 || $status <= 1;
	return afterwards();
}

# At these calls (x86-64's numbers) a program ends at once by design, with SIGABRT: it got no memory (mmap, mremap) or
# no random numbers.
my %fatal = (9 => 1, 25 => 1, 318 => 1);
my $write = 1;

# Runs the story with its Nth call failing, once or for ever (`how`: fail or fail-from). It must end by itself, say why
# when it does not succeed, and lose nothing. Returns what is wrong, and whether it failed at all.
sub fail_at {
	my ($story, $how, $at, $error) = @_;
	reset_disk($story);
	my $status = run("$top/said", "$tools/trace_tool", '-m', '-c', "$top/count", $how, $at, $error, '--', "$tools/story_tool", $top,
		$story);
	my ($said, $err) = (slurp("$top/said"), slurp("$top/err"));
	my (undef, $call) = split ' ', slurp("$top/count");
	my $aborted = $status == 134 && $fatal{$call};
	my $mute = $call == $write;
	return ("exit $status: $err", 1) if $status > 1 && !$aborted && !($mute && $status == 3);
	return ("no word of why: $err", 1) if $status == 1 && !$mute && $err !~ /^$story: .{12}/m;
	return (afterwards(), $status != 0);
}

# Records all that the story does to the disk in a log for power(). With $kill_after it is killed after so many lines of
# it, and then started again.
sub record {
	my ($story, $kill_after) = @_;
	reset_disk($story);
	my $log = "$top/logs/$story" . ($kill_after ? ".$kill_after" : '') . '.log';
	make_path("$top/logs");
	unlink $log;
	copy("$top/said", "$log.said") or die $!;
	my @trace = ("$tools/trace_tool", $kill_after ? ('-k', $kill_after) : ());
	my $status = run("$top/said", @trace, 'record', "$top/disk", $log, '--', "$tools/story_tool", $top, $story);
	die "$story: exit $status: " . slurp("$top/err") if $status != ($kill_after ? 137 : 0) && $status != 0;
	return $log unless $kill_after;
	for my $next (qw(recover resume)) {
		$status = run("$top/said", "$tools/trace_tool", 'record', "$top/disk", $next eq 'recover' ? $log : "$log.next", '--',
			"$tools/story_tool", $top, $next);
		die "$story killed after $kill_after, $next: exit $status: " . slurp("$top/err") if $status != 0;
	}
	# What the resumption did belongs to the same stretch of the log as the recovery.
	my $resumed = slurp("$log.next");
	$resumed =~ s/\A.*?^B\n//ms;
	open my $file, '>>', $log or die $!;
	print $file $resumed;
	close $file or die $!;
	unlink "$log.next";
	return $log;
}

sub lines { my ($log) = @_; my $text = slurp($log); $text =~ s/\A.*^B\n//ms; return scalar(() = $text =~ /^[^KB]/mg) }

# Records logs of the story, killed after every $step-th thing that it does.
sub chain {
	my ($story, $step) = @_;
	my $lines = lines("$top/logs/$story.log");
	my @logs;
	for (my $at = 1 + int rand $step; $at < $lines; $at += $step) {
		push @logs, record($story, $at);
	}
	return @logs;
}

# Cuts the power in these logs at one of STRIDE moments. Returns how many states, resumptions and failures there were,
# and the text about them.
sub power {
	my ($seed, $samples, $resumed, $stride, @logs) = @_;
	unlink "$top/power";
	local $limit = 3600;
	my $status = run("$top/power", "$tools/power_tool", $top, $seed, $samples, $resumed, $stride, @logs);
	my $text = slurp("$top/power");
	my @figures = $text =~ /^(\d+) states (\d+) resumptions (\d+) failures$/m;
	return (@figures, $text) if @figures;
	return (0, 0, 1, "exit $status: $text" . slurp("$top/err"));
}

1;
