#!/usr/bin/perl
# Keys are rotated without a visit and without a pause: an agent's own by a line, the host key of the hub's sshd by the hub's
# signed word. One that was not told beforehand is refused.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Join;
use Test::More;

Separate->enter;
my $s = Join->new;
my $top = $s->top;
my $pins = '/etc/certsync/pins/host_keys';
my $listen = '127.0.0.1:2222';

sub pinned {
	my @keys = Story::read_file($pins) =~ /^(SHA256:\S+)/mg;
	return join " ", sort @keys;
}

sub fingerprint_of {
	my ($key) = @_;
	return (split ' ', `ssh-keygen -l -f $top/$key.pub`)[1];
}

sub connected {
	return $s->until('connected', sub { $s->state_of('mail')->{connected} }, 30);
}

sub pull {
	return `$Story::bin/certsync-agent pull --wait 20 2>&1`;
}

$s->hub_begins("certsync-gate\@$listen", qw(here mail backup1));
system("ssh-keygen -q -t ed25519 -N '' -f $top/$_") for qw(second third);
$s->sshd_at('sshd', "$top/host", $listen);
my ($code, $said) = $s->join_with($s->line_of(qw(add mail)));
is($code, 0, 'a node joins') or diag($said, $s->log('hub'));
Story::write_file('/etc/certsync/agent.conf', <<"CONF", 0640);
hub = {"ssh://certsync-gate\@$listen"}
anchors = "$top/ca.pem"
certificate "mail.domain.pl" {
	allow = {"*.domain.pl"}
	service "nothing" { hook = "$top/nothing"  probe = none }
}
CONF
system('chgrp certsync-agent /etc/certsync/agent.conf');
Story::write_file("$top/nothing", "#!/bin/sh\nexit 0\n", 0755);
$s->start('mail', "$Story::bin/certsync-agent-root");
$s->until_state('mail', 'verified');

# ---- the agent's keys ----

my ($old) = grep { /command="mail"/ } $s->key_lines('mail');
my ($old_key) = $old =~ /(ssh-ed25519 \S+)/;
my $old_seal = Story::read_file('/var/lib/certsync-agent-root/seal.key');
like($s->line_of(qw(rotate backup1)), qr/exit 2: .*agent add backup1/, 'an agent without keys has nothing to rotate');
system("cp /var/lib/certsync-agent/id_ed25519 $top/old_key");
my $line = $s->line_of(qw(rotate mail));
like($line, qr/ keys=new secret=/, 'a line for new keys');
ok($s->state_of('mail')->{connected}, 'the agent goes on meanwhile');
($code, $said) = $s->join_with($line);
is($code, 0, 'the node takes it') or diag($said, $s->log('hub'));
$s->until('proven', sub { $s->log('hub') =~ /event=rotated agent=mail/ }) or diag($s->log('hub'), $s->log('mail'));
$s->until('written', sub { 1 == grep { !/join:/ } $s->key_lines('mail') });
my ($new) = grep { !/join:/ } $s->key_lines('mail');
like($new, qr/^restrict,command="mail" /, 'once the new key was seen to work it is the only one');
unlike($new, qr/\Q$old_key\E/, 'and the old one is gone');
isnt(Story::read_file('/var/lib/certsync-agent-root/seal.key'), $old_seal, 'what bundles are sealed to is new as well');
is_deeply([glob '/var/lib/certsync-agent*/*.next'], [], 'nothing is left beside it');
my $refused = system("ssh -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -i $top/old_key -p 2222 certsync-gate\@127.0.0.1 </dev/null >/dev/null 2>&1");
isnt($refused, 0, 'the old key opens nothing');
connected();
my $second = $s->pair('second-pair');
system("openssl x509 -in $top/second-pair.crt -noout") == 0 or die;
$s->import('second-pair');
$s->until_state('mail', 'verified');
is($s->fingerprint('/etc/certsync/live/mail.domain.pl/fullchain.pem'), $second, 'a bundle for the new key is opened, with nothing started again');

# ---- the host key ----

is(pinned(), fingerprint_of('host'), 'one host key is pinned');
$s->change_hub(qr/^host_keys = .*/m, qq(host_keys = {"$top/host.pub", "$top/second.pub"}));
my $both = join ' ', sort map { fingerprint_of($_) } qw(host second);
ok($s->until('told', sub { pinned() eq $both }, 30), 'the hub tells of one that is to come, and the agent pins it')
	or diag(Story::read_file($pins), $s->log('mail'), $s->log('hub'));
$s->stop('sshd');
system('kill -TERM ' . join ' ', grep { $_ } split ' ', `pgrep -x sshd`) if `pgrep -x sshd`;
$s->sshd_at('sshd', "$top/second", $listen);
pull();
ok(connected(), 'sshd changes it, and the agent comes back') or diag($s->log('mail'));
$s->change_hub(qr/^host_keys = .*/m, qq(host_keys = {"$top/second.pub"}));
ok($s->until('told', sub { pinned() eq fingerprint_of('second') }, 30), 'the old one is unpinned when the hub no longer names it')
	or diag(Story::read_file($pins), $s->log('mail'));
connected();
$s->stop('sshd');
system('kill -TERM ' . join ' ', grep { $_ } split ' ', `pgrep -x sshd`) if `pgrep -x sshd`;
$s->sshd_at('sshd', "$top/third", $listen);
pull();
ok($s->until('refused', sub { `$Story::bin/certsync-agent status` =~ /NOT PINNED/ }, 30), 'one that nobody told of is refused')
	or diag($s->log('mail'));
like(`$Story::bin/certsync-agent status`, qr/host_keys in hub\.conf did not name beforehand/, 'with the reason');
is(pinned(), fingerprint_of('second'), 'and nothing is pinned anew');

$s->ends_clean;
done_testing;
