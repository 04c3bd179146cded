#!/usr/bin/perl
# The manual pages say what the programs do: each page is well formed, and has each command and option that help shows,
# each key that the configurations take with its default, each message and member of the protocol, and nothing else.
# Not under valgrind: it runs nothing but help.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(basename dirname);
use Test::More;

my $root = abs_path(dirname(__FILE__) . '/../../..');
my $bin = $ENV{CERTSYNC_BIN} // "$root/build/bin";

sub read_file {
	my ($path) = @_;
	open my $file, '<', $path or die "$path: $!";
	local $/;
	return <$file>;
}

# Returns the items of a page's section or subsection, "NAME" => its source, up to the next item of the same list.
sub items {
	my ($text, $macro) = @_;
	my (%items, $name);
	my ($depth, $level) = (0, 0);
	for my $line (split /\n/, $text) {
		$depth++ if $line =~ /^\.Bl\b/;
		$depth-- if $line =~ /^\.El\b/;
		if ($line =~ /^\.It $macro ([^"]\S*(?: [a-z]+)?)/ && (!$level || $depth <= $level)) {
			($name, $level) = ($1, $depth);
			$items{$name} = '';
		}
		undef $name if $depth < $level;
		$items{$name} .= "$line\n" if defined $name;
	}
	return %items;
}

sub part {
	my ($page, $kind, $title) = @_;
	my $end = $kind eq 'Sh' ? qr/^\.Sh /m : qr/^\.S[hs] /m;
	my ($part) = $page =~ /^\.$kind \Q$title\E\n(.*?)(?=$end|\z)/ms;
	return $part // '';
}

sub same_sets {
	my ($what, $documented, $real) = @_;
	is_deeply([sort @$documented], [sort @$real], $what);
}

# The pages themselves come first.

my @pages = glob "$root/man/*.[1-9]";
is(scalar @pages, 5, 'there are five pages');
for my $page (@pages) {
	# Whether the page that another one refers to is installed depends on the machine, and not on the page.
	my @faults = grep { !/referenced manual not found|mandoc\.db/ } `mandoc -Tlint '$page' 2>&1`;
	is(join('', @faults), '', 'mandoc -Tlint finds no fault in ' . basename($page));
}

# Then come commands and options.

sub check_command {
	my ($program, $command, $documented) = @_;
	my $help = `'$bin/$program' $command --help`;
	my @real = map { "-$_" } $help =~ /^    -(-[a-z-]+)/mg;
	my %items = items($documented, 'Fl');
	same_sets("$program $command: its options", [map { /^(\S+)/; "-$1" } keys %items], \@real);
}

for my $program ('certsync', 'certsync-agent') {
	my $page = read_file("$root/man/$program.1");
	my %documented = items(part($page, 'Sh', 'COMMANDS'), 'Cm');
	my ($list) = `'$bin/$program' help` =~ /^usage:.*?\n\n(.*?)\n\n/ms;
	my @real = map { /^  ([a-z]+(?: [a-z]+)?)(?= |$)(?:  | [A-Z\[]|$)/ ? $1 : /^  ([a-z]+)/ } split /\n/, $list;
	same_sets("$program: its commands", [keys %documented], \@real);
	check_command($program, $_, $documented{$_} // '') for @real;
}

# The synopsis has each command once, with the options that its help has.

for my $program ('certsync', 'certsync-agent') {
	my %synopsis;
	for my $line (split /^\.Nm \Q$program\E\n/m, part(read_file("$root/man/$program.1"), 'Sh', 'SYNOPSIS')) {
		my ($command) = $line =~ /^\.Cm ([a-z ]+)\n/ or next;
		$synopsis{$command} = join ' ', sort map { "-$_" } $line =~ /\bFl (-[a-z-]+)/g;
	}
	my ($list) = `'$bin/$program' help` =~ /^usage:.*?\n\n(.*?)\n\n/ms;
	my %real;
	for my $command (map { /^  ([a-z]+(?: [a-z]+)?)(?= |$)(?:  | [A-Z\[]|$)/ ? $1 : /^  ([a-z]+)/ } split /\n/, $list) {
		$real{$command} = join ' ', sort map { "-$_" } `'$bin/$program' $command --help` =~ /^    -(-[a-z-]+)/mg;
	}
	is_deeply(\%synopsis, \%real, "$program: its synopsis");
}

# Then come the events of the log.

my %page = (hub => 'certsync', agent => 'certsync-agent');
for my $half (sort keys %page) {
	my $source = join q(), map { read_file($_) } split /\n/, `find "$root/$half" -name "*.c"`;
	my %real = map { $_ => 1 } $source =~ /\blog_(?:event|lines)\([^"]*"([a-z-]+)",/g, $source =~ /\blog_event\([^"]*\? "([a-z-]+)" : "([a-z-]+)",/g;
	my %events = map { $_ => 1 } map { split / , / } part(read_file("$root/man/$page{$half}.1"), 'Sh', 'LOG') =~ /^\.It Cm (.*)/mg;
	same_sets("$page{$half}: the events of its log", [keys %events], [keys %real]);
}

# Then come configuration keys: the page has each with its default, its range and its words, as the rows have them by
# which the programs read it.

sub rows {
	my ($half) = @_;
	my %sections;
	for my $line (`'$bin/../tests/rows_tool' $half`) {
		chomp $line;
		my %row;
		(my $section, my $key, @row{qw(type value low high words mandatory with)}) = split /\t/, $line, -1;
		$sections{$section eq '' ? 'Top level' : "The $section section"}{$key} = \%row;
	}
	return %sections;
}

sub seconds {
	my ($text) = @_;
	my %unit = (s => 1, m => 60, h => 3600, d => 86400);
	return $text =~ /^(\d+)([smhd])$/ ? $1 * $unit{$2} : -1;
}

# Returns what a page does not say of a key, a word for each.
sub unsaid {
	my ($text, $row) = @_;
	my @unsaid;
	push @unsaid, 'default' if $row->{value} ne '' && $text !~ /^Default:\n\.\w+ \Q$row->{value}\E \.$/m;
	push @unsaid, 'mandatory' if ($row->{mandatory} ne '') != ($text =~ /^Mandatory\.$/m);
	if ($row->{type} eq 'duration') {
		my ($low, $high) = $text =~ /^\.Li (\d+[smhd])\nto\n\.Li (\d+[smhd]) [.;]$/m;
		push @unsaid, 'range' if seconds($low // '') != $row->{low} || seconds($high // '') != $row->{high};
	} elsif ($row->{high}) {
		push @unsaid, 'number' if $text !~ /\bup\s+to $row->{high}\b/;
	}
	push @unsaid, map { "word $_" } grep { $text !~ /^\.Li (?:.*[ ,])?\Q$_\E(?:[ ,]|$)/m } split / /, $row->{words};
	return @unsaid;
}

for my $half ('hub', 'agent') {
	my $page = read_file("$root/man/certsync-$half.conf.5");
	my %sections = rows($half);
	cmp_ok(scalar keys %sections, '>', 4, "$half.conf: it has rows");
	my @parts = part($page, 'Sh', 'KEYS') =~ /^\.Ss (.*)/mg;
	same_sets("$half.conf: its sections", \@parts, [keys %sections]);
	for my $title (sort keys %sections) {
		my %keys = %{$sections{$title}};
		my %documented = items(part($page, 'Ss', $title), 'Cm');
		same_sets("$half.conf, $title: its keys", [keys %documented], [keys %keys]);
		my @wrong = map { my $key = $_; map { "$key: $_" } unsaid($documented{$key} // '', $keys{$key}) } sort keys %keys;
		is("@wrong", '', "$half.conf, $title: defaults, ranges, words, and what is mandatory");
	}
	my $dictionary = read_file("$root/tests/fuzz/dictionaries/${half}_config");
	my %words = map { $_ => 1 } map { keys %$_, map { split / /, $_->{words} } values %$_ } values %sections;
	$words{$_} = 1 for map { /^The (\w+) section/ ? $1 : () } keys %sections;
	my @untried = grep { $dictionary !~ /^"\Q$_\E"$/m } sort keys %words;
	is("@untried", '', "$half.conf: its fuzz dictionary has all keys, sections and words");
}

# The messages of the protocol and their members come last.

my $protocol = read_file("$root/man/certsync-protocol.7");
my $encoders = read_file("$root/lib/wire/message.c");
my %documented = items(part($protocol, 'Sh', 'MESSAGES') =~ s/^\.Ss Stale.*//msr, 'Cm');
same_sets('protocol: its messages', [keys %documented], [$encoders =~ /^\t\{MESSAGE_\w+, "(\w+)"/mg]);
my %members = map { $_ => 1 } $encoders =~ /(?:put_\w+|cJSON_Add\w+ToObject)\(o, "(\w+)"/g;
my @missing = grep { $protocol !~ /^\.It Li (?:\w+ , )*$_\b/m && $protocol !~ /^\.Li $_\b/m } sort keys %members;
is("@missing", '', 'protocol: the members of its messages');

done_testing;
