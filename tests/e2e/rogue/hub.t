#!/usr/bin/perl
# A hub that means ill (tests/rogue/Hub.pm), in the place of the one that the agent has pinned and with its key, or on
# the path to it: what the real agent and its root half make of it. Each row is one wickedness and the word by which it
# is refused; whatever it was, what is installed stays, the hook is not run again, and the agent comes back to the next
# one.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib", "$FindBin::Bin/../../rogue";
use Hub;
use JSON::PP;
use MIME::Base64;
use Story;
use Test::More;
use Time::HiRes qw(time);

my $story = Story->new;
my $top = $story->top;
my $tool = "$Story::bin/../tests/root_tool";
my ($true, $false) = (JSON::PP::true, JSON::PP::false);
my $dir = $story->agent_conf('here', hub => "unix://$top/hub.sock", services => 'service "counted" { probe = none }');
Story::write_file("$dir/hooks/counted", "#!/bin/sh\necho \"\$1\" >>$top/hooks.log\n", 0755);
my $hub = Hub->new(socket => "$top/hub.sock", tool => $tool, directory => $top);
my $identity = `$Story::bin/certsync-agent identity -c $dir/agent.conf`;
($hub->{recipient}) = $identity =~ /x25519:(\S+)/ or BAIL_OUT("identity: $identity");
open my $join, '|-', "$Story::bin/certsync-agent join -c $dir/agent.conf >>$top/join.log 2>&1" or die $!;
print $join "certsync-hub:1 unix://$top/hub.sock sign=ed25519:$hub->{signer}\n";
close $join or BAIL_OUT(Story::read_file("$top/join.log"));
$story->start_agent('here');

# ---- certificates ----

sub pem {
	my ($file, %wish) = @_;
	$story->pair($file, %wish);
	Story::write_file("$top/$file.pem", Story::read_file("$top/$file.key") . Story::read_file("$top/$file.crt"));
	return "$top/$file.pem";
}

my ($good, $other) = (pem('good', days => 20), pem('other', days => 25));
my %pem = (allow => pem('allow', days => 25, names => "DNS:$Story::name,DNS:mail.example.org"),
	self => pem('self', days => 25, self_signed => 1), purpose => pem('purpose', days => 25, usage => 'clientAuth'), sooner => pem('sooner', days => 3),
	expired => pem('expired', days => -1));
$story->openssl("req -newkey rsa:1024 -nodes -subj /CN=x -keyout $top/weak.key -out $top/weak.csr");
Story::write_file("$top/ext", "subjectAltName=DNS:$Story::name\nextendedKeyUsage=serverAuth\n");
$story->openssl("x509 -req -in $top/weak.csr -CA $top/ca.pem -CAkey $top/ca.key -CAcreateserial -days 25 -extfile $top/ext -out $top/weak.crt");
Story::write_file("$top/weak.pem", Story::read_file("$top/weak.key") . Story::read_file("$top/weak.crt"));
system("$tool hub $top/foreign.key >$top/foreign.pub");
my $stranger = encode_base64(join('', map { chr int rand 256 } 1 .. 32), '');

# ---- what every row does ----

# Does as `join` does when a node's keys are new, and has the connection ended and the next one made at once.
sub come {
	my $control = IO::Socket::UNIX->new(Peer => "$dir/run/control.sock") or return;
	$control->syswrite(Peer::frame(1, '{"command":"reconnect"}'));
	$control->sysread(my $answer, 4096);
}
sub meet { $hub->meet(\&come) }
sub all_of { join "\n", map { JSON::PP->new->canonical->encode($_) } @_ }

# Makes an offer, takes the fetch that follows, and returns the answer to what is sent then.
sub give {
	my ($revision, $bytes, $seconds) = @_;
	meet();
	$hub->say($hub->welcome);
	$hub->say($hub->offer($revision, 7));
	my @before = $hub->hear_until(qr/^(fetch|failed)$/, 5);
	return @before if !@before || ($before[-1]{type} // '') ne 'fetch';
	$hub->raw($bytes);
	return $hub->hear_until(qr/^(staged|failed|error)$/, $seconds // 5);
}

# Returns all that the agent has to say to these, up to its answer to a question at the end. The answer to a first
# question may come from the look that the agent is just taking, and so before what waits behind that look; the answer
# to a second one does not. While the agent waits for a bundle it does not look.
sub told {
	my (@messages) = @_;
	meet();
	$hub->say($hub->welcome);
	ref $_ ? $hub->say($_) : $hub->raw($_) for @messages;
	my @all;
	for my $question (998, 999) {
		$hub->say($hub->order('probe', '1.5', $question));
		while (my $heard = $hub->hear((grep { ($_->{type} // '') eq 'fetch' } @all) ? 0.3 : 5)) {
			push @all, $heard;
			last if $heard->{closed} || ($heard->{type} eq 'probed' && $heard->{attempt} == $question);
		}
	}
	return grep { ($_->{type} // '') ne 'probed' } @all;
}

sub bytes_at { my ($at, $new) = @_; return sub { my ($self, $bytes) = @_; substr $bytes, $at, length $new, $new; return $self->signed_anew($bytes) } }
sub flip { my ($at) = @_; return sub { my ($self, $bytes) = @_; substr($bytes, $at, 1) ^= "\x01"; return $bytes } }
sub message { return Peer::message(@_) }

# ---- first what a hub should do ----

my @said = give('1.5', $hub->bundle('1.5', $good), 10);
is($said[-1]{type}, 'staged', 'what a hub should do: staged') or BAIL_OUT(all_of(@said) . $story->log('here'));
$hub->say($hub->order('activate', '1.5', 7));
@said = $hub->hear_until(qr/^(verified|failed|error)$/, 10);
is($said[-1]{type}, 'verified', 'and verified') or BAIL_OUT(all_of(@said));
my $fingerprint = $story->installed('here');
is($fingerprint, $story->fingerprint("$top/good.crt"), 'the honest bundle is installed');
my $link = readlink "$dir/etc/live/$Story::name";
# Each file there is, with what stands in it.
sub pinned { return join "\n", map { "$_: " . Story::read_file($_) } sort glob "$dir/etc/pins/*" }
my $pins = pinned();
like($pins, qr/\Q$hub->{signer}\E/, 'its key is pinned');
my $hooks = sub { scalar(() = Story::read_file("$top/hooks.log") =~ /reload/g) };
my $reloads = $hooks->();

# ---- bundles: [what, revision, bytes, the failure's text] ----

my $first = $hub->bundle('1.5', $good);
my @bundles = (
	['signed by another hub', '1.6', $hub->bundle('1.6', $other, key => "$top/foreign.key"), qr/^signature/],
	['a bit of the signature', '1.6', $hub->bundle('1.6', $other, change => flip(-1)), qr/^signature/],
	['a bit of its flags', '1.6', $hub->bundle('1.6', $other, change => flip(7)), qr/^signature/],
	['a bit of the sealed part', '1.6', $hub->bundle('1.6', $other, change => flip(400)), qr/^signature/],
	['the signature of another bundle', '1.6', $hub->bundle('1.6', $other, change => sub { substr($_[1], 0, -64) . substr $first, -64 }), qr/^signature/],
	['a bundle for another agent', '1.6', $hub->bundle('1.6', $other, recipient => $stranger), qr/^recipient/],
	['another agent\'s, with our name on it', '1.6', $hub->bundle('1.6', $other, recipient => $stranger,
		change => bytes_at(8, substr $first, 5 + 8, 32)), qr/^seal/],
	['signed, sealed part changed', '1.6', $hub->bundle('1.6', $other, change => sub { my ($self, $b) = @_; substr($b, 400, 1) ^= "\x01"; $self->signed_anew($b) }), qr/^seal/],
	['signed, another digest', '1.6', $hub->bundle('1.6', $other, change => bytes_at(48, "\x55" x 32)), qr/^(seal|digest)/],
	['signed, another expiry', '1.6', $hub->bundle('1.6', $other, change => bytes_at(80, pack 'Q>', 1 << 40)), qr/^(seal|validity)/],
	['signed, another revision than was sealed', '1.6', $hub->bundle('1.7', $other, change => bytes_at(44, pack 'N', 6)), qr/^seal/],
	['signed, no sealed part', '1.6', $hub->bundle('1.6', $other, change => sub { my ($self, $b) = @_;
		$self->signed_anew(substr($b, 0, 344) . pack('N', 0) . 'x' x 64) }), qr/./],
	['signed, a length that goes on behind the end', '1.6', $hub->bundle('1.6', $other, change => bytes_at(344, pack 'N', 0xfffffff0)), qr/./],
	['bytes behind it', '1.6', $hub->bundle('1.6', $other, change => sub { $_[1] . 'behind' }), qr/./],
	['cut short', '1.6', $hub->bundle('1.6', $other, change => sub { substr $_[1], 0, -100 }), qr/./],
	['a version that there is not', '1.6', $hub->bundle('1.6', $other, change => bytes_at(4, pack 'n', 9)), qr/./],
	['the installed revision with another content', '1.5', $hub->bundle('1.5', $other), qr/^digest/],
	['an older revision', '1.4', $hub->bundle('1.4', $other), qr/^revision/],
	['an older epoch', '0.9', $hub->bundle('0.9', $other), qr/^revision/],
	['an older revision as a rollback', '1.4', $hub->bundle('1.4', $other, flags => 2), qr/^revision/],
	['a name that the agent does not allow', '1.6', $hub->bundle('1.6', $pem{allow}), qr/^allow: .*mail\.example\.org/],
	['of an unknown authority', '1.6', $hub->bundle('1.6', $pem{self}), qr/^chain/],
	['for clients', '1.6', $hub->bundle('1.6', $pem{purpose}), qr/^purpose/],
	['which expires sooner', '1.6', $hub->bundle('1.6', $pem{sooner}), qr/^sooner/],
	['expired', '1.6', $hub->bundle('1.6', $pem{expired}, flags => 1), qr/^(validity|chain|sooner)/],
	['a weak key', '1.6', $hub->bundle('1.6', "$top/weak.pem"), qr/^(key-type|chain)/],
);
for my $row (@bundles) {
	my ($what, $revision, $bytes, $wanted) = @$row;
	my @all = give($revision, $bytes);
	my $last = $all[-1] // {};
	is($last->{type}, 'failed', "bundle: $what") or diag(all_of(@all));
	like($last->{text} // '', $wanted, "bundle: $what: why");
}

# ---- what nobody has asked for: nothing comes of it ----

my %quiet = (
	'a bundle that nobody waits for' => sub { told($first) },
	'a bundle of another certificate' => sub { meet(); $hub->say($hub->welcome); $hub->say($hub->offer('1.6', 7)); $hub->hear_until(qr/^fetch$/, 5);
		$hub->raw($hub->bundle('1.6', $other, name => 'other.domain.pl')); $hub->raw($first); $hub->say($hub->order('probe', '1.5', 999)); () },
	'an attempt that goes back' => sub { grep { $_->{attempt} != 9 } told($hub->offer('1.6', 9), $hub->offer('1.7', 8)) },
	'an activate of an older attempt' => sub { grep { $_->{attempt} != 9 } told($hub->offer('1.6', 9), $hub->order('activate', '1.6', 8)) },
);
for my $what (sort keys %quiet) {
	my @all = $quiet{$what}->();
	is(all_of(@all), '', "quiet: $what");
}
for my $order ($hub->offer('1.6', 7), $hub->order('activate', '1.6', 7)) {
	@said = told({%$order, certificate => 'other.domain.pl'});
	like($said[0]{text}, qr/no section certificate "other\.domain\.pl"/, "a certificate that the agent has not: $order->{type}") or diag(all_of(@said));
}
like(all_of(told($hub->order('activate', '1.6', 9))), qr/"failed"/, 'an activate of what was never offered fails');
like(all_of(told($hub->order('activate', '1.5', 9, force => $false))), qr/"verified"/, 'an activate of what is installed runs nothing');
is($hooks->(), $reloads, 'none of these has a hook run');
@said = told($hub->offer('1.6', 7), $hub->offer('1.7', 8), $hub->offer('1.6', 9), $hub->offer('1.8', 10), $hub->order('activate', '1.7', 8), $hub->order('activate', '1.6', 9));
is_deeply([grep { !/fetch/ } map { $_->{type} } @said], [], 'rollouts that contradict each other: nothing is activated') or diag(all_of(@said));

# ---- frames and messages: the agent says what is wrong and leaves; [what, bytes, what its status says then] ----

sub deep { return '{"type":"pong","x":' . '[' x $_[0] . ']' x $_[0] . '}' }
my $welcome = $hub->welcome;
my $offer = JSON::PP->new->canonical->encode($hub->offer('1.6', 7));
sub changed { my ($from, $to) = @_; my $text = $offer; $text =~ s/$from/$to/ or die "$from is not in $text"; return message($text) }
my @frames = (
	['a frame of 4 GiB', pack('NC', 0xffffffff, 1), qr/frame-length/],
	['a frame of nothing', pack('NC', 0, 1), qr/frame-length/],
	['a message of more than 64 KiB', pack('NC', 65538, 1), qr/frame-length/],
	['a bundle of more than 256 KiB', pack('NC', 262146, 2), qr/frame-length/],
	(map { ["a frame of type $_", Peer::frame($_, 'x'), qr/frame-type/] } 0, 3, 4, 5, 255),
	['cut off inside a frame', pack('NC', 100, 1) . '{"type"', qr/ended inside a frame/, 1],
	['no bundle in a bundle\'s frame', Peer::frame(2, "\0" x 262144), qr/no bundle that was asked for/],
	['HTML', message('<html>'), qr/not an object/],
	['nothing', message(''), qr/protocol/],
	['a list', message('[1]'), qr/not an object/],
	['a hundred brackets', message(deep(100)), qr/protocol: .*(deep|nest)/],
	['thirty thousand brackets', message(deep(30000)), qr/protocol: .*(deep|nest)/],
	['a member twice', changed('"attempt":7', '"attempt":7,"attempt":8'), qr/attempt/],
	['a member twice, in capitals', changed('"attempt":7', '"attempt":7,"ATTEMPT":8'), qr/protocol/],
	['a NUL', changed('"1\.6"', '"1.6\\u0000"'), qr/protocol/],
	['a raw NUL', changed('"1\.6"', "\"1.6\0\""), qr/protocol/],
	['bytes behind the object', message("$offer {}"), qr/protocol/],
	['an attempt of 2^31', changed('"attempt":7', '"attempt":2147483648'), qr/attempt/],
	['an attempt of 2^53', changed('"attempt":7', '"attempt":9007199254740993'), qr/attempt/],
	['an attempt below zero', changed('"attempt":7', '"attempt":-1'), qr/attempt/],
	['half an attempt', changed('"attempt":7', '"attempt":7.5'), qr/attempt/],
	['an attempt of 1e400', changed('"attempt":7', '"attempt":1e400'), qr/protocol/],
	['an attempt in words', changed('"attempt":7', '"attempt":"7"'), qr/attempt/],
	['a revision that jumps to 2^53', changed('"1\.6"', '"1.9007199254740993"'), qr/revision/],
	['a revision of 2^31', changed('"1\.6"', '"1.2147483648"'), qr/revision/],
	['a revision with a sign', changed('"1\.6"', '"1.+6"'), qr/revision/],
	['a revision with a zero in front', changed('"1\.6"', '"1.06"'), qr/revision/],
	['a revision that is a path', changed('"1\.6"', '"../../etc"'), qr/revision/],
	['a certificate that is a path', changed('"mail\.domain\.pl","digest"', '"../mail","digest"'), qr/certificate/],
	['a certificate with a line\'s end', changed('"mail\.domain\.pl","digest"', '"mail.pl\\n","digest"'), qr/certificate/],
	['a digest of 63 digits', changed('1{64}', '1' x 63), qr/digest/],
	['a digest of capitals', changed('1{64}', 'A' x 64), qr/digest/],
	['an expiry of 2^60', changed('"not_after":[^,]*', '"not_after":1152921504606846976'), qr/not_after/],
	['names that are none', changed('\["mail\.domain\.pl"\]', '[1]'), qr/names/],
	['a hundred and one names', changed('\["mail\.domain\.pl"\]', '[' . join(',', map { "\"n$_.pl\"" } 1 .. 101) . ']'), qr/names/],
	['a name of 300 bytes', changed('\["mail\.domain\.pl"\]', '["' . 'a' x 300 . '"]'), qr/names/],
	['a flag that is a number', changed('"force":false', '"force":1'), qr/force/],
	['an offer without a digest', changed('"digest"', '"digits"'), qr/digest/],
	['an unknown message', message('{"type":"surprise"}'), qr/surprise/],
	['no type', message('{}'), qr/type/],
	['a welcome twice', message(encode_json($welcome)), qr/welcome came twice/],
	(map { ["an agent's own $_", message(encode_json({%{$hub->order($_, '1.5', 1)}, milliseconds => 1, fingerprint => '', stopped => $false, probes => []})),
		qr/does not take $_|protocol/] } qw(fetch staged installed verified pull)),
	['a ping', message('{"type":"ping"}'), qr/does not take ping/],
	['a hold of a year', message(encode_json($hub->order('hold', '1.5', 1, seconds => 31536000))), qr/seconds/],
	['an order for 2^31 s', message(encode_json($hub->order('activate', '1.6', 7, timeout => 2 ** 31))), qr/timeout/],
	['an error with a terminal\'s control characters', message('{"type":"error","step":"x","text":"\\u001b[31mred\\u0007"}'), qr/protocol: error: text: has a control character/],
);
sub status_says {
	my ($what, $wanted) = @_;
	my $text;
	ok($story->until($what, sub { $text = `$Story::bin/certsync-agent status -c $dir/agent.conf 2>&1`; $text =~ $wanted }, 5), "$what: named")
		or diag($text);
	unlike($text, qr/[^\n\x20-\x7e\x80-\xff]/, "$what: no control characters") if $text =~ /\\u00|\[31m/;
}
for my $row (@frames) {
	my ($what, $bytes, $wanted, $ends) = @$row;
	meet();
	$hub->say($welcome);
	$hub->raw($bytes);
	close delete $hub->{peer} if $ends;
	ok(scalar(grep { $_->{closed} } $hub->hear_until(qr/^never$/, 5)), "$what: it leaves") if !$ends;
	status_says($what, $wanted);
}
for (['a protocol that there is not', 99, qr/protocol that this agent does not speak/], ['protocol 0', 0, qr/protocol/]) {
	my ($what, $protocol, $wanted) = @$_;
	meet();
	$hub->say($hub->welcome(protocol => $protocol));
	$hub->hear_until(qr/^never$/, 5);
	status_says($what, $wanted);
}
for (['an offer before welcome', $hub->offer('1.6', 7)], ['a pong before welcome', {type => 'pong'}], ['a bundle before welcome', undef]) {
	my ($what, $message) = @$_;
	meet();
	$message ? $hub->say($message) : $hub->raw($first);
	$hub->hear_until(qr/^never$/, 5);
	status_says($what, qr/before welcome|no bundle that was asked for/);
}

# ---- host keys that the hub's key has not signed ----

my $list = pack 'Q> C N/a*', 1 << 40, 1, 'SHA256:' . 'A' x 43;
sub tells_host_keys {
	my ($text) = @_;
	meet();
	$hub->say($hub->welcome(host_keys => $text));
}
for (['no base64', '!!!'], ['bytes', encode_base64('x' x 200, '')], ['signed by nobody', encode_base64($list . "\0" x 64, '')],
	['signed as something else', encode_base64($hub->statement('certsync signing keys 1', $list), '')]) {
	my ($what, $text) = @$_;
	my $before = length $story->log('here');
	tells_host_keys($text);
	ok($story->until($what, sub { substr($story->log('here'), $before) =~ /event=host-keys result=refused error="./ }), "host keys: $what: refused by name");
	is(pinned(), $pins, "host keys: $what: the pins are what they were");
}

# ---- floods ----

my ($daemon) = $story->child('here', qr/certsync-agent\0run/);
sub memory { return Story::read_file("/proc/$_[0]/status") =~ /^VmRSS:\s+(\d+)/m ? $1 : 0 }
my $before = memory($daemon);
for (['probes', sub { $hub->order('probe', '1.5', $_[0]) }], ['offers', sub { $hub->offer('1.' . ($_[0] + 100), $_[0]) }],
	['activates of what is installed', sub { $hub->order('activate', '1.5', $_[0]) }],
	['holds', sub { $hub->order('hold', '1.5', $_[0], seconds => $_[0] % 2) }]) {
	my ($what, $make) = @$_;
	meet();
	my $peer = $hub->{peer};
	$hub->say($hub->welcome);
	my $flood = join '', map { message(encode_json($make->($_))) } 1 .. 2000;
	# The agent may stop reading while the hub floods it; that is the hub's own loss, so the connection is closed.
	local $SIG{ALRM} = sub { close $peer };
	alarm 3;
	$hub->raw($flood);
	alarm 0;
	my $last = {};
	while (my $heard = $hub->hear(0.2)) { $last = $heard; last if $heard->{closed} }
	ok(kill(0, $daemon), "2,000 $what: the agent lives");
	cmp_ok(memory($daemon), '<', $before + $story->growth($daemon, 6000), "2,000 $what: its memory");
}
$hub->say($hub->order('hold', '1.5', 5000, seconds => 0)) if $hub->{peer};

# ---- and after all of that ----

is($story->installed('here'), $fingerprint, 'what is installed is what it was');
is(readlink "$dir/etc/live/$Story::name", $link, 'the revision that was installed before is there at the end');
is($hooks->(), $reloads, 'no hook was run but at first');
is($story->child('here', qr/certsync-agent\0run/), $daemon, "the agent's daemon is the process that it was before");
unlike($story->log('here'), qr/PRIVATE KEY/, 'no key in its log');
unlike($story->log('here'), qr/[^\n\t\x20-\x7e\x80-\xff]/, 'no control character either');
@said = give('1.6', $hub->bundle('1.6', $other), 10);
is($said[-1]{type}, 'staged', 'a hub that means well is served as ever') or diag(all_of(@said));
$hub->say($hub->order('activate', '1.6', 7));
@said = $hub->hear_until(qr/^(verified|failed|error)$/, 10);
is($said[-1]{type}, 'verified', 'a bundle after all of that is verified');
is($story->installed('here'), $story->fingerprint("$top/other.crt"), 'and installed');
tells_host_keys(encode_base64($hub->statement('certsync host keys 1', $list), ''));
ok($story->until('pinned', sub { pinned() =~ m{/host_keys: .*^SHA256:A{43} # told by the hub$}ms }, 5), 'host keys that its key has signed are pinned') or diag(pinned());
meet();
$hub->say($hub->welcome(clock => time - 3600 | 0));
ok($story->until('skew', sub { $story->log('here') =~ /event=clock-skew hub=\S+ skew=-?3\d\d\ds advice="set the clock of one of the two"/ }, 5),
	'a hub whose clock is an hour behind is told of');
note(sprintf '%d bundles, %d frames and messages', scalar @bundles, scalar @frames);
$story->ends_clean;
done_testing;
