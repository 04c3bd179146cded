#!/usr/bin/perl
# A machine that boots: certsync starts before the services, so what it sees first is not what is there a moment later. Both the agent and
# the hub's checks look again by themselves, long before their interval is over.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use JSON::PP qw(decode_json);
use Story;
use Test::More;

my $story = Story->new;
my $top = $story->top;
my $port = Story::free_port();
my $live = "$top/here/etc/live/$Story::name";

Story::write_file("$top/nginx.conf", <<"CONF");
daemon off; master_process on; worker_processes 1; pid $top/nginx.pid; error_log $top/nginx.log;
events {}
http {
	access_log off; client_body_temp_path $top/t1; proxy_temp_path $top/t2; fastcgi_temp_path $top/t3;
	uwsgi_temp_path $top/t4; scgi_temp_path $top/t5;
	server { listen 127.0.0.1:$port ssl; ssl_certificate $live/combined.pem; ssl_certificate_key $live/combined.pem; return 200 ok; }
}
CONF

sub start_nginx {
	$story->start('nginx', 'nginx', '-p', $top, '-c', "$top/nginx.conf", '-e', "$top/nginx.log");
	return $story->until('nginx', sub { $story->served($port) ne '' });
}

# The hook takes the service for one that runs as long as this file is there.
sub says_running {
	my ($runs) = @_;
	$runs ? Story::write_file("$top/runs", '') : unlink "$top/runs";
}

# What the hub's own check has seen at the port, and when.
sub row {
	my $all = decode_json(($story->certsync('status', '--json'))[1]);
	my ($row) = grep { $_->{endpoint} =~ /:$port/ } @{$all->{endpoints} // []};
	return $row // {verdict => '', checked => 0};
}

sub checked { return row()->{verdict} }

sub machine_goes_down {
	$story->stop($_) for qw(here hub nginx);
}

$story->pair('first');
ok($story->hub(certificates => "certificate \"$Story::name\" {}\n"
	. "endpoint \"$Story::name\" { ports = {\"$port/tls\"}  at = {\"127.0.0.1\"}  interval = \"24h\" }\n"),
	'a hub starts, which checks the port once a day') or BAIL_OUT($story->log('hub'));
$story->import('first');
my $dir = $story->agent_conf('here', services => "service \"web\" { probe = {\"127.0.0.1:$port/tls\"} }");
unlike(Story::read_file("$dir/agent.conf"), qr/probe_interval/, 'the agent looks at its ports every quarter of an hour');
Story::write_file("$dir/hooks/web", <<"HOOK", 0755);
#!/bin/sh
case \$1 in
running) [ -e $top/runs ] || exit 3 ;;
reload) nginx -s reload -p $top -c $top/nginx.conf -e $top/nginx.log ;;
esac
HOOK
$story->enrol('here') or BAIL_OUT(Story::read_file("$top/join.log"));
$story->start_agent('here');
ok($story->until_state('here', 'installed (stopped)'), 'its files are installed');
says_running(1);
ok(start_nginx(), 'nginx starts') or BAIL_OUT(Story::read_file("$top/nginx.log"));
ok($story->until('seen running', sub { !$story->state_of('here')->{stopped} }, 60), 'and is seen to run');

# ---- the service comes later ----

for my $says (0, 1) {
	my $state = $says ? 'runs, while it answers nobody' : 'is stopped';
	machine_goes_down();
	says_running($says);
	$story->start('hub', "$Story::bin/certsync-hub-root", '-c', "$top/hub.conf");
	$story->start_agent('here');
	ok($story->until('false state', sub {
		my $seen = eval { $story->state_of('here') } or return 0;
		return $seen->{connected} && ($says ? $seen->{state} eq 'unverified' : $seen->{stopped});
	}, 60), "booted, and seen first: the service $state") or diag($story->log('hub'), $story->log('here'));
	ok($story->until('unreachable', sub { eval { checked() } eq 'unreachable' }, 60), 'and nobody answers the hub\'s check');
	says_running(1);
	ok(start_nginx(), 'the service starts');
	ok($story->until('true state', sub { my $seen = $story->state_of('here'); $seen->{state} eq 'verified' && !$seen->{stopped} }, 120),
		'the agent sees it by itself') or diag($story->log('here'));
	ok($story->until('ok', sub { checked() eq 'ok' }, 120), 'and so does the hub\'s check') or diag(grep { !/event=command/ } map { "$_\n" } split /\n/, $story->log("hub"));
}

# ---- a push has the port checked, whatever its agents say ----

# Without an agent nothing but the hub's start has it checked, and after that nothing does for a day.
$story->stop($_) for qw(here hub);
my $before = time;
$story->start('hub', "$Story::bin/certsync-hub-root", '-c', "$top/hub.conf");
ok($story->until('ok', sub { my $row = eval { row() } or return 0; $row->{verdict} eq 'ok' && $row->{checked} > $before }),
	'the port is checked at the start');
$story->stop('nginx');
$story->start('push', "$Story::bin/certsync", 'push', '-c', "$top/hub.conf");
ok($story->until('unreachable', sub { checked() eq 'unreachable' }), 'a push has it checked at once');

done_testing();
