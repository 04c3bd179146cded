#!/usr/bin/perl
# A real nginx on loopback as the service of an agent: a reload works, one exits 0 and changes nothing, a port was dead
# before, a service is stopped, and a daemon is restarted with an old file.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Story;
use Test::More;

my $story = Story->new;
my $top = $story->top;
my ($port, $dead) = (Story::free_port(), Story::free_port());
my $live = "$top/here/etc/live/$Story::name";
my ($exit, $text);

# nginx reads its files at its start and at a reload, as Dovecot does; the hook is the administrator's own.
sub nginx_conf {
	my ($pem) = @_;
	Story::write_file("$top/nginx.conf", <<"CONF");
daemon off; master_process on; worker_processes 1; pid $top/nginx.pid; error_log $top/nginx.log;
events {}
http {
	access_log off; client_body_temp_path $top/t1; proxy_temp_path $top/t2; fastcgi_temp_path $top/t3;
	uwsgi_temp_path $top/t4; scgi_temp_path $top/t5;
	server { listen 127.0.0.1:$port ssl; ssl_certificate $pem; ssl_certificate_key $pem; return 200 ok; }
}
CONF
}

sub start_nginx {
	$story->start('nginx', 'nginx', '-p', $top, '-c', "$top/nginx.conf", '-e', "$top/nginx.log");
	return $story->until('nginx', sub { $story->served($port) ne '' });
}

# While nginx hands over, its old worker may still take a connection after the new one has taken its first.
sub is_served {
	my ($fingerprint, $what) = @_;
	ok($story->until('handover', sub { $story->served($port) eq $fingerprint }, 5), $what) or diag($story->served($port));
}

my $first = $story->pair('first');
ok($story->hub, 'a hub starts') or BAIL_OUT($story->log('hub'));
$story->import('first');
my $dir = $story->agent_conf('here', services => "service \"web\" { probe = {\"127.0.0.1:$port/tls\"} }");
Story::write_file("$dir/hooks/web", <<"HOOK", 0755);
#!/bin/sh
case \$1 in
running) [ -s $top/nginx.pid ] && kill -0 "\$(cat $top/nginx.pid)" || exit 3 ;;
test) nginx -t -p $top -c $top/nginx.conf -e $top/nginx.log ;;
reload) [ -e $top/pretend ] || nginx -s reload -p $top -c $top/nginx.conf -e $top/nginx.log ;;
esac
HOOK
nginx_conf("$live/combined.pem");
$story->enrol('here') or BAIL_OUT(Story::read_file("$top/join.log"));
$story->start_agent('here');
ok($story->until_state('here', 'installed (stopped)'), 'nginx is not running: its files are installed');
ok($story->state_of('here')->{stopped}, 'and that is shown as stopped');
ok(start_nginx(), 'nginx starts') or BAIL_OUT(Story::read_file("$top/nginx.log"));
is($story->served($port), $first, 'with the certificate that was installed for it');

my $second = $story->pair('second', days => 21);
is(($story->import('second'))[0], 0, 'a second one arrives');
is_served($second, 'and is served');
ok(!$story->state_of('here')->{stopped}, 'it is no longer stopped');

# This reload exits 0 and changes nothing, which only the probe proves.
Story::write_file("$top/pretend", '');
$story->pair('third', days => 22);
($exit, $text) = $story->import('third');
is($exit, 3, 'a reload without effect: not converged');
like($story->state_of('here')->{error}, qr/127\.0\.0\.1:$port/, 'the port is named') or diag($text);
ok($story->state_of('here')->{rolled_back}, 'the old files are back');
is($story->installed('here'), $second, 'which are the second one\'s');
is_served($second, 'and that is still served');
unlink "$top/pretend";
is(($story->certsync('push'))[0], 0, 'mended, push brings the third');
is_served($story->fingerprint("$top/third.crt"), 'it is served');

# The daemon is restarted with an old file; a probe finds that, and the activation is repeated.
Story::write_file("$top/old.pem", Story::read_file("$top/first.key") . Story::read_file("$top/first.crt"), 0600);
$story->stop('nginx');
nginx_conf("$top/old.pem");
ok(start_nginx(), 'nginx is restarted on an old file');
is($story->served($port), $first, 'which it serves');
nginx_conf("$live/combined.pem");
$story->stop('here');
$story->start_agent('here');
ok($story->until('drift', sub { $story->log('hub') =~ /step=drift/ }, 30), 'the hub notices what is served there')
	or diag($story->log('hub'));
ok($story->until('repair', sub { $story->served($port) eq $story->fingerprint("$top/third.crt") }, 60), 'the activation is repeated')
	or diag($story->log('here'));
ok($story->until_state('here', 'verified', 30), 'and verified');

# A port that was dead before is reported, is no reason to roll back, and is not called verified.
$story->stop('here');
$story->agent_conf('here', services => "service \"web\" { probe = {\"127.0.0.1:$port/tls\", \"127.0.0.1:$dead/tls\"} }");
$story->start_agent('here');
ok($story->until_state('here', 'unverified', 30), 'an endpoint where nothing listens: unverified');
my $fourth = $story->pair('fourth', days => 23);
($exit, $text) = $story->import('fourth');
is($exit, 3, 'a renewal is not called converged');
like($text, qr/127\.0\.0\.1:$dead/, 'the dead port is named') or diag($text);
is_served($fourth, 'but it is served where somebody listens');
is($story->installed('here'), $fourth, 'and was not rolled back');

$story->ends_clean;
done_testing;
