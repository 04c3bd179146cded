#!/usr/bin/perl
# What certsync check, openssl s_client and sslscan say, side by side, of servers that are wrong in every usual way, of
# old versions of TLS and single kinds of keys, and of what a hostile server or resolver may send: there is a verdict
# for each, in time.
# Not under valgrind: it judges how soon three seconds for each of its servers are over.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use IO::Socket::INET;
use Needs;
use JSON::PP;
use POSIX ();
use Socket qw(SOL_SOCKET SO_LINGER);
use Story;
use Test::More;
use Time::HiRes qw(time);

my $story = Story->new;
my $top = $story->top;
my $name = $Story::name;
my %port;

# ---- certificates ----

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
	my $kind = $wish{rsa} ? 'rsa:2048' : 'ec -pkeyopt ec_paramgen_curve:P-256';
	my $subject = $wish{subject} // 'x';
	Story::write_file("$top/ext", 'subjectAltName=' . ($wish{names} // "DNS:$name") . "\nextendedKeyUsage=serverAuth\n");
	$story->openssl("req -newkey $kind -nodes -subj '/CN=$subject' -keyout $top/$file.key -out $top/$file.csr");
	$story->openssl("ca -batch -config $top/ca.cnf -cert $top/middle.pem -keyfile $top/middle.key -in $top/$file.csr",
		"-extfile $top/ext -startdate", $stamp->($wish{from} // -1), '-enddate', $stamp->($wish{to} // 20), "-notext -out $top/$file.crt");
}

# ---- servers ----

sub serve {
	my ($what, $file, @more) = @_;
	$port{$what} = Story::free_port();
	unshift @more, '-cert_chain', "$top/middle.pem" if !grep { $_ eq '-cert_chain' || $_ eq 'alone' } @more;
	$story->start("s-$what", 'openssl', 's_server', '-quiet', '-accept', "127.0.0.1:$port{$what}", '-cert', "$top/$file.crt",
		'-key', "$top/$file.key", grep { $_ ne 'alone' } @more);
}

# Starts a server of our own, which holds this dialogue with each connection, for what no real server does.
sub play {
	my ($what, $dialogue) = @_;
	my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 50) or die $!;
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

sub await {
	for my $what (@_) {
		$story->until("$what listens", sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port{$what}) })
			or fail("$what does not listen: " . $story->log("s-$what"));
	}
}

my %smtp = map { $_ => 1 } qw(bare injected byte flood);

# Runs certsync check once over all. Returns "name" => row of the JSON, and the seconds that it took.
sub check {
	my ($options, @what) = @_;
	my $words = join ' ', map { "$name:$port{$_}/" . ($smtp{$_} ? 'smtp' : 'tls') } @what;
	my $began = time;
	my $text = `$Story::bin/certsync check $words --at 127.0.0.1 --anchors $top/ca.pem $options --json -c $top/none.conf 2>&1`;
	my $took = time - $began;
	my $all = eval { decode_json($text) } or diag($text);
	my %rows;
	for my $what (@what) {
		$rows{$what} = [grep { $_->{endpoint} =~ /^127\.0\.0\.1:$port{$what}\// } @{$all->{checks}}];
	}
	return (\%rows, $took, $text);
}

# ---- ten wrong servers, three witnesses ----

issue('sound');
issue('expired', from => -10, to => -2);
issue('wrong', names => 'DNS:other.domain.pl');
issue('rsa', rsa => 1);
$story->pair('self', self_signed => 1);
serve(expired => 'expired');
serve(self => 'self', 'alone');
serve(wrong => 'wrong');
serve(incomplete => 'sound', 'alone');
serve(kind => 'rsa');
play(plain => sub { print { $_[0] } "* OK Dovecot ready.\r\n"; readline $_[0] });
play(bare => smtp("250 HELP\r\n", ''));
play(injected => smtp("250 STARTTLS\r\n", "250 text from between\r\n"));
play(slow => undef);
$port{dead} = Story::free_port();
await(qw(expired self wrong incomplete kind));

sub s_client {
	my ($what) = @_;
	my $more = ($smtp{$what} ? '-starttls smtp' : '') . ($what eq 'kind' ? ' -sigalgs ECDSA+SHA256' : '');
	my $text = `timeout 3 openssl s_client -connect 127.0.0.1:$port{$what} $more -servername $name -verify_hostname $name -CAfile $top/ca.pem -no-CApath -no-CAstore -verify_return_error </dev/null 2>&1`;
	my $exit = $? >> 8;
	my ($said) = $text =~ /verify error:num=\d+:(.*)/ ? $1 : $text =~ /(Didn't find STARTTLS[^,]*)/ ? $1 :
		$text =~ /error:\w+:[^:]*:[^:]*:([^:]+)/ ? $1 : $text =~ /(Connection refused)/ ? $1 : '';
	return ($exit, $exit == 124 ? 'no end within 3 s' : $said || "exit $exit");
}

sub sslscan {
	my ($what) = @_;
	my $more = $smtp{$what} ? '--starttls-smtp' : '';
	my $text = `timeout 6 sslscan --no-colour --no-ciphersuites --no-renegotiation --no-compression --no-heartbleed --no-groups --no-fallback --connect-timeout=2 --timeout=2 --sni-name=$name $more 127.0.0.1:$port{$what} 2>&1`;
	my $exit = $? >> 8;
	return 'no end within 6 s' if $exit == 124;
	return $1 if $text =~ /^\s*(ERROR:? .*)/m || $text =~ /(Could not open a connection[^\n]*)/;
	my %fact = $text =~ /^\s*(Subject|Altnames|Issuer|Not valid after|RSA Key Strength|ECC Curve Name):\s*(.*?)\s*$/mg;
	return %fact ? join ', ', map { "$_ $fact{$_}" } grep { defined $fact{$_} } 'Altnames', 'Issuer', 'Not valid after', 'RSA Key Strength' :
		'no certificate shown';
}

# Each has the server, the verdict and its reason, and whether s_client refuses for that reason.
my @ten = (
	['expired', 'untrusted', qr/^expired at /, qr/has expired/],
	['self', 'untrusted', qr/^self-signed/, qr/self-signed/],
	['wrong', 'untrusted', qr/is not among its names: other\.domain\.pl$/, qr/hostname mismatch/i],
	['incomplete', 'untrusted', qr/incomplete: \/CN=middle CA was not sent/, qr/local issuer/],
	['kind', 'mismatch', qr/ECDSA certificate of the pair is not served/, qr/handshake failure/],
	['plain', 'unreachable', qr/plain text where TLS was expected/, qr/wrong version number/],
	['bare', 'unreachable', qr/STARTTLS/, qr/./],
	['injected', 'unreachable', qr/text before the handshake/, qr/./],
	['slow', 'unreachable', qr/no answer within/, qr/no end/],
	['dead', 'unreachable', qr/nothing listens/, qr/Connection refused/],
);
my ($rows) = check('--timeout 3', map { $_->[0] } grep { $_->[0] ne 'kind' } @ten);

# A wrong kind of key is one only where a pair is wanted, so an agent has a pair installed.
Story::write_file("$top/ext", "subjectAltName=DNS:$name\n");
my $live = "$top/etc/live/$name";
system('mkdir', '-p', $live);
my %pem = map { $_ => join '', map { Story::read_file("$top/$_") } "$_.crt", 'middle.pem' } qw(sound rsa);
Story::write_file("$live/fullchain.pem", $pem{sound});
Story::write_file("$live/haproxy.pem.ecdsa", Story::read_file("$top/sound.key") . $pem{sound}, 0600);
Story::write_file("$live/haproxy.pem.rsa", Story::read_file("$top/rsa.key") . $pem{rsa}, 0600);
serve(pair => 'sound', '-dcert', "$top/rsa.crt", '-dkey', "$top/rsa.key", '-dcert_chain', "$top/middle.pem");
serve(other => 'wrong');
await('pair');

sub agent_check {
	my ($endpoint, @words) = @_;
	Story::write_file("$top/agent.conf", <<"CONF");
hub = {"unix://$top/none.sock"}
directory = "$top/etc"
anchors = "$top/ca.pem"
user = "$story->{user}"
admin_group = "$story->{group}"
certificate "$name" { allow = {"*.domain.pl"} service "postfix" { probe = {"$endpoint"} } }
CONF
	my $text = `$Story::bin/certsync-agent check -c $top/agent.conf @words 2>&1`;
	return ($? >> 8, $text, eval { decode_json($text) });
}
my (undef, undef, $seen) = agent_check("127.0.0.1:$port{kind}/tls", '--both-keys --json');
$rows->{kind} = [grep { $_->{verdict} ne 'ok' } @{$seen->{checks}}];

ok(-x '/usr/bin/sslscan', 'sslscan is installed (make deps)');
my @table;
for my $case (@ten) {
	my ($what, $verdict, $reason, $refusal) = @$case;
	my $row = $rows->{$what}[0] // {verdict => 'none', reason => ''};
	is($row->{verdict}, $verdict, "$what: $verdict");
	like($row->{reason}, $reason, "$what: why");
	my ($exit, $said) = s_client($what);
	like($said, $refusal, "$what: s_client refuses too") if $what !~ /^(bare|injected)$/;
	push @table, sprintf "%-10s  certsync  %s: %s\n%-10s  s_client  %s\n%-10s  sslscan   %s\n", $what, $row->{verdict}, $row->{reason},
		'', $said, '', sslscan($what);
}
diag("\n", @table);

# ---- an agent's own ports ----

my ($exit, $text);
($exit, $text) = agent_check("127.0.0.1:$port{pair}/tls", '--both-keys --json');
is($exit, 0, 'agent: both of the pair that is installed are served') or diag($text);
is_deeply([sort map { $_->{key_type} } @{decode_json($text)->{checks}}], ['ecdsa-p256', 'rsa-2048'], 'a row for each');
ok(!(grep { !$_->{match} } @{decode_json($text)->{checks}}), 'each is the expected one');
($exit, $text) = agent_check("127.0.0.1:$port{other}/tls");
is($exit, 3, 'agent: another certificate than the installed one');
like($text, qr/serves [0-9a-f]{16}, wanted is [0-9a-f]{16}/, 'a mismatch names what is served and what is wanted') or diag($text);
($exit, $text) = agent_check("127.0.0.1:$port{dead}", '--nagios');
is($exit, 2, 'agent: a dead port is critical');
($exit, $text) = agent_check("127.0.0.1:$port{dead}", "$name:$port{pair} --at 127.0.0.1 --expect $name --json");
is($exit, 0, 'agent: with a host it looks there') or diag($text);
($exit, $text) = agent_check("127.0.0.1:$port{dead}", '--at 127.0.0.1');
is($exit, 2, 'agent: --at without a host is refused');
($exit, $text) = agent_check("127.0.0.1:$port{dead}", '--expect other.domain.pl');
is($exit, 2, 'agent: a certificate that agent.conf does not have');
$text = `$Story::bin/certsync-agent check -c $top/none.conf 2>&1`;
is($? >> 8, 2, 'agent: without a configuration and a host');
like($text, qr/name a HOST/, 'which is what it asks for');
rename "$live/fullchain.pem", "$live/away";
($exit, $text) = agent_check("127.0.0.1:$port{pair}/tls");
is($exit, 2, 'agent: nothing installed');
like($text, qr/nothing is installed here yet/, 'is said');

# ---- versions of TLS, kinds of keys and signatures ----

my @weak = ('-cipher', 'ALL:@SECLEVEL=0');
serve(tls10 => 'rsa', '-tls1', @weak);
serve(tls11 => 'sound', '-tls1_1', @weak);
serve(tls12 => 'rsa', '-tls1_2', '-sigalgs', 'RSA+SHA256');
serve(tls13 => 'sound', '-tls1_3');
serve(pss => 'rsa', '-sigalgs', 'rsa_pss_rsae_sha256');
my @versions = qw(tls10 tls11 tls12 tls13 pss);
await(@versions);
($rows) = check('--both-keys', @versions);
for (['tls10', 'TLSv1', 'rsa-2048'], ['tls11', 'TLSv1.1', 'ecdsa-p256'], ['tls12', 'TLSv1.2', 'rsa-2048'], ['tls13', 'TLSv1.3', 'ecdsa-p256'],
	['pss', 'TLSv1.3', 'rsa-2048']) {
	my ($what, $tls, $key) = @$_;
	my $row = $rows->{$what}[0];
	is_deeply([@$row{qw(verdict tls key_type)}], ['ok', $tls, $key], "$what: judged, with its version") or diag(explain($row));
	is($row->{warning} ne '' ? 'warned' : '', $tls =~ /^TLSv1(\.1)?$/ ? 'warned' : '', "$what: whether clients of today refuse it");
}
$text = `$Story::bin/certsync check $name:$port{tls10} --at 127.0.0.1 --anchors $top/ca.pem --nagios -c $top/none.conf`;
is($? >> 8, 1, 'Nagios: an old version is a warning') or diag($text);
like($text, qr/^CERTSYNC WARNING - 1 of 1 endpoints: .*TLSv1,/, "Nagios' warning names the old version of TLS");

# ---- hostile servers ----

my $reset = sub { setsockopt $_[0], SOL_SOCKET, SO_LINGER, pack('ii', 1, 0); close $_[0] };
Story::write_file("$top/hundred.pem", Story::read_file("$top/middle.pem") x 100);
issue('long', names => join ',', map { "DNS:" . join '.', $_, ('a' x 60) x 3, 'domain.pl' } 1 .. 90);
issue('evil', subject => "x\e[31mred\a", names => "DNS:$name,DNS:*.\e]0;title\a.pl");
serve(hundred => 'sound', '-cert_chain', "$top/hundred.pem");
serve(long => 'long');
serve(evil => 'evil');
play(byte => sub { my $peer = shift; print $peer '2'; readline $peer });
play(tlsbyte => sub { my $peer = shift; print $peer "\x16"; sysread $peer, my $said, 4096 for 1 .. 3 });
play(flood => sub { my $peer = shift; for (1 .. 100000) { print $peer '220-' . 'x' x 1000 . "\r\n" or last } });
play(middle => sub { my $peer = shift; sysread $peer, my $hello, 100; print $peer "\x16\x03\x03\x10\x00\x02\x00\x0f" });
play(reset => sub { sysread $_[0], my $hello, 1; $reset->($_[0]) });
play(ssh => sub { print { $_[0] } "SSH-2.0-OpenSSH_9.2\r\n"; readline $_[0] });
play(http => sub { my $peer = shift; sysread $peer, my $hello, 4096; print $peer "HTTP/1.1 400 Bad Request\r\n\r\n" });
play(noise => sub { my $peer = shift; print $peer join '', map { chr int rand 256 } 1 .. 4096; readline $peer });
await(qw(hundred long evil));
my @hostile = qw(hundred long evil byte tlsbyte flood middle reset ssh http noise);
my $took;
($rows, $took, $text) = check('--timeout 3', @hostile);
ok($took < 5, sprintf('hostile servers: all over in %.1f s, with 3 s for each', $took));
for my $what (@hostile) {
	my $row = $rows->{$what}[0] // {verdict => 'none', reason => ''};
	my $wanted = {hundred => 'ok', long => 'untrusted', evil => 'ok'}->{$what} // 'unreachable';
	is($row->{verdict}, $wanted, "$what: $wanted") or diag(explain($row));
	note("$what: $row->{verdict}: ", substr($row->{reason}, 0, 150) =~ s/[^ -~]/?/gr);
}
like($rows->{$_}[0]{reason}, qr/no answer within/, "$_: by its deadline") for qw(byte tlsbyte);
is($rows->{hundred}[0]{sent}, 101, 'a hundred and one certificates were sent');
unlike($text, qr/\\u00(?:0[0-9a-f]|1[0-9a-f]|7f)/i, 'no control character in the JSON');
$text = `$Story::bin/certsync check $name:$port{evil} --at 127.0.0.1 -c $top/none.conf 2>&1`;
unlike($text, qr/[^\n\x20-\x7e\x80-\xff]/, 'nor on the terminal');

# ---- names ----

SKIP: {
	needs_root('namespaces', 3);
	Story::write_file("$top/hosts", join '', map { "127.0.1.$_ fifty.domain.pl\n" } 1 .. 50);
	$text = `unshare -m sh -c 'mount --bind $top/hosts /etc/hosts && exec $Story::bin/certsync check fifty.domain.pl:$port{dead} --json --timeout 5 -c $top/none.conf' 2>&1`;
	is($? >> 8, 3, 'a name with fifty addresses, of which none is right, is exit 3');
	my $checks = eval { decode_json($text)->{checks} } // [];
	is(scalar(@$checks), 50, 'are fifty rows') or diag($text);
	is(scalar(grep { $_->{verdict} eq 'unreachable' } @$checks), 50, 'each with its own verdict');
}
$text = `$Story::bin/certsync check no-such-name.invalid:25 --timeout 5 --json -c $top/none.conf 2>&1`;
is(decode_json($text)->{checks}[0]{verdict}, 'unreachable', 'a name without an address');
$text = `$Story::bin/certsync check "\$(printf 'evil\\033[31m.pl:25')" -c $top/none.conf 2>&1`;
is($? >> 8, 2, 'a name with control characters is refused');
unlike($text, qr/\e/, 'and not repeated as it was');

# ---- many ----

$text = `'$FindBin::Bin/../../bench/check' 100 --short 2>&1`;
is($?, 0, 'a hundred endpoints in one round, each judged') or diag($text);
note($text);

$story->ends_clean;
done_testing;
