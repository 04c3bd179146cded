# Courier's servers are started and stopped by a script each: in /usr/sbin on Debian 12, in /usr/lib/courier on 13, where the name alone
# finds the server itself, which takes the word `start` for its user's folder.
#
#   Courier::script('imapd')     its path
package Courier;
use strict;
use warnings;

sub script {
	my ($server) = @_;
	my ($path) = grep { -x } "/usr/sbin/$server", "/usr/lib/courier/$server";
	return $path // die "Courier's $server is not installed\n";
}

1;
