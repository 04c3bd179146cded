# A hub, the agent beside it and one behind a real sshd, each half as the user that it has on a real node. They run in
# namespaces of their own, where /etc, /var and /run are in memory and no process belongs to anybody else. It needs
# root.
#
#   Separate->enter                    comes first: the story goes on inside
#   my $s = Separate->new              makes the users, and puts the programs where all may run them; it is a Story
#   $s->up(%before)                    starts sshd, hub, the agents `here` and `mail`; {before} runs before a program
#   $s->processes                      returns (PID => what it is) of all that is between and around them
#   $s->as(USER, sub {…})              returns what sub returns in a process of that user
package Separate;
use strict;
use warnings;
use JSON::PP;
use Story;
use Test::More;
our @ISA = qw(Story);

our $home = '/var/lib/certsync-gate';
our $sshd_conf = '/etc/ssh/certsync-test.conf';

sub new {
	my ($class) = @_;
	$class->cover(qw(etc var));
	$class->run("mkdir /run/sshd && mkdir -m 755 -p $home /mnt/programs");
	$class->run("cp -a $Story::bin/. /mnt/programs && chmod -R go+rX /mnt/programs");
	$Story::bin = '/mnt/programs';
	my $add = join ' && ', map { "{ ! getent passwd $_ >/dev/null || userdel $_; }" } qw(certsync-hub certsync-keys certsync-worker certsync-agent certsync-gate);
	$add .= ' && { getent group certsync-admin || groupadd --system certsync-admin; }';
	$add .= " && useradd --system -d / -s /usr/sbin/nologin $_" for qw(certsync-hub certsync-keys certsync-worker certsync-agent);
	$add .= " && useradd --system -p '*' -d $home -s /mnt/programs/certsync-gate certsync-gate";
	$class->run($add);
	my $self = Story::new($class);
	$self->{group} = 'certsync-admin';
	return $self;
}

# These write hub.conf and agent.conf as Story does, with the users and the sockets of a real node.
sub hub_conf {
	my ($self, @wish) = @_;
	$self->SUPER::hub_conf(@wish);
	my $text = Story::read_file("$self->{top}/hub.conf");
	$text =~ s/^(user|keys_user|worker_user|gate_user|local_user) = .*/qq($1 = "certsync-@{[{user => 'hub', keys_user => 'keys', worker_user => 'worker', gate_user => 'gate', local_user => 'agent'}->{$1}]}")/gme;
	$text =~ s/^run = .*/run = "\/run\/certsync-hub"/m;
	$text =~ s/^authorized_keys = .*/authorized_keys = "$home\/.ssh\/authorized_keys"/m;
	Story::write_file("$self->{top}/hub.conf", $text, 0640);
	system("chgrp certsync-hub $self->{top}/hub.conf");
}

sub agent_conf {
	my ($self, $agent, %wish) = @_;
	my $ssh = "ssh://certsync-gate\@127.0.0.1:22";
	my $dir = $self->SUPER::agent_conf($agent, hub => $agent eq 'here' ? 'unix:///run/certsync-hub/local.sock' : $ssh, %wish);
	my $text = Story::read_file("$dir/agent.conf");
	$text =~ s/^user = .*/user = "certsync-agent"/m;
	Story::write_file("$dir/agent.conf", $text, 0640);
	system("chgrp certsync-agent $dir/agent.conf");
	return $dir;
}

# Starts an sshd as a careless administrator may have it: it allows everything that can be allowed.
sub sshd {
	my ($self) = @_;
	Story::write_file($sshd_conf, <<"CONF");
ListenAddress 127.0.0.1:22
@{[$self->{listen} ? qq(ListenAddress $self->{listen}\n) : '']}HostKey $self->{top}/host
PidFile none
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
AllowTcpForwarding yes
AllowStreamLocalForwarding yes
AllowAgentForwarding yes
GatewayPorts clientspecified
PermitTunnel yes
PermitTTY yes
X11Forwarding yes
PermitUserRC yes
AcceptEnv *
PermitUserEnvironment yes
Subsystem sftp internal-sftp
LogLevel VERBOSE
CONF
	$self->start('sshd', '/usr/sbin/sshd', '-D', '-e', '-f', $sshd_conf);
	return $self->until('sshd', sub { $self->log('sshd') =~ /Server listening/ });
}

sub up {
	my ($self, %wish) = @_;
	my $top = $self->{top};
	my $before = $wish{before} // {};
	$self->hub_conf(agents => ['here', 'mail', 'other-'], %{$wish{hub_conf} // {}});
	$self->sshd or die $self->log('sshd');
	$self->start('hub', @{$before->{hub} // []}, "$Story::bin/certsync-hub-root", '-c', "$top/hub.conf");
	$self->until('hub', sub { -S '/run/certsync-hub/control.sock' && ($self->certsync('status'))[0] != 4 }) or die $self->log('hub');
	for my $agent (qw(here mail other)) {
		$self->agent_conf($agent, %{$wish{$agent} // {}});
		$self->enrol($agent) or die Story::read_file("$top/join.log");
		next if $agent eq 'other'; # no agent runs as this one, whose key alone is used
		$self->start($agent, @{$before->{$agent} // []}, "$Story::bin/certsync-agent-root", '-c', "$top/$agent/agent.conf");
	}
	return $self->until('agents', sub { !grep { !$self->state_of($_)->{connected} } qw(here mail) });
}

sub processes {
	my ($self) = @_;
	my %found;
	for my $pid (grep { /^\d+$/ } map { s{.*/}{}r } glob('/proc/[0-9]*')) {
		my @words = split /\0/, Story::read_file("/proc/$pid/cmdline");
		next if !@words;
		my ($program) = $words[0] =~ m{([^/\s:]+):?[^/]*$};
		$program =~ s/^sshd-(session|auth)$/sshd/; # from OpenSSH 9.8 and 10.0 on
		my $what = $program eq 'certsync' && ($words[1] // '') eq 'hub' ? 'hub' : $program;
		$found{$pid} = $what if $what =~ /^(sshd|hub|certsync-(gate|link|agent|hub-root|agent-root|worker|keys))$/;
	}
	return %found;
}

sub as {
	my ($self, $user, $what) = @_;
	my ($uid, $gid) = (getpwnam $user)[2, 3];
	pipe(my $reader, my $writer) or die $!;
	my $pid = fork // die $!;
	if ($pid == 0) {
		($), $() = ("$gid $gid", $gid);
		($<, $>) = ($uid, $uid);
		print $writer encode_json($> == $uid && $< == $uid ? $what->() : ['not that user']);
		close $writer;
		POSIX::_exit(0);
	}
	close $writer;
	local $/;
	my $answer = <$reader>;
	waitpid $pid, 0;
	return decode_json($answer);
}

1;
