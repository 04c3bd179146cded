#!/usr/bin/perl
# MariaDB and PostgreSQL, both real and run by users of their own: join finds where they serve, adopt has agent.conf
# write their files, looks at their ports before and after, and a renewal is served. Strangers' processes under their
# names are not asked, and what is not theirs to name is neither read nor written.
use strict;
use warnings;
use File::Copy qw(copy);
use File::Path qw(make_path);
use FindBin;
use lib "$FindBin::Bin/../lib";
use Story;
use Test::More;

Story->enter("$FindBin::Bin/../lib/with-packages", 'mariadb-server / postgresql');

my $story = Story->new;
my $top = $story->top;
my $conf = "$top/here/agent.conf";
my ($version) = map { m{/(\d+)/} } glob '/usr/lib/postgresql/*/bin/postgres';
my ($etc, $data) = ("/etc/postgresql/$version/main", "/var/lib/postgresql/$version/main");
my ($exit, $text);

sub put {
	my ($path, $content, $owner, $mode) = @_;
	Story::write_file($path, $content, $mode);
	$story->run("chown $owner $path");
}

sub adopt {
	my (@words) = @_;
	my $output = `timeout 300 $Story::bin/certsync-agent adopt @words -c $conf 2>&1`;
	return ($? >> 8, $output);
}

sub found { return scalar `$Story::bin/../tests/discover_tool $Story::name` }

# ---- the servers, each with an old certificate ----

my %print = map { $_ => $story->pair($_) } qw(old r0 r1);
my ($crt, $key) = map { Story::read_file("$top/old.$_") } qw(crt key);
$story->run("getent passwd $_ || useradd --system --user-group --no-create-home $_") for qw(mysql postgres);
$story->run('rm -rf /var/lib/mysql /etc/postgresql /var/lib/postgresql && install -d -o mysql -g mysql /var/lib/mysql /run/mysqld && mkdir -p /etc/mysql/mariadb.conf.d');
$story->run('mariadb-install-db --user=mysql --auth-root-authentication-method=socket --skip-test-db');
$story->run("install -d -o postgres -g postgres /run/postgresql /etc/postgresql /etc/postgresql/$version $etc && install -d -o postgres -g postgres -m 700 $data");
$story->run("cd / && setpriv --reuid postgres --regid postgres --clear-groups /usr/lib/postgresql/$version/bin/initdb -A peer --no-sync -D $data");
Story::write_file('/etc/mysql/mariadb.conf.d/99-tls.cnf', "[mariadbd]\nssl-cert = /etc/mysql/tls.pem\nssl-key = /etc/mysql/tls.key\nbind-address = 127.0.0.1\n");
put('/etc/mysql/tls.pem', $crt, 'root:root', 0644);
put('/etc/mysql/tls.key', $key, 'mysql:mysql', 0600);

# The configuration of PostgreSQL is its user's.
sub cluster {
	my ($certificate, $own_key) = @_;
	put("$etc/postgresql.conf", join("\n", "data_directory = '$data'", "hba_file = '$data/pg_hba.conf'", "ident_file = '$data/pg_ident.conf'",
		"unix_socket_directories = '/run/postgresql'", "listen_addresses = '127.0.0.1'", 'ssl = on', "ssl_cert_file = '$certificate'", "ssl_key_file = '$own_key'", ''),
		'postgres:postgres', 0644);
}
cluster("$etc/tls.pem", "$etc/tls.key");
put("$etc/tls.pem", $crt, 'root:root', 0644);
put("$etc/tls.key", $key, 'root:postgres', 0640);

ok($story->hub, 'a hub starts') or BAIL_OUT($story->log('hub'));
$story->agent_conf('here', services => <<'CONF');
service "mariadb" { probe = {"127.0.0.1:3306"} }
	service "postgresql" {
		probe = none
	}
CONF
copy($_, "$top/here/hooks/") or die for glob "$Story::bin/hooks/*";
chmod 0755, glob "$top/here/hooks/*";
$story->enrol('here') or BAIL_OUT(Story::read_file("$top/join.log"));
$story->start('mariadb', 'mariadbd', '--user=mysql', '--pid-file=/run/mysqld/mysqld.pid');
$story->start('postgres', 'setpriv', '--reuid', 'postgres', '--regid', 'postgres', '--clear-groups', "/usr/lib/postgresql/$version/bin/postgres", '-D', $etc);
my %ports = (3306 => 'mysql', 5432 => 'postgres');

sub serves {
	my ($what, $certificate) = @_;
	my $left = '';
	$story->until($what, sub { ($left = join ', ', grep { $story->served($_, starttls => $ports{$_}) ne $print{$certificate} } sort keys %ports) eq '' }, 40);
	is($left, '', "$what: on both ports") or diag($story->log('here'));
}
serves('at first', 'old');

# ---- who is asked ----

# Each of these takes one connection after the other and writes down that somebody came. The first is nobody's, the
# second of a user who is a person, and the third of MariaDB's user, which has another program.
$story->run('useradd --no-create-home --uid 1234 person');
my $listener = 'use IO::Socket::INET; my $s = IO::Socket::INET->new(Listen => 9, LocalAddr => "127.0.0.1:$ARGV[0]") or die; while (my $c = $s->accept) { open my $f, ">>", $ARGV[1]; print $f "asked\n" }';
my %strangers = (4001 => ['nobody', 'mariadbd'], 4002 => ['person', 'postgres'], 4003 => ['mysql', 'tail'], 4004 => ['mysql', 'mariadbd']);
chmod 0755, $top;
for my $port (sort keys %strangers) {
	my ($user, $program) = @{$strangers{$port}};
	make_path("$top/strangers/$port");
	copy($^X, "$top/strangers/$port/$program") or die;
	chmod 0755, "$top/strangers/$port/$program";
	$story->run("chown $user $top/strangers/$port");
	$story->start("stranger$port", 'setpriv', "--reuid=$user", '--regid=nogroup', '--clear-groups', "$top/strangers/$port/$program", '-e', $listener, $port, "$top/strangers/$port/asked");
	ok($story->until("stranger$port", sub { `cat /proc/net/tcp` =~ sprintf ':%04X 00000000:0000 0A', $port }), "$user has a $program");
}
sub asked { return join ' ', grep { -e "$top/strangers/$_/asked" } sort keys %strangers }
my $join = found();
my %probes = $join =~ /^\tservice "(\S+)" \{\n(?:\t\t#.*\n)*\t\tprobe = \{(.*)\}/mg;
is($probes{mariadb} // '', '"127.0.0.1:3306"', 'a first agent.conf has where MariaDB listens') or diag($join);
is($probes{postgresql} // '', '"127.0.0.1:5432"', 'and PostgreSQL');
is(asked(), '4004', "of processes under their names only MariaDB's own user's was asked");
like($join, qr/^# port $_ \($strangers{$_}[1]\) is not root's, so root does not ask/m, "that $strangers{$_}[0]'s was not is told") for 4001, 4002;
$story->stop("stranger$_", 'KILL') for sort keys %strangers;

# ---- adopted ----

Story::import($story, 'r0');
$story->start_agent('here');
ok($story->until('files', sub { $story->installed('here') eq $print{r0} }), 'the first revision is installed') or diag($story->log('here'));
serves('before adopt', 'old');
my @files = ('/etc/mysql/tls.pem', '/etc/mysql/tls.key', "$etc/tls.pem", "$etc/tls.key");
my $owners = `stat -c '%n %U %G %a' @files`;
($exit, $text) = adopt();
is($exit, 0, 'adopt shows') or diag($text);
like($text, qr/^\+\t\tfile "\/etc\/mysql\/tls\.key" \{ content = "privkey" owner = "mysql" group = "mysql" mode = "0600" \}$/m, 'the key of MariaDB');
like($text, qr/^\+\t\tfile "\Q$etc\E\/tls\.key" \{ content = "privkey" owner = "root" group = "postgres" mode = "0640" \}$/m, 'and of PostgreSQL');
like($text, qr/^127\.0\.0\.1:$_\b/m, "port $_ is in the table") for sort keys %ports;
serves('shown', 'old');

# A reload that comes to nothing is seen at a port that agent.conf does not name, and undone.
Story::write_file("$top/here/hooks/postgresql", "#!/bin/sh\n[ \"\$1\" != reload ] || exit 0\nexec $Story::bin/hooks/postgresql \"\$1\"\n", 0755);
my $before = `sha256sum $conf @files`;
($exit, $text) = adopt('--apply');
is($exit, 1, 'a reload that comes to nothing fails');
like($text, qr/127\.0\.0\.1:5432\S* does not serve \Q$Story::name\E/, 'the port that still serves the old one is named') or diag($text);
is(scalar `sha256sum $conf @files`, $before, 'all is as it was');
copy("$Story::bin/hooks/postgresql", "$top/here/hooks/") or die;
serves('undone', 'old');

($exit, $text) = adopt('--apply');
is($exit, 0, 'adopt --apply') or diag($text);
serves('adopted', 'r0');
is(scalar `stat -c '%n %U %G %a' @files`, $owners, 'owner, group and mode are as they were');
is((adopt())[1] =~ /nothing to do/ ? 1 : 0, 1, 'a second time there is nothing to do');
Story::import($story, 'r1');
ok($story->until('verified', sub { $story->installed('here') eq $print{r1} && ($story->state_of('here')->{state} // '') =~ /^(verified|unprobed)$/ }, 60), 'a renewal is verified')
	or diag(($story->certsync('status'))[1] . $story->log('here'));
serves('the renewal', 'r1');
is(scalar `stat -c '%n %U %G %a' @files`, $owners, 'owner, group and mode are as they were');

# ---- what is not PostgreSQL's to name ----

make_path('/etc/roots');
put('/etc/roots/tls.pem', $crt, 'root:root', 0644);
put('/etc/roots/tls.key', $key, 'root:postgres', 0640);
put("$etc/own.key", $key, 'postgres:postgres', 0600);
my $roots = `sha256sum /etc/roots/*`;
cluster("$etc/own.pem", '/etc/roots/tls.key');
put("$etc/own.pem", $crt, 'postgres:postgres', 0644);
($exit, $text) = adopt('--apply', '--service', 'postgresql');
like($text, qr/main: ssl_key_file = \/etc\/roots\/tls\.key: left: root does not read or write it on the word of user postgres/, "a key of root's that its user names is left") or diag($text);
cluster('/etc/roots/tls.pem', "$etc/own.key");
($exit, $text) = adopt('--apply', '--service', 'postgresql');
like($text, qr/main: ssl_cert_file = \/etc\/roots\/tls\.pem: left: root does not read or write it/, 'and a certificate') or diag($text);
is(scalar `sha256sum /etc/roots/*`, $roots, 'neither is written');

$story->stop($_) for qw(mariadb postgres);
$story->ends_clean;
done_testing();
