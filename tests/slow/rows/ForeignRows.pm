# Configurations as people publish them, written anew by somebody who had not written what reads them: what is expected
# of each was put down before it was tried.
package ForeignRows;
use strict;
use warnings;
use ApacheRows;
use Dovecot;
use DovecotRows;
use NginxRows;
use PostfixRows;

# A certificate that nobody signed but itself, of the name.
sub self_signed {
	my ($path, $name) = @_;
	return "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 20 -subj /CN=$name -addext subjectAltName=DNS:$name -keyout $path.key -out $path.crt";
}

sub options { return join '', map { "  -o $_\n" } @_ }
my @submission = ('syslog_name=postfix/$service_name', 'smtpd_tls_security_level=encrypt', 'smtpd_tls_auth_only=yes');
my @wrapped = ('smtpd_tls_wrappermode=yes', 'tls_preempt_cipherlist=yes');

sub postfix {
	my $hosted = {title => 'a host of many domains, its own name in the SNI map too', files => {
			sni => join('', map { "$_->[0] /etc/old/$_->[1].key /etc/old/$_->[1].crt\n" } ['mail.domain.pl', 'old'], ['imap.domain.pl', 'imap'], ['www.other.pl', 'other']),
			'main.cf' => PostfixRows::main(<<'CONF'), 'master.cf' => PostfixRows::master("smtp inet n - n - - smtpd\nsubmission inet n - n - - smtpd\n" . options(@submission) . "smtps inet n - n - - smtpd\n" . options(@wrapped))},
smtpd_use_tls = yes
smtpd_tls_chain_files =
    /etc/old/old.key,
    /etc/old/old.crt

tls_server_sni_maps = hash:/etc/postfix/sni
smtpd_sender_login_maps=
   # people
   texthash:/dev/null,
   # programs
   texthash:/dev/null
tls_preempt_cipherlist = no
smtpd_tls_session_cache_database = btree:${data_directory}/smtpd_scache
CONF
		run => ['postmap -F hash:/etc/postfix/sni'],
		at => ['25 mail.domain.pl new', '587 mail.domain.pl new', '465 mail.domain.pl new', '25 imap.domain.pl new', '465 imap.domain.pl new', '25 www.other.pl same', '587 www.other.pl same']};
	# 192.0.2.11 is not in mynetworks: what comes from there is examined by postscreen, and tlsproxy does its TLS.
	my $screened = {title => 'postscreen, with tlsproxy for strangers', files => {
			'conf/sni.map' => "imap.domain.pl /etc/old/imap.key /etc/old/imap.crt\nwww.other.pl /etc/old/other.key /etc/old/other.crt\n",
			'main.cf' => PostfixRows::main(<<'CONF'), 'master.cf' => PostfixRows::master(<<'MASTER' . options(@wrapped) . "submission inet n - n - - smtpd\n" . options(@submission) . "2525 inet n - n - - smtpd\n" . options('smtpd_tls_auth_only=no', 'smtpd_milters='))},
smtpd_tls_cert_file = /etc/old/old.crt
smtpd_tls_key_file = /etc/old/old.key
tls_server_sni_maps = hash:/etc/postfix/conf/sni.map
mynetworks = 127.0.0.0/8
postscreen_access_list = permit_mynetworks,
  cidr:/etc/postfix/conf/access.cidr
postscreen_bare_newline_enable = yes
postscreen_greet_action = enforce
postscreen_greet_wait = 1s
smtp_tls_cert_file = /etc/old/old.crt
smtp_tls_key_file = /etc/old/old.key
smtpd_hard_error_limit = ${stress?1}${stress:5}
# nothing below by hand #
# overrides #
CONF
smtp inet n - n - 1 postscreen
smtpd pass - - n - - smtpd
  -o smtpd_sasl_auth_enable=no
tlsproxy unix - - n - 0 tlsproxy
dnsblog unix - - n - 0 dnsblog
smtps inet n - n - - smtpd
MASTER
		run => ['postmap -F hash:/etc/postfix/conf/sni.map', 'touch /etc/postfix/conf/access.cidr'],
		at => ['25 mail.domain.pl new', '192.0.2.11:25 mail.domain.pl new', '192.0.2.11:25 www.other.pl same', '192.0.2.11:25 imap.domain.pl new', '465 mail.domain.pl new', '465 www.other.pl same',
			'587 mail.domain.pl new', '2525 mail.domain.pl new', '2525 imap.domain.pl new']};
	return map { {service => 'postfix', %$_} } $hosted, $screened;
}

sub dovecot {
	# A listener without a name that speaks TLS with what is on top.
	my $filters = join '', map { DovecotRows::block(@$_) } ['mail.domain.pl', DovecotRows::pair('old')], ['www.other.pl', DovecotRows::pair('other')], ['www.third.pl', DovecotRows::pair('third')];
	my $several = {title => 'one file with everything, and TLS at doveadm\'s port', at => ['993 mail.domain.pl new', '143 mail.domain.pl new', '993 imap.domain.pl new', '993 none.example new',
			'993 www.other.pl same', '143 www.third.pl same', '4170 imap.domain.pl new'],
		files => {'dovecot.conf' => DovecotRows::conf('!include /etc/dovecot/local/all.conf'),
			'local/all.conf' => Dovecot::words("ssl = yes\n" . DovecotRows::pair('imap') . $filters . <<'CONF')}};
ssl_min_protocol = TLSv1.2
# mail submitted by another program
service doveadm {
  inet_listener {
    port = 4170
    ssl = yes
  }
}
service imap-login {
  client_limit = 1000
  inet_listener imaps {
    port = 993
  }
}
CONF
	my $panel = {title => 'a panel: itself self-signed, a file for each domain', told => qr/left: .*self-signed/,
		run => [self_signed('/etc/dovecot/panel', 'panel.domain.pl')],
		at => ['993 mail.domain.pl new', '995 mail.domain.pl new', '110 mail.domain.pl new', '995 www.other.pl same', '143 www.other.pl same', '993 none.example same', '110 none.example same'],
		files => {'dovecot.conf' => DovecotRows::conf(join("\n", '!include conf.d/*.conf', '!include_try conf.d/domains/*.conf', Dovecot::login_services('pop3')), 'imap pop3'),
			'conf.d/10-ssl.conf' => Dovecot::words("ssl = yes\nssl_min_protocol = TLSv1.2\nssl_cert = </etc/dovecot/panel.crt\nssl_key = </etc/dovecot/panel.key\n"),
			map { ("conf.d/domains/$_->[0].conf" => Dovecot::words("\n" . DovecotRows::block($_->[0], DovecotRows::pair($_->[1])))) } ['mail.domain.pl', 'old'], ['www.other.pl', 'other']}};
	return map { {service => 'dovecot', %$_} } $several, $panel;
}

sub nginx {
	my $snippet = {title => 'one snippet for the default and for all names, whose files are links', files => {
			'nginx.conf' => "user www-data;\nevents {}\nhttp {\n  access_log off;\n  # Files that begin with a dot are not read.\n  include conf.d/*.conf;\n}\n",
			'parts/tls/engine.conf' => "ssl_session_timeout 24h;\nssl_session_tickets off;\n",
			'parts/tls/files.conf' => "# (1) ssl_certificate /never;\n\n# (1)\nssl_certificate /etc/nginx/default.crt;\nssl_certificate_key /etc/nginx/default.key;\n\n# (2)\n# ssl_trusted_certificate /never;\n",
			'conf.d/.draft.conf' => "server { listen 8446 ssl; ssl_certificate /never; }\n",
			'conf.d/00-default.conf' => "server {\n  listen [::]:8445 ssl default_server ipv6only=off deferred;\n  server_name _;\n  include parts/tls/engine.conf;\n  include parts/tls/files.conf;\n  return 444;\n}\n",
			'conf.d/mail.conf' => join('', map { "server {\n  # listen 443 ssl http2;\n  listen [::]:8445 ssl http2;\n  server_name $_;\n  include parts/tls/engine.conf;\n  include parts/tls/files.conf;\n  error_page 404 /404.html;\n}\n" }
				'mail.domain.pl', 'imap.domain.pl'),
			'conf.d/other.conf' => "server {\n  listen [::]:8445 ssl http2;\n  server_name www.other.pl;\n  include parts/tls/engine.conf;\n  ssl_certificate /etc/old/other.crt;\n  ssl_certificate_key /etc/old/other.key;\n}\n"},
		run => ['ln -s ../old/old.crt /etc/nginx/default.crt', 'ln -s ../old/old.key /etc/nginx/default.key'],
		at => ['8445 mail.domain.pl new', '[::1]:8445 mail.domain.pl new', '8445 imap.domain.pl new', '8445 none.example new', '[::1]:8445 www.other.pl same']};
	my $wiki = {title => 'a wiki beside a default without a name', files => {
			'nginx.conf' => "user www-data;\nevents {}\nhttp {\n\tlog_format short '\$remote_addr {\"\$request\"}';\n\tinclude conf.d/*.conf;\n\tinclude sites-enabled/*;\n}\n",
			'conf.d/tls.conf' => "ssl_protocols TLSv1.2 TLSv1.3;\nssl_session_cache shared:SSL:1m;\nssl_stapling on;\nssl_stapling_verify on;\n",
			'headers/default' => "add_header X-Frame-Options SAMEORIGIN;\n",
			'sites-available/0-default' => "server {\n\tlisten 127.0.0.1:8080 default_server;\n\treturn 301 https://\$host\$request_uri;\n}\n\nserver {\n\tlisten 127.0.0.1:8445 ssl default_server;\n\n\tssl_certificate     /etc/old/third.crt;\n\tssl_certificate_key /etc/old/third.key;\n\n\tinclude headers/default;\n\n\tlocation / {\n\t\tautoindex on;\n\t}\n}\n",
			'sites-available/wiki' => <<'CONF', map { ("sites-enabled/$_" => \"../sites-available/$_") } '0-default', 'wiki'},
server {
	listen 127.0.0.1:8445 ssl;
	server_name imap.domain.pl;

	ssl_certificate     /etc/old/old.crt;
	ssl_certificate_key /etc/old/old.key;

	return 301 https://mail.domain.pl$request_uri;
}

server {
	listen 127.0.0.1:8445 ssl;
	server_name mail.domain.pl new.mail.domain.pl;

	ssl_certificate     /etc/old/old.crt;
	ssl_certificate_key /etc/old/old.key;

	include headers/default;

	location ~ ^/w/(skins|extensions)/.+\.(css|js|woff2)$ {
		expires 30d;
	}
	location = /w/api.php {
		if ($http_user_agent ~ "Bot{1,2};") {
			return 403;
		}
	}
	location /wiki/ {
		rewrite ^/wiki/(?<page>.*)$ /w/index.php;
	}
}
CONF
		at => ['8445 mail.domain.pl new', '8445 new.mail.domain.pl new', '8445 imap.domain.pl new', '8445 none.example same']};
	return map { {service => 'nginx', %$_} } $snippet, $wiki;
}

sub apache {
	my $nested = {title => 'macros in macros, the default too', told => qr/ \/etc\/old\/old.crt: left: changes only together with \/etc\/old\/third.crt, which is left: is for www.third.pl, /,
		at => ['8446 mail.domain.pl same', '8446 www.other.pl same', '8446 none.example same'], files => {'apache2.conf' => ApacheRows::conf(<<'CONF', qw(macro setenvif dir))}};
<Macro Pair $pair>
	<IfModule mod_ssl.c>
		SSLEngine on
		SSLCertificateFile /etc/old/$pair.crt
		SSLCertificateKeyFile /etc/old/$pair.key
		SSLProtocol All -SSLv3

		BrowserMatch "MSIE [17-9]" ssl-unclean-shutdown
	</IfModule>
</Macro>

<Macro Names $domain $admin>
	ServerName $domain
	ServerAdmin $admin
</Macro>

<Macro Logs $domain>
	ErrorLog /var/log/apache2/$domain.error.log
</Macro>

<Macro Site $domain $pair>
	<VirtualHost *:8446>
		Use Names $domain admin@localhost
		Use Logs $domain
		Use Pair $pair
	</VirtualHost>
</Macro>

<VirtualHost *:8446>
	ServerAdmin admin@localhost
	Use Logs default
	Use Pair "third"
</VirtualHost>

Use Site mail.domain.pl old
Use Site www.other.pl other
CONF
	my $site = <<'CONF';
<VirtualHost ${HTTPD_LISTEN_TLS}>
    ServerAdmin webmaster@${SERVER_NAME}
    ServerName ${SERVER_NAME}:${TLS_PORT}
    ServerAlias ${SERVER_ALIAS}
    <Directory "/var/www">
        Require all granted
    </Directory>
    SSLEngine on
    SSLCertificateFile /etc/old/${PAIR}.crt
    SSLCertificateKeyFile /etc/old/${PAIR}.key
    #SSLCertificateChainFile /never
    #SSLCACertificatePath /never \
    #SSLCACertificateFile /never
</VirtualHost>
CONF
	my $variables = {title => 'one form for every site, its variables defined anew by each', at => ['8446 mail.domain.pl new', '8446 imap.domain.pl new', '8446 www.other.pl same'],
		files => {'apache2.conf' => ApacheRows::conf("Define TLS_PORT 8446\nDefine HTTPD_LISTEN_TLS *:\${TLS_PORT}\nIncludeOptional sites-enabled/*.conf\n"),
			'sites-enabled/10-mail.conf' => "Define SERVER_NAME mail.domain.pl\nDefine SERVER_ALIAS imap.domain.pl\nDefine PAIR old\n$site",
			'sites-enabled/20-other.conf' => "Define SERVER_NAME www.other.pl\nDefine SERVER_ALIAS other.pl\nDefine PAIR other\n$site"}};
	return map { {service => 'apache2', %$_} } $nested, $variables;
}

sub haproxy {
	my $terminator = {title => 'a port for each certificate in front of a frontend without TLS', run => ['mkdir /etc/haproxy/tls', map { "cp /etc/old/$_->[0].pem /etc/haproxy/tls/$_->[1].pem" } ['old', 'ev.domain'], ['other', 'hg.domain'], ['third', 'star.domain']],
		at => ['8443 mail.domain.pl new', '8444 www.other.pl same', '8445 www.third.pl same', '8446 mail.domain.pl new'], files => {'haproxy.cfg' => <<'CONF'}};
global
    stats socket /run/haproxy.sock mode 660 level admin
    ca-base /etc/ssl/certs
    crt-base /etc/haproxy/tls

    ssl-default-bind-options no-sslv3 no-tls-tickets

defaults
    mode    http
    option  http-server-close
    timeout connect 5000
    timeout client  50000
    timeout server  50000
    monitor-uri /_status


listen tls:
    # crt never.pem
    bind :8443 ssl alpn h2,http/1.1 crt ev.domain.pem
    bind :8444 ssl alpn h2,http/1.1 crt hg.domain.pem
    bind :8445 ssl alpn h2,http/1.1 crt star.domain.pem

    mode tcp

    use-server h2 if { ssl_fc_alpn -i h2 }

    server h2      127.0.0.1:19000 weight 0
    server default 127.0.0.1:19001


frontend main
    bind :20000
    bind 127.0.0.1:19001  # This is where TLS comes from: crt never.pem

    acl is_tls dst_port 19001
    http-request set-header X-Forwarded-Proto https if is_tls
    redirect code 301 scheme https if !is_tls


frontend cdn
    bind :8446 ssl force-tlsv12 crt ev.domain.pem

    timeout client 86400
    http-request deny unless { hdr(Token) -m found }
CONF
	my $same = {title => 'one self-signed file at four ports, named on the command line', words => 'mail.domain.pl',
		run => [self_signed('/etc/haproxy/own', 'mail.domain.pl'), 'mkdir /etc/haproxy/managed', 'cat /etc/haproxy/own.crt /etc/haproxy/own.key > /etc/haproxy/managed/self-signed.pem'],
		at => [map { ("$_ mail.domain.pl new", "$_ none.example new") } 8443 .. 8446],
		files => {'haproxy.cfg' => "# on both sides\n\nglobal\n\tstats socket /run/haproxy.sock mode 600 level admin\n\tmaxconn 2000\n  \ttune.ssl.default-dh-param 2048\n\n\ndefaults\n\tmode http\n\ttimeout connect 5s\n\ttimeout client 5s\n\ttimeout server 5s\n\t\n\n#Plain\nlisten plain\n\tmode http\n\tbind :8082\n\tstats enable  # a page\n    stats uri /status  # its address\n"
			. join '', map { "\n#TLS\nlisten tls-$_->[0]\n\tmode $_->[1]\n\tbind :$_->[0] ssl crt /etc/haproxy/managed/self-signed.pem alpn h2,http/1.1\n\tserver behind $_->[2]\n" }
				[8443, 'http', '127.0.0.1:80'], [8444, 'http', '127.0.0.1:81 check send-proxy-v2'], [8445, 'http', '/run/behind.sock send-proxy-v2'], [8446, 'tcp', '/run/behind.sock send-proxy-v2']}};
	return map { {service => 'haproxy', %$_} } $terminator, $same;
}

sub rows { return (postfix(), dovecot(), nginx(), apache(), haproxy()) }

1;
