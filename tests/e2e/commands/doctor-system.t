#!/usr/bin/perl
# doctor on nodes of other kinds than the one that the tests run on: under systemd, SELinux, AppArmor or fail2ban, with
# a full or read-only disk, with other tools, daemons and sshds. Whatever tells doctor so lies in namespaces of the
# story's own: doubles of the kernel's files and of the tools, in the directories that are searched first.
# Not under valgrind: it is told where each program is, which is elsewhere there.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Doctor;
use File::Copy qw(copy);
use IO::Socket::IP;
use IO::Socket::UNIX;
use JSON::PP;
use Test::More;

Doctor->enter;
my $story = Doctor->new;
my $top = $story->top;
my $double = '/usr/local/sbin';
my $drop_in = '/etc/ssh/sshd_config.d/certsync.conf';
my $conf = "$top/mail/agent.conf";

sub doctor { return $story->doctor(@_) }
sub agent_doctor { return $story->agent_doctor(@_) }
sub of { return $story->of(@_) }

sub tool {
	my ($name, $script) = @_;
	Story::write_file("$double/$name.new", "#!/bin/sh\n# A double of $name.\n$script\n", 0755);
	rename "$double/$name.new", "$double/$name" or die "$name: $!";
}

sub as_user {
	my ($user, $command) = @_;
	$story->{said} = $story->as($user, sub { my $text = `$command 2>&1`; [$text] })->[0];
}

# Runs the code while this program, where it is installed, is a file that cannot be run.
sub without {
	my ($program, $what) = @_;
	Story::write_file('/mnt/none', '', 0644);
	$story->run("mount --bind /mnt/none $program");
	$what->();
	$story->run("umount $program");
}

# Answers each request at a control socket, as a daemon whose answers these are.
sub daemon {
	my ($path, @answers) = @_;
	unlink $path;
	my $listener = IO::Socket::UNIX->new(Local => $path, Listen => 5) or die "$path: $!";
	my $pid = fork // die $!;
	if ($pid == 0) {
		while (my $client = $listener->accept) {
			$client->sysread(my $request, 65536);
			$client->syswrite(join '', map { my $text = encode_json($_); pack('N C', length($text) + 1, 1) . $text } @answers);
		}
		POSIX::_exit(0);
	}
	close $listener;
	$story->{started}{daemon} = $pid;
}

# Answers each connection at the socket with this, whatever is asked.
sub says_at {
	my ($port, $text) = @_;
	my $listener = IO::Socket::IP->new(LocalHost => '127.0.0.1', LocalPort => $port, Listen => 5, ReuseAddr => 1) or die "$port: $@";
	my $pid = fork // die $!;
	if ($pid == 0) {
		while (my $client = $listener->accept) {
			$client->sysread(my $request, 65536) if $text ne '';
			$client->syswrite($text);
		}
		POSIX::_exit(0);
	}
	close $listener;
	$story->{started}{port} = $pid;
}

sub services {
	my ($text, %wish) = @_;
	$story->agent_conf('mail', services => $text, %wish);
}

my $acme = "acme \"none\" { directory = \"https://127.0.0.1:1/none\" agree_tos = true }\ncertificate \"$Story::name\" {}\n";
$story->run("mount -t tmpfs -o mode=755 none $_") for $double, '/sys/fs', '/sys/kernel/security';
mkdir '/sys/kernel/security/apparmor';
$story->run('rm -rf /etc/ssh/sshd_config.d; mkdir /etc/ssh/sshd_config.d');
Story::write_file('/etc/ssh/sshd_config', "Include /etc/ssh/sshd_config.d/*.conf\nUsePAM no\nHostKey $top/host\n");
Story::write_file('/etc/hosts', "127.0.0.1 localhost\n192.0.2.7 www.domain.pl\n127.0.0.1 here.domain.pl\n");
Story::write_file('/etc/nsswitch.conf', "passwd: files\ngroup: files\nshadow: files\nhosts: files\n");
$story->hub_conf(agents => ['here', 'mail'], certificates => $acme . "certificate \"here.domain.pl\" { acme = \"none\" }\n");
services('service "nginx" { probe = none } service "dovecot" { probe = none } service "haproxy" { probe = none }');
mkdir $_ for "$top/mail/state", "$top/mail/etc/live", "$top/mail/etc/archive";

# To find out which services are here takes long, so the story looks at that in one place only.
tool($_, 'exit 1') for qw(haproxy nginx apache2ctl doveconf postconf exim4);

subtest 'systemd' => sub {
	doctor();
	is(of('unit'), '', 'without systemd there is nothing to say of units');
	$story->run("mkdir -p /run/systemd/system; rm -f /etc/systemd/system/multi-user.target.wants/*; cp $FindBin::Bin/../../../examples/systemd/*.service /etc/systemd/system");
	copy("$FindBin::Bin/../lib/systemctl_double", "$double/systemctl") or die;
	chmod 0755, "$double/systemctl";
	is(doctor(), 3, 'a unit that is not enabled');
	like(of('unit'), qr/^wrong +unit: certsync-hub.service does not start at boot\n +to do: systemctl enable certsync-hub.service, unless it was/m, 'says so');
	$story->run("$double/systemctl enable certsync-hub certsync-agent");
	doctor();
	like(of('unit'), qr/^ok +unit: certsync-hub.service starts at boot$/m, 'what it says mends it');
	# These units start before another one, whose name only ends as ours does.
	Story::write_file('/etc/systemd/system/certsync-agent.service', "[Unit]\nBefore=my-nginx.service my-dovecot.service my-haproxy.service\n");
	symlink "/lib/systemd/system/$_.service", "/etc/systemd/system/multi-user.target.wants/$_.service" for qw(nginx dovecot);
	agent_doctor();
	for my $unit (qw(nginx dovecot)) {
		like(of('unit'), qr/^warning +unit: $unit.service may start before certsync-agent.service has mended what a crash interrupted
 +to do: systemctl edit certsync-agent.service:\n +\[Unit\]\n +Before=$unit.service$/m, "$unit may start too early, and what to write");
	}
	unlike(of('unit'), qr/haproxy/, 'a service that does not start at boot is not spoken of');
	mkdir '/etc/systemd/system/certsync-agent.service.d';
	Story::write_file('/etc/systemd/system/certsync-agent.service.d/override.conf', "[Unit]\nBefore=nginx.service\nBefore=dovecot.service\n");
	agent_doctor();
	like(of('unit'), qr/^ok +unit: certsync-agent.service starts at boot, before the services that it serves$/m, 'what it says mends that, too');
	Story::write_file('/etc/systemd/system/certsync-agent.service', Story::read_file("$FindBin::Bin/../../../examples/systemd/certsync-agent.service"));
	unlink '/etc/systemd/system/certsync-agent.service.d/override.conf';
	agent_doctor();
	like(of('unit'), qr/^ok .*before the services/m, 'the unit of the package is in order');
};

subtest 'a tool that fails' => sub {
	my $long = 'x' x 4000;
	tool('systemctl', "[ \$1 = is-enabled ] && exit 0\nfor i in 1 2 3 4 5; do echo '$long' >&2; sleep 0.01; done; echo 'Failed to connect to bus' >&2; exit 1");
	agent_doctor();
	like(of('unit'), qr/^cannot tell +unit: the order at boot: systemctl exited 1: Failed to connect to bus$/m, 'with its last words');
	tool('systemctl', '[ $1 = is-enabled ] && exit 0; yes');
	agent_doctor();
	like(of('unit'), qr/^cannot tell +unit: the order at boot: systemctl: prints more than 65536 bytes$/m, 'that prints without end');
	tool('systemctl', '[ $1 = is-enabled ] && exit 0; kill -9 $$');
	agent_doctor();
	like(of('unit'), qr/^cannot tell +unit: the order at boot: systemctl: .*signal 9/m, 'a systemctl that is killed cannot tell');
	tool('systemctl', 'kill -9 $$');
	agent_doctor();
	like(of('unit'), qr/^cannot tell +unit: whether certsync-agent.service starts at boot: systemctl: .*signal 9/m,
		'and nothing is said of a unit that could not be asked for');
	unlike(of('unit'), qr/systemctl enable/, 'nor of how to mend it');
	unlink "$double/systemctl";
	rmdir '/run/systemd/system';
};

subtest 'SELinux' => sub {
	my ($live, $archive) = map { "$top/mail/etc/$_" } qw(live archive);
	my $label = sub { system('/usr/bin/python3', '-c', 'import os, sys; os.setxattr(sys.argv[1], "security.selinux", sys.argv[2].encode())', @_) == 0 or die };
	agent_doctor();
	is(of('SELinux'), '', 'without it there is nothing to say');
	mkdir '/sys/fs/selinux';
	Story::write_file('/sys/fs/selinux/enforce', '0');
	$label->($live, 'system_u:object_r:etc_t:s0');
	agent_doctor();
	is(of('SELinux'), '', 'nor where it only watches');
	Story::write_file('/sys/fs/selinux/enforce', '1');
	is(agent_doctor(), 3, 'a wrong label is a fault where SELinux enforces');
	like(of('SELinux'), qr{^wrong +SELinux: \Q$live\E has the label system_u:object_r:etc_t:s0, and SELinux lets it be read as cert_t
 +to do: semanage fcontext -a -t cert_t '\Q$live\E\(/\.\*\)\?' && restorecon -R \Q$live\E$}m, 'a label, and how it is changed');
	unlike(of('SELinux'), qr/archive/, 'what has none is not spoken of');
	is(agent_doctor('--apply'), 1, 'SELinux is not mended without its tools');
	like(of('SELinux'), qr/failed: semanage is not installed/, 'it cannot be changed');
	tool('semanage', "echo \"\$*\" >>$top/semanage");
	tool('restorecon', "/usr/bin/python3 -c 'import os, sys; os.setxattr(sys.argv[1], \"security.selinux\", b\"system_u:object_r:cert_t:s0\")' \"\$2\"");
	agent_doctor('--apply');
	like(of('SELinux'), qr/done\nok +SELinux: SELinux enforces, and the labels are right$/m, 'with them it is') or diag(of('SELinux'));
	is(Story::read_file("$top/semanage"), "fcontext -a -t cert_t $live(/.*)?\n", 'semanage is told of the label, so that it lasts');
	mkdir '/var/lib/certsync-gate/.ssh';
	$label->('/var/lib/certsync-gate/.ssh', 'system_u:object_r:var_lib_t:s0');
	$label->("$Story::bin/certsync-gate", 'system_u:object_r:bin_t:s0');
	doctor();
	like(of('SELinux'), qr{^wrong +SELinux: /var/lib/certsync-gate/.ssh has .* as ssh_home_t$}m, 'at the hub: what sshd reads');
	unlike(of('SELinux'), qr/bin_t/, 'the gate has its label');
	Story::write_file('/sys/fs/selinux/enforce', '0');
};

subtest 'AppArmor' => sub {
	agent_doctor();
	is(of('AppArmor'), '', 'without it there is nothing to say');
	my $profiles = '/sys/kernel/security/apparmor/profiles';
	Story::write_file($profiles, "nginx//null-1 (enforce)\n/usr/sbin/dovecot (enforce)\nhaproxy (complain)\n/usr/sbin/nginx-debug (enforce)\n", 0600);
	agent_doctor();
	like(of('AppArmor'), qr{^warning +AppArmor: AppArmor confines dovecot: it must be let read \Q$top\E/mail/etc
 +to do: into its file in /etc/apparmor.d/local/: \Q$top\E/mail/etc/\{live,archive\}/\*\* r, then systemctl reload apparmor$}m, 'AppArmor warns of the service that it confines');
	unlike(of('AppArmor'), qr/confines (haproxy|nginx)/, 'and not what it only watches, or what is another program');
	as_user('certsync-agent', "$Story::bin/certsync-agent doctor -c $conf");
	like(of('AppArmor'), qr/^cannot tell +AppArmor: whether it confines $_: run doctor as root$/m, "$_: who may not look says so") for qw(nginx dovecot haproxy);
	unlink $profiles;
};

subtest 'disks' => sub {
	my $disk = '/mnt/disk';
	mkdir $disk;
	my $see = sub {
		my ($options, $path, $state, $text) = @_;
		$story->run("mount -t tmpfs -o $options none $disk");
		(my $other = Story::read_file("$top/hub.conf")) =~ s/^state = .*/state = "$path"/m;
		Story::write_file("$top/disk.conf", $other, 0640);
		$story->run("mount -o remount,ro $disk") if $state =~ s/, read-only//;
		$story->{said} = `$Story::bin/certsync doctor -c $top/disk.conf`;
		like(of('disk'), qr/^$state +disk: \Q$path\E: $text/, "$options: $state") or diag($story->said);
		like(of('disk'), qr{^ +to do: see what fills it: df -h \Q$path\E; du -xh --max-depth=2 \Q$path\E \| sort -h \| tail$}m, 'and how to see why')
			if $state =~ /w/;
		$story->run("umount $disk");
	};
	$see->('size=32m', "$disk/deep/below/hub", 'warning', qr/3[12] MiB free$/m);
	$see->('size=512k', "$disk/hub", 'wrong', qr/\d+ KiB free$/m);
	$see->('size=200m,nr_inodes=20', "$disk/hub", 'wrong', qr/\d+ MiB free, and no file more can be made$/m);
	$see->('size=200m', "$disk/hub", 'wrong, read-only', qr/\d+ MiB free; it is mounted read-only$/m);
	$see->('size=200m', '/etc/hosts/hub', 'cannot tell', qr/Not a directory$/m);
};

subtest 'accounts' => sub {
	my $good = Story::read_file("$top/hub.conf");
	for my $key (qw(user local_user)) {
		Story::write_file("$top/hub.conf", $good =~ s/^$key = .*/$key = "root"/mr, 0640);
		is(doctor(), 3, "$key = root");
		like(of('users'), qr/^wrong +users: the user root is root: give it an account of its own$/m, 'says so');
	}
	Story::write_file("$top/hub.conf", $good, 0640);
	system("chgrp certsync-hub $top/hub.conf");
	doctor();
	like(of('gate account'), qr/^ok/, 'the gate\'s shell is the gate');
	$story->run('usermod --shell /bin/bash certsync-gate');
	is(doctor(), 3, 'another shell of the gate account is a fault');
	like(of('gate account'), qr{^wrong +gate account: the login shell of certsync-gate is /bin/bash: agents can come in only through \Q$Story::bin\E/certsync-gate
 +to do: usermod --shell \Q$Story::bin\E/certsync-gate certsync-gate$}m, 'and how to change it');
	symlink "$Story::bin/certsync-gate", '/mnt/gate' or die;
	$story->run('usermod --shell /mnt/gate certsync-gate');
	doctor();
	like(of('gate account'), qr/^ok/, 'by another name it is the gate');
	$story->run('usermod --shell /bin/bash certsync-gate');
	doctor('--apply');
	like(of('gate account'), qr/done\nok/, '--apply changes it') or diag(of('gate account'));
	is((getpwnam 'certsync-gate')[8], "$Story::bin/certsync-gate", 'the gate account has its own shell from then on');
	my $shadow = Story::read_file('/etc/shadow');
	for (['', 'has an empty password: anybody may be it'], ['$6$x$y', 'has a password: it needs none']) {
		my ($field, $text) = @$_;
		Story::write_file('/etc/shadow', $shadow =~ s/^certsync-gate:[^:]*/certsync-gate:$field/mr);
		doctor();
		like(of('gate account'), qr/^wrong +gate account: certsync-gate $text\n +to do: usermod --password '\*' certsync-gate$/m, $text);
	}
	Story::write_file('/etc/shadow', $shadow =~ s/^certsync-gate:.*\n//mr);
	doctor();
	like(of('gate account'), qr{^cannot tell +gate account: the password field of certsync-gate: there is none in /etc/shadow$}m, 'no line in shadow');
	Story::write_file('/etc/shadow', $shadow);
	my $text = Story::read_file($conf);
	Story::write_file($conf, "$text\nuser = \"nobody-of-that-name\"\nhubs = {\"x\"}\n", 0640);
	is(agent_doctor(), 3, 'an agent.conf with faults');
	like(of('configuration'), qr/^wrong .*\Q$conf\E.*\n.*^cannot tell +configuration: all else.*\n +to do: mend \Q$conf\E \(certsync-agent.conf\(5\)\), then run doctor again/ms, 'which it says');
	Story::write_file($conf, $text, 0640);
	system("chgrp certsync-agent $conf");
	as_user('nobody', "$Story::bin/certsync-agent doctor -c $conf");
	like($story->said, qr/\Q$conf\E cannot be read by this user: run doctor as root/, 'a user who may not read it is told so');
	as_user('nobody', "$Story::bin/certsync doctor -c $top/hub.conf");
	like($story->said, qr/hub.conf cannot be read by this user: run doctor as root/, 'at the hub as well');
};

subtest 'daemons' => sub {
	mkdir $_ for '/run/certsync-hub', "$top/mail/run";
	agent_doctor();
	like(of('hub'), qr/^wrong +hub: certsync-agent does not answer: .*\n +to do: systemctl start certsync-agent; journalctl -u certsync-agent/m, 'an agent that does not run is named');
	my $hub = {event => 'hub', hub => 'ssh://hub', name => 'mail', state => 'waiting', failure => 'the host key is another', version => '0.0.9'};
	daemon("$top/mail/run/control.sock", $hub, {event => 'result', exit => 0});
	agent_doctor();
	like(of('hub'), qr{^wrong +hub: no connection to ssh://hub: waiting: the host key is another\n +to do: certsync-agent status says}m, 'one without its hub');
	like(of('hub'), qr/^warning +hub: the daemon that runs is 0.0.9, and \S+ is installed\n +to do: systemctl restart certsync-agent$/m, 'and of another version');
	$story->stop('daemon');
	daemon("$top/mail/run/control.sock", {event => 'result', exit => 'nothing'});
	agent_doctor();
	like(of('hub'), qr/^wrong +hub: certsync-agent does not answer: the daemon's answer cannot be read/m, 'an answer that is none');
	$story->stop('daemon');
	my @agents = map { {event => 'agent', agent => $_->[0], state => $_->[1], version => $_->[2]} }
		['new', 'not joined', ''], ['hurt', 'broken', ''], ['old', 'connected', '0.0.9'], ['older', 'away', '0.0.8'];
	daemon('/run/certsync-hub/control.sock', @agents, {event => 'result', exit => 0});
	doctor();
	like(of('hub'), qr/^ok +hub: the hub runs; 1 of 4 agents are connected$/m, 'a hub that runs says how many agents are connected');
	like(of('hub'), qr/^warning +hub: not joined: new, hurt\n +to do: certsync agent add NAME prints the line for certsync-agent join there$/m, 'agents that have not joined');
	like(of('hub'), qr/^warning +hub: of another version than this hub \(\S+\): old 0.0.9, older 0.0.8\n +to do: the same version there/m, 'and of other versions');
	$story->stop('daemon');
};

subtest 'the web' => sub {
	my $http = "127.0.0.1:$story->{http}";
	doctor();
	like(of('http-01'), qr/^wrong +http-01: the hub does not answer: \Q$http\E: .*refused\n +to do: systemctl enable --now certsync-hub$/m, 'nobody at its port');
	says_at($story->{http}, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	doctor();
	like(of('http-01'), qr/^wrong +http-01: \Q$http\E answers 200, which is not the hub's: another program has this port\n +to do: another address for http in \Q$top\E\/hub.conf$/m, 'another program at the port of http-01 is named');
	$story->stop('port');
	for my $text ("220 mail ESMTP\r\n", "HTTP/1.1 2", '', "HTTP/1.1 99 x\r\n\r\n", 'x' x 5000) {
		says_at($story->{http}, $text);
		doctor();
		like(of('http-01'), qr/^wrong +http-01: the hub does not answer: \Q$http\E: (?:no answer in HTTP|takes no request)/m, 'no HTTP: ' . substr $text =~ s/\r\n/ /gr, 0, 20);
		$story->stop('port');
	}
	like(of('DNS'), qr/^ok +DNS: 1 name to be validated by http-01 points to this node$/m, 'a name of this node');
	$story->hub_conf(agents => ['here', 'mail'], certificates => $acme . "certificate \"here.domain.pl\" { acme = \"none\" names = {\"here.domain.pl\", \"gone.domain.pl\", \"www.domain.pl\"} }\n");
	doctor();
	like(of('DNS'), qr/^wrong +DNS: gone.domain.pl has no address in DNS .*\n +to do: an A or AAAA record for gone.domain.pl that points to HAProxy$/m, 'one without an address');
	$story->run('mkdir -p /etc/haproxy');
	Story::write_file('/etc/haproxy/haproxy.cfg', "global\n\tstats socket /run/haproxy.sock mode 600\nfrontend f\n\thttp-request return status 200 lf-string \"%[path,field(-1,/)].x\"\n", 0600);
	without('/usr/bin/getent', sub { doctor() });
	like(of('DNS'), qr/^cannot tell +DNS: here.domain.pl: getent is not installed$/m, 'nothing to ask with');
	like(of('HAProxy'), qr/^ok .*passes challenges/m, 'an HAProxy that answers by itself');
	like(of('HAProxy socket'), qr/^warning .*gives its stats socket no level admin/m, 'whose socket is too weak');
	like(of('HAProxy'), qr/^cannot tell +HAProxy: whether challenges pass port 80: .*refused\n +to do: from outside: curl -i http:\/\/here.domain.pl/m, 'and does not run');
	as_user('certsync-hub', "$Story::bin/certsync doctor -c $top/hub.conf");
	like(of('HAProxy'), qr/^cannot tell .*haproxy.cfg cannot be read by this user: run doctor as root$/m, 'a user who may not read it');
	my $port = Story::free_port();
	$story->hub_conf(agents => ['here'], certificates => "tls_alpn = \"127.0.0.1:$port\"\n" . $acme . "certificate \"here.domain.pl\" { acme = \"none\" challenge = \"tls-alpn-01\" }\n");
	doctor();
	like(of('tls-alpn-01'), qr/^wrong +tls-alpn-01: the hub does not answer: 127\.0\.0\.1:$port: .*refused\n +to do: .*event=responder/m, 'nobody at the port of tls-alpn-01');
	like(of('tls-alpn-01'), qr/^wrong .*haproxy.cfg does not pass acme-tls\/1 to the hub at 127\.0\.0\.1:$port\n +to do: what `certsync config haproxy --tls-alpn` prints/m, 'and HAProxy passes nothing there');
	Story::write_file('/etc/haproxy/haproxy.cfg', "backend b\n\tserver hub 127.0.0.1:$port\n", 0600);
	says_at($port, '');
	doctor();
	like(of('tls-alpn-01'), qr/^ok +tls-alpn-01: somebody listens at 127\.0\.0\.1:$port$/m, 'somebody at that port');
	like(of('tls-alpn-01'), qr/^ok .*haproxy.cfg passes acme-tls\/1 to the hub$/m, 'and HAProxy passes it there');
	is(of('http-01'), '', 'http-01 is not looked at then');
	$story->stop('port');
	$story->hub_conf(agents => ['here'], certificates => "certificate \"$Story::name\" {}\n");
	doctor();
	is(of($_), '', "$_: nothing where no certificate is ordered by http-01, and no agent is remote") for 'http-01', 'tls-alpn-01', 'HAProxy', 'DNS', 'gate account', 'gate files', 'sshd';
};

subtest 'sshd' => sub {
	$story->hub_conf(agents => ['here', map { "n$_" } 1 .. 12]);
	doctor();
	like(of('sshd'), qr/^warning +sshd: MaxStartups 10:30:100 refuses some when the 13 agents come at once\n +to do: the line: MaxStartups 29:30:58$/m, 'a line for all of sshd');
	# Where ssh.socket waits and nobody has come in yet.
	$story->run('rm -rf /run/sshd');
	doctor();
	like(of('sshd'), qr/^warning +sshd: MaxStartups 10:30:100 refuses/m, 'no sshd has run since the boot: what it will do is found out');
	is(`stat -c '%U %G %a' /run/sshd`, "root root 755\n", 'its directory is as its unit makes it');
	Story::write_file($drop_in, "# by hand\n", 0644);
	Story::write_file('/etc/ssh/sshd_config', "AllowUsers admin\nUsePAM no\nHostKey $top/host\n");
	is(doctor('--apply'), 1, 'a drop-in that sshd does not read');
	like(of('sshd'), qr/failed: .*was taken back: sshd goes on as before \(AllowUsers admin .*by hand/, 'it says so') or diag($story->said);
	is(Story::read_file($drop_in), "# by hand\n", 'what was there is there again');
	Story::write_file($drop_in, '#' x 70000 . "\n");
	is(doctor('--apply'), 1, 'a drop-in of 70 KB');
	like(of('sshd'), qr/failed: .*certsync.conf/, 'is not written over');
	is(-s $drop_in, 70001, 'and stays');
	unlink $drop_in;
	Story::write_file('/etc/ssh/sshd_config', "Nonsense yes\n");
	doctor();
	like(of('sshd'), qr/^cannot tell +sshd: what sshd does with certsync-gate: sshd exited 255: .*bad configuration option.*\n +to do: sshd -t$/m, 'a configuration that it does not take');
	without('/usr/sbin/sshd', sub { is(doctor(), 3, 'a node without sshd has a fault') });
	like(of('sshd'), qr/^wrong +sshd: sshd is not installed: agents come in through it$/m, 'says so');
};

subtest 'services' => sub {
	my $dir = "$top/mail";
	unlink "$double/nginx";
	my $six = IO::Socket::IP->new(LocalHost => '::1', LocalPort => 0, Listen => 1) or die $@;
	my $port = $six->sockport;
	Story::write_file("$dir/hooks/$_", "#!/bin/sh\n", 0755) for qw(nginx open lent);
	chmod 0775, "$dir/hooks/open";
	Story::write_file('/etc/nginx/nginx.conf', "events {}\nhttp {\n server {\n  listen 127.0.0.1:8443 ssl;\n  ssl_certificate $dir/etc/live/$Story::name/combined.pem;\n"
		. "  ssl_certificate_key $dir/etc/live/$Story::name/combined.pem;\n }\n}\n");
	$story->pair('r');
	my $live = "$dir/etc/live/$Story::name";
	mkdir $live;
	Story::write_file("$live/combined.pem", Story::read_file("$top/r.crt") . Story::read_file("$top/r.key"), 0600);
	services("service \"nginx\" { probe = none } service \"open\" { probe = {\"[::1]:$port\"} } service \"lent\" { user = \"certsync-agent\" probe = {\"192.0.2.9:25\"} }");
	agent_doctor();
	like(of('hooks'), qr{^wrong +hooks: service "open": its hook is not run: \S+/hooks/open can be written by a group other than its owner: chmod go-w \S+/hooks/open$}m, 'a hook that others may write');
	like(of('hooks'), qr/^ok +hooks: 2 hooks can be run$/m, 'the other hooks can be run');
	like(of('services'), qr{^ok +services: 1 service presents what is installed below live/$}m, 'a service that is as it should be') or diag($story->said);
	like(of('ports'), qr/^ok +ports: 1 service listens where it is probed$/m, 'one that listens on IPv6; what another node serves is not looked at');
	my $standby = qr/^ok +ports: nginx is stopped: a standby/m;
	like(of('ports'), $standby, 'one that is stopped');
	# Any user can give a process any name.
	system("cp /usr/bin/tail $top/nginx && chmod 755 $top/nginx") == 0 or die;
	my $nobodys = $story->start('nobodys', 'setpriv', '--reuid', 'nobody', '--regid', 'nogroup', '--clear-groups', "$top/nginx", '-f', '/dev/null');
	$story->until('its name', sub { Story::read_file("/proc/$nobodys/comm") eq "nginx\n" });
	agent_doctor();
	like(of('ports'), $standby, 'a process of its name that is another user\'s is not it');
	$story->stop('nobodys');
	Story::write_file('/etc/nginx/nginx.conf', "nonsense\n");
	agent_doctor();
	like(of('services'), qr/^cannot tell +services: nginx: .*nginx/m, 'a configuration that the service does not take') or diag($story->said);
	Story::write_file('/etc/nginx/nginx.conf', "events {}\nhttp {\n server {\n  listen 127.0.0.1:8443 ssl;\n  ssl_certificate /etc/nginx/own.pem;\n"
		. "  ssl_certificate_key /etc/nginx/own.pem;\n }\n}\n");
	copy("$live/combined.pem", '/etc/nginx/own.pem') or die;
	services('service "nginx" { probe = none file "/etc/nginx/own.pem" { content = "combined" } } service "haproxy" { probe = none }');
	agent_doctor();
	like(of('services'), qr{^ok +services: 1 service presents}m, 'a service that has a copy') or diag($story->said);
	like(of('HAProxy socket'), qr/^warning/, 'HAProxy is looked at where it is served');
	services('service "nginx" { probe = none file "/etc/nginx/own.p12" { content = "pkcs12" password_file = "/etc/nginx/password" } }');
	Story::write_file('/etc/nginx/password', "a secret of ours\n", 0640);
	agent_doctor();
	like(of('files'), qr{^wrong +files: password_file /etc/nginx/password is open to others than its owner: chmod 600 /etc/nginx/password\n +to do: /etc/nginx/password: a file of root's}m,
		'the file of a password that others can read') or diag($story->said);
	unlike($story->said, qr/a secret of ours/, 'whose password is not told');
	chmod 0600, '/etc/nginx/password';
	agent_doctor();
	unlike(of('files'), qr/password/, 'root\'s alone it is as it should be');
	services('service "lent" { user = "nobody-here" probe = none }');
	as_user('certsync-agent', "$Story::bin/certsync-agent doctor -c $conf");
	like(of('hooks'), qr/^wrong +hooks: service "lent": there is no user nobody-here, as which its hook is to run$/m, 'a hook whose user does not exist is named');
	services('service "nginx" { probe = none }');
	mkdir "$dir/root";
	Story::write_file("$dir/root/adopt.json", '{}');
	agent_doctor();
	like(of('adopt'), qr/^wrong +adopt: certsync-agent adopt was interrupted: .*\n +to do: certsync-agent adopt --apply, which puts back/m, 'an adopt that was interrupted');
	unlink "$dir/root/adopt.json";
	tool('nginx', 'exit 1');
};

subtest 'libssh' => sub {
	tool('dpkg-query', 'echo -n 0.10.4-1');
	agent_doctor();
	like(of('libssh'), qr/^warning +libssh: libssh 0.10.4-1 has holes that a client can meet, closed in \S+\n +to do: apt-get install --only-upgrade libssh-4$/m, 'a libssh with holes is a warning');
	tool('dpkg-query', 'echo "no packages found" >&2; exit 1');
	agent_doctor();
	is(of('libssh'), '', 'one that is no package is not judged');
	unlink "$double/dpkg-query";
};

subtest 'fail2ban' => sub {
	my $jails = '/etc/fail2ban/jail.d/certsync.local';
	$story->run("rm -f $jails; mkdir -p /etc/fail2ban/jail.d");
	my %words = (status => 'echo "|- Number of jail:	2"; echo "\`- Jail list:	postfix, recidive"',
		ignoreip => 'echo "These IP addresses/networks are ignored:"; echo "|- 10.0.0.0/8"; echo "\`- 192.0.2.0/24"', ignoreself => 'echo False', test => ':', reload => ':');
	my $client = sub {
		my %all = (%words, @_);
		tool('fail2ban-client', "case \$1.\$3 in\nstatus.*) $all{status} ;;\nget.ignoreip) $all{ignoreip} ;;\nget.ignoreself) $all{ignoreself} ;;\n"
			. "-t.*) $all{test} ;;\nreload.*) $all{reload} ;;\nesac");
	};
	$client->();
	agent_doctor();
	is(of('fail2ban'), '', 'where it does not run there is nothing to say');
	# This is a process that only has its name.
	copy('/usr/bin/tail', '/mnt/fail2ban-server') or die;
	chmod 0755, '/mnt/fail2ban-server';
	$story->start('fail2ban', qw(/mnt/fail2ban-server -f /dev/null));
	ok($story->until('fail2ban', sub { agent_doctor(); of('fail2ban') ne '' }), 'it runs');
	like(of('fail2ban'), qr/^warning +fail2ban: 1 of its jails may ban .*\n +to do: \Q$jails\E, then fail2ban-client reload:\n +\[postfix\]\n +ignoreip = 10.0.0.0\/8 192.0.2.0\/24 127.0.0.1 ::1$/m, 'a jail that may ban probes is a warning') or diag($story->said);
	for (['test', 'echo "Have not found any log file" >&2; exit 1'], ['reload', 'exit 255']) {
		my ($what, $does) = @$_;
		$client->($what => $does);
		is(agent_doctor('--apply'), 1, "$what fails");
		like(of('fail2ban'), qr/failed: \Q$jails\E was taken back: fail2ban-client exited/, 'which is said');
		ok(!-e $jails, 'nothing is left there');
	}
	$client->();
	Story::write_file($jails, "# by hand\n");
	agent_doctor('--apply');
	like(of('fail2ban'), qr/^warning(?:(?!done).)*\z/s, 'what a person has written there') or diag($story->said);
	is(Story::read_file($jails), "# by hand\n", 'is not written over');
	unlink $jails;
	$client->(status => 'echo what');
	agent_doctor();
	like(of('fail2ban'), qr/^cannot tell +fail2ban: whom its jails ban: fail2ban-client status: its answer is not understood$/m, 'an answer that is none');
	$client->(status => 'echo "Could not find server" >&2; exit 255');
	agent_doctor();
	like(of('fail2ban'), qr/^cannot tell +fail2ban: whom its jails ban: fail2ban-client exited 255: Could not find server$/m, 'a fail2ban that does not answer cannot be judged');
	$client->(ignoreip => 'echo "Sorry" >&2; exit 1');
	agent_doctor();
	like(of('fail2ban'), qr/^cannot tell +fail2ban: whom its jails ban: fail2ban-client exited 1: Sorry$/m, 'a jail that cannot be asked');
	$client->(ignoreself => 'echo True');
	agent_doctor();
	like(of('fail2ban'), qr/^ok +fail2ban: its 1 jail lets .* alone$/m, 'a jail that lets this node alone') or diag($story->said);
};

$story->ends_clean;
done_testing();
