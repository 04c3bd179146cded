#!/usr/bin/perl
# Agents that mean ill (tests/rogue/Agent.pm) at a real hub, beside one that means well: each row is one wickedness and
# the word by which the hub names it. No rogue gets what is not its own, moves or stops what is another's, or is felt by
# others.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib", "$FindBin::Bin/../../rogue";
use Agent;
use JSON::PP;
use POSIX ();
use Story;
use Test::More;
use Time::HiRes qw(time sleep);

my $story = Story->new;
my $top = $story->top;
my ($true, $false) = (JSON::PP::true, JSON::PP::false);
my $foreign = 'other.domain.pl';
my $shared = 'shared.domain.pl';
my $count = 0;
my ($exit, $text);

# There is a certificate of all, which each agent takes on its own, one that is the victim's alone, and one that three
# begin to serve together.
my $conf = "certificate \"$Story::name\" { rollout = \"immediate\" }\ncertificate \"$foreign\" {}\nagent \"victim\" { certificates = {\"$foreign\"} }\n"
	. "certificate \"$shared\" { rollout = \"together\" }\n" . join '', map { "agent \"$_\" { certificates = {\"$shared\"} }\n" } qw(ready slow liar);
my $first = $story->pair('first');
ok($story->hub(certificates => $conf, agents => ['here', 'mail', 'thief-', 'new']), 'a hub starts') or BAIL_OUT($story->log('hub'));
$story->import('first');
$story->agent('here');
ok($story->until_state('here', 'unprobed'), 'an agent that means well has its certificate') or BAIL_OUT($story->log('here'));

my %word = map { $_ => $story->let_in($_) } qw(mail thief victim ready slow liar);
sub come { my ($prefix, %more) = @_; return Agent->new(socket => "$top/hub.run/gate.sock", prefix => $word{$prefix} // $prefix, %more) }

# Returns what the hub has written to its log since the last call.
my $mark = 0;
sub since { return substr $story->log('hub'), $mark }
sub mark { $mark = length $story->log('hub') }

sub named {
	my ($what, $wanted) = @_;
	$count++;
	ok($story->until($what, sub { since() =~ $wanted }, 5), "$what: named") or diag(since());
}

# ---- who it says that it is ----

for (['no name', '', qr/sent no agent's name/], ['a name that is too long', 'a' x 200, qr/sent no agent's name/], ['a path', '../mail', qr/outside the alphabet/],
	['capitals', 'MAIL', qr/outside the alphabet/], ['a NUL in it', "mail\0x", qr/outside the alphabet/], ['a line\'s end', "mail\nx", qr/outside the alphabet/],
	['one that nobody configured', 'nobody', qr/no section agent .nobody/], ['a use that there is not', 'next:mail:AAAA', qr/outside the alphabet/],
	['a name without a key', 'mail:', qr/outside the alphabet/], ['a key outside of its alphabet', 'mail:../../etc', qr/outside the alphabet/],
	['a key that is too long', 'mail:' . 'A' x 33, qr/outside the alphabet/], ['a key that it does not have', 'mail:' . 'A' x 32, qr/what=old-key/],
	['another\'s key', "thief:@{[$word{mail} =~ s/.*://r]}", qr/what=old-key/],
	['to join as another', 'join:../mail', qr/outside the alphabet/]) {
	my ($what, $prefix, $wanted) = @$_;
	mark();
	my $agent = come($prefix);
	named("name: $what", $wanted);
	is(($agent->last_words)[-1]{type}, 'closed', "name: $what: shown the door");
}

# ---- frames and messages, before and after hello ----

my $hello = Peer::message({type => 'hello', protocol => 2, version => 'x', instance => '0' x 32, clock => 1, count => 0});
sub changed { my ($from, $to) = @_; my $text = substr $hello, 5; $text =~ s/$from/$to/ or die "$from"; return Peer::message($text) }
my $fetch = encode_json({type => 'fetch', certificate => $foreign, revision => '1.1', attempt => 1});
sub fetch_with { my ($from, $to) = @_; my $text = $fetch; $text =~ s/$from/$to/ or die "$from"; return $hello . Peer::message($text) }
my $probe = {endpoint => '127.0.0.1:25', service => 'x', served => $true, match => $true, stopped => $false, fingerprint => '', text => '', milliseconds => 1};
my @frames = (
	['a frame of 4 GiB', pack('NC', 0xffffffff, 1), qr/frame-length/],
	['a frame of nothing', pack('NC', 0, 1), qr/frame-length/],
	['a message of more than 64 KiB', pack('NC', 65538, 1), qr/frame-length/],
	(map { ["a frame of type $_", Peer::frame($_, 'x'), qr/frame-type/] } 0, 3, 4, 5, 9, 255),
	['a bundle', $hello . Peer::frame(2, 'x' x 1000), qr/sends no bundles/],
	['a bundle of 4 GiB', $hello . pack('NC', 0xfffffff0, 2), qr/frame-length/],
	['HTTP', "GET / HTTP/1.1\r\nHost: x\r\n\r\n", qr/frame-type/],
	['SSH', "SSH-2.0-x\r\n", qr/frame-type/],
	['HTML', Peer::message('<html>'), qr/not an object/],
	['nothing', Peer::message(''), qr/refused/],
	['thirty thousand brackets', Peer::message('{"type":"ping","x":' . '[' x 30000 . ']' x 30000 . '}'), qr/deep|nest/],
	['a member twice', changed('"count":0', '"count":0,"count":1'), qr/count/],
	['a member twice, in capitals', changed('"count":0', '"count":0,"COUNT":1'), qr/refused/],
	['a NUL', changed('"x"', '"x\\u0000"'), qr/refused/],
	['bytes behind the object', changed('$', ' {}'), qr/refused/],
	['an instance of 31 digits', changed('0{32}', '0' x 31), qr/instance/],
	['an instance that is none', changed('0{32}', 'g' x 32), qr/instance/],
	['a clock of 2^60', changed('"clock":1', '"clock":1152921504606846976'), qr/clock/],
	['2^31 inventories', changed('"count":0', '"count":2147483648'), qr/count/],
	['inventories below zero', changed('"count":0', '"count":-1'), qr/count/],
	['protocol 0', changed('"protocol":2', '"protocol":0'), qr/protocol 0 is not spoken/],
	['hello twice', $hello . $hello, qr/hello came twice/],
	['an inventory that was not announced', $hello . Peer::message(Agent::inventory($Story::name)), qr/more inventories than hello announced/],
	(map { ["$_ before hello", Peer::message(Agent::verdict($_, $Story::name, '1.1', 1)), qr/$_ came before hello/] } qw(fetch staged installed verified failed probed pull)),
	['a ping before hello', Peer::message({type => 'ping'}), qr/ping came before hello/],
	(map { ["a hub's own $_", $hello . Peer::message({%{Agent::verdict($_, $Story::name, '1.1', 1)}, digest => '', not_before => 0, not_after => 0, names => [],
		may_expire_sooner => $false, rollback => $false, force => $false, timeout => 1, seconds => 1, protocol => 2, version => '', name => 'x', clock => 1}),
		qr/a hub does not take $_/] } qw(welcome offer activate probe hold pong)),
	['an unknown message', $hello . Peer::message({type => 'surprise'}), qr/unknown message .surprise/],
	['no type', $hello . Peer::message({}), qr/type/],
	['a certificate that is a path', fetch_with($foreign, '../../../etc/passwd'), qr/certificate/],
	['a certificate with a line\'s end', fetch_with($foreign, 'a.pl\\nevent=forged'), qr/certificate/],
	['a certificate of 300 bytes', fetch_with($foreign, 'a.' x 150 . 'pl'), qr/certificate/],
	['a revision that jumps to 2^53', fetch_with('1\.1', '1.9007199254740993'), qr/revision/],
	['a revision below zero', fetch_with('1\.1', '1.-1'), qr/revision/],
	['an attempt of 2^31', fetch_with('"attempt":1', '"attempt":2147483648'), qr/attempt/],
	['an attempt in words', fetch_with('"attempt":1', '"attempt":"1"'), qr/attempt/],
	['sixty-five probes', $hello . Peer::message(Agent::verdict('probed', $Story::name, '1.1', 1, probes => [($probe) x 65])), qr/probes/],
	['probes that are none', $hello . Peer::message(Agent::verdict('probed', $Story::name, '1.1', 1, probes => [1])), qr/probe/],
	(map { my ($what, $field, $text) = @$_; ["$field with $what", $hello . Peer::message(Agent::verdict($field eq 'endpoint' ? 'probed' : 'failed', $Story::name, '1.1', 1,
		$field eq 'endpoint' ? (probes => [{%$probe, endpoint => $text}]) : ($field => $text))), qr/reason="[^"]*$field: has a c/] }
		['a row of its own', 'text', "no\n  victim     verified   1.9    all is well"], ['a row of its own', 'step', "reload\n  victim  verified"],
		['a row of its own', 'endpoint', "127.0.0.1:25\n  victim  verified"], ['an escape', 'text', "\e[2J\e[1;1H"], ['an escape', 'output', "\e]0;title\a"],
		['an escape of eight bits', 'text', "\x{9b}2J"], ['an override of direction', 'text', "\x{202e}deifirev"], ['a space of no width', 'step', "re\x{200b}load"]),
	['cut off inside a frame', $hello . pack('NC', 100, 1) . '{', qr/ended inside a frame/, 1],
);
for my $row (@frames) {
	my ($what, $bytes, $wanted, $ends) = @$row;
	mark();
	my $agent = come('thief');
	$agent->raw($bytes);
	close $agent->{peer} if $ends;
	is(($agent->last_words)[-1]{type}, 'closed', "$what: shown the door") if !$ends;
	named($what, $wanted);
}

# ---- what is not its own ----

sub admitted {
	my ($name, @inventories) = @_;
	my $agent = come($name);
	$agent->hello(count => scalar @inventories);
	$agent->say($_) for @inventories;
	my @said = $agent->hear_until(qr/^welcome$/, 5);
	is($said[-1]{type}, 'welcome', "$name is let in") or diag(explain(\@said));
	return $agent;
}

# When the hub answers this, it has dealt with all that it was told before.
sub settled {
	my ($agent) = @_;
	$agent->say({type => 'ping'});
	my @said = $agent->hear_until(qr/^pong$/, 5);
	return grep { $_->{type} ne 'pong' } @said;
}

my $thief = admitted('thief');
for my $certificate ($Story::name, $foreign, 'nobody.domain.pl') {
	for my $type (qw(fetch staged installed verified failed probed pull)) {
		mark();
		$thief->say(Agent::verdict($type, $certificate, '1.1', 1));
		is_deeply([settled($thief)], [], "$type of $certificate, which is not its own: no answer");
		named("$type of $certificate", qr/agent=thief certificate=\Q$certificate\E message=$type reason="hub\.conf does not assign it"/);
	}
}
mark();
close $thief->{peer};
$thief = admitted('thief', Agent::inventory($foreign, revision => '1.5', high_water => '7.2147483647'));
is_deeply([settled($thief)], [], 'an inventory of what is not its own: no answer');

# ---- the same name twice, and many times ----

my @many = map { come('thief') } 1 .. 6;
named('more connections than an agent may have', qr/too many connections/);
$many[0]->{instance} = 2;
$many[0]->hello;
named('a second machine under its name', qr/another machine is connected as agent thief/);
is(($many[0]->last_words)[-1]{type}, 'closed', 'the second one is shown the door');
is_deeply([settled($thief)], [], 'the first one stays');
close $_->{peer} for @many, $thief;

# ---- another's rollout: the victim is in the middle of one, and the rogue knows its attempt ----

my $victim = admitted('victim', Agent::inventory($foreign));
my $rogue = admitted('mail', Agent::inventory($Story::name));
my @told = settled($rogue);
$story->pair('foreign', names => "DNS:$foreign");
my $pid = $story->start('import', "$Story::bin/certsync", 'import', $foreign, '--key', "$top/foreign.key", '--chain', "$top/foreign.crt", '-c', "$top/hub.conf");
my ($offer) = grep { $_->{type} eq 'offer' } $victim->hear_until(qr/^offer$/, 5);
ok($offer, 'the victim is offered its certificate') or BAIL_OUT($story->log('import'));
sub state_of { my ($agent, $certificate) = @_; my (undef, $text) = $story->certsync('status', '--json'); my ($found) = grep { $_->{agent} eq $agent && $_->{certificate} eq $certificate } @{decode_json($text)->{agents}}; return $found->{state} }
my $state = state_of('victim', $foreign);
for my $type (qw(fetch staged installed verified failed probed pull)) {
	$rogue->say(Agent::verdict($type, $foreign, $offer->{revision}, $offer->{attempt}));
	is_deeply([grep { $_->{type} ne 'offer' } settled($rogue)], [], "$type in the victim's place: no answer");
	is(state_of('victim', $foreign), $state, "$type in the victim's place: its state is its own");
	$count++;
}
is_deeply([settled($victim)], [], 'the victim has noticed nothing');

# ---- lies about its own ----

for my $lie (['verified, never offered', 'verified', '1.9', 1], ['verified of an attempt to come', 'verified', '1.1', 2147483647], ['staged of an older revision', 'staged', '0.5', 1],
	['failed of an attempt that is over', 'failed', '1.1', 1], ['a fetch of a revision to come', 'fetch', '1.2', 2147483647]) {
	my ($what, $type, $revision, $attempt) = @$lie;
	mark();
	$rogue->say(Agent::verdict($type, $Story::name, $revision, $attempt));
	is_deeply([grep { $_->{type} eq 'frame 2' } settled($rogue)], [], "$what: nothing is sent");
	named($what, qr/event=stale .*agent=mail message=$type/);
	unlike(state_of('mail', $Story::name), qr{^(?:verified|unprobed|installed)$}, "$what: not believed");
}
my ($own) = grep { $_->{type} eq 'offer' } @told;
ok($own, 'it is offered its own') or diag(explain(\@told));
mark();
$rogue->say(Agent::verdict('failed', $Story::name, '1.1', $own->{attempt}, text => "no\n  victim     verified   1.9\nevent=forged", output => "one\n\ttwo"));
is(($rogue->last_words)[-1]{type}, 'closed', 'a text with lines: shown the door');
named('a text with lines', qr/failed: text: has a control character/);
($exit, $text) = $story->certsync('status');
unlike($text, qr/^  victim +verified/m, 'no row of the status is forged') or diag($text);
unlike($text, qr/[^\n\t\x20-\x7e\x80-\xff]/, 'its texts come to no terminal as they were');
unlike($story->log('hub'), qr/^event=forged/m, 'nor begin a line of the log');
close $rogue->{peer};
$rogue = admitted('mail', Agent::inventory($Story::name, revision => '2147483647.2147483647', high_water => '2147483647.2147483647', digest => '1' x 64));
settled($rogue);
is(state_of('mail', $Story::name), 'ahead', 'who claims to be ahead of all is shown as that');

# ---- the barrier: one says that it has passed it already ----

my %fleet = map { $_ => admitted($_, Agent::inventory($shared)) } qw(ready slow liar);
$story->pair('shared', names => "DNS:$shared");
my $importing = $story->start('shared', "$Story::bin/certsync", 'import', $shared, '--key', "$top/shared.key", '--chain', "$top/shared.crt", '-c', "$top/hub.conf");
my %offer = map { my $name = $_; $name => (grep { $_->{type} eq 'offer' } $fleet{$name}->hear_until(qr/^offer$/, 10))[0] } keys %fleet;
is(scalar(grep { defined } values %offer), 3, 'three are offered a certificate that they begin to serve together') or BAIL_OUT($story->log('shared'));

sub stages {
	my ($name, $offer) = @_;
	$fleet{$name}->say(Agent::verdict($_, $shared, $offer->{revision}, $offer->{attempt})) for qw(fetch staged);
	return grep { $_->{type} eq 'activate' } settled($fleet{$name});
}

my %desired = (revision => $offer{liar}{revision}, digest => $offer{liar}{digest}, high_water => $offer{liar}{revision});
is(scalar stages('ready', $offer{ready}), 0, 'one has staged, and waits');
mark();
for my $early (qw(installed verified)) {
	$fleet{liar}->say(Agent::verdict($early, $shared, $offer{liar}{revision}, $offer{liar}{attempt}));
	is_deeply([settled($fleet{liar})], [], "the liar says $early at once");
	named($early, qr/event=contradiction certificate=\Q$shared\E agent=liar .*says `$early` of an attempt in which it was not told to activate/);
}
close $fleet{liar}{peer};
mark();
$fleet{liar} = admitted('liar', Agent::inventory($shared, %desired));
($offer{liar}) = grep { $_->{type} eq 'offer' } $fleet{liar}->hear_until(qr/^offer$/, 5);
named('the desired revision at hello', qr/event=contradiction certificate=\Q$shared\E agent=liar .*says that it has revision \Q$desired{revision}\E, which it was not told to activate/);
ok($offer{liar}, 'the liar comes and says that it serves the new one: it is offered it like any other');
is_deeply([map { $_->{type} } settled($fleet{ready})], [], 'nobody is told to activate for that');
is(state_of('ready', $shared), 'staged', 'who had staged waits on');
like(($story->certsync('status'))[1], qr/liar is not believed, last \S+: it says that it has revision/, 'status names the liar');
is(scalar stages('slow', $offer{slow}), 0, 'the liar has not staged: the others wait');
is(scalar stages('liar', $offer{liar}), 1, 'once it has, all begin');
is(scalar(grep { $_->{type} eq 'activate' } settled($fleet{$_})), 1, "$_ too") for qw(ready slow);
close $_->{peer} for values %fleet;
kill 'TERM', $importing;
$count += 3;

# ---- floods: those who mean well do not feel them ----

sub memory { my ($pid) = @_; return Story::read_file("/proc/$pid/status") =~ /^VmRSS:\s+(\d+)/m ? $1 : 0 }
my $daemon = $story->child('hub', qr/certsync\0hub/);
my $before = memory($daemon);
sub renewal {
	my ($what, $file, $days) = @_;
	my $fingerprint = $story->pair($file, days => $days);
	my $began = time;
	my ($exit, $text) = $story->import($file);
	ok($story->until($what, sub { $story->installed('here') eq $fingerprint }, 10), sprintf '%s: a renewal arrives, after %.1f s', $what, time - $began) or diag($text);
}
for my $flood (['pings', {type => 'ping'}], ['fetches of what is not its own', Agent::verdict('fetch', $foreign, '1.1', 1)],
	['stale verdicts', Agent::verdict('verified', $Story::name, '1.1', 1)], ['pulls', Agent::verdict('pull', $Story::name, '1.1', 0)],
	['errors', {type => 'error', step => 'x', text => 'x' x 900}]) {
	my ($what, $message) = @$flood;
	mark();
	my $flooder = come('mail');
	$flooder->hello;
	my $bytes = Peer::message($message) x 500;
	my $child = fork // die $!;
	if (!$child) {
		# The child writes as fast as it can and reads nothing, for a while.
		local $SIG{ALRM} = sub { POSIX::_exit(0) };
		Time::HiRes::alarm(0.6);
		for (1 .. 200) { last if !$flooder->raw($bytes) }
		POSIX::_exit(0);
	}
	my $began = time;
	my ($exit) = $story->certsync('status');
	is($exit == 0 || $exit == 3 ? 'answered' : $exit, 'answered', sprintf '%s: status is answered, in %.2f s', $what, time - $began);
	waitpid $child, 0;
	close $flooder->{peer};
	cmp_ok(memory($daemon), '<', $before + $story->growth($daemon, 8000), "$what: the hub's memory");
	cmp_ok(length since(), '<', 100_000, "$what: its log");
	note(sprintf '%s: %d KiB of log, %d KiB more memory', $what, length(since()) / 1024, memory($daemon) - $before);
	$count++;
}
mark();
$rogue = admitted('mail', Agent::inventory($Story::name));
my $mine = {%$probe, service => 'x', match => $false};
$rogue->say(Agent::verdict('probed', $Story::name, '0.0', 0, probes => [$mine], repaired => $_)) for 1 .. 1000;
$rogue->hear_until(qr/^offer$/, 5);
for (1 .. 1000) {
	$rogue->say(Agent::verdict('pull', $Story::name, '0.0', 0));
	my ($again) = grep { $_->{type} eq 'offer' } settled($rogue);
	$rogue->say(Agent::verdict('failed', $Story::name, $again->{revision}, $again->{attempt})) if $again;
}
cmp_ok(length since(), '<', 200_000, 'files that are put right a thousand times, failures that are pulled a thousand times: the log');
note(sprintf '%d KiB of log', length(since()) / 1024);
close $rogue->{peer};
is($story->child('hub', qr/certsync\0hub/), $daemon, 'the hub is the same process');
is($story->state_of('here')->{connected}, $true, 'the agent that means well is connected');
renewal('after all floods', 'second', 25);

# ---- joining ----

my $key = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g';
sub joins {
	my ($what, $name, $bytes, $wanted, $answer) = @_;
	mark();
	my $agent = come("join:$name");
	$agent->raw($bytes);
	my @said = $agent->last_words;
	named("join: $what", $wanted);
	my ($reply) = map { $_->{data} } grep { $_->{type} eq 'frame 5' } @said;
	is(defined $reply ? unpack('x C', $reply) : 'closed', $answer, "join: $what: the answer");
	return $reply;
}
($exit, my $line) = $story->certsync('agent', 'add', 'new');
($line) = $line =~ /^(certsync-hub:1 .* secret=.*)$/m or diag($line);
my $request = Agent::join_request($line, 'new', $key);
my $authorized = Story::read_file("$top/gate/authorized_keys");
joins('without a line', 'thief', Peer::frame(5, Agent::join_request($line, 'thief', $key)), qr/result=refused/, 0);
joins('with another\'s line', 'mail', Peer::frame(5, Agent::join_request($line, 'mail', $key)), qr/result=refused/, 0);
joins('a message instead', 'new', Peer::message({type => 'ping'}), qr/result=ended.*frame-type/, 'closed');
joins('a frame of 4 GiB', 'new', pack('NC', 0xffffffff, 5), qr/result=ended.*frame-length/, 'closed');
joins('a wrong proof', 'new', Peer::frame(5, substr($request, 0, -1) . chr(255 - ord substr $request, -1)), qr/result=refused/, 0);
is(Story::read_file("$top/gate/authorized_keys"), $authorized, 'no key was written');
joins('with its own line', 'new', Peer::frame(5, $request), qr/result=done/, 1);
like(Story::read_file("$top/gate/authorized_keys"), qr/command="new:\S+" \Q$key\E/, 'its key is written');
joins('the same request once more', 'new', Peer::frame(5, $request), qr/result=refused/, 0);
joins('the same line with another key', 'new', Peer::frame(5, Agent::join_request($line, 'new', $key =~ s/h8g/h8A/r, nonce => 'm' x 32)), qr/result=refused/, 0);
is(scalar(() = Story::read_file("$top/gate/authorized_keys") =~ /command="new:/g), 1, 'it has one key');

unlike($story->log('hub'), qr/PRIVATE KEY/, 'no key in the log');
kill 'TERM', $pid;
note("$count wickednesses");
$story->ends_clean;
done_testing;
