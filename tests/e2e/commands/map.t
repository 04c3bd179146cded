#!/usr/bin/perl
# tests/README.md says which story holds each command and each key: none is missing there, what it names exists, and has
# the words.
# Not under valgrind: it runs nothing but help.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Story;
use Test::More;

my $root = "$FindBin::Bin/../../..";
my $readme = Story::read_file("$root/tests/README.md");

# Returns the file of a story, by the name that the documents have for it.
sub file_of {
	my ($name) = @_;
	return grep { -f } map { "$root/tests/$name$_" } $name =~ m{^(unit|fuzz)/} ? '.c' : '.t', '';
}

# Returns the text of a story, with what it takes from tests/e2e/lib and tests/rogue.
sub text_of {
	my ($file, $seen) = @_;
	return '' if $seen->{$file}++;
	my $text = Story::read_file($file);
	my @parts = ($text =~ /^(?:use|our \@ISA = qw\()\s*(\w+)/mg, $text =~ m{lib/(\w+)\.(?:pm|sh)\b}g);
	return join "\n", $text, map { text_of($_, $seen) } grep { -f } map { my $part = $_; map { "$root/tests/$_" } "e2e/lib/$part.pm", "e2e/lib/$part.sh", "rogue/$part.pm" } @parts;
}

# ---- the tables ----

my (%commands, %keys);
my ($conf, @nowhere, @silent);
my ($map) = $readme =~ /^## What holds a command or a key\n(.*?)(?=^## |\z)/ms;
for my $row (map { [map { s/^ +| +$//gr } split /\|/] } grep { /^\| / } split /\n/, $map // '') {
	(undef, my @cells) = @$row;
	$conf = $cells[0] if @cells == 3 && $cells[1] eq 'key';
	my @what = $cells[-2] =~ /`([^`]+)`/g or next;
	my @stories = split /, /, $cells[-1];
	@cells == 3 ? ($keys{"$conf, $cells[0]"}{$_} = 1) : ($commands{$_} = 1) for @what;
	push @nowhere, grep { !file_of($_) } @stories;
	for my $story (@stories) {
		my $text = join "\n", map { text_of($_, {}) } file_of($story);
		push @silent, map { "$_: $story" } grep { grep { $text !~ /\b\Q$_\E\b/ } grep { !/^certsync/ } split / / } @what;
	}
}
is("@nowhere", '', 'the stories of the tables are there');
is(join("\n", @silent), '', 'each story has what it is said to hold');

# ---- against the programs and the manual pages ----

my %real;
for my $program ('certsync', 'certsync-agent') {
	my ($list) = `$Story::bin/$program help` =~ /^usage:.*?\n\n(.*?)\n\n/ms;
	$real{"$program $_"} = 1 for map { /^  ([a-z]+(?: [a-z]+)?)(?=  | [A-Z\[]|$)/ ? $1 : () } split /\n/, $list;
}
cmp_ok(scalar(keys %real), '>', 20, 'the programs say which commands they have');
is_deeply([sort keys %commands], [sort keys %real], 'each command has its story');

for my $half ('hub', 'agent') {
	my ($all) = Story::read_file("$root/man/certsync-$half.conf.5") =~ /^\.Sh KEYS\n(.*?)(?=^\.Sh )/ms;
	my %sections = $all =~ /^\.Ss (.*)\n((?:(?!\.Ss ).*\n)*)/mg;
	cmp_ok(scalar(keys %sections), '>=', 4, "$half.conf: its manual page has its sections");
	for my $section (sort keys %sections) {
		# Only the items of the section's own list are keys, and not those of a list inside.
		my ($depth, @documented) = 0;
		for (split /\n/, $sections{$section}) {
			$depth += /^\.Bl\b/ ? 1 : /^\.El\b/ ? -1 : 0;
			push @documented, $1 if $depth == 1 && /^\.It Cm ([a-z_]+)$/;
		}
		is_deeply([sort keys %{$keys{"$half.conf, $section"} // {}}], [sort @documented], "$half.conf, $section: each key has its story");
	}
}

# ---- what else names stories ----

my %documents = map { $_ => Story::read_file("$root/$_") } 'tests/README.md', 'SECURITY.md', 'CONTRIBUTING.md', 'README.md', 'Makefile';
my @lost;
for my $document (sort keys %documents) {
	# A list in braces stands for each of its names.
	my $text = $documents{$document} =~ s/([\w\/-]+)\{([\w,-]+)\}/join ' ', map { "$1$_" } split m{,}, $2/ger;
	for my $name ($text =~ m{\b((?:tests/)?(?:e2e/[a-z]+|unit|fuzz|slow)/[a-z][\w-]*+)(?!\*)}g) {
		(my $short = $name) =~ s{^tests/}{};
		push @lost, "$document: $name" if !-d "$root/tests/$short" && !file_of($short);
	}
}
is("@lost", '', 'the stories that documents name are there');

# `make e2e` looks for stories in these places.
my @found = map { s{^\Q$root\E/}{}r } split /\n/, `find '$root/tests/e2e' -name '*.t'`;
is(join(' ', grep { !m{^tests/e2e/(?:join|issue|watch|rollout|services|alert|commands|recover|rogue|crash|package)/[a-z-]+\.t$} } @found), '',
	'each story has a subject, and a name');
done_testing;
