#!/usr/bin/perl
# Bad input between hub and agent, with the real programs: each is refused with its reason, nothing else is disturbed,
# and the certificate that was there stays. This script plays the peer that misbehaves.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use IO::Socket::UNIX;
use Story;
use Test::More;

my $story = Story->new;
my $top = $story->top;

# ---- configuration: nothing starts ----

Story::write_file("$top/bad.conf", <<'CONF');
http = "0.0.0.0:80"
certificate "mail.domain.pl" { rollout = "someday" stage_timeout = "soon" }
agent "Mail" { certificates = {"other.domain.pl"} }
CONF
my $output = `$Story::bin/certsync config -c $top/bad.conf 2>&1`;
is($? >> 8, 2, 'a wrong configuration is exit 2');
like($output, qr/^\Q$top\E\/bad\.conf:1: .*http.*\n.*:2: .*someday.*\n.*:2: .*soon.*\n/s, 'faults of meaning, each with its line');
is(scalar(grep { /^\Q$top\E\/bad\.conf:3: / } split /\n/, $output), 2, 'also those behind the first');
Story::write_file("$top/syntax.conf", "state \"/x\"\ncertificate \"a.b\" {\n\tnonsense = 1\n}\nhttp = \n");
$output = `$Story::bin/certsync config -c $top/syntax.conf 2>&1`;
like($output, qr/^\Q$top\E\/syntax\.conf:1: state: [^\n]*\n\Q$top\E\/syntax\.conf:5: http: [^\n]*\n\z/, 'of syntax all, and nothing else before that');
for my $program ('certsync-hub-root', 'certsync hub') {
	system("$Story::bin/$program -c $top/bad.conf >$top/out 2>&1");
	is($? >> 8, 2, "$program does not start with it");
}

# ---- a hub with an agent that is well ----

my $first = $story->pair('first');
ok($story->hub(agents => ['here', 'mail-']), 'a hub starts') or diag($story->log('hub'));
my ($exit, $text) = $story->import('first');
is($exit, 3, 'import says that nobody has it yet');
$story->agent('here');
ok($story->until_state('here', 'unprobed'), 'its agent has the certificate');
is($story->installed('here'), $first, 'the right one');

# ---- frames ----

my $mail = $story->let_in('mail');

# Sends bytes as the gate would for the agent mail. Returns what the hub answers until it closes.
sub as_mail {
	my ($bytes) = @_;
	my $socket = IO::Socket::UNIX->new(Peer => "$top/hub.run/gate.sock") or die "gate.sock: $!";
	local $SIG{PIPE} = 'IGNORE';
	$socket->syswrite(chr(length $mail) . $mail . $bytes);
	shutdown $socket, 1;
	my $answer = '';
	local $SIG{ALRM} = sub { die "the hub did not close\n" };
	alarm 20;
	while ($socket->sysread(my $part, 65536)) { $answer .= $part }
	alarm 0;
	return $answer;
}

sub frame { my ($type, $data) = @_; return pack('NC', length($data) + 1, $type) . $data }
my $hello = frame(1, '{"type":"hello","protocol":1,"version":"x","instance":"' . '0' x 32 . '","clock":1,"count":0}');

my @bad = (
	['a frame of 4 GiB', pack('NC', 0xffffffff, 1), qr/frame-length/],
	['a frame of an unknown type', frame(9, 'x'), qr/frame-type/],
	['files, which never cross a network', frame(3, 'x'), qr/frame-type/],
	['a frame cut short', pack('NC', 100, 1) . '{"type"', qr/ended inside a frame/],
	['HTML', frame(1, '<html>'), qr/not an object/],
	['a message before hello', frame(1, '{"type":"ping"}'), qr/ping came before hello/],
	['an unknown message', $hello . frame(1, '{"type":"surprise"}'), qr/unknown message .surprise/],
	['a bundle from an agent', $hello . frame(2, 'x'), qr/an agent sends no bundles/],
	['a fetch of what is not assigned',
		$hello . frame(1, '{"type":"fetch","certificate":"other.domain.pl","revision":"1.1","attempt":1}'), qr/does not assign it/],
	['hello twice', $hello . $hello, qr/hello came twice/],
	['protocol 0', ($hello =~ s/"protocol":1/"protocol":0/r), qr/protocol 0 is not spoken/],
);
for my $case (@bad) {
	my ($what, $bytes, $reason) = @$case;
	as_mail($bytes);
	ok($story->until($what, sub { $story->log('hub') =~ $reason }), "$what: named in the log")
		or diag($story->log('hub'));
}
my $socket = IO::Socket::UNIX->new(Peer => "$top/hub.run/gate.sock");
$socket->syswrite("\x05../xx");
ok($story->until('name', sub { $story->log('hub') =~ /outside the alphabet of agents' names/ }), 'a name outside the alphabet');
$socket = IO::Socket::UNIX->new(Peer => "$top/hub.run/gate.sock");
$socket->syswrite("\x05nobod");
ok($story->until('unknown', sub { $story->log('hub') =~ /no section agent .nobod./ }), 'an agent that nobody configured');
is($story->state_of('here')->{connected}, JSON::PP::true(), 'the other agent has noticed nothing');

# ---- bundles that an agent's own list or the rules forbid ----

$story->pair('outside', names => "DNS:$Story::name,DNS:mail.other.example");
($exit, $text) = $story->import('outside');
is($exit, 3, 'the hub has no objection to a further name');
like($text, qr/allow:.*mail\.other\.example/s, 'the agent does, with the rule named') or diag($text);
is($story->installed('here'), $first, 'and still has the old one');
is($story->state_of('here')->{state}, 'failed', 'as the hub shows');

for my $case (['a name missing', [names => 'DNS:www.domain.pl'], qr/names: /], ['self-signed', [self_signed => 1], qr/chain: /],
	['for clients', [usage => 'clientAuth'], qr/purpose: /], ['sooner', [days => 3], qr/sooner: /]) {
	my ($what, $wish, $reason) = @$case;
	$story->pair('wrong', @$wish);
	($exit, $text) = $story->import('wrong');
	is($exit, 1, "$what: not imported");
	like($text, $reason, "$what: the rule is named");
}
my $second = $story->pair('second', days => 25);
rename "$top/second.crt", "$top/right.crt";
Story::write_file("$top/second.crt", Story::read_file("$top/first.crt"));
($exit, $text) = $story->import('second');
is($exit, 1, 'a key of another certificate is not imported');
like($text, qr/key-match: /, 'key-match is named');
rename "$top/right.crt", "$top/second.crt";
($exit, $text) = $story->import('second');
is($exit, 0, 'the right one is, and arrives') or diag($text);
is($story->installed('here'), $second, 'a certificate that passes all rules is installed');

# ---- hooks ----

sub service_with { "service \"odd\" { probe = none timeout = \"3s\" }" }
my @hooks = (
	['fails', "echo the configuration is broken; exit 7", qr/exited 7/, qr/configuration is broken/],
	['hangs', 'echo waiting; exec sleep 1000', qr/deadline|seconds|time/, qr/waiting/],
	['prints 100 MB and fails', 'yes noise | head -c 100000000; exit 3', qr/exited 3/, qr/noise/],
);
my $dir = $story->agent_conf('here', services => service_with());
$story->stop('here');
Story::write_file("$dir/hooks/odd", "#!/bin/sh\nexit 0\n", 0755);
$story->start_agent('here');
ok($story->until_state('here', 'unprobed'), 'an agent with a hook of its own');
for my $case (@hooks) {
	my ($what, $command, $reason, $shown) = @$case;
	Story::write_file("$dir/hooks/odd", "#!/bin/sh\n[ \"\$1\" = reload ] && [ ! -e $top/sound ] || exit 0\n$command\n", 0755);
	$story->pair('next', days => 26);
	($exit, $text) = $story->import('next');
	is($exit, 3, "a reload that $what: not converged");
	my $agent = $story->state_of('here');
	is($agent->{state}, 'failed', "a reload that $what: failed");
	like($agent->{error}, $reason, "a reload that $what: the reason");
	like($agent->{output}, $shown, "a reload that $what: its output is shown at the hub");
	ok($agent->{rolled_back}, "a reload that $what: the old files are back");
	is($story->installed('here'), $second, "a reload that $what: the old one is installed");
	Story::write_file("$top/sound", '');
	($exit, $text) = $story->certsync('push');
	is($exit, 0, "mended, push brings it there") or diag($text);
	$second = $story->installed('here');
	is($second, $story->fingerprint("$top/next.crt"), 'the new one is installed');
	unlink "$top/sound";
}
unlink "$dir/hooks/odd";
$story->pair('next', days => 27);
($exit, $text) = $story->import('next');
is($exit, 3, 'a hook that is missing');
like($text, qr/hooks\/odd/, 'its path is named') or diag($text);
is($story->installed('here'), $second, 'the old one stays');
Story::write_file("$dir/hooks/odd", "#!/bin/sh\nexit 0\n", 0755);
is(($story->certsync('push'))[0], 0, 'it is back: push brings the new one');

# ---- another hub at the same place, and the same hub restored from a backup ----

my $before = $story->installed('here');
# Both directories belong to a backup of the hub: its store and its keys.
system("cp -a $top/hub $top/backup && cp -a $top/hub-keys $top/backup-keys") == 0 or die;
$story->pair('later', days => 28);
is(($story->import('later'))[0], 0, 'a later revision is imported');
my $later = $story->installed('here');
$story->stop('hub');
ok($story->hub(agents => ['here'], state => 'backup'), 'the hub is restored from a backup made before it');
ok($story->until_state('here', 'ahead', 40), 'the agent is named as ahead') or diag($story->log('here'));
is($story->installed('here'), $later, 'and nothing goes back');
$story->stop('hub');

ok($story->hub(agents => ['here'], state => 'rogue'), 'another hub, with a key that nobody pinned');
my $identity = `$Story::bin/certsync-agent identity -c $dir/agent.conf`;
$identity =~ s/\n//;
$story->certsync('agent', 'add', 'here', '--key', "'$identity'");
$story->pair('rogue', days => 29);
for (1 .. 12) { $story->pair('rogue', days => 29 + $_); $story->import('rogue') }
ok($story->until('refusal', sub { ($story->state_of('here')->{error} // '') =~ /signature/ }, 40),
	'its bundle is refused by its signature') or diag(($story->certsync('status'))[1] . $story->log('here'));
is($story->installed('here'), $later, 'and nothing is installed');

# ---- a CA that is down ----

my $lonely = Story->new;
my $certificates = "acme \"down\" { directory = \"https://127.0.0.1:1/dir\" agree_tos = true }\n"
	. "certificate \"$Story::name\" { acme = \"down\" }\n";
ok($lonely->hub(certificates => $certificates, agents => ['here', 'twin']), 'a hub whose CA is down');
my $shown;
ok($lonely->until('failure', sub { $shown = ($lonely->certsync('status'))[1]; $shown =~ /renewal failed/ }),
	'status says that the order failed') or diag($lonely->log('hub'));
like($shown, qr/127\.0\.0\.1/, 'status names the address that does not answer') or diag($shown);
like($shown, qr/next try \d{4}-/, 'and when it is tried again');
($exit, $text) = $lonely->certsync('renew');
is($exit, 1, 'renew fails') or diag($text);
$lonely->pair('own');
is(($lonely->import('own'))[0], 3, 'import works all the same');
$lonely->stop('hub');
ok($lonely->hub(certificates => $certificates, agents => ['here', 'twin']), 'the hub is started again');
like(($lonely->certsync('status'))[1], qr/renewal failed [2-9]/, 'and has not forgotten');

# ---- the same agent twice: the first stays, the second is told why not, and status names it ----

my $twin = $lonely->let_in('twin');
$twin = chr(length $twin) . $twin;
my $one = IO::Socket::UNIX->new(Peer => "$lonely->{top}/hub.run/gate.sock");
$one->syswrite("$twin$hello");
ok($lonely->until('twin', sub { $lonely->log('hub') =~ /connected agent=twin/ }), 'an agent is connected');
my $two = IO::Socket::UNIX->new(Peer => "$lonely->{top}/hub.run/gate.sock");
$two->syswrite($twin . ($hello =~ s/0{32}/1 x 32/er));
$two->sysread(my $answer, 65536);
like($answer, qr/another machine is connected as agent twin/, 'another machine with its name is refused');
is($lonely->state_of('twin')->{connected}, JSON::PP::true(), 'the first one stays');
for (1 .. 3) {
	my $again = IO::Socket::UNIX->new(Peer => "$lonely->{top}/hub.run/gate.sock");
	$again->syswrite($twin . ($hello =~ s/0{32}/1 x 32/er));
	$again->sysread(my $ignored, 65536);
}
is(scalar(() = $lonely->log('hub') =~ /refused agent=twin what=twice/g), 1, 'however often it comes, it is logged once');
isnt($lonely->state_of('twin')->{rival} // '', '', 'and is in the JSON');
like(($lonely->certsync('status'))[1], qr/another machine tried to connect as twin/, 'and status names the clone');
my $same = IO::Socket::UNIX->new(Peer => "$lonely->{top}/hub.run/gate.sock");
$same->syswrite("$twin$hello");
ok($lonely->until('replaced', sub { $lonely->log('hub') =~ /replaced by a new connection/ }),
	'the same machine replaces its old connection');
close $_ for $one, $two, $same;

$lonely->ends_clean;
$story->ends_clean;
done_testing;
