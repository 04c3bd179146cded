# A real Postfix that takes mail for admin@example.com into a Maildir, in namespaces of the story's own: it is started
# as root, and its directories and /etc belong to the story then.
#
#   Relay::enter()                        comes first: the story begins again in a mount and network namespace
#   my $relay = Relay->start($story)      starts it with the story's relay.crt, relay.key; main => and master => add lines
#   $relay->mails                         returns the texts of what has come, oldest first
package Relay;
use strict;
use warnings;
use File::Path qw(make_path);
use Needs;
use Story;
use Test::More;

sub run { system(@_) == 0 or die "@_" }

sub enter {
	needs('/usr/sbin/postfix');
	Story->enter(qw(unshare --mount --net --uts --propagation private));
}

sub start {
	my ($class, $story, %wish) = @_;
	my $top = $story->top;
	run(qw(ip link set lo up));
	run(qw(hostname haproxy)); # as many machines are called, without a domain
	run('cp', '-a', '/etc', "$top/etc");
	run('mount', '--bind', "$top/etc", '/etc');
	run(qw(mount -t tmpfs -o mode=755 tmpfs), $_) for grep { -d } qw(/var/log /var/spool/postfix /var/lib/postfix);
	for my $name (qw(postfix postdrop)) {
		getgrnam $name or run('groupadd', '--system', $name);
		next if $name eq 'postdrop' || getpwnam $name;
		run('useradd', '--system', '--gid', $name, '--no-create-home', '--home-dir', '/nonexistent', $name);
	}
	run(qw(chown postfix:postfix /var/lib/postfix));
	make_path("$top/mail");
	my ($uid, $gid) = (getpwnam 'nobody')[2, 3];
	chown $uid, $gid, "$top/mail";
	unlink glob '/etc/postfix/*.cf';
	Story::write_file('/etc/postfix/main.cf', <<"CONF" . ($wish{main} // ''));
compatibility_level = 3.6
maillog_file = /var/log/mail.log
myhostname = mail.domain.pl
mydestination =
alias_maps =
alias_database =
inet_interfaces = 127.0.0.1
virtual_mailbox_domains = example.com
virtual_mailbox_base = $top/mail
virtual_mailbox_maps = inline:{admin\@example.com=admin/}
virtual_uid_maps = static:$uid
virtual_gid_maps = static:$gid
virtual_transport = virtual
smtpd_tls_cert_file = $top/relay.crt
smtpd_tls_key_file = $top/relay.key
smtpd_tls_security_level = may
smtpd_tls_loglevel = 1
CONF
	Story::write_file('/etc/postfix/master.cf', <<'CONF' . ($wish{master} // ''));
smtp       inet  n  -  n  -     -  smtpd
cleanup    unix  n  -  n  -     0  cleanup
qmgr       unix  n  -  n  300   1  qmgr
tlsmgr     unix  -  -  n  1000? 1  tlsmgr
rewrite    unix  -  -  n  -     -  trivial-rewrite
bounce     unix  -  -  n  -     0  bounce
defer      unix  -  -  n  -     0  bounce
proxymap   unix  -  -  n  -     -  proxymap
virtual    unix  -  n  n  -     -  virtual
anvil      unix  -  -  n  -     1  anvil
postlog    unix-dgram n - n -   1  postlogd
CONF
	run('sh', '-c', "postfix start >$top/postfix.out 2>&1 || { cat $top/postfix.out >&2; exit 1; }");
	return bless {top => $top, owner => $$}, $class;
}

sub mails { my ($self) = @_; return map { Story::read_file($_) } sort glob("$self->{top}/mail/admin/new/*") }

END { local $?; system('postfix stop >/dev/null 2>&1') if $ENV{CERTSYNC_INSIDE} && -e '/var/spool/postfix/pid/master.pid' }

1;
