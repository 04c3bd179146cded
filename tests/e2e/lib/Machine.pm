# A machine with a real systemd (lib/machine), as a story sees it.
#
#   my $m = Machine->new($story, 'mail');        has it boot; $m->boots waits until it has
#   $m->shell($lines)                            what a shell on it makes of these lines: (exit, what it said)
#   $m->said($lines)                             what it said, without the last newline
#   $m->does($lines, 'what')                     a test that it exits 0
#   $m->put($path, $text)                        writes a file there; $m->brings($file, $path) copies one of ours
#   $m->main_pid($unit), $m->active($unit)       what systemd says of a unit
#   $m->reboots, $m->ends                        whether it has booted again; whether it is switched off
#   $m->serves($port, …)                         Story's served(), asked in its network
#   $m->watched_closely($unit)                   gives the unit a watchdog of seconds and starts it anew
#   Machine::cable($a, $address, $b, $address)   a network of the two
package Machine;
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use Test::More;

my $machine = abs_path(dirname(__FILE__)) . '/machine';

sub new {
	my ($class, $story, $name) = @_;
	my $self = bless {story => $story, name => $name, at => $story->top . "/$name"}, $class;
	$story->start($name, $machine, 'run', $self->{at});
	return $self;
}

sub is_waited_for { return system($machine, 'wait', $_[0]{at}) == 0 }

sub boots {
	my ($self) = @_;
	my $story = $self->{story};
	return $story->until($self->{name}, sub { -s "$self->{at}/init" }, 60) && $self->is_waited_for;
}

sub cable {
	my ($one, $address, $other, $its) = @_;
	return system($machine, 'cable', $one->{at}, $address, $other->{at}, $its) == 0;
}

sub shell {
	my ($self, $lines) = @_;
	my $said = "$self->{at}/said";
	open my $in, '|-', "$machine do $self->{at} sh -s >$said 2>&1" or die $!;
	print $in $lines;
	close $in;
	return ($? >> 8, Story::read_file($said));
}

sub said { return ($_[0]->shell($_[1]))[1] =~ s/\n\z//r }

sub does {
	my ($self, $lines, $what) = @_;
	my ($exit, $text) = $self->shell($lines);
	return ok($exit == 0, "$self->{name}: $what") || diag("exit $exit: $text");
}

sub put {
	my ($self, $path, $text) = @_;
	return $self->does("umask 022; mkdir -p \$(dirname $path); cat >$path <<'EOF'\n${text}EOF\n", "$path is written");
}

sub brings {
	my ($self, $file, $path) = @_;
	return is(system("$machine do $self->{at} sh -c 'umask 022; cat >$path' <$file"), 0, "$self->{name}: $path is brought");
}

sub main_pid { return $_[0]->said("systemctl show -p MainPID --value $_[1]") }
sub active { return $_[0]->said("systemctl is-active $_[1]") }

# The process that is the machine; another one after each boot.
sub booted { return Story::read_file("$_[0]{at}/init") =~ s/\n//r }

sub reboots {
	my ($self) = @_;
	my $before = $self->booted;
	$self->shell('systemctl reboot');
	return $self->{story}->until('reboot', sub { my $now = $self->booted; $now && $now ne $before }, 120) && $self->is_waited_for;
}

sub ends {
	my ($self) = @_;
	$self->shell('systemctl poweroff');
	return $self->{story}->until('off', sub { !-e "$self->{at}/init" }, 60);
}

sub serves {
	my ($self, $port, %wish) = @_;
	return $self->{story}->served($port, %wish, in => "$machine net $self->{at}");
}

sub watched_closely {
	my ($self, $unit) = @_;
	return $self->does("mkdir -p /run/systemd/system/$unit.service.d && printf '[Service]\nWatchdogSec=8s\n' >/run/systemd/system/$unit.service.d/watchdog.conf"
		. " && systemctl daemon-reload && systemctl restart $unit", "$unit: its watchdog is made to wait for seconds instead of minutes");
}

1;
