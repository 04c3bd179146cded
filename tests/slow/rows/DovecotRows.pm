package DovecotRows;
use strict;
use warnings;
use Dovecot;

sub pair { my ($name) = @_; return "ssl_cert = </etc/old/$name.crt\nssl_key = </etc/old/$name.key\n" }
sub block { my ($name, $text) = @_; return "local_name $name {\n$text}\n" }

sub conf {
	my ($text, $protocols) = @_;
	return Dovecot::conf(join "\n", 'protocols = ' . ($protocols // 'imap'), 'listen = 127.0.0.1, 192.0.2.11', 'log_path = /var/log/dovecot.log',
		'mail_location = maildir:/var/tmp/mail', 'passdb {', ' driver = static', ' args = password=secret', '}', 'ssl = yes',
		Dovecot::login_services('imap'), $text, '');
}

my $mail = '993 mail.domain.pl new';
my @other = ('993 www.other.pl same', '143 www.other.pl same');

sub rows {
	return map { {service => 'dovecot', %$_} } (
		{title => 'one pair', files => {'dovecot.conf' => conf(pair('old'))}, at => [$mail, '143 mail.domain.pl new']},
		{title => 'a pair for each name', files => {'dovecot.conf' => conf(pair('old') . block('www.other.pl', pair('other')))}, at => [$mail, @other]},
		{title => 'another name with the key of the whole', files => {'dovecot.conf' => conf(pair('old') . block('www.shop.pl', "  ssl_cert = </etc/old/shop.crt\n"))},
			at => [$mail, '993 www.shop.pl same']},
		{title => 'another name with the key of the whole, which comes behind', at => [$mail, '993 www.shop.pl same'],
			files => {'dovecot.conf' => conf(block('www.shop.pl', "\tssl_cert = </etc/old/shop.crt # of the shop\n") . pair('old'))}},
		{title => 'ours is the name with the key of another', at => ['993 www.shop.pl same', '993 imap.domain.pl new'],
			files => {'dovecot.conf' => conf("ssl_cert = </etc/old/shop.crt\nssl_key = </etc/old/shop.key\n" . block('imap.domain.pl', "  ssl_cert = </etc/old/old.crt\n"))}},
		{title => 'included files, the last line counting', at => [$mail, @other], files => {'dovecot.conf' => conf("ssl_cert = </etc/old/third.crt\n!include conf.d/*.conf\n!include_try none.conf"),
				'conf.d/10-ssl.conf' => Dovecot::words(pair('old')), 'conf.d/20-names.conf' => Dovecot::words(block('www.other.pl', pair('other')))}},
		{title => 'a file for each name, included in its block', at => [$mail, @other], files => {'dovecot.conf' => conf(pair('old') . "local_name www.other.pl {\n  !include names/other.conf\n}"),
				'names/other.conf' => Dovecot::words(pair('other'))}},
		{title => 'by the address', files => {'dovecot.conf' => conf(pair('old') . "local 192.0.2.11 {\n" . pair('other') . "}\n")},
			at => ['127.0.0.1:993 mail.domain.pl new', '192.0.2.11:993 mail.domain.pl same', '192.0.2.11:143 mail.domain.pl same']},
		{title => 'key and certificate in one file', files => {'dovecot.conf' => conf("ssl_cert = </etc/old/old.pem\nssl_key = </etc/old/old.pem\n")}, at => [$mail]},
		{title => 'comments and blanks in odd places', at => [$mail, @other], files => {'dovecot.conf' => conf(<<'CONF')}},
#ssl_cert = </never
  ssl_cert =</etc/old/old.crt		# it's ours {
ssl_key   =   </etc/old/old.key
local_name www.other.pl { # }
# ssl_cert = </never
ssl_cert=</etc/old/other.crt
	ssl_key=</etc/old/other.key
}
CONF
		{title => 'RSA and ECDSA side by side', at => ['993 mail.domain.pl rsa same', '993 mail.domain.pl ecdsa same'], told => qr/left: RSA and ECDSA stand side by side/,
			files => {'dovecot.conf' => conf(pair('old') . "ssl_alt_cert = </etc/old/rsa.crt\nssl_alt_key = </etc/old/rsa.key\n")}},
		{title => 'two names in one block', files => {'dovecot.conf' => conf(pair('old') . join '', map { block($_, pair('other')) } 'www.other.pl', 'www2.other.pl')},
			at => [$mail, @other]},
		{title => 'nothing but another name', files => {'dovecot.conf' => conf(pair('other'))}, at => ['993 mail.domain.pl same'], told => qr/nothing to do/},
		{title => 'a port of its own', files => {'dovecot.conf' => conf(pair('old') . "service imap-login {\ninet_listener extra {\nport = 8993\nssl = yes\n}\n}\n")},
			at => [$mail, '8993 mail.domain.pl new']},
		{title => 'the file is behind a link', files => {'ssl.real' => Dovecot::words(pair('old')), 'ssl.conf' => \'ssl.real', 'dovecot.conf' => conf("!include ssl.conf\n" . block('www.other.pl', pair('other')))},
			at => [$mail, @other]},
	);
}

1;
