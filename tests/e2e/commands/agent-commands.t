#!/usr/bin/perl
# What `certsync-agent` says on the node: the status as text and as JSON when all is well, when a step has failed, when a person holds it,
# when nobody serves the port; pulls that end, that wait, that are cut short; and what the daemon makes of nonsense on its control socket.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib", "$FindBin::Bin/../../rogue";
use Agent;
use JSON::PP;
use Story;
use Test::More;

my $story = Story->new;
my $top = $story->top;
my $name = $Story::name;
my $port = Story::free_port();
my $hour = qr/\d{4}-\d\d-\d\dT\S+Z/;
my ($exit, $text);

sub agent { my (@words) = @_; my $output = `$Story::bin/certsync-agent @words -c $top/here/agent.conf 2>&1`; return ($? >> 8, $output) }
sub certificate { return (decode_json((agent('status', '--json'))[1]))->{certificates}[0] }
sub says {
	my ($what, $pattern, @words) = @_;
	my $said = '';
	my $good = ok($story->until($what, sub { ($exit, $said) = agent(@words); $said =~ $pattern }), $what);
	diag($said, $story->log('here')) if !$good;
	return $said;
}

sub serve {
	my ($file) = @_;
	$story->stop('server', 'KILL');
	$story->start('server', 'openssl', 's_server', '-quiet', '-accept', "127.0.0.1:$port", '-cert', "$top/$file.crt", '-key', "$top/$file.key");
	$story->until('server', sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) });
}

# The canary never comes, so that what is new is staged here and waits for it.
ok($story->hub(certificates => "certificate \"$name\" { canary = {\"mail\"} }\n", agents => ['here', 'mail']), 'a hub starts')
	or BAIL_OUT($story->log('hub'));
my %print = map { $_ => $story->pair($_) } 'first', 'second';
my $dir = $story->agent_conf('here', services => "service \"odd\" { probe = {\"127.0.0.1:$port/tls\"} }");
Story::write_file("$dir/hooks/odd", "#!/bin/sh\nexit 0\n", 0755);

# ---- nobody there, and wrong words ----

for my $words (['status'], ['status', '--json'], ['pull']) {
	($exit, $text) = agent(@$words);
	is($exit, 4, "@$words without a daemon");
	like($text, qr/the agent's daemon does not answer: .*control\.sock.*is certsync-agent-root running\?/, '  is told so');
}
for my $wait ('0', '3601', '1h', '-1', "''") {
	($exit, $text) = agent('pull', '--wait', $wait);
	is($exit, 2, "pull --wait $wait is refused");
	like($text, qr/--wait .*: a number of seconds from 1 to 3600 is needed/, '  with what is wanted');
}
Story::write_file("$top/wrong.conf", "hub = {\"nowhere\"}\n");
for my $command ('status', 'config', 'check') {
	$text = `$Story::bin/certsync-agent $command -c $top/wrong.conf 2>&1`;
	is($? >> 8, 2, "$command with a faulty agent.conf");
	like($text, qr/wrong\.conf:1: .*hub/, '  names the line');
}

# ---- all is well ----

$story->import('first');
serve('first');
$story->enrol('here') or BAIL_OUT(Story::read_file("$top/join.log"));
$story->start_agent('here');
ok($story->until_state('here', 'verified'), 'an agent has its certificate');
($exit, $text) = agent('status');
is($exit, 0, 'status exits with 0');
like($text, qr/^hub unix:\S+  connected since $hour, this agent is here$/m, '  says where the hub is and what this agent is called');
like($text, qr/^\Q$name\E  revision 1\.1  \S+  expires $hour\n  SHA-256 $print{first}$/m, '  what is installed');
like($text, qr/^  ENDPOINT +SERVICE +SHA-256 +RESULT\n  127\.0\.0\.1:$port\S* +odd +@{[substr $print{first}, 0, 16]} +serves it$/m, '  and who serves it') or diag($text);
($exit, $text) = agent('status', '--json');
my $all = decode_json($text);
is($all->{exit}, 0, 'the JSON has the exit code');
is($all->{hub}{state}, 'connected', '  the hub');
is($all->{certificates}[0]{fingerprint}, $print{first}, '  the certificate');
ok($all->{certificates}[0]{probes}[0]{match}, '  and that it is served');
($exit, $text) = agent('check');
is($exit, 0, 'check looks at the same port') or diag($text);
($exit, $text) = agent('pull');
is($exit, 0, 'pull has nothing to do, and ends');
like($text, qr/revision 1\.1/, '  with the status');
is((agent('pull', $name))[0], 0, 'pull of this certificate');
($exit, $text) = agent('pull', 'other.domain.pl');
is($exit, 2, 'pull of one that there is not');
like($text, qr/other\.domain\.pl is not in agent\.conf/, '  is told so');

# ---- wrong words for check ----

($exit, $text) = agent('check', '--at', '127.0.0.1');
is($exit, 2, 'check --at without a host is refused');
is((agent('check', '--timeout', 'soon', 'localhost'))[0], 2, 'so is a time that is none');
is((agent('check', "'a b'"))[0], 2, 'and a host that is none');
Story::write_file("$top/quiet.conf", Story::read_file("$dir/agent.conf") =~ s/probe = \{[^}]*\}/probe = none/r);
$text = `$Story::bin/certsync-agent check -c $top/quiet.conf 2>&1`;
is($? >> 8, 2, 'check with nothing to look at');
like($text, qr/nothing to check: no service of .*quiet\.conf has a probe; name a HOST/, '  says what to name');

# ---- at the barrier ----

my $control = "$dir/run/control.sock";
my $requests = sub { join '', map { Peer::message($_) } @_ };
my %pull = (command => 'pull', certificates => [], seconds => 60);

# Begins a pull and makes sure that it is waited for: two answers to others came later, so what was sent before them was
# read.
sub pulls {
	my $peer = Agent->new(socket => $control);
	$peer->say(\%pull);
	agent('status') for 1, 2;
	return $peer;
}
sub all_of { my ($peer) = @_; my ($heard, @all); push @all, $heard while ($heard = $peer->hear(20)) && !$heard->{closed}; return @all }

Story::write_file("$dir/hooks/odd", "#!/bin/sh\n[ \$1 = reload -a ! -e $top/failed ] || exit 0\ntouch $top/failed\necho the first line; echo a second one >&2\nexit 1\n", 0755);
$story->start('import', "$Story::bin/certsync", 'import', $name, '--key', "$top/second.key", '--chain', "$top/second.crt", '-c', "$top/hub.conf");
says('what is staged is shown', qr/revision 1\.1 .*  staged 1\.2$/m, 'status');
($exit, $text) = agent('pull', '--wait', 1);
is($exit, 3, 'a pull while it waits for the others ends in time');
like($text, qr/not finished in time: what is staged waits for the other agents/, '  and says what it waits for');
my @two = map { pulls() } 1, 2;
kill 'HUP', $story->{started}{here};
for (@two) {
	my @said = all_of($_);
	is($said[-1]{exit}, 1, 'a pull that waits while the configuration is read again ends');
	like($said[-1]{error}, qr/the agent reads its configuration again: try once more/, '  and says why');
}

# ---- a step fails ----

ok($story->until_state('here', 'staged'), 'it has staged it again') or diag($story->log('here'));
my $waiting = pulls();
$story->certsync('push', '--proceed');
my @said = all_of($waiting);
is($said[-1]{exit}, 1, 'a pull that waits for what then fails, fails');
my ($told) = grep { ($_->{what} // '') eq 'failed' } @said;
like($told->{text}, qr/hook odd reload: exited 1/, '  and has told of it') or diag(explain(\@said));
($exit, $text) = agent('status');
is($exit, 3, 'a failed step is not converged');
like($text, qr/^  $hour  revision 1\.2 failed at reload \(the old files are back\): \S.*\n      \| the first line\n      \| a second one$/m,
	'status tells the step, its text, its output, and that the old files are back') or diag($text);
like($text, qr/^\Q$name\E  revision 1\.1 /m, 'status names the revision of the old files');
my $failure = certificate()->{failure};
is("$failure->{step} $failure->{revision} $failure->{output}", "reload 1.2 the first line\na second one\n", 'the JSON has it too');
ok($failure->{rolled_back}, '  with the way back');

# ---- held ----

$story->certsync('hold', 'here', '--for', '1h');
says('a hold is shown', qr/^  held until $hour: nothing is put right here$/m, 'status');
like(certificate()->{held_until}, qr/^$hour$/, 'in the JSON as well');
$story->certsync('hold', 'here', '--end');
Story::write_file("$dir/hooks/odd", "#!/bin/sh\nexit 0\n", 0755);

# ---- a port that nobody serves ----

serve('second');
$story->certsync('push', '--force', '--proceed');
says('the service is mended, and it is verified', qr/revision 1\.2 .*serves it/s, 'status');
$story->stop('server', 'KILL');
$story->stop('here');
$story->start_agent('here');
my $unserved = says('a port that nobody serves is shown', qr/^  unverified  127\.0\.0\.1:$port\S* \(odd\): \S/m, 'status');
isnt($exit, 0, '  and is not converged');
unlike($unserved, qr/serves it/, '  nothing serves it');
like(certificate()->{unverified}, qr/127\.0\.0\.1:$port/, '  nor in the JSON');

# ---- nonsense at the control socket ----

# Returns the last answer to these bytes, and whether the connection ended then.
sub answer_to {
	my ($bytes) = @_;
	my $peer = Agent->new(socket => $control);
	$peer->raw($bytes);
	my ($last, $heard);
	$last = $heard while ($heard = $peer->hear(10)) && !$heard->{closed};
	return ($last // {}, $heard && $heard->{closed});
}
for (['no JSON', $requests->('status'), qr/not an object|JSON/], ['a list', $requests->('["status"]'), qr/not an object/],
	['no command', $requests->({}), qr/command/], ['a number for a command', $requests->({command => 7}), qr/command/],
	['a command of a thousand letters', $requests->({command => 'x' x 1000}), qr/command/],
	['an unknown command', $requests->({command => 'reboot'}), qr/does not know this command: was it upgraded without a restart\?/],
	['a pull of no list', $requests->({%pull, certificates => $name}), qr/certificates/],
	['a pull of numbers', $requests->({%pull, certificates => [7]}), qr/\S/],
	['a pull of too many', $requests->({%pull, certificates => [($name) x 1000]}), qr/certificates/],
	['a pull without a time', $requests->({command => 'pull', certificates => []}), qr/seconds/],
	['a pull for minus one second', $requests->({%pull, seconds => -1}), qr/seconds/],
	['a second request while the first waits', $requests->(\%pull, \%pull), qr/one request a connection/]) {
	my ($what, $bytes, $wanted) = @$_;
	my ($answer, $closed) = answer_to($bytes);
	is($answer->{exit}, 2, "$what: refused");
	like($answer->{error}, $wanted, "$what: with the reason");
	ok($closed, "$what: and the connection ends");
}
for (['a request of more than 64 KiB', pack('NC', 65538, 1)], ['a frame of 4 GiB', pack('NC', 0xffffffff, 1)], ['files', Peer::frame(3, 'x')],
	['no frame', "GET / HTTP/1.1\r\n\r\n"]) {
	my ($answer, $closed) = answer_to($_->[1]);
	ok($closed && !%$answer, "$_->[0]: the connection ends");
}
my @idle = map { Agent->new(socket => $control) } 1 .. 16;
($exit, $text) = agent('status');
is($exit, 4, 'too many at once: the next is refused');
like($text, qr/too many commands of this user ask this agent at once/, '  and told why');
@idle = ();
says('the daemon lives on', qr/^\Q$name\E  revision 1\.2 /m, 'status');
is(scalar(() = $story->log('here') =~ /event=hub-connected/g), 3, 'and has kept its hub: it came at two starts and when the configuration was read')
	or diag($story->log('here'));

# ---- a hub that does not answer ----

my $daemon = $story->child('hub', qr/certsync\0hub\0/);
kill 'STOP', $daemon;
($exit, $text) = agent('pull', '--wait', 1);
kill 'CONT', $daemon;
is($exit, 4, 'a pull from a hub that does not answer ends in time');
like($text, qr/the hub has not answered in time: see `certsync-agent status`/, '  and says so');
$story->stop('hub');
says('a hub that has gone is shown, with the next try', qr/^hub \S+  waiting since $hour.*\n  $hour  \S.*\n  next try $hour; `certsync-agent pull` tries at once$/m, 'status');
isnt($exit, 0, '  and is not all right');
($exit, $text) = agent('pull');
is($exit, 4, 'a pull tries at once');
like($text, qr/^connecting to the hub\n/m, '  says so') or diag($text);
like($text, qr/control\.sock|local\.sock|refused|No such file/, '  and why it failed');

$story->ends_clean;
done_testing;
