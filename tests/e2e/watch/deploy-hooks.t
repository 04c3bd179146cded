#!/usr/bin/perl
# The deploy hooks that certsync brings along: certbot's, run by the real certbot when it renews at a real Pebble; and
# acme.sh's, run by a double of its calling convention (a shell that sources the hook and calls certsync_deploy domain
# key cert ca fullchain), since acme.sh is not in Debian 12. An agent that is away does not fail a renewal; a hub that
# is down does.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Path qw(make_path);
use Pebble;
use Story;
use Test::More;

my $story = Story->new;
my $top = $story->top;
my $name = $Story::name;
my $hooks = "$FindBin::Bin/../../../examples/deploy-hooks";
my $pebble = Pebble->new($story);

# In their PATH the hooks find certsync with this story's configuration, and a sleep that does not wait but counts.
make_path("$top/bin");
Story::write_file("$top/bin/certsync", "#!/bin/sh\nexec $Story::bin/certsync \"\$@\" -c $top/hub.conf\n", 0755);
Story::write_file("$top/bin/sleep", "#!/bin/sh\necho \"\$1\" >>$top/pauses\n", 0755);
$ENV{PATH} = "$top/bin:$ENV{PATH}";

my $live = "$top/letsencrypt/live";
sub obtained { return $story->fingerprint("$live/$name/cert.pem") }

sub renew {
	my ($lineage) = @_;
	unlink "$top/certbot.log";
	$pebble->certbot($lineage, 'renew');
	return $story->log('certbot');
}

# Runs the hook alone, as certbot would. Returns its exit code and its output.
sub hook {
	my $output = `RENEWED_LINEAGE=$live/$name RENEWED_DOMAINS=$name $hooks/certbot 2>&1`;
	return ($? >> 8, $output);
}

ok($story->hub, 'the hub runs');
$story->agent('here');
for my $lineage ($name, 'other.domain.pl') {
	$pebble->certbot($lineage, 'run', '--key-type', 'ecdsa', '-d', $lineage);
}
make_path("$top/letsencrypt/renewal-hooks/deploy");
system('install', '-m', '755', "$hooks/certbot", "$top/letsencrypt/renewal-hooks/deploy/certsync");

subtest 'certbot renews, and the agent serves it when certbot is done' => sub {
	my $before = obtained();
	my $log = renew($name);
	isnt(obtained(), $before, 'it is another one');
	is($story->installed('here'), obtained(), 'it is installed');
	unlike($log, qr/certsync deploy hook/, 'and there is nothing to say');
	$log = renew('other.domain.pl');
	like($log, qr/other\.domain\.pl: no certificate of the hub, passed over/, 'a lineage of no concern is passed over');
};

subtest 'an agent that is away is a warning' => sub {
	$story->hub_conf(agents => ['here', 'mail']);
	kill 'HUP', $story->{started}{hub};
	ok($story->until('two agents', sub { ($story->certsync('status'))[1] =~ /^\s*mail\b/m || $story->state_of('mail')->{state} }),
		'the hub knows of a second agent');
	ok($story->until_state('here', 'unprobed'), 'the first one is back');
	my $log = renew($name);
	ok($story->until('installed', sub { $story->installed('here') eq obtained() }), 'the other one has the renewed one');
	like($log, qr/\Q$name\E: published, but not every endpoint has it yet/, 'certbot shows the warning');
	my ($code) = hook();
	is($code, 0, 'and the hook has not failed');
};

# ---- acme.sh ----

my $convention = <<'SH';
_debug() { :; }
_info() { echo "info: $*"; }
_err() { echo "error: $*" >&2; }
_getdeployconf() { [ ! -e "$TOP/deploy.conf" ] || . "$TOP/deploy.conf"; }
_savedeployconf() { echo "$1='$2'" >>"$TOP/deploy.conf"; }
. "$HOOK"
certsync_deploy "$@"
SH

sub acme_sh {
	my ($domain, $pair, $certificate) = @_;
	Story::write_file("$top/convention", $convention);
	my $wish = $certificate ? "CERTSYNC_CERTIFICATE=$certificate" : '';
	my $output = `$wish TOP=$top HOOK=$hooks/acme.sh sh $top/convention '$domain' $top/$pair.key $top/$pair.crt $top/ca.pem $top/$pair.crt 2>&1`;
	return ($? >> 8, $output);
}

subtest 'acme.sh' => sub {
	$story->pair("a$_", days => 3650 + $_) for 1 .. 3;
	$story->pair('wrong', names => 'DNS:other.domain.pl', days => 4000);
	my ($code, $output) = acme_sh($name, 'a1');
	is($code, 0, 'deployed, with an agent that is away') or diag $output;
	like($output, qr/^info: certsync: \Q$name\E is published, but not every endpoint/m, 'which is said');
	is($story->installed('here'), $story->fingerprint("$top/a1.crt"), 'it is installed');
	($code, $output) = acme_sh($name, 'wrong');
	is($code, 1, 'a certificate for other names is a failure');
	like($output, qr/names: \Q$name\E is required.*^error: certsync: \Q$name\E was not imported/ms, 'with the rule');
	($code, $output) = acme_sh('*.domain.pl', 'a2', $name);
	is($code, 0, 'a wildcard goes to the certificate that it is told') or diag $output;
	($code, $output) = acme_sh('*.domain.pl', 'a3');
	is($code, 0, 'which is remembered') or diag $output;
	is($story->installed('here'), $story->fingerprint("$top/a3.crt"), 'and installed');
};

# ---- a hub that is down ----

subtest 'a hub that is down is a failure, with the command to repeat' => sub {
	$story->stop('hub');
	unlink "$top/pauses";
	my ($code, $output) = hook();
	is($code, 4, 'certbot\'s hook exits as certsync does');
	is(Story::read_file("$top/pauses"), "10\n" x 5, 'the hook has paused five times before it gives up');
	like($output, qr/certsync import \Q$name\E --key \S+ --chain \S+$/m, 'and says what to run');
	($code, $output) = acme_sh($name, 'a3');
	is($code, 1, 'so does acme.sh\'s');
	like($output, qr/the hub cannot be reached: deploy again/, 'saying why');
};

subtest 'what only strict clients refuse is published, and a person is told' => sub {
	ok($story->hub(agents => ['here']), 'the hub runs again');
	ok($story->until_state('here', 'unprobed'), 'the agent is back');
	$story->pair('bare', days => 3990, bare => 1);
	my ($code, $output) = $story->import('bare');
	is($code, 0, 'a certificate without the key identifier of its issuer is imported') or diag $output;
	my $warning = qr/strict: Missing Authority Key Identifier at depth 0, .*Python from 3\.13 on/;
	like($story->log('hub'), qr/event=published certificate=\Q$name\E warning="$warning/, 'the log warns');
	like(($story->certsync('status'))[1], qr/^  warning: $warning/m, 'and so does status, as long as it is current');
	$story->pair('whole', days => 3995);
	($code, $output) = $story->import('whole');
	is($code, 0, 'one that has it is imported') or diag $output;
	unlike(($story->certsync('status'))[1], qr/strict:/, 'and there is nothing to say');
};

subtest 'a name that is added to one that comes from elsewhere is said to be missing' => sub {
	my $conf = Story::read_file("$top/hub.conf");
	Story::write_file("$top/hub.conf", $conf =~ s/(certificate "\Q$name\E" \{)/$1 names = {"$name", "imap.domain.pl"}/r);
	isnt(Story::read_file("$top/hub.conf"), $conf, 'a name is added');
	ok($story->reload, 'the configuration is read again');
	like(($story->certsync('status'))[1], qr/^  warning: names: imap\.domain\.pl is not in the certificate, .*not ordered here/m, 'status says that it is missing');
	Story::write_file("$top/hub.conf", $conf);
	ok($story->reload, 'the configuration is read again as it was');
	unlike(($story->certsync('status'))[1], qr/warning: names/, 'and nothing is missing');
	ok($story->until_state('here', 'unprobed'), 'the agent is back');
};

subtest 'an ECDSA and an RSA pair by hand are one revision' => sub {
	$story->pair('ecdsa', days => 4000);
	$story->openssl("req -newkey rsa:2048 -nodes -subj /CN=x -keyout $top/rsa.key -out $top/rsa.csr");
	$story->openssl("x509 -req -in $top/rsa.csr -CA $top/ca.pem -CAkey $top/ca.key -CAcreateserial -days 3000 -extfile $top/ext",
		"-out $top/rsa.crt");
	my ($code, $output) = $story->import('ecdsa', '--key', "$top/rsa.key", '--chain', "$top/rsa.crt");
	is($code, 0, 'the certificate is imported') or diag $output;
	my $dir = "$top/here/etc/live/$name";
	is($story->fingerprint("$dir/haproxy.pem.$_"), $story->fingerprint("$top/$_.crt"), "the agent has the $_ one") for qw(ecdsa rsa);
	$story->openssl("x509 -req -in $top/rsa.csr -CA $top/ca.pem -CAkey $top/ca.key -CAcreateserial -days 2000 -extfile $top/ext",
		"-out $top/sooner.crt");
	($code, $output) = $story->import('ecdsa', '--key', "$top/rsa.key", '--chain', "$top/sooner.crt");
	is($code, 1, 'one whose RSA certificate ends sooner than the present one is refused');
	like($output, qr/sooner: the certificate expires at/, 'with the rule');
	($code, $output) = $story->import('ecdsa', '--key', "$top/a1.key", '--chain', "$top/a1.crt");
	is($code, 1, 'two of one kind are refused');
	like($output, qr/two pairs of one kind/, 'with the reason');
	($code, $output) = $story->import('ecdsa', '--key', "$top/rsa.key");
	is($code, 2, 'a key without its chain is wrong usage');
};

$story->ends_clean;
done_testing();
