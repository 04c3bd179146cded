package EximRows;
use strict;
use warnings;

my $tls = '/etc/exim4/tls';
sub pair { my ($name) = @_; return "tls_certificate = $tls/$name.crt\ntls_privatekey = $tls/$name.key\n" }

sub conf {
	my ($text, $ports) = @_;
	return "keep_environment =\nhosts_require_helo =\ntls_advertise_hosts = *\n"
		. ($ports // "local_interfaces = 127.0.0.1 : 192.0.2.11\ndaemon_smtp_ports = 25 : 465\ntls_on_connect_ports = 465\n") . "$text\nbegin acl\n";
}

sub row {
	my ($title, $text, $at, %more) = @_;
	my $files = delete $more{files} // {};
	return {title => $title, at => $at, files => {'exim4.conf' => conf($text, delete $more{ports}), %$files}, %more};
}

my @mail = ('25 mail.domain.pl new', '465 mail.domain.pl new');
my $other = '465 www.other.pl same';
my $names = '${if exists{' . $tls . '/${tls_in_sni}.pem}{' . $tls . '/${tls_in_sni}.pem}{' . $tls . '/old.pem}}';
my @named = map { "cp -p $tls/$_->[0].pem $tls/$_->[1].pem" } ['other', 'www.other.pl'], ['imap', 'imap.domain.pl'];

sub rows {
	return map { {service => 'exim4', %$_} } (
		row('one file, which has the key', "tls_certificate = $tls/old.pem", \@mail),
		row('certificate and key apart', pair('old'), \@mail),
		row('the key named as the same file', "tls_certificate = $tls/old.pem\ntls_privatekey = $tls/old.pem", \@mail),
		row('macros', "CONFDIR = /etc/exim4\nMAIN_TLS_CERTIFICATE = CONFDIR/tls/old.crt\n.ifdef MAIN_TLS_CERTIFICATE\ntls_certificate = MAIN_TLS_CERTIFICATE\n.else\n"
				. "tls_certificate = /never\n.endif\n.ifndef NEVER\ntls_privatekey = CONFDIR/tls/old.key\n.endif", \@mail),
		row('an included file', ".include /etc/exim4/tls.inc\n.include_if_exists /etc/exim4/none.inc", \@mail, files => {'tls.inc' => pair('old')}),
		row('comments, continued lines and quotes', "# tls_certificate = /never\ntls_certificate = \\\n# in between\n   \"$tls/old.crt\"\n  tls_privatekey   =   $tls/\\\n     old.key\n", \@mail),
		row('hidden', "hide tls_certificate = $tls/old.crt\nhide tls_privatekey = $tls/old.key", \@mail),
		row('the name of the host in the path', "primary_hostname = old\ntls_certificate = $tls/\$primary_hostname.pem", \@mail),
		row('a file that exists or another', "tls_certificate = \${if exists{$tls/old.pem}{$tls/old.pem}{$tls/third.pem}}", \@mail),
		row('a file for each name', "tls_certificate = $names", [@mail, $other, '465 imap.domain.pl new'], run => \@named),
		row('certificate and key for each name', "tls_certificate = $names\ntls_privatekey = $names", [@mail, $other, '25 imap.domain.pl new'], run => \@named),
		row('a map of names', "tls_certificate = \${lookup{\${lc:\$tls_in_sni}}lsearch{/etc/exim4/names}{\$value}{$tls/old.pem}}", [@mail, $other],
			files => {names => "# which gets which\nwww.other.pl: $tls/other.pem\nmail.domain.pl: $tls/old.pem\n"}),
		row('names compared', "tls_certificate = \${if eq{\$tls_in_sni}{www.other.pl}{$tls/other.pem}{$tls/old.pem}}", [@mail, $other, '25 www.other.pl same']),
		row('a file by the address', "tls_certificate = \${if eq{\$received_ip_address}{192.0.2.11}{$tls/other.pem}{$tls/old.pem}}",
			['127.0.0.1:465 mail.domain.pl same', '192.0.2.11:465 mail.domain.pl same'], told => qr/tls_certificate = .*: which file that is is decided for each connection/),
		row('RSA and ECDSA side by side', "tls_certificate = $tls/old.crt : $tls/rsa.crt\ntls_privatekey = $tls/old.key : $tls/rsa.key",
			['465 mail.domain.pl rsa same', '465 mail.domain.pl ecdsa same'], told => qr/left: RSA and ECDSA stand side by side/),
		row('a list with keys inside', "tls_certificate = <; $tls/rsa.pem ; $tls/old.pem", ['465 mail.domain.pl rsa same', '465 mail.domain.pl ecdsa same'],
			told => qr/left: RSA and ECDSA stand side by side/),
		row('another name', pair('other'), ['465 mail.domain.pl same'], told => qr/is for www.other.pl/),
		row('behind a link', "tls_certificate = $tls/link.pem", ['465 mail.domain.pl same'], run => ["ln -s old.pem $tls/link.pem"], told => qr/is behind a symbolic link|is no regular file/),
		row('ports of its addresses', pair('old'), ['127.0.0.1:587 mail.domain.pl new', '192.0.2.11:2525 mail.domain.pl new', '127.0.0.1:465 mail.domain.pl new'],
			ports => "local_interfaces = <; 127.0.0.1.587 ; [192.0.2.11]:2525 ; 127.0.0.1\ndaemon_smtp_ports = <; 465\ntls_on_connect_ports = <; smtps\n"),
		{title => "Debian's configuration in many files", at => \@mail, run => ['rm -f /etc/exim4/exim4.conf', 'update-exim4.conf'], files => {
				'update-exim4.conf.conf' => "dc_eximconfig_configtype='local'\ndc_other_hostnames=''\ndc_local_interfaces='127.0.0.1'\ndc_use_split_config='true'\n",
				'conf.d/main/000_localmacros' => "MAIN_TLS_ENABLE = yes\nMAIN_TLS_CERTIFICATE = CONFDIR/tls/old.crt\nMAIN_TLS_PRIVATEKEY = CONFDIR/tls/old.key\n"
					. "daemon_smtp_ports = 25 : 465\ntls_on_connect_ports = 465\n"}},
	);
}

1;
