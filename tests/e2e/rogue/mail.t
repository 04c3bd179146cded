#!/usr/bin/perl
# Mail servers, databases and others that mean ill (tests/rogue/mail.py), each in a way of its own, and what an agent's probe
# and `certsync check` say of them, all at once: each has one verdict with its reason, in time, and none of its control
# characters is shown anywhere.
# Not under valgrind: it judges how long two hundred probes take.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use JSON::PP;
use Story;
use Test::More;
use Time::HiRes qw(time);

my $story = Story->new;
my $top = $story->top;
my $fingerprint = $story->pair('good');
$story->start('mail', '/usr/bin/python3', '-W', 'ignore', "$FindBin::Bin/../../rogue/mail.py", "$top/good.crt", "$top/good.key");
ok($story->until('the servers', sub { $story->log('mail') =~ /^ready$/m }), 'the servers listen') or BAIL_OUT($story->log('mail'));
my (%port, %protocol);
for ($story->log('mail') =~ /^port (.*)$/mg) { my ($name, $protocol, $port) = split; ($port{$name}, $protocol{$name}) = ($port, $protocol) }

my $late = qr/^timeout no answer within/;
my $over = qr/does not stop talking/;
my $between = qr/text before the handshake/;
my %wanted = (
	(map { $_ => $late } qw(smtp-silent smtp-220-then-nothing smtp-go-and-silence imap-drip imap-literal tls-record-drip ftp-silent
		ftp-drip ftp-end-of-another-code ldap-silent ldap-drip xmpp-silent xmpp-stream-then-nothing xmpp-drip)),
	(map { $_ => $over } qw(smtp-banner-without-end smtp-line-without-end smtp-ehlo-without-end smtp-multiline-go-without-end imap-literal-without-end
		imap-untagged-without-end pop3-line-without-end sieve-capabilities-without-end ftp-greeting-without-end nntp-line-without-end
		xmpp-features-without-end xmpp-tag-without-end xmpp-text-without-end xmpp-deep)),
	(map { $_ => $between } qw(smtp-injected smtp-injected-before smtp-all-at-once smtp-go-and-text imap-injected imap-answer-before-question
		imap-go-and-text pop3-injected sieve-injected postgres-injected ftp-injected ftp-answer-before-question nntp-injected lmtp-injected
		ldap-injected ldap-twice xmpp-injected xmpp-answer-before-question)),
	(map { $_ => qr/does not offer STARTTLS/ } qw(smtp-not-offered smtp-offer-in-prose smtp-offered-in-greeting smtp-utf8 sieve-not-offered
		lmtp-not-offered xmpp-not-offered)),
	(map { $_ => qr/refuses: "/ } qw(smtp-554 smtp-nul smtp-ehlo-refused smtp-454 smtp-454-and-no-goodbye smtp-250-for-220 imap-preauth imap-no imap-bad
		pop3-stls-refused postgres-error mysql-error ftp-530 nntp-580 nntp-is-ftp lmtp-knows-no-lhlo xmpp-failure)),
	(map { $_ => qr/says goodbye: "/ } qw(smtp-421 imap-bye pop3-err sieve-bye ftp-421 nntp-502 xmpp-end)),
	'smtp-drip' => qr/^timeout still in its greeting after 3\.000s, which begins with "2[-20slowy, ]*"/,
	(map { $_ => qr/is not what answers: "/ } qw(smtp-no-code smtp-odd-code imap-anothers-tag imap-continues imap-is-smtp pop3-is-imap
		postgres-error-of-4-gib postgres-noise mysql-length-0 mysql-16-mib mysql-version-without-end mysql-old mysql-odd-number ldap-without-length
		ldap-4-gib ldap-length-of-126-bytes ldap-longer-inside ldap-anothers-answer ldap-is-smtp xmpp-entities xmpp-proceeds-unasked xmpp-is-http)),
	(map { $_ => qr/does not offer TLS/ } qw(postgres-no mysql-no-tls)),
	'postgres-error-without-end' => qr/^protocol/,
	(map { $_ => qr/connection was (lost|closed)|handshake failed/ } qw(smtp-go-and-gone smtp-go-and-reset)),
	'smtp-no-certificate' => qr/without a certificate|handshake failed/,
	(map { $_ => qr/^(protocol|timeout)/ } qw(tls-alert tls-record-of-64k tls-hello-cut tls-empty-records tls-warnings tls-noise tls-hello-of-a-client
		tls-application-data tls-ssl3)),
	# These servers do serve, whatever their manners.
	(map { $_ => qr/^served $fingerprint/ } qw(smtp-lf-alone smtp-small-letters smtp-quit-unanswered smtp-talks-on-behind-quit smtp-tls10 smtp-tls11
		imap-logout-unanswered ftp-quit-unanswered ldap-unbind-ignored xmpp-in-pieces xmpp-inside-silent)),
	'ldap-no' => qr/LDAP refuses: resultCode 52 \(unavailable\), "/,
	'ldap-goodbye' => qr/LDAP says goodbye: resultCode 2 \(protocolError\), "/,
	(map { $_ => qr/refuses a stream to "mail.domain.pl": "host-unknown/ } qw(xmpp-host-unknown xmpp-server-host-unknown)),
	'xmpp-error-of-16-kib' => qr/refuses a stream to "mail.domain.pl": "a: x{150}/,
);
is(join(' ', sort keys %port), join(' ', sort keys %wanted), 'each server has a verdict to come');

# The probe and the checks run at once; there are several of them, since one takes only so many places.
my %at = map { ("127.0.0.1:$port{$_}/$protocol{$_}" => $_) } keys %port;
my @hosts = map { "$Story::name:$port{$_}/$protocol{$_}" } sort keys %port;
my $check = "$Story::bin/certsync check --at 127.0.0.1 --anchors $top/ca.pem --timeout 3 --json -c $top/none.conf";
my $began = time;
my @parts;
push @parts, [splice @hosts, 0, 40] while @hosts;
system("'$Story::bin/../tests/probe_tool' -t 3000 @{[sort keys %at]} >$top/probes 2>&1 & "
	. join('', map { "$check @{$parts[$_]} >$top/check.$_ 2>&1 & " } 0 .. $#parts) . 'wait');
my $took = time - $began;
cmp_ok($took, '<', 8, 'all are over in time');
my %said = map { /^(\S+) (.*)$/ && $at{$1} ? ($at{$1} => $2) : () } split /\n/, Story::read_file("$top/probes");
for my $name (sort keys %wanted) {
	like($said{$name} // 'nothing', $wanted{$name}, "$name: the probe");
	unlike($said{$name} // '', qr/[^\x20-\x7e\x80-\xff]/, "$name: no control characters");
	cmp_ok(length($said{$name} // ''), '<', 600, "$name: not many words");
}

my (%row, $output);
my %name_of = reverse %port;
for my $part (0 .. $#parts) {
	my $text = Story::read_file("$top/check.$part");
	my $all = eval { decode_json($text) } or diag($text);
	for (@{$all->{checks}}) { my ($port) = $_->{endpoint} =~ m{:(\d+)/}; $row{$name_of{$port}} = $_ }
	$output .= $text;
}
for my $name (sort keys %wanted) {
	my $verdict = $wanted{$name} =~ /served/ ? 'ok' : 'unreachable';
	is($row{$name}{verdict}, $verdict, "$name: $verdict") or diag(explain($row{$name}));
}
unlike($output, qr/[^\n\t\x20-\x7e\x80-\xff]|\\u00(?:0[0-9a-f]|1[0-9a-f]|7f)/i, 'no control character in the JSON');
note(scalar(keys %port), sprintf ' servers, probed and checked in %.1f s', $took);
$story->stop('mail');
done_testing;
