package ApacheRows;
use strict;
use warnings;

sub pair { my ($name) = @_; return "SSLCertificateFile /etc/old/$name.crt\n\tSSLCertificateKeyFile /etc/old/$name.key\n" }
sub site { my ($name, $text, $where) = @_; return "<VirtualHost " . ($where // '*:8446') . ">\n\tServerName $name\n\tSSLEngine on\n\t$text</VirtualHost>\n" }

sub conf {
	my ($text, @modules) = @_;
	return join "\n", 'ServerName localhost', 'DefaultRuntimeDir /run/apache2', 'PidFile ${APACHE_PID_FILE}', 'ErrorLog /var/log/apache2/error.log',
		(map { "LoadModule ${_}_module /usr/lib/apache2/modules/mod_$_.so" } qw(mpm_event authz_core socache_shmcb ssl), @modules),
		'User www-data', 'Group www-data', 'Listen 127.0.0.1:8446', 'Listen 192.0.2.11:8446', $text;
}

my $mail = '8446 mail.domain.pl new';
my $other = '8446 www.other.pl same';

sub rows {
	return map { {service => 'apache2', %$_} } (
		{title => 'one host', files => {'apache2.conf' => conf(site('mail.domain.pl', pair('old')))}, at => [$mail]},
		{title => 'a certificate for each name', files => {'apache2.conf' => conf(site('mail.domain.pl', pair('old')) . site('www.other.pl', pair('other')))}, at => [$mail, $other]},
		{title => 'certificate in a snippet, key in the host', at => [$mail, $other], files => {'snippets/c.conf' => "SSLCertificateFile /etc/old/old.crt\n",
				'apache2.conf' => conf(site('mail.domain.pl', "Include snippets/c.conf\n\tSSLCertificateKeyFile /etc/old/old.key\n") . site('www.other.pl', pair('other')))}},
		{title => 'SSLEngine in a file that the hosts include', at => [$mail, $other], files => {'options.conf' => "# of a client\nSSLEngine on\nSSLProtocol all -TLSv1.1\n",
				'sites-available/le.conf' => "<IfModule mod_ssl.c>\n<VirtualHost *:8446>\nServerName mail.domain.pl\n" . pair('old') . "Include options.conf\n</VirtualHost>\n</IfModule>\n",
				'sites-enabled/le.conf' => \'../sites-available/le.conf',
				'apache2.conf' => conf("IncludeOptional sites-enabled/*.conf\n" . site('www.other.pl', pair('other')))}},
		{title => 'one macro for hosts of different names', at => ['8446 mail.domain.pl same', $other], told => qr/ \/etc\/old\/old.crt: left: changes only together with \/etc\/old\/other.crt, which is left: is for www.other.pl, /,
			files => {'apache2.conf' => conf("<Macro Site \$host \$pair>\n" . site('$host', pair('$pair')) . "</Macro>\nUse Site mail.domain.pl old\nUse Site www.other.pl other\nUndefMacro Site\n", 'macro')}},
		{title => 'one macro for one name', at => [$mail, $other],
			files => {'apache2.conf' => conf("<Macro Site \$host \$pair>\n" . site('$host', pair('$pair')) . "</Macro>\nUse Site mail.domain.pl old\n" . site('www.other.pl', pair('other')), 'macro')}},
		{title => 'a macro for all names that ours has', at => [$mail, '8446 imap.domain.pl new'],
			files => {'apache2.conf' => conf("<Macro Site \$host \$pair>\n" . site('$host', pair('$pair')) . "</Macro>\nUse Site mail.domain.pl old\nUse Site imap.domain.pl imap\n", 'macro')}},
		{title => 'variables', at => [$mail, $other], files => {'apache2.conf' => conf("Define tls /etc/old\nDefine mail \${tls}/old\n"
					. site('mail.domain.pl', "SSLCertificateFile \${mail}.crt\nSSLCertificateKeyFile \"\${mail}.key\"\n") . site('www.other.pl', pair('other')))}},
		{title => 'relative paths below ServerRoot', at => [$mail], run => ['mkdir -p /etc/apache2/tls', 'cp /etc/old/old.crt /etc/old/old.key /etc/apache2/tls/'],
			files => {'apache2.conf' => conf(site('mail.domain.pl', "SSLCertificateFile tls/old.crt\nSSLCertificateKeyFile tls/old.key\n"))}},
		{title => 'what no condition lets through', at => [$mail], files => {'apache2.conf' => conf("<IfDefine NEVER>\n" . site('www.other.pl', pair('other')) . "</IfDefine>\n<IfModule !mod_ssl.c>\n"
					. site('www.third.pl', pair('third')) . "</IfModule>\n<IfModule mod_md.c>\nMDomain www.other.pl\n</IfModule>\n" . site('mail.domain.pl', pair('old')))}},
		{title => 'comments and continued lines', at => [$mail, $other], files => {'apache2.conf' => conf(<<'CONF')}},
# <VirtualHost *:8446>
#	SSLCertificateFile /never \
	SSLCertificateFile /never
<virtualhost   *:8446 >
	servername MAIL.domain.pl
	sslengine ON
	SSLCertificateFile \
		"/etc/old/old.crt"
	SSLCertificateKeyFile '/etc/old/old.key'
</virtualhost>
<VirtualHost *:8446>
	ServerName www.other.pl:443
	SSLEngine on
	SSLCertificateFile /etc/old/other.pem
</VirtualHost>
CONF
		{title => 'RSA and ECDSA side by side', at => ['8446 mail.domain.pl rsa same', '8446 mail.domain.pl ecdsa same'], told => qr/left: RSA and ECDSA stand side by side/,
			files => {'apache2.conf' => conf(site('mail.domain.pl', pair('old') . pair('rsa')))}},
		{title => 'by the address', at => ['127.0.0.1:8446 mail.domain.pl new', '192.0.2.11:8446 mail.domain.pl same'],
			files => {'apache2.conf' => conf(site('mail.domain.pl', pair('old'), '127.0.0.1:8446') . site('mail.domain.pl', pair('other'), '192.0.2.11:8446'))}},
		{title => 'a snippet with a pair for two hosts', at => [$mail, '8446 imap.domain.pl new'], files => {'snippets/pair.conf' => pair('old'),
				'apache2.conf' => conf(site('mail.domain.pl', "Include snippets/pair.conf\n") . site('imap.domain.pl', "Include snippets/pair.conf\n"))}},
		{title => 'no virtual host', at => [$mail], files => {'apache2.conf' => conf("SSLEngine on\n" . pair('old'))}},
		{title => 'a chain in a file of its own', at => [$mail], files => {'apache2.conf' => conf(site('mail.domain.pl', pair('old') . "SSLCertificateChainFile /etc/old/other.crt\n"))}},
	);
}

1;
