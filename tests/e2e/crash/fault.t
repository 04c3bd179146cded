#!/usr/bin/perl
# This is the short run of tests/fault/fault, in which system calls fail: always the same ones, so that a failure comes
# from a change. `make fault` chooses by chance.
# Not under valgrind: it makes the libraries' calls fail that valgrind replaces.
# Not with a sanitizer: a sanitizer's own calls fail, too; make fault-calls is that under it.
use strict;
use warnings;
use FindBin;
$ENV{CERTSYNC_SEED} //= 1002;
exec "$FindBin::Bin/../../fault/fault", '--runs', 100 or die "tests/fault/fault: $!";
