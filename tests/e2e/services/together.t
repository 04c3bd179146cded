#!/usr/bin/perl
# HAProxy, Dovecot and Postfix, all real, are three services of one agent: there is an ECDSA and an RSA pair, and each
# service serves what it is configured to. Tests come before reloads, in the order of the configuration; a failure in
# the third service undoes the first two; and sessions go on.
# Not under valgrind: hooks are scripts.
use strict;
use warnings;
use File::Copy qw(copy);
use File::Path qw(make_path);
use FindBin;
use lib "$FindBin::Bin/../lib";
use Dovecot;
use IO::Socket::INET;
use IO::Socket::UNIX;
use Story;
use Test::More;

Story->enter;
Story->cover(qw(etc var));
my $story = Story->new;
my $top = $story->top;
my $live = "$top/here/etc/live/$Story::name";
my ($exit, $text);

# ---- certificates: an ECDSA and an RSA pair; {ecdsa}, {rsa}: their fingerprints ----

sub two_pairs {
	my ($file) = @_;
	my $names = "DNS:$Story::name,DNS:imap.domain.pl";
	my %made = (ecdsa => $story->pair($file, names => $names));
	$story->openssl("req -newkey rsa:2048 -nodes -subj /CN=x -keyout $top/$file-rsa.key -out $top/$file-rsa.csr");
	$story->openssl("x509 -req -in $top/$file-rsa.csr -CA $top/ca.pem -CAkey $top/ca.key -CAcreateserial -days 20 -extfile $top/ext",
		"-out $top/$file-rsa.crt");
	$made{rsa} = $story->fingerprint("$top/$file-rsa.crt");
	return \%made;
}

sub import {
	my ($file, @more) = @_;
	return if !$story;
	return $story->certsync('import', $Story::name, map({ ('--key', "$top/$_.key", '--chain', "$top/$_.crt") } $file, "$file-rsa"), @more);
}

# ---- servers ----

sub haproxy_conf {
	my (@global) = @_;
	make_path('/etc/haproxy/certs');
	Story::write_file('/etc/haproxy/plain', "$live/haproxy.pem\n");
	Story::write_file('/etc/haproxy/filters', "$live/haproxy.pem.ecdsa [alpn h2 ssl-min-ver TLSv1.2] *.domain.pl !imap.domain.pl\n"
			. "$live/haproxy.pem.rsa [ssl-min-ver TLSv1.2] imap.domain.pl\n");
	Story::write_file('/etc/haproxy/haproxy.cfg', join "\n", 'global', @global, 'defaults', "\tmode http", "\ttimeout client 5s",
		"\ttimeout server 5s", "\ttimeout connect 5s", 'frontend first', "\tbind 127.0.0.1:8443 ssl crt $live/haproxy.pem",
		'frontend second', "\tbind 127.0.0.1:8444 ssl crt $live/haproxy.pem", 'frontend plain',
		"\tbind 127.0.0.1:8445 ssl crt-list /etc/haproxy/plain", 'frontend filters',
		"\tbind 127.0.0.1:8446 ssl crt-list /etc/haproxy/filters", 'frontend directory',
		"\tbind 127.0.0.1:8447 ssl crt /etc/haproxy/certs/", '');
}

sub start_haproxy {
	$story->stop('haproxy');
	haproxy_conf(@_);
	$story->start('haproxy', qw(/usr/sbin/haproxy -W -f /etc/haproxy/haproxy.cfg));
	return $story->until('haproxy', sub { $story->served(8447) ne '' }) || diag($story->log('haproxy'));
}

sub dovecot_conf {
	my ($file, @more) = @_;
	Story::write_file('/etc/dovecot/dovecot.conf', Dovecot::conf(join "\n", 'protocols = imap', 'listen = 127.0.0.1', 'log_path = /var/log/dovecot.log',
		'ssl = yes', "ssl_cert = <$live/$file", "ssl_key = <$live/$file", 'disable_plaintext_auth = no', 'shutdown_clients = no',
		'mail_location = maildir:/var/tmp/mail', 'passdb {', ' driver = static', ' args = password=secret', '}', 'userdb {',
		' driver = static', ' args = uid=1000 gid=1000 home=/var/tmp/mail', '}', @more, ''));
}

sub postfix_conf {
	$story->run('postconf -e compatibility_level=3.6 inet_interfaces=127.0.0.1 inet_protocols=ipv4 myhostname=mail.domain.pl mydestination= '
			. 'alias_maps= alias_database= maillog_file=/var/log/postfix.log smtpd_tls_security_level=may smtpd_tls_cert_file= '
			. "smtpd_tls_key_file= smtpd_tls_chain_files=$live/combined-all.pem "
			. "'tls_server_sni_maps=hash:/etc/postfix/maps/one, btree:/etc/postfix/maps/two'");
	make_path('/etc/postfix/maps');
	Story::write_file('/etc/postfix/maps/one', "imap.domain.pl $live/combined.pem\n", 0600);
	Story::write_file('/etc/postfix/maps/two', "other.domain.pl $live/haproxy.pem.rsa\n", 0600);
	$story->run("postmap -F hash:/etc/postfix/maps/one && postmap -F btree:/etc/postfix/maps/two && postfix start");
}

# Returns the fingerprint that a client sees; `key` asks for ecdsa or rsa alone. The list has every endpoint with every
# kind of key that it has, as [what, port, options, kind].
my @endpoints = ((map { my $port = $_; map { ["$port $_", $port, {key => $_}, $_] } qw(ecdsa rsa) } 8443 .. 8445),
	['8446', 8446, {}, 'ecdsa'], ['8446 imap', 8446, {sni => 'imap.domain.pl'}, 'rsa'], ['8447', 8447, {}, 'ecdsa'],
	(map { ["smtp $_", 25, {starttls => 'smtp', key => $_}, $_] } qw(ecdsa rsa)),
	['smtp imap', 25, {starttls => 'smtp', sni => 'imap.domain.pl'}, 'ecdsa'],
	['smtp other', 25, {starttls => 'smtp', sni => 'other.domain.pl'}, 'rsa'], ['imaps', 993, {}, 'rsa']);

sub wrong {
	my ($made, @which) = @_;
	return join ', ', map { $_->[0] } grep { $story->served($_->[1], %{$_->[2]}) ne $made->{$_->[3]} } @which ? @which : @endpoints;
}

# A worker that is on its way out may still take a connection.
sub all_serve {
	my ($made, $what, @which) = @_;
	my $left = 'all';
	$story->until($what, sub { ($left = wrong($made, @which)) eq '' }, 5);
	is($left, '', "$what: on every endpoint, with each key") or diag(($story->certsync('status'))[1] . $story->log('here'));
}

sub calls { my $all = Story::read_file("$top/calls"); unlink "$top/calls"; return [grep { !/running/ } split /\n/, $all] }

sub is_verified {
	my ($made, $what) = @_;
	ok($story->until($what, sub { $story->installed('here') eq $made->{ecdsa} && ($story->state_of('here')->{state} // '') eq 'verified' }, 20),
		"$what: verified") or diag(($story->certsync('status'))[1] . $story->log('here'));
}

# ---- the node ----

my @made = map { two_pairs("r$_") } 0 .. 7;
ok($story->hub, 'a hub starts') or BAIL_OUT($story->log('hub'));
main::import('r0');
my $dir = $story->agent_conf('here', services => <<'CONF');
service "haproxy" {
		probe = {"127.0.0.1:8443/tls", "127.0.0.1:8444/tls", "127.0.0.1:8445/tls", "127.0.0.1:8446/tls", "127.0.0.1:8447/tls"}
		file "/etc/haproxy/certs/mail.pem" { content = "combined" }
	}
	service "haproxy-imap" { hook = "/usr/bin/true" sni = "imap.domain.pl" probe = {"127.0.0.1:8446/tls"} }
	service "dovecot" { probe = {"127.0.0.1:993"} }
	service "postfix" { probe = {"127.0.0.1:25"} }
CONF
make_path("$top/real");
copy($_, "$top/real/") or die for glob "$Story::bin/hooks/*";
chmod 0755, glob "$top/real/*";
Story::write_file("$dir/hooks/$_", <<"HOOK", 0755) for qw(haproxy dovecot postfix);
#!/bin/sh
echo "$_ \$1" >>$top/calls
[ ! -e "$top/fail.$_.\$1" ] || { rm "$top/fail.$_.\$1"; echo "$_ will not"; exit 1; }
exec $top/real/$_ "\$1"
HOOK
make_path('/etc/haproxy/certs');
$story->enrol('here') or BAIL_OUT(Story::read_file("$top/join.log"));
$story->start_agent('here');
ok($story->until('files', sub { $story->installed('here') eq $made[0]{ecdsa} }), 'stopped services get their files')
	or diag($story->log('here'));
dovecot_conf('haproxy.pem.rsa');
postfix_conf();
my $socket = "\tstats socket /run/haproxy.sock mode 600 level";
start_haproxy("$socket admin");
$story->start('dovecot', qw(dovecot -F));
$story->until('dovecot', sub { $story->served(993) ne '' }) or diag(Story::read_file('/var/log/dovecot.log'));
all_serve($made[0], 'the first revision');
calls();

# ---- sessions that live on ----

sub session {
	my ($port) = @_;
	my $s = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port", Timeout => 5) or return diag("no $port");
	$s->getline;
	return $s;
}

sub says {
	my ($s, $line, $like, $what) = @_;
	print $s "$line\r\n";
	my $answer;
	do { $answer = $s->getline // '' } while $answer =~ /^(\*|\d+-)/;
	like($answer, $like, $what);
}

my ($smtp, $imap) = (session(25), session(143));
says($smtp, 'EHLO client.domain.pl', qr/^250/, 'an SMTP session');
says($imap, 'a LOGIN anna secret', qr/^a OK/, 'an IMAP session');
sub smtpds { my %found = map { $_ => 1 } grep { Story::read_file("/proc/$_/comm") eq "smtpd\n" } map { m{/(\d+)$} } glob '/proc/[0-9]*'; return \%found }
my $old_smtpds = smtpds();

main::import('r1');
is_verified($made[1], 'a renewal with two pairs, Dovecot serving the RSA leaf alone');
all_serve($made[1], 'the renewal');
my $order = calls();
is_deeply([map { s/^\S+ //r } @$order], [('test') x (@$order - 3), ('reload') x 3], 'all tests are before any reload');
is_deeply([@$order[-3 .. -1]], ['haproxy reload', 'dovecot reload', 'postfix reload'], 'reloads in the order of the configuration');
says($smtp, 'NOOP', qr/^250/, 'the SMTP session lives on');
says($imap, 'b NOOP', qr/^b OK/, 'the IMAP session lives on');
says($smtp, 'QUIT', qr/^221/, 'it ends');
ok($story->until('old smtpd', sub { my $now = smtpds(); !grep { $now->{$_} } keys %$old_smtpds }, 10), 'the smtpd processes from before have ended');

# ---- the third fails ----

sub is_undone {
	my ($what, $n) = @_;
	ok($story->until($what, sub { ($story->state_of('here')->{state} // '') =~ /rolled back|failed/ }, 20), "$what: it fails")
		or diag(($story->certsync('status'))[1]);
	is($story->installed('here'), $made[$n]{ecdsa}, "$what: the files are the old ones");
	is($story->fingerprint('/etc/haproxy/certs/mail.pem'), $made[$n]{ecdsa}, "$what: the copy, too");
	all_serve($made[$n], $what);
}

Story::write_file("$top/fail.postfix.reload", '');
main::import('r2');
is_undone('the third service\'s reload fails', 1);
$order = calls();
is_deeply([grep { /reload/ } @$order], [('haproxy reload', 'dovecot reload', 'postfix reload') x 2], 'all three are told of the old files')
	or diag(explain($order));
start_haproxy("$socket admin");
all_serve($made[1], 'HAProxy started again serves what it served');

# ---- an SNI map that cannot be built ----

$story->run('mount --bind /etc/postfix/maps /etc/postfix/maps && mount -o remount,bind,ro /etc/postfix/maps');
main::import('r3');
ok($story->until('refusal', sub { ($story->state_of('here')->{text} // ($story->certsync('status'))[1]) =~ /postfix/ }, 20), 'an SNI map that cannot be written');
ok($story->until('the test', sub { Story::read_file("$top/calls") =~ /postfix test/ }, 10), 'it is tested');
ok(!grep({ /reload/ } @{calls()}), 'and nothing is reloaded');
all_serve($made[1], 'an SNI map that cannot be written');
# postmap itself passes over such an entry, and says that it has done its work.
$story->run("postconf -e 'tls_server_sni_maps=hash:/etc/postfix/maps/one, btree:/etc/postfix/maps/two, hash:/etc/postfix/third'");
Story::write_file('/etc/postfix/third', "third.domain.pl $live/combined.pem\ngone.domain.pl\n  /etc/postfix/none.key, $live/fullchain.pem\n", 0600);
($exit, $text) = $story->certsync('push');
is($exit, 3, 'an SNI map with an entry whose key is not there') or diag($text);
like($text, qr{/etc/postfix/third: /etc/postfix/none.key of gone.domain.pl cannot be read}, 'it is told');
all_serve($made[1], 'an SNI map with an entry whose key is not there');
$story->run("postconf -e 'tls_server_sni_maps=hash:/etc/postfix/maps/one, btree:/etc/postfix/maps/two'");
$story->run('umount /etc/postfix/maps');

# ---- HAProxy: transactions of others, less than admin, no socket ----

sub ask_haproxy {
	my ($command) = @_;
	my $s = IO::Socket::UNIX->new('/run/haproxy.sock') or return '';
	print $s "$command\n";
	local $/;
	return <$s> // '';
}

my $pem = Story::read_file("$top/r0.crt") . Story::read_file("$top/r0.key");
like(ask_haproxy("set ssl cert $live/haproxy.pem.ecdsa <<\n$pem"), qr/Transaction created/, 'somebody leaves a transaction open');
main::import('r4');
is_verified($made[4], 'a renewal beside it');
all_serve($made[4], 'a renewal beside it');
unlike(ask_haproxy('show ssl cert'), qr/^\*/m, 'no transaction is left');
dovecot_conf('combined.pem', "ssl_alt_cert = <$live/haproxy.pem.rsa", "ssl_alt_key = <$live/haproxy.pem.rsa");
@endpoints = ((grep { $_->[0] ne 'imaps' } @endpoints), map { ["imaps $_", 993, {key => $_}, $_] } qw(ecdsa rsa));
my $n = 5;
for (["a socket of level operator", "$socket operator"], ['no socket']) {
	my ($what, @global) = @$_;
	unlink '/run/haproxy.sock';
	start_haproxy(@global);
	main::import("r$n");
	is_verified($made[$n], $what);
	all_serve($made[$n], "$what, and Dovecot with both pairs");
	start_haproxy(@global);
	all_serve($made[$n++], "$what, HAProxy started again");
}

system("postfix stop >>$top/setup.log 2>&1");
$story->ends_clean;
done_testing();
