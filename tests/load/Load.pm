# A hub under many agents, some of them hostile: there is a Fleet (bench/Fleet.pm) of real agents and beside it a Crowd
# of sessions, and what happens meanwhile is measured. It needs root.
#
#   Fleet->enter; my $l = Load->new(real => 200, renewed => 50, crowd => 1700, hostile => 100)
#   $l->settle                       all honest ones are connected
#   my $r = $l->renew                a renewal for the group: {last, each => [seconds of each agent],
#                                    answer => [seconds of `status`]}
#   $l->look                         one sample: {hub => {pss, fds}, root => …, gate => …, sshd => …}
#   $l->unnamed                      hostile ones of whom the log says nothing fitting
package Load;
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../bench", "$FindBin::Bin/../load";
use Crowd;
use Fleet;
use File::Path qw(make_path);
use JSON::PP;
use MIME::Base64;
use Time::HiRes qw(time sleep);
our @ISA = qw(Fleet);

our $other = 'crowd.domain.pl'; # the certificate that the crowd has
my $stage_timeout = 30;
my $kept_free = 3 * 1024 * 1024; # in KiB, and left for whoever else uses this machine

sub new {
	my ($class, %wish) = @_;
	my $self = Fleet::new($class, groups => 0);
	@$self{keys %wish} = values %wish;
	$self->{real_names} = [$self->names($wish{real})];
	$self->{crowd_names} = [map { sprintf 'c%05d', $_ } 1 .. $wish{crowd}];
	my @kinds = Crowd::kinds();
	$self->{kinds} = {map { sprintf('h%05d', $_) => $kinds[$_ % @kinds] } 1 .. $wish{hostile}};
	$self->{tally} = {};
	return $self;
}

sub kind_of { my ($self, $kind) = @_; return grep { $self->{kinds}{$_} eq $kind } sort keys %{$self->{kinds}} }

# A clone has the key of one agent of the crowd, and so its name.
sub clones {
	my ($self) = @_;
	my @of = reverse @{$self->{crowd_names}};
	return map { $_ => shift @of } $self->kind_of('clone');
}

sub hub_conf {
	my ($self) = @_;
	my @real = @{$self->{real_names}};
	my @group = splice @real, 0, $self->{renewed};
	$self->SUPER::hub_conf(agents => [@group, map { "$_-" } @real],
		certificates => "certificate \"$Story::name\" {}\ncertificate \"$other\" { rollout = \"immediate\" stage_timeout = \"${stage_timeout}s\" }\n");
	open my $conf, '>>', "$self->{top}/hub.conf" or die $!;
	print $conf "agent \"$_\" { certificates = {\"$other\"} }\n" for @{$self->{crowd_names}}, sort keys %{$self->{kinds}};
	close $conf;
}

# ---- enrolment ----

# `agent add` compares with every other key each time, so for thousands of agents the records are written directly as it
# would write them, and it runs only once.
sub enrol_all {
	my ($self) = @_;
	my $top = $self->{top};
	my ($first, @rest) = @{$self->{real_names}};
	$self->agent_conf($_) for $first, @rest;
	$self->enrol($first) or die Story::read_file("$top/join.log");
	make_path("$top/keys");
	Story::write_file("$top/line", <<"SCRIPT", 0755);
#!/bin/sh
set -eu
case \$1 in
a*) $Story::bin/certsync-agent identity -c $top/\$1/agent.conf >$top/keys/\$1.line; cp -a $top/$first/etc/pins $top/\$1/etc ;;
*) ssh-keygen -q -t ed25519 -N '' -f $top/keys/\$1 </dev/null ;;
esac
SCRIPT
	my @new = (@rest, @{$self->{crowd_names}}, sort keys %{$self->{kinds}});
	Story::write_file("$top/names", join '', map { "$_\n" } @new);
	system("xargs -a $top/names -n 1 -P 4 $top/line >>$top/enrol.log 2>&1") == 0 or die Story::read_file("$top/enrol.log");
	$self->record($_) for @new;
	system("chown -R certsync-hub: $top/hub/records/agents && chown -R certsync-agent: $top/keys && chmod 755 $top/keys") == 0 or die;
	my $line = `$Story::bin/certsync-agent identity -c $top/$first/agent.conf`;
	chomp $line;
	my ($code, $output) = $self->certsync('agent', 'add', $first, '--key', "'$line'");
	die $output if $code;
	my $file = "$Separate::home/.ssh/authorized_keys";
	$self->until('keys', sub { @new + 1 == (() = Story::read_file($file) =~ /command=/g) }, 120) or die 'authorized_keys: ' . `wc -l $file`;
}

sub record {
	my ($self, $name) = @_;
	my ($ssh, $seal) = Story::read_file("$self->{top}/keys/$name.line") =~ /^certsync-agent:1 (\S+ \S+) x25519:(\S+)/;
	if (!$ssh) {
		($ssh) = Story::read_file("$self->{top}/keys/$name.pub") =~ /^(\S+ \S+)/ or die "no key of $name";
		$seal = encode_base64(join('', map { chr int rand 256 } 1 .. 32), '');
	}
	my $directory = "$self->{top}/hub/records/agents/$name";
	make_path($directory, {mode => 0700});
	Story::write_file("$directory/agent.json", encode_json({ssh => $ssh, seal => $seal, added => int time}), 0600);
}

# ---- all come ----

sub settle {
	my ($self) = @_;
	$self->hub_conf;
	$self->hub_up;
	$self->{hub_pid} = $self->child('hub', qr/certsync\0hub\0/);
	$self->{fds_at_start} = descriptors($self->{hub_pid});
	$self->{root_fds_at_start} = descriptors($self->{started}{hub});
	$self->import('a');
	$self->pair('other', names => "DNS:$other", days => 20);
	$self->serve('a');
	$self->enrol_all;
	$self->start_agent($_) for @{$self->{real_names}};
	my $count = $self->{renewed};
	$self->until('real agents', sub { $self->enough_memory; $self->verified == $count }, 120 + $self->{real}) or die "only " . $self->verified . " of $count\n";
	my %as = $self->clones;
	$self->{crowd_process} = Crowd->start(bin => $Story::bin, keys => "$self->{top}/keys", pins => "$self->{top}/a00001/etc/pins/host_keys",
		user => 'certsync-agent', log => "$self->{top}/links.log", honest => $self->{crowd_names}, hostile => $self->{kinds}, as => \%as,
		certificate => $other, patience => $stage_timeout - 2, spread => $self->{spread} // 10);
	$self->{crowd_process}->ask('honest');
	$self->until('crowd', sub { $self->enough_memory; sleep 0.2; $self->{crowd_process}->tell->{connected} == $self->{crowd} }, 300 + $self->{crowd})
		or die "only " . $self->{crowd_process}->tell->{connected} . " of the crowd\n" . substr($self->log('links'), -2000) . $self->log('links.log');
	# An agent that is assigned nothing does not stand in the table.
	$self->until('all', sub { $self->connected >= $self->{renewed} + $self->{crowd} }, 60) or die 'connected: ' . $self->connected;
	$self->count_log(qr/never/);
	$self->{tally} = {}; # what is counted begins here
	return $self;
}

sub enough_memory {
	my ($free) = Story::read_file('/proc/meminfo') =~ /^MemAvailable:\s+(\d+)/m;
	die "memory of this machine gets short ($free KiB): take fewer\n" if $free < $kept_free;
}

sub all_states {
	my ($self) = @_;
	my (undef, $text) = $self->certsync('status', '--json');
	my $all = eval { JSON::PP->new->decode($text) } or return ();
	return @{$all->{agents}};
}
sub connected { my ($self) = @_; return scalar grep { $_->{connected} } $self->all_states }
# Returns those of the fleet and of the crowd that are not connected.
sub absent { my ($self) = @_; return map { $_->{agent} } grep { $_->{agent} =~ /^[ac]/ && !$_->{connected} } $self->all_states }

# ---- what the hub says of whom ----

sub lines {
	my ($self) = @_;
	my @lines = $self->SUPER::lines;
	for (@lines) {
		my ($event, $agent) = /event=(\S+) .*?agent=(\S+)/ or next;
		my ($reason) = /(?:reason|text)="([^"]{0,60})/;
		my ($what) = /what=(\S+)/;
		$self->{tally}{$agent}{join ' ', $event, $what // (), $reason // ''}++ if $event =~ /^(refused|disconnected|stale|agent-error)$/ || /state=failed/;
	}
	return @lines;
}

my %named_by = (
	silent => qr/said no hello/, garbage => qr/frame-/, huge => qr/frame-length/, half => qr/not heard for|inside a frame/,
	greeter => qr/hello came twice/, fetcher => qr/^stale|too often|state=failed/, deaf => qr/output-cap/, liar => qr/^stale|refused|too often/,
	returner => qr/disconnected/, clone => qr/refused twice/,
);

# Returns the hostile agents of whom the log says nothing fitting; one that is only late is not hostile enough for that.
# `except`: kinds that are not asked for.
sub unnamed {
	my ($self, @except) = @_;
	my %as = $self->clones;
	$self->lines;
	return grep {
		my $wanted = $named_by{$self->{kinds}{$_}};
		my $kind = $self->{kinds}{$_};
		$wanted && !grep({ $_ eq $kind } @except) && !grep { $_ =~ $wanted } keys %{$self->{tally}{$as{$_} // $_} // {}};
	} sort keys %{$self->{kinds}};
}

sub lines_of {
	my ($self, $kind) = @_;
	my $count = 0;
	for my $name ($self->kind_of($kind)) { $count += $_ for values %{$self->{tally}{$name} // {}} }
	return $count;
}

# Returns which of the real agents were disconnected, and why; the crowd knows this of its own.
sub real_lost {
	my ($self) = @_;
	$self->lines;
	my @lost;
	for my $agent (grep { /^a\d/ } sort keys %{$self->{tally}}) {
		push @lost, map { "$agent $_" } grep { /^disconnected/ } sort keys %{$self->{tally}{$agent}};
	}
	return @lost;
}

# ---- measurements ----

# Returns the seconds until each of the group has the new certificate.
sub renew {
	my ($self) = @_;
	my $file = ($self->{served} // 'a') eq 'a' ? 'b' : 'a';
	$self->serve($self->{served} = $file);
	$self->lines;
	my ($began, %at) = (time);
	$self->publish_beside($Story::name, $file, 300);
	while (keys %at < $self->{renewed} && time - $began < 240) {
		for ($self->lines) { $at{$1} //= time - $began if /certificate=\Q$Story::name\E .*agent=(\S+) state=(?:verified|unprobed)/ }
		sleep 0.01;
	}
	my @each = sort { $a <=> $b } values %at;
	return {each => \@each, last => $each[-1], missing => $self->{renewed} - keys %at};
}

# Renews the crowd's certificate as well.
sub renew_crowd {
	my ($self) = @_;
	$self->pair('other', names => "DNS:$other", days => 21 + ($self->{crowd_renewals}++ % 300));
	$self->publish_beside($other, 'other', 5);
}

# The command waits for all agents, some of whom will never be done, so nobody waits for the command.
sub publish_beside {
	my ($self, $certificate, $file, $seconds) = @_;
	my $top = $self->{top};
	$self->stop("import $certificate");
	$self->start("import $certificate", 'timeout', $seconds, "$Story::bin/certsync", 'import', $certificate, '--key', "$top/$file.key",
		'--chain', "$top/$file.crt", '--may-expire-sooner', '-c', "$top/hub.conf");
}

sub answer {
	my ($self) = @_;
	my $began = time;
	my ($code) = $self->certsync('status');
	$self->{unanswered}++ if $code == 4;
	return time - $began;
}

sub descriptors { my ($pid) = @_; my @all = glob "/proc/$pid/fd/*"; return scalar @all }
sub pss { my ($pid) = @_; return Story::read_file("/proc/$pid/smaps_rollup") =~ /^Pss:\s+(\d+)/m ? $1 : undef }

sub role {
	my ($words) = @_;
	return 'gate' if $words =~ /^-?(\S*\/)?certsync-gate\b/;
	return $words =~ /listener|-D/ ? 'listener' : 'sshd' if $words =~ /sshd/;
	return undef;
}

# Returns PSS in KiB and descriptors; for gates and sessions these are the means of the same hundred honest ones, chosen
# at the first look, and how many there are.
sub look {
	my ($self) = @_;
	my (%pids, %found);
	for my $pid (map { m{(\d+)$} } glob '/proc/[0-9]*') {
		my $role = role(Story::read_file("/proc/$pid/cmdline") =~ tr/\0/ /r) or next;
		push @{$pids{$role}}, $pid;
	}
	for my $role (qw(gate sshd)) {
		$self->{chosen}{$role} //= [grep { defined } (sort { $a <=> $b } @{$pids{$role} // []})[0 .. 99]];
		my ($sum, $fds, $count) = (0, 0, 0);
		for (@{$self->{chosen}{$role}}) {
			my $pss = pss($_) // next;
			$sum += $pss;
			$fds += descriptors($_);
			$count++;
		}
		$found{$role} = {pss => $sum / ($count || 1), fds => $fds / ($count || 1), count => scalar @{$pids{$role} // []}, chosen => $count};
	}
	my %one = (hub => $self->{hub_pid}, root => $self->{started}{hub}, listener => $pids{listener}[0]);
	$found{$_} = {pss => pss($one{$_}), fds => descriptors($one{$_})} for keys %one;
	return {at => time, %found};
}

# ---- all leave ----

sub all_leave {
	my ($self) = @_;
	my $status = (delete $self->{crowd_process})->end;
	$self->stop($_) for @{$self->{real_names}};
	my $gone = $self->until('gone', sub { !$self->connected && !$self->sessions }, 120);
	# The last `status` has a descriptor of the hub, too, until it has ended.
	$self->until('descriptors', sub { descriptors($self->{hub_pid}) <= $self->{fds_at_start} }, 20);
	return $gone && !$status;
}

sub sessions { my ($self) = @_; return scalar $self->of(qr/^-?\S*certsync-gate\b/) }

1;
