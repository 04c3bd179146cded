#!/usr/bin/perl
# Each command's help, and what bash, zsh and fish complete, come from one table, and the documents use only what it
# has. Names of certificates and agents come from the daemon when it answers at once, and are not waited for when it
# does not.
use strict;
use warnings;
use Encode qw(decode);
use FindBin;
use lib "$FindBin::Bin/../lib";
use Story;
use Test::More;
use Time::HiRes qw(time);

my $bin = $Story::bin;
my $completions = "$FindBin::Bin/../../../completions";
my $name = $Story::name;
$ENV{PATH} = "$bin:$ENV{PATH}";
delete $ENV{XDG_CONFIG_HOME};

sub output_of {
	my (@command) = @_;
	open my $from, '-|', @command or die "$command[0]: $!";
	local $/;
	my $text = <$from> // '';
	close $from;
	return $text;
}

# Returns what may come behind these words, without explanations.
sub candidates {
	my ($program, @words) = @_;
	return map { s/\t.*//r } split /\n/, output_of('sh', '-c', 'exec "$@" 2>&1', 'sh', "$bin/$program", 'complete', '--', @words);
}

# ---- help, and the table behind it ----

for my $program ('certsync', 'certsync-agent') {
	my $help = output_of("$bin/$program", '--help');
	is(output_of("$bin/$program", 'help'), $help, "$program: help and --help say the same");
	my ($list) = $help =~ /^usage:.*?\n\n(.*?)\n\n/ms;
	my @commands = map { /^  ([a-z]+(?: [a-z]+)?)(?= |$)(?:  | [A-Z\[]|$)/ ? $1 : /^  ([a-z]+)/ } split /\n/, $list;
	my %column = map { decode('UTF-8', $_) =~ /^( +\S.*?  +)\S/ ? (length $1 => 1) : () } split /\n/, $list;
	is(scalar keys %column, 1, "$program: what each command does begins in one column, where an ellipsis is one character");
	my %first = map { (split / /)[0] => 1 } @commands;
	is_deeply([sort(candidates($program, ''))], [sort keys %first], "$program: each command of the help is a candidate, and nothing else is");
	my (@wrong, @bare);
	for my $command (@commands) {
		my @words = split / /, $command;
		my $text = output_of("$bin/$program", @words, '--help');
		push @bare, $command if $text !~ /^usage: $program \Q$command\E \[OPTIONS\].*\n\n.+\.\n\n/;
		my @options = $text =~ /^    (-[a-z-]+)/mg;
		push @wrong, $command if "@{[sort @options, '--help']}" ne "@{[sort(candidates($program, @words, '-'))]}";
		push @wrong, "$command (second word)" if @words > 1 && !grep { $_ eq $words[1] } candidates($program, $words[0], '');
	}
	is("@bare", '', "$program: each command has a help of its own");
	is("@wrong", '', "$program: the options of each command's help are its candidates");
}

# ---- what the documents tell to type ----

# An option that does not exist has a command parsed to its end and not run, so any other complaint is about the
# document's words.
my $documents = "$FindBin::Bin/../../../examples";
for my $document ('MIGRATION.md', 'LOST-HUB.md') {
	my $text = Story::read_file("$documents/$document");
	my @commands = map { split / \| / } $text =~ /(?:^ {4,}\w+[#\$] |`)(certsync(?:-agent)? [^`\n]*)/mg;
	my @wrong;
	for my $command (grep { /^certsync/ } @commands) {
		my ($program, @words) = split / +/, $command =~ s/\s+#.*//r;
		my $said = output_of('sh', '-c', 'exec "$@" 2>&1', 'sh', "$bin/$program", @words, '--no-such-option');
		push @wrong, "$command: $said" if $said !~ /unknown option --no-such-option/;
	}
	cmp_ok(scalar @commands, '>=', 6, "$document has commands");
	is("@wrong", '', 'each of them is one of ours, with options that it has');
	my @missing = grep { !-e "$documents/$_" } $text =~ m{`((?:nodes|relay|deploy-hooks)/[^` ]*|[a-zA-Z-]+\.(?:md|conf))`}g;
	is_deeply([grep { !/^(agent|hub)\.conf$/ } @missing], [], 'and the files that it speaks of are there');
}

# ---- names ----

my $story = Story->new;
my $top = $story->top;
ok($story->hub(agents => ['here', 'backup1-']), 'a hub runs');
my @conf = ('-c', "$top/hub.conf");
is_deeply([candidates('certsync', 'push', @conf, '')], [$name], 'push completes certificates');
is_deeply([candidates('certsync', 'push', @conf, '--agent', '')], ['here'], 'push --agent completes agents');
is_deeply([candidates('certsync', 'push', @conf, '--agent', '=', 'he')], ['here'], 'also behind =, as bash cuts it');
is_deeply([candidates('certsync', 'hold', @conf, '')], ['here'], 'hold completes agents first');
is_deeply([candidates('certsync', 'hold', @conf, 'here', 'm')], [$name], 'hold completes certificates behind an agent');
is_deeply([candidates('certsync', 'history', @conf, $name, '')], ['--json', '-c', '--help'], 'where no argument may come: options');
is_deeply([candidates('certsync', 'import', $name, '--key', '')], [':files'], 'a file is left to the shell');
is_deeply([candidates('certsync', 'status', @conf, '--', '--')], [], 'behind -- there are no options');
$story->agent('here');
ok($story->until('agent', sub { -S "$top/here/run/control.sock" }), 'an agent runs');
is_deeply([candidates('certsync-agent', 'pull', '-c', "$top/here/agent.conf", '')], [$name], 'its certificates are completed too');

# ---- the log ----

my $pair = qr/[a-z_]+=(?:"[^"]*"|[^\s"=]+)/;
sub strange_lines {
	my ($begin, @logs) = @_;
	return grep { !/^${begin}program=[a-z-]+ event=[a-z-]+(?: $pair)*$/ } map { split /\n/, $story->log($_) } @logs;
}
$story->pair('first');
$story->import('first');
ok($story->until_state('here', 'unprobed'), 'a certificate is served');
is_deeply([strange_lines(qr/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ /, 'hub', 'here')], [], 'each line is a time, and then pairs');
my $change = qr/program=certsync-hub event=rollout certificate=\Q$name\E revision=1\.1 agent=here/;
is_deeply([map { /^\S+Z $change state=(\w+) step=\1 stage_ms=\d+ activate_ms=\d+ / ? $1 : () } split /\n/, $story->log('hub')],
	[qw(offered activating installed unprobed)], 'each change of state is one line: certificate, revision, agent, step, time');
$story->stop('hub');
Story::write_file("$top/hub.log", '');
my ($device, $inode) = stat "$top/hub.log";
{
	local $ENV{JOURNAL_STREAM} = "$device:$inode";
	ok($story->hub(agents => ['here', 'backup1-']), 'a hub whose standard error is the journal');
}
is_deeply([strange_lines(qr/<[3-6]>/, 'hub')], [], 'there each line begins with its level');
like($story->log('hub'), qr/^<5>program=certsync-hub event=started /m, 'the daemon logs for the journal, too');

# ---- the shells ----

# Types at a shell on a terminal of its own until the pattern is seen. Returns what it has shown, without colours.
sub typed {
	my ($shell, $setup, $keys, $pattern) = @_;
	my $script = q{
import fcntl, os, pty, re, select, struct, sys, termios, time
shell, setup, keys, pattern = sys.argv[1:]
pid, terminal = pty.fork()
if pid == 0:
    os.execvpe(shell.split()[0], shell.split(), dict(os.environ, PS1='@@', TERM='xterm'))
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 300, 0, 0))
def until(wanted):
    seen, deadline = '', time.time() + 10
    while wanted not in seen and select.select([terminal], [], [], max(0, deadline - time.time()))[0]:
        seen = re.sub(r'\x1b\[[?0-9;]*[A-Za-z]|[\x00-\x09\x0b-\x1f]', '', seen + os.read(terminal, 4096).decode())
    return seen
until('@@')
os.write(terminal, (setup + '\n').encode())
until('@@')
os.write(terminal, keys.encode())
print(until(pattern))
os.kill(pid, 9)
};
	return output_of('/usr/bin/python3', '-c', $script, $shell, $setup, $keys, $pattern);
}

# Returns what a command shows on a terminal until the pattern is seen.
sub terminal {
	my ($command, $pattern) = @_;
	return typed('bash --norc --noprofile -i', ':', "$command\r", $pattern);
}

my %shell = (
	bash => ['bash --norc --noprofile -i', "bind 'set bell-style none'; source $completions/certsync.bash"],
	zsh => ['zsh -f -i', "fpath=($completions \$fpath); autoload -U compinit; compinit -u -d $top/zcompdump"],
);
$ENV{HOME} = $top;
for my $shell (sort keys %shell) {
	my ($start, $setup) = @{$shell{$shell}};
	like(typed($start, $setup, "certsync push --pro\t", '--proceed'), qr/push --proceed/, "$shell completes an option");
	like(typed($start, $setup, "certsync acc\troll\t", 'rollover'), qr/rollover/, "$shell completes a command of two words");
	like(typed($start, $setup, "certsync history -c $top/hub.conf mail\t", $name), qr/\Q$name\E/, "$shell completes a certificate");
	like(typed($start, $setup, "certsync import x --key $top/ca.p\t", 'ca.pem'), qr/ca\.pem/, "$shell completes a file");
	like(typed($start, $setup, "certsync-agent pull --w\t", '--wait'), qr/pull --wait/, "$shell completes certsync-agent");
}

sub fish {
	my ($line) = @_;
	return split /\n/, output_of('timeout', '20', 'fish', '--no-config', '-c', "source $completions/certsync.fish; complete -C '$line'");
}
is_deeply([fish('certsync push --pro')], ["--proceed\tgo on without agents that failed, and without waiting for a window"],
	'fish completes an option, and says what it does');
is_deeply([map { s/\t.*//r } fish('certsync account ')], [qw(deactivate rollover show)], 'fish completes a command of two words');
is_deeply([fish("certsync history -c $top/hub.conf m")], ["$name\tcertificate"], 'fish completes a certificate');
is_deeply([fish("certsync import x --key $top/ca.p")], ["$top/ca.pem"], 'fish completes a file');
is_deeply([map { s/\t.*//r } fish('certsync-agent pull --w')], ['--wait'], 'fish completes certsync-agent');

# ---- a daemon that does not answer ----

my $daemon = $story->child('hub', qr/certsync\0hub/);
kill 'STOP', $daemon;
my $began = time;
is_deeply([candidates('certsync', 'push', @conf, '')], [], 'a hub that does not answer has no names');
cmp_ok(time - $began, '<', 5, 'and is not waited for');
like(terminal("$bin/certsync status @conf", 'waiting for the hub, 2 s'), qr/waiting for the hub, 1 s.*waiting for the hub, 2 s/s,
	'a command that waits longer than a second says so on a terminal');
is(output_of('sh', '-c', "timeout 1.5 $bin/certsync status @conf 2>&1"), '', 'and nowhere else');
unlike(terminal("TERM=dumb timeout 1.5 $bin/certsync status @conf; echo en''ded", 'ended'), qr/waiting/, 'nor on a terminal that cannot be drawn on');
kill 'CONT', $daemon;
$story->ends_clean;

done_testing;
