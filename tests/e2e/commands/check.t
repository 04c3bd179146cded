#!/usr/bin/perl
# `certsync check` beside `openssl s_client`: servers that are wrong in every usual way, each with the verdict that an
# administrator expects; what the hub wants; ports that nobody asked for; and an end in time whatever a server does.
# Not under valgrind: it judges a budget of time for two hundred endpoints.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use IO::Socket::INET;
use MIME::Base64 ();
use Needs;
use JSON::PP;
use POSIX ();
use Story;
use Test::More;
use Time::HiRes qw(time);

my $story = Story->new;
my $top = $story->top;
my $name = $Story::name;

# ---- certificates ----

# A middle authority signs the others. It is `openssl ca` because dates may lie in the past.
$story->openssl("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=middle CA'",
	"-keyout $top/middle.key -out $top/middle.csr");
Story::write_file("$top/ca.ext", "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n");
$story->openssl("x509 -req -in $top/middle.csr -CA $top/ca.pem -CAkey $top/ca.key -CAcreateserial -days 25",
	"-extfile $top/ca.ext -out $top/middle.pem");
Story::write_file("$top/ca.cnf", <<"CONF");
[ca]
default_ca = d
[d]
database = $top/index
new_certs_dir = $top
rand_serial = yes
default_md = sha256
policy = p
unique_subject = no
[p]
commonName = optional
CONF
Story::write_file("$top/index", '');

sub issue {
	my ($file, %wish) = @_;
	my $stamp = sub { POSIX::strftime('%Y%m%d%H%M%SZ', gmtime(time + 86400 * $_[0])) };
	Story::write_file("$top/ext", 'subjectAltName=' . ($wish{names} // "DNS:$name") . "\n" .
		'extendedKeyUsage=' . ($wish{usage} // 'serverAuth') . "\n" . ($wish{bare} ? "authorityKeyIdentifier=none\n" : '') .
		($wish{scts} ? '1.3.6.1.4.1.11129.2.4.2=DER:' . unpack('H*', $wish{scts}) . "\n" : ''));
	$story->openssl("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -keyout $top/$file.key -out $top/$file.csr");
	$story->openssl("ca -batch -config $top/ca.cnf -cert $top/middle.pem -keyfile $top/middle.key -in $top/$file.csr",
		"-extfile $top/ext -startdate", $stamp->($wish{from} // -1), '-enddate', $stamp->($wish{to} // 20), "-notext -out $top/$file.crt");
}

# Returns a list of SCTs (RFC 6962 section 3.3) in DER: of each the log's identifier and the milliseconds.
sub scts {
	my (@all) = @_;
	my $list = join '', map { pack 'n/a*', pack 'C a32 Q> n CC n/a*', 0, @$_, 0, 4, 3, "\x30\x06\x02\x01\x01\x02\x01\x01" } @all;
	return pack 'C C/a*', 4, pack 'n/a*', $list;
}

my %port;

# Starts openssl s_server with a certificate, and with the middle's behind it unless told otherwise.
sub serve {
	my ($what, $file, @chain) = @_;
	$port{$what} = Story::free_port();
	@chain = ('-cert_chain', "$top/middle.pem") if !@chain;
	$story->start("s-$what", 'openssl', 's_server', '-quiet', '-accept', "127.0.0.1:$port{$what}", '-cert', "$top/$file.crt",
		'-key', "$top/$file.key", grep { length } @chain);
}

# Starts a server of our own, which holds this dialogue with each connection.
sub play {
	my ($what, $dialogue) = @_;
	my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 300) or die $!;
	$port{$what} = $listener->sockport;
	my $pid = fork // die $!;
	if ($pid) {
		$story->{started}{"p-$what"} = $pid;
		return;
	}
	my @held;
	$SIG{PIPE} = 'IGNORE';
	$SIG{CHLD} = 'IGNORE';
	while (my $peer = $listener->accept) {
		if (!$dialogue) {
			push @held, $peer;
			next;
		}
		next if fork;
		$peer->autoflush(1);
		$dialogue->($peer);
		POSIX::_exit(0);
	}
	POSIX::_exit(1);
}

issue('sound');
issue('expired', from => -10, to => -2);
issue('future', from => 2);
issue('expiring', from => -18, to => 2);
issue('wrong', names => 'DNS:other.domain.pl');
issue('client', usage => 'clientAuth');
issue('anonymous', bare => 1);
issue('logged', scts => scts(['a' x 32, 1700000000123], ['b' x 32, 1700000060456]));
issue('garbled', scts => substr scts(['a' x 32, 1700000000123]), 0, -1);
$story->pair('self', self_signed => 1);
serve(sound => 'sound');
serve(expired => 'expired');
serve(future => 'future');
serve(expiring => 'expiring');
serve(wrong => 'wrong');
serve(client => 'client');
serve(anonymous => 'anonymous');
serve(logged => 'logged');
serve(garbled => 'garbled');
serve(self => 'self', '');
serve(incomplete => 'sound', '');
play(plain => sub { print { $_[0] } "* OK Dovecot ready.\r\n"; readline $_[0] });
play(slow => undef);
play(drip => sub { my $peer = shift; while (1) { print $peer '2' or last; select undef, undef, undef, 0.3 } });
play(flood => sub { my $peer = shift; for (1 .. 100000) { print $peer '220-' . 'x' x 1000 . "\r\n" or last } });
play(closes => sub { });

sub smtp {
	my ($offer, $behind) = @_;
	return sub {
		my $peer = shift;
		print $peer "220 mail ESMTP\r\n";
		while (my $line = readline $peer) {
			print $peer $line =~ /^EHLO/i ? "250-mail\r\n250-SIZE 1000\r\n$offer" :
				$line =~ /^STARTTLS/i ? "220 go\r\n$behind" : $line =~ /^QUIT/i ? "221 bye\r\n" : "502 no\r\n";
			last if $line =~ /^QUIT/i;
		}
	};
}
play(bare => smtp("250 HELP\r\n", ''));
play(injected => smtp("250 STARTTLS\r\n", "250 text from between\r\n"));
$port{dead} = Story::free_port();

# ---- asking ----

sub check {
	my (@words) = @_;
	my $output = `$Story::bin/certsync check @words -c $top/none.conf 2>&1`;
	return ($? >> 8, $output);
}

sub verdict {
	my ($what, @words) = @_;
	my $protocol = $what =~ /^(bare|injected|drip|flood)$/ ? 'smtp' : 'tls';
	my ($exit, $text) = check("$name:$port{$what}/$protocol", '--at 127.0.0.1', "--anchors $top/ca.pem --timeout 3 --json", @words);
	my $all = eval { decode_json($text) } or diag("$what: $text");
	my $row = $all->{checks}[0];
	is($exit, $row->{verdict} eq 'ok' ? 0 : 3, "$what: the exit code follows");
	return $row;
}

# Returns what the reference says: 0 when it would go on, and its text.
sub reference {
	my ($what, $more) = @_;
	my $starttls = $what =~ /^(bare|injected|drip|flood)$/ ? '-starttls smtp' : '';
	my $text = `timeout 3 openssl s_client -connect 127.0.0.1:$port{$what} $starttls -servername $name -verify_hostname $name -purpose sslserver -CAfile $top/ca.pem -no-CApath -no-CAstore -verify_return_error ${\($more // '')} </dev/null 2>&1`;
	return ($? >> 8, $text);
}

for my $what (map { /^s-(.*)/ } keys %{$story->{started}}) {
	$story->until("$what listens", sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port{$what}) })
		or fail("$what does not listen: " . $story->log("s-$what"));
}

# Each case has the server, the verdict, and what the reason, the advice and s_client say.
my @cases = (
	['sound', 'ok', qr/^$/, qr/^$/, undef],
	['expiring', 'expiring', qr/^expires at /, qr/renew/, undef],
	['expired', 'untrusted', qr/^expired at /, qr/renew/, qr/certificate has expired/],
	['future', 'untrusted', qr/^not valid before /, qr/clock/, qr/not yet valid/],
	['self', 'untrusted', qr/^self-signed/, qr/authority/, qr/self-signed certificate/],
	['wrong', 'untrusted', qr/^\Q$name\E is not among its names: other\.domain\.pl$/, qr/issued for/, qr/hostname mismatch/i],
	['client', 'untrusted', qr/^purpose: /, qr/issued/, qr/unsuitable certificate purpose/],
	['incomplete', 'untrusted', qr/incomplete: \/CN=middle CA was not sent/, qr/fullchain\.pem/, qr/unable to get local issuer/],
	['plain', 'unreachable', qr/plain text where TLS was expected/, qr/TLS settings/, qr/wrong version number/],
	['bare', 'unreachable', qr/STARTTLS/, qr/TLS settings/, qr/[Dd]idn't find STARTTLS/],
	['injected', 'unreachable', qr/text before the handshake/, qr/TLS settings/, 'in words of its own'],
	['dead', 'unreachable', qr/nothing listens there/, qr/start the service/, qr/Connection refused/],
	['slow', 'unreachable', qr/no answer within/, qr/hangs/, 'in words of its own'],
	['drip', 'unreachable', qr/no answer within/, qr/hangs/, 'in words of its own'],
	['flood', 'unreachable', qr/does not stop talking/, qr/TLS settings/, 'in words of its own'],
	['closes', 'unreachable', qr/./, qr/TLS settings/, 'in words of its own'],
);
for my $case (@cases) {
	my ($what, $verdict, $reason, $advice, $said) = @$case;
	my $row = verdict($what);
	is($row->{verdict}, $verdict, "$what: $verdict");
	like($row->{reason}, $reason, "$what: why");
	like($row->{advice}, $advice, "$what: what to do");
	next if $what =~ /^(drip|flood)$/; # s_client would never end there
	my ($exit, $text) = reference($what);
	is($exit ? 'refuses' : 'accepts', $said ? 'refuses' : 'accepts', "$what: s_client does likewise");
	like($text, $said, "$what: for the same reason") if ref $said;
	diag("$what: $row->{verdict}: $row->{reason}\n  s_client $exit: " . join ' / ', grep { /verify error|error:|errno|Didn't/ } split /\n/, $text)
		if $ENV{CHECK_SHOW};
}

# ---- what was found ----

my $row = verdict('sound');
is($row->{fingerprint}, $story->fingerprint("$top/sound.crt"), 'the SHA-256 is that of openssl');
is_deeply([@$row{qw(subject issuer key_type days_left sent)}], ['/CN=x', 'middle CA', 'ecdsa-p256', 19, 2], 'what is told of it');
ok($row->{name_match} && $row->{chain_complete} && $row->{trusted}, "a sound server's name, chain and trust are right");
ok(!exists $row->{match}, 'without --expect there is no match in the row');
ok(!verdict('incomplete')->{chain_complete}, 'a chain without its middle is not complete');
ok(verdict('expired')->{chain_complete}, 'that of an expired one is');
is(verdict('sound', '--days 30')->{verdict}, 'expiring', '--days says from when on');

# ---- Certificate Transparency ----

my ($exit, $text);
is_deeply($row->{scts}, [], 'it has no SCTs');
my $logged = verdict('logged');
my $printed = `openssl x509 -in $top/logged.crt -noout -text`;
is_deeply([map { unpack 'H*', MIME::Base64::decode_base64($_->{log}) } @{$logged->{scts}}],
	[map { lc s/[^0-9A-F]//gr } $printed =~ /Log ID *: ((?:[0-9A-F]{2}[:\s]*){32})/g], 'the logs are those that openssl sees');
is_deeply([map { $_->{timestamp} } @{$logged->{scts}}], ['2023-11-14T22:13:20Z', '2023-11-14T22:14:20Z'], 'and when');
like($printed, qr/Timestamp : Nov 14 22:13:20\.123 2023 GMT/, 'which openssl sees, too');
my $garbled = verdict('garbled');
is($garbled->{verdict}, 'ok', 'a list that cannot be read is no fault of what is served');
is($garbled->{warning}, 'its list of SCTs is not a string of DER', 'but a warning');
ok(!exists $garbled->{scts}, 'and there are no SCTs then');
for (['sound', 'has no SCTs \(Certificate Transparency\): only that of a public authority needs them\n'],
	['logged', 'is in Certificate Transparency: 2 SCTs\n  2023-11-14T22:13:20Z  log YWFh\w+=\n  2023-11-14T22:14:20Z  log YmJi\w+=\n']) {
	($exit, $text) = check("$name:$port{$_->[0]} $name:$port{$_->[0]}/tls", '--at 127.0.0.1', "--anchors $top/ca.pem");
	is($exit, 0, "$_->[0]: the table's exit code");
	like($text, qr/\n[0-9a-f]{16} $_->[1]\z/, "$_->[0]: below the table it is said once of the certificate, whoever serves it");
}
($exit, $text) = check("$name:$port{sound}", '--at 127.0.0.1', "--anchors $top/ca.pem --nagios");
like($text, qr/^CERTSYNC OK /, 'Nagios is told nothing of it');

my $wanted = join ':', uc($row->{fingerprint}) =~ /../g;
ok(verdict('sound', "--expect $wanted")->{match}, 'the expected SHA-256, as browsers write it');
my $other = $story->fingerprint("$top/wrong.crt");
$row = verdict('sound', "--expect $other");
is($row->{verdict}, 'mismatch', 'another is a mismatch');
like($row->{reason}, qr/serves [0-9a-f]{16}, wanted is @{[substr $other, 0, 16]}/, 'a mismatch names the certificate that is served and the one that is wanted');

($exit, $text) = check("$name:$port{sound}", '--at 127.0.0.1');
is($exit, 3, 'without --anchors the system decides');
like($text, qr/^HOST .*\n\Q$name\E +127\.0\.0\.1:$port{sound} +untrusted +19 +[0-9a-f]{16} +middle CA +ecdsa-p256 +yes /, 'the table has a row for an endpoint');
unlike($text, qr/\e/, 'no colour where there is no terminal');
my $command = "$Story::bin/certsync check $name:$port{sound} --at 127.0.0.1 -c $top/none.conf";
like(`TERM=xterm NO_COLOR= script -qec '$command' /dev/null`, qr/\e\[31muntrusted\e\[0m/, 'a verdict has colour on a terminal');
unlike(`TERM=xterm NO_COLOR=1 script -qec '$command' /dev/null`, qr/\e/, 'with NO_COLOR there is none');

# ---- what only strict clients refuse ----

$row = verdict('anonymous');
is($row->{verdict}, 'ok', 'a certificate that names no issuer key is one that most clients take');
like($row->{warning}, qr/^strict: Missing Authority Key Identifier at depth 0, \/CN=x: .*Python from 3\.13 on/, 'those that do not are warned of');
is((reference('anonymous'))[0], 0, 's_client takes it');
like((reference('anonymous', '-x509_strict'))[1], qr/Missing Authority Key Identifier/, 'and refuses it when it is to be strict');
is(verdict('sound')->{warning}, '', 'a sound one has no warning');
is((reference('sound', '-x509_strict'))[0], 0, 's_client takes that strictly too');
($exit, $text) = check("$name:$port{anonymous}", "--at 127.0.0.1 --anchors $top/ca.pem");
is($exit, 0, 'a warning is no failure');
like($text, qr/^\Q$name\E 127\.0\.0\.1:$port{anonymous}: strict: Missing Authority/m, 'the warning stands below the table');

# ---- a pair ----

Story::write_file("$top/ext", "subjectAltName=DNS:$name\nextendedKeyUsage=serverAuth\n");
$story->openssl("req -newkey rsa:2048 -nodes -subj /CN=x -keyout $top/rsa.key -out $top/rsa.csr");
$story->openssl("x509 -req -in $top/rsa.csr -CA $top/middle.pem -CAkey $top/middle.key -CAcreateserial -days 3 -extfile $top/ext -out $top/rsa.crt");
serve(pair => 'sound', '-cert_chain', "$top/middle.pem", '-dcert', "$top/rsa.crt", '-dkey', "$top/rsa.key", '-dcert_chain', "$top/middle.pem");
serve(old => 'sound', '-cert_chain', "$top/middle.pem", '-dcert', "$top/rsa.crt", '-dkey', "$top/rsa.key", '-dcert_chain', "$top/middle.pem", '-tls1_2');
serve(rsa => 'rsa');
for my $what ('pair', 'old', 'rsa') {
	$story->until("$what listens", sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port{$what}) });
}
for (['pair', 'ecdsa-p256', 'rsa-2048'], ['old', 'ecdsa-p256', 'rsa-2048'], ['rsa', 'rsa-2048'], ['sound', 'ecdsa-p256']) {
	my ($what, @keys) = @$_;
	($exit, $text) = check("$name:$port{$what}", "--at 127.0.0.1 --anchors $top/ca.pem --days 1 --both-keys --json");
	is($exit, 0, "both keys: $what is ok") or diag($text);
	is_deeply([sort map { $_->{key_type} } @{decode_json($text)->{checks}}], \@keys, "$what: @keys");
}
is(verdict('pair', '--both-keys')->{verdict}, 'ok', 'the first of a pair is well');

# ---- Nagios ----

for (['sound', 0, 'OK'], ['anonymous', 1, 'WARNING'], ['expiring', 1, 'WARNING'], ['expired', 2, 'CRITICAL'], ['dead', 2, 'CRITICAL']) {
	my ($what, $code, $word) = @$_;
	($exit, $text) = check("$name:$port{$what}", "--at 127.0.0.1 --anchors $top/ca.pem --nagios");
	is($exit, $code, "Nagios: $what is $code");
	like($text, qr/^CERTSYNC $word - [^|\n]*\| endpoints=1 bad=\d[^|\n]*\n\z/, 'Nagios gets one line');
}
for ('--nagios', "$name --nagios --json", "$name:0 --nagios") {
	($exit, $text) = check($_);
	is($exit, 3, "Nagios: $_ is unknown");
	like($text, qr/^CERTSYNC UNKNOWN - [^\n]*\n\z/, 'in one line too');
}

# ---- wrong usage ----

for ("$name:0", "$name:99999", "$name:25/gopher", "'a b'", ':25', '[::1', "$name --at nowhere", "$name --timeout x",
	"$name --days 0", "$name --anchors $top/none.pem", "--expect $other", "$name --expect Not_A_Name") {
	($exit, $text) = check($_);
	is($exit, 2, "usage: $_") or diag($text);
	like($text, qr/^certsync: [^\n]+\n\z/, 'wrong usage has its reason in one line');
}
($exit, $text) = check('no-such-name.invalid:25', "--timeout 5 --json");
is($exit, 3, 'a name without an address is no wrong usage');
is(decode_json($text)->{checks}[0]{verdict}, 'unreachable', 'a name that does not exist is unreachable');

# ---- many, and slow ----

# Those that answer need some time on a busy machine; those that do not are waited for together.
my $timeout = 2 * ($ENV{CERTSYNC_PATIENCE} // 1);
my $began = time;
($exit, $text) = check((map { "127.0.0.1:$port{slow}" } 1 .. 100), (map { "$name:$port{sound}" } 1 .. 100),
	"--at 127.0.0.1 --anchors $top/ca.pem --timeout $timeout --json");
my $took = time - $began;
my %count;
$count{$_->{verdict}}++ for @{decode_json($text)->{checks}};
is_deeply(\%count, {ok => 100, unreachable => 100}, 'two hundred, each with its own verdict');
ok($took < 5 * $timeout, sprintf('at once: %.1f s, not 100 times %d', $took, $timeout));

# A server so fast that its answer comes in pieces while the handshake reads.
{
	$port{fast} = Story::free_port();
	Story::write_file("$top/both.pem", Story::read_file("$top/sound.crt") . Story::read_file("$top/middle.pem"));
	Story::write_file("$top/nginx.conf", <<"CONF");
pid $top/nginx.pid; error_log $top/nginx.err; daemon off; master_process off;
events { worker_connections 2000; }
http { access_log off; server { listen 127.0.0.1:$port{fast} ssl; ssl_certificate $top/both.pem; ssl_certificate_key $top/sound.key; } }
CONF
	$story->start('nginx', '/usr/sbin/nginx', '-c', "$top/nginx.conf", '-e', "$top/nginx.err");
	$story->until('nginx', sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port{fast}) });
	my @wrong;
	for (1 .. 10) {
		($exit, $text) = check((map { "$name:$port{fast}" } 1 .. 250), "--at 127.0.0.1 --anchors $top/ca.pem --nagios");
		push @wrong, $text if $exit;
	}
	is_deeply(\@wrong, [], 'ten times two hundred and fifty of a fast one, all ok');
}

# ---- ports that nobody asked for ----

SKIP: {
	needs_root('namespaces', 4);
	Story::write_file("$top/alone", <<"SCRIPT", 0755);
#!/bin/sh
# These ports are in a network of their own, where the well-known ones are free.
ip link set lo up
$Story::bin/certsync check 127.0.0.1 ::1 -c $top/none.conf --json >$top/closed.json
openssl s_server -quiet -accept 127.0.0.1:443 -cert $top/sound.crt -key $top/sound.key -cert_chain $top/middle.pem &
server=\$!
tries=0
until openssl s_client -connect 127.0.0.1:443 </dev/null >$top/alone.log 2>&1 || [ \$((tries += 1)) -gt 200 ]; do sleep 0.05; done
$Story::bin/certsync check $name --at 127.0.0.1 --anchors $top/ca.pem -c $top/none.conf --json >$top/open.json
$Story::bin/certsync check $name --at 127.0.0.1 --at ::1 --anchors $top/ca.pem -c $top/none.conf --json >$top/half.json
kill \$server
SCRIPT
	system('unshare', '-n', "$top/alone");
	my $rows = sub { [map { "$_->{endpoint} $_->{verdict}" } @{decode_json(Story::read_file("$top/$_[0].json") || '{"checks":[]}')->{checks}}] };
	is_deeply($rows->('open'), ['127.0.0.1:443 ok'], 'what nobody serves is no fault');
	is_deeply($rows->('half'), ['127.0.0.1:443 ok', '[::1]:443 unreachable'], 'what one address of two serves is');
	is_deeply($rows->('closed'), [' unreachable', ' unreachable'], 'a host with nothing at all is, once');
	like(Story::read_file("$top/closed.json"), qr/no address answers on any of the ports 25, 110/, 'and says what was tried');
}

# ---- what the hub wants ----

$story->pair('first');
$story->pair('second');
ok($story->hub, 'a hub starts') or diag($story->log('hub'));
($exit, $text) = $story->certsync('check');
is($exit, 2, 'with nothing published there is nothing to check');
like($text, qr/published no certificate/, 'which is said');
$story->import('first');
serve(first => 'first', '');
serve(second => 'second', '');
for my $what ('first', 'second') {
	$story->until("$what listens", sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port{$what}) });
}
($exit, $text) = $story->certsync('check', "$name:$port{first}", '--at 127.0.0.1', '--expect', $name);
is($exit, 0, 'the desired revision, under the anchors of hub.conf') or diag($text);
($exit, $text) = $story->certsync('check', "$name:$port{second}", '--at 127.0.0.1', '--expect', $name);
is($exit, 3, 'a server with another certificate is exit 3');
like($text, qr/is mismatch: .*\n  what to do: certsync push \Q$name\E;/, 'push is what to do');
($exit, $text) = $story->certsync('check', "$name:$port{first}", '--at 127.0.0.1', '--expect other.domain.pl');
is($exit, 2, 'a certificate that the hub does not have');
($exit, $text) = $story->certsync('check', '--at 127.0.0.1 --json');
is_deeply([map { $_->{host} } @{decode_json($text)->{checks}}], [$name], 'without a host: every name of the hub\'s certificates')
	or diag($text);

# ---- on the agent ----

$story->agent('here', services => "service \"nothing\" { probe = {\"127.0.0.1:$port{first}\"} }");
ok($story->until_state('here', 'verified'), 'an agent has it');
$text = `$Story::bin/certsync-agent check -c $top/here/agent.conf --json 2>&1`;
is($? >> 8, 0, 'its own check agrees') or diag($text);
is_deeply([map { [@$_{qw(host endpoint verdict)}, $_->{match} ? 'match' : 'other'] } @{decode_json($text)->{checks}}],
	[[$name, "127.0.0.1:$port{first}", 'ok', 'match']], 'of each probe of agent.conf, against what is installed');
$text = `$Story::bin/certsync-agent check $name:$port{second} --at 127.0.0.1 --expect $name -c $top/here/agent.conf 2>&1`;
is($? >> 8, 3, 'another server is not what is installed here');

$story->stop('hub');
($exit, $text) = $story->certsync('check', "$name:$port{first}", '--expect', $name);
is($exit, 4, 'a hub that is away');
like($text, qr/hub cannot be reached/, 'is named');

$story->ends_clean;
done_testing;
