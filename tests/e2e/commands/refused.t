#!/usr/bin/perl
# What commands say to somebody who may not do what they do: to one who cannot read the configuration or the
# certificate's files, or write what is pinned; to a member of the operator's group who would change whose keys open
# what; and at a pull that would have this address banned by the hub's sshd. The programs run as the users of a real
# node.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Path qw(make_path);
use MIME::Base64;
use Digest::SHA qw(sha256_hex);
use Separate;
use Test::More;

Separate->enter;
my $s = Separate->new;
my $top = $s->top;
my $name = $Story::name;
my $bin = $Story::bin;
$s->hub_conf(agents => ['here', 'mail']);
my $dir = $s->agent_conf('mail', services => 'service "nothing" { probe = {"127.0.0.1:4433/tls"} }');
my $conf = "$dir/agent.conf";

sub says {
	my ($user, $command, $code, $wanted, $what) = @_;
	my ($exit, $text) = @{$s->as($user, sub { my $out = `cd / && $command 2>&1`; [$? >> 8, $out] })};
	is($exit, $code, $what) or diag($text);
	like($text, $wanted, '  with the reason');
}

# ---- who may not read or write ----

my $stranger = 'certsync-gate';
says($stranger, "$bin/certsync status -c $top/hub.conf", 4, qr{/run/certsync-hub/control\.sock}, 'without leave to read hub.conf the hub is looked for in its usual place');
says($stranger, "$bin/certsync check --expect $name localhost -c $top/hub.conf", 4, qr{/run/certsync-hub/control\.sock}, 'also by check');
says($stranger, "$bin/certsync-agent status -c $conf", 4, qr{/run/certsync-agent/control\.sock}, 'without leave to read agent.conf so is the agent');
says($stranger, "$bin/certsync-agent check -c $conf", 2, qr/agent\.conf, which says what to look at: Permission denied; name a HOST/, 'check needs to know what to look at');
make_path("$dir/etc/live/$name");
chmod 0700, "$dir/etc/live/$name";
says('certsync-agent', "$bin/certsync-agent check -c $conf", 2, qr{\Q$name\E: only root may read \S+/fullchain\.pem: run it again with sudo}, 'check of files that are for root alone');

my $key = encode_base64('k' x 32, '');
my $host = (split ' ', `ssh-keygen -lf $top/host.pub`)[1];
my $by_hand = "certsync-hub:1 ssh://certsync-gate\@127.0.0.1:22 sign=ed25519:$key host=$host";
my $by_secret = "$by_hand agent=mail expires=@{[time + 600]} secret=" . encode_base64('q' x 32, '');
$by_secret .= ' check=' . substr sha256_hex($by_secret), 0, 8;
for ($by_hand, $by_secret) {
	says('certsync-agent', "echo '$_' | $bin/certsync-agent join -c $conf", 2, qr{join writes \Q$dir\E/etc/pins, which needs root: run it again with sudo},
		'a join without leave to write what is pinned');
}
ok(!-e "$dir/etc/pins", '  pins nothing');

# ---- the operator's group: everything, but no agent's keys ----

system('useradd --system -M -g certsync-admin operator >/dev/null 2>&1') == 0 or BAIL_OUT('useradd');
my $operator = getpwnam 'operator';
my $authorized = "$Separate::home/.ssh/authorized_keys";
sub hub { return "$bin/certsync @_ -c $top/hub.conf" }
sub line_of { my ($letter) = @_; return "'certsync-agent:1 ssh-ed25519 " . encode_base64(pack('N/a* N/a*', 'ssh-ed25519', $letter x 32), '') . ' x25519:' . encode_base64($letter x 32, '') . "'" }
sub root_says { my ($words, $code, $wanted, $what) = @_; my $out = `@{[hub($words)]} 2>&1`; is($? >> 8, $code, $what) or diag($out); like($out, $wanted, '  with the reason') }
$s->start('hub', "$bin/certsync-hub-root", '-c', "$top/hub.conf");
$s->until('hub', sub { -S '/run/certsync-hub/control.sock' && ($s->certsync('status'))[0] != 4 }) or BAIL_OUT($s->log('hub'));
$s->pair('first');
$s->import('first');
says('operator', hub('status'), 3, qr/\Q$name\E/, 'the operator sees everything');
root_says('agent add mail --key ' . line_of('a'), 0, qr/^certsync-hub:1 /, 'root gives an agent its keys');
my $list = Story::read_file($authorized);
my $secret = qr/^certsync: agent (add|rotate|remove) changes which keys agent mail has, and whoever does that can have the private keys of its certificates sealed to a key of his own: only root may\. Run sudo certsync agent \1 mail, or let the group do it: agent_keys = "group" in \Q$top\E\/hub\.conf$/m;
says('operator', hub('agent', $_), 2, $secret, "the operator: agent $_") for 'add mail --key ' . line_of('b'), 'add mail --key ' . line_of('b') . ' --replace', 'add mail',
	'add mail --replace', 'rotate mail', 'remove mail';
is(Story::read_file($authorized), $list, 'nothing came of it');
like($s->log('hub'), qr/event=refused command="agent add" agent=mail uid=$operator/, 'and the log says who');
says('operator', hub("keys rotate$_"), 2, qr/^certsync: only root may replace the signing key: .*sudo certsync keys rotate/m, "the operator: keys rotate$_") for '', ' --now';
says('operator', hub('keys'), 0, qr/^signing key  ed25519:\S+=\nit was never replaced$/m, 'which the operator may see');
says('operator', hub('agent list'), 0, qr/^mail +away/m, 'who is there the operator may see');
root_says('agent add mail --key ' . line_of('b'), 2, qr/agent mail has keys \(SSH key SHA256:\S+, since \S+\) and is not connected now: .*--replace.*agent rotate mail.*agent remove mail/s, 'root is asked before keys are replaced');
root_says('agent add mail', 2, qr/say --replace/, 'also by a line');
is(Story::read_file($authorized), $list, 'nothing came of that either');
root_says('agent add mail --replace --key ' . line_of('b'), 0, qr/^certsync-hub:1 /, 'and does it by saying so');
isnt(Story::read_file($authorized), $list, 'others have taken their place');
my $said = '';
ok($s->until('told', sub { $said = `@{[hub('alert list')]} 2>&1`; $said =~ /mail #2/ }, 40), 'each change is told') or diag($said);
like($said, qr/its keys were given by hand, by root \(uid 0\), at \S+ Before: none; now: SSH key SHA256:/, '  who, when, and what');
like($said, qr/Before: SSH key (SHA256:\S+), sealing key \S+; now: SSH key (?!\1)SHA256:\S+, sealing key \S+\. If nobody here meant that/, '  which key, and which before');
my $text = Story::read_file("$top/hub.conf");
Story::write_file("$top/hub.conf", "agent_keys = \"group\"\n$text", 0640);
system("chgrp certsync-hub $top/hub.conf");
my $before = length $s->log('hub');
kill 'HUP', $s->{started}{hub};
$s->until('reload', sub { substr($s->log('hub'), $before) =~ /event=reload result=done/ });
says('operator', hub('agent add mail --replace --key ' . line_of('c')), 0, qr/^certsync-hub:1 /, 'where hub.conf lets the group do it, the operator does');
ok($s->until('told', sub { $said = `@{[hub('alert list')]} 2>&1`; $said =~ /mail #3/ }, 40), 'and a person is told') or diag($said);
like($said, qr/given by hand, by operator \(uid $operator\)/, '  that it was him');
$s->stop('hub');
$s->start('hub', "$bin/certsync-hub-root", '-c', "$top/hub.conf");
$s->until('hub', sub { -S '/run/certsync-hub/control.sock' && ($s->certsync('status'))[0] != 4 }) or BAIL_OUT($s->log('hub'));
ok($s->until('told', sub { $said = `@{[hub('alert list')]} 2>&1`; 3 == (() = $said =~ /mail #[123]/g) }, 40), 'which a restart does not forget') or diag($said);
$s->stop('hub');

# ---- an sshd that does not know this agent's key ----

$s->sshd or BAIL_OUT($s->log('sshd'));
is(system("echo '$by_hand' | $bin/certsync-agent join -c $conf >$top/join.log 2>&1"), 0, 'a hub is pinned by hand') or diag(Story::read_file("$top/join.log"));
$s->start_agent('mail');
my $denied = sub { scalar(() = $s->log('mail') =~ /event=hub-failed/g) };
ok($s->until('denied', sub { $denied->() }), 'its sshd refuses the key');
$text = '';
ok($s->until('enough', sub { $text = `$bin/certsync-agent pull -c $conf 2>&1`; $? >> 8 == 4 && $text =~ /three logins/ }), 'pull tries at once, until that could do harm') or diag($text, $s->log('mail'));
like($text, qr/three logins have failed in ten minutes, and more could have this address banned: the next try is at \d{4}-\S+: \S/, '  and says when the next try is, and what was wrong');
is($denied->(), 3, '  after three');

$s->ends_clean;
done_testing;
