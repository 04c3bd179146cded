#!/usr/bin/perl
# This is the short run of tests/bench/swaps: a renewal at HAProxy, Postfix, Dovecot and nginx under handshakes. `make swaps`
# is the long one.
# Not under valgrind: it counts handshakes at servers; the programs do what they do in issue/haproxy.
use strict;
use warnings;
use File::Temp qw(tempdir);
use FindBin;
use lib "$FindBin::Bin/../lib";
use Needs;
use Test::More;

needs_root('namespaces');
$ENV{CERTSYNC_BENCH} = tempdir('certsync-swaps.XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $text = `'$FindBin::Bin/../../bench/swaps' 1 8 2 2>&1`;
is($?, 0, 'no handshake failed, and none showed what it should not') or diag($text);
for my $service ('HAProxy, runtime API', 'Postfix', 'Dovecot', 'nginx') {
	my ($handshakes) = $text =~ /^$service +handshakes (\d+)  failed 0  another leaf than might be served 0/m;
	cmp_ok($handshakes // 0, '>=', 8, "$service: handshakes, none failed");
}
note($text);
done_testing;
