#!/usr/bin/perl
# Shows what tests/analysis/boundaries finds: in a small tree one arrow after the other points the wrong way.
use strict;
use warnings;
use Test::More;
use Cwd 'abs_path';
use File::Basename;
use File::Path 'make_path';
use File::Temp 'tempdir';

my $boundaries = dirname(abs_path($0)) . '/boundaries';
my $cc = $ENV{CC} // 'cc';

sub header {
	my ($file, @lines) = @_;
	my $guard = 'CERTSYNC_' . uc($file =~ tr{/.}{__}r);
	return join "\n", "#ifndef $guard", "#define $guard", @lines, '#endif', '';
}

my %sound = (
	'lib/core/buf.h' => header('lib/core/buf.h', 'void buf(void);'),
	'lib/core/buf.c' => qq(#include "lib/core/buf.h"\nvoid buf(void)\n{\n}\n),
	'hub/daemon/agents/session.h' => header('hub/daemon/agents/session.h', 'void session(void);'),
	'hub/daemon/agents/session.c' => qq(#include "hub/daemon/agents/session.h"\n#include "lib/core/buf.h"\nvoid session(void)\n{\n\tbuf();\n}\n),
	'hub/daemon/rollout/fleet.h' => header('hub/daemon/rollout/fleet.h', 'void fleet(void);'),
	'hub/daemon/rollout/fleet.c' =>
		qq(#include "hub/daemon/rollout/fleet.h"\n#include "hub/daemon/agents/session.h"\nvoid fleet(void)\n{\n\tsession();\n}\n),
);

sub judge { # takes the sound tree with these files added or replaced; returns the exit code and what was said
	my ($with_objects, %other) = @_;
	my %tree = (%sound, %other);
	my $dir = tempdir(CLEANUP => 1);
	for my $file (sort keys %tree) {
		make_path(dirname("$dir/$file"), dirname("$dir/obj/$file"));
		open my $out, '>', "$dir/$file" or die "$file: $!";
		print $out $tree{$file};
		close $out or die "$file: $!";
	}
	for my $file (sort grep { $with_objects && /c$/ } keys %tree) {
		$file =~ /(.*)\.c$/;
		system($cc, "-I$dir", '-c', '-o', "$dir/obj/$1.o", "$dir/$file") == 0 or die "$file is not compiled";
	}
	my $said = `'$boundaries' '$dir' @{[$with_objects ? 'obj' : '']} 2>&1`;
	return ($? >> 8, $said);
}

sub passes {
	my ($name, $with_objects, %other) = @_;
	my ($code, $said) = judge($with_objects, %other);
	is "$code $said", '0 ', $name;
}

sub fails {
	my ($name, $wanted, $with_objects, %other) = @_;
	my ($code, $said) = judge($with_objects, %other);
	isnt $code, 0, "$name: it fails";
	like $said, $wanted, "$name: it says so";
}

passes 'a sound tree', 0;
passes 'a sound tree with its objects', 1;

my $upward = $sound{'hub/daemon/agents/session.c'};
fails 'an include that points upward', qr{^hub/daemon/agents/session\.c:1: includes hub/daemon/rollout/fleet\.h: hub/daemon/agents may not use hub/daemon/rollout$}m,
	0, 'hub/daemon/agents/session.c' => qq(#include "hub/daemon/rollout/fleet.h"\n$upward);
fails 'an include of another process', qr{hub/worker/job\.c:1: includes hub/daemon/agents/session\.h: hub/worker may not use hub/daemon/agents},
	0, 'hub/worker/job.c' => qq(#include "hub/daemon/agents/session.h"\n);
fails 'an include of what only one file may use', qr{hub/cli/show\.c:1: includes hub/daemon/daemon\.h: hub/cli may not use hub/daemon/daemon},
	0, 'hub/daemon/daemon.h' => header('hub/daemon/daemon.h'), 'hub/cli/show.c' => qq(#include "hub/daemon/daemon.h"\n);
passes 'that file', 0, 'hub/daemon/daemon.h' => header('hub/daemon/daemon.h'), 'hub/cli/main.c' => qq(#include "hub/daemon/daemon.h"\n);

my %silent = ('hub/daemon/agents/session.c' => "void fleet(void);\nvoid session(void);\nvoid session(void)\n{\n\tfleet();\n}\n");
passes 'a call upward without an include, by the sources alone', 0, %silent;
fails 'a call upward without an include', qr{^hub/daemon/agents/session\.c: uses fleet of hub/daemon/rollout/fleet\.c: hub/daemon/agents may not use hub/daemon/rollout$}m,
	1, %silent;

sub round { # returns files of one folder, each of which calls the next one
	my @names = @_;
	return map {
		my ($own, $next) = ($names[$_], $names[ ($_ + 1) % @names ]);
		("hub/daemon/acme/$own.c" => "void $next(void);\nvoid $own(void);\nvoid $own(void)\n{\n\t$next();\n}\n")
	} 0 .. $#names;
}
passes 'two files that call each other', 1, round('order', 'renewal');
fails 'three that go round', qr{^a circle: hub/daemon/acme/limits\.c, hub/daemon/acme/order\.c, hub/daemon/acme/renewal\.c$}m,
	1, round('order', 'renewal', 'limits');

fails 'a folder that nobody has thought of', qr{hub/daemon/misc/util\.c: hub/daemon/misc has no row}, 0, 'hub/daemon/misc/util.c' => "\n";
fails 'too many nouns', qr{lib/wire: 21 nouns}, 0, map { ("lib/wire/noun$_.c" => "\n") } 1 .. 21;
fails 'a guard of another file', qr{lib/wire/json\.h: its include guard is CERTSYNC_LIB_WIRE_TEXT_H, not CERTSYNC_LIB_WIRE_JSON_H},
	0, 'lib/wire/json.h' => header('lib/wire/text.h');

my $said = `'$boundaries' '@{[dirname($boundaries)]}/../..' nowhere 2>&1`;
isnt $?, 0, 'objects that are not there: it fails';
like $said, qr{\.o is not there: make all}, 'and says what to do';

done_testing;
