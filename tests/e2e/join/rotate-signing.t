#!/usr/bin/perl
# The hub's signing key is replaced without a visit to any node: agents accept both keys until all have said so, and an
# agent that is away or too old to understand it is named and waited for. After a theft nobody is waited for, and an
# agent that had not pinned the next key joins again. What the old key signs is refused from then on.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib", "$FindBin::Bin/../../rogue";
use Agent;
use IO::Select;
use IO::Socket::UNIX;
use MIME::Base64;
use Story;
use Test::More;

my $s = Story->new;
my $top = $s->top;
my $keys = "$top/hub-keys";
my ($code, $said);

# ---- a hub and two agents: one on its node, one that comes by the gate, as sshd and the gate let it in ----

sub gate_for {
	my ($agent, $prefix) = @_;
	unlink "$top/$agent.sock";
	my $listener = IO::Socket::UNIX->new(Local => "$top/$agent.sock", Listen => 8) or die $!;
	my $pid = fork // die $!;
	if ($pid) {
		$s->{started}{"gate-$agent"} = $pid;
		return;
	}
	$SIG{PIPE} = 'IGNORE';
	my ($select, %other) = (IO::Select->new($listener));
	for (;;) {
		for my $ready ($select->can_read) {
			if ($ready == $listener) {
				my $in = $listener->accept or next;
				my $gate = IO::Socket::UNIX->new(Peer => "$top/hub.run/gate.sock") or next;
				syswrite $gate, pack('C', length $prefix) . $prefix;
				@other{$in, $gate} = ($gate, $in);
				$select->add($in, $gate);
				next;
			}
			my $peer = $other{$ready} or next;
			my $got = sysread $ready, my $bytes, 65536;
			next if $got && syswrite $peer, $bytes;
			delete @other{$ready, $peer};
			$select->remove($ready, $peer);
			close $_ for $ready, $peer;
		}
	}
}

sub keys_of {
	my ($agent) = @_;
	my @pinned = Story::read_file("$top/$agent/etc/pins/hub_keys") =~ m{^([A-Za-z0-9+/]{43}=)}mg;
	return [sort @pinned];
}

sub told {
	my (undef, $text) = $s->certsync(qw(keys --json));
	return eval { JSON::PP::decode_json($text) } // {missing => []};
}

sub missing { return join ' ', sort map { $_->{agent} . ($_->{must_join} ? '!' : '') } @{told()->{missing}} }
sub reason { my ($agent) = @_; return join '', map { $_->{reason} } grep { $_->{agent} eq $agent } @{told()->{missing}} }

sub phase_is {
	my ($phase, $what) = @_;
	return ok($s->until($phase, sub { (told()->{phase} // '') eq $phase }, 40), $what) || diag(($s->certsync('keys'))[1], $s->log('hub'));
}

sub missing_is {
	my ($names, $what) = @_;
	return ok($s->until($names, sub { missing() eq $names }, 40), $what) || diag(($s->certsync('keys'))[1], $s->log('hub'), $s->log('here'));
}

sub alerts {
	my (undef, $text) = $s->certsync(qw(alert list --json));
	return grep { $_->{kind} eq 'signing-key' } @{(eval { JSON::PP::decode_json($text) } // {})->{conditions} // []};
}

sub hub_again {
	my ($change) = @_;
	$s->stop('hub', $change ? 'TERM' : 'KILL');
	$change->() if $change;
	$s->start('hub', "$Story::bin/certsync-hub-root", '-c', "$top/hub.conf");
	return $s->until('hub', sub { ($s->certsync('status'))[0] != 4 });
}

my $pairs = 0;

# Makes a renewal that these agents verify, and nobody else.
sub renewal {
	my (@agents) = @_;
	my $wanted = $s->pair('pair' . ++$pairs, days => 30 + $pairs);
	($code, $said) = $s->import("pair$pairs");
	ok($code == 0 || $code == 3, "renewal $pairs") or diag($said); # 3: an agent that is away does not have it
	for my $agent (@agents) {
		ok($s->until('renewal', sub { ($s->state_of($agent)->{state} // '') eq 'unprobed' && $s->installed($agent) eq $wanted }, 40), "  is taken by $agent")
			or diag(($s->certsync('status'))[1], $s->log('hub'), $s->log($agent));
	}
}

ok($s->hub(agents => [qw(here mail)], certificates => "certificate \"$Story::name\" { rollout = \"immediate\" }\n"), 'a hub starts')
	or BAIL_OUT($s->log('hub'));
$s->agent('here');
my $dir = $s->agent_conf('mail', hub => "unix://$top/mail.sock");
my (undef, undef, $ssh) = split ' ', `$Story::bin/certsync-agent identity -c $dir/agent.conf`;
gate_for('mail', 'mail:' . substr $ssh, -32);
sub join_mail {
	my ($option) = @_;
	my $line = `$Story::bin/certsync-agent identity -c $dir/agent.conf | $Story::bin/certsync agent add mail --key - -c $top/hub.conf`;
	my ($signs) = join ' ', $line =~ /sign=\S+/g;
	open my $join, '|-', "$Story::bin/certsync-agent join $option -c $dir/agent.conf >>$top/join.log 2>&1" or die $!;
	print $join "certsync-hub:1 unix://$top/mail.sock $signs\n";
	return close $join ? $signs : undef;
}
ok(join_mail(''), 'a second agent joins') or diag(Story::read_file("$top/join.log"));
$s->start_agent('mail');
renewal(qw(here mail));
my $old = Story::read_file("$keys/sign.key");
is(length $old, 32, 'the hub has a signing key');
my $first = told();
is($first->{phase}, 'idle', 'keys shows that no rotation is under way');
is_deeply([keys_of('here'), keys_of('mail')], [[$first->{present}], [$first->{present}]], '  and it is what agents have pinned');
like(($s->certsync('keys'))[1], qr/^signing key  ed25519:\Q$first->{present}\E\nit was never replaced\n$/, '  in words');

# ---- a rotation, with one agent away ----

$s->stop('mail');
($code, $said) = $s->certsync(qw(keys rotate));
is($code, 0, 'the key is to be replaced') or diag($said);
missing_is('mail', 'the agent that is there takes both keys, the other one is waited for');
my $second = told();
is($second->{phase}, 'told', '  so long the old one signs');
is($second->{present}, $first->{present}, '  as before');
is_deeply(keys_of('here'), [sort $first->{present}, $second->{next}], '  the agent has pinned both');
is_deeply(keys_of('mail'), [$first->{present}], '  the absent one knows of nothing');
like(reason('mail'), qr/it is away/, '  which is said');
my $missing = qr/since \d{4}-\S+, as \S+ \(uid \d+\) asked; .*1 of 2 agents have not said that: mail\./;
ok($s->until('alert', sub { ((alerts())[0] // {text => ''})->{text} =~ $missing }, 40), 'that it is not done is an alert, which names who is missing')
	or diag(map { $_->{text} } alerts());
like(($s->certsync('status'))[1], qr/warning: .*signing key is being replaced, and 1 of 2 agents have not said/, '  and status says so');
($code, $said) = $s->certsync(qw(keys rotate));
is($code, 2, 'a second one meanwhile is refused');
like($said, qr/being replaced already, since \S+ 1 of 2 agents .*certsync keys/, '  with how far the first one is');
my $line = `$Story::bin/certsync-agent identity -c $dir/agent.conf | $Story::bin/certsync agent add mail --key - -c $top/hub.conf`;
is(scalar(() = $line =~ /sign=ed25519:/g), 2, 'a line that is printed now has both keys');
renewal('here');
ok(hub_again(), 'the hub is killed, and starts again');
my $again = told();
is($again->{phase}, 'told', '  and knows how far it was');
is($again->{next}, $second->{next}, '  with the same next key');
missing_is('mail', '  and who is missing');

# ---- an agent that is too old to be told ----

my $elder = Agent->new(socket => "$top/hub.run/gate.sock", prefix => 'mail:' . substr($ssh, -32), instance => 7);
$elder->hello(protocol => 2, version => '0.1.0', count => 1);
$elder->say(Agent::inventory($Story::name));
my @heard = $elder->hear_until(qr/^offer$/, 10);
is($heard[-1]{type}, 'offer', 'an agent of the protocol before is served');
is(scalar(grep { $_->{type} eq 'signers' } @heard), 0, '  and not told what it does not know');
like(reason('mail'), qr/\(0\.1\.0\) speaks protocol 2, which has no such list: upgrade it/, '  it is named, and why');
$elder->say({type => 'pinned', digest => 'f' x 64, text => ''});
$elder->say({type => 'ping'});
$elder->hear_until(qr/^pong$/, 10);
is(missing(), 'mail', 'a word about a list that it was not given counts for nothing');
close $elder->{peer};

# ---- it comes ----

$s->start_agent('mail');
phase_is('idle', 'the last agent comes, and says so: the next key takes over, the old one is forgotten');
my $new = told();
is($new->{present}, $second->{next}, '  it is the one that was made');
is_deeply([keys_of('here'), keys_of('mail')], [[$new->{present}], [$new->{present}]], '  and the only one that is pinned');
isnt(Story::read_file("$keys/sign.key"), $old, '  the old one is no more on the hub');
is_deeply([glob "$keys/*-sign.key"], [], '  by no name');
ok($s->until('over', sub { !alerts() }, 60), 'the alert is over') or diag(explain([alerts()]));
renewal(qw(here mail));
like($s->log('here'), qr/event=signing-keys text="the hub has told which of its keys may sign: pinned"/, 'the log of a node has it');

# ---- what the old key signs: a thief's, or a hub's that was restored from a backup ----

my $present = Story::read_file("$keys/sign.key");
ok(hub_again(sub { Story::write_file("$keys/sign.key", $old, 0600) }), 'a hub with the old key');
is(told()->{present}, $first->{present}, '  signs with it');
missing_is('here mail', 'both agents refuse its list');
like(reason($_), qr/refuses the list: signing keys: the list is not signed by a key that is pinned here/, "  $_ says why") for qw(here mail);
ok($s->until('alert', sub { grep { $_->{text} =~ /agents refuse the hub's signing key: (here, mail|mail, here)\. Was the hub restored/ } alerts() }, 60),
	'  which is an alert that says what it may be') or diag(explain([alerts()]));
my $before = $s->installed('here');
$s->pair('stolen', days => 30 + ++$pairs);
$s->import('stolen');
for my $agent (qw(here mail)) {
	ok($s->until('refused', sub { ($s->state_of($agent)->{error} // '') =~ /signature:/ }, 40), "what the old key signs is refused by $agent") or diag(explain($s->state_of($agent)));
	is($s->state_of($agent)->{step}, 'verify', '  when it is verified');
	is($s->installed($agent), $before, '  and the certificate stays');
}
is_deeply([keys_of('here'), keys_of('mail')], [[$new->{present}], [$new->{present}]], 'nothing is pinned anew');
ok(hub_again(sub { Story::write_file("$keys/sign.key", $present, 0600) }), 'the hub has its key again');
missing_is('', '  and no agent refuses it');
renewal(qw(here mail));

# ---- after a theft ----

$s->stop('mail');
is(($s->certsync(qw(keys rotate)))[0], 0, 'another rotation begins');
missing_is('mail', '  which the agent that is there knows');
($code, $said) = $s->certsync(qw(keys rotate --now));
is($code, 0, 'nobody else is waited for') or diag($said);
like($said, qr/^  mail has to join again: it had not pinned the new key .*certsync agent rotate mail.*certsync-agent join --replace/m, '  the one that is away is named, why, and what to do');
unlike($said, qr/^  here has to join/m, '  the other one is not');
missing_is('mail!', '  and goes on with the new key alone');
is_deeply(keys_of('here'), [told()->{present}], '  which it has pinned');
isnt(told()->{present}, $new->{present}, '  a new one');
renewal('here');
$s->start_agent('mail');
ok($s->until('refused', sub { ($s->state_of('mail')->{error} // '') =~ /signature: .*pinned/ }, 40), 'the other one takes nothing') or diag(explain($s->state_of('mail')));
is(missing(), 'mail!', '  and is still named');
ok($s->until('alert', sub { grep { $_->{critical} && $_->{text} =~ /mail \(has to join again\)/ } alerts() }, 40), '  in a critical alert');
ok(!join_mail(''), 'a line for it is not taken without --replace');
is(join_mail('--replace'), "sign=ed25519:" . told()->{present}, 'it joins again, by a line with the new key alone') or diag(Story::read_file("$top/join.log"));
$s->stop('mail');
$s->start_agent('mail');
phase_is('idle', 'which ends it');
renewal(qw(here mail));
($code, $said) = $s->certsync(qw(keys rotate --now));
is($code, 0, 'at once with nothing under way');
is(missing(), 'here! mail!', '  cuts everybody off, and says so');

$s->ends_clean;
done_testing;
