#!/usr/bin/perl
# An ACME order from the account to the stored certificate: order_start of the daemon and `certsync-worker acme`,
# against the real Pebble where it can play the part, and against a double that lies (ca_double.py) where not.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Copy qw(copy);
use File::Temp qw(tempdir);
use IO::Socket::INET;
use POSIX qw(:sys_wait_h);
use Test::More;
use Time::HiRes qw(time sleep);

my $bin = abs_path($ENV{CERTSYNC_BIN} // 'build/bin');
my $tool = abs_path($ENV{CERTSYNC_ORDER_TOOL} // "$bin/../tests/order_tool");
my $double = abs_path(dirname(__FILE__) . '/ca_double.py');
my $top = tempdir('certsync-acme.XXXXXX', TMPDIR => 1, CLEANUP => 1);
our @names = qw(mail.domain.pl smtp.domain.pl imap.domain.pl);
my ($retry, $permanent, $untrusted) = (1, 2, 3); # enum error_kind, as the tool prints it
my (%started, $runs);
END { local $?; kill 'KILL', $_ for values %started }

# ---- files ----

sub write_file {
	my ($path, $text) = @_;
	open my $file, '>', $path or die "$path: $!";
	print $file $text;
	close $file or die "$path: $!";
}

sub read_file {
	my ($path) = @_;
	open my $file, '<:raw', $path or return '';
	local $/;
	return <$file> // '';
}

sub openssl {
	my @words = @_;
	system("openssl @words >>$top/openssl.log 2>&1") == 0 or die "openssl @words: " . read_file("$top/openssl.log");
}

# The tool looks for the worker beside itself.
mkdir "$top/bin";
for ("$bin/certsync-worker", $tool) {
	copy($_, "$top/bin/") or die "$_: $!";
}
chmod 0755, "$top/bin/certsync-worker", "$top/bin/order_tool";

# The authority of the servers' own TLS.
my $new = 'req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes';
openssl("$new -x509 -days 30 -subj '/CN=test CA' -keyout $top/ca.key -out $top/ca.pem");
openssl("$new -subj /CN=acme -keyout $top/api.key -out $top/api.csr");
write_file("$top/api.ext", "subjectAltName=IP:127.0.0.1\n");
openssl("x509 -req -in $top/api.csr -CA $top/ca.pem -CAkey $top/ca.key -CAcreateserial -days 30",
	"-extfile $top/api.ext -out $top/api.pem");

# ---- processes ----

sub free_port {
	my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 1) or die $!;
	return $socket->sockport;
}

sub start {
	my ($what, @command) = @_;
	unlink "$top/$what.log";
	my $pid = fork // die $!;
	if ($pid == 0) {
		open STDIN, '<', '/dev/null' or die $!;
		open STDOUT, '>', "$top/$what.log" or die $!;
		open STDERR, '>&', \*STDOUT or die $!;
		exec @command or die "$command[0]: $!";
	}
	return $started{$what} = $pid;
}

sub stop {
	my ($what) = @_;
	my $pid = delete $started{$what} or return;
	kill 'KILL', $pid;
	waitpid $pid, 0;
}

# Asks again and again: for a server to come up.
sub wait_for {
	my ($what, $seconds, $condition) = @_;
	my $deadline = time + $seconds;
	until ($condition->()) {
		die "waited $seconds s for $what\n" . read_file("$top/pebble.log") . read_file("$top/double.log")
			if time > $deadline;
		sleep 0.02;
	}
}

sub listens {
	my ($port) = @_;
	return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) ? 1 : 0;
}

# ---- the authorities ----

my ($api, $http, $directory);

sub pebble {
	my (%settings) = @_;
	my $dns;
	($api, $http, $dns, my ($management, $tls, $dns_management)) = map { free_port } 1 .. 6;
	$directory = "https://127.0.0.1:$api/dir";
	write_file("$top/pebble.json", qq({"pebble": {"listenAddress": "127.0.0.1:$api",
		"managementListenAddress": "127.0.0.1:$management", "certificate": "$top/api.pem",
		"privateKey": "$top/api.key", "httpPort": $http, "tlsPort": $tls, "ocspResponderURL": "",
		"externalAccountBindingRequired": false}}));
	start('dns', 'pebble-challtestsrv', '-http01', '', '-https01', '', '-tlsalpn01', '', '-dns01', "127.0.0.1:$dns",
		'-management', "127.0.0.1:$dns_management", '-defaultIPv6', '');
	local @ENV{qw(PEBBLE_VA_NOSLEEP PEBBLE_WFE_NONCEREJECT PEBBLE_AUTHZREUSE)} =
		(1, $settings{reject} // 0, $settings{reuse} // 0);
	start('pebble', 'pebble', '-config', "$top/pebble.json", '-dnsserver', "127.0.0.1:$dns");
	wait_for('Pebble', 20, sub { listens($api) && listens($dns_management) });
}

sub pebble_end {
	stop($_) for qw(pebble dns);
}

sub double {
	my ($lie) = @_;
	stop('double');
	mkdir "$top/scratch";
	start('double', 'python3', $double, $lie, map { "$top/$_" } qw(api.pem api.key ca.pem ca.key scratch));
	wait_for("the double ($lie)", 20, sub { read_file("$top/double.log") =~ /^ready (\d+)$/m && ($api = $1) });
	$directory = "https://127.0.0.1:$api/directory";
	$http = free_port;
}

# How many orders Pebble has made, and how often it was asked to end one.
sub orders { return scalar(() = read_file("$top/pebble.log") =~ /orders in the db/g) }
sub finalized { return scalar(() = read_file("$top/pebble.log") =~ /POST \/finalize-order/g) }

sub double_saw {
	my ($request) = @_;
	return scalar(() = read_file("$top/double.log") =~ /^\Q$request\E$/mg);
}

# ---- the tool ----

sub fresh {
	my $state = "$top/state-" . ++$runs;
	mkdir $state;
	return $state;
}

sub command {
	my ($state, $kill_at) = @_;
	return ("$top/bin/order_tool", $state, "127.0.0.1:$http", $directory, "$top/ca.pem", $kill_at, @names);
}

# Runs it to its end. Returns what it printed, and its wait status.
sub order {
	my ($state, %wish) = @_;
	open my $out, '-|', command($state, $wish{kill_at} // '-') or die $!;
	my $text = join '', <$out>;
	close $out;
	return ($text, $?);
}

sub issued {
	my ($text) = @_;
	return $text =~ /^issued (.*)$/m && join(' ', sort split ' ', $1) eq join(' ', sort @names);
}

# "failed KIND RETRY-AFTER TEXT"
sub failure {
	my ($text) = @_;
	return $text =~ /^failed (\d) (\d+) (.*)$/m ? ($1, $2, $3) : (-1, -1, "no failure: $text");
}

sub account_key { return read_file("$_[0]/records/acme/test/account.key") }
sub stored_key { return read_file("$_[0]/records/orders/mail.domain.pl/privkey.pem") }
sub stored_order { return read_file("$_[0]/records/orders/mail.domain.pl/order.json") }
sub published { return read_file("$_[0]/certificates/mail.domain.pl/current/fullchain.pem") }

# ---- Pebble: the ordinary and the refused nonce ----

subtest 'a certificate is issued, its order leaves nothing behind, the account is kept' => sub {
	pebble();
	my $state = fresh();
	my ($text) = order($state);
	ok(issued($text), 'issued with exactly its names') or diag $text;
	is(orders(), 1, 'one order');
	is(stored_order($state), '', 'no order is left');
	like(published($state), qr/^-----BEGIN CERTIFICATE-----/, 'published');
	my $key = account_key($state);
	like($key, qr/PRIVATE KEY/, 'the account key is kept');
	($text) = order($state);
	ok(issued($text), 'renewed') or diag $text;
	is(account_key($state), $key, 'with the same account');
	is(scalar(() = read_file("$top/pebble.log") =~ /POST \/sign-me-up/g), 1, 'which was made once');
	pebble_end();
	pebble();
	($text) = order($state);
	ok(issued($text), 'a server that has forgotten the account is told of it again') or diag $text;
	is(account_key($state), $key, 'with the same key');
	pebble_end();
};

for my $reject (30, 50) {
	subtest "$reject % of all nonces refused" => sub {
		pebble(reject => $reject);
		for my $number (1 .. 5) {
			my ($text) = order(fresh());
			ok(issued($text), "issued ($number)") or diag $text;
			is(orders(), $number, 'one order each');
		}
		pebble_end();
	};
}

subtest '90 % of all nonces refused: issued, or a clean failure and the order goes on' => sub {
	pebble(reject => 90);
	my $state = fresh();
	my $text = '';
	for my $try (1 .. 40) {
		($text) = order($state);
		last if issued($text);
		my ($kind, undef, $reason) = failure($text);
		is($kind, $retry, 'worth a retry');
		like($reason, qr/refused 20 times in a row: .*badNonce/, 'the reason is named');
	}
	ok(issued($text), 'issued in the end') or diag $text;
	cmp_ok(orders(), '<=', 2, 'by the stored order');
	pebble_end();
};

subtest 'authorizations that are valid already are used' => sub {
	pebble(reuse => 100);
	my $state = fresh();
	ok(issued((order($state))[0]), 'issued');
	my ($text) = order($state);
	ok(issued($text), 'issued again') or diag $text;
	unlike($text, qr/challenge/, 'without a challenge');
	pebble_end();
};

# ---- kill -9 ----

subtest 'killed between the steps, an order is resumed and never doubled' => sub {
	pebble();
	for my $step (qw(challenge finalize certificate published)) {
		my $state = fresh();
		my $before = orders();
		my ($text, $status) = order($state, kill_at => $step);
		is($status & 127, 9, "killed at $step") or diag $text;
		my ($key, $account) = (stored_key($state), account_key($state));
		like($key, qr/PRIVATE KEY/, 'the key is on disk');
		like(stored_order($state), qr/"url":"https:/, 'so is the order');
		($text) = order($state);
		ok(issued($text), 'issued at the next start') or diag $text;
		is(orders() - $before, 1, 'one order in all');
		is(account_key($state), $account, 'the account is the same');
		is(read_file("$state/certificates/mail.domain.pl/current/privkey.pem"), $key, 'and so is the key');
	}
	pebble_end();
};

subtest 'killed at any moment: nothing that counts is lost' => sub {
	pebble();
	my ($resumed, $killed) = (0, 0);
	my $began = time;
	ok(issued((order(fresh()))[0]), 'issued undisturbed');
	my $whole = time - $began;
	for my $step (1 .. 30) {
		my $state = fresh();
		my $finalized = finalized();
		my $pid = start('tool', command($state, '-'));
		sleep $whole * $step / 30; # the moment of the kill is the test's subject
		kill 'KILL', $pid;
		waitpid $pid, 0;
		delete $started{tool};
		$killed++ if WIFSIGNALED($?);
		my ($order, $key) = (stored_order($state), stored_key($state));
		my ($account, $before) = (account_key($state), orders());
		ok(finalized() == $finalized || $key ne '' || published($state) ne '',
			"finalised, so the key is kept ($step)");
		my ($text) = order($state);
		ok(issued($text), "issued at the next start ($step)") or diag $text;
		is(account_key($state), $account, 'with the account that was kept') if $account ne '';
		next if $order eq '';
		$resumed++;
		is(orders(), $before, "the stored order was resumed ($step)")
			unless $text =~ /order \(resumed\)\n.*step order\n/s; # it had become invalid: nobody answered
	}
	cmp_ok($killed, '>', 5, 'several were killed in time');
	cmp_ok($resumed, '>', 1, 'some in the middle of an order');
	pebble_end();
};

subtest 'a worker that is killed alone is a failure with a reason' => sub {
	double('hanging-challenge');
	my $state = fresh();
	my $pid = open my $out, '-|', command($state, '-') or die $!;
	wait_for('the challenge', 20, sub { double_saw('POST /challenge/0') });
	my @workers = split ' ', read_file("/proc/$pid/task/$pid/children");
	is(scalar(@workers), 1, 'there is one worker');
	kill 'KILL', @workers;
	my ($kind, undef, $reason) = failure(join '', <$out>);
	close $out;
	is($kind, $retry, 'worth a retry');
	like($reason, qr/killed by signal 9/, 'how it ended is said');
	ok(issued((order($state))[0]), 'issued at the next start');
	is(double_saw('POST /order'), 1, 'one order in all');
};

subtest 'the authority is down' => sub {
	my $state = fresh();
	($api, $http) = (free_port, free_port);
	$directory = "https://127.0.0.1:$api/dir";
	my ($kind, undef, $reason) = failure((order($state))[0]);
	is($kind, $retry, 'worth a retry');
	like($reason, qr/\Q$directory\E: .*(connect|refused)/i, 'what and why');
	pebble();
	ok(issued((order($state))[0]), 'issued when it is back');
	pebble_end();
};

subtest 'a server whose own certificate is not trusted' => sub {
	pebble();
	my $state = fresh();
	my @command = command($state, '-');
	$command[4] = "$top/other.pem";
	openssl("$new -x509 -days 30 -subj '/CN=other CA' -keyout $top/other.key -out $top/other.pem");
	open my $out, '-|', @command or die $!;
	my ($kind, undef, $reason) = failure(join '', <$out>);
	close $out;
	is($kind, $untrusted, 'is not talked to');
	like($reason, qr/not trusted.*ca_file/, 'and the setting is named');
	is(account_key($state), '', 'nothing was made for it');
	pebble_end();
};

# ---- the double: lies that end in a clean error ----

my $subproblems =
	qr/\[smtp\.domain\.pl: rejectedIdentifier: on a list.*; mail\.domain\.pl: caa: CAA forbids it\]/;
my @lies = (
	# lie, kind, what its reason says, retry_after
	['html', $retry, qr/answered 200 with text\/html, which is not ACME: "<html><body>\?\[31mWelcome/, 0],
	['html-503', $retry, qr/answered 503 with text\/html.*maintenance/, 3600],
	['retry-date', $retry, qr/answered 503/, 86400],
	['retry-past', $retry, qr/answered 503/, 1],
	['redirect-http', $retry, qr/a redirect to "http:.*not followed/, 0],
	['redirect-file', $retry, qr/a redirect to "file:.*not followed/, 0],
	['redirect-https', $retry, qr/a redirect to "https:.*not followed/, 0],
	['endless-body', $retry, qr/longer than 256 KiB/, 0],
	['endless-headers', $retry, qr/headers do not end/, 0],
	['slow', $retry, qr/too slow|timed out/i, 0],
	['http-url', $permanent, qr/newOrder: .*"http:.*not a URL of https/, 0],
	['file-url', $permanent, qr/newNonce: .*"file:.*not a URL of https/, 0],
	['duplicate-key', $permanent, qr/"newOrder" stands twice/i, 0],
	['case-variant', $permanent, qr/stands twice/, 0],
	['deep', $permanent, qr/nested deeper than 32/, 0],
	['external-account', $permanent, qr/bound to one that you have there: set eab_kid and eab_hmac/, 0],
	['user-action', $permanent, qr/userActionRequired: agree to the new terms/, 0],
	['bad-signature-algorithm', $permanent, qr/badSignatureAlgorithm: ES256 is not spoken/, 0],
	['bad-nonce', $retry, qr/refused 20 times in a row: .*badNonce: never/, 0],
	['rate-limited', $retry, qr/rateLimited: too many\?\[2J  ?certificates $subproblems/, 86400],
	['no-location', $retry, qr/no Location/, 0],
	['file-order', $retry, qr/no Location that is a URL of https \("file:/, 0],
	['bad-token', $permanent, qr/token "\.\.\/x" is not base64url/, 0],
	['shell-token', $permanent, qr/token "\$\(id\)" is not base64url/, 0],
	['dns-only', $permanent, qr/does not offer http-01 for mail\.domain\.pl, only dns-01/, 0],
	['validation-fails', $retry, qr/challenge mail\.domain\.pl: connection: 192\.0\.2\.1: Fetching.*Connection refused/, 0],
	['bad-csr', $permanent, qr/badCSR: not this one/, 0],
	['processing', $retry, qr/order processing: the server is not done/, 86400],
	['html-certificate', $retry, qr/with text\/html instead of a certificate/, 0],
	['foreign-key', $untrusted, qr/key-match: the server's certificate is for another key/, 0],
	['valid-at-once', $untrusted, qr/key-match/, 0],
	['reversed-chain', $untrusted, qr/key-match/, 0],
	['strange-chain', $untrusted, qr/chain: .*foreign/, 0],
	['key-in-chain', $permanent, qr/private key among the certificates/, 0],
	['nul', $permanent, qr/NUL/, 0],
	['ten-megabytes', $retry, qr/longer than 256 KiB/, 0],
);

for (@lies) {
	my ($lie, $expected_kind, $expected_reason, $expected_retry) = @$_;
	subtest "the authority lies: $lie" => sub {
		double($lie);
		my $state = fresh();
		my ($text, $status) = order($state);
		my ($kind, $retry_after, $reason) = failure($text);
		is($status, 256, 'a clean end') or diag $text;
		is($kind, $expected_kind, 'its kind');
		like($reason, $expected_reason, 'its reason');
		is($retry_after, $expected_retry, 'when it may be tried again');
		unlike($text, qr/[^\x20-\x7e\n\x80-\xff]/, 'nothing that a terminal obeys');
		is(published($state), '', 'nothing is published');
	};
}

# ---- the double: what is no failure ----

# lost-once: libcurl sends finalize again over a new connection, and the server says that it is done already.
for my $lie ('honest', 'already-valid', 'no-authorizations', 'prose', 'lost-once') {
	subtest "issued: $lie" => sub {
		double($lie);
		my $state = fresh();
		my ($text) = order($state);
		ok(issued($text), 'issued') or diag $text;
		is(double_saw('POST /order'), 1, 'one order');
		unlike(published($state), qr/set ssl|Here|\n\n/, 'what is stored is written anew');
	};
}

subtest 'the answer to finalize is lost: the order is found again, with its key' => sub {
	double('lost-finalize');
	my $state = fresh();
	my ($kind) = failure((order($state))[0]);
	my $key = stored_key($state);
	is($kind, $retry, 'worth a retry');
	like($key, qr/PRIVATE KEY/, 'the key is kept');
	my $finalized = double_saw('POST /finalize/0');
	my ($text) = order($state);
	ok(issued($text), 'issued at the next start') or diag $text;
	is(double_saw('POST /order'), 1, 'one order');
	is(double_saw('POST /finalize/0'), $finalized, 'which is not ended again');
	is(read_file("$state/certificates/mail.domain.pl/current/privkey.pem"), $key, 'with its own key');
};

subtest 'an order that is processed for long is kept and asked for again' => sub {
	double('processing');
	my $state = fresh();
	order($state);
	my $key = stored_key($state);
	my ($text) = order($state);
	like((failure($text))[2], qr/not done/, 'still not done');
	is(double_saw('POST /order'), 1, 'one order');
	is(stored_key($state), $key, 'its key is kept');
};

for my $lie ('forgotten', 'invalid-later') {
	subtest "a stored order that came to nothing is replaced: $lie" => sub {
		double($lie);
		my $state = fresh();
		my ($kind) = failure((order($state))[0]);
		is($kind, $retry, 'cut off in the middle');
		my $key = stored_key($state);
		isnt(stored_order($state), '', 'the order is stored');
		my ($text) = order($state);
		ok(issued($text), 'issued at the next start') or diag $text;
		is(double_saw('POST /order'), 2, 'by a second order');
		isnt(read_file("$state/certificates/mail.domain.pl/current/privkey.pem"), $key, 'with a key of its own');
	};
}

subtest 'an order for other names is not resumed' => sub {
	double('processing');
	my $state = fresh();
	order($state);
	local @names = qw(mail.domain.pl pop.domain.pl);
	order($state);
	is(double_saw('POST /order'), 2, 'a new order');
	like(stored_order($state), qr/pop\.domain\.pl/, 'is the one that is kept');
};

stop('double');
done_testing();
