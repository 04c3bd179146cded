#!/usr/bin/perl
# What adopt --apply does when a reload goes wrong in a way that no exit status tells: the service ends, another name
# gets another certificate, or clients of one kind are cut off. All is undone, the service runs again, and where it
# cannot the last line says so.
use strict;
use warnings;
use File::Copy qw(copy);
use File::Path qw(make_path);
use FindBin;
use lib "$FindBin::Bin/../lib";
use Story;
use Test::More;

Story->enter;
Story->cover(qw(etc var));
my $story = Story->new;
my $top = $story->top;
my %print = (old => $story->pair('old'), other => $story->pair('other', names => 'DNS:www.other.pl'),
	third => $story->pair('third', names => 'DNS:www.other.pl'), r0 => $story->pair('r0'));
make_path('/etc/old', '/run/lock', '/run/apache2', '/var/log/apache2');
for (qw(old other third)) {
	Story::write_file("/etc/old/$_.crt", Story::read_file("$top/$_.crt"), 0644);
	Story::write_file("/etc/old/$_.key", Story::read_file("$top/$_.key"), 0600);
}
Story::write_file('/etc/nginx/nginx.conf', <<'CONF');
events {}
http {
	access_log off;
	server { listen 127.0.0.1:8445 ssl; server_name mail.domain.pl; ssl_certificate /etc/old/old.crt; ssl_certificate_key /etc/old/old.key; }
	server { listen 127.0.0.1:8445 ssl; server_name www.other.pl; ssl_certificate /etc/old/other.crt; ssl_certificate_key /etc/old/other.key; }
}
CONF
Story::write_file('/etc/apache2/apache2.conf', <<'CONF');
ServerName mail.domain.pl
DefaultRuntimeDir /run/apache2
PidFile ${APACHE_PID_FILE}
ErrorLog /var/log/apache.log
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule socache_shmcb_module /usr/lib/apache2/modules/mod_socache_shmcb.so
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
Listen 127.0.0.1:8446
<VirtualHost *:8446>
	SSLEngine on
	SSLCertificateFile /etc/old/old.crt
	SSLCertificateKeyFile /etc/old/old.key
</VirtualHost>
CONF

ok($story->hub, 'a hub starts') or BAIL_OUT($story->log('hub'));
my $dir = $story->agent_conf('here', services => <<'CONF');
service "nginx" { probe = {"127.0.0.1:8445"} }
	service "apache2" { probe = {"127.0.0.1:8446"} }
CONF
make_path("$top/real");
copy($_, "$top/real/") or die for glob "$Story::bin/hooks/*";
chmod 0755, glob "$top/real/*";
# Has the first reload do this before it does what it should.
sub at_reload {
	my ($service, $command) = @_;
	Story::write_file("$top/now", '');
	Story::write_file("$dir/hooks/$_", <<"HOOK", 0755) for qw(nginx apache2);
#!/bin/sh
if [ "$_ \$1" = "$service reload" ] && rm "$top/now" 2>/dev/null; then $command; fi
exec $top/real/$_ "\$1"
HOOK
}

at_reload('nothing', 'exit 1');
$story->enrol('here') or BAIL_OUT(Story::read_file("$top/join.log"));
$story->start('nginx', qw(nginx -g), 'daemon off;');
$story->run('apache2ctl start');
sub served { return join ' ', map { $story->served(@$_) } [8445], [8445, sni => 'www.other.pl'], [8446] }
my $before = "$print{old} $print{other} $print{old}";
ok($story->until('servers', sub { served() eq $before }), 'the servers run') or diag(served(), $story->log('nginx'));
Story::import($story, 'r0');
$story->start_agent('here');
ok($story->until('files', sub { $story->installed('here') eq $print{r0} }, 90), 'the first revision is installed') or diag($story->log('here'));
$story->stop('here');

my @files = qw(/etc/nginx/nginx.conf /etc/apache2/apache2.conf);
sub files { return join "\n--\n", map { Story::read_file($_) } @files }
my $files = files();

sub is_undone {
	my ($what, $reason, $last) = @_;
	my $text = `timeout 300 $Story::bin/certsync-agent adopt --apply -c $top/here/agent.conf 2>&1`;
	is($? >> 8, 1, "$what: it fails") or diag($text);
	like($text, $reason, "$what: it says why");
	like($text, $last, "$what: the last line") if $last;
	is(files(), $files, "$what: the files are as they were");
	return $text;
}

# ---- the service ends: it is waited for until its pid file is gone, for as long as a hook may take ----

at_reload('apache2', 'apache2ctl stop; while [ -e /run/apache2/apache2.pid ]; do sleep 0.1; done; exit 0');
my $text = is_undone('Apache ends and the hook says nothing', qr/127.0.0.1:8446 does not serve mail.domain.pl: it serves nothing/);
like($text, qr/^apache2 has ended: started again: apache2ctl start$/m, 'Apache is started again');
ok($story->until('again', sub { served() eq $before }), 'and serves what it did') or diag(served());

# ---- another name is changed ----

at_reload('nginx', "cp $top/third.crt /etc/old/other.crt; cp $top/third.key /etc/old/other.key");
$text = is_undone('another name gets another certificate',
	qr/127.0.0.1:8445 served the certificate with SHA-256 $print{other}, for www.other.pl, which was to stay, and now serves the certificate with SHA-256 $print{third}/);
like($text, qr/not everything is served as before: 127.0.0.1:8445 served/, 'what somebody else has changed cannot be undone, and is told');
copy("$top/other.$_", "/etc/old/other.$_") or die for qw(crt key);
kill 'HUP', $story->{started}{nginx};
ok($story->until('again', sub { served() eq $before }), 'with it taken back all is as it was') or diag(served());

# ---- it cannot be brought back ----

at_reload('apache2', 'apache2ctl stop; while [ -e /run/apache2/apache2.pid ]; do sleep 0.1; done; rm -r /var/log; exit 1');
$text = is_undone('Apache cannot be started', qr/with the old files, too|apache2 reload/, qr/\ncertsync-agent: apache2 is DOWN: it ran before, and does not now: apache2ctl start\n\z/);
make_path('/var/log/apache2');
$story->run('apache2ctl start');
ok($story->until('again', sub { served() eq $before }), 'that command starts it') or diag(served());

# ---- and nothing goes wrong ----

at_reload('nothing', 'exit 1');
$text = `timeout 300 $Story::bin/certsync-agent adopt --apply -c $top/here/agent.conf 2>&1`;
is($? >> 8, 0, 'adopt --apply') or diag($text);
is(served(), "$print{r0} $print{other} $print{r0}", 'the one is served, and the other stays');

$story->run('apache2ctl stop');
$story->ends_clean;
done_testing();
