#!/usr/bin/perl
# A service that reads PKCS#12, and one that reads DER: OpenSSL's and GnuTLS's own servers on loopback. GnuTLS, OpenSSL and
# python3-cryptography open what is written; a renewal writes it anew, a restart or a check does not; damage and another
# password do; a password file that is not root's alone is named, and the old files are kept and served.
# Not under valgrind: hooks are scripts.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Needs;
use Story;
use Test::More;

needs('/usr/bin/certtool', '/usr/bin/gnutls-serv');
my $story = Story->new;
my $top = $story->top;
my ($p12_port, $der_port) = (Story::free_port(), Story::free_port());
my ($p12, $password_file) = ("$top/here/own.p12", "$top/here/own.password");
my %own = (p12 => $p12, cert => "$top/here/cert.der", key => "$top/here/key.der");
my ($exit, $text);

# Both read their files at their start alone, so a reload ends them, and they are started again.
my %servers = (
	p12 => "openssl s_server -accept 127.0.0.1:$p12_port -cert $p12 -key $p12 -pass file:$password_file -www",
	der => "gnutls-serv --quiet --http --port $der_port --x509fmtder --x509certfile $own{cert} --x509keyfile $own{key}",
);

sub start_servers {
	for (sort keys %servers) {
		Story::write_file("$top/$_.sh", <<"LOOP", 0755);
#!/bin/sh
trap 'kill \$child; exit' TERM
while [ ! -e $top/$_.ended ]; do
	$servers{$_} &
	child=\$!
	echo \$child >$top/$_.pid
	wait \$child
done
LOOP
		$story->start($_, "$top/$_.sh");
	}
}

sub all_serve {
	my ($fingerprint, $what) = @_;
	for ([PKCS => $p12_port], [DER => $der_port]) {
		ok($story->until('server', sub { $story->served($_->[1]) eq $fingerprint }, 10), "$what: served from $_->[0]") or diag($story->log('p12'), $story->log('der'));
	}
}

sub set_password {
	my ($password) = @_;
	Story::write_file("$password_file.new", "$password\n", 0600);
	rename "$password_file.new", $password_file or die $!;
}

# Returns the fingerprint of the leaf in the PKCS#12 file, or nothing when the password does not open it.
sub opened {
	my ($password) = @_;
	Story::write_file("$top/try", $password, 0600);
	return $story->fingerprint("$top/leaf.pem") if system("openssl pkcs12 -in $p12 -passin file:$top/try -clcerts -nokeys -out $top/leaf.pem 2>/dev/null") == 0;
	return '';
}

sub identities { return join ' ', map { join '/', (stat $own{$_})[1, 9, 10] } sort keys %own }

# ---- the story ----

my @passwords = ('correct horse battery', 'another Staple 42');
my $first = $story->pair('first');
ok($story->hub, 'a hub starts') or BAIL_OUT($story->log('hub'));
$story->import('first');
my $dir = $story->agent_conf('here', services => <<"SERVICES");
	service "java" {
		file "$own{p12}" { content = "pkcs12" password_file = "$password_file" mode = "0640" }
		file "$own{cert}" { content = "cert-der" mode = "0644" }
		file "$own{key}" { content = "privkey-der" }
		probe = {"127.0.0.1:$p12_port/tls", "127.0.0.1:$der_port/tls"}
	}
SERVICES
Story::write_file("$dir/hooks/java", <<"HOOK", 0755);
#!/bin/sh
case \$1 in
running) [ -s $top/p12.pid ] && [ -s $top/der.pid ] && kill -0 "\$(cat $top/p12.pid)" "\$(cat $top/der.pid)" || exit 3 ;;
test) ;;
reload) kill "\$(cat $top/p12.pid)" "\$(cat $top/der.pid)" ;;
esac
HOOK
set_password($passwords[0]);
$story->enrol('here') or BAIL_OUT(Story::read_file("$top/join.log"));
$story->start_agent('here');
ok($story->until_state('here', 'installed (stopped)'), 'nothing is running: the files are installed') or BAIL_OUT($story->log('here'));
is(join(' ', map { sprintf '%s %04o', $_, (stat $own{$_})[2] & 07777 } sort keys %own), 'cert 0644 key 0600 p12 0640', 'with their modes');
start_servers();
all_serve($first, 'at their start');

# ---- who reads it ----

Story::write_file("$top/gnutls", $passwords[0], 0600);
$text = `certtool --p12-info --inder --infile $p12 --password "\$(cat $top/gnutls)" 2>&1`;
is($?, 0, 'GnuTLS opens it') or diag($text);
like($text, qr/Friendly name: \Q$Story::name\E$/m, 'it has the certificate\'s name');
is(scalar(() = $text =~ /Cipher: AES-256-CBC/g), 2, 'key and certificates are encrypted by AES-256-CBC');
like($text, qr/MAC: SHA256/, 'with a MAC of SHA-256');
my $python = 'import sys; from cryptography.hazmat.primitives import hashes; from cryptography.hazmat.primitives.serialization import pkcs12, load_der_private_key;'
	. ' p = pkcs12.load_pkcs12(open(sys.argv[1], "rb").read(), open(sys.argv[2], "rb").read());'
	. ' key = load_der_private_key(open(sys.argv[3], "rb").read(), None);'
	. ' print(p.cert.certificate.fingerprint(hashes.SHA256()).hex(), p.key.private_numbers() == key.private_numbers() and key.public_key().public_numbers() == p.cert.certificate.public_key().public_numbers())';
$text = `python3 -c '$python' $p12 $top/gnutls $own{key} 2>&1`;
is($text, "$first True\n", 'python3-cryptography finds the leaf and its key in it, which is that in DER');
is(opened($passwords[0]), $first, 'OpenSSL opens it');
is(opened($passwords[1]), '', 'with another password it does not');

# ---- when it is written ----

my $before = identities();
$story->stop('here');
$story->start_agent('here');
ok($story->until_state('here', 'verified'), 'the agent is back') or diag($story->log('here'));
is(identities(), $before, 'a restart writes nothing anew');

my ($inode) = (stat $p12)[1];
Story::write_file($own{cert}, 'damaged');
ok($story->until('repair', sub { $story->fingerprint($own{cert}) eq $first }, 20), 'damage to another file is mended');
is((stat $p12)[1], $inode, 'the look at all files that this took has written no PKCS#12 anew');
Story::write_file($p12, 'damaged', 0640);
ok($story->until('repair', sub { opened($passwords[0]) eq $first }, 20), 'damage to itself is mended');

my $second = $story->pair('second', days => 21);
($exit, $text) = $story->import('second');
is($exit, 0, 'a renewal arrives') or diag($text, $story->log('here'));
all_serve($second, 'a renewal');
is(opened($passwords[0]), $second, 'the file has it');

set_password($passwords[1]);
ok($story->until('password', sub { opened($passwords[1]) eq $second }, 20), 'another password is that of a new file');
is(opened($passwords[0]), '', 'and the old one opens it no more');

# ---- a password file that is not in order ----

my $third = $story->pair('third', days => 22);
($inode) = (stat $p12)[1];
my %wrong = ('is open to others than its owner: chmod 600' => sub { chmod 0644, $password_file }, 'No such file' => sub { unlink $password_file },
	'has 6 to 128 characters: write another' => sub { set_password('short') },
	'more than one line of printable ASCII' => sub { set_password("one\ntwo lines") });
$exit = undef;
for my $reason (sort keys %wrong) {
	$wrong{$reason}->();
	($exit, $text) = defined $exit ? $story->certsync('push') : $story->import('third');
	is($exit, 3, "$reason: a renewal does not converge") or diag($text);
	like($text, qr/own\.p12: password_file \Q$password_file\E.*\Q$reason\E/, "$reason: it is told");
	is((stat $p12)[1], $inode, "$reason: the old file is kept");
	is($story->fingerprint($own{cert}), $second, "$reason: the others are the old ones again");
	all_serve($second, $reason);
	is($story->installed('here'), $second, "$reason: the old revision is live");
	set_password($passwords[1]);
}
($exit, $text) = $story->certsync('push');
is($exit, 0, 'mended, push brings the third') or diag($text, $story->log('here'));
all_serve($third, 'the third');
is(opened($passwords[1]), $third, 'the file has it');

# ---- what must stand nowhere ----

my $key = (split /\n/, Story::read_file("$top/third.key"))[1];
my ($exit_json, $json) = $story->certsync('status', '--json');
my $said = join "\n", $json, `$Story::bin/certsync-agent status -c $dir/agent.conf --json`, map { $story->log($_) } qw(here hub);
for (@passwords, $key) {
	unlike($said, qr/\Q$_\E/, 'no password and no key in what is logged or told');
}
my @holders = grep { !m{/own\.password$} } split /\n/, `grep -rlaF -e '$passwords[0]' -e '$passwords[1]' $dir $top/hub.state $top/hub.run 2>/dev/null`;
is("@holders", '', 'and no password in any file but its own');

for (sort keys %servers) {
	Story::write_file("$top/$_.ended", '');
	$story->stop($_);
}
$story->ends_clean;
done_testing;
