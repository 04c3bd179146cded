# What stories about `doctor` need: a hub's and an agent's configuration in namespaces of their own, and what was found.
#
#   $s->doctor(@words), $s->agent_doctor(@words)   run it for the hub, or for the agent `mail`; return the exit code
#   $s->of('disk')                                 returns the lines of one check in what was said last, with remedies
#   $s->said                                       returns all of it
package Doctor;
use strict;
use warnings;
use Separate;
our @ISA = qw(Separate);

sub said { $_[0]{said} }

sub doctor {
	my ($self, @words) = @_;
	(my $exit, $self->{said}) = $self->certsync('doctor', @words);
	return $exit;
}

sub agent_doctor {
	my ($self, @words) = @_;
	$self->{said} = `$Story::bin/certsync-agent doctor @words -c $self->{top}/mail/agent.conf 2>&1`;
	return $? >> 8;
}

sub of {
	my ($self, $check) = @_;
	return join '', $self->{said} =~ /^((?:ok|warning|wrong|cannot tell) +\Q$check\E: .*\n(?: {13}.*\n)*)/mg;
}

1;
