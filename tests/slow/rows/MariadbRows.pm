package MariadbRows;
use strict;
use warnings;

my $tls = '/etc/mysql/tls';
my $data = '/var/lib/mysql';
my ($version) = (`mariadbd --no-defaults --version 2>/dev/null` =~ /Ver (\d+\.\d+)/, '10.11');
my $mail = '3306 mail.domain.pl new';
my $same = '3306 mail.domain.pl same';
my $here = "bind-address = 127.0.0.1\n";

sub pair { my ($name) = @_; return "ssl-cert = $tls/$name.crt\nssl-key = $tls/$name.key\n" }
sub row {
	my ($title, $text, $at, %more) = @_;
	my $files = delete $more{files} // {};
	return {title => $title, at => $at, files => {'mariadb.conf.d/99-tls.cnf' => $text, %$files}, %more};
}

# Puts a file of /etc/old where it is told, with this owner and mode.
sub put { my ($from, $to, $owner, $mode) = @_; return "install -D -o " . ($owner =~ s/:/ -g /r) . " -m $mode /etc/old/$from $to" }
my $signed = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 -subj /CN=db -keyout $tls/self.key -out $tls/self.crt 2>/dev/null && chown mysql: $tls/self.*";

sub rows {
	return map { {service => 'mariadb', %$_} } (
		row("the server's group", "[mariadbd]\n$here" . pair('old'), [$mail]),
		row('the group of all servers', "[server]\n$here" . pair('old'), [$mail]),
		row("MySQL's group", "[mysqld]\n$here" . pair('old'), [$mail]),
		row("this version's group", "[mariadb-9.9]\nssl-cert = /never\n[mariadb-$version]\n$here" . pair('old') . "[mysqld-9.9]\nssl-key = /never\n", [$mail]),
		row('underscores, a prefix, quotes, and of two files the last', "# ours\n[mysqld]\n$here" . "loose_ssl_cert = \"$tls/old.crt\"  # here\n\tloose-ssl-key='$tls/old.key'\n", [$mail],
			files => {'mariadb.conf.d/90-tls.cnf' => "[server]\nssl_cert = /never\nssl_key = /never\n"}),
		row('of two lines the last', "[mysqld]\n$here" . "ssl_key = /never\n" . pair('old') . "[server]\n", [$mail]),
		row('comments in odd places', "; ssl-cert = /never\n[mysqld] # not [client]\n$here#ssl-cert = /never\n   ssl-cert   =   $tls/old.crt   # the old one = old\nssl-key=$tls/old.key\n;ssl-key = /never\n", [$mail]),
		row('a directory of its own', "!includedir /etc/mysql/more.d\n", [$mail], files => {'more.d/tls.cnf' => "[mariadb]\n$here" . pair('old'), 'more.d/tls.off' => "[mariadb]\nssl-cert = /never\n"}),
		row('an included file, and what stands behind it', "[mysqld]\nssl-cert = /never\n!include /etc/mysql/tls.inc\n", [$mail], files => {'tls.inc' => "[mysqld]\n$here" . pair('old')}),
		row("the client's group", "[mysqld]\n$here" . pair('old') . "[client]\nssl-cert = /never\n[client-mariadb]\nssl-key = /never\n", [$mail]),
		row('one file with both', "[mysqld]\n$here" . "ssl-cert = $tls/old.pem\nssl-key = $tls/old.pem\n", [$mail]),
		row('one file, named once', "[mysqld]\n$here" . "ssl-cert = $tls/old.pem\n", [$mail]),
		row("paths below the data's directory", "[mysqld]\n$here" . "ssl-cert = tls/old.crt\nssl-key = ./tls/old.key\n", [$mail], run => [map { put("old.$_", "$data/tls/old.$_", 'mysql:mysql', '0600') } qw(crt key)]),
		row('the key elsewhere, which root gave the group', "[mysqld]\n$here" . "ssl-cert = $tls/old.crt\nssl-key = /etc/mysql/keys/db.key\n", [$mail], run => [put('old.key', '/etc/mysql/keys/db.key', 'root:mysql', '0640')]),
		row('behind a link', "[mysqld]\n$here" . "ssl-cert = $tls/link.pem\n", [$same], run => ["ln -s old.pem $tls/link.pem"], told => qr/ssl-cert \S*link\.pem: left: is no regular file/),
		row('another name', "[mysqld]\n$here" . pair('other'), ['3306 www.other.pl same'], told => qr/other\.crt: left: is for www\.other\.pl/),
		row('self-signed, and named', "[mysqld]\n$here" . pair('self'), [$mail], run => [$signed], words => 'mail.domain.pl --service mariadb'),
		row('self-signed, and not named', "[mysqld]\n$here" . pair('self'), [$same], run => [$signed], told => qr/self\.crt: left: self-signed, for db: name the certificate/),
		row('another port and address', "[mysqld]\nport = 3307\nbind_address = 192.0.2.11\n" . pair('old'), ['192.0.2.11:3307 mail.domain.pl new']),
		row('a list of addresses', "[mysqld]\nbind-address = 127.0.0.1,192.0.2.11\n" . pair('old'), [$mail, '192.0.2.11:3306 mail.domain.pl new']),
		row('every address', "[mysqld]\nbind-address = *\n" . pair('old'), [$mail, '192.0.2.11:3306 mail.domain.pl new']),
		row('TLS turned off', "[mysqld]\n$here" . pair('old') . "skip-ssl\n", ['3306 mail.domain.pl nothing'], told => qr/a later line turns TLS off/),
		row('turned off before a line that turns it on', "[mysqld]\n$here" . "ssl = 0\n" . pair('old'), [$mail]),
		row('a port beside', "[mysqld]\n$here" . "port = 3306\nextra_port = 3307\n" . pair('old'), [$mail, '3307 mail.domain.pl new']),
		row('RSA', "[mysqld]\n$here" . pair('rsa'), [$mail], told => qr/clients that take RSA keys alone would be cut off/),
		row('issuers, versions and ciphers beside', "[mysqld]\n$here" . "ssl-ca = /etc/ssl/certs/ca-certificates.crt\ntls_version = TLSv1.2,TLSv1.3\n" . pair('old') . "ssl_cipher = ECDHE-ECDSA-AES128-GCM-SHA256\n", [$mail]),
		row("option files of its user's, and files of his", "[mysqld]\n$here" . pair('old'), [$mail], run => ['chown -R mysql /etc/mysql/mariadb.conf.d']),
		row("option files of its user's, and a file of root's", "[mysqld]\n$here" . "ssl-cert = $tls/old.crt\nssl-key = /etc/db/db.key\n", [$same],
			run => ['chown -R mysql /etc/mysql/mariadb.conf.d', put('old.key', '/etc/db/db.key', 'root:mysql', '0640')], told => qr/ssl-key = \/etc\/db\/db\.key: left: root does not read or write it on the word of user mysql/),
	);
}

1;
