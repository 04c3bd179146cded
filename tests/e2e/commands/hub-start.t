#!/usr/bin/perl
# What keeps a hub from starting, or from taking a configuration that was changed under it: each is told with its
# reason, and a hub that runs goes on as before. Then records of its store are damaged, and its daemon has no descriptor
# left.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use IO::Socket::INET;
use IO::Socket::UNIX;
use Port qw(free_port);
use Story;
use Test::More;

my $story = Story->new;
my $top = $story->top;
my $conf = "$top/hub.conf";
my $first = $story->pair('first');

# Writes hub.conf as the story does, with these lines changed.
sub change {
	my (%lines) = @_;
	$story->hub_conf(agents => ['here']);
	my $text = Story::read_file($conf);
	for my $key (keys %lines) {
		$text =~ s/^\Q$key\E = .*$/$key = $lines{$key}/m or $text = "$key = $lines{$key}\n$text";
	}
	Story::write_file($conf, $text);
}

# ---- the root half does not even begin ----

sub refused {
	my $output = `timeout 20 $Story::bin/certsync-hub-root -c $conf 2>&1`;
	return ($? >> 8) . " $output";
}
change(user => '"nobody-of-that-name"');
like(refused(), qr/^2 \Q$conf\E:\d+: user: .*nobody-of-that-name/m, 'a user that there is not is named');
change(run => "\"$top/" . 'r' x 90 . '"');
like(refused(), qr/^2 \Q$conf\E:\d+: run: .* is too long for the sockets in it: \d+ bytes/m, 'so is a path that no socket can have');
mkdir "$top/hub.run";
chown 12345, 12345, "$top/hub.run" or die $!;
change(user => '"nobody"');
like(refused(), qr{^2 certsync-hub-root: $top/hub\.run belongs to another user already \(12345\): chown it}m, 'so is a directory of somebody else');
is((stat "$top/hub.run")[4], 12345, "the directory stays its owner's");
chown 0, 0, "$top/hub.run";
like(`$Story::bin/certsync-hub-root --version`, qr/^certsync-hub-root \d/, 'it says its version');
is(system("$Story::bin/certsync-hub-root --nonsense >$top/out 2>&1") >> 8, 2, 'and takes no word that it does not know');

# ---- the daemon cannot: the root half tries again ----

# Starts the hub. Returns whether the log has this reason once the daemon has ended.
sub fails {
	my ($reason) = @_;
	unlink "$top/hub.log";
	$story->start('hub', "$Story::bin/certsync-hub-root", '-c', $conf);
	return $story->until('the reason', sub { $story->log('hub') =~ /$reason/ && $story->log('hub') =~ /again_ms|exited/ });
}
Story::write_file("$top/none.pem", "no certificate\n");
change(anchors => "\"$top/none.pem\"");
ok(fails(qr{error="anchors: .*none\.pem}), 'trust anchors that are none') or diag($story->log('hub'));
$story->stop('hub');
change();
my $taken = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1', LocalPort => $story->{http}, ReuseAddr => 1) or die $!;
ok(fails(qr/error=".*127\.0\.0\.1:$story->{http}/), 'a port that is taken') or diag($story->log('hub'));
close $taken;
ok($story->until('the start', sub { ($story->certsync('status'))[0] != 4 }), 'it starts by itself once the port is free');
$story->stop('hub');

# ---- one that runs ----

ok($story->hub(agents => ['here']), 'a hub starts') or diag($story->log('hub'));
$story->import('first');
$story->agent('here');
ok($story->until_state('here', 'unprobed'), 'its agent has the certificate');
my $said = 0;
sub said {
	my ($pattern) = @_;
	return $story->until($pattern, sub { substr($story->log('hub'), $said) =~ $pattern }) || diag(substr($story->log('hub'), $said)) && 0;
}
sub reload { $said = length $story->log('hub'); kill 'HUP', $story->{started}{hub} }
# The commands below read hub.conf, too, so it has to be good again by then.
sub as_before {
	my ($why) = @_;
	ok($story->until_state('here', 'unprobed'), "$why: the agent is verified as before");
	is($story->installed('here'), $first, 'with the certificate that it had');
}

change(ssh => 'nonsense {');
reload();
ok(said(qr/event=configuration fault="\Q$conf\E:\d+: .*\n.*event=reload result=refused reason="the running configuration stays"/), 'a fault is told with its line');
change();
as_before('a fault in hub.conf');
# A signal to the daemon alone is what a person might send.
change(ssh => 'nonsense {');
$said = length $story->log('hub');
kill 'HUP', $story->child('hub', qr/certsync\0hub/);
ok(said(qr/event=configuration fault="\Q$conf\E:\d+: .*\n.*event=reload result=refused reason="the running configuration stays"/), 'the daemon tells the same');
change();
as_before('a fault that the daemon meets');
change(run => "\"$top/elsewhere\"");
reload();
ok(said(qr/reason="state, run, http, users and group change only at a restart"/), 'what needs a restart is named');
change();
as_before('a change that needs a restart');
change(anchors => "\"$top/none.pem\"");
reload();
ok(said(qr{event=reload result=refused error="anchors: .*none\.pem}), 'anchors that are not there are refused');
change();
as_before('wrong anchors');
change(page => '"127.0.0.1:' . $story->{http} . '"');
reload();
ok(said(qr/event=reload result=refused error=".*127\.0\.0\.1:$story->{http}/), 'so is a page at a port that is taken');
change();
as_before('a page that cannot be');
# The process that would take a port that is new is another one, from which there is no way back.
my $other = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1', ReuseAddr => 1) or die $!;
my $daemon = $story->child('hub', qr/certsync\0hub/);
change(page => '"127.0.0.1:' . $other->sockport . '"');
reload();
ok(said(qr/event=reload result=refused (?:reason|error)="page: cannot listen at 127\.0\.0\.1:${\$other->sockport}\b.*in use/), 'and one at a port of somebody else');
change();
as_before('a page at a port of somebody else');
is($story->child('hub', qr/certsync\0hub/), $daemon, 'with the daemon of before');
# The command waits: what it has said is so, with nothing to wait for behind it.
sub reload_waits {
	my ($exit, $pattern, $why) = @_;
	my ($got, $text) = $story->certsync('reload', $story->{started}{hub});
	return ok($got == $exit && $text =~ $pattern, "reload waits: $why") || diag("exit $got: $text");
}
for my $agents (['here', 'there'], ['here']) {
	$story->hub_conf(agents => $agents);
	reload_waits(0, qr/^\z/, "@$agents");
	my $listed = ($story->certsync('agent', 'list'))[1];
	is_deeply([$listed =~ /^(here|there)\b/mg], $agents, '  and at once holds') or diag($listed);
}
change(ssh => 'nonsense {');
reload_waits(2, qr/^\Q$conf\E:\d+: /, 'a fault');
change(anchors => "\"$top/none.pem\"");
reload_waits(1, qr{the new configuration does not hold: anchors: .*none\.pem}, 'what the daemon alone finds out');
change();
reload_waits(0, qr/^\z/, 'mended');
change(page => '"127.0.0.1:' . $other->sockport . '"');
reload_waits(1, qr/the new configuration does not hold: page: cannot listen at .*in use/, 'a port of somebody else');
my $free = $other->sockport;
close $other;
reload_waits(0, qr/^\z/, 'the same port, which is free now');
ok($story->until('the page', sub { IO::Socket::INET->new(PeerAddr => "127.0.0.1:$free") }), '  and the page is there');
change();
reload_waits(0, qr/^\z/, 'without a page');
change(admin_group => '"nogroup"');
reload_waits(1, qr/the new configuration does not hold: state, run, http, users and group change only at a restart; the rest holds/, 'what needs a restart');
change();
reload_waits(0, qr/^\z/, 'as it is');
is(($story->certsync('reload', '1'))[0], 2, 'a process that can be no root half is none');
as_before('reloads that were waited for');
# The daemon cannot go back, because its trust anchors have gone. It ends, is started again, and serves once they are
# back.
change();
reload();
ok(said(qr/event=reload result=done certificates=1/), 'a good one is taken');
rename "$top/ca.pem", "$top/ca.away";
Story::write_file("$top/ca.pem", "no certificate\n");
reload();
ok(said(qr/event=reload error="anchors: /), 'neither the new one nor the old one');
rename "$top/ca.away", "$top/ca.pem";
as_before('anchors that were away');

# ---- records that are damaged ----

my $records = "$top/hub/records";
my $record = "$records/rollouts/$Story::name/state.json";
ok(-s $record, 'a record of the rollout is kept');
for my $content ('{"agents":', '{}', '{"desired":"x","old":"y","revision":"1.0.0","agents":{"here":7},"sent":[{"at":1}],"next":"soon"}') {
	$story->stop('hub');
	Story::write_file($record, $content, 0600);
	$said = length $story->log('hub');
	$story->start('hub', "$Story::bin/certsync-hub-root", '-c', $conf);
	ok(said(qr{event=store record=rollouts/\Q$Story::name\E/state\.json error="[^"]+" text="the rollout begins anew}), "a record that says $content is told of");
	as_before("a record that says $content");
}
my ($exit, $text) = $story->certsync('history', $Story::name);
like($text, qr/^\S*1\.1\b/m, 'every revision is still told') or diag($text);

# ---- no descriptor left ----

my $daemon = $story->child('hub', qr/certsync\0hub/);
my $used = () = glob "/proc/$daemon/fd/*";
my ($soft, $hard) = Story::read_file("/proc/$daemon/limits") =~ /^Max open files\s+(\d+)\s+(\d+)/m;
is(system("prlimit --pid $daemon --nofile=$used:$hard"), 0, 'the daemon may have no more descriptors than it has');
# The request waits in the socket's queue until there is a descriptor for it again.
my $asks = IO::Socket::UNIX->new(Peer => "$top/hub.run/control.sock") or die $!;
$asks->syswrite(pack('NC', length('{"command":"status"}') + 1, 1) . '{"command":"status"}');
ok($story->until('a pause', sub { my $now = () = glob "/proc/$daemon/fd/*"; $now == $used }), 'who asks gets none');
is(system("prlimit --pid $daemon --nofile=$soft:$hard"), 0, 'the daemon is let have descriptors again');
local $SIG{ALRM} = sub { die "no answer\n" };
alarm 20 * ($ENV{CERTSYNC_PATIENCE} // 1);
ok($asks->sysread(my $answer, 65536), 'and who had asked is answered');
alarm 0;
as_before('a lack of descriptors');
$story->ends_clean;
done_testing;
