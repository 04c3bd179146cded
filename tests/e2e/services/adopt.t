#!/usr/bin/perl
# A node joins whose HAProxy, nginx, Apache, Dovecot and Postfix, all real, present certificates of their own files:
# adopt shows the lines that would change and changes nothing; with --apply each presents what is installed; and what
# fails or is killed is undone.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Copy qw(copy);
use File::Path qw(make_path);
use FindBin;
use lib "$FindBin::Bin/../lib";
use Dovecot;
use Story;
use Test::More;

Story->enter;
Story->cover(qw(etc var));
my $story = Story->new;
my $top = $story->top;
my $live = "$top/here/etc/live/$Story::name";
my ($exit, $text);

# ---- what the servers present at first ----

my $names = "DNS:$Story::name,DNS:imap.domain.pl";
my %print = (old => $story->pair('old', names => $names), imap => $story->pair('imap', names => 'DNS:imap.domain.pl'),
	other => $story->pair('other', names => 'DNS:www.other.pl'), r0 => $story->pair('r0', names => $names),
	r1 => $story->pair('r1', names => $names));
make_path('/etc/old');
for (qw(old imap other)) {
	Story::write_file("/etc/old/$_.pem", Story::read_file("$top/$_.key") . Story::read_file("$top/$_.crt"), 0600);
	Story::write_file("/etc/old/$_.crt", Story::read_file("$top/$_.crt"), 0644);
	Story::write_file("/etc/old/$_.key", Story::read_file("$top/$_.key"), 0600);
}

sub haproxy_conf {
	make_path('/etc/haproxy');
	Story::write_file('/etc/haproxy/list', "# who gets which\n/etc/old/old.pem [alpn h2]\n/etc/old/other.pem www.other.pl\n");
	Story::write_file('/etc/haproxy/haproxy.cfg', <<'CONF');
global
	stats socket /run/haproxy.sock mode 600 level admin
defaults
	mode http
	timeout client 5s
	timeout server 5s
	timeout connect 5s
frontend first   # the one for all
	bind 127.0.0.1:8443 ssl crt "/etc/old/old.pem" crt /etc/old/other.pem alpn h2 # keep me
frontend list
	bind :8444 ssl crt-list /etc/haproxy/list
CONF
}

sub nginx_conf {
	make_path('/etc/nginx/sites');
	Story::write_file('/etc/nginx/nginx.conf', "events {}\nhttp {\n\taccess_log off;\n\tinclude sites/*.conf;\n}\n");
	Story::write_file('/etc/nginx/one', <<'CONF');
server {
	listen 127.0.0.1:8445 ssl; # by name
	server_name mail.domain.pl;
	ssl_certificate     "/etc/old/old.crt";
	ssl_certificate_key /etc/old/old.key; # its key
}
CONF
	Story::write_file('/etc/nginx/sites/two.conf', "server { listen 127.0.0.1:8445 ssl; server_name www.other.pl;\n"
			. "\tssl_certificate /etc/old/other.crt; ssl_certificate_key /etc/old/other.key; }");
	unlink '/etc/nginx/sites/one.conf';
	symlink '../one', '/etc/nginx/sites/one.conf' or die $!;
}

sub apache_conf {
	Story::write_file('/etc/apache2/apache2.conf', <<'CONF');
ServerName mail.domain.pl
DefaultRuntimeDir /run/apache2
PidFile ${APACHE_PID_FILE}
ErrorLog /var/log/apache.log
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule socache_shmcb_module /usr/lib/apache2/modules/mod_socache_shmcb.so
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
User www-data
Group www-data
Listen 127.0.0.1:8446
<VirtualHost *:8446>
	SSLEngine on
	# SSLCertificateFile /etc/old/never.crt
	SSLCertificateFile \
		/etc/old/old.crt
	SSLCertificateKeyFile "/etc/old/old.key"
	SSLCertificateChainFile /etc/old/other.crt
</VirtualHost>
CONF
}

sub dovecot_conf {
	make_path('/etc/dovecot/conf.d');
	Story::write_file('/etc/dovecot/dovecot.conf', Dovecot::conf(join "\n", 'protocols = imap', 'listen = 127.0.0.1', 'log_path = /var/log/dovecot.log',
		'mail_location = maildir:/var/tmp/mail', 'passdb {', ' driver = static', ' args = password=secret', '}',
		'ssl_cert = </etc/old/other.crt', '!include conf.d/*.conf', '!include_try none.conf', ''));
	Story::write_file('/etc/dovecot/conf.d/10-ssl.conf', Dovecot::words(<<'CONF'));
ssl = yes
#ssl_cert = </etc/old/never.crt
ssl_cert = </etc/old/old.crt  # as certbot wrote it
ssl_key =</etc/old/old.key
local_name imap.domain.pl {
  ssl_cert=</etc/old/imap.pem
  ssl_key=</etc/old/imap.pem
}
CONF
	chown 0, 8, '/etc/dovecot/conf.d/10-ssl.conf';
	chmod 0640, '/etc/dovecot/conf.d/10-ssl.conf';
	unlink grep { !/10-ssl/ } glob '/etc/dovecot/conf.d/*.conf';
}

sub postfix_conf {
	Story::write_file('/etc/postfix/main.cf', <<'CONF');
compatibility_level=3.6
# where it listens
inet_interfaces=127.0.0.1
inet_protocols=ipv4
myhostname=mail.domain.pl
mydestination=
alias_maps=
alias_database=
maillog_file=/var/log/postfix.log
smtpd_tls_security_level=may
old = /etc/old
smtpd_tls_cert_file = $old/old.crt
smtpd_tls_key_file =
  $old/old.key
tls_server_sni_maps = hash:/etc/postfix/sni
CONF
	Story::write_file('/etc/postfix/sni', "imap.domain.pl /etc/old/imap.pem\nwww.other.pl /etc/old/other.key /etc/old/other.crt\n", 0600);
	$story->run('postmap -F hash:/etc/postfix/sni');
	my $master = Story::read_file('/usr/share/postfix/master.cf.dist') || Story::read_file('/etc/postfix/master.cf');
	$master =~ s/^submission.*?(?=^\S)//ms;
	Story::write_file('/etc/postfix/master.cf', $master . <<'CONF');
submissions inet n - n - - smtpd
  -o smtpd_tls_wrappermode=yes
# -o smtpd_tls_cert_file=/etc/old/never.crt
  -o smtpd_tls_cert_file=/etc/old/imap.pem -o smtpd_tls_key_file=$smtpd_tls_cert_file
10025 inet n - n - - smtpd
  -o smtpd_upstream_proxy_protocol=haproxy
CONF
}

my @conf = (\&haproxy_conf, \&nginx_conf, \&apache_conf, \&dovecot_conf, \&postfix_conf);

# ---- what is served; [what, port, options] ----

my @ours = (['haproxy', 8443], ['crt-list', 8444], ['nginx', 8445], ['apache', 8446], ['smtp', 25, starttls => 'smtp'],
	['smtp imap', 25, starttls => 'smtp', sni => 'imap.domain.pl'], ['submissions', 465], ['imaps', 993],
	['imaps imap', 993, sni => 'imap.domain.pl']);
my @others = (['haproxy other', 8443, sni => 'www.other.pl'], ['crt-list other', 8444, sni => 'www.other.pl'],
	['nginx other', 8445, sni => 'www.other.pl'], ['smtp other', 25, starttls => 'smtp', sni => 'www.other.pl']);

sub wrong {
	my ($print, @which) = @_;
	return join ', ', map { $_->[0] } grep { my (undef, @how) = @$_; $story->served(@how) ne $print } @which;
}

sub serves {
	my ($what, $certificate) = @_;
	my $left = '';
	$story->until($what, sub { ($left = wrong($print{$certificate}, @ours)) eq '' }, 6);
	is($left, '', "$what: each serves it");
	is(wrong($print{other}, @others), '', "$what: those for other names serve what they served");
}

# These files are at stake; they are compared with their owner and mode.
my @files = qw(haproxy/haproxy.cfg haproxy/list nginx/nginx.conf nginx/one nginx/sites/two.conf apache2/apache2.conf dovecot/dovecot.conf
	dovecot/conf.d/10-ssl.conf postfix/main.cf postfix/master.cf postfix/sni);
sub state_of_files { return scalar `cd /etc && stat -c '%n %u %g %a' @files && sha256sum @files $top/here/agent.conf` }
sub backups { return [split /\n/, `find /etc/haproxy /etc/nginx /etc/apache2 /etc/dovecot /etc/postfix $top/here -name '.*.certsync-*' | sort`] }

sub adopt {
	my (@words) = @_;
	my $output = `timeout 300 $Story::bin/certsync-agent adopt @words -c $top/here/agent.conf 2>&1`;
	return ($? >> 8, $output, $? & 127);
}

# ---- the node ----

ok($story->hub, 'a hub starts') or BAIL_OUT($story->log('hub'));
my $dir = $story->agent_conf('here', services => <<'CONF');
service "haproxy" { probe = {"127.0.0.1:8443", "127.0.0.1:8444"} }
	service "nginx" { probe = {"127.0.0.1:8445"} }
	service "apache2" { probe = {"127.0.0.1:8446"} }
	service "dovecot" { probe = {"127.0.0.1:993", "127.0.0.1:143"} }
	service "postfix" { probe = {"127.0.0.1:25", "127.0.0.1:465", "127.0.0.1:10025/smtp+proxy"} }
CONF
make_path("$top/real");
copy($_, "$top/real/") or die for glob "$Story::bin/hooks/*";
chmod 0755, glob "$top/real/*";
Story::write_file("$dir/hooks/$_", <<"HOOK", 0755) for qw(haproxy nginx apache2 dovecot postfix);
#!/bin/sh
[ ! -e "$top/fail.$_.\$1" ] || { rm "$top/fail.$_.\$1"; echo "$_ will not"; exit 1; }
[ ! -e "$top/idle.$_.\$1" ] || { rm "$top/idle.$_.\$1"; exit 0; }
[ ! -e "$top/stop.$_.\$1" ] || { rm "$top/stop.$_.\$1"; kill -INT \$PPID; }
[ ! -e "$top/edit.$_.\$1" ] || { rm "$top/edit.$_.\$1"; echo "# somebody's" >>/etc/nginx/one; }
[ ! -e "$top/kill.$_.\$1" ] || { rm "$top/kill.$_.\$1"; kill -KILL \$PPID; exit 0; }
exec $top/real/$_ "\$1"
HOOK
$_->() for @conf;
$story->run('haproxy -c -f /etc/haproxy/haproxy.cfg && nginx -t && doveconf -n && postfix check');
$story->enrol('here') or BAIL_OUT(Story::read_file("$top/join.log"));
($exit, $text) = adopt();
is($exit, 0, 'before anything is installed') or diag($text);
like($text, qr/nothing is installed yet/, 'it says so');
$story->start('haproxy', qw(/usr/sbin/haproxy -W -f /etc/haproxy/haproxy.cfg));
$story->start('nginx', qw(nginx -g), 'daemon off;');
$story->run('mkdir -p /run/apache2 /run/lock && apache2ctl start');
$story->start('dovecot', qw(dovecot -F));
$story->run('postfix start');
ok($story->until('servers', sub { !grep { $story->served(@$_[1 .. $#$_]) eq '' } @ours }), 'the servers run') or diag(wrong('', @ours), ' do', Story::read_file('/var/log/dovecot.log'), $story->log('haproxy'), $story->log('nginx'));
Story::import($story, 'r0');
$story->start_agent('here');
ok($story->until('files', sub { $story->installed('here') eq $print{r0} }, 90), 'the first revision is installed') or diag($story->log('here'));
isnt($story->state_of('here')->{state} // '', 'verified', 'and nobody serves it');
# Without the agent no hook runs but those that are looked at.
$story->stop('here');

# ---- a first agent.conf ----

my $tool = abs_path("$Story::bin/../tests/discover_tool");
my $found = `$tool mail.domain.pl imap.domain.pl 2>&1`;
my %section = $found =~ /^certificate "(\S+)" \{\n(.*?)^\}/msg;
my %probes = ($section{'mail.domain.pl'} // '') =~ /^\tservice "(\S+)" \{\n(?:\t\t#.*\n)*\t\tprobe = \{(.*)\}/mg;
is_deeply(\%probes, {haproxy => '"127.0.0.1:8443", "127.0.0.1:8444"', nginx => '"127.0.0.1:8445"', apache2 => '"127.0.0.1:8446"',
	dovecot => '"127.0.0.1:143", "127.0.0.1:993"', postfix => '"127.0.0.1:25", "127.0.0.1:465", "127.0.0.1:10025+proxy"'},
	'where each service is seen to listen') or diag($found);
like($found, qr{^\t# it presents /etc/old/old.pem, for mail.domain.pl, imap.domain.pl$}m, 'and what it presents');
like(`$tool www.domain.pl`, qr/service "nginx" is here, and left out: it presents certificates for other names/, 'or for whom else');
Story::write_file("$top/first.conf", $found =~ s/^hub/user = "$story->{user}"\nadmin_group = "$story->{group}"\nhub/mr);
is(system("$Story::bin/certsync-agent config -c $top/first.conf >$top/first.log 2>&1"), 0, 'it loads') or diag(Story::read_file("$top/first.log"));

# ---- shown ----

sub added {
	my $lines = join "\n", map { "+$_" } split /\n/, shift;
	return qr/^\Q$lines\E$/m;
}

my $before = state_of_files();
($exit, $text) = adopt();
is($exit, 0, 'adopt shows') or diag($text);
for (
	['HAProxy', qr/^-\tbind 127.0.0.1:8443 ssl crt "\/etc\/old\/old.pem" crt \/etc\/old\/other.pem alpn h2 # keep me\n(?:[-+ ].*\n)*?\+\tbind 127.0.0.1:8443 ssl crt \Q$live\E\/haproxy.pem crt \/etc\/old\/other.pem alpn h2 # keep me$/m],
	['a crt-list', qr/^\+\Q$live\E\/haproxy.pem \[alpn h2\]$/m],
	['nginx', qr/^\+\tssl_certificate     \Q$live\E\/combined.pem;\n\+\tssl_certificate_key \Q$live\E\/combined.pem; # its key$/m],
	['nginx behind a link', qr/^\+\+\+ \/etc\/nginx\/one$/m],
	['Apache', qr/^ \tSSLCertificateFile \\\n-\t\t\/etc\/old\/old.crt\n-\tSSLCertificateKeyFile "\/etc\/old\/old.key"\n-\tSSLCertificateChainFile \/etc\/old\/other.crt\n\+\t\t\Q$live\E\/combined.pem\n\+\tSSLCertificateKeyFile \Q$live\E\/combined.pem\n\+\t#SSLCertificateChainFile \/etc\/old\/other.crt$/m],
	['Dovecot', added(Dovecot::words("ssl_cert = <$live/combined.pem  # as certbot wrote it\nssl_key =<$live/combined.pem"))],
	['a block of Dovecot', added(Dovecot::words("  ssl_cert=<$live/combined.pem"))],
	['Postfix', qr/^-smtpd_tls_cert_file = \$old\/old.crt\n\+smtpd_tls_chain_files = \Q$live\E\/combined.pem\n\+smtpd_tls_cert_file =\n smtpd_tls_key_file =\n-  \$old\/old.key$/m],
	['an option in master.cf', qr/^\+  -o smtpd_tls_chain_files=\Q$live\E\/combined.pem -o smtpd_tls_cert_file= -o smtpd_tls_key_file=$/m],
	['an SNI map', qr/^\+imap.domain.pl \Q$live\E\/combined.pem$/m],
	['what is for other names', qr/haproxy: \S+:9: crt \/etc\/old\/other.pem: left: is for www.other.pl, and mail.domain.pl does not cover/],
	['a map for other names', qr/postfix: \/etc\/postfix\/sni:2: .* left: is for www.other.pl/],
	['what to do', qr/nothing was changed: .*--apply/],
	['what a port would serve', qr/^127.0.0.1:993 +imap.domain.pl +imap.domain.pl \S+ \S+ +mail.domain.pl +certsync$/m],
	['what a port would go on serving', qr/^127.0.0.1:8443 +www.other.pl +www.other.pl \S+ \S+ +the same +left to haproxy: \/etc\/old\/other.pem$/m],
	)
{
	like($text, $_->[1], "it shows $_->[0]");
}
unlike($text, qr/PRIVATE|^[-+].*never/m, 'no key, and nothing that is a comment');
is(state_of_files(), $before, 'and changes nothing');

# ---- what fails is undone ----

sub is_undone {
	my ($what, $reason, @words) = @_;
	($exit, $text) = adopt('--apply', @words);
	is($exit, 1, "$what: it fails") or diag($text);
	like($text, $reason, "$what: it says why");
	like($text, qr/all files are as they were/, "$what: and that all is undone");
	is(state_of_files(), $before, "$what: all files are as they were");
	is_deeply(backups(), [], "$what: no backup is left");
}

Story::write_file("$top/fail.dovecot.reload", '');
is_undone('a reload that fails', qr/dovecot reload: .*\n\s+\| dovecot will not/);
# Processes of before may answer for a moment, so the old state is waited for.
ok($story->until('old', sub { wrong($print{old}, @ours[0, 2, 3, 4, 7]) eq '' }, 20), 'what was served is served');
Story::write_file("$top/idle.nginx.reload", '');
is_undone('a reload that does nothing', qr/127.0.0.1:8445 does not serve mail.domain.pl: .*$print{old}/, qw(--service nginx));
for (['the reload', 'reload'], ['the first test', 'test']) {
	my ($when, $verb) = @$_;
	Story::write_file("$top/stop.nginx.$verb", '');
	is_undone("Control-C at $when", qr/told to end \(Interrupt\)/, qw(--service nginx));
}
ok($story->until('old', sub { wrong($print{old}, @ours[0, 2, 3, 4, 7]) eq '' }, 20), 'what was served is served after that, too');

# The file changes between the plan and the writing.
my $one = Story::read_file('/etc/nginx/one');
Story::write_file("$top/edit.nginx.running", '');
($exit, $text) = adopt(qw(--apply --service nginx));
is($exit, 1, 'a file that is changed meanwhile');
like($text, qr/\/etc\/nginx\/one was changed meanwhile: run this again/, 'is told of');
like($text, qr/\/etc\/nginx\/one: left, since somebody has changed it since.*the other files are as they were/s, 'and so is what was left');
unlike($text, qr/all files are as they were/, 'no more than that is said');
is(Story::read_file('/etc/nginx/one'), "$one# somebody's\n", 'the change is kept');
open my $out, '>', '/etc/nginx/one' or die;
print $out $one;
close $out;
unlink @{backups()};
is(state_of_files(), $before, 'with it taken back all is as it was');
$story->run(q(printf 'garbage\n' >>/etc/dovecot/conf.d/10-ssl.conf));
($exit, $text) = adopt(qw(--apply --service dovecot));
is($exit, 0, 'a configuration that is broken already') or diag($text);
like($text, qr/dovecot: doveconf exited .*: left as it is/, 'is left as it is');
dovecot_conf();
Story::write_file("$top/fail.postfix.test", '');
($exit, $text) = adopt(qw(--apply --service postfix));
is($exit, 1, 'a test that fails already');
like($text, qr/nothing was changed/, 'nothing is changed');
is(state_of_files(), $before, 'indeed');

# ---- killed ----

Story::write_file("$top/kill.postfix.reload", '');
($exit, $text, my $signal) = adopt(qw(--apply --service postfix));
is($signal || $exit - 128, 9, 'it is killed at the reload');
ok(state_of_files() ne $before, 'with the new files in place');
($exit, $text) = adopt();
is($exit, 1, 'the next run notices');
like($text, qr/was interrupted/, 'and says what to do');

# ---- done ----

Story::write_file('/etc/postfix/.certsync-main.cf.12345678', 'half of it');
($exit, $text) = adopt('--apply');
is($exit, 0, 'adopt --apply') or diag($text);
ok(!-e '/etc/postfix/.certsync-main.cf.12345678', 'what a killed write left is gone');
like($text, qr/was interrupted.*put back.*\/etc\/postfix\/main.cf: put back/s, 'it puts back what the killed one had changed');
like($text, qr/^127.0.0.1:10025\+proxy +\(none\), mail.domain.pl +mail.domain.pl \+1 ecdsa-p256 \Q@{[substr $print{old}, 0, 8]}\E +mail.domain.pl \+1 ecdsa-p256 \Q@{[substr $print{r0}, 0, 8]}\E +certsync$/m, 'and tells of every port');
like($text, qr/^127.0.0.1:25 +www.other.pl +www.other.pl ecdsa-p256 \S+ +the same +left to postfix: \/etc\/old\/other.key \/etc\/old\/other.crt$/m, 'and of what is left');
serves('adopted', 'r0');
my $adopted = state_of_files();
ok($adopted ne $before, 'the files are changed');
like($adopted, qr/^\S+10-ssl.conf 0 8 640$/m, 'owner and mode are as they were');
my ($backup) = grep { /10-ssl/ } @{backups()};
like(`stat -c '%u %g %a' $backup`, qr/^0 8 640$/, 'those of the backup, too');
is(scalar @{backups()}, 8, 'a backup for each file') or diag(explain(backups()));
($exit, $text) = adopt('--apply');
is($exit, 0, 'a second time');
like($text, qr/nothing to do/, 'there is nothing to do') or diag($text);
is(state_of_files(), $adopted, 'and nothing is done');
is(scalar @{backups()}, 8, 'no backup more');
($exit, $text) = adopt('www.domain.pl');
is($exit, 2, 'a certificate that is not in agent.conf');
Story::import($story, 'r1');
$story->start_agent('here');
ok($story->until('verified', sub { ($story->state_of('here')->{state} // '') eq 'verified' && $story->installed('here') eq $print{r1} }, 120), 'a renewal is verified')
	or diag(($story->certsync('status'))[1] . $story->log('here'));
serves('the renewal', 'r1');

system("postfix stop >>$top/setup.log 2>&1; apache2ctl stop >>$top/setup.log 2>&1");
$story->ends_clean;
done_testing();
