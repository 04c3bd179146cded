#!/usr/bin/perl
# Mail goes through a relay that wants a login: a real Postfix whose passwords a real Dovecot knows. The password is
# read from its file, is sent over TLS that verifies or not at all, and stands in no output and no log.
use strict;
use warnings;
use FindBin;
use MIME::Base64 qw(encode_base64);
use lib "$FindBin::Bin/../lib";
use Dovecot;
use Relay;
use Story;
use Test::More;

Relay::enter();
my $story = Story->new;
my $top = $story->top;
my $secret = 'rosebud 42';
$story->pair('relay', names => 'DNS:localhost,IP:127.0.0.1');
Story::write_file("$top/dovecot.conf", Dovecot::conf(<<"CONF"));
protocols =
log_path = $top/dovecot.out
base_dir = $top/dovecot
state_dir = $top/dovecot.state
ssl = no
auth_mechanisms = plain login
auth_failure_delay = 0
passdb {
	driver = passwd-file
	args = scheme=PLAIN username_format=%u $top/passwords
}
userdb {
	driver = static
	args = uid=65534 gid=65534 home=/nonexistent
}
service auth {
	unix_listener $top/auth {
		mode = 0666
	}
}
CONF
Story::write_file("$top/passwords", "certsync:{PLAIN}$secret\n");
$story->start('dovecot', 'dovecot', '-F', '-c', "$top/dovecot.conf");
ok($story->until('auth', sub { -S "$top/auth" }), 'Dovecot answers for the passwords') or BAIL_OUT(Story::read_file("$top/dovecot.out"));
my $relay = Relay->start($story, main => <<"MAIN", master => <<'MASTER');
smtpd_sasl_type = dovecot
smtpd_sasl_path = $top/auth
smtpd_sasl_auth_enable = yes
smtpd_tls_auth_only = yes
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions = permit_sasl_authenticated, reject
smtpd_helo_required = yes
smtpd_helo_restrictions = reject_non_fqdn_helo_hostname, reject_invalid_helo_hostname
MAIN
submission inet  n  -  n  -     -  smtpd
submissions inet n  -  n  -     -  smtpd -o smtpd_tls_wrappermode=yes
MASTER

my $all = ''; # all that was ever printed
sub test_mail {
	my $output = join ' ', $story->certsync('alert', 'test');
	$all .= $output;
	return $output;
}

# Tests the mail with such a configuration. Returns what was said.
sub told {
	my (%wish) = @_;
	my %lines = (smtp => '"smtps://localhost:465"', smtp_user => '"certsync"', smtp_password => "\"$top/secret\"", ca_file => "\"$top/ca.pem\"", %wish);
	my $helo = delete $lines{helo};
	$helo = defined $helo ? "helo = $helo\n" : '';
	my $lines = join '', map { defined $lines{$_} ? "\t$_ = $lines{$_}\n" : '' } sort keys %lines;
	$story->hub_conf(certificates => "${helo}certificate \"$Story::name\" {}\nalert {\n\temail = {\"admin\@example.com\"}\n\tfrom = \"certsync\@domain.pl\"\n$lines}\n");
	my $before = length $story->log('hub');
	$story->reload
		or return 'not read: ' . substr($story->log('hub'), $before);
	return test_mail();
}
Story::write_file("$top/secret", "$secret\n", 0600);
ok($story->hub, 'a hub starts') or BAIL_OUT($story->log('hub'));
like(told(), qr/^0 ok +email admin\@example\.com: 250 2\.0\.0 Ok/, 'with TLS from the start');
like(told(smtp => '"smtp://localhost:587"'), qr/^0 ok +email admin\@example\.com: 250 2\.0\.0 Ok/, 'a login over STARTTLS is accepted');
ok($story->until('mails', sub { $relay->mails == 2 }), 'both mails have come');
my $log = Story::read_file('/var/log/mail.log');
is(scalar(() = $log =~ /sasl_username=certsync/g), 2, 'both by that login');
is(scalar(grep { /^Received: from haproxy\.domain\.pl \(/m } $relay->mails), 2,
	'a machine without a domain is called by that of the sender, since a server may refuse a name without a dot');
like(told(helo => '"mx.domain.pl"'), qr/^0 ok/, 'or by the name that hub.conf has');
ok($story->until('mails', sub { $relay->mails == 3 }), 'the third mail has come');
is(scalar(grep { /^Received: from mx\.domain\.pl \(/m } $relay->mails), 1, 'with that name');
like(told(helo => '"[127.0.0.1]"'), qr/^0 ok/, 'or by an address');
ok($story->until('mails', sub { $relay->mails == 4 }), 'the fourth mail has come');

Story::write_file("$top/secret", 'wrong', 0600);
like(told(), qr/^1 FAILED +email admin\@example\.com: .*(535|denied)/, 'a wrong password is refused, with the answer');
unlink "$top/secret";
like(test_mail(), qr/^2 .*smtp_password: \Q$top\E\/secret/, 'a password that is not there is named by its line and its file');
Story::write_file("$top/secret", "$secret\n", 0600);
like(told(smtp_user => undef, smtp_password => undef), qr/^1 FAILED +email .*554/, 'without a login it is refused');
my $tried = () = Story::read_file('/var/log/mail.log') =~ /sasl_username=certsync/g;
$story->pair('stranger', self_signed => 1, names => 'DNS:elsewhere.domain.pl');
like(told(ca_file => "\"$top/stranger.crt\""), qr/^1 FAILED +email admin\@example\.com: .*certificate/, 'a relay that nobody vouches for gets no password');
is(scalar(() = Story::read_file('/var/log/mail.log') =~ /sasl_username=certsync/g), $tried, 'nor was it tried');
is(scalar($relay->mails), 4, 'nothing more has come');
cmp_ok(length $all, '>', 200, 'all of that was kept');
unlike($all . $story->log('hub'), qr/\Q$secret\E|@{[encode_base64($secret, '')]}/, 'the password is in no output and no log');
$story->ends_clean;
done_testing;
