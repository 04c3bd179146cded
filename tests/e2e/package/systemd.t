#!/usr/bin/perl
# The packages on a machine whose first process is a real systemd: units that become active when they are ready, what their processes may
# write, a reload that ends when the new configuration holds and fails when it does not, a watchdog that acts, a boot after which all is there,
# the service with the right file, and a purge that leaves this service what it needs.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Needs;
use Story;
use Test::More;

needs_root('a machine in namespaces');
my $story = Story->new;
my ($machine, $at) = ("$FindBin::Bin/../lib/machine", $story->top . '/machine');
my $debs = $ENV{CERTSYNC_DEB} or BAIL_OUT('CERTSYNC_DEB names the directory of the packages');

# What a shell on the machine makes of these lines: its exit and what it said.
sub shell {
	my ($lines) = @_;
	open my $in, '|-', "$machine do $at sh -s >" . $story->top . '/said 2>&1' or die $!;
	print $in $lines;
	close $in;
	return ($? >> 8, Story::read_file($story->top . '/said'));
}
sub said { return (shell($_[0]))[1] =~ s/\n\z//r }
sub does {
	my ($lines, $what) = @_;
	my ($exit, $text) = shell($lines);
	return ok($exit == 0, $what) || diag("exit $exit: $text");
}

# The process that is the machine; another one after each boot.
sub booted { return Story::read_file("$at/init") =~ s/\n//r }
sub waits { return system("$machine wait $at") == 0 }
sub put {
	my ($path, $text) = @_;
	return does("umask 022; cat >$path <<'EOF'\n${text}EOF\n", "$path is written");
}
sub main_pid { return said("systemctl show -p MainPID --value $_[0]") }
sub active { return said("systemctl is-active $_[0]") }

$story->start('machine', $machine, 'run', $at);
ok($story->until('machine', sub { -s "$at/init" }, 60), 'a machine is there');
ok(waits(), 'systemd has booted it') or BAIL_OUT($story->log('machine'));
like(said('systemctl --version | head -n 1'), qr/^systemd \d/, said('systemctl --version | head -n 1'));

# ---- installed ----

for my $deb (grep { !/dbgsym/ } glob "$debs/*.deb") {
	my $name = $deb =~ s{.*/}{}r;
	is(system("$machine do $at sh -c 'cat >/root/$name' <$deb"), 0, "$name is brought");
}
# This machine's own rule that no package starts a service, where it has one, is not that of a mail server.
does('rm -f /usr/sbin/policy-rc.d; dpkg -i /root/certsync-*.deb', 'the packages are installed') or BAIL_OUT('no packages');
is(active("certsync-$_"), 'inactive', "$_: not configured, it does not run") for qw(hub agent);
does('! systemctl --failed --no-legend | grep certsync', 'and that is no failure');

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
put('/etc/certsync/hub.conf', 'anchors = "/etc/certsync/ca.pem"' . "\n$hub_conf");
put('/etc/certsync/agent.conf', $agent_conf);
put("/etc/certsync/$_->[0]", Story::read_file($story->top . "/$_->[1]")) for ['ca.pem', 'ca.pem'], ['/../first.key', 'first.key'], ['/../first.crt', 'first.crt'];
put('/etc/nginx/nginx.conf', <<'CONF');
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
does('chgrp certsync-hub /etc/certsync/hub.conf; chgrp certsync-agent /etc/certsync/agent.conf; chmod 640 /etc/certsync/*.conf', 'root alone writes them');
does('systemctl start certsync-hub', 'the hub\'s unit starts') or diag(said('journalctl -u certsync-hub --no-pager | tail -n 20'));
is(active('certsync-hub'), 'active', 'and is active');
is(said('systemctl show -p Type --value certsync-hub'), 'notify', 'which it has said itself');
like(said('certsync status'), qr/never seen/, 'a command is answered at once');
does('certsync-agent identity | certsync agent add machine --key - >/root/line && certsync-agent join </root/line', 'the machine\'s agent joins');
# nginx runs since the boot, where this machine has it enabled.
does('systemctl start certsync-agent && systemctl restart nginx', 'the agent starts, and nginx with the certificate') or diag(said('journalctl -u certsync-agent -u nginx --no-pager | tail -n 20'));
does('certsync import mail.domain.pl --key /etc/first.key --chain /etc/first.crt', 'a certificate is imported and verified')
	or diag(said('certsync status; journalctl -u certsync-agent --no-pager | tail -n 20'));

# ---- what its processes may write, seen from inside ----

# The exit of `touch` in the file system as the unit's main process has it, as root.
sub writes {
	my ($unit, $path) = @_;
	return (shell('nsenter --mount --target ' . main_pid($unit) . " touch $path/written"))[0] == 0;
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
	my $pid = main_pid($name);
	does("systemctl reload $name", "$name: a reload of a configuration without a fault is done");
	does("cp -p /etc/certsync/$file /root/good; echo nonsense >>/etc/certsync/$file", '  a fault comes into it');
	isnt((shell("systemctl reload $name"))[0], 0, '  and the reload fails');
	like(said("journalctl -u $name --no-pager | tail -n 20"), qr{/etc/certsync/$file:\d+: }, '  the journal has file, line and fault');
	is(active($name), 'active', '  what runs goes on');
	is(main_pid($name), $pid, '  as the same process');
	does("cp -p /root/good /etc/certsync/$file && systemctl reload $name", '  mended, it is reloaded');
	# What systemctl has done holds: nothing waits in between.
	does("echo '$addition' >>/etc/certsync/$file && systemctl reload $name && $shows | grep another", '  more is in it, which shows at once');
	does("cp -p /root/good /etc/certsync/$file && systemctl reload $name && ! $shows | grep another", '  and is not in it, which shows at once');
	does("echo '$refused' >>/etc/certsync/$file", '  what is no fault by itself, and cannot be');
	isnt((shell("systemctl reload $name"))[0], 0, '  makes the reload fail');
	like(said("journalctl -u $name --no-pager | tail -n 20"), qr/the new configuration does not hold: $reason/, '  with the reason in the journal');
	is(main_pid($name), $pid, '  what runs goes on');
	does("cp -p /root/good /etc/certsync/$file && systemctl reload $name", '  mended, it is reloaded');
}

# ---- the journal ----

for my $name (qw(certsync-hub certsync-agent)) {
	my %by = map { $_ => 1 } said("journalctl -t $name --no-pager") =~ /^.* $name\[\d+\]: program=(\S+)/mg;
	ok($by{$name} && $by{"$name-root"}, "$name: lines of the daemon and of the root half are found by the unit's name") or diag(join ' ', keys %by);
}

# ---- a watchdog ----

for my $name (qw(certsync-hub certsync-agent)) {
	does("mkdir -p /run/systemd/system/$name.service.d && printf '[Service]\nWatchdogSec=8s\n' >/run/systemd/system/$name.service.d/watchdog.conf"
		. " && systemctl daemon-reload && systemctl restart $name", "$name: its watchdog is made to wait for seconds instead of minutes");
	my $pid = main_pid($name);
	does("kill -STOP $pid", '  the root half hangs');
	ok($story->until('restart', sub { my $now = main_pid($name); $now ne $pid && $now ne '0' && active($name) eq 'active' }, 120),
		'  systemd ends it and starts another') or diag(said("journalctl -u $name --no-pager | tail -n 20"));
}
ok($story->until('verified', sub { (shell('certsync status'))[0] == 0 }, 120), 'all is verified again') or diag(said('certsync status'));

# ---- a boot ----

does('systemctl enable certsync-hub certsync-agent nginx', 'all are to start at the next boot');
does('rm -f /etc/certsync/live/mail.domain.pl', 'and files are missing, as after a crash');
my $before = booted();
shell('systemctl reboot');
ok($story->until('reboot', sub { my $now = booted(); $now && $now ne $before }, 120), 'the machine boots again');
ok(waits(), 'to its end') or diag(said('systemctl list-jobs'));
is(active($_), 'active', "$_ is active") for qw(certsync-hub certsync-agent nginx);
ok($story->until('verified', sub { (shell('certsync status'))[0] == 0 }, 120), 'and all is verified')
	or diag(said('certsync status; journalctl -b -u nginx -u certsync-agent --no-pager | tail -n 40'));

# ---- a purge ----

my ($purged, $told) = shell('dpkg --purge certsync-agent certsync-hub');
is($purged, 0, 'the packages are purged') or diag($told);
like($told, qr{certificates and keys in /etc/certsync are kept.*^/etc/nginx/nginx\.conf\n.*^Nothing renews them}ms, 'what nginx names is kept, with what to do');
does('systemctl restart nginx', 'and it starts with it');
is(said('systemctl list-units --all --no-legend "certsync*"'), '', 'no unit of theirs is left');
shell('systemctl poweroff');
ok($story->until('off', sub { !-e "$at/init" }, 60), 'the machine is switched off');

done_testing();
