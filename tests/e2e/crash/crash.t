#!/usr/bin/perl
# This is the short run of tests/crash/crash, which kills programs and cuts the power: it is always at the same moments,
# and `make crash` chooses by chance.
# Not under valgrind: it stops programs at each system call, and valgrind makes others.
use strict;
use warnings;
use FindBin;
$ENV{CERTSYNC_SEED} //= 260166;
exec "$FindBin::Bin/../../crash/crash", '--kills', 60, '--states', 400 or die "tests/crash/crash: $!";
