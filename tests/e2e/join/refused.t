#!/usr/bin/perl
# Joins that are refused, each with its reason, at a real hub by its gate's socket (tests/rogue/Agent.pm): hub.conf has
# no such agent any more, too many come at once, requests, keys and records are not in their form, and sshd's file
# cannot be written.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib", "$FindBin::Bin/../../rogue";
use Agent;
use JSON::PP;
use MIME::Base64;
use Story;
use Test::More;

my $story = Story->new;
my $top = $story->top;
my $name = $Story::name;
my $key = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g';
my ($second_key, $third_key) = map { $key =~ s/h8g$/$_/r } 'h8A', 'h9A';
my ($exit, $text);

ok($story->hub(agents => ['here', 'mail', 'web']), 'a hub starts') or BAIL_OUT($story->log('hub'));
my $records = "$top/hub/records";

sub line_of { my ($agent) = @_; my (undef, $out) = $story->certsync('agent', 'add', $agent); return $out =~ /^(certsync-hub:1 .*)$/m ? $1 : diag($out) }
sub comes { my ($agent) = @_; return Agent->new(socket => "$top/hub.run/gate.sock", prefix => "join:$agent") }
sub agents { return map { $_->{agent} => $_ } @{decode_json(($story->certsync('agent', 'list', '--json'))[1])->{agents}} }

sub read_again {
	my (%wish) = @_;
	my $before = length $story->log('hub');
	$story->hub_conf(%wish);
	kill 'HUP', $story->{started}{hub};
	ok($story->until('reload', sub { substr($story->log('hub'), $before) =~ /event=reload result=done/ }), 'the hub reads its configuration again');
	return substr $story->log('hub'), $before;
}

# Checks that a join is refused with this reason, at the node and in the log.
sub refused {
	my ($what, $agent, $bytes, $wanted) = @_;
	my $before = length $story->log('hub');
	my $node = comes($agent);
	$node->raw($bytes);
	my $answer = $node->hear(10) // {};
	is(substr($answer->{data} // '', 0, 2), "\1\0", "$what: refused");
	like($answer->{data}, $wanted, "$what: and the node is told why");
	like(substr($story->log('hub'), $before), qr/event=join agent=$agent result=refused reason="[^"]*$wanted/, "$what: so is the log");
}

# ---- requests ----

my $line = line_of('mail');
my $web = line_of('web');
refused('a request that is too long', 'mail', Peer::frame(5, 'x' x 5000), qr/the request is too long/);
refused('a request of another version', 'mail', Peer::frame(5, Agent::join_request($line, 'mail', $key, version => 9)), qr/version/);
refused('a request cut short', 'mail', Peer::frame(5, substr Agent::join_request($line, 'mail', $key), 0, -40), qr/malformed/);
refused('no SSH key', 'mail', Peer::frame(5, Agent::join_request($line, 'mail', 'ssh-dss AAAA')), qr/not an SSH public key that is taken here/);
my %agents = agents();
is($agents{mail}{state}, 'not joined', 'nobody has joined by any of them');

# ---- too many at once ----

$line = line_of('mail');
my @waiting = map { comes('mail') } 1 .. 4;
my $fifth = comes('mail');
ok(($fifth->hear(10) // {})->{closed}, 'a fifth who joins as the same agent at the same time is shown the door');
ok($story->until('told', sub { $story->log('hub') =~ /event=join agent=mail result=ended reason="too many are joining"/ }), '  and the log says why');
my $said = read_again(agents => ['here', 'mail']);
is(scalar(() = $said =~ /agent=mail result=ended reason="the hub reads its configuration again, or ends"/g), 4, 'those who have not asked are sent away');
ok(($_->hear(10) // {})->{closed}, '  each') for @waiting;
refused('an agent that hub.conf has no more', 'web', Peer::frame(5, Agent::join_request($web, 'web', $key)),
	qr/hub\.conf has no section for this agent: add it there, then send SIGHUP to certsync-hub-root/);

# ---- lines ----

my $record = "$records/joins/mail/line";
Story::write_file($record, "a line\n");
refused('a record of a line that cannot be read', 'mail', Peer::frame(5, Agent::join_request($line, 'mail', $key)), qr/the record of the join line of mail in the store/);
read_again(agents => ['here', 'mail', 'web']);
ok($story->until('gone', sub { !-e $record }), '  is dropped');
like($story->log('hub'), qr/event=join agent=mail error="the record of the join line of mail in the store/, '  and told of');
line_of('mail');
my $bytes = Story::read_file($record);
substr $bytes, 1, 8, pack('Q>', time - 30 * 86400);
Story::write_file($record, $bytes);
read_again(agents => ['here', 'mail', 'web']);
ok($story->until('unused', sub { $story->log('hub') =~ /event=join agent=mail result=unused reason="the line expired and nobody joined with it"/ }),
	'a line that nobody has used is told of when it is over');

# ---- keys ----

$line = line_of('mail');
$web = line_of('web');
my $joined = comes('mail');
$joined->raw(Peer::frame(5, Agent::join_request($line, 'mail', $key)));
is(substr(($joined->hear(10) // {})->{data} // '', 0, 2), "\1\1", 'the first node joins');
refused('a clone of it', 'web', Peer::frame(5, Agent::join_request($web, 'web', $key)), qr/agent mail has this key already/);
my $own = "$records/agents/mail/agent.json";
my $kept = decode_json(Story::read_file($own));
my $seal = encode_base64('z' x 32, '');
for (['no sealing key', {%$kept, seal => 'AAAA'}, qr/3 bytes, not 32/], ['no SSH key', {%$kept, ssh => 'x'}, qr/ssh: is not a public key/],
	['no time', {ssh => $kept->{ssh}, seal => $kept->{seal}}, qr/added/],
	['no next SSH key', {%$kept, next_ssh => 'x', next_seal => $seal}, qr/next_ssh: is not a public key/],
	['no next sealing key', {%$kept, next_ssh => $second_key}, qr/next_seal/]) {
	Story::write_file($own, encode_json($_->[1]));
	%agents = agents();
	like($agents{mail}{error}, $_->[2], "a record with $_->[0] is listed as broken");
}
Story::write_file($own, encode_json({%$kept, next_ssh => $second_key, next_seal => $seal}));
%agents = agents();
ok($agents{mail}{rotates}, 'one whose new keys are not proven yet');
like(($story->certsync('agent', 'list'))[1], qr/^mail +away, new keys not proven yet /m, '  is listed as such');
my $other = encode_base64('y' x 32, '');
($exit, $text) = $story->certsync('agent', 'add', 'web', '--key', "'certsync-agent:1 $second_key x25519:$other'");
is($exit, 2, 'nobody else may have the new ones');
like($text, qr/agent mail has this key already/, '  which is said');

# ---- sshd's file cannot be written ----

$web = line_of('web');
rename "$top/gate", "$top/gate.away" or die $!;
Story::write_file("$top/gate", '');
refused('a key that cannot be written for sshd', 'web', Peer::frame(5, Agent::join_request($web, 'web', $third_key, seal => 'w' x 32)), qr/the hub could not write the key for its sshd: /);
($exit, $text) = $story->certsync('agent', 'remove', 'web');
is($exit, 1, 'an administrator is told');
like($text, qr/the keys are changed here, but could not be written for sshd: /, '  as much');
unlink "$top/gate";
rename "$top/gate.away", "$top/gate" or die $!;
is(($story->certsync('agent', 'remove', 'web'))[0], 0, 'and may do it again');

$story->ends_clean;
done_testing;
