# What stories of joining have in common: a hub behind a real sshd on another port, and the line's way to a node.
#
#   $s->sshd_at(NAME, KEY, LISTEN…)    starts an sshd with this host key
#   $s->hub_begins / hub_again         starts the hub, with hub.conf as it is
#   $s->change_hub(REGEX, TEXT)        changes hub.conf, and has it read again
#   $s->line_of(WORDS…)                returns what `certsync agent WORDS` prints
#   $s->join_with(LINE, OPTIONS…)      returns the exit code and the output of certsync-agent join
#   $s->key_lines(AGENT)               returns the agent's lines in authorized_keys
package Join;
use strict;
use warnings;
use Separate;
use Story;
our @ISA = qw(Separate);

our $authorized = "$Separate::home/.ssh/authorized_keys";
our $administrator = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g admin@desk';

# A story has keys refused more often than a node would, and all of them come from one address. From 9.8 on sshd turns such an address away
# for a while, unless it is told not to; before that it does not know the words.
sub sshd_at {
	my ($self, $name, $key, @listen) = @_;
	my $penalizes = system("/usr/sbin/sshd -T -f /dev/null -h $key -o PerSourcePenalties=no >/dev/null 2>&1") == 0;
	Story::write_file("/etc/ssh/$name.conf", join '', map { "$_\n" } (map { "ListenAddress $_" } @listen), "HostKey $key",
		'PidFile none', 'UsePAM no', 'PasswordAuthentication no', 'KbdInteractiveAuthentication no', 'LogLevel VERBOSE',
		$penalizes ? 'PerSourcePenalties no' : ());
	my $before = length $self->log($name);
	$self->start($name, '/usr/sbin/sshd', '-D', '-e', '-f', "/etc/ssh/$name.conf");
	$self->until($name, sub { substr($self->log($name), $before) =~ /Server listening/ }) or die $self->log($name);
}

sub hub_again {
	my ($self) = @_;
	$self->stop('hub');
	$self->start('hub', "$Story::bin/certsync-hub-root", '-c', "$self->{top}/hub.conf");
	$self->until('hub', sub { -S '/run/certsync-hub/control.sock' && ($self->certsync('status'))[0] != 4 }) or die $self->log('hub');
}

sub hub_begins {
	my ($self, $ssh, @agents) = @_;
	$self->hub_conf(agents => \@agents);
	my $text = Story::read_file("$self->{top}/hub.conf");
	$text =~ s/^ssh = .*/ssh = "$ssh"/m;
	Story::write_file("$self->{top}/hub.conf", $text, 0640);
	system("mkdir -p $Separate::home/.ssh && chmod 755 $Separate::home/.ssh");
	Story::write_file($authorized, "# the administrator's\n$administrator\n", 0644);
	$self->hub_again;
	$self->pair('first');
	$self->import('first');
}

sub change_hub {
	my ($self, $old, $new) = @_;
	my $text = Story::read_file("$self->{top}/hub.conf");
	$text =~ s/$old/$new/ or die "nothing to change: $old";
	Story::write_file("$self->{top}/hub.conf", $text, 0640);
	return $self->reload;
}

sub line_of {
	my ($self, @words) = @_;
	my ($code, $out) = $self->certsync('agent', @words);
	return $out =~ /^(certsync-hub:1 .*)$/m ? $1 : "exit $code: $out";
}

sub join_with {
	my ($self, $line, @options) = @_;
	pipe(my $reader, my $writer) or die $!;
	print $writer "$line\n";
	close $writer;
	my $pid = open(my $out, '-|') // die $!;
	if ($pid == 0) {
		open STDIN, '<&', $reader or die $!;
		open STDERR, '>&', \*STDOUT or die $!;
		exec "$Story::bin/certsync-agent", 'join', @options;
	}
	close $reader;
	my $said = do { local $/; <$out> } // '';
	close $out;
	return ($? >> 8, $said);
}

sub key_lines {
	my ($self, $agent) = @_;
	return grep { /certsync:$agent$/ } split /\n/, Story::read_file($authorized);
}

1;
