# What stories about one hub and its agents need: a directory of their own, a test CA, and the real programs on it.
#
#   my $story = Story->new;                      keeps everything below its directory, which goes at the end
#   $story->pair('a', names => …, days => …)     makes a key and its certificate: a.key, a.crt; bare => 1: without the
#                                               authority's key identifier
#   $story->hub; $story->agent('mail', …)        start the real certsync-hub-root, certsync-agent-root
#   $story->let_in('mail')                       makes keys for an agent that the story plays; returns the gate's word
#   $story->certsync(@words)                     runs certsync against this hub; returns (exit code, output)
#   $story->until('what', sub {…}, seconds)      waits for a condition; returns whether it came
#   Story->enter(@command)                       comes first, needs root: the story goes on inside of this, by default in
#                                               namespaces of its own
#   Story->cover('etc', 'var')                   comes then: what is written there, in /run and in /mnt, is in memory
#   Story->run('shell command')                  runs what has to succeed
#   $story->served(993, starttls => …, sni => …) returns the fingerprint that a port here, or ADDRESS:PORT, serves; or ''
#   $story->reload                               has the hub read its hub.conf again; returns whether it has taken it
package Story;
use strict;
use warnings;
use Cwd qw(abs_path);
use Digest::SHA qw(sha256 sha256_hex);
use File::Path qw(make_path);
use File::Temp qw(tempdir);
use IO::Socket::INET;
use JSON::PP;
use MIME::Base64;
use Needs;
use POSIX qw(:sys_wait_h);
use Port qw(free_port);
use Test::More;
use Time::HiRes qw(time sleep setitimer ITIMER_REAL);

our $bin = abs_path($ENV{CERTSYNC_BIN} // 'build/bin');

# Nobody but root and ourselves may be able to change what an agent runs, so in somebody else's clone a copy is what
# runs.
sub is_ours {
	my ($path) = @_;
	for (; ; $path =~ s{/[^/]*$}{}) {
		my (undef, undef, $mode, undef, $uid) = stat($path || '/');
		return 0 if ($uid != 0 && $uid != $>) || (($mode & 022) && !($mode & 01000));
		return 1 if $path eq '';
	}
}

umask 022;
if (-e "$bin/hooks/haproxy" && !is_ours("$bin/hooks/haproxy")) {
	my $copy = tempdir('certsync-bin.XXXXXX', TMPDIR => 1, CLEANUP => 1);
	system('cp', '-R', '--preserve=mode', "$bin/.", $copy) == 0 && system('chmod', '-R', 'go-w', $copy) == 0 or die "cp: $?";
	chmod 0755, $copy;
	($bin, $ENV{CERTSYNC_BIN}) = ($copy, $copy);
}
our $name = 'mail.domain.pl';

sub write_file {
	my ($path, $text, $mode) = @_;
	open my $file, '>', $path or die "$path: $!";
	print $file $text;
	close $file or die "$path: $!";
	chmod $mode, $path if defined $mode;
}

sub read_file {
	my ($path) = @_;
	open my $file, '<:raw', $path or return '';
	local $/;
	return <$file> // '';
}

sub new {
	my ($class) = @_;
	my $top = tempdir('certsync-story.XXXXXX', TMPDIR => 1, CLEANUP => 1);
	chmod 0755, $top;
	my $self = bless {top => $top, user => scalar getpwuid($>), group => scalar getgrgid($)), started => {}}, $class;
	$self->openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj '/CN=test CA'",
		"-addext keyUsage=critical,keyCertSign,cRLSign", "-keyout $top/ca.key -out $top/ca.pem");
	return $self;
}

sub DESTROY {
	my ($self) = @_;
	local ($?, $@);
	$self->stop($_, 'KILL') for keys %{$self->{started}};
}

sub top { $_[0]{top} }

sub openssl {
	my ($self, @words) = @_;
	system("openssl @words >>$self->{top}/openssl.log 2>&1") == 0
		or die "openssl @words: " . read_file("$self->{top}/openssl.log");
}

sub pair {
	my ($self, $file, %wish) = @_;
	my $top = $self->{top};
	my $names = $wish{names} // "DNS:$name";
	my $signer = $wish{self_signed} ? "-signkey $top/$file.key" : "-CA $top/ca.pem -CAkey $top/ca.key -CAcreateserial";
	write_file("$top/ext", "subjectAltName=$names\nextendedKeyUsage=" . ($wish{usage} // 'serverAuth') . "\n"
		. ($wish{bare} ? "authorityKeyIdentifier=none\n" : ''));
	$self->openssl("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x",
		"-keyout $top/$file.key -out $top/$file.csr");
	# From 3.4 on openssl makes nothing that ends before it begins, and can be told both times.
	my $days = $wish{days} // 20;
	my $life = $days > 0 || `openssl version` =~ /^OpenSSL 3\.[0-3]\./ ? "-days $days" : '-not_before 20200101000000Z -not_after 20200201000000Z';
	$self->openssl("x509 -req -in $top/$file.csr $signer $life -extfile $top/ext",
		"-out $top/$file.crt");
	return $self->fingerprint("$top/$file.crt");
}

sub fingerprint {
	my ($self, $path) = @_;
	my $der = `openssl x509 -in $path -outform der 2>>$self->{top}/openssl.log`;
	return sha256_hex($der);
}

sub until {
	my ($self, $what, $condition, $seconds) = @_;
	# programs may run slowly, for example under valgrind
	my $deadline = time + ($seconds // 20) * ($ENV{CERTSYNC_PATIENCE} // 1);
	# Most conditions start a program, and what is waited for long is not kept from its work by asking.
	for (my $pause = 0.02; time < $deadline; $pause = $pause < 0.25 ? $pause * 1.3 : 0.25) {
		return 1 if $condition->();
		select undef, undef, undef, $pause;
	}
	return 0;
}

# ---- places ----

sub enter {
	my ($class, @command) = @_;
	my $story = abs_path($0);
	return if ($ENV{CERTSYNC_INSIDE} // '') eq $story;
	needs_root('users and namespaces');
	@ENV{qw(CERTSYNC_INSIDE CERTSYNC_BIN)} = ($story, $bin);
	@command = qw(unshare --pid --fork --kill-child --mount --mount-proc --net) if !@command;
	exec @command, $^X, $story, @ARGV or die "$command[0]: $!";
}

sub cover {
	my ($class, @directories) = @_;
	$class->run($_) for 'ip link set lo up', map { "mount -t tmpfs -o mode=755 none $_" } '/mnt', '/run';
	for my $directory (@directories) {
		my $upper = '/mnt/' . $directory =~ tr{/}{-}r;
		$class->run("mkdir $upper $upper.work");
		$class->run("mount -t overlay -o lowerdir=/$directory,upperdir=$upper,workdir=$upper.work none /$directory");
	}
	$class->run('mkdir -m 1777 /mnt/tmp');
	$ENV{TMPDIR} = '/mnt/tmp';
}

# The output goes to a file, since a process that the command leaves running may go on writing.
sub run {
	my ($self, $command) = @_;
	my $said = File::Temp->new;
	system("($command) >$said 2>&1 </dev/null") == 0 or BAIL_OUT("$command: " . read_file("$said"));
}

# ---- processes ----

sub start {
	my ($self, $what, @command) = @_;
	my $pid = fork // die $!;
	if ($pid == 0) {
		open STDIN, '<', '/dev/null' or die $!;
		open STDOUT, '>>', "$self->{top}/$what.log" or die $!;
		open STDERR, '>&', \*STDOUT or die $!;
		exec @command or die "$command[0]: $!";
	}
	$self->{started}{$what} = $pid;
	return $pid;
}

sub stop {
	my ($self, $what, $signal) = @_;
	my $pid = delete $self->{started}{$what} or return;
	# HAProxy 3.0 loses a signal that comes while its master runs itself anew, so a program that stays is told again.
	local $SIG{ALRM} = sub { kill $signal // 'TERM', $pid };
	setitimer(ITIMER_REAL, 0.001, 10);
	1 while waitpid($pid, 0) < 0 && $!{EINTR};
	setitimer(ITIMER_REAL, 0);
}

sub log { read_file("$_[0]{top}/$_[1].log") }

# Returns the pid of the one child of a started program whose command line matches.
sub child {
	my ($self, $what, $pattern) = @_;
	my @waiting = ($self->{started}{$what});
	while (defined(my $parent = shift @waiting)) {
		for my $pid (map { split ' ', read_file($_) } glob "/proc/$parent/task/*/children") {
			return $pid if read_file("/proc/$pid/cmdline") =~ $pattern;
			push @waiting, $pid;
		}
	}
	return undef;
}

# Returns by how many KiB a process may grow: AddressSanitizer and valgrind, which watch over memory, hold back what was
# freed.
sub growth {
	my ($self, $pid, $kib) = @_;
	return read_file("/proc/$pid/maps") =~ /libasan|memcheck/ ? $kib + 300_000 : $kib;
}

# Ends all, and checks that no sanitizer had anything to say.
sub ends_clean {
	my ($self) = @_;
	my @logs = keys %{$self->{started}};
	$self->stop($_) for @logs;
	my @findings = grep { /Sanitizer|runtime error/ } map { split /\n/, $self->log($_) } @logs;
	is_deeply(\@findings, [], 'no sanitizer has found anything');
}

# key => 'rsa' or 'ecdsa' asks for a certificate of that kind alone; in => 'command' is what runs the client elsewhere.
sub served {
	my ($self, $where, %wish) = @_;
	$where = "127.0.0.1:$where" if $where !~ /:/;
	my $how = $wish{starttls} ? "-starttls $wish{starttls}" : '';
	$how .= ' -tls1_2 -cipher ' . ($wish{key} eq 'rsa' ? 'aRSA' : 'aECDSA') if $wish{key};
	$how .= ' -servername ' . ($wish{sni} // $name);
	my $in = $wish{in} // '';
	my $der = `timeout 10 $in openssl s_client -connect $where $how </dev/null 2>/dev/null | openssl x509 -outform der 2>/dev/null`;
	return $der eq '' ? '' : sha256_hex($der);
}

# ---- hub ----

sub hub_conf {
	my ($self, %wish) = @_;
	my $top = $self->{top};
	$self->{http} //= free_port();
	my $sections = $wish{certificates} // "certificate \"$name\" {}\n";
	# The agent `here` comes in by local.sock; a name with a '-' behind it is assigned nothing.
	my $agents = '';
	for (@{$wish{agents} // ['here']}) {
		my ($agent, $nothing) = /^(.*?)(-?)$/;
		my $certificates = $nothing ? '' : "\"$name\"";
		$agents .= "agent \"$agent\" { certificates = {$certificates} " . ($agent eq 'here' ? 'local = true' : '') . "}\n";
	}
	my $state = $wish{state} // 'hub';
	write_file("$top/hub.conf", <<"CONF");
ssh = "certsync-gate\@127.0.0.1:22"
host_keys = {"$top/host.pub"}
state = "$top/$state"
run = "$top/hub.run"
http = "127.0.0.1:$self->{http}"
anchors = "$top/ca.pem"
user = "$self->{user}"
@{[-e "$bin/certsync-keys" ? qq(keys_user = "$self->{user}"\nworker_user = "$self->{user}") : '']}
gate_user = "$self->{user}"
local_user = "$self->{user}"
admin_group = "$self->{group}"
authorized_keys = "$top/gate/authorized_keys"
scan_interval = "5s"
$sections$agents
CONF
	system("ssh-keygen -q -t ed25519 -N '' -f $top/host") if !-e "$top/host";
	make_path("$top/gate");
}

sub hub {
	my ($self, %wish) = @_;
	$self->hub_conf(%wish);
	$self->start('hub', "$bin/certsync-hub-root", '-c', "$self->{top}/hub.conf");
	return $self->until('hub', sub { -S "$self->{top}/hub.run/control.sock" && ($self->certsync('status'))[0] != 4 });
}

sub reload {
	my ($self) = @_;
	my $before = length $self->log('hub');
	kill 'HUP', $self->{started}{hub};
	return $self->until('reload', sub { substr($self->log('hub'), $before) =~ /program=certsync-hub event=reload result=done/ });
}

sub certsync {
	my ($self, @words) = @_;
	my $top = $self->{top};
	my $output = `$bin/certsync @words -c $top/hub.conf 2>&1`;
	return ($? >> 8, $output);
}

sub import {
	my ($self, $file, @options) = @_;
	return if !ref $self; # this is `use Story`
	my $top = $self->{top};
	return $self->certsync('import', $name, '--key', "$top/$file.key", '--chain', "$top/$file.crt", @options);
}

# Returns what `status --json` says of an agent, as a hash, or {} when the hub cannot be asked.
sub state_of {
	my ($self, $agent) = @_;
	my (undef, $text) = $self->certsync('status', '--json');
	my $all = eval { decode_json($text) } or return {};
	my ($found) = grep { $_->{agent} eq $agent && $_->{certificate} eq $name } @{$all->{agents}};
	return $found // {};
}

# Waits until an agent that is connected has this state. When the agent was started again it must have come since then,
# because the hub keeps the last state of one that is gone.
sub until_state {
	my ($self, $agent, $state, $seconds) = @_;
	my $last = '';
	my $reached = $self->until("$agent $state", sub {
		return 0 if substr($self->log($agent), $self->{log_before}{$agent} // 0) !~ /event=hub-connected/;
		my $told = $self->state_of($agent);
		$last = ($told->{state} // '') . ($told->{stopped} ? ' (stopped)' : '') . ($told->{connected} ? '' : ', not connected');
		return $last eq $state;
	}, $seconds);
	diag("$agent is '$last', not '$state'\n" . ($self->certsync('status'))[1] . $self->log('hub')) if !$reached;
	return $reached;
}

# ---- agents ----

# Options: services (text inside the certificate's section), allow, hub (a socket). By default the hook does nothing.
sub agent_conf {
	my ($self, $agent, %wish) = @_;
	my $top = $self->{top};
	my $dir = "$top/$agent";
	make_path("$dir/etc", "$dir/hooks");
	write_file("$dir/hooks/nothing", "#!/bin/sh\nexit 0\n", 0755);
	my $services = $wish{services} // "service \"nothing\" { probe = none }";
	my $allow = $wish{allow} // '*.domain.pl';
	my $hub = $wish{hub} // "unix://$top/hub.run/local.sock";
	write_file("$dir/agent.conf", <<"CONF");
hub = {"$hub"}
directory = "$dir/etc"
state = "$dir/state"
root_state = "$dir/root"
run = "$dir/run"
hooks = "$dir/hooks"
user = "$self->{user}"
admin_group = "$self->{group}"
anchors = "$top/ca.pem"
probe_timeout = "5s"
certificate "$name" {
	allow = {"$allow"}
	$services
}
CONF
	return $dir;
}

sub enrol {
	my ($self, $agent) = @_;
	my $conf = "$self->{top}/$agent/agent.conf";
	my $line = `$bin/certsync-agent identity -c $conf | $bin/certsync agent add $agent --key - -c $self->{top}/hub.conf`;
	open my $join, '|-', "$bin/certsync-agent join -c $conf >>$self->{top}/join.log 2>&1" or die $!;
	print $join $line;
	return close($join);
}

# Gives keys by hand to an agent that a story plays itself. Returns what the gate says of whoever comes in with them.
sub let_in {
	my ($self, $agent) = @_;
	my $ssh = 'ssh-ed25519 ' . encode_base64(pack('N/a* N/a*', 'ssh-ed25519', sha256("the key of $agent")), '');
	my $seal = encode_base64(sha256("the sealing key of $agent"), '');
	my ($code, $text) = $self->certsync('agent', 'add', $agent, '--key', "'certsync-agent:1 $ssh x25519:$seal'");
	die $text if $code != 0;
	return "$agent:" . substr $ssh, -32;
}

sub agent {
	my ($self, $agent, %wish) = @_;
	$self->agent_conf($agent, %wish);
	$self->enrol($agent) or die "join: " . read_file("$self->{top}/join.log");
	$self->start_agent($agent);
}

sub start_agent {
	my ($self, $agent) = @_;
	$self->{log_before}{$agent} = length $self->log($agent);
	return $self->start($agent, "$bin/certsync-agent-root", '-c', "$self->{top}/$agent/agent.conf");
}

# Returns the fingerprint of what is installed on an agent.
sub installed {
	my ($self, $agent) = @_;
	return $self->fingerprint("$self->{top}/$agent/etc/live/$name/fullchain.pem");
}

1;
