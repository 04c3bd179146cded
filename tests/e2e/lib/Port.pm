# TCP ports of 127.0.0.1 for one story. Stories run side by side, so a port that was free a moment ago could be another
# story's by now: each has a hundred of its own, below those that the kernel gives out by itself.
package Port;
use strict;
use warnings;
use Exporter qw(import);
use IO::Socket::INET;

our @EXPORT_OK = qw(free_port);
# A story that listens on the first of a hundred ports has them all.
my $size = 100;
my ($first, $guard);
for (0 .. 199) {
	$first = 10000 + $size * (($$ + $_) % 200);
	last if $guard = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $first, Listen => 1);
}
my ($given, $owner) = (0, $$);

# A forked child takes a port from the kernel, since it does not know what its siblings have taken.
sub free_port {
	return any_port() if $$ != $owner;
	for (2 .. $size) {
		my $port = $first + 1 + $given++ % ($size - 1);
		my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 1) or next;
		return $socket->sockport;
	}
	return any_port(); # something else on this machine has them all
}

sub any_port { return IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 1)->sockport }

1;
