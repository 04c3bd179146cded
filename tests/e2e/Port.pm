# TCP ports of 127.0.0.1 for one story. Stories run side by side, so a port that was merely free a moment ago could be another's by
# now: each has a hundred of its own, below those that the kernel gives out by itself.
package Port;
use strict;
use warnings;
use Exporter qw(import);
use IO::Socket::INET;

our @EXPORT_OK = qw(free_port);
my ($first, $size) = (10000 + 100 * ($$ % 200), 100);
my ($given, $owner) = (0, $$);

# A child that was forked takes what the kernel gives: it knows not what its siblings have taken.
sub free_port {
	return any_port() if $$ != $owner;
	for (1 .. $size) {
		my $port = $first + $given++ % $size;
		my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 1) or next;
		return $socket->sockport;
	}
	return any_port(); # something else of this machine has them all
}

sub any_port { return IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 1)->sockport }

1;
