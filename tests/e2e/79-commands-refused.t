#!/usr/bin/perl
# What commands say to somebody who may not: who cannot read the configuration, the certificate's files, or write what is pinned; and a
# pull that would have this address banned by the hub's sshd. As the users of a real node.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
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

# ---- an sshd that does not know this agent's key ----

$s->sshd or BAIL_OUT($s->log('sshd'));
is(system("echo '$by_hand' | $bin/certsync-agent join -c $conf >$top/join.log 2>&1"), 0, 'a hub is pinned by hand') or diag(Story::read_file("$top/join.log"));
$s->start_agent('mail');
my $denied = sub { scalar(() = $s->log('mail') =~ /event=hub-failed/g) };
ok($s->until('denied', sub { $denied->() }), 'its sshd refuses the key');
my $text = '';
ok($s->until('enough', sub { $text = `$bin/certsync-agent pull -c $conf 2>&1`; $? >> 8 == 4 && $text =~ /three logins/ }), 'pull tries at once, until that could do harm') or diag($text, $s->log('mail'));
like($text, qr/three logins have failed in ten minutes, and more could have this address banned: the next try is at \d{4}-\S+: \S/, '  and says when the next try is, and what was wrong');
is($denied->(), 3, '  after three');

$s->ends_clean;
done_testing;
