#!/usr/bin/perl
# Reads what the build flags promise from the ELF files of every program, those of this build and those of the Debian
# packages. Programs are found by looking, so that a new one is held to the same.
#
#   The file itself shows PIE, RELRO with all bound at the start, no executable stack, nothing writable and executable,
#   no text relocation and no RPATH; the marks of IBT and of the shadow stack; __stack_chk_fail, and the fortified calls.
#   Its instructions show, on x86, that no stack grows by more than a page without a probe of that page.
#   Its debugging information shows what leaves no other trace: the flags with which each source was compiled. That of
#   the packages is in -dbgsym.
#
# Under the sanitizers, valgrind and coverage programs are built without these flags, and this story is left out there.
# The third level of _FORTIFY_SOURCE shows in a file only as more calls of the same kind: seen is that these calls are there, and of the
# command that compiles, also with what Debian's tools add to it, that it comes down to that level.
# Not under valgrind: it looks for build flags of which some would hide from valgrind what is not initialized.
# Not with a sanitizer: a sanitizer takes the place of what is looked for.
# Not for coverage: it looks for what is built as usual.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Find;
use File::Temp;
use Test::More;

my $root = abs_path(dirname(__FILE__) . '/../../..');
my $bin = $ENV{CERTSYNC_BIN} // "$root/build/bin";
my $x86 = `uname -m` =~ /x86_64/;
$ENV{LC_ALL} = 'C';

sub output {
	# A file of debugging information has nothing else, and readelf complains of each section that it lacks.
	my $quoted = join ' ', map { "'$_'" } @_;
	open my $out, '-|', "$quoted 2>/dev/null" or die "$_[0]: $!";
	local $/;
	my $text = <$out>;
	close $out;
	fail("$quoted: ends well") if $?;
	return $text // '';
}

sub elf_files {
	my ($directory, $name) = @_;
	my @found;
	find({no_chdir => 1, wanted => sub {
		return if -l || !-f || !/$name/;
		open my $file, '<:raw', $_ or die "$_: $!";
		read $file, my $magic, 4;
		push @found, $_ if $magic eq "\x7fELF";
	}}, $directory);
	return sort @found;
}

sub marks {
	my ($notes) = @_;
	my ($marks) = $notes =~ /x86 feature: (.*)/;
	return {map { ($_ => 1) } split /, /, $marks // ''};
}

# A program has IBT only when its start files have it, too, which are the C library's.
chomp(my $start = `cc -print-file-name=Scrt1.o`);
my $start_marks = marks(output('readelf', '-n', $start));

sub linked_well {
	my ($file, $name) = @_;
	my $elf = output('readelf', '-W', '-h', '-l', '-d', $file);
	like($elf, qr/Type:\s+DYN .*^ .*FLAGS_1.* PIE/ms, "$name: position-independent");
	like($elf, qr/^ +GNU_RELRO .*^ .*\(FLAGS_1\).* NOW/ms, "$name: read-only after relocation, and all of it at the start");
	like($elf, qr/^ +GNU_STACK (?:\s*0x\w+)+ RW +0x/m, "$name: no executable stack");
	my @segments = $elf =~ /^ +LOAD (?:\s*0x\w+)+ (.{3})/mg;
	cmp_ok(scalar(grep { /E/ } @segments), '>', 0, "$name: there is code");
	is_deeply([grep { /W.*E/ } @segments], [], "$name: nothing is writable and executable");
	unlike($elf, qr/\((RPATH|RUNPATH|TEXTREL)\)/, "$name: neither a path to libraries of its own nor text relocations");
	if ($x86) {
		my $marks = marks(output('readelf', '-n', $file));
		ok($marks->{SHSTK}, "$name: marked for the shadow stack");
		is($marks->{IBT} // 0, $start_marks->{IBT} // 0, "$name: marked for IBT where the C library's start files are");
	}
}

sub compiled_well {
	my ($file, $name) = @_;
	my $symbols = output('readelf', '-W', '--dyn-syms', $file);
	like($symbols, qr/UND __stack_chk_fail\b/, "$name: stack protector");
	my @fortified = grep { $_ ne '__stack_chk' } $symbols =~ /UND (__\w+_chk)\b/g;
	cmp_ok(scalar @fortified, '>', 0, "$name: fortified calls: @fortified");
	if ($x86) {
		my $code = output('objdump', '-d', '--no-show-raw-insn', $file);
		my @frames = map { hex } $code =~ /\bsub +\$0x([0-9a-f]{1,8}),%rsp/g;
		cmp_ok(scalar @frames, '>', 0, "$name: there are frames");
		is_deeply([grep { $_ > 0x1000 } @frames], [], "$name: none of them steps over a page at once");
	}
}

# Returns with which flags each source was compiled. Debug information that the files of one package have in common is
# kept by -dbgsym in another file, below $tree.
sub producers {
	my ($file, $tree) = @_;
	my ($common) = output('readelf', '-W', '--debug-dump=links', $file) =~ m{Separate debug info file: (/usr/lib/debug/.dwz/\S+)};
	my %common = $common ? output('readelf', '-W', '-z', '-p', '.debug_str', "$tree$common") =~ /^ +\[ *([0-9a-f]+)\] +(.*)$/mg : ();
	return grep { !/^GNU AS/ } map { /^\(GNU_strp_alt\) \(offset: 0x([0-9a-f]+)\)/ ? $common{$1} // $_ : s/^\([^)]*\): //r }
		output('readelf', '-W', '--debug-dump=info', $file) =~ /DW_AT_producer +: (.*)/g;
}

sub flags_are_there {
	my ($name, @units) = @_;
	cmp_ok(scalar @units, '>', 0, "$name: it says how its sources were compiled") or return;
	my @wanted = qw(-fstack-protector-strong -fstack-clash-protection -ftrivial-auto-var-init=zero);
	push @wanted, '-fcf-protection=full' if $x86;
	for my $flag (@wanted) {
		# these versions have it only for trying it out
		next if $flag =~ /auto-var/ && $units[0] =~ /clang version 1[0-5]\./;
		is_deeply([grep { !/(^| )\Q$flag\E( |$)/ } @units], [], "$name: $flag in each of " . @units);
	}
}

# What the compiler has in the end, by the command that make would give it.
my $scratch = File::Temp->newdir;
sub fortified {
	my $object = "$scratch/level/obj/lib/core/buf.o";
	my ($command) = output('make', '-C', $root, '--no-print-directory', '-n', 'V=1', "B=$scratch/level", $object) =~ m{^(.* -c .*lib/core/buf\.c)$}m;
	open my $out, '-|', "cd '$root' && " . ($command // 'false') =~ s/ -MMD -MP -c -o \S+ / -E -dM /r or die $!;
	my ($level) = do { local $/; <$out> } =~ /^#define _FORTIFY_SOURCE (\d+)$/m;
	return $level // 0;
}

# ---- this build ----

my @programs = elf_files($bin, qr{.});
my %is_there = map { (substr($_, 1 + length $bin) => 1) } @programs;
ok($is_there{$_}, "$_ is among what was found") for qw(certsync certsync-agent-root hooks/haproxy);
for my $file (@programs) {
	my $name = substr $file, 1 + length $bin;
	linked_well($file, $name);
	compiled_well($file, $name);
	flags_are_there($name, producers($file, ''));
}
if ($x86) {
	my @objects = map { elf_files("$bin/../obj/$_", qr/\.o$/) } qw(lib hub agent hooks);
	cmp_ok(scalar @objects, '>', 100, 'this build has its objects');
	is_deeply([grep { my $marks = marks(output('readelf', '-n', $_)); !$marks->{IBT} || !$marks->{SHSTK} } @objects], [],
		'each of ' . @objects . ' is marked for IBT and the shadow stack');
}

my $levels = system('echo | cc -Werror -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -include stdio.h -E -o /dev/null - 2>/dev/null') == 0 ? 3 : 2;
is(fortified(), $levels, 'the checks of calls are those of the highest level that this compiler has');

# ---- the packages ----

my %flags = map { /^export (C(?:PP)?FLAGS)="?(.*?)"?$/ ? ($1 => $2) : () } split /\n/, output('env', 'DEB_BUILD_MAINT_OPTIONS=hardening=+all', 'dpkg-buildflags', '--export=sh');
like("@flags{qw(CFLAGS CPPFLAGS)}", qr/_FORTIFY_SOURCE/, 'Debian has a word on them, too');
{
	local @ENV{keys %flags} = values %flags;
	is(fortified(), $levels, '  and they are the same');
}
my $packages = $ENV{CERTSYNC_DEB};
if (!defined $packages) {
	$packages = "$scratch/build/deb";
	system("make -C '$root' --no-print-directory B='$scratch/build' deb >'$scratch/deb.log' 2>&1") == 0
		or BAIL_OUT('make deb failed: ' . `tail -n 20 '$scratch/deb.log'`);
}
my @debs = glob "$packages/*.deb";
cmp_ok(scalar @debs, '>=', 4, 'two packages, and the debugging information of each');
system('dpkg-deb', '-x', $_, "$scratch/tree") == 0 or die $_ for @debs;
my @shipped = grep { !m{/usr/lib/debug/} } elf_files("$scratch/tree", qr{.});
is_deeply([map { s{.*/usr/lib/certsync/}{}r } @shipped], [sort keys %is_there], 'the packages have what was built, and no other program');
for my $file (@shipped) {
	my $name = 'packaged ' . $file =~ s{.*/usr/lib/certsync/}{}r;
	linked_well($file, $name);
	compiled_well($file, $name);
	my ($id, $rest) = output('readelf', '-n', $file) =~ /Build ID: (..)(\w+)/ or fail("$name has a build id");
	flags_are_there($name, producers("$scratch/tree/usr/lib/debug/.build-id/$id/$rest.debug", "$scratch/tree"));
}

done_testing;
