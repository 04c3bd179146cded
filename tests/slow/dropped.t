#!/usr/bin/perl
# A network that swallows everything, without an answer: both sides notice within 90 s, and what was published meanwhile arrives when it
# is back. The agent is in a network of its own; between it and the hub is a bridge, and that goes down, so that both keep their carrier.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../e2e/lib";
use Separate;
use Story;
use Test::More;
use Time::HiRes qw(time);

Separate->enter;
my $s = Separate->new;
my $top = $s->top;
my ($hub, $node) = ('10.91.0.1', '10.91.0.2');
my @commands = ('ip netns add far', 'ip netns add between', 'ip link add near type veth peer name p1 netns between',
	'ip -n far link add far type veth peer name p2 netns between', 'ip -n between link add bridge type bridge',
	(map { "ip -n between link set $_ master bridge up" } qw(p1 p2)), 'ip -n between link set bridge up',
	"ip addr add $hub/24 dev near", 'ip link set near up', "ip -n far addr add $node/24 dev far", 'ip -n far link set far up',
	'ip -n far link set lo up');
system("$_ >>$top/network.log 2>&1") == 0 or BAIL_OUT("$_: " . $s->log('network')) for @commands;
$s->{listen} = "$hub:22";
$s->pair($_) for qw(a b);

ok($s->up(mail => {hub => "ssh://certsync-gate\@$hub:22"}, before => {mail => [qw(ip netns exec far)]}), 'two agents are there')
	or BAIL_OUT($s->log('mail') . $s->log('hub'));
is(($s->import('a'))[0], 0, 'a certificate');
ok($s->until_state($_, 'unprobed'), "$_ has it") for qw(here mail);

sub waiting { return $s->log('mail') =~ /event=hub-lost/ }
sub absent { return !$s->state_of('mail')->{connected} }
system('ip -n between link set bridge down') == 0 or die;
my $dropped = time;
my %noticed;
ok($s->until('noticed', sub {
	$noticed{agent} //= time - $dropped if waiting();
	$noticed{hub} //= time - $dropped if absent();
	return $noticed{agent} && $noticed{hub};
}, 120), 'both notice') or diag($s->log('mail'), ($s->certsync('status'))[1]);
cmp_ok($noticed{$_} // 999, '<=', 91, sprintf '%s within 90 s and a look (%.0f s)', $_, $noticed{$_} // 999) for qw(agent hub);
my $b = $s->fingerprint("$top/b.crt");
$s->start('import', "$Story::bin/certsync", 'import', $Story::name, '--key', "$top/b.key", '--chain', "$top/b.crt", '-c', "$top/hub.conf");
ok($s->until('staged', sub { ($s->state_of('here')->{state} // '') eq 'staged' }), 'a renewal meanwhile: the agent that is there has staged it')
	or diag($s->log('import'));
like(($s->certsync('status'))[1], qr/^.*mail.*(away|behind|waiting)/m, 'and status says who is waited for') or diag(($s->certsync('status'))[1]);
system('ip -n between link set bridge up') == 0 or die;
my $back = time;
ok($s->until_state('mail', 'unprobed', 330), sprintf 'it comes back by itself (%.0f s) and has it', time - $back);
ok($s->until_state('here', 'unprobed'), 'so has the other');
is($s->installed($_), $b, "$_ has the renewal") for qw(here mail);
$s->ends_clean;
done_testing;
