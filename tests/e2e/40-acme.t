#!/usr/bin/perl
# An ACME order from the account to the stored certificate: order_start of the daemon and `certsync-worker acme`,
# against the real Pebble where it can play the part, and against a double that lies (ca_double.py) where not.
use strict;
use warnings;
use File::Basename qw(dirname);
use POSIX qw(:sys_wait_h);
use Test::More;
use Time::HiRes qw(time sleep);
use lib dirname(__FILE__);
use Orders;

my ($retry, $permanent, $untrusted) = (1, 2, 3); # enum error_kind, as the tool prints it

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
	local @Orders::names = qw(mail.domain.pl pop.domain.pl);
	order($state);
	is(double_saw('POST /order'), 2, 'a new order');
	like(stored_order($state), qr/pop\.domain\.pl/, 'is the one that is kept');
};

stop('double');
done_testing();
