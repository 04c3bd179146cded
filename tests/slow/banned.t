#!/usr/bin/perl
# An agent whose key was taken away, at an sshd that a real fail2ban watches with its `aggressive` filter: it asks at most three times in ten
# minutes and is not banned; an ssh that asks as often as it likes is.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../e2e/lib";
use Separate;
use Story;
use Test::More;
use Time::HiRes qw(time);

my $minutes = 10;
Separate->enter;
my $s = Separate->new;
my $top = $s->top;

# fail2ban looks for sshd's lines as syslog writes them.
{
	no warnings 'redefine';
	my $plain = \&Story::start;
	*Story::start = sub {
		my ($self, $what, @command) = @_;
		return $plain->($self, $what, @command) if $what ne 'sshd';
		my $words = q(use POSIX; $| = 1; while (<STDIN>) { print strftime('%b %e %T', localtime), " node sshd[$$]: $_" });
		return $plain->($self, $what, 'sh', '-c', 'exec "$@" 2>&1 | perl -e "$0"', $words, @command);
	};
}

sub fail2ban_starts {
	my $dir = "$top/fail2ban";
	system("cp -a /etc/fail2ban $dir && rm -rf $dir/jail.d $dir/jail.local && mkdir $dir/jail.d") == 0 or die;
	Story::write_file("$dir/action.d/told.conf", "[Definition]\nactionban = echo <ip> >>$top/banned\nactionunban =\n");
	Story::write_file("$dir/fail2ban.local", "[Definition]\ndbfile = :memory:\n");
	Story::write_file("$dir/jail.local", <<"CONF");
[DEFAULT]
ignoreself = false
[sshd]
enabled = true
filter = sshd[mode=aggressive]
backend = polling
logpath = $top/sshd.log
action = told
findtime = 10m
maxretry = 5
CONF
	my @files = ('-c', $dir, '-s', "$top/f2b.sock", '-p', "$top/f2b.pid", '--logtarget', "$top/f2b.log");
	$s->start('fail2ban', 'fail2ban-server', @files, '-f', 'start');
	return $s->until('fail2ban', sub { `fail2ban-client @files status sshd 2>&1` =~ /Currently failed/ });
}

# Returns how often a login was refused.
sub refusals { return scalar(() = $s->log('sshd') =~ /Failed publickey|Connection (?:closed|reset) by authenticating|Too many auth/g) }
sub banned { return Story::read_file("$top/banned") }

$s->pair('a');
ok($s->up, 'two agents are there') or BAIL_OUT($s->log('mail') . $s->log('sshd'));
ok(fail2ban_starts(), 'fail2ban watches') or BAIL_OUT($s->log('fail2ban') . Story::read_file("$top/f2b.log"));
is(($s->certsync('agent', 'remove', 'mail'))[0], 0, 'the key of one is taken away');
ok($s->until('refused', sub { refusals() > 0 }, 60), 'it is refused') or diag($s->log('sshd'), $s->log('mail'));
my $since = time;
my $most = 0;
$s->until('ten minutes', sub { $most = refusals() if refusals() > $most; return $most > 3 || banned() ne '' }, 60 * $minutes);
cmp_ok($most, '>=', 2, sprintf '%d attempts in %.0f s: it goes on asking', $most, time - $since);
cmp_ok($most, '<=', 3, 'but at most three times');
is(banned(), '', 'and is not banned');

system("ssh-keygen -q -t ed25519 -N '' -f $top/stranger") == 0 or die;
system("ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=$top/known -i $top/stranger"
	. " certsync-gate\@127.0.0.1 >>$top/stranger.log 2>&1") for 1 .. 5;
ok($s->until('ban', sub { banned() =~ /127\.0\.0\.1/ }), 'five refusals in a row are banned: the filter works')
	or diag($s->log('sshd'), Story::read_file("$top/f2b.log"));
$s->ends_clean;
done_testing;
