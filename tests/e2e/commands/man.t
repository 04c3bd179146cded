#!/usr/bin/perl
# The manual pages say what the programs do: each page is well formed; each command and option that help shows, each key
# that the configurations take with its default, each message and member of the protocol is there, and nothing else is.
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

# The items of a page's section or subsection, "NAME" => its source, up to the next item of the same list.
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

# Pages.

my @pages = glob "$root/man/*.[1-9]";
is(scalar @pages, 5, 'there are five pages');
for my $page (@pages) {
	# Whether what a page refers to is installed is the machine's matter, not the page's.
	my @faults = grep { !/referenced manual not found|mandoc\.db/ } `mandoc -Tlint '$page' 2>&1`;
	is(join('', @faults), '', 'mandoc -Tlint finds no fault in ' . basename($page));
}

# Commands and options.

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

# Events of the log.

my %page = (hub => 'certsync', agent => 'certsync-agent');
for my $half (sort keys %page) {
	my $source = join q(), map { read_file($_) } split /\n/, `find "$root/$half" -name "*.c"`;
	my %real = map { $_ => 1 } $source =~ /\blog_event\([^"]*"([a-z-]+)",/g, $source =~ /\blog_event\([^"]*\? "([a-z-]+)" : "([a-z-]+)",/g;
	my %events = map { $_ => 1 } map { split / , / } part(read_file("$root/man/$page{$half}.1"), 'Sh', 'LOG') =~ /^\.It Cm (.*)/mg;
	same_sets("$page{$half}: the events of its log", [keys %events], [keys %real]);
}

# Configuration keys, each with its default.

sub tables {
	my ($source) = @_;
	my %tables;
	my ($top) = $source =~ /config_parse\(\w+, \w+, (\w+)_options/;
	while ($source =~ /cfg_opt_t (\w+)_options\[\] = \{\n(.*?)\n\};/gs) {
		my ($name, $body) = ($1, $2);
		my %keys;
		while ($body =~ /CFG_(STR|BOOL|INT|STR_LIST)\("(\w+)", (?:"([^"]*)"|(\w+))/g) {
			my ($type, $key, $text, $word) = ($1, $2, $3, $4);
			$keys{$key} = defined $text ? $text : $type eq 'BOOL' ? $word =~ s/^cfg_//r : undef;
		}
		$tables{$name eq $top ? 'Top level' : "The $name section"} = \%keys;
	}
	return %tables;
}

for my $half ('hub', 'agent') {
	my $page = read_file("$root/man/certsync-$half.conf.5");
	my %tables = tables(read_file("$root/$half/common/config.c"));
	my @parts = part($page, 'Sh', 'KEYS') =~ /^\.Ss (.*)/mg;
	same_sets("$half.conf: its sections", \@parts, [keys %tables]);
	for my $title (sort keys %tables) {
		my %keys = %{$tables{$title}};
		my %documented = items(part($page, 'Ss', $title), 'Cm');
		same_sets("$half.conf, $title: its keys", [keys %documented], [keys %keys]);
		my @wrong = grep { defined $keys{$_} && ($documented{$_} // '') !~ /^Default:\n\.\w+ \Q$keys{$_}\E \.$/m }
			sort keys %keys;
		is("@wrong", '', "$half.conf, $title: its defaults");
	}
}

# The protocol's messages and their members.

my $protocol = read_file("$root/man/certsync-protocol.7");
my $encoders = read_file("$root/lib/wire/message.c");
my %documented = items(part($protocol, 'Sh', 'MESSAGES') =~ s/^\.Ss Stale.*//msr, 'Cm');
same_sets('protocol: its messages', [keys %documented], [$encoders =~ /^\t\{MESSAGE_\w+, "(\w+)"/mg]);
my %members = map { $_ => 1 } $encoders =~ /(?:put_\w+|cJSON_Add\w+ToObject)\(o, "(\w+)"/g;
my @missing = grep { $protocol !~ /^\.It Li (?:\w+ , )*$_\b/m && $protocol !~ /^\.Li $_\b/m } sort keys %members;
is("@missing", '', 'protocol: the members of its messages');

done_testing;
