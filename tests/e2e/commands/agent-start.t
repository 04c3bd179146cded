#!/usr/bin/perl
# What keeps an agent from starting, or from taking an agent.conf that was changed under it: each is told with its reason, and what runs
# goes on as it was.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use IO::Socket::UNIX;
use JSON::PP ();
use Needs;
use IO::Socket::INET;
use Story;
use Test::More;

my $story = Story->new;
my $top = $story->top;
my $conf = "$top/here/agent.conf";

my $output = `$Story::bin/certsync-agent run -c $conf 2>&1 3>&-`;
is($? >> 8, 2, 'the daemon alone is not to be started');
like($output, qr/`run` is started by certsync-agent-root/, 'and says who starts it');

# ---- what others could change is not root's word ----

$story->agent_conf('here');
for ([$conf, 0660, 0640, 'a group other'], [$conf, 0646, 0640, 'others'], ["$top/here", 0777, 0755, 'others'], ["$top/here", 0775, 0755, 'a group other']) {
	my ($path, $open, $closed, $who) = @$_;
	chmod $open, $path;
	my $said = `$Story::bin/certsync-agent-root -c $conf 2>&1`;
	is($? >> 8, 2, sprintf('%s at %o: the root half does not start', $path =~ s/\Q$top\E//r, $open));
	like($said, qr{^\Q$path\E can be written by $who than its owner: chmod go-w \Q$path\E$}m, 'and says which path, and what to do');
	chmod $closed, $path;
}
SKIP: {
	needs_root('to give a file away', 2);
	chown 65534, -1, $conf;
	like(scalar `$Story::bin/certsync-agent-root -c $conf 2>&1`, qr{^\Q$conf\E belongs to user 65534, .*: chown root \Q$conf\E$}m, 'one of another user');
	is($? >> 8, 2, 'an agent.conf that others can change is not taken');
	chown $>, -1, $conf;
}

# ---- a socket that somebody has, a place where something else stands ----

my $first = $story->pair('first');
ok($story->hub, 'a hub starts') or BAIL_OUT($story->log('hub'));
$story->import('first');
$story->agent_conf('here');
$story->enrol('here') or BAIL_OUT(Story::read_file("$top/join.log"));
mkdir "$top/here/run";
my $somebody = IO::Socket::UNIX->new(Listen => 5, Local => "$top/here/run/control.sock") or die $!;
$story->start_agent('here');
ok($story->until('the reason', sub { $story->log('here') =~ m{event=start error="somebody already answers on \Q$top\E/here/run/control\.sock: is certsync running already\?"} }),
	'a socket that somebody has') or diag($story->log('here'));
close $somebody;
ok($story->until_state('here', 'unprobed', 40), 'it starts by itself once that is free');
is($story->installed('here'), $first, 'with what is to be had');

# ---- agent.conf is changed under it ----

my $said = 0;
sub said {
	my ($pattern) = @_;
	return $story->until($pattern, sub { substr($story->log('here'), $said) =~ $pattern }) || diag(substr($story->log('here'), $said)) && 0;
}
sub change {
	my (%lines) = @_;
	$story->agent_conf('here');
	my $text = Story::read_file($conf);
	for my $key (keys %lines) {
		$text =~ s/^\Q$key\E = .*$/$key = $lines{$key}/m or $text = "$key = $lines{$key}\n$text";
	}
	Story::write_file($conf, $text);
}
my %process = (root => $story->{started}{here}, daemon => $story->child('here', qr/certsync-agent\0run/));
sub reload { my ($whom) = @_; $said = length $story->log('here'); kill 'HUP', $process{$whom} }
sub as_before {
	my ($why) = @_;
	ok($story->until_state('here', 'unprobed'), "$why: it is verified as before");
	is($story->installed('here'), $first, 'with the certificate that it had');
}

change(hub => '"nonsense://"');
reload('root');
ok(said(qr/\Q$conf\E:\d+: hub/), 'a fault is told with its line');
ok(said(qr/event=reload error="the configuration has faults" text="the configuration before it stays"/), 'and what becomes of it');
as_before('a fault in agent.conf');
reload('daemon');
ok(said(qr/event=configuration fault="\Q$conf\E:\d+: hub[^\n]*\n.*event=reload result=refused reason="the running configuration stays"/s), 'the daemon, asked by itself, says so too');
as_before('a fault that the daemon meets');
chmod 0666, $conf;
reload('root');
ok(said(qr/\Q$conf\E can be written by others than its owner: chmod go-w .*event=reload error="the configuration has faults"/s), 'one that others can write is not taken');
chmod 0644, $conf;
as_before('agent.conf is open to all');
change(directory => "\"$top/here/elsewhere\"");
reload('root');
ok(said(qr/event=reload error="directories or user changed: restart certsync-agent-root"/), 'what needs a restart is named');
ok(!-e "$top/here/elsewhere", 'and nothing is made there');
as_before('another directory');
change(run => "\"$top/here/run2\"");
reload('daemon');
ok(said(qr/event=reload result=refused reason="directory, state and run change only at a restart of certsync-agent-root"/), 'so does the daemon');
change();
reload('root');
ok(said(qr/event=reload result=done certificates=1/), 'a good one is taken');
as_before('all of it');
is($story->child('here', qr/certsync-agent\0run/), $process{daemon}, 'by the same daemon');

# The command waits: what it has said is so, with nothing to wait for behind it.
sub reload_waits {
	my ($exit, $pattern, $why) = @_;
	my $text = `$Story::bin/certsync-agent reload $process{root} -c $conf 2>&1`;
	my $got = $? >> 8;
	return ok($got == $exit && $text =~ $pattern, "reload waits: $why") || diag("exit $got: $text");
}
sub status { return `$Story::bin/certsync-agent status -c $conf 2>&1` }
my $another = "certificate \"another.domain.pl\" {\n\tallow = {\"*.domain.pl\"}\n\tservice \"nothing\" { probe = none }\n}\n";
unlike(status(), qr/another/, 'one certificate is there');
Story::write_file($conf, Story::read_file($conf) . $another);
reload_waits(0, qr/^\z/, 'another certificate');
like(status(), qr/^another\.domain\.pl /m, '  and at once it is there');
change(hub => '"nonsense://"');
reload_waits(2, qr/^\Q$conf\E:\d+: hub/, 'a fault');
change(directory => "\"$top/here/elsewhere\"");
reload_waits(1, qr/the new configuration does not hold: directories or user changed: restart certsync-agent-root/, 'what the root half refuses');
change();
Story::write_file($conf, Story::read_file($conf) . "alert { command = \"/bin/true\" }\n");
my $daemon = $story->child('here', qr/certsync-agent\0run/);
reload_waits(0, qr/^\z/, 'what needs another daemon');
isnt($story->child('here', qr/certsync-agent\0run/), $daemon, '  and at once there is another');
change();
reload_waits(0, qr/^\z/, 'all of it as before');
unlike(status(), qr/another/, '  and at once the certificate is not there');
as_before('reloads that were waited for');

# The process that runs the command of alerts is started before the daemon confines itself, so that for another command
# the daemon is started anew.
Story::write_file("$top/tell", "#!/bin/sh\n", 0755);
change();
Story::write_file($conf, Story::read_file($conf) . "alert { command = \"$top/tell\" }\n");
reload('root');
ok(said(qr/event=reload result=restart reason="the command of alerts is another one[^\n]*\n.*event=started/s), 'another command of alerts starts the daemon again');
as_before('another command of alerts');
isnt($story->child('here', qr/certsync-agent\0run/), $process{daemon}, 'which is another one');

# ---- a certificate that the hub assigns and agent.conf does not have ----

my $other = 'another.domain.pl';
$story->pair('other', names => "DNS:$other");
Story::write_file("$top/hub.conf", Story::read_file("$top/hub.conf") =~ s/(certificates = \{"\Q$Story::name\E")/$1, "$other"/r . "certificate \"$other\" {}\n");
is(($story->certsync('reload', $story->{started}{hub}))[0], 0, 'the hub assigns another certificate');
my $why = qr/here +waiting .*configuration: agent\.conf there has no section certificate "\Q$other\E": add it, then systemctl reload certsync-agent/;
ok($story->until('the reason', sub { ($story->certsync('status'))[1] =~ $why }), 'why nothing comes of it is shown before there is any');
for my $time ('first', 'second') {
	my ($exit, $text) = $story->certsync('import', $other, '--key', "$top/other.key", '--chain', "$top/other.crt");
	is($exit, 3, "the $time revision does not get there");
	like($text, $why, '  and whoever waits for it is told why');
	like(($story->certsync('status'))[1], $why, '  so is who asks later');
	($exit, $text) = $story->certsync('push', $other);
	is($exit, 3, '  a push does not mend it');
	like($text, $why, '  and says why');
	my $alert = qr/another\.domain\.pl here: rollout\n +nothing of it is installed there: agent\.conf/;
	ok($story->until('the alert', sub { ($story->certsync('alert', 'list'))[1] =~ $alert }), '  it is a condition, with its remedy') or diag(($story->certsync('alert', 'list'))[1]);
	$story->pair('other', names => "DNS:$other");
}
Story::write_file($conf, Story::read_file($conf) . $another);
reload_waits(0, qr/^\z/, 'the section is there');
ok($story->until('it', sub { my $text = ($story->certsync('status', '--json'))[1]; $text !~ /no section/ && (grep { $_->{certificate} eq $other && $_->{state} eq 'unprobed' } @{JSON::PP::decode_json($text)->{agents}}) }), '  and the certificate comes');
$story->hub_conf(agents => ['here']);
is(($story->certsync('reload', $story->{started}{hub}))[0], 0, 'the hub assigns it no more');

# ---- what it looks at by itself ----

my $port = Story::free_port();
$story->agent_conf('here', services => "service \"nothing\" { probe = {\"127.0.0.1:$port/tls\"} }");
Story::write_file($conf, "probe_interval = \"1s\"\n" . Story::read_file($conf));
reload('root');
ok($story->until_state('here', 'unverified'), 'a port that is to be looked at is silent');
$story->start('server', 'openssl', 's_server', '-quiet', '-accept', "127.0.0.1:$port", '-cert', "$top/first.crt", '-key', "$top/first.key");
ok($story->until_state('here', 'verified', 10), 'that it serves is seen at the next look, which nobody asked for');
$story->stop('server');
# This is where a mail server would be: it only listens to how it is greeted.
my $greeted = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1', Timeout => 60) or die $!;
$story->agent_conf('here', services => "service \"nothing\" { probe = {\"127.0.0.1:@{[$greeted->sockport]}/smtp\"} }");
Story::write_file($conf, "helo = \"mx.domain.pl\"\nprobe_interval = \"1s\"\n" . Story::read_file($conf));
reload('root');
my $probe = $greeted->accept or BAIL_OUT('no probe has come');
$probe->print("220 here\r\n");
is($probe->getline, "EHLO mx.domain.pl\r\n", 'it greets mail servers by the name that agent.conf has');
$story->ends_clean;
done_testing;
