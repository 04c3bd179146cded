#!/usr/bin/perl
# Where a key is, and where it never is: in the middle of a renewal and after it, the memory of everything between
# certsync-keys and an agent's root half, the hub's daemon included, and every file are searched for it. A reader that
# never tires finds no file readable that has one, and a process that is killed by a fault leaves no core.
# Not under valgrind: it searches the memory of processes, and it is valgrind that has it.
# Not with a sanitizer: what a process has is searched, and a sanitizer reserves terabytes.
use strict;
use warnings;
no warnings 'portable'; # addresses are 64 bits wide
use Fcntl;
use File::Find;
use File::Path qw(make_path);
use FindBin;
use lib "$FindBin::Bin/../lib";
use IO::Socket::UNIX;
use MIME::Base64;
use POSIX ();
use Separate;
use Test::More;

Separate->enter;
my $story = Separate->new;
my $top = $story->top;

# ---- what to look for ----

# Returns what to look for: the secret number of a P-256 key as OpenSSL keeps it, either way round, and in both of PEM's
# forms; and each in halves, since what was left may be cut.
sub needles {
	my ($file) = @_;
	my ($hex) = `openssl pkey -in $top/$file.key -noout -text` =~ /priv:\s*([0-9a-f:\s]+?)pub:/;
	my $number = substr pack('H*', ('0' x 64) . $hex =~ s/[^0-9a-f]//gr), -32;
	my @found = map { (substr($_, 0, 16), substr($_, 16)) } $number, scalar reverse $number;
	for my $form ('pkcs8 -topk8 -nocrypt', 'ec') {
		my $der = `openssl $form -in $top/$file.key -outform DER 2>>$top/openssl.log`;
		my $at = index $der, $number;
		die "$file: no number in $form" if $at < 0;
		# The base64 is of whole groups of three bytes, without the line breaks that could be anywhere.
		my $from = $at + (-$at % 3);
		push @found, map { encode_base64(substr($der, $from + $_, 9), '') } 0, 12;
	}
	return @found;
}

# Returns how many of these are in the memory of a process, or undef when it has gone.
sub found_in {
	my ($pid, @needles) = @_;
	my %found;
	open my $memory, '<:raw', "/proc/$pid/mem" or return undef;
	for (split /\n/, Story::read_file("/proc/$pid/maps")) {
		my ($from, $to) = /^([0-9a-f]+)-([0-9a-f]+) rw/ or next;
		sysseek $memory, hex $from, 0;
		sysread($memory, my $bytes, hex($to) - hex $from) or next;
		for my $needle (@needles) { $found{$needle} = 1 if index($bytes, $needle) >= 0 }
	}
	return scalar keys %found;
}

# Returns which processes hold a key, of those that may hold none, and which were looked at.
sub holders {
	my (@needles) = @_;
	my (@holders, %seen);
	my %running = $story->processes;
	for my $pid (sort { $a <=> $b } keys %running) {
		next if $running{$pid} =~ /^(certsync-keys|certsync-agent-root)$/;
		my $found = found_in($pid, @needles) // next;
		$seen{$running{$pid}} = 1;
		push @holders, "$running{$pid}: $found" if $found;
	}
	return (\@holders, join ' ', sort keys %seen);
}
my $between = 'certsync-agent certsync-gate certsync-hub-root certsync-link certsync-worker hub sshd';

# ---- everything at work, with a hook that waits to be let on ----

make_path("$top/cwd");
chdir "$top/cwd" or die $!;
chmod 0777, "$top/cwd";
my @trace = ('prlimit', '--core=unlimited', split ' ', 'strace -f -qq -v -y -s 65536 --seccomp-bpf -e trace=openat,execve,fchmod,fchmodat,chmod -o');
my %key = map { ($_ => [$story->pair($_, days => $_ eq 'first' ? 20 : 25)]) } qw(first second);
my @first = needles('first');
my @second = needles('second');
my $holder = $story->start('holder', $^X, '-e', 'local $/; open F, "<", shift; my $k = <F>; sleep 1000', "$top/second.key");
ok($story->until('holder', sub { found_in($holder, @second) }), 'a process that holds the key is found');
$story->stop('holder', 'KILL');

my $started = $story->up(before => {hub => [@trace, "$top/hub.trace"], mail => [@trace, "$top/mail.trace"], here => ['prlimit', '--core=unlimited']});
ok($started, 'hub and agents are up') or diag(map { $story->log($_) } qw(hub here mail));
Story::write_file("$top/mail/hooks/nothing", <<"HOOK", 0755);
#!/bin/sh
[ ! -p "$top/wait-\$1" ] || { : >"$top/at-\$1"; read x <"$top/wait-\$1"; }
HOOK

# This runs as nobody, and reads again and again each file below these directories that can be read, looking for a key.
Story::write_file("$top/reader", <<'READER');
use File::Find;
$SIG{TERM} = sub { print "tries=$tries files=" . keys(%seen) . " readable=@{[sort keys %read]}\n"; exit 0 };
$| = 1;
while (1) {
	find({no_chdir => 1, wanted => sub {
		return if -d $_;
		$tries++;
		$seen{$_} = 1;
		open my $file, '<', $_ or return;
		local $/;
		$read{$_} = 1 if <$file> =~ /PRIVATE KEY/;
	}}, grep { -e } @ARGV);
}
READER
$story->start('reader', 'setpriv', '--reuid', 'nobody', '--regid', 'nogroup', '--clear-groups', $^X, "$top/reader",
	map({ "$top/$_" } 'mail/etc', 'here/etc', 'hub', 'hub-keys', 'mail/root', 'mail/state'), '/run/certsync-hub', '/run/certsync-hub-keys');

$story->import('first');
ok($story->until_state($_, 'unprobed'), "$_ has a first certificate") for qw(here mail);
for my $verb (qw(test reload)) { POSIX::mkfifo("$top/wait-$verb", 0600) or die $! }
$story->start('import', "$Story::bin/certsync", 'import', $Story::name, '--key', "$top/second.key", '--chain', "$top/second.crt",
	'-c', "$top/hub.conf"); # waits until all agents are done
for my $verb (qw(test reload)) {
	ok($story->until($verb, sub { -e "$top/at-$verb" }), "the renewal waits in mail's $verb");
	my ($holders, $seen) = holders(@second, @first);
	is_deeply($holders, [], '  nobody but certsync-keys and the root half that installs it has a key in memory');
	is($seen, $between, '  and all of them were looked at');
	rename "$top/wait-$verb", "$top/pass-$verb";
	sysopen(my $pass, "$top/pass-$verb", O_WRONLY | O_NONBLOCK) or BAIL_OUT('the hook no longer waits');
	syswrite $pass, "\n";
}
ok($story->until_state($_, 'unprobed'), "$_ has the renewal") for qw(here mail);
my ($holders, $seen) = holders(@second, @first);
is_deeply($holders, [], 'no process holds a key after the renewal');
is($seen, $between, 'all of them were looked at');
my %running = $story->processes;
for my $pid (grep { $running{$_} =~ /^(certsync-keys|certsync-agent-root)$/ } keys %running) {
	note("$running{$pid}, which may hold keys, has " . found_in($pid, @second) . ' of ' . scalar(@second) . ' traces of it');
}

# ---- who can open what ----

chomp(my @kept = `find $top/hub-keys -type f -size +0`);
cmp_ok(scalar @kept, '>', 2, 'the hub keeps the keys of two revisions and one to sign with');
for my $user (qw(certsync-hub certsync-worker certsync-agent certsync-gate nobody)) {
	is_deeply($story->as($user, sub { [grep { open my $file, '<', $_ } @kept] }), [], "$user can open none of them");
	is_deeply($story->as($user, sub { [grep { -w || IO::Socket::UNIX->new(Type => IO::Socket::SOCK_SEQPACKET(), Peer => $_) } '/run/certsync-hub-keys/keys.sock'] }), [],
		'  nor be where commands bring keys, or reach it');
	is_deeply($story->as($user, sub { [grep { rename $_, "$_.mine" } '/run/certsync-hub-keys/keys.sock', "$top/hub-keys/leaf"] }), [], '  nor put another in its place');
}
is_deeply($story->as('certsync-keys', sub { [grep { open my $file, '<', $_ } @kept] }), \@kept, 'certsync-keys can open the keys that are kept');
is(`grep -rl 'PRIVATE KEY' $top/hub`, '', 'in the store of the daemon there is none');

# ---- never readable, from birth ----

$story->stop('reader');
my ($tries, $files, $readable) = $story->log('reader') =~ /^tries=(\d+) files=(\d+) readable=(.*)$/m;
cmp_ok($tries // 0, '>', 1000, "nobody tried to read: @{[$tries // 0]} times, @{[$files // 0]} files");
is($readable, '', 'and never got a key');
for my $name (qw(hub mail)) {
	my $trace = Story::read_file("$top/$name.trace");
	my @born = $trace =~ /^\d+ +(openat\([^\n]*O_CREAT[^\n]*)/gm;
	cmp_ok(scalar(grep { /(privkey|combined|\.pem|\.key|certsync-)/ } @born), '>', 5, "$name: files with keys are born before our eyes");
	my @wide = grep { !/, 0[0-6]00(\)| <unfinished)/ } @born; # but the hook's own
	@wide = grep { !m{"$top/at-} } @wide;
	@wide = grep { !m{"\Q$ENV{CERTSYNC_COUNTERS}\E/} } @wide if $ENV{CERTSYNC_COUNTERS}; # for make coverage
	is_deeply(\@wide, [], "$name: every file is born for its owner alone");
	my @wider = grep { /(privkey|combined|haproxy|\.key|id_ed25519)/ && !/, 0?[0-6]00(\)| <unfinished)/ } $trace =~ /^\d+ +(f?chmod\w*\([^\n]*)/gm;
	is_deeply(\@wider, [], "$name: and no key is opened to others later");
}

# ---- limits, cores ----

%running = $story->processes;
for my $pid (grep { $running{$_} =~ /^(hub|certsync)/ } sort keys %running) {
	my $limits = Story::read_file("/proc/$pid/limits");
	my $guarded = $limits =~ /^Max core file size\s+0\s+0\s/m && (stat "/proc/$pid/environ")[4] == 0;
	ok($guarded, "$running{$pid}: no core, not dumpable") or diag($limits);
}
system('prlimit', '--core=unlimited', 'sh', '-c', 'kill -SEGV $$');
my $makes_cores = () = glob("$top/cwd/*core*");
unlink glob("$top/cwd/*core*");
note('this kernel writes cores elsewhere: ' . Story::read_file('/proc/sys/kernel/core_pattern')) if !$makes_cores;
kill 'SEGV', grep { $running{$_} =~ /^(hub|certsync)/ && $running{$_} !~ /-root$/ } keys %running;
ok($story->until('again', sub { my %now = $story->processes; (grep { $_ eq 'certsync-link' && 1 } values %now) && !grep { $running{$_} && $running{$_} eq 'hub' } keys %now }),
	'killed by a fault, the daemons are started again');
kill 'SEGV', grep { $running{$_} =~ /-root$/ } keys %running;
ok($story->until('end', sub { my %now = $story->processes; !grep { $running{$_} && $running{$_} =~ /-root$/ } keys %now }), 'and the root halves killed too');
is_deeply([glob("$top/cwd/* /core* /mnt/core*")], [], 'no core is left');

# ---- files, arguments, environments ----

my (%holds, $looked);
find({no_chdir => 1, wanted => sub {
	return if !-f $_ || -l $_;
	my $text = Story::read_file($_);
	$looked++;
	$holds{$_} = 1 if grep { index($text, $_) >= 0 } @first, @second;
}}, '/mnt/tmp', '/run', '/mnt/var', '/mnt/etc');
my @allowed = grep { m{^\Q$top\E/(first|second)\.key$} || m{^\Q$top\E/(hub-keys/leaf|mail/etc/archive|here/etc/archive)/} } keys %holds;
cmp_ok(scalar @allowed, '>', 10, 'keys are where they should be');
my %allowed = map { ($_ => 1) } @allowed;
is_deeply([grep { !$allowed{$_} } sort keys %holds], [], "and in none of $looked files else: no log, no trace of arguments and environments");
is_deeply([grep { ((stat $_)[2] & 0777) != 0600 && !/\.key$/ } sort @allowed], [], 'each with mode 0600');

chdir '/';
done_testing;
