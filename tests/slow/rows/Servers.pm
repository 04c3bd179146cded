# The real servers of adopted.t: where their configuration is, how they start and end, and what their own users may read.
#
#   Servers::prepare($story)         makes users and directories, once, when /etc/old is filled
#   Servers::prepare_data($story, @services)     the data of those that are databases
#   Servers::place('nginx')          the directory of its configuration
#   Servers::clean('nginx')          puts back what the directory had at first, so that no row leaves anything to the next
#   Servers::start($story, $row)     and stop($story, $row)
package Servers;
use strict;
use warnings;
use Courier;
use File::Path qw(make_path);
use Story;

my %place = (nginx => '/etc/nginx', apache2 => '/etc/apache2', dovecot => '/etc/dovecot', postfix => '/etc/postfix', haproxy => '/etc/haproxy',
	exim4 => '/etc/exim4', courier => '/etc/courier', stunnel => '/etc/stunnel', mariadb => '/etc/mysql', postgresql => '/etc/postgresql');
my ($postgres) = map { m{/(\d+)/} } glob '/usr/lib/postgresql/*/bin/postgres';
my $cluster = "/etc/postgresql/$postgres/main";
# What runs as a user of its own reads no key of root's, so it has copies in tls/, with these rights.
my %reader = (exim4 => ['root:Debian-exim', '0640', '/etc/exim4/tls'], courier => ['courier:courier', '0600', '/etc/courier/tls'], stunnel => ['stunnel4:stunnel4', '0600', '/etc/stunnel/tls'],
	mariadb => ['mysql:mysql', '0600', '/etc/mysql/tls'], postgresql => ['postgres:postgres', '0600', "$cluster/tls"]);
my %start = (nginx => 'nginx', apache2 => 'apache2ctl start', dovecot => 'dovecot', postfix => 'postfix start');
my %stop = (nginx => 'nginx -s stop', apache2 => 'apache2ctl stop', dovecot => 'doveadm stop', postfix => 'postfix stop');
my %pid = (nginx => '/run/nginx.pid', apache2 => '/run/apache2/apache2.pid', dovecot => '/run/dovecot/master.pid');
# What stays in the foreground.
my %command = (
	haproxy => sub { my ($row) = @_; return ('/usr/sbin/haproxy', '-W', map { ('-f', $_) } @{$row->{configs} // ['/etc/haproxy/haproxy.cfg']}) },
	exim4 => sub { return qw(exim4 -bdf) },
	# Who comes from an address for which it has no user at all gets no greeting.
	mariadb => sub { return qw(mariadbd --user=mysql --pid-file=/run/mysqld/mysqld.pid --init-file=/etc/old/users.sql) },
);

sub cluster {
	my ($name) = @_;
	return ('setpriv', '--reuid=postgres', '--regid=postgres', '--init-groups', "/usr/lib/postgresql/$postgres/bin/postgres", '-D', "/etc/postgresql/$postgres/$name");
}

sub place { return $place{$_[0]} }

sub prepare {
	my ($story) = @_;
	$story->run("getent passwd $_ || useradd --system --user-group --no-create-home $_") for qw(Debian-exim courier mysql postgres stunnel4);
	make_path(qw(/run/lock /run/apache2 /var/log/apache2 /run/exim4 /var/spool/exim4 /var/log/exim4 /run/courier/authdaemon));
	$story->run('chown Debian-exim: /run/exim4 /var/spool/exim4 /var/log/exim4 && chown -R courier: /var/lib/courier /etc/courier /run/courier');
	$story->run('[ -e /usr/bin/makedat ] || ln -s makedat.courier /usr/bin/makedat');
	$story->run('rm -rf /etc/postgresql /var/lib/postgresql && install -d -o postgres /run/postgresql /var/lib/postgresql && install -d -o mysql /run/mysqld');
	$story->run("install -d -o postgres $cluster && rm -f /etc/stunnel/*.conf && install -d -o stunnel4 /run/stunnel4");
	for my $service (sort keys %reader) {
		my ($owner, $mode, $tls) = @{$reader{$service}};
		$story->run("mkdir -p $tls && cp /etc/old/* $tls/ && chown -R $owner $tls && chmod $mode $tls/*");
	}
	$story->run("cp -a $place{$_} /mnt/$_.first") for sort keys %place;
}

# The databases' data, which their rows share.
sub prepare_data {
	my ($story, @services) = @_;
	my %wanted = map { $_ => 1 } @services;
	Story::write_file('/etc/old/users.sql', "CREATE USER IF NOT EXISTS app\@'192.0.2.%';\n", 0644) if $wanted{mariadb};
	$story->run('rm -rf /var/lib/mysql && install -d -o mysql -g mysql /var/lib/mysql && mariadb-install-db --user=mysql --auth-root-authentication-method=socket --skip-test-db')
		if $wanted{mariadb};
	$story->run("cd / && setpriv --reuid postgres --regid postgres --clear-groups /usr/lib/postgresql/$postgres/bin/initdb -A peer --no-sync -D /var/lib/postgresql/rows && cp -a /var/lib/postgresql/rows /var/lib/postgresql/rows2")
		if $wanted{postgresql};
}

sub clean {
	my ($service) = @_;
	unlink map { "/var/lib/postgresql/rows/$_" } qw(postgresql.auto.conf server.crt server.key old_pem);
	system("rm -rf $place{$service} && cp -a /mnt/$service.first $place{$service}") == 0 or die;
}

# Each configuration of stunnel is a process.
sub tunnels { my ($row) = @_; return map { [s/\.conf$//r, "/etc/stunnel/$_"] } @{$row->{configs} // ['web.conf']} }

sub servers { my ($row) = @_; return @{$row->{servers} // [qw(imapd-ssl)]} }
sub clusters { my ($row) = @_; return @{$row->{clusters} // [qw(main)]} }

sub start {
	my ($story, $row) = @_;
	my $service = $row->{service};
	if ($service eq 'courier') { $story->run(Courier::script($_) . ' start') for servers($row) }
	elsif ($service eq 'postgresql') { $story->start("postgresql-$_", cluster($_)) for clusters($row) }
	elsif ($service eq 'stunnel') { $story->start("stunnel-$_->[0]", 'stunnel4', $_->[1]) for tunnels($row) }
	elsif ($command{$service}) { $story->start($service, $command{$service}->($row)) }
	else { $story->run($row->{start} // $start{$service}) }
}

sub stop {
	my ($story, $row) = @_;
	my $service = $row->{service};
	if ($service eq 'courier') { $story->run(Courier::script($_) . ' stop') for servers($row) }
	elsif ($service eq 'postgresql') { $story->stop("postgresql-$_") for clusters($row) }
	elsif ($service eq 'stunnel') { $story->stop("stunnel-$_->[0]") for tunnels($row) }
	elsif ($command{$service}) { $story->stop($service) }
	else {
		$story->run($stop{$service});
		$story->until('end', sub { !-e ($pid{$service} // '/nonexistent') });
	}
}

1;
