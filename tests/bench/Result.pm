# What a measurement has found: a table on the terminal, and the same as JSON.
#
#   my $r = Result->new('fleet');          the part's name
#   $r->row('what' => {figure => 1.5, …})  prints a line, with the figures in the order of their names' columns
#   $r->note('words')                      adds a line that explains, to both
#   $r->budget('words', $value, $limit)    says whether the limit is met; a missed budget is a figure, not a failure
#   $r->end                                writes CERTSYNC_BENCH/PART.json (build/bench when unset)
package Result;
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Path qw(make_path);
use JSON::PP;

$| = 1;
# The path is taken before anything changes the directory or covers it.
my $directory = $ENV{CERTSYNC_BENCH} // 'build/bench';
make_path($directory);
$directory = abs_path($directory);

sub new {
	my ($class, $part) = @_;
	print "== $part\n";
	return bless {part => $part, rows => [], notes => [], budgets => []}, $class;
}

sub figure {
	my ($value) = @_;
	return $value if $value !~ /^-?[\d.]+(e-?\d+)?$/i || $value =~ /^-?\d+$/;
	return sprintf abs($value) >= 100 ? '%.0f' : abs($value) >= 10 ? '%.1f' : '%.2f', $value;
}

sub row {
	my ($self, $what, @figures) = @_;
	push @{$self->{rows}}, {what => $what, @figures};
	my $line = sprintf '%-44s', $what;
	while (my ($name, $value) = splice @figures, 0, 2) {
		$line .= sprintf '  %s %s', $name, figure($value // '-');
	}
	print "$line\n";
}

sub note {
	my ($self, $words) = @_;
	push @{$self->{notes}}, $words;
	print "   $words\n";
}

sub budget {
	my ($self, $words, $value, $limit) = @_;
	my $met = $value <= $limit;
	push @{$self->{budgets}}, {what => $words, value => $value, limit => $limit, met => $met ? JSON::PP::true : JSON::PP::false};
	printf "%-44s  %s (at most %s): %s\n", $words, figure($value), figure($limit), $met ? 'met' : 'MISSED';
}

sub end {
	my ($self) = @_;
	open my $file, '>', "$directory/$self->{part}.json" or die "$directory/$self->{part}.json: $!";
	print $file JSON::PP->new->canonical->pretty->encode({%$self});
	close $file or die $!;
}

1;
