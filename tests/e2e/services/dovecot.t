#!/usr/bin/perl
# What doctor advises about a real Dovecot, whichever version is here, and that the advice, written into the configuration word for word,
# is taken by Dovecot and leaves doctor nothing to say.
# Not under valgrind: it looks at the configuration of another program.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Dovecot;
use Story;
use Test::More;

Story->enter;
Story->cover(qw(etc var));
my $story = Story->new;
my $top = $story->top;
$story->pair('old');
my $conf = $story->agent_conf('here', services => 'service "dovecot" { probe = {"127.0.0.1:993", "127.0.0.1:995"} }') . '/agent.conf';
$story->run('mkdir -p /etc/dovecot /var/tmp/mail && rm -rf /etc/dovecot/conf.d');

sub configure {
	Story::write_file('/etc/dovecot/dovecot.conf', Dovecot::conf(join "\n", 'protocols = imap pop3', 'listen = 127.0.0.1', 'log_path = /var/log/dovecot.log',
		'mail_location = maildir:/var/tmp/mail', 'passdb {', ' driver = static', ' args = password=secret', '}', 'ssl = yes',
		"ssl_cert = <$top/old.crt", "ssl_key = <$top/old.key", '') . join '', map { "$_\n" } @_);
}

# Returns doctor's lines about Dovecot, and in list context the remedies, which stand in lines of their own below them.
sub advice {
	my @lines = split /\n/, `$Story::bin/certsync-agent doctor -c $conf 2>&1`;
	my (@said, @remedies);
	for my $at (grep { $lines[$_] =~ /dovecot: a reload / } 0 .. $#lines) {
		push @said, $lines[$at] =~ s/^\S+\s+.*?(?=dovecot: )//r;
		push @remedies, $lines[$at + 1] =~ /in its configuration: (.*)/;
	}
	return (\@said, \@remedies);
}
my $sessions = "dovecot: a reload ends everybody's session, and each renewal reloads";
sub lost { return "dovecot: a reload loses some of the clients that come to $_[0] meanwhile" }
my @lost = Dovecot::since('2.4') ? map { lost("$_-login") } qw(imap pop3) : ();

configure();
$story->start('dovecot', qw(dovecot -F));
ok($story->until('dovecot', sub { $story->served('127.0.0.1:993') ne '' && $story->served('127.0.0.1:995') ne '' }), `dovecot --version` =~ s/\n//r . ' runs')
	or diag($story->log('dovecot'), Story::read_file('/var/log/dovecot.log'));
my ($said, $remedies) = advice();
is_deeply([sort @$said], [sort $sessions, @lost], 'doctor tells what a reload costs as it is shipped') or diag(`$Story::bin/certsync-agent doctor -c $conf 2>&1`);
is(scalar @$remedies, 1 + @lost, 'each with what mends it');

# "service NAME { A = x  B = y }, a line each" is how a block is told in one line.
my @written = map { my ($service, $settings) = /^(service \S+ \{) (.*?) \}, a line each$/; $service ? ($service, split(/\s{2,}/, $settings), '}') : $_ } @$remedies;
configure(@written);
is(system("doveconf -n >$top/out 2>&1"), 0, 'which Dovecot takes, word for word') or diag(Story::read_file("$top/out"), "@written");
is(system("doveadm reload >$top/out 2>&1"), 0, 'and reads') or diag(Story::read_file("$top/out"));
($said) = advice();
is_deeply($said, [], 'doctor has nothing to say about it any more');
configure(grep { !/shutdown_clients/ } @written);
($said) = advice();
is_deeply($said, [$sessions], 'without one of them it says that one again');
SKIP: {
	skip 'up to 2.3 a login process goes on listening until its successor does, so nothing is lost', 1 if !Dovecot::since('2.4');
	configure(map { s/min_avail = \d+/min_avail = 1/r } @written);
	($said) = advice();
	is_deeply([sort @$said], [sort @lost], 'one process at each is not enough');
}
$story->stop('dovecot');

done_testing;
