#!/usr/bin/perl
# An agent's alert by mail. What an agent starts gains no rights, so that sendmail cannot queue: that is said at the start. The script of the
# manual page, which speaks SMTP, delivers to a real Postfix. What a script said when it failed is in the log.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Relay;
use Story;
use Test::More;

Relay::enter();
my $story = Story->new;
my $top = $story->top;
$story->pair('relay', self_signed => 1, names => 'DNS:localhost.localdomain');
my $relay = Relay->start($story);

my $page = Story::read_file("$FindBin::Bin/../../../man/certsync-agent.conf.5");
my ($script) = $page =~ /^(#!\/bin\/sh\n\{\n.*?)^\.Ed$/ms;
$script =~ s/\\e/\\/g;
like($script, qr/^\} \| curl .*smtp:/m, 'the manual page has a script for mail') or BAIL_OUT('no script');
$script =~ s/admin\@domain\.pl/admin\@example.com/g;
my %scripts = (
	smtp => $script,
	sendmail => "#!/bin/sh\nexec /usr/sbin/sendmail -t admin\@example.com\n",
	piped => "#!/bin/sh\ncat | mail -s certsync admin\@example.com\n",
	fails => "#!/bin/sh\n# This is no mail, and mail.domain.pl is a name.\necho 'connect to mail.domain.pl: refused' >&2\nexit 7\n",
);
Story::write_file("$top/$_", $scripts{$_}, 0755) for keys %scripts;
Story::write_file("$top/bits", "#!/bin/sh\nexit 0\n", 02755);

ok($story->hub, 'a hub starts') or BAIL_OUT($story->log('hub'));
$story->pair('a', days => 20);
$story->import('a');
sub agent_conf {
	my ($command) = @_;
	my $dir = $story->agent_conf('here');
	Story::write_file("$dir/agent.conf", Story::read_file("$dir/agent.conf") . "alert {\n\tcommand = \"$top/$command\"\n\texpiring = \"30d\"\n}\n");
}
agent_conf('fails');
ok($story->enrol('here'), 'an agent is enrolled');
$story->start_agent('here');
ok($story->until('failed', sub { $story->log('here') =~ m{event=alert result=failed .*reason="exited 7: connect to mail\.domain\.pl: refused"} }), 'what a script said when it failed is told')
	or diag($story->log('here'));

my $warning = sub { qr{event=alert command=\Q$top/$_[0]\E reason="it calls sendmail or mail, or is itself set-user-ID or set-group-ID: .*" remedy="let it speak SMTP, } };
for my $command (qw(sendmail piped bits smtp)) {
	agent_conf($command);
	is(system("$Story::bin/certsync-agent", 'reload', $story->{started}{here}, '-c', "$top/here/agent.conf"), 0, "$command: the agent takes it");
	my $warned = $story->log('here') =~ $warning->($command);
	ok($command eq 'smtp' ? !$warned : $warned, $command eq 'smtp' ? '  and warns not' : '  and warns at its start') or diag($story->log('here'));
}
unlike($story->log('here'), $warning->('fails'), 'nor did it of one that only has the word in a comment or a name');
ok($story->until('mail', sub { $relay->mails }, 30), 'the script of the manual page delivers') or diag($story->log('here') . Story::read_file('/var/log/mail.log'));
my ($mail) = $relay->mails;
like($mail, qr/^Subject: certsync on \S+$/m, '  with a subject');
like($mail =~ s/\n//gr, qr/\Q$Story::name\E: expiring.*and the hub has sent no successor/, '  and what is wrong');
ok($story->until('delivered', sub { $story->log('here') =~ m{event=alert result=delivered command=\Q$top\E/smtp } }), 'the agent knows that it was told');
$story->ends_clean;
done_testing;
