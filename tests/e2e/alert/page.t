#!/usr/bin/perl
# The status page of a real hub: what it shows of endpoints that are right, wrong and dead, what promtool says of the
# metrics and of the rules, what visitors with bad manners get, and how a real browser shows it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Browser;
use IO::Socket::INET;
use POSIX ();
use Story;
use Test::More;
use Time::HiRes qw(time);

my $story = Story->new;
my $top = $story->top;
my $name = $Story::name;
my $port = Story::free_port();
my $url = "http://127.0.0.1:$port";

my $served = $story->pair('right');
$story->pair('wrong');
my %at;
# The subject of this certificate attacks whoever shows it.
$story->openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 -subj '/CN=<script>document.title=1<\\/script>'",
	"-addext 'subjectAltName=DNS:x\"><img src=x onerror=document.title=2>.pl' -keyout $top/evil.key -out $top/evil.crt");
for my $what ('right', 'wrong', 'evil') {
	$at{$what} = Story::free_port();
	$story->start("s-$what", 'openssl', 's_server', '-quiet', '-accept', "127.0.0.1:$at{$what}", '-cert', "$top/$what.crt",
		'-key', "$top/$what.key");
}
$at{dead} = Story::free_port();
my $ports = join ', ', map { "\"$at{$_}/tls\"" } sort keys %at;
ok($story->hub(agents => ['here', 'backup1'], certificates => <<"CONF"), 'a hub with a page starts') or BAIL_OUT($story->log('hub'));
page = "127.0.0.1:$port"
alert { command = "/bin/false"  for = "1s" }
certificate "$name" {}
endpoint "$name" { ports = {$ports}  at = {"127.0.0.1"}  certificate = "$name"  interval = "10s" }
CONF

sub visit { return IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port", Timeout => 5) // die "connect: $!" }

# This visitor sends a byte a second until it is cut off, and writes down how long that took.
my $drip = fork // die $!;
if ($drip == 0) {
	local $SIG{PIPE} = 'IGNORE';
	my ($begun, $socket) = (time, visit());
	syswrite $socket, "GET / HTTP/1.1\r\n";
	while (time - $begun < 20) {
		my $ready = '';
		vec($ready, fileno($socket), 1) = 1;
		last if select($ready, undef, undef, 1) && !sysread($socket, my $rest, 4096);
		syswrite $socket, 'x';
	}
	Story::write_file("$top/drip", time - $begun);
	POSIX::_exit(0);
}

$story->agent('here');
$story->import('right');
ok($story->until_state('here', 'unprobed'), 'an agent has the certificate');

sub curl { my (@words) = @_; return scalar `curl -s -m 20 @words 2>&1` }
sub seen { my ($metrics) = @_; return $metrics =~ /certsync_endpoint_state\{[^\n]*state="unreachable"/ && $metrics =~ /state="mismatch"/ && $metrics =~ /state="untrusted"/ && $metrics =~ /state="ok"/ }

my $metrics;
ok($story->until('checks', sub { seen($metrics = curl("$url/metrics")) }, 30), 'all four endpoints are seen as they are') or diag($metrics, $story->log('hub'));

# The alerts of this hub go by a command that fails.
ok($story->until('alerts', sub { ($metrics = curl("$url/metrics")) =~ /^certsync_alert_channel_failures\{channel="command"\} [1-9]/m }, 30),
	'and a way to tell of it that fails') or diag($metrics, $story->log('hub'));

# ---- metrics ----

Story::write_file("$top/metrics", $metrics);
is(`promtool check metrics <$top/metrics 2>&1`, '', 'promtool has nothing to say of the metrics');
is($? >> 8, 0, 'and is content');
like($metrics, qr/^certsync_agent_connected\{agent="here"\} 1$/m, 'the agent is connected');
like($metrics, qr/^certsync_agent_connected\{agent="backup1"\} 0$/m, 'the other one never was');
like($metrics, qr/^certsync_rollout_state\{certificate="\Q$name\E",agent="here",state="unprobed",served="1\.1"\} 1$/m, 'a rollout\'s state');
like($metrics, qr/^certsync_endpoint_ok\{name="\Q$name\E",endpoint="127\.0\.0\.1:$at{right}\/tls"[^\n]*\} 1$/m, 'a good endpoint')
	or diag($metrics);
is(() = $metrics =~ /^certsync_endpoint_ok\{.*\} 0$/mg, 3, 'the metrics have three bad endpoints');
my ($not_after) = $metrics =~ /^certsync_certificate_not_after_timestamp_seconds\{certificate="\Q$name\E"\} (\d+)$/m;
cmp_ok(abs($not_after - time - 20 * 86400), '<', 600, "the metrics say when the endpoint's certificate expires");
my $rules = `promtool check rules $FindBin::Bin/../../../examples/prometheus/certsync.rules.yml 2>&1`;
is($? >> 8, 0, 'promtool takes the rules') or diag($rules);
my %known = map { $_ => 1 } $metrics =~ /^# TYPE (\w+)/mg;
is_deeply([grep { !$known{$_} } Story::read_file("$FindBin::Bin/../../../examples/prometheus/certsync.rules.yml") =~ /\b(certsync_\w+)/g], [],
	'and they speak of metrics that there are');

# ---- healthz ----

is(curl('-w %{http_code}', "$url/healthz"), "ok\n200", 'the hub is well');

# ---- headers ----

# An alert comes only after the verdict that it is about, so the page is waited for.
my $answer = '';
$story->until('the page', sub { ($answer = curl('-i', "$url/")) =~ /raised<\/span> <strong>mismatch/ });
like($answer, qr/^HTTP\/1\.1 200 OK\r\n/, 'the page is answered with 200');
like($answer, qr/^Content-Security-Policy: default-src 'none'; style-src 'sha256-[A-Za-z0-9+\/]{43}='; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r$/m, 'nothing may be loaded but its own style');
like($answer, qr/^\Q$_\E\r$/mi, $_)
	for 'Content-Type: text/html; charset=utf-8', 'X-Content-Type-Options: nosniff', 'Referrer-Policy: no-referrer', 'Cache-Control: no-store';
unlike($answer, qr/<script|<[a-z][^>]*\s(?:on\w+|style|src)=|https?:\/\//i, 'no script, nothing from elsewhere');
like($answer, qr/4 things need attention/, 'it says what matters first');
like($answer, qr/<h2>Last alerts<\/h2>.*raised<\/span> <strong>mismatch <bdi>\Q$name\E 127\.0\.0\.1:$at{wrong}\/tls</s, 'and what was told last');

# ---- visitors with bad manners ----

is(curl('-o /dev/null -w %{http_code}', @$_[1 .. $#$_]), $_->[0], "@$_[1 .. $#$_]" =~ s/\S{200,}/…/r . " gets $_->[0]")
	for [404, "$url/nothing"], [404, '--path-as-is', "$url/../etc/passwd"], [405, '-X POST -d x=1', "$url/"], [405, '-X DELETE', "$url/"], [405, '-I', "$url/"],
	[431, '-H', 'X:' . 'x' x 9000, "$url/"], [200, "'$url/?x=<script>'"];

my @held = map { visit() } 1 .. 300;
my $hub = $story->child('hub', qr/\bhub\0/);
my $descriptors = () = glob "/proc/$hub/fd/*";
cmp_ok($descriptors, '<', 64 + 40, '300 connections are not 300 descriptors');
is(($story->certsync('status'))[0], 3, 'the hub still answers others');
close $_ for @held;
waitpid $drip, 0;
cmp_ok(Story::read_file("$top/drip"), '<', 14, 'one that drips is cut off, whatever it does');
ok($story->until('again', sub { curl("$url/healthz") eq "ok\n" }), 'and visitors, once the crowd has gone');

# ---- behind HAProxy ----

my $printed = `$Story::bin/certsync config haproxy -c $top/hub.conf`;
my $front = Story::free_port();
my ($rules_of_page) = $printed =~ /((?:^#\t.*certsync_page.*\n)+)/m;
$printed =~ s/^frontend certsync_http\n.*?(?=^backend)//ms; # port 80 of this machine is not ours
$printed =~ s/#user reader password.*/user reader insecure-password s3cret/;
Story::write_file("$top/haproxy.cfg", "$printed\nfrontend test\n\tmode http\n\ttimeout client 5s\n\tbind 127.0.0.1:$front\n" . $rules_of_page =~ s/^#//mgr);
is(`haproxy -c -f $top/haproxy.cfg 2>&1 | grep -E 'WARNING|ALERT'`, '', 'HAProxy takes the lines that are printed for it');
$story->start('haproxy', 'haproxy', '-db', '-f', "$top/haproxy.cfg");
ok($story->until('haproxy', sub { IO::Socket::INET->new("127.0.0.1:$front") }), 'HAProxy runs') or diag($story->log('haproxy'));
my @ask = ('-o /dev/null -w %{http_code}', '-H "Host: certsync.domain.pl"', "http://127.0.0.1:$front/healthz");
is(curl(@ask), 401, 'a stranger is asked who he is');
is(curl('-u reader:wrong', @ask), 401, 'a wrong password is none');
is(curl('-u reader:s3cret', @ask), 200, 'a reader is let in');

# ---- a browser ----

my $browser = Browser->new($top);
# Returns the lowest contrast of any text with what is behind it, as WCAG defines contrast.
my $contrast = <<'JS';
(() => {
	const numbers = text => text.match(/[\d.]+/g).map(Number);
	const light = rgb => rgb.slice(0, 3).map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
		.reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
	const back = e => { for (; e; e = e.parentElement) { const c = numbers(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3]) return c } };
	const texts = [...document.querySelectorAll('body *')].filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()));
	return Math.min(...texts.map(e => { const [a, b] = [light(numbers(getComputedStyle(e).color)), light(back(e))].sort((x, y) => y - x);
		return (a + .05) / (b + .05) }));
})()
JS
my %background;
for my $size ([390, 844], [1400, 900]) {
	for my $scheme ('light', 'dark') {
		my $how = "at $size->[0]x$size->[1], $scheme";
		ok($browser->view("$url/", width => $size->[0], height => $size->[1], scheme => $scheme), "a browser loads it $how");
		is($browser->ask('innerWidth'), $size->[0], 'as wide as it should be');
		cmp_ok($browser->ask('document.documentElement.scrollWidth'), '<=', $size->[0], 'no part of the page is wider than the window');
		is($browser->ask(q{[...document.querySelectorAll('.card *')].filter(e => e.getBoundingClientRect().right > e.closest('.card').getBoundingClientRect().right - 8).length}),
			0, 'nor anything its frame');
		cmp_ok($browser->ask($contrast), '>=', 4.5, 'every text can be read');
		is_deeply([$browser->complaints], [], 'the policy stops nothing of it');
		$background{$scheme}{$browser->ask('getComputedStyle(document.body).backgroundColor')}++;
		$browser->picture("$ENV{CERTSYNC_PICTURES}/page-$size->[0]-$scheme.png") if $ENV{CERTSYNC_PICTURES};
	}
}
is_deeply([map { scalar keys %{$background{$_}} } 'light', 'dark'], [1, 1], 'each scheme has its own colours');
isnt((keys %{$background{light}})[0], (keys %{$background{dark}})[0], 'and they differ');
my $shown = $browser->ask(q{[...document.querySelectorAll('.matrix .chip')].map(e => e.innerText).join('\n')});
utf8::encode($shown);
is_deeply([sort split /\n/, $shown], [sort "✕ $at{evil}/tls untrusted", "✓ $at{right}/tls ok", "≠ $at{wrong}/tls mismatch", "∅ $at{dead}/tls unreachable"],
	'each endpoint is told by a sign and a word');
is($browser->ask('document.title'), 'certsync', 'what a peer has chosen has run nowhere');
is($browser->ask(q{document.querySelectorAll('script, img, [onerror], [onload]').length}), 0, 'and has become no element');
undef $browser;

$story->ends_clean;
done_testing;
