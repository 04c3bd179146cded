# stunnel's configurations. Each file is one process.
package StunnelRows;
use strict;
use warnings;

my ($old, $tls, $root) = ('/etc/old', '/etc/stunnel/tls', '/var/lib/stunnel4');

sub process { my ($global, @sections) = @_; return join "\n", 'foreground = yes', $global, @sections, '' }
sub tunnel { my ($global, @sections) = @_; return {'web.conf' => process("pid = /run/stunnel.pid\n$global", @sections)} }
sub listener { my ($name, $port, @more) = @_; return ("[$name]", 'accept = ' . ($port =~ /:/ ? $port : "127.0.0.1:$port"), 'connect = 127.0.0.1:80', @more) }
# A server that says a few words, so that STARTTLS can be asked for.
sub talker { my ($name, $port, $protocol, @more) = @_; return ("[$name]", "accept = 127.0.0.1:$port", "protocol = $protocol", "exec = /etc/stunnel/bin/$protocol", @more) }
my %talkers = ('bin/smtp' => "#!/bin/sh\nprintf '220 mail.domain.pl ESMTP\\r\\n'\nexec cat\n", 'bin/pop3' => "#!/bin/sh\nprintf '+OK ready\\r\\n'\nexec cat\n",
	'bin/imap' => "#!/bin/sh\nprintf '* OK ready\\r\\n'\nread tag rest && printf '* CAPABILITY IMAP4rev1\\r\\n%s OK done\\r\\n' \"\$tag\"\nexec cat\n");

# One that gives up root, with its files below tls/, which are its user's.
sub lesser { my ($global, @sections) = @_; return {'web.conf' => process("pid = /run/stunnel4/web.pid\nsetuid = stunnel4\nsetgid = stunnel4\n$global", @sections)} }
sub caged { my ($global, @sections) = @_; return {'web.conf' => process("chroot = $root/\npid = /stunnel4.pid\nsetuid = stunnel4\nsetgid = stunnel4\n$global", @sections)} }
my @cage = ("rm -rf $root && install -d -o stunnel4 $root $root/etc", "cp -a /etc/stunnel $root/etc/", "getent passwd stunnel4 >$root/etc/passwd && getent group stunnel4 >$root/etc/group");

my ($mail, $other, $third) = map { "cert = $old/$_.pem" } qw(old other third);
my @pair = ("cert = $old/old.crt", "key = $old/old.key");
my ($ours, $same) = ('8443 mail.domain.pl new', '8443 mail.domain.pl same');

# What the hook refuses would keep the agent from starting in order.
sub row { my ($title, $files, $at, %more) = @_; return {service => 'stunnel', title => $title, files => $files, at => $at, $more{refused} ? (services => 'service "stunnel" { hook = "/usr/bin/true" probe = none }') : (), %more} }

sub rows {
	return map { row(@$_) } (
		['a section with its file', tunnel('', listener('web', 8443, $mail)), [$ours]],
		['certificate and key apart', tunnel('', listener('web', 8443, @pair)), [$ours]],
		['one pair for all sections', tunnel(join("\n", @pair), listener('web', 8443), listener('imaps', 993)), [$ours, '993 imap.domain.pl new']],
		['one file for all sections, and another in one', tunnel($mail, listener('web', 8443), listener('other', 8444, $other)), [$ours, '8444 www.other.pl same']],
		['the certificate for all, and the key in its section', tunnel($pair[0], listener('web', 8443, $pair[1])), [$ours]],
		['a certificate of its own with the key of all', tunnel(join("\n", @pair), listener('web', 8443), listener('shop', 8444, "cert = $old/shop.crt")), [$same, '8444 www.shop.pl same'],
			told => qr/changes only together with \S+shop\.crt/],
		['a directory of files', {'web.conf' => process("include = /etc/stunnel/conf.d"), 'conf.d/00-global.conf' => "pid = /run/stunnel.pid\n$mail\n",
				'conf.d/01-web' => join("\n", listener('web', 8443), ''), 'conf.d/02-other' => join("\n", listener('other', 8444, $other), '')}, [$ours, '8444 www.other.pl same']],
		['sections in files of their own', {'web.conf' => process("pid = /run/stunnel.pid\nINCLUDE=/etc/stunnel/conf.d"), 'conf.d/01-web' => join("\n", listener('web', 8443, $mail), ''),
				'conf.d/02-other' => join("\n", listener('other', 8444, $other))}, [$ours, '8444 www.other.pl same']],
		['a section that goes on in files', {'web.conf' => process('pid = /run/stunnel.pid', '[web]', 'include = /etc/stunnel/tls.d', 'accept = 127.0.0.1:8443', 'connect = 127.0.0.1:80'), 'tls.d/pair' => join("\n", @pair)}, [$ours]],
		['another name by SNI', tunnel('', listener('web', 8443, $mail), '[other]', 'sni = web:www.other.pl', 'connect = 127.0.0.1:80', $other), [$ours, '8443 www.other.pl same']],
		['our name by SNI', tunnel('', listener('web', 8443, $third), '[imap]', 'sni = web:imap.domain.pl', 'connect = 127.0.0.1:80', "cert = $old/imap.pem"), ['8443 www.third.pl same', '8443 imap.domain.pl new']],
		['names below ours by SNI', tunnel($third, listener('web', 8443), '[ours]', 'sni = web:*.domain.pl', 'connect = 127.0.0.1:80', $mail), ['8443 www.third.pl same', $ours, '8443 imap.domain.pl new']],
		['a client section that has the same file', tunnel($mail, listener('web', 8443), '[out]', 'client = yes', 'accept = 127.0.0.1:8500', 'connect = 127.0.0.1:8443'), [$ours, '8500 mail.domain.pl nothing']],
		['clients but for one', tunnel('Client = YES', '[out]', 'accept = 127.0.0.1:8500', 'connect = 127.0.0.1:8443', listener('web', 8443, 'client = no', $mail)), [$ours, '8500 mail.domain.pl nothing']],
		['SMTP, IMAP and POP3', {%{tunnel('', talker('smtp', 2525, 'smtp', $mail), talker('imap', 143, 'imap', @pair), talker('pop3', 110, 'pop3', $other))}, %talkers}, ['2525 mail.domain.pl new', '143 imap.domain.pl new', '110 www.other.pl same'],
			run => ['chmod 755 /etc/stunnel/bin/*']],
		['PostgreSQL', tunnel('', listener('pg', 5432, 'PROTOCOL = pgsql', $mail)), ['5432 mail.domain.pl new']],
		['a user of its own', lesser('', listener('web', 8443, "cert = $tls/old.pem"), listener('other', 8444, "cert = $tls/other.pem")), [$ours, '8444 www.other.pl same']],
		['a user of its own, certificate and key apart', lesser("cert = $tls/old.crt\nkey = $tls/old.key", listener('web', 8443), listener('imaps', 9993)), [$ours, '9993 imap.domain.pl new']],
		['a user of its own, and one file for a client', lesser("cert = $tls/old.pem", listener('web', 8443), '[out]', 'client = yes', 'accept = 127.0.0.1:8500', 'connect = 127.0.0.1:8443'), [$same], told => qr/\[out\] of \S+ shows it to a server/],
		['a user who may not read its key', lesser('', listener('web', 8443, $mail)), [$same], told => qr/setuid = stunnel4, and a reload reads \S+old\.pem as that user/, refused => qr/cannot read \S+old\.pem/],
		['a user who may not open its port', lesser('', listener('web', 443, "cert = $tls/old.pem")), ['443 mail.domain.pl same'], told => qr/only root can do for accept = 127\.0\.0\.1:443/, refused => qr/only root can: it would be gone/],
		['a chroot without its configuration', caged("cert = $tls/old.pem", listener('web', 8443)), [$same], run => ["rm -rf $root && install -d -o stunnel4 $root"], told => qr{a start reads \S+ and a reload $root/etc/stunnel}, refused => qr/a reload needs/],
		['a chroot with copies', caged("cert = $tls/old.pem", listener('web', 8443), listener('other', 8444, "cert = $tls/other.pem")), [$ours, '8444 www.other.pl same'], run => \@cage],
		['a chroot that is the directory itself', caged("cert = $tls/old.crt\nkey = $tls/old.key", listener('web', 8443)), [$ours], run => [@cage, "rm -rf $root/etc/stunnel && mkdir $root/etc/stunnel && mount --bind /etc/stunnel $root/etc/stunnel"], after => ["umount $root/etc/stunnel"]],
		['comments, letters and blanks', tunnel("# cert = /never\n;key = /never", '', " [web]  ", "\tACCEPT=127.0.0.1:8443", '  Connect   =   127.0.0.1:80 ', "  CERT   =  $old/old.crt  ", "Key=$old/old.key\r", '# [other]', ''), [$ours]],
		['of two lines the last', tunnel('', listener('web', 8443, "cert = /never", $mail)), [$ours]],
		['two processes', {%{tunnel('', listener('web', 8443, $mail))}, 'mail.conf' => process('pid = /run/stunnel-mail.pid', listener('imaps', 993, @pair), listener('other', 8444, $other))}, [$ours, '993 imap.domain.pl new', '8444 www.other.pl same'],
			configs => [qw(web.conf mail.conf)]],
		['another process without a pid file', {%{tunnel('', listener('web', 8443, $other))}, 'mail.conf' => process('pid =', listener('imaps', 993, @pair))}, ['8443 www.other.pl same', '993 imap.domain.pl same'], configs => [qw(web.conf mail.conf)],
			told => qr/mail\.conf has no line pid = /, refused => qr/no line pid/],
		['for other names alone', tunnel('', listener('web', 8443, "cert = $old/third.crt", "key = $old/third.key")), ['8443 www.third.pl same'], told => qr/is for www\.third\.pl, and mail\.domain\.pl does not cover that/],
		['self-signed, and named', tunnel('', listener('web', 8443, "cert = /etc/stunnel/own.pem")), [$ours], words => 'mail.domain.pl --service stunnel',
			run => ['cd /etc/stunnel && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -days 9 -keyout own.key -out own.crt && cat own.key own.crt >own.pem']],
		['self-signed, and not named', tunnel('', listener('web', 8443, "cert = /etc/stunnel/own.pem")), [$same], told => qr/name the certificate that is to take its place/,
			run => ['cd /etc/stunnel && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -days 9 -keyout own.key -out own.crt && cat own.key own.crt >own.pem']],
		['addresses, IPv6 and names of ports', tunnel($mail, listener('a', '192.0.2.10:8443'), listener('b', '::1:8443'), listener('c', 'localhost:imaps'), listener('d', ':::pop3s')),
			['192.0.2.10:8443 mail.domain.pl new', '[::1]:8443 mail.domain.pl new', '127.0.0.1:993 mail.domain.pl new', '[::1]:995 mail.domain.pl new']],
		['a path without a directory', tunnel('', listener('web', 8443, 'cert = imap.pem'), listener('imaps', 993, $mail)), ['8443 imap.domain.pl same', '993 mail.domain.pl new'], run => ["cp $old/imap.pem ."], told => qr/which file imap\.pem is only stunnel knows/, after => ['rm imap.pem']],
	);
}

1;
