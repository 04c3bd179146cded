#!/usr/bin/perl
# dns-01 with a real BIND as primary and another as secondary, updates with TSIG, and a real Pebble that asks the
# secondary: the wait for every authoritative server, delegation by CNAME, hooks that misbehave, and crashes. acme-dns
# has no Debian package, so acmedns_double.py stands in for it.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use IO::Socket::INET;
use JSON::PP;
use lib dirname(__FILE__) . '/../lib';
use Authority;
use Story;
use Test::More;
use Time::Piece;

Authority::own_network();
my $doubles = abs_path(dirname(__FILE__) . '/../lib');
my $story = Story->new;
my $top = $story->top;
my $ca = Authority->new($story);

# ---- name servers ----

# 127.0.0.2 is the primary, which the hub asks; 127.0.0.3 is the secondary, which Pebble asks. The secondary is not told
# when slow.pl changes, and knows nothing of lame.pl. 127.0.0.11 is a resolver. To the world the only server of closed.pl is
# 127.0.0.4, which swallows what it is sent, as a firewall does; in the place of taken.pl's only server, the resolver answers.
my $sixty = join '', map { "_acme-challenge TXT \"" . 'x' x 40 . sprintf('%03d', $_) . "\"\n" } 1 .. 60;
my %zones = (
	'domain.pl' => "\@ NS ns3\nns3 AAAA 2001:db8::1\n",
	'slow.pl' => '',
	'lone.pl' => "\@ NS ns4\nns4 A 127.0.0.4\n\@ NS ns5.nowhere.pl.\n",
	'lame.pl' => '',
	'deleg.pl' => "_acme-challenge CNAME here.auth.pl.\n",
	'auth.pl' => '',
	'ad.pl' => "_acme-challenge CNAME f00d-1.acmedns.pl.\n",
	'acmedns.pl' => '',
	'big.pl' => $sixty,
	'nowhere.pl' => '',
);
my %alone = ('closed.pl' => '127.0.0.4', 'taken.pl' => '127.0.0.11');

sub name_server {
	my ($name, $address, $zones, $options) = @_;
	$options //= '';
	# Pebble wants the whole chain of a CNAME in one answer.
	my $recursion = $name eq 'primary' ? 'no' : 'yes';
	# Two servers of one machine must not share the lock that BIND took up to 9.18; 9.20 knows it no more.
	my $lock = `named -v` =~ /^BIND 9\.18\./ ? 'lock-file none;' : '';
	Story::write_file("$top/$name/named.conf", <<"CONF");
include "$top/hook.key";
include "$top/rndc.key";
controls { inet $address port 953 allow { any; } keys { rndc; }; };
options {
	directory "$top/$name"; pid-file "$top/$name/pid"; session-keyfile none; $lock
	listen-on { $address; }; listen-on-v6 { none; };
	query-source address $address; transfer-source $address; notify-source $address;
	recursion $recursion; dnssec-validation no; notify-delay 0; allow-transfer { any; };
	$options
};
$zones
CONF
	$story->start($name, 'named', '-g', '-c', "$top/$name/named.conf");
}

sub dig {
	my ($server, $name) = @_;
	return [sort map { /^"(\S+)"$/ ? $1 : () } split /\n/, `dig +short +tcp +time=2 +tries=1 \@$server $name TXT`];
}

sub begin_name_servers {
	for my $key (qw(hook wrong rndc)) {
		system("tsig-keygen -a hmac-sha256 $key >$top/$key.key && chmod 600 $top/$key.key") == 0 or die 'tsig-keygen';
	}
	mkdir "$top/$_" for qw(primary secondary resolver);
	my ($primary, $secondary) = ('', '');
	for my $zone (sort keys %zones) {
		Story::write_file("$top/primary/$zone", "\$TTL 60\n\@ SOA ns1 hostmaster 1 3600 3600 86400 60\n"
			. "\@ NS ns1\n\@ NS ns2\nns1 A 127.0.0.2\nns2 A 127.0.0.3\n$zones{$zone}");
		my $notify = $zone eq 'slow.pl' ? 'no' : 'yes';
		# This is what certsync-hub.conf(5) recommends.
		my $update = $zone eq 'domain.pl' ? 'update-policy { grant hook name _acme-challenge.domain.pl TXT; }'
			: 'allow-update { key hook; }';
		$primary .= qq(zone "$zone" { type primary; file "$zone"; $update; notify $notify; };\n);
		$secondary .= qq(zone "$zone" { type secondary; file "$zone"; primaries { 127.0.0.2; }; };\n) if $zone ne 'lame.pl';
	}
	for my $zone (sort keys %alone) {
		# What was not there is remembered for a second only, so that the resolver soon sees what has been written.
		Story::write_file("$top/primary/$zone", "\$TTL 60\n\@ SOA ns4 hostmaster 1 3600 3600 86400 1\n"
			. "\@ NS ns4\nns4 A $alone{$zone}\n");
		$primary .= qq(zone "$zone" { type primary; file "$zone"; allow-update { key hook; }; also-notify { 127.0.0.3; }; };\n);
		$secondary .= qq(zone "$zone" { type secondary; file "$zone"; primaries { 127.0.0.2; }; };\n);
	}
	name_server('primary', '127.0.0.2', $primary);
	$story->until('primary', sub { $story->log('primary') =~ /all zones loaded/ }) or die $story->log('primary');
	name_server('secondary', '127.0.0.3', $secondary);
	$story->until('secondary', sub { @{dig('127.0.0.3', '_acme-challenge.big.pl')} == 60 }) or die $story->log('secondary');
	name_server('resolver', '127.0.0.11', '', 'forward only; forwarders { 127.0.0.2; };');
	$story->until('resolver', sub { @{dig('127.0.0.11', '_acme-challenge.big.pl')} == 60 }) or die $story->log('resolver');
}

# ---- the hub ----

my $hubs = 0;

sub hook_conf {
	my ($name, $key) = @_;
	Story::write_file("$top/$name.conf", "# the zone's primary\nserver = 127.0.0.2\nkey = $top/$key.key\n");
	return "$top/$name.conf";
}

# Starts a hub that has nothing yet, so that it orders at once.
sub hub {
	my ($domain, %wish) = @_;
	my $section = $wish{section} // $ca->section;
	my $names = join ', ', map { "\"$_\"" } @{$wish{names} // [$domain]};
	my $config = $wish{config} // "$top/good.conf";
	my $hook = $wish{hook} // 'dns-rfc2136';
	my $timeout = $wish{timeout} // '20s';
	my $resolvers = $wish{resolvers} // '"127.0.0.2"';
	my $fallback = $wish{fallback} ? "dns_fallback = \"$wish{fallback}\"" : '';
	$story->stop('hub');
	$hubs++ if !$wish{same};
	return $story->hub(state => "state-$hubs", agents => [], certificates => "resolvers = {$resolvers}\n" . $section
		. "certificate \"$domain\" { acme = \"pebble\" names = {$names} challenge = \"dns-01\" dns_hook = \"$hook\"\n"
		. "dns_config = \"$config\" dns_timeout = \"$timeout\" $fallback preflight = \"off\" }\n");
}

sub certificate {
	my (undef, $text) = $story->certsync('status', '--json');
	my $all = eval { decode_json($text) } or return {};
	return $all->{certificates}[0] // {};
}

sub issued {
	my ($what, $domain) = @_;
	my $published = "$top/state-$hubs/certificates/$domain/current/fullchain.pem";
	my $ended = sub { my $renewal = certificate()->{renewal}; $renewal->{error} && !$renewal->{running} };
	my $is = $story->until('issued', sub { -e $published || $ended->() }, 40) && -e $published;
	ok($is, $what) or diag(($story->certsync('status'))[1], $story->log('hub'), $story->log('pebble'));
	my $names = -e $published ? `openssl x509 -in $published -noout -ext subjectAltName` : '';
	return join ' ', sort $names =~ /DNS:([^,\s]+)/g;
}

sub failed {
	my $error = '';
	$story->until('failed', sub { $error = certificate()->{renewal}{error} }, 40);
	return $error // '';
}

sub until_step {
	my ($what, $pattern) = @_;
	my $step = '';
	ok($story->until($what, sub { ($step = certificate()->{renewal}{step} // '') =~ $pattern }), $what)
		or diag("step: $step\n" . ($story->certsync('status'))[1] . $story->log('hub'));
}

sub nothing_left {
	my ($zone, $records) = @_;
	is_deeply(dig('127.0.0.2', "_acme-challenge.$zone"), $records // [], "$zone: no record of ours is left");
}

sub leftovers {
	my ($domain) = @_;
	return Story::read_file("$top/state-$hubs/records/dns/$domain/records.json");
}

begin_name_servers();
hook_conf('good', 'hook');
hook_conf('bad', 'wrong');
$ca->start(dns => '127.0.0.3:53');

# ---- what it is for ----

subtest 'a wildcard and its base name in one certificate' => sub {
	ok(hub('domain.pl', names => ['domain.pl', '*.domain.pl']), 'the hub runs');
	is(issued('issued', 'domain.pl'), '*.domain.pl domain.pl', 'the certificate has both names');
	nothing_left('domain.pl');
	is(leftovers('domain.pl'), '', 'nor in the store');
};

subtest 'nothing is answered before the secondary shows the record' => sub {
	my $told = $ca->told;
	hub('slow.pl', names => ['slow.pl', '*.slow.pl']);
	until_step('it waits, and says for whom', qr/^dns waits for _acme-challenge\.slow\.pl\.: ns2\.slow\.pl\. \(127\.0\.0\.3\): NXDOMAIN/);
	is(scalar @{dig('127.0.0.2', '_acme-challenge.slow.pl')}, 2, 'both values stand at the primary');
	like(leftovers('slow.pl'), qr/_acme-challenge\.slow\.pl\./, 'the store knows of them');
	is($ca->told, $told, 'the CA has not been told of a challenge');
	system("rndc -k $top/rndc.key -s 127.0.0.3 retransfer slow.pl") == 0 or die 'rndc';
	issued('issued once the secondary has it', 'slow.pl');
	is($ca->told, $told + 2, 'two challenges were said to be ready');
	nothing_left('slow.pl');
};

subtest 'a secondary that never shows it is named when the time is over' => sub {
	my $told = $ca->told;
	hub('slow.pl', timeout => '1s');
	my $error = failed();
	like($error, qr/dns_timeout.*_acme-challenge\.slow\.pl\. TXT "\S{43}": ns2\.slow\.pl\. \(127\.0\.0\.3\): 2 other values, the first/,
		'with what it said');
	like($error, qr/ns1\.slow\.pl\. \(127\.0\.0\.2\): shows it/, 'and what the other one said');
	is($ca->told, $told, 'no challenge was spent');
	nothing_left('slow.pl');
};

subtest 'a server that is down is waited for, and then left out: a resolver asks another' => sub {
	hub('lone.pl', timeout => '4s');
	issued('issued without it', 'lone.pl');
	like($story->log('hub'), qr/dns goes on without \Q$_/, 'which is said') for 'ns4.lone.pl. (127.0.0.4): no answer',
		'ns5.nowhere.pl.: no address';
};

subtest 'a server that is not authoritative is no reason to fail' => sub {
	# The server that Pebble asks is the one that is not authoritative, so no certificate comes of it.
	my $told = $ca->told;
	hub('lame.pl', timeout => '2s');
	like(failed(), qr/challenge lame\.pl/, 'the CA was told');
	is($ca->told, $told + 1, 'the challenge was said to be ready once');
	nothing_left('lame.pl');
};

subtest '_acme-challenge is a CNAME into another zone' => sub {
	hub('deleg.pl', names => ['deleg.pl', '*.deleg.pl']);
	issued('issued', 'deleg.pl');
	is_deeply(dig('127.0.0.2', 'here.auth.pl'), [], 'auth.pl: no record of ours is left');
};

subtest 'more records than a datagram holds' => sub {
	my $others = dig('127.0.0.2', '_acme-challenge.big.pl');
	is(scalar @$others, 60, 'sixty records of others stand there');
	hub('big.pl');
	# Pebble does not ask again by TCP; certsync did, for else it would not have told Pebble to look.
	like(failed(), qr/challenge big\.pl: .*Correct value not found/, 'the whole answer was seen');
	nothing_left('big.pl', $others);
};

# ---- no authoritative server can be asked ----

my $closed = IO::Socket::INET->new(LocalAddr => '127.0.0.4', LocalPort => 53, Proto => 'udp') or die "127.0.0.4: $!";

sub fallback {
	my ($domain, %wish) = @_;
	my $before = length $story->log('hub');
	my $told = $ca->told;
	hub($domain, resolvers => '"127.0.0.11"', %wish);
	return (sub { substr $story->log('hub'), $before }, sub { $ca->told - $told });
}

subtest 'the way to the authoritative servers is closed: the error says what to set' => sub {
	my (undef, $told) = fallback('closed.pl', timeout => '4s');
	like(failed(), qr/\(dns_timeout\) no authoritative server of closed\.pl\. could be asked from here for \S+ TXT "\S{43}": let this host reach port 53, or set dns_fallback in hub\.conf, to "resolvers" or a fixed wait like "2m": ns4\.closed\.pl\. \(127\.0\.0\.4\): no answer/,
		'both ways, and what the server said');
	is($told->(), 0, 'no challenge was spent');
	nothing_left('closed.pl');
};

for (['closed.pl', 'a closed way', qr/ns4\.closed\.pl\. \(127\.0\.0\.4\): no answer/],
	['taken.pl', 'another who answers', qr/ns4\.taken\.pl\. \(127\.0\.0\.11\): not authoritative for it/])
{
	my ($domain, $what, $why) = @$_;
	subtest "the resolvers are asked instead: $what" => sub {
		my ($log, $told) = fallback($domain, timeout => '20s', fallback => 'resolvers');
		issued('issued', $domain);
		like($log->(), qr/step="dns asks the resolvers \(dns_fallback\): no authoritative server of \Q$domain\E\. can be asked: $why"/,
			'the log says that it is done, and why');
		like($log->(), qr/step="dns goes on by dns_fallback: _acme-challenge\.\Q$domain\E\. is seen"/, 'and what was seen');
		is($told->(), 1, 'the challenge was said to be ready once');
		nothing_left($domain);
	};
}

subtest 'the resolvers do not show it either' => sub {
	my (undef, $told) = fallback('closed.pl', timeout => '6s', fallback => 'resolvers', hook => '/bin/true');
	like(failed(), qr/\(dns_timeout\) _acme-challenge\.closed\.pl\. TXT "\S{43}" is not seen by the resolvers, .*\(dns_fallback\): the resolver \(127\.0\.0\.11\): NXDOMAIN/,
		'that is said of the resolver');
	is($told->(), 0, 'no challenge was spent');
};

subtest 'a fixed wait instead' => sub {
	my ($log, $told) = fallback('closed.pl', names => ['closed.pl', '*.closed.pl'], timeout => '7s', fallback => '6s');
	my $asked = $story->until('it waits', sub { $log->() =~ /step="dns waits until 6 seconds are over \(dns_fallback\): no authoritative server of closed\.pl\. can be asked: ns4/ });
	ok($asked, 'the log says that it is done, and why') or diag($log->());
	is(issued('issued', 'closed.pl'), '*.closed.pl closed.pl', 'with both names');
	like($log->(), qr/step="dns goes on after 6 seconds \(dns_fallback\), and nobody has seen _acme-challenge\.closed\.pl\."/, 'and that nobody has seen it');
	my ($began) = $log->() =~ /^(\S+) .*step="dns wait"/m;
	my ($ended) = $log->() =~ /^(\S+) .*step="dns goes on after/m;
	my ($from, $to) = map { Time::Piece->strptime($_, '%Y-%m-%dT%H:%M:%SZ')->epoch } $began, $ended;
	cmp_ok($to - $from, '>=', 5, 'six seconds passed, as a clock without fractions shows them');
	is($told->(), 2, 'both challenges were said to be ready');
	nothing_left('closed.pl');
};

subtest 'an authoritative server that answers is never passed over' => sub {
	for my $fallback ('resolvers', '1s') {
		my (undef, $told) = fallback('slow.pl', timeout => '2s', fallback => $fallback);
		like(failed(), qr/not every authoritative server of slow\.pl\. shows/, "the order fails in spite of $fallback");
		is($told->(), 0, 'no challenge was spent');
	}
};
close $closed;

# ---- hooks ----

subtest 'any executable is a hook' => sub {
	Story::write_file("$top/own", <<"HOOK", 0755);
#!/bin/sh
env | grep -v -e ^PWD= -e ^OLDPWD= -e ^SHLVL= -e ^_= >$top/own.env
echo "\$@" >>$top/own.log
unset CERTSYNC_DNS_TARGET
CERTSYNC_DNS_CONFIG=$top/good.conf exec $Story::bin/hooks/dns-rfc2136 "\$@"
HOOK
	hub('domain.pl', hook => "$top/own", config => "$top/own.conf");
	issued('issued', 'domain.pl');
	like(Story::read_file("$top/own.log"), qr/^present _acme-challenge\.domain\.pl\. (\S{43})\ncleanup _acme-challenge\.domain\.pl\. \1\n$/,
		'the hook gets verb, name and value as arguments');
	my %env = map { split /=/, $_, 2 } split /\n/, Story::read_file("$top/own.env");
	like(delete $env{CERTSYNC_DNS_VALUE}, qr/^[\w-]{43}$/, "the hook's environment has the value");
	like(delete $env{PATH}, qr{^/}, "the hook's environment has a PATH");
	is_deeply(\%env, {CERTSYNC_CERTIFICATE => 'domain.pl', CERTSYNC_DNS_NAME => '_acme-challenge.domain.pl.',
		CERTSYNC_DNS_TARGET => '_acme-challenge.domain.pl.', CERTSYNC_DNS_CONFIG => "$top/own.conf"}, 'and nothing else');
};

for my $case (
	['fails', '9s', 'echo the provider is on holiday; exit 7', qr/present _acme-challenge\.domain\.pl\.: exited 7: the provider is on holiday$/],
	['hangs', '1s', 'echo waiting; sleep 1000 & exec sleep 1000', qr/killed after 1 seconds: waiting$/],
	['prints 100 MB', '20s', 'yes noise | head -c 100000000; exit 3', qr/exited 3: .*noise noise/],
) {
	my ($what, $timeout, $command, $expected) = @$case;
	subtest "a hook that $what" => sub {
		Story::write_file("$top/odd", "#!/bin/sh\n[ \"\$1\" = present ] || exit 0\necho \$\$ >$top/odd.pid\n$command\n", 0755);
		hub('domain.pl', hook => "$top/odd", timeout => $timeout);
		my $error = failed();
		like($error, $expected, 'what it did and said');
		cmp_ok(length $error, '<', 1024, 'and not more');
		my ($group) = Story::read_file("$top/odd.pid") =~ /(\d+)/;
		ok($story->until('the end of its group', sub { !kill 0, -$group }, 5), 'nothing of it is left');
		is(leftovers('domain.pl'), '', 'its cleanup was called');
	};
}

subtest 'a hook that cannot remove: its record is remembered, and removed with the next order' => sub {
	Story::write_file("$top/stuck", <<"HOOK", 0755);
#!/bin/sh
[ "\$1" = present ] || [ -e $top/loose ] || { echo not now; exit 1; }
exec $Story::bin/hooks/dns-rfc2136 "\$@"
HOOK
	hub('domain.pl', hook => "$top/stuck");
	issued('issued all the same', 'domain.pl');
	is(scalar @{dig('127.0.0.2', '_acme-challenge.domain.pl')}, 1, 'a hook that is stuck leaves one record');
	like(leftovers('domain.pl'), qr/"hook":"\Q$top\E\/stuck"/, 'the store knows of it');
	Story::write_file("$top/loose", '');
	# The certificate has another hook now, but what is left over is removed by the hook that wrote it.
	hub('domain.pl', same => 1);
	is(($story->certsync('renew', 'domain.pl'))[0], 0, 'the renewal goes through');
	nothing_left('domain.pl');
	is(leftovers('domain.pl'), '', 'nor in the store');
};

subtest 'a wrong TSIG key' => sub {
	hub('domain.pl', config => "$top/bad.conf");
	like(failed(), qr/dns-rfc2136 present .*(BADKEY|NOTAUTH|TSIG)/, 'is refused by the server, which is shown');
	Story::write_file("$top/open.conf", "server = 127.0.0.2\nkey = $top/open.key\n");
	Story::write_file("$top/open.key", Story::read_file("$top/hook.key"), 0644);
	hub('domain.pl', config => "$top/open.conf");
	like(failed(), qr/open\.key can be read by everybody: chmod/, 'and one that everybody can read, by the hook');
};

subtest 'acme-dns' => sub {
	$story->start('acmedns', '/usr/bin/python3', "$doubles/acmedns_double.py", '8053', "$top/hook.key");
	$story->until('the double', sub { $story->log('acmedns') =~ /^ready/m }) or die $story->log('acmedns');
	my $account = "account = ad.pl f00d-1 11111111-2222-3333-4444-555555555555 s3cret_s3cret";
	Story::write_file("$top/acmedns.conf", "# one account\nurl = http://127.0.0.1:8053/\n$account\n", 0600);
	hub('ad.pl', names => ['ad.pl', '*.ad.pl'], hook => 'dns-acmedns', config => "$top/acmedns.conf");
	is(issued('issued', 'ad.pl'), '*.ad.pl ad.pl', 'a certificate with a wildcard is issued through acme-dns');
	for my $case (['another password', 0600, "url = http://127.0.0.1:8053\n${account}x\n", qr/401.*did not take the value for ad\.pl/],
		['a file that others can read', 0644, "url = http://127.0.0.1:8053\n$account\n", qr/can be read by others: chmod 600/],
		['no account for the name', 0600, "url = http://127.0.0.1:8053\n", qr/account = ad\.pl SUBDOMAIN/],
		['a password in the clear', 0600, "url = http://192.0.2.1\n$account\n", qr/must be https/]) {
		my ($what, $mode, $text, $expected) = @$case;
		Story::write_file("$top/acmedns.conf", $text, $mode);
		hub('ad.pl', hook => 'dns-acmedns', config => "$top/acmedns.conf");
		my $error = failed();
		like($error, $expected, $what);
		unlike($error . $story->log('hub'), qr/s3cret/, "$what: and the password is not shown");
	}
};

# ---- crashes ----

subtest 'killed while it waits: the record is removed by the next start, and the order goes on' => sub {
	system("rndc -k $top/rndc.key -s 127.0.0.3 retransfer slow.pl") == 0 or die 'rndc';
	hub('slow.pl');
	until_step('it waits', qr/^dns waits for/);
	my $left = dig('127.0.0.2', '_acme-challenge.slow.pl');
	is(scalar @$left, 1, 'a record stands');
	kill 'KILL', $story->child('hub', qr/certsync-worker\0acme/) or die 'there is no worker';
	like(failed(), qr/killed by signal 9/, 'the failure has its reason');
	is_deeply(dig('127.0.0.2', '_acme-challenge.slow.pl'), $left, 'the record is still there');
	# The certificate has another name by now, so that the order and its record are of no use.
	hub('slow.pl', same => 1, names => ['www.slow.pl', 'slow.pl']);
	$story->start('renew', "$Story::bin/certsync", 'renew', 'slow.pl', '-c', "$top/hub.conf");
	until_step('the next one waits', qr/^dns waits for/);
	my ($value) = @{dig('127.0.0.2', '_acme-challenge.slow.pl')};
	isnt($value, $left->[0], 'the record that was left is removed');
	system("rndc -k $top/rndc.key -s 127.0.0.3 retransfer slow.pl") == 0 or die 'rndc';
	issued('issued', 'slow.pl');
	nothing_left("$_") for qw(slow.pl www.slow.pl);
	is(leftovers('slow.pl'), '', 'nor in the store');
};

subtest 'without resolvers, those of the system are asked' => sub {
	Story::write_file("$top/resolv.conf", "search nowhere.pl\nnameserver 127.0.0.2\n");
	system("mount --bind $top/resolv.conf /etc/resolv.conf") == 0 or die 'mount';
	hub('domain.pl', resolvers => '');
	issued('issued', 'domain.pl');
};

subtest 'the resolver does not answer' => sub {
	hub('domain.pl', resolvers => '"127.0.0.9:5353"');
	like(failed(), qr/_acme-challenge\.domain\.pl\. cannot be looked up: 127\.0\.0\.9:5353: no answer: see `resolvers`/, 'a resolver that does not answer is named');
};

# ---- an authority that names what it likes ----

for (['foreign-authorization', qr/authorization-foreign: the server wants "bank\.example\?\[2J" proven/],
	# Nobody asked about this zone of ours.
	['other-authorization', qr/authorization-foreign: the server wants "auth\.pl" proven/],
	['foreign-identifier', qr/order-foreign: the server's order has "bank\.example\?\[2J"/],
	['authorization-twice', qr/authorization-twice: the server wants domain\.pl proven twice/],
	['wildcard-not-asked', qr/authorization-foreign: the server wants "\*\.domain\.pl" proven/])
{
	my ($lie, $why) = @$_;
	subtest "the authority wants proven what was not asked for: $lie" => sub {
		my @files = map { "$top/$_" } qw(api.pem api.key api.pem api.key);
		mkdir "$top/scratch";
		$story->start($lie, '/usr/bin/python3', "$doubles/ca_double.py", $lie, @files, "$top/scratch");
		my $port;
		ok($story->until('double', sub { ($port) = $story->log($lie) =~ /^ready (\d+)$/m }), 'the authority is up') or return;
		unlink "$top/called";
		Story::write_file("$top/noting", "#!/bin/sh\necho \"\$*\" >>$top/called\n", 0755);
		hub('domain.pl', hook => "$top/noting", section =>
			qq(acme "pebble" { directory = "https://127.0.0.1:$port/directory" agree_tos = true ca_file = "$top/api.pem" }\n));
		like(failed(), $why, 'the order fails, and says which name');
		like($story->log($lie), qr{^POST /order$}m, 'an order was made');
		unlike($story->log($lie), qr{^POST /challenge}m, 'the authority was told of no challenge');
		is(Story::read_file("$top/called"), '', 'and the hook was not called for any name');
		is(leftovers('domain.pl'), '', 'nor is a record noted');
		$story->stop($lie);
	};
}

$story->ends_clean;
done_testing;
