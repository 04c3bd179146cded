#!/usr/bin/perl
# http-01 through a real HAProxy, with what `certsync config haproxy` prints and not a line more: once the hub's
# responder answers, and once two HAProxy nodes answer by themselves, without state.
use strict;
use warnings;
use File::Basename qw(dirname);
use JSON::PP;
use lib dirname(__FILE__) . '/../lib';
use Authority;
use Story;
use Test::More;

Authority::own_network();
my $story = Story->new;
my $top = $story->top;
my $ca = Authority->new($story);
my $path = '/.well-known/acme-challenge';

sub printed {
	my ($file, @options) = @_;
	my $text = `$Story::bin/certsync config haproxy @options -c $top/hub.conf 2>&1`;
	Story::write_file("$top/$file.cfg", $text);
	return ($? >> 8, $text);
}

# Starts HAProxy in the foreground, without workers that could be left behind.
sub haproxy {
	my ($name, $file, $address) = @_;
	Story::write_file("$top/$name.cfg", Story::read_file("$top/$file.cfg") =~ s/bind :80/bind $address:80/r);
	$story->start($name, 'haproxy', '-db', '-f', "$top/$name.cfg");
	ok($story->until($name, sub { IO::Socket::INET->new("$address:80") }), "$name runs") or diag($story->log($name));
}

sub valid {
	my ($file) = @_;
	my $said = `haproxy -c -V -f $top/$file.cfg 2>&1`; # 3.0 says nothing of a valid file without -V
	return $? == 0 && $said =~ /Configuration file is valid/ && $said !~ /WARNING|ALERT/ || diag($said) && 0;
}

# HAProxy from 3.3 on refuses two sections of one name.
sub sections { return [sort map { /^(?:frontend|backend|listen|userlist) (\S+)/ ? $1 : () } split /\n/, $_[0]] }

sub fetch {
	my ($url) = @_;
	my $text = `curl -s --path-as-is -o $top/body -w '%{http_code} %{content_type}' '$url'`;
	return ($text, Story::read_file("$top/body"));
}

sub hub {
	my ($state, @names) = @_;
	my $names = join ', ', map { "\"$_\"" } @names;
	$story->stop('hub');
	$story->hub(state => $state, agents => [], certificates => $ca->section
		. "certificate \"$names[0]\" { acme = \"pebble\" names = {$names} preflight = \"off\" }\n");
}

sub renewal {
	my (undef, $text) = $story->certsync('status', '--json');
	my $all = eval { decode_json($text) } or return {};
	return $all->{certificates}[0]{renewal};
}

sub issued {
	my ($state, $name) = @_;
	my $published = "$top/$state/certificates/$name/current/fullchain.pem";
	$story->until('issued', sub { -e $published || (renewal()->{error} && !renewal()->{running}) });
	return -e $published || diag(($story->certsync('status'))[1], $story->log('pebble')) && 0;
}

# Of a name's two addresses the authority takes either.
$ca->names('one.pl' => ['127.0.0.11'], 'two.pl' => ['127.0.0.12'], 'both.pl' => ['127.0.0.11', '127.0.0.12']);
$ca->start(dns => '127.0.0.1:8053');

subtest 'no account, no lines' => sub {
	$story->hub_conf(agents => []);
	my ($exit, $text) = printed('none', '--stateless');
	is($exit, 4, 'the hub does not run');
	like($text, qr/cannot be reached/, 'which is said');
	$story->hub(state => 'empty', agents => [], certificates => '');
	($exit, $text) = printed('none', '--stateless');
	is($exit, 2, 'without an acme section --stateless is exit 2');
	like($text, qr/no acme section/, 'which is said');
	$story->stop('hub');
	$story->hub(state => 'idle', agents => [], certificates => $ca->section . ($ca->section =~ s/"pebble"/"other"/r));
	($exit, $text) = printed('none', '--stateless');
	like($text, qr/2 acme sections.*--account/, 'several acme sections want --account');
	($exit, $text) = printed('none', '--stateless', '--account', 'other');
	is($exit, 2, 'without an account --stateless is exit 2');
	like($text, qr/no account "other" yet.*certsync renew/, 'and how it comes to be');
	($exit, $text) = printed('none', '--account', 'other');
	is($exit, 2, '--account without --stateless is exit 2');
};

subtest 'by the responder' => sub {
	hub('responder', 'one.pl');
	my ($exit, $text) = printed('responder');
	is_deeply(sections($text), [qw(certsync_challenge certsync_http)], 'each of its sections has a name of its own');
	is($exit, 0, 'the section is printed');
	ok(valid('responder'), 'HAProxy takes the file as it is');
	# The first order came before HAProxy ran.
	$story->until('the first order', sub { renewal()->{error} || renewal()->{step} });
	haproxy('door', 'responder', '127.0.0.11');
	is(($story->certsync('renew', 'one.pl'))[0], 0, "the order is issued by the hub's responder") or diag($story->log('hub'));
	is((fetch("http://127.0.0.11$path/no-such-token"))[0] =~ /^404/, 1, 'another token: the responder says 404');
	is((fetch('http://127.0.0.11/'))[0] =~ /^503/, 1, 'another path does not reach it');
	$story->stop('door');
};

subtest 'without state, by two nodes' => sub {
	hub('stateless', 'one.pl', 'two.pl', 'both.pl');
	like((printed('early', '--stateless'))[1], qr/^#|no account/, '--stateless prints a section, or says that there is no account');
	ok($story->until('a failure', sub { renewal()->{error} }), 'the first order fails, since nobody answers yet') or diag($story->log('hub'));
	my ($exit, $text) = printed('stateless', '--stateless');
	is($exit, 0, 'but the account is there');
	ok(valid('stateless'), 'HAProxy takes the file as it is') or diag($text);
	haproxy('node1', 'stateless', '127.0.0.11');
	haproxy('node2', 'stateless', '127.0.0.12');
	is(($story->certsync('renew', 'one.pl'))[0], 0, 'the order is issued by two HAProxy nodes') or diag($story->log('hub'));
	ok(issued('stateless', 'one.pl'), 'the certificate is published');
	my ($thumbprint) = $text =~ /\)\]\.([\w-]{43})"/;
	my ($status, $body) = fetch("http://127.0.0.12$path/a_token-1");
	is("$status $body", "200 text/plain a_token-1.$thumbprint", 'the answer, to the byte');
	for my $odd ('', 'a%0d%0ab', 'a.b', '..%2fx', 'a/b', '%3Cscript%3E', 'a?b=<c>', 'ü') {
		($status, $body) = fetch("http://127.0.0.11$path/$odd");
		my $expected = $odd =~ /\?/ ? qr/^200 text\/plain$/ : qr/^[45]\d\d /;
		like($status, $expected, "\"$odd\": nothing of it comes back");
		unlike($body, qr/[<%\r\n]c?>?|script/, "the answer's body has nothing of the token that could be run") if $odd =~ /\?/;
	}
};

$story->ends_clean;
done_testing;
