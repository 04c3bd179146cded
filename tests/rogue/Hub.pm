# A hub that means ill: it takes an agent's connections on a Unix socket and says what it is told to. It has a signing
# key of its own, which the agent has pinned, so that what it signs is believed to come from the hub.
#
#   my $hub = Hub->new(socket => …, tool => …/root_tool, directory => …)    {signer}: for the line that `join` reads
#   $hub->meet(sub { have the agent come })                                  the next connection, past hello and inventories
#   $hub->say({type => 'welcome', …}); $hub->hear(seconds)                rogue/Peer.pm
#   $hub->bundle($revision, $pem, %wishes)                                  recipient, name, flags, key; change => sub on the bytes
#   $hub->statement($label, $bytes)                                         these, signed as lib/crypto/statement.h has it
package Hub;
use strict;
use warnings;
use IO::Select;
use IO::Socket::UNIX;
use JSON::PP;
use Peer;
use Socket qw(SOCK_STREAM);
use Time::HiRes qw(time);
our @ISA = qw(Peer);

use constant SIGNATURE => 64;

sub new {
	my ($class, %self) = @_;
	unlink $self{socket};
	$self{listener} = IO::Socket::UNIX->new(Local => $self{socket}, Listen => 5, Type => SOCK_STREAM) or die "$self{socket}: $!";
	chomp($self{signer} = `$self{tool} hub $self{directory}/sign.key`);
	# openssl wants the same raw key as PKCS #8.
	open my $in, '<:raw', "$self{directory}/sign.key" or die $!;
	read $in, my $raw, 32;
	open my $out, '>:raw', "$self{directory}/sign.der" or die $!;
	print $out pack('H*', '302e020100300506032b657004220420') . $raw;
	close $out;
	return bless \%self, $class;
}

# The next connection may be one that the agent has given up already in favour of another attempt, and that still waits
# to be accepted.
sub meet {
	my ($self, $ask) = @_;
	my $until = time + 15;
	close delete $self->{peer} if $self->{peer};
	$ask->();
	for (;;) {
		die "the agent does not come\n" if time > $until;
		if (!IO::Select->new($self->{listener})->can_read(1)) {
			$ask->();
			next;
		}
		$self->{peer} = $self->{listener}->accept or die $!;
		$self->{in} = '';
		my @all = $self->hear(5);
		next if !$all[0] || $all[0]{closed};
		push @all, $self->hear(5) for 1 .. $all[0]{count};
		next if IO::Select->new($self->{peer})->can_read(0) && !length $self->{in} && ($self->hear(0.05) // {})->{closed};
		return @all;
	}
}

sub welcome { my ($self, %more) = @_; return {type => 'welcome', protocol => 2, version => '0', name => 'here', clock => time | 0, %more} }

sub offer {
	my ($self, $revision, $attempt, %more) = @_;
	return {type => 'offer', certificate => 'mail.domain.pl', revision => $revision, attempt => $attempt, digest => '1' x 64, fingerprint => '2' x 64,
		not_before => 1, not_after => 4e9, names => ['mail.domain.pl'], may_expire_sooner => JSON::PP::false, rollback => JSON::PP::false,
		force => JSON::PP::false, %more};
}

sub order {
	my ($self, $type, $revision, $attempt, %more) = @_;
	my %extra = $type eq 'activate' ? (timeout => 60, force => JSON::PP::false) : ();
	return {type => $type, certificate => 'mail.domain.pl', revision => $revision, attempt => $attempt, %extra, %more};
}

sub bundle {
	my ($self, $revision, $pem, %wish) = @_;
	my ($epoch, $number) = split /\./, $revision;
	my $name = $wish{name} // 'mail.domain.pl';
	my $key = $wish{key} // "$self->{directory}/sign.key";
	my $recipient = $wish{recipient} // $self->{recipient};
	my $bytes = `$self->{tool} bundle $key $recipient $name $epoch $number @{[$wish{flags} // 0]} $pem`;
	die "no bundle of $pem\n" if $?;
	$bytes = $wish{change}->($self, $bytes) if $wish{change};
	return Peer::frame(Peer::BUNDLE, $bytes);
}

# Makes what somebody who has the hub's key could make of a bundle.
sub signed_anew {
	my ($self, $bytes) = @_;
	my $body = substr $bytes, 0, -SIGNATURE;
	my $file = "$self->{directory}/body";
	open my $out, '>:raw', $file or die $!;
	print $out $body;
	close $out;
	return $body . `openssl pkeyutl -sign -rawin -keyform DER -inkey $self->{directory}/sign.der -in $file`;
}

sub statement {
	my ($self, $label, $bytes) = @_;
	return $bytes . substr $self->signed_anew(pack('N/a* N/a*', $label, $bytes) . "\0" x SIGNATURE), -(SIGNATURE);
}

1;
