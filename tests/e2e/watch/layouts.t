#!/usr/bin/perl
# What others obtain arrives on an agent: certbot, lego, dehydrated and uacme, each the real one from Debian, obtain and
# renew at a real Pebble; the hub watches where they write; and an agent installs both revisions. acme.sh is not in
# Debian 12, so its layout is written by a double in acme.sh's order. Then files are caught half-written, and paths
# cannot be read.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Path qw(make_path);
use Pebble;
use Story;
use Test::More;

die "this story needs root: uacme trusts nothing but the system's anchors, which are covered for it\n" if $> != 0;

my $story = Story->new;
my $top = $story->top;
my $pebble = Pebble->new($story);

my %watch = (
	'certbot.domain.pl' => {paths => ["$top/letsencrypt/live/certbot.domain.pl"]},
	'archive.domain.pl' => {paths => ["$top/letsencrypt/archive/certbot.domain.pl"], names => 'certbot.domain.pl'},
	'links.domain.pl' => {paths => [map { "$top/letsencrypt/live/certbot.domain.pl/$_.pem" } qw(fullchain privkey)],
		names => 'certbot.domain.pl'},
	'both.domain.pl' => {paths => [map { "$top/letsencrypt/live/both.domain.pl$_" } '', '-rsa']},
	'lego.domain.pl' => {paths => ["$top/lego/certificates"]},
	'bare.domain.pl' => {paths => ["$top/bare/certificates"]},
	'dehydrated.domain.pl' => {paths => ["$top/dehydrated/certs/dehydrated.domain.pl"]},
	'uacme.domain.pl' => {paths => ["$top/uacme/uacme.domain.pl", "$top/uacme/private/uacme.domain.pl"]},
	'acmesh.domain.pl' => {paths => ["$top/acme.sh/acmesh.domain.pl_ecc"]},
	'plain.domain.pl' => {paths => ["$top/plain/plain.crt", "$top/plain/plain.ca-bundle", "$top/keys/plain.key"]},
	'combined.domain.pl' => {paths => ["$top/combined/current/all in one"]},
	'chunks.domain.pl' => {paths => ["$top/chunks"]},
	'twice.domain.pl' => {paths => [map { "$top/twice/$_" } qw(ecdsa rsa)]},
	'forms.domain.pl' => {paths => ["$top/forms"]},
);

sub quoted { return join ', ', map { "\"$_\"" } @_ }

sub sections {
	my $text = '';
	for my $certificate (sort keys %watch) {
		my $names = $watch{$certificate}{names} // $certificate;
		my @paths = @{$watch{$certificate}{paths}};
		my $value = @paths == 1 ? quoted(@paths) : '{' . quoted(@paths) . '}';
		$text .= "certificate \"$certificate\" {\n\tnames = {\"$names\"}\n\twatch = $value\n}\n";
	}
	return $text . 'agent "here" { certificates = {' . quoted(sort keys %watch) . "} local = true }\n";
}

sub configure {
	$story->hub_conf(certificates => sections(), agents => []);
	my $conf = Story::read_file("$top/hub.conf");
	$conf =~ s/scan_interval = "5s"/scan_interval = "1h"/; # with it, only events can make a change seen so soon
	Story::write_file("$top/hub.conf", $conf);
}

sub configure_agent {
	my $dir = $story->agent_conf('here');
	my $conf = Story::read_file("$dir/agent.conf");
	$conf =~ s/^certificate .*//sm;
	$conf .= "certificate \"$_\" { allow = {\"*.domain.pl\"} service \"nothing\" { probe = none "
		. 'sni = "' . ($watch{$_}{names} // $_) . "\" } }\n" for sort keys %watch;
	Story::write_file("$dir/agent.conf", $conf);
}

sub installed {
	my ($certificate, $file) = @_;
	return $story->fingerprint("$top/here/etc/live/$certificate/" . ($file // 'fullchain.pem'));
}

# Waits until the agent has the first certificate of a client's file.
sub arrives {
	my ($certificate, $client_file) = @_;
	my $want = $story->fingerprint($client_file);
	my $arrived = $story->until($certificate, sub { installed($certificate) eq $want });
	ok($arrived, "$certificate: it is installed")
		or diag(($story->certsync('status'))[1] . $story->log('hub') . $story->log('here'));
	return $want;
}

sub revision {
	my ($certificate) = @_;
	return readlink("$top/hub/certificates/$certificate/current") // '';
}

sub next_of { return $_[0] =~ s/(\d+)$/$1 + 1/er }

# Quotes inside a reason are escaped in the log.
sub trouble {
	my ($certificate, $why) = @_;
	return grep { /certificate=\Q$certificate\E .*reason=".*$why/ } split /\n/, $story->log('hub');
}

sub waits_with {
	my ($certificate, $why, $what) = @_;
	ok($story->until($what, sub { trouble($certificate, $why) }), $what) or diag $story->log('hub');
}

# ---- the clients ----

# Runs the clients side by side, and one after the other where they share a directory. VERB is run or renew.
sub clients {
	my ($verb) = @_;
	$pebble->all(
		sub {
			$pebble->certbot('certbot.domain.pl', $verb, '--key-type', 'ecdsa', '-d', 'certbot.domain.pl');
			$pebble->certbot('both.domain.pl', $verb, '--key-type', 'ecdsa', '-d', 'both.domain.pl') if $verb eq 'run';
			$pebble->certbot('both.domain.pl-rsa', $verb, '--key-type', 'rsa', '-d', 'both.domain.pl');
		},
		sub {
			$pebble->lego('lego', $verb, 'lego.domain.pl');
			$pebble->lego('lego', $verb, 'other.domain.pl', 'lego.domain.pl.other.domain.pl');
		},
		sub { $pebble->lego('bare', $verb, '--bare', 'bare.domain.pl') },
		sub { $pebble->dehydrated('dehydrated.domain.pl') },
		sub { $pebble->uacme('uacme.domain.pl') },
	);
}

my %written = (
	'certbot.domain.pl' => "$top/letsencrypt/live/certbot.domain.pl/cert.pem",
	'archive.domain.pl' => "$top/letsencrypt/live/certbot.domain.pl/cert.pem",
	'links.domain.pl' => "$top/letsencrypt/live/certbot.domain.pl/cert.pem",
	'lego.domain.pl' => "$top/lego/certificates/lego.domain.pl.crt",
	'bare.domain.pl' => "$top/bare/certificates/bare.domain.pl.crt",
	'dehydrated.domain.pl' => "$top/dehydrated/certs/dehydrated.domain.pl/cert.pem",
	'uacme.domain.pl' => "$top/uacme/uacme.domain.pl/cert.pem",
);

# These directories are there before; the clients make their own.
make_path(map { "$top/$_" } qw(acme.sh/acmesh.domain.pl_ecc plain keys combined/1 combined/2 chunks
	twice/ecdsa twice/rsa forms));
symlink '1', "$top/combined/current";
configure();
$pebble->prepare_clients;
$story->start('hub', "$Story::bin/certsync-hub-root", '-c', "$top/hub.conf");
ok($story->until('hub', sub { ($story->certsync('status'))[0] == 3 }), 'the hub runs before there is anything to watch')
	or diag $story->log('hub');
configure_agent();
$story->enrol('here') or die Story::read_file("$top/join.log");
$story->start_agent('here');

# What authorities, appliances and secret stores hand out instead of PEM. What stands still is told as such at the end.
subtest 'what is not PEM is called by its name, with the command that makes PEM of it' => sub {
	my ($dir, $name) = ("$top/forms", 'forms.domain.pl');
	$story->pair('forms', names => "DNS:$name");
	my %forms = (
		'a.pem' => ["pkcs12 -export -passout pass:x -inkey $top/forms.key -in $top/forms.crt", 'PKCS#12 .*openssl pkcs12 -nodes'],
		'b.crt' => ["crl2pkcs7 -nocrl -outform DER -certfile $top/forms.crt", 'PKCS#7 in DER .*openssl pkcs7 -inform DER -print_certs'],
		'c.cer' => ["crl2pkcs7 -nocrl -certfile $top/forms.crt", 'PKCS#7: openssl pkcs7 -print_certs'],
		'd.key' => ["pkey -outform DER -in $top/forms.key", 'a private key in DER, .*openssl pkey -inform DER'],
		'e.key' => ["ec -outform DER -in $top/forms.key", 'a private key in DER, .*openssl pkey -inform DER'],
		'f.key' => ["pkcs8 -topk8 -outform DER -passout pass:x -in $top/forms.key", 'an encrypted private key in DER'],
		'g.pem' => ["req -in $top/forms.csr", 'a request for a certificate'],
	);
	Story::write_file("$dir/mail.pfx", 'read is what has one of four endings');
	waits_with($name, 'waiting: no file there is called', 'a directory without such files is told with their names');
	for my $file (sort keys %forms) {
		$story->openssl("$forms{$file}[0] -out $top/made");
		rename "$top/made", "$dir/$file";
		waits_with($name, "waiting: none of the 1 files.*; \Q$file\E: $forms{$file}[1]", "$file is named");
		unlink "$dir/$file";
	}
	my $pem = Story::read_file("$top/forms.crt");
	my %texts = ('h.crt' => ["\xff\xfe" . join('', map { "$_\0" } split //, $pem), 'text in UTF-16: iconv'],
		'i.pem' => ['{"crt": "' . $pem =~ s/\n/\\n/gr . '"}', 'PEM whose lines end with the two characters .*, as in JSON: sed'],
		'j.pem' => [$pem =~ s/\n/ /gr, 'PEM in which something stands on the line of BEGIN or END: sed']);
	for my $file (sort keys %texts) {
		Story::write_file("$top/made", $texts{$file}[0]);
		rename "$top/made", "$dir/$file";
		waits_with($name, "waiting: none of the 1 files.*; \Q$file\E: $texts{$file}[1]", "$file is named");
		unlink "$dir/$file" if $file ne 'j.pem';
	}
};

my %first;
subtest 'what each client obtains is installed on the agent' => sub {
	clients('run');
	for my $certificate (sort keys %written) {
		$first{$certificate} = arrives($certificate, $written{$certificate});
		is(revision($certificate), '1.1', "each client's first certificate is published once");
	}
	like(Story::read_file("$top/here/etc/live/bare.domain.pl/chain.pem"), qr/BEGIN CERTIFICATE/,
		'a certificate that lego wrote without its issuer was completed from .issuer.crt');
};

sub both_arrive {
	my ($certificate, $ecdsa, $rsa, $what) = @_;
	my @want = map { $story->fingerprint($_) } $ecdsa, $rsa;
	my $arrived = $story->until($what, sub {
		installed($certificate, 'haproxy.pem.ecdsa') eq $want[0] && installed($certificate, 'haproxy.pem.rsa') eq $want[1];
	});
	ok($arrived, $what) or diag $story->log('hub');
	return revision($certificate);
}

my @both = map { "$top/letsencrypt/live/both.domain.pl$_/cert.pem" } '', '-rsa';
my $revision;
subtest 'two paths with an ECDSA and an RSA certificate are two pairs' => sub {
	$revision = both_arrive('both.domain.pl', @both, 'both are there');
};

subtest 'what each client renews is installed on the agent, from a directory of many domains, and of many old files' => sub {
	my $lego = "$top/lego/certificates";
	for my $number (1 .. 30) {
		system('cp', "$lego/other.domain.pl.$_", "$lego/n$number.domain.pl.$_") for qw(crt key);
	}
	for my $old (map { 1600000000 + $_ } 1 .. 10) {
		my @files = map { "$top/dehydrated/certs/dehydrated.domain.pl/$_-$old.pem" } qw(cert chain fullchain privkey);
		Story::write_file($_, "an old file\n") for @files;
		utime $old, $old, @files;
	}
	# uacme names its old files by the second, so the next one is waited for
	$pebble->second_after("$top/uacme/private/uacme.domain.pl/key.pem");
	clients('renew');
	for my $certificate (sort keys %written) {
		my $now = arrives($certificate, $written{$certificate});
		isnt($now, $first{$certificate}, 'it is another one');
		is(revision($certificate), '1.2', "each client's renewal is published once");
	}
	is(both_arrive('both.domain.pl', @both, 'of two pairs one is renewed, the other stays'), next_of($revision),
		'as one more revision');
};

# ---- acme.sh: a double of what it leaves, in the order in which it writes (it is not in Debian 12) ----

sub acme_sh {
	my ($from, $key_too) = @_;
	my $dir = "$top/acme.sh/acmesh.domain.pl_ecc";
	Story::write_file("$dir/acmesh.domain.pl.$_", "Le_Domain='acmesh.domain.pl'\n") for qw(conf csr.conf);
	system('cp', "$top/$from.key", "$dir/acmesh.domain.pl.key") if $key_too;
	$story->openssl("ecparam -name prime256v1 -genkey -noout -out $dir/acmesh.domain.pl.key.next");
	system('cp', "$top/$from.csr", "$dir/acmesh.domain.pl.csr");
	system('cp', "$top/$from.crt", "$dir/acmesh.domain.pl.cer");
	system('cp', "$top/ca.pem", "$dir/ca.cer");
	system("cat $top/$from.crt $top/ca.pem >$dir/fullchain.cer");
	return "$dir/fullchain.cer";
}

subtest 'the layout of acme.sh' => sub {
	$story->pair("acmesh$_", names => 'DNS:acmesh.domain.pl', days => 20 + $_) for 1 .. 2;
	arrives('acmesh.domain.pl', acme_sh('acmesh1', 1));
	arrives('acmesh.domain.pl', acme_sh('acmesh2', 1));
	is(revision('acmesh.domain.pl'), '1.2', "each of acme.sh's certificates is published once");
};

# ---- a person ----

subtest 'files that are named one by one, the chain in a file of its own' => sub {
	$story->pair("plain$_", names => 'DNS:plain.domain.pl', days => 20 + $_) for 1 .. 2;
	system('cp', "$top/plain1.crt", "$top/plain/plain.crt");
	system('cp', "$top/plain1.key", "$top/keys/plain.key");
	waits_with('plain.domain.pl', 'unreadable: .*plain.ca-bundle', 'a path that is not there yet is told');
	Story::write_file("$top/plain/plain.ca-bundle", Story::read_file("$top/ca.pem"));
	arrives('plain.domain.pl', "$top/plain1.crt");
	system('cp', "$top/plain2.key", "$top/keys/plain.key");
	waits_with('plain.domain.pl', 'waiting: none of the 3 files', 'a key before its certificate is waited with');
	system('cp', "$top/plain2.crt", "$top/plain/.plain.crt.swp");
	rename "$top/plain/.plain.crt.swp", "$top/plain/plain.crt";
	arrives('plain.domain.pl', "$top/plain2.crt");
	is(revision('plain.domain.pl'), '1.2', 'each certificate of a plain directory is published once');
};

subtest 'one combined file behind a link that is swapped' => sub {
	$story->pair("combined$_", names => 'DNS:combined.domain.pl', days => 20 + $_) for 1 .. 2;
	system("cat $top/combined$_.key $top/combined$_.crt >'$top/combined/$_/all in one'") for 1 .. 2;
	arrives('combined.domain.pl', "$top/combined1.crt");
	symlink '2', "$top/combined/next";
	rename "$top/combined/next", "$top/combined/current";
	arrives('combined.domain.pl', "$top/combined2.crt");
	is(revision('combined.domain.pl'), '1.2', 'each combined certificate is published once');
};

subtest 'what is caught half-way is waited for, what is wrong is refused, the old one goes on' => sub {
	my ($dir, $name) = ("$top/chunks", 'chunks.domain.pl');
	$story->pair("chunks$_", names => 'DNS:chunks.domain.pl', days => 20 + $_) for 1 .. 3;
	$story->pair('foreign', names => 'DNS:foreign.domain.pl', days => 25);
	$story->pair('sooner', names => 'DNS:chunks.domain.pl', days => 10);
	my $text = Story::read_file("$top/chunks1.key") . Story::read_file("$top/chunks1.crt");
	Story::write_file("$dir/all.pem", substr $text, 0, 400);
	waits_with($name, 'waiting: none of the 1 files.*all.pem: .*cut short', 'a writer in chunks is waited for');
	is(revision($name), '', 'nothing is published');
	Story::write_file("$dir/all.pem", $text);
	my $first = arrives($name, "$top/chunks1.crt");
	for (['foreign', 'refused: .*all.pem: names: chunks.domain.pl is required, the certificate is for foreign.domain.pl'],
		['sooner', 'refused: .*all.pem: sooner: ']) {
		my ($pair, $rule) = @$_;
		Story::write_file("$dir/all.pem", Story::read_file("$top/$pair.key") . Story::read_file("$top/$pair.crt"));
		waits_with($name, $rule, "$pair: refused with the rule");
		is(installed($name), $first, 'and the old one stays');
	}
	rename $dir, "$dir.old";
	make_path("$dir.new");
	system("cp $top/chunks2.key $top/chunks2.crt $dir.new");
	rename "$dir.new", $dir;
	arrives($name, "$top/chunks2.crt");
	is(revision($name), '1.2', 'a directory in the other\'s place');
	$story->openssl("pkey -in $top/chunks3.key -aes128 -passout pass:x -out $dir/chunks2.key");
	system("cp $top/chunks3.crt $dir/chunks2.crt");
	waits_with($name, 'waiting: .*chunks2.key: .*encrypted', 'a key with a passphrase is named');
	Story::write_file("$dir/junk$_.crt", "nothing of concern\n") for 1 .. 30;
	waits_with($name, 'waiting: none of the 24 files.*; 8 more files there were not read: name the certificate.s own files',
		'files that crowd out the others are told');
};

subtest 'of two pairs, one that is being replaced is waited for' => sub {
	my ($dir, $name) = ("$top/twice", 'twice.domain.pl');
	$story->pair("twice$_", names => "DNS:$name", days => 20 + $_) for 1 .. 2;
	for (1 .. 2) {
		$story->openssl("req -newkey rsa:2048 -nodes -subj /CN=x -keyout $top/rsa$_.key -out $top/rsa$_.csr");
		$story->openssl("x509 -req -in $top/rsa$_.csr -CA $top/ca.pem -CAkey $top/ca.key -CAcreateserial -days 21",
			"-extfile $top/ext -out $top/rsa$_.crt");
	}
	system("cp $top/rsa1.key $dir/rsa/key.pem; cp $top/rsa1.crt $dir/rsa/cert.pem");
	system("cp $top/twice1.key $dir/ecdsa/key.pem; cp $top/twice1.crt $dir/ecdsa/cert.pem");
	my $before = both_arrive($name, "$top/twice1.crt", "$top/rsa1.crt", 'both are there');
	system("cp $top/rsa2.key $dir/rsa/key.pem");
	waits_with($name, 'waiting: of two pairs, ECDSA and RSA, one is incomplete', 'a new RSA key without its certificate');
	system("cp $top/twice2.key $dir/ecdsa/key.pem; cp $top/twice2.crt $dir/ecdsa/cert.pem; cp $top/rsa2.crt $dir/rsa/cert.pem");
	is(both_arrive($name, "$top/twice2.crt", "$top/rsa2.crt", 'both are replaced'), next_of($before), 'by one more revision');
};

subtest 'what has stood still for a minute is no longer said to be under way; DER is taken, and the leaf wherever it stands' => sub {
	my ($dir, $name) = ("$top/forms", 'forms.domain.pl');
	ok($story->until('a minute', sub { trouble($name, 'nothing to publish for a minute: none of the 1 files.*; j\.pem: PEM in which') }, 90),
		'what stands still is told as what a person has to mend') or diag $story->log('hub');
	like(($story->certsync('status'))[1], qr/nothing to publish for a minute/, 'in status, too');
	unlink "$dir/j.pem";
	system('cp', "$top/forms.key", "$dir/forms.key");
	$story->openssl("x509 -in $top/forms.crt -outform DER -out $dir/forms.cer");
	arrives($name, "$top/forms.crt");
	$story->pair('behind', names => "DNS:$name", days => 21);
	system("{ openssl x509 -in $top/ca.pem; cat $top/behind.crt; } >$dir/chain.pem; cp $top/behind.key $dir/behind.key");
	arrives($name, "$top/behind.crt");
};

subtest 'a path that cannot be read is a fault of the configuration' => sub {
	make_path("$top/his/hers");
	chmod 0755, "$top/his";
	chmod 0700, "$top/his/hers";
	chown 65534, 65534, "$top/his";
	$watch{'bad.domain.pl'} = {paths => ["$top/his/hers"]};
	$watch{'odd.domain.pl'} = {paths => ['/dev/null']};
	configure();
	my ($code, $output) = $story->certsync('config');
	is($code, 2, 'certsync config exits 2');
	like($output, qr/hub\.conf:\d+: watch: \Q$top\E\/his\/hers cannot be read by user 65534.*Permission denied/,
		'and names line, path, user and reason');
	like($output, qr/hub\.conf:\d+: watch: \/dev\/null is neither a directory nor a file/, 'every fault in one run');
	my $start = `$Story::bin/certsync-hub-root -c $top/hub.conf 2>&1`;
	is($? >> 8, 2, 'certsync-hub-root does not start with it');
	like($start, qr/watch: \Q$top\E\/his\/hers cannot be read/, 'and says the same');
};

$story->ends_clean;
done_testing();
