#!/usr/bin/perl
# A node that has used certbot for years moves to certsync without one new order: the hub watches certbot's directory,
# then the certificate's section says acme instead, and certbot deletes its lineage; the hub goes on with what is
# published. certbot and Pebble are real, and Pebble's orders are counted.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use JSON::PP;
use Pebble;
use Story;
use Test::More;

my $story = Story->new;
my $top = $story->top;
my $name = $Story::name;
my $pebble = Pebble->new($story);
my $lineage = "$top/letsencrypt/live/$name";

sub configure {
	my ($source) = @_;
	$story->hub_conf(certificates => <<"CONF");
acme "pebble" {
	directory = "${\$pebble->directory}"
	agree_tos = true
	ca_file = "$top/api-ca.pem"
}
certificate "$name" {
	$source
}
CONF
}

sub certificate {
	my (undef, $text) = $story->certsync('status', '--json');
	my $all = eval { decode_json($text) } or return {};
	return $all->{certificates}[0] // {};
}

sub history {
	my (undef, $text) = $story->certsync('history', $name, '--json');
	return map { "$_->{revision} $_->{source}" } @{decode_json($text)->{revisions}};
}

# The node has used certbot for years.
$pebble->certbot($name, 'run', '--key-type', 'ecdsa', '-d', $name);
$pebble->certbot($name, 'renew') for 1 .. 2;
my $orders = $pebble->orders;
is($orders, 3, 'certbot has ordered three times');
my $served = $story->fingerprint("$lineage/cert.pem");

subtest 'first certsync watches what certbot writes' => sub {
	configure("watch = \"$lineage\"");
	$story->start('hub', "$Story::bin/certsync-hub-root", '-c', "$top/hub.conf");
	ok($story->until('hub', sub { ($story->certsync('status'))[0] != 4 }), 'the hub runs');
	$story->agent('here');
	ok($story->until_state('here', 'unprobed'), 'an agent has it');
	is($story->installed('here'), $served, 'as certbot has obtained it');
	is_deeply([history()], ['1.1 watch'], 'as the first revision');
};

subtest 'then the section says acme' => sub {
	configure("acme = \"pebble\"\n\tpreflight = \"off\"");
	ok($story->reload(), 'the configuration is read again');
	ok($story->until_state('here', 'unprobed'), 'the agent is back');
	my $renewal = certificate()->{renewal};
	ok(!$renewal->{running}, 'no order is under way') or diag explain $renewal;
	is($renewal->{failures}, 0, 'no renewal has failed');
	cmp_ok($renewal->{due}, 'gt', '2028', 'it is due when a third of its five years is left');
	is(certificate()->{revision}, '1.1', 'the same revision is current');
	is($story->installed('here'), $served, 'the same certificate is served');
};

subtest 'certbot lets go of it' => sub {
	local $ENV{REQUESTS_CA_BUNDLE} = "$top/api-ca.pem";
	system("certbot delete --non-interactive --cert-name $name --config-dir $top/letsencrypt --work-dir $top/letsencrypt/work"
		. " --logs-dir $top/letsencrypt/logs >>$top/certbot.log 2>&1");
	ok(!-e "$lineage/cert.pem", 'its files are gone');
	$story->stop('hub');
	ok($story->until('hub', sub {
		$story->start('hub', "$Story::bin/certsync-hub-root", '-c', "$top/hub.conf") if !$story->{started}{hub};
		return ($story->certsync('status'))[0] == 0;
	}), 'a hub that is started anew has converged');
	is($story->installed('here'), $served, 'on what is there');
	is($pebble->orders, $orders, 'without one new order');
};

subtest 'the next one is the hub\'s own' => sub {
	my ($code, $output) = $story->certsync('renew', $name);
	is($code, 0, 'certsync renews the certificate') or diag $output . $story->log('hub');
	is($pebble->orders, $orders + 1, 'the renewal takes one order');
	is_deeply([history()], ['1.1 watch', '1.2 acme'], 'as the second revision');
	isnt($story->installed('here'), $served, 'which the agent has');
	is(certificate()->{converged}, JSON::PP::true, 'and serves');
};

$story->ends_clean;
done_testing();
