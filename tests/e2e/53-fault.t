#!/usr/bin/perl
# The short run of tests/fault/fault: system calls that fail, chosen by chance.
use strict;
use warnings;
use FindBin;
exec "$FindBin::Bin/../fault/fault", '--runs', 100 or die "tests/fault/fault: $!";
