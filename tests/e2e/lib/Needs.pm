# What a story cannot do without. When a program is missing, that is no reason to pass: the story fails, and says what
# mends it. Without root a story leaves out what needs root, and says so, also in the list at the end of `make e2e`
# (CERTSYNC_NOT_RUN).
#
#   needs('/usr/sbin/haproxy', …)          for programs that Debian packages bring
#   needs_root('namespaces')               for the whole story
#   needs_root('a second user', COUNT)     for a SKIP block with so many tests
package Needs;
use strict;
use warnings;
use Exporter qw(import);
use Test::More;
our @EXPORT = qw(needs needs_root);

sub needs {
	my @missing = grep { !-x } @_ or return;
	fail("not installed: @missing; packaging/install-packages tests brings it");
	done_testing;
	exit 1;
}

sub needs_root {
	my ($what, $count) = @_;
	return if $> == 0;
	if (my $path = $ENV{CERTSYNC_NOT_RUN}) {
		open my $file, '>>', $path or die "$path: $!";
		print $file "$0: needs root: $what\n";
	}
	$count ? skip("needs root: $what", $count) : plan(skip_all => "needs root: $what");
}

1;
