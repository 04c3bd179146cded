#!/usr/bin/perl
# An ACME order from the account to the stored certificate: the daemon's order_start and `certsync-worker acme` run
# against the real Pebble where it can play the part, and against a double that lies (ca_double.py) where it cannot.
use strict;
use warnings;
use File::Basename qw(dirname);
use POSIX qw(:sys_wait_h);
use Test::More;
use Time::HiRes qw(time sleep);
use lib dirname(__FILE__) . '/../lib';
use Orders;

my ($retry, $permanent, $untrusted) = (1, 2, 3); # enum error_kind, as the tool prints it

# ---- Pebble: the ordinary and the refused nonce ----

subtest 'a certificate is issued, its order leaves nothing behind, the account is kept' => sub {
	pebble();
	my $state = fresh();
	my ($text) = order($state);
	ok(issued($text), 'issued with exactly its names') or diag $text;
	is(orders(), 1, 'the authority saw one order');
	is(stored_order($state), '', 'no order is left');
	like(published($state), qr/^-----BEGIN CERTIFICATE-----/, 'the certificate is published');
	my $key = account_key($state);
	like($key, qr/PRIVATE KEY/, 'the account key is kept');
	($text) = order($state);
	ok(issued($text), 'a renewal is issued') or diag $text;
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
			is(orders(), $number, 'the authority saw one order for each certificate');
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
		is($kind, $retry, 'the failure is one to retry');
		like($reason, qr/refused 20 times in a row: .*badNonce/, 'the reason is named');
	}
	ok(issued($text), 'issued in the end') or diag $text;
	cmp_ok(orders(), '<=', 2, 'by the stored order');
	pebble_end();
};

subtest 'authorizations that are valid already are used' => sub {
	pebble(reuse => 100);
	my $state = fresh();
	ok(issued((order($state))[0]), 'a first certificate is issued');
	my ($text) = order($state);
	ok(issued($text), 'a second certificate is issued') or diag $text;
	unlike($text, qr/challenge/, 'valid authorizations are not challenged again');
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
		is(published_key($state), $key, 'and so is the key');
	}
	pebble_end();
};

subtest 'killed at any moment: nothing that counts is lost' => sub {
	pebble();
	my ($resumed, $killed) = (0, 0);
	my $began = time;
	ok(issued((order(fresh()))[0]), 'issued undisturbed');
	my $whole = time - $began;
	# There are thirty moments; where orders differ in how long they take, there are more, until some kills came in
	# the middle of one.
	for my $step (1 .. 30, map { rand 30 } 1 .. 60) {
		last if $step != int $step && $resumed > 1;
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
			# the order had become invalid, since nobody had answered
			unless $text =~ /order \(resumed\)\n.*step order\n/s;
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
	my ($spawner) = split ' ', read_file("/proc/$pid/task/$pid/children");
	my @workers = split ' ', read_file("/proc/$spawner/task/$spawner/children");
	is(scalar(@workers), 1, 'there is one worker');
	kill 'KILL', @workers;
	my ($kind, undef, $reason) = failure(join '', <$out>);
	close $out;
	is($kind, $retry, 'the failure is one to retry');
	like($reason, qr/killed by signal 9/, 'how it ended is said');
	ok(issued((order($state))[0]), 'issued at the next start');
	is(double_saw('POST /order'), 1, 'one order in all');
};

subtest 'the authority is down' => sub {
	my $state = fresh();
	($api, $http) = (free_port, free_port);
	$directory = "https://127.0.0.1:$api/dir";
	my ($kind, undef, $reason) = failure((order($state))[0]);
	is($kind, $retry, 'an authority that cannot be reached is one to retry');
	like($reason, qr/\Q$directory\E: .*(connect|refused)/i, 'the failure names the directory and the reason');
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
	# Each has the lie, the kind of the error, what its reason says, and retry_after.
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
	['truncated', $permanent, qr/directory: .*JSON|JSON/i, 0],
	['fewer-identifiers', $untrusted, qr/order lacks imap\.domain\.pl, which was asked for/, 0],
	['foreign-identifier', $untrusted, qr/order-foreign: the server's order has "bank\.example\?\[2J", which was not asked for/, 0],
	['foreign-authorization', $untrusted, qr/authorization-foreign: the server wants "bank\.example\?\[2J" proven, which was not asked for/, 0],
	['authorization-twice', $untrusted, qr/authorization-twice: the server wants mail\.domain\.pl proven twice/, 0],
	['wildcard-not-asked', $untrusted, qr/authorization-foreign: the server wants "\*\.mail\.domain\.pl" proven/, 0],
	['type-ip', $untrusted, qr/authorization-foreign: the server wants "mail\.domain\.pl" proven/, 0],
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
	['processing', $retry, qr/order processing: the server is not done and asks to be left alone for 86400 s \(Retry-After\): the order is kept/, 86400],
	['html-certificate', $retry, qr/with text\/html instead of a certificate/, 0],
	['foreign-key', $untrusted, qr/key-match: the server's certificate is for another key/, 0],
	['valid-at-once', $untrusted, qr/key-match/, 0],
	['reversed-chain', $untrusted, qr/key-match/, 0],
	['strange-chain', $untrusted, qr/chain: .*foreign/, 0],
	['key-in-chain', $permanent, qr/private key among the certificates/, 0],
	['nul', $permanent, qr/NUL/, 0],
	['ten-megabytes', $retry, qr/longer than 256 KiB/, 0],
);

# What says something of the authority and not of us; what it would refuse again says so in any case.
my %trouble = ('rate-limited' => 'limits', map { $_ => 'down' } qw(processing bad-nonce html-503 retry-date retry-past redirect-http
	redirect-file redirect-https endless-body endless-headers slow ten-megabytes));

for (@lies) {
	my ($lie, $expected_kind, $expected_reason, $expected_retry) = @$_;
	subtest "the authority lies: $lie" => sub {
		double($lie);
		my $state = fresh();
		my ($text, $status) = order($state);
		my ($kind, $retry_after, $reason) = failure($text);
		is($status, 256, 'the lie ends with exit 1') or diag $text;
		is($kind, $expected_kind, 'the failure is of the expected kind');
		like($reason, $expected_reason, 'the failure has the expected reason');
		is($retry_after, $expected_retry, 'when it may be tried again');
		my ($trouble) = $text =~ /^trouble (\w+)$/m;
		is($trouble, $trouble{$lie} // ($expected_kind == $retry ? 'failed' : 'refuses'), 'what that says of the authority');
		unlike($text, qr/[^\x20-\x7e\n\x80-\xff]/, 'nothing that a terminal obeys');
		is(published($state), '', 'nothing is published');
	};
}

# ---- the double: what is no failure ----

# At lost-once libcurl sends finalize again over a new connection, and the server says that it is done already.
for my $lie ('honest', 'already-valid', 'no-authorizations', 'prose', 'lost-once') {
	subtest "issued: $lie" => sub {
		double($lie);
		my $state = fresh();
		my ($text) = order($state);
		ok(issued($text), 'the order is issued') or diag $text;
		is(double_saw('POST /order'), 1, 'the authority saw one order');
		unlike(published($state), qr/set ssl|Here|\n\n/, 'what is stored is written anew');
	};
}

subtest 'the answer to finalize is lost: the order is found again, with its key' => sub {
	double('lost-finalize');
	my $state = fresh();
	my ($kind) = failure((order($state))[0]);
	my $key = stored_key($state);
	is($kind, $retry, 'the failure is one to retry');
	like($key, qr/PRIVATE KEY/, 'the key is kept');
	my $finalized = double_saw('POST /finalize/0');
	my ($text) = order($state);
	ok(issued($text), 'issued at the next start') or diag $text;
	is(double_saw('POST /order'), 1, 'the authority saw one order');
	is(double_saw('POST /finalize/0'), $finalized, 'which is not ended again');
	is(published_key($state), $key, 'with its own key');
};

subtest 'an order that is processed for long is kept and asked for again' => sub {
	double('processing');
	my $state = fresh();
	order($state);
	my $key = stored_key($state);
	my ($text) = order($state);
	like((failure($text))[2], qr/not done/, 'the order is still not done');
	is(double_saw('POST /order'), 1, 'the authority saw one order');
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
		isnt(published_key($state), $key, 'with a key of its own');
	};
}

subtest 'a stored order that is only refused for a while is kept' => sub {
	double('new-terms');
	my $state = fresh();
	order($state);
	my $key = stored_key($state);
	isnt($key, '', 'the order is stored');
	my ($text) = order($state);
	like((failure($text))[2], qr/userActionRequired|agree to the new terms/, 'the server wants its new terms agreed to');
	is(stored_key($state), $key, 'the stored key stays');
	is(double_saw('POST /order'), 1, 'no other order was made');
};

subtest 'an order for other names is not resumed' => sub {
	double('processing');
	my $state = fresh();
	order($state);
	local @Orders::names = qw(mail.domain.pl pop.domain.pl);
	order($state);
	is(double_saw('POST /order'), 2, 'the authority saw a second order');
	like(stored_order($state), qr/pop\.domain\.pl/, 'is the one that is kept');
};

# ---- what only the gate to publish can tell ----

openssl("$new -subj '/CN=hidden CA' -keyout $top/hidden.key -out $top/hidden.csr");
write_file("$top/hidden.ext", "basicConstraints=critical,CA:TRUE\n");
openssl("x509 -req -in $top/hidden.csr -CA $top/ca.pem -CAkey $top/ca.key -CAcreateserial -days 30",
	"-extfile $top/hidden.ext -out $top/hidden.pem");
for (['no-intermediate', qr/chain: .*(issuer|hidden)/], ['expired', qr/validity: |expired/], ['fewer-names', qr/names: .*(smtp|imap)\.domain\.pl/]) {
	my ($lie, $reason) = @$_;
	subtest "refused before it is published: $lie" => sub {
		double($lie);
		my $state = fresh();
		my ($text) = order($state, settings => ["judge=$top/ca.pem"]);
		my ($kind, undef, $said) = failure($text);
		is($kind, $untrusted, 'what is not to be trusted fails as such');
		like($said, $reason, 'the failure has the expected reason');
		is(published($state), '', 'nothing is published');
		like(stored_key($state), qr/PRIVATE KEY/, 'the order stays for the next try');
	};
}

subtest 'a leaf that the root itself issued' => sub {
	double('bare');
	my $state = fresh();
	ok(issued((order($state, settings => ["judge=$top/ca.pem"]))[0]), 'a chain without an intermediate is issued');
	is(scalar(() = published($state) =~ /BEGIN CERT/g), 1, 'and nothing with it');
};

# ---- a connection cut at each step ----

for my $step (qw(directory nonce account order authorization challenge finalize certificate)) {
	subtest "cut off: $step" => sub {
		double("drop-$step");
		my $state = fresh();
		my ($text) = order($state);
		for (my $tries = 0; $tries < 2 && !issued($text); $tries++) {
			is((failure($text))[0], $retry, 'a connection that is cut off is one to retry');
			($text) = order($state);
		}
		ok(issued($text), 'the next try is issued') or diag $text;
		is(scalar(() = read_file("$top/double.log") =~ /^ordered/mg), 1, 'the authority saw one order');
	};
}

subtest 'a stored order that has expired is replaced' => sub {
	double('expires');
	my $state = fresh();
	is((failure((order($state))[0]))[0], $retry, 'cut off in the middle');
	my ($text) = order($state);
	ok(issued($text), 'issued at the next start') or diag $text;
	is(double_saw('POST /order'), 2, 'by a second order');
};

# ---- what an order says ----

subtest 'profiles' => sub {
	double('profiles');
	my ($text) = order(fresh(), settings => ['profile=tlsserver']);
	ok(issued($text), 'an order by a profile is issued') or diag $text;
	is(double_saw('ordered profile=tlsserver'), 1, 'the order names the profile');
	my ($kind, undef, $reason) = failure((order(fresh(), settings => ['profile=shortlived']))[0]);
	is($kind, $permanent, 'one that is not offered');
	like($reason, qr/profile "shortlived": .* does not offer it, only classic, tlsserver/, 'the failure names the profiles that are offered');
	is(scalar(() = read_file("$top/double.log") =~ /^ordered/mg), 1, 'nothing was ordered');
	double('honest');
	($kind, undef, $reason) = failure((order(fresh(), settings => ['profile=tlsserver']))[0]);
	like($reason, qr/nor any other/, 'an authority without profiles');
};

subtest 'what is replaced' => sub {
	double('honest');
	ok(issued((order(fresh(), settings => ['replaces=AA.BB']))[0]), 'an order that replaces a certificate is issued');
	is(double_saw('ordered replaces=AA.BB'), 1, 'the order names the certificate that it replaces');
	double('already-replaced');
	my ($text) = order(fresh(), settings => ['replaces=AA.BB']);
	ok(issued($text), 'one that was replaced already: issued') or diag $text;
	like($text, qr/^warning .*alreadyReplaced/m, 'and told');
	is(double_saw('ordered'), 1, 'the order was placed without');
	for (['replaces-foreign', qr/403: unauthorized/], ['replaces-unlike', qr/500: serverInternal/]) {
		my ($lie, $reason) = @$_;
		double($lie);
		($text) = order(fresh(), settings => ['replaces=AA.BB']);
		ok(issued($text), "$lie: issued") or diag $text;
		like($text, qr/^warning .*$reason/m, 'and told');
		is(double_saw('ordered'), 1, 'the order was placed without');
	}
	double('overloaded');
	is((failure((order(fresh(), settings => ['replaces=AA.BB']))[0]))[0], $retry, 'an authority that has too much to do');
	is(double_saw('asked'), 1, 'is not asked again at once');
};

# ---- keys ----

sub key_type {
	my ($pem) = @_;
	write_file("$top/key.pem", $pem);
	my $text = `openssl pkey -in $top/key.pem -noout -text 2>/dev/null`;
	return $text =~ /NIST CURVE: (\S+)/ ? $1 : $text =~ /\((\d+) bit/ ? "rsa-$1" : 'none';
}

sub current {
	my ($state, $file) = @_;
	return read_file("$state/certificates/mail.domain.pl/current/$file");
}

subtest 'keys of every type' => sub {
	pebble();
	my %shown = ('ecdsa-p256' => 'P-256', 'ecdsa-p384' => 'P-384', 'rsa-2048' => 'rsa-2048', 'rsa-3072' => 'rsa-3072');
	for my $type (sort keys %shown) {
		my $state = fresh();
		my ($text) = order($state, settings => ["key=$type"]);
		ok(issued($text), $type) or diag $text;
		is(key_type(published_key($state)), $shown{$type}, 'is what is stored');
	}
	pebble_end();
};

subtest 'a key that is kept, and one that is made ahead' => sub {
	pebble();
	my $state = fresh();
	order($state);
	my $key = published_key($state);
	ok(issued((order($state, settings => ['reuse_key=1']))[0]), 'a renewal with reuse_key is issued');
	is(published_key($state), $key, 'the renewal has the same key');
	order($state, settings => ['reuse_key=1', 'new_key=1']);
	isnt(published_key($state), $key, 'unless one is wanted that was never used');
	my ($text) = order($state, settings => ['next_key=1']);
	my ($next) = $text =~ /^next ([0-9a-f]{64})$/m or diag $text;
	for (1 .. 2) {
		($text) = order($state, settings => ['next_key=1']);
		write_file("$top/key.pem", published_key($state));
		my $digest = `openssl pkey -in $top/key.pem -pubout -outform DER | sha256sum`;
		like($digest, qr/^$next/, 'the key that was shown is used');
		my $before = $next;
		($next) = $text =~ /^next ([0-9a-f]{64})$/m;
		isnt($next, $before, 'and the next one made');
	}
	pebble_end();
};

subtest 'two pairs, one revision' => sub {
	pebble();
	my $state = fresh();
	my @two = ('second_key=rsa-2048', 'next_key=1');
	for my $step ('none', 'certificate', 'requests') {
		$state = fresh();
		my $before = orders();
		order($state, kill_at => $step, settings => \@two) if $step ne 'none';
		my ($text) = order($state, settings => \@two);
		ok(issued($text), $step eq 'none' ? 'issued' : "issued after a kill at $step") or diag $text;
		is(orders() - $before, 2, 'two kinds of key are two orders');
		is(key_type(published_key($state)), 'P-256', 'the first pair is ECDSA');
		is(key_type(published_key($state, '-2')), 'rsa-2048', 'the second pair is RSA');
		is(scalar(() = $text =~ /^next /mg), 2, 'two keys made ahead');
		is(stored_order($state) . read_file("$state/records/orders-2/mail.domain.pl/order.json"), '', 'no order is left');
	}
	pebble_end();
	double('no-rsa');
	$state = fresh();
	my ($kind, $after, $reason) = failure((order($state, settings => \@two))[0]);
	is($kind, $retry, 'the failure of the second pair is one to retry');
	like($reason, qr/^rsa-2048: .*not now/, 'the failure names the pair');
	is($after, 7, 'and when to try again');
	my $key = stored_key($state);
	($kind) = failure((order($state, settings => \@two))[0]);
	is(scalar(() = read_file("$top/double.log") =~ /^ordered/mg), 1, 'the first is not ordered again');
	is(stored_key($state), $key, 'its key is kept');
	is(published($state), '', 'neither is published alone');
};

# ---- which chain ----

subtest 'a preferred chain' => sub {
	pebble(alternates => 2);
	my @tops;
	for my $number (0 .. 2) {
		my ($root, $name) = ("$top/root-$number.pem");
		write_file($root, pebble_get("roots/$number"));
		($name) = `openssl x509 -in $root -noout -subject -nameopt multiline` =~ /commonName\s*= (.*)$/m;
		my ($digest) = `openssl x509 -in $root -noout -fingerprint -sha256` =~ /=(.*)$/m;
		push @tops, [$name, lc $digest =~ s/://gr, $root];
	}
	write_file("$top/roots.pem", join '', map { read_file($_->[2]) } @tops);
	for my $wanted (@tops) {
		my ($name, $digest, $root) = @$wanted;
		for my $wish ($name, "sha256:$digest") {
			my ($text) = order(fresh(), settings => ["preferred_chain=$wish", "anchors=$top/roots.pem", "judge=$root"]);
			ok(issued($text), $wish) or diag $text;
			unlike($text, qr/^warning/m, 'a chain that is found is no warning');
		}
	}
	my ($text) = order(fresh(), settings => ['preferred_chain=Nobody', "judge=$tops[0][2]"]);
	ok(issued($text), 'none of that name: the first one') or diag $text;
	like($text, qr/^warning .*preferred one, Nobody: .*offers "\Q$tops[0][0]\E", "/m, 'and a warning with those that are offered');
	pebble_end();
};

subtest 'an account bound to one elsewhere' => sub {
	my $hmac = 'zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAs-DkMTQ1_W';
	pebble(eab => {'kid-1' => $hmac});
	write_file("$top/eab", "$hmac\n");
	my ($text) = order(fresh(), settings => ['eab_kid=kid-1', "eab_hmac=$top/eab"]);
	ok(issued($text), 'an order of an account bound to an external one is issued') or diag $text;
	write_file("$top/eab", ($hmac =~ tr{-_}{+/}r) . "\r\n");
	($text) = order(fresh(), settings => ['eab_kid=kid-1', "eab_hmac=$top/eab"]);
	ok(issued($text), 'and of one whose key was handed out in base64') or diag $text;
	($text) = order(fresh());
	like((failure($text))[2], qr/set eab_kid and eab_hmac/, 'without a key: what to set');
	write_file("$top/eab", 'd3Jvbmc');
	isnt((failure((order(fresh(), settings => ['eab_kid=kid-1', "eab_hmac=$top/eab"]))[0]))[0], -1, 'with a wrong key: refused');
	write_file("$top/eab", 'not base64!');
	($text) = order(fresh(), settings => ['eab_kid=kid-1', "eab_hmac=$top/eab"]);
	like((failure($text))[2], qr/does not hold a key in base64url or base64/, 'a secret that is none is named');
	unlike($text, qr/not base64!/, 'and not shown');
	pebble_end();
};

stop('double');
done_testing();
