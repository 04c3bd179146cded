#!/usr/bin/perl
# A local user who means ill on a node with every hook. For each service he has processes of its name whose words name
# root's files, one of them a setuid program; he writes its pid file and makes its socket wherever a mistake in the
# configuration lets him; and he puts links and FIFOs where root is about to look. Root's process of the service must be
# told of what is new all the same. strace(1), inotify(7) and the signals that his processes note say what root did, and
# it must have opened, run, signalled and told nothing of his. The services are stand-ins of root's, since it is tried
# whom a hook believes; services/ has the real ones.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Dovecot;
use File::Copy qw(copy);
use File::Path qw(make_path);
use IO::Socket::INET;
use IO::Socket::UNIX;
use Needs;
use POSIX ();
use Story;
use Test::More;
use Time::HiRes qw(time sleep);

needs(qw(/usr/bin/strace /usr/bin/doveconf /usr/sbin/nginx /usr/sbin/apache2 /usr/sbin/mariadbd /usr/sbin/postfix),
	(glob '/usr/lib/postgresql/*/bin/postgres')[0] // '/usr/lib/postgresql/15/bin/postgres');
Story->enter;

# The directories above this one are root's alone, unlike those above a temporary directory.
my $top = '/mnt';
my $nobody = scalar getpwnam 'nobody';

sub write_file { Story::write_file(@_) }
sub read_file { Story::read_file(@_) }

system('ip link set lo up && mount -t tmpfs -o mode=755 none /mnt && mount -t tmpfs -o mode=755 none /run') == 0 or die;
make_path(map { "$top/$_" } qw(hooks bin lent bait good open nobody live archive/1 etc etc.work var var.work local local.work));
Story->run("mount -t overlay -o lowerdir=/$_->[1],upperdir=$top/$_->[0],workdir=$top/$_->[0].work none /$_->[1]") for ['etc', 'etc'], ['var', 'var'], ['local', 'usr/local'];
chmod 0777, "$top/open";
chown $nobody, -1, "$top/nobody";
copy($_, "$top/hooks/") or die for grep { -f } glob "$Story::bin/hooks/*";
chmod 0755, glob "$top/hooks/*";
Story->run("getent passwd $_ || useradd --system --user-group --no-create-home $_") for qw(courier mysql postgres);

Story->run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=mail.domain.pl -keyout $top/archive/1/privkey.pem -out $top/archive/1/fullchain.pem");
write_file("$top/archive/1/$_", read_file("$top/archive/1/privkey.pem") . read_file("$top/archive/1/fullchain.pem"), 0600) for qw(combined.pem haproxy.pem);
Story->run("install -g mail -m 640 $top/archive/1/combined.pem $top/archive/1/exim.pem");
symlink '../archive/1', "$top/live/mail" or die;

# ---- the bait: root's files that root must not open on a stranger's word ----

my $marker = 'rogue-marker-' . 'x' x 8;
write_file("$top/bait/secret.key", read_file("$top/archive/1/privkey.pem") . "$marker\n", 0600);
write_file("$top/bait/rooted.cfg", "global\n\tlua-load $top/nobody/$marker.lua\n");
write_file("$top/bait/stolen.pid", "$marker\n", 0600);
POSIX::mkfifo("$top/bait/pipe", 0600) or die;
my @bait = map { "$top/bait/$_" } qw(secret.key rooted.cfg stolen.pid pipe);
my @pieces = grep { length } map { s/\s//gr } grep { !/-----/ } split /\n/, read_file("$top/archive/1/privkey.pem");

# inotify(7) is used by its system calls, and tells IN_OPEN and IN_ACCESS of each file.
my $inotify = syscall(294, 04000);
open my $events, '<&=', $inotify or die $!;
syscall(254, $inotify, my $path = $_, 0x21) >= 0 or die "$_: $!" for @bait;

# ---- processes ----

my %children;

sub until_true { my ($what, $condition) = @_; return Story->until($what, $condition) || fail("waited for $what") }

# Starts a program of this name. It is perl itself, so its words can be whatever the story says. It notes each signal
# that it gets, and who sent it.
sub process {
	my ($uid, $name, $log, @words) = @_;
	my $program = "$top/bin/$name";
	-e $program or copy($^X, $program) && chmod(0755, $program) or die $!;
	write_file($log, '', 0666) if !-e $log;
	defined(my $pid = fork) or die;
	if (!$pid) {
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', '/dev/null';
		if ($uid) { $) = "$uid $uid"; POSIX::setgid($uid); POSIX::setuid($uid) or POSIX::_exit(126) }
		exec $program, '-e', <<'PERL', $log, @words or POSIX::_exit(127);
use POSIX;
for my $name (qw(HUP INT QUIT USR1 USR2 TERM ALRM CONT WINCH)) {
	my $number = POSIX->can("SIG$name") ? POSIX->can("SIG$name")->() : {CONT => 18, WINCH => 28}->{$name};
	sigaction($number, POSIX::SigAction->new(sub { open my $f, '>>', $ARGV[0]; syswrite $f, "$$ $name\n" }, POSIX::SigSet->new, 0));
}
open my $f, '>>', "$ARGV[0].ready"; syswrite $f, "$$\n"; close $f;
select undef, undef, undef, 60 while 1
PERL
	}
	$children{$pid} = 1;
	until_true("$name to be ready", sub { read_file("$log.ready") =~ /^$pid$/m });
	return $pid;
}

sub stop {
	for my $pid (@_) {
		kill 'KILL', $pid;
		waitpid $pid, 0;
		delete $children{$pid};
	}
}

my (%rogue, %lent);
my $signals = "$top/nobody/signalled";
write_file($_, '', 0666) for $signals, "$signals.ready";
chmod 0777, "$top/nobody";
my @words = ('-f', "$top/bait/secret.key", '-c', "$top/bait/rooted.cfg", "--pid-file=$top/bait/stolen.pid", '-C', "$top/bait", '--', "$top/bait/pipe",
	'/var/qmail/bin/qmail-smtpd', $marker);

sub rogues {
	my (@names) = @_;
	for my $name (@names) {
		$rogue{$name} = process($nobody, $name, $signals, @words);
		# This process has root's user and nobody's words, like su while it asks for a password.
		copy('/usr/bin/tail', "$top/lent/$name") && chmod(04755, "$top/lent/$name") or die $!;
		defined(my $pid = fork) or die;
		if (!$pid) {
			open $_, '>', '/dev/null' for *STDOUT, *STDERR;
			$) = "$nobody $nobody";
			POSIX::setuid($nobody) or POSIX::_exit(126);
			exec "$top/lent/$name", '-f', '/dev/null', $marker or POSIX::_exit(127);
		}
		$children{$pid} = 1;
		$lent{$name} = $pid;
		until_true("$name to be lent", sub { read_file("/proc/$pid/status") =~ /^Name:\t\Q$name\E\n.*^Uid:\t$nobody\t0\t0/ms });
	}
}

# Starts a listener of his, which keeps what it is told and says something back.
my $told = "$top/nobody/told";
sub listener {
	my ($what) = @_;
	defined(my $pid = fork) or die;
	if (!$pid) {
		$SIG{PIPE} = 'IGNORE';
		$) = "$nobody $nobody";
		POSIX::setuid($nobody) or POSIX::_exit(126);
		my $listener = ref $what ? IO::Socket::INET->new(LocalAddr => $$what, Listen => 5, ReuseAddr => 1) : IO::Socket::UNIX->new(Local => $what, Listen => 5)
			or POSIX::_exit(1);
		chmod 0777, $what if !ref $what;
		while (my $client = $listener->accept) {
			syswrite $client, "# filename\n$top/live/mail/haproxy.pem\n\n";
			open my $file, '>>', $told;
			while ($client->sysread(my $bytes, 65536)) { syswrite $file, $bytes }
			close $client;
		}
	}
	$children{$pid} = 1;
	until_true('his listener', sub { ref $what ? IO::Socket::INET->new($$what) : IO::Socket::UNIX->new($what) });
	return $pid;
}

# ---- a hook, and what root does while it runs ----

our %more;

# Returns what root did with anything of his, as strace writes it: the bait, his own directory, and his processes by
# their numbers.
sub deeds {
	my ($trace) = @_;
	my %his = map { $_ => 1 } values %rogue, values %lent;
	my @deeds;
	for (split /\n/, read_file($trace)) {
		next if /ENOENT/;
		push @deeds, $_ if /^\d+ +(?:openat2?|open|execveat|execve)\(.*\Q$top\E\/(?:bait|nobody|lent)\//;
		push @deeds, $_ if /^\d+ +(?:kill|tkill|rt_sigqueueinfo)\((-?\d+)[^,]*, (?!0\b)/ && $his{abs $1};
		push @deeds, $_ if /^\d+ +tgkill\((\d+)/ && $his{$1};
		push @deeds, $_ if /^\d+ +pidfd_send_signal\(\d+<\/proc\/(\d+)>/ && $his{$1};
	}
	return @deeds;
}

my $runs = 0;

sub traced {
	my ($what, @command) = @_;
	my $trace = "$top/trace." . ++$runs;
	my $pid = open(my $output, '-|') // die;
	if (!$pid) {
		open STDERR, '>&', \*STDOUT;
		open STDIN, '<', '/dev/null';
		%ENV = (PATH => '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', %more);
		chdir '/';
		# A hook that never ends is killed, and fails.
		exec qw(timeout -k 1 60 strace -f --seccomp-bpf -y -qq -s 4096 -e signal=none -e), 'trace=open,openat,openat2,execve,execveat,kill,tkill,tgkill,rt_sigqueueinfo,pidfd_send_signal',
			'-o', $trace, @command or POSIX::_exit(127);
	}
	my $text = do { local $/; <$output> } // '';
	close $output;
	my $exit = $? >> 8;
	cmp_ok(-s $trace, '>', 500, "$what: it is seen") if $runs == 1;
	my @wrong = deeds($trace);
	push @wrong, 'it has not ended within a minute' if $exit == 124 || $exit == 137;
	my $got = sysread $events, my $bytes, 65536;
	my ($key) = grep { index($text, $_) >= 0 } @pieces;
	push @wrong, 'inotify has seen the bait opened' if defined $got;
	push @wrong, "it quotes the bait: $text" if $key || $text =~ /\Q$marker\E/;
	push @wrong, 'he was signalled: ' . read_file($signals) if -s $signals;
	push @wrong, 'he was told of a key' if grep { index(read_file($told), $_) >= 0 } @pieces;
	is("@wrong", '', "$what: nothing of his is opened, run, signalled or told");
	unlink $trace;
	return ($exit, $text);
}

sub hook {
	my ($what, $service, $verb, $exit, $like) = @_;
	local %more = (CERTSYNC_DIR => "$top/live/mail", CERTSYNC_SERVICE => $service, CERTSYNC_CERTIFICATE => 'mail', CERTSYNC_REVISION => '1.1',
		CERTSYNC_FULLCHAIN => "$top/live/mail/fullchain.pem", CERTSYNC_PRIVKEY => "$top/live/mail/privkey.pem", %more);
	my ($got, $text) = traced("$service $verb, $what", "$top/hooks/$service", $verb);
	ok(ref $exit ? $exit->($got) : $got == $exit, "$service $verb, $what: exit $got") or diag($text);
	like($text, $like, "$service $verb, $what: it says so") if $like;
	return $text;
}

sub fails { return sub { $_[0] != 0 } }

# ---- every service: how its configuration names a pid file ----

sub apache_conf {
	my ($file) = @_;
	write_file('/etc/apache2/envvars', "export APACHE_PID_FILE=$file APACHE_RUN_USER=www-data APACHE_RUN_GROUP=www-data APACHE_RUN_DIR=$top/good APACHE_LOCK_DIR=$top/good APACHE_LOG_DIR=$top/good\n");
	write_file('/etc/apache2/apache2.conf', join "\n", "PidFile $file", 'ServerName mail.domain.pl', 'Listen 127.0.0.1:81', "ErrorLog $top/good/error.log",
		(map { "LoadModule ${_}_module /usr/lib/apache2/modules/mod_$_.so" } qw(mpm_event authz_core)), '');
}

# Exim and Courier are doubles that only print a configuration, since only the paths in it matter here.
sub exim_conf {
	my ($file) = @_;
	write_file('/usr/local/sbin/exim4', <<"SH", 0755);
#!/bin/sh
case "\$*" in
*pid_file_path) echo $file ;;
*tls_certificate | *tls_privatekey) echo $top/live/mail/exim.pem ;;
*exim_user) echo mail ;;
esac
SH
}

sub courier_conf {
	my ($file) = @_;
	make_path('/etc/courier', "$top/open/cache");
	chmod 0777, "$top/open/cache";
	write_file('/etc/courier/imapd', "PIDFILE=$file\nTLS_CACHEFILE=$top/open/cache/sessions\n");
}

sub mariadb_conf {
	my ($file) = @_;
	write_file('/etc/mysql/my.cnf', "[mariadbd]\nuser = mysql\npid-file = $file\nsocket = $top/open/mysql.sock\ndatadir = /var/lib/mysql\n");
}

sub postgres_conf {
	my ($file) = @_;
	my $data = $file =~ s/\/[^\/]+$//r;
	my ($main) = map { m{^/usr/lib/postgresql/([^/]+)/} ? "/etc/postgresql/$1/main" : () } glob '/usr/lib/postgresql/*/bin/postgres';
	Story->run("rm -rf /etc/postgresql && install -d -o postgres $main && install -o postgres -m 600 $top/live/mail/combined.pem /etc/postgresql/tls.pem");
	write_file("$main/postgresql.conf", "data_directory = '$data'\nssl = on\nssl_cert_file = '/etc/postgresql/tls.pem'\nssl_key_file = '/etc/postgresql/tls.pem'\n");
	chown scalar(getpwnam 'postgres'), -1, "$main/postgresql.conf";
}

my $queue = '/var/spool/postfix';
make_path("$queue/pid"); # from 3.10 on Postfix makes it at its start
my %services = (
	dovecot => {process => 'dovecot', signal => 'HUP', file => 'master.pid',
		conf => sub { write_file('/etc/dovecot/dovecot.conf', Dovecot::conf('base_dir = ' . $_[0] =~ s/\/[^\/]+$//r . "\nssl = no\n")) }},
	nginx => {process => 'nginx', signal => 'HUP', conf => sub { write_file('/etc/nginx/nginx.conf', "pid $_[0];\nerror_log $top/good/nginx.log;\nevents {}\n") },
		opens_it => 1},
	apache2 => {process => 'apache2', signal => 'USR1', conf => \&apache_conf},
	exim4 => {process => 'exim4', signal => 'HUP', conf => \&exim_conf},
	courier => {process => 'couriertcpd', conf => \&courier_conf},
	stunnel => {process => 'stunnel4', signal => 'HUP', conf => sub { write_file('/etc/stunnel/web.conf', "pid = $_[0]\ncert = $top/live/mail/combined.pem\n") }},
	mariadb => {process => 'mariadbd', conf => \&mariadb_conf, other_test => 1, other_reload => 1},
	postgresql => {process => 'postgres', signal => 'HUP', file => 'postmaster.pid', conf => \&postgres_conf},
);
rogues(map { $_->{process} } values %services);
rogues(qw(master tcpserver haproxy stunnel courierlogger));
is(scalar(grep { !-d "/proc/$_" } values %rogue, values %lent), 0, scalar(keys %rogue) . ' names of services are his');

sub pid_file {
	my ($file, $text, $uid) = @_;
	unlink $file;
	write_file($file, $text);
	chown $uid, -1, $file;
}

for my $service (sort keys %services) {
	my $s = $services{$service};
	my ($log, $name) = ("$top/good/told-$service", $s->{file} // "$service.pid");
	make_path("$top/good/$service", "$top/open/$service");
	chmod 0777, "$top/open/$service";
	unlink glob '/etc/stunnel/*.conf';

	# Root's own process runs beside his.
	my $good = "$top/good/$service/$name";
	$s->{conf}->($good);
	hook('nothing of root\'s runs', $service, 'running', 3);
	my $roots = process(0, $s->{process}, $log);
	pid_file($good, "$roots\n", 0);
	hook('beside root\'s', $service, 'running', 0);
	hook('beside root\'s', $service, 'test', $s->{other_test} ? fails() : 0);
	hook('beside root\'s', $service, 'reload', $s->{other_reload} ? fails() : 0);
	ok(until_true('the signal', sub { -s $log }), "$service: root's process is told") if $s->{signal};
	is(read_file($log), $s->{signal} ? "$roots $s->{signal}\n" : '', '  as it should be');

	# The number in the file belongs to a process of his by now.
	pid_file($good, "$rogue{$s->{process}}\n", 0);
	hook('a number that is his now', $service, 'running', 3);
	hook('a number that is his now', $service, 'reload', $s->{signal} && $service ne 'stunnel' && $service ne 'postgresql' ? fails() : sub { 1 });
	pid_file($good, "$lent{$s->{process}}\n", 0);
	hook('a number of a program that is lent', $service, 'running', 3);

	# By mistake the configuration names a place that he can write.
	my $open = "$top/open/$service/$name";
	$s->{conf}->($open);
	my $loses = qr/can be written by others than its owner|belongs to user $nobody|which user \w+ can write|\Q$top\E\/open/;
	for my $case (['his own file', sub { pid_file($open, "$roots\n", $nobody) }], ['a link to what is root\'s', sub { symlink "$top/bait/stolen.pid", $open }, 'link'],
		['a FIFO', sub { POSIX::mkfifo($open, 0666); chown $nobody, -1, $open }]) {
		my ($what, $make, $link) = @$case;
		unlink $open;
		# The service's own program opens that file when it tests; what it finds there is its matter, and not
		# the hook's.
		next if $link && $s->{opens_it};
		$make->();
		hook($what, $service, 'running', 1, $loses);
		hook($what, $service, 'reload', $s->{signal} ? fails() : sub { 1 });
	}
	unlink $open;
	is(read_file($log), $s->{signal} ? "$roots $s->{signal}\n" : '', "$service: root's process is told nothing on his word");
	stop($roots);
}

# ---- sockets in the place of the service's ----

sub only_asked {
	my ($what) = @_;
	unlike(read_file($told), qr/set ssl cert|PRIVATE|BEGIN/, "$what: his socket gets nothing of a certificate");
	unlink $told;
}

my $stats = listener("$top/open/admin.sock");
write_file('/etc/haproxy/haproxy.cfg', "global\n\tstats socket $top/open/admin.sock level admin\n");
my $master = process(0, 'haproxy', "$top/good/told-haproxy", '-W', '-f', '/etc/haproxy/haproxy.cfg');
hook('his socket in the place of HAProxy\'s', 'haproxy', 'running', 0, qr/process \d+ of user $nobody is left alone/);
hook('his socket in the place of HAProxy\'s', 'haproxy', 'test', 0) if -x '/usr/sbin/haproxy';
hook('his socket in the place of HAProxy\'s', 'haproxy', 'reload', 0, qr/user $nobody listens at/);
ok(until_true('the signal', sub { read_file("$top/good/told-haproxy") eq "$master USR2\n" }), 'the master is told to reload instead');
only_asked('haproxy');
{
	local $more{CERTSYNC_INSTANCE} = "-f\n/etc/haproxy/haproxy.cfg";
	stop($master);
	hook('named, and his socket alone', 'haproxy', 'running', 1, qr/user $nobody listens at .*, and is sent no key/);
	hook('named, and his socket alone', 'haproxy', 'reload', 1);
	only_asked('haproxy, named');
}
hook('his processes alone', 'haproxy', 'running', 3);
stop($stats);

{
	mariadb_conf("$top/good/mariadb/mariadb.pid");
	unlink "$top/open/mysql.sock";
	my $sql = listener("$top/open/mysql.sock");
	hook('his socket in the place of MariaDB\'s', 'mariadb', 'reload', fails(), qr/\Q$top\E\/open/);
	is(read_file($told), '', 'root does not even speak to him');
	stop($sql);
}

# ---- what has neither pid file nor socket ----

make_path('/var/qmail/control');
write_file('/var/qmail/control/me', "mail.domain.pl\n");
symlink "$top/live/mail/combined.pem", '/var/qmail/control/servercert.pem';
hook('his processes alone', 'qmail', 'running', 3);
hook('his processes alone', 'qmail', $_, 0) for qw(test reload);
my $tcpserver = process(0, 'tcpserver', "$top/good/told-qmail", '/var/qmail/bin/qmail-smtpd');
hook('beside root\'s', 'qmail', 'running', 0);
stop($tcpserver);

{
	write_file('/etc/postfix/main.cf', "compatibility_level = 3.6\nmyhostname = mail.domain.pl\ninet_interfaces = 127.0.0.1\n");
	my $file = "$queue/pid/master.pid";
	my $victim = process(0, 'master', "$top/good/told-postfix");
	pid_file($file, "$rogue{master}\n", 0);
	chmod 0600, $file;
	hook('a number that is his now', 'postfix', 'running', 3);
	hook('a number that is his now', 'postfix', 'test', 0);
	hook('a number that is his now', 'postfix', 'reload', fails());
	# He can write the lock: whoever holds it counts as the master for `postfix reload`, which signals the number
	# that stands in the file.
	chmod 0777, "$queue/pid";
	for my $named (sprintf('%10d', $victim), $rogue{master}) {
		pid_file($file, "$named\n", $nobody);
		defined(my $holder = fork) or die;
		if (!$holder) {
			$) = "$nobody $nobody";
			POSIX::setuid($nobody);
			open my $lock, '+<', $file or POSIX::_exit(1);
			flock $lock, 2 or POSIX::_exit(1);
			write_file("$top/nobody/locked.$named", '');
			POSIX::pause();
			POSIX::_exit(0);
		}
		$children{$holder} = 1;
		until_true('his lock', sub { -e "$top/nobody/locked.$named" });
		hook("his lock, and number $named", 'postfix', 'running', 1, qr/\Q$queue\E\/pid can be written by others/);
		hook("his lock, and number $named", 'postfix', 'reload', fails(), qr/\Q$queue\E\/pid can be written by others/);
		stop($holder);
	}
	chmod 0755, "$queue/pid";
	is(read_file("$top/good/told-postfix"), '', 'no process of root\'s is told on his word');
	stop($victim);
	unlink $file;
}

# Root would run scripts of the service, so they have to be root's.
apache_conf("$top/good/apache2/apache2.pid");
write_file("$top/nobody/$marker.sh", "touch $top/nobody/executed\n", 0755);
write_file('/etc/apache2/envvars', read_file('/etc/apache2/envvars') . ". $top/nobody/$marker.sh\n");
chown $nobody, -1, '/etc/apache2/envvars';
hook('envvars that are his', 'apache2', $_, 1, qr{/etc/apache2/envvars belongs to user $nobody}) for qw(test reload running);
ok(!-e "$top/nobody/executed", 'nothing of it is run');
# The directory belongs to the servers' user, as the package makes it, and he puts a file there at the very moment at
# which it is looked for.
courier_conf("$top/good/courier/courier.pid");
Story->run('chown -R courier /etc/courier');
write_file("$top/good/ran-as", '', 0666);
{
	my $line = "echo \$(id -u) >>$top/good/ran-as\n";
	defined(my $swapper = fork) or die;
	if (!$swapper) {
		my $uid = getpwnam 'courier';
		mkdir '/etc/courier/aside';
		chown $uid, -1, '/etc/courier/aside';
		write_file('/etc/courier/imapd', $line);
		chown $uid, -1, '/etc/courier/imapd';
		POSIX::setuid($uid);
		while (1) { rename '/etc/courier/imapd', '/etc/courier/aside/imapd'; rename '/etc/courier/aside/imapd', '/etc/courier/imapd' }
	}
	$children{$swapper} = 1;
	until_true('the swaps', sub { -d '/etc/courier/aside' });
	for (1 .. 15) { system("PATH=$ENV{PATH} $top/hooks/courier running >/dev/null 2>&1") }
	stop($swapper);
	rename '/etc/courier/aside/imapd', '/etc/courier/imapd';
	unlike(read_file("$top/good/ran-as"), qr/^0$/m, 'what courier can put there is never run as root');
	like(read_file("$top/good/ran-as"), qr/^[1-9]\d*$/m, '  but with his rights');
}

# ---- hosts and authorities of the network ----

make_path("$top/relay");
my $ssh = listener(\'127.0.0.1:2222');
write_file("$top/relay/old.conf", "host = 127.0.0.1\nport = 2222\nidentity = $top/relay/key\nknown_hosts = $top/relay/known_hosts\n");
Story->run("ssh-keygen -q -t ed25519 -N '' -f $top/relay/key && ssh-keygen -q -t ed25519 -N '' -f $top/relay/host && echo \"[127.0.0.1]:2222 \$(cut -d' ' -f1,2 $top/relay/host.pub)\" >$top/relay/known_hosts");
{
	local %more = (CERTSYNC_DIR => "$top/live/mail", CERTSYNC_SERVICE => 'old', CERTSYNC_CERTIFICATE => 'mail', CERTSYNC_REVISION => '1.1');
	for my $verb (qw(running test reload)) {
		my ($exit) = traced("relay-ssh $verb, his port in the other host's place", "$top/hooks/relay-ssh", $verb);
		isnt($exit, 0, '  and it fails');
	}
	like(read_file($told), qr/^SSH-2.0-/, "the relay has spoken with the stranger's listener");
	unlike(read_file($told), qr/\Q$marker\E|PRIVATE/, '  and told no key');
	unlink $told;
	for my $file (qw(known_hosts key)) {
		my $mode = (stat "$top/relay/$file")[2] & 07777;
		chmod 0606, "$top/relay/$file";
		my ($exit, $text) = traced("relay-ssh test, a $file that he can write", "$top/hooks/relay-ssh", 'test');
		is($exit, 1, '  and it fails');
		like($text, qr{\Q$top\E/relay/$file can be written by others}, '  saying why');
		chmod $mode, "$top/relay/$file";
	}
	is(read_file($told), '', '  before anybody is spoken to');
	chown $nobody, -1, "$top/relay/old.conf";
	my ($exit, $text) = traced('relay-ssh test, a configuration that is his', "$top/hooks/relay-ssh", 'test');
	is($exit, 1, '  and it fails');
	like($text, qr{\Q$top\E/relay/old.conf belongs to user $nobody}, '  saying why');
	is(read_file($told), '', '  before anybody is spoken to');
}
stop($ssh);

# ---- what is asked of the whole node ----

my $https = listener(\'127.0.0.1:8443');
write_file('/etc/courier/imapd-ssl', '');
chmod 0644, glob '/etc/courier/imapd*';
my $ran = -s "$top/good/ran-as";
my ($exit, $text) = traced('discovery', "$Story::bin/../tests/discover_tool", 'mail.domain.pl');
is($exit, 0, 'discovery goes through') or diag($text);
unlike($text, qr/\Q$top\E\/(?:bait|nobody|lent)/, '  and names nothing of his');
like($text, qr{/etc/apache2/envvars belongs to user $nobody}, '  but why Apache is left out') if -x '/usr/sbin/apache2';
unlike(read_file("$top/good/ran-as"), qr/^0$/m, '  and runs nothing of courier\'s as root');
is(-s "$top/good/ran-as" > $ran ? 1 : 0, 1, '  but with his rights');
make_path("$top/agent");
write_file("$top/agent/agent.conf", join "\n", 'hubs = {"ssh://certsync-gate@127.0.0.1:1"}', "directory = \"$top/agent\"", "state = \"$top/agent/state\"",
	"root_state = \"$top/agent/root\"", "run = \"$top/agent/run\"", (map { "service \"$_\" { hook = \"$top/hooks/$_\" probe = none }" } sort keys %services, 'haproxy', 'qmail'),
	"certificate \"mail.domain.pl\" { services = {" . join(', ', map { "\"$_\"" } sort keys %services, 'haproxy', 'qmail') . '} }', '');
(undef, $text) = traced('doctor', "$Story::bin/certsync-agent", 'doctor', '-c', "$top/agent/agent.conf");
like($text, qr/^(?:ok|warning|wrong|cannot tell) +/m, 'doctor looks at it') or diag($text);
unlike($text, qr/\Q$top\E\/(?:bait|lent)/, '  and names nothing of his');
stop($https);

# ---- the end ----

is(scalar(grep { !-d "/proc/$_" || read_file("/proc/$_/stat") =~ /\) Z / } values %rogue, values %lent), 0, 'each of his processes lives: none was ended');
is(read_file($signals), '', 'and none has been signalled');
stop(keys %children);
done_testing;
