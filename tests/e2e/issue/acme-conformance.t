#!/usr/bin/perl
# Tries what authorities differ in, one setting of a real Pebble (strict) after the other: nothing is lost, each
# certificate is one order, and an order takes hardly more requests than it must. CERTSYNC_ORDERS=100 is the long run;
# otherwise there are a few.
#
# RFC 8555 allows no fewer requests for a first order of n names: the directory, a nonce, newAccount, newOrder, then for
# each name its authorization and the challenge that is answered, one look whether they are valid, finalize, and the
# certificate. These are 7 + 2n, when the answer to finalize has the certificate's URL already; Pebble's says
# "processing", so one more look is needed. With the account kept it is one less. With valid authorizations the order is
# ready at once: directory, nonce, newOrder, finalize, look, certificate. Nonces come with each answer. A refused nonce
# costs one more request, and so does a look that came too early.
use strict;
use warnings;
use File::Basename qw(dirname);
use Test::More;
use Time::HiRes qw(time);
use lib dirname(__FILE__) . '/../lib';
use Orders;

my $count = $ENV{CERTSYNC_ORDERS} // 3;
my $first = 8 + 2 * @Orders::names; # this includes one look after finalize
my $kid = 'kid-1';
my $hmac = 'zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W';
my @rows;

sub requests { return $_[0] =~ /^step requests=(\d+)$/m ? $1 : 0 }

sub row {
	my ($name, $minimum, $spent, $seconds) = @_;
	my ($least, $most, $sum) = ($spent->[0], 0, 0);
	for (@$spent) {
		$least = $_ if $_ < $least;
		$most = $_ if $_ > $most;
		$sum += $_;
	}
	push @rows, sprintf '%-34s %4d orders  requests %2d to %2d, mean %5.1f, minimum %2d  %.3f s each', $name, scalar @$spent, $least,
		$most, $sum / @$spent, $minimum, $seconds / @$spent;
	return $sum / @$spent;
}

# All orders have one account, and what the first order takes is told apart.
sub conformance {
	my ($name, $pebble, %wish) = @_;
	subtest "$name: $count orders" => sub {
		pebble(%$pebble);
		my ($state, $lost, @spent) = (fresh(), 0);
		my $number = $wish{count} // $count;
		order($state, %wish) if $wish{warm}; # this order leaves valid authorizations behind
		my $before = orders();
		my $began = time;
		for (1 .. $number) {
			$state = fresh() if !$wish{warm};
			my ($text) = order($state, %wish);
			if (!issued($text)) {
				$lost++;
				diag $text;
			}
			push @spent, requests($text);
			$wish{look}->($state, $text) if $wish{look};
		}
		is($lost, 0, 'no order is lost');
		is(orders() - $before, $number, 'one order each');
		row($name, $wish{minimum} // $first, \@spent, time - $began);
		pebble_end();
	};
}

conformance('plain', {});
conformance("nonces refused: $_ %", {reject => $_}) for 30, 50;
conformance('authorizations reused: 100 %', {reuse => 100}, warm => 1, minimum => 6);
conformance('authorizations reused: 0 %', {reuse => 0}, warm => 1, minimum => $first - 1);
# Pebble 2.4 does not start with a chain of length 0; acme.t has one from the double.
for my $length (1 .. 3) {
	conformance("chain length $length", {chain => $length}, look => sub {
		my ($state) = @_;
		is(scalar(() = published($state) =~ /BEGIN CERT/g), 1 + $length, 'the whole chain, without its root');
	});
}
conformance('two other roots', {alternates => 2});
write_file("$Orders::top/hmac", "$hmac\n");
conformance('accounts bound', {eab => {$kid => $hmac}}, settings => ["eab_kid=$kid", "eab_hmac=$Orders::top/hmac"]);
conformance('slow validation', {sleep => 3}, count => $count > 10 ? $count : 2);

subtest '90 % of all nonces refused: bounded tries, a clean failure' => sub {
	pebble(reject => 90);
	my ($failed, $most) = (0, 0);
	for (1 .. $count) {
		my ($text, $status) = order(fresh());
		my ($kind, undef, $reason) = failure($text);
		$most = requests($text) if requests($text) > $most;
		next if issued($text);
		$failed++;
		is($status, 256, 'an order whose nonces are all refused ends with exit 1');
		is($kind, 1, 'its failure is one to retry');
		like($reason, qr/refused 20 times in a row: .*badNonce/, 'its failure has the reason');
	}
	push @rows, sprintf '%-34s %4d orders, %d failed cleanly, requests at most %d', 'nonces refused: 90 %', $count, $failed, $most;
	cmp_ok($most, '<=', 20 * $first, 'its requests are bounded');
	pebble_end();
};

diag($_) for @rows;
done_testing();
