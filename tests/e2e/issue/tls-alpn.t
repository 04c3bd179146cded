#!/usr/bin/perl
# tls-alpn-01 against a real Pebble, through a real HAProxy with what `certsync config haproxy --tls-alpn` prints and not a
# line more, in front of a site that goes on being served on port 443 meanwhile.
use strict;
use warnings;
use File::Basename qw(dirname);
use JSON::PP;
use lib dirname(__FILE__) . '/../lib';
use Authority;
use Needs;
use Story;
use Test::More;

Authority::own_network();
my $story = Story->new;
my $top = $story->top;
my $ca = Authority->new($story);
needs('/usr/sbin/haproxy');

$story->pair('www', names => 'DNS:www.pl');
$ca->names('one.pl' => ['127.0.0.11'], 'two.pl' => ['127.0.0.11'], 'www.pl' => ['127.0.0.11'], 'astray.pl' => ['127.0.0.12']);
$ca->start(dns => '127.0.0.1:8053');

sub hub {
	my ($state, $certificates, $global) = @_;
	$story->stop('hub');
	$story->hub(state => $state, agents => [], certificates => ($global // '') . qq(resolvers = {"127.0.0.1:8053"}\n) . $ca->section . $certificates)
		or BAIL_OUT($story->log('hub'));
}

sub certificate {
	my ($name, $more) = @_;
	return qq(certificate "$name" { acme = "pebble" challenge = "tls-alpn-01" ) . ($more // '') . " }\n";
}

sub status {
	my ($name) = @_;
	my $all = eval { decode_json(($story->certsync('status', '--json'))[1]) } or return {};
	my ($one) = grep { $_->{certificate} eq $name } @{$all->{certificates}};
	return $one->{renewal} // {};
}

sub published { my @found = glob "$top/$_[0]/certificates/$_[1]/current/fullchain*.pem"; return scalar @found }

sub issued {
	my ($state, $name, $count) = @_;
	return $story->until("$name is issued", sub { published($state, $name) == ($count // 1) }, 60)
		|| diag(($story->certsync('status'))[1], $story->log('hub'), $story->log('pebble')) && 0;
}

# What a client is shown at an address; `acme` as an authority would ask.
sub asked {
	my ($at, $name, @options) = @_;
	return scalar `openssl s_client -connect $at -servername $name @options </dev/null 2>&1`;
}

sub responder { return `ps -eo pid,args` =~ /^\s*(\d+) \S*certsync-worker responder$/m ? $1 : 0 }

# ---- the lines for HAProxy ----

hub('lines', '');
my $lines = `$Story::bin/certsync config haproxy --tls-alpn -c $top/hub.conf`;
is($?, 0, 'the lines are printed');
like($lines, qr/server hub 127\.0\.0\.1:8404$/m, 'with the responder of hub.conf');
my (undef, $both) = $story->certsync('config', 'haproxy', '--tls-alpn', '--stateless');
like($both, qr/one of them/, 'the two kinds of lines are not asked for at once');
Story::write_file("$top/www.pem", Story::read_file("$top/www.key") . Story::read_file("$top/www.crt"));
Story::write_file("$top/door.cfg", $lines =~ s/bind :443/bind 127.0.0.11:443/r . <<"SITE");

frontend site
	mode http
	timeout client 10s
	bind 127.0.0.1:8443 accept-proxy ssl crt $top/www.pem alpn h2,http/1.1
	http-request return status 200 content-type text/plain string "the site"
SITE
my $said = `haproxy -c -V -f $top/door.cfg 2>&1`;
ok($? == 0 && $said =~ /Configuration file is valid/ && $said !~ /WARNING|ALERT/, 'HAProxy takes them as they are') or diag($said);
$story->start('door', 'haproxy', '-db', '-f', "$top/door.cfg");
ok($story->until('the door', sub { IO::Socket::INET->new('127.0.0.11:443') }), 'HAProxy runs') or BAIL_OUT($story->log('door'));

# ---- certificates ----

hub('state', certificate('one.pl', 'names = {"one.pl", "two.pl"} preflight = "require"')
	. certificate('www.pl', 'key = {"ecdsa-p256", "rsa-2048"}'));
ok(issued('state', 'one.pl'), 'a certificate of two names is issued, after a preflight that was required');
ok(issued('state', 'www.pl', 2), 'and a pair of ECDSA and RSA');
my @names = `openssl x509 -in $top/state/certificates/one.pl/current/fullchain.pem -noout -ext subjectAltName` =~ /DNS:([\w.]+)/g;
is_deeply([sort @names], [qw(one.pl two.pl)], 'with both names');
like($story->log('hub'), qr/event=responder result=listening address=127\.0\.0\.1:8404/, 'the responder is in the log');

my $site = `curl -s --resolve www.pl:443:127.0.0.11 -k https://www.pl/`;
is($site, 'the site', 'the site behind the same port is served as before');
my $other = asked('127.0.0.11:443', 'www.pl', '-alpn h2');
like($other, qr/ALPN protocol: h2/, 'with its own protocols');
like(asked('127.0.0.11:443', 'one.pl', '-alpn acme-tls/1'), qr/unrecognized name/, 'a name that is not being proven now: an alert says so');
like(asked('127.0.0.1:8404', 'one.pl'), qr/no application protocol/, 'a client that offers no protocol: another alert');

# ---- strangers and deaths ----

my @held = map { my $s = IO::Socket::INET->new('127.0.0.1:8404'); print {$s} "\x16\x03\x01"; $s->flush; $s } 1 .. 300;
is(($story->certsync('renew', 'www.pl'))[0], 0, 'with 300 connections that are held open and say nothing more, a renewal is issued')
	or diag($story->log('hub'));
@held = ();
my $first = responder();
ok($first, 'the responder is a process of its own') or diag(`ps -eo pid,args`);
kill 'KILL', $first;
is(($story->certsync('renew', 'www.pl'))[0], 0, 'killed before a renewal: another one answers') or diag($story->log('hub'));
like($story->log('hub'), qr/event=responder result=failed .*killed by signal 9/i, 'which is in the log');
isnt(responder(), $first, 'it is another process');

# ---- what goes wrong ----

hub('astray', certificate('astray.pl', 'preflight = "require"'));
ok($story->until('a preflight', sub { status('astray.pl')->{error} }), 'a name whose address is not ours')
	or diag(($story->certsync('status'))[1]);
like(status('astray.pl')->{error}, qr/preflight: 127\.0\.0\.12 of astray\.pl: port 443: Connection refused/, '  is told before an order is spent');
$story->start('elsewhere', 'openssl', 's_server', '-accept', '127.0.0.12:443', '-cert', "$top/www.crt", '-key', "$top/www.key", '-alpn', 'http/1.1', '-quiet');
ok($story->until('elsewhere', sub { IO::Socket::INET->new('127.0.0.12:443') }), 'another server is there');
my (undef, $why) = $story->certsync('renew', 'astray.pl');
like($why, qr/port 443: (?:a server that does not know acme-tls|the handshake failed)/, '  which does not know the protocol, as is said') or diag($why);
$story->stop('elsewhere');

my $orders = $ca->orders;
hub('taken', certificate('one.pl'), qq(tls_alpn = "127.0.0.1:8055"\n));
ok($story->until('a failure', sub { status('one.pl')->{error} }), 'a port that another program has');
like($story->log('hub'), qr/event=responder result=failed address=127\.0\.0\.1:8055 error="nobody answers tls-alpn-01: cannot listen at 127\.0\.0\.1:8055/,
	'  is named in the log');
is(scalar(() = $story->log('hub') =~ /event=responder result=failed address=127\.0\.0\.1:8055/g), 1, '  once');
like(status('one.pl')->{error}, qr/nobody answers tls-alpn-01: .*Address already in use/, '  and in the status');

# ---- a hub that reads its configuration again ----

hub('again', certificate('one.pl'));
ok(issued('again', 'one.pl'), 'the usual port again');
my $text = Story::read_file("$top/hub.conf");
Story::write_file("$top/hub.conf", $text =~ s/challenge = "tls-alpn-01"//r);
ok($story->reload, 'a configuration without tls-alpn-01');
ok($story->until('no responder', sub { !IO::Socket::INET->new('127.0.0.1:8404') }), '  has no responder');
Story::write_file("$top/hub.conf", $text);
ok($story->reload, 'with it again');
ok($story->until('a responder', sub { IO::Socket::INET->new('127.0.0.1:8404') }), '  it is there again');
$story->stop('hub');
ok($story->until('nobody', sub { !IO::Socket::INET->new('127.0.0.1:8404') }), 'it ends with the hub');

done_testing();
