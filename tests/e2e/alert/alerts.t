#!/usr/bin/perl
# A person is told, by mail through a real Postfix into a Maildir, by a webhook, and by a command: once, also over a
# restart of the hub, and again when it is over, with how long it lasted. Forty things at once make one message, and
# what one way cannot deliver, the others tell of.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use JSON::PP;
use Relay;
use Story;
use Test::More;

Relay::enter();
my $story = Story->new;
my $top = $story->top;

# ---- Postfix: takes mail on port 25, with a certificate that verifies for nobody ----

$story->pair('relay', self_signed => 1, names => 'DNS:localhost.localdomain');
my $relay = Relay->start($story);

# ---- a webhook and a command ----

my $web = Story::free_port();
Story::write_file("$top/web.py", <<'PY');
import http.server, sys
class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        open(sys.argv[2], 'ab').write(body + b'\n')
        self.send_response(200 if self.headers['Content-Type'] == 'application/json' else 415)
        self.end_headers()
        self.wfile.write(b'ok')
    def log_message(self, *words): pass
http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Hook).serve_forever()
PY
sub start_web {
	$story->start('web', '/usr/bin/python3', "$top/web.py", $web, "$top/web.json");
	$story->until('web', sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $web) }) or die $story->log('web');
}
start_web();
Story::write_file("$top/tell", "#!/bin/sh\nenv >>$top/tell.env\n{ cat; echo; } >>$top/tell.json\n", 0755);

sub mails { $relay->mails }
sub lines { map { decode_json($_) } grep { length } split /\n/, Story::read_file($_[0]) }
sub posted { lines("$top/web.json") }
sub told { lines("$top/tell.json") }
# Waits until each of the three ways has delivered so many messages.
sub until_each {
	my ($count, $seconds) = @_;
	$story->until('messages', sub { mails() == $count && posted() == $count && told() == $count }, $seconds // 25)
		or diag(join ' ', 'mails', scalar(mails()), 'posted', scalar(posted()), 'told', scalar(told()), "\n", $story->log('hub'),
			Story::read_file('/var/log/mail.log'));
	is_deeply([scalar(mails()), scalar(posted()), scalar(told())], [($count) x 3], "each way has delivered $count");
}

my $alert = <<"CONF";
alert {
	email = {"admin\@example.com"}
	from = "certsync\@domain.pl"
	webhook = {"http://127.0.0.1:$web/services/SECRET"}
	command = "$top/tell"
	for = "0s"
}
CONF
my $sections = "certificate \"$Story::name\" {}\n";
my $check = "endpoint \"forty.domain.pl\" { ports = {" . join(', ', map { '"' . (2000 + $_) . '/tls"' } 1 .. 14) .
	"} at = {\"127.0.0.1\", \"127.0.0.2\", \"127.0.0.3\"} interval = \"1h\" }\n";

# ---- a test ----

ok($story->hub(certificates => $sections . $alert), 'a hub starts') or BAIL_OUT($story->log('hub'));
my ($exit, $text) = $story->certsync('alert', 'test');
is($exit, 0, 'a test is delivered everywhere') or diag($text);
like($text, qr/^ok +email admin\@example.com: 250 2\.0\.0 Ok/m, 'the answer of the mail server is shown');
like($text, qr/^ok +webhook 127\.0\.0\.1:$web: HTTP 200: ok/m, 'and that of the webhook, without the secret of its URL');
like($text, qr/^ok +command: exited 0/m, 'and how the command ended');
until_each(1);
my ($mail) = mails();
like($mail, qr/^Subject: certsync: test$/m, 'the mail has a subject');
like($mail, qr/^Auto-Submitted: auto-generated$/m, 'says that a program wrote it');
like($mail, qr/^Message-ID: <[0-9a-f]{32}\@domain\.pl>$/m, 'and has an id');
like(Story::read_file('/var/log/mail.log'), qr/TLS connection established/, 'it went over TLS, although that certificate verifies for nobody');
is(join(' ', sort grep { !/^(PWD|SHLVL|_|OLDPWD)$/ } map { /^(\w+)=/ } split /\n/, Story::read_file("$top/tell.env")), 'PATH', 'the command has PATH alone');
is(($story->certsync('alert', 'list'))[1], "nothing is wrong\n", 'nothing is wrong yet');

# ---- an agent goes away and comes back; the hub is started anew meanwhile ----

# Changes the sections of hub.conf, and has it read again.
sub reload {
	my ($words) = @_;
	$story->hub_conf(certificates => $words, agents => ['here']);
	Story::write_file("$top/hub.conf", Story::read_file("$top/hub.conf") =~ s/local = true/local = true away_after = "10s"/r);
	ok($story->reload, 'hub.conf is read again');
}
$story->pair('a');
$story->agent('here');
reload($sections . $alert);
until_each(2);
like((told())[1]{subject}, qr/^certsync: here: keys were changed, #1$/, 'that an agent has got keys is told');
$story->import('a');
ok($story->until_state('here', 'unprobed'), 'an agent is verified');
$story->stop('here');
until_each(3);
my $raised = (told())[2];
is($raised->{subject}, 'certsync: here: away', 'its absence is told');
is_deeply([map { "$_->{event} $_->{kind} $_->{subject}" } @{$raised->{conditions}}], ['raised away here'], 'with what it is');
like($raised->{text}, qr/last seen/, 'and a text that Slack shows');
like((mails())[-1] . (mails())[-2], qr/^Subject: certsync: here: away$/m, 'in the subject of the mail, too');
like(($story->certsync('alert', 'list'))[1], qr/^CRITICAL  here: away\n.*\n  since \S+, told 2/m, 'alert list shows it');

$story->stop('hub');
$story->start('hub', "$Story::bin/certsync-hub-root", '-c', "$top/hub.conf");
ok($story->until('the hub', sub { ($story->certsync('alert', 'list'))[1] =~ /here: away/ }), 'a hub that was started anew knows it');
$story->start_agent('here');
until_each(4);
my $resolved = (told())[3];
is($resolved->{subject}, 'certsync: resolved: here: away', 'one message more: it is over, nothing was repeated');
like($resolved->{text}, qr/RESOLVED after \d+.*s/, 'with how long it lasted');
is($resolved->{conditions}[0]{event}, 'resolved', 'in the JSON, too');

# ---- forty-two endpoints are down, and so is the webhook ----

$story->stop('web');
reload($sections . $alert . $check);
ok($story->until('one message', sub { told() >= 6 }), 'there are two messages more');
my @new = (told())[4, 5];
is($new[0]{subject}, 'certsync: forty.domain.pl: unreachable on 42 endpoints', 'forty-two endpoints are one message');
is($new[1]{subject}, "certsync: webhook: cannot be told, 127.0.0.1:$web", 'the other is of the webhook, by the command');
ok($story->until('mails', sub { mails() == 6 }), 'and by mail');
like(($story->certsync('status'))[1], qr/warning: alerts by webhook 127\.0\.0\.1:$web fail \(1 wait\): webhook: /, 'status shows it');
unlike(($story->certsync('alert', 'list'))[1] . ($story->certsync('alert', 'list', '--json'))[1] . $story->log('hub'), qr/SECRET/,
	'the secret of the URL is nowhere');
is(($story->certsync('alert', 'test'))[0], 1, 'a test fails');
start_web();
($exit, $text) = $story->certsync('alert', 'test');
is($exit, 0, 'a test says so') or diag($text);
ok($story->until('posted', sub { grep { $_->{subject} eq $new[0]{subject} } posted() }), 'what waited is delivered at once');
is(scalar(grep { $_->{id} eq $new[0]{id} } posted()), 1, 'the webhook is told of it once');
ok($story->until('resolved', sub { grep { $_->{subject} =~ /resolved: webhook/ } told() }), 'that it works again is told');

# ---- a mail that nobody takes; mail through what is watched; another certificate ----

my $port = Story::free_port();
$story->pair('other');
$story->start('other', 'openssl', 's_server', '-quiet', '-accept', "127.0.0.1:$port", '-cert', "$top/other.crt", '-key', "$top/other.key");
reload($sections . ($alert =~ s/admin\@/nobody\@/r =~ s/webhook = .*//r =~ s/command = .*//r) .
	"endpoint \"mail.example.com\" { ports = {\"25\"} at = {\"127.0.0.1\"} interval = \"1h\" }\n" .
	"endpoint \"$Story::name\" { ports = {\"$port/tls\"} at = {\"127.0.0.1\"} interval = \"1h\" }\n");
($exit, $text) = $story->certsync('alert', 'test');
is($exit, 1, 'undeliverable mail is a failure');
like($text, qr/^FAILED +email nobody\@example.com: .*550 5\.1\.1 .*User unknown/m, 'with the reply of the mail server');
like(($story->certsync('status'))[1], qr/warning: alert: every way to tell a person leads through a host that an endpoint section watches/,
	'status warns that alerts go through what they watch');
ok($story->until('mismatch', sub { ($text = ($story->certsync('alert', 'list'))[1]) =~ /mismatch$/m }), 'another certificate is seen');
my ($served, $wanted) = map { $story->fingerprint("$top/$_.crt") } qw(other a);
like($text, qr/$Story::name 127\.0\.0\.1:$port\S*: mismatch\n.*served: SHA-256 $served; wanted: SHA-256 $wanted/,
	'its alert names address, port, and both fingerprints');

# ---- is every way a watched one? By the server's address, or by the domain whose mail is told ----

for ([0, 'example.org'], [1, 'example.com'], [0, 'ample.com']) {
	my ($crosses, $domain) = @$_;
	reload($sections . ($alert =~ s/\@example\.com/\@$domain/r =~ s/webhook = .*/smtp = "smtp:\/\/127.0.0.9:25"/r =~ s/command = .*//r) .
		"endpoint \"mail.example.com\" { ports = {\"25\"} at = {\"127.0.0.1\"} interval = \"1h\" }\n");
	my $warned = ($story->certsync('status'))[1] =~ /warning: alert: every way/ ? 1 : 0;
	is($warned, $crosses, "mail.example.com is watched, $domain is told: " . ($crosses ? 'a warning' : 'none'));
}
$story->ends_clean;
done_testing;
