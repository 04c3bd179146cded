#!/usr/bin/perl
# Keys are rotated without a visit and without a pause: an agent's own by a line, the host key of the hub's sshd by the
# hub's signed word. A host key that was not told beforehand is refused. A thief who has the agent's old keys, and its
# place at the hub by the SSH connection that he opened with them, loses both with the rotation, and with a removal at
# once.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib", "$FindBin::Bin/../../rogue";
use Agent;
use Digest::SHA qw(sha256);
use IO::Socket::UNIX;
use Join;
use MIME::Base64;
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
$s->until_state('mail', 'unprobed');

# ---- the agent's keys ----

my ($old) = grep { /command="mail:/ } $s->key_lines('mail');
my ($old_key) = $old =~ /(ssh-ed25519 \S+)/;
my $old_seal = Story::read_file('/var/lib/certsync-agent-root/seal.key');
like($s->line_of(qw(rotate backup1)), qr/exit 2: .*agent add backup1/, 'an agent without keys has nothing to rotate');
system("cp /var/lib/certsync-agent/id_ed25519 $top/old_key && cp /var/lib/certsync-agent/id_ed25519.pub $top/old_key.pub");
system("cp /var/lib/certsync-agent-root/seal.key $top/old_seal");

# A bundle's header says what it is sealed to.
sub sealed_to { my ($bundle) = @_; return unpack 'H64', substr $bundle, 8, 32 }
sub seal_of { my ($file) = @_; my ($public) = Story::read_file($file) =~ /x25519:(\S+)/; return unpack 'H64', sha256(decode_base64($public)) }

# The thief holds one SSH connection open, with the key that he has, and opens channels in it; the hub judges him by the
# forced command alone.
my $thief_control = "$top/thief.sock";
my @ssh = ('ssh', '-q', '-o', 'BatchMode=yes', '-o', 'StrictHostKeyChecking=no', '-o', 'UserKnownHostsFile=/dev/null', '-p', 2222, '-i', "$top/old_key", '-S', $thief_control);
my $channels = 0;

sub hold_connection {
	$s->start('thief', @ssh, '-N', '-M', 'certsync-gate@127.0.0.1');
	return $s->until('thief', sub { -S $thief_control }, 20);
}

# Opens another channel in the connection, and comes as the agent.
sub thief_comes {
	my $name = 'channel' . ++$channels;
	socketpair(my $mine, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die $!;
	my $pid = fork // die $!;
	if (!$pid) {
		open STDIN, '<&', $theirs or die $!;
		open STDOUT, '>&', $theirs or die $!;
		exec @ssh, '-T', 'certsync-gate@127.0.0.1';
	}
	close $theirs;
	$s->{started}{$name} = $pid;
	return bless {peer => IO::Socket->new_from_fd($mine, 'r+'), in => '', instance => 100 + $channels}, 'Agent';
}

# The thief sits in the agent's place, so the agent itself is taken for a clone.
system("cp /var/lib/certsync-agent-root/seal.pub $top/old_seal.pub");
$s->stop('mail');
ok(hold_connection(), 'a thief has logged in with the key of the agent') or BAIL_OUT($s->log('sshd'));
my $thief = thief_comes();
$thief->hello(count => 1);
$thief->say(Agent::inventory($Story::name));
my @heard = $thief->hear_until(qr/^offer$/, 10);
is($heard[-1]{type}, 'offer', 'and has its place') or diag(explain(\@heard), $s->log('hub'));
my ($offer) = grep { $_->{type} eq 'offer' } @heard;
$thief->say(Agent::verdict('fetch', $Story::name, $offer->{revision}, $offer->{attempt}));
@heard = $thief->hear_until(qr/^frame 2$/, 10);
is($heard[-1]{type}, 'frame 2', 'he gets a bundle');
is(sealed_to($heard[-1]{data}), seal_of("$top/old_seal.pub"), 'which the stolen sealing key opens');
$s->start('mail', "$Story::bin/certsync-agent-root");
ok($s->until('twice', sub { $s->log('hub') =~ /refused agent=mail what=twice/ }, 30), 'the agent itself is refused as a second one') or diag($s->log('hub'));

my $line = $s->line_of(qw(rotate mail));
like($line, qr/ keys=new secret=/, 'a line for new keys');
sub alerts {
	my ($kind) = @_;
	my (undef, $text) = $s->certsync(qw(alert list --json));
	my $told = eval { JSON::PP::decode_json($text) } // {};
	return grep { $_->{kind} eq $kind } @{$told->{conditions} // []};
}
ok($s->until('alert', sub { (alerts('rotation'))[0] }, 40), 'that the rotation is not done is an alert') or diag(($s->certsync(qw(alert list)))[1]);
like((alerts('rotation'))[0] ? (alerts('rotation'))[0]{text} : '', qr/since \S+, as root \(uid 0\) asked, and no node has taken the line.*agent rotate mail.*agent remove mail/s, '  with since when, who, and what to do');
# Having the old key does not give anybody the line: over a connection nobody is asked to make keys.
$thief->say({type => 'ping'});
is(join(' ', map { $_->{type} } $thief->hear_until(qr/^pong$/, 5)), 'pong', 'the thief is told nothing of it');
($code, $said) = $s->join_with($line);
is($code, 0, 'the node takes it') or diag($said, $s->log('hub'));
$s->until('proven', sub { $s->log('hub') =~ /event=rotated agent=mail/ }) or diag($s->log('hub'), $s->log('mail'));
$s->until('written', sub { 1 == grep { !/join:/ } $s->key_lines('mail') });
my ($new) = grep { !/join:/ } $s->key_lines('mail');
like($new, qr/^restrict,command="mail:\S+" /, 'once the new key was seen to work it is the only one');
unlike($new, qr/\Q$old_key\E/, 'and the old one is gone');
isnt(Story::read_file('/var/lib/certsync-agent-root/seal.key'), $old_seal, 'what bundles are sealed to is new as well');
is_deeply([glob '/var/lib/certsync-agent*/*.next'], [], 'nothing is left beside it');
is(($thief->last_words(10))[-1]{type}, 'closed', 'the thief is shown the door, by the key alone');
like($s->log('hub'), qr/event=disconnected agent=mail reason="a session with the agent's next key outranks it"/, '  with the reason');
$s->until_state('mail', 'unprobed', 40);
ok($s->until('resolved', sub { !alerts('rotation') }, 60), 'the alert is over when it is done');
my $again = thief_comes();
$again->hello(count => 1);
my ($why) = grep { $_->{type} eq 'error' } $again->last_words(10);
is($why ? $why->{step} : '', 'old-key', 'a new channel in the connection that he still holds is refused, by name') or diag($s->log('hub'));
like($why ? $why->{text} : '', qr/good for nothing any more/, '  and why');
ok($s->until('alert', sub { (alerts('old-key'))[0] }, 40), '  and a person is told that somebody tries the old key');
ok($s->state_of('mail')->{connected}, '  the agent does not notice');
my $refused = system("ssh -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -i $top/old_key -p 2222 certsync-gate\@127.0.0.1 </dev/null >/dev/null 2>&1");
isnt($refused, 0, 'the old key opens nothing');
connected();
my $second = $s->pair('second-pair');
system("openssl x509 -in $top/second-pair.crt -noout") == 0 or die;
$s->import('second-pair');
$s->until_state('mail', 'unprobed');
is($s->fingerprint('/etc/certsync/live/mail.domain.pl/fullchain.pem'), $second, 'a bundle for the new key is opened, with nothing started again');
is(scalar(grep { $_->{type} eq 'frame 2' } $thief->last_words, $again->last_words), 0, 'and nothing more was sent to the thief');
my @changes = alerts('keys');
is(scalar(grep { $_->{subject} =~ /^mail #\d+$/ } @changes), 3, 'each change of its keys is told: joined, new ones, proven') or diag(explain(\@changes));
like(join('', map { $_->{text} } grep { $_->{text} =~ /seen to work/ } @changes), qr/as root \(uid 0\) had asked for, at \S+ Before: SSH key \Q@{[fingerprint_of('old_key')]}\E, .*; now: SSH key SHA256:/, '  with who, when and which');

# ---- removed: what he holds ends at once ----

system("cp /var/lib/certsync-agent/id_ed25519 $top/old_key && ssh-keygen -y -f $top/old_key >$top/old_key.pub");
$s->stop('thief');
$s->until('gone', sub { !-S $thief_control });
ok(hold_connection(), 'a thief of the new key, too');
$s->stop('mail');
$thief = thief_comes();
$thief->hello;
is(($thief->hear_until(qr/^welcome$/, 10))[-1]{type}, 'welcome', "the thief has the agent's place");
is(($s->certsync(qw(agent remove mail)))[0], 0, 'the agent is removed');
is(($thief->last_words(10))[-1]{type}, 'closed', 'which ends his session at once');
$again = thief_comes();
is(($again->last_words(10))[0]{step}, 'old-key', 'a new channel in the connection that he holds is refused');
$line = $s->line_of(qw(add mail));
like($line, qr/ keys=new /, 'the line lets the node in again with new keys alone: it still has those that were stolen');
my $identity = `$Story::bin/certsync-agent identity 2>/dev/null`;
chomp $identity;
like(($s->certsync('agent', 'add', 'mail', '--key', "'$identity'"))[1], qr/these keys were taken away from agent mail: whoever else has them would be let in again/, 'by hand they are refused, too');
($code, $said) = $s->join_with($line);
is($code, 0, 'the node joins again, with new keys') or diag($said);
is(scalar(grep { /\Q@{[(split ' ', $identity)[2]]}\E/ } $s->key_lines('mail')), 0, 'and not with the old ones');
$again = thief_comes();
is(($again->last_words(10))[0]{step}, 'old-key', 'which lets the thief in no more than before');
$s->stop('thief');
$s->start('mail', "$Story::bin/certsync-agent-root");
connected();

# ---- the host key ----

is(pinned(), fingerprint_of('host'), 'one host key is pinned');
$s->change_hub(qr/^host_keys = .*/m, qq(host_keys = {"$top/host.pub", "$top/second.pub"}));
my $both = join ' ', sort map { fingerprint_of($_) } qw(host second);
ok($s->until('told', sub { pinned() eq $both }, 30), 'the hub tells of one that is to come, and the agent pins it')
	or diag(Story::read_file($pins), $s->log('mail'), $s->log('hub'));
$s->stop('sshd');
system('kill -TERM ' . join ' ', grep { $_ } split ' ', `pgrep -x 'sshd(-session|-auth)?'`) if `pgrep -x 'sshd(-session|-auth)?'`;
$s->sshd_at('sshd', "$top/second", $listen);
pull();
ok(connected(), 'sshd changes it, and the agent comes back') or diag($s->log('mail'));
$s->change_hub(qr/^host_keys = .*/m, qq(host_keys = {"$top/second.pub"}));
ok($s->until('told', sub { pinned() eq fingerprint_of('second') }, 30), 'the old one is unpinned when the hub no longer names it')
	or diag(Story::read_file($pins), $s->log('mail'));
connected();
$s->stop('sshd');
system('kill -TERM ' . join ' ', grep { $_ } split ' ', `pgrep -x 'sshd(-session|-auth)?'`) if `pgrep -x 'sshd(-session|-auth)?'`;
$s->sshd_at('sshd', "$top/third", $listen);
pull();
ok($s->until('refused', sub { `$Story::bin/certsync-agent status` =~ /NOT PINNED/ }, 30), 'one that nobody told of is refused')
	or diag($s->log('mail'));
like(`$Story::bin/certsync-agent status`, qr/host_keys in hub\.conf did not name beforehand/, 'with the reason');
is(pinned(), fingerprint_of('second'), 'and nothing is pinned anew');

$s->ends_clean;
done_testing;
