#!/usr/bin/perl
# A hub that is gone is not silent: the agent itself tells a person of it, once, also over its own restart, and tells
# when the hub is back; and it tells of a certificate that nears its end. What could not be told is told later.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use JSON::PP;
use Story;
use Test::More;

my $story = Story->new;
my $top = $story->top;
ok($story->hub, 'a hub starts') or BAIL_OUT($story->log('hub'));
$story->pair('a', days => 20);
$story->import('a');

Story::write_file("$top/tell", "#!/bin/sh\nid -un >$top/tell.user\n{ cat; echo; } >>$top/tell.json\n", 0755);
sub told { map { decode_json($_) } split /\n/, Story::read_file("$top/tell.json") }
sub until_told {
	my ($count) = @_;
	$story->until('told', sub { told() >= $count }, 20) or diag($story->log('here'));
	is(scalar told(), $count, "$count told");
	return (told())[-1] // {};
}

# Writes agent.conf with an alert section, and with these further lines in it.
sub agent_conf {
	my (@lines) = @_;
	my $dir = $story->agent_conf('here');
	Story::write_file("$dir/agent.conf", Story::read_file("$dir/agent.conf") . join("\n", 'alert {', "command = \"$top/tell\"",
		'hub_away = "10s"', @lines, '}', ''));
}
agent_conf();
ok($story->enrol('here'), 'an agent is enrolled');
$story->start_agent('here');
ok($story->until_state('here', 'unprobed'), 'and verified');

# ---- the hub goes ----

$story->stop('hub');
my $raised = until_told(1);
is($raised->{subject}, 'certsync: hub: away', 'the agent tells that its hub is gone');
like($raised->{text}, qr/no hub was reached since 2\S+: /, 'since when, and why');
is($raised->{conditions}[0]{event}, 'raised', 'the message says that it is raised');
is(Story::read_file("$top/tell.user"), "$story->{user}\n", 'the executable runs as the configured user');

# Whoever ends it before it has seen its executable end is told once more.
ok($story->until('noted', sub { $story->log('here') =~ /event=alert result=(?!failed)/ }), 'it has noted that this was told');
$story->stop('here');
$story->start_agent('here');
my $connects = sub { (() = $story->log('here') =~ /event=started/g) >= 2 };
ok($story->until('started', $connects), 'the agent is started anew');
$story->start('hub', "$Story::bin/certsync-hub-root", '-c', "$top/hub.conf");
ok($story->until('hub', sub { -S "$top/hub.run/control.sock" && ($story->certsync('status'))[0] != 4 }), 'and the hub');
system("$Story::bin/certsync-agent", 'pull', '-c', "$top/here/agent.conf") if !$story->until_state('here', 'unprobed', 5);
my $resolved = until_told(2);
is($resolved->{subject}, 'certsync: resolved: hub: away', 'it tells that the hub is back, and had repeated nothing');
like($resolved->{text}, qr/RESOLVED after \d+/, 'and how long it lasted');

# ---- what is installed nears its end; the executable fails at first ----

Story::write_file("$top/tell", "#!/bin/sh\nexit 7\n", 0755);
agent_conf('expiring = "30d"');
kill 'HUP', $story->{started}{here};
ok($story->until('failed', sub { $story->log('here') =~ /event=alert result=failed .*exited 7/ }), 'an executable that fails is noticed');
Story::write_file("$top/tell", "#!/bin/sh\n{ cat; echo; } >>$top/tell.json\n", 0755);
kill 'HUP', $story->{started}{here};
my $expiring = until_told(3);
is($expiring->{subject}, "certsync: $Story::name: expiring", 'what it could not tell, it tells later');
like($expiring->{text}, qr/WARNING: .* expires 2\S+, and the hub has sent no successor/s, 'with when it ends');

# ---- its record is damaged; the executable hangs, and is gone ----

$story->stop('here');
Story::write_file("$top/here/state/alerts.json", '{"queue":[', 0600);
Story::write_file("$top/tell", "#!/bin/sh\n{ cat; echo; } >>$top/tell.json\necho \$\$ >$top/tell.pid\nexec sleep 600\n", 0755);
$story->start_agent('here');
ok($story->until('the record', sub { $story->log('here') =~ m{event=alert error="\Q$top\E/here/state/alerts\.json: .*: what was told may be told again"} }),
	'a record that is damaged is told of') or diag($story->log('here'));
is(until_told(4)->{subject}, "certsync: $Story::name: expiring", 'and what holds is told again');
ok($story->until('the pid', sub { -s "$top/tell.pid" }), 'the executable hangs');
chomp(my $hangs = Story::read_file("$top/tell.pid"));
rename "$top/tell", "$top/away";
mkdir "$top/tell", 0755; # a directory counts as executable, too
kill 'HUP', $story->{started}{here};
ok($story->until('the end', sub { !kill 0, $hangs }), 'what hangs does not outlive the next reading of agent.conf');
ok($story->until('the reason', sub { $story->log('here') =~ m{event=alert result=failed .*cannot start \Q$top\E/tell} }), 'one that cannot be started is told of')
	or diag($story->log('here'));
ok($story->until_state('here', 'unprobed'), 'the agent serves as before');
$story->ends_clean;
done_testing;
