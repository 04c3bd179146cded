#!/usr/bin/perl
# When a certificate is renewed, what is checked before an order is spent, and what only an account may do. The real hub
# runs against the real Pebble, with a real HAProxy at the addresses that the DNS gives, and against a double
# (ca_double.py) for what Debian's Pebble lacks: renewal information, and answers that get lost.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Authority;
use JSON::PP;
use Keys;
use POSIX qw(strftime);
use Story;
use Test::More;
use Time::HiRes qw(time);

Authority::own_network();

my $name = $Story::name;

# ---- what is asked of any hub ----

sub certificate {
	my ($story) = @_;
	my $all = eval { decode_json(($story->certsync('status', '--json'))[1]) } or return {};
	return (grep { $_->{certificate} eq $name } @{$all->{certificates}})[0] // {};
}

sub until_revision {
	my ($story, $revision, $seconds) = @_;
	my $reached = $story->until("revision $revision", sub { (certificate($story)->{revision} // '') eq $revision }, $seconds);
	diag(($story->certsync('status'))[1] . $story->log('hub')) if !$reached;
	return $reached;
}

sub account {
	my ($story) = @_;
	my (undef, $text) = $story->certsync('account', 'show', '--json');
	return (eval { decode_json($text) } // {accounts => [{}]})->{accounts}[0];
}

sub file { return Story::read_file("$_[0]{top}/hub/certificates/$name/$_[1]") }
sub key_at { return key_of_chain("$_[0]{top}/hub", "$_[0]{top}/hub/certificates/$name/$_[1]/fullchain.pem") }
sub record { return Story::read_file("$_[0]{top}/hub/records/$_[1]") }

sub configure {
	my ($story, $text) = @_;
	$story->hub_conf(certificates => $text, agents => []);
}

sub reload {
	my ($story, $text) = @_;
	configure($story, $text);
	return $story->reload;
}

sub restart {
	my ($story) = @_;
	$story->stop('hub');
	$story->start('hub', "$Story::bin/certsync-hub-root", '-c', "$story->{top}/hub.conf");
	return $story->until('hub', sub { ($story->certsync('status'))[0] != 4 });
}

# ---- Pebble ----

my $story = Story->new;
my $top = $story->top;
my $ca = Authority->new($story);
$story->{http} = 8402;

sub section {
	my (%wish) = @_;
	my $contact = $wish{contact} // 'mailto:old@domain.pl';
	my $preflight = $wish{preflight} // 'require';
	my $names = $wish{names} ? 'names = {' . join(', ', map { qq("$_") } @{$wish{names}}) . '} ' : '';
	my $acme = $ca->section =~ s/agree_tos/contact = {"$contact"} agree_tos/r;
	return qq(resolvers = {"127.0.0.1:8053"}\n$acme)
		. qq(certificate "$name" { acme = "pebble" preflight = "$preflight" renew_before = "1d" $names)
		. ($wish{reuse_key} ? 'reuse_key = true ' : '') . "}\n";
}

# .11 is the door that leads to the hub; .12 is another web server; .13 is nobody; .14 redirects to TLS, and .15 to a
# place where no authority goes.
Story::write_file("$top/haproxy.cfg", <<"CONF");
defaults
	mode http
	timeout connect 2s
	timeout client 5s
	timeout server 5s
frontend door
	bind 127.0.0.11:80
	default_backend hub
backend hub
	server hub 127.0.0.1:8402
frontend other
	bind 127.0.0.12:80
	http-request return status 404 content-type text/plain string "nobody here"
frontend sends_on
	bind 127.0.0.14:80
	http-request redirect scheme https
frontend by_tls
	bind 127.0.0.14:443 ssl crt $top/door.pem
	default_backend hub
frontend sends_away
	bind 127.0.0.15:80
	http-request redirect location http://mail.domain.pl:8080/
CONF
$story->pair('door', self_signed => 1);
Story::write_file("$top/door.pem", Story::read_file("$top/door.key") . Story::read_file("$top/door.crt"));
system("ip address add 127.0.0.$_/8 dev lo") for 14, 15;
$story->start('haproxy', 'haproxy', '-db', '-f', "$top/haproxy.cfg");

sub addresses {
	my (@addresses) = @_;
	$story->stop('names');
	$ca->names($name => \@addresses);
}

addresses(map { "127.0.0.$_" } 11 .. 15);
$ca->start(dns => '127.0.0.1:8053');

subtest 'before an order is spent, every address of the name is looked at' => sub {
	configure($story, section());
	$story->start('hub', "$Story::bin/certsync-hub-root", '-c', "$top/hub.conf");
	ok($story->until('a preflight', sub { @{certificate($story)->{renewal}{preflight} // []} }), 'a preflight was made')
		or diag $story->log('hub');
	my %said = map { $_->{address} => $_ } @{certificate($story)->{renewal}{preflight}};
	is(scalar keys %said, 5, 'the preflight looked at five addresses');
	ok($said{'127.0.0.11'}{ok}, 'the door leads here');
	is($said{'127.0.0.12'}{text}, 'answered 404', 'another web server answers 404');
	like($said{'127.0.0.13'}{text}, qr/refused|connect/i, 'an address without a server refuses');
	ok($said{'127.0.0.14'}{ok}, 'a redirect to TLS is followed at the same address') or diag $said{'127.0.0.14'}{text};
	like($said{'127.0.0.15'}{text}, qr{redirects to http://mail.domain.pl:8080/, where no authority}, 'one to elsewhere is not');
	my (undef, $text) = $story->certsync('status');
	like($text, qr/preflight: \Q$name\E at 127\.0\.0\.12: answered 404/, 'status shows what the preflight found');
	like($text, qr/no order was made: preflight: 127\.0\.0\.12 of \Q$name\E: answered 404/, 'and what came of it');
	is(scalar(() = $story->log('pebble') =~ /order-plz/g), 0, 'no order was spent');
};

subtest 'a warning lets the order go on; addresses that all lead here need none' => sub {
	addresses('127.0.0.11');
	ok(reload($story, section(preflight => 'warn')), 'the configuration is read again with preflight = warn');
	my ($exit, $text) = $story->certsync('renew');
	is($exit, 0, 'a failed preflight that only warns lets the order go') or diag $text . $story->log('hub');
	ok(until_revision($story, '1.1'), 'the first certificate is published');
	like(($story->certsync('status'))[1], qr/warning: renew_before: 1d\S* leaves a certificate of \d+d\S* less than a twentieth/,
		'what its lifetime cannot afford is said, now that it is known');
	is_deeply([grep { !$_->{ok} } @{certificate($story)->{renewal}{preflight}}], [], 'nothing to warn of');
};

subtest 'the contact follows the configuration, at the next order' => sub {
	$story->certsync('renew');
	is(account($story)->{contact}, 'mailto:old@domain.pl', 'the first is known');
	ok(reload($story, section(contact => 'mailto:new@domain.pl')), 'the configuration is read again with a new contact');
	is(($story->certsync('renew'))[0], 0, 'an order is made with the new contact');
	is(account($story)->{contact}, 'mailto:new@domain.pl', 'the authority was told');
	like($story->log('pebble'), qr{POST /my-account/}, 'the account was updated at the authority');
};

subtest 'an account gets a new key, and orders go on with it' => sub {
	my $before = account($story);
	my $key = key_of_record($story->{top} . '/hub', 'acme/pebble/account.pub');
	my ($exit, $text) = $story->certsync('account', 'rollover', 'pebble');
	is($exit, 0, "the account's key is changed") or diag $text;
	like($text, qr/pebble has a new key/, 'and said');
	my $after = account($story);
	isnt($after->{thumbprint}, $before->{thumbprint}, 'the account has another thumbprint');
	is($after->{url}, $before->{url}, 'of the same account');
	isnt(key_of_record($story->{top} . '/hub', 'acme/pebble/account.pub'), $key, 'the new key is on disk');
	is(key_of_record($story->{top} . '/hub', 'acme-next/pebble/account.pub'), '', 'and nowhere else');
	is(($story->certsync('renew'))[0], 0, 'a renewal is ordered with the new key');
	is(($story->certsync('account', 'rollover', 'nobody'))[0], 2, 'of nobody: wrong usage');
};

sub status_at_ca {
	my ($path) = @_;
	my $serial = `openssl x509 -in $path -noout -serial` =~ /serial=(\S+)/ ? lc $1 : '';
	my $text = `curl -s --cacert $top/api.pem https://127.0.0.1:15000/cert-status-by-serial/$serial`;
	return eval { decode_json($text) } // {};
}

subtest 'what is revoked is replaced at once with another key, and never comes back' => sub {
	my $revision = certificate($story)->{revision};
	my $path = "$top/hub/certificates/$name/$revision/fullchain.pem";
	my $key = key_at($story, $revision);
	is(status_at_ca($path)->{Status}, 'Valid', 'the certificate is valid before it is revoked');
	is(($story->certsync('revoke', $name, '--reason', 'hackers'))[0], 2, 'a reason that does not exist is exit 2');
	my ($exit, $text) = $story->certsync('revoke', $name, '--reason', 'keyCompromise', '--json');
	is($exit, 0, 'revoke exits with 0') or diag $text . $story->log('hub');
	my $status = status_at_ca($path);
	is($status->{Status}, 'Revoked', 'the authority says so');
	is($status->{Reason}, 1, 'and why');
	my $now = certificate($story)->{revision};
	isnt($now, $revision, 'there is a new revision');
	isnt(key_at($story, $now), $key, 'the replacement has another key');
	($exit, $text) = $story->certsync('revoke', $name, '--revision', $revision);
	is($exit, 0, 'once more: the authority has done it already') or diag $text;
	($exit, $text) = $story->certsync('rollback', $name, $revision);
	is($exit, 1, 'a rollback to it is refused');
	like($text, qr/revoked: the certificate [0-9a-f]{16}… was revoked from here at \S+ \(keyCompromise\)/, 'the refusal names the reason of the revocation');
	($exit, $text) = $story->certsync('rollback', $name);
	is($exit, 0, 'a rollback without a number') or diag $text;
	my ($last) = reverse @{decode_json(($story->certsync('history', $name, '--json'))[1])->{revisions}};
	unlike($last->{reason}, qr/^to \Q$revision\E /, 'a rollback passes over the revoked revision');
};

subtest 'the order that the authority would refuse is not made, and says until when' => sub {
	my $orders = () = $story->log('pebble') =~ /order-plz/g;
	my ($exit, $text) = $story->certsync('renew');
	is($exit, 1, 'one more renewal than the limit is refused') or diag $text;
	like($text, qr/5 certificates for exactly these names were issued by pebble within 7 days.*free again \S+Z/, 'the refusal names the limit and when it is free again');
	is(scalar(() = $story->log('pebble') =~ /order-plz/g), $orders, 'the authority got no order');
	ok(restart($story), 'the hub is restarted');
	is(($story->certsync('renew'))[0], 1, 'the limit is known after the restart');
	($exit, $text) = $story->certsync('renew', '--force');
	is($exit, 0, 'renew --force passes over the limit') or diag $text;
};

subtest 'a key that is somebody else\'s too is not used again, though the hub was killed before it could note that' => sub {
	ok(reload($story, section(reuse_key => 1)), 'renewals keep the key');
	is(($story->certsync('renew', '--force'))[0], 0, 'a renewal is made') or diag $story->log('hub');
	my $first = certificate($story)->{revision};
	my $key = key_at($story, $first);
	is(($story->certsync('renew', '--force'))[0], 0, 'another renewal is made');
	my $second = certificate($story)->{revision};
	is(key_at($story, $second), $key, 'has the same key');
	$story->stop('hub');
	my $leaf = $story->fingerprint("$top/hub/certificates/$name/$second/fullchain.pem");
	mkdir "$top/hub/records/revoked/$name", 0700;
	Story::write_file("$top/hub/records/revoked/$name/$leaf.json", '{"reason":"keyCompromise","at":' . int(time) . '}', 0600);
	ok(restart($story), 'what a kill leaves right after the authority has answered');
	ok($story->until('a replacement', sub { (certificate($story)->{revision} // $second) ne $second }, 30),
		'it is replaced at once, whatever was issued this week') or diag $story->log('hub');
	isnt(key_at($story, certificate($story)->{revision}), $key, 'the certificate has another key');
	reload($story, section());
};

subtest 'a name that is added is ordered at once, though the renewal is not due' => sub {
	my $added = 'imap.domain.pl';
	$story->stop('names');
	$ca->names($name => ['127.0.0.11'], $added => ['127.0.0.11']);
	my $before = certificate($story)->{revision};
	ok(reload($story, section(names => [$added, $name])), 'the configuration is read again with one more name');
	ok($story->until('another', sub { (certificate($story)->{revision} // $before) ne $before }, 60), 'the certificate is replaced')
		or diag $story->log('hub');
	is_deeply([sort @{certificate($story)->{names}}], [$added, $name], 'by one for both names');
	like($story->log('hub'), qr/event=renewal certificate=\Q$name\E reason="\Q$added\E is not in it yet: it is ordered"/, 'the log says why');
	is(certificate($story)->{renewal}{lacks}, '', 'it lacks nothing');
	isnt(certificate($story)->{renewal}{basis}, 'names', 'the next one is due as ever');
	$story->stop('names');
	$ca->names($name => ['127.0.0.11'], 'smtp.domain.pl' => ['127.0.0.13']);
	ok(reload($story, section(names => ['smtp.domain.pl', $name])), 'the configuration is read again with a name that cannot be proven');
	ok($story->until('a refusal', sub { certificate($story)->{renewal}{failures} }, 30), 'the order fails') or diag $story->log('hub');
	like(($story->certsync('status'))[1], qr/^  smtp\.domain\.pl was added to names: one that has it is ordered at once/m, 'status says what is missing');
	ok(certificate($story)->{renewal}{due} gt date(time), 'the next try waits as after any failure');
	ok(reload($story, section()), 'the configuration is read again without that name');
	is(certificate($story)->{renewal}{lacks}, '', 'nothing is lacking then');
};

subtest 'an account ends' => sub {
	my ($exit, $text) = $story->certsync('account', 'deactivate', 'pebble');
	is($exit, 0, 'the account is deactivated') or diag $text;
	is(account($story)->{url}, '', "the account's record is gone");
	is(($story->certsync('account', 'deactivate', 'pebble'))[0], 2, 'there is none to end twice');
	is(($story->certsync('renew', '--force'))[0], 0, 'the next order makes another');
};

$story->ends_clean;

# ---- the double ----

my ($other, $double, $scratch);

sub double {
	my ($lie, %files) = @_;
	$other = Story->new;
	$scratch = $other->top . '/scratch';
	mkdir $scratch;
	Story::write_file("$scratch/$_", $files{$_}) for keys %files;
	$other->pair('api', names => 'IP:127.0.0.1');
	$other->start('double', '/usr/bin/python3', "$FindBin::Bin/../lib/ca_double.py", $lie,
		map { $other->top . "/$_" } qw(api.crt api.key ca.pem ca.key scratch));
	my $port;
	$other->until('the double', sub { $other->log('double') =~ /^ready (\d+)$/m and $port = $1 }) or die $other->log('double');
	configure($other, <<"CONF");
acme "double" { directory = "https://127.0.0.1:$port/directory" agree_tos = true ca_file = "$other->{top}/ca.pem" }
certificate "$name" { acme = "double" preflight = "off" }
CONF
	$other->start('hub', "$Story::bin/certsync-hub-root", '-c', "$other->{top}/hub.conf");
	return $lie !~ /^(rate-limited|validation-fails)$/ ? until_revision($other, '1.1') :
		$other->until('a failure', sub { certificate($other)->{renewal}{failures} });
}

sub date { return strftime('%Y-%m-%dT%H:%M:%SZ', gmtime $_[0]) }

sub window {
	my ($start, $end) = @_;
	return encode_json({suggestedWindow => {start => date($start), end => date($end)},
		explanationURL => 'https://ca.example/why'});
}

sub asked { return scalar(() = $other->log('double') =~ m{^GET /renewal-info/}mg) }
sub renewal { return certificate($other)->{renewal} }

my $day = 86400;

subtest 'the moment comes from the authority, once, and over restarts' => sub {
	my ($start, $end) = (int(time) + 15 * $day, int(time) + 16 * $day);
	ok(double('', 'ari.json' => window($start, $end), 'ari.retry' => '7200'), 'a certificate with advice of its authority is issued');
	ok($other->until('advice', sub { renewal()->{basis} eq 'ari' }), "the authority's advice decides when to renew") or diag $other->log('hub');
	my $due = renewal()->{due};
	ok($due ge date($start) && $due lt date($end), "a moment in the window ($due)");
	like(($other->certsync('status'))[1], qr{explains it at https://ca\.example/why}, 'with the page that explains it');
	is(asked(), 1, 'the authority was asked for advice once');
	ok(restart($other), 'the hub is restarted with advice');
	is(renewal()->{due}, $due, 'the advice is kept over the restart');
	is(asked(), 1, 'and asks nobody');
};

subtest 'a window in the past means now, once an hour' => sub {
	Story::write_file("$scratch/ari.json", window(time - 2 * 3600, time - 3600));
	my $ari = "$other->{top}/hub/records/renewals/$name/ari.json";
	$other->stop('hub');
	Story::write_file($ari, Story::read_file($ari) =~ s/"next":\d+/"next":0/r);
	ok(restart($other), 'the hub is restarted when advice is due again');
	ok($other->until('advice', sub { asked() > 1 && renewal()->{advice}{end} lt date(time) }), 'advice whose window is over is taken');
	my ($published) = file($other, '1.1/manifest.json') =~ /"published":(\d+)/;
	is(renewal()->{due}, date($published + 3600), 'an hour after the last one');
	is(certificate($other)->{revision}, '1.1', 'and not sooner');
	$other->stop('hub');
	my $manifest = "$other->{top}/hub/certificates/$name/1.1/manifest.json";
	Story::write_file($manifest, Story::read_file($manifest) =~ s/"published":\d+/'"published":' . ($published - 3700)/er);
	Story::write_file("$scratch/days", '20');
	ok(restart($other), 'the hub is restarted an hour later');
	ok(until_revision($other, '1.2'), 'the certificate is replaced by advice, and by one that ends sooner');
	my ($id) = $other->log('double') =~ m{^GET /renewal-info/(\S+)}m;
	like($other->log('double'), qr/^replaces \Q$id\E$/m, 'and the order says what it replaces');
	$other->ends_clean;
};

subtest 'a window that cannot be meant leaves the rule of thirds' => sub {
	ok(double('', 'ari.json' => window(time + 16 * $day, time + 15 * $day)), 'a certificate whose advice is inverted is issued');
	ok($other->until('an answer', sub { renewal()->{advice}{error} }), 'the inverted advice is noticed');
	is(renewal()->{basis}, 'rule', 'the rule decides instead of the inverted advice');
	like(($other->certsync('status'))[1], qr/advice is not followed: the authority's window ends before it starts/, 'status says why the advice is not followed');
};

subtest 'an authority that asks to be left alone is, over restarts' => sub {
	ok(double('rate-limited'), 'an order is refused with rateLimited');
	my $orders = sub { scalar(() = $other->log('double') =~ /^POST \/order$/mg) };
	my $due = renewal()->{due};
	ok($due ge date(time + $day - 60), "a day, as it said ($due)");
	ok(restart($other), 'the hub is restarted after rateLimited');
	cmp_ok(renewal()->{due}, 'ge', date(time + $day - 60), 'the wait of Retry-After is kept over the restart');
	my ($exit, $text) = $other->certsync('renew');
	is($exit, 1, 'renew is refused while the authority asked to wait');
	like($text, qr/double asked to be left alone until \S+Z \(.*rateLimited: too many/, 'with what the authority said');
	is($orders->(), 1, 'it was asked once');
	($exit, $text) = $other->certsync('renew', '--force');
	is($orders->(), 2, 'renew --force makes an order all the same');
	is(renewal()->{failures}, 2, 'and is told again');
};

subtest 'a name that cannot be validated is not tried without an end' => sub {
	ok(double('validation-fails'), 'a validation fails');
	for (2 .. 5) {
		my ($exit, $text) = $other->certsync('renew');
		like($text, qr/Connection refused/, "tried ($_)");
	}
	my ($exit, $text) = $other->certsync('renew');
	is($exit, 1, 'the sixth try within an hour is refused');
	like($text, qr/double could not validate \Q$name\E 5 times within an hour.*free again/, 'the refusal says until when it waits');
	like(($other->certsync('status'))[1], qr/held: no order was made/, 'status says that no order was made');
};

subtest 'the answer to a change of keys is lost: the account is not' => sub {
	ok(double('lost-key-change'), 'a certificate is issued before the answer to a key change is lost');
	my $old = key_of_record($other->{top} . '/hub', 'acme/double/account.pub');
	my ($exit, $text) = $other->certsync('account', 'rollover', 'double');
	is($exit, 1, 'the answer is lost') or diag $text;
	is(key_of_record($other->{top} . '/hub', 'acme/double/account.pub'), $old, 'the old key is kept');
	my $new = key_of_record($other->{top} . '/hub', 'acme-next/double/account.pub');
	like($new, qr/PRIVATE KEY/, 'and so is the new one');
	ok(account($other)->{unsettled}, 'account show says so');
	$other->stop('hub', 'KILL');
	ok(restart($other), 'killed and started again');
	is(($other->certsync('renew'))[0], 0, 'the next order goes through');
	is(key_of_record($other->{top} . '/hub', 'acme/double/account.pub'), $new, 'finds out that the new one holds');
	is(key_of_record($other->{top} . '/hub', 'acme-next/double/account.pub'), '', 'and settles it');
	$other->ends_clean;
};

done_testing();
