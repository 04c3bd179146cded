package PostgresqlRows;
use strict;
use warnings;

my ($version) = map { m{/(\d+)/} } glob '/usr/lib/postgresql/*/bin/postgres';
my $etc = "/etc/postgresql/$version";
my $tls = "$etc/main/tls";
my $data = '/var/lib/postgresql';
my $mail = '5432 mail.domain.pl new';
my $same = '5432 mail.domain.pl same';

sub pair { my ($name) = @_; return "ssl = on\nssl_cert_file = '$tls/$name.crt'\nssl_key_file = '$tls/$name.key'\n" }

# The configuration of a cluster, whose data are in rows or rows2.
sub conf {
	my ($text, $rows) = @_;
	my $own = "$data/" . ($rows // 'rows');
	return "data_directory = '$own'\nhba_file = '$own/pg_hba.conf'\nident_file = '$own/pg_ident.conf'\nunix_socket_directories = '/run/postgresql'\nlisten_addresses = '127.0.0.1'\n$text\n";
}

sub row {
	my ($title, $text, $at, %more) = @_;
	my $files = delete $more{files} // {};
	my $run = delete $more{run} // [];
	return {title => $title, at => $at, files => {"$etc/main/postgresql.conf" => conf($text), map { ("$etc/$_" => $files->{$_}) } keys %$files},
		run => ["find $etc -name '*.conf' -exec chown postgres: {} +", @$run], %more};
}

# Puts a file of /etc/old where it is told, with this owner and mode.
sub put { my ($from, $to, $owner, $mode) = @_; return "install -D -o " . ($owner =~ s/:/ -g /r) . " -m $mode /etc/old/$from $to" }
my $his = 'postgres:postgres';
my $signed = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 -subj /CN=db -keyout $tls/self.key -out $tls/self.crt 2>/dev/null && chown $his $tls/self.*";
my $locked = "openssl pkey -in /etc/old/old.key -aes256 -passout pass:secret -out $tls/locked.key && chown $his $tls/locked.key";
my @snakeoil = ('getent group ssl-cert || groupadd --system ssl-cert', 'usermod -aG ssl-cert postgres', 'install -d -m 0710 -g ssl-cert /etc/ssl/private',
	put('old.crt', '/etc/ssl/certs/ssl-cert-snakeoil.pem', 'root:root', '0644'), put('old.key', '/etc/ssl/private/ssl-cert-snakeoil.key', 'root:ssl-cert', '0640'));
my @two = (clusters => [qw(main second)]);
sub second { my ($name) = @_; return ('second/postgresql.conf' => conf("port = 5433\nssl = on\nssl_cert_file = '$etc/second/db.crt'\nssl_key_file = '$etc/second/db.key'", 'rows2')) }
sub second_files { my ($name) = @_; return map { put("$name.$_", "$etc/second/db.$_", $his, '0600') } qw(crt key) }

sub rows {
	return map { {service => 'postgresql', %$_} } (
		row('one pair', pair('old'), [$mail]),
		row('an included file, and what is not there', "ssl_cert_file = '/never'\ninclude = 'tls.inc'\ninclude_if_exists 'none.inc'\n", [$mail], files => {'main/tls.inc' => pair('old')}),
		row('a directory, comments, no equals sign', "include_dir 'conf.d'\n", [$mail],
			files => {'main/conf.d/10-tls.conf' => "# ssl = off\nSSL true # it's on\nssl_cert_file '$tls/old.crt'\nSSL_Key_File = '$tls/old.key' # '\n", 'main/conf.d/20-tls.off' => "ssl = off\n"}),
		row('of two lines the last', "ssl_cert_file = '/never'\nssl_key_file = '/never'\nssl = off\n" . pair('old'), [$mail]),
		row('of a directory the last', "include_dir 'conf.d'\n", [$mail], files => {'main/conf.d/10.conf' => "ssl = on\nssl_cert_file = '/never'\n", 'main/conf.d/20.conf' => pair('old')}),
		row('no quotes', "ssl = yes\nssl_cert_file = old_pem\nssl_key_file = old_pem\n", [$mail], run => [put('old.pem', "$data/rows/old_pem", $his, '0600')]),
		row('nothing but that TLS is on', 'ssl = on', [$mail], run => [map { put("old.$_", "$data/rows/server.$_", $his, '0600') } qw(crt key)]),
		row('ALTER SYSTEM', pair('other'), [$mail], run => ["printf \"ssl_cert_file = '$tls/old.crt'\\nssl_key_file = '$tls/old.key'\\n\" >$data/rows/postgresql.auto.conf && chown $his $data/rows/postgresql.auto.conf"]),
		row('one file with both', "ssl = on\nssl_cert_file = '$tls/old.pem'\nssl_key_file = '$tls/old.pem'\n", [$mail]),
		row("root's files, with its group", "ssl = on\nssl_cert_file = '$etc/main/db.crt'\nssl_key_file = '$etc/main/db.key'\n", [$mail],
			run => [put('old.crt', "$etc/main/db.crt", 'root:root', '0644'), put('old.key', "$etc/main/db.key", 'root:postgres', '0640')]),
		row("root's file in a directory of root's", "ssl = on\nssl_cert_file = '$tls/old.crt'\nssl_key_file = '/etc/db/db.key'\n", [$same], run => [put('old.key', '/etc/db/db.key', 'root:postgres', '0640')],
			told => qr/ssl_key_file = \/etc\/db\/db\.key: left: root does not read or write it on the word of user postgres/),
		row("the files of Debian's ssl-cert", "ssl = on\nssl_cert_file = '/etc/ssl/certs/ssl-cert-snakeoil.pem'\nssl_key_file = '/etc/ssl/private/ssl-cert-snakeoil.key'\n", [$same], run => \@snakeoil,
			told => qr/snakeoil\.pem: left: belongs to Debian's package ssl-cert, .* write those by `file` in service "postgresql"/),
		row('behind a link', "ssl = on\nssl_cert_file = '$tls/link.crt'\nssl_key_file = '$tls/old.key'\n", [$same], run => ["ln -s old.crt $tls/link.crt"], told => qr/link\.crt: left: it is a link, or behind one/),
		row('another name', pair('other'), ['5432 www.other.pl same'], told => qr/other\.crt: left: is for www\.other\.pl/),
		row('self-signed, and named', pair('self'), [$mail], run => [$signed], words => 'mail.domain.pl --service postgresql'),
		row('self-signed, and not named', pair('self'), [$same], run => [$signed], told => qr/self\.crt: left: self-signed, for db: name the certificate/),
		# The hook's test refuses a cluster without TLS, so nothing of agent.conf is about it.
		row('TLS turned off', pair('old') . "ssl = off\n", ['5432 mail.domain.pl nothing'], services => 'service "none" { hook = "/bin/true" probe = none }'),
		row('RSA', pair('rsa'), [$mail], told => qr/clients that take RSA keys alone would be cut off/),
		row('a key with a passphrase, and parameters', "ssl = on\nssl_cert_file = '$tls/old.crt'\nssl_key_file = '$tls/locked.key'\nssl_passphrase_command = 'echo secret'\nssl_min_protocol_version = 'TLSv1.3'\nssl_ecdh_curve = 'prime256v1'\n",
			[$mail], run => [$locked]),
		row('another port, and addresses', "port = 5433\nlisten_addresses = 'localhost, 192.0.2.11'\n" . pair('old'), ['5433 mail.domain.pl new', '192.0.2.11:5433 mail.domain.pl new']),
		row('every address', "listen_addresses = '*'\n" . pair('old'), [$mail, '192.0.2.11:5432 mail.domain.pl new']),
		row('two clusters', pair('old'), [$mail, '5433 mail.domain.pl new'], @two, files => {second()}, run => [second_files('imap')]),
		row('two clusters, one for another name', pair('old'), [$mail, '5433 www.other.pl same'], @two, files => {second()}, run => [second_files('other')]),
		row('two clusters with one file', pair('old'), [$mail, '5433 mail.domain.pl new'], @two,
			files => {'second/postgresql.conf' => conf("port = 5433\n" . pair('old'), 'rows2')}, run => ["install -d -o postgres $etc/second"]),
		row('a configuration of root\'s', pair('old'), [$mail], run => ["chown root: $etc/main/postgresql.conf"]),
	);
}

1;
