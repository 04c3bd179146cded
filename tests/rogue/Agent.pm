# An agent that means ill: it comes to a hub by the gate's socket, under a name that sshd has let in, and says what it
# is told to.
#
#   my $agent = Agent->new(socket => …, prefix => 'mail')     it is connected, and the prefix sent
#   $agent->hello(count => 0, …); $agent->say({…}); $agent->hear(seconds)     as in rogue/Peer.pm
#   Agent::join_request($line, $name, $ssh)     the one frame of a node that joins with this line
package Agent;
use strict;
use warnings;
use Digest::SHA qw(hmac_sha256 sha256);
use IO::Socket::UNIX;
use JSON::PP;
use MIME::Base64;
use Peer;
our @ISA = qw(Peer);

sub new {
	my ($class, %self) = @_;
	$self{peer} = IO::Socket::UNIX->new(Peer => $self{socket}) or die "$self{socket}: $!";
	$self{in} = '';
	my $self = bless \%self, $class;
	$self->raw(pack('C', length $self{prefix}) . $self{prefix}) if defined $self{prefix};
	return $self;
}

sub hello {
	my ($self, %more) = @_;
	return $self->say({type => 'hello', protocol => 2, version => '0', instance => sprintf('%032x', $self->{instance} // 1), clock => time | 0, count => 0, %more});
}

sub inventory {
	my ($certificate, %more) = @_;
	return {type => 'inventory', certificate => $certificate, revision => '0.0', attempt => 0, digest => '', fingerprint => '', not_before => 0, not_after => 0,
		high_water => '0.0', staged => '0.0', stopped => JSON::PP::false, held => JSON::PP::false, %more};
}

# Makes an agent's answer (staged, installed, verified or failed), with every field that any of them needs.
sub verdict {
	my ($type, $certificate, $revision, $attempt, %more) = @_;
	return {type => $type, certificate => $certificate, revision => $revision, attempt => $attempt, milliseconds => 1, fingerprint => '', stopped => JSON::PP::false,
		probes => [], step => 'reload', text => 'I say so', output => '', rolled_back => JSON::PP::false, permanent => JSON::PP::true, repaired => 0, %more};
}

# Returns all frames up to the end of the connection.
sub last_words { my ($self, $seconds) = @_; return $self->hear_until(qr/^closed$/, $seconds // 5) }

sub expand { my ($secret, $label) = @_; return hmac_sha256("$label\x01", hmac_sha256($secret, "\0" x 32)) }
sub parts { return join '', map { pack('N', length) . $_ } @_ }

sub join_request {
	my ($line, $name, $ssh, %change) = @_;
	my ($before, $secret) = $line =~ /^(.*) secret=(\S+)/ or die "no line: $line";
	my $body = pack('C', $change{version} // 1) . parts($name, $ssh) . ($change{seal} // 's' x 32) . ($change{nonce} // 'n' x 32);
	return $body . hmac_sha256(parts('certsync join 1 request', sha256($before), '', $body), expand(decode_base64($secret), 'certsync join 1 mac key'));
}

1;
