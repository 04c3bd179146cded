#!/usr/bin/perl
# Apache, stunnel, MariaDB and PostgreSQL, all real and on loopback, with their hooks at one agent: each serves a
# renewal, and sessions with the databases are kept; `test` finds what is broken, with nothing changed; stopped services
# get their files; and MariaDB blocks nobody who probes it.
# Not under valgrind: hooks are scripts.
use strict;
use warnings;
use File::Path qw(make_path);
use FindBin;
use lib "$FindBin::Bin/../lib";
use IO::Socket::UNIX;
use Story;
use Test::More;
use Time::HiRes qw(time);

# The story has /etc, /run and /var/lib of its own, and no network but loopback, so that nothing of the machine's
# servers is touched.
Story->enter("$FindBin::Bin/../lib/with-packages", 'apache2 / stunnel4 / mariadb-server / postgresql');

my $story = Story->new;
my $top = $story->top;
my $hooks = "$Story::bin/hooks";
my $live = "$top/here/etc/live/$Story::name";
my ($exit, $text);

# ---- the servers ----

my %users = (postgres => '', mysql => '');
my ($postgres) = map { m{/(\d+)/} } glob '/usr/lib/postgresql/*/bin/postgres';
my @cluster = ("/etc/postgresql/$postgres/main", "/var/lib/postgresql/$postgres/main");

sub apache_conf {
	my (@more) = @_;
	Story::write_file('/etc/apache2/sites-enabled/tls.conf', join "\n", '<VirtualHost 127.0.0.1:443>', 'ServerName mail.domain.pl', 'SSLEngine on',
		"SSLCertificateFile $live/combined.pem", '</VirtualHost>', @more, '');
}

sub stunnel_conf {
	my ($pem) = @_;
	Story::write_file('/etc/stunnel/web.conf', join "\n", 'foreground = yes', 'pid = /run/stunnel.pid', '[web]', 'accept = 127.0.0.1:8443',
		'connect = 127.0.0.1:80', "cert = $pem", '');
}

sub mariadb_conf {
	my (@more) = @_;
	Story::write_file('/etc/mysql/mariadb.conf.d/99-tls.cnf', join "\n", '[mariadbd]', 'ssl-cert = /etc/mysql/tls.pem', 'ssl-key = /etc/mysql/tls.key',
		'bind-address = 0.0.0.0', @more, '');
}

sub postgres_conf {
	my (@more) = @_;
	Story::write_file("$cluster[0]/postgresql.conf", join "\n", "data_directory = '$cluster[1]'", "hba_file = '$cluster[1]/pg_hba.conf'",
		"ident_file = '$cluster[1]/pg_ident.conf'", 'ssl = on', "ssl_cert_file = '$cluster[0]/tls.pem'", "ssl_key_file = '$cluster[0]/tls.key'",
		"unix_socket_directories = '/run/postgresql'", "listen_addresses = '127.0.0.1'", @more, '');
	$story->run("chown postgres: $cluster[0]/postgresql.conf");
}

sub up {
	$story->run("getent passwd $_ || useradd --system --user-group --no-create-home $_") for sort keys %users;
	$story->run('ip address add 192.0.2.7/32 dev lo && echo "192.0.2.7 client.domain.pl" >>/etc/hosts');
	make_path(qw(/run/apache2 /run/lock/apache2 /run/mysqld /run/postgresql /var/log/apache2 /etc/apache2/sites-enabled /etc/stunnel /etc/mysql/mariadb.conf.d), @cluster);
	$story->run('cd /etc/apache2 && mkdir -p mods-enabled && cd mods-enabled && for m in ssl socache_shmcb; do ln -sf ../mods-available/$m.load .; done;' .
		' for m in mpm_event authz_core; do ln -sf ../mods-available/$m.load .; done');
	$story->run('rm -f /etc/apache2/sites-enabled/* /etc/stunnel/*.conf; printf "Listen 127.0.0.1:80\nListen 127.0.0.1:443\n" >/etc/apache2/ports.conf');
	$story->run('rm -rf /var/lib/mysql && install -d -o mysql -g mysql /var/lib/mysql /run/mysqld && install -d -o postgres /run/postgresql');
	$story->run('mariadb-install-db --user=mysql --auth-root-authentication-method=socket --skip-test-db');
	$story->run("rm -rf /etc/postgresql /var/lib/postgresql && install -d -o postgres -m 700 $cluster[1] && install -d -o postgres $cluster[0]");
	$story->run("cd / && setpriv --reuid postgres --regid postgres --clear-groups /usr/lib/postgresql/$postgres/bin/initdb -A peer --no-sync -D $cluster[1]");
	apache_conf();
	stunnel_conf("$live/combined.pem");
	mariadb_conf();
	postgres_conf();
}

sub start_all {
	$story->start('apache', 'apache2ctl', '-DFOREGROUND');
	$story->start('stunnel', 'stunnel4', '/etc/stunnel/web.conf');
	$story->start('mariadb', 'mariadbd', '--user=mysql', '--pid-file=/run/mysqld/mysqld.pid');
	$story->start('postgres', 'setpriv', '--reuid', 'postgres', '--regid', 'postgres', '--clear-groups', "/usr/lib/postgresql/$postgres/bin/postgres", '-D', $cluster[0]);
}

# ---- what is seen ----

my %ports = ('127.0.0.1:443' => '', '127.0.0.1:8443' => '', '127.0.0.1:3306' => 'mysql', '127.0.0.1:5432' => 'postgres');

sub all_serve {
	my ($fingerprint, $what) = @_;
	my @wrong;
	$story->until('all', sub { !(@wrong = grep { $story->served($_, starttls => $ports{$_}) ne $fingerprint } sort keys %ports) }, 10);
	is("@wrong", '', "$what: on all " . keys(%ports) . ' ports');
}

# Checks that a renewal is halted where every service is tested, told with the service's own words, and that nothing has
# changed.
sub refused {
	my ($what, $fingerprint, $like) = @_;
	($exit, $text) = $story->certsync('push');
	is($exit, 3, "$what: push does not converge") or diag($text);
	like($text, $like, "$what: the reason is told");
	is($story->installed('here'), $fingerprint, "$what: the old certificate is installed");
}

# Asks a database in a session that stays open, and returns the answer.
sub session {
	my (@command) = @_;
	pipe(my $in, my $to) or die;
	pipe(my $from, my $out) or die;
	my $pid = fork // die;
	if (!$pid) {
		open STDIN, '<&', $in or die;
		open STDOUT, '>&', $out or die;
		close $_ for $to, $from;
		exec @command or die;
	}
	close $_ for $in, $out;
	$to->autoflush(1);
	return {to => $to, from => $from, pid => $pid};
}

sub asked {
	my ($session) = @_;
	local $SIG{ALRM} = sub { die "no answer\n" };
	alarm 10;
	my $answer = eval { print { $session->{to} } "SELECT 41+1;\n"; readline $session->{from} } // $@;
	alarm 0;
	chomp $answer;
	return $answer;
}

# ---- the story ----

up();
my $first = $story->pair('first');
ok($story->hub, 'a hub starts') or BAIL_OUT($story->log('hub'));
$story->import('first');
$story->agent_conf('here', services => <<"SERVICES");
	service "apache2" { hook = "$hooks/apache2" probe = {"127.0.0.1:443"} }
	service "stunnel" { hook = "$hooks/stunnel" probe = {"127.0.0.1:8443"} }
	service "mariadb" {
		hook = "$hooks/mariadb"
		file "/etc/mysql/tls.pem" { content = "fullchain" mode = "0644" }
		file "/etc/mysql/tls.key" { content = "privkey" owner = "mysql" group = "mysql" }
		probe = {"127.0.0.1:3306"}
	}
	service "postgresql" {
		hook = "$hooks/postgresql"
		file "$cluster[0]/tls.pem" { content = "fullchain" mode = "0644" }
		file "$cluster[0]/tls.key" { content = "privkey" group = "postgres" mode = "0640" }
		probe = {"127.0.0.1:5432"}
	}
SERVICES
$story->enrol('here') or BAIL_OUT(Story::read_file("$top/join.log"));
$story->start_agent('here');
ok($story->until_state('here', 'installed (stopped)', 90), 'nothing is running: all files are installed') or BAIL_OUT($story->log('here'));
ok($story->state_of('here')->{stopped}, 'and that is shown as stopped');
for (['/etc/mysql/tls.key', 'mysql:mysql 600'], ["$cluster[0]/tls.key", 'root:postgres 640']) {
	chomp(my $got = `stat -c '%U:%G %a' $_->[0]`);
	is($got, $_->[1], "$_->[0] belongs to whom it should");
}

start_all();
all_serve($first, 'all are started') or BAIL_OUT(join "\n", map { $story->log($_) } qw(apache stunnel mariadb postgres));
my @sessions = (session(qw(mariadb --no-defaults --skip-ssl --unbuffered --batch --skip-column-names)),
	session(qw(setpriv --reuid postgres --regid postgres --clear-groups psql -XAtq -h /run/postgresql postgres)));
is(asked($_), 42, 'a session') for @sessions;

my $second = $story->pair('second', days => 21);
my $begun = time;
($exit, $text) = $story->import('second');
is($exit, 0, 'a renewal arrives') or diag($text, $story->log('here'));
note(sprintf 'verified on all ports after %.1f s', time - $begun);
all_serve($second, 'the renewal');
ok(!$story->state_of('here')->{stopped}, 'nothing is stopped');
is(asked($_), 42, 'the session is kept') for @sessions;
unlike($story->log('postgres'), qr/could not accept SSL|incomplete startup|invalid length/, 'PostgreSQL has nothing to say about probes');

# Each configuration is broken in turn, while the third certificate waits.
my $third = $story->pair('third', days => 22);
apache_conf('Nonsense on');
is(($story->import('third'))[0], 3, 'a third comes while Apache\'s configuration is broken');
refused('Apache', $second, qr/Nonsense/);
apache_conf();
stunnel_conf("$top/absent.pem");
refused('stunnel', $second, qr/absent\.pem, which cannot be read/);
stunnel_conf("$live/combined.pem");
mariadb_conf('nonsense = 1');
refused('MariaDB', $second, qr/nonsense/);
mariadb_conf();
postgres_conf('nonsense = 1');
refused('PostgreSQL', $second, qr/nonsense/);
postgres_conf();
all_serve($second, 'through all of this the second');
($exit, $text) = $story->certsync('push');
is($exit, 0, 'mended, push brings the third') or diag($text, $story->log('here'));
all_serve($third, 'the third');
is(asked($_), 42, 'the session is kept') for @sessions;

# The probes come from an address that MariaDB counts, unlike 127.0.0.1, and are far more than it takes errors.
$story->run('mariadb --no-defaults --skip-ssl -e "SET GLOBAL max_connect_errors=5; CREATE USER app@\'%\' IDENTIFIED BY \'secret\'"');
my @answers = map { scalar `$Story::bin/certsync check 192.0.2.7:3306 --anchors $top/ca.pem --json 2>&1` } 1 .. 20;
is(scalar(grep { /$third/i } @answers), 20, 'twenty looks at MariaDB see its certificate') or diag($answers[-1]);
unlike(join('', @answers), qr/is blocked/, 'and nobody is blocked');
for (1 .. 6) {
	my $rude = IO::Socket::INET->new('192.0.2.7:3306') or die $!;
	$rude->sysread(my $greeting, 4);
}
like(scalar `$Story::bin/certsync check 192.0.2.7:3306 --anchors $top/ca.pem 2>&1`, qr/is blocked/, 'as who hangs up before the login is');

close $_->{to} for @sessions;
waitpid $_->{pid}, 0 for @sessions;
$story->stop($_) for qw(apache stunnel mariadb postgres);
my $fourth = $story->pair('fourth', days => 23);
($exit, $text) = $story->import('fourth');
is($exit, 0, 'a fourth with all of them stopped') or diag($text);
ok($story->state_of('here')->{stopped}, 'which is shown as stopped');
is($story->fingerprint($_), $fourth, "$_ is the fourth's") for '/etc/mysql/tls.pem', "$cluster[0]/tls.pem";

# What the hooks' `test` finds by itself is looked at without an agent that would mend it.
$story->stop('here');

sub hook_says {
	my ($what, $hook, $like, $path) = @_;
	my $said = `env -i PATH=${\($path // '')}$ENV{PATH} CERTSYNC_SERVICE=$hook $hooks/${\($hook =~ s/-.*//r)} test 2>&1`;
	is($? >> 8, $like ? 1 : 0, $what) or diag($said);
	like($said, $like, "$what: it says so") if $like;
}

hook_says('one cluster by its name', "postgresql-$postgres-main");
my $plain = "/etc/postgresql/$postgres/plain";
make_path($plain);
Story::write_file("$plain/postgresql.conf", "data_directory = '$cluster[1]'\nssl = off\n");
$story->run("chown -R postgres: $plain");
hook_says('a cluster without TLS beside it', 'postgresql');
hook_says('one without TLS by its name', "postgresql-$postgres-plain", qr/plain\/postgresql\.conf has ssl = off/);
$story->run("rm -r $plain");
hook_says('a cluster that there is not', "postgresql-$postgres-other", qr/there is no .*$postgres\/other/);
chmod 0644, "$cluster[0]/tls.key";
hook_says('a key that PostgreSQL refuses', 'postgresql', qr/PostgreSQL refuses .*tls\.key/);
chmod 0600, "$cluster[0]/tls.key";
hook_says('a key that PostgreSQL cannot read', 'postgresql', qr/user postgres cannot read/);
hook_says('one stunnel by its name', 'stunnel-web');
Story::write_file('/etc/stunnel/web.conf', "chroot = /var/empty\n" . Story::read_file('/etc/stunnel/web.conf'));
hook_says('a stunnel that could not read it anew', 'stunnel', qr/chroot = \/var\/empty, and a reload needs/);
# A key of another certificate: Apache's own test passes, and its graceful reload would end it; stunnel's sections have the key that
# stands before them all, if one does.
apache_conf('<VirtualHost 127.0.0.1:443>', 'ServerName other', 'SSLEngine on', "SSLCertificateFile $top/first.crt", "SSLCertificateKeyFile \\", "  \"$top/second.key\"",
	'</VirtualHost>');
hook_says('a key that is another certificate\'s', 'apache2', qr{the key in \Q$top\E/second.key is not that of the certificate in \Q$top\E/first.crt});
apache_conf('<VirtualHost 127.0.0.1:443>', 'ServerName other', 'SSLEngine on', "SSLCertificateFile $top/first.crt", "SSLCertificateKeyFile $top/first.key", '</VirtualHost>');
hook_says('a key of its own', 'apache2');
apache_conf();
Story::write_file('/etc/stunnel/web.conf', join "\n", 'pid = /run/stunnel.pid', "cert = $top/first.crt", "key = $top/first.key", '[web]', 'accept = 127.0.0.1:8443',
	'connect = 127.0.0.1:80', "cert = $live/combined.pem", '');
hook_says('a section that has the common key', 'stunnel', qr{the key in \Q$top\E/first.key is not that of the certificate in \Q$live\E/combined.pem});
Story::write_file('/etc/stunnel/web.conf', Story::read_file('/etc/stunnel/web.conf') . "key = $live/combined.pem\n");
hook_says('a section with its own', 'stunnel');
# A reload reads everything as the user that it has become, and opens its ports as him.
make_path('/etc/stunnel/conf.d');
sub stunnel_includes { my ($port, $pem) = @_; Story::write_file('/etc/stunnel/conf.d/10-web', join "\n", '[web]', "accept = 127.0.0.1:$port", 'connect = 127.0.0.1:80', "cert = $pem", '') }
Story::write_file('/etc/stunnel/web.conf', "setuid = nobody\nInclude = /etc/stunnel/conf.d\n");
Story::write_file('/etc/stunnel/conf.d/00-pid', "pid = /run/stunnel.pid\n");
Story::write_file('/etc/stunnel/own.pem', Story::read_file("$top/first.key") . Story::read_file("$top/first.crt"), 0644);
stunnel_includes(8443, '/etc/stunnel/own.pem');
hook_says('a stunnel that gives up root and includes a directory', 'stunnel');
stunnel_includes('https', '/etc/stunnel/own.pem');
hook_says('one that could not open its port again', 'stunnel', qr/opens accept = 127\.0\.0\.1:https again, which only root can/);
stunnel_includes(8443, "$top/absent.pem");
hook_says('an included file that names what is not there', 'stunnel', qr/absent\.pem, which cannot be read/);
stunnel_includes(8443, '/etc/stunnel/own.pem');
chmod 0600, '/etc/stunnel/own.pem';
hook_says('a user who cannot read its key', 'stunnel', qr{setuid = nobody, who cannot read /etc/stunnel/own\.pem});
hook_says('an instance of Apache that there is not', 'apache2-other', qr/apache2-other\/envvars cannot be read/);
hook_says('MariaDB', 'mariadb');
$story->run('chown root: /etc/mysql/tls.key');
hook_says('a key that MariaDB cannot read', 'mariadb', qr/user mysql cannot read/);
# The hook asks a server as root, and the server might ask for a file in turn.
make_path("$top/client");
Story::write_file("$top/client/mariadb", "#!/bin/sh\necho \"\$*\" >$top/client/words\n", 0755);
$story->run('rm -f /run/mysqld/mysqld.sock');
my $listens = IO::Socket::UNIX->new(Local => '/run/mysqld/mysqld.sock', Listen => 1) or BAIL_OUT("no socket: $!");
is(system("env -i PATH=$top/client:$ENV{PATH} $hooks/mariadb reload"), 0, 'MariaDB\'s client is run');
like(Story::read_file("$top/client/words"), qr/^--no-defaults --local-infile=0 /, 'and gives the server no file of this node');
# These doubles only say their version, since Debian 12 has no others.
make_path("$top/old");
for (['10.3.39-MariaDB', qr/10\.4 and later, and this is 10\.3/], ['8.0.36 for Linux on x86_64', qr/this is not MariaDB/]) {
	Story::write_file("$top/old/mariadbd", "#!/bin/sh\necho mysqld  Ver $_->[0]\n", 0755);
	hook_says("version $_->[0]", 'mariadb', $_->[1], "$top/old:");
}
$story->ends_clean;
done_testing;
