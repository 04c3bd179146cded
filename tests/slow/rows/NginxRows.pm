package NginxRows;
use strict;
use warnings;

# Returns the lines that name a pair.
sub pair { my ($name) = @_; return "ssl_certificate /etc/old/$name.crt; ssl_certificate_key /etc/old/$name.key;" }
sub site { my ($name, $text, $port) = @_; return "server {\n\tlisten " . ($port // '127.0.0.1:8445') . " ssl;\n\tserver_name $name;\n\t$text\n}\n" }
sub conf { my ($http, $main) = @_; return ($main // '') . "events {}\nhttp {\naccess_log off;\n$http\n}\n" }

my $mail = '8445 mail.domain.pl new';
my $other = '8445 www.other.pl same';

sub rows {
	return map { {service => 'nginx', %$_} } (
		{title => 'one server', files => {'nginx.conf' => conf(site('mail.domain.pl', pair('old')))}, at => [$mail, '8445 imap.domain.pl new']},
		{title => 'a certificate for each name', files => {'nginx.conf' => conf(site('mail.domain.pl', pair('old')) . site('www.other.pl', pair('other')))}, at => [$mail, $other]},
		{title => 'sites behind links, with a glob', at => [$mail, $other], files => {'nginx.conf' => conf("include sites-enabled/*;"),
				'sites-available/mail' => site('mail.domain.pl', pair('old')), 'sites-available/other' => site('www.other.pl', pair('other')),
				'sites-enabled/mail' => \'../sites-available/mail', 'sites-enabled/other' => \'../sites-available/other', 'sites-enabled/default' => ''}},
		{title => 'one key in http for two certificates, one of them in a snippet', at => [$mail, '8445 www.shop.pl same'],
			files => {'snippets/mail.conf' => "ssl_certificate /etc/old/old.crt;\n", 'nginx.conf' => conf("ssl_certificate_key /etc/old/old.key;\n"
					. site('mail.domain.pl', 'include snippets/mail.conf;') . site('www.shop.pl', 'ssl_certificate /etc/old/shop.crt;'))}},
		{title => 'the pair in http, and another certificate of the same key', at => [$mail, '8445 www.shop.pl same'],
			files => {'nginx.conf' => conf(pair('old') . "\n" . site('mail.domain.pl', '') . site('www.shop.pl', 'ssl_certificate /etc/old/shop.crt;'))}},
		{title => 'the pair in http for all, another below', at => [$mail, $other],
			files => {'nginx.conf' => conf(site('www.other.pl', pair('other')) . site('mail.domain.pl', '') . pair('old'))}},
		{title => 'a snippet for two servers', at => [$mail, '8446 imap.domain.pl new'], files => {'snippets/tls.conf' => pair('old'),
				'nginx.conf' => conf(site('mail.domain.pl', 'include snippets/tls.conf;') . site('imap.domain.pl', 'include snippets/tls.conf;', '127.0.0.1:8446'))}},
		{title => 'certificate in a snippet, key in the server', at => [$mail],
			files => {'snippets/c.conf' => "ssl_certificate /etc/old/old.crt;\n", 'nginx.conf' => conf(site('mail.domain.pl', "include snippets/c.conf;\nssl_certificate_key /etc/old/old.key;"))}},
		{title => 'relative paths', at => [$mail], run => ['cp /etc/old/old.crt /etc/old/old.key /etc/nginx/'],
			files => {'nginx.conf' => conf(site('mail.domain.pl', 'ssl_certificate old.crt; ssl_certificate_key "old.key";'))}},
		{title => 'comments, quotes and braces in odd places', at => [$mail, $other], files => {'nginx.conf' => conf(<<'CONF')}},
map $host $backend { default "a;b"; ~^www\.(?<x>.+)$ '{${x}'; }
server { # ssl_certificate /never;
	listen 127.0.0.1:8445 ssl # it's here
	;
	server_name mail.domain.pl "";
	ssl_certificate # not /etc/old/other.crt;
		"/etc/old/old.crt";ssl_certificate_key /etc/old/old.key;#}
	location ~ "^/a{2,3}$" { return 200 '# ssl_certificate /etc/old/other.crt;'; }
}
server { listen 127.0.0.1:8445 ssl; server_name www.other.pl; ssl_certificate /etc/old/other.crt; ssl_certificate_key /etc/old/other.key; }
CONF
		{title => 'one certificate of another kind of key', at => [$mail], told => qr/clients that take RSA keys alone would be cut off, since mail.domain.pl has none: key = \{/,
			files => {'nginx.conf' => conf(site('mail.domain.pl', pair('rsa')))}},
		{title => 'RSA and ECDSA side by side', at => ['8445 mail.domain.pl rsa same', '8445 mail.domain.pl ecdsa same'], told => qr/left: RSA and ECDSA stand side by side/,
			files => {'nginx.conf' => conf(site('mail.domain.pl', pair('old') . pair('rsa')))}},
		{title => 'by the address', at => ['192.0.2.10:8445 mail.domain.pl new', '192.0.2.11:8445 mail.domain.pl same'],
			files => {'nginx.conf' => conf(site('mail.domain.pl', pair('old'), '8445') . site('mail.domain.pl', pair('other'), '192.0.2.11:8445'))}},
		{title => 'a name with a variable in its path', at => [$mail, $other], told => qr/only nginx knows which file that is/,
			files => {'nginx.conf' => "user root;\n" . conf(site('mail.domain.pl', pair('old')) . "map \$ssl_server_name \$pem { default other; }\n"
					. site('www.other.pl', 'ssl_certificate /etc/old/$pem.crt; ssl_certificate_key /etc/old/$pem.key;'))}},
		{title => 'self-signed by default, refused without a name', at => [$mail, '8445 www.other.pl same'],
			files => {'nginx.conf' => conf("server { listen 127.0.0.1:8445 ssl default_server; ssl_reject_handshake on; }\n" . site('mail.domain.pl', pair('old')) . site('www.other.pl', pair('other')))}},
	);
}

1;
