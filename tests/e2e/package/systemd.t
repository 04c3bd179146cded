#!/usr/bin/perl
# The packages on a machine whose first process is a real systemd: units that become active when they are ready, what their processes may
# write, a reload that ends when the new configuration holds and fails when it does not, watchdogs that act, a boot after which all is there,
# the service with the right file, and a purge that leaves this service what it needs.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use JSON::PP;
use Machine;
use Needs;
use Story;
use Test::More;

needs_root('a machine in namespaces');
my $story = Story->new;
my $debs = $ENV{CERTSYNC_DEB} or BAIL_OUT('CERTSYNC_DEB names the directory of the packages');
my $m = Machine->new($story, 'machine');
ok($m->boots, 'systemd has booted a machine') or BAIL_OUT($story->log('machine'));
like($m->said('systemctl --version | head -n 1'), qr/^systemd \d/, $m->said('systemctl --version | head -n 1'));

# ---- installed ----

for my $deb (grep { !/dbgsym/ } glob "$debs/*.deb") {
	my $name = $deb =~ s{.*/}{}r;
	$m->brings($deb, "/root/$name");
}
# This machine's own rule that no package starts a service, where it has one, is not that of a mail server.
$m->does('rm -f /usr/sbin/policy-rc.d; dpkg -i /root/certsync-*.deb', 'the packages are installed') or BAIL_OUT('no packages');
is($m->active("certsync-$_"), 'inactive', "$_: not configured, it does not run") for qw(hub agent);
$m->does('! systemctl --failed --no-legend | grep certsync', 'and that is no failure');

my $hub_conf = <<'CONF';
certificate "mail.domain.pl" {}
agent "machine" { certificates = {"mail.domain.pl"}  local = true }
CONF
my $agent_conf = <<'CONF';
hub = {"unix:///run/certsync-hub/local.sock"}
anchors = "/etc/certsync/ca.pem"
certificate "mail.domain.pl" {
	allow = {"*.domain.pl"}
	service "nginx" { probe = {"127.0.0.1:8443/tls"} }
}
CONF
$story->pair('first');
$m->put('/etc/certsync/hub.conf', 'anchors = "/etc/certsync/ca.pem"' . "\n$hub_conf");
$m->put('/etc/certsync/agent.conf', $agent_conf);
$m->put("/etc/certsync/$_->[0]", Story::read_file($story->top . "/$_->[1]")) for ['ca.pem', 'ca.pem'], ['/../first.key', 'first.key'], ['/../first.crt', 'first.crt'];
$m->put('/etc/nginx/nginx.conf', <<'CONF');
events {}
http {
	access_log off;
	server {
		listen 127.0.0.1:8443 ssl;
		ssl_certificate /etc/certsync/live/mail.domain.pl/combined.pem;
		ssl_certificate_key /etc/certsync/live/mail.domain.pl/combined.pem;
	}
}
CONF
$m->does('chgrp certsync-hub /etc/certsync/hub.conf; chgrp certsync-agent /etc/certsync/agent.conf; chmod 640 /etc/certsync/*.conf', 'root alone writes them');
$m->does('systemctl start certsync-hub', 'the hub\'s unit starts') or diag($m->said('journalctl -u certsync-hub --no-pager | tail -n 20'));
is($m->active('certsync-hub'), 'active', 'and is active');
is($m->said('systemctl show -p Type --value certsync-hub'), 'notify', 'which it has said itself');
like($m->said('certsync status'), qr/never seen/, 'a command is answered at once');
$m->does('certsync-agent identity | certsync agent add machine --key - >/root/line && certsync-agent join </root/line', 'the machine\'s agent joins');
$m->does('systemctl start certsync-agent nginx', 'the agent starts, and nginx with the certificate') or diag($m->said('journalctl -u certsync-agent -u nginx --no-pager | tail -n 20'));
$m->does('certsync import mail.domain.pl --key /etc/first.key --chain /etc/first.crt', 'a certificate is imported and verified')
	or diag($m->said('certsync status; journalctl -u certsync-agent --no-pager | tail -n 20'));

# ---- an adopt that fails and takes the service with it ----

my $nginx_conf = $m->said('cat /etc/nginx/nginx.conf') . "\n";
my $more = 'server { listen 127.0.0.1:8444 ssl; ssl_certificate /etc/first.crt; ssl_certificate_key /etc/first.key; }';
$m->put('/etc/nginx/nginx.conf', $nginx_conf =~ s|\}\n\z|\t$more\n}\n|r);
$m->put('/usr/local/sbin/ends-nginx', <<'HOOK');
#!/bin/sh
[ "$1" != reload ] || { systemctl stop nginx; exit 1; }
exec /usr/lib/certsync/hooks/nginx "$@"
HOOK
$m->does('chmod 755 /usr/local/sbin/ends-nginx && systemctl reload nginx && cp -p /etc/certsync/agent.conf /root/good', 'nginx has a port with a certificate of its own');
$m->does(q(sed -i 's|service "nginx" {|& hook = "/usr/local/sbin/ends-nginx"|' /etc/certsync/agent.conf), '  and a hook that stops it');
my ($failed, $said) = $m->shell('certsync-agent adopt --apply 2>&1');
is($failed, 1, '  adopt fails');
like($said, qr/^nginx has ended: started again: systemctl start nginx\.service$/m, '  and has its unit started again') or diag($said);
unlike($said, qr/is DOWN/, '  with success');
is($m->active('nginx'), 'active', '  so that it is active');
$m->does('openssl s_client -connect 127.0.0.1:8444 </dev/null | grep "BEGIN CERTIFICATE"', '  and serves what it served');
$m->does('cp -p /root/good /etc/certsync/agent.conf && ! grep 8444.*live /etc/nginx/nginx.conf', '  by its old configuration');
$m->put('/etc/nginx/nginx.conf', $nginx_conf);
$m->does('systemctl reload nginx', '  which is as at first');

# ---- what its processes may write, seen from inside ----

# The exit of `touch` in the file system as the unit's main process has it, as root.
sub writes {
	my ($unit, $path) = @_;
	return ($m->shell('nsenter --mount --target ' . $m->main_pid($unit) . " touch $path/written"))[0] == 0;
}
ok(!writes('certsync-hub', $_), "the hub's unit writes not in $_") for qw(/run /run/lock /etc /etc/certsync /usr /var /var/lib);
ok(writes('certsync-hub', $_), "but in $_") for qw(/run/certsync-hub /run/certsync-hub-keys /var/lib/certsync-hub /var/lib/certsync-hub-keys);
ok(!writes('certsync-agent', $_), "the agent's unit writes not in $_") for qw(/usr /boot);

# ---- a reload ----

my @units = (
	['certsync-hub', 'hub.conf', 'certsync agent list', 'agent "another" { certificates = {"mail.domain.pl"} }', 'http = "127.0.0.1:8499"',
		'state, run, http, users and group change only at a restart'],
	['certsync-agent', 'agent.conf', 'certsync-agent status',
		'certificate "another.domain.pl" { allow = {"*.domain.pl"} service "nothing" { probe = none } }',
		'directory = "/etc/elsewhere"', 'directories or user changed'],
);
for my $unit (@units) {
	my ($name, $file, $shows, $addition, $refused, $reason) = @$unit;
	my $pid = $m->main_pid($name);
	$m->does("systemctl reload $name", "$name: a reload of a configuration without a fault is done");
	$m->does("cp -p /etc/certsync/$file /root/good; echo nonsense >>/etc/certsync/$file", '  a fault comes into it');
	isnt(($m->shell("systemctl reload $name"))[0], 0, '  and the reload fails');
	like($m->said("journalctl -u $name --no-pager | tail -n 20"), qr{/etc/certsync/$file:\d+: }, '  the journal has file, line and fault');
	is($m->active($name), 'active', '  what runs goes on');
	is($m->main_pid($name), $pid, '  as the same process');
	$m->does("cp -p /root/good /etc/certsync/$file && systemctl reload $name", '  mended, it is reloaded');
	# What systemctl has done holds: nothing waits in between.
	$m->does("echo '$addition' >>/etc/certsync/$file && systemctl reload $name && $shows | grep another", '  more is in it, which shows at once');
	$m->does("cp -p /root/good /etc/certsync/$file && systemctl reload $name && ! $shows | grep another", '  and is not in it, which shows at once');
	$m->does("echo '$refused' >>/etc/certsync/$file", '  what is no fault by itself, and cannot be');
	isnt(($m->shell("systemctl reload $name"))[0], 0, '  makes the reload fail');
	like($m->said("journalctl -u $name --no-pager | tail -n 20"), qr/the new configuration does not hold: $reason/, '  with the reason in the journal');
	is($m->main_pid($name), $pid, '  what runs goes on');
	$m->does("cp -p /root/good /etc/certsync/$file && systemctl reload $name", '  mended, it is reloaded');
}

# ---- the journal ----

for my $name (qw(certsync-hub certsync-agent)) {
	my %by;
	for (map { decode_json($_) } split /\n/, $m->said("journalctl -o json -u $name --no-pager SYSLOG_IDENTIFIER=$name")) {
		next if ($_->{MESSAGE} // '') !~ /\bprogram=(\S+)/;
		$by{$1}{join ' ', @$_{qw(_SYSTEMD_UNIT SYSLOG_IDENTIFIER)}}++;
	}
	is_deeply([map { join ' ', keys %{$by{$_} // {}} } $name, "$name-root"], [("$name.service $name") x 2],
		"$name: lines of the daemon and of the root half have the unit's name and its identifier") or diag(explain \%by);
}

# ---- a watchdog ----

for my $name (qw(certsync-hub certsync-agent)) {
	$m->watched_closely($name);
	# While a hook may run the watchdog waits for that, too.
	ok($story->until('rest', sub { $m->said("systemctl show -p WatchdogUSec --value $name") eq '8s' }, 150), '  no hook runs');
	my $pid = $m->main_pid($name);
	$m->does("kill -STOP $pid", '  the root half hangs');
	ok($story->until('restart', sub { my $now = $m->main_pid($name); $now ne $pid && $now ne '0' && $m->active($name) eq 'active' }, 180),
		'  systemd ends it and starts another') or diag($m->said("journalctl -u $name --no-pager | tail -n 20"));
}
# A daemon is its root half's to watch, which waits for minutes, whatever the unit says: both at the same time, therefore.
sub daemon_of { return $m->said("pgrep -P " . $m->main_pid($_[0]) . " -f '^/usr/lib/certsync/certsync(-agent run| hub) '") }
my %daemon = map { ($_ => daemon_of($_)) } qw(certsync-hub certsync-agent);
$m->does("kill -STOP $daemon{$_}", "$_: its daemon hangs") for sort keys %daemon;
for my $name (sort keys %daemon) {
	ok($story->until('restart', sub { my $now = daemon_of($name); $now ne '' && $now ne $daemon{$name} }, 300), "$name: its root half ends it and starts another")
		or diag($m->said("journalctl -u $name --no-pager | tail -n 20"));
	is($m->said("systemctl show -p NRestarts --value $name"), 1, "$name: which the unit has nothing to do with");
}
ok($story->until('verified', sub { ($m->shell('certsync status'))[0] == 0 }, 120), 'all is verified again') or diag($m->said('certsync status'));

# ---- a boot ----

$m->does('systemctl enable certsync-hub certsync-agent nginx', 'all are to start at the next boot');
$m->does('rm -f /etc/certsync/live/mail.domain.pl', 'and files are missing, as after a crash');
ok($m->reboots, 'the machine boots again, to its end') or diag($m->said('systemctl list-jobs'));
is($m->active($_), 'active', "$_ is active") for qw(certsync-hub certsync-agent nginx);
ok($story->until('verified', sub { ($m->shell('certsync status'))[0] == 0 }, 120), 'and all is verified')
	or diag($m->said('certsync status; journalctl -b -u nginx -u certsync-agent --no-pager | tail -n 40'));

# ---- a purge ----

my ($purged, $told) = $m->shell('dpkg --purge certsync-agent certsync-hub');
is($purged, 0, 'the packages are purged') or diag($told);
like($told, qr{certificates and keys in /etc/certsync are kept.*^/etc/nginx/nginx\.conf\n.*^Nothing renews them}ms, 'what nginx names is kept, with what to do');
$m->does('systemctl restart nginx', 'and it starts with it');
is($m->said('systemctl list-units --all --no-legend "certsync*"'), '', 'no unit of theirs is left');
ok($m->ends, 'the machine is switched off');

done_testing();
