# What stories about `doctor` need: a hub's and an agent's configuration in namespaces of their own, and what was found.
#
#   $s->doctor(@words), $s->agent_doctor(@words)   run here for the hub, for the agent `mail`; the exit code
#   $s->of('disk')                                 the lines of one check in what was said last, each with its remedy
#   $s->said                                       all of it
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
