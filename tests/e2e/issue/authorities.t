#!/usr/bin/perl
# A certificate with two authorities, which are two real Pebbles. Before the first one stands a real HAProxy, by which it
# is slow, limits or refuses; it is killed, too. Each renewal comes from the one whose turn it is, by one order, and
# what is served stays until there is another.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Authority;
use IO::Socket::INET;
use JSON::PP;
use Story;
use Test::More;

Authority::own_network();

my $name = $Story::name;
my $story = Story->new;
my $top = $story->top;
$story->{http} = 8402;
my $one = Authority->new($story, name => 'one');
my $two = Authority->new($story, name => 'two', port => 24000);
$one->names($name => ['127.0.0.11'], "imap.$name" => ['127.0.0.11']);
$_->start(dns => '127.0.0.1:8053') for $one, $two;

# What the first one is like: what its proxy answers in its place.
sub problem {
	my ($status, $type, $header) = @_;
	return qq(http-request return status $status content-type application/problem+json $header string '{"type":"urn:ietf:params:acme:error:$type","detail":"not here"}' if { path /order-plz }\n);
}
my %manner = (well => '', limits => problem(429, 'rateLimited', 'hdr Retry-After 3600'), refuses => problem(403, 'rejectedIdentifier', ''));
Story::write_file("$top/front.pem", Story::read_file("$top/api.key") . Story::read_file("$top/api.pem"));

sub front {
	my ($is) = @_;
	$story->stop('front') if $story->{started}{front};
	Story::write_file("$top/front.cfg", <<"CONF");
defaults
	mode http
	timeout connect 2s
	timeout client 30s
	timeout server 1s
frontend door
	bind 127.0.0.11:80
	default_backend hub
backend hub
	server hub 127.0.0.1:8402
frontend one
	bind 127.0.0.1:14001 ssl crt $top/front.pem
	$manner{$is}
	default_backend one
backend one
	server one 127.0.0.1:14000 ssl verify none
CONF
	$story->start('front', 'haproxy', '-f', "$top/front.cfg");
	$story->until('HAProxy', sub { IO::Socket::INET->new('127.0.0.1:14001') && IO::Socket::INET->new('127.0.0.11:80') }) or BAIL_OUT($story->log('front'));
}

sub configuration {
	my (%wish) = @_;
	my $limits = $wish{limits} // 'false';
	my $names = $wish{names} // qq("$name");
	my $sections = join '', map { s/ \}\n/ limits = $limits }\n/r } $one->section(port => 14001), $two->section;
	Story::write_file("$top/ca.pem", join '', map { $_->root } @{$wish{trusted} // [$one, $two]});
	return (agents => [], certificates => qq(resolvers = {"127.0.0.1:8053"}\n$sections)
			. qq(certificate "$name" { acme = {"one", "two"} names = {$names} renew_before = "1d" }\n));
}

sub certificate {
	my $all = eval { decode_json(($story->certsync('status', '--json'))[1]) } or return {};
	return (grep { $_->{certificate} eq $name } @{$all->{certificates}})[0] // {};
}
sub renewal { return certificate()->{renewal} // {} }
sub revision { my ($n) = (certificate()->{revision} // '') =~ /(\d+)$/; return $n // 0 }
sub idle { return $story->until('idle', sub { my $r = renewal(); exists $r->{running} && !$r->{running} }, 60) }

# Has it renewed until there is another revision. Returns from whom, how many tries that took, and how many orders each of
# them was asked for.
sub renews {
	my ($most) = @_;
	my ($before, @orders) = (revision(), $one->orders, $two->orders);
	for my $tries (1 .. $most) {
		my (undef, $said) = $story->certsync('renew', $name, '--force');
		idle() or diag($story->log('hub'));
		next if revision() == $before;
		return (certificate()->{reason}, $tries, $one->orders - $orders[0], $two->orders - $orders[1]);
	}
	return ('nobody', $most, $one->orders - $orders[0], $two->orders - $orders[1]);
}

# A hub that runs takes it over.
sub configure {
	$story->hub_conf(configuration(@_));
	return $story->reload;
}

front('well');
ok($story->hub(configuration()), 'a hub starts') or BAIL_OUT($story->log('hub'));
ok($story->until('the first', sub { revision() == 1 }, 60), 'the first certificate comes') or BAIL_OUT($story->log('hub'));
is(certificate()->{reason}, 'one', 'from the first authority');
is(renewal()->{authority}, 'one', 'which is asked next, too');
is_deeply([renews(1)], ['one', 1, 1, 0], 'a renewal: by one order of the first');

# ---- what becomes of the first one ----

kill 'STOP', $story->{started}{one};
is_deeply([renews(4)], ['two', 4, 0, 1], 'the first is too slow: three tries, then the second by one order');
kill 'CONT', $story->{started}{one};
like(renewal()->{instead}, qr{^two is asked in place of one: .*answered 50[34] with text/html, which is not ACME}, 'the status says who, for whom and why');
like(($story->certsync('status'))[1], qr/since \S+ two is asked in place of one: /, 'for people, too');
like($story->log('hub'), qr/event=authority certificate=\Q$name\E authority=two before=one reason=/, 'and the log');
# The alerts are looked through now and then.
sub told { return join "\n", map { "$_->{kind} $_->{text}" } @{(eval { decode_json(($story->certsync('alert', 'list', '--json'))[1]) } // {})->{conditions} // []} }
ok($story->until('told', sub { told() =~ /^authority two is asked in place of one: .*; the first one is asked again at the next renewal$/m }), 'and the alerts')
	or diag(told());
is_deeply([renews(1)], ['one', 1, 1, 0], 'the next renewal is the first one\'s');
is(renewal()->{instead}, '', 'nothing is said of the second any more');

$story->stop('one', 'KILL');
is_deeply([renews(4)], ['two', 4, 0, 1], 'the first is dead: three tries, then the second by one order');
$one->start(dns => '127.0.0.1:8053');
ok(configure(), 'the hub knows the root that the first has now');
is_deeply([renews(1)], ['one', 1, 2, 0], 'it is asked again, which takes a second request since it has forgotten the account');

front('limits');
is_deeply([renews(2)], ['two', 2, 0, 1], 'the first has enough of us: one try, then the second');
front('well');
my $of_two = revision();
my ($revoked, $text) = $story->certsync('revoke', $name, '--reason', 'superseded');
is($revoked, 0, 'what the second has issued is revoked') or diag($text);
is(scalar(() = $story->log($_->[0]) =~ m{POST /revoke-cert}g), $_->[1], "by $_->[0]: $_->[1] requests") for ['one', 0], ['two', 1];
ok($story->until('another', sub { revision() > $of_two }, 60), 'and replaced at once');
is(certificate()->{reason}, 'one', 'by the first again');

front('refuses');
my @before = ($two->orders, revision());
ok(configure(names => qq("$name", "imap.$name")), 'a name is added, while the first refuses what is asked of it');
ok($story->until('two', sub { revision() > $before[1] }, 60), 'nobody has to do anything') or diag($story->log('hub'));
is(certificate()->{reason}, 'two', 'the second has issued it');
is($two->orders - $before[0], 1, 'by one order');

# ---- neither ----

$story->stop('two', 'KILL');
@before = (revision(), certificate()->{fingerprint});
is_deeply([(renews(3))[0]], ['nobody'], 'the first refuses and the second is dead');
is(certificate()->{fingerprint}, $before[1], 'what was published is published');
like(renewal()->{error}, qr/rejectedIdentifier: not here|Failed to connect/, 'the reason is told');
my $failures = renewal()->{failures};
is($failures, 3, 'with all tries');
$story->stop('hub');
$story->start('hub', "$Story::bin/certsync-hub-root", '-c', "$top/hub.conf");
ok($story->until('hub', sub { ($story->certsync('status'))[0] != 4 }), 'a hub that starts anew');
is(renewal()->{failures}, $failures, 'has forgotten nothing of it');
isnt(renewal()->{due}, '', 'and has the next try planned');

# ---- another chain ----

$two->start(dns => '127.0.0.1:8053');
ok(configure(names => qq("$name", "imap.$name"), trusted => [$one]), 'the second is back, with a root that is not among the anchors');
is((renews(3))[0], 'nobody', 'what it issues is not published');
like(renewal()->{error}, qr/issued, but not published: chain: /, 'and is told so');
is(certificate()->{fingerprint}, $before[1], 'the old one is still there');
ok(configure(names => qq("$name", "imap.$name")), 'its root becomes an anchor');
is((renews(3))[0], 'two', 'it is taken');

# ---- our own count of what an authority allows ----

front('well');
ok(configure(names => qq("$name", "imap.$name"), limits => 'true'), 'the limits of public authorities count');
my %from;
for (1 .. 8) {
	my $before = revision();
	$story->certsync('renew', $name);
	idle();
	$from{certificate()->{reason}}++ if revision() > $before;
}
cmp_ok($from{one} // 0, '==', 5, 'five of one week come from the first authority');
cmp_ok($from{two} // 0, '>=', 1, 'and what is beyond that from the second');
like($story->log('hub'), qr/event=authority certificate=\Q$name\E authority=two before=one reason="[^"]*(five|5) certificates/, 'for that reason');

$story->stop($_) for qw(hub front one two names);
$story->ends_clean;
done_testing();
