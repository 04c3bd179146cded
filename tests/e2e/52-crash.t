#!/usr/bin/perl
# The short run of tests/crash/crash: programs killed, and the power cut, at moments chosen by chance.
use strict;
use warnings;
use FindBin;
exec "$FindBin::Bin/../crash/crash", '--kills', 60, '--states', 400 or die "tests/crash/crash: $!";
