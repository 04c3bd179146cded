# A hub, an sshd and any number of agents, each with three processes and directories of its own, for measurements: the
# programs are real, with the users of a real node, in namespaces of their own (Separate.pm), and their directories are
# on the disk below TMPDIR. It needs root.
#
#   Fleet->enter                   comes first: the script goes on inside of the namespaces
#   my $f = Fleet->new(%wish)      sshd and HAProxy run. services: text for agent.conf; max_startups
#   $f->grow(N)                    the hub has N agents, all enrolled, running and connected
#   $f->publish                    makes a renewal; returns the seconds until the last agent is verified
#   $f->cpu                        (role => seconds of CPU since the start), with all that has ended: hub sshd agents server
#   $f->of(qr/…/)                  pids whose command line matches
package Fleet;
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Path qw(make_path);
use File::Temp qw(tempdir);
use FindBin;
use lib "$FindBin::Bin/../e2e/lib", $FindBin::Bin;
use IO::Socket::UNIX;
use POSIX ();
use Separate;
use Story;
use Time::HiRes qw(time sleep);
our @ISA = qw(Separate);

my @roles = qw(hub sshd agents server other);
# Debian's 10:30:100 refuses agents that come at once; README.md here says which value is meant for how many.
our $max_startups = '200:30:1000';
my $instances = '/proc/sys/fs/inotify/max_user_instances';
my $instances_were;

sub enter {
	die "$0: needs root, for users and namespaces\n" if $> != 0;
	$ENV{CERTSYNC_TMP} //= $ENV{TMPDIR} // '/tmp';
	$ENV{CERTSYNC_TOOLS} //= "$Story::bin/../tests";
	Story->enter;
}

sub new {
	my ($class, %wish) = @_;
	my $self = Separate::new($class);
	# The directories are on a disk, since what is synced has to go there.
	$ENV{TMPDIR} = $ENV{CERTSYNC_TMP};
	$self->{disk} = Story->new; # it is held, so that its directory stays until the end
	$self->{top} = $self->{disk}->top;
	@$self{qw(agents services offset rest)} = (0, $wish{services}, 0, '');
	make_groups($self) if $wish{groups} // 1;
	# Each root half needs one instance, and a real node has only one root half.
	$instances_were = Story::read_file($instances) + 0;
	Story::write_file($instances, '8192') if $instances_were < 8192;
	$self->pair($_, days => 20) for qw(a b);
	system("openssl x509 -in $self->{top}/a.crt -noout >/dev/null && ssh-keygen -q -t ed25519 -N '' -f $self->{top}/host") == 0 or die;
	$self->haproxy;
	$self->sshd or die $self->log('sshd');
	return $self;
}

END { Story::write_file($instances, $instances_were) if defined $instances_were && $instances_were < 8192 }

# ---- CPU, by control groups: what has ended is counted too ----

sub make_groups {
	my ($self) = @_;
	my ($base) = grep { -d } qw(/sys/fs/cgroup/cpuacct /sys/fs/cgroup);
	for (@roles) {
		my $group = "$base/certsync-bench-$_";
		-d $group or mkdir $group or die "$group: $!";
		$self->{groups}{$_} = $group;
	}
}

sub cpu {
	my ($self) = @_;
	my %cpu;
	for (@roles) {
		my $usage = Story::read_file("$self->{groups}{$_}/cpuacct.usage");
		($usage) = map { $_ * 1000 } Story::read_file("$self->{groups}{$_}/cpu.stat") =~ /^usage_usec (\d+)/m if $usage eq '';
		$cpu{$_} = ($usage // 0) / 1e9;
	}
	return %cpu;
}

sub total { my %cpu = @_; my $sum = 0; $sum += $_ for values %cpu; return $sum }

# Returns the CPU seconds that `code` takes, by role, and its wall time.
sub cost {
	my ($self, $code) = @_;
	my %before = $self->cpu;
	my $began = time;
	$code->();
	my $wall = time - $began;
	my %after = $self->cpu;
	return ($wall, map { $_ => $after{$_} - $before{$_} } @roles);
}

sub start {
	my ($self, $what, @command) = @_;
	my $role = $what =~ /^(hub|sshd)$/ ? $1 : $what eq 'haproxy' ? 'server' : $what =~ /^a\d+$/ ? 'agents' : 'other';
	my $pid = fork // die $!;
	return $self->{started}{$what} = $pid if $pid;
	Story::write_file("$self->{groups}{$role}/cgroup.procs", 0) if $self->{groups};
	open STDIN, '<', '/dev/null' or die $!;
	open STDOUT, '>>', "$self->{top}/" . ($role eq 'agents' ? 'agents' : $what) . '.log' or die $!;
	open STDERR, '>&', \*STDOUT or die $!;
	exec @command or die "$command[0]: $!";
}

# ---- sshd, and a port that all agents probe ----

sub sshd {
	my ($self) = @_;
	Story::write_file($Separate::sshd_conf, <<"CONF");
ListenAddress 127.0.0.1:22
HostKey $self->{top}/host
PidFile none
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups $max_startups
Subsystem sftp internal-sftp
CONF
	$self->start('sshd', '/usr/sbin/sshd', '-D', '-e', '-f', $Separate::sshd_conf);
	return $self->until('sshd', sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => 22) });
}

sub haproxy {
	my ($self) = @_;
	my $top = $self->{top};
	system("cat $top/a.crt $top/a.key >$top/served.pem") == 0 or die;
	Story::write_file("$top/haproxy.cfg", <<"CONF");
global
	stats socket /run/haproxy.sock level admin
	maxconn 4000
	nbthread 1
defaults
	timeout connect 5s
	timeout client 20s
	timeout server 20s
	mode http
frontend tls
	bind 127.0.0.1:443 ssl crt $top/served.pem
	http-request return status 200
CONF
	$self->start('haproxy', 'haproxy', '-db', '-f', "$top/haproxy.cfg");
	$self->until('haproxy', sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => 443) }) or die $self->log('haproxy');
}

sub say_to_haproxy {
	my ($self, $words) = @_;
	my $socket = IO::Socket::UNIX->new(Peer => '/run/haproxy.sock') or die $!;
	print $socket $words;
	$socket->shutdown(1);
	local $/;
	return <$socket>;
}

sub serve {
	my ($self, $file) = @_;
	my $top = $self->{top};
	my $pem = Story::read_file("$top/$file.crt") . Story::read_file("$top/$file.key");
	$pem =~ s/\n\n+/\n/g;
	$self->say_to_haproxy("set ssl cert $top/served.pem <<\n$pem\n");
	my $answer = $self->say_to_haproxy("commit ssl cert $top/served.pem\n");
	die "haproxy: $answer" if $answer !~ /Success/;
}

# ---- agents ----

sub names { my ($self, $count) = @_; return map { sprintf 'a%05d', $_ } 1 .. $count }

sub agent_conf {
	my ($self, $agent) = @_;
	return Separate::agent_conf($self, $agent, services => $self->{services} // 'service "nothing" { probe = {"127.0.0.1:443/tls"} }');
}

sub configure {
	my ($self, $count) = @_;
	$self->hub_conf(agents => [$self->names($count)]);
}

sub hub_up {
	my ($self) = @_;
	$self->start('hub', "$Story::bin/certsync-hub-root", '-c', "$self->{top}/hub.conf");
	$self->until('hub', sub { -S '/run/certsync-hub/control.sock' && ($self->certsync('status'))[0] != 4 }, 120) or die $self->log('hub');
}

# The programs make their keys themselves, two at a time; all agents have the pins of the first one.
sub enrol_all {
	my ($self, @names) = @_;
	my $top = $self->{top};
	$self->agent_conf($_) for @names;
	my $first = -e "$top/a00001/etc/pins" ? '' : shift @names;
	$self->enrol($first) or die Story::read_file("$top/join.log") if $first;
	return if !@names;
	Story::write_file("$top/enrol", <<"SCRIPT", 0755);
#!/bin/sh
set -eu
line=\$($Story::bin/certsync-agent identity -c $top/\$1/agent.conf)
$Story::bin/certsync agent add "\$1" --key "\$line" -c $top/hub.conf >/dev/null
cp -a $top/a00001/etc/pins $top/\$1/etc
SCRIPT
	Story::write_file("$top/names", join '', map { "$_\n" } @names);
	system("xargs -a $top/names -n 1 -P 2 $top/enrol >>$top/enrol.log 2>&1") == 0 or die Story::read_file("$top/enrol.log");
}

sub grow {
	my ($self, $count) = @_;
	my @new = ($self->names($count))[$self->{agents} .. $count - 1];
	$self->configure($count);
	if ($self->{started}{hub}) {
		$self->count_log(qr/never/);
		kill 'HUP', $self->{started}{hub};
		$self->wait_log(qr/ reload result=done|event=reload.*result=done/, 1, 60);
	} else {
		$self->hub_up;
	}
	if (!$self->{agents}) {
		$self->import('a');
		$self->serve('a');
	}
	$self->enrol_all(@new);
	$self->start_agent($_) for @new;
	$self->{agents} = $count;
	$self->until('agents', sub { $self->verified == $count }, 60 + $count / 2)
		or die "only " . $self->verified . " of $count agents are verified\n" . substr($self->log('hub'), -3000) . substr($self->log('agents'), -3000);
}

sub verified {
	my ($self) = @_;
	my (undef, $text) = $self->certsync('status', '--json');
	my $all = eval { JSON::PP->new->decode($text) } or return 0;
	return scalar grep { $_->{state} =~ /^(?:verified|unprobed)$/ && $_->{connected} } @{$all->{agents}};
}

# ---- the hub's log, read on from where it was read last ----

sub lines {
	my ($self) = @_;
	open my $log, '<', "$self->{top}/hub.log" or return;
	seek $log, $self->{offset}, 0;
	local $/;
	my $text = $self->{rest} . (<$log> // '');
	$self->{offset} = tell $log;
	my ($whole, $rest) = $text =~ /^(.*\n)?(.*)$/s;
	$self->{rest} = $rest;
	return split /\n/, $whole // '';
}

sub count_log { my ($self, $pattern) = @_; return scalar grep { /$pattern/ } $self->lines }

sub wait_log {
	my ($self, $pattern, $count, $seconds) = @_;
	my $deadline = time + $seconds;
	while ($count > 0) {
		for ($self->lines) {
			$count-- if /$pattern/;
			$self->{trouble} = $_ if /state=failed|refused/;
		}
		last if $count <= 0;
		die "waited for $count more: $pattern\n" . ($self->{trouble} // '') . "\n" . substr($self->log('hub'), -2000) if time > $deadline;
		sleep 0.002;
	}
}

# Publishes the other one of two pairs, which the probed port serves from then on.
sub publish {
	my ($self, $count) = @_;
	my $file = ($self->{served} // 'a') eq 'a' ? 'b' : 'a';
	$self->serve($self->{served} = $file);
	$self->count_log(qr/never/);
	my $began = time;
	my ($code, $output) = $self->import($file, '--may-expire-sooner');
	die $output if $code;
	$self->wait_log(qr/state=(?:verified|unprobed)/, $count // $self->{agents}, 120 + $self->{agents});
	return time - $began;
}

sub of {
	my ($self, $pattern) = @_;
	return grep { Story::read_file("/proc/$_/cmdline") =~ $pattern } map { m{(\d+)$} } glob '/proc/[0-9]*';
}

1;
