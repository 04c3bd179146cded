# What rogue hubs and agents have in common: they speak frames on a socket, {peer}, and {in} has the bytes that were
# read and not used yet.
#
#   $peer->raw($bytes)                 returns false when the other side has hung up
#   $peer->say({…}); Peer::message, Peer::frame: the bytes alone
#   $peer->hear(seconds)               the next frame as a hash: a message's members, or type "frame N" with data,
#                                     or type "closed"; undef when none comes in time
#   $peer->hear_until(qr/type/, seconds)    all frames up to one of that type, or to the end
package Peer;
use strict;
use warnings;
use IO::Select;
use JSON::PP;
use Time::HiRes qw(time);

use constant {MESSAGE => 1, BUNDLE => 2, JOIN => 5};

sub frame { my ($type, $data) = @_; return pack('NC', length($data) + 1, $type) . $data }
sub message { my ($text) = @_; return frame(MESSAGE, ref $text ? encode_json($text) : $text) }

sub raw {
	my ($self, $bytes) = @_;
	local $SIG{PIPE} = 'IGNORE';
	for (my $at = 0; $at < length $bytes;) {
		my $put = syswrite $self->{peer}, $bytes, length($bytes) - $at, $at or return 0;
		$at += $put;
	}
	return 1;
}

sub say { my ($self, $message) = @_; return $self->raw(message($message)) }

sub hear {
	my ($self, $seconds) = @_;
	my $until = time + $seconds;
	for (;;) {
		if (length $self->{in} >= 5) {
			my ($length, $type) = unpack 'NC', $self->{in};
			if (length $self->{in} >= 4 + $length) {
				my $data = substr $self->{in}, 5, $length - 1;
				substr $self->{in}, 0, 4 + $length, '';
				return $type == MESSAGE ? decode_json($data) : {type => "frame $type", data => $data};
			}
		}
		my $left = $until - time;
		return undef if $left <= 0 || !IO::Select->new($self->{peer})->can_read($left);
		sysread $self->{peer}, $self->{in}, 65536, length $self->{in} or return {type => 'closed', closed => 1};
	}
}

sub hear_until {
	my ($self, $type, $seconds) = @_;
	my @all;
	while (my $heard = $self->hear($seconds)) {
		push @all, $heard;
		last if $heard->{closed} || $heard->{type} =~ $type;
	}
	return @all;
}

1;
