# Services whose configuration adopt does not read: an agent.conf written by hand has a `file` for what they read, and
# adopt names whatever else they serve.
package FileRows;
use strict;
use warnings;

my ($postgres) = map { m{/(\d+)/} } glob '/usr/lib/postgresql/*/bin/postgres';
my $cluster = "/etc/postgresql/$postgres/main";
my %tls = (stunnel => '/etc/stunnel/tls', mariadb => '/etc/mysql/tls', postgresql => "$cluster/tls");
my %owner = (stunnel => 'root', mariadb => 'mysql', postgresql => 'postgres');

# Returns agent.conf's section, which writes mail.crt and mail.key, or mail.pem.
sub section {
	my ($service, $one) = @_;
	my ($tls, $owner) = ($tls{$service}, $owner{$service});
	my $rights = "owner = \"$owner\" group = \"$owner\"";
	my $files = $one ? "file \"$tls/mail.pem\" { content = \"combined\" $rights mode = \"0600\" }"
		: "file \"$tls/mail.crt\" { content = \"fullchain\" $rights mode = \"0644\" } file \"$tls/mail.key\" { content = \"privkey\" $rights mode = \"0600\" }";
	return "service \"$service\" { $files probe = none }";
}

sub row {
	my ($service, $title, $files, $at, %more) = @_;
	return {service => $service, title => $title, files => $files, at => $at, words => '', services => section($service, delete $more{one}), %more};
}

sub tunnel { my ($global, @sections) = @_; return {'web.conf' => join "\n", 'foreground = yes', 'pid = /run/stunnel.pid', $global, @sections, ''} }
sub listener { my ($name, $port, @more) = @_; return ("[$name]", "accept = 127.0.0.1:$port", 'connect = 127.0.0.1:80', @more) }
my ($mail, $other) = ('cert = /etc/stunnel/tls/mail.pem', "cert = /etc/stunnel/tls/other.pem");

sub options { my ($text) = @_; return "bind-address = 127.0.0.1\n$text\n" }
my $maria = options("ssl-cert = $tls{mariadb}/mail.crt\nssl-key = $tls{mariadb}/mail.key");

sub cluster { my ($text, %more) = @_; return {"$cluster/postgresql.conf" => "data_directory = '/var/lib/postgresql/rows'\nhba_file = '/var/lib/postgresql/rows/pg_hba.conf'\n"
			. "ident_file = '/var/lib/postgresql/rows/pg_ident.conf'\nunix_socket_directories = '/run/postgresql'\nlisten_addresses = '127.0.0.1'\n$text\n", map { ("$cluster/$_" => $more{$_}) } keys %more} }
my $pair = "ssl = on\nssl_cert_file = '$tls{postgresql}/mail.crt'\nssl_key_file = '$tls{postgresql}/mail.key'\n";

sub rows {
	return (
		row('stunnel', 'a section with its file', tunnel('', listener('web', 8443, $mail)), ['8443 mail.domain.pl new'], one => 1),
		row('stunnel', 'one file for all sections, and another in one', tunnel($mail, listener('web', 8443), listener('other', 8444, $other)),
			['8443 mail.domain.pl new', '8444 www.other.pl same'], one => 1, told => qr/127\.0\.0\.1:8444 \(stunnel4?\) serves TLS, for www\.other\.pl: adopt does not read/),
		row('stunnel', 'names, comments and blanks', tunnel('; cert = /never', listener('web', 8443, "  CERT   =  $tls{stunnel}/mail.pem  "), '[other]', '# key = /never', 'sni = web:www.other.pl', 'connect = 127.0.0.1:80', $other),
			['8443 mail.domain.pl new', '8443 www.other.pl same'], one => 1),
		row('stunnel', 'nothing of it is written', tunnel('', listener('web', 8443, $other)), ['8443 mail.domain.pl same'], one => 1,
			told => qr/127\.0\.0\.1:8443 \(stunnel4?\) serves TLS, for www\.other\.pl: adopt does not read its configuration: service "stunnel" in agent\.conf/),
		row('mariadb', 'the group of the server', {'mariadb.conf.d/99-tls.cnf' => "[mariadbd]\n$maria"}, ['3306 mail.domain.pl new']),
		row('mariadb', 'underscores, a prefix, and of two files the last', {'mariadb.conf.d/90-tls.cnf' => "[server]\n" . options("ssl_cert = /never\nssl_key = /never"),
				'mariadb.conf.d/99-tls.cnf' => "# ours\n[mysqld]\nloose_ssl_cert = \"$tls{mariadb}/mail.crt\"  # here\n\tloose-ssl-key=$tls{mariadb}/mail.key\n[client]\nssl-cert = /never\n"}, ['3306 mail.domain.pl new']),
		row('mariadb', 'a directory of its own', {'mariadb.conf.d/99-more.cnf' => "!includedir /etc/mysql/more.d\n", 'more.d/tls.cnf' => "[mariadb]\n$maria"}, ['3306 mail.domain.pl new']),
		row('mariadb', 'nothing of it is written', {'mariadb.conf.d/99-tls.cnf' => "[mysqld]\n" . options("ssl-cert = $tls{mariadb}/old.crt\nssl-key = $tls{mariadb}/old.key")}, ['3306 mail.domain.pl same'],
			told => qr/^port 3306 \((mariadbd|mysqld)\) is not root's, so root does not ask what it serves .*: if it is TLS, service "mariadb" in agent\.conf has a hook/m),
		row('postgresql', 'one pair', cluster($pair), ['5432 mail.domain.pl new']),
		row('postgresql', 'an included file, and what is not there', cluster("ssl_cert_file = '/never'\ninclude = 'tls.inc'\ninclude_if_exists 'none.inc'\n", 'tls.inc' => $pair), ['5432 mail.domain.pl new']),
		row('postgresql', 'a directory, comments, no quotes', cluster("include_dir 'conf.d'\n", 'conf.d/10-tls.conf' => "# ssl = off\nSSL true # it's on\nssl_cert_file '$tls{postgresql}/mail.crt'\nssl_key_file = '$tls{postgresql}/mail.key' # '\n"),
			['5432 mail.domain.pl new']),
		row('postgresql', 'nothing of it is written', cluster("ssl = on\nssl_cert_file = '$tls{postgresql}/old.crt'\nssl_key_file = '$tls{postgresql}/old.key'\n"), ['5432 mail.domain.pl same'],
			told => qr/^port 5432 \(postgres\) is not root's, so root does not ask what it serves .*: if it is TLS, service "postgresql" in agent\.conf has a hook/m),
	);
}

1;
