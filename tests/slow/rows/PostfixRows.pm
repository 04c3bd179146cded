package PostfixRows;
use strict;
use warnings;
use Story;

sub main {
	my ($text) = @_;
	return <<"CONF" . $text;
compatibility_level=3.6
inet_interfaces=127.0.0.1, 192.0.2.11
inet_protocols=ipv4
mynetworks=127.0.0.0/8, 192.0.2.0/24
myhostname=mail.domain.pl
mydestination=
alias_maps=
alias_database=
default_database_type=hash
maillog_file=/var/log/postfix.log
smtpd_tls_security_level=may
smtp_tls_security_level=none
smtpd_peername_lookup=no
CONF
}

# What is not among the servers that a row writes comes from the package.
sub master {
	my ($text) = @_;
	my $rest = Story::read_file('/usr/share/postfix/master.cf.dist') || Story::read_file('/etc/postfix/master.cf');
	$rest =~ s/^\S+\s+inet\s.*?(?=^\S)//msg;
	return $text . $rest;
}

sub pair { my ($name, $how) = @_; return "smtpd_tls_cert_file = /etc/old/$name.crt\nsmtpd_tls_key_file = /etc/old/$name.key\n" }
sub options { return join '', map { "  -o $_\n" } @_ }
my $smtp = "smtp inet n - n - - smtpd\n";
my $extra = "2525 inet n - n - - smtpd\n";
my @own = ('smtpd_tls_cert_file=/etc/old/other.crt', 'smtpd_tls_key_file=/etc/old/other.key');

sub row {
	my ($title, $main, $master, $at, %more) = @_;
	my $files = delete $more{files} // {};
	return {title => $title, at => $at, files => {'main.cf' => main($main), 'master.cf' => master($master), %$files}, %more};
}

my $mail = '25 mail.domain.pl new';

sub rows {
	return map { {service => 'postfix', %$_} } (
		row('one pair', pair('old'), $smtp, [$mail]),
		row('another pair at one port', pair('old'), $smtp . $extra . options(@own), [$mail, '2525 mail.domain.pl same']),
		row('another name at one address', pair('old'), "127.0.0.1:25 inet n - n - - smtpd\n192.0.2.11:25 inet n - n - - smtpd\n" . options('myhostname=mail.example.org', @own),
			['127.0.0.1:25 mail.domain.pl new', '192.0.2.11:25 mail.domain.pl same']),
		row('another certificate at one port, with the key of main.cf', pair('old'), $smtp . $extra . options('smtpd_tls_cert_file=/etc/old/shop.crt'),
			[$mail, '2525 mail.domain.pl same']),
		row('ours at one port alone', pair('other'), $smtp . $extra . options('smtpd_tls_cert_file=/etc/old/old.crt', 'smtpd_tls_key_file=/etc/old/old.key'),
			['25 mail.domain.pl same', '2525 mail.domain.pl new']),
		row('chain files', "smtpd_tls_chain_files = /etc/old/old.key,\n  /etc/old/old.crt\n", $smtp, [$mail]),
		row('chain files, and others at one port', "smtpd_tls_chain_files = /etc/old/old.pem\n", $smtp . $extra . options('smtpd_tls_chain_files=/etc/old/other.pem'),
			[$mail, '2525 mail.domain.pl same']),
		row('chain files that outrank an option', "smtpd_tls_chain_files = /etc/old/other.pem\n", $smtp . $extra . options('smtpd_tls_cert_file=/etc/old/old.crt', 'smtpd_tls_key_file=/etc/old/old.key'),
			['25 mail.domain.pl same', '2525 mail.domain.pl same']),
		row('variables and comments', "tls = /etc/old\n# it's ours\nsmtpd_tls_cert_file = \${tls}/old.crt\n#\nsmtpd_tls_key_file =\n\n# \n  \$tls/old.key\n", $smtp, [$mail]),
		row('of two lines the last counts', "smtpd_tls_cert_file = /never\n" . pair('old'), $smtp, [$mail]),
		row('SNI maps', pair('old') . "tls_server_sni_maps = hash:/etc/postfix/sni\n", $smtp, [$mail, '25 www.other.pl same', '25 imap.domain.pl new'],
			files => {sni => "www.other.pl /etc/old/other.key, /etc/old/other.crt\nimap.domain.pl\n  /etc/old/imap.pem\n"}, run => ['postmap -F hash:/etc/postfix/sni']),
		row('an SNI map at one port', pair('other'), $smtp . $extra . options('tls_server_sni_maps=hash:/etc/postfix/sni'), ['2525 mail.domain.pl new', '25 mail.domain.pl same', '2525 www.third.pl same'],
			files => {sni => "mail.domain.pl /etc/old/old.pem\nwww.third.pl /etc/old/third.pem\n"}, run => ['postmap -F hash:/etc/postfix/sni']),
		row('a file that is no certificate, and one that is not there', pair('old'), $smtp . $extra . options('smtpd_tls_cert_file=/etc/old/broken.crt', 'smtpd_tls_key_file=/etc/old/other.key')
				. "465 inet n - n - - smtpd\n" . options('smtpd_tls_wrappermode=yes', 'smtpd_tls_cert_file=/etc/old/gone.crt', 'smtpd_tls_key_file=/etc/old/gone.key'),
			[$mail, '2525 mail.domain.pl nothing', '465 mail.domain.pl nothing-before'], files => {'/etc/old/broken.crt' => "no certificate\n"}, words => 'mail.domain.pl',
			told => qr{broken\.crt: left: .* for what it is cannot be told, so nothing takes its place}),
		row('RSA and ECDSA side by side', pair('rsa') . "smtpd_tls_eccert_file = /etc/old/old.crt\nsmtpd_tls_eckey_file = /etc/old/old.key\n", $smtp,
			['25 mail.domain.pl rsa same', '25 mail.domain.pl ecdsa same'], told => qr/left: RSA and ECDSA stand side by side/),
		row('the client shares the pair', pair('old') . "smtp_tls_cert_file = \$smtpd_tls_cert_file\nsmtp_tls_key_file = \$smtpd_tls_key_file\n", $smtp, [$mail]),
		row('key and certificate in one file', "smtpd_tls_cert_file = /etc/old/old.pem\nsmtpd_tls_key_file = \$smtpd_tls_cert_file\n", $smtp, [$mail]),
		row('an option in braces', pair('old'), $smtp . $extra . "  -o { smtpd_tls_cert_file = /etc/old/other.crt } -o { smtpd_tls_key_file = /etc/old/other.key }\n",
			['25 mail.domain.pl new', '2525 mail.domain.pl same'], told => qr/an option in braces/),
	);
}

1;
